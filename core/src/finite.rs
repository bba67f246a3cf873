//! Checks that all numbers are finite: the scan of the NaN guard, and the types that can be checked.
//!
//! [`all_finite`] is exact for every slice. NaN and both infinities are not finite; all other values are, including
//! subnormal numbers and the largest ones. [`Finite`] applies the check to numbers, slices, arrays, tuples, options and
//! vectors, nested to any depth, and to user-defined types.
//!
//! If the target adds floats in hardware, the scan adds first. A sum that contains a NaN or an infinity is never finite,
//! so a finite sum proves that the whole block is finite. A non-finite sum can also be an overflow; then the block is
//! checked again, element by element. If the target emulates floats, the scan compares exponents as integers.
//!
//! ```
//! use training_monitor::finite::{Finite, all_finite, first_non_finite};
//!
//! assert!(all_finite(&[f32::MAX, f32::MAX, -0.0, 1e-45]));
//! assert_eq!(first_non_finite(&[0.0, 1.0, f32::NAN]), Some(2));
//! assert!((1.23_f32, [0.5, 0.25], Some(3)).is_finite());
//! assert!(![&[1.0_f32, 2.0][..], &[f32::INFINITY][..]].is_finite());
//! ```

/// Whether adding floats takes an instruction instead of a call.
const HARDWARE_FLOAT: bool = cfg!(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    all(target_arch = "arm", target_abi = "eabihf"),
    all(any(target_arch = "riscv32", target_arch = "riscv64"), target_feature = "f"),
));

/// The elements per sum. Large enough that checking the sum costs nothing; small enough that a NaN at the start of a long
/// slice is found early, and that a second scan finds the block in the first-level cache.
const BLOCK: usize = 2048;

/// Below this length, calling the scan takes as long as checking each element.
const CALL: usize = 8;

/// Below this length, checking each element is faster than setting up the sums.
const SHORT: usize = 32;

/// Whether all elements are finite. True for an empty slice.
#[must_use]
#[cfg_attr(target_pointer_width = "64", inline)]
pub fn all_finite(values: &[f32]) -> bool {
    // For very short slices the call costs more than the scan, so on 64-bit hosts it is inlined.
    if cfg!(target_pointer_width = "64") && values.len() < CALL {
        return values.iter().all(|value| value.is_finite());
    }
    each_is_finite(values)
}

fn each_is_finite(values: &[f32]) -> bool {
    if values.len() < SHORT {
        return exponents_are_finite(values);
    }
    values.chunks(BLOCK).all(|block| (HARDWARE_FLOAT && sum_is_finite(block)) || exponents_are_finite(block))
}

/// The index of the first NaN or infinity.
#[must_use]
pub fn first_non_finite(values: &[f32]) -> Option<usize> {
    if all_finite(values) { None } else { values.iter().position(|value| !value.is_finite()) }
}

/// True proves that all elements are finite; false proves nothing.
#[cfg(target_pointer_width = "64")]
#[inline]
fn sum_is_finite(block: &[f32]) -> bool {
    let (chunks, rest) = block.as_chunks::<LANES>();
    exponents_are_finite(&sums(chunks)) && exponents_are_finite(rest)
}

/// The number of parallel sums. They fit into the vector registers and hide the latency of the adder.
#[cfg(target_pointer_width = "64")]
const LANES: usize = 32;

/// Not inlined, because the compiler does not keep the sums in registers if the same function also checks them.
#[cfg(target_pointer_width = "64")]
#[inline(never)]
fn sums(chunks: &[[f32; LANES]]) -> [f32; LANES] {
    let mut sums = [0.0; LANES];
    for chunk in chunks {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += value;
        }
    }
    sums
}

/// True proves that all elements are finite; false proves nothing.
#[cfg(not(target_pointer_width = "64"))]
#[inline]
fn sum_is_finite(block: &[f32]) -> bool {
    // Unrolled by hand, so that the sums stay in registers at -Os, too. Four sums hide the latency of the adder.
    let (chunks, rest) = block.as_chunks::<8>();
    let (mut p, mut q, mut r, mut s) = (0.0f32, 0.0f32, 0.0f32, 0.0f32);
    for [a, b, c, d, e, f, g, h] in chunks {
        p += a;
        q += b;
        r += c;
        s += d;
        p += e;
        q += f;
        r += g;
        s += h;
    }
    (p + q + (r + s)).is_finite() && exponents_are_finite(rest)
}

/// Sets the sign bit if and only if all bits of the exponent are set.
#[cfg(not(all(target_arch = "arm", target_abi = "eabihf")))]
#[inline(always)]
const fn carry(value: f32) -> u32 {
    (value.to_bits() & 0x7FFF_FFFF).wrapping_add(0x0080_0000)
}

