//! The networks of the host simulation: one for each number of hidden units, with `f32` weights or 8-bit weights.
//!
//! The types of the library have the number of hidden units as a constant, because a board cannot allocate memory. A
//! study on a host varies this number, so the program contains several sizes and selects one at its start. The batch
//! size, the learning rate and the limit of the gradient norm are numbers.

use super::settings::Settings;
use crate::data::Split;
use crate::quantized::{QuantizedHyper, QuantizedTrainee};
use crate::random::Pcg32;
use crate::shard::Shard;
use crate::train::{Hyper, Metrics, Trainee, Training};
use training_monitor::checkpoint::ObjectVisitor;
use training_monitor::gradient::{GradientLimit, l2_norm};
use training_monitor::{ConfigError, Objects};

/// The values of a training step.
#[derive(Debug, Clone, Copy)]
struct StepValues {
    /// Mean loss of the batch before the update, or NaN if the step failed.
    loss: f32,
    /// The norm of the mean gradient before clipping. `None` if the network has 8-bit weights, whose gradient is not clipped.
    gradient_norm: Option<f32>,
}

/// The settings of a training step.
#[derive(Debug, Clone, Copy)]
struct StepSettings {
    /// The training images.
    shard: Shard,
    batch_size: u32,
    /// The limit of the gradient norm.
    limit: Option<GradientLimit>,
}

/// The operations of a network and its optimizer in a training run.
trait HostTraining {
    /// Prepares a new run.
    fn init(&mut self, settings: &Settings);
    fn set_learning_rate(&mut self, rate: f32);
    /// Executes one training step. `position` consists of the epoch and the offset of the batch in it.
    fn step(&mut self, position: (u32, u32), settings: &StepSettings) -> StepValues;
    fn learning_rate(&self) -> f32;
    fn evaluate(&self, split: Split) -> Metrics;
    fn checksum(&self) -> u64;
    /// Passes the numbers to `check` that must be finite after a step.
    fn scan(&self, check: &mut dyn FnMut(&[f32]));
}

/// The batch size of the library's types, which this program does not use.
const UNUSED: usize = 1;

impl<const HIDDEN: usize> HostTraining for Trainee<HIDDEN, UNUSED> {
    fn init(&mut self, settings: &Settings) {
        let Settings { learning_rate, momentum, .. } = *settings;
        // The schedule of the run changes the learning rate, so the optimizer does not.
        Trainee::init(self, settings.seed, Hyper { learning_rate, momentum, decay: 1.0 });
    }
    fn set_learning_rate(&mut self, rate: f32) {
        self.sgd.learning_rate = rate;
    }
    fn step(&mut self, (epoch, offset): (u32, u32), settings: &StepSettings) -> StepValues {
        let Self { net, sgd, seed } = self;
        net.zero_gradients();
        let (mut loss, mut examples) = (0.0, 0_u32);
        for image in settings.shard.batch(*seed, epoch, offset, settings.batch_size) {
            loss += net.accumulate(&image.scaled(), image.label());
            examples += 1;
        }
        // The limit applies to the mean gradient, so that it does not depend on the batch size.
        let examples = examples as f32;
        let scale = 1.0 / examples;
        net.gradients.slices_mut().into_iter().flatten().for_each(|gradient| *gradient *= scale);
        let gradient = |visit: &mut dyn FnMut(&mut [f32])| net.gradients.slices_mut().into_iter().for_each(visit);
        let norm = match settings.limit {
            Some(limit) => limit.clip_norm(gradient),
            None => l2_norm(gradient),
        };
        sgd.step(net, 1);
        StepValues { loss: loss / examples, gradient_norm: Some(norm) }
    }
    fn learning_rate(&self) -> f32 {
        self.sgd.learning_rate
    }
    fn evaluate(&self, split: Split) -> Metrics {
        Trainee::evaluate(self, split)
    }
    fn checksum(&self) -> u64 {
        Trainee::checksum(self)
    }
    fn scan(&self, check: &mut dyn FnMut(&[f32])) {
        Training::scan(self, check);
    }
}

