//! Checks that numbers are finite, which means that they are neither NaN nor infinite.
//!
//! The function [`all_finite`] checks a slice. Its result is exact for all values, including subnormal numbers and the
//! largest numbers. The trait [`Finite`] applies the check to numbers, slices, arrays, tuples, options and vectors,
//! which can be nested. User-defined types can implement it, too.
//!
//! If the processor can add floating-point numbers, the function adds all elements of a block. A finite sum proves that
//! all elements are finite, because a sum with a NaN or an infinity is never finite. If the sum is not finite, it may
//! have overflowed, so the block is checked again, element by element. Other processors compare the exponents as
//! integers.
//!
//! ```
//! use training_monitor::finite::{Finite, all_finite, first_non_finite};
//!
//! assert!(all_finite(&[f32::MAX, f32::MAX, -0.0, 1e-45]));
//! assert_eq!(first_non_finite(&[0.0, 1.0, f32::NAN]), Some(2));
//! assert!((1.23_f32, [0.5, 0.25], Some(3)).is_finite());
//! assert!(![&[1.0_f32, 2.0][..], &[f32::INFINITY][..]].is_finite());
//! ```

mod wide;

pub use wide::all_finite_f64;
pub(crate) use wide::{all_finite_bf16, all_finite_f16, is_finite_bf16, is_finite_f16};

/// Whether the processor has an instruction that adds floating-point numbers. Other processors need a function call for
/// each addition.
const HARDWARE_FLOAT: bool = cfg!(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    all(target_arch = "arm", target_abi = "eabihf"),
    all(any(target_arch = "riscv32", target_arch = "riscv64"), target_feature = "f"),
));

/// Whether less code is more important than speed.
const SMALL: bool = cfg!(feature = "small");

/// The number of elements that are added before the sum is checked. With larger blocks, a NaN is found later, and a
/// block no longer fits into the first-level cache. With smaller blocks, checking the sums takes noticeable time.
const BLOCK: usize = 2048;

/// The minimum length of a slice for which a function call is worthwhile. Checking a shorter slice takes no longer than
/// the call itself.
const CALL: usize = 8;

/// The minimum length of a slice that is checked with sums. In a shorter slice, it is faster to check each element for
/// NaN and infinity.
const SHORT: usize = 32;

/// Returns whether all elements are finite. The result for an empty slice is true.
#[must_use]
#[cfg_attr(target_pointer_width = "64", inline)]
pub fn all_finite(values: &[f32]) -> bool {
    // This function is inlined on 64-bit hosts. It checks very short slices itself, because a function call would take
    // longer than the check.
    if crate::target::HOST && values.len() < CALL {
        return values.iter().all(|value| value.is_finite());
    }
    each_is_finite(values)
}

fn each_is_finite(values: &[f32]) -> bool {
    if SMALL || values.len() < SHORT {
        return exponents_are_finite(values);
    }
    values.chunks(BLOCK).all(|block| (HARDWARE_FLOAT && sum_is_finite(block)) || exponents_are_finite(block))
}

/// Returns the index of the first NaN or infinity, or `None` if all elements are finite.
#[must_use]
pub fn first_non_finite(values: &[f32]) -> Option<usize> {
    if all_finite(values) { None } else { values.iter().position(|value| !value.is_finite()) }
}

/// Returns whether the sum of the elements is finite. If it is, all elements are finite. If it is not, the sum may have
/// overflowed, and each element must be checked.
#[cfg(target_pointer_width = "64")]
#[inline]
fn sum_is_finite(block: &[f32]) -> bool {
    let (chunks, rest) = block.as_chunks::<LANES>();
    exponents_are_finite(&sums(chunks)) && exponents_are_finite(rest)
}

/// The number of sums that are computed in parallel. All of them fit into the vector registers of the processor.
/// Several sums are faster than one, because their additions do not wait for each other.
#[cfg(target_pointer_width = "64")]
const LANES: usize = 32;

