//! Tests of the engine that complete the comparison with recorded traces of Ignite. They cover requests at every event,
//! repeated runs, all kinds of data, errors of the step function, user events, and a second engine as an evaluator.
//!
//! Logs use abbreviations: `S` Started, `ES` EpochStarted, `gs`/`gc` GetBatchStarted/Completed, `is`/`ic`
//! IterationStarted/Completed, `f4` the step function in iteration 4, `EC` EpochCompleted, `T` Terminate, `TSE`
//! TerminateSingleEpoch, `X` ExceptionRaised, `C` Completed, `SC` SavedCheckpoint, `u1` user event 1. Unless a comment
//! says otherwise, Ignite 0.5.5 fires the same events in the same order.

use training_monitor::engine::{Evaluator, IterBatches};
use training_monitor::event::{Any, Completed, EpochCompleted, IterationCompleted, SavedCheckpoint, User};
use training_monitor::run_record::RunRecord;
use training_monitor::state::{EVENT_QUEUE, EventQueueFull};
use training_monitor::{
    EarlyStopping, Engine, Event, EventFilter, Handler, Outcome, RunError, State, StopReason, UserEvent, on,
};

type Log = Vec<String>;

fn short(event: Event) -> String {
    match event {
        Event::Started => "S",
        Event::EpochStarted => "ES",
        Event::GetBatchStarted => "gs",
        Event::GetBatchCompleted => "gc",
        Event::IterationStarted => "is",
        Event::IterationCompleted => "ic",
        Event::EpochCompleted => "EC",
        Event::Completed => "C",
        Event::Terminate => "T",
        Event::TerminateSingleEpoch => "TSE",
        Event::ExceptionRaised => "X",
        Event::SavedCheckpoint => "SC",
        Event::User(event) => return format!("u{}", event.id),
        _ => panic!("{event:?} has no short name"),
    }
    .into()
}

/// A handler that logs every event except the batch events.
struct Recorder;

impl Handler<Log, u32> for Recorder {
    fn on_event(&mut self, event: Event, log: &mut Log, _: &mut State<u32>) {
        if !matches!(event, Event::GetBatchStarted | Event::GetBatchCompleted) {
            log.push(short(event));
        }
    }
}

fn step(log: &mut Log, batch: u32, state: &mut State<u32>) -> u32 {
    log.push(format!("f{}", state.iteration()));
    batch
}

/// Runs 2 epochs of 3 batches. `handler` is the last of the handlers. Returns the log and the engine.
fn run_with(mut handler: impl Handler<Log, u32>) -> (String, Engine<u32>) {
    let mut log = Log::new();
    let mut engine = Engine::new(2);
    engine.run(&mut log, 0..3, &mut (Recorder, &mut handler), step).expect("there is data");
    (log.join(" "), engine)
}

const FIRST: &str = "S ES is f1 ic is f2 ic is f3 ic EC";

#[test]
fn terminate_stops_the_run_directly_after_the_event() {
    let terminate = |event: Event, expected_value| {
        let handler = on(event.filter(move |value| value == expected_value), |_, state| {
            state.terminate(StopReason::User(9));
        });
        let (log, engine) = run_with(handler);
        let reason = engine.outcome().map(|outcome| outcome.reason);
        assert_eq!(reason, Some(StopReason::User(9)), "{event:?}");
        assert_eq!(engine.state().stop_reason(), reason);
        log
    };
    assert_eq!(terminate(Event::Started, 0), "S T C");
    assert_eq!(terminate(Event::EpochStarted, 1), "S ES T C");
    assert_eq!(terminate(Event::GetBatchStarted, 1), "S ES is f1 ic T C");
    assert_eq!(terminate(Event::GetBatchCompleted, 1), "S ES is f1 ic T C");
    // A run that stops at IterationStarted counts the iteration, but does not call its step function.
    assert_eq!(terminate(Event::IterationStarted, 1), "S ES is T C");
    assert_eq!(terminate(Event::IterationCompleted, 1), "S ES is f1 ic T C");
    // After a request to stop in the last iteration of an epoch, the engine does not fire EpochCompleted.
    assert_eq!(terminate(Event::IterationCompleted, 3), "S ES is f1 ic is f2 ic is f3 ic T C");
    assert_eq!(terminate(Event::EpochCompleted, 1), format!("{FIRST} T C"));
    assert_eq!(terminate(Event::EpochCompleted, 2), format!("{FIRST} ES is f4 ic is f5 ic is f6 ic EC T C"));
    // Completed is the last event. A request to stop at this event changes the stop reason, but the engine fires no
    // other events than without the request.
    assert_eq!(terminate(Event::Completed, 2), format!("{FIRST} ES is f4 ic is f5 ic is f6 ic EC C"));
}

