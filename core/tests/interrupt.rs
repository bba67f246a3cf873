//! An interrupted run continues as if nothing had happened, in the same program and after a restart.

use std::cell::Cell;
use training_monitor::checkpoint::Named;
use training_monitor::engine::Evaluator;
use training_monitor::event::{Completed, EpochCompleted, Interrupt, IterationCompleted};
use training_monitor::handlers::every_ticks::EveryTicks;
use training_monitor::store::ram::Ram;
use training_monitor::{
    Engine, Event, EventFilter, Handler, ModelCheckpoint, Outcome, RunError, State, StopReason, TimeLimit, on,
};
use training_monitor_std::test_support::store::{FaultyStore, StoreFault, StoreOperation};

type Model = Named<'static, [f32; 1]>;

const EPOCHS: u32 = 2;
const BATCHES: [f32; 2] = [0.25, 0.5];

fn model() -> Model {
    Named::new("model", [0.0])
}

/// The result depends on the number and the order of the steps.
fn step(model: &mut Model, batch: f32) -> f32 {
    model[0] = model[0] * 0.5 + batch;
    model[0]
}

fn run<H: Handler<Model, f32>>(engine: &mut Engine<f32>, model: &mut Model, handlers: &mut H) -> Outcome {
    engine.run(model, &BATCHES[..], handlers, |model, batch, _| step(model, *batch)).unwrap()
}

/// Runs a custom loop until the run is over or interrupted.
fn run_loop<H: Handler<Model, f32>>(engine: &mut Engine<f32>, model: &mut Model, handlers: &mut H) {
    while engine.begin_iteration(model, handlers).unwrap() {
        let output = step(model, BATCHES[engine.state().offset() as usize]);
        engine.end_iteration(output, model, handlers);
    }
}

/// Records all events, and interrupts the run at the event with the index `interrupt_at`.
struct Recorder {
    events: Vec<(Event, u32, u32)>,
    interrupt_at: usize,
}

impl Recorder {
    fn new(interrupt_at: usize) -> Self {
        Recorder { events: Vec::new(), interrupt_at }
    }

    /// The recorded events without the interrupt.
    fn without_interrupt(&self) -> Vec<(Event, u32, u32)> {
        self.events.iter().copied().filter(|(event, ..)| *event != Event::Interrupt).collect()
    }
}

impl Handler<Model, f32> for Recorder {
    fn on_event(&mut self, event: Event, _: &mut Model, state: &mut State<f32>) {
        if event == Event::SavedCheckpoint {
            return;
        }
        if self.events.len() == self.interrupt_at {
            state.interrupt();
        }
        self.events.push((event, state.epoch(), state.iteration()));
    }
}

fn uninterrupted(run: impl Fn(&mut Engine<f32>, &mut Model, &mut Recorder)) -> (Vec<(Event, u32, u32)>, f32) {
    let (mut model, mut recorder) = (model(), Recorder::new(usize::MAX));
    run(&mut Engine::new(EPOCHS).with_epoch_length(2), &mut model, &mut recorder);
    (recorder.events, model[0])
}

#[test]
fn a_run_that_is_interrupted_at_any_event_continues_with_the_same_events() {
    let (events, result) = uninterrupted(|engine, model, recorder| _ = run(engine, model, recorder));
    for interrupt_at in 0..events.len() {
        let (mut model, mut recorder) = (model(), Recorder::new(interrupt_at));
        let mut engine = Engine::new(EPOCHS).with_epoch_length(2);
        let outcome = run(&mut engine, &mut model, &mut recorder);
        // A run cannot be interrupted after its last event.
        let is_over = interrupt_at + 1 == events.len();
        let expected = if is_over { StopReason::MaxEpochs } else { StopReason::Interrupted };
        assert_eq!((outcome.reason, engine.outcome().is_some()), (expected, is_over), "event {interrupt_at}");
        if !is_over {
            assert_eq!(recorder.events[interrupt_at + 1].0, Event::Interrupt, "event {interrupt_at}");
            assert_eq!(run(&mut engine, &mut model, &mut recorder).reason, StopReason::MaxEpochs);
        }
        assert_eq!((recorder.without_interrupt(), model[0]), (events.clone(), result), "event {interrupt_at}");
    }
}

