//! Computes norms of gradients: fast, accurate, without an overflow, and with the same bits on all targets.
//!
//! A sum of many `f32` squares in one variable would lose accuracy: after a million additions, half of the digits can be
//! wrong. Therefore the squares are added in blocks. A block has 32 lanes, which are sums of at most 64 squares each. Each
//! square is part of at most 64 + 6 additions, so the relative error of a block is below 70 × 2⁻²⁴, or 4.2 × 10⁻⁶. The
//! sums of the blocks are added with compensation, which keeps the rounding error of each addition. The relative error of
//! the square root is half of that of the sum.

/// A closure that passes each slice of a gradient to its argument.
pub(super) type Slices<'a> = dyn FnMut(&mut dyn FnMut(&mut [f32])) + 'a;

/// The number of sums that are computed in parallel.
const LANES: usize = 32;

/// The number of elements in a block: 64 for each lane.
const BLOCK: usize = 2048;

/// The smallest sum of squares that is accurate. The square of an element has an absolute error of up to 2⁻¹⁵⁰ because
/// of underflow. For 2³² elements, that is 2⁻¹⁸ of this sum in the worst case.
const SMALLEST_SUM: f32 = power_of_two(-100);

/// The scale of elements whose squares underflow, and the inverse of the scale of elements whose squares overflow. If
/// the plain sum is above 2¹²⁸, the sum of the scaled squares is above 2⁻⁷², and no square is above 2⁵⁶. If the plain
/// sum is below 2⁻¹⁰⁰, the sum of the scaled squares is below 2¹⁰⁰, and the square of the smallest element is 2⁻⁹⁸.
pub(super) const SCALE: f32 = power_of_two(100);

const fn power_of_two(exponent: i32) -> f32 {
    f32::from_bits(((exponent + 127) as u32) << 23)
}

/// A norm. The norm of finite elements can be greater than `f32::MAX`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Norm {
    /// The norm.
    Exact(f32),
    /// The norm divided by [`SCALE`], because the norm exceeds `f32::MAX`.
    Scaled(f32),
}

impl Norm {
    pub(super) const fn is_finite(self) -> bool {
        match self {
            Norm::Exact(value) | Norm::Scaled(value) => value.is_finite(),
        }
    }

    /// Returns the norm, but at most `f32::MAX` if it is finite.
    pub(super) const fn value(self) -> f32 {
        match self {
            Norm::Exact(value) => value,
            Norm::Scaled(_) => f32::MAX,
        }
    }

    /// Adds a small number. A norm that exceeds `f32::MAX` does not change by it.
    pub(super) fn add(self, small: f32) -> Self {
        match self {
            Norm::Exact(value) => Norm::Exact(value + small),
            Norm::Scaled(_) => self,
        }
    }

    /// Returns `dividend` divided by the norm, or `None` if the norm exceeds `f32::MAX`.
    pub(super) fn divide(self, dividend: f32) -> Option<f32> {
        match self {
            Norm::Exact(value) => Some(dividend / value),
            Norm::Scaled(_) => None,
        }
    }

    /// Returns the norm divided by [`SCALE`].
    pub(super) fn in_scale(self) -> f32 {
        match self {
            Norm::Exact(value) => value * (1.0 / SCALE),
            Norm::Scaled(value) => value,
        }
    }
}

/// Returns the L2 norm of all slices together.
pub(super) fn l2(gradient: &mut Slices<'_>) -> Norm {
    let mut total = CompensatedSum::default();
    gradient(&mut |values| values.chunks(BLOCK).for_each(|block| total.add(sum_of_squares(block))));
    let sum = total.value();
    if (SMALLEST_SUM..f32::INFINITY).contains(&sum) {
        return Norm::Exact(square_root(sum));
    }
    // A NaN or an infinity in the gradient, or an overflow, or an underflow, or only zeros.
    let largest = largest(gradient);
    if !largest.is_finite() || largest == 0.0 {
        return Norm::Exact(largest);
    }
    let (scale, unit) = if sum < SMALLEST_SUM { (SCALE, 1.0 / SCALE) } else { (1.0 / SCALE, SCALE) };
    let mut total = CompensatedSum::default();
    // This path is rare, so it is a simple loop.
    gradient(&mut |values| values.iter().for_each(|value| total.add((value * scale) * (value * scale))));
    let in_units = square_root(total.value());
    let value = in_units * unit;
    if value.is_finite() { Norm::Exact(value) } else { Norm::Scaled(in_units) }
}

/// Returns the largest magnitude of all slices together, or NaN if an element is NaN.
pub(super) fn largest(gradient: &mut Slices<'_>) -> f32 {
    // The magnitudes are compared as integers. Their order is the same, and a NaN is greater than all numbers. An i32
    // comparison is faster than a u32 comparison in the vector unit of x86-64; the sign bit is 0.
    let mut largest = 0;
    gradient(&mut |values| {
        let magnitudes = values.iter().map(|value| (value.to_bits() & 0x7FFF_FFFF) as i32);
        largest = magnitudes.fold(largest, i32::max);
    });
    f32::from_bits(largest as u32)
}