#[test]
fn terminate_in_the_step_function_completes_the_iteration() {
    let mut log = Log::new();
    let outcome = Engine::new(2).run(&mut log, 0..3, &mut Recorder, |log, batch, state| {
        state.terminate(StopReason::User(1));
        state.terminate(StopReason::User(2));
        step(log, batch, state)
    });
    assert_eq!(log.join(" "), "S ES is f1 ic T C");
    // Two stop requests were made in one iteration. The outcome keeps the reason of the first request.
    assert_eq!(outcome, Ok(Outcome { reason: StopReason::User(1), epoch: 1, iteration: 1 }));
}

#[test]
fn handlers_after_the_terminating_handler_receive_the_event() {
    let mut calls = 0;
    let stop = on(IterationCompleted, |_, state| state.terminate(StopReason::User(0)));
    run_with((stop, on(IterationCompleted, |_, _| calls += 1)));
    assert_eq!(calls, 1);
}

#[test]
fn terminate_epoch_skips_to_the_next_epoch() {
    let terminate_epoch = |event: Event, expected_value| {
        let handler = on(event.filter(move |value| value == expected_value), |_, state| {
            state.terminate_epoch();
        });
        let (log, engine) = run_with(handler);
        assert_eq!(engine.outcome().map(|outcome| outcome.reason), Some(StopReason::MaxEpochs), "{event:?}");
        log
    };
    let plain = format!("{FIRST} ES is f4 ic is f5 ic is f6 ic EC C");
    assert_eq!(
        terminate_epoch(Event::IterationStarted, 2),
        "S ES is f1 ic is TSE EC ES is f3 ic is f4 ic is f5 ic EC C"
    );
    assert_eq!(
        terminate_epoch(Event::IterationCompleted, 1),
        "S ES is f1 ic TSE EC ES is f2 ic is f3 ic is f4 ic EC C"
    );
    assert_eq!(
        terminate_epoch(Event::IterationCompleted, 6),
        format!("{FIRST} ES is f4 ic is f5 ic is f6 ic TSE EC C")
    );
    // Ignite raises an error if `terminate_epoch` is called outside an epoch or before the first batch. This engine
    // ignores a call outside an epoch. After a call at EpochStarted, the epoch has no iterations.
    assert_eq!(terminate_epoch(Event::EpochStarted, 1), "S ES TSE EC ES is f1 ic is f2 ic is f3 ic EC C");
    assert_eq!(terminate_epoch(Event::Started, 0), plain);
    assert_eq!(terminate_epoch(Event::EpochCompleted, 1), plain);
}

#[test]
fn data_restarts_after_a_terminated_epoch() {
    let mut batches = Vec::new();
    let mut terminate_epoch =
        on(IterationCompleted.filter(|iteration| iteration == 2), |_, state| state.terminate_epoch());
    Engine::new(2)
        .run(&mut batches, 0..4, &mut terminate_epoch, |batches: &mut Vec<u32>, batch, _| {
            batches.push(batch);
            batch
        })
        .expect("there is data");
    assert_eq!(batches, [0, 1, 0, 1, 2, 3]);
}

