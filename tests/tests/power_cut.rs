//! A short run of the power-cut judge, and proofs that it can fail.

use std::time::Duration;
use training_monitor_tests::power_cut::{
    self, Extent, GEOMETRIES, Honest, HonestOwnSums, Layer, NoChecksum, NoSeal, NoSpare, OneBlock, TrustsBlank,
    Verdict, replay,
};

#[test]
fn every_committed_checkpoint_survives() {
    let verdict = power_cut::judge::<Honest>(Extent::Short, GEOMETRIES, 1, Duration::from_secs(1));
    assert_eq!(verdict.failures, []);
    assert!(verdict.failed == 0 && verdict.passed > 10_000, "{} cases", verdict.passed);
}

#[test]
fn and_with_sums_of_its_own() {
    let mut verdict = Verdict::default();
    power_cut::long::<HonestOwnSums>(100..110, None, &mut verdict);
    assert_eq!(verdict.failures, []);
}

/// Long sequences of which some lose a checkpoint where there are no seals.
const SEEDS: core::ops::Range<u64> = 120..150;

/// The judge finds the mistake, and the line it prints shows it again, and shows nothing where the mistake is not made.
fn is_caught<L: Layer>(long: bool) {
    let mut verdict = Verdict::default();
    if long {
        power_cut::long::<L>(SEEDS, None, &mut verdict);
    } else {
        power_cut::bounded::<L>(Extent::Short, GEOMETRIES, &mut verdict);
    }
    assert!(verdict.failed > 0, "{} cases passed", verdict.passed);
    let (line, why) = &verdict.failures[0];
    assert_eq!(replay::<L>(line).map_err(|error| error.contains(why.as_str())), Err(true), "{line}: {why}");
    assert_eq!(replay::<Honest>(line), Ok(()), "{line}");
}

#[test]
fn a_store_that_trusts_what_reads_blank_is_caught() {
    is_caught::<TrustsBlank>(false);
}

#[test]
fn a_store_that_does_not_check_streams_is_caught() {
    is_caught::<NoChecksum>(false);
}

#[test]
fn a_store_without_a_spare_slot_is_caught() {
    is_caught::<NoSpare>(false);
}

#[test]
fn a_store_that_erases_too_little_is_caught() {
    is_caught::<OneBlock>(false);
}

#[test]
fn a_store_without_seals_is_caught() {
    is_caught::<NoSeal>(true);
}

#[test]
fn a_line_that_is_none_is_an_error() {
    assert!(replay::<Honest>("w=4").is_err());
    assert!(replay::<Honest>("w=3 e=256 v=ff s=3 start=full rank=score saves=S1 cuts=1:bits:5").is_err());
    assert!(replay::<Honest>("w=4 e=256 v=ff s=5 start=full rank=score saves=S1 cuts=1:bits:5").is_err());
    assert!(replay::<Honest>("w=4 e=256 v=ff s=3 start=full rank=score saves=S1 cuts=1:bytes:5").is_err());
}