#[test]
fn a_custom_loop_that_is_interrupted_at_any_event_continues_with_the_same_events() {
    let (events, result) = uninterrupted(run_loop);
    for interrupt_at in 0..events.len() {
        let (mut model, mut recorder) = (model(), Recorder::new(interrupt_at));
        let mut engine = Engine::new(EPOCHS).with_epoch_length(2);
        run_loop(&mut engine, &mut model, &mut recorder);
        if interrupt_at + 1 < events.len() {
            assert_eq!(recorder.events.last().unwrap().0, Event::Interrupt, "event {interrupt_at}");
            run_loop(&mut engine, &mut model, &mut recorder);
        }
        assert_eq!((recorder.without_interrupt(), model[0]), (events.clone(), result), "event {interrupt_at}");
    }
}

#[test]
fn an_interrupted_run_continues_after_a_restart() {
    let (events, result) = uninterrupted(|engine, model, recorder| _ = run(engine, model, recorder));
    for interrupt_at in 0..events.len() - 1 {
        let mut store = Ram::<2, 512>::new();
        let mut log = Vec::new();
        for (start, interrupt_at) in [interrupt_at, usize::MAX].into_iter().enumerate() {
            let latest = ModelCheckpoint::<1>::every(1).unwrap().attach(Interrupt, &mut store).unwrap();
            let mut handlers = (Recorder::new(interrupt_at), latest);
            let (mut engine, mut model) = (Engine::new(EPOCHS).with_epoch_length(2), model());
            let resumed = engine.resume(&mut model, &mut handlers).unwrap();
            assert_eq!(resumed.is_some(), start == 1, "event {interrupt_at}");
            let outcome = run(&mut engine, &mut model, &mut handlers);
            assert_eq!(outcome.reason == StopReason::MaxEpochs, start == 1, "event {interrupt_at}");
            log.append(&mut handlers.0.without_interrupt());
            if start == 1 {
                assert_eq!(model[0], result, "event {interrupt_at}");
            }
        }
        assert_eq!(log, events, "event {interrupt_at}");
    }
}

/// The second run of an engine starts without the position of the first one in its last epoch.
#[test]
fn a_second_run_that_is_interrupted_at_any_event_resumes() {
    let (events, result) = uninterrupted(|engine, model, recorder| _ = run(engine, model, recorder));
    for interrupt_at in 0..events.len() - 1 {
        let mut store = Ram::<2, 512>::new();
        let latest = ModelCheckpoint::<1>::every(1).unwrap().attach(Interrupt, &mut store).unwrap();
        let mut handlers = (Recorder::new(events.len() + interrupt_at), latest);
        let (mut engine, mut model) = (Engine::new(EPOCHS).with_epoch_length(2), model());
        run(&mut engine, &mut model, &mut handlers);
        model[0] = 0.0;
        assert_eq!(run(&mut engine, &mut model, &mut handlers).reason, StopReason::Interrupted);

        let latest = ModelCheckpoint::<1>::every(1).unwrap().attach(Interrupt, &mut store).unwrap();
        let mut handlers = (Recorder::new(usize::MAX), latest);
        let (mut engine, mut model) = (Engine::new(EPOCHS).with_epoch_length(2), self::model());
        engine.resume(&mut model, &mut handlers).unwrap();
        assert_eq!(run(&mut engine, &mut model, &mut handlers).reason, StopReason::MaxEpochs);
        assert_eq!(model[0], result, "event {interrupt_at}");
    }
}

#[test]
fn a_request_to_terminate_has_priority() {
    let mut events = Vec::new();
    let mut handlers = (
        on(IterationCompleted, |_: &mut Model, state: &mut State<f32>| {
            state.interrupt();
            state.terminate(StopReason::User(1));
        }),
        on(Completed.or(Interrupt), |_: &mut Model, state: &mut State<f32>| events.push(state.iteration())),
    );
    let mut engine = Engine::new(EPOCHS);
    let outcome = run(&mut engine, &mut model(), &mut handlers);
    assert_eq!((outcome.reason, outcome.iteration), (StopReason::User(1), 1));
    // The next run is not interrupted by the old request before its first event.
    let outcome = run(&mut engine, &mut model(), &mut handlers);
    assert_eq!((outcome.reason, outcome.iteration), (StopReason::User(1), 2));
    assert_eq!(events, [1, 2]);
}

