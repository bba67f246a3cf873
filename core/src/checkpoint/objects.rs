//! The objects of a checkpoint. Each object has a name. It is either a state dict, which is a list of named
//! tensors, or a single `serde` value.
//!
//! The trait [`Objects`] corresponds to `to_save` and `to_load` of PyTorch-Ignite. A [`StateDict`] lends its tensors as
//! slices, so tensors are saved and loaded without a copy of the model. A value that is not a tensor, such as a random
//! generator, is saved with the `postcard` crate. This corresponds to `save_as_state_dict=False` of Ignite.
//!
//! Each trait has one required method, which lists the tensors or objects. The same list is used to save and to load.
//! With the feature `derive`, the macros `#[derive(StateDict)]` and `#[derive(Objects)]` implement the traits.
//!
//! ```
//! use training_monitor::checkpoint::{ObjectVisitor, Objects, StateDict, TensorVisitor};
//!
//! struct Dense { weight: [[f32; 4]; 3], bias: [f32; 3] }
//!
//! impl StateDict for Dense {
//!     fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
//!         visitor.tensor("weight", &mut self.weight)?; // shape [3, 4]
//!         visitor.tensor("bias", &mut self.bias)
//!     }
//! }
//!
//! struct Training { model: Dense, rng: u64 }
//!
//! impl Objects for Training {
//!     fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
//!         visitor.state_dict("model", &mut self.model)?;
//!         visitor.value("rng", &mut self.rng)
//!     }
//! }
//! ```

use super::element::{Element, ElementType, NestedArray};
use super::names::NameBuffer;
use super::tensor::{TensorUnavailable, TensorView};
use crate::target::HOST;
use core::ops::{Deref, DerefMut};
use serde::{Serialize, de::DeserializeOwned};

/// The maximum number of tensors and values of a model. A value is an object that is saved as a whole. All objects of
/// the model share this limit, which is 4096 on a 64-bit host and 256 on a microcontroller.
pub const MAX_ITEMS: usize = if HOST { 4096 } else { 256 };

/// An object that consists of named tensors, such as a model.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not list its tensors",
    note = "add `#[derive(StateDict)]` (feature `derive`), or implement `StateDict::tensors`"
)]
pub trait StateDict {
    /// Passes every tensor of this object to `visitor`. Every call must pass the same names in the same order.
    ///
    /// # Errors
    /// Returns the error of `visitor`, for example after a failed write. If a tensor cannot be accessed, returns
    /// [`TensorUnavailable`].
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error>;

    /// Passes this object to `visitor` as the field `name` of a larger object. An array is passed as one tensor with
    /// this name. For any other object, this name and a dot are added in front of each tensor name.
    /// `#[derive(StateDict)]` calls this method for every field.
    ///
    /// # Errors
    /// Returns the error of `visitor`, for example after a failed write. If a tensor cannot be accessed, returns
    /// [`TensorUnavailable`].
    fn visit_as_field<V: TensorVisitor>(&mut self, name: &str, visitor: &mut V) -> Result<(), V::Error> {
        self.tensors(&mut Prefixed { visitor, prefix: name })
    }
}

/// The named objects of a checkpoint.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not list the objects of a checkpoint",
    note = "add `#[derive(Objects)]` (feature `derive`), implement `Objects::objects`, or wrap one model in `Named`"
)]
pub trait Objects {
    /// Passes every object to `visitor`. Every call must pass the same names in the same order.
    ///
    /// # Errors
    /// Returns the error of `visitor`, for example after a failed write. If a tensor cannot be accessed, returns
    /// [`TensorUnavailable`].
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error>;
}

/// A visitor that receives the tensors of a state dict (a list of named tensors), for example to save or load them.
pub trait TensorVisitor {
    /// The error type of the visitor. A state dict can return [`TensorUnavailable`] with the operator `?`, which
    /// converts the error to this type.
    type Error: From<TensorUnavailable>;

    /// Receives one tensor and its name. A read-only tensor can be saved, but it cannot be loaded.
    ///
    /// # Errors
    /// Returns an error to stop the listing, for example if a write failed. The caller returns this error unchanged.
    fn visit_tensor(&mut self, name: &str, tensor: TensorView<'_>) -> Result<(), Self::Error>;

    /// Receives one tensor whose elements are not in memory at the same time, and its name. Such a tensor can be saved,
    /// but it cannot be loaded. `shape` has the dimensions, outermost first.
    ///
    /// # Errors
    /// Returns an error to stop the listing, for example if a write failed. The caller returns this error unchanged. The
    /// default implementation returns [`TensorUnavailable`].
    fn visit_chunks<C: TensorChunks>(
        &mut self,
        name: &str,
        element_type: ElementType,
        shape: &[u32],
        chunks: &mut C,
    ) -> Result<(), Self::Error> {
        let _ = (name, element_type, shape, chunks);
        Err(TensorUnavailable.into())
    }

    /// Converts `tensor` to a [`TensorView`] and passes it to [`visit_tensor`](Self::visit_tensor). Usually, `tensor`
    /// is a `&mut` reference to a nested array.
    ///
    /// # Errors
    /// Returns the error of [`visit_tensor`](Self::visit_tensor), for example after a failed write.
    #[inline]
    fn tensor<'t>(&mut self, name: &str, tensor: impl Into<TensorView<'t>>) -> Result<(), Self::Error> {
        self.visit_tensor(name, tensor.into())
    }

