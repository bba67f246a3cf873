//! Tests of the scan for NaN and infinity. Its result must match `f32::is_finite` at every position, length and
//! alignment.

use training_monitor::finite::{Finite, all_finite, first_non_finite};

/// A random generator (xorshift32) that produces the same numbers in every test run.
struct Random(u32);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }
    fn below(&mut self, bound: usize) -> usize {
        self.next() as usize % bound
    }
}

/// Finite f32 numbers at the limits of their ranges, for example the largest and the smallest ones.
const FINITE: [f32; 10] = [
    0.0,
    -0.0,
    1.0,
    f32::MAX,
    f32::MIN,
    f32::MIN_POSITIVE,
    f32::from_bits(1),           // the smallest subnormal number
    f32::from_bits(0x807F_FFFF), // the largest subnormal number, negated
    f32::from_bits(0x7F00_0000), // the largest power of two
    -1e-30,
];

/// The bits of numbers that are not finite: both infinities, and several quiet and signalling NaNs of both signs.
const NON_FINITE: [u32; 9] = [
    0x7F80_0000,
    0xFF80_0000,
    0x7FC0_0000,
    0xFFC0_0000,
    0x7F80_0001,
    0xFF80_0001,
    0x7FFF_FFFF,
    0xFFFF_FFFF,
    0x7FA5_5A5A,
];

/// Checks that the functions of the crate agree with `f32::is_finite`, called for each element.
fn check(values: &[f32]) {
    let expected = values.iter().position(|value| !value.is_finite());
    assert_eq!(all_finite(values), expected.is_none(), "{} elements, first non-finite: {expected:?}", values.len());
    assert_eq!(first_non_finite(values), expected);
    assert_eq!(values.is_finite(), expected.is_none());
}

#[test]
fn one_non_finite_number_is_found_at_every_length_alignment_and_place() {
    let mut values = [0.0f32; 304];
    for len in 0..=300 {
        for start in [0, 1, 2, 3] {
            let slice = &mut values[start..start + len];
            for (index, value) in slice.iter_mut().enumerate() {
                *value = FINITE[(index + len) % FINITE.len()];
            }
            check(slice);
            for place in 0..len {
                let original = slice[place];
                slice[place] = f32::from_bits(NON_FINITE[(place + len + start) % NON_FINITE.len()]);
                check(slice);
                slice[place] = original;
            }
        }
    }
}

#[test]
fn every_exponent_is_classified_at_every_place() {
    for high in 0..=0x1FFu32 {
        for mantissa in [0, 1, 0x40_0000, 0x7F_FFFF] {
            let value = f32::from_bits(high << 23 | mantissa);
            for len in [1, 8, 31, 32, 33, 64, 100] {
                for place in [0, len / 2, len - 1] {
                    let mut values = vec![0.5; len];
                    values[place] = value;
                    check(&values);
                }
            }
        }
    }
}

#[test]
fn finite_numbers_with_an_overflowing_sum_are_finite() {
    for len in (0..300).chain([2047, 2048, 2049, 4096, 5000]) {
        for value in [f32::MAX, f32::MIN, 3e38, f32::from_bits(1)] {
            check(&vec![value; len]);
        }
        // These numbers are finite, but their sums overflow to infinity. Infinities of both signs add up to NaN.
        let mixed: Vec<f32> = (0..len).map(|index| if index % 2 == 0 { f32::MAX } else { f32::MIN }).collect();
        check(&mixed);
        for place in [0, len / 2, len.saturating_sub(1)] {
            let mut bad = mixed.clone();
            if let Some(value) = bad.get_mut(place) {
                *value = f32::NAN;
            }
            check(&bad);
        }
    }
}

#[test]
fn two_infinities_of_opposite_sign_are_found() {
    for distance in 1..100 {
        let mut values = [1.0f32; 200];
        values[50] = f32::INFINITY;
        values[50 + distance] = f32::NEG_INFINITY;
        check(&values);
    }
}

#[test]
fn long_slices_of_random_bits_are_classified() {
    let mut random = Random(1);
    for _ in 0..300 {
        let len = random.below(20_000);
        let mut values: Vec<f32> = (0..len).map(|_| f32::from_bits(random.next() & 0xBFFF_FFFF)).collect();
        check(&values);
        for _ in 0..random.below(3) {
            let place = random.below(len.max(1));
            if let Some(value) = values.get_mut(place) {
                *value = f32::from_bits(NON_FINITE[place % NON_FINITE.len()]);
            }
        }
        check(&values);
        check(&values[random.below(values.len() + 1)..]);
    }
}

/// The scan adds up the elements or their exponents. Two non-finite numbers must not cancel each other in such a sum.
#[test]
fn two_equal_non_finite_numbers_are_found() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for len in 1..48_usize {
            for first in 0..len {
                for second in first..len {
                    let mut values = vec![1.0_f32; len];
                    values[first] = bad;
                    values[second] = bad;
                    assert!(!all_finite(&values), "{len}: {first}, {second}");
                    assert_eq!(first_non_finite(&values), Some(first));
                }
            }
        }
    }
}

#[test]
fn references_collections_and_integers_implement_finite() {
    let mut collection = heapless::Vec::<f32, 4>::from_slice(&[1.0, 2.0]).unwrap();
    assert!(collection.is_finite() && Finite::is_finite(&&mut collection));
    collection.push(f32::NAN).unwrap();
    assert!(!collection.is_finite());
    assert!(!Finite::is_finite(&&mut collection) && !Finite::is_finite(&&collection));
    assert!(Finite::is_finite(&5_u32) && Finite::is_finite(&true) && Finite::is_finite(&()));
}
