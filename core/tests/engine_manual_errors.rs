//! Tests of the errors of `begin_iteration`, and of `State::is_last_in_epoch` in a manual loop.

#[path = "common/record_fixtures.rs"]
mod record_fixtures;

use record_fixtures::record_fixture;
use training_monitor::checkpoint::{EncodeError, Named};
use training_monitor::embedded_io::ErrorKind;
use training_monitor::engine::{IterBatches, Phase};
use training_monitor::event::{IterationCompleted, IterationStarted};
use training_monitor::handlers::model_checkpoint::OnError;
use training_monitor::run_record::RunRecord;
use training_monitor::store::ram::Ram;
use training_monitor::{
    Engine, Event, EventFilter, Handler, ModelCheckpoint, Outcome, RunError, State, StopReason, UserEvent,
};
use training_monitor_std::test_support::store::{FaultyStore, StoreFault, StoreOperation};

type Log = Vec<Event>;

/// A handler that appends every event to the log.
struct Recorder;

impl Handler<Log, u32> for Recorder {
    fn on_event(&mut self, event: Event, log: &mut Log, _: &mut State<u32>) {
        log.push(event);
    }
}

/// Checks that `begin_iteration` returns `IterationNotEnded` and changes neither the engine nor the log.
fn assert_not_ended(engine: &mut Engine<u32>, log: &mut Log) {
    let before = (format!("{engine:?}"), log.clone());
    for _ in 0..2 {
        assert_eq!(engine.begin_iteration(log, &mut Recorder), Err(RunError::IterationNotEnded));
        assert_eq!((format!("{engine:?}"), log.clone()), before);
    }
}

#[test]
fn a_forgotten_end_iteration_is_reported_and_changes_nothing() {
    let run = |forgets: bool| {
        let mut log = Log::new();
        let mut engine = Engine::<u32>::new(2).with_epoch_length(3);
        let mut iterations = 0;
        while engine.begin_iteration(&mut log, &mut Recorder).unwrap() {
            iterations += 1;
            if forgets {
                assert_not_ended(&mut engine, &mut log);
            }
            engine.end_iteration(iterations, &mut log, &mut Recorder);
        }
        (log, engine.outcome(), iterations)
    };
    assert_eq!(run(true), run(false));
    assert_eq!(run(true).2, 6);
}

#[test]
fn a_forgotten_end_iteration_is_reported_after_a_user_event() {
    let mut log = Log::new();
    let mut engine = Engine::<u32>::new(1).with_epoch_length(3);
    assert_eq!(engine.begin_iteration(&mut log, &mut Recorder), Ok(true));
    engine.state_mut().fire(UserEvent { id: 1, value: 0 }).unwrap();
    engine.state_mut().request_action();
    assert_not_ended(&mut engine, &mut log);
    assert!(engine.end_iteration(0, &mut log, &mut Recorder));
    // The engine dispatches the user event after IterationCompleted.
    assert!(matches!(log[..], [.., Event::IterationCompleted, Event::User(_)]));
}

fn restored(record: &RunRecord) -> Engine<u32> {
    let mut engine = Engine::new(2);
    engine.restore::<Log, _>(record, &mut Recorder).unwrap();
    engine
}

#[test]
fn a_run_resumed_inside_an_iteration_repeats_it_without_an_error() {
    let mut log = Log::new();
    let mut engine = restored(&record_fixture(Phase::IterationStarted, 1, 2, 3));
    assert_eq!(engine.begin_iteration(&mut log, &mut Recorder), Ok(true));
    assert_eq!((engine.state().iteration(), engine.state().offset(), log.len()), (2, 1, 0));
    // The resumed run repeats iteration 2. The program must call `end_iteration` for this iteration before it calls
    // `begin_iteration` again.
    assert_not_ended(&mut engine, &mut log);
    assert!(engine.end_iteration(0, &mut log, &mut Recorder));
    assert_eq!(log, [Event::IterationCompleted]);
    // In the next iteration, too, a second `begin_iteration` without `end_iteration` is an error.
    assert_eq!(engine.begin_iteration(&mut log, &mut Recorder), Ok(true));
    assert_not_ended(&mut engine, &mut log);
}

