//! Tests of the store in byte-addressable memory with random, damaged or forged contents. Opening the store takes a
//! limited number of reads and writes nothing. The store lists only checkpoints that were saved.

#[path = "common/store_access.rs"]
mod store_access;

use store_access::{list_checkpoints, read_stream};
use training_monitor::ModelCheckpoint;
use training_monitor::checkpoint::Named;
use training_monitor::event::IterationCompleted;
use training_monitor::handlers::model_checkpoint::SaveDecision;
use training_monitor::store::byte_addressable::ByteSlots;
use training_monitor::store::{CheckpointMeta, Store};
use training_monitor_std::test_support::memory::{Chip, Interruption, Memory};
use training_monitor_std::test_support::random::Random;

const SLOT: usize = 1024;
const SLOTS: usize = 3;
const SIZE: usize = SLOTS * SLOT;

type Slots<'a, const PAGE: usize> = ByteSlots<Memory<&'a mut Chip>, SLOTS, PAGE>;

fn open<const PAGE: usize>(memory: &mut Memory) -> Slots<'_, PAGE> {
    ByteSlots::open(memory.borrow_mut(), 0..SIZE as u32).unwrap()
}

/// Saves checkpoints with these numbers of weights. The steps are 1, 2, … The handler keeps the last two checkpoints.
fn save<const PAGE: usize>(memory: &mut Memory, lengths: &[usize]) {
    let mut handler = ModelCheckpoint::<2>::every(1).unwrap().attach(IterationCompleted, open::<PAGE>(memory)).unwrap();
    for (step, length) in (1..).zip(lengths) {
        let mut weights: Vec<f32> = (0..*length).map(|weight| weight as f32 + step as f32 * 100.0).collect();
        let mut objects = Named::new("m", &mut weights[..]);
        handler.save(SaveDecision { step, score: None }, 10 * step, None, &mut objects).unwrap();
    }
}

/// Opens the store and returns all checkpoints with their bytes. Checks that opening the store writes nothing and takes
/// the documented number of reads.
fn checkpoints<const PAGE: usize>(memory: &mut Memory) -> Vec<(CheckpointMeta, Vec<u8>)> {
    let before = memory.counts;
    let mut store = open::<PAGE>(memory);
    let all = list_checkpoints(&mut store).unwrap();
    let reads = store.storage().counts.reads - before.reads;
    assert!(reads <= (SLOTS * (4 + 3 * SLOT / 128)) as u64, "{reads} reads");
    assert_eq!(store.storage().counts.operations, before.operations);
    all.into_iter().map(|meta| (meta, read_stream(&mut store, meta.step).unwrap())).collect()
}

/// Checks that the store finds no checkpoint in `image` and can save three checkpoints over its contents.
fn assert_free_space<const PAGE: usize>(image: Vec<u8>) {
    let mut memory = Memory::with_image(image, PAGE);
    assert_eq!(checkpoints::<PAGE>(&mut memory), []);
    save::<PAGE>(&mut memory, &[10, 60, 10]);
    assert_eq!(checkpoints::<PAGE>(&mut memory).len(), 3);
    assert_eq!(memory.violations(), []);
}

#[test]
fn random_and_nearly_uniform_images_are_free_space() {
    let mut random = Random::new(3);
    for flips in [0, 1, 8, 1024] {
        for base in [0xFF, 0] {
            for _ in 0..20 {
                let mut image = vec![base; SIZE];
                (0..flips).for_each(|_| image[random.below(SIZE)] ^= 1 << random.below(8));
                assert_free_space::<1>(image.clone());
                assert_free_space::<64>(image);
            }
        }
    }
    for _ in 0..100 {
        let mut image: Vec<u8> = (0..SIZE).map(|_| random.byte()).collect();
        assert_free_space::<32>(image.clone());
        assert_free_space::<128>(image.clone());
        // The magic numbers, the size and the index of each slot are correct, in both layouts.
        for (index, slot) in image.chunks_mut(SLOT).enumerate() {
            for record in [0, 160] {
                slot[record..][..8].copy_from_slice(&[b'T', b'M', 2, 2, 0, 4, 0, index as u8]);
            }
            slot[96..101].copy_from_slice(b"TMCK\x02");
            slot[256..261].copy_from_slice(b"TMCK\x02");
        }
        assert_free_space::<1>(image.clone());
        assert_free_space::<256>(image);
    }
}

