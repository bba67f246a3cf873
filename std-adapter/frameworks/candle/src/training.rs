//! A tiny training job: a network with one hidden layer learns a function of two numbers.

use crate::adamw::AdamW;
use crate::var_map_state::{Unavailable, VarMapState};
use candle_core::{DType, Device, Tensor};
use candle_nn::{Linear, Module, ParamsAdamW, VarBuilder, VarMap};
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

/// The network, its optimizer and its training data.
pub struct Training {
    hidden: Linear,
    output: Linear,
    weights: VarMapState,
    optimizer: AdamW,
}

impl Training {
    /// Creates the network with initial weights that depend on `seed`.
    ///
    /// # Errors
    /// candle's error if it cannot create a tensor.
    pub fn new(seed: u32) -> candle_core::Result<Self> {
        let variables = VarMap::new();
        let builder = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
        let hidden = candle_nn::linear(2, 8, builder.pp("hidden"))?;
        let output = candle_nn::linear(8, 1, builder.pp("output"))?;
        initialize(&variables, seed)?;
        let params = ParamsAdamW { lr: 0.02, ..ParamsAdamW::default() };
        let optimizer = AdamW::new(&variables, params)?;
        Ok(Training { hidden, output, weights: VarMapState::new(variables), optimizer })
    }

    /// Trains one batch and returns the loss.
    ///
    /// # Errors
    /// candle's error.
    pub fn step(&mut self, batch: u32) -> candle_core::Result<f32> {
        let loss = self.loss(batch)?;
        self.optimizer.backward_step(&loss)?;
        loss.to_scalar()
    }

    /// Returns the loss of one batch, which is the mean squared error.
    ///
    /// # Errors
    /// candle's error.
    pub fn loss(&self, batch: u32) -> candle_core::Result<Tensor> {
        let examples = || (0..BATCH).map(|index| example(batch * BATCH + index));
        let inputs: Vec<f32> = examples().flat_map(|(input, _)| input).collect();
        let targets: Vec<f32> = examples().map(|(_, target)| target).collect();
        let inputs = Tensor::from_vec(inputs, (BATCH as usize, 2), &Device::Cpu)?;
        let targets = Tensor::from_vec(targets, (BATCH as usize, 1), &Device::Cpu)?;
        let outputs = self.output.forward(&self.hidden.forward(&inputs)?.tanh()?)?;
        candle_nn::loss::mse(&outputs, &targets)
    }

    /// The variables of the network.
    #[must_use]
    pub const fn variables(&self) -> &VarMap {
        self.weights.variables()
    }

    /// Returns why the last save or load returned `TensorUnavailable`, which means that a checkpoint cannot contain a
    /// tensor.
    #[must_use]
    pub fn unavailable(&self) -> Option<&Unavailable> {
        self.weights.unavailable().or(self.optimizer.unavailable())
    }

    /// Returns the bits of all weights and of all moments (the state of the optimizer), and the number of steps, by
    /// name.
    ///
    /// # Errors
    /// candle's error.
    pub fn bits(&self) -> candle_core::Result<BTreeMap<String, Vec<u32>>> {
        let mut bits = BTreeMap::from([("steps".to_owned(), vec![self.optimizer.steps()])]);
        let maps = [
            ("weight", self.variables()),
            ("first moment", self.optimizer.first_moment()),
            ("second moment", self.optimizer.second_moment()),
        ];
        for (kind, variables) in maps {
            for (name, variable) in variables.data().lock().expect("no thread panicked").iter() {
                let elements: Vec<f32> = variable.flatten_all()?.to_vec1()?;
                bits.insert(format!("{kind} of {name}"), elements.into_iter().map(f32::to_bits).collect());
            }
        }
        Ok(bits)
    }
}

impl Objects for Training {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.state_dict("model", &mut self.weights)?;
        self.optimizer.objects(visitor)
    }
}

/// Returns the input (two numbers) and the target of the training example with the number `index`.
fn example(index: u32) -> ([f32; 2], f32) {
    let (x, y) = ((index % 4) as f32 / 3.0, (index / 4 % 4) as f32 / 3.0);
    ([x, y], x * y - 0.5 * x)
}

/// Sets all variables to numbers between -0.5 and 0.5. candle's own initialization is not used, because it accepts no
/// seed on the CPU.
fn initialize(variables: &VarMap, seed: u32) -> candle_core::Result<()> {
    let variables = variables.data().lock().expect("no thread panicked");
    let sorted: BTreeMap<_, _> = variables.iter().collect();
    let mut state = seed;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    for variable in sorted.values() {
        let elements: Vec<f32> = (0..variable.elem_count()).map(|_| random()).collect();
        variable.set(&Tensor::from_vec(elements, variable.shape(), &Device::Cpu)?)?;
    }
    Ok(())
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
/// The error of candle, of the store or of the run.
pub fn train<S>(store: S, seed: u32, power_failure: Option<PowerFailure>) -> Result<Report, Box<dyn Error>>
where
    S: Store,
    S::Error: Error + 'static,
{
    let mut training = Training::new(seed)?;
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
    /// candle's error.
    Candle(candle_core::Error),
}

impl From<candle_core::Error> for StepError {
    fn from(error: candle_core::Error) -> Self {
        StepError::Candle(error)
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StepError::PowerFailure => f.write_str("the power failed"),
            StepError::Candle(error) => error.fmt(f),
        }
    }
}

impl Error for StepError {}
