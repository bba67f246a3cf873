//! The engine's rules, beyond what the recorded traces go through: requests at every event, further runs, data of every
//! kind, errors of the step function, events of the user's own, and a second engine as an evaluator.
//!
//! Logs are short: `S` Started, `ES` EpochStarted, `gs`/`gc` the batch events, `is`/`ic` the iteration's, `f4` the step of
//! iteration 4, `EC` EpochCompleted, `T` Terminate, `TSE` TerminateSingleEpoch, `X` ExceptionRaised, `C` Completed,
//! `SC` SavedCheckpoint, `u1` user event 1. Expected logs are Ignite 0.5.5's, but where they say otherwise.

use training_monitor::engine::Stream;
use training_monitor::event::{Any, Completed, EpochCompleted, IterationCompleted, SavedCheckpoint, User};
use training_monitor::record::Record;
use training_monitor::state::{EVENT_QUEUE, EventQueueFull};
use training_monitor::{
    EarlyStopping, Engine, Event, Handler, Outcome, RunError, State, StopReason, UserEvent, When, on,
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
        _ => "?",
    }
    .into()
}

/// Logs every event but those of batches.
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

/// What a run of 2 epochs over 3 batches logs when `handler` is attached last.
fn run_with(mut handler: impl Handler<Log, u32>) -> (String, Engine<u32>) {
    let mut log = Log::new();
    let mut engine = Engine::new(2);
    engine.run(&mut log, 0..3, &mut (Recorder, &mut handler), step).expect("there is data");
    (log.join(" "), engine)
}

const FIRST: &str = "S ES is f1 ic is f2 ic is f3 ic EC";

#[test]
fn terminate_acts_at_once_at_every_event() {
    let terminate = |event: Event, at| {
        let handler = on(event.filter(move |value| value == at), |_: &mut Log, state: &mut State<u32>| {
            state.terminate(StopReason::User(9));
        });
        let (log, engine) = run_with(handler);
        let reason = engine.outcome().map(|outcome| outcome.reason);
        assert_eq!(reason, Some(StopReason::User(9)), "{event:?}");
        log
    };
    assert_eq!(terminate(Event::Started, 0), "S T C");
    assert_eq!(terminate(Event::EpochStarted, 1), "S ES T C");
    assert_eq!(terminate(Event::GetBatchStarted, 1), "S ES is f1 ic T C");
    assert_eq!(terminate(Event::GetBatchCompleted, 1), "S ES is f1 ic T C");
    // The iteration has been counted, its step is not run.
    assert_eq!(terminate(Event::IterationStarted, 1), "S ES is T C");
    assert_eq!(terminate(Event::IterationCompleted, 1), "S ES is f1 ic T C");
    // Also at the last iteration of an epoch, whose end is not announced then.
    assert_eq!(terminate(Event::IterationCompleted, 3), "S ES is f1 ic is f2 ic is f3 ic T C");
    assert_eq!(terminate(Event::EpochCompleted, 1), format!("{FIRST} T C"));
    assert_eq!(terminate(Event::EpochCompleted, 2), format!("{FIRST} ES is f4 ic is f5 ic is f6 ic EC T C"));
    // Too late to change anything but the reason.
    assert_eq!(terminate(Event::Completed, 2), format!("{FIRST} ES is f4 ic is f5 ic is f6 ic EC C"));
}

#[test]
fn terminate_in_the_step_waits_for_its_end() {
    let mut log = Log::new();
    let outcome = Engine::new(2).run(&mut log, 0..3, &mut Recorder, |log, batch, state| {
        state.terminate(StopReason::User(1));
        state.terminate(StopReason::User(2));
        step(log, batch, state)
    });
    assert_eq!(log.join(" "), "S ES is f1 ic T C");
    // The first reason is kept.
    assert_eq!(outcome, Ok(Outcome { reason: StopReason::User(1), epoch: 1, iteration: 1 }));
}

#[test]
fn handlers_behind_the_one_that_terminates_still_see_the_event() {
    let mut seen = 0;
    let stop = on(IterationCompleted, |_: &mut Log, state: &mut State<u32>| state.terminate(StopReason::User(0)));
    run_with((stop, on(IterationCompleted, |_: &mut Log, _: &mut State<u32>| seen += 1)));
    assert_eq!(seen, 1);
}

