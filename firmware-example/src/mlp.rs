//! A multilayer perceptron with one hidden layer, and its gradients, in plain arrays.
//!
//! ```text
//!     x[IN] -> fc1 -> ReLU -> hidden[HIDDEN] -> fc2 -> logits[OUT] -> softmax -> cross-entropy
//! ```
//!
//! All numbers are `f32`. Every result is equal bit for bit on every target, with or without a floating-point unit:
//!
//! * The code uses only `+ - * /` and comparisons in a fixed order. Rust neither reorders nor fuses these operations.
//! * `exp`, `ln` and `sqrt` come from `libm`, which uses the same operations.
//! * The code never uses `f32::mul_add` or a vendor's math library.
//!
//! Only the sign and the payload of a NaN may differ between targets.
//!
//! The module never allocates and never panics. A NaN is never hidden: ReLU passes a NaN through, as in PyTorch. The
//! network does not depend on images or batches. `#[derive(StateDict)]` lists its weights for a checkpoint, under the
//! names of a PyTorch module with the layers `fc1` and `fc2`.
//!
//! ```
//! use digits_workload::mlp::Mlp;
//! use digits_workload::random::Pcg32;
//!
//! let mut net = Mlp::<2, 8, 2>::new();
//! net.parameters.init(&mut Pcg32::new(1));
//! let before = net.parameters.loss(&[1.0, -1.0], 0);
//! net.accumulate(&[1.0, -1.0], 0);
//! // One gradient descent step lowers the loss.
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
use training_monitor::StateDict;

/// One number per weight of a network. The same type stores the weights, their gradients and the velocities of the
/// optimizer.
///
/// The layout is that of PyTorch's `nn.Linear`: a weight is a row-major matrix `[outputs, inputs]`. A state dict can be
/// exported to Python and imported again without transposing.
#[derive(Debug, Clone, PartialEq, StateDict)]
pub struct Parameters<const IN: usize, const HIDDEN: usize, const OUT: usize> {
    /// `fc1.weight`: one row of `IN` elements per hidden unit.
    #[state_dict(rename = "fc1.weight")]
    pub w1: [[f32; IN]; HIDDEN],
    /// `fc1.bias`: one element per hidden unit.
    #[state_dict(rename = "fc1.bias")]
    pub b1: [f32; HIDDEN],
    /// `fc2.weight`: one row of `HIDDEN` elements per class.
    #[state_dict(rename = "fc2.weight")]
    pub w2: [[f32; HIDDEN]; OUT],
    /// `fc2.bias`: one element per class.
    #[state_dict(rename = "fc2.bias")]
    pub b2: [f32; OUT],
}

impl<const IN: usize, const HIDDEN: usize, const OUT: usize> Parameters<IN, HIDDEN, OUT> {
    /// Number of weights and biases.
    pub const COUNT: usize = IN * HIDDEN + HIDDEN + HIDDEN * OUT + OUT;

    /// All elements are 0. A `static` with this value is placed in `.bss` and occupies no flash.
    pub const ZERO: Self =
        Self { w1: [[0.0; IN]; HIDDEN], b1: [0.0; HIDDEN], w2: [[0.0; HIDDEN]; OUT], b2: [0.0; OUT] };

    /// Returns the weights and biases of both layers as flat slices, in the order `fc1`, `fc2`.
    pub fn slices(&self) -> [&[f32]; 4] {
        [self.w1.as_flattened(), &self.b1, self.w2.as_flattened(), &self.b2]
    }

    /// Returns the weights and biases of both layers as flat mutable slices, in the order `fc1`, `fc2`.
    pub fn slices_mut(&mut self) -> [&mut [f32]; 4] {
        [self.w1.as_flattened_mut(), &mut self.b1, self.w2.as_flattened_mut(), &mut self.b2]
    }

    /// Sets every element to `value`, in place.
    pub fn fill(&mut self, value: f32) {
        for slice in self.slices_mut() {
            slice.fill(value);
        }
    }

    /// Draws the initial weights from a uniform distribution over ±√(6 / inputs) (K. He et al., "Delving Deep into
    /// Rectifiers", 2015) and sets the biases to 0.
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

    /// Evaluates the network for the input `x`. Returns the hidden layer after ReLU, and the logits.
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

    /// The cross-entropy in nats of the network's output for `x`, where `label` is the correct class.
    ///
    /// Returns NaN if `label` is not a class or if the weights are not finite, so a check of the loss detects both.
    pub fn loss(&self, x: &[f32; IN], label: u8) -> f32 {
        let (_, logits) = self.forward(x);
        softmax(&logits, label).1
    }

    /// The class with the largest logit. Of several equal logits the first wins. A NaN logit is never the largest.
    pub fn predict(&self, x: &[f32; IN]) -> u8 {
        argmax(&self.forward(x).1)
    }

    /// The results of [`Parameters::loss`] and [`Parameters::predict`] from one forward pass.
    pub fn loss_and_prediction(&self, x: &[f32; IN], label: u8) -> (f32, u8) {
        let (_, logits) = self.forward(x);
        (softmax(&logits, label).1, argmax(&logits))
    }
}

