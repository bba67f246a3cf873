//! The flash slots. One target opens hostile images and compares the result with a second reader, written from the
//! documented slot layout. The other target performs sequences of saves, evictions, power failures and restarts, and
//! checks that acknowledged checkpoints are stored.

use super::decode;
use crate::flash::{Flash, Interruption};
use crate::models::number::{Counter, Number};
use crate::models::stream::{crc32, read};
use arbitrary::Arbitrary;
use embedded_io::{Read, Write};
use training_monitor::checkpoint::{self, Contents, Crc32, Encoded, Header, Named};
use training_monitor::store::flash::layout::{CommitRecord, hides_unsealed};
use training_monitor::store::flash::{RegionError, Slots};
use training_monitor::store::{CheckpointMeta, SeriesId, Store, StreamSpec};

/// The size of a slot in bytes: one erase block.
const SLOT: usize = 256;
const SLOTS: usize = 3;
/// The address of the region on the flash of `flash_image`.
const START: usize = SLOT;

/// Returns the stream of a checkpoint with the metadata `meta`.
fn encode(meta: &CheckpointMeta, weights: &mut [f32]) -> (Vec<u8>, Encoded) {
    let header = header(meta);
    let contents = Contents { header, record: None, single_object: None, allow_non_finite: true };
    let mut bytes = Vec::new();
    let encoded = checkpoint::encode(&mut bytes, &contents, &mut Named::new("m", weights));
    (bytes, encoded.expect("writing to a Vec does not fail"))
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
    /// Random bytes, generated from this seed.
    Random(u32),
    /// A valid commit record, an optional seal, and a stream that may be invalid.
    CommitRecord {
        fields: [Counter; 3],
        score: Number,
        erases: [Counter; 2],
        stream: u8,
        /// The stream length that the commit record states, if it differs from the actual length of the stream.
        len: Option<Counter>,
        has_seal: bool,
        /// Whether the record (the metadata before the stream) was written for the next slot. The store must reject
        /// such a record.
        is_moved: bool,
    },
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Returns the metadata of a checkpoint without an engine, in the series without a name.
fn meta(step: u32, sequence: u32, iteration: u32, score: Option<f32>) -> CheckpointMeta {
    CheckpointMeta::from(&Header { step, sequence, iteration, score, ..Header::default() })
}

/// Returns the header of a checkpoint.
fn header(meta: &CheckpointMeta) -> Header<'static> {
    let CheckpointMeta { step, sequence, run, iteration, score, series: _ } = *meta;
    Header { step, sequence, run, iteration, score, ..Header::default() }
}

/// Returns the bytes of a slot, according to the documented layout.
fn slot_bytes(input: &SlotInput, index: usize, erased: u8) -> Vec<u8> {
    let mut bytes = vec![erased; SLOT];
    match input {
        SlotInput::Blank => (),
        SlotInput::Random(seed) => {
            let mut random = crate::random::Random::new(u64::from(*seed));
            bytes.fill_with(|| random.byte());
        }
        SlotInput::CommitRecord { fields, score, erases, stream, len, has_seal, is_moved } => {
            let [sequence, step, iteration] = fields.map(|field| field.0);
            let meta = meta(step, sequence, iteration, Some(score.0));
            let (body, encoded) = encode(&meta, &mut vec![0.5; usize::from(stream % 40)]);
            let body = &body[..body.len().min(SLOT - 96)];
            bytes[96..][..body.len()].copy_from_slice(body);
            let len = len.map_or(encoded.len, |len| len.0);
            let magic = u32::from_le_bytes([b'T', b'M', SLOTS as u8 - 1, 2]);
            let [slot_erases, all_erases] = erases.map(|erases| erases.0);
            let bits = score.0.to_bits();
            let layout = ((index + usize::from(*is_moved)) << 24 | SLOT) as u32;
            let SeriesId { rule, model } = meta.series;
            let fields = [
                magic,
                layout,
                sequence,
                meta.run,
                rule,
                model,
                len,
                step,
                iteration,
                bits,
                slot_erases,
                all_erases,
                0,
            ];
            let mut record = words(&fields);
            let crc = crc32(&record);
            record.extend(crc.to_le_bytes());
            bytes[..record.len()].copy_from_slice(&record);
            if *has_seal {
                bytes[64..68].copy_from_slice(&words(&[!crc]));
            }
        }
    }
    bytes
}