#[test]
fn terminate_epoch_ends_the_epoch_alone() {
    let cut = |event: Event, at| {
        let handler = on(event.filter(move |value| value == at), |_: &mut Log, state: &mut State<u32>| {
            state.terminate_epoch();
        });
        let (log, engine) = run_with(handler);
        assert_eq!(engine.outcome().map(|outcome| outcome.reason), Some(StopReason::MaxEpochs), "{event:?}");
        log
    };
    let plain = format!("{FIRST} ES is f4 ic is f5 ic is f6 ic EC C");
    assert_eq!(cut(Event::IterationStarted, 2), "S ES is f1 ic is TSE EC ES is f3 ic is f4 ic is f5 ic EC C");
    assert_eq!(cut(Event::IterationCompleted, 1), "S ES is f1 ic TSE EC ES is f2 ic is f3 ic is f4 ic EC C");
    assert_eq!(cut(Event::IterationCompleted, 6), format!("{FIRST} ES is f4 ic is f5 ic is f6 ic TSE EC C"));
    // Ignite raises an error in these two; here the first is an epoch without iterations, and outside an epoch there is
    // nothing to end.
    assert_eq!(cut(Event::EpochStarted, 1), "S ES TSE EC ES is f1 ic is f2 ic is f3 ic EC C");
    assert_eq!(cut(Event::Started, 0), plain);
    assert_eq!(cut(Event::EpochCompleted, 1), plain);
}

#[test]
fn data_begins_again_after_an_epoch_was_cut() {
    let mut batches = Vec::new();
    let mut cut =
        on(IterationCompleted.filter(|at| at == 2), |_: &mut _, state: &mut State<u32>| state.terminate_epoch());
    Engine::new(2)
        .run(&mut batches, 0..4, &mut cut, |batches: &mut Vec<u32>, batch, _| {
            batches.push(batch);
            batch
        })
        .expect("there is data");
    assert_eq!(batches, [0, 1, 0, 1, 2, 3]);
}

#[test]
fn a_run_after_a_cut_one_goes_on_with_the_next_epoch() {
    let mut log = Log::new();
    let mut engine = Engine::new(2);
    let mut stop = on(IterationCompleted.filter(|at| at == 1), |_: &mut Log, state: &mut State<u32>| {
        state.terminate(StopReason::User(0))
    });
    let first = engine.run(&mut log, 0..3, &mut (Recorder, &mut stop), step);
    assert_eq!(first, Ok(Outcome { reason: StopReason::User(0), epoch: 1, iteration: 1 }));
    log.clear();
    // The request is forgotten; the epoch that was cut is not made up for.
    let second = engine.run(&mut log, 0..3, &mut (Recorder, &mut stop), step);
    assert_eq!(log.join(" "), "S ES is f2 ic is f3 ic is f4 ic EC C");
    assert_eq!(second, Ok(Outcome { reason: StopReason::MaxEpochs, epoch: 2, iteration: 4 }));
    // After a whole run: from the beginning.
    let third = engine.run(&mut Log::new(), 0..3, &mut (), step);
    assert_eq!(third, Ok(Outcome { reason: StopReason::MaxEpochs, epoch: 2, iteration: 6 }));
}

