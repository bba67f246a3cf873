//! The object that the checks save: one tensor. All saves of a test case have the same length, because checkpoints of
//! different shapes belong to different series.

use training_monitor::checkpoint::{ObjectVisitor, Objects};

/// The elements of the tensor.
#[derive(Clone, PartialEq, Debug)]
pub struct Payload(pub Vec<f32>);

impl Objects for Payload {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.state_dict("m", self.0.as_mut_slice())
    }
}
