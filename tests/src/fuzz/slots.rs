//! The flash slots: hostile images against a reader written from the drawing of a slot, and sequences of operations,
//! power cuts and openings against a list of what was promised.

use super::input;
use crate::flash::{Flash, Outcome};
use crate::models::number::{Counter, Number};
use crate::models::stream::{crc32, read};
use arbitrary::Arbitrary;
use embedded_io::{Read, Write};
use training_monitor::checkpoint::{self, Contents, Crc32, Encoded, Header, One};
use training_monitor::store::slots::Slots;
use training_monitor::store::{Opening, Store, Stored};

/// Bytes of a slot: one erase block.
const SLOT: usize = 256;
const SLOTS: usize = 3;
/// Where the region begins.
const START: usize = SLOT;

/// A stream that says what `stored` says.
fn encode(stored: &Stored, weights: &mut [f32]) -> (Vec<u8>, Encoded) {
    let Stored { step, sequence, iteration, score } = *stored;
    let header = Header { step, sequence, iteration, score, score_name: None };
    let contents = Contents { header, record: None, only: None, allow_non_finite: true };
    let mut bytes = Vec::new();
    let encoded = checkpoint::encode::<Crc32, _, _>(&mut bytes, &contents, &One("m", weights));
    (bytes, encoded.expect("a Vec takes anything"))
}

#[derive(Arbitrary, Debug)]
struct ImageInput {
    erased: bool,
    slots: [SlotInput; SLOTS],
    damage: Vec<(u16, u8)>,
    save: Option<u8>,
}

