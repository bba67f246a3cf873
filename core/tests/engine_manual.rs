//! Tests that a manual loop with `begin_iteration` and `end_iteration` behaves like `run`. For thousands of random
//! scripts, both produce the same log. Only the batch events differ, because a manual loop does not fire them.

#[path = "common/script.rs"]
mod script;

use script::{Entry, Log, Recorder, Script, ScriptHandler};
use training_monitor::{Engine, Event, Handler, State, StopReason, event::Any, on};

const SCRIPTS: u64 = 20_000;

/// Runs the script (a random test program) with `Engine::run`. Returns the log of events and the engine.
fn run(script: &Script) -> (Log, Engine<u32>) {
    let mut log = Log::new();
    let mut engine = Engine::new(script.max_epochs).with_epoch_length(script.epoch_length);
    let step = |log: &mut Log, batch, state: &mut State<u32>| {
        log.push(Entry::step(batch, state));
        script.step(state);
        batch
    };
    let outcome = engine.run(&mut log, 0..script.batches, &mut (Recorder, ScriptHandler(script)), step);
    assert_eq!(outcome.ok(), engine.outcome());
    (log, engine)
}

/// Runs the script (a random test program) with a loop of `begin_iteration` and `end_iteration`.
fn run_manually(script: &Script) -> (Log, Engine<u32>) {
    let mut log = Log::new();
    let mut engine = Engine::new(script.max_epochs).with_epoch_length(script.epoch_length);
    let mut handlers = (Recorder, ScriptHandler(script));
    while engine.begin_iteration(&mut log, &mut handlers).unwrap() {
        // Selects the batch that `run` would fetch. The data restarts after its last batch and after a terminated
        // epoch.
        let batch = engine.engine_state().data_offset % script.batches;
        log.push(Entry::step(batch, engine.state()));
        script.step(engine.state_mut());
        if !engine.end_iteration(batch, &mut log, &mut handlers) {
            break;
        }
    }
    (log, engine)
}

#[test]
fn a_manual_loop_produces_the_log_of_run() {
    let mut stopped = 0;
    for seed in 0..SCRIPTS {
        let script = Script::new(seed);
        let (mut run_log, run_engine) = run(&script);
        let is_batch_event = |event| matches!(event, Some(Event::GetBatchStarted | Event::GetBatchCompleted));
        run_log.retain(|entry| !is_batch_event(entry.event));
        let (manual_log, manual_engine) = run_manually(&script);
        assert_eq!(run_log, manual_log, "{seed}: {script:?}");
        let outcome = run_engine.outcome();
        assert_eq!(outcome, manual_engine.outcome(), "{seed}: {script:?}");
        assert!(outcome.is_some(), "{seed}: {script:?}");
        stopped += u32::from(outcome.is_some_and(|outcome| outcome.reason == StopReason::User(1)));
    }
    // Many scripts stop the run early, and many do not. The comparison therefore covers both cases.
    assert!(stopped > 1000 && u64::from(stopped) < SCRIPTS - 1000, "{stopped}");
}

/// Returns a handler that counts all events in `events`.
fn count(events: &mut u32) -> impl Handler<(), u32> + '_ {
    on(Any, |_, _| *events += 1)
}

#[test]
fn end_iteration_without_begin_iteration_does_nothing() {
    let mut events = 0;
    let mut engine = Engine::new(2).with_epoch_length(2);
    assert!(engine.end_iteration(5, &mut (), &mut ()));
    assert_eq!(engine.begin_iteration(&mut (), &mut ()), Ok(true));
    assert!(engine.end_iteration(5, &mut (), &mut ()));
    assert!(engine.end_iteration(6, &mut (), &mut count(&mut events)));
    assert_eq!((events, engine.state().iteration(), engine.state().output), (0, 1, Some(5)));
}

#[test]
fn a_completed_run_stays_completed_until_restart() {
    let mut events = 0;
    let mut engine = Engine::new(1).with_epoch_length(1);
    assert_eq!(engine.begin_iteration(&mut (), &mut ()), Ok(true));
    assert!(!engine.end_iteration(5, &mut (), &mut ()));
    let outcome = engine.outcome();
    assert!(outcome.is_some());
    assert_eq!(engine.begin_iteration(&mut (), &mut count(&mut events)), Ok(false));
    assert!(!engine.end_iteration(6, &mut (), &mut count(&mut events)));
    assert_eq!((engine.outcome(), events), (outcome, 0));
    engine.restart();
    assert_eq!(engine.begin_iteration(&mut (), &mut count(&mut events)), Ok(true));
    // The handler counted three events: Started, EpochStarted and IterationStarted.
    assert_eq!((engine.state().iteration(), events), (1, 3));
}

/// In a manual loop, the program calls `end_data` when the data ends. This call sets the epoch length, also for the
/// later epochs.
#[test]
fn end_data_ends_the_epoch_and_sets_its_length() {
    let mut log = Log::new();
    let mut engine = Engine::new(2);
    for _ in 0..3 {
        assert_eq!(engine.begin_iteration(&mut log, &mut Recorder), Ok(true));
        assert!(engine.end_iteration(0, &mut log, &mut Recorder));
    }
    assert_eq!(engine.state().epoch_length(), None);
    engine.end_data(&mut log, &mut Recorder);
    assert_eq!(engine.state().epoch_length(), Some(3));
    assert_eq!(log.last().map(|entry| (entry.event, entry.counters)), Some((Some(Event::EpochCompleted), (1, 3, 3))));
    while engine.begin_iteration(&mut log, &mut Recorder).unwrap() {
        engine.end_iteration(0, &mut log, &mut Recorder);
        if engine.outcome().is_some() {
            break;
        }
    }
    assert_eq!(engine.outcome().map(|outcome| (outcome.epoch, outcome.iteration)), Some((2, 6)));
}

#[test]
fn end_data_before_the_first_iteration_does_nothing() {
    let mut events = 0;
    let mut engine = Engine::<u32>::new(2);
    engine.end_data(&mut (), &mut count(&mut events));
    assert_eq!((events, engine.state().epoch()), (0, 0));
}
