//! One round of a fleet on one node: the node trains the weights of the server on its partition of the images.
//!
//! The node saves its state after each epoch of the round. If it is interrupted and gets the same request again, it
//! continues after the newest checkpoint, and ends with the same bits. If the round is complete, [`train`] returns its
//! result without a training step.
//!
//! ```
//! use digits_workload::node::round::{self, Node, Round};
//! use digits_workload::train::{Hyper, Trainee};
//! use training_monitor::store::ram::Ram;
//!
//! let mut server = Trainee::<8, 16>::new();
//! server.init(1, Hyper::DEFAULT);
//! let round = Round { number: 1, local_epochs: 2, partition: [0, 4], seed: 1, learning_rate: 0.1 };
//! let (mut node, mut store) = (Node::<8, 16>::new(), Ram::<2, 16384>::new());
//! let mut saved = Vec::new();
//! node.trainee.net.parameters = server.net.parameters.clone();
//! let metrics = round::train(&mut node, round, &mut store, |epoch| saved.push(epoch))?;
//! assert_eq!((metrics.examples, saved), (300, vec![1, 2]));
//! assert!(metrics.accuracy > 0.4);
//! # Ok::<(), round::TrainError>(())
//! ```

use crate::data::{CLASSES, Image, PIXELS, Split};
use crate::mlp::Parameters;
use crate::shard::Shard;
use crate::train::{Hyper, Metrics, Trainee, fnv1a};
use core::cell::Cell;
use core::fmt;
use training_monitor::checkpoint::{Crc32, Loader, Named, ObjectVisitor};
use training_monitor::event::{EpochCompleted, IterationCompleted};
use training_monitor::handlers::model_checkpoint::CheckpointEvent;
use training_monitor::store::Store;
use training_monitor::{
    ConfigError, Engine, ModelCheckpoint, Objects, RunError, State, StateDict, StopReason, TerminateOnNan, on,
};

/// The settings of a round. The server chooses them, and sends them with the weights.
#[derive(Debug, Clone, Copy, PartialEq, StateDict)]
pub struct Round {
    /// Number of the round.
    pub number: u32,
    /// Number of epochs that a node trains in the round.
    pub local_epochs: u32,
    /// The [`Shard`] of the training images that the node uses: its index, and the number of shards.
    pub partition: [u32; 2],
    /// Seed of the image order.
    pub seed: u32,
    /// Learning rate, which is constant in a round.
    pub learning_rate: f32,
}

impl Round {
    /// The settings before the first round. [`Round::check`] refuses them.
    pub const NONE: Self = Self { number: 0, local_epochs: 0, partition: [0, 0], seed: 0, learning_rate: 0.0 };

    /// Returns the first setting that no round can have.
    ///
    /// # Errors
    /// Returns [`RoundError`], which names the setting.
    pub fn check(&self) -> Result<(), RoundError> {
        let [index, count] = self.partition;
        if self.local_epochs == 0 {
            return Err(RoundError::LocalEpochs);
        }
        if self.shard().is_none() {
            return Err(RoundError::Partition { index, count });
        }
        if !self.learning_rate.is_finite() || self.learning_rate <= 0.0 {
            return Err(RoundError::LearningRate);
        }
        Ok(())
    }

    fn shard(&self) -> Option<Shard> {
        let [index, count] = self.partition;
        Shard::new(index, count)
    }

    /// Number of images in the partition.
    pub fn images(&self) -> u32 {
        self.shard().map_or(0, Shard::len)
    }

    /// The images of batch `offset` in the local epoch `epoch`. All rounds have different image orders.
    pub fn batch(&self, epoch: u32, offset: u32, batch: u32) -> impl Iterator<Item = Image> {
        let order = self.number.wrapping_mul(self.local_epochs).wrapping_add(epoch);
        let seed = self.seed;
        self.shard().into_iter().flat_map(move |shard| shard.batch(seed, order, offset, batch))
    }
}

