//! An interrupt-driven run. An interrupt handler trains on each sample, and all data is in one `static`.
//!
//! A `static` needs a type that has a name. The type of a closure has no name, so the handlers contain `fn` pointers
//! instead. `std::sync::Mutex` takes the place of `critical_section::Mutex<RefCell<..>>`. A critical section blocks all
//! interrupts, so a device must not save to flash inside one. On such a device, one low-priority interrupt owns the
//! run, for example as an RTIC resource, and the main loop reads a copy of the outcome.
//!
//! Run it with `cargo run -p training-monitor --example interrupt_loop --features derive`.

use core::error::Error;
use core::sync::atomic::{AtomicU32, Ordering};
use std::sync::Mutex;
use training_monitor::event::{EpochCompleted, IterationCompleted, IterationStarted, Started};
use training_monitor::handlers::early_stopping::EarlyStoppingHandler;
use training_monitor::handlers::model_checkpoint::{CheckpointHandler, ScoreFunction};
use training_monitor::handlers::terminate_on_nan::NanGuard;
use training_monitor::handlers::timer::TimerHandler;
use training_monitor::store::ram::Ram;
use training_monitor::time::WrappingClock;
use training_monitor::{
    EarlyStopping, Engine, ModelCheckpoint, Objects, RunError, State, StopReason, TerminateOnNan, Timer,
};

/// The model. Its field is one object of a checkpoint.
#[derive(Objects, Debug)]
struct Filter {
    taps: [f32; 4],
}

type Score = fn(&State<f32>) -> f32;
type Store = Ram<3, 256>;
type Handlers = (
    NanGuard<IterationCompleted, for<'a> fn(&'a Filter, &'a State<f32>) -> &'a [f32; 4]>,
    EarlyStoppingHandler<EpochCompleted, Score>,
    TimerHandler<WrappingClock<fn() -> u32>, Started, IterationCompleted, IterationStarted, IterationCompleted>,
    CheckpointHandler<2, EpochCompleted, Store, ScoreFunction<Score>>,
);

/// Everything that a run needs: the model, the engine and the handlers. The last handler owns the store.
struct Run {
    filter: Filter,
    engine: Engine<f32>,
    handlers: Handlers,
    /// The last four samples.
    window: [f32; 4],
    error: Option<RunError>,
}

static RUN: Mutex<Option<Run>> = Mutex::new(None);
/// Simulates a hardware counter.
static TICKS: AtomicU32 = AtomicU32::new(0);

fn ticks() -> u32 {
    TICKS.fetch_add(1, Ordering::Relaxed)
}

impl Run {
    /// Creates the run after a reset and resumes it from the store. A device calls this function before it enables the
    /// interrupt. (`Box` allocates memory for an error only. The example `quick_start` has an error type without it.)
    fn resume_or_start(store: Store) -> Result<Self, Box<dyn Error>> {
        let score: Score = |state| -state.output.unwrap_or(f32::INFINITY);
        let mut filter = Filter { taps: [0.0; 4] };
        let mut handlers: Handlers = (
            TerminateOnNan::new().attach(IterationCompleted, |filter, _| &filter.taps),
            EarlyStopping::new(3)?.attach(EpochCompleted, score),
            Timer::new(0)
                .attach(WrappingClock::new(ticks as fn() -> u32))
                .resume(IterationStarted)
                .pause(IterationCompleted)
                .step(IterationCompleted),
            ModelCheckpoint::<2>::best_by(score).attach(EpochCompleted, store)?,
        );
        let mut engine = Engine::new(60).with_epoch_length(32);
        engine.resume(&mut filter, &mut handlers)?;
        Ok(Run { filter, engine, handlers, window: [0.0; 4], error: None })
    }

    /// Performs one iteration, in which the filter learns to predict `sample`. Returns false when the run is over.
    fn learn(&mut self, sample: f32) -> Result<bool, RunError> {
        if !self.engine.begin_iteration(&mut self.filter, &mut self.handlers)? {
            return Ok(false);
        }
        let prediction: f32 = self.filter.taps.iter().zip(self.window).map(|(tap, past)| tap * past).sum();
        let error = prediction - sample;
        for (tap, past) in self.filter.taps.iter_mut().zip(self.window) {
            *tap -= 0.2 * error * past;
        }
        self.window.rotate_right(1);
        self.window[0] = sample;
        Ok(self.engine.end_iteration(error * error, &mut self.filter, &mut self.handlers))
    }
}

/// Calls `access` with exclusive access to the run, as `critical_section::with` does on a device.
fn with_run<R>(access: impl FnOnce(&mut Option<Run>) -> R) -> R {
    access(&mut RUN.lock().expect("no access to the run panics"))
}

/// The interrupt handler, which the hardware calls for each new sample. It cannot return an error, so it stores the
/// error.
fn on_sample(sample: f32) {
    with_run(|run| {
        if let Some(run) = run
            && let Err(error) = run.learn(sample)
        {
            run.error = Some(error);
        }
    });
}

/// Simulates the hardware, which calls the interrupt handler for each sample of a sine wave. Stops when the run is over
/// or after `limit` samples. Returns the number of samples.
fn deliver_samples(limit: u32) -> u32 {
    for number in 0..limit {
        on_sample((number as f32 * 0.7).sin());
        let is_running = |run: &Run| run.engine.outcome().is_none() && run.error.is_none();
        if !with_run(|run| run.as_ref().is_some_and(is_running)) {
            return number + 1;
        }
    }
    limit
}

fn main() -> Result<(), Box<dyn Error>> {
    // A simulated reset interrupts the first run after 100 samples. Only the content of the store survives the reset.
    let first = Run::resume_or_start(Store::new())?;
    with_run(|run| *run = Some(first));
    assert_eq!(deliver_samples(100), 100);
    let interrupted = with_run(Option::take).ok_or("there is no run")?;
    let store = interrupted.handlers.3.into_store();

    let second = Run::resume_or_start(store)?;
    with_run(|run| *run = Some(second));
    let samples = deliver_samples(10_000);
    let run = with_run(Option::take).ok_or("there is no run")?;

    let (_, stopping, timer, checkpoint) = &run.handlers;
    let outcome = run.engine.outcome().ok_or("the run has not ended")?;
    println!("{outcome:?} after {samples} more samples, {:?}, kept {:?}", run.filter, checkpoint.policy().kept());
    assert_eq!((outcome.reason, run.error), (StopReason::EarlyStopping, None));
    // The reset was in epoch 4, so the run resumed after 3 epochs of 32 iterations each. The timer includes the steps
    // of these epochs.
    assert_eq!((outcome.iteration, timer.timer.step_count()), (3 * 32 + samples, 3 * 32 + samples));
    assert!(stopping.early_stopping.best_score() > Some(-1e-4));
    Ok(())
}
