//! A tiny training job: a network with one hidden layer learns a function of two numbers.

use crate::tensors::{NamedTensor, NamedTensors, Unavailable};
use crate::training_state::TrainingState;
use burn::module::Module;
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::store::RecordError;
use burn::tensor::{Device, Tensor, TensorData};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use training_monitor::checkpoint::{ObjectVisitor, Objects};
use training_monitor::engine::Resumed;
use training_monitor::event::IterationCompleted;
use training_monitor::store::Store;
use training_monitor::{Engine, ModelCheckpoint, RunError};

/// The number of epochs.
pub const EPOCHS: u32 = 6;
/// The number of iterations per epoch.
pub const EPOCH_LENGTH: u32 = 4;
/// The number of iterations between two checkpoints. It does not divide the epoch length, so checkpoints are written
/// within epochs too.
pub const SAVE_INTERVAL: u32 = 5;
/// The number of examples per batch.
const BATCH: u32 = 4;
/// The learning rate.
pub const LEARNING_RATE: f64 = 0.02;

/// A network with a hidden layer and batch normalization, whose running statistics are part of a checkpoint.
#[derive(Module, Debug)]
pub struct Net {
    hidden: Linear,
    norm: BatchNorm,
    output: Linear,
}

impl Net {
    /// Creates the network with initial weights that depend on `seed`. burn's own seed is not used, because it applies
    /// to the whole process.
    #[must_use]
    pub fn new(seed: u32, device: &Device) -> Self {
        let net = Net {
            hidden: LinearConfig::new(2, 8).init(device),
            norm: BatchNormConfig::new(8).init(device),
            output: LinearConfig::new(8, 1).init(device),
        };
        let mut tensors = NamedTensors::copy_from(&net).expect("all tensors are f32 with short names");
        let mut state = seed;
        let is_linear = |tensor: &&mut NamedTensor| !tensor.name.starts_with("norm.");
        for element in tensors.0.iter_mut().filter(is_linear).flat_map(|tensor| &mut tensor.elements) {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *element = (state >> 8) as f32 / (1 << 24) as f32 - 0.5;
        }
        tensors.copy_to(net)
    }

    /// Returns the outputs of the network for a batch of inputs.
    #[must_use]
    pub fn forward(&self, inputs: Tensor<2>) -> Tensor<2> {
        self.output.forward(self.norm.forward(self.hidden.forward(inputs)).tanh())
    }
}

/// The network and its optimizer.
pub struct Training {
    state: TrainingState<Net>,
    device: Device,
}

impl Training {
    /// Creates the network with initial weights that depend on `seed`.
    #[must_use]
    pub fn new(seed: u32) -> Self {
        let device = Device::default().autodiff();
        let state = TrainingState::new(Net::new(seed, &device), AdamWConfig::new().init());
        Training { state, device }
    }

    /// Trains one batch and returns the loss.
    ///
    /// # Errors
    /// burn's error if it rejects the state of the optimizer.
    pub fn step(&mut self, batch: u32) -> Result<f32, RecordError> {
        let net = self.state.module()?;
        let loss = loss(net, batch, &self.device);
        let gradients = GradientsParams::from_grads(loss.backward(), net);
        self.state.step(LEARNING_RATE, gradients)?;
        Ok(loss.into_scalar())
    }

    /// Returns why the last save or load returned `TensorUnavailable`, which means that a checkpoint cannot contain a
    /// tensor.
    #[must_use]
    pub const fn unavailable(&self) -> Option<&Unavailable> {
        self.state.unavailable()
    }

