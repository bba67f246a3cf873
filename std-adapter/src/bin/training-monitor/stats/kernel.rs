//! Loops over short blocks of elements. Each loop has a form that the compiler vectorizes, so the statistics of a tensor
//! cost less time than its checksum.

use training_monitor::checkpoint::ElementType;
use training_monitor::finite;

/// The number of elements of a block. All arrays of a block fit into the first-level cache.
pub const BLOCK: usize = 512;

/// The number of independent sums, so that an addition need not wait for the previous one.
const LANES: usize = 8;

/// The sums of a block of floats that are all finite.
pub struct FloatBlock {
    pub min: f64,
    pub max: f64,
    pub sum: f64,
    pub squares: f64,
    pub zeros: u64,
}

/// The sums of a block of integers.
pub struct IntegerBlock {
    pub min: i64,
    pub max: i64,
    pub sum: i64,
    pub squares: f64,
    pub zeros: u64,
}

/// Decodes a block of at most [`BLOCK`] floats of at most 32 bits. Returns the number of elements, or `None` for another
/// type.
fn decode_f32(element_type: ElementType, block: &[u8], to: &mut [f32; BLOCK]) -> Option<usize> {
    fn decode<const N: usize>(block: &[u8], to: &mut [f32; BLOCK], element: impl Fn([u8; N]) -> f32) -> Option<usize> {
        let elements = block.as_chunks::<N>().0;
        to.iter_mut().zip(elements).for_each(|(to, bytes)| *to = element(*bytes));
        Some(elements.len())
    }
    match element_type {
        ElementType::F32 => decode(block, to, f32::from_le_bytes),
        ElementType::Bf16 => decode(block, to, |bytes| f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16)),
        ElementType::F16 => decode(block, to, |bytes| f16_to_f32(u16::from_le_bytes(bytes))),
        _ => None,
    }
}

/// Decodes a block of at most [`BLOCK`] floats. Returns the number of elements, or `None` for another type.
pub fn decode_floats(element_type: ElementType, block: &[u8], to: &mut [f64; BLOCK]) -> Option<usize> {
    if element_type == ElementType::F64 {
        let elements = block.as_chunks::<8>().0;
        to.iter_mut().zip(elements).for_each(|(to, bytes)| *to = f64::from_le_bytes(*bytes));
        return Some(elements.len());
    }
    let mut short = [0.0; BLOCK];
    let count = decode_f32(element_type, block, &mut short)?;
    to.iter_mut().zip(short).for_each(|(to, element)| *to = f64::from(element));
    Some(count)
}

/// Converts the bits of an f16, without branches. The multiplication also normalizes subnormal numbers.
fn f16_to_f32(bits: u16) -> f32 {
    let magnitude = u32::from(bits & 0x7FFF) << 13;
    let scaled = f32::from_bits(magnitude) * f32::from_bits((254 - 15) << 23);
    // The exponent of infinity and NaN.
    let special = if bits & 0x7C00 == 0x7C00 { 0x7F80_0000 } else { 0 };
    f32::from_bits(scaled.to_bits() | special | u32::from(bits & 0x8000) << 16)
}

/// Returns whether all elements are finite.
pub fn all_finite(elements: &[f64]) -> bool {
    // The product is NaN for infinity and NaN, and otherwise 0.
    sum(elements, |element| element * 0.0) == 0.0
}

/// Returns the sum of the squares.
pub fn squares(elements: &[f64]) -> f64 {
    sum(elements, |element| element * element)
}

/// Returns the sum of a term of all elements, which is computed in several lanes.
#[inline(always)] // Each call has another term.
fn sum<T: Copy>(elements: &[T], term: impl Fn(T) -> f64) -> f64 {
    let (chunks, rest) = elements.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for chunk in chunks {
        for (lane, element) in lanes.iter_mut().zip(chunk) {
            *lane += term(*element);
        }
    }
    lanes.iter().sum::<f64>() + rest.iter().map(|element| term(*element)).sum::<f64>()
}

