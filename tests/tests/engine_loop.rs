//! A loop of one's own over `begin_iteration` and `end_iteration` is the same machine as `run`: over thousands of
//! random scripts both give the same log, but for the batch events that only `run` has.

use training_monitor::{Engine, Event, Handler, State, StopReason, event::Any, on};
use training_monitor_tests::script::{Actor, Entry, Log, Recorder, Script};

const SCRIPTS: u64 = 20_000;

fn by_run(script: &Script) -> (Log, Engine<u32>) {
    let mut log = Log::new();
    let mut engine = Engine::new(script.max_epochs).with_epoch_length(script.epoch_length);
    let step = |log: &mut Log, batch, state: &mut State<u32>| {
        log.push(Entry::step(batch, state));
        script.step(state);
        batch
    };
    let outcome = engine.run(&mut log, 0..script.batches, &mut (Recorder, Actor(script)), step);
    assert_eq!(outcome.ok(), engine.outcome());
    (log, engine)
}

fn by_hand(script: &Script) -> (Log, Engine<u32>) {
    let mut log = Log::new();
    let mut engine = Engine::new(script.max_epochs).with_epoch_length(script.epoch_length);
    let mut handlers = (Recorder, Actor(script));
    while engine.begin_iteration(&mut log, &mut handlers) {
        // The data that `run` would have given: it begins again after its end and after an epoch that was cut.
        let batch = engine.engine_state().drawn % script.batches;
        log.push(Entry::step(batch, engine.state()));
        script.step(engine.state_mut());
        if !engine.end_iteration(batch, &mut log, &mut handlers) {
            break;
        }
    }
    (log, engine)
}

#[test]
fn a_loop_of_ones_own_gives_the_log_of_run() {
    let mut cut = 0;
    for seed in 0..SCRIPTS {
        let script = Script::new(seed);
        let (mut run, ran) = by_run(&script);
        let batch_event = |event| matches!(event, Some(Event::GetBatchStarted | Event::GetBatchCompleted));
        run.retain(|entry| !batch_event(entry.event));
        let (hand, handled) = by_hand(&script);
        assert_eq!(run, hand, "{seed}: {script:?}");
        assert_eq!(ran.outcome(), handled.outcome(), "{seed}: {script:?}");
        assert!(ran.outcome().is_some(), "{seed}: {script:?}");
        cut += u32::from(ran.outcome().is_some_and(|outcome| outcome.reason == StopReason::User(1)));
    }
    // The scripts do end runs early, and do not always.
    assert!(cut > 1000 && u64::from(cut) < SCRIPTS - 1000, "{cut}");
}

/// Counts events: the number of times something was fired does not depend on who looks.
fn count(log: &mut u32) -> impl Handler<(), u32> + '_ {
    on(Any, |_: &mut (), _: &mut State<u32>| *log += 1)
}

#[test]
fn end_iteration_without_a_beginning_does_nothing() {
    let mut events = 0;
    let mut engine = Engine::new(2).with_epoch_length(2);
    assert!(engine.end_iteration(5, &mut (), &mut ()));
    assert!(engine.begin_iteration(&mut (), &mut ()));
    assert!(engine.end_iteration(5, &mut (), &mut ()));
    assert!(engine.end_iteration(6, &mut (), &mut count(&mut events)));
    assert_eq!((events, engine.state().iteration(), engine.state().output), (0, 1, Some(5)));
}

#[test]
fn begin_iteration_twice_begins_one() {
    let mut events = 0;
    let mut engine = Engine::new(1).with_epoch_length(2);
    assert!(engine.begin_iteration(&mut (), &mut ()));
    assert!(engine.begin_iteration(&mut (), &mut count(&mut events)));
    assert_eq!((events, engine.state().iteration()), (0, 1));
}

#[test]
fn a_finished_engine_stays_finished_until_it_is_restarted() {
    let mut events = 0;
    let mut engine = Engine::new(1).with_epoch_length(1);
    assert!(engine.begin_iteration(&mut (), &mut ()));
    assert!(!engine.end_iteration(5, &mut (), &mut ()));
    let outcome = engine.outcome();
    assert!(outcome.is_some());
    assert!(!engine.begin_iteration(&mut (), &mut count(&mut events)));
    assert!(!engine.end_iteration(6, &mut (), &mut count(&mut events)));
    assert_eq!((engine.outcome(), events), (outcome, 0));
    engine.restart();
    assert!(engine.begin_iteration(&mut (), &mut count(&mut events)));
    // Started, EpochStarted, IterationStarted.
    assert_eq!((engine.state().iteration(), events), (1, 3));
}

/// Data of unknown length in a loop of one's own: its end ends the epoch, and later epochs are as long.
#[test]
fn the_end_of_the_data_ends_the_epoch() {
    let mut log = Log::new();
    let mut engine = Engine::new(2);
    for _ in 0..3 {
        assert!(engine.begin_iteration(&mut log, &mut Recorder));
        assert!(engine.end_iteration(0, &mut log, &mut Recorder));
    }
    assert_eq!(engine.state().epoch_length(), None);
    engine.end_data(&mut log, &mut Recorder);
    assert_eq!(engine.state().epoch_length(), Some(3));
    assert_eq!(log.last().map(|entry| (entry.event, entry.at)), Some((Some(Event::EpochCompleted), (1, 3, 3))));
    while engine.begin_iteration(&mut log, &mut Recorder) {
        engine.end_iteration(0, &mut log, &mut Recorder);
        if engine.outcome().is_some() {
            break;
        }
    }
    assert_eq!(engine.outcome().map(|outcome| (outcome.epoch, outcome.iteration)), Some((2, 6)));
}

#[test]
fn an_end_of_the_data_where_there_was_none_does_nothing() {
    let mut events = 0;
    let mut engine = Engine::<u32>::new(2);
    engine.end_data(&mut (), &mut count(&mut events));
    assert_eq!((events, engine.state().epoch()), (0, 0));
}
