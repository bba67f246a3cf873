//! Opens hostile images of flash and byte-addressable memory, and compares the result with a second reader that is
//! written from the documented layout.

use super::super::decode;
use super::medium::{BLOCK, Bytes, ChipStore, Medium, NorFlash, SlotLayout};
use super::{SLOTS, encode, listed, load, meta, save};
use crate::models::number::{Counter, Number};
use crate::models::stream::crc32;
use arbitrary::Arbitrary;
use training_monitor::checkpoint::Crc32;
use training_monitor::store::flash::RegionError;
use training_monitor::store::flash::layout::{CommitRecord, hides_unsealed};
use training_monitor::store::{CheckpointMeta, SeriesId, Store};

/// The address of the region on the chip.
const START: usize = BLOCK;

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

/// Returns the bytes of a slot, according to the documented layout.
fn slot_bytes(input: &SlotInput, index: usize, erased: u8, layout: SlotLayout) -> Vec<u8> {
    let mut bytes = vec![erased; layout.size];
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
            let body = &body[..body.len().min(layout.end - layout.stream)];
            bytes[layout.stream..][..body.len()].copy_from_slice(body);
            let len = len.map_or(encoded.len, |len| len.0);
            let magic = u32::from_le_bytes([b'T', b'M', SLOTS as u8 - 1, 2]);
            let [slot_erases, all_erases] = erases.map(|erases| erases.0);
            let bits = score.0.to_bits();
            let division = ((index + usize::from(*is_moved)) << 24 | layout.size) as u32;
            let SeriesId { rule, model } = meta.series;
            let fields = [
                magic,
                division,
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
            bytes[layout.record..][..record.len()].copy_from_slice(&record);
            if *has_seal {
                bytes[layout.seal..][..4].copy_from_slice(&words(&[!crc]));
            }
        }
    }
    bytes
}

/// Reads a slot according to the documented layout. Returns its checkpoint and whether it has a seal.
fn read_slot(bytes: &[u8], index: usize, layout: SlotLayout) -> Option<(CheckpointMeta, bool)> {
    let word_at = |offset: usize| u32::from_le_bytes(bytes[offset..offset + 4].try_into().expect("four bytes"));
    let word = |offset: usize| word_at(layout.record + offset);
    let crc = crc32(&bytes[layout.record..][..52]);
    if word(0) != u32::from_le_bytes([b'T', b'M', SLOTS as u8 - 1, 2])
        || word(4) != (index << 24 | layout.size) as u32
        || word(52) != crc
    {
        return None;
    }
    let stream = bytes.get(layout.stream..layout.end)?.get(..word(24) as usize)?;
    let body = stream.len().checked_sub(4)?;
    if stream[body..] != crc32(&stream[..body]).to_le_bytes() {
        return None;
    }
    let score = Some(f32::from_bits(word(36))).filter(|score| !score.is_nan());
    let series = SeriesId { rule: word(16), model: word(20) };
    let [sequence, run, step, iteration] = [word(8), word(12), word(28), word(32)];
    let meta = CheckpointMeta { sequence, step, run, iteration, score, series };
    // The seal is the second mark of a committed checkpoint.
    Some((meta, word_at(layout.seal) == !crc))
}

/// The fuzz target that opens the store on hostile flash images: random, damaged or forged flash contents.
pub fn flash_image(data: &[u8]) {
    if let Some(input) = decode::<ImageInput>(data) {
        open_image::<NorFlash<4>>(&input);
    }
}

/// The fuzz target that opens the store on hostile images of byte-addressable memory.
pub fn memory_image(data: &[u8]) {
    let Some((page, data)) = data.split_first() else { return };
    let Some(input) = decode::<ImageInput>(data) else { return };
    match page % 3 {
        0 => open_image::<Bytes<1>>(&input),
        1 => open_image::<Bytes<32>>(&input),
        _ => open_image::<Bytes<64>>(&input),
    }
}