    /// Passes all tensors of a nested module to this visitor. The names of the tensors get the prefix `name` and a dot,
    /// as in PyTorch. An array is one tensor with the name `name`.
    ///
    /// # Errors
    /// Returns the first error of this visitor or of the nested module, for example after a failed write.
    fn module<D: StateDict + ?Sized>(&mut self, name: &str, module: &mut D) -> Result<(), Self::Error>
    where
        Self: Sized,
    {
        module.visit_as_field(name, self)
    }
}

/// A visitor that adds `prefix` and a dot to the name of each tensor, and passes the tensor to `visitor`.
struct Prefixed<'a, V> {
    visitor: &'a mut V,
    prefix: &'a str,
}

impl<V: TensorVisitor> TensorVisitor for Prefixed<'_, V> {
    type Error = V::Error;

    fn visit_tensor(&mut self, name: &str, tensor: TensorView<'_>) -> Result<(), V::Error> {
        self.visitor.visit_tensor(NameBuffer::concat(&[self.prefix, ".", name]).as_str(), tensor)
    }
    fn visit_chunks<C: TensorChunks>(
        &mut self,
        name: &str,
        element_type: ElementType,
        shape: &[u32],
        chunks: &mut C,
    ) -> Result<(), V::Error> {
        let name = NameBuffer::concat(&[self.prefix, ".", name]);
        self.visitor.visit_chunks(name.as_str(), element_type, shape, chunks)
    }
}

/// The elements of a tensor that is larger than the memory, for example in a file. A state dict passes them to
/// [`TensorVisitor::visit_chunks`].
///
/// ```
/// use training_monitor::checkpoint::{self, Contents, ElementType, Named, StateDict};
/// use training_monitor::checkpoint::{TensorChunks, TensorUnavailable, TensorVisitor};
///
/// /// A million zeros.
/// struct Zeros;
///
/// impl TensorChunks for Zeros {
///     fn chunks(
///         &mut self,
///         receive: &mut dyn FnMut(&[u8]) -> Result<(), TensorUnavailable>,
///     ) -> Result<(), TensorUnavailable> {
///         (0..1000).try_for_each(|_| receive(&[0; 4000]))
///     }
/// }
///
/// impl StateDict for Zeros {
///     fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
///         visitor.visit_chunks("zeros", ElementType::F32, &[1_000_000], self)
///     }
/// }
///
/// let len = checkpoint::measure(&Contents::new(1), &mut Named::new("model", Zeros))?;
/// assert!(len > 4_000_000);
/// # Ok::<(), checkpoint::EncodeError<core::convert::Infallible>>(())
/// ```
pub trait TensorChunks {
    /// Passes all elements to `receive`, in row-major order and in the byte order of this machine. A chunk consists of
    /// whole elements. A save calls this method several times, and each call must pass the same elements.
    ///
    /// # Errors
    /// Returns the error of `receive` unchanged. If the elements cannot be read, returns [`TensorUnavailable`].
    fn chunks(
        &mut self,
        receive: &mut dyn FnMut(&[u8]) -> Result<(), TensorUnavailable>,
    ) -> Result<(), TensorUnavailable>;
}

/// A read-only tensor, for example in a `static`. It can be saved, but it cannot be loaded. If the `ReadOnly` is a
/// field of a struct, the tensor has the name of the field. Otherwise, its name is "data".
///
/// ```
/// use training_monitor::checkpoint::{self, Contents, Named, ReadOnly};
///
/// static PRETRAINED: [f32; 12] = [0.5; 12];
/// let mut bytes = [0; 128];
/// let mut model = Named::new("model", ReadOnly { shape: &[3, 4], elements: &PRETRAINED });
/// let encoded = checkpoint::encode(&mut &mut bytes[..], &Contents::new(1), &mut model)?;
/// assert!(encoded.len > 4 * 12);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ReadOnly<'a, T = f32> {
    /// The dimensions, outermost first.
    pub shape: &'a [u32],
    /// The elements in row-major order.
    pub elements: &'a [T],
}

impl<T: Element> StateDict for ReadOnly<'_, T> {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        self.visit_as_field("data", visitor)
    }
    fn visit_as_field<V: TensorVisitor>(&mut self, name: &str, visitor: &mut V) -> Result<(), V::Error> {
        visitor.visit_tensor(name, TensorView::read_only(self.shape, self.elements))
    }
}

