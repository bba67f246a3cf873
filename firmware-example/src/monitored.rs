//! The run that every board and the host make: the digits under all four handlers, resumed if there is a checkpoint.
//!
//! | handler | looks at | does |
//! | --- | --- | --- |
//! | [`TerminateOnNan`] | the loss of each step, a stripe of the weights each step | ends the run |
//! | [`EarlyStopping`] | the validation loss of each epoch | ends the run after [`Plan::patience`] |
//! | [`Timer`] | steps | says how many |
//! | [`ModelCheckpoint`] | the validation loss of each epoch | keeps the best, and beside them the latest |
//!
//! So that the checkpoints of two boards can be compared byte by byte, the [`Timer`]'s clock is a logical one: a tick
//! is a training step. A program that wants to know about time has [`Journal::now`] read a clock, as the host's does.
//!
//! This file owns the composition and nothing else. Where the checkpoints go and who is told is its caller's.
//!
//! ```
//! use digits_workload::{monitored::{self, Journal, Plan}, train::Trainee};
//! use training_monitor::store::ram::Ram;
//!
//! let mut trainee = Trainee::<4, 32>::new();
//! let plan = Plan { max_epochs: 2, ..Plan::DEFAULT };
//! let summary = monitored::run(&mut trainee, plan, Ram::<2, 8192>::new(), Ram::<3, 8192>::new(), &())?;
//! assert_eq!((summary.outcome.epoch, summary.steps, summary.ticks), (2, 76, 76));
//! assert!(summary.test.accuracy > 0.5);
//! # Ok::<(), monitored::Failed<training_monitor::store::ram::RamError>>(())
//! ```

use crate::data::Split;
use crate::train::{Hyper, Metrics, Trainee};
use core::cell::Cell;
use core::fmt;
use core::num::NonZeroU32;
use training_monitor::checkpoint::DecodeError;
use training_monitor::engine::Resumed;
use training_monitor::event::{Counters, EpochCompleted, Event, IterationCompleted, IterationStarted, Started, When};
use training_monitor::handler::Handler;
use training_monitor::handlers::saving::Report;
use training_monitor::handlers::{early_stopping, model_checkpoint};
use training_monitor::record::{RecordReader, RecordWriter, RestoreError};
use training_monitor::store::Store;
use training_monitor::{EarlyStopping, Engine, ModelCheckpoint, Outcome, RunError, State, TerminateOnNan, Timer, on};

/// How many of the best the boards keep.
pub const BEST: usize = 2;

/// What is chosen before a run. `TABLE` is how many of the best it has room for.
#[derive(Debug, Clone, Copy)]
pub struct Plan<const TABLE: usize = BEST> {
    /// Picks the first weights and the order of the images.
    pub seed: u32,
    /// Epochs at most.
    pub max_epochs: u32,
    /// Epochs without a lower validation loss that are put up with.
    pub patience: u32,
    /// How many of the best are kept, at most `TABLE`.
    pub best: u32,
    /// How many of the latest are kept, 1 or 2.
    pub latest: u32,
    /// The iteration whose output is replaced by a NaN, to see the guard work.
    pub nan_at: Option<u32>,
}

impl Plan {
    /// What the boards run.
    pub const DEFAULT: Self = Self { seed: 1, max_epochs: 60, patience: 5, best: BEST as u32, latest: 1, nan_at: None };
}

/// Which of the two checkpoint handlers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Series {
    /// The last epoch: what a run goes on from.
    Latest,
    /// The lowest validation losses: what is used in the end.
    Best,
}

/// Is told what happens. All methods do nothing unless they are written.
pub trait Journal<E> {
    /// The run starts, or goes on.
    fn begins(&self, resumed: Option<Resumed>) {
        let _ = resumed;
    }
    /// What the timer's clock shows after so many training steps.
    fn now(&self, steps: u64) -> u64 {
        steps
    }
    /// A step was made.
    fn iteration(&self, counters: &Counters, loss: f32) {
        let _ = (counters, loss);
    }
    /// An epoch is over. So many more without a lower validation loss are put up with.
    fn epoch(&self, epoch: u32, validation: Metrics, patience: u32) {
        let _ = (epoch, validation, patience);
    }
    /// A checkpoint was saved, or was not.
    fn checkpoint(&self, series: Series, report: &Report<'_, E>) {
        let _ = (series, report);
    }
}