#[test]
fn a_forgotten_end_iteration_is_reported_after_a_resume_between_iterations() {
    for (phase, offset) in [
        (Phase::NotStarted, 0),
        (Phase::Started, 0),
        (Phase::BetweenIterations, 0),
        (Phase::BetweenIterations, 1),
        (Phase::GetBatchStarted, 1),
        (Phase::GetBatchCompleted, 1),
        (Phase::EpochCompleted, 3),
    ] {
        let mut log = Log::new();
        let mut engine = restored(&record_fixture(phase, offset, offset, 3));
        assert_eq!(engine.begin_iteration(&mut log, &mut Recorder), Ok(true), "{phase:?}");
        let forgotten = engine.begin_iteration(&mut log, &mut Recorder);
        assert_eq!(forgotten, Err(RunError::IterationNotEnded), "{phase:?}");
    }
}

#[test]
fn a_pending_terminate_ends_the_run_without_an_error() {
    let mut log = Log::new();
    let mut engine = Engine::<u32>::new(2).with_epoch_length(3);
    assert_eq!(engine.begin_iteration(&mut log, &mut Recorder), Ok(true));
    engine.state_mut().terminate(StopReason::User(4));
    log.clear();
    assert_eq!(engine.begin_iteration(&mut log, &mut Recorder), Ok(false));
    assert_eq!(log, [Event::Terminate, Event::Completed]);
    let outcome = Outcome { reason: StopReason::User(4), epoch: 1, iteration: 1 };
    assert_eq!(engine.outcome(), Some(outcome));
    assert_eq!(engine.begin_iteration(&mut log, &mut Recorder), Ok(false));
    assert_eq!(log.len(), 2);
}

#[test]
fn a_pending_terminate_epoch_starts_the_next_epoch_without_an_error() {
    let mut log = Log::new();
    let mut engine = Engine::<u32>::new(2).with_epoch_length(3);
    assert_eq!(engine.begin_iteration(&mut log, &mut Recorder), Ok(true));
    engine.state_mut().terminate_epoch();
    log.clear();
    assert_eq!(engine.begin_iteration(&mut log, &mut Recorder), Ok(true));
    let expected = [Event::TerminateSingleEpoch, Event::EpochCompleted, Event::EpochStarted, Event::IterationStarted];
    assert_eq!(log, expected);
    assert_eq!((engine.state().epoch(), engine.state().iteration()), (2, 2));
    assert_not_ended(&mut engine, &mut log);
}

type Model = Named<'static, [f32; 2]>;

/// Returns a checkpoint handler that saves at the events of `filter`. Every save fails, because the store cannot create
/// a checkpoint.
fn failing(filter: impl EventFilter, on_error: OnError) -> impl Handler<Model, u32> {
    let store = FaultyStore::new(Ram::<2, 512>::new(), |operation| match operation {
        StoreOperation::Create => StoreFault::Before,
        _ => StoreFault::None,
    });
    ModelCheckpoint::<1>::every(1).unwrap().with_on_error(on_error).attach(filter, store).unwrap()
}

/// The error of a run after a failed save of the handler [`failing`].
const SAVE_FAILED: RunError = RunError::SaveFailed(EncodeError::Io(ErrorKind::Other));

#[test]
fn begin_iteration_returns_save_failed_after_a_failed_save() {
    let mut model = Named::new("m", [1.0, 2.0]);
    let mut handler = failing(IterationCompleted, OnError::Stop);
    let mut engine = Engine::<u32>::new(2).with_epoch_length(3);
    assert_eq!(engine.begin_iteration(&mut model, &mut handler), Ok(true));
    assert!(!engine.end_iteration(0, &mut model, &mut handler));
    let outcome = Outcome { reason: StopReason::SaveFailed, epoch: 1, iteration: 1 };
    // A failed save ends the run. Every later call of `begin_iteration` returns the error again.
    for _ in 0..3 {
        assert_eq!(engine.begin_iteration(&mut model, &mut handler), Err(SAVE_FAILED));
        assert_eq!(engine.outcome(), Some(outcome));
    }
    // `restart` begins a new run, which does not keep the error of the failed save.
    engine.restart();
    assert_eq!(engine.begin_iteration(&mut model, &mut handler), Ok(true));
}

#[test]
fn begin_iteration_returns_the_error_of_a_save_that_it_performs() {
    let mut model = Named::new("m", [1.0, 2.0]);
    let mut engine = Engine::<u32>::new(2).with_epoch_length(3);
    let result = engine.begin_iteration(&mut model, &mut failing(IterationStarted, OnError::Stop));
    assert_eq!(result, Err(SAVE_FAILED));
    let outcome = Outcome { reason: StopReason::SaveFailed, epoch: 1, iteration: 1 };
    assert_eq!(engine.outcome(), Some(outcome));
}

