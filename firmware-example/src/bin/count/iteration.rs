//! An iteration under the engine with the four handlers, and the same checks written by hand.

use crate::instructions::{count, print};
use core::hint::black_box;
use training_monitor::checkpoint::One;
use training_monitor::event::{Completed, EpochCompleted, IterationCompleted, Never, Started};
use training_monitor::store::ram::Ram;
use training_monitor::{EarlyStopping, Engine, ModelCheckpoint, State, TerminateOnNan, Timer};

/// Iterations between which the slope is taken.
const FEW: u32 = 2000;

/// What is trained here is of no matter; that it can be saved is.
type Model<'a> = One<'a, &'a mut [f32; 4]>;

/// Prints both, and returns the first, in hundredths of an instruction.
pub fn all() -> u32 {
    let engine = per_iteration(under_engine);
    let hand = per_iteration(by_hand);
    print("iteration-four-handlers", engine);
    print("iteration-by-hand", hand);
    print("iteration-times-by-hand", (u64::from(engine) * 100 / u64::from(hand.max(1))) as u32);
    engine
}

fn per_iteration(run: impl Fn(u32)) -> u32 {
    let (short, long) = (count(|| run(FEW)), count(|| run(2 * FEW)));
    (u64::from(long - short) * 100 / u64::from(FEW)) as u32
}

/// The training step: a call, some work, a loss.
#[inline(never)]
fn step(model: &mut Model<'_>, batch: u32) -> f32 {
    if let Some(weight) = model.1.first_mut() {
        *weight = black_box(f32::from_bits(0x3F00_0000 | batch));
    }
    model.1[0]
}

#[inline(never)]
fn under_engine(iterations: u32) {
    let mut weights = [0.0; 4];
    let mut model: Model<'_> = One("model", &mut weights);
    let Ok(stopping) = EarlyStopping::new(3) else { return };
    let Ok(best) = ModelCheckpoint::<2>::builder().score_function(|state: &State<f32>| loss(state)).n_saved(2).build()
    else {
        return;
    };
    let Ok(best) = best.attach(EpochCompleted, Ram::<3, 160>::new()) else { return };
    let mut handlers = (
        TerminateOnNan::new().attach(IterationCompleted, |_: &_, state: &State<f32>| state.output),
        stopping.attach(EpochCompleted, |state: &State<f32>| loss(state)),
        Timer::new(0).attach(|| black_box(7_u64), Started, Completed, Never, IterationCompleted),
        best,
    );
    let result = Engine::new(1).run(&mut model, 0..iterations, &mut handlers, |model, batch, state| {
        black_box(state);
        step(model, batch)
    });
    let _ = black_box(result);
}

fn loss(state: &State<f32>) -> f32 {
    state.output.unwrap_or(f32::NAN)
}

/// What one would write without the monitor: the counters that a log line or a checkpoint would need, the check, the
/// count for the average; stopping and saving are for the end of the epoch.
#[inline(never)]
fn by_hand(iterations: u32) {
    let mut weights = [0.0; 4];
    let mut model: Model<'_> = One("model", &mut weights);
    let mut run = Run::default();
    let Ok(mut stopping) = EarlyStopping::new(3) else { return };
    while run.offset < iterations {
        run.iteration = run.iteration.saturating_add(1);
        // The step sees where the run stands, as under the engine.
        let loss = step(&mut model, black_box(&mut run).offset);
        run.offset += 1;
        run.drawn += 1;
        run.steps = run.steps.saturating_add(1);
        run.loss = Some(loss);
        if !loss.is_finite() {
            break;
        }
    }
    black_box(stopping.update(run.loss.unwrap_or(f32::NAN)));
    black_box(run);
}

/// What a run by hand remembers.
#[derive(Default)]
struct Run {
    iteration: u32,
    offset: u32,
    /// Batches, over all epochs: what data that goes on from epoch to epoch is drawn by.
    drawn: u32,
    steps: u32,
    loss: Option<f32>,
}
