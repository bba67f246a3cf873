//! The models themselves, held to what Ignite was seen to do (so that a model and a machine cannot be wrong in the same
//! way unseen), and the machines against the models over every short sequence of the numbers that matter.

use training_monitor::handlers::early_stopping::{Mode, ThresholdMode};
use training_monitor::handlers::model_checkpoint::Save;
use training_monitor::{EarlyStopping, ModelCheckpoint};
use training_monitor_tests::models::early_stopping::EarlyStopping as EarlyStoppingModel;
use training_monitor_tests::models::guard::Guard;
use training_monitor_tests::models::name::score_text;
use training_monitor_tests::models::ranking::{Count, ModelCheckpoint as RankingModel};
use training_monitor_tests::models::timer::Timer as TimerModel;
use training_monitor_tests::models::{filters::Filter, number::Counter, stream};

fn ranking(interval: Option<u32>, n_saved: usize, or_equal: bool) -> RankingModel {
    let (kept, committed) = (Vec::new(), Vec::new());
    let count = Count::Calls;
    RankingModel { interval, n_saved: Some(n_saved), table: 4, or_equal, count, calls: 0, kept, committed }
}

/// The steps kept after each score, ascending.
fn kept(mut model: RankingModel, scores: &[f32]) -> Vec<Vec<u32>> {
    let after = |score: &f32| {
        if let Some(save) = model.call(1, 1, Some(*score)) {
            model.commit(save);
        }
        let mut steps: Vec<u32> = model.kept.iter().map(|kept| kept.step).collect();
        steps.sort_unstable();
        steps
    };
    scores.iter().map(after).collect()
}

#[test]
fn the_model_of_the_ranking_does_what_ignite_was_seen_to_do() {
    assert_eq!(kept(ranking(None, 1, false), &[1., 1., 2., 2., 1.]), [[1], [1], [3], [3], [3]]);
    let two = kept(ranking(None, 2, false), &[1., 1., 1., 2., 2., 2.]);
    assert_eq!(two, [vec![1], vec![1, 2], vec![1, 2], vec![2, 4], vec![4, 5], vec![4, 5]]);
    assert_eq!(kept(ranking(None, 2, false), &[1., -2., 3., -4.]).last(), Some(&vec![1, 3]));
    assert_eq!(kept(ranking(Some(2), 2, false), &[0.; 8]).last(), Some(&vec![6, 8]));
    assert_eq!(
        kept(ranking(Some(3), 2, false), &[0.; 10])[5..],
        [vec![3, 6], vec![3, 6], vec![3, 6], vec![6, 9], vec![6, 9]]
    );
    let or_equal = kept(ranking(None, 2, true), &[1., 1., 1., 2., 2., 2.]);
    assert_eq!(or_equal, [vec![1], vec![1, 2], vec![2, 3], vec![3, 4], vec![4, 5], vec![5, 6]]);
    assert_eq!(kept(ranking(None, 1, true), &[1., 1., 2., 2., 1.]), [[1], [2], [3], [4], [4]]);
    // Here Ignite freezes, and the design does not.
    assert_eq!(kept(ranking(None, 1, false), &[f32::NAN, 1., 2.]), [vec![], vec![2], vec![3]]);
}

#[test]
fn the_model_of_early_stopping_does_what_ignite_was_seen_to_do() {
    let counters = |mut model: EarlyStoppingModel, scores: &[f32]| -> Vec<(usize, bool)> {
        let after = |score: &f32| {
            let stops = model.update(*score);
            (model.counter(), stops)
        };
        scores.iter().map(after).collect()
    };
    let patient = |patience| EarlyStoppingModel { patience, ..EarlyStoppingModel::default() };
    assert_eq!(counters(patient(1), &[1., 1.]), [(0, false), (1, true)]);
    assert_eq!(counters(patient(3), &[1., 0.5, 0.6, 1.]), [(0, false), (1, false), (2, false), (3, true)]);
    let with = |cumulative| EarlyStoppingModel { threshold: 0.1, cumulative, ..patient(9) };
    assert_eq!(counters(with(false), &[1., 1.05, 1.12]).last(), Some(&(2, false)));
    assert_eq!(counters(with(true), &[1., 1.05, 1.12]).last(), Some(&(0, false)));
    assert_eq!(counters(with(false), &[1., 1.1]).last(), Some(&(1, false)));
    let lower = EarlyStoppingModel { lower: true, ..with(false) };
    assert_eq!(counters(lower, &[1., 0.95, 0.89]).last(), Some(&(2, false)));
    // A relative threshold turns round at a negative best: -1.05 is worse than -1 and counts as an improvement.
    let relative = EarlyStoppingModel { relative: true, ..with(false) };
    assert_eq!(counters(relative, &[-1., -1.05]).last(), Some(&(0, false)));
}

