//! What the device trains: a model with the size of the digits network and a cheap step.
//!
//! The weights depend on every iteration in its order. A lost, repeated or exchanged iteration therefore changes the
//! final bits.

use super::time::{MILLISECOND, Nanos};
use training_monitor::{Objects, State, StateDict};

/// A model that the simulation can train.
pub trait Workload: Objects {
    /// The time of an iteration.
    const ITERATION: Nanos;
    /// The number of iterations in an epoch.
    const EPOCH: u32;
    /// The maximum number of epochs.
    const EPOCHS: u32;

    /// Creates the model with its initial weights.
    fn initial(seed: u32) -> Self;

    /// Performs the iteration of `state`. Can terminate the run.
    fn step(&mut self, state: &mut State<()>);
}

/// The number of weights. With the hash, the model has the 2410 · 4 bytes of the network 64-32-10.
const WEIGHTS: usize = 2408;

/// A model of 9640 bytes. Each iteration changes its hash and one weight.
#[derive(Clone, PartialEq, Debug, Objects)]
pub struct Network {
    /// The tensors of the model.
    pub model: Tensors,
}

/// The tensors of a [`Network`].
#[derive(Clone, PartialEq, Debug, StateDict)]
pub struct Tensors {
    weights: [f32; WEIGHTS],
    hash: u64,
}

impl Network {
    /// Performs an iteration.
    pub fn iterate(&mut self, iteration: u32) {
        let mut hash = (self.model.hash ^ u64::from(iteration)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        hash ^= hash >> 29;
        self.model.hash = hash;
        // A number in the range 1 ≤ x < 2.
        self.model.weights[iteration as usize % WEIGHTS] = f32::from_bits(0x3F80_0000 | (hash >> 41) as u32);
    }

    /// Returns the model after a number of undisturbed iterations.
    #[must_use]
    pub fn after(seed: u32, iterations: u32) -> Self {
        let mut network = Network::initial(seed);
        (1..=iterations).for_each(|iteration| network.iterate(iteration));
        network
    }
}

impl Workload for Network {
    const ITERATION: Nanos = 100 * MILLISECOND;
    const EPOCH: u32 = u32::MAX;
    const EPOCHS: u32 = 1;

    fn initial(seed: u32) -> Self {
        Network { model: Tensors { weights: [1.0; WEIGHTS], hash: u64::from(seed) } }
    }

    fn step(&mut self, state: &mut State<()>) {
        self.iterate(state.iteration());
    }
}