#[test]
fn a_run_from_the_beginning_is_as_long_as_its_own_data() {
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
fn no_epochs_are_a_run_without_iterations() {
    let mut log = Log::new();
    let outcome = Engine::new(0).run(&mut log, 0..3, &mut Recorder, step);
    assert_eq!((log.join(" "), outcome.map(|outcome| outcome.iteration)), ("S C".into(), Ok(0)));
}

#[test]
fn a_stream_tells_its_length_by_ending() {
    let mut log = Log::new();
    let mut engine = Engine::new(1);
    let outcome = engine.run(&mut log, Stream(5..8_u32), &mut Recorder, step).expect("there is data");
    assert_eq!(log.join(" "), "S ES is f1 ic is f2 ic is f3 ic EC C");
    assert_eq!((outcome.iteration, engine.state().epoch_length(), engine.state().output), (3, Some(3), Some(7)));
}

#[test]
fn an_endless_stream_is_cut_into_epochs() {
    let mut log = Log::new();
    let mut engine = Engine::new(2).with_epoch_length(2);
    engine.run(&mut log, Stream(0..), &mut Recorder, step).expect("there is data");
    assert_eq!(log.join(" "), "S ES is f1 ic is f2 ic EC ES is f3 ic is f4 ic EC C");
    assert_eq!(engine.state().output, Some(3));
}

#[test]
fn a_stream_that_ends_for_good_before_the_run_is_an_error() {
    let mut log = Log::new();
    let mut engine = Engine::new(2);
    let error = engine.run(&mut log, Stream(0..2_u32), &mut Recorder, step);
    assert_eq!(error, Err(RunError::DataExhausted { epoch: 2, iteration: 2 }));
    assert_eq!(log.join(" "), "S ES is f1 ic is f2 ic EC ES");
    // In the middle of an epoch whose length is known, too.
    let error = Engine::new(2).with_epoch_length(3).run(&mut Log::new(), Stream(0..4_u32), &mut (), step);
    assert_eq!(error, Err(RunError::DataExhausted { epoch: 2, iteration: 4 }));
}

#[test]
fn no_data_is_an_error_and_changes_nothing() {
    let mut log = Log::new();
    let mut engine = Engine::new(2);
    let before = engine.engine_state();
    assert_eq!(engine.run(&mut log, 3..3, &mut Recorder, step), Err(RunError::NoData));
    let empty: &[u32] = &[];
    let by_reference = engine.run(&mut log, empty, &mut Recorder, |log, batch, state| step(log, *batch, state));
    assert_eq!(by_reference, Err(RunError::NoData));
    assert_eq!((log.len(), engine.engine_state()), (0, before));
    // A stream shows only when it is asked.
    assert_eq!(engine.run(&mut log, Stream(0..0_u32), &mut Recorder, step), Err(RunError::NoData));
}

#[test]
fn an_error_of_the_step_ends_the_run_with_that_error() {
    let mut log = Log::new();
    let mut engine = Engine::new(2);
    let error = engine.try_run(&mut log, 0..3, &mut Recorder, |log, batch, state| {
        step(log, batch, state);
        if batch == 1 { Err("the sensor is gone") } else { Ok(batch) }
    });
    assert_eq!(error, Err(RunError::Step("the sensor is gone")));
    // Nothing after it: no IterationCompleted, no EpochCompleted, no Completed.
    assert_eq!(log.join(" "), "S ES is f1 ic is f2 X");
    let outcome = Outcome { reason: StopReason::StepFailed, epoch: 1, iteration: 2 };
    assert_eq!((engine.outcome(), engine.state().output), (Some(outcome), None));
    // A later run is a run like any other.
    log.clear();
    assert!(engine.run(&mut log, 0..3, &mut Recorder, step).is_ok());
    assert_eq!(log.join(" "), "S ES is f3 ic is f4 ic is f5 ic EC C");
}

#[test]
fn the_number_of_epochs_is_read_live() {
    let longer = on(EpochCompleted.filter(|at| at == 2), |_: &mut Log, state: &mut State<u32>| state.set_max_epochs(3));
    assert_eq!(run_with(longer).1.outcome().map(|outcome| outcome.epoch), Some(3));
    let shorter = on(EpochCompleted, |_: &mut Log, state: &mut State<u32>| state.set_max_epochs(1));
    assert_eq!(run_with(shorter).0, format!("{FIRST} C"));
}

#[test]
fn an_event_of_the_users_own_is_fired_when_the_one_under_way_is_done() {
    let fire = on(IterationCompleted.filter(|at| at == 1), |_: &mut Log, state: &mut State<u32>| {
        state.fire(UserEvent { id: 1, value: 4 }).expect("the queue is empty");
        state.fire(UserEvent { id: 2, value: 0 }).expect("one is waiting");
    });
    let behind =
        on(IterationCompleted.filter(|at| at == 1), |log: &mut Log, _: &mut State<u32>| log.push("behind".into()));
    let expected = "S ES is f1 ic behind u1 u2 is f2 ic is f3 ic EC ES is f4 ic is f5 ic is f6 ic EC C";
    assert_eq!(run_with((fire, behind)).0, expected);
}

#[test]
fn an_event_fired_by_the_step_follows_the_iteration() {
    let mut log = Log::new();
    let fired = Engine::new(1).run(&mut log, 0..2, &mut Recorder, |log, batch, state| {
        state.fire(UserEvent { id: 7, value: batch }).expect("the queue is empty");
        step(log, batch, state)
    });
    assert!(fired.is_ok());
    assert_eq!(log.join(" "), "S ES is f1 ic u7 is f2 ic u7 EC C");
}

#[test]
fn filters_go_by_the_value_of_a_user_event() {
    let mut seen = Vec::new();
    let mut watch = on(User(1).every(3).expect("not 0"), |_: &mut (), _: &mut State<u32>| seen.push(()));
    let mut engine = Engine::<u32>::new(1);
    for value in 0..10 {
        engine.fire(UserEvent { id: 1, value }, &mut (), &mut watch);
        engine.fire(UserEvent { id: 2, value }, &mut (), &mut watch);
    }
    // 0, 3, 6 and 9.
    assert_eq!(seen.len(), 4);
}

/// Says at every `IterationCompleted` that it has saved something.
struct Saver(bool);

impl Handler<Log, u32> for Saver {
    fn on_event(&mut self, event: Event, _: &mut Log, state: &mut State<u32>) {
        if matches!(event, Event::IterationCompleted | Event::Completed) {
            self.0 = true;
            state.request_act();
        }
    }
    fn pending(&self) -> bool {
        self.0
    }
    fn act(&mut self, log: &mut Log, _: &mut State<u32>, _: &Record) -> bool {
        log.push("act".into());
        core::mem::take(&mut self.0)
    }
}

/// An event that is fired because something was saved comes at once, at the end of the run, too.
#[test]
fn an_event_fired_at_a_save_does_not_wait_for_the_next_event() {
    let fire = on(SavedCheckpoint, |_: &mut Log, state: &mut State<u32>| {
        state.fire(UserEvent { id: 1, value: 0 }).expect("the queue is empty");
    });
    let mut log = Log::new();
    let mut handlers = (Recorder, fire, Saver(false));
    Engine::new(1).run(&mut log, 0..1, &mut handlers, step).expect("there is data");
    assert_eq!(log.join(" "), "S ES is f1 ic act SC u1 EC C act SC u1");
}

#[test]
fn a_full_event_queue_is_an_error_and_changes_nothing() {
    let mut fired = Vec::new();
    let mut engine = Engine::<u32>::new(1);
    for id in 0..u8::try_from(EVENT_QUEUE).expect("a few") {
        assert_eq!(engine.state_mut().fire(UserEvent { id, value: 0 }), Ok(()));
    }
    let before = format!("{:?}", engine.state());
    assert_eq!(engine.state_mut().fire(UserEvent { id: 99, value: 0 }), Err(EventQueueFull));
    assert_eq!(format!("{:?}", engine.state()), before);
    let mut watch = on(Any, |_: &mut (), _: &mut State<u32>| fired.push(()));
    engine.begin_iteration(&mut (), &mut watch);
    // Started, the four, EpochStarted, IterationStarted.
    assert_eq!(fired.len(), 3 + EVENT_QUEUE);
}

#[test]
fn an_evaluator_whose_early_stopping_runs_out_stops_the_trainer() {
    let losses = [0.9_f32, 0.5, 0.6, 0.7, 0.1, 0.1];
    let stopping = EarlyStopping::new(2)
        .expect("a patience")
        .attach(Completed, |state: &State<f32>| -state.output.unwrap_or(f32::INFINITY));
    let evaluate =
        on(EpochCompleted, |_: &mut (), trainer: &mut State<u32>, evaluator: &mut Engine<f32>, handlers: &mut _| {
            let loss = losses[trainer.epoch() as usize - 1];
            let outcome = evaluator.run(&mut (), 0..3, handlers, |(), _, _| loss).expect("there is data");
            trainer.follow(&outcome);
        })
        .with(Engine::new(1), stopping);
    let outcome = Engine::new(6).run(&mut (), 0..2, &mut { evaluate }, |(), batch, _| batch);
    assert_eq!(outcome, Ok(Outcome { reason: StopReason::EarlyStopping, epoch: 4, iteration: 8 }));
}