/// Returns the best of all elements, which is found in several lanes. `better` chooses one of two elements.
#[inline(always)] // Each call has another function.
fn best<T: Copy>(elements: &[T], start: T, better: impl Fn(T, T) -> T) -> T {
    let (chunks, rest) = elements.as_chunks::<LANES>();
    let mut lanes = [start; LANES];
    for chunk in chunks {
        for (lane, element) in lanes.iter_mut().zip(chunk) {
            *lane = better(*lane, *element);
        }
    }
    lanes.iter().chain(rest).fold(start, |best, element| better(best, *element))
}

/// Returns the sums of a block of at most [`BLOCK`] floats. Returns `None` if the type is another one, or if an element is
/// NaN or infinite.
pub fn float_block(element_type: ElementType, block: &[u8]) -> Option<FloatBlock> {
    if element_type == ElementType::F64 {
        let mut elements = [0.0; BLOCK];
        let count = decode_floats(element_type, block, &mut elements)?;
        let elements = elements.get(..count).filter(|elements| !elements.is_empty() && all_finite(elements))?;
        let min = best(elements, f64::INFINITY, |a, b| if b < a { b } else { a });
        let max = best(elements, f64::NEG_INFINITY, |a, b| if b > a { b } else { a });
        let zeros = elements.iter().map(|element| u64::from(*element == 0.0)).sum();
        let (sum, squares) = (sum(elements, |element| element), squares(elements));
        return Some(FloatBlock { min, max, sum, squares, zeros });
    }
    let mut elements = [0.0; BLOCK];
    let count = decode_f32(element_type, block, &mut elements)?;
    let elements = elements.get(..count).filter(|elements| !elements.is_empty() && finite::all_finite(elements))?;
    let min = best(elements, f32::INFINITY, |a, b| if b < a { b } else { a });
    let max = best(elements, f32::NEG_INFINITY, |a, b| if b > a { b } else { a });
    let zeros = elements.iter().map(|element| u32::from(*element == 0.0)).sum::<u32>().into();
    let squares = sum(elements, |element: f32| f64::from(element) * f64::from(element));
    let sum = sum(elements, |element: f32| f64::from(element));
    Some(FloatBlock { min: min.into(), max: max.into(), sum, squares, zeros })
}

macro_rules! integer_blocks {
    ($element_type:expr, $block:expr; $($variant:ident: $type:ty as $sum:ty, $square:ty;)*) => {
        match $element_type {
            $(ElementType::$variant => {
                let mut elements = [0 as $type; BLOCK];
                let bytes = $block.as_chunks::<{ size_of::<$type>() }>().0;
                elements.iter_mut().zip(bytes).for_each(|(to, bytes)| *to = <$type>::from_le_bytes(*bytes));
                let elements = elements.get(..bytes.len()).filter(|elements| !elements.is_empty())?;
                Some(IntegerBlock {
                    min: i64::from(elements.iter().copied().fold(<$type>::MAX, Ord::min)),
                    max: i64::from(elements.iter().copied().fold(<$type>::MIN, Ord::max)),
                    sum: i64::from(elements.iter().map(|element| <$sum>::from(*element)).sum::<$sum>()),
                    squares: elements.iter().map(|element| <$square>::from(*element) * <$square>::from(*element)).sum::<$square>() as f64,
                    zeros: elements.iter().map(|element| u32::from(*element == 0)).sum::<u32>().into(),
                })
            })*
            _ => None,
        }
    };
}

/// Returns the sums of a block of at most [`BLOCK`] integers of at most 32 bits. Returns `None` for another type.
pub fn integer_block(element_type: ElementType, block: &[u8]) -> Option<IntegerBlock> {
    integer_blocks! { element_type, block;
        I8: i8 as i32, i32;
        U8: u8 as i32, i32;
        Bool: u8 as i32, i32;
        I16: i16 as i32, i64;
        U16: u16 as i32, i64;
        I32: i32 as i64, f64;
        U32: u32 as i64, f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_f16_is_converted_exactly() {
        for bits in 0..=u16::MAX {
            let expected = half::f16::from_bits(bits).to_f32();
            let found = f16_to_f32(bits);
            let is_equal = if expected.is_nan() { found.is_nan() } else { found.to_bits() == expected.to_bits() };
            assert!(is_equal, "{bits:#x}: {found} instead of {expected}");
        }
    }
}
