//! Tests that the type of every handler can be written down if its closures are function pointers. A struct or a
//! `static` can then contain the handler.

use std::sync::Mutex;
use training_monitor::checkpoint::Named;
use training_monitor::engine::{Evaluator, EvaluatorHandler};
use training_monitor::event::{
    Completed, EpochCompleted, EpochStarted, Filtered, FilteredBy, IterationCompleted, IterationStarted, Never, Started,
};
use training_monitor::handler::{On, RunTypes};
use training_monitor::handlers::early_stopping::{EarlyStoppingHandler, ThresholdMode};
use training_monitor::handlers::model_checkpoint::{CheckpointEvent, CheckpointHandler, NoScore, ScoreFunction};
use training_monitor::handlers::plateau::PlateauHandler;
use training_monitor::handlers::schedules::{Cosine, ScheduleHandler, Warmup};
use training_monitor::handlers::terminate_on_nan::{EveryNthCall, NanGuard, SliceNanGuard};
use training_monitor::handlers::timer::TimerHandler;
use training_monitor::store::ram::{Ram, RamError};
use training_monitor::time::WrappingClock;
use training_monitor::{
    EarlyStopping, Engine, EventFilter, ModelCheckpoint, Outcome, ReduceOnPlateau, Schedule, State, StopReason,
    TerminateOnNan, Timer, on,
};

type Model = Named<'static, [f32; 2]>;
type Score = fn(&State<f32>) -> f32;
type Output = for<'a> fn(&'a Model, &'a State<f32>) -> &'a Option<f32>;
type Slices = fn(&Model, &mut dyn FnMut(&[f32]));
type Function = fn(&mut Model, &mut State<f32>);
type ValidationStopping = EarlyStoppingHandler<Completed, Score>;
type Validate = fn(&mut Model, &mut State<f32>, &mut Engine<f32>, &mut ValidationStopping);