/// A setting of a round that no round can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoundError {
    /// The number of local epochs is 0.
    LocalEpochs,
    /// The partition does not exist.
    Partition {
        /// Index of the partition.
        index: u32,
        /// Number of partitions.
        count: u32,
    },
    /// The learning rate is not a finite number above 0.
    LearningRate,
}

impl fmt::Display for RoundError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RoundError::LocalEpochs => f.write_str("round.local_epochs: 0; expected at least 1"),
            RoundError::Partition { index, count } => {
                let most = Split::Train.len();
                write!(f, "round.partition: {index} of {count}; expected an index below a count of at most {most}")
            }
            RoundError::LearningRate => f.write_str("round.learning_rate: expected a finite number above 0"),
        }
    }
}

impl core::error::Error for RoundError {}

/// What identifies the training of a node: the settings of the round, and the weights with which it starts. A checkpoint of
/// another request does not resume.
#[derive(Debug, Clone, Copy, PartialEq, StateDict)]
pub struct Request {
    /// The settings of the round.
    #[state_dict(flatten)]
    pub round: Round,
    /// The 64-bit FNV-1a hash of the weights.
    pub weights: u64,
}

impl Request {
    /// The request before the first round.
    pub const NONE: Self = Self { round: Round::NONE, weights: 0 };
}

/// The state of a node: the trainee, and the request that it executes.
#[derive(Debug, Clone, PartialEq)]
pub struct Node<const HIDDEN: usize, const BATCH: usize> {
    /// The network and the optimizer.
    pub trainee: Trainee<HIDDEN, BATCH>,
    /// The request that the node executes or has executed.
    pub request: Request,
    /// The sum of the training losses of the current epoch, or of the last one.
    pub loss: f32,
}

impl<const HIDDEN: usize, const BATCH: usize> Objects for Node<HIDDEN, BATCH> {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        self.trainee.objects(visitor)?;
        visitor.state_dict("request", &mut self.request)?;
        visitor.state_dict("loss", &mut self.loss)
    }
}

impl<const HIDDEN: usize, const BATCH: usize> Default for Node<HIDDEN, BATCH> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const HIDDEN: usize, const BATCH: usize> Node<HIDDEN, BATCH> {
    /// A node before its first round. A `static` with this value is placed in `.bss` and occupies no flash.
    pub const fn new() -> Self {
        Self { trainee: Trainee::new(), request: Request::NONE, loss: 0.0 }
    }

    /// Prepares the first step of `round`, which starts with the weights of the trainee.
    fn begin(&mut self, round: Round) {
        self.trainee.sgd.init(Hyper { learning_rate: round.learning_rate, decay: 1.0, ..Hyper::DEFAULT });
        self.trainee.seed = round.seed;
        let weights = self.trainee.net.parameters.slices().into_iter().flatten();
        self.request = Request { round, weights: fnv1a(weights.flat_map(|weight| weight.to_le_bytes())) };
    }
}

/// The weights of a node's network.
pub type Weights<const HIDDEN: usize> = Parameters<PIXELS, HIDDEN, CLASSES>;

/// The metrics that a node reports with its weights.
#[derive(Debug, Clone, Copy, PartialEq, StateDict)]
pub struct RoundMetrics {
    /// Mean training loss of the steps of the last epoch.
    pub loss: f32,
    /// Loss on the validation images.
    pub val_loss: f32,
    /// Accuracy on the validation images.
    pub accuracy: f32,
    /// Number of images in the partition, by which the server weights the result.
    pub examples: u32,
}