/// Returns the sum of the squares of a block. It is NaN or infinite if an element is not finite.
fn sum_of_squares(block: &[f32]) -> f32 {
    if block.len() < LANES {
        return block.iter().fold(0.0, |sum, value| sum + value * value);
    }
    let lanes = lanes(block);
    let (groups, _) = lanes.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for group in groups {
        sums.iter_mut().zip(group).for_each(|(sum, lane)| *sum += lane);
    }
    // Pairs, because their additions do not wait for each other.
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + b) + (c + d)) + ((e + f) + (g + h))
}

#[cfg(target_pointer_width = "64")]
use lanes_by_row as lanes;

#[cfg(not(target_pointer_width = "64"))]
use lanes_by_group as lanes;

/// Returns the sums of the lanes: the element with the index i belongs to the lane i modulo 32. All lanes fit into the
/// vector registers of a 64-bit host.
#[cfg(any(test, target_pointer_width = "64"))]
#[inline(never)] // The compiler keeps the sums in registers only if the function does nothing else with them.
fn lanes_by_row(block: &[f32]) -> [f32; LANES] {
    let (rows, rest) = block.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for row in rows {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += value * value;
        }
    }
    for (sum, value) in sums.iter_mut().zip(rest) {
        *sum += value * value;
    }
    sums
}

/// Returns the same bits as `lanes_by_row`, for processors with fewer registers: one pass over the block for each group of
/// eight lanes.
#[cfg(any(test, not(target_pointer_width = "64")))]
#[inline(never)]
fn lanes_by_group(block: &[f32]) -> [f32; LANES] {
    let (rows, rest) = block.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    let (groups, _) = sums.as_chunks_mut::<8>();
    for (index, group) in groups.iter_mut().enumerate() {
        // The loop is unrolled by hand, so that the sums stay in registers even at opt-level "s".
        let [mut p, mut q, mut r, mut s, mut t, mut u, mut v, mut w] = *group;
        for row in rows {
            let (parts, _) = row.as_chunks::<8>();
            let Some([a, b, c, d, e, f, g, h]) = parts.get(index) else { break };
            p += a * a;
            q += b * b;
            r += c * c;
            s += d * d;
            t += e * e;
            u += f * f;
            v += g * g;
            w += h * h;
        }
        *group = [p, q, r, s, t, u, v, w];
    }
    for (sum, value) in sums.iter_mut().zip(rest) {
        *sum += value * value;
    }
    sums
}

/// A sum that also keeps the rounding errors of its additions (Knuth's TwoSum).
#[derive(Clone, Copy, Default)]
struct CompensatedSum {
    sum: f32,
    error: f32,
}

impl CompensatedSum {
    #[inline]
    fn add(&mut self, value: f32) {
        let sum = self.sum + value;
        let added = sum - self.sum;
        self.error += (self.sum - (sum - added)) + (value - added);
        self.sum = sum;
    }

    fn value(&self) -> f32 {
        self.sum + self.error
    }
}

/// Returns the square root of a normal number, with a relative error below 2⁻²³. The standard library has no square root
/// without `std`, and a target's instruction is not needed: there is one call for each gradient.
fn square_root(value: f32) -> f32 {
    // Half of the exponent. The relative error of this estimate is below 2⁻⁴; each step of Newton's method squares it.
    let mut root = f32::from_bits((value.to_bits() >> 1).wrapping_add(0x1FBD_1DF5));
    for _ in 0..3 {
        root = 0.5 * (root + value / root);
    }
    root
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// Pseudo-random numbers between −1 and 1.
    fn numbers(count: usize) -> Vec<f32> {
        let mut state = 1u32;
        let next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        core::iter::repeat_with(next).take(count).collect()
    }

    #[test]
    fn both_implementations_return_the_same_bits() {
        for count in (32..400).chain([2047, 2048]) {
            let values = numbers(count);
            let (by_row, by_group) = (lanes_by_row(&values), lanes_by_group(&values));
            assert_eq!(by_row.map(f32::to_bits), by_group.map(f32::to_bits), "{count}");
        }
    }

    /// The result for these inputs must be the same on all targets, in all releases.
    #[test]
    fn the_norm_has_fixed_bits() {
        let mut values = numbers(5000);
        let norm = l2(&mut |visit| visit(&mut values)).value();
        assert_eq!(norm.to_bits(), 0x4223_E5D3, "{norm}");
    }

    #[test]
    fn square_root_is_accurate() {
        for exponent in -100..128 {
            for fraction in [0x0000_0000, 0x0012_3456, 0x0040_0000, 0x007F_FFFF] {
                let value = f32::from_bits(power_of_two(exponent).to_bits() | fraction);
                let exact = f64::from(value).sqrt();
                let error = (f64::from(square_root(value)) - exact).abs() / exact;
                assert!(error < 1.2e-7, "{value}: {error}");
            }
        }
    }
}
