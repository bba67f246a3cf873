//! The examples of Ignite's reference pages for the handlers of this crate, with the results that these pages show. A
//! scripted clock replaces the real clock of the examples.

use std::cell::Cell;
use training_monitor::checkpoint::One;
use training_monitor::event::{
    Completed, EpochCompleted, EpochStarted, IterationCompleted, IterationStarted, Never, Started,
};
use training_monitor::store::ram::Ram;
use training_monitor::{EarlyStopping, Engine, ModelCheckpoint, State, StopReason, TerminateOnNan, Timer, on};
use training_monitor_std::directory::FileName;

/// A clock with millisecond ticks that advances only on request. `work` and `idle` take 100 ms each.
#[derive(Default)]
struct ScriptedClock(Cell<u64>);

const HERTZ: u32 = 1000;

impl ScriptedClock {
    fn now(&self) -> u64 {
        self.0.get()
    }
    fn advance(&self, milliseconds: u64) {
        self.0.set(self.now() + milliseconds);
    }
    fn work(&self) {
        self.advance(100);
    }
    fn idle(&self) {
        self.advance(100);
    }
}

fn assert_near(actual: f32, expected: f32) {
    assert!((actual - expected).abs() < 1e-6, "{actual} instead of {expected}");
}

/// Ignite's example "Measuring total time of the epoch". Ignite's page shows 2.003073937026784 s on a real clock.
#[test]
fn timer_measures_the_total_time() {
    let clock = ScriptedClock::default();
    let timer = Timer::new(clock.now()).without_average();
    for _ in 0..10 {
        clock.work();
        clock.idle();
    }
    assert_near(timer.seconds(clock.now(), HERTZ), 2.0);
}

/// Ignite's example "Measuring average time of the epoch". Ignite's page shows 0.2003182829997968 s.
#[test]
fn timer_measures_the_average_time() {
    let clock = ScriptedClock::default();
    let mut timer = Timer::new(clock.now());
    for _ in 0..10 {
        clock.work();
        clock.idle();
        timer.step();
    }
    assert_near(timer.seconds(clock.now(), HERTZ), 0.2);
}

/// Ignite's example "Measuring average time it takes to execute a single work() call". Ignite's page shows
/// 0.10016545779653825 s.
#[test]
fn timer_measures_the_average_time_of_one_call() {
    let clock = ScriptedClock::default();
    let mut timer = Timer::new(clock.now());
    for _ in 0..10 {
        timer.resume(clock.now());
        clock.work();
        timer.pause(clock.now());
        clock.idle();
        timer.step();
    }
    assert_near(timer.seconds(clock.now(), HERTZ), 0.1);
}

/// Ignite's example "Using the Timer to measure average time it takes to process a single batch of examples". The timer
/// excludes the time of other handlers and of the data, except the time between `start` and the first iteration.
#[test]
fn timer_measures_the_average_time_of_a_batch() {
    let clock = ScriptedClock::default();
    let timer = Timer::new(clock.now()).attach(
        || clock.now(),
        Started,
        IterationCompleted,
        IterationStarted,
        IterationCompleted,
    );
    let slow_handler = on(IterationCompleted, |_: &mut (), _: &mut State<()>| clock.advance(5000));
    let mut handlers = (timer, slow_handler);
    Engine::new(2).run(&mut (), 0..5, &mut handlers, |(), _, _| clock.work()).expect("there is data");
    let timer = handlers.0.timer;
    assert_near(timer.seconds(clock.now(), HERTZ), 0.1);
    assert_eq!((timer.step_count(), timer.total(), timer.running()), (10, 1000, false));
}

/// The `start` event resets the timer and starts it. Attached to `EpochStarted`, the timer measures the last epoch.
#[test]
fn timer_measures_the_last_epoch() {
    let clock = ScriptedClock::default();
    let timer = Timer::new(clock.now()).attach(|| clock.now(), EpochStarted, EpochCompleted, Never, IterationCompleted);
    let slow_handler = on(EpochCompleted, |_: &mut (), _: &mut State<()>| clock.advance(700));
    let mut handlers = (timer, slow_handler);
    Engine::new(3)
        .run(&mut (), 0..4, &mut handlers, |(), _, state| clock.advance(100 * u64::from(state.epoch())))
        .expect("there is data");
    assert_near(handlers.0.timer.seconds(clock.now(), HERTZ), 0.3);
    assert_eq!((handlers.0.timer.total(), handlers.0.timer.step_count()), (1200, 4));
}