type Handlers = (
    NanGuard<IterationCompleted, Output>,
    SliceNanGuard<EpochCompleted, Slices, EveryNthCall>,
    EarlyStoppingHandler<EpochCompleted, Score, fn(&EarlyStopping, &State<f32>)>,
    TimerHandler<
        WrappingClock<fn() -> u32>,
        Started,
        IterationCompleted,
        IterationStarted,
        IterationCompleted,
        EpochCompleted,
        fn(&Timer, u64),
    >,
    CheckpointHandler<2, EpochCompleted, Ram<3, 512>, ScoreFunction<Score>, fn(&CheckpointEvent<'_, RamError>)>,
    CheckpointHandler<1, Filtered<IterationCompleted>, Ram<2, 512>, NoScore>,
    On<FilteredBy<EpochCompleted, fn(u32) -> bool>, Function>,
    EvaluatorHandler<EpochCompleted, Validate, f32, (), ValidationStopping>,
);

fn negative_loss(state: &State<f32>) -> f32 {
    -state.output.unwrap_or(f32::INFINITY)
}

fn handlers() -> Handlers {
    let score: Score = negative_loss;
    let clock: fn() -> u32 = || 0;
    let best = ModelCheckpoint::best_by(score).attach(EpochCompleted, Ram::new()).unwrap();
    let latest = ModelCheckpoint::every(1).unwrap();
    let validation: ValidationStopping = EarlyStopping::new(3).unwrap().attach(Completed, negative_loss);
    let even: fn(u32) -> bool = |epoch| epoch % 2 == 0;
    (
        TerminateOnNan::new().attach(IterationCompleted, |_, state| &state.output),
        TerminateOnNan::new()
            .with_schedule(2)
            .unwrap()
            .attach_slices(EpochCompleted, |model, check| check(&model.object)),
        EarlyStopping::new(5).unwrap().attach(EpochCompleted, score).observe(|_, _| ()),
        Timer::new(0)
            .attach(WrappingClock::new(clock))
            .pause(IterationCompleted)
            .resume(IterationStarted)
            .step(IterationCompleted)
            .observe(EpochCompleted, |_, _| ()),
        best.observe(|_| ()),
        latest.attach(IterationCompleted.every(2).unwrap(), Ram::new()).unwrap(),
        on(EpochCompleted.filter(even), |model, _| model[1] += 1.0),
        Evaluator::new(Engine::new(1), validation).run_at(EpochCompleted, |_, trainer, engine, handlers| {
            let outcome = engine.run(&mut (), 0..1, handlers, |(), _, _| 1.0).unwrap();
            trainer.terminate_if_stopped(&outcome);
        }),
    )
}

/// The engine and the handlers of a program in a `static`, where an interrupt handler can access them.
static PROGRAM: Mutex<Option<(Engine<f32>, Handlers)>> = Mutex::new(None);

#[test]
fn handlers_with_function_pointers_have_types_with_names() {
    *PROGRAM.lock().unwrap() = Some((Engine::new(9), handlers()));
    let mut program = PROGRAM.lock().unwrap();
    let (engine, handlers) = program.as_mut().unwrap();
    let mut model = Named::new("m", [0.0, 0.0]);
    let outcome = engine
        .run(&mut model, 0..3, handlers, |model, _, _| {
            model[0] += 1.0;
            10.0 - model[0]
        })
        .unwrap();
    // The loss of the evaluator is constant and its patience is 3, so the fourth evaluation stops the run.
    assert_eq!(outcome, Outcome { reason: StopReason::EarlyStopping, epoch: 4, iteration: 12 });
    assert_eq!(model.object, [12.0, 2.0]);
    assert_eq!(handlers.2.early_stopping.best_score(), Some(2.0));
    assert_eq!(handlers.3.timer.step_count(), 12);
    assert_eq!(handlers.4.policy().best().map(|best| best.step), Some(4));
    assert_eq!(handlers.5.policy().latest().map(|latest| latest.step), Some(6));
    assert_eq!(handlers.7.handlers.early_stopping.counter(), 3);
}

/// Handlers without a store can be constructed in a constant, for example to initialize a `static`.
#[test]
fn some_handlers_can_be_constructed_in_a_constant() {
    const GUARD: NanGuard<IterationCompleted, Output> =
        TerminateOnNan::new().attach(IterationCompleted, |_, state| &state.output);
    const TIMER: TimerHandler<fn() -> u64> = Timer::new(0).attach(|| 7);
    const STOPPING: EarlyStoppingHandler<EpochCompleted, Score> = match EarlyStopping::new(1) {
        Ok(stopping) => stopping.attach(EpochCompleted, negative_loss),
        Err(_) => panic!("the patience is not 0"),
    };
    let mut handlers = (GUARD, TIMER, STOPPING);
    let mut model = Named::new("m", [0.0, 0.0]);
    let outcome = Engine::new(3).run(&mut model, 0..2, &mut handlers, |_, _, _| 1.0).unwrap();
    assert_eq!((outcome.reason, outcome.epoch), (StopReason::EarlyStopping, 2));
}

type Apply = fn(&mut Model, f32);
type WarmupHandler = ScheduleHandler<Warmup<Cosine>, EpochStarted, Apply, fn(f32, &State<f32>)>;

#[test]
fn handlers_that_change_a_parameter_have_types_with_names() {
    let warmup = Warmup::new(Cosine::new(1.0, 4).unwrap(), 0.0, 3).unwrap();
    let schedule: WarmupHandler =
        warmup.attach(EpochStarted, (|model, value| model[0] = value) as Apply).observe(|_, _| ());
    let plateau = ReduceOnPlateau::new(1.0).unwrap().with_patience(0).with_threshold(0.0, ThresholdMode::Abs).unwrap();
    let plateau: PlateauHandler<EpochCompleted, Score, Apply> =
        plateau.attach(EpochCompleted, negative_loss, |model, value| model[1] = value);
    let mut model = Named::new("m", [0.0, 0.0]);
    Engine::new(3).run(&mut model, 0..2, &mut (schedule, plateau), |_, _, _| 1.0).unwrap();
    assert_eq!(model.object, [1.0, 0.010_000_001]);
}

#[test]
fn run_types_gives_closures_their_types() {
    struct Net {
        weights: [f32; 2],
        calls: u32,
    }
    struct Losses {
        train: f32,
    }
    let types = RunTypes::<Net, Losses, u8>::new();
    let mut handlers = (
        TerminateOnNan::new().attach(IterationCompleted, types.reference(|net, _| &net.weights)),
        TerminateOnNan::new().attach_slices(IterationCompleted, types.slices(|net, check| check(&net.weights))),
        EarlyStopping::new(2).unwrap().attach(
            EpochCompleted,
            types.score(|state| state.output.as_ref().map_or(0.0, |losses| -losses.train) + f32::from(state.metrics)),
        ),
        on(Never.or(EpochCompleted), types.function(|net, state| net.calls += u32::from(state.metrics))),
    );
    let mut net = Net { weights: [1.0, 2.0], calls: 0 };
    let mut engine = Engine::with_metrics(9, 2_u8);
    let outcome = engine.run(&mut net, 0..2, &mut handlers, |_, _, _| Losses { train: 0.5 }).unwrap();
    assert_eq!((outcome.reason, outcome.epoch, net.calls), (StopReason::EarlyStopping, 3, 6));
    assert_eq!(handlers.2.early_stopping.best_score(), Some(1.5));
}
