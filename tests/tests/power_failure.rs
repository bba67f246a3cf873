//! A short run of the power-failure checks, and tests that the checks detect deliberate mistakes.

use std::time::Duration;
use training_monitor_tests::power_failure::{
    self, ErasesOneBlock, Extent, GEOMETRIES, KeepsOldRecords, NoChecksum, NoSeal, NoSpareSlot, SavesInPieces,
    SkipsBlankBlocks, StoreVariant, Summary, UnderstatesPage, Unmodified, UnmodifiedBuiltInSum, replay,
};

#[test]
fn every_acknowledged_checkpoint_survives_power_failures() {
    let summary = power_failure::run::<Unmodified>(Extent::Short, GEOMETRIES, 1, Duration::from_secs(1));
    assert_eq!(summary.failed_cases, []);
    assert!(summary.failed == 0 && summary.passed > 10_000, "{} cases", summary.passed);
}

#[test]
fn every_acknowledged_checkpoint_survives_with_saves_in_pieces() {
    let mut summary = Summary::default();
    power_failure::run_bounded::<SavesInPieces>(Extent::Short, GEOMETRIES, &mut summary);
    power_failure::run_long::<SavesInPieces>(200..210, None, &mut summary);
    assert_eq!(summary.failed_cases, []);
    assert!(summary.passed > 10_000, "{} cases", summary.passed);
}

#[test]
fn every_acknowledged_checkpoint_survives_with_the_built_in_checksum() {
    let mut summary = Summary::default();
    power_failure::run_long::<UnmodifiedBuiltInSum>(100..110, None, &mut summary);
    assert_eq!(summary.failed_cases, []);
}

/// Power fails in two saves and leaves an unstable bit in the record of each. The next start reads neither checkpoint, so
/// the next save has a lower sequence number than the second of them. The following start must not resume from it.
#[test]
fn the_remains_of_several_interrupted_saves_do_not_become_the_newest_checkpoint() {
    for line in [
        "w=32 e=256 v=ff s=2 start=blank rank=score saves=S9 failures=5:one-unstable:197,5:one-unstable:198",
        "w=32 e=256 v=ff s=2 start=garbage rank=interval saves=S9 failures=5:one-unstable:197,5:one-unstable:198",
        "w=32 e=256 v=ff s=4 start=blank rank=interval saves=S9 failures=5:one-unstable:197,5:one-unstable:198",
        "w=16 e=256 v=00 s=3 start=blank rank=interval saves=L9 failures=20:one-unstable:662,20:one-unstable:663",
    ] {
        assert_eq!(replay::<Unmodified>(line), Ok(()), "{line}");
    }
}

/// Seeds of long random sequences of saves and power failures. A store that writes no seal (the second mark of a
/// committed checkpoint), or that is opened with a smaller page than that of the memory, loses a checkpoint in some of
/// these sequences.
const SEEDS: core::ops::Range<u64> = 560..600;

/// Checks that the test cases detect the deliberate mistake of a store variant. The reported line must reproduce the
/// error, and the unmodified store must pass the same line.
fn assert_detected<V: StoreVariant>(long: bool) {
    let mut summary = Summary::default();
    if long {
        power_failure::run_long::<V>(SEEDS, None, &mut summary);
    } else {
        power_failure::run_bounded::<V>(Extent::Short, GEOMETRIES, &mut summary);
    }
    assert!(summary.failed > 0, "{} cases passed", summary.passed);
    let (line, expected) = &summary.failed_cases[0];
    let error = replay::<V>(line).expect_err("the variant fails again");
    assert!(error.contains(expected.as_str()), "{line}: {error}, expected {expected}");
    assert_eq!(replay::<Unmodified>(line), Ok(()), "{line}");
}

#[test]
fn a_store_that_skips_erases_of_blank_blocks_is_detected() {
    assert_detected::<SkipsBlankBlocks>(false);
}

#[test]
fn a_store_that_ignores_checksums_is_detected() {
    assert_detected::<NoChecksum>(false);
}

#[test]
fn a_store_without_a_spare_slot_is_detected() {
    assert_detected::<NoSpareSlot>(false);
}

#[test]
fn a_store_that_erases_one_block_only_is_detected() {
    assert_detected::<ErasesOneBlock>(false);
}

#[test]
fn a_store_that_keeps_the_old_record_of_a_slot_is_detected() {
    assert_detected::<KeepsOldRecords>(false);
}

#[test]
fn a_store_with_a_smaller_page_than_the_memory_is_detected() {
    assert_detected::<UnderstatesPage>(true);
}

#[test]
fn a_store_without_seals_is_detected() {
    assert_detected::<NoSeal>(true);
}

#[test]
fn an_invalid_replay_line_is_an_error() {
    assert!(replay::<Unmodified>("w=4").is_err());
    assert!(replay::<Unmodified>("w=3 e=256 v=ff s=3 start=full rank=score saves=S1 failures=1:bits:5").is_err());
    assert!(replay::<Unmodified>("w=4 e=256 v=ff s=5 start=full rank=score saves=S1 failures=1:bits:5").is_err());
    assert!(replay::<Unmodified>("w=4 e=256 v=ff s=3 start=full rank=score saves=S1 failures=1:bytes:5").is_err());
}
