//! What of a [`Trainee`] a checkpoint holds: everything that makes the next step what it is, and nothing else.
//!
//! | object | kind | what |
//! | --- | --- | --- |
//! | `model` | state dict | the weights, under the names of a PyTorch module with the layers `fc1` and `fc2` |
//! | `optimizer` | state dict | the velocities, the learning rate as it is now, momentum and decay |
//! | `seed` | value | what the order of the images follows from |
//!
//! Gradients are made anew by each step and are not saved. Nothing here writes or reads; it only lends.

use crate::mlp::{Mlp, Parameters};
use crate::train::{Sgd, Trainee};
use training_monitor::checkpoint::{Objects, StateDict, Visit, VisitMut, VisitTensors, VisitTensorsMut};

impl<const IN: usize, const HIDDEN: usize, const OUT: usize> StateDict for Mlp<IN, HIDDEN, OUT> {
    fn tensors<V: VisitTensors>(&self, visitor: &mut V) -> Result<(), V::Error> {
        let names = Parameters::<IN, HIDDEN, OUT>::NAMES;
        show(visitor, &names, &Parameters::<IN, HIDDEN, OUT>::SHAPES, &self.parameters.slices())
    }
    fn tensors_mut<V: VisitTensorsMut>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        lend(visitor, &Parameters::<IN, HIDDEN, OUT>::NAMES, self.parameters.slices_mut())
    }
}

impl<const IN: usize, const HIDDEN: usize, const OUT: usize> StateDict for Sgd<IN, HIDDEN, OUT> {
    fn tensors<V: VisitTensors>(&self, visitor: &mut V) -> Result<(), V::Error> {
        show(visitor, &Self::NAMES, &Self::SHAPES, &self.slices())
    }
    fn tensors_mut<V: VisitTensorsMut>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        lend(visitor, &Self::NAMES, self.slices_mut())
    }
}

impl<const HIDDEN: usize, const BATCH: usize> Objects for Trainee<HIDDEN, BATCH> {
    fn objects<V: Visit>(&self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.state_dict("model", &self.net)?;
        visitor.state_dict("optimizer", &self.sgd)?;
        visitor.value("seed", &self.seed)
    }
    fn objects_mut<V: VisitMut>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.state_dict("model", &mut self.net)?;
        visitor.state_dict("optimizer", &mut self.sgd)?;
        visitor.value("seed", &mut self.seed)
    }
}

fn show<V: VisitTensors>(
    visitor: &mut V,
    names: &[&str],
    shapes: &[&[u32]],
    slices: &[&[f32]],
) -> Result<(), V::Error> {
    let mut all = names.iter().zip(shapes).zip(slices);
    all.try_for_each(|((name, shape), elements)| visitor.tensor(name, shape, elements))
}

fn lend<'a, V: VisitTensorsMut>(
    visitor: &mut V,
    names: &[&str],
    slices: impl IntoIterator<Item = &'a mut [f32]>,
) -> Result<(), V::Error> {
    names.iter().zip(slices).try_for_each(|(name, elements)| visitor.tensor(name, elements))
}