impl<const HIDDEN: usize> HostTraining for QuantizedTrainee<HIDDEN, UNUSED> {
    fn init(&mut self, settings: &Settings) {
        let hyper = QuantizedHyper { learning_rate: settings.learning_rate, decay: 1.0, ..QuantizedHyper::DEFAULT };
        QuantizedTrainee::init(self, settings.seed, hyper);
    }
    fn set_learning_rate(&mut self, rate: f32) {
        self.sgd.learning_rate = rate;
    }
    fn step(&mut self, (epoch, offset): (u32, u32), settings: &StepSettings) -> StepValues {
        let Self { net, sgd, seed } = self;
        net.zero_gradients();
        let (mut loss, mut examples) = (0.0, 0_u32);
        for image in settings.shard.batch(*seed, epoch, offset, settings.batch_size) {
            loss += net.accumulate(&image.centered(), image.label());
            examples += 1;
        }
        let examples = examples as f32;
        let mut random = Pcg32::for_step(*seed, epoch, offset);
        let updated = net.update(sgd.learning_rate / examples, &mut random);
        StepValues { loss: if updated.is_ok() { loss / examples } else { f32::NAN }, gradient_norm: None }
    }
    fn learning_rate(&self) -> f32 {
        self.sgd.learning_rate
    }
    fn evaluate(&self, split: Split) -> Metrics {
        QuantizedTrainee::evaluate(self, split)
    }
    fn checksum(&self) -> u64 {
        QuantizedTrainee::checksum(self)
    }
    fn scan(&self, check: &mut dyn FnMut(&[f32])) {
        Training::scan(self, check);
    }
}

/// Defines the networks from their numbers of hidden units. `Objects` has a generic method, so a trait object cannot
/// implement it.
macro_rules! networks {
    ($($float:ident $quantized:ident $hidden:literal),+) => {
        /// The possible numbers of hidden units.
        pub const HIDDEN_SIZES: &[u32] = &[$($hidden),+];

        /// A network and its optimizer.
        enum Network {
            $($float(Box<Trainee<$hidden, UNUSED>>), $quantized(Box<QuantizedTrainee<$hidden, UNUSED>>),)+
        }

        impl Network {
            /// Returns `None` if `hidden` is not one of [`HIDDEN_SIZES`].
            fn new(hidden: u32, quantized: bool) -> Option<Self> {
                match (hidden, quantized) {
                    $(($hidden, false) => Some(Network::$float(Box::new(Trainee::new()))),
                    ($hidden, true) => Some(Network::$quantized(Box::new(QuantizedTrainee::new()))),)+
                    _ => None,
                }
            }
            fn get(&self) -> &dyn HostTraining {
                match self {
                    $(Network::$float(network) => &**network, Network::$quantized(network) => &**network,)+
                }
            }
            fn get_mut(&mut self) -> &mut dyn HostTraining {
                match self {
                    $(Network::$float(network) => &mut **network, Network::$quantized(network) => &mut **network,)+
                }
            }
        }

        /// The weights of a network, without the optimizer and the seed: the object `model` of a checkpoint.
        pub struct Model<'a>(&'a mut Network);

        impl Objects for Model<'_> {
            fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
                match self.0 {
                    $(Network::$float(network) => visitor.state_dict("model", &mut network.net),
                    Network::$quantized(network) => visitor.state_dict("model", &mut network.net),)+
                }
            }
        }

        impl Objects for Network {
            fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
                match self {
                    $(Network::$float(network) => network.objects(visitor),
                    Network::$quantized(network) => network.objects(visitor),)+
                }
            }
        }
    };
}

networks!(
    Float10 Quantized10 10, Float16 Quantized16 16, Float32 Quantized32 32, Float64 Quantized64 64,
    Float128 Quantized128 128
);

/// What a run trains: a network and its optimizer, with the settings of a training step. The checkpoints contain the
/// same objects as those of the boards.
pub struct Study {
    network: Network,
    step_settings: StepSettings,
    /// The norm of the gradient in the last step.
    gradient_norm: Option<f32>,
}

impl Study {
    /// Prepares a new run.
    ///
    /// # Errors
    /// Returns an error if `clip` is not valid.
    ///
    /// # Panics
    /// Panics if the number of hidden units is not one of [`HIDDEN_SIZES`].
    pub fn new(settings: &Settings) -> Result<Self, ConfigError> {
        let limit = settings.clip.map(GradientLimit::new).transpose()?;
        let network = Network::new(settings.hidden, settings.quantized);
        let mut network = network.expect("the command line and the checkpoint contain a valid number of hidden units");
        network.get_mut().init(settings);
        let step_settings =
            StepSettings { shard: settings.partition.unwrap_or(Shard::WHOLE), batch_size: settings.batch_size, limit };
        Ok(Study { network, step_settings, gradient_norm: None })
    }

