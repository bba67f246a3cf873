//! Randomness that is a function: the same numbers on every machine, from any point.
//!
//! Two things are random in a training run, the first weights and the order of the images, and
//! a run that is cut and resumed must see both again. So neither has hidden state that would
//! have to be saved:
//!
//! * [`Pcg32`] makes the first weights from a seed, once.
//! * [`Permutation`] is the order of one epoch as a formula: which image stands at a position is
//!   computed from the seed, the epoch and the position. No table in RAM, nothing to store, and
//!   an epoch can be entered in its middle.
//!
//! Neither ever reads a clock or a noise source, and neither is fit for cryptography.
//!
//! ```
//! use digits_workload::random::Permutation;
//!
//! let order = Permutation::new(5, 1, 0);
//! let mut seen = [false; 5];
//! for position in 0..5 {
//!     let index = order.at(position).unwrap();
//!     assert!(!std::mem::replace(&mut seen[index as usize], true), "each index once");
//! }
//! assert_eq!(order.at(5), None);
//! ```

/// The permuted congruential generator PCG-XSH-RR 64/32 (M. O'Neill, "PCG: A Family of Simple
/// Fast Space-Efficient Statistically Good Algorithms", 2014), with the stream of its reference
/// code.
///
/// ```
/// use digits_workload::random::Pcg32;
///
/// // The first numbers of the reference program `pcg32-demo`.
/// let mut random = Pcg32::new(42);
/// assert_eq!(random.next_u32(), 0xa15c_02b7);
/// assert_eq!(random.next_u32(), 0x7b47_f409);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pcg32 {
    state: u64,
}

impl Pcg32 {
    const MULTIPLIER: u64 = 6_364_136_223_846_793_005;
    /// Stream 54 of the reference code, as the generator wants it: shifted, and odd.
    const INCREMENT: u64 = (54 << 1) | 1;

    /// The generator started from `seed`. Any seed is good, also 0.
    pub const fn new(seed: u64) -> Self {
        let mut random = Self { state: 0 };
        random.advance();
        random.state = random.state.wrapping_add(seed);
        random.advance();
        random
    }

    const fn advance(&mut self) {
        self.state = self.state.wrapping_mul(Self::MULTIPLIER).wrapping_add(Self::INCREMENT);
    }

    /// The next 32 bits, each value equally likely.
    pub const fn next_u32(&mut self) -> u32 {
        let old = self.state;
        self.advance();
        let shifted = (((old >> 18) ^ old) >> 27) as u32;
        shifted.rotate_right((old >> 59) as u32)
    }

    /// The next number, evenly spread over `-bound..bound`.
    ///
    /// 24 random bits become one of 2²⁴ multiples of 2⁻²³, which an `f32` holds exactly, so that
    /// the product with `bound` is the only rounding.
    pub const fn symmetric(&mut self, bound: f32) -> f32 {
        let steps = (self.next_u32() >> 8) as f32;
        (steps * (1.0 / 8_388_608.0) - 1.0) * bound
    }
}

/// An order of `0..len` that is computed, not stored: a bijection picked by two keys.
///
/// A Feistel network of four rounds permutes the smallest even power of two that holds `len`; a
/// value that falls outside `0..len` is sent through again until it falls inside
/// (cycle walking: J. Black and P. Rogaway, "Ciphers with Arbitrary Finite Domains", 2002). The
/// power of two is less than `4 * len`, so fewer than four passes are taken on average.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permutation {
    len: u32,
    /// Bits in one half of a value; at most 16.
    half: u32,
    keys: [u32; 4],
}

impl Permutation {
    /// The order of `0..len` that belongs to `seed` and `epoch`.
    pub const fn new(len: u32, seed: u32, epoch: u32) -> Self {
        // Bits of the largest index, in two equal halves, at least one bit each.
        let bits = u32::BITS - len.saturating_sub(1).leading_zeros();
        let half = if bits < 2 { 1 } else { bits.div_ceil(2) };
        let base = mix(mix(seed ^ 0x9e37_79b9) ^ epoch);
        Self {
            len,
            half,
            keys: [mix(base ^ 0x243f_6a88), mix(base ^ 0x85a3_08d3), mix(base ^ 0x1319_8a2e), mix(base ^ 0x0370_7344)],
        }
    }