/// Nobody.
impl<E> Journal<E> for () {}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Why, and when.
    pub outcome: Outcome,
    /// Training steps, those before a restart included.
    pub steps: u32,
    /// What the steps took, in ticks of [`Journal::now`].
    pub ticks: u64,
    /// [`Trainee::checksum`] of where the training ended.
    pub checksum: u64,
    /// Step number of the best checkpoint.
    pub best: u32,
    /// How good the best checkpoint is on images that decided nothing.
    pub test: Metrics,
}

/// Makes the run, or what is left of it: `latest` and `best` need a place more than they keep. Afterwards `trainee` holds
/// the best weights.
///
/// # Errors
/// [`Failed`]; what is committed in the stores stays.
pub fn run<const HIDDEN: usize, const BATCH: usize, const TABLE: usize, L, B, J>(
    trainee: &mut Trainee<HIDDEN, BATCH>,
    plan: Plan<TABLE>,
    latest: L,
    best: B,
    journal: &J,
) -> Result<Summary, Failed<B::Error>>
where
    L: Store<Error = B::Error>,
    B: Store,
    J: Journal<B::Error>,
{
    trainee.init(plan.seed, Hyper::default());
    let steps = Cell::new(0_u64);
    let latest =
        ModelCheckpoint::<2>::builder().save_interval(1).n_saved(plan.latest).build()?.attach(EpochCompleted, latest);
    // Higher is better, so the score is the negative loss; the name shows it without its sign.
    let best = ModelCheckpoint::<TABLE>::builder()
        .score_function(|state: &State<f32, Metrics>| -state.metrics.loss)
        .score_name("val_loss")
        .n_saved(plan.best)
        .build()?
        .attach(EpochCompleted, best);
    let evaluate = |trainee: &mut Trainee<HIDDEN, BATCH>, state: &mut State<f32, Metrics>| {
        state.metrics = trainee.evaluate(Split::Validation);
    };
    let weights = |trainee: &Trainee<HIDDEN, BATCH>, look: &mut dyn FnMut(&[f32])| {
        trainee.net.parameters.slices().into_iter().for_each(look);
    };
    let every = NonZeroU32::new(Trainee::<HIDDEN, BATCH>::BATCHES).unwrap_or(NonZeroU32::MIN);
    let tell = |_: &mut Trainee<HIDDEN, BATCH>, state: &mut State<f32, Metrics>| {
        journal.iteration(state.counters(), state.output.unwrap_or(f32::NAN));
    };
    let mut handlers = (
        on(IterationCompleted, tell),
        TerminateOnNan::new().attach(IterationCompleted, |_: &_, state: &State<f32, _>| state.output),
        TerminateOnNan::new().with_cadence(every).watch(IterationCompleted, weights),
        on(EpochCompleted, evaluate),
        Told {
            stopping: EarlyStopping::new(plan.patience)?
                .attach(EpochCompleted, |state: &State<f32, Metrics>| -state.metrics.loss),
            epoch: |state: &State<f32, Metrics>, patience| journal.epoch(state.epoch(), state.metrics, patience),
        },
        Timer::new(0).attach(
            || journal.now(steps.get()),
            Started,
            IterationCompleted,
            IterationStarted,
            IterationCompleted,
        ),
        best.map_err(Failed::Store)?.observe(|report: &Report<'_, _>| journal.checkpoint(Series::Best, report)),
        latest.map_err(Failed::Store)?.observe(|report: &Report<'_, _>| journal.checkpoint(Series::Latest, report)),
    );

    let mut engine = Engine::with_metrics(plan.max_epochs, Metrics { loss: f32::INFINITY, accuracy: 0.0 });
    let resumed = match engine.resume(trainee, &mut handlers) {
        // Nobody is there to ask: better to learn again than not at all. The journal was told what is wrong with each.
        Err(RestoreError::NoneFits { .. }) => None,
        resumed => resumed?,
    };
    journal.begins(resumed);
    let outcome = engine.run(trainee, 0..Trainee::<HIDDEN, BATCH>::BATCHES, &mut handlers, |trainee, _, state| {
        let loss = trainee.step(state.epoch(), state.offset());
        steps.set(steps.get().wrapping_add(1));
        if plan.nan_at == Some(state.iteration()) { f32::NAN } else { loss }
    })?;
    let checksum = trainee.checksum();

    let (.., timer, best, _) = &mut handlers;
    let step = best.load_best(trainee)?.map_or(0, |info| info.step);
    let timer = &timer.timer;
    let test = trainee.evaluate(Split::Test);
    Ok(Summary { outcome, steps: timer.step_count(), ticks: timer.total(), checksum, best: step, test })
}

/// Early stopping, which says at the end of each epoch what is left of its patience. A handler inside another: what is to
/// survive a restart is passed on.
struct Told<W, F, G> {
    stopping: early_stopping::Attached<W, F>,
    epoch: G,
}

impl<T, O, X, W, F, G> Handler<T, O, X> for Told<W, F, G>
where
    W: When,
    F: FnMut(&State<O, X>) -> f32,
    G: FnMut(&State<O, X>, u32),
{
    fn on_event(&mut self, event: Event, model: &mut T, state: &mut State<O, X>) {
        self.stopping.on_event(event, model, state);
        if event == Event::EpochCompleted {
            let stopping = &self.stopping.early_stopping;
            (self.epoch)(state, stopping.patience().saturating_sub(stopping.counter()));
        }
    }
    fn save_state(&mut self, state: &State<O, X>, record: &mut RecordWriter<'_>) {
        Handler::<T, O, X>::save_state(&mut self.stopping, state, record);
    }
    fn restore_state(&mut self, state: &mut State<O, X>, record: &mut RecordReader<'_>) {
        Handler::<T, O, X>::restore_state(&mut self.stopping, state, record);
    }
}

/// Why a run did not come to an end of its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Failed<E> {
    /// [`Plan::patience`] is 0.
    EarlyStopping(early_stopping::ConfigError),
    /// Never, with the settings above.
    ModelCheckpoint(model_checkpoint::ConfigError),
    /// A store cannot list what it has.
    Store(E),
    /// The stores hold checkpoints of other handlers.
    Resume(RestoreError),
    /// A checkpoint could not be saved; the [`Journal`] was told why.
    Run(RunError),
    /// The best checkpoint cannot be read.
    Load(DecodeError<E>),
}

impl<E> From<early_stopping::ConfigError> for Failed<E> {
    fn from(error: early_stopping::ConfigError) -> Self {
        Failed::EarlyStopping(error)
    }
}

impl<E> From<model_checkpoint::ConfigError> for Failed<E> {
    fn from(error: model_checkpoint::ConfigError) -> Self {
        Failed::ModelCheckpoint(error)
    }
}

impl<E> From<RestoreError> for Failed<E> {
    fn from(error: RestoreError) -> Self {
        Failed::Resume(error)
    }
}

impl<E> From<RunError> for Failed<E> {
    fn from(error: RunError) -> Self {
        Failed::Run(error)
    }
}

impl<E> From<DecodeError<E>> for Failed<E> {
    fn from(error: DecodeError<E>) -> Self {
        Failed::Load(error)
    }
}

impl<E: fmt::Display> fmt::Display for Failed<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failed::EarlyStopping(error) => error.fmt(f),
            Failed::ModelCheckpoint(error) => error.fmt(f),
            Failed::Store(error) => write!(f, "the store cannot be opened: {error}"),
            Failed::Resume(error) => write!(f, "the run cannot go on: {error}"),
            Failed::Run(error) => error.fmt(f),
            Failed::Load(error) => write!(f, "the best checkpoint: {error}"),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for Failed<E> {}
