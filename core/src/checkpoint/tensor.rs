//! A view of one tensor. It borrows the shape and the elements of the tensor from the model.

use core::fmt;
use core::slice;

/// The maximum number of dimensions of a tensor.
pub const MAX_RANK: usize = 6;

/// A view of one tensor: its shape and a mutable slice of its elements. A [`StateDict`](super::StateDict) passes such a
/// view to a visitor for each tensor.
///
/// A `&mut` reference to a nested array can be converted to a view. The type of the array determines the shape.
///
/// ```
/// use training_monitor::checkpoint::TensorView;
///
/// let mut weight = [[0.0_f32; 4]; 3];
/// assert_eq!(TensorView::from(&mut weight).shape, [3, 4]);
/// let mut dynamic = vec![0.0_f32; 12];
/// assert_eq!(TensorView::new(&[3, 4], &mut dynamic).elements.len(), 12);
/// ```
#[derive(Debug)]
pub struct TensorView<'a> {
    /// The dimensions, outermost first. Their product is the number of elements. A scalar has no dimensions.
    pub shape: &'a [u32],
    /// The elements in row-major order.
    pub elements: &'a mut [f32],
}

impl<'a> TensorView<'a> {
    /// Creates a view of `elements` with the dimensions `shape`.
    pub const fn new(shape: &'a [u32], elements: &'a mut [f32]) -> Self {
        TensorView { shape, elements }
    }
}

/// An `f32`, or a nested array of `f32` such as `[[f32; 4]; 3]`. The array has at most [`MAX_RANK`] dimensions.
pub trait NestedArray: Sized {
    /// The dimensions, outermost first.
    const SHAPE: &'static [u32];
    /// Returns all elements of a slice of such arrays, in row-major order.
    fn flatten(arrays: &mut [Self]) -> &mut [f32];
}

impl NestedArray for f32 {
    const SHAPE: &'static [u32] = &[];
    fn flatten(arrays: &mut [f32]) -> &mut [f32] {
        arrays
    }
}

impl<T: NestedArray, const N: usize> NestedArray for [T; N] {
    const SHAPE: &'static [u32] = {
        assert!(T::SHAPE.len() < MAX_RANK, "a tensor has at most 6 dimensions");
        assert!(N <= u32::MAX as usize, "a dimension of a tensor is less than 2^32");
        ShapeOf::<T, N>::PADDED.split_at(T::SHAPE.len() + 1).0
    };
    #[inline]
    fn flatten(arrays: &mut [[T; N]]) -> &mut [f32] {
        T::flatten(arrays.as_flattened_mut())
    }
}

/// Computes the shape of `[T; N]` at compile time.
struct ShapeOf<T, const N: usize>(T);

impl<T: NestedArray, const N: usize> ShapeOf<T, N> {
    const PADDED: &'static [u32; MAX_RANK] = &{
        let mut shape = [0; MAX_RANK];
        shape[0] = N as u32;
        let mut index = 0;
        while index < T::SHAPE.len() && index + 1 < MAX_RANK {
            shape[index + 1] = T::SHAPE[index];
            index += 1;
        }
        shape
    };
}

impl<'a, T: NestedArray> From<&'a mut T> for TensorView<'a> {
    #[inline]
    fn from(array: &'a mut T) -> Self {
        TensorView::new(T::SHAPE, T::flatten(slice::from_mut(array)))
    }
}

/// The error for a tensor whose elements cannot be accessed. An implementation of [`StateDict`](super::StateDict)
/// or [`Objects`](super::Objects) returns this error, for example if the tensor is in the memory of a GPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct TensorUnavailable;

impl fmt::Display for TensorUnavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the elements of a tensor are not available")
    }
}

impl core::error::Error for TensorUnavailable {}