/// Trains `round` from the weights in `node`. When this function returns `Ok`, `node` contains the new weights, and `store`
/// a checkpoint with them. `saved` receives the number of each epoch after its checkpoint is committed.
///
/// The store needs two places. The checkpoint of another round, or of the same round with other weights, does not resume:
/// its place is used after the first save.
///
/// # Errors
/// Returns [`TrainError`]. The committed checkpoints remain in the store.
pub fn train<const HIDDEN: usize, const BATCH: usize, S: Store>(
    node: &mut Node<HIDDEN, BATCH>,
    round: Round,
    store: &mut S,
    mut saved: impl FnMut(u32),
) -> Result<RoundMetrics, TrainError> {
    round.check()?;
    node.begin(round);
    let request = node.request;
    let epoch = Cell::new(0);
    let resumes = stored_request(store) == Some(request);
    let checkpoint = ModelCheckpoint::<1>::every(1)?.with_series_name("round")?;
    let checkpoint = checkpoint.attach(EpochCompleted, store).map_err(|_| TrainError::Store)?;
    let mut handlers = (
        TerminateOnNan::new().attach(IterationCompleted, |_, state: &State<f32>| &state.output),
        on(EpochCompleted, |_, state: &mut State<f32>| epoch.set(state.epoch())),
        checkpoint.observe(|event: &CheckpointEvent<'_, _>| {
            if matches!(event, CheckpointEvent::Saved { .. }) {
                saved(epoch.get());
            }
        }),
    );
    let mut engine = Engine::new(round.local_epochs);
    if resumes && (engine.resume(node, &mut handlers).is_err() || node.request != request) {
        // The medium failed after the checkpoint of the request was read.
        return Err(TrainError::Store);
    }
    let batches = round.images().div_ceil(BATCH as u32);
    let outcome = engine.run(node, 0..batches, &mut handlers, |node: &mut Node<HIDDEN, BATCH>, _, state| {
        let loss = node.trainee.step_on(round.batch(state.epoch(), state.offset(), BATCH as u32));
        node.loss = if state.offset() == 0 { loss } else { node.loss + loss };
        loss
    })?;
    // No other handler stops the run before its last epoch.
    if outcome.reason != StopReason::MaxEpochs {
        return Err(TrainError::NonFinite { iteration: outcome.iteration });
    }
    let Metrics { loss: val_loss, accuracy } = node.trainee.evaluate(Split::Validation);
    Ok(RoundMetrics { loss: node.loss / batches as f32, val_loss, accuracy, examples: round.images() })
}

/// Reads the request of the newest checkpoint in `store`. Returns `None` if there is no such checkpoint, or if it cannot
/// be read.
pub fn stored_request(store: &mut impl Store) -> Option<Request> {
    let newest = (0..).map_while(|index| store.checkpoint(index).ok().flatten()).last()?;
    let mut request = Request::NONE;
    let mut object = Named::new("request", &mut request);
    let mut scratch = [0; 64];
    let mut loader = Loader::new(&mut object, &mut scratch);
    let streams = store.stream_count(newest.sequence).ok()?;
    for stream in 0..streams {
        loader.verify::<Crc32, _>(&mut store.open(newest.sequence, stream).ok()?, None).ok()?;
    }
    loader.check_complete::<()>().ok()?;
    for stream in 0..streams {
        loader.load::<Crc32, _>(&mut store.open(newest.sequence, stream).ok()?).ok()?;
    }
    Some(request)
}

/// The reason why [`train`] failed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TrainError {
    /// A setting of the round is invalid.
    Round(RoundError),
    /// A setting of a handler is invalid.
    Config(ConfigError),
    /// The store cannot list or read its checkpoints.
    Store,
    /// The run failed, for example because a checkpoint could not be saved.
    Run(RunError),
    /// The loss was NaN or infinite.
    NonFinite {
        /// Number of the iteration, from the start of the round.
        iteration: u32,
    },
}

impl From<RoundError> for TrainError {
    fn from(error: RoundError) -> Self {
        TrainError::Round(error)
    }
}

impl From<ConfigError> for TrainError {
    fn from(error: ConfigError) -> Self {
        TrainError::Config(error)
    }
}

impl From<RunError> for TrainError {
    fn from(error: RunError) -> Self {
        TrainError::Run(error)
    }
}

impl fmt::Display for TrainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TrainError::Round(error) => error.fmt(f),
            TrainError::Config(error) => error.fmt(f),
            TrainError::Store => f.write_str("store: the checkpoints of the node cannot be read"),
            TrainError::Run(error) => error.fmt(f),
            TrainError::NonFinite { iteration } => write!(f, "loss: not finite in iteration {iteration} of the round"),
        }
    }
}

impl core::error::Error for TrainError {}
