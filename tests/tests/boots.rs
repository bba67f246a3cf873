//! A fast subset of the simulator of starts, and the self-check of its checker.

use training_monitor_tests::boots::cases::{DIRECTORY, STORES, Sequence, check_on};
use training_monitor_tests::boots::generate::{CHANGES, FAILURES, POWER, random_sequence};
use training_monitor_tests::boots::medium::Medium;
use training_monitor_tests::boots::mistakes::{
    DROPS_AT_OPEN, EVICTS_BEFORE_COMMIT, HIDES_NEWEST, LYING_COMMIT, MIXES_FILES, Mistaken, NOT_DURABLE, REMOVES_ALL,
};
use training_monitor_tests::boots::table::Summary;

#[test]
fn sequences_of_starts_follow_the_rules() {
    let mut summary = Summary::new();
    summary.run_interruptions(3, 97);
    for seed in 0..3 {
        (0..STORES.len()).for_each(|store| summary.run_round(store, seed));
    }
    for (line, error) in summary.failures.iter().take(10) {
        println!("{error}\n    --replay \"{line}\"");
    }
    assert_eq!(summary.failed, 0);
    assert!(summary.cells.iter().all(|count| *count >= 3), "a cell of the table is not reached:\n{summary}");
}

#[test]
fn a_sequence_is_repeated_from_its_line() {
    for change in 0..CHANGES.len() {
        for failure in 0..FAILURES.len() {
            let sequence = random_sequence(change, failure, change % 5, 7);
            assert_eq!(sequence.to_string().parse::<Sequence>().as_ref(), Ok(&sequence));
        }
    }
}

/// Returns how many sequences, with and without power failures, detect the mistake of a store.
fn detections<M: Medium>() -> usize {
    let sequences = (0..100).map(|seed| random_sequence(0, [0, POWER][seed as usize % 2], DIRECTORY, seed));
    sequences.filter(|sequence| check_on::<M>(sequence, false).is_err()).count()
}

#[test]
fn mistakes_of_a_store_are_detected() {
    assert!(detections::<Mistaken<DROPS_AT_OPEN>>() > 0);
    assert!(detections::<Mistaken<LYING_COMMIT>>() > 0);
    assert!(detections::<Mistaken<EVICTS_BEFORE_COMMIT>>() > 0);
    assert!(detections::<Mistaken<HIDES_NEWEST>>() > 0);
    assert!(detections::<Mistaken<MIXES_FILES>>() > 0);
    assert!(detections::<Mistaken<REMOVES_ALL>>() > 0);
    assert!(detections::<Mistaken<NOT_DURABLE>>() > 0);
    assert_eq!(detections::<Mistaken<{ u8::MAX }>>(), 0, "a store without a mistake");
}
