//! Compares the scan of the library with a simple scan, with an exact scan that uses integers, and with a sum, which is
//! the lower limit.

use crate::measure::Group;
use std::hint::black_box;
use training_monitor::finite::all_finite;

pub const OURS: &str = "all_finite";
pub const NAIVE: &str = "iter().all(is_finite)";
pub const LIMIT: &str = "32-lane f32 sum";

#[inline(never)]
pub fn naive(values: &[f32]) -> bool {
    values.iter().all(|value| value.is_finite())
}

/// A sum in 32 lanes. It reads each number once, at the speed of the memory, so no exact scan can be much faster.
#[inline(never)]
pub fn sum(values: &[f32]) -> f32 {
    let (chunks, rest) = values.as_chunks::<32>();
    let mut sums = [0.0f32; 32];
    for chunk in chunks {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += value;
        }
    }
    sums.iter().chain(rest).sum()
}

/// Returns true if all numbers are finite. The scan is exact (correct for every input) and uses integers: it checks in
/// blocks of 32 numbers that no exponent has all bits set.
#[inline(never)]
pub fn exponents(values: &[f32]) -> bool {
    let overflow = |value: &f32| (value.to_bits() & 0x7FFF_FFFF).wrapping_add(0x0080_0000);
    let has_non_finite = |chunk: &[f32]| chunk.iter().fold(0, |any, value| any | overflow(value)) >> 31 != 0;
    let (chunks, rest) = values.as_chunks::<32>();
    !chunks.iter().any(|chunk| has_non_finite(chunk)) && !has_non_finite(rest)
}

/// Returns typical weights: numbers from -1 to 1.
pub fn weights(len: usize) -> Vec<f32> {
    (0..len as u32).map(|index| (index.wrapping_mul(0x9E37_79B9) >> 8) as f32 / 8_388_608.0 - 1.0).collect()
}

pub fn group(values: &[f32], name: &str) -> Group<'static> {
    let shared: &'static [f32] = Vec::leak(values.to_vec());
    let input = move || black_box(shared);
    Group::new(format!("scan {name}"), values.len(), "ns/f32")
        .variant(NAIVE, move || naive(input()))
        .variant("exponents, 32 at a time", move || exponents(input()))
        .variant(OURS, move || all_finite(input()))
        .variant(LIMIT, move || sum(input()))
}

/// Scans slices of every length in a range, as a guard on outputs and small layers does.
pub fn short_slices(length: std::ops::RangeInclusive<usize>) -> Group<'static> {
    let values: &'static [f32] = Vec::leak(weights(64));
    let title = format!("scan {} to {} f32", length.start(), length.end());
    let divisor = length.clone().sum();
    let (first, second) = (length.clone(), length);
    Group::new(title, divisor, "ns/f32")
        .variant(NAIVE, move || first.clone().all(|len| naive(&black_box(values)[..len])))
        .variant(OURS, move || second.clone().all(|len| all_finite(&black_box(values)[..len])))
}
