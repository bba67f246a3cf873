//! The training run with all four handlers, as every board executes it.
//!
//! [`run`] attaches the handlers, resumes from the newest checkpoint if a store contains one, and trains until a
//! handler or the epoch limit stops the run.
//!
//! | handler | input | effect |
//! | --- | --- | --- |
//! | [`TerminateOnNan`] | the loss of each step; one stripe of the weights per step | stops the run |
//! | [`EarlyStopping`] | the validation loss of each epoch | stops the run after [`Plan::patience`] epochs |
//! | [`Timer`] | the events before and after each step | counts steps and measures their duration |
//! | [`ModelCheckpoint`] | the validation loss of each epoch | saves the best checkpoints; a second one saves the latest |
//!
//! The default clock of the [`Timer`] is logical: one tick is one training step. The checkpoints of two boards are
//! therefore equal byte for byte. A program that measures real time implements
//! [`RunObserver::now`].
//!
//! The caller provides the two checkpoint stores and the [`RunObserver`] that receives the events of the run.
//!
//! ```
//! use digits_workload::{monitored::{self, Plan}, train::Trainee};
//! use training_monitor::store::ram::Ram;
//!
//! let mut trainee = Trainee::<4, 32>::new();
//! let plan = Plan { max_epochs: 2, ..Plan::DEFAULT };
//! let summary = monitored::run(&mut trainee, plan, Ram::<2, 8192>::new(), Ram::<3, 8192>::new(), &())?;
//! assert_eq!((summary.outcome.epoch, summary.steps, summary.ticks), (2, 76, 76));
//! assert!(summary.test.accuracy > 0.5);
//! # Ok::<(), monitored::Error<training_monitor::store::ram::RamError>>(())
//! ```

use crate::data::Split;
use crate::train::{Metrics, Training};
use core::cell::Cell;
use core::fmt;
use training_monitor::checkpoint::DecodeError;
use training_monitor::engine::Resumed;
use training_monitor::event::{Counters, EpochCompleted, Interrupt, IterationCompleted, IterationStarted};
use training_monitor::handler::RunTypes;
use training_monitor::handlers::model_checkpoint::CheckpointEvent;
use training_monitor::run_record::RestoreError;
use training_monitor::store::Store;
use training_monitor::{
    ConfigError, EarlyStopping, Engine, EventFilter, ModelCheckpoint, Outcome, RunError, State, StopReason,
    TerminateOnNan, Timer, on,
};

/// Number of best checkpoints that the boards keep.
pub const N_BEST: usize = 2;

/// Settings of a run. `TABLE` is the upper limit of [`Plan::n_best`].
#[derive(Debug, Clone, Copy)]
pub struct Plan<const TABLE: usize = N_BEST> {
    /// Seed of the initial weights and of the image order.
    pub seed: u32,
    /// Maximum number of epochs.
    pub max_epochs: u32,
    /// The run stops after this number of consecutive epochs without a lower validation loss.
    pub patience: u32,
    /// Number of best checkpoints that are kept, at most `TABLE`.
    pub n_best: u32,
    /// Number of latest checkpoints that are kept, 1 or 2.
    pub n_latest: u32,
    /// Iteration whose loss is replaced by a NaN, to test [`TerminateOnNan`]. `None` replaces no loss.
    pub nan_at: Option<u32>,
}

impl Plan {
    /// The settings of the training run on all boards.
    pub const DEFAULT: Self =
        Self { seed: 1, max_epochs: 60, patience: 5, n_best: N_BEST as u32, n_latest: 1, nan_at: None };
}

/// Identifies one of the two checkpoint handlers of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Series {
    /// The handler that saves a checkpoint after every epoch. A run resumes from these checkpoints.
    Latest,
    /// The handler that keeps the checkpoints with the lowest validation losses. The result of the run is one of them.
    Best,
}

