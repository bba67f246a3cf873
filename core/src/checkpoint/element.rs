//! The types of the elements of a tensor, and the arrays of them that are tensors. FORMAT.md specifies the codes of the
//! types.

use core::fmt;

/// The maximum number of dimensions of a tensor.
pub const MAX_RANK: usize = 6;

/// The type of the elements of a tensor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum ElementType {
    /// IEEE 754 single precision.
    F32 = 0,
    /// IEEE 754 double precision.
    F64 = 1,
    /// IEEE 754 half precision.
    F16 = 2,
    /// The upper 16 bits of an `f32`.
    Bf16 = 3,
    /// Signed integer with 8 bits.
    I8 = 4,
    /// Unsigned integer with 8 bits.
    U8 = 5,
    /// Signed integer with 16 bits.
    I16 = 6,
    /// Unsigned integer with 16 bits.
    U16 = 7,
    /// Signed integer with 32 bits.
    I32 = 8,
    /// Unsigned integer with 32 bits.
    U32 = 9,
    /// Signed integer with 64 bits.
    I64 = 10,
    /// Unsigned integer with 64 bits.
    U64 = 11,
    /// One byte with the value 0 or 1.
    Bool = 12,
}

impl ElementType {
    /// All types. The code of a type in a checkpoint is its index in this array.
    pub const ALL: [ElementType; 13] = [
        ElementType::F32,
        ElementType::F64,
        ElementType::F16,
        ElementType::Bf16,
        ElementType::I8,
        ElementType::U8,
        ElementType::I16,
        ElementType::U16,
        ElementType::I32,
        ElementType::U32,
        ElementType::I64,
        ElementType::U64,
        ElementType::Bool,
    ];

    /// The number of bytes of one element: 1, 2, 4 or 8.
    #[must_use]
    pub const fn size(self) -> u32 {
        1 << self.size_log2()
    }

    /// The binary logarithm of the size.
    pub(super) const fn size_log2(self) -> u32 {
        match self {
            ElementType::I8 | ElementType::U8 | ElementType::Bool => 0,
            ElementType::F16 | ElementType::Bf16 | ElementType::I16 | ElementType::U16 => 1,
            ElementType::F32 | ElementType::I32 | ElementType::U32 => 2,
            ElementType::F64 | ElementType::I64 | ElementType::U64 => 3,
        }
    }

