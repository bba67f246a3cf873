//! Examples from the reference pages of Ignite, with the results that these pages show. A simulated clock replaces the
//! real clock.

use std::cell::Cell;
use training_monitor::checkpoint::Named;
use training_monitor::engine::Evaluator;
use training_monitor::event::{Completed, EpochCompleted, EpochStarted, IterationCompleted, IterationStarted};
use training_monitor::store::ram::Ram;
use training_monitor::{EarlyStopping, Engine, ModelCheckpoint, State, StopReason, TerminateOnNan, Timer, on};

/// A simulated clock that counts milliseconds. `work` and `idle` advance it by 100 ms each.
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

/// Repeats Ignite's example "Measuring total time of the epoch" with a simulated clock. With a real clock, Ignite's
/// page shows 2.003073937026784 s.
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

/// Repeats Ignite's example "Measuring average time of the epoch" with a simulated clock. With a real clock, Ignite's
/// page shows 0.2003182829997968 s.
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

/// Repeats Ignite's example "Measuring average time it takes to execute a single work() call" with a simulated clock.
/// With a real clock, Ignite's page shows 0.10016545779653825 s.
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

/// Repeats Ignite's example "Using the Timer to measure average time it takes to process a single batch of examples".
/// The timer pauses from IterationCompleted to the next IterationStarted, so it does not measure a slow handler.
#[test]
fn timer_measures_the_average_time_of_a_batch() {
    let clock = ScriptedClock::default();
    let timer = Timer::new(clock.now())
        .attach(|| clock.now())
        .pause(IterationCompleted)
        .resume(IterationStarted)
        .step(IterationCompleted);
    let slow_handler = on(IterationCompleted, |_, _| clock.advance(5000));
    let mut handlers = (timer, slow_handler);
    Engine::new(2).run(&mut (), 0..5, &mut handlers, |(), _, _| clock.work()).expect("there is data");
    let timer = handlers.0.timer;
    assert_near(timer.seconds(clock.now(), HERTZ), 0.1);
    assert_eq!((timer.step_count(), timer.total(), timer.is_running()), (10, 1000, false));
}

/// Each EpochStarted resets the timer and starts it again. At the end, the timer shows the time of the last epoch.
#[test]
fn timer_measures_the_last_epoch() {
    let clock = ScriptedClock::default();
    let timer = Timer::new(clock.now())
        .attach(|| clock.now())
        .start(EpochStarted)
        .pause(EpochCompleted)
        .step(IterationCompleted);
    let slow_handler = on(EpochCompleted, |_, _| clock.advance(700));
    let mut handlers = (timer, slow_handler);
    Engine::new(3)
        .run(&mut (), 0..4, &mut handlers, |(), _, state| clock.advance(100 * u64::from(state.epoch())))
        .expect("there is data");
    assert_near(handlers.0.timer.seconds(clock.now(), HERTZ), 0.3);
    assert_eq!((handlers.0.timer.total(), handlers.0.timer.step_count()), (1200, 4));
}

/// With Ignite's default events, the timer starts at the beginning of the run and stops at the end. The time before and
/// after the run is not measured.
#[test]
fn timer_measures_a_run() {
    let clock = ScriptedClock::default();
    let mut timer = Timer::new(clock.now()).without_average().attach(|| clock.now());
    clock.advance(9999);
    Engine::new(2).run(&mut (), 0..3, &mut timer, |(), _, _| clock.work()).expect("there is data");
    clock.advance(9999);
    assert_near(timer.timer.seconds(clock.now(), HERTZ), 0.6);
}

/// An early stop that uses a metric of the validation run, as in the example of Ignite's documentation. A second
/// engine, the evaluator, runs after each epoch of the trainer. The handler gets its score at the end of the
/// evaluator's run and terminates the trainer.
#[test]
fn early_stopping_on_an_evaluator_stops_the_trainer() {
    struct Metrics {
        nll: f32,
    }
    // Epoch 3 has the best score. The next ten epochs bring no improvement, so the trainer stops after epoch 13.
    let nll = |epoch: u32| if epoch <= 3 { 1.0 / epoch as f32 } else { 0.5 };
    let handler =
        EarlyStopping::new(10).expect("a patience").attach(Completed, |state: &State<_, Metrics>| -state.metrics.nll);
    let evaluator = Evaluator::new(Engine::with_metrics(1, Metrics { nll: 0.0 }), handler);
    let mut evaluator = evaluator.run_at(EpochCompleted, |(): &mut (), trainer, engine, handlers| {
        engine.state_mut().metrics.nll = nll(trainer.epoch());
        let outcome = engine.run(&mut (), 0..2, handlers, |(), _, _| ()).expect("there is data");
        trainer.terminate_if_stopped(&outcome);
    });
    let outcome = Engine::new(100).run(&mut (), 0..2, &mut evaluator, |(), _, _| ()).expect("there is data");
    assert_eq!((outcome.reason, outcome.epoch), (StopReason::EarlyStopping, 13));
    assert_eq!(evaluator.handlers.early_stopping.counter(), 10);
}

/// Repeats Ignite's example `trainer.add_event_handler(Events.ITERATION_COMPLETED, TerminateOnNan())`. The step
/// function returns a nested output. In iteration 6, one number of the output is NaN, so the run must stop there.
#[test]
fn terminate_on_nan_finds_a_nan_in_a_nested_output() {
    let mut calls = 0;
    let guard = TerminateOnNan::new().attach(IterationCompleted, |_, state| &state.output);
    // The NaN guard stops the run at IterationCompleted. The engine still dispatches this event to the handlers after
    // the guard.
    let counter = on(IterationCompleted, |_, _| calls += 1);
    let outcome = Engine::new(3)
        .run(&mut (), 0..4, &mut (guard, counter), |(), batch, state| {
            let value = if state.iteration() == 6 { f32::NAN } else { 0.5 };
            (1.23_f32, [batch as f32, -0.0, f32::MAX], Some([value]))
        })
        .expect("there is data");
    assert_eq!((outcome.reason, outcome.epoch, outcome.iteration), (StopReason::NonFinite, 2, 6));
    assert_eq!(calls, 6);
}

/// Repeats Ignite's example `ModelCheckpoint('/tmp/models', 'myprefix', save_interval=2, n_saved=2, create_dir=True)`.
/// After six epochs, Ignite's page shows two files: `myprefix_mymodel_4.pth` and `myprefix_mymodel_6.pth`. The handler
/// must keep the same two steps.
#[test]
fn model_checkpoint_keeps_the_last_two() {
    let mut weights = [0.0_f32; 4];
    let mut model = Named::new("mymodel", &mut weights);
    let policy = ModelCheckpoint::<2>::every(2).expect("not 0");
    let mut handler = policy.attach(EpochCompleted, Ram::<3, 256>::new()).expect("RAM");
    Engine::new(6).run(&mut model, 0..1, &mut handler, |model, _, _| model[0] += 1.0).expect("there is data");
    let kept = handler.policy().kept().iter();
    let names: Vec<_> = kept.map(|kept| format!("myprefix_mymodel_{}.pth", kept.step)).collect();
    assert_eq!(names, ["myprefix_mymodel_4.pth", "myprefix_mymodel_6.pth"]);
    // The best checkpoint is from epoch 6. It contains the weights at the time of its save, so the first weight is 6.
    let info = handler.load_best(&mut model).expect("whole").expect("there is one");
    assert_eq!((info.step, weights[0]), (6, 6.0));
}
