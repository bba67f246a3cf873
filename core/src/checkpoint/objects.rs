//! What goes into a checkpoint: named objects, each either named f32 tensors or a whole `serde` value.
//!
//! [`Objects`] is Ignite's `to_save` and `to_load`, the dictionary of what a checkpoint holds. [`StateDict`] is an object
//! with `state_dict` and `load_state_dict`: it lends its tensors as slices, so they are written from where they are
//! and loaded to where they belong, without a copy. Whatever is not tensors (a random generator, a schedule) is
//! saved as a whole, with postcard: Ignite's `save_as_state_dict=False`.
//!
//! Both traits are visitors, written once for saving and once for loading; the order need not be the same.
//!
//! ```
//! use training_monitor::checkpoint::{Objects, StateDict, Visit, VisitMut, VisitTensors, VisitTensorsMut};
//!
//! struct Dense { weight: [[f32; 4]; 3], bias: [f32; 3] }
//!
//! impl StateDict for Dense {
//!     fn tensors<V: VisitTensors>(&self, v: &mut V) -> Result<(), V::Error> {
//!         v.tensor("weight", &[3, 4], self.weight.as_flattened())?;
//!         v.tensor("bias", &[3], &self.bias)
//!     }
//!     fn tensors_mut<V: VisitTensorsMut>(&mut self, v: &mut V) -> Result<(), V::Error> {
//!         v.tensor("weight", self.weight.as_flattened_mut())?;
//!         v.tensor("bias", &mut self.bias)
//!     }
//! }
//!
//! struct Training { model: Dense, rng: u64 }
//!
//! impl Objects for Training {
//!     fn objects<V: Visit>(&self, v: &mut V) -> Result<(), V::Error> {
//!         v.state_dict("model", &self.model)?;
//!         v.value("rng", &self.rng)
//!     }
//!     fn objects_mut<V: VisitMut>(&mut self, v: &mut V) -> Result<(), V::Error> {
//!         v.state_dict("model", &mut self.model)?;
//!         v.value("rng", &mut self.rng)
//!     }
//! }
//! ```

use serde::{Serialize, de::DeserializeOwned};

/// Bytes that the name of an object or a tensor may have.
pub const MAX_NAME: usize = 32;

/// Dimensions that a tensor may have.
pub const MAX_RANK: usize = 6;

/// Tensors and values that a checkpoint may have, all objects together.
pub const MAX_ITEMS: usize = 256;

/// Named f32 tensors.
pub trait StateDict {
    /// Shows each tensor: name, shape (row-major; the product of its dimensions is the slice's length), elements.
    ///
    /// # Errors
    /// The visitor's; to be passed on.
    fn tensors<V: VisitTensors>(&self, visitor: &mut V) -> Result<(), V::Error>;

    /// Lends each tensor to be loaded into: name, elements.
    ///
    /// # Errors
    /// The visitor's; to be passed on.
    fn tensors_mut<V: VisitTensorsMut>(&mut self, visitor: &mut V) -> Result<(), V::Error>;
}

/// The named objects of a checkpoint.
pub trait Objects {
    /// Shows each object.
    ///
    /// # Errors
    /// The visitor's; to be passed on.
    fn objects<V: Visit>(&self, visitor: &mut V) -> Result<(), V::Error>;

    /// Lends each object to be loaded into.
    ///
    /// # Errors
    /// The visitor's; to be passed on.
    fn objects_mut<V: VisitMut>(&mut self, visitor: &mut V) -> Result<(), V::Error>;
}

/// Sees the tensors of an object.
pub trait VisitTensors {
    /// What may go wrong.
    type Error;
    /// One tensor.
    ///
    /// # Errors
    /// The visitor's.
    fn tensor(&mut self, name: &str, shape: &[u32], elements: &[f32]) -> Result<(), Self::Error>;
}

/// Is lent the tensors of an object.
pub trait VisitTensorsMut {
    /// What may go wrong.
    type Error;
    /// One tensor.
    ///
    /// # Errors
    /// The visitor's.
    fn tensor(&mut self, name: &str, elements: &mut [f32]) -> Result<(), Self::Error>;
}

/// Sees the objects of a checkpoint.
pub trait Visit {
    /// What may go wrong.
    type Error;
    /// An object of tensors.
    ///
    /// # Errors
    /// The visitor's.
    fn state_dict<D: StateDict + ?Sized>(&mut self, name: &str, object: &D) -> Result<(), Self::Error>;
    /// An object that is saved as a whole.
    ///
    /// # Errors
    /// The visitor's.
    fn value<S: Serialize + ?Sized>(&mut self, name: &str, object: &S) -> Result<(), Self::Error>;
}

/// Is lent the objects of a checkpoint.
pub trait VisitMut {
    /// What may go wrong.
    type Error;
    /// An object of tensors.
    ///
    /// # Errors
    /// The visitor's.
    fn state_dict<D: StateDict + ?Sized>(&mut self, name: &str, object: &mut D) -> Result<(), Self::Error>;
    /// An object that was saved as a whole. Its strings and byte arrays may have 64 bytes together; numbers, arrays
    /// and structures have no bound.
    ///
    /// # Errors
    /// The visitor's.
    fn value<S: DeserializeOwned>(&mut self, name: &str, object: &mut S) -> Result<(), Self::Error>;
}

/// One object of tensors under one name, for a checkpoint of nothing else: `One("model", &mut net)`.
#[derive(Clone, Copy, Debug)]
pub struct One<'a, D>(
    /// Its name.
    pub &'a str,
    /// The object, or a `&mut` reference to one.
    pub D,
);

impl<D: StateDict> Objects for One<'_, D> {
    fn objects<V: Visit>(&self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.state_dict(self.0, &self.1)
    }
    fn objects_mut<V: VisitMut>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.state_dict(self.0, &mut self.1)
    }
}

impl<D: StateDict + ?Sized> StateDict for &mut D {
    fn tensors<V: VisitTensors>(&self, visitor: &mut V) -> Result<(), V::Error> {
        (**self).tensors(visitor)
    }
    fn tensors_mut<V: VisitTensorsMut>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        (**self).tensors_mut(visitor)
    }
}

impl<T: Objects + ?Sized> Objects for &mut T {
    fn objects<V: Visit>(&self, visitor: &mut V) -> Result<(), V::Error> {
        (**self).objects(visitor)
    }
    fn objects_mut<V: VisitMut>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        (**self).objects_mut(visitor)
    }
}

/// A slice is one tensor named "data".
impl StateDict for [f32] {
    fn tensors<V: VisitTensors>(&self, visitor: &mut V) -> Result<(), V::Error> {
        let len = u32::try_from(self.len()).unwrap_or(u32::MAX);
        visitor.tensor("data", &[len], self)
    }
    fn tensors_mut<V: VisitTensorsMut>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.tensor("data", self)
    }
}

/// An array is one tensor named "data".
impl<const N: usize> StateDict for [f32; N] {
    fn tensors<V: VisitTensors>(&self, visitor: &mut V) -> Result<(), V::Error> {
        self.as_slice().tensors(visitor)
    }
    fn tensors_mut<V: VisitTensorsMut>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        self.as_mut_slice().tensors_mut(visitor)
    }
}
