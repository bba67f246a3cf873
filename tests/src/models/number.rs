//! Random numbers that are often at the limits of their ranges, where comparisons are most likely to fail.

use arbitrary::{Arbitrary, Result, Unstructured};

/// NaNs, infinities, zeros, the limits of the subnormal numbers and of the finite numbers, and some common numbers.
pub const EDGES: [f32; 16] = [
    f32::NAN,
    f32::from_bits(0xFFA5_5A5A),
    f32::INFINITY,
    f32::NEG_INFINITY,
    0.0,
    -0.0,
    f32::from_bits(1),
    f32::from_bits(0x8000_0001),
    f32::from_bits(0x007F_FFFF),
    f32::MIN_POSITIVE,
    f32::MAX,
    f32::MIN,
    1.0,
    -1.0,
    0.1,
    1.1,
];

/// A float: one of the [`EDGES`], a number on a coarse grid where equal numbers are likely, or any number.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Number(pub f32);

impl<'a> Arbitrary<'a> for Number {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Number(match u8::arbitrary(input)? {
            draw @ 0..=79 => EDGES[usize::from(draw) % EDGES.len()],
            draw @ 80..=207 => f32::from(i16::from(draw) - 144) / 8.0,
            _ => f32::from_bits(u32::arbitrary(input)?),
        }))
    }

    fn size_hint(_: usize) -> (usize, Option<usize>) {
        (1, Some(5))
    }
}

/// A counter: a small number, a number close to `u32::MAX`, or any number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counter(pub u32);

impl<'a> Arbitrary<'a> for Counter {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Counter(match u8::arbitrary(input)? {
            draw @ 0..=199 => u32::from(draw) % 12,
            draw @ 200..=229 => u32::MAX - u32::from(draw - 200) % 4,
            _ => u32::arbitrary(input)?,
        }))
    }

    fn size_hint(_: usize) -> (usize, Option<usize>) {
        (1, Some(5))
    }
}