/// Returns the sum of each column of `chunks`. The function is not inlined, because the compiler does not keep the sums
/// in registers if the same function also checks them.
#[cfg(target_pointer_width = "64")]
#[inline(never)]
fn sums<T: Copy + Default + core::ops::AddAssign, const LANES: usize>(chunks: &[[T; LANES]]) -> [T; LANES] {
    let mut sums = [T::default(); LANES];
    for chunk in chunks {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += *value;
        }
    }
    sums
}

/// Returns whether the sum of the elements is finite. If it is, all elements are finite. If it is not, the sum may have
/// overflowed, and each element must be checked.
#[cfg(not(target_pointer_width = "64"))]
#[inline]
fn sum_is_finite(block: &[f32]) -> bool {
    // The loop is unrolled by hand, so that the sums stay in registers even at opt-level "s". Four sums are faster than
    // one, because their additions do not wait for each other.
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

/// Returns a number whose highest bit is set if and only if `value` is NaN or infinite. All exponent bits of such a
/// value are set, so adding one to the exponent carries into the highest bit.
#[cfg(not(all(target_arch = "arm", target_abi = "eabihf")))]
#[inline(always)]
const fn carry(value: f32) -> u32 {
    (value.to_bits() & 0x7FFF_FFFF).wrapping_add(0x0080_0000)
}

/// Checks each element. A simple loop is enough on this target, because most blocks are already checked by their sum.
#[cfg(all(target_arch = "arm", target_abi = "eabihf"))]
fn exponents_are_finite(block: &[f32]) -> bool {
    block.iter().all(|value| value.is_finite())
}

/// Checks each element, with integer operations only.
#[cfg(not(all(target_arch = "arm", target_abi = "eabihf")))]
fn exponents_are_finite(block: &[f32]) -> bool {
    if SMALL {
        return block.iter().all(|value| carry(*value) >> 31 == 0);
    }
    let (chunks, rest) = block.as_chunks::<8>();
    let mut any = 0;
    for &[a, b, c, d, e, f, g, h] in chunks {
        // The eight elements are written out by hand. An inner loop takes two thirds more instructions on a Cortex-M at
        // opt-level "s".
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

/// An `f64` is converted to an `f32` before the check, as in PyTorch-Ignite. Therefore, a number that is too large for
/// an `f32` is not finite.
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

/// A slice of floating-point numbers is checked with a fast function such as [`all_finite`]. Any other slice is checked
/// element by element.
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

/// An option is finite if it is `None` or contains a finite value.
impl<T: Finite> Finite for Option<T> {
    #[inline]
    fn is_finite(&self) -> bool {
        self.as_ref().is_none_or(Finite::is_finite)
    }
}

/// A type whose slices, arrays and vectors implement [`Finite`]. A user-defined type that implements `Finite` needs
/// only an empty `impl` of this trait.
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

/// A slice of `f64` corresponds to a tensor. As in PyTorch-Ignite, its elements are not converted to `f32`.
impl FiniteElement for f64 {
    #[inline]
    fn all_finite(values: &[f64]) -> bool {
        all_finite_f64(values)
    }
}

#[cfg(feature = "half")]
macro_rules! half {
    ($($name:ident $all_finite:ident)*) => {$(
        #[cfg_attr(docsrs, doc(cfg(feature = "half")))]
        impl Finite for half::$name {
            #[inline]
            fn is_finite(&self) -> bool {
                half::$name::is_finite(*self)
            }
        }
        #[cfg_attr(docsrs, doc(cfg(feature = "half")))]
        impl FiniteElement for half::$name {
            #[inline]
            fn all_finite(values: &[half::$name]) -> bool {
                $all_finite(bytemuck::cast_slice(values))
            }
        }
    )*};
}

#[cfg(feature = "half")]
half!(f16 all_finite_f16 bf16 all_finite_bf16);

elements!(bool u8 u16 u32 u64 usize i8 i16 i32 i64 isize);

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