#[test]
fn the_run_after_a_stopped_run_continues_with_the_next_epoch() {
    let mut log = Log::new();
    let mut engine = Engine::new(2);
    let mut stop =
        on(IterationCompleted.filter(|iteration| iteration == 1), |_, state| state.terminate(StopReason::User(0)));
    let first = engine.run(&mut log, 0..3, &mut (Recorder, &mut stop), step);
    assert_eq!(first, Ok(Outcome { reason: StopReason::User(0), epoch: 1, iteration: 1 }));
    log.clear();
    // The second run starts with the next epoch. It does not repeat the rest of the stopped epoch.
    let second = engine.run(&mut log, 0..3, &mut (Recorder, &mut stop), step);
    assert_eq!(log.join(" "), "S ES is f2 ic is f3 ic is f4 ic EC C");
    assert_eq!(second, Ok(Outcome { reason: StopReason::MaxEpochs, epoch: 2, iteration: 4 }));
    // After a completed run, a new run starts with the first epoch.
    let third = engine.run(&mut Log::new(), 0..3, &mut (), step);
    assert_eq!(third, Ok(Outcome { reason: StopReason::MaxEpochs, epoch: 2, iteration: 6 }));
}

#[test]
fn each_fresh_run_takes_its_epoch_length_from_its_own_data() {
    let mut engine = Engine::new(1);
    for batches in [5, 10, 2] {
        let outcome = engine.run(&mut Log::new(), 0..batches, &mut (), step).expect("there is data");
        assert_eq!(outcome.iteration, batches);
    }
    let mut fixed = Engine::new(1).with_epoch_length(4);
    for batches in [5, 10, 2] {
        let outcome = fixed.run(&mut Log::new(), 0..batches, &mut (), step).expect("there is data");
        assert_eq!(outcome.iteration, 4);
    }
}

fn batches_of(engine: &mut Engine<u32>, data: core::ops::Range<u32>) -> Vec<u32> {
    let mut batches = Vec::new();
    engine
        .run(&mut batches, data, &mut (), |batches: &mut Vec<u32>, batch, _| {
            batches.push(batch);
            batch
        })
        .expect("there is data");
    batches
}

#[test]
fn epochs_may_be_shorter_or_longer_than_the_data() {
    assert_eq!(batches_of(&mut Engine::new(3).with_epoch_length(2), 0..3), [0, 1, 2, 0, 1, 2]);
    assert_eq!(batches_of(&mut Engine::new(2).with_epoch_length(5), 0..3), [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]);
    assert_eq!(batches_of(&mut Engine::new(2).with_epoch_length(3), 7..8), [7; 6]);
}

#[test]
fn a_run_with_max_epochs_zero_has_no_iterations() {
    let mut log = Log::new();
    let outcome = Engine::new(0).run(&mut log, 0..3, &mut Recorder, step);
    assert_eq!((log.join(" "), outcome.map(|outcome| outcome.iteration)), ("S C".into(), Ok(0)));
}

#[test]
fn the_end_of_an_iterator_sets_the_epoch_length() {
    let mut log = Log::new();
    let mut engine = Engine::new(1);
    let outcome = engine.run(&mut log, IterBatches(5..8_u32), &mut Recorder, step).expect("there is data");
    assert_eq!(log.join(" "), "S ES is f1 ic is f2 ic is f3 ic EC C");
    assert_eq!((outcome.iteration, engine.state().epoch_length(), engine.state().output), (3, Some(3), Some(7)));
}

#[test]
fn the_configured_epoch_length_divides_an_endless_iterator_into_epochs() {
    let mut log = Log::new();
    let mut engine = Engine::new(2).with_epoch_length(2);
    engine.run(&mut log, IterBatches(0..), &mut Recorder, step).expect("there is data");
    assert_eq!(log.join(" "), "S ES is f1 ic is f2 ic EC ES is f3 ic is f4 ic EC C");
    assert_eq!(engine.state().output, Some(3));
}