/// Receives the events of a run. `E` is the error type of the stores. Every method has a default implementation that
/// ignores the event.
pub trait RunObserver<E> {
    /// The run starts. `resumed` describes the loaded checkpoint, or is `None` if the run starts from the beginning.
    fn on_start(&self, resumed: Option<Resumed>) {
        let _ = resumed;
    }
    /// Reads the clock of the timer, in ticks. `steps` is the number of training steps since the program start. By
    /// default, one step is one tick.
    fn now(&self, steps: u64) -> u64 {
        steps
    }
    /// A training step is complete. `loss` is the mean loss of its batch.
    fn on_iteration(&self, counters: &Counters, loss: f32) {
        let _ = (counters, loss);
    }
    /// An epoch is complete. Early stopping allows `patience` further epochs without a lower validation loss.
    fn on_epoch(&self, epoch: u32, validation: Metrics, patience: u32) {
        let _ = (epoch, validation, patience);
    }
    /// Returns whether the run must stop now, for example because the user pressed Ctrl-C. The run then saves its state,
    /// and ends with [`Error::Stopped`]. By default, the run never stops.
    fn stop_requested(&self) -> bool {
        false
    }
    /// A checkpoint handler saved a checkpoint, evicted one, or failed to save, evict or load one.
    fn on_checkpoint(&self, series: Series, event: &CheckpointEvent<'_, E>) {
        let _ = (series, event);
    }
}

/// An observer that ignores all events.
impl<E> RunObserver<E> for () {}

/// The result of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// The reason why the run stopped, with its last epoch and iteration.
    pub outcome: Outcome,
    /// Number of training steps, including the steps before a restart.
    pub steps: u32,
    /// Duration of all training steps, in ticks of [`RunObserver::now`].
    pub ticks: u64,
    /// [`Training::checksum`] after the last training step.
    pub checksum: u64,
    /// Step number of the best checkpoint.
    pub best: u32,
    /// Loss and accuracy of the best checkpoint on the test images.
    pub test: Metrics,
}