    /// How many indices are ordered.
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Whether there is nothing to order.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The index at `position`; `None` from `len` on.
    pub fn at(&self, position: u32) -> Option<u32> {
        if position >= self.len {
            return None;
        }
        // Ends: a bijection's cycle comes back to `position`, which is inside.
        let mut index = self.encipher(position);
        while index >= self.len {
            index = self.encipher(index);
        }
        Some(index)
    }

    /// One pass, a bijection on `0..2^(2 * half)`.
    fn encipher(&self, value: u32) -> u32 {
        let mask = (1 << self.half) - 1;
        let (mut left, mut right) = (value >> self.half, value & mask);
        for key in self.keys {
            (left, right) = (right, left ^ (mix(right ^ key) & mask));
        }
        (left << self.half) | right
    }
}

/// The finaliser of MurmurHash3 (A. Appleby, public domain): every bit of the input reaches
/// every bit of the output.
const fn mix(mut value: u32) -> u32 {
    value ^= value >> 16;
    value = value.wrapping_mul(0x85eb_ca6b);
    value ^= value >> 13;
    value = value.wrapping_mul(0xc2b2_ae35);
    value ^ (value >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{vec, vec::Vec};

    #[test]
    fn permutation_is_a_bijection_for_every_length_and_key() {
        for len in (0..70).chain([127, 128, 129, 1200, 1797, 4096, 4097]) {
            for (seed, epoch) in [(0, 0), (0, 1), (1, 0), (7, 60), (u32::MAX, u32::MAX)] {
                let order = Permutation::new(len, seed, epoch);
                let mut seen = vec![false; len as usize];
                for position in 0..len {
                    let index = order.at(position).unwrap() as usize;
                    assert!(!seen[index], "{index} twice in {order:?}");
                    seen[index] = true;
                }
                assert_eq!(order.at(len), None);
                assert_eq!(order.at(u32::MAX), None);
            }
        }
    }

    #[test]
    fn permutation_reaches_the_largest_lengths() {
        for len in [65_535, 65_536, 65_537, 1 << 31, u32::MAX] {
            let order = Permutation::new(len, 3, 4);
            for position in [0, 1, len / 2, len - 1] {
                assert!(order.at(position).unwrap() < len);
            }
        }
    }

    #[test]
    fn every_order_of_three_comes_up() {
        let mut orders: Vec<[u32; 3]> = (0..200)
            .map(|epoch| {
                let order = Permutation::new(3, 0, epoch);
                [0, 1, 2].map(|position| order.at(position).unwrap())
            })
            .collect();
        orders.sort();
        orders.dedup();
        assert_eq!(orders.len(), 6);
    }

    #[test]
    fn epochs_and_seeds_give_different_orders() {
        let order = |seed, epoch| -> Vec<u32> {
            let order = Permutation::new(1200, seed, epoch);
            (0..1200).filter_map(|position| order.at(position)).collect()
        };
        let orders = [order(0, 0), order(0, 1), order(1, 0), order(1, 1)];
        for (number, left) in orders.iter().enumerate() {
            for right in orders.iter().skip(number + 1) {
                let same = left.iter().zip(right).filter(|(a, b)| a == b).count();
                // One on average if they are unrelated; ten or more is one case in a million.
                assert!(same < 10, "{same} of 1200 places agree");
            }
        }
    }

    #[test]
    fn symmetric_stays_inside_and_covers() {
        let mut random = Pcg32::new(0);
        let values: Vec<f32> = (0..10_000).map(|_| random.symmetric(0.5)).collect();
        assert!(values.iter().all(|v| (-0.5..0.5).contains(v)));
        let mean = values.iter().sum::<f32>() / 10_000.0;
        assert!(mean.abs() < 0.01, "mean {mean}");
        assert!(values.iter().any(|v| *v < -0.499) && values.iter().any(|v| *v > 0.499));
    }
}
