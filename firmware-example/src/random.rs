//! Reproducible randomness: the same numbers on every machine.
//!
//! A training run uses random initial weights and a random image order. A resumed run must use the same image order as
//! the interrupted run, without saving the state of a generator:
//!
//! * [`Pcg32`] generates the initial weights from a seed, once per run.
//! * [`Permutation`] computes the image order of one epoch. The image at a position is a function of the seed, the
//!   epoch and the position. It needs no table in RAM, has no state to save, and can start in the middle of an epoch.
//!
//! Neither type reads a clock or a noise source. Neither type is suitable for cryptography.
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

/// The permuted congruential generator PCG-XSH-RR 64/32 (M. O'Neill, "PCG: A Family of Simple Fast Space-Efficient
/// Statistically Good Algorithms", 2014), with the stream number of the reference implementation.
///
/// ```
/// use digits_workload::random::Pcg32;
///
/// // The expected values are the first outputs of the reference program `pcg32-demo`.
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
    /// Increment of stream 54 of the reference implementation: the stream number, shifted left by one and made odd.
    const INCREMENT: u64 = (54 << 1) | 1;

    /// Creates a generator from `seed`. Every seed is valid, including 0.
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

    /// The next 32 random bits. All values are equally likely.
    pub const fn next_u32(&mut self) -> u32 {
        let old = self.state;
        self.advance();
        let shifted = (((old >> 18) ^ old) >> 27) as u32;
        shifted.rotate_right((old >> 59) as u32)
    }

    /// Creates the generator of one training step. Its numbers depend only on the arguments, so a resumed run draws the
    /// numbers of the interrupted run without a stored state.
    ///
    /// ```
    /// use digits_workload::random::Pcg32;
    ///
    /// assert_eq!(Pcg32::for_step(1, 2, 3), Pcg32::for_step(1, 2, 3));
    /// assert_ne!(Pcg32::for_step(1, 2, 3), Pcg32::for_step(1, 3, 3));
    /// ```
    pub const fn for_step(seed: u32, epoch: u32, offset: u32) -> Self {
        let key = mix(mix(seed ^ 0xb7e1_5163) ^ epoch);
        Self::new((key as u64) << 32 | mix(key ^ offset) as u64)
    }

    /// The next number from a uniform distribution over `0.0..1.0`: one of the 2²⁴ multiples of 2⁻²⁴.
    pub const fn fraction(&mut self) -> f32 {
        (self.next_u32() >> 8) as f32 * (1.0 / 16_777_216.0)
    }

    /// The next number from a uniform distribution over `-bound..bound`.
    ///
    /// The generator maps 24 random bits to one of 2²⁴ multiples of 2⁻²³. An `f32` represents them exactly, so only the
    /// multiplication by `bound` rounds.
    pub const fn symmetric(&mut self, bound: f32) -> f32 {
        let steps = (self.next_u32() >> 8) as f32;
        (steps * (1.0 / 8_388_608.0) - 1.0) * bound
    }
}

/// A permutation of `0..len` that is computed instead of stored. Two keys, a seed and an epoch, select the permutation.
///
/// A Feistel network of four rounds permutes `0..2^(2 * half)`, the smallest such range that contains `0..len`. A
/// result outside `0..len` passes through the network again until it is inside (cycle walking: J. Black and P. Rogaway,
/// "Ciphers with Arbitrary Finite Domains", 2002). The range is smaller than `4 * len`, so fewer than four passes are
/// needed on average.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permutation {
    len: u32,
    /// Number of bits in one half of a value, at most 16.
    half: u32,
    keys: [u32; 4],
}

impl Permutation {
    /// The permutation of `0..len` for `seed` and `epoch`.
    pub const fn new(len: u32, seed: u32, epoch: u32) -> Self {
        // The bits of the largest index are split into two equal halves of at least one bit each.
        let bits = u32::BITS - len.saturating_sub(1).leading_zeros();
        let half = if bits < 2 { 1 } else { bits.div_ceil(2) };
        let base = mix(mix(seed ^ 0x9e37_79b9) ^ epoch);
        Self {
            len,
            half,
            keys: [mix(base ^ 0x243f_6a88), mix(base ^ 0x85a3_08d3), mix(base ^ 0x1319_8a2e), mix(base ^ 0x0370_7344)],
        }
    }

    /// Number of permuted indices.
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Returns true if the permutation has length 0.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The index at `position`. Returns `None` if `position` is [`Permutation::len`] or more.
    pub fn at(&self, position: u32) -> Option<u32> {
        if position >= self.len {
            return None;
        }
        // This loop terminates: the cycle of a bijection returns to `position`, which is less than `len`.
        let mut index = self.encipher(position);
        while index >= self.len {
            index = self.encipher(index);
        }
        Some(index)
    }

    /// One pass through the Feistel network, a bijection on `0..2^(2 * half)`.
    fn encipher(&self, value: u32) -> u32 {
        let mask = (1 << self.half) - 1;
        let (mut left, mut right) = (value >> self.half, value & mask);
        for key in self.keys {
            (left, right) = (right, left ^ (mix(right ^ key) & mask));
        }
        (left << self.half) | right
    }
}

/// The finalizer of MurmurHash3 (A. Appleby, public domain). Every input bit affects every output bit.
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
    fn permutation_supports_the_largest_lengths() {
        for len in [65_535, 65_536, 65_537, 1 << 31, u32::MAX] {
            let order = Permutation::new(len, 3, 4);
            for position in [0, 1, len / 2, len - 1] {
                assert!(order.at(position).unwrap() < len);
            }
        }
    }

    #[test]
    fn all_six_orders_of_three_indices_occur() {
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
                // Two unrelated orders agree at one position on average. Ten or more equal positions have a probability
                // of about one in a million.
                assert!(same < 10, "{same} of 1200 positions agree");
            }
        }
    }

    #[test]
    fn symmetric_numbers_stay_within_the_bound_and_cover_it() {
        let mut random = Pcg32::new(0);
        let values: Vec<f32> = (0..10_000).map(|_| random.symmetric(0.5)).collect();
        assert!(values.iter().all(|v| (-0.5..0.5).contains(v)));
        let mean = values.iter().sum::<f32>() / 10_000.0;
        assert!(mean.abs() < 0.01, "mean {mean}");
        assert!(values.iter().any(|v| *v < -0.499) && values.iter().any(|v| *v > 0.499));
    }
}