/// The network during training: its weights, and the gradients of the current batch.
///
/// The gradients are scratch memory. They are not part of a checkpoint, because every batch starts with
/// [`Mlp::zero_gradients`].
#[derive(Debug, Clone, PartialEq, StateDict)]
pub struct Mlp<const IN: usize, const HIDDEN: usize, const OUT: usize> {
    /// The weights and biases.
    #[state_dict(flatten)]
    pub parameters: Parameters<IN, HIDDEN, OUT>,
    /// The sum of all gradients since the last call of [`Mlp::zero_gradients`].
    #[state_dict(skip)]
    pub gradients: Parameters<IN, HIDDEN, OUT>,
}

impl<const IN: usize, const HIDDEN: usize, const OUT: usize> Default for Mlp<IN, HIDDEN, OUT> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const IN: usize, const HIDDEN: usize, const OUT: usize> Mlp<IN, HIDDEN, OUT> {
    /// A network whose weights and gradients are 0. [`Parameters::init`] draws the initial weights.
    pub const fn new() -> Self {
        Self { parameters: Parameters::ZERO, gradients: Parameters::ZERO }
    }

    /// Sets all gradients to 0, at the start of a batch.
    pub fn zero_gradients(&mut self) {
        self.gradients.fill(0.0);
    }

    /// Adds the gradient of the cross-entropy for one example to the sum. Returns the loss of the example for the
    /// current weights, as [`Parameters::loss`] does.
    pub fn accumulate(&mut self, x: &[f32; IN], label: u8) -> f32 {
        let Self { parameters, gradients } = self;
        let (hidden, logits) = parameters.forward(x);
        let (logit_gradients, loss) = softmax(&logits, label);

        let mut hidden_gradients = [0.0; HIDDEN];
        for (((slope, row), row_gradient), bias_gradient) in
            logit_gradients.iter().zip(&parameters.w2).zip(&mut gradients.w2).zip(&mut gradients.b2)
        {
            *bias_gradient += slope;
            add_scaled(row_gradient, &hidden, *slope);
            add_scaled(&mut hidden_gradients, row, *slope);
        }

        for (((slope, unit), row_gradient), bias_gradient) in
            hidden_gradients.iter().zip(&hidden).zip(&mut gradients.w1).zip(&mut gradients.b1)
        {
            // The gradient of ReLU is 0 for inputs below 0. A NaN fails this comparison, so its gradient is added.
            if *unit <= 0.0 {
                continue;
            }
            *bias_gradient += slope;
            add_scaled(row_gradient, x, *slope);
        }
        loss
    }
}

/// Computes `bias + row · x`: the input of one unit. The products are added from left to right.
fn affine<const N: usize>(row: &[f32; N], x: &[f32; N], bias: f32) -> f32 {
    row.iter().zip(x).fold(bias, |sum, (weight, value)| sum + weight * value)
}

/// Adds `scale * values` to `sums`, element by element.
pub(crate) fn add_scaled<const N: usize>(sums: &mut [f32; N], values: &[f32; N], scale: f32) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += scale * value;
    }
}

/// ReLU. A NaN input gives a NaN output, because the comparison is false. `f32::max` would turn a NaN into 0.
fn relu(value: f32) -> f32 {
    if value < 0.0 { 0.0 } else { value }
}

/// Returns the gradient of the cross-entropy with respect to the logits, and the cross-entropy. The gradient is the
/// vector of class probabilities, with 1 subtracted from the probability of the correct class.
///
/// The function subtracts the largest logit from all logits, so that no `exp` overflows. An infinite or NaN logit makes
/// the loss NaN.
pub(crate) fn softmax<const OUT: usize>(logits: &[f32; OUT], label: u8) -> ([f32; OUT], f32) {
    let largest =
        logits.iter().fold(f32::NEG_INFINITY, |largest, logit| if *logit > largest { *logit } else { largest });
    let mut exps = logits.map(|logit| libm::expf(logit - largest));
    let sum = exps.iter().fold(0.0, |sum, exp| sum + exp);
    for exp in &mut exps {
        *exp /= sum;
    }
    let label = usize::from(label);
    match (exps.get_mut(label), logits.get(label)) {
        (Some(probability), Some(logit)) => {
            *probability -= 1.0;
            (exps, libm::logf(sum) - (logit - largest))
        }
        _ => ([f32::NAN; OUT], f32::NAN),
    }
}

/// The index of the largest logit. Of several equal logits the first wins. A NaN is never the largest.
pub(crate) fn argmax<const OUT: usize>(logits: &[f32; OUT]) -> u8 {
    let indices: [u8; OUT] = array::from_fn(|index| index as u8);
    let first = (0, f32::NEG_INFINITY);
    let (index, _) = indices.iter().zip(logits).fold(
        first,
        |best, (index, logit)| {
            if *logit > best.1 { (*index, *logit) } else { best }
        },
    );
    index
}
