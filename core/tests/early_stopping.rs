//! Tests of the settings of `EarlyStopping`, and of its baseline. The package `training-monitor-tests` tests its other
//! decisions and compares them with Ignite.

use training_monitor::event::EpochCompleted;
use training_monitor::handlers::early_stopping::{Mode, Progress, ThresholdMode};
use training_monitor::run_record::{HandlerKind, Persist, RestoreError, encode_handler_state, restore_handler_state};
use training_monitor::{ConfigError, EarlyStopping, Engine, EventFilter, State, StopReason, on};

#[test]
fn an_invalid_patience_or_threshold_is_rejected() {
    assert_eq!(EarlyStopping::new(0), Err(ConfigError::Patience));
    let stopping = EarlyStopping::new(1).expect("1 is valid");
    for threshold in [-0.5, -1e-45, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for mode in [ThresholdMode::Abs, ThresholdMode::Rel] {
            let result = stopping.with_threshold(threshold, mode);
            assert_eq!(result, Err(ConfigError::Threshold), "{threshold}");
        }
    }
    assert!(stopping.with_threshold(-0.0, ThresholdMode::Abs).is_ok());
    assert!(ConfigError::Patience.to_string().contains("at least 1"));
}

#[test]
fn patience_returns_the_configured_patience() {
    assert_eq!(EarlyStopping::new(7).unwrap().patience(), 7);
}

#[test]
fn a_baseline_must_be_finite() {
    let stopping = EarlyStopping::new(1).unwrap();
    for baseline in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert_eq!(stopping.with_baseline(baseline), Err(ConfigError::Baseline), "{baseline}");
    }
    assert!(ConfigError::Baseline.to_string().contains("baseline"));
}

/// Adds the scores, and returns whether the run should stop, the counter and the best score after each of them.
fn results(mut stopping: EarlyStopping, scores: &[f32]) -> Vec<(bool, u32, Option<f32>)> {
    let add = |score: &f32| (stopping.update(*score), stopping.counter(), stopping.best_score());
    scores.iter().map(add).collect()
}

#[test]
fn an_improvement_that_does_not_beat_the_baseline_uses_up_patience() {
    let stopping = EarlyStopping::new(2).unwrap().with_mode(Mode::Min).with_baseline(0.5).unwrap();
    // Keras runs on as long as the score improves.
    let below = [(false, 1, Some(1.0)), (true, 2, Some(0.75)), (true, 3, Some(0.625))];
    assert_eq!(results(stopping, &[1.0, 0.75, 0.625]), below);
    // A score that is equal to the baseline does not beat it. The next one does.
    assert_eq!(
        results(stopping, &[0.5, 0.25, 0.5]),
        [(false, 1, Some(0.5)), (false, 0, Some(0.25)), (false, 1, Some(0.25))]
    );
    // A score beats the baseline, but is no improvement.
    assert_eq!(results(stopping, &[0.25, 0.375]), [(false, 0, Some(0.25)), (false, 1, Some(0.25))]);
    // With patience 1, the first score must beat the baseline.
    let one = EarlyStopping::new(1).unwrap().with_baseline(0.5).unwrap();
    assert_eq!(results(one, &[0.5]), [(true, 1, Some(0.5))]);
    assert_eq!(results(one, &[0.75]), [(false, 0, Some(0.75))]);
    assert_eq!(results(one, &[f32::NAN]), [(true, 1, None)]);
    assert_eq!(results(one, &[f32::INFINITY]), [(false, 0, Some(f32::INFINITY))]);
    assert_eq!(results(one, &[f32::NEG_INFINITY]), [(true, 1, Some(f32::NEG_INFINITY))]);
}

/// As in Keras, a score beats the baseline only by more than the threshold.
#[test]
fn the_threshold_applies_to_the_baseline() {
    let stopping = EarlyStopping::new(9).unwrap().with_baseline(1.0).unwrap();
    for mode in [ThresholdMode::Abs, ThresholdMode::Rel] {
        let stopping = stopping.with_threshold(0.5, mode).unwrap();
        assert_eq!(results(stopping, &[1.5]), [(false, 1, Some(1.5))]);
        assert_eq!(results(stopping, &[1.5_f32.next_up()]), [(false, 0, Some(1.5_f32.next_up()))]);
    }
    // A limit that overflows is not reached.
    let highest = EarlyStopping::new(9).unwrap().with_baseline(f32::MAX).unwrap();
    let highest = highest.with_threshold(1.0, ThresholdMode::Rel).unwrap();
    assert_eq!(results(highest, &[f32::MAX, f32::INFINITY]).last(), Some(&(false, 2, Some(f32::INFINITY))));
}

