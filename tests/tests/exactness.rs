//! Holds what is written to be fast to what is plainly right: the scan to `f32::is_finite`, at every position, length and
//! alignment; the checksum to a bit at a time and to somebody else's, however the bytes are split; a guard with a cadence
//! to a look at everything.
//!
//! With `--features training-monitor/crc-table-4k` the same holds for the larger table.

use std::num::NonZeroU32;
use training_monitor::checkpoint::{Checksum, Crc32};
use training_monitor::event::IterationCompleted;
use training_monitor::finite::{Finite, all_finite, first_non_finite};
use training_monitor::handlers::terminate_on_nan::NonFinite;
use training_monitor::{Engine, State, StopReason, TerminateOnNan};

/// xorshift32; the same numbers in every run.
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

/// Finite, and each at an edge.
const FINITE: [f32; 10] = [
    0.0,
    -0.0,
    1.0,
    f32::MAX,
    f32::MIN,
    f32::MIN_POSITIVE,
    f32::from_bits(1),           // the smallest subnormal
    f32::from_bits(0x807F_FFFF), // the largest, negative
    f32::from_bits(0x7F00_0000), // the largest power of two
    -1e-30,
];

/// Not finite: both infinities, and NaNs quiet and signalling, of both signs, with payloads.
const NOT: [u32; 9] = [
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

fn naive(values: &[f32]) -> Option<usize> {
    values.iter().position(|value| !value.is_finite())
}

fn check(values: &[f32]) {
    let expected = naive(values);
    assert_eq!(all_finite(values), expected.is_none(), "{} elements, first bad {expected:?}", values.len());
    assert_eq!(first_non_finite(values), expected);
    assert_eq!(values.is_finite(), expected.is_none());
}

#[test]
fn every_length_with_one_bad_number_at_every_place() {
    let mut values = [0.0f32; 304];
    for len in 0..=300 {
        for start in [0, 1, 2, 3] {
            let slice = &mut values[start..start + len];
            for (index, value) in slice.iter_mut().enumerate() {
                *value = FINITE[(index + len) % FINITE.len()];
            }
            check(slice);
            for place in 0..len {
                let was = slice[place];
                slice[place] = f32::from_bits(NOT[(place + len + start) % NOT.len()]);
                check(slice);
                slice[place] = was;
            }
        }
    }
}

#[test]
fn every_exponent_and_sign_alone_and_among_others() {
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
fn sums_that_overflow_of_numbers_that_do_not() {
    for len in (0..300).chain([2047, 2048, 2049, 4096, 5000]) {
        for value in [f32::MAX, f32::MIN, 3e38, f32::from_bits(1)] {
            check(&vec![value; len]);
        }
        // To both infinities at once, whose sum is a NaN.
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
fn infinities_that_would_cancel() {
    for distance in 1..100 {
        let mut values = [1.0f32; 200];
        values[50] = f32::INFINITY;
        values[50 + distance] = f32::NEG_INFINITY;
        check(&values);
    }
}

#[test]
fn long_slices_of_any_bits() {
    let mut random = Random(1);
    for _ in 0..300 {
        let len = random.below(20_000);
        let mut values: Vec<f32> = (0..len).map(|_| f32::from_bits(random.next() & 0xBFFF_FFFF)).collect();
        check(&values);
        for _ in 0..random.below(3) {
            let place = random.below(len.max(1));
            if let Some(value) = values.get_mut(place) {
                *value = f32::from_bits(NOT[place % NOT.len()]);
            }
        }
        check(&values);
        check(&values[random.below(values.len() + 1)..]);
    }
}

/// A cadence covers everything: whatever the slices, a bad number is found within `every` calls from any phase, and its
/// place is told.
#[test]
fn stripes_cover_everything_in_one_cadence() {
    for every in 1..=12u32 {
        for len in 0..=40usize {
            let guard = TerminateOnNan::new().with_cadence(NonZeroU32::new(every).unwrap());
            for place in 0..len {
                let mut values = vec![0.0f32; len];
                values[place] = f32::NAN;
                for phase in 0..every {
                    let mut guard = guard;
                    for _ in 0..phase {
                        guard.check_stripe(&[]);
                    }
                    let hits = (0..every).filter(|_| guard.check_stripe(&values)).count();
                    assert_eq!(hits, 1, "every {every}, {len} elements, bad at {place}, phase {phase}");
                }
            }
            let mut guard = guard;
            assert!(!(0..every * 2).any(|_| guard.check_stripe(&vec![f32::MAX; len])));
        }
    }
}

#[test]
fn a_watched_model_is_covered_and_the_place_told() {
    let sizes = [1usize, 7, 0, 30];
    for every in 1..=9u32 {
        for (slice, size) in sizes.iter().enumerate() {
            for index in 0..*size {
                let mut model: Vec<Vec<f32>> = sizes.iter().map(|size| vec![1.0; *size]).collect();
                model[slice][index] = f32::NEG_INFINITY;
                let mut guard = TerminateOnNan::new()
                    .with_cadence(NonZeroU32::new(every).unwrap())
                    .watch(IterationCompleted, |model: &Vec<Vec<f32>>, see: &mut dyn FnMut(&[f32])| {
                        model.iter().for_each(|slice| see(slice))
                    });
                let mut engine = Engine::new(1).with_epoch_length(100);
                let step = |_: &mut Vec<Vec<f32>>, _: u32, _: &mut State<()>| ();
                let outcome = engine.run(&mut model, 0..100, &mut guard, step).unwrap();
                assert_eq!(outcome.reason, StopReason::NonFinite);
                assert!(outcome.iteration <= every, "found in iteration {}, cadence {every}", outcome.iteration);
                assert_eq!(guard.found(), Some(NonFinite { slice: slice as u32, index: index as u32 }));
            }
        }
    }
}

/// CRC-32/ISO-HDLC as it is defined, a bit at a time.
fn bitwise(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

#[test]
fn all_checksums_give_the_same_sum_at_every_alignment_length_and_split() {
    let mut random = Random(7);
    let bytes: Vec<u8> = (0..400).map(|_| random.next() as u8).collect();
    assert_eq!(bitwise(b"123456789"), 0xCBF4_3926);
    for start in 0..8 {
        for len in 0..=300 {
            let part = &bytes[start..start + len];
            let expected = bitwise(part);
            assert_eq!(crc32fast::hash(part), expected);
            let mut crc = Crc32::default();
            crc.update(part);
            assert_eq!(crc.value(), expected, "{len} bytes from {start}");
        }
    }
    for split in 0..=bytes.len() {
        let (first, second) = bytes.split_at(split);
        let mut crc = Crc32::default();
        crc.update(first);
        assert_eq!(crc.value(), bitwise(first));
        crc.update(second);
        assert_eq!(crc.value(), bitwise(&bytes));
    }
    for _ in 0..200 {
        let (mut crc, mut rest) = (Crc32::default(), &bytes[..]);
        while !rest.is_empty() {
            let (now, later) = rest.split_at(random.below(20).min(rest.len()));
            crc.update(now);
            rest = later;
        }
        assert_eq!(crc.value(), bitwise(&bytes));
    }
}
