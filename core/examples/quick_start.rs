//! Quick start: a model, the four handlers, a store, and a run that resumes after a reset.
//!
//! The program trains a linear model on noisy samples. A checkpoint contains the model, the optimizer and the random
//! generator. The program simulates a reset in the middle of the run, resumes, and ends with the same weights as a run
//! without a reset. The code allocates nothing. On a device, `store::flash::Slots` replaces the RAM store.
//!
//! Run it with `cargo run -p training-monitor --example quick_start --features derive`.

use core::sync::atomic::{AtomicU32, Ordering};
use training_monitor::event::{EpochCompleted, IterationCompleted, IterationStarted};
use training_monitor::run_record::RestoreError;
use training_monitor::store::ram::{Ram, RamError};
use training_monitor::time::WrappingClock;
use training_monitor::{
    ConfigError, EarlyStopping, Engine, ModelCheckpoint, Objects, Outcome, RunError, StateDict, StopReason,
    TerminateOnNan, Timer,
};

/// The model. Each field is one tensor, and the field's type determines the shape of the tensor.
#[derive(StateDict, Clone, Copy, PartialEq, Debug)]
struct Net {
    weight: [f32; 2],
    bias: f32,
}

/// The objects that a checkpoint contains.
#[derive(Objects, Clone, Copy, PartialEq, Debug)]
struct Training {
    net: Net,
    momentum: Net,
    /// The state of the random generator, which is not a tensor.
    #[objects(value)]
    random: u32,
}

impl Training {
    const NEW: Self = Training {
        net: Net { weight: [0.0; 2], bias: 0.0 },
        momentum: Net { weight: [0.0; 2], bias: 0.0 },
        random: 0x2545_F491,
    };

    /// Returns a random number between -1 and 1.
    fn random(&mut self) -> f32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        self.random as f32 / (u32::MAX / 2) as f32 - 1.0
    }

    /// Trains the model on one random sample and returns the squared error.
    fn step(&mut self) -> f32 {
        let [x, y, noise] = [self.random(), self.random(), 0.01 * self.random()];
        let error = self.net.weight[0] * x + self.net.weight[1] * y + self.net.bias - (2.0 * x - y + 0.5 + noise);
        let parameters = self.net.weight.iter_mut().chain([&mut self.net.bias]);
        let momenta = self.momentum.weight.iter_mut().chain([&mut self.momentum.bias]);
        for ((parameter, momentum), input) in parameters.zip(momenta).zip([x, y, 1.0]) {
            *momentum = 0.5 * *momentum + error * input;
            *parameter -= 0.1 * *momentum;
        }
        error * error
    }
}

/// The errors of this program. The `From` implementations below convert each error of the library, so that `?` can be
/// used.
#[derive(Debug)]
#[allow(dead_code, reason = "the causes are printed with `Debug`")]
enum Error {
    Config(ConfigError),
    Store(RamError),
    Resume(RestoreError),
    Run(RunError),
}

macro_rules! from {
    ($($variant:ident($cause:ty),)*) => {$(
        impl From<$cause> for Error {
            fn from(cause: $cause) -> Self { Error::$variant(cause) }
        }
    )*};
}

from! {
    Config(ConfigError),
    Store(RamError),
    Resume(RestoreError),
    Run(RunError),
}

/// The store keeps two checkpoints. A third place receives the next checkpoint. Each place has 256 bytes.
type Store = Ram<3, 288>;

/// Simulates a 32-bit hardware counter. It starts near its maximum, so that it soon wraps around.
fn ticks() -> u32 {
    static COUNTER: AtomicU32 = AtomicU32::new(u32::MAX - 100);
    COUNTER.fetch_add(1, Ordering::Relaxed)
}

/// Runs the training as a device does from a reset to the end. Returns `None` if a simulated reset interrupts the run
/// at iteration `reset_at`.
fn run_until_reset(training: &mut Training, store: &mut Store, reset_at: u32) -> Result<Option<Outcome>, Error> {
    let mut handlers = (
        TerminateOnNan::new().attach(IterationCompleted, |_, state| &state.output),
        EarlyStopping::new(5)?.attach(EpochCompleted, |state| -state.output.unwrap_or(f32::INFINITY)),
        Timer::new(0)
            .attach(WrappingClock::new(ticks))
            .resume(IterationStarted)
            .pause(IterationCompleted)
            .step(IterationCompleted),
        ModelCheckpoint::<2>::best_by(|state| -state.output.unwrap_or(f32::INFINITY))
            .with_score_name("negative loss")?
            .attach(EpochCompleted, store)?,
    );
    let mut engine = Engine::new(50).with_epoch_length(20);
    match engine.resume(training, &mut handlers)? {
        Some(resumed) => println!("resumed after iteration {}", resumed.iteration),
        None => println!("started a new run"),
    }
    while engine.begin_iteration(training, &mut handlers)? {
        if engine.state().iteration() == reset_at {
            return Ok(None);
        }
        let loss = training.step();
        engine.end_iteration(loss, training, &mut handlers);
    }
    // A checkpoint contains the states of the timer and of early stopping. After a reset, the timer continues to count
    // from the saved time, and early stopping continues with the saved patience.
    let (stopping, timer) = (&handlers.1.early_stopping, &handlers.2.timer);
    assert_eq!(timer.step_count(), engine.state().iteration());
    println!("best score {:?}, {} ticks per step", stopping.best_score(), timer.value(0));
    Ok(engine.outcome())
}

fn main() -> Result<(), Error> {
    let mut expected = Training::NEW;
    let outcome = run_until_reset(&mut expected, &mut Store::new(), u32::MAX)?;
    println!("{outcome:?}, {:?}", expected.net);
    let outcome = outcome.expect("the run was not interrupted");
    assert_eq!(outcome.reason, StopReason::EarlyStopping);
    assert!((expected.net.weight[0] - 2.0).abs() < 0.05, "the model has learned the first weight");

    // Repeats the run with a reset in the middle. Only the content of the store survives the reset.
    let mut store = Store::new();
    let mut interrupted = Training::NEW;
    assert_eq!(run_until_reset(&mut interrupted, &mut store, outcome.iteration / 2)?, None);
    let mut resumed = Training::NEW;
    assert_eq!(run_until_reset(&mut resumed, &mut store, u32::MAX)?, Some(outcome));
    assert_eq!(resumed, expected);
    Ok(())
}