#[test]
fn damaged_bits_hide_checkpoints_but_never_change_them() {
    fn check<const PAGE: usize>() {
        let mut memory = Memory::with_image(vec![0x5A; SIZE], PAGE);
        save::<PAGE>(&mut memory, &[10, 60, 20]);
        let (image, saved) = (memory.image().to_vec(), checkpoints::<PAGE>(&mut memory));
        assert_eq!(saved.len(), 3);
        for bit in 0..8 * SIZE {
            memory.image_mut()[bit / 8] ^= 1 << (bit % 8);
            let listed = checkpoints::<PAGE>(&mut memory);
            assert!(listed.iter().all(|checkpoint| saved.contains(checkpoint)), "bit {bit}");
            assert!(listed.len() >= 2, "bit {bit} hides more than one checkpoint");
            memory.image_mut()[bit / 8] ^= 1 << (bit % 8);
        }
        let mut random = Random::new(5);
        for _ in 0..2000 {
            memory.image_mut().copy_from_slice(&image);
            (0..1 + random.below(40)).for_each(|_| memory.image_mut()[random.below(SIZE)] = random.byte());
            assert!(checkpoints::<PAGE>(&mut memory).iter().all(|checkpoint| saved.contains(checkpoint)));
        }
    }
    check::<1>();
    check::<64>();
}

/// A record with a correct checksum and a correct seal can contain any length. The stream must be inside the slot, and
/// its checksum must be correct.
#[test]
fn records_with_a_forged_length_are_ignored() {
    fn check<const PAGE: usize>(record: usize, seal: usize, lengths: &[u32]) {
        for len in
            [0, 1, 3, 4, 5].iter().chain(lengths).chain(&[4096, 0x7FFF_FFFF, 0xFFFF_FF5F, u32::MAX - 95, u32::MAX])
        {
            let mut memory = Memory::with_image(vec![0x5A; SIZE], PAGE);
            save::<PAGE>(&mut memory, &[10]);
            let image = memory.image_mut();
            image[record + 24..][..4].copy_from_slice(&len.to_le_bytes());
            let crc = crc32fast::hash(&image[record..][..52]);
            image[record + 52..][..4].copy_from_slice(&crc.to_le_bytes());
            image[seal..][..4].copy_from_slice(&(!crc).to_le_bytes());
            assert_eq!(checkpoints::<PAGE>(&mut memory), [], "length {len}");
            assert_eq!(open::<PAGE>(&mut memory).damaged(), 1, "length {len}");
            save::<PAGE>(&mut memory, &[10, 20]);
            assert_eq!(memory.violations(), [], "length {len}: a read outside the memory");
        }
    }
    check::<1>(0, 64, &[900, 927, 928, 929, 1024, 1999, 2000]);
    check::<64>(160, 1024 - 256, &[500, 511, 512, 513, 768, 928, 929, 1024, 2000]);
}

/// An old record must not describe a new stream: the record is invalid before the first byte of the stream is written.
#[test]
fn the_old_record_is_invalid_before_the_first_byte_of_the_stream() {
    fn check<const PAGE: usize>(record: usize) {
        let mut memory = Memory::new(SIZE, PAGE);
        save::<PAGE>(&mut memory, &[10, 10, 10]);
        let old = memory.image()[record..][..56].to_vec();
        assert_eq!(old[..2], *b"TM");
        let mut first_change = None;
        for operation in 0..400 {
            let mut trial = memory.clone();
            let mut handler =
                ModelCheckpoint::<2>::every(1).unwrap().attach(IterationCompleted, open::<PAGE>(&mut trial)).unwrap();
            handler.store_mut().storage_mut().cut_power_at(operation, Interruption::Nothing, 0);
            let saved = handler.save(SaveDecision { step: 4, score: None }, 4, None, &mut Named::new("m", [0.5; 10]));
            drop(handler);
            if saved.is_ok() {
                break;
            }
            let stream_at = if PAGE > 32 { 256 } else { 96 };
            let is_changed = trial.image()[stream_at..SLOT / 2] != memory.image()[stream_at..SLOT / 2];
            if is_changed && first_change.is_none() {
                first_change = Some(operation);
                assert!(trial.image()[record..][..56].iter().all(|byte| *byte == 0), "operation {operation}");
            }
        }
        assert!(first_change.is_some());
    }
    check::<1>(0);
    check::<32>(0);
    check::<256>(160);
}