#[test]
fn a_failed_save_at_the_interrupt_is_an_error() {
    let store = FaultyStore::new(Ram::<2, 512>::new(), |operation| match operation {
        StoreOperation::Commit => StoreFault::Before,
        _ => StoreFault::None,
    });
    let mut handlers = (
        on(IterationCompleted, |_: &mut Model, state: &mut State<f32>| state.interrupt()),
        ModelCheckpoint::<1>::every(1).unwrap().attach(Interrupt, store).unwrap(),
    );
    let failed =
        Engine::new(EPOCHS).run(&mut model(), &BATCHES[..], &mut handlers, |model, batch, _| step(model, *batch));
    assert!(matches!(failed, Err(RunError::SaveFailed(_))), "{failed:?}");
}

#[test]
fn an_error_of_the_step_function_ends_an_interrupted_run() {
    let mut engine = Engine::new(EPOCHS);
    let failed = engine.try_run(&mut model(), &BATCHES[..], &mut (), |_, _, state| {
        state.interrupt();
        if state.iteration() == 2 { Err("broken sensor") } else { Ok(0.0) }
    });
    assert_eq!(failed.map(|outcome| outcome.reason), Ok(StopReason::Interrupted));
    let failed = engine.try_run(&mut model(), &BATCHES[..], &mut (), |_, _, state| {
        state.interrupt();
        Err::<f32, _>("broken sensor")
    });
    assert_eq!(failed, Err(RunError::Step("broken sensor")));
    // The old request does not interrupt the next run.
    let outcome = engine.run(&mut model(), &BATCHES[..], &mut (), |_, _, _| 0.0).unwrap();
    assert_eq!(outcome.reason, StopReason::MaxEpochs);
}

#[test]
fn an_interrupted_evaluation_interrupts_the_training_run() {
    let interrupt = on(Completed, |_: &mut Model, state: &mut State<f32>| state.interrupt());
    let interrupt_step = on(IterationCompleted, |_: &mut Model, state: &mut State<f32>| state.interrupt());
    let evaluator = Evaluator::new(Engine::<f32>::new(1), (interrupt, interrupt_step));
    let mut handlers =
        evaluator.run_at(EpochCompleted, |model: &mut Model, trainer: &mut State<f32>, engine, handlers| {
            let evaluation = engine.run(model, &BATCHES[..], handlers, |model, _, _| model[0]).unwrap();
            trainer.terminate_if_stopped(&evaluation);
        });
    let outcome = run(&mut Engine::new(EPOCHS), &mut model(), &mut handlers);
    assert_eq!((outcome.reason, outcome.epoch), (StopReason::Interrupted, 1));
}

/// The ticks between an interrupt and the continuation in the same program are no training time.
#[test]
fn the_time_of_an_interrupt_does_not_count() {
    let ticks = Cell::new(0_u64);
    let mut handlers = (
        TimeLimit::new(1000).unwrap().attach(IterationCompleted, || ticks.get()),
        EveryTicks::new(1000).unwrap().attach(IterationCompleted, || ticks.get(), 1),
        on(IterationCompleted, |_: &mut (), state: &mut State<f32>| state.interrupt()),
    );
    let mut engine = Engine::<f32>::new(1);
    for _ in 0..3 {
        let step = |_: &mut (), _, _: &mut State<f32>| {
            ticks.set(ticks.get() + 10);
            0.0
        };
        engine.run(&mut (), 0..3, &mut handlers, step).unwrap();
        ticks.set(ticks.get() + 5000);
    }
    // A handler sees the first tick of a continued run at its first event, so only the first iteration counts.
    assert_eq!((handlers.0.time_limit.elapsed(), handlers.1.every_ticks.elapsed()), (10, 10));
}
