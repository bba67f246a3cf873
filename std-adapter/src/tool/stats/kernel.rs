//! Loops over short blocks of elements. They use the vector instructions of the processor, so the statistics of a tensor
//! cost less time than reading it.
//!
//! A sum consists of [`LANES`] sums on all processors. Therefore the results have the same bits on all of them.

use fearless_simd::{Level, Simd, dispatch, f64x8, prelude::*};
use std::cell::RefCell;
use training_monitor::checkpoint::ElementType;

/// The number of elements of a block. All arrays of a block fit into the first-level cache.
pub const BLOCK: usize = 1024;

/// The number of elements of a step. Each step adds to two vectors of sums, so that an addition need not wait for the
/// previous one.
const LANES: usize = 16;

/// The elements of a block. Vectors in memory are faster with this alignment.
#[repr(align(64))]
struct Floats([f64; BLOCK]);

thread_local! {
    /// The blocks of two tensors. A new array for each block would have to be filled with zeros.
    static BUFFERS: RefCell<[Floats; 2]> = const { RefCell::new([const { Floats([0.0; BLOCK]) }; 2]) };
}

/// The sums of a block of elements that are all finite.
#[derive(PartialEq, Debug)]
pub struct FloatBlock {
    pub min: f64,
    pub max: f64,
    /// The sum of the distances from the pivot, and of their squares.
    pub sum: f64,
    pub squares: f64,
    pub zeros: u64,
}

/// The sums of a block of integers of at most 16 bits, as in [`FloatBlock`].
pub struct IntegerBlock {
    pub min: i64,
    pub max: i64,
    pub sum: i64,
    pub squares: i64,
    pub zeros: u64,
}

/// The sums of a block of pairs of elements that are all finite.
#[derive(PartialEq, Debug)]
pub struct DifferenceBlock {
    /// The number of elements whose bits differ.
    pub changed: u64,
    /// The number of elements whose difference exceeds the tolerance.
    pub outside: u64,
    pub max_abs: f64,
    /// The sum of the squares of the differences, and of the elements of the first tensor.
    pub squares: f64,
    pub first_squares: f64,
}

/// Decodes a block of at most [`BLOCK`] floats or integers of 32 bits, and returns their number. The remaining elements of
/// the last step become 0. Returns `None` if the block is empty, or if the type is another one.
#[inline(always)] // A function that is compiled for certain instructions inlines only functions with this attribute.
fn decode(element_type: ElementType, block: &[u8], floats: &mut Floats) -> Option<usize> {
    #[inline(always)] // See above.
    fn convert<const N: usize>(block: &[u8], floats: &mut Floats, element: impl Fn([u8; N]) -> f64) -> Option<usize> {
        let elements = block.as_chunks::<N>().0;
        floats.0.iter_mut().zip(elements).for_each(|(to, bytes)| *to = element(*bytes));
        let count = elements.len();
        floats.0.get_mut(count..count.next_multiple_of(LANES))?.fill(0.0);
        Some(count).filter(|count| *count > 0)
    }
    match element_type {
        ElementType::F32 => convert(block, floats, |bytes| f32::from_le_bytes(bytes).into()),
        ElementType::F64 => convert(block, floats, f64::from_le_bytes),
        ElementType::F16 => convert(block, floats, |bytes| f16_to_f32(u16::from_le_bytes(bytes)).into()),
        ElementType::Bf16 => {
            convert(block, floats, |bytes| f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16).into())
        }
        ElementType::I32 => convert(block, floats, |bytes| i32::from_le_bytes(bytes).into()),
        ElementType::U32 => convert(block, floats, |bytes| u32::from_le_bytes(bytes).into()),
        _ => None,
    }
}

/// Converts the bits of an f16, without branches. The multiplication also normalizes subnormal numbers.
#[inline(always)] // See `decode`.
fn f16_to_f32(bits: u16) -> f32 {
    let magnitude = u32::from(bits & 0x7FFF) << 13;
    let scaled = f32::from_bits(magnitude) * f32::from_bits((254 - 15) << 23);
    // The exponent of infinity and NaN.
    let special = if bits & 0x7C00 == 0x7C00 { 0x7F80_0000 } else { 0 };
    f32::from_bits(scaled.to_bits() | special | u32::from(bits & 0x8000) << 16)
}

