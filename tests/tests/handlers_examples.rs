//! The examples of Ignite's own reference pages for the handlers that are re-implemented here, with the numbers that
//! those pages show; time is scripted.

use std::cell::Cell;
use training_monitor::checkpoint::One;
use training_monitor::event::{
    Completed, EpochCompleted, EpochStarted, IterationCompleted, IterationStarted, Never, Started,
};
use training_monitor::name::FileName;
use training_monitor::store::ram::Ram;
use training_monitor::{EarlyStopping, Engine, ModelCheckpoint, State, StopReason, TerminateOnNan, Timer, on};

/// A millisecond clock that only the script moves; `work` and `idle` take a tenth of a second each.
#[derive(Default)]
struct Script(Cell<u64>);

const HERTZ: u32 = 1000;

impl Script {
    fn now(&self) -> u64 {
        self.0.get()
    }
    fn pass(&self, milliseconds: u64) {
        self.0.set(self.now() + milliseconds);
    }
    fn work(&self) {
        self.pass(100);
    }
    fn idle(&self) {
        self.pass(100);
    }
}

fn near(found: f32, expected: f32) {
    assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
}

/// "Measuring total time of the epoch": 2.003073937026784 on a real clock.
#[test]
fn timer_total_time_of_the_epoch() {
    let script = Script::default();
    let timer = Timer::new(script.now()).without_average();
    for _ in 0..10 {
        script.work();
        script.idle();
    }
    near(timer.seconds(script.now(), HERTZ), 2.0);
}

/// "Measuring average time of the epoch": 0.2003182829997968.
#[test]
fn timer_average_time_of_the_epoch() {
    let script = Script::default();
    let mut timer = Timer::new(script.now());
    for _ in 0..10 {
        script.work();
        script.idle();
        timer.step();
    }
    near(timer.seconds(script.now(), HERTZ), 0.2);
}

/// "Measuring average time it takes to execute a single work() call": 0.10016545779653825.
#[test]
fn timer_average_time_of_work_alone() {
    let script = Script::default();
    let mut timer = Timer::new(script.now());
    for _ in 0..10 {
        timer.resume(script.now());
        script.work();
        timer.pause(script.now());
        script.idle();
        timer.step();
    }
    near(timer.seconds(script.now(), HERTZ), 0.1);
}

/// "Using the Timer to measure average time it takes to process a single batch of examples": what other handlers and
/// the data take is not in it, but for what lies between `start` and the first iteration.
#[test]
fn timer_average_time_of_a_batch() {
    let script = Script::default();
    let timer = Timer::new(script.now()).attach(
        || script.now(),
        Started,
        IterationCompleted,
        IterationStarted,
        IterationCompleted,
    );
    let others = on(IterationCompleted, |_: &mut (), _: &mut State<()>| script.pass(5000));
    let mut handlers = (timer, others);
    Engine::new(2).run(&mut (), 0..5, &mut handlers, |(), _, _| script.work()).expect("there is data");
    let timer = handlers.0.timer;
    near(timer.seconds(script.now(), HERTZ), 0.1);
    assert_eq!((timer.step_count(), timer.total(), timer.running()), (10, 1000, false));
}

/// `start` means reset and run: attached to `EpochStarted`, the timer tells of the last epoch.
#[test]
fn timer_of_the_last_epoch() {
    let script = Script::default();
    let timer =
        Timer::new(script.now()).attach(|| script.now(), EpochStarted, EpochCompleted, Never, IterationCompleted);
    let pause = on(EpochCompleted, |_: &mut (), _: &mut State<()>| script.pass(700));
    let mut handlers = (timer, pause);
    Engine::new(3)
        .run(&mut (), 0..4, &mut handlers, |(), _, state| script.pass(100 * u64::from(state.epoch())))
        .expect("there is data");
    near(handlers.0.timer.seconds(script.now(), HERTZ), 0.3);
    assert_eq!((handlers.0.timer.total(), handlers.0.timer.step_count()), (1200, 4));
}

/// Ignite's defaults: the time of a run.
#[test]
fn timer_of_a_run() {
    let script = Script::default();
    let mut timer = Timer::new(script.now()).without_average().attach_to_run(|| script.now());
    script.pass(9999);
    Engine::new(2).run(&mut (), 0..3, &mut timer, |(), _, _| script.work()).expect("there is data");
    script.pass(9999);
    near(timer.timer.seconds(script.now(), HERTZ), 0.6);
}

/// `EarlyStopping(patience=10, score_function=lambda engine: -engine.state.metrics["nll"], trainer=trainer)`, attached to
/// the evaluator's `COMPLETED`.
#[test]
fn early_stopping_on_an_evaluator() {
    struct Metrics {
        nll: f32,
    }
    // Best in epoch 3, then ten evaluations that are not better.
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

/// `trainer.add_event_handler(Events.ITERATION_COMPLETED, TerminateOnNan())` with an output of
/// `[1.23, torch.tensor(...), torch.tensor(math.nan)]`.
#[test]
fn terminate_on_nan_in_a_nested_output() {
    type Output = (f32, [f32; 3], Option<[f32; 1]>);
    let mut seen = 0;
    let guard = TerminateOnNan::new().attach(IterationCompleted, |_: &(), state: &State<Output>| state.output);
    // The iteration's later handlers still run.
    let behind = on(IterationCompleted, |_: &mut (), _: &mut State<Output>| seen += 1);
    let outcome = Engine::new(3)
        .run(&mut (), 0..4, &mut (guard, behind), |(), batch, state| {
            let bad = state.iteration() == 6;
            (1.23, [batch as f32, -0.0, f32::MAX], Some([if bad { f32::NAN } else { 0.5 }]))
        })
        .expect("there is data");
    assert_eq!((outcome.reason, outcome.epoch, outcome.iteration), (StopReason::NonFinite, 2, 6));
    assert_eq!(seen, 6);
}

/// `ModelCheckpoint('/tmp/models', 'myprefix', save_interval=2, n_saved=2, create_dir=True)` over six epochs leaves
/// `['myprefix_mymodel_4.pth', 'myprefix_mymodel_6.pth']`.
#[test]
fn model_checkpoint_of_the_last_two() {
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
    // And the best of them is what it was when it was saved.
    let info = handler.load_best(&mut model).expect("whole").expect("there is one");
    assert_eq!((info.step, weights[0]), (6, 6.0));
}
