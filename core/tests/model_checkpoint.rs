//! Settings and ranking of `ModelCheckpoint`, and saves with a run record that overflows.

use training_monitor::checkpoint::{MAX_NAME, Named};
use training_monitor::event::IterationCompleted;
use training_monitor::handlers::model_checkpoint::ranking::{Entry, Order, Ranking};
use training_monitor::handlers::model_checkpoint::{ConfigError, OnError, SaveDecision};
use training_monitor::run_record::{RecordWriter, kind};
use training_monitor::store::{Store, ram::Ram};
use training_monitor::{Engine, Event, Handler, ModelCheckpoint, Outcome, RunError, State, StopReason};

/// The error of `build` with the given table size and settings, or `None`.
macro_rules! config_error {
    ($places:literal $(. $setting:ident ( $($value:expr),* ))*) => {
        ModelCheckpoint::<$places>::builder()$(.$setting($($value),*))*.build().err()
    };
}

#[test]
fn contradictory_settings_are_rejected() {
    // Exactly one of `save_interval` and a score is required.
    assert_eq!(config_error!(2.n_saved(2)), Some(ConfigError::IntervalOrScore));
    assert_eq!(config_error!(2.save_interval(1).scored()), Some(ConfigError::IntervalOrScore));
    assert_eq!(config_error!(2.scored().save_interval(1)), Some(ConfigError::IntervalOrScore));
    assert_eq!(config_error!(2.save_interval(0)), Some(ConfigError::SaveInterval));
    assert_eq!(config_error!(2.save_interval(1).score_name("loss")), Some(ConfigError::ScoreNameWithoutScore));
    assert_eq!(config_error!(2.scored().score_name("")), Some(ConfigError::ScoreName));
    const LONG: &str = "a_name_of_thirty_three_bytes_long";
    assert_eq!(LONG.len(), MAX_NAME + 1);
    assert_eq!(config_error!(2.scored().score_name(LONG)), Some(ConfigError::ScoreName));
    assert_eq!(config_error!(2.scored().n_saved(0)), Some(ConfigError::NSaved));
    assert_eq!(config_error!(2.scored().n_saved(3)), Some(ConfigError::Table { n_saved: 3, places: 2 }));
    assert_eq!(config_error!(0.scored()), Some(ConfigError::Table { n_saved: 1, places: 0 }));
    // Consistent settings are accepted.
    assert_eq!(config_error!(2.scored().n_saved(2).score_name("loss")), None);
    assert_eq!(config_error!(2.save_interval(7).keep_all()), None);
}

#[test]
fn a_nan_score_does_not_enter_the_ranking() {
    let mut ranking = Ranking::<2>::new(2, Order::Score, true);
    ranking.insert(Entry::new(1, Some(0.5)));
    let nan = Entry::new(2, Some(f32::NAN));
    assert!(!ranking.accepts(&nan));
    assert_eq!(ranking.insert(nan).map(|entry| entry.step), Some(2));
    // A NaN does not replace the checkpoint of the same step either.
    assert_eq!(ranking.insert(Entry::new(1, Some(f32::NAN))).map(|entry| entry.step), Some(1));
    assert_eq!(ranking.entries(), [Entry::new(1, Some(0.5))]);

    let mut policy = ModelCheckpoint::<2>::builder().scored().build().expect("valid settings");
    assert_eq!(policy.update(Some(f32::NAN)), None);
    assert_eq!(policy.update(None), None);
    assert_eq!((policy.kept(), policy.latest()), (&[][..], None));
    // Each call counts as a step, even if it saves nothing.
    assert_eq!(policy.update(Some(0.0)).map(|save| save.step), Some(3));
}

/// A handler with more state than a run record holds.
struct LargeState;

impl<T: ?Sized> Handler<T, f32> for LargeState {
    fn on_event(&mut self, _: Event, _: &mut T, _: &mut State<f32>) {}
    fn save_state(&mut self, _: &State<f32>, record: &mut RecordWriter<'_>) {
        record.push(kind::USER, &[0u8; 120].as_slice());
        record.push(kind::USER, &[0u8; 120].as_slice());
    }
}

#[test]
fn no_checkpoint_is_saved_if_the_run_record_overflows() {
    let mut weights = [1.0_f32; 2];
    let mut model = Named::new("model", &mut weights);
    let mut store = Ram::<2, 256>::new();
    for (on_error, expected) in [
        (OnError::Stop, Err(RunError::SaveFailed)),
        (OnError::Continue, Ok(Outcome { reason: StopReason::MaxEpochs, epoch: 1, iteration: 2 })),
    ] {
        let policy = ModelCheckpoint::<1>::every(1)?.on_error(on_error).build().expect("valid settings");
        let mut handlers = (policy.attach(IterationCompleted, &mut store).expect("RAM does not fail"), LargeState);
        let result = Engine::new(1).run(&mut model, 0..2, &mut handlers, |_, _, _| 0.0);
        assert_eq!(result, expected);
        assert!(handlers.0.last_error().is_some());
        assert!(handlers.0.policy().kept().is_empty());
    }
    assert_eq!(store.checkpoint(0), Ok(None));
}

/// Regression test for a bug that the fuzz target `model-checkpoint` found: a stored checkpoint that does not rank was not
/// returned for eviction, and `latest` returned it instead of the newest kept one.
#[test]
fn a_restored_entry_that_does_not_rank_is_evicted() {
    let mut policy = ModelCheckpoint::<1>::builder().scored().build().expect("valid settings");
    let entry = |step, score| SaveDecision { step, score: Some(score) };
    assert_eq!(policy.found(entry(1, 5.0)), None);
    assert_eq!(policy.found(entry(2, 1.0)).map(|evicted| evicted.step), Some(2));
    assert_eq!(policy.latest().map(|latest| latest.step), Some(1));
    // The highest restored step sets the number of calls, even if that step is not kept.
    assert_eq!(policy.calls(), 2);
    let mut policy = ModelCheckpoint::<1>::builder().scored().keep_all().build().expect("valid settings");
    policy.found(entry(1, 5.0));
    assert_eq!(policy.found(entry(2, 1.0)), None);
    assert_eq!(policy.latest().map(|latest| latest.step), Some(2));
}