#[test]
fn a_failed_save_with_another_error_policy_is_not_an_error_of_begin_iteration() {
    for on_error in [OnError::Continue, OnError::Retry(2)] {
        let mut model = Named::new("m", [1.0, 2.0]);
        let mut handler = failing(IterationCompleted.or(IterationStarted), on_error);
        let mut engine = Engine::<u32>::new(2).with_epoch_length(3);
        let mut iterations = 0;
        while engine.begin_iteration(&mut model, &mut handler).unwrap() {
            iterations += 1;
            engine.end_iteration(0, &mut model, &mut handler);
        }
        assert_eq!((iterations, engine.outcome().map(|outcome| outcome.reason)), (6, Some(StopReason::MaxEpochs)));
    }
}

#[test]
fn a_run_that_ended_for_another_reason_is_not_an_error() {
    let mut model = Named::new("m", [1.0, 2.0]);
    for reason in [StopReason::EarlyStopping, StopReason::NonFinite, StopReason::User(1)] {
        let mut engine = Engine::<u32>::new(2).with_epoch_length(3);
        assert_eq!(engine.begin_iteration(&mut model, &mut ()), Ok(true));
        engine.state_mut().terminate(reason);
        assert!(!engine.end_iteration(0, &mut model, &mut ()));
        assert_eq!(engine.begin_iteration(&mut model, &mut ()), Ok(false), "{reason:?}");
    }
}

#[test]
fn the_last_iteration_of_an_epoch_is_known_during_the_step() {
    let flags = |epoch_length: u32, batches: u32| {
        let mut flags = Vec::new();
        Engine::<u32>::new(2)
            .with_epoch_length(epoch_length)
            .run(&mut flags, 0..batches, &mut (), |flags: &mut Vec<bool>, batch, state| {
                flags.push(state.is_last_in_epoch());
                batch
            })
            .unwrap();
        flags
    };
    assert_eq!(flags(0, 3), [false, false, true, false, false, true]);
    assert_eq!(flags(2, 3), [false, true, false, true]);
    assert_eq!(flags(4, 3), [false, false, false, true, false, false, false, true]);
    assert_eq!(flags(1, 3), [true, true]);
}

#[test]
fn the_last_iteration_of_an_epoch_is_known_in_a_custom_loop() {
    let mut engine = Engine::<u32>::new(2).with_epoch_length(2);
    let mut flags = Vec::new();
    while engine.begin_iteration(&mut (), &mut ()).unwrap() {
        flags.push(engine.state().is_last_in_epoch());
        engine.end_iteration(0, &mut (), &mut ());
    }
    assert_eq!(flags, [false, true, false, true]);
    // The run is resumed inside the last iteration of an epoch (offset 2), and inside the iteration before it (offset
    // 1).
    for (offset, is_last) in [(2, true), (1, false)] {
        let mut engine = restored(&record_fixture(Phase::IterationStarted, offset, offset + 1, 3));
        assert_eq!(engine.begin_iteration(&mut Log::new(), &mut ()), Ok(true));
        assert_eq!(engine.state().is_last_in_epoch(), is_last);
    }
    // After `terminate_epoch`, the next iteration is the first one of a new epoch.
    let mut engine = Engine::<u32>::new(2).with_epoch_length(2);
    assert_eq!(engine.begin_iteration(&mut (), &mut ()), Ok(true));
    engine.state_mut().terminate_epoch();
    assert!(engine.end_iteration(0, &mut (), &mut ()));
    assert_eq!(engine.begin_iteration(&mut (), &mut ()), Ok(true));
    assert!(!engine.state().is_last_in_epoch());
}

#[test]
fn no_iteration_is_known_to_be_the_last_one_while_the_epoch_length_is_unknown() {
    let mut flags = Vec::new();
    Engine::<u32>::new(1)
        .run(&mut flags, IterBatches(0..3), &mut (), |flags: &mut Vec<bool>, batch, state| {
            flags.push(state.is_last_in_epoch());
            batch
        })
        .unwrap();
    assert_eq!(flags, [false; 3]);
    // `end_data` ends the epoch and sets the epoch length (the number of iterations per epoch).
    let mut engine = Engine::<u32>::new(2);
    let iterate = |engine: &mut Engine<u32>| {
        assert_eq!(engine.begin_iteration(&mut (), &mut ()), Ok(true));
        let is_last = engine.state().is_last_in_epoch();
        engine.end_iteration(0, &mut (), &mut ());
        is_last
    };
    assert_eq!([iterate(&mut engine), iterate(&mut engine)], [false, false]);
    engine.end_data(&mut (), &mut ());
    assert_eq!([iterate(&mut engine), iterate(&mut engine)], [false, true]);
}
