//! Tests of the models against observed results of Ignite, so that the same error in a model and in the library is
//! detected. Comparison of the library with the models for every short sequence of critical numbers.

use training_monitor::handlers::early_stopping::{Mode, ThresholdMode};
use training_monitor::{EarlyStopping, ModelCheckpoint};
use training_monitor_tests::models::early_stopping::EarlyStopping as EarlyStoppingModel;
use training_monitor_tests::models::guard::Guard;
use training_monitor_tests::models::ranking::{ModelCheckpoint as RankingModel, StepSource};
use training_monitor_tests::models::score_text::score_text;
use training_monitor_tests::models::timer::Timer as TimerModel;
use training_monitor_tests::models::{filters::Filter, number::Counter, stream};

fn ranking(interval: Option<u32>, n_saved: usize, or_equal: bool) -> RankingModel {
    let (kept, committed) = (Vec::new(), Vec::new());
    let step_source = StepSource::Calls;
    RankingModel { interval, n_saved: Some(n_saved), capacity: 4, or_equal, step_source, calls: 0, kept, committed }
}

/// Returns the kept steps after each score, in ascending order.
fn kept_steps(mut model: RankingModel, scores: &[f32]) -> Vec<Vec<u32>> {
    let update = |score: &f32| {
        if let Some(save) = model.update(1, 1, Some(*score)) {
            model.record_commit(save);
        }
        let mut steps: Vec<u32> = model.kept.iter().map(|kept| kept.step).collect();
        steps.sort_unstable();
        steps
    };
    scores.iter().map(update).collect()
}

#[test]
fn the_ranking_model_agrees_with_observed_results_of_ignite() {
    assert_eq!(kept_steps(ranking(None, 1, false), &[1., 1., 2., 2., 1.]), [[1], [1], [3], [3], [3]]);
    let two = kept_steps(ranking(None, 2, false), &[1., 1., 1., 2., 2., 2.]);
    assert_eq!(two, [vec![1], vec![1, 2], vec![1, 2], vec![2, 4], vec![4, 5], vec![4, 5]]);
    assert_eq!(kept_steps(ranking(None, 2, false), &[1., -2., 3., -4.]).last(), Some(&vec![1, 3]));
    assert_eq!(kept_steps(ranking(Some(2), 2, false), &[0.; 8]).last(), Some(&vec![6, 8]));
    assert_eq!(
        kept_steps(ranking(Some(3), 2, false), &[0.; 10])[5..],
        [vec![3, 6], vec![3, 6], vec![3, 6], vec![6, 9], vec![6, 9]]
    );
    let or_equal = kept_steps(ranking(None, 2, true), &[1., 1., 1., 2., 2., 2.]);
    assert_eq!(or_equal, [vec![1], vec![1, 2], vec![2, 3], vec![3, 4], vec![4, 5], vec![5, 6]]);
    assert_eq!(kept_steps(ranking(None, 1, true), &[1., 1., 2., 2., 1.]), [[1], [2], [3], [4], [4]]);
    // If the first score is NaN, Ignite never saves again. This library ignores the NaN and saves the later
    // checkpoints.
    assert_eq!(kept_steps(ranking(None, 1, false), &[f32::NAN, 1., 2.]), [vec![], vec![2], vec![3]]);
}

#[test]
fn the_early_stopping_model_agrees_with_observed_results_of_ignite() {
    let counters = |mut model: EarlyStoppingModel, scores: &[f32]| -> Vec<(usize, bool)> {
        let update = |score: &f32| {
            let should_stop = model.update(*score);
            (model.counter(), should_stop)
        };
        scores.iter().map(update).collect()
    };
    let with_patience = |patience| EarlyStoppingModel { patience, ..EarlyStoppingModel::default() };
    assert_eq!(counters(with_patience(1), &[1., 1.]), [(0, false), (1, true)]);
    assert_eq!(counters(with_patience(3), &[1., 0.5, 0.6, 1.]), [(0, false), (1, false), (2, false), (3, true)]);
    let with_threshold = |cumulative| EarlyStoppingModel { threshold: 0.1, cumulative, ..with_patience(9) };
    assert_eq!(counters(with_threshold(false), &[1., 1.05, 1.12]).last(), Some(&(2, false)));
    assert_eq!(counters(with_threshold(true), &[1., 1.05, 1.12]).last(), Some(&(0, false)));
    assert_eq!(counters(with_threshold(false), &[1., 1.1]).last(), Some(&(1, false)));
    let lower = EarlyStoppingModel { lower: true, ..with_threshold(false) };
    assert_eq!(counters(lower, &[1., 0.95, 0.89]).last(), Some(&(2, false)));
    // With a relative threshold and a negative best score, Ignite's limit is below the best score: -1.05 is worse than
    // -1, but counts as an improvement.
    let relative = EarlyStoppingModel { relative: true, ..with_threshold(false) };
    assert_eq!(counters(relative, &[-1., -1.05]).last(), Some(&(0, false)));
}

