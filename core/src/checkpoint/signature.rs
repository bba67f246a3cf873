//! The signature of a model: a hash of the names of its objects and of the names, element types and shapes of its
//! tensors. Two models with the same signature can load each other's checkpoints.
//!
//! ```
//! use training_monitor::checkpoint::{Named, model_signature};
//!
//! let signature = |shape: &mut [[f32; 3]; 2]| model_signature(&mut Named::new("model", shape));
//! assert_eq!(signature(&mut [[0.0; 3]; 2]), signature(&mut [[1.0; 3]; 2]));
//! assert_ne!(signature(&mut [[0.0; 3]; 2]), model_signature(&mut Named::new("model", [[0.0_f32; 2]; 3])));
//! ```

use super::element::ElementType;
use super::objects::{ObjectVisitor, Objects, StateDict, TensorChunks, TensorVisitor};
use super::tensor::{TensorUnavailable, TensorView};
use crate::hash::Hash;
use serde::{Serialize, de::DeserializeOwned};

/// Returns the signature of a model. FORMAT.md specifies the hashed bytes.
///
/// # Errors
/// Returns [`TensorUnavailable`] if the model cannot access a tensor.
pub fn model_signature<T: Objects + ?Sized>(objects: &mut T) -> Result<u32, TensorUnavailable> {
    let mut visitor = Signature(Hash::NEW);
    objects.objects(&mut visitor)?;
    Ok(visitor.0.value())
}

struct Signature(Hash);

impl Signature {
    /// Adds a name. The byte 0 separates it from the next field, because no valid name contains this byte.
    fn add(&mut self, name: &str, kind: u8) {
        self.0 = self.0.bytes(name.as_bytes()).bytes(&[0, kind]);
    }

    #[inline(always)] // A program without `TensorChunks` calls it only once.
    fn add_tensor(&mut self, name: &str, element_type: ElementType, shape: &[u32]) {
        self.add(name, TENSOR);
        self.0 = self.0.bytes(&[element_type as u8]);
        self.0 = shape.iter().fold(self.0, |hash, side| hash.number(*side));
    }
}

/// The bytes that distinguish the three kinds of names in a signature.
const STATE_DICT: u8 = 0;
const VALUE: u8 = 1;
const TENSOR: u8 = 2;

impl ObjectVisitor for Signature {
    type Error = TensorUnavailable;

    fn state_dict<D: StateDict + ?Sized>(&mut self, name: &str, object: &mut D) -> Result<(), TensorUnavailable> {
        self.add(name, STATE_DICT);
        object.tensors(self)
    }
    fn value_with<S: Serialize + DeserializeOwned>(
        &mut self,
        name: &str,
        _: &mut S,
        _: &mut [u8],
    ) -> Result<(), TensorUnavailable> {
        self.add(name, VALUE);
        Ok(())
    }
}

impl TensorVisitor for Signature {
    type Error = TensorUnavailable;

    fn visit_tensor(&mut self, name: &str, tensor: TensorView<'_>) -> Result<(), TensorUnavailable> {
        self.add_tensor(name, tensor.element_type(), tensor.shape());
        Ok(())
    }
    fn visit_chunks<C: TensorChunks>(
        &mut self,
        name: &str,
        element_type: ElementType,
        shape: &[u32],
        _: &mut C,
    ) -> Result<(), TensorUnavailable> {
        self.add_tensor(name, element_type, shape);
        Ok(())
    }
}
