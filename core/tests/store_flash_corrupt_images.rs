//! Tests of the flash store with random, damaged or forged flash contents. Opening the store takes a limited number of
//! reads and writes nothing. The store lists only checkpoints that were saved.

#[path = "common/store_access.rs"]
mod store_access;

use store_access::{list_checkpoints, read_stream};
use training_monitor::ModelCheckpoint;
use training_monitor::checkpoint::{EncodeError, Named};
use training_monitor::embedded_storage::nor_flash::NorFlash;
use training_monitor::event::IterationCompleted;
use training_monitor::handlers::model_checkpoint::SaveDecision;
use training_monitor::store::CheckpointMeta;
use training_monitor::store::flash::{RegionError, Slots};
use training_monitor_std::test_support::flash::{Flash, Interruption};
use training_monitor_std::test_support::random::Random;

const BLOCK: usize = 256;
const SLOTS: usize = 3;
const SIZE: usize = 2 * BLOCK * SLOTS;

type Chip = Flash<4, BLOCK>;

fn open(flash: &mut Chip) -> Slots<&mut Chip, SLOTS> {
    Slots::open(flash, 0..SIZE as u32).unwrap()
}

/// Saves one checkpoint for each number of weights in `lengths`. The steps are 1, 2, … The handler keeps the last two
/// checkpoints.
fn save(flash: &mut Chip, lengths: &[usize]) -> Result<(), String> {
    let policy = ModelCheckpoint::<2>::every(1).unwrap();
    let mut handler = policy.attach(IterationCompleted, open(flash)).unwrap();
    for (index, length) in lengths.iter().enumerate() {
        let step = index as u32 + 1;
        let mut weights: Vec<f32> = (0..*length).map(|weight| weight as f32 + step as f32 * 100.0).collect();
        let mut objects = Named::new("m", &mut weights[..]);
        handler
            .save(SaveDecision { step, score: None }, 10 * step, None, &mut objects)
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Opens the store and returns all checkpoints with their bytes. Checks that opening the store writes nothing and takes
/// a limited number of reads.
fn checkpoints(flash: &mut Chip) -> Vec<(CheckpointMeta, Vec<u8>)> {
    let before = flash.counts;
    let mut store = open(flash);
    let all = list_checkpoints(&mut store).unwrap();
    let reads = store.flash().counts.reads - before.reads;
    assert!(reads <= (SLOTS * (4 + 2 * BLOCK / 64 + 2)) as u64, "{reads} reads");
    assert_eq!(store.flash().counts.operations, before.operations);
    all.into_iter().map(|meta| (meta, read_stream(&mut store, meta.step).unwrap())).collect()
}

/// Checks that the store finds no checkpoint in `image` and can save three checkpoints over its contents.
fn assert_free_space(image: Vec<u8>) {
    for erased in [0xFF, 0] {
        let mut flash = Chip::with_image(image.clone(), erased);
        assert_eq!(checkpoints(&mut flash), []);
        save(&mut flash, &[10, 60, 10]).unwrap();
        assert_eq!(checkpoints(&mut flash).len(), 3);
        assert_eq!(flash.violations(), []);
    }
}

#[test]
fn random_and_nearly_uniform_images_are_free_space() {
    assert_free_space(vec![0xFF; SIZE]);
    assert_free_space(vec![0; SIZE]);
    let mut random = Random::new(3);
    for flips in [1, 2, 8, 64, 1024] {
        for _ in 0..50 {
            for base in [0xFF, 0] {
                let mut image = vec![base; SIZE];
                (0..flips).for_each(|_| image[random.below(SIZE)] ^= 1 << random.below(8));
                assert_free_space(image);
            }
        }
    }
    for _ in 0..200 {
        assert_free_space((0..SIZE).map(|_| random.byte()).collect());
    }
    // The image is random, but each slot has the correct magic numbers, size and index in the correct places.
    for _ in 0..200 {
        let mut image: Vec<u8> = (0..SIZE).map(|_| random.byte()).collect();
        for (index, slot) in image.chunks_mut(2 * BLOCK).enumerate() {
            slot[..8].copy_from_slice(&[b'T', b'M', b'S', 2, 0, 2, 0, index as u8]);
            slot[96..101].copy_from_slice(b"TMCK\x02");
        }
        assert_free_space(image);
    }
}

#[test]
fn damaged_bits_hide_checkpoints_but_never_change_them() {
    let mut flash = Chip::with_image(vec![0x5A; SIZE], 0xFF);
    save(&mut flash, &[10, 60, 20]).unwrap();
    let (image, saved) = (flash.image().to_vec(), checkpoints(&mut flash));
    assert_eq!(saved.len(), 3);
    for bit in 0..8 * SIZE {
        flash.image_mut()[bit / 8] ^= 1 << (bit % 8);
        let listed = checkpoints(&mut flash);
        assert!(listed.iter().all(|checkpoint| saved.contains(checkpoint)), "bit {bit}");
        assert!(listed.len() >= 2, "bit {bit} hides more than one checkpoint");
        flash.image_mut()[bit / 8] ^= 1 << (bit % 8);
    }
    let mut random = Random::new(5);
    for _ in 0..3000 {
        flash.image_mut().copy_from_slice(&image);
        (0..1 + random.below(40)).for_each(|_| flash.image_mut()[random.below(SIZE)] = random.byte());
        assert!(checkpoints(&mut flash).iter().all(|checkpoint| saved.contains(checkpoint)));
    }
}

/// Returns a flash with one checkpoint, in slot 0. The function `change` modifies the record that describes this
/// checkpoint. The checksum of the record and the seal are then corrected.
fn with_forged_record(change: impl Fn(&mut [u8])) -> Chip {
    let mut flash = Chip::with_image(vec![0x5A; SIZE], 0xFF);
    save(&mut flash, &[10]).unwrap();
    let slot = &mut flash.image_mut()[..68];
    change(&mut slot[..56]);
    let crc = crc32fast::hash(&slot[..52]);
    slot[52..56].copy_from_slice(&crc.to_le_bytes());
    slot[64..].copy_from_slice(&(!crc).to_le_bytes());
    flash
}

#[test]
fn records_with_an_invalid_length_or_version_are_ignored() {
    assert_eq!(checkpoints(&mut with_forged_record(|_| ())).len(), 1);
    for len in [0, 1, 3, 4, 5, 415, 416, 417, 512, 4096, 0x7FFF_FFFF, 0xFFFF_FF9F, 0xFFFF_FFA0, 0xFFFF_FFFF] {
        let mut flash = with_forged_record(|record| record[24..28].copy_from_slice(&u32::to_le_bytes(len)));
        assert_eq!(checkpoints(&mut flash), [], "length {len}");
        save(&mut flash, &[10, 20]).unwrap();
    }
    for version in [0, 1, 3, 255] {
        let mut flash = with_forged_record(|record| record[3] = version);
        assert_eq!(checkpoints(&mut flash), [], "version {version}");
    }
    // Each number is the offset of a field of the record: sequence, run, series (two numbers), step, iteration, score,
    // two erase counts, and the flags of the slots. The largest value of each field is valid and must not cause an
    // overflow.
    for field in [8, 12, 16, 20, 28, 32, 36, 40, 44, 48] {
        let mut flash = with_forged_record(|record| record[field..field + 4].fill(0xFF));
        assert_eq!(checkpoints(&mut flash).len(), 1);
        let policy = ModelCheckpoint::<2>::every(1).unwrap();
        let mut handler = policy.attach(IterationCompleted, open(&mut flash)).unwrap();
        for step in 2..6 {
            let mut objects = Named::new("m", [step as f32]);
            let result = handler.save(SaveDecision { step, score: None }, 10 * step, None, &mut objects);
            // No sequence number is greater than the largest one.
            assert_eq!(result, if field == 8 { Err(EncodeError::NoSequenceLeft) } else { Ok(()) });
        }
    }
}

#[test]
fn records_of_another_geometry_are_refused() {
    let mut flash = Chip::with_image(vec![0x5A; SIZE], 0xFF);
    save(&mut flash, &[10, 20, 30]).unwrap();
    // The flash is opened with smaller slots, with slots of the same size in a smaller region, and with slots of twice
    // the size. A record contains its slot size and its position in the region, so the store refuses the region.
    let expected = |address, index| RegionError::OtherLayout { address, slot: 512, index, slots: 3 };
    assert_eq!(Slots::<_, 6>::open(&mut flash, 0..SIZE as u32).err(), Some(expected(0, 0)));
    assert_eq!(Slots::<_, 2>::open(&mut flash, 512..SIZE as u32).err(), Some(expected(512, 1)));
    let mut larger = Chip::with_image([flash.image(), &[0; 512]].concat(), 0xFF);
    assert_eq!(Slots::<_, 2>::open(&mut larger, 0..2048).err(), Some(expected(0, 0)));
    // The program erases the region. It can then divide it into other slots.
    Slots::<_, 2>::erase_region(&mut larger, 0..2048).unwrap();
    assert_eq!(list_checkpoints(&mut Slots::<_, 2>::open(&mut larger, 0..2048).unwrap()), Ok(vec![]));
    // The record of a slot (the flash area of one checkpoint) is bound to its position. The store refuses a copy in
    // slot 1.
    let mut image = flash.image().to_vec();
    image.copy_within(0..2 * BLOCK, 2 * BLOCK);
    let mut copied = Chip::with_image(image, 0xFF);
    assert_eq!(Slots::<_, SLOTS>::open(&mut copied, 0..SIZE as u32).err(), Some(expected(512, 0)));
    // A whole region can be copied to another address, and to a flash with a larger write size. Its checkpoints stay
    // valid.
    let mut image = vec![0; BLOCK];
    image.extend_from_slice(flash.image());
    let mut flash = Flash::<32, BLOCK, 4>::with_image(image, 0);
    let mut store = Slots::<_, SLOTS>::open(&mut flash, BLOCK as u32..(BLOCK + SIZE) as u32).unwrap();
    assert_eq!(list_checkpoints(&mut store).unwrap().len(), 3);
}

#[test]
fn an_unreadable_flash_has_no_checkpoints() {
    let mut flash = Chip::with_image(vec![0x5A; SIZE], 0xFF);
    save(&mut flash, &[10, 20]).unwrap();
    // The erase below triggers a power failure. All later reads fail, so the opened store lists no checkpoints.
    flash.cut_power_at(0, Interruption::Nothing, 0);
    assert!(flash.erase(SIZE as u32 - 256, SIZE as u32).is_err());
    let mut store = Slots::<_, SLOTS>::open(&mut flash, 0..SIZE as u32).unwrap();
    assert_eq!(list_checkpoints(&mut store), Ok(vec![]));
}