    /// The name of the type, as in Rust: "f32", or "bf16".
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            ElementType::F32 => "f32",
            ElementType::F64 => "f64",
            ElementType::F16 => "f16",
            ElementType::Bf16 => "bf16",
            ElementType::I8 => "i8",
            ElementType::U8 => "u8",
            ElementType::I16 => "i16",
            ElementType::U16 => "u16",
            ElementType::I32 => "i32",
            ElementType::U32 => "u32",
            ElementType::I64 => "i64",
            ElementType::U64 => "u64",
            ElementType::Bool => "bool",
        }
    }

    /// Returns whether the elements are floating-point numbers, which can be NaN or infinite.
    #[must_use]
    pub const fn is_float(self) -> bool {
        (self as u8) < ElementType::I8 as u8
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether the elements of a stream have another byte order than those in memory. The configuration
/// `training_monitor_swap_bytes` makes a little-endian machine behave like a big-endian one, for tests.
pub(super) const SWAP_BYTES: bool = cfg!(any(target_endian = "big", training_monitor_swap_bytes));

/// Searches bytes for the first element that is NaN or infinite, and returns the index of that element.
pub(super) type Scan = fn(&[u8]) -> Option<u32>;

/// A number or `bool` that can be an element of a tensor: `f32`, `f64`, integers of 8 to 64 bits and `bool`, and with
/// the feature `half` also `half::f16` and `half::bf16`.
///
/// Only this crate implements the trait, because the checkpoint format has no other element types.
pub trait Element: NestedArray<Element = Self> + Copy + private::Sealed {
    /// The type that the checkpoint stores.
    const TYPE: ElementType;
}

/// An [`Element`], or a nested array of elements such as `[[f32; 4]; 3]`. The array has at most [`MAX_RANK`]
/// dimensions.
pub trait NestedArray: Sized {
    /// The innermost type of the array.
    type Element: Element;
    /// The dimensions, outermost first.
    const SHAPE: &'static [u32];
    /// Returns all elements of a slice of such arrays, in row-major order.
    fn flatten(arrays: &mut [Self]) -> &mut [Self::Element];
}

impl<T: NestedArray, const N: usize> NestedArray for [T; N] {
    type Element = T::Element;
    const SHAPE: &'static [u32] = {
        assert!(T::SHAPE.len() < MAX_RANK, "a tensor has at most 6 dimensions");
        assert!(N <= u32::MAX as usize, "a dimension of a tensor is less than 2^32");
        ShapeOf::<T, N>::PADDED.split_at(T::SHAPE.len() + 1).0
    };
    #[inline]
    fn flatten(arrays: &mut [[T; N]]) -> &mut [T::Element] {
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

pub(super) mod private {
    use super::Scan;

    /// The part of [`Element`](super::Element) that is not public.
    pub trait Sealed: Sized {
        /// Checks for NaN and infinity; `None` for a type whose values are always finite.
        const SCAN: Option<Scan> = None;
        /// The bytes of the elements, in the byte order of this machine.
        fn bytes(elements: &[Self]) -> &[u8];
        /// The memory of the elements, for loading.
        fn memory(elements: &mut [Self]) -> super::Memory<'_>;
    }
}

/// The memory of the elements of one tensor.
#[derive(Debug)]
pub enum Memory<'a> {
    /// Elements of which every bit pattern is valid, in the byte order of this machine.
    Bytes(&'a mut [u8]),
    /// Elements of which only two bit patterns are valid.
    Bools(&'a mut [bool]),
    /// Elements that cannot be loaded, in the byte order of this machine.
    ReadOnly(&'a [u8]),
}

macro_rules! elements {
    ($($(#[$attribute:meta])* $element:ty, $type:ident, $scan:expr;)*) => {$(
        $(#[$attribute])*
        impl private::Sealed for $element {
            const SCAN: Option<Scan> = $scan;
            #[inline]
            fn bytes(elements: &[Self]) -> &[u8] {
                bytemuck::cast_slice(elements)
            }
            #[inline]
            fn memory(elements: &mut [Self]) -> Memory<'_> {
                Memory::Bytes(bytemuck::cast_slice_mut(elements))
            }
        }

        $(#[$attribute])*
        impl Element for $element {
            const TYPE: ElementType = ElementType::$type;
        }

        $(#[$attribute])*
        impl NestedArray for $element {
            type Element = $element;
            const SHAPE: &'static [u32] = &[];
            #[inline]
            fn flatten(arrays: &mut [$element]) -> &mut [$element] {
                arrays
            }
        }
    )*};
}

elements! {
    f32, F32, Some(scan::f32);
    f64, F64, Some(scan::f64);
    #[cfg(feature = "half")]
    half::f16, F16, Some(scan::f16);
    #[cfg(feature = "half")]
    half::bf16, Bf16, Some(scan::bf16);
    i8, I8, None;
    u8, U8, None;
    i16, I16, None;
    u16, U16, None;
    i32, I32, None;
    u32, U32, None;
    i64, I64, None;
    u64, U64, None;
}

impl private::Sealed for bool {
    #[inline]
    fn bytes(elements: &[bool]) -> &[u8] {
        bytemuck::cast_slice(elements)
    }
    #[inline]
    fn memory(elements: &mut [bool]) -> Memory<'_> {
        Memory::Bools(elements)
    }
}

impl Element for bool {
    const TYPE: ElementType = ElementType::Bool;
}

impl NestedArray for bool {
    type Element = bool;
    const SHAPE: &'static [u32] = &[];
    #[inline]
    fn flatten(arrays: &mut [bool]) -> &mut [bool] {
        arrays
    }
}

/// Returns the check for elements of a type that is known at run time, at any address.
pub(super) fn scan_of(element_type: ElementType) -> Option<Scan> {
    match element_type {
        ElementType::F32 => Some(scan::f32),
        ElementType::F64 => Some(scan::f64),
        ElementType::F16 => Some(scan::f16),
        ElementType::Bf16 => Some(scan::bf16),
        _ => None,
    }
}

/// The checks of bytes for NaN and infinity.
mod scan {
    use crate::finite;

    /// Returns the index of the first element that is not finite. `fast` checks aligned elements, and `is_finite` one
    /// element.
    #[inline(always)]
    fn search<T: bytemuck::AnyBitPattern, const SIZE: usize>(
        bytes: &[u8],
        all_finite: fn(&[T]) -> bool,
        is_finite: fn([u8; SIZE]) -> bool,
    ) -> Option<u32> {
        // The elements of an arena of bytes can be at any address.
        if bytemuck::try_cast_slice(bytes).is_ok_and(all_finite) {
            return None;
        }
        (0..).zip(bytes.as_chunks::<SIZE>().0).find(|(_, element)| !is_finite(**element)).map(|(index, _)| index)
    }

    pub fn f32(bytes: &[u8]) -> Option<u32> {
        search(bytes, finite::all_finite, |element| f32::from_ne_bytes(element).is_finite())
    }
    pub fn f64(bytes: &[u8]) -> Option<u32> {
        search(bytes, finite::all_finite_f64, |element| f64::from_ne_bytes(element).is_finite())
    }
    pub fn f16(bytes: &[u8]) -> Option<u32> {
        search(bytes, finite::all_finite_f16, |element| finite::is_finite_f16(u16::from_ne_bytes(element)))
    }
    pub fn bf16(bytes: &[u8]) -> Option<u32> {
        search(bytes, finite::all_finite_bf16, |element| finite::is_finite_bf16(u16::from_ne_bytes(element)))
    }
}

#[cfg(test)]
mod tests {
    use super::ElementType;

    #[test]
    fn codes_sizes_and_names_agree() {
        for (code, element_type) in ElementType::ALL.iter().enumerate() {
            assert_eq!(*element_type as usize, code);
            let bits = element_type.name().trim_start_matches(|c: char| !c.is_ascii_digit()).parse::<u32>();
            assert_eq!(element_type.size(), bits.map_or(1, |bits| bits / 8), "{element_type}");
        }
    }
}
