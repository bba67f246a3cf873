//! A multilayer perceptron with one hidden layer, and its gradients, in plain arrays.
//!
//! ```text
//!     x[IN] -> fc1 -> ReLU -> hidden[HIDDEN] -> fc2 -> logits[OUT] -> softmax -> cross-entropy
//! ```
//!
//! Every number is an `f32`, and every result is the same bit for bit on every target, with
//! hardware floats or without:
//!
//! * only `+ - * /` and comparisons, each written once and so in one order;
//!   Rust neither reorders nor fuses them;
//! * `exp`, `ln` and `sqrt` from `libm`, which is made of the same operations;
//! * never `f32::mul_add`, never a vendor's maths library.
//!
//! (Only the sign and payload of a NaN may differ.)
//!
//! It never allocates, never panics, and never hides a NaN: ReLU lets one pass, as PyTorch's does.
//! It knows nothing of images, batches or checkpoints: it lends its tensors as named slices.
//!
//! ```
//! use digits_workload::mlp::Mlp;
//! use digits_workload::random::Pcg32;
//!
//! let mut net = Mlp::<2, 8, 2>::new();
//! net.parameters.init(&mut Pcg32::new(1));
//! let before = net.parameters.loss(&[1.0, -1.0], 0);
//! net.accumulate(&[1.0, -1.0], 0);
//! // One step against the gradient.
//! let weights = net.parameters.slices_mut().into_iter();
//! for (weights, gradients) in weights.zip(net.gradients.slices()) {
//!     for (weight, gradient) in weights.iter_mut().zip(gradients) {
//!         *weight -= 0.1 * gradient;
//!     }
//! }
//! assert!(net.parameters.loss(&[1.0, -1.0], 0) < before);
//! ```

use crate::random::Pcg32;
use core::array;

/// One number for each weight of a network: the weights themselves, their gradients, or an
/// optimizer's velocities.
///
/// The layout is that of PyTorch's `nn.Linear`: a weight is a matrix `[outputs, inputs]`, row
/// after row, so that a state dict moves to Python and back without transposing.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameters<const IN: usize, const HIDDEN: usize, const OUT: usize> {
    /// `fc1.weight`: one row of `IN` for each hidden unit.
    pub w1: [[f32; IN]; HIDDEN],
    /// `fc1.bias`.
    pub b1: [f32; HIDDEN],
    /// `fc2.weight`: one row of `HIDDEN` for each class.
    pub w2: [[f32; HIDDEN]; OUT],
    /// `fc2.bias`.
    pub b2: [f32; OUT],
}

impl<const IN: usize, const HIDDEN: usize, const OUT: usize> Parameters<IN, HIDDEN, OUT> {
    /// Number of weights.
    pub const COUNT: usize = IN * HIDDEN + HIDDEN + HIDDEN * OUT + OUT;