/// Returns the elements of each step as two vectors.
#[inline(always)] // See `decode`.
fn steps<S: Simd>(simd: S, floats: &Floats, count: usize) -> impl Iterator<Item = [f64x8<S>; 2]> {
    let steps = floats.0.as_chunks::<LANES>().0.iter().take(count.div_ceil(LANES));
    steps.map(move |step| {
        let (low, high) = step.split_at(LANES / 2);
        [f64x8::from_slice(simd, low), f64x8::from_slice(simd, high)]
    })
}

/// Returns the sum of all lanes.
#[inline(always)] // See `decode`.
fn total<S: Simd>([low, high]: [f64x8<S>; 2]) -> f64 {
    (low + high).to_array().iter().sum()
}

/// Returns the sums of a block of at most [`BLOCK`] floats or integers of 32 bits. `pivot` is one of the elements of the
/// tensor. Returns `None` if the block is empty, if the type is another one, or if an element or a sum is NaN or infinite.
pub fn float_block(level: Level, element_type: ElementType, block: &[u8], pivot: f64) -> Option<FloatBlock> {
    BUFFERS.with_borrow_mut(|[buffer, _]| {
        dispatch!(level, simd => simd.vectorize(
            #[inline(always)]
            || {
                let count = decode(element_type, block, buffer)?;
                sum_floats(simd, buffer, count, pivot)
            }
        ))
    })
}

#[inline(always)] // See `decode`.
fn sum_floats<S: Simd>(simd: S, floats: &mut Floats, count: usize, pivot: f64) -> Option<FloatBlock> {
    // Several loops, each of which ends with a single number, because the vectors of one loop would not fit into the
    // registers. A sum in memory is slow: each addition waits until the previous one is stored.
    let zeros = floats.0[..count].iter().map(|element| u64::from(*element == 0.0)).sum();
    // The distance of an unused element is 0.
    floats.0[count..count.next_multiple_of(LANES)].fill(pivot);
    let (zero, pivots) = (f64x8::splat(simd, 0.0), f64x8::splat(simd, pivot));
    let (mut min, mut max) = ([pivots; 2], [pivots; 2]);
    for step in steps(simd, floats, count) {
        for lane in [0, 1] {
            min[lane] = min[lane].min(step[lane]);
            max[lane] = max[lane].max(step[lane]);
        }
    }
    // The sum makes 0 of -0, because it depends on the processor which of them is the minimum.
    let min = min[0].min(min[1]).to_array().into_iter().fold(pivot, f64::min) + 0.0;
    let max = max[0].max(max[1]).to_array().into_iter().fold(pivot, f64::max) + 0.0;
    let mut sums = [zero; 2];
    for step in steps(simd, floats, count) {
        for lane in [0, 1] {
            sums[lane] += step[lane] - pivots;
        }
    }
    let sum = total(sums);
    let mut squares = [zero; 2];
    for step in steps(simd, floats, count) {
        for lane in [0, 1] {
            let distances = step[lane] - pivots;
            squares[lane] += distances * distances;
        }
    }
    let squares = total(squares);
    // The distance of an element that is NaN or infinite is NaN or infinite.
    squares.is_finite().then_some(FloatBlock { min, max, sum, squares, zeros })
}

/// Returns the sums of a block of at most [`BLOCK`] pairs of floats or integers of 32 bits. `tolerance` is the relative and
/// the absolute tolerance. Returns `None` if the block is empty, if the type is another one, or if an element or a sum is
/// NaN or infinite.
pub fn difference_block(
    level: Level,
    element_type: ElementType,
    [a, b]: [&[u8]; 2],
    tolerance: Option<(f64, f64)>,
) -> Option<DifferenceBlock> {
    BUFFERS.with_borrow_mut(|[buffer_a, buffer_b]| {
        dispatch!(level, simd => simd.vectorize(
            #[inline(always)]
            || {
                let count = decode(element_type, a, buffer_a)?;
                decode(element_type, b, buffer_b)?;
                sum_differences(simd, [buffer_a, buffer_b], count, tolerance)
            }
        ))
    })
}