/// Reads a slot according to the documented layout. Returns its checkpoint and whether it has a seal.
fn read_slot(bytes: &[u8], index: usize) -> Option<(CheckpointMeta, bool)> {
    let word = |offset: usize| u32::from_le_bytes(bytes[offset..offset + 4].try_into().expect("four bytes"));
    let crc = crc32(&bytes[..52]);
    if word(0) != u32::from_le_bytes([b'T', b'M', SLOTS as u8 - 1, 2])
        || word(4) != (index << 24 | SLOT) as u32
        || word(52) != crc
    {
        return None;
    }
    let stream = bytes.get(96..96 + usize::try_from(word(24)).ok().filter(|len| *len <= SLOT)?)?;
    let body = stream.len().checked_sub(4)?;
    if stream[body..] != crc32(&stream[..body]).to_le_bytes() {
        return None;
    }
    let score = Some(f32::from_bits(word(36))).filter(|score| !score.is_nan());
    let series = SeriesId { rule: word(16), model: word(20) };
    let [sequence, run, step, iteration] = [word(8), word(12), word(28), word(32)];
    let meta = CheckpointMeta { sequence, step, run, iteration, score, series };
    // The seal is the second mark of a committed checkpoint.
    Some((meta, word(64) == !crc))
}

/// Returns all checkpoints that the store lists.
fn listed<S: Store>(store: &mut S) -> Vec<CheckpointMeta> {
    let mut all = Vec::new();
    while let Ok(Some(meta)) = store.checkpoint(all.len() as u32) {
        all.push(meta);
    }
    all
}

/// Reads the stream of a checkpoint.
fn load<S: Store>(store: &mut S, sequence: u32) -> Option<Vec<u8>> {
    let mut bytes = [0; SLOT];
    let mut reader = store.open(sequence, 0).ok()?;
    let mut len = 0;
    loop {
        match reader.read(&mut bytes[len..]).ok()? {
            0 => return Some(bytes[..len].to_vec()),
            count => len += count,
        }
    }
}

/// The fuzz target that opens the store on hostile flash images: random, damaged or forged flash contents.
pub fn flash_image(data: &[u8]) {
    let Some(input) = decode::<ImageInput>(data) else { return };
    let erased = if input.erased { 0 } else { 0xFF };
    let mut image = vec![erased; START];
    for (index, slot) in input.slots.iter().enumerate() {
        image.extend(slot_bytes(slot, index, erased));
    }
    for (address, value) in input.damage.iter().take(8) {
        let address = usize::from(*address) % image.len();
        image[address] ^= value;
    }
    let mut flash = Flash::<4, SLOT>::with_image(image.clone(), erased);
    let region = START as u32..(START + SLOTS * SLOT) as u32;
    let is_moved = |index: usize| {
        let record: [u8; 64] = image[START + index * SLOT..][..64].try_into().expect("64 bytes");
        let record = CommitRecord::from_bytes::<Crc32>(&record);
        record.is_some_and(|record| (usize::from(record.index), record.size as usize) != (index, SLOT))
    };
    let has_other_layout = (0..SLOTS).any(is_moved);
    let mut store = match Slots::<_, SLOTS>::open(&mut flash, region.clone()) {
        Ok(store) => store,
        Err(error) => {
            assert!(has_other_layout && matches!(error, RegionError::OtherLayout { .. }), "{error}: {input:?}");
            return;
        }
    };
    assert!(!has_other_layout, "a slot of another layout is accepted: {input:?}");
    let readable: Vec<_> =
        (0..SLOTS).filter_map(|index| read_slot(&image[START + index * SLOT..][..SLOT], index)).collect();
    let all = listed(&mut store);
    // Every listed checkpoint is on the flash, and the list is in the order of the sequence numbers.
    assert!(all.windows(2).all(|pair| pair[0].sequence <= pair[1].sequence), "{input:?}");
    for meta in &all {
        assert!(readable.iter().any(|(other, _)| other == meta), "{meta:?} is not on the flash: {input:?}");
        let bytes = load(&mut store, meta.sequence).expect("a listed checkpoint can be read");
        assert_eq!(crc32(&bytes[..bytes.len() - 4]).to_le_bytes(), bytes[bytes.len() - 4..], "{input:?}");
    }
    // Every valid checkpoint on the flash must be listed, unless another checkpoint replaces it.
    for (slot, (meta, is_sealed)) in readable.iter().enumerate() {
        let is_replaced = readable.iter().enumerate().any(|(other_slot, (other, other_is_sealed))| {
            let is_later = (other.sequence, other_slot) > (meta.sequence, slot);
            (*other_is_sealed || !is_sealed) && other.step == meta.step && other.series == meta.series && is_later
        });
        // A sealed checkpoint with the same sequence or step takes precedence over an unsealed one.
        let has_same_number = |other: &CheckpointMeta| hides_unsealed(other, meta);
        let is_superseded =
            !is_sealed && readable.iter().any(|(other, is_sealed)| *is_sealed && has_same_number(other));
        assert!(is_replaced || is_superseded || all.contains(meta), "{meta:?} is lost: {input:?}");
    }
    let newest = all.last().map_or(0, |newest| newest.sequence);
    if let (Some(weights), Some(sequence)) = (input.save, newest.checked_add(1)) {
        let step = (1..).find(|step| all.iter().all(|meta| meta.step != *step)).expect("at most three steps are used");
        if all.len() == SLOTS {
            store.remove(all[0].sequence).expect("removal does not access the flash");
        }
        let meta = meta(step, sequence, 1, None);
        let mut weights = vec![1.5; usize::from(weights % 16)];
        save(&mut store, &meta, &mut weights, 16).expect("the next save succeeds");
        assert_eq!(load(&mut store, sequence), Some(encode(&meta, &mut weights).0), "{input:?}");
        let mut store = Slots::<_, SLOTS>::open(&mut flash, region).expect("a valid region");
        assert_eq!(listed(&mut store).last(), Some(&meta), "{input:?}");
    } else {
        assert_eq!(flash.counts.operations, 0, "opening must not write");
    }
    assert_eq!(flash.violations(), [], "{input:?}");
}

