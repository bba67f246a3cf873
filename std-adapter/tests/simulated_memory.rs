//! The simulated byte-addressable memory of `test_support`: the effects of interrupted writes, and its counts.

use training_monitor::embedded_storage::nor_flash::NorFlashErrorKind;
use training_monitor::embedded_storage::{ReadStorage, Storage};
use training_monitor_std::test_support::flash::Flash;
use training_monitor_std::test_support::memory::{Chip, ChipError, Interruption, Memory, Violation};

fn read(memory: &mut Memory, at: u32, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    ReadStorage::read(memory, at, &mut bytes).unwrap();
    bytes
}

#[test]
fn bytes_are_overwritten_at_any_address_and_counted() {
    let mut memory = Memory::with_image(vec![0xA5; 256], 16);
    memory.write(14, &[1, 2, 3, 4]).unwrap();
    memory.write(15, &[9]).unwrap();
    memory.write(100, &[]).unwrap();
    assert_eq!(read(&mut memory, 13, 6), [0xA5, 1, 9, 3, 4, 0xA5]);
    assert_eq!((memory.counts.operations, memory.counts.programmed, memory.counts.erased), (3, 5, 0));
    assert_eq!(memory.block_erases[..3], [2, 1, 0]);
    assert_eq!(memory.capacity(), 256);
}

#[test]
fn a_call_that_exceeds_the_memory_is_a_violation_and_writes_nothing() {
    let mut memory = Memory::with_image(vec![0xA5; 64], 8);
    let out_of_bounds = Err(ChipError::Contract(NorFlashErrorKind::OutOfBounds));
    assert_eq!(memory.write(60, &[0; 5]), out_of_bounds);
    assert_eq!(ReadStorage::read(&mut memory, 60, &mut [0; 5]), out_of_bounds);
    assert_eq!(memory.violations(), [Violation::OutOfBounds { at: 60 }; 2]);
    assert_eq!(memory.image(), [0xA5; 64]);
}

/// Returns the memory after a write of 24 times the byte 1 at the address 20, during whose second page the power fails.
fn interrupted(interruption: Interruption, page: usize, seed: u64) -> Memory {
    let mut memory = Memory::with_image(vec![0xA5; 64], page);
    memory.cut_power_at(1, interruption, seed);
    assert_eq!(memory.write(20, &[1; 24]), Err(ChipError::PowerOff));
    assert_eq!(ReadStorage::read(&mut memory, 0, &mut [0]), Err(ChipError::PowerOff));
    assert!(memory.is_off());
    memory.power_on();
    memory
}

/// The first page of the call is written. The interrupted page has the content of the effect. Other bytes are unchanged.
#[test]
fn an_interrupted_write_changes_only_its_page() {
    for interruption in Interruption::OVERWRITE {
        for (seed, page) in (0..200).flat_map(|seed| [(seed, 8), (seed, 1)]) {
            if !Interruption::all_of_overwrite(page).contains(&interruption) {
                continue;
            }
            let mut memory = interrupted(interruption, page, seed);
            let image = memory.image().to_vec();
            // With a page of 8 bytes, the call starts in the middle of the page from 16 to 24.
            let at = if page == 8 { 24 } else { 21 };
            assert!(image[..20].iter().all(|byte| *byte == 0xA5) && image[20..at].iter().all(|byte| *byte == 1));
            assert!(image[44..].iter().all(|byte| *byte == 0xA5) || interruption == Interruption::Scatter);
            assert!(image[48..].iter().all(|byte| *byte == 0xA5), "{interruption}");
            let cells = &image[at..at + page];
            match interruption {
                Interruption::Scatter => continue,
                Interruption::Nothing => assert!(cells.iter().all(|byte| *byte == 0xA5)),
                Interruption::Whole | Interruption::Unreadable => assert!(cells.iter().all(|byte| *byte == 1)),
                Interruption::First => assert_eq!(cells, [&[1][..], &[0xA5; 7]].concat()),
                Interruption::Half => assert_eq!(cells, [[1; 4], [0xA5; 4]].concat()),
                Interruption::ButOne => assert_eq!(cells, [&[1; 7][..], &[0xA5]].concat()),
                Interruption::Zero => assert!(cells.iter().all(|byte| *byte == 0)),
                Interruption::One => assert!(cells.iter().all(|byte| *byte == 0xFF)),
                // Bits that are equal in the old and the new byte, 0xA5 and 1, have no other value.
                Interruption::Bits => assert!(cells.iter().all(|byte| byte & !0xA4 == 1)),
                _ => (),
            }
            assert!(image[at + page..].iter().all(|byte| *byte == 0xA5), "{interruption}");
            let mut buffer = vec![0; page];
            let is_readable = ReadStorage::read(&mut memory, at as u32, &mut buffer).is_ok();
            assert_eq!(is_readable, interruption != Interruption::Unreadable);
            // A complete write of the page makes it stable and readable.
            memory.write(at as u32, &vec![7; page]).unwrap();
            assert!(!memory.is_unstable());
            assert_eq!(read(&mut memory, at as u32, page), vec![7; page]);
        }
    }
}

#[test]
fn an_unstable_bit_has_a_random_value_in_each_read_until_its_page_is_written() {
    let mut changes = [0; 2];
    for seed in 0..50 {
        let mut memory = interrupted(Interruption::OneUnstable, 8, seed);
        let reads: Vec<Vec<u8>> = (0..64).map(|_| read(&mut memory, 24, 8)).collect();
        let differences = reads.iter().fold([0; 8], |all: [u8; 8], bytes| {
            std::array::from_fn(|index| all[index] | (bytes[index] ^ reads[0][index]))
        });
        assert_eq!(differences.iter().map(|byte| byte.count_ones()).sum::<u32>(), 1, "seed {seed}");
        // The write of one byte writes the page. The unstable bit then has one of its values.
        let base = memory.image()[24];
        changes[usize::from(base & !differences[0] == 1)] += 1;
        memory.write(31, &[3]).unwrap();
        assert!(!memory.is_unstable());
        assert_eq!(read(&mut memory, 24, 8), read(&mut memory, 24, 8));
    }
    assert!(changes.iter().all(|count| *count > 5), "the write has begun, or is nearly complete: {changes:?}");
    assert!(interrupted(Interruption::Unstable, 1, 3).is_unstable());
}

#[test]
fn a_flash_chip_is_no_byte_addressable_memory() {
    let mut flash = Flash::<4, 256>::new(512, 0xFF);
    assert!(Memory::with_chip(&mut flash).is_none());
    assert!(Memory::with_chip(&mut Chip::byte_addressable(1, vec![0; 16])).is_some());
}