#[inline(always)] // See `decode`.
fn sum_differences<S: Simd>(
    simd: S,
    [a, b]: [&Floats; 2],
    count: usize,
    tolerance: Option<(f64, f64)>,
) -> Option<DifferenceBlock> {
    let zero = f64x8::splat(simd, 0.0);
    // 0 and -0 have different bits, but the difference 0.
    let pairs = a.0[..count].iter().zip(&b.0[..count]);
    let changed = pairs.map(|(a, b)| u64::from(a.to_bits() != b.to_bits())).sum();
    // Several loops, as in `sum_floats`. The unused elements are 0 in both tensors.
    let mut first_squares = [zero; 2];
    for a in steps(simd, a, count) {
        for lane in [0, 1] {
            first_squares[lane] += a[lane] * a[lane];
        }
    }
    let first_squares = total(first_squares);
    let (mut max, mut squares) = ([zero; 2], [zero; 2]);
    for (a, b) in steps(simd, a, count).zip(steps(simd, b, count)) {
        for lane in [0, 1] {
            let difference = b[lane] - a[lane];
            max[lane] = max[lane].max(difference.abs());
            squares[lane] += difference * difference;
        }
    }
    let max_abs = max[0].max(max[1]).to_array().into_iter().fold(0.0, f64::max);
    let squares = total(squares);
    let mut outside = 0;
    if let Some((rtol, atol)) = tolerance {
        let (rtol, atol) = (f64x8::splat(simd, rtol), f64x8::splat(simd, atol));
        for (a, b) in steps(simd, a, count).zip(steps(simd, b, count)) {
            for lane in [0, 1] {
                let difference = (b[lane] - a[lane]).abs();
                outside += difference.simd_gt(atol + rtol * b[lane].abs()).to_bitmask().count_ones();
            }
        }
    }
    let block = DifferenceBlock { changed, outside: outside.into(), max_abs, squares, first_squares };
    (squares + first_squares).is_finite().then_some(block)
}

macro_rules! integer_blocks {
    ($element_type:expr, $block:expr, $pivot:expr; $($variant:ident: $type:ty as $square:ty;)*) => {
        match $element_type {
            $(ElementType::$variant => {
                let bytes = $block.as_chunks::<{ size_of::<$type>() }>().0;
                let mut elements = [0 as $type; BLOCK];
                elements.iter_mut().zip(bytes).for_each(|(to, bytes)| *to = <$type>::from_le_bytes(*bytes));
                let elements = elements.get(..bytes.len()).filter(|elements| !elements.is_empty())?;
                let distances = elements.iter().map(|element| i32::from(*element) - $pivot);
                Some(IntegerBlock {
                    min: i64::from(elements.iter().copied().fold(<$type>::MAX, Ord::min)),
                    max: i64::from(elements.iter().copied().fold(<$type>::MIN, Ord::max)),
                    sum: i64::from(distances.clone().sum::<i32>()),
                    squares: i64::from(distances.map(|d| <$square>::from(d) * <$square>::from(d)).sum::<$square>()),
                    zeros: elements.iter().map(|element| u32::from(*element == 0)).sum::<u32>().into(),
                })
            })*
            _ => None,
        }
    };
}

/// Returns the sums of a block of at most [`BLOCK`] integers of at most 16 bits. `pivot` is one of the elements of the
/// tensor. Returns `None` if the block is empty, or if the type is another one.
pub fn integer_block(level: Level, element_type: ElementType, block: &[u8], pivot: i32) -> Option<IntegerBlock> {
    dispatch!(level, simd => simd.vectorize(
        #[inline(always)]
        || integer_blocks! { element_type, block, pivot;
            I8: i8 as i32;
            U8: u8 as i32;
            Bool: u8 as i32;
            I16: i16 as i64;
            U16: u16 as i64;
        }
    ))
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
    /// The sums with the vector instructions of this processor have the same bits as those with the instructions that all
    /// processors of this kind have.
    #[test]
    fn sums_do_not_depend_on_the_processor() {
        for count in [1, LANES, BLOCK - 3, BLOCK] {
            let float = |index: usize| (index as f32 * 0.37).sin() * if index.is_multiple_of(7) { 0.0 } else { 1e3 };
            let [a, b]: [Vec<u8>; 2] =
                [0, 1].map(|start| (start..start + count).flat_map(|index| float(index).to_le_bytes()).collect());
            let sums = |level: Level| {
                let block = float_block(level, ElementType::F32, &a, 0.0).unwrap();
                (block, difference_block(level, ElementType::F32, [&a, &b], Some((0.1, 10.0))).unwrap())
            };
            assert_eq!(sums(Level::new()), sums(Level::baseline()), "{count}");
        }
    }
}
