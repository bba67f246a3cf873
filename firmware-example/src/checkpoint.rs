//! The contents of a checkpoint of a [`Trainee`]: everything that determines the next training step.
//!
//! | object | kind | contents |
//! | --- | --- | --- |
//! | `model` | state dict | the weights, under the names of a PyTorch module with the layers `fc1` and `fc2` |
//! | `optimizer` | state dict | the velocities, the current learning rate, momentum and decay |
//! | `seed` | value | the seed from which the image order of every epoch is computed |
//!
//! The gradients are not saved, because each training step recomputes them. This module only gives the encoder and
//! the decoder access to the tensors. It performs no input or output.

use crate::mlp::{Mlp, Parameters};
use crate::train::{Sgd, Trainee};
use training_monitor::checkpoint::{Objects, StateDict, Visit, VisitMut, VisitTensors, VisitTensorsMut};

impl<const IN: usize, const HIDDEN: usize, const OUT: usize> StateDict for Mlp<IN, HIDDEN, OUT> {
    fn tensors<V: VisitTensors>(&self, visitor: &mut V) -> Result<(), V::Error> {
        let names = Parameters::<IN, HIDDEN, OUT>::NAMES;
        visit_tensors(visitor, &names, &Parameters::<IN, HIDDEN, OUT>::SHAPES, &self.parameters.slices())
    }
    fn tensors_mut<V: VisitTensorsMut>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visit_tensors_mut(visitor, &Parameters::<IN, HIDDEN, OUT>::NAMES, self.parameters.slices_mut())
    }
}

impl<const IN: usize, const HIDDEN: usize, const OUT: usize> StateDict for Sgd<IN, HIDDEN, OUT> {
    fn tensors<V: VisitTensors>(&self, visitor: &mut V) -> Result<(), V::Error> {
        visit_tensors(visitor, &Self::NAMES, &Self::SHAPES, &self.slices())
    }
    fn tensors_mut<V: VisitTensorsMut>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visit_tensors_mut(visitor, &Self::NAMES, self.slices_mut())
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

fn visit_tensors<V: VisitTensors>(
    visitor: &mut V,
    names: &[&str],
    shapes: &[&[u32]],
    slices: &[&[f32]],
) -> Result<(), V::Error> {
    let mut tensors = names.iter().zip(shapes).zip(slices);
    tensors.try_for_each(|((name, shape), elements)| visitor.tensor(name, shape, elements))
}

fn visit_tensors_mut<'a, V: VisitTensorsMut>(
    visitor: &mut V,
    names: &[&str],
    slices: impl IntoIterator<Item = &'a mut [f32]>,
) -> Result<(), V::Error> {
    names.iter().zip(slices).try_for_each(|(name, elements)| visitor.tensor(name, elements))
}
