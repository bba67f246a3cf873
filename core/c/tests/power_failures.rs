//! Power fails during each operation of the flash, or each write of a page of a memory, in a run through the C interface. The next start resumes the run, which ends with
//! the weights of an uninterrupted run.

#![allow(clippy::undocumented_unsafe_blocks, reason = "the tests call the interface as a C program does")]

mod common;

use common::{c_session, chip, memory};
use training_monitor_std::test_support::flash::{Chip, Interruption};

const ALL: u32 = 10_000;

/// The effects of a power failure on both operations of a flash.
const INTERRUPTIONS: [Interruption; 8] = [
    Interruption::Nothing,
    Interruption::Whole,
    Interruption::Half,
    Interruption::Bits,
    Interruption::Garbage,
    Interruption::Unstable,
    Interruption::Unreadable,
    Interruption::OneUnstable,
];

#[test]
fn a_run_survives_a_power_failure_in_each_operation() {
    survive(chip, &INTERRUPTIONS);
}

#[test]
fn a_run_survives_a_power_failure_in_each_write_of_a_page() {
    survive(memory::<16>, Interruption::all_of_overwrite(16));
    survive(memory::<64>, Interruption::all_of_overwrite(64));
}

fn survive(medium: fn() -> Chip, interruptions: &[Interruption]) {
    let mut uninterrupted = medium();
    let expected = c_session(&mut uninterrupted, ALL).expect("the run ends");
    let operations = uninterrupted.counts.operations;
    assert!(operations > 50);
    let mut cases = 0;
    for operation in 0..operations {
        for (seed, interruption) in interruptions.iter().copied().enumerate() {
            let mut chip = medium();
            chip.cut_power_at(operation, interruption, seed as u64);
            // Early stopping has already ended the run when the last checkpoint is saved.
            let interrupted = c_session(&mut chip, ALL);
            assert!(interrupted.is_none_or(|found| found == expected), "operation {operation}, {interruption:?}");
            assert!(chip.is_off(), "operation {operation}, {interruption:?}");
            // The power fails a second time, in the first operations of the next start.
            chip.power_on();
            chip.cut_power_at(operation % 5, interruption, operation);
            let found = c_session(&mut chip, ALL).or_else(|| {
                chip.power_on();
                c_session(&mut chip, ALL)
            });
            assert_eq!(found, Some(expected.clone()), "operation {operation}, {interruption:?}");
            assert_eq!(chip.violations(), [], "operation {operation}, {interruption:?}");
            cases += 1;
        }
    }
    println!("{cases} power failures, each followed by a second one");
}