/// With Ignite's default events the timer measures a whole run.
#[test]
fn timer_measures_a_run() {
    let clock = ScriptedClock::default();
    let mut timer = Timer::new(clock.now()).without_average().attach_to_run(|| clock.now());
    clock.advance(9999);
    Engine::new(2).run(&mut (), 0..3, &mut timer, |(), _, _| clock.work()).expect("there is data");
    clock.advance(9999);
    assert_near(timer.timer.seconds(clock.now(), HERTZ), 0.6);
}

/// Ignite's example `EarlyStopping(patience=10, score_function=lambda engine: -engine.state.metrics["nll"],
/// trainer=trainer)`, attached to `COMPLETED` of the evaluator.
#[test]
fn early_stopping_on_an_evaluator_stops_the_trainer() {
    struct Metrics {
        nll: f32,
    }
    // Epoch 3 has the best score, and ten evaluations without improvement follow.
    let nll = |epoch: u32| if epoch <= 3 { 1.0 / epoch as f32 } else { 0.5 };
    let score_function = |state: &State<(), Metrics>| -state.metrics.nll;
    let handler = EarlyStopping::new(10).expect("a patience").attach(Completed, score_function);
    let evaluate = on(
        EpochCompleted,
        |_: &mut (), trainer: &mut State<()>, evaluator: &mut Engine<(), Metrics>, handlers: &mut _| {
            evaluator.state_mut().metrics.nll = nll(trainer.epoch());
            let outcome = evaluator.run(&mut (), 0..2, handlers, |(), _, _| ()).expect("there is data");
            trainer.follow(&outcome);
        },
    )
    .with(Engine::with_metrics(1, Metrics { nll: 0.0 }), handler);
    let mut handlers = evaluate;
    let outcome = Engine::new(100).run(&mut (), 0..2, &mut handlers, |(), _, _| ()).expect("there is data");
    assert_eq!((outcome.reason, outcome.epoch), (StopReason::EarlyStopping, 13));
    assert_eq!(handlers.handlers.early_stopping.counter(), 10);
}

/// Ignite's example `trainer.add_event_handler(Events.ITERATION_COMPLETED, TerminateOnNan())`, with the output
/// `[1.23, torch.tensor(...), torch.tensor(math.nan)]`.
#[test]
fn terminate_on_nan_finds_a_nan_in_a_nested_output() {
    type Output = (f32, [f32; 3], Option<[f32; 1]>);
    let mut calls = 0;
    let guard = TerminateOnNan::new().attach(IterationCompleted, |_: &(), state: &State<Output>| state.output);
    // The engine dispatches the event to the handlers after the guard, too.
    let counter = on(IterationCompleted, |_: &mut (), _: &mut State<Output>| calls += 1);
    let outcome = Engine::new(3)
        .run(&mut (), 0..4, &mut (guard, counter), |(), batch, state| {
            let value = if state.iteration() == 6 { f32::NAN } else { 0.5 };
            (1.23, [batch as f32, -0.0, f32::MAX], Some([value]))
        })
        .expect("there is data");
    assert_eq!((outcome.reason, outcome.epoch, outcome.iteration), (StopReason::NonFinite, 2, 6));
    assert_eq!(calls, 6);
}

/// Ignite's example `ModelCheckpoint('/tmp/models', 'myprefix', save_interval=2, n_saved=2, create_dir=True)`. After six
/// epochs, Ignite's page shows the files `['myprefix_mymodel_4.pth', 'myprefix_mymodel_6.pth']`.
#[test]
fn model_checkpoint_keeps_the_last_two() {
    let mut weights = [0.0_f32; 4];
    let mut model = One("mymodel", &mut weights);
    let mut handler = ModelCheckpoint::<2>::builder()
        .save_interval(2)
        .n_saved(2)
        .build()
        .expect("settings")
        .attach(EpochCompleted, Ram::<3, 256>::new())
        .expect("RAM");
    Engine::new(6).run(&mut model, 0..1, &mut handler, |model, _, _| model.1[0] += 1.0).expect("there is data");
    let names: Vec<_> = handler
        .machine()
        .kept()
        .iter()
        .map(|kept| {
            let (prefix, object, extension) = ("myprefix", "mymodel", "pth");
            FileName { prefix, object, step: kept.step, score: None, extension }.to_string()
        })
        .collect();
    assert_eq!(names, ["myprefix_mymodel_4.pth", "myprefix_mymodel_6.pth"]);
    // The best checkpoint contains the weights at the time of its save.
    let info = handler.load_best(&mut model).expect("whole").expect("there is one");
    assert_eq!((info.step, weights[0]), (6, 6.0));
}