#[test]
fn an_iterator_that_ends_before_the_run_is_an_error() {
    let mut log = Log::new();
    let mut engine = Engine::new(2);
    let error = engine.run(&mut log, IterBatches(0..2_u32), &mut Recorder, step);
    assert_eq!(error, Err(RunError::DataExhausted { epoch: 2, iteration: 2 }));
    assert_eq!(log.join(" "), "S ES is f1 ic is f2 ic EC ES");
    // The iterator has 4 batches, so it ends after the first of the 3 iterations of epoch 2. The error is again
    // `DataExhausted`.
    let error = Engine::new(2).with_epoch_length(3).run(&mut Log::new(), IterBatches(0..4_u32), &mut (), step);
    assert_eq!(error, Err(RunError::DataExhausted { epoch: 2, iteration: 4 }));
}

#[test]
fn empty_data_is_an_error_and_leaves_the_engine_unchanged() {
    let mut log = Log::new();
    let mut engine = Engine::new(2);
    let before = engine.engine_state();
    assert_eq!(engine.run(&mut log, 3..3, &mut Recorder, step), Err(RunError::NoData));
    let empty: &[u32] = &[];
    let by_reference = engine.run(&mut log, empty, &mut Recorder, |log, batch, state| step(log, *batch, state));
    assert_eq!(by_reference, Err(RunError::NoData));
    assert_eq!((log.len(), engine.engine_state()), (0, before));
    // The length of an iterator is unknown. The engine notices that there is no data when it fetches the first batch.
    assert_eq!(engine.run(&mut log, IterBatches(0..0_u32), &mut Recorder, step), Err(RunError::NoData));
}

#[test]
fn an_error_of_the_step_function_stops_the_run_and_is_returned() {
    let mut log = Log::new();
    let mut engine = Engine::new(2);
    let error = engine.try_run(&mut log, 0..3, &mut Recorder, |log, batch, state| {
        step(log, batch, state);
        if batch == 1 { Err("sensor disconnected") } else { Ok(batch) }
    });
    assert_eq!(error, Err(RunError::Step("sensor disconnected")));
    // ExceptionRaised is the last event of a failed run. The engine does not fire IterationCompleted, EpochCompleted or
    // Completed.
    assert_eq!(log.join(" "), "S ES is f1 ic is f2 X");
    let outcome = Outcome { reason: StopReason::StepFailed, epoch: 1, iteration: 2 };
    assert_eq!((engine.outcome(), engine.state().output), (Some(outcome), None));
    // After the failed run, the same engine performs a new run without an error.
    log.clear();
    assert!(engine.run(&mut log, 0..3, &mut Recorder, step).is_ok());
    assert_eq!(log.join(" "), "S ES is f3 ic is f4 ic is f5 ic EC C");
}

#[test]
fn a_handler_can_change_max_epochs_during_the_run() {
    let longer = on(EpochCompleted.filter(|epoch| epoch == 2), |_, state| state.set_max_epochs(3));
    let engine = run_with(longer).1;
    assert_eq!((engine.state().epoch(), engine.state().max_epochs()), (3, 3));
    let shorter = on(EpochCompleted, |_, state| state.set_max_epochs(1));
    assert_eq!(run_with(shorter).0, format!("{FIRST} C"));
}

#[test]
fn a_user_event_follows_the_current_event() {
    let fire = on(IterationCompleted.filter(|iteration| iteration == 1), |_, state| {
        state.fire(UserEvent { id: 1, value: 4 }).expect("the queue is empty");
        state.fire(UserEvent { id: 2, value: 0 }).expect("the queue holds one event");
    });
    let last = on(IterationCompleted.filter(|iteration| iteration == 1), |log: &mut Log, _: &mut State<u32>| {
        log.push("last".into())
    });
    let expected = "S ES is f1 ic last u1 u2 is f2 ic is f3 ic EC ES is f4 ic is f5 ic is f6 ic EC C";
    assert_eq!(run_with((fire, last)).0, expected);
}

