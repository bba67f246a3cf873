//! The check of `f64`, `f16` and `bf16` slices. It reads as many bytes per instruction as the check of `f32` slices.

/// Whether the processor has an instruction that adds two `f64`.
const HARDWARE_DOUBLE: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

/// The number of elements that are added before the sum is checked, as for `f32`: 8 KiB.
const BLOCK: usize = super::BLOCK / 2;

/// Returns whether all elements are finite. The result for an empty slice is true.
#[must_use]
pub fn all_finite_f64(values: &[f64]) -> bool {
    values.chunks(BLOCK).all(|block| (HARDWARE_DOUBLE && sum_is_finite(block)) || exponents_are_finite(block))
}

/// Returns whether the sum of the elements is finite. If it is, all elements are finite. If it is not, the sum may have
/// overflowed, and each element must be checked.
#[cfg(target_pointer_width = "64")]
fn sum_is_finite(block: &[f64]) -> bool {
    const LANES: usize = super::LANES / 2;
    let (chunks, rest) = block.as_chunks::<LANES>();
    exponents_are_finite(&super::sums(chunks)) && exponents_are_finite(rest)
}

/// Targets without 64-bit registers have no fast sum.
#[cfg(not(target_pointer_width = "64"))]
fn sum_is_finite(_: &[f64]) -> bool {
    false
}

/// Checks each element, with 32-bit operations only: the exponent is in the upper half of an element.
fn exponents_are_finite(block: &[f64]) -> bool {
    let (chunks, rest) = block.as_chunks::<4>();
    let mut any = 0;
    for &[a, b, c, d] in chunks {
        // The elements are written out by hand, as in the check of `f32`.
        any |= carry(a) | carry(b) | carry(c) | carry(d);
    }
    any >> 31 == 0 && rest.iter().all(|value| value.is_finite())
}

/// Returns a number whose highest bit is set if and only if `value` is NaN or infinite.
#[inline(always)]
const fn carry(value: f64) -> u32 {
    let upper = (value.to_bits() >> 32) as u32;
    (upper & 0x7FFF_FFFF).wrapping_add(0x0010_0000)
}

/// The lowest bit of the exponent of an `f16`.
const F16: u16 = 0x0400;
/// The lowest bit of the exponent of a `bf16`.
const BF16: u16 = 0x0080;

/// Returns whether all elements are finite. An element is the bit pattern of an `f16`.
pub(crate) fn all_finite_f16(bits: &[u16]) -> bool {
    all_finite_16(bits, F16)
}

/// Returns whether all elements are finite. An element is the bit pattern of a `bf16`.
pub(crate) fn all_finite_bf16(bits: &[u16]) -> bool {
    all_finite_16(bits, BF16)
}

/// Returns whether the `f16` with the bit pattern `bits` is finite.
pub(crate) const fn is_finite_f16(bits: u16) -> bool {
    is_finite_16(bits, F16)
}

/// Returns whether the `bf16` with the bit pattern `bits` is finite.
pub(crate) const fn is_finite_bf16(bits: u16) -> bool {
    is_finite_16(bits, BF16)
}

/// Adding one to the exponent carries into the sign bit if all bits of the exponent are set.
const fn is_finite_16(bits: u16, exponent: u16) -> bool {
    (bits & 0x7FFF).wrapping_add(exponent) >> 15 == 0
}

/// Checks two elements with each 32-bit operation. The sum of one element never carries into the other.
#[cfg(not(target_pointer_width = "64"))]
#[inline(never)] // One copy of the code for both types.
fn all_finite_16(bits: &[u16], exponent: u16) -> bool {
    let (before, pairs, after) = bytemuck::pod_align_to::<u16, u32>(bits);
    let exponents = u32::from(exponent) * 0x1_0001;
    let carry = |pair: u32| (pair & 0x7FFF_7FFF).wrapping_add(exponents);
    let (chunks, rest) = pairs.as_chunks::<4>();
    let mut any = rest.iter().fold(0, |any, pair| any | carry(*pair));
    for &[a, b, c, d] in chunks {
        any |= carry(a) | carry(b) | carry(c) | carry(d);
    }
    let is_finite = |bits: &u16| is_finite_16(*bits, exponent);
    any & 0x8000_8000 == 0 && before.iter().all(is_finite) && after.iter().all(is_finite)
}

/// Compares the largest absolute value of each block with infinity, because a NaN is larger than infinity. This takes
/// two vector instructions for each vector, one less than the carry of the exponent.
#[cfg(target_pointer_width = "64")]
#[inline(always)]
fn all_finite_16(bits: &[u16], exponent: u16) -> bool {
    const LANES: usize = super::LANES * 2;
    let (chunks, rest) = bits.as_chunks::<LANES>();
    let is_finite = |bits: &u16| is_finite_16(*bits, exponent);
    let is_block_finite = |block: &[[u16; LANES]]| largest(block).iter().all(is_finite);
    chunks.chunks(super::BLOCK / super::LANES).all(is_block_finite) && rest.iter().all(is_finite)
}

/// Returns the largest absolute value of each column. It is not inlined, as `sums`.
#[cfg(target_pointer_width = "64")]
#[inline(never)]
fn largest<const LANES: usize>(chunks: &[[u16; LANES]]) -> [u16; LANES] {
    let mut largest = [0_i16; LANES];
    for chunk in chunks {
        for (largest, bits) in largest.iter_mut().zip(chunk) {
            // Signed, because SSE2 has no maximum of unsigned numbers with 16 bits.
            *largest = (*largest).max((bits & 0x7FFF).cast_signed());
        }
    }
    largest.map(i16::cast_unsigned)
}