/// Trains `trainee`, and resumes from the newest checkpoint of the two stores if there is one.
///
/// Each store needs one slot more than the number of checkpoints it keeps. When this function returns `Ok`, `trainee`
/// contains the weights of the best checkpoint.
///
/// # Errors
/// Returns [`Error`]. Checkpoints that are committed in the stores remain there.
pub fn run<T, const TABLE: usize, L, B, R>(
    trainee: &mut T,
    plan: Plan<TABLE>,
    latest: L,
    best: B,
    observer: &R,
) -> Result<Summary, Error<B::Error>>
where
    T: Training,
    L: Store<Error = B::Error>,
    B: Store,
    R: RunObserver<B::Error>,
{
    trainee.init(plan.seed);
    let steps = Cell::new(0_u64);
    let types = RunTypes::<T, f32, Metrics>::new();
    let latest =
        ModelCheckpoint::<2>::every(1)?.with_n_saved(plan.n_latest)?.attach(EpochCompleted.or(Interrupt), latest);
    // `ModelCheckpoint` keeps the highest scores, so the score is the negated loss.
    let best = ModelCheckpoint::<TABLE>::best_by(types.score(|state| -state.metrics.loss))
        .with_score_name("val_loss")?
        .with_n_saved(plan.n_best)?
        .attach(EpochCompleted, best);
    let check_weights = types.slices(|trainee: &T, check| trainee.scan(check));
    let mut handlers = (
        on(IterationCompleted, |_, state: &mut State<f32, Metrics>| {
            observer.on_iteration(state.counters(), state.output.unwrap_or(f32::NAN));
            if observer.stop_requested() {
                // The handler of the latest checkpoints saves at the event `Interrupt`, before the next step.
                state.interrupt();
            }
        }),
        TerminateOnNan::new().attach(IterationCompleted, |_, state| &state.output),
        TerminateOnNan::new().with_schedule(T::BATCHES)?.attach_slices(IterationCompleted, check_weights),
        on(EpochCompleted, types.function(|trainee, state| state.metrics = trainee.evaluate(Split::Validation))),
        EarlyStopping::new(plan.patience)?
            .attach(EpochCompleted, types.score(|state| -state.metrics.loss))
            .observe(|stopping, state| observer.on_epoch(state.epoch(), state.metrics, stopping.remaining_patience())),
        Timer::new(0)
            .attach(|| observer.now(steps.get()))
            .pause(IterationCompleted)
            .resume(IterationStarted)
            .step(IterationCompleted),
        best.map_err(Error::Store)?
            .observe(|event: &CheckpointEvent<'_, _>| observer.on_checkpoint(Series::Best, event)),
        latest
            .map_err(Error::Store)?
            .observe(|event: &CheckpointEvent<'_, _>| observer.on_checkpoint(Series::Latest, event)),
    );

    let mut engine = Engine::with_metrics(plan.max_epochs, Metrics { loss: f32::INFINITY, accuracy: 0.0 });
    let resumed = match engine.resume(trainee, &mut handlers) {
        Ok(resumed) => resumed,
        // No stored checkpoint fits this program. A device has no operator who could decide, so the run starts from the
        // beginning. The observer has received one load error per checkpoint.
        Err(RestoreError::NoneLoadable { .. }) => None,
        Err(error @ (RestoreError::ListFailed | RestoreError::BecameUnreadable { .. })) => return Err(error.into()),
        // The newest checkpoint was saved by a program with other handlers. The new run starts with its weights.
        Err(_) => {
            let (.., latest) = &mut handlers;
            let _ = latest.load_best(trainee);
            None
        }
    };
    observer.on_start(resumed);
    let outcome = engine.run(trainee, 0..T::BATCHES, &mut handlers, |trainee: &mut T, _, state| {
        let loss = trainee.step(state.epoch(), state.offset());
        steps.set(steps.get().wrapping_add(1));
        if plan.nan_at == Some(state.iteration()) { f32::NAN } else { loss }
    })?;
    if outcome.reason == StopReason::Interrupted {
        return Err(Error::Stopped);
    }
    let checksum = trainee.checksum();

    let (.., timer, best, _) = &mut handlers;
    let step = best.load_best(trainee)?.map_or(0, |info| info.step);
    let timer = &timer.timer;
    let test = trainee.evaluate(Split::Test);
    Ok(Summary { outcome, steps: timer.step_count(), ticks: timer.total(), checksum, best: step, test })
}

/// The reason why [`run`] failed. `E` is the error type of the stores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Error<E> {
    /// A setting of [`Plan`] is invalid.
    Config(ConfigError),
    /// A store cannot list its checkpoints.
    Store(E),
    /// The stores contain checkpoints of a program with other handlers.
    Resume(RestoreError),
    /// A checkpoint could not be saved. The [`RunObserver`] has received the cause.
    Run(RunError),
    /// [`RunObserver::stop_requested`] returned true. The newest checkpoint contains the state of the run.
    Stopped,
    /// The best checkpoint cannot be loaded.
    Load(DecodeError<E>),
}

impl<E> From<ConfigError> for Error<E> {
    fn from(error: ConfigError) -> Self {
        Error::Config(error)
    }
}

impl<E> From<RestoreError> for Error<E> {
    fn from(error: RestoreError) -> Self {
        Error::Resume(error)
    }
}

impl<E> From<RunError> for Error<E> {
    fn from(error: RunError) -> Self {
        Error::Run(error)
    }
}

impl<E> From<DecodeError<E>> for Error<E> {
    fn from(error: DecodeError<E>) -> Self {
        Error::Load(error)
    }
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Config(error) => error.fmt(f),
            Error::Store(error) => write!(f, "cannot list the checkpoints of a store: {error}"),
            Error::Resume(error) => write!(f, "cannot resume the run: {error}"),
            Error::Run(error) => error.fmt(f),
            Error::Stopped => f.write_str("the run was stopped"),
            Error::Load(error) => write!(f, "cannot load the best checkpoint: {error}"),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for Error<E> {}