/// Keras' rule. `None` as the best score stands for the start.
struct Keras {
    best: Option<f32>,
    wait: u32,
}

impl Keras {
    /// Returns whether Keras stops the run, for a lower score that is better.
    fn update(&mut self, score: f32, baseline: Option<f32>, min_delta: f32, patience: u32, epoch: usize) -> bool {
        let improves = |reference: Option<f32>| reference.is_none_or(|reference| score < reference - min_delta);
        self.wait += 1;
        if improves(self.best) {
            self.best = Some(score);
            if improves(baseline) {
                self.wait = 0;
            }
            return false;
        }
        self.wait >= patience && epoch > 0
    }
}

/// The counter and the best score are those of Keras, with and without a baseline. The decisions are equal after each
/// score that is no improvement, apart from the first epoch.
#[test]
fn the_counter_is_that_of_keras() {
    let mut random = 7_u32;
    let mut next = |count: u32| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 16) % count
    };
    for _ in 0..2000 {
        let (patience, min_delta) = (1 + next(4), [0.0, 0.25][next(2) as usize]);
        let baseline = [None, Some(0.5), Some(1.5)][next(3) as usize];
        let stopping = EarlyStopping::new(patience).unwrap().with_mode(Mode::Min).with_cumulative(true);
        let mut stopping = stopping.with_threshold(min_delta, ThresholdMode::Abs).unwrap();
        if let Some(baseline) = baseline {
            stopping = stopping.with_baseline(baseline).unwrap();
        }
        let mut keras = Keras { best: None, wait: 0 };
        for epoch in 0..12 {
            let score = next(16) as f32 / 8.0;
            let best = keras.best;
            let keras_stops = keras.update(score, baseline, min_delta, patience, epoch);
            let stops = stopping.update(score);
            assert_eq!((stopping.counter(), stopping.best_score()), (keras.wait, keras.best), "{stopping:?} {score}");
            assert_eq!(stops, stopping.counter() >= patience);
            if keras.best == best {
                assert_eq!(stops, keras_stops, "{stopping:?} {score}");
            }
            assert!(stops || !keras_stops);
        }
    }
}

#[test]
fn a_resumed_run_with_a_baseline_stops_at_the_same_epoch() {
    let scores = [0.125, 0.25, 0.75, 0.5, 0.625, 0.5];
    let attach = || {
        let stopping = EarlyStopping::new(3).unwrap().with_baseline(0.5).unwrap();
        stopping.attach(EpochCompleted, |state: &State<f32>| state.output.unwrap_or(0.0))
    };
    for interruption in 0..7 {
        let mut handlers =
            (attach(), on(EpochCompleted.filter(|epoch| epoch == interruption), |_: &mut (), state| state.interrupt()));
        let step = |(): &mut (), score: &f32, _: &mut State<f32>| *score;
        let mut engine = Engine::new(6).with_epoch_length(1);
        let mut outcome = engine.run(&mut (), &scores[..], &mut handlers, step).unwrap();
        if outcome.reason == StopReason::Interrupted {
            let record = engine.record::<(), _>(&mut handlers).unwrap();
            let mut resumed = attach();
            let mut engine = Engine::new(6).with_epoch_length(1);
            engine.restore::<(), _>(&record, &mut resumed).unwrap();
            outcome = engine.run(&mut (), &scores[..], &mut resumed, step).unwrap();
        }
        assert_eq!((outcome.reason, outcome.epoch), (StopReason::EarlyStopping, 6), "{interruption}");
    }
}

#[test]
fn a_saved_best_score_that_is_nan_is_malformed() {
    let mut stopping = EarlyStopping::new(3).unwrap();
    stopping.update(0.5);
    let mut bytes = [0; 16];
    let len = encode_handler_state(&mut stopping, &mut bytes).unwrap();
    let score = bytes.windows(4).position(|window| window == 0.5_f32.to_le_bytes()).unwrap();
    bytes[score..score + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    let error = restore_handler_state(&mut stopping, &bytes[..len]).unwrap_err();
    assert_eq!(error, RestoreError::Malformed { kind: HandlerKind::EARLY_STOPPING });
    assert_eq!(stopping.best_score(), Some(0.5));
    assert_eq!(Progress::new(1, Some(f32::NAN)), None);
    stopping.restore(Progress::new(2, Some(0.75)).unwrap());
    assert_eq!((stopping.counter(), stopping.best_score()), (2, Some(0.75)));
}
