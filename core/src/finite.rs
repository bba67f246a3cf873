//! Is every number finite? The scan behind the NaN guard, and what can be scanned.
//!
//! [`all_finite`] is exact on any slice: NaN and both infinities are not finite, everything else is, subnormals and
//! the largest numbers included. [`Finite`] carries the question into whatever a step function returns: numbers,
//! slices, arrays, tuples, options, vectors, nested as deep as you like, and types of the user's own.
//!
//! How it scans: where the target adds floats in hardware, it adds first. A sum with a NaN or an infinity in it is
//! never finite, so a finite sum proves a whole block; a sum that is not finite may be mere overflow, and the block is
//! looked at again, exactly. Where floats are emulated it looks at exponents as integers from the start.
//! Nothing here changes or remembers anything.
//!
//! ```
//! use training_monitor::finite::{Finite, all_finite, first_non_finite};
//!
//! assert!(all_finite(&[f32::MAX, f32::MAX, -0.0, 1e-45]));
//! assert_eq!(first_non_finite(&[0.0, 1.0, f32::NAN]), Some(2));
//! assert!((1.23_f32, [0.5, 0.25], Some(3)).is_finite());
//! assert!(![&[1.0_f32, 2.0][..], &[f32::INFINITY][..]].is_finite());
//! ```

/// Adding floats costs an instruction, not a call.
const HARDWARE_FLOAT: bool = cfg!(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    all(target_arch = "arm", target_abi = "eabihf"),
    all(any(target_arch = "riscv32", target_arch = "riscv64"), target_feature = "f"),
));

/// What is added up before the sum is looked at: enough that looking costs nothing, little enough that a NaN early in a
/// long slice is found early, and that a second look finds the block in the nearest cache.
const BLOCK: usize = 2048;

/// Below this many, to call is not quicker than to look at each.
const CALL: usize = 8;

/// Below this many, to look at each is quicker than to set up sums.
const SHORT: usize = 32;

/// Whether no element is NaN or infinite. An empty slice is finite.
#[must_use]
#[cfg_attr(target_pointer_width = "64", inline)]
pub fn all_finite(values: &[f32]) -> bool {
    // Where a call costs as much as looking, a host's caller looks for itself.
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

/// Where the first NaN or infinity is.
#[must_use]
pub fn first_non_finite(values: &[f32]) -> Option<usize> {
    if all_finite(values) { None } else { values.iter().position(|value| !value.is_finite()) }
}

/// One-sided: true proves that all are finite, false proves nothing.
#[cfg(target_pointer_width = "64")]
#[inline]
fn sum_is_finite(block: &[f32]) -> bool {
    let (chunks, rest) = block.as_chunks::<LANES>();
    exponents_are_finite(&sums(chunks)) && exponents_are_finite(rest)
}

/// Sums kept at once: what vector registers hold and what hides the adder's latency.
#[cfg(target_pointer_width = "64")]
const LANES: usize = 32;

/// Not inlined: whoever looks at the sums in the same function keeps the compiler from keeping them in registers.
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

/// One-sided: true proves that all are finite, false proves nothing.
#[cfg(not(target_pointer_width = "64"))]
#[inline]
fn sum_is_finite(block: &[f32]) -> bool {
    // Written out, so that it stays in registers at -Os too; four sums hide the adder's latency.
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

/// An exponent of all ones, and only that, carries into the sign bit.
#[cfg(not(all(target_arch = "arm", target_abi = "eabihf")))]
#[inline(always)]
const fn carry(value: f32) -> u32 {
    (value.to_bits() & 0x7FFF_FFFF).wrapping_add(0x0080_0000)
}

/// Exact, in integers. Where floats are added first only remainders and what overflowed get here: a loop will do.
#[cfg(all(target_arch = "arm", target_abi = "eabihf"))]
fn exponents_are_finite(block: &[f32]) -> bool {
    block.iter().all(|value| value.is_finite())
}

/// Exact, in integers.
#[cfg(not(all(target_arch = "arm", target_abi = "eabihf")))]
fn exponents_are_finite(block: &[f32]) -> bool {
    let (chunks, rest) = block.as_chunks::<8>();
    let mut any = 0;
    for &[a, b, c, d, e, f, g, h] in chunks {
        // Written out: as a loop it costs two thirds more on a Cortex-M at -Os.
        any |= carry(a) | carry(b) | carry(c) | carry(d) | carry(e) | carry(f) | carry(g) | carry(h);
    }
    any >> 31 == 0 && rest.iter().all(|value| value.is_finite())
}

/// Something in which a NaN or an infinity can hide.
pub trait Finite {
    /// Whether none does.
    fn is_finite(&self) -> bool;
}

impl Finite for f32 {
    #[inline]
    fn is_finite(&self) -> bool {
        f32::is_finite(*self)
    }
}

/// As a `f32`, as in Ignite: a number that is too large for one is not finite.
impl Finite for f64 {
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "overflow to infinity is the rule that is wanted")]
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

/// A slice of numbers is scanned as a whole, any other element by element.
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

/// `None` is finite.
impl<T: Finite> Finite for Option<T> {
    #[inline]
    fn is_finite(&self) -> bool {
        self.as_ref().is_none_or(Finite::is_finite)
    }
}

/// What slices, arrays and vectors of can be scanned. A type of the user's own that is [`Finite`] needs one empty `impl`
/// to be an element, too.
pub trait FiniteElement: Finite + Sized {
    /// Whether all of them are finite.
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
