//! The tiny model of the simulated programs. Its updates use whole numbers, so that each repeated, missing or reordered
//! iteration changes the result.

use super::medium::Sum;
use training_monitor::State;
use training_monitor::checkpoint::{Loader, ObjectVisitor, Objects, StateDict, TensorView, TensorVisitor};

/// A model with one to three tensors, and a counter that is saved as a whole.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Net {
    weights: Weights,
    steps: u32,
    /// A term of each step. No checkpoint contains it, because the handler that sets it restores it.
    rate: f32,
}

#[derive(Clone, Copy, PartialEq, Debug)]
struct Weights {
    /// The number of the model, see [`Program::model`](super::program::Program::model).
    kind: u8,
    first: [f32; 4],
    second: [f32; 2],
    /// The average of the first tensor.
    average: [f32; 4],
}

impl Net {
    /// Creates the untrained model `kind`.
    pub fn new(kind: u8) -> Self {
        Net {
            weights: Weights { kind, first: [1.0, 2.0, 3.0, 4.0], second: [5.0, 6.0], average: [0.0; 4] },
            steps: 0,
            rate: 0.0,
        }
    }

    /// Performs one training step and returns its output. The step depends on the position in the epoch.
    pub fn step(&mut self, state: &State<f32>) -> f32 {
        let Weights { first, second, .. } = &mut self.weights;
        let batch = (state.offset() + 7 * state.epoch()) as f32;
        for (index, weight) in first.iter_mut().chain(second).enumerate() {
            *weight = (*weight * 3.0 + batch + index as f32 + self.rate) % 8191.0;
        }
        self.steps += 1;
        first[0]
    }

    /// Sets the rate, for a handler that reduces it.
    pub fn set_rate(&mut self, rate: f32) {
        self.rate = rate;
    }

    /// Changes the weights after a roll-back.
    pub fn change(&mut self) {
        self.weights.first.iter_mut().for_each(|weight| *weight += 1.0);
    }

    /// Passes the average and its weights to `pair`.
    pub fn average(&mut self, pair: &mut dyn FnMut(&mut [f32], &mut [f32])) {
        pair(&mut self.weights.average, &mut self.weights.first);
    }

    /// Returns the first weight, for a NaN guard.
    pub fn first(&self) -> &f32 {
        &self.weights.first[0]
    }

    /// Loads the model from the streams of a checkpoint, which have these lengths. Returns `None` if they do not fit.
    pub fn decode(kind: u8, bytes: &[u8], lens: &[usize]) -> Option<Self> {
        let mut net = Net::new(kind);
        let mut scratch = [0; 64];
        let mut loader = Loader::new(&mut net, &mut scratch);
        for is_loading in [false, true] {
            let mut rest = bytes;
            for len in lens {
                let (mut stream, tail) = rest.split_at_checked(*len)?;
                match is_loading {
                    false => loader.verify::<Sum, _>(&mut stream, None).ok()?,
                    true => loader.load::<Sum, _>(&mut stream).ok()?,
                };
                rest = tail;
            }
            if !is_loading {
                loader.check_complete::<()>().ok()?;
            }
        }
        Some(net)
    }

    /// Returns whether both models have the same saved content. The unused elements of a tensor are not saved.
    pub fn same(&self, other: &Net) -> bool {
        self.saved() == other.saved()
    }

    fn saved(&self) -> (u8, Vec<u32>, u32) {
        let Weights { kind, first, second, average } = &self.weights;
        let [a, b, c] = lengths(*kind);
        let all = first[..a].iter().chain(&second[..b]).chain(&average[..c]);
        (*kind, all.map(|weight| weight.to_bits()).collect(), self.steps)
    }
}

/// Returns the lengths of the tensors of the model `kind`.
fn lengths(kind: u8) -> [usize; 3] {
    match kind {
        1 => [4, 2, 0],
        3 => [3, 0, 0],
        4 => [3, 2, 3],
        _ => [3, 2, 0],
    }
}

impl StateDict for Weights {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        let [first, second, average] = lengths(self.kind);
        let name = if self.kind == 2 { "v" } else { "w" };
        visitor.visit_tensor(name, TensorView::new(&[first as u32], &mut self.first[..first]))?;
        if second > 0 {
            visitor.visit_tensor("b", TensorView::new(&[second as u32], &mut self.second[..second]))?;
        }
        if average > 0 {
            visitor.visit_tensor("average", TensorView::new(&[average as u32], &mut self.average[..average]))?;
        }
        Ok(())
    }
}

impl Objects for Net {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.state_dict("model", &mut self.weights)?;
        visitor.value("steps", &mut self.steps)
    }
}