/// Saves a checkpoint with writes of `write_size` bytes.
fn save<S: Store>(
    store: &mut S,
    meta: &CheckpointMeta,
    weights: &mut [f32],
    write_size: usize,
) -> Result<(), S::Error> {
    let (bytes, encoded) = encode(meta, weights);
    let header = header(meta);
    let mut writer =
        store.create(&StreamSpec { header, object: None, stream_index: 0, stream_count: 1, len: encoded.len })?;
    for mut rest in bytes.chunks(write_size) {
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
    /// The seed of random initial content.
    random_content: Option<u32>,
    operations: Vec<Operation>,
}

#[derive(Arbitrary, Clone, Debug)]
enum Operation {
    Save {
        weights: u8,
        write_size: u8,
        score: Option<i8>,
        /// The index of a stored checkpoint. The new checkpoint uses the step number of that checkpoint and replaces
        /// it.
        replaced: Option<u8>,
        failure: Option<FailureInput>,
    },
    Remove(u8),
    EraseAhead(u8, Option<FailureInput>),
    Reopen,
}

/// A power failure: the number of operations before it, the index of the interruption, and a seed.
type FailureInput = (u8, u8, u8);

/// The fuzz target that runs random sequences of saves, power failures and restarts on flash slots.
pub fn slot_operations(data: &[u8]) {
    let Some(input) = decode::<SequenceInput>(data) else { return };
    match input.granule % 4 {
        0 => run_sequence::<1>(&input),
        1 => run_sequence::<4>(&input),
        2 => run_sequence::<8>(&input),
        _ => run_sequence::<32>(&input),
    }
}

/// The saves of one test sequence: all that were started, and those whose checkpoints must be stored.
#[derive(Default)]
struct Saves {
    /// Every checkpoint whose save was started, with its stream.
    started: Vec<(CheckpointMeta, Vec<u8>)>,
    /// The indices in `started` of all checkpoints that were acknowledged and not removed. They must be stored.
    acknowledged: Vec<usize>,
}

fn run_sequence<const WRITE: usize>(input: &SequenceInput) {
    let erased = if input.erased { 0 } else { 0xFF };
    let mut image = vec![erased; SLOTS * SLOT];
    if let Some(seed) = input.random_content {
        let mut random = crate::random::Random::new(u64::from(seed));
        image.fill_with(|| random.byte());
    }
    let mut flash = Flash::<WRITE, SLOT>::with_image(image, erased);
    let mut saves = Saves::default();
    let mut operations = input.operations.iter().take(24);
    let (mut step, mut has_more) = (0, true);
    while has_more {
        flash.power_on();
        let mut store = Slots::<_, SLOTS>::open(&mut flash, 0..(SLOTS * SLOT) as u32).expect("a valid region");
        check(&mut store, &saves, input);
        let mut sequence = listed(&mut store).last().map_or(0, |newest| newest.sequence);
        loop {
            let Some(operation) = operations.next() else {
                has_more = false;
                break;
            };
            if !apply(operation, &mut store, &mut saves, &mut step, &mut sequence, input) {
                break;
            }
            check(&mut store, &saves, input);
        }
    }
    assert_eq!(flash.violations(), [], "{input:?}");
    // A save must succeed after all power failures of the sequence.
    flash.power_on();
    let mut store = Slots::<_, SLOTS>::open(&mut flash, 0..(SLOTS * SLOT) as u32).expect("a valid region");
    let all = listed(&mut store);
    if all.len() == SLOTS {
        let oldest = all.iter().find(|meta| !saves.acknowledged.iter().any(|index| saves.started[*index].0 == **meta));
        let oldest = oldest.unwrap_or(&all[0]).sequence;
        store.remove(oldest).expect("removal does not access the flash");
    }
    let sequence = all.last().map_or(0, |newest| newest.sequence) + 1;
    let last = meta(step + 1, sequence, 9, None);
    save(&mut store, &last, &mut [0.25; 4], 64)
        .unwrap_or_else(|error| panic!("the next save fails: {error:?} after {input:?}"));
    assert!(load(&mut store, last.sequence).is_some(), "{input:?}");
}

/// Performs one operation on the store. Returns false if the session ends. A session ends by a power failure or by a
/// `Reopen` operation.
fn apply<const WRITE: usize>(
    operation: &Operation,
    store: &mut Slots<&mut Flash<WRITE, SLOT>, SLOTS>,
    saves: &mut Saves,
    step: &mut u32,
    sequence: &mut u32,
    input: &SequenceInput,
) -> bool {
    let all = listed(store);
    let set_failure = |store: &mut Slots<&mut Flash<WRITE, SLOT>, SLOTS>, failure: &Option<FailureInput>| {
        if let Some((after, interruption, seed)) = failure {
            let interruptions = Interruption::all(*after == 0, WRITE);
            let interruption = interruptions[usize::from(*interruption) % interruptions.len()];
            store.flash_mut().cut_power_at(u64::from(*after) % 80, interruption, u64::from(*seed));
        }
    };
    match operation {
        Operation::Reopen => return false,
        Operation::Remove(index) => {
            if let Some(meta) = all.get(usize::from(*index) % all.len().max(1)) {
                store.remove(meta.sequence).expect("removal does not access the flash");
                // The checkpoints of the same step that the removed checkpoint replaced are removed with it. Its own save
                // may have written the seal and then failed.
                let is_removed = |other: &CheckpointMeta| other.step == meta.step && other.sequence <= meta.sequence;
                saves.acknowledged.retain(|index| !is_removed(&saves.started[*index].0));
            }
        }
        Operation::EraseAhead(len, failure) => {
            set_failure(store, failure);
            // Tries to erase a free slot for the next save. If every slot holds a checkpoint, the store has no such
            // slot.
            let result = store.erase_ahead(u32::from(*len));
            assert!(result.is_ok() || all.len() == SLOTS || store.flash().is_off() || *len > 160, "{input:?}");
        }
        Operation::Save { weights, write_size, score, replaced, failure } => {
            let replaced = replaced.and_then(|index| all.get(usize::from(index) % all.len().max(1)));
            *step += 1;
            *sequence += 1;
            let saved_step = replaced.map_or(*step, |replaced| replaced.step);
            let score = score.map(f32::from);
            let meta = meta(saved_step, *sequence, *step, score);
            let mut weights: Vec<f32> =
                (0..weights % 24).map(|index| f32::from(index) + *step as f32 * 100.0).collect();
            saves.started.push((meta, encode(&meta, &mut weights).0));
            let is_full = all.len() == SLOTS;
            set_failure(store, failure);
            let result = save(store, &meta, &mut weights, usize::from(write_size % 64) + 1);
            if result.is_ok() {
                let started = &saves.started;
                saves.acknowledged.retain(|index| started[*index].0.step != saved_step);
                saves.acknowledged.push(started.len() - 1);
            } else {
                assert!(is_full || store.flash().is_off(), "{result:?} in {input:?}");
            }
        }
    }
    // Cancels a planned power failure that this operation did not reach, so that it does not interrupt a later
    // operation.
    if !store.flash().is_off() {
        store.flash_mut().power_on();
    }
    !store.flash().is_off()
}

/// Checks that every acknowledged checkpoint is listed and bit-identical, and that every listed checkpoint was started.
/// An interrupted checkpoint can have unstable cells: it was intact when the store was opened, but a later read gives
/// other bits. Such a stream must not have a valid checksum.
fn check<S: Store>(store: &mut S, saves: &Saves, input: &SequenceInput) {
    let all = listed(store);
    for meta in &all {
        let started = saves.started.iter().rev().find(|(started, _)| started == meta);
        let (_, bytes) = started.unwrap_or_else(|| panic!("{meta:?} was never saved: {input:?}"));
        let loaded = load(store, meta.sequence);
        let is_acknowledged = saves.acknowledged.iter().any(|index| saves.started[*index].0 == *meta);
        let is_identical = loaded.as_ref() == Some(bytes) && read(bytes).is_some();
        let is_valid = loaded.as_deref().is_some_and(|loaded| read(loaded).is_some());
        assert!(is_identical || (!is_acknowledged && !is_valid), "{meta:?} is damaged: {input:?}");
    }
    for index in &saves.acknowledged {
        let (meta, _) = &saves.started[*index];
        // A later save of the same step can replace the checkpoint, even if its commit was interrupted.
        let is_same_or_later = |other: &&CheckpointMeta| other.step == meta.step && other.sequence >= meta.sequence;
        assert!(all.iter().any(|other| is_same_or_later(&other)), "{meta:?} is lost: {input:?}");
    }
}