    /// Number of training steps in one epoch.
    pub fn batches(&self) -> u32 {
        self.step_settings.shard.len().div_ceil(self.step_settings.batch_size)
    }

    /// Executes one training step. Returns the mean loss of the batch before the update, or NaN if the step failed.
    pub fn step(&mut self, epoch: u32, offset: u32) -> f32 {
        let StepValues { loss, gradient_norm } = self.network.get_mut().step((epoch, offset), &self.step_settings);
        self.gradient_norm = gradient_norm;
        loss
    }

    /// The norm of the gradient in the last step, before it was clipped. `None` before the first step, and for a network
    /// with 8-bit weights.
    pub fn gradient_norm(&self) -> Option<f32> {
        self.gradient_norm
    }

    /// Changes the learning rate of the next steps.
    pub fn set_learning_rate(&mut self, rate: f32) {
        self.network.get_mut().set_learning_rate(rate);
    }

    /// The learning rate of the next step.
    pub fn learning_rate(&self) -> f32 {
        self.network.get().learning_rate()
    }

    /// Computes loss and accuracy on one part of the data.
    pub fn evaluate(&self, split: Split) -> Metrics {
        self.network.get().evaluate(split)
    }

    /// The weights of the network.
    pub fn model(&mut self) -> Model<'_> {
        Model(&mut self.network)
    }

    /// A hash of the numbers in a checkpoint.
    pub fn checksum(&self) -> u64 {
        self.network.get().checksum()
    }

    /// Passes the numbers to `check` that must be finite after a step.
    pub fn scan(&self, check: &mut dyn FnMut(&[f32])) {
        self.network.get().scan(check);
    }
}

impl Objects for Study {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        self.network.objects(visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The step of this program has another form than that of the boards, because it clips the mean gradient.
    #[test]
    fn a_step_without_clipping_has_the_same_bits_as_a_step_of_the_boards() {
        let settings = Settings { clip: None, hidden: 10, batch_size: 16, ..Settings::defaults(false) };
        let mut study = Study::new(&settings).unwrap();
        let Settings { learning_rate, momentum, .. } = settings;
        let mut board = Trainee::<10, 16>::new();
        board.init(settings.seed, Hyper { learning_rate, momentum, decay: 1.0 });
        for offset in 0..study.batches() {
            assert_eq!(study.step(1, offset).to_bits(), board.step(1, offset).to_bits());
        }
        assert_eq!(study.checksum(), board.checksum());

        let settings = Settings { hidden: 10, batch_size: 16, ..Settings::defaults(true) };
        let mut study = Study::new(&settings).unwrap();
        let mut board = QuantizedTrainee::<10, 16>::new();
        board.init(settings.seed, QuantizedHyper { learning_rate, decay: 1.0, ..QuantizedHyper::DEFAULT });
        for offset in 0..study.batches() {
            assert_eq!(study.step(1, offset).to_bits(), board.step(1, offset).to_bits());
        }
        assert_eq!(study.checksum(), board.checksum());
    }

    #[test]
    fn clipping_limits_the_change_of_the_weights() {
        let change = |clip: Option<f32>| {
            let settings = Settings { clip, momentum: 0.0, ..Settings::defaults(false) };
            let mut network = Trainee::<16, UNUSED>::new();
            HostTraining::init(&mut network, &settings);
            let before = network.net.parameters.clone();
            let limit = clip.map(|norm| GradientLimit::new(norm).unwrap());
            let step_settings = StepSettings { shard: Shard::WHOLE, batch_size: settings.batch_size, limit };
            HostTraining::step(&mut network, (1, 0), &step_settings);
            let weights = network.net.parameters.slices().into_iter().flatten();
            let changes = weights.zip(before.slices().into_iter().flatten()).map(|(new, old)| f64::from(new - old));
            changes.map(|change| change * change).sum::<f64>().sqrt() / f64::from(settings.learning_rate)
        };
        assert!(change(None) > 0.5);
        assert!((change(Some(0.125)) - 0.125).abs() < 1e-4);
    }
}
