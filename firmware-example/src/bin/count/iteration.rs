//! Measures the instructions of one iteration: under the engine with the four handlers, in a custom loop that calls the
//! engine before and after each step, as programs in C do, and in a hand-written loop with the same checks.

use crate::instructions::{count, print};
use core::hint::black_box;
use training_monitor::checkpoint::Named;
use training_monitor::event::{EpochCompleted, IterationCompleted};
use training_monitor::store::ram::Ram;
use training_monitor::{EarlyStopping, Engine, ModelCheckpoint, State, TerminateOnNan, Timer};

/// Number of iterations of the shorter measured run. The longer run has twice as many; the cost per iteration is the
/// difference divided by this number.
const ITERATIONS: u32 = 2000;

/// A minimal model that can be saved in a checkpoint.
type Model<'a> = Named<'a, &'a mut [f32; 4]>;

/// Prints the instructions per iteration under the engine and in the hand-written loop, and their ratio. Returns the
/// cost under the engine, in hundredths of an instruction.
pub fn measure() -> u32 {
    let engine = per_iteration(under_engine);
    let hand = per_iteration(by_hand);
    print("iteration-four-handlers", engine);
    print("iteration-custom-loop", per_iteration(in_custom_loop));
    print("iteration-by-hand", hand);
    print("iteration-times-by-hand", (u64::from(engine) * 100 / u64::from(hand.max(1))) as u32);
    engine
}

fn per_iteration(run: impl Fn(u32)) -> u32 {
    let (short, long) = (count(|| run(ITERATIONS)), count(|| run(2 * ITERATIONS)));
    (u64::from(long - short) * 100 / u64::from(ITERATIONS)) as u32
}

/// A minimal training step: changes one weight and returns it as the loss.
#[inline(never)]
fn step(model: &mut Model<'_>, batch: u32) -> f32 {
    if let Some(weight) = model.first_mut() {
        *weight = black_box(f32::from_bits(0x3F00_0000 | batch));
    }
    model[0]
}

/// Creates the model `$model` and the four handlers `$handlers`, and executes `$run`.
macro_rules! with_handlers {
    ($model:ident, $handlers:ident, $run:block) => {{
        let mut weights = [0.0; 4];
        let mut $model: Model<'_> = Named::new("model", &mut weights);
        let Ok(stopping) = EarlyStopping::new(3) else { return };
        let mut store = Ram::<2, 320>::new();
        let Ok(best) = ModelCheckpoint::<1>::best_by(|state| loss(state)).attach(EpochCompleted, &mut store) else {
            return;
        };
        let mut $handlers = (
            TerminateOnNan::new().attach(IterationCompleted, |_, state| &state.output),
            stopping.attach(EpochCompleted, |state| loss(state)),
            Timer::new(0).attach(|| black_box(7_u64)).step(IterationCompleted),
            best,
        );
        $run
    }};
}

#[inline(never)]
fn under_engine(iterations: u32) {
    with_handlers!(model, handlers, {
        let result = Engine::new(1).run(&mut model, 0..iterations, &mut handlers, |model, batch, state| {
            black_box(state);
            step(model, batch)
        });
        let _ = black_box(result);
    });
}

#[inline(never)]
fn in_custom_loop(iterations: u32) {
    with_handlers!(model, handlers, {
        let mut engine = Engine::new(1).with_epoch_length(iterations);
        while let Ok(true) = engine.begin_iteration(&mut model, &mut handlers) {
            let offset = black_box(engine.state()).offset();
            let loss = step(&mut model, offset);
            engine.end_iteration(loss, &mut model, &mut handlers);
        }
        black_box(engine.outcome());
    });
}

fn loss(state: &State<f32>) -> f32 {
    state.output.unwrap_or(f32::NAN)
}

/// The loop that a programmer would write without the engine. Each iteration updates the counters that a log line or a
/// checkpoint needs and checks the loss. Early stopping runs once, after the epoch.
#[inline(never)]
fn by_hand(iterations: u32) {
    let mut weights = [0.0; 4];
    let mut model: Model<'_> = Named::new("model", &mut weights);
    let mut run = ManualState::default();
    let Ok(mut stopping) = EarlyStopping::new(3) else { return };
    while run.offset < iterations {
        run.iteration = run.iteration.saturating_add(1);
        // `black_box` makes the counters observable by the step, as the engine's state is. The compiler must therefore
        // keep them in memory.
        let loss = step(&mut model, black_box(&mut run).offset);
        run.offset += 1;
        run.data_offset += 1;
        run.steps = run.steps.saturating_add(1);
        run.loss = Some(loss);
        if !loss.is_finite() {
            break;
        }
    }
    black_box(stopping.update(run.loss.unwrap_or(f32::NAN)));
    black_box(run);
}

/// The counters and the last loss of the hand-written loop.
#[derive(Default)]
struct ManualState {
    /// Number of the current iteration, counted over all epochs.
    iteration: u32,
    /// Batch offset in the current epoch.
    offset: u32,
    /// Number of batches taken from the data over all epochs. Data without epoch boundaries is indexed by it.
    data_offset: u32,
    /// Number of steps, for the average step time.
    steps: u32,
    /// Loss of the last step.
    loss: Option<f32>,
}