#[test]
fn a_user_event_of_the_step_function_follows_iteration_completed() {
    let mut log = Log::new();
    let fired = Engine::new(1).run(&mut log, 0..2, &mut Recorder, |log, batch, state| {
        state.fire(UserEvent { id: 7, value: batch }).expect("the queue is empty");
        step(log, batch, state)
    });
    assert!(fired.is_ok());
    assert_eq!(log.join(" "), "S ES is f1 ic u7 is f2 ic u7 EC C");
}

#[test]
fn filters_compare_the_value_of_a_user_event() {
    let mut calls = 0;
    let mut handler = on(User(1).every(3).expect("not 0"), |_, _| calls += 1);
    let mut engine = Engine::<u32>::new(1);
    for value in 0..10 {
        engine.fire(UserEvent { id: 1, value }, &mut (), &mut handler);
        engine.fire(UserEvent { id: 2, value }, &mut (), &mut handler);
    }
    // The filter `every(3)` compares the value of event 1. The values 0, 3, 6 and 9 match, so the handler has 4 calls.
    assert_eq!(calls, 4);
}

/// A handler that simulates a save at every `IterationCompleted` and at `Completed`. The field is true while a save is
/// pending.
struct Saver(bool);

impl Handler<Log, u32> for Saver {
    fn on_event(&mut self, event: Event, _: &mut Log, state: &mut State<u32>) {
        if matches!(event, Event::IterationCompleted | Event::Completed) {
            self.0 = true;
            state.request_action();
        }
    }
    fn perform(&mut self, log: &mut Log, _: &mut State<u32>, _: &RunRecord<[u8]>) -> bool {
        log.push("act".into());
        core::mem::take(&mut self.0)
    }
}

#[test]
fn a_user_event_fired_at_saved_checkpoint_follows_directly() {
    let fire = on(SavedCheckpoint, |_, state| {
        state.fire(UserEvent { id: 1, value: 0 }).expect("the queue is empty");
    });
    let mut log = Log::new();
    let mut handlers = (Recorder, fire, Saver(false));
    Engine::new(1).run(&mut log, 0..1, &mut handlers, step).expect("there is data");
    assert_eq!(log.join(" "), "S ES is f1 ic act SC u1 EC C act SC u1");
}

#[test]
fn a_full_event_queue_is_an_error_and_leaves_the_state_unchanged() {
    let mut events = 0;
    let mut engine = Engine::<u32>::new(1);
    for id in 0..u8::try_from(EVENT_QUEUE).expect("a few") {
        assert_eq!(engine.state_mut().fire(UserEvent { id, value: 0 }), Ok(()));
    }
    let before = format!("{:?}", engine.state());
    assert_eq!(engine.state_mut().fire(UserEvent { id: 99, value: 0 }), Err(EventQueueFull));
    assert_eq!(format!("{:?}", engine.state()), before);
    let mut handler = on(Any, |_, _| events += 1);
    assert_eq!(engine.begin_iteration(&mut (), &mut handler), Ok(true));
    // The handler receives all `EVENT_QUEUE` queued user events. It also receives three events of the engine: Started,
    // EpochStarted and IterationStarted.
    assert_eq!(events, 3 + EVENT_QUEUE);
}

#[test]
fn early_stopping_of_an_evaluator_stops_the_trainer() {
    let losses = [0.9_f32, 0.5, 0.6, 0.7, 0.1, 0.1];
    let stopping =
        EarlyStopping::new(2).expect("a patience").attach(Completed, |state| -state.output.unwrap_or(f32::INFINITY));
    let evaluate = Evaluator::new(Engine::<f32>::new(1), stopping).run_at(
        EpochCompleted,
        |(): &mut (), trainer, engine, handlers| {
            let loss = losses[trainer.epoch() as usize - 1];
            let outcome = engine.run(&mut (), 0..3, handlers, |(), _, _| loss).expect("there is data");
            trainer.terminate_if_stopped(&outcome);
        },
    );
    let outcome = Engine::new(6).run(&mut (), 0..2, &mut { evaluate }, |(), batch, _| batch);
    assert_eq!(outcome, Ok(Outcome { reason: StopReason::EarlyStopping, epoch: 4, iteration: 8 }));
}