#[derive(Arbitrary, Debug)]
enum SlotInput {
    Blank,
    Noise(u32),
    /// A record and a seal as they would have been written, over what may be a stream.
    Record {
        fields: [Counter; 3],
        score: Number,
        erases: [Counter; 2],
        stream: u8,
        /// What is claimed to be its length.
        len: Option<Counter>,
        seal: bool,
        /// Copied from another slot.
        moved: bool,
    },
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// The bytes of a slot, by the drawing.
fn slot(input: &SlotInput, index: usize, erased: u8) -> Vec<u8> {
    let mut bytes = vec![erased; SLOT];
    match input {
        SlotInput::Blank => (),
        SlotInput::Noise(seed) => {
            let mut random = crate::random::Random::new(u64::from(*seed));
            bytes.fill_with(|| random.byte());
        }
        SlotInput::Record { fields, score, erases, stream, len, seal, moved } => {
            let [sequence, step, iteration] = fields.map(|field| field.0);
            let stored = Stored { step, sequence, iteration, score: Some(score.0) };
            let (body, encoded) = encode(&stored, &mut vec![0.5; usize::from(stream % 40)]);
            let body = &body[..body.len().min(SLOT - 96)];
            bytes[96..][..body.len()].copy_from_slice(body);
            let len = len.map_or(encoded.len, |len| len.0);
            let magic = u32::from_le_bytes(*b"TMSR");
            let [own, all] = erases.map(|erases| erases.0);
            let fields = [magic, 1, sequence, len, encoded.crc, step, iteration, score.0.to_bits(), own, all];
            let mut record = words(&fields);
            let place = (index + usize::from(*moved)) * SLOT;
            let crc = crc32(&[&record[..], &words(&[place as u32, SLOT as u32])].concat());
            record.extend(crc.to_le_bytes());
            bytes[..record.len()].copy_from_slice(&record);
            if *seal {
                bytes[64..72].copy_from_slice(&[&b"TMSK"[..], &words(&[!crc])].concat());
            }
        }
    }
    bytes
}

/// What a slot holds, by the drawing, and whether it has a seal.
fn holds(bytes: &[u8], index: usize) -> Option<(Stored, bool)> {
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four"));
    let place = words(&[(index * SLOT) as u32, SLOT as u32]);
    let crc = crc32(&[&bytes[..40], &place].concat());
    if word(0) != u32::from_le_bytes(*b"TMSR") || word(4) != 1 || word(40) != crc {
        return None;
    }
    let stream = bytes.get(96..96 + usize::try_from(word(12)).ok().filter(|len| *len <= SLOT)?)?;
    let body = stream.len().checked_sub(4)?;
    let (stored_crc, real) = (word(16), crc32(&stream[..body]));
    if real != stored_crc || stream[body..] != stored_crc.to_le_bytes() {
        return None;
    }
    let score = Some(f32::from_bits(word(28))).filter(|score| !score.is_nan());
    let stored = Stored { step: word(20), sequence: word(8), iteration: word(24), score };
    // A seal that was begun: not one byte eight times, which erased flash may be.
    let seal = &bytes[64..72];
    let exact = &seal[..4] == b"TMSK" && word(68) == !crc;
    Some((stored, exact || seal.iter().any(|byte| *byte != seal[0])))
}

/// All that are listed.
fn listed<S: Store>(store: &mut S) -> Vec<Stored> {
    let mut all = Vec::new();
    while let Ok(Some(stored)) = store.stored(all.len() as u32) {
        all.push(stored);
    }
    all
}

/// The stream of a checkpoint.
fn load<S: Store>(store: &mut S, step: u32) -> Option<Vec<u8>> {
    let mut bytes = [0; SLOT];
    let mut reader = store.open(step, 0).ok()?;
    let mut len = 0;
    loop {
        match reader.read(&mut bytes[len..]).ok()? {
            0 => return Some(bytes[..len].to_vec()),
            read => len += read,
        }
    }
}

/// Hostile images.
pub fn flash_image(data: &[u8]) {
    let Some(input) = input::<ImageInput>(data) else { return };
    let erased = if input.erased { 0 } else { 0xFF };
    let mut image = vec![erased; START];
    for (index, of) in input.slots.iter().enumerate() {
        image.extend(slot(of, index, erased));
    }
    for (at, value) in input.damage.iter().take(8) {
        let at = usize::from(*at) % image.len();
        image[at] ^= value;
    }
    let mut flash = Flash::<4, SLOT>::with_image(image.clone(), erased);
    let region = START as u32..(START + SLOTS * SLOT) as u32;
    let mut store = Slots::<_, SLOTS>::open(&mut flash, region.clone()).expect("a region");
    let found: Vec<_> = (0..SLOTS).filter_map(|index| holds(&image[START + index * SLOT..][..SLOT], index)).collect();
    let all = listed(&mut store);
    // Everything listed is there, from the oldest to the newest; what is there and not listed gave way to a newer one.
    assert!(all.windows(2).all(|pair| pair[0].sequence <= pair[1].sequence), "{input:?}");
    for stored in &all {
        assert!(found.iter().any(|(found, _)| found == stored), "{stored:?} is not on the flash: {input:?}");
        let bytes = load(&mut store, stored.step).expect("what is listed can be read");
        assert_eq!(crc32(&bytes[..bytes.len() - 4]).to_le_bytes(), bytes[bytes.len() - 4..], "{input:?}");
    }
    for (place, (stored, sealed)) in found.iter().enumerate() {
        let replaced = found.iter().enumerate().any(|(other, (by, firm))| {
            let later = (by.sequence, other) > (stored.sequence, place);
            (*firm || !sealed) && by.step == stored.step && later
        });
        let firm = |by: &Stored| by.sequence == stored.sequence || by.step == stored.step;
        let taken = !sealed && found.iter().any(|(by, sealed)| *sealed && firm(by));
        assert!(replaced || taken || all.contains(stored), "{stored:?} is lost: {input:?}");
    }
    let newest = all.last().map_or(0, |newest| newest.sequence);
    if let (Some(weights), Some(sequence)) = (input.save, newest.checked_add(1)) {
        let step = (1..).find(|step| all.iter().all(|stored| stored.step != *step)).expect("three at most");
        if all.len() == SLOTS {
            store.remove(all[0].step).expect("only remembered");
        }
        let stored = Stored { step, sequence, iteration: 1, score: None };
        let mut weights = vec![1.5; usize::from(weights % 16)];
        save(&mut store, &stored, &mut weights, 16).expect("the next save works without repair");
        assert_eq!(load(&mut store, step), Some(encode(&stored, &mut weights).0), "{input:?}");
        let mut store = Slots::<_, SLOTS>::open(&mut flash, region).expect("a region");
        assert_eq!(listed(&mut store).last(), Some(&stored), "{input:?}");
    } else {
        assert_eq!(flash.counts.operations, 0, "opening writes nothing");
    }
    assert_eq!(flash.violations(), [], "{input:?}");
}

/// One save, in pieces.
fn save<S: Store>(store: &mut S, stored: &Stored, weights: &mut [f32], piece: usize) -> Result<(), S::Error> {
    let (bytes, encoded) = encode(stored, weights);
    let Stored { step, sequence, iteration, score } = *stored;
    let header = Header { step, sequence, iteration, score, score_name: None };
    let mut writer = store.create(&Opening { header, object: None, part: 0, parts: 1, len: encoded.len })?;
    for mut rest in bytes.chunks(piece) {
        while !rest.is_empty() {
            let written = writer.write(rest)?;
            rest = &rest[written..];
        }
    }
    drop(writer);
    store.commit(&header, &encoded)
}

#[derive(Arbitrary, Debug)]
struct SequenceInput {
    erased: bool,
    granule: u8,
    noise: Option<u32>,
    operations: Vec<Operation>,
}

#[derive(Arbitrary, Clone, Debug)]
enum Operation {
    Save {
        weights: u8,
        piece: u8,
        score: Option<i8>,
        /// Under the step of one that is there.
        again: Option<u8>,
        cut: Option<(u8, u8, u8)>,
    },
    Remove(u8),
    EraseAhead(u8, Option<(u8, u8, u8)>),
    Reopen,
}

/// Operations, power cuts, openings.
pub fn slot_operations(data: &[u8]) {
    let Some(input) = input::<SequenceInput>(data) else { return };
    match input.granule % 4 {
        0 => sequence::<1>(&input),
        1 => sequence::<4>(&input),
        2 => sequence::<8>(&input),
        _ => sequence::<32>(&input),
    }
}

/// What was written, and what must be there.
#[derive(Default)]
struct Promises {
    /// Every checkpoint that was begun, with its stream.
    begun: Vec<(Stored, Vec<u8>)>,
    /// Those whose commit returned Ok and that were not removed: indices of `begun`.
    kept: Vec<usize>,
}

fn sequence<const WRITE: usize>(input: &SequenceInput) {
    let erased = if input.erased { 0 } else { 0xFF };
    let mut image = vec![erased; SLOTS * SLOT];
    if let Some(seed) = input.noise {
        let mut random = crate::random::Random::new(u64::from(seed));
        image.fill_with(|| random.byte());
    }
    let mut flash = Flash::<WRITE, SLOT>::with_image(image, erased);
    let mut promises = Promises::default();
    let mut operations = input.operations.iter().take(24);
    let (mut step, mut more) = (0, true);
    while more {
        flash.power_on();
        let mut store = Slots::<_, SLOTS>::open(&mut flash, 0..(SLOTS * SLOT) as u32).expect("a region");
        judge(&mut store, &promises, input);
        let mut sequence = listed(&mut store).last().map_or(0, |newest| newest.sequence);
        loop {
            let Some(operation) = operations.next() else {
                more = false;
                break;
            };
            if !apply(operation, &mut store, &mut promises, &mut step, &mut sequence, input) {
                break;
            }
            judge(&mut store, &promises, input);
        }
    }
    assert_eq!(flash.violations(), [], "{input:?}");
    // Whatever it went through, the next save works without repair.
    flash.power_on();
    let mut store = Slots::<_, SLOTS>::open(&mut flash, 0..(SLOTS * SLOT) as u32).expect("a region");
    let all = listed(&mut store);
    if all.len() == SLOTS {
        let oldest = all.iter().find(|stored| !promises.kept.iter().any(|index| promises.begun[*index].0 == **stored));
        let oldest = oldest.unwrap_or(&all[0]).step;
        store.remove(oldest).expect("only remembered");
    }
    let sequence = all.last().map_or(0, |newest| newest.sequence) + 1;
    let last = Stored { step: step + 1, sequence, iteration: 9, score: None };
    save(&mut store, &last, &mut [0.25; 4], 64).unwrap_or_else(|error| panic!("{error:?} after {input:?}"));
    assert!(load(&mut store, last.step).is_some(), "{input:?}");
}

/// False when the power went, or it is time to open anew.
fn apply<const WRITE: usize>(
    operation: &Operation,
    store: &mut Slots<&mut Flash<WRITE, SLOT>, SLOTS>,
    promises: &mut Promises,
    step: &mut u32,
    sequence: &mut u32,
    input: &SequenceInput,
) -> bool {
    let all = listed(store);
    let cut_at = |store: &mut Slots<&mut Flash<WRITE, SLOT>, SLOTS>, cut: &Option<(u8, u8, u8)>| {
        if let Some((after, outcome, seed)) = cut {
            let outcomes = Outcome::all(*after == 0, WRITE);
            let outcome = outcomes[usize::from(*outcome) % outcomes.len()];
            store.flash_mut().cut_at(u64::from(*after) % 80, outcome, u64::from(*seed));
        }
    };
    match operation {
        Operation::Reopen => return false,
        Operation::Remove(which) => {
            if let Some(stored) = all.get(usize::from(*which) % all.len().max(1)) {
                store.remove(stored.step).expect("only remembered");
                promises.kept.retain(|index| promises.begun[*index].0.step != stored.step);
            }
        }
        Operation::EraseAhead(len, cut) => {
            cut_at(store, cut);
            // Where every slot is taken there is nothing to erase.
            let erased = store.erase_ahead(u32::from(*len));
            assert!(erased.is_ok() || all.len() == SLOTS || store.flash().is_off() || *len > 160, "{input:?}");
        }
        Operation::Save { weights, piece, score, again, cut } => {
            let again = again.and_then(|which| all.get(usize::from(which) % all.len().max(1)));
            *step += 1;
            *sequence += 1;
            let number = again.map_or(*step, |again| again.step);
            let score = score.map(f32::from);
            let stored = Stored { step: number, sequence: *sequence, iteration: *step, score };
            let mut weights: Vec<f32> = (0..weights % 24).map(|at| f32::from(at) + *step as f32 * 100.0).collect();
            promises.begun.push((stored, encode(&stored, &mut weights).0));
            let full = all.len() == SLOTS;
            cut_at(store, cut);
            let saved = save(store, &stored, &mut weights, usize::from(piece % 64) + 1);
            if saved.is_ok() {
                let begun = &promises.begun;
                promises.kept.retain(|index| begun[*index].0.step != number);
                promises.kept.push(begun.len() - 1);
            } else {
                assert!(full || store.flash().is_off(), "{saved:?} in {input:?}");
            }
        }
    }
    // A cut that did not come is not for the next operation.
    if !store.flash().is_off() {
        store.flash_mut().power_on();
    }
    !store.flash().is_off()
}

/// Everything promised is listed and bit-identical; everything listed was begun. One that was cut may have been whole when
/// it was found, and have cells that read differently now: then it is not to pass for whole.
fn judge<S: Store>(store: &mut S, promises: &Promises, input: &SequenceInput) {
    let all = listed(store);
    for stored in &all {
        let begun = promises.begun.iter().rev().find(|(begun, _)| begun == stored);
        let (_, bytes) = begun.unwrap_or_else(|| panic!("{stored:?} was never begun: {input:?}"));
        let loaded = load(store, stored.step);
        let promised = promises.kept.iter().any(|index| promises.begun[*index].0 == *stored);
        let right = loaded.as_ref() == Some(bytes) && read(bytes).is_some();
        let passes = loaded.as_deref().is_some_and(|loaded| read(loaded).is_some());
        assert!(right || (!promised && !passes), "{stored:?} is damaged: {input:?}");
    }
    for index in &promises.kept {
        let (stored, _) = &promises.begun[*index];
        // Or a later one of that step, whose commit was cut.
        let there = |found: &&Stored| found.step == stored.step && found.sequence >= stored.sequence;
        assert!(all.iter().any(|found| there(&found)), "{stored:?} is lost: {input:?}");
    }
}
