//! The numbers at which comparisons go wrong, drawn more often than the others. Decides only how often.

use arbitrary::{Arbitrary, Result, Unstructured};

/// NaNs, infinities, zeros, the edges of the subnormals and of everything.
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

/// A float: at an edge, on a coarse grid where ties are likely, or any.
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

/// A counter: small, where things happen, or at the end of its range.
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