    /// Returns the bits of all weights, running statistics and moments (the state of the optimizer), and the numbers of
    /// steps, by name.
    ///
    /// # Errors
    /// burn's error if it rejects the state of the optimizer.
    pub fn bits(&mut self) -> Result<BTreeMap<String, Vec<u32>>, Box<dyn Error>> {
        let bits = |elements: Vec<f32>| elements.into_iter().map(f32::to_bits).collect();
        let tensors = NamedTensors::copy_from(self.state.module()?)?;
        let paths: BTreeMap<_, _> =
            tensors.0.iter().map(|tensor| (tensor.id.to_string(), tensor.name.clone())).collect();
        let mut all: BTreeMap<_, _> =
            tensors.0.into_iter().map(|tensor| (tensor.name, bits(tensor.elements))).collect();
        // The moments come from burn's record and not from `AdamWState`, because the tests must find errors in the code
        // of `AdamWState`.
        let record = burn_pack::Reader::from_bytes(self.state.optimizer()?.to_record().into_bytes()?)?;
        let full_name = |name: &str| {
            let (id, state) = name.split_once('.').unwrap_or((name, ""));
            format!("{}: {state}", paths.get(id).map_or(id, String::as_str))
        };
        for (name, value) in record.scalars() {
            all.insert(full_name(name), vec![u32::try_from(*value)?]);
        }
        for tensor in record.into_tensors()? {
            let (name, dtype, shape, _, bytes) = tensor.into_parts()?;
            let elements = TensorData::from_bytes(bytes, shape, dtype).try_into_vec()?;
            all.insert(full_name(&name), bits(elements));
        }
        Ok(all)
    }
}

impl Objects for Training {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        self.state.objects(visitor)
    }
}

/// Returns the loss of one batch, which is the mean squared error.
#[must_use]
pub fn loss(net: &Net, batch: u32, device: &Device) -> Tensor<1> {
    let examples = || (0..BATCH).map(|index| example(batch * BATCH + index));
    let inputs: Vec<f32> = examples().flat_map(|(input, _)| input).collect();
    let targets: Vec<f32> = examples().map(|(_, target)| target).collect();
    let inputs = Tensor::from_data(TensorData::new(inputs, [BATCH as usize, 2]), device);
    let targets = Tensor::from_data(TensorData::new(targets, [BATCH as usize, 1]), device);
    let error = net.forward(inputs) - targets;
    (error.clone() * error).mean()
}

/// Returns the input (two numbers) and the target of the training example with the number `index`.
fn example(index: u32) -> ([f32; 2], f32) {
    let (x, y) = ((index % 4) as f32 / 3.0, (index / 4 % 4) as f32 / 3.0);
    ([x, y], x * y - 0.5 * x)
}

/// A simulated power failure. It occurs at the start of the iteration with the number `iteration`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PowerFailure {
    /// The iteration that is interrupted.
    pub iteration: u32,
}

/// How [`train`] ended.
#[derive(Debug)]
pub struct Report {
    /// The checkpoint that the run resumed from; `None` if the store contained no checkpoint.
    pub resumed: Option<Resumed>,
    /// The bits of the weights and of the moments (the state of the optimizer). `None` if the power failed, because
    /// only the checkpoints in the store survive.
    pub bits: Option<BTreeMap<String, Vec<u32>>>,
}

/// Starts the program: builds a new network, resumes from the newest checkpoint in `store`, if there is one, and trains
/// until the last epoch or until the power fails.
///
/// # Errors
/// The error of burn, of the store or of the run.
pub fn train<S>(store: S, seed: u32, power_failure: Option<PowerFailure>) -> Result<Report, Box<dyn Error>>
where
    S: Store,
    S::Error: Error + 'static,
{
    let mut training = Training::new(seed);
    let mut checkpoint = ModelCheckpoint::<2>::every(SAVE_INTERVAL)?.attach(IterationCompleted, store)?;
    let mut engine = Engine::new(EPOCHS);
    let resumed = engine.resume(&mut training, &mut checkpoint)?;
    let run =
        engine.try_run(&mut training, 0..EPOCH_LENGTH, &mut checkpoint, |training, batch, state| match power_failure {
            Some(failure) if failure.iteration == state.iteration() => Err(StepError::PowerFailure),
            _ => Ok(training.step(batch)?),
        });
    match run {
        Ok(_) => Ok(Report { resumed, bits: Some(training.bits()?) }),
        Err(RunError::Step(StepError::PowerFailure)) => Ok(Report { resumed, bits: None }),
        Err(error) => Err(error.into()),
    }
}

/// Why a step failed.
#[derive(Debug)]
pub enum StepError {
    /// The simulated power failure.
    PowerFailure,
    /// A step of the optimizer or the access to its state failed with this error of burn.
    Burn(RecordError),
}

impl From<RecordError> for StepError {
    fn from(error: RecordError) -> Self {
        StepError::Burn(error)
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StepError::PowerFailure => f.write_str("the power failed"),
            StepError::Burn(error) => error.fmt(f),
        }
    }
}

impl Error for StepError {}
