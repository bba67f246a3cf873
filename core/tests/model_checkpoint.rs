//! Tests of the settings and the ranking of `ModelCheckpoint`, and of saves with a run record that is too large.

use training_monitor::ConfigError;
use training_monitor::checkpoint::{EncodeError, MAX_NAME, Named};
use training_monitor::event::IterationCompleted;
use training_monitor::handlers::model_checkpoint::ranking::{Order, RankedCheckpoint, Ranking};
use training_monitor::handlers::model_checkpoint::{OnError, SaveDecision};
use training_monitor::run_record::{CAPACITY, HandlerKind, HandlerStates, Persist, RestoreError, RunRecordFull};
use training_monitor::store::{Store, ram::Ram};
use training_monitor::{Engine, Event, Handler, ModelCheckpoint, Outcome, RunError, State, StopReason};

#[test]
fn settings_out_of_range_are_rejected() {
    assert_eq!(ModelCheckpoint::<2>::every(0).err(), Some(ConfigError::SaveInterval));
    let score_name = |name| ModelCheckpoint::<2>::by_score().with_score_name(name).err();
    assert_eq!(score_name(""), Some(ConfigError::ScoreName));
    let long: &str = "n".repeat(MAX_NAME + 1).leak();
    assert_eq!(score_name(long), Some(ConfigError::ScoreName));
    let series_name = |name| ModelCheckpoint::<2>::by_score().with_series_name(name).err();
    assert_eq!(series_name(long), Some(ConfigError::SeriesName));
    // Settings inside their permitted ranges give no error.
    assert_eq!((score_name("loss"), series_name(""), series_name(&long[1..])), (None, None, None));
    assert!(ModelCheckpoint::<2>::every(7).is_ok());
}

#[test]
fn n_saved_is_between_1_and_the_table_size() {
    fn check<const N: usize>(n_saved: u32, is_valid: bool) {
        let expected = (!is_valid).then_some(ConfigError::NSaved { n_saved, table: N });
        assert_eq!(ModelCheckpoint::<N>::by_score().with_n_saved(n_saved).err(), expected);
        assert_eq!(ModelCheckpoint::<N>::every(1).unwrap().with_n_saved(n_saved).err(), expected);
    }
    check::<1>(0, false);
    check::<1>(1, true);
    check::<1>(2, false);
    check::<2>(0, false);
    check::<2>(1, true);
    check::<2>(2, true);
    check::<2>(3, false);
    check::<255>(255, true);
    for n_saved in [256, 257, 1 << 16 | 1, u32::MAX] {
        check::<255>(n_saved, false);
    }
}

#[test]
fn n_saved_limits_the_ranking() {
    let kept = |policy: &mut ModelCheckpoint<3>| {
        for _ in 0..5 {
            let decision = policy.update(None).unwrap();
            policy.record_commit(decision);
        }
        policy.kept().iter().map(|kept| kept.step).collect::<Vec<_>>()
    };
    let policy = ModelCheckpoint::<3>::every(1).unwrap();
    // Without `with_n_saved`, the number of kept checkpoints is the table size, here 3.
    assert_eq!(kept(&mut policy.clone()), [3, 4, 5]);
    for (n_saved, expected) in [(1, &[5][..]), (2, &[4, 5]), (3, &[3, 4, 5])] {
        assert_eq!(kept(&mut policy.clone().with_n_saved(n_saved).unwrap()), expected);
    }
}

#[test]
fn a_nan_score_does_not_enter_the_ranking() {
    let mut ranking = Ranking::<2>::new(2, Order::Score, true);
    ranking.insert(RankedCheckpoint::new(1, Some(0.5)));
    let nan = RankedCheckpoint::new(2, Some(f32::NAN));
    assert!(!ranking.accepts(&nan));
    assert_eq!(ranking.insert(nan).map(|evicted| evicted.step), Some(2));
    // The ranking (the table of kept checkpoints) contains step 1 with the score 0.5. A second checkpoint of step 1 has
    // a NaN score, so the ranking rejects it, returns it, and keeps the first one.
    assert_eq!(ranking.insert(RankedCheckpoint::new(1, Some(f32::NAN))).map(|evicted| evicted.step), Some(1));
    assert_eq!(ranking.entries(), [RankedCheckpoint::new(1, Some(0.5))]);

    let mut policy = ModelCheckpoint::<2>::by_score();
    assert_eq!(policy.update(Some(f32::NAN)), None);
    assert_eq!(policy.update(None), None);
    assert_eq!((policy.kept(), policy.latest()), (&[][..], None));
    // Each call of `update` increases the step number, even if it saves nothing. The third call therefore gets step 3.
    assert_eq!(policy.update(Some(0.0)).map(|decision| decision.step), Some(3));
}

/// A handler whose state does not fit in a run record. It declares the maximum length `MAX` of its state.
struct LargeState<const MAX: usize>;

