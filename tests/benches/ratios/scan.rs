//! The scan beside what one would write, beside the exact scan in integers, and beside the sum that is its limit.

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

/// Reads everything once and keeps up with memory: what no exact scan can beat by much.
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

/// The exact scan that needs no floats: no exponent of all ones, 32 at a time.
#[inline(never)]
pub fn exponents(values: &[f32]) -> bool {
    let carry = |value: &f32| (value.to_bits() & 0x7FFF_FFFF).wrapping_add(0x0080_0000);
    let any = |chunk: &[f32]| chunk.iter().fold(0, |any, value| any | carry(value)) >> 31 != 0;
    let (chunks, rest) = values.as_chunks::<32>();
    !chunks.iter().any(|chunk| any(chunk)) && !any(rest)
}

/// Weights as they are: around zero.
pub fn weights(len: usize) -> Vec<f32> {
    (0..len as u32).map(|index| (index.wrapping_mul(0x9E37_79B9) >> 8) as f32 / 8_388_608.0 - 1.0).collect()
}

pub fn group(values: &[f32], name: &str) -> Group<'static> {
    let shared: &'static [f32] = Vec::leak(values.to_vec());
    let of = move || black_box(shared);
    Group::new(format!("scan {name}"), values.len(), "ns/f32")
        .way(NAIVE, move || naive(of()))
        .way("exponents, 32 at a time", move || exponents(of()))
        .way(OURS, move || all_finite(of()))
        .way(LIMIT, move || sum(of()))
}

/// Every length up to 16 once a call: what a guard on outputs and small layers sees.
pub fn short(length: std::ops::RangeInclusive<usize>) -> Group<'static> {
    let values: &'static [f32] = Vec::leak(weights(64));
    let title = format!("scan {} to {} f32", length.start(), length.end());
    let units = length.clone().sum();
    let (first, second) = (length.clone(), length);
    Group::new(title, units, "ns/f32")
        .way(NAIVE, move || first.clone().all(|len| naive(&black_box(values)[..len])))
        .way(OURS, move || second.clone().all(|len| all_finite(&black_box(values)[..len])))
}