/// A visitor that receives the objects of a checkpoint, for example to save or load them.
pub trait ObjectVisitor {
    /// The error type of the visitor. An [`Objects`] implementation can return [`TensorUnavailable`] with the operator
    /// `?`, which converts the error to this type.
    type Error: From<TensorUnavailable>;

    /// Receives the object `name`, which consists of named tensors, such as a model.
    ///
    /// # Errors
    /// Returns an error to stop the listing, for example if a write failed. The caller returns this error unchanged.
    fn state_dict<D: StateDict + ?Sized>(&mut self, name: &str, object: &mut D) -> Result<(), Self::Error>;

    /// Receives the object `name`, which is saved as a whole, with the `postcard` crate. While the object is loaded or
    /// checked, its strings and byte arrays are stored in `scratch`, so they can have at most as many bytes in total.
    /// With the feature `alloc`, they are stored on the heap instead and have no limit. Numbers, arrays and structures
    /// have no size limit.
    ///
    /// # Errors
    /// Returns an error to stop the listing, for example if a write failed. The caller returns this error unchanged.
    fn value_with<S: Serialize + DeserializeOwned>(
        &mut self,
        name: &str,
        object: &mut S,
        scratch: &mut [u8],
    ) -> Result<(), Self::Error>;

    /// Calls [`value_with`](Self::value_with) with a buffer of 64 bytes on the stack.
    ///
    /// # Errors
    /// Returns the error of [`value_with`](Self::value_with), for example after a failed write.
    fn value<S: Serialize + DeserializeOwned>(&mut self, name: &str, object: &mut S) -> Result<(), Self::Error> {
        self.value_with(name, object, &mut [0; 64])
    }
}

/// A model and its name. Use this type to save the model as the only object of a checkpoint. `Named` dereferences to
/// the model.
///
/// ```
/// use training_monitor::checkpoint::Named;
///
/// let mut weights = [0.0_f32; 4];
/// let mut model = Named::new("model", &mut weights);
/// model[0] = 1.0;
/// assert_eq!(weights[0], 1.0);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Named<'a, D> {
    /// The name of the object.
    pub name: &'a str,
    /// The object, or a `&mut` reference to it.
    pub object: D,
}

impl<'a, D> Named<'a, D> {
    /// Creates a `Named` from a name and a model.
    pub const fn new(name: &'a str, object: D) -> Self {
        Named { name, object }
    }
}

impl<D> Deref for Named<'_, D> {
    type Target = D;
    fn deref(&self) -> &D {
        &self.object
    }
}

impl<D> DerefMut for Named<'_, D> {
    fn deref_mut(&mut self) -> &mut D {
        &mut self.object
    }
}

impl<D: StateDict> Objects for Named<'_, D> {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.state_dict(self.name, &mut self.object)
    }
}

impl<D: StateDict + ?Sized> StateDict for &mut D {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        (**self).tensors(visitor)
    }
    fn visit_as_field<V: TensorVisitor>(&mut self, name: &str, visitor: &mut V) -> Result<(), V::Error> {
        (**self).visit_as_field(name, visitor)
    }
}

impl<T: Objects + ?Sized> Objects for &mut T {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        (**self).objects(visitor)
    }
}

/// A slice is saved as one tensor with one dimension. If the slice is a field of a struct, the tensor has the name of
/// the field. Otherwise, its name is "data".
impl<T: Element> StateDict for [T] {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        self.visit_as_field("data", visitor)
    }
    fn visit_as_field<V: TensorVisitor>(&mut self, name: &str, visitor: &mut V) -> Result<(), V::Error> {
        let len = u32::try_from(self.len()).unwrap_or(u32::MAX);
        visitor.visit_tensor(name, TensorView::new(&[len], self))
    }
}

/// An array is saved as one tensor. If the array is a field of a struct, the tensor has the name of the field.
/// Otherwise, its name is "data".
impl<T: NestedArray, const N: usize> StateDict for [T; N] {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.tensor("data", self)
    }
    fn visit_as_field<V: TensorVisitor>(&mut self, name: &str, visitor: &mut V) -> Result<(), V::Error> {
        visitor.tensor(name, self)
    }
}

macro_rules! scalars {
    ($($(#[$attribute:meta])* $scalar:ty)*) => {$(
        /// A number is saved as one tensor without dimensions. If the number is a field of a struct, the tensor has the
        /// name of the field. Otherwise, its name is "data".
        $(#[$attribute])*
        impl StateDict for $scalar {
            fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
                visitor.tensor("data", self)
            }
            fn visit_as_field<V: TensorVisitor>(&mut self, name: &str, visitor: &mut V) -> Result<(), V::Error> {
                visitor.tensor(name, self)
            }
        }
    )*};
}

scalars! {
    f32 f64 i8 u8 i16 u16 i32 u32 i64 u64 bool
    #[cfg(feature = "half")]
    half::f16
    #[cfg(feature = "half")]
    half::bf16
}