impl<T: ?Sized, const MAX: usize> Handler<T, f32> for LargeState<MAX> {
    fn on_event(&mut self, _: Event, _: &mut T, _: &mut State<f32>) {}
    fn persist(&mut self, _: &mut State<f32>, states: &mut HandlerStates<'_>) {
        states.visit(self);
        states.visit(self);
    }
}

impl<const MAX: usize> Persist for LargeState<MAX> {
    const KIND: HandlerKind = HandlerKind::user(0);
    const MAX_LEN: usize = MAX;
    type State = Vec<u8>;
    fn save(&mut self) -> Vec<u8> {
        vec![0; 120]
    }
    fn restore(&mut self, _: Vec<u8>) {}
}

#[test]
fn no_checkpoint_is_saved_if_the_run_record_overflows() {
    let mut weights = [1.0_f32; 2];
    let mut model = Named::new("model", &mut weights);
    let mut store = Ram::<2, 256>::new();
    // The two states of 121 bytes and the state of the checkpoint handler, with four more bytes for each one.
    let full = EncodeError::RunRecordFull(RunRecordFull { required: 258, capacity: CAPACITY });
    for (on_error, expected) in [
        (OnError::Stop, Err(RunError::SaveFailed(full))),
        (OnError::Continue, Ok(Outcome { reason: StopReason::MaxEpochs, epoch: 1, iteration: 2 })),
    ] {
        let policy = ModelCheckpoint::<1>::every(1).unwrap().with_on_error(on_error);
        // The handler declares a length that is too small, so the first save finds the overflow.
        let mut handlers = (policy.attach(IterationCompleted, &mut store).unwrap(), LargeState::<30>);
        let result = Engine::new(1).run(&mut model, 0..2, &mut handlers, |_, _, _| 0.0);
        assert_eq!(result, expected);
        assert_eq!(handlers.0.last_error().map(ToString::to_string), Some(full.to_string()));
        assert!(handlers.0.policy().kept().is_empty());
    }
    // If the handler declares the correct length, the run does not start. The policy for failed saves does not matter.
    let full = EncodeError::RunRecordFull(RunRecordFull { required: 2 * 125 + 20, capacity: CAPACITY });
    for on_error in [OnError::Stop, OnError::Continue] {
        let policy = ModelCheckpoint::<1>::every(1).unwrap().with_on_error(on_error);
        let mut handlers = (policy.attach(IterationCompleted, &mut store).unwrap(), LargeState::<121>);
        let result = Engine::new(1).run(&mut model, 0..2, &mut handlers, |_, _, _| 0.0);
        assert_eq!(result, Err(RunError::Start(full)));
    }
    assert_eq!(store.checkpoint(0), Ok(None));
    // With a larger record, the same handlers run and resume.
    let policy = || ModelCheckpoint::<1>::every(1).unwrap();
    let mut large = Ram::<2, 512>::new();
    for (epochs, iterations) in [(1, 2), (2, 4)] {
        let mut handlers = (policy().attach(IterationCompleted, &mut large).unwrap(), LargeState::<121>);
        let mut engine = Engine::<f32, (), 270>::with_record_capacity(epochs, ());
        let resumed = engine.resume(&mut model, &mut handlers).unwrap().map(|resumed| resumed.iteration);
        assert_eq!(resumed, (epochs > 1).then_some(2));
        let outcome = engine.run(&mut model, 0..2, &mut handlers, |_, _, _| 0.0).unwrap();
        assert_eq!(outcome.iteration, iterations);
    }
    // An engine with a smaller record cannot resume this run. Nothing changes.
    let mut handlers = (policy().attach(IterationCompleted, &mut large).unwrap(), LargeState::<121>);
    let resumed = Engine::<f32>::new(3).resume(&mut model, &mut handlers);
    assert_eq!(resumed, Err(RestoreError::RecordTooLong { capacity: CAPACITY }));
}

/// Regression test for a bug that the fuzz target `model-checkpoint` found. After a restart, a stored checkpoint with a
/// low score was not evicted. `latest` returned this checkpoint instead of the newest kept one.
#[test]
fn a_restored_entry_that_does_not_rank_is_evicted() {
    let mut policy = ModelCheckpoint::<1>::by_score();
    let entry = |step, score| SaveDecision { step, score: Some(score) };
    assert_eq!(policy.restore_entry(entry(1, 5.0)), None);
    assert_eq!(policy.restore_entry(entry(2, 1.0)).map(|evicted| evicted.step), Some(2));
    assert_eq!(policy.latest().map(|latest| latest.step), Some(1));
    // The number of calls continues at the highest step number in the store, which is 2. Checkpoint 2 was evicted, but
    // its step number must not be used again.
    assert_eq!(policy.calls(), 2);
    let mut policy = ModelCheckpoint::<1>::by_score().keep_all();
    policy.restore_entry(entry(1, 5.0));
    assert_eq!(policy.restore_entry(entry(2, 1.0)), None);
    assert_eq!(policy.latest().map(|latest| latest.step), Some(2));
}