#[test]
fn the_other_models_do_what_was_seen() {
    let mut timer = TimerModel::new(0, true);
    timer.pause(5);
    timer.pause(50);
    timer.resume(100);
    timer.resume(200);
    assert_eq!((timer.total(), timer.elapsed(300), timer.value(300)), (5, 205, 205.0));
    let every = |every, after, before| {
        let filter = Filter::Window { every: Some(Counter(every)), after, before };
        (0..10).filter(|value| filter.lets(*value)).collect::<Vec<u32>>()
    };
    assert_eq!(every(3, None, None), [0, 3, 6, 9]);
    assert_eq!(every(3, Some(Counter(0)), None), [1, 4, 7]);
    assert_eq!(every(3, None, Some(Counter(7))), [1, 4]);
    let mut guard = Guard { every: 3, calls: 0 };
    let found: Vec<_> = (0..3).map(|_| guard.stripe(&[f32::NAN, 0., 0., 0., f32::INFINITY])).collect();
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

/// What decisions depend on: both zeros, ties, subnormals, infinities, NaN.
const NUMBERS: [f32; 8] = [f32::NAN, f32::NEG_INFINITY, -0.0, 0.0, f32::from_bits(1), 1.0, 1.5, f32::INFINITY];

/// Every sequence of `NUMBERS` of this length.
fn sequences(length: u32) -> impl Iterator<Item = Vec<f32>> {
    (0..8u32.pow(length)).map(move |number| (0..length).map(|at| NUMBERS[(number >> (3 * at) & 7) as usize]).collect())
}

#[test]
fn early_stopping_over_every_short_sequence() {
    for (mode, lower) in [(Mode::Max, false), (Mode::Min, true)] {
        for (threshold, relative, cumulative) in [(0.0, false, false), (0.5, false, true), (0.5, true, false)] {
            let threshold_mode = if relative { ThresholdMode::Rel } else { ThresholdMode::Abs };
            let machine = EarlyStopping::new(2).and_then(|machine| machine.with_threshold(threshold, threshold_mode));
            let fresh = machine.expect("good settings").with_mode(mode).with_cumulative(cumulative);
            for scores in sequences(5) {
                let mut machine = fresh;
                let mut model =
                    EarlyStoppingModel { patience: 2, threshold, relative, lower, cumulative, ..Default::default() };
                for score in &scores {
                    assert_eq!(machine.update(*score), model.update(*score), "{scores:?} with {fresh:?}");
                }
                assert_eq!(machine.counter() as usize, model.counter(), "{scores:?} with {fresh:?}");
                assert_eq!(machine.best_score().map(f64::from), model.best, "{scores:?} with {fresh:?}");
            }
        }
    }
}

#[test]
fn the_ranking_over_every_short_sequence() {
    for (n_saved, or_equal) in [(1, false), (2, false), (2, true), (3, true)] {
        let fresh = ModelCheckpoint::<3>::builder().scored().n_saved(n_saved).greater_or_equal(or_equal);
        for scores in sequences(5) {
            let mut machine = fresh.build().expect("good settings");
            let mut model = ranking(None, n_saved as usize, or_equal);
            for score in &scores {
                let decided = machine.update(Some(*score));
                let expected = model.call(1, 1, Some(*score));
                assert_eq!(decided.map(|save| save.step), expected.map(|kept| kept.step), "{scores:?}");
                if let (Some(save), Some(kept)) = (decided, expected) {
                    assert_eq!(machine.committed(save).map(|gone| gone.step), model.commit(kept), "{scores:?}");
                }
            }
            let kept: Vec<u32> = machine.kept().iter().map(|kept| kept.step).collect();
            assert_eq!(kept, model.kept.iter().map(|kept| kept.step).collect::<Vec<_>>(), "{scores:?}");
        }
    }
}