    /// The tensors' names, in the order of [`Parameters::slices`]: those of a PyTorch module
    /// with the layers `fc1` and `fc2`.
    pub const NAMES: [&'static str; 4] = ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"];

    /// The tensors' shapes, in the same order.
    pub const SHAPES: [&'static [u32]; 4] =
        [&[HIDDEN as u32, IN as u32], &[HIDDEN as u32], &[OUT as u32, HIDDEN as u32], &[OUT as u32]];

    /// All zeros: as part of a `static` it lies in `.bss` and takes no flash.
    pub const ZERO: Self =
        Self { w1: [[0.0; IN]; HIDDEN], b1: [0.0; HIDDEN], w2: [[0.0; HIDDEN]; OUT], b2: [0.0; OUT] };

    /// The tensors, flat.
    pub fn slices(&self) -> [&[f32]; 4] {
        [self.w1.as_flattened(), &self.b1, self.w2.as_flattened(), &self.b2]
    }

    /// The tensors, flat, to be written.
    pub fn slices_mut(&mut self) -> [&mut [f32]; 4] {
        [self.w1.as_flattened_mut(), &mut self.b1, self.w2.as_flattened_mut(), &mut self.b2]
    }

    /// Sets every number to `value`, in place.
    pub fn fill(&mut self, value: f32) {
        for slice in self.slices_mut() {
            slice.fill(value);
        }
    }

    /// Draws the first weights: uniform in ±√(6 / inputs) (K. He et al., "Delving Deep into
    /// Rectifiers", 2015), biases 0.
    pub fn init(&mut self, random: &mut Pcg32) {
        let bound = libm::sqrtf(6.0 / IN as f32);
        for weight in self.w1.as_flattened_mut() {
            *weight = random.symmetric(bound);
        }
        let bound = libm::sqrtf(6.0 / HIDDEN as f32);
        for weight in self.w2.as_flattened_mut() {
            *weight = random.symmetric(bound);
        }
        self.b1.fill(0.0);
        self.b2.fill(0.0);
    }

    /// Runs the network: the hidden layer after ReLU, and the logits.
    pub fn forward(&self, x: &[f32; IN]) -> ([f32; HIDDEN], [f32; OUT]) {
        let mut hidden = [0.0; HIDDEN];
        for ((unit, row), bias) in hidden.iter_mut().zip(&self.w1).zip(&self.b1) {
            *unit = relu(affine(row, x, *bias));
        }
        let mut logits = [0.0; OUT];
        for ((logit, row), bias) in logits.iter_mut().zip(&self.w2).zip(&self.b2) {
            *logit = affine(row, &hidden, *bias);
        }
        (hidden, logits)
    }

    /// The cross-entropy, in nats, of the network's answer to `x` when `label` is right.
    ///
    /// NaN for a label that is not a class, as for weights that are not finite: a guard that
    /// watches the loss sees both.
    pub fn loss(&self, x: &[f32; IN], label: u8) -> f32 {
        let (_, logits) = self.forward(x);
        softmax(&logits, label).1
    }

    /// The class with the largest logit, the first of equals. A NaN logit is never the largest.
    pub fn predict(&self, x: &[f32; IN]) -> u8 {
        argmax(&self.forward(x).1)
    }

    /// [`Parameters::loss`] and [`Parameters::predict`] from one run of the network.
    pub fn loss_and_prediction(&self, x: &[f32; IN], label: u8) -> (f32, u8) {
        let (_, logits) = self.forward(x);
        (softmax(&logits, label).1, argmax(&logits))
    }
}

/// The network as it is trained: its weights, and the gradients of the current batch.
///
/// The gradients are scratch space. They are not part of a checkpoint, because a batch begins
/// with [`Mlp::zero_gradients`].
#[derive(Debug, Clone, PartialEq)]
pub struct Mlp<const IN: usize, const HIDDEN: usize, const OUT: usize> {
    /// The weights.
    pub parameters: Parameters<IN, HIDDEN, OUT>,
    /// The sum of the gradients since [`Mlp::zero_gradients`].
    pub gradients: Parameters<IN, HIDDEN, OUT>,
}

impl<const IN: usize, const HIDDEN: usize, const OUT: usize> Default for Mlp<IN, HIDDEN, OUT> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const IN: usize, const HIDDEN: usize, const OUT: usize> Mlp<IN, HIDDEN, OUT> {
    /// All zeros; [`Parameters::init`] draws the first weights.
    pub const fn new() -> Self {
        Self { parameters: Parameters::ZERO, gradients: Parameters::ZERO }
    }

    /// Begins a batch.
    pub fn zero_gradients(&mut self) {
        self.gradients.fill(0.0);
    }

    /// Adds one example's gradient of the cross-entropy to the sum; returns its loss, which is
    /// that of the weights as they are (see [`Parameters::loss`]).
    pub fn accumulate(&mut self, x: &[f32; IN], label: u8) -> f32 {
        let Self { parameters, gradients } = self;
        let (hidden, logits) = parameters.forward(x);
        // By the logits: the probabilities, less one for the right class.
        let (by_logits, loss) = softmax(&logits, label);

        let mut by_hidden = [0.0; HIDDEN];
        for (((slope, row), row_gradient), bias_gradient) in
            by_logits.iter().zip(&parameters.w2).zip(&mut gradients.w2).zip(&mut gradients.b2)
        {
            *bias_gradient += slope;
            add_scaled(row_gradient, &hidden, *slope);
            add_scaled(&mut by_hidden, row, *slope);
        }

        for (((slope, unit), row_gradient), bias_gradient) in
            by_hidden.iter().zip(&hidden).zip(&mut gradients.w1).zip(&mut gradients.b1)
        {
            // ReLU lets no gradient through where it is 0. A NaN goes on.
            if *unit <= 0.0 {
                continue;
            }
            *bias_gradient += slope;
            add_scaled(row_gradient, x, *slope);
        }
        loss
    }
}

/// `bias + row · x`, from left to right.
fn affine<const N: usize>(row: &[f32; N], x: &[f32; N], bias: f32) -> f32 {
    row.iter().zip(x).fold(bias, |sum, (weight, value)| sum + weight * value)
}

/// `into += scale * from`.
fn add_scaled<const N: usize>(into: &mut [f32; N], from: &[f32; N], scale: f32) {
    for (sum, value) in into.iter_mut().zip(from) {
        *sum += scale * value;
    }
}

/// The positive part. Written so that a NaN stays one: `f32::max` would turn it into 0.
fn relu(value: f32) -> f32 {
    if value < 0.0 { 0.0 } else { value }
}

/// The gradient of the cross-entropy by the logits, and the cross-entropy.
///
/// The largest logit is taken off first, so that no `exp` overflows. An infinite or NaN logit
/// makes the loss NaN.
fn softmax<const OUT: usize>(logits: &[f32; OUT], label: u8) -> ([f32; OUT], f32) {
    let largest =
        logits.iter().fold(f32::NEG_INFINITY, |largest, logit| if *logit > largest { *logit } else { largest });
    let mut exps = logits.map(|logit| libm::expf(logit - largest));
    let sum = exps.iter().fold(0.0, |sum, exp| sum + exp);
    for exp in &mut exps {
        *exp /= sum;
    }
    let right = usize::from(label);
    match (exps.get_mut(right), logits.get(right)) {
        (Some(probability), Some(logit)) => {
            *probability -= 1.0;
            (exps, libm::logf(sum) - (logit - largest))
        }
        _ => ([f32::NAN; OUT], f32::NAN),
    }
}

/// The place of the largest logit, the first of equals; a NaN is never the largest.
fn argmax<const OUT: usize>(logits: &[f32; OUT]) -> u8 {
    let places: [u8; OUT] = array::from_fn(|place| place as u8);
    let first = (0, f32::NEG_INFINITY);
    let (place, _) = places.iter().zip(logits).fold(
        first,
        |best, (place, logit)| {
            if *logit > best.1 { (*place, *logit) } else { best }
        },
    );
    place
}