/// Exact check. On this target it sees only remainders and blocks whose sum overflowed, so a simple loop is enough.
#[cfg(all(target_arch = "arm", target_abi = "eabihf"))]
fn exponents_are_finite(block: &[f32]) -> bool {
    block.iter().all(|value| value.is_finite())
}

/// Exact check with integer operations.
#[cfg(not(all(target_arch = "arm", target_abi = "eabihf")))]
fn exponents_are_finite(block: &[f32]) -> bool {
    let (chunks, rest) = block.as_chunks::<8>();
    let mut any = 0;
    for &[a, b, c, d, e, f, g, h] in chunks {
        // Unrolled by hand: a loop takes two thirds more instructions on a Cortex-M at -Os.
        any |= carry(a) | carry(b) | carry(c) | carry(d) | carry(e) | carry(f) | carry(g) | carry(h);
    }
    any >> 31 == 0 && rest.iter().all(|value| value.is_finite())
}

/// A value that can contain a NaN or an infinity.
pub trait Finite {
    /// Whether all numbers in the value are finite.
    fn is_finite(&self) -> bool;
}

impl Finite for f32 {
    #[inline]
    fn is_finite(&self) -> bool {
        f32::is_finite(*self)
    }
}

/// Checked as an `f32`, as in Ignite: a number that is too large for an `f32` is not finite.
impl Finite for f64 {
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "the overflow to infinity is intended")]
    fn is_finite(&self) -> bool {
        (*self as f32).is_finite()
    }
}

macro_rules! always_finite {
    ($($name:ty)*) => {$(
        impl Finite for $name {
            #[inline(always)]
            fn is_finite(&self) -> bool {
                true
            }
        }
    )*};
}

always_finite!(() bool u8 u16 u32 u64 usize i8 i16 i32 i64 isize str);

/// A slice of `f32` is scanned as a whole; any other slice is checked element by element.
impl<T: FiniteElement> Finite for [T] {
    #[inline]
    fn is_finite(&self) -> bool {
        T::all_finite(self)
    }
}

impl<T: FiniteElement, const N: usize> Finite for [T; N] {
    #[inline]
    fn is_finite(&self) -> bool {
        T::all_finite(self)
    }
}

#[cfg(feature = "heapless-vec")]
#[cfg_attr(docsrs, doc(cfg(feature = "heapless-vec")))]
impl<T: FiniteElement, const N: usize> Finite for heapless::Vec<T, N> {
    #[inline]
    fn is_finite(&self) -> bool {
        T::all_finite(self)
    }
}

impl<T: Finite + ?Sized> Finite for &T {
    #[inline]
    fn is_finite(&self) -> bool {
        T::is_finite(self)
    }
}

impl<T: Finite + ?Sized> Finite for &mut T {
    #[inline]
    fn is_finite(&self) -> bool {
        T::is_finite(self)
    }
}

/// `None` counts as finite.
impl<T: Finite> Finite for Option<T> {
    #[inline]
    fn is_finite(&self) -> bool {
        self.as_ref().is_none_or(Finite::is_finite)
    }
}

/// An element type of slices, arrays and vectors that can be checked. A user-defined [`Finite`] type needs one empty
/// `impl` of this trait.
pub trait FiniteElement: Finite + Sized {
    /// Whether all elements are finite.
    #[inline]
    fn all_finite(values: &[Self]) -> bool {
        values.iter().all(Finite::is_finite)
    }
}

impl FiniteElement for f32 {
    #[inline]
    fn all_finite(values: &[f32]) -> bool {
        all_finite(values)
    }
}

macro_rules! elements {
    ($($name:ty)*) => { $(impl FiniteElement for $name {})* };
}

elements!(f64 bool u8 u16 u32 u64 usize i8 i16 i32 i64 isize);

impl FiniteElement for () {}
impl<T: FiniteElement, const N: usize> FiniteElement for [T; N] {}
#[cfg(feature = "heapless-vec")]
impl<T: FiniteElement, const N: usize> FiniteElement for heapless::Vec<T, N> {}
impl<T: Finite + ?Sized> FiniteElement for &T {}
impl<T: Finite> FiniteElement for Option<T> {}

macro_rules! tuples {
    ($($name:ident . $index:tt)+) => {
        impl<$($name: Finite),+> Finite for ($($name,)+) {
            #[inline]
            fn is_finite(&self) -> bool {
                $(self.$index.is_finite())&&+
            }
        }
        impl<$($name: Finite),+> FiniteElement for ($($name,)+) {}
    };
}

tuples!(A.0);
tuples!(A.0 B.1);
tuples!(A.0 B.1 C.2);
tuples!(A.0 B.1 C.2 D.3);
tuples!(A.0 B.1 C.2 D.3 E.4);
tuples!(A.0 B.1 C.2 D.3 E.4 F.5);
tuples!(A.0 B.1 C.2 D.3 E.4 F.5 G.6);
tuples!(A.0 B.1 C.2 D.3 E.4 F.5 G.6 H.7);
