//! A view of one tensor. It borrows the shape and the elements of the tensor from the model.

use super::element::{Element, ElementType, Memory, NestedArray, Scan, scan_of};
use core::fmt;
use core::slice;

/// A view of one tensor: its shape, the type of its elements, and the elements. A [`StateDict`](super::StateDict)
/// passes such a view to a visitor for each tensor.
///
/// A `&mut` reference to a nested array can be converted to a view. The type of the array determines the shape and the
/// type of the elements.
///
/// ```
/// use training_monitor::checkpoint::{ElementType, TensorView};
///
/// let mut weight = [[0_i8; 4]; 3];
/// let view = TensorView::from(&mut weight);
/// assert_eq!((view.shape(), view.element_type()), (&[3, 4][..], ElementType::I8));
/// assert_eq!(view.elements(), Some(&[0_i8; 12][..]));
///
/// let mut dynamic = vec![0.0_f32; 12];
/// let mut view = TensorView::new(&[3, 4], &mut dynamic);
/// view.elements_mut::<f32>().expect("the elements are f32")[11] = 1.0;
/// assert_eq!(dynamic[11], 1.0);
/// ```
#[derive(Debug)]
pub struct TensorView<'a> {
    shape: &'a [u32],
    element_type: ElementType,
    /// The check for NaN and infinity. Only the checks of the types that the program uses become part of it.
    scan: Option<Scan>,
    memory: Memory<'a>,
}

impl<'a> TensorView<'a> {
    /// Creates a view of `elements` with the dimensions `shape`, outermost first. The elements are in row-major order.
    /// The product of the dimensions is the number of elements; a scalar has no dimensions.
    #[inline]
    pub fn new<T: Element>(shape: &'a [u32], elements: &'a mut [T]) -> Self {
        TensorView { shape, element_type: T::TYPE, scan: T::SCAN, memory: T::memory(elements) }
    }

    /// Creates a view of elements that can be saved, but not loaded.
    #[inline]
    pub fn read_only<T: Element>(shape: &'a [u32], elements: &'a [T]) -> Self {
        TensorView { shape, element_type: T::TYPE, scan: T::SCAN, memory: Memory::ReadOnly(T::bytes(elements)) }
    }

    /// Creates a view of bytes whose element type is known at run time, for example in an arena. The elements are in
    /// the byte order of this machine, and can be at any address.
    #[must_use]
    pub fn from_bytes(element_type: ElementType, shape: &'a [u32], bytes: &'a mut [u8]) -> Self {
        TensorView { shape, element_type, scan: scan_of(element_type), memory: Memory::Bytes(bytes) }
    }

    /// The dimensions, outermost first. Their product is the number of elements. A scalar has no dimensions.
    #[must_use]
    pub const fn shape(&self) -> &'a [u32] {
        self.shape
    }

    /// The type of the elements.
    #[must_use]
    pub const fn element_type(&self) -> ElementType {
        self.element_type
    }

    /// The elements as bytes, in row-major order and in the byte order of this machine.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.memory {
            Memory::Bytes(bytes) => bytes,
            Memory::Bools(bools) => bytemuck::cast_slice(bools),
            Memory::ReadOnly(bytes) => bytes,
        }
    }

    /// The elements in row-major order. `None` if they have another type or are not aligned.
    #[must_use]
    pub fn elements<T: Element + bytemuck::Pod>(&self) -> Option<&[T]> {
        bytemuck::try_cast_slice(self.bytes()).ok().filter(|_| T::TYPE == self.element_type)
    }

    /// The elements in row-major order. `None` if they have another type, are read-only, or are not aligned.
    #[must_use]
    pub fn elements_mut<T: Element + bytemuck::Pod>(&mut self) -> Option<&mut [T]> {
        match &mut self.memory {
            Memory::Bytes(bytes) if T::TYPE == self.element_type => bytemuck::try_cast_slice_mut(bytes).ok(),
            _ => None,
        }
    }

    /// Returns whether a byte of a `bool` is neither 0 nor 1.
    pub(super) fn has_invalid_bool(&self) -> bool {
        matches!(&self.memory, Memory::Bytes(bytes) if self.element_type == ElementType::Bool && bytes.iter().any(|byte| *byte > 1))
    }

    /// Returns the index of the first element that is NaN or infinite.
    pub(super) fn first_non_finite(&self) -> Option<u32> {
        self.scan.and_then(|scan| scan(self.bytes()))
    }

    /// Returns whether the tensor can be saved, but not loaded.
    #[must_use]
    pub const fn is_read_only(&self) -> bool {
        matches!(self.memory, Memory::ReadOnly(_))
    }

    /// The memory of the elements.
    pub(super) fn into_memory(self) -> Memory<'a> {
        self.memory
    }
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
