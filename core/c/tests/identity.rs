//! A run through the C interface and the same run in Rust write the same bytes to the flash or the memory, and each of them
//! resumes the run of the other one.

#![allow(clippy::undocumented_unsafe_blocks, reason = "the tests call the interface as a C program does")]

mod common;

use common::{c_session, chip, memory, rust_session};
use training_monitor::StopReason;
use training_monitor_c::{TM_REASON_EARLY_STOPPING, TM_REASON_MAX_EPOCHS};
use training_monitor_std::test_support::flash::Chip;

const ALL: u32 = 10_000;

/// A flash, and memories with pages of both layouts.
const MEDIA: [fn() -> Chip; 5] = [chip, memory::<1>, memory::<16>, memory::<64>, memory::<256>];

#[test]
fn the_same_run_writes_the_same_bytes() {
    MEDIA.into_iter().for_each(compare_runs);
}

fn compare_runs(medium: fn() -> Chip) {
    let (mut c, mut rust) = (medium(), medium());
    let (c_outcome, c_trainee) = c_session(&mut c, ALL).expect("the run in C ends");
    let (rust_outcome, rust_trainee) = rust_session(&mut rust, ALL).expect("the run in Rust ends");
    assert_eq!(c_trainee, rust_trainee);
    assert_eq!((c_outcome.epoch, c_outcome.iteration), (rust_outcome.epoch, rust_outcome.iteration));
    let reason = match rust_outcome.reason {
        StopReason::MaxEpochs => TM_REASON_MAX_EPOCHS,
        StopReason::EarlyStopping => TM_REASON_EARLY_STOPPING,
        reason => panic!("{reason:?}"),
    };
    assert_eq!(c_outcome.reason, reason);
    assert!(c.counts.operations > 40, "the run has saved: {:?}", c.counts);
    // The store in Rust collects the bytes of a page. The encoder writes multiples of 64 bytes.
    let (pages_in_c, page) = (c.counts.operations, c.geometry().0);
    assert!(
        if page <= 64 { c.counts == rust.counts } else { pages_in_c <= 4 * rust.counts.operations },
        "{page} bytes: {:?} in C, {:?} in Rust",
        c.counts,
        rust.counts
    );
    assert!(c.image() == rust.image(), "the contents differ");
    assert_eq!((c.violations(), rust.violations()), (&[][..], &[][..]));
}

/// The program changes its language at each start.
#[test]
fn each_resumes_the_run_of_the_other() {
    MEDIA.into_iter().for_each(alternate);
}

fn alternate(medium: fn() -> Chip) {
    let (_, expected) = rust_session(&mut medium(), ALL).expect("the run ends");
    for steps in [5, 9, 13, 21] {
        for c_first in [true, false] {
            let mut chip = medium();
            let mut starts = 0;
            let found = loop {
                starts += 1;
                assert!(starts < 100, "the run makes no progress with {steps} steps per start");
                let ended = if (starts % 2 == 1) == c_first {
                    c_session(&mut chip, steps).map(|(_, trainee)| trainee)
                } else {
                    rust_session(&mut chip, steps).map(|(_, trainee)| trainee)
                };
                if let Some(trainee) = ended {
                    break trainee;
                }
            };
            assert!(starts > 2);
            assert_eq!(found, expected, "{steps} steps per start");
            assert_eq!(chip.violations(), []);
        }
    }
}