#[test]
fn the_other_models_agree_with_observed_results() {
    let mut timer = TimerModel::new(0, true);
    timer.pause(5);
    timer.pause(50);
    timer.resume(100);
    timer.resume(200);
    assert_eq!((timer.total(), timer.elapsed(300), timer.value(300)), (5, 205, 205.0));
    let every = |every, after, before| {
        let filter = Filter::Window { every: Some(Counter(every)), after, before };
        (0..10).filter(|value| filter.matches(*value)).collect::<Vec<u32>>()
    };
    assert_eq!(every(3, None, None), [0, 3, 6, 9]);
    assert_eq!(every(3, Some(Counter(0)), None), [1, 4, 7]);
    assert_eq!(every(3, None, Some(Counter(7))), [1, 4]);
    let mut guard = Guard { every: 3, calls: 0 };
    let found: Vec<_> = (0..3).map(|_| guard.check_stripe(&[f32::NAN, 0., 0., 0., f32::INFINITY])).collect();
    assert_eq!(found, [Some(0), None, Some(4)]);
    for (score, text) in [
        (0.1234, "0.1234"),
        (1.0, "1.0"),
        (999_999.94, "999999.9"),
        (1e6, "1e+06"),
        (99_999.99, "99999.99"),
        (0.0001, "0.0001"),
        (1e-5, "1e-05"),
        (-0.0, "0.0"),
        (f32::NEG_INFINITY, "inf"),
    ] {
        assert_eq!(score_text(score), text);
    }
    assert_eq!(stream::crc32(b"123456789"), 0xCBF4_3926);
    assert!(stream::read(b"TMCK\x01").is_none());
}

/// Critical numbers: NaN, infinities, both zeros, a subnormal number, and two others.
const NUMBERS: [f32; 8] = [f32::NAN, f32::NEG_INFINITY, -0.0, 0.0, f32::from_bits(1), 1.0, 1.5, f32::INFINITY];

/// Returns every sequence of `NUMBERS` of this length.
fn sequences(length: u32) -> impl Iterator<Item = Vec<f32>> {
    let number = |sequence: u32, index| NUMBERS[(sequence >> (3 * index) & 7) as usize];
    (0..8u32.pow(length)).map(move |sequence| (0..length).map(|index| number(sequence, index)).collect())
}

#[test]
fn early_stopping_agrees_with_its_model_for_all_short_sequences() {
    for (mode, lower) in [(Mode::Max, false), (Mode::Min, true)] {
        for (threshold, relative, cumulative) in [(0.0, false, false), (0.5, false, true), (0.5, true, false)] {
            let threshold_mode = if relative { ThresholdMode::Rel } else { ThresholdMode::Abs };
            let stopping =
                EarlyStopping::new(2).and_then(|stopping| stopping.with_threshold(threshold, threshold_mode));
            let configured = stopping.expect("valid settings").with_mode(mode).with_cumulative(cumulative);
            for scores in sequences(5) {
                let mut stopping = configured;
                let mut model =
                    EarlyStoppingModel { patience: 2, threshold, relative, lower, cumulative, ..Default::default() };
                for score in &scores {
                    assert_eq!(stopping.update(*score), model.update(*score), "{scores:?} with {configured:?}");
                }
                assert_eq!(stopping.counter() as usize, model.counter(), "{scores:?} with {configured:?}");
                assert_eq!(stopping.best_score().map(f64::from), model.best, "{scores:?} with {configured:?}");
            }
        }
    }
}

#[test]
fn the_ranking_agrees_with_its_model_for_all_short_sequences() {
    for (n_saved, or_equal) in [(1, false), (2, false), (2, true), (3, true)] {
        let configured = ModelCheckpoint::<3>::by_score().with_greater_or_equal(or_equal).with_n_saved(n_saved);
        let configured = configured.expect("a valid number");
        for scores in sequences(5) {
            let mut policy = configured.clone();
            let mut model = ranking(None, n_saved as usize, or_equal);
            for score in &scores {
                let decision = policy.update(Some(*score));
                let expected = model.update(1, 1, Some(*score));
                assert_eq!(decision.map(|decision| decision.step), expected.map(|entry| entry.step), "{scores:?}");
                if let (Some(decision), Some(entry)) = (decision, expected) {
                    let evicted = policy.record_commit(decision).map(|evicted| evicted.step);
                    assert_eq!(evicted, model.record_commit(entry), "{scores:?}");
                }
            }
            let kept: Vec<u32> = policy.kept().iter().map(|kept| kept.step).collect();
            assert_eq!(kept, model.kept.iter().map(|kept| kept.step).collect::<Vec<_>>(), "{scores:?}");
        }
    }
}