fn open_image<M: Medium>(input: &ImageInput) {
    let layout = M::LAYOUT;
    let erased = if input.erased { 0 } else { 0xFF };
    let mut image = vec![erased; START];
    for (index, slot) in input.slots.iter().enumerate() {
        image.extend(slot_bytes(slot, index, erased, layout));
    }
    for (address, value) in input.damage.iter().take(8) {
        let address = usize::from(*address) % image.len();
        image[address] ^= value;
    }
    let mut chip = M::new_chip(image.clone(), erased);
    let region = START as u32..(START + SLOTS * layout.size) as u32;
    let is_moved = |index: usize| {
        let record = &image[START + index * layout.size + layout.record..][..64];
        let record: [u8; 64] = record.try_into().expect("64 bytes");
        let record = CommitRecord::from_bytes::<Crc32>(&record);
        record.is_some_and(|record| (usize::from(record.index), record.size as usize) != (index, layout.size))
    };
    let has_other_layout = (0..SLOTS).any(is_moved);
    let mut store = match M::open(&mut chip, region.clone()) {
        Ok(store) => store,
        Err(error) => {
            assert!(has_other_layout && matches!(error, RegionError::OtherLayout { .. }), "{error}: {input:?}");
            return;
        }
    };
    assert!(!has_other_layout, "a slot of another layout is accepted: {input:?}");
    let slot = |index: usize| &image[START + index * layout.size..][..layout.size];
    let readable: Vec<_> = (0..SLOTS).filter_map(|index| read_slot(slot(index), index, layout)).collect();
    let all = listed(&mut store);
    // Every listed checkpoint is in the memory, and the list is in the order of the sequence numbers. Of checkpoints with
    // the same number, opening gives a higher number to the later ones.
    let is_ascending = |pair: &[CheckpointMeta]| pair[0].sequence < pair[1].sequence || pair[1].sequence == u32::MAX;
    assert!(all.windows(2).all(is_ascending), "{input:?}");
    let is_entry_of = |entry: &CheckpointMeta, meta: &CheckpointMeta| {
        let raised_by = entry.sequence.checked_sub(meta.sequence);
        raised_by.is_some_and(|n| n < SLOTS as u32) && *entry == CheckpointMeta { sequence: entry.sequence, ..*meta }
    };
    for meta in &all {
        assert!(readable.iter().any(|(other, _)| is_entry_of(meta, other)), "{meta:?} is not in the memory: {input:?}");
        let bytes = load(&mut store, meta.sequence).expect("a listed checkpoint can be read");
        assert_eq!(crc32(&bytes[..bytes.len() - 4]).to_le_bytes(), bytes[bytes.len() - 4..], "{input:?}");
    }
    // Every valid checkpoint in the memory must be listed, unless another checkpoint replaces it.
    for (slot, (meta, is_sealed)) in readable.iter().enumerate() {
        let is_replaced = readable.iter().enumerate().any(|(other_slot, (other, other_is_sealed))| {
            let is_later = (other.sequence, other_slot) > (meta.sequence, slot);
            (*other_is_sealed || !is_sealed) && other.step == meta.step && other.series == meta.series && is_later
        });
        // A sealed checkpoint with the same sequence or step takes precedence over an unsealed one.
        let has_same_number = |other: &CheckpointMeta| hides_unsealed(other, meta);
        let is_superseded =
            !is_sealed && readable.iter().any(|(other, is_sealed)| *is_sealed && has_same_number(other));
        let is_listed = all.iter().any(|entry| is_entry_of(entry, meta));
        assert!(is_replaced || is_superseded || is_listed, "{meta:?} is lost: {input:?}");
    }
    let newest = all.last().map_or(0, |newest| newest.sequence);
    if let (Some(weights), Some(sequence)) = (input.save, newest.checked_add(1)) {
        let step = (1..).find(|step| all.iter().all(|meta| meta.step != *step)).expect("at most three steps are used");
        if all.len() == SLOTS {
            store.remove(all[0].sequence).expect("removal does not access the memory");
        }
        let meta = meta(step, sequence, 1, None);
        let mut weights = vec![1.5; usize::from(weights % 16)];
        save(&mut store, &meta, &mut weights, 16).expect("the next save succeeds");
        assert_eq!(load(&mut store, sequence), Some(encode(&meta, &mut weights).0), "{input:?}");
        drop(store);
        let mut store = M::open(&mut chip, region).expect("a valid region");
        assert_eq!(listed(&mut store).last(), Some(&meta), "{input:?}");
    } else {
        assert_eq!(store.chip_mut().counts.operations, 0, "opening must not write");
        drop(store);
    }
    assert_eq!(chip.violations(), [], "{input:?}");
}
