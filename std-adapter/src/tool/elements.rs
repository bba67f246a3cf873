//! The elements of a tensor as numbers. The module [`text`] converts them to text.
//!
//! The tool stores a tensor as its little-endian bytes, so no conversion can change a bit.

pub mod text;

use half::{bf16, f16};
use serde::{Serialize, Serializer};
use std::fmt;
use training_monitor::checkpoint::ElementType;

/// The value of an element. Only the payload of a NaN is lost. The value of `true` is 1.
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug)]
pub enum Number {
    Float(f64),
    Integer(i128),
}

impl Number {
    pub const fn to_f64(self) -> f64 {
        match self {
            Number::Float(value) => value,
            Number::Integer(value) => value as f64,
        }
    }
}

/// Integers have all their digits. Floats have at most five significant digits.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Float(value) => f.write_str(&crate::tool::numbers::rounded(*value)),
            Number::Integer(value) => value.fmt(f),
        }
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Number::Float(value) => serializer.serialize_f64(value),
            // All elements, and the differences between two elements, fit into one of the two types.
            Number::Integer(value) => match u64::try_from(value) {
                Ok(value) => serializer.serialize_u64(value),
                Err(_) => serializer.serialize_i64(i64::try_from(value).unwrap_or(i64::MIN)),
            },
        }
    }
}

macro_rules! for_each_pair {
    ($element_type:expr, $a:expr, $b:expr, $each:expr; $($variant:ident: $type:ty => $number:expr,)*) => {
        match $element_type {
            $(ElementType::$variant => {
                const SIZE: usize = size_of::<$type>();
                for (a, b) in $a.as_chunks::<SIZE>().0.iter().zip($b.as_chunks::<SIZE>().0) {
                    let number = |bytes: &[u8; SIZE]| $number(<$type>::from_le_bytes(*bytes));
                    $each(a == b, number(a), number(b));
                }
            })*
        }
    };
}

/// Calls `each` for each pair of elements of two tensors with the same type. Its first argument is whether the bits of
/// the elements are equal.
pub fn for_each_pair(element_type: ElementType, a: &[u8], b: &[u8], mut each: impl FnMut(bool, Number, Number)) {
    for_each_pair! { element_type, a, b, each;
        F32: f32 => |value| Number::Float(f64::from(value)),
        F64: f64 => Number::Float,
        F16: f16 => |value| Number::Float(f64::from(value)),
        Bf16: bf16 => |value| Number::Float(f64::from(value)),
        I8: i8 => |value| Number::Integer(i128::from(value)),
        U8: u8 => |value| Number::Integer(i128::from(value)),
        I16: i16 => |value| Number::Integer(i128::from(value)),
        U16: u16 => |value| Number::Integer(i128::from(value)),
        I32: i32 => |value| Number::Integer(i128::from(value)),
        U32: u32 => |value| Number::Integer(i128::from(value)),
        I64: i64 => |value| Number::Integer(i128::from(value)),
        U64: u64 => |value| Number::Integer(i128::from(value)),
        Bool: u8 => |value| Number::Integer(i128::from(value)),
    }
}

/// Calls `each` for each element of a tensor.
pub fn for_each(element_type: ElementType, bytes: &[u8], mut each: impl FnMut(Number)) {
    for_each_pair(element_type, bytes, bytes, |_, number, _| each(number));
}

/// Returns the value and the bits of a single element.
fn decode(element_type: ElementType, element: &[u8]) -> (Number, u64) {
    let (mut number, mut bits) = (Number::Integer(0), [0; 8]);
    for_each(element_type, element, |value| number = value);
    bits.iter_mut().zip(element).for_each(|(to, from)| *to = *from);
    (number, u64::from_le_bytes(bits))
}

/// Returns the bits of the element with this value. `None` if the type has no such value: an integer is out of range,
/// or a finite number becomes infinite.
fn encode(element_type: ElementType, number: Number) -> Option<u64> {
    let value = match (element_type.is_float(), number) {
        (true, number) => number.to_f64(),
        (false, Number::Float(_)) => return None,
        (false, Number::Integer(value)) => {
            return match element_type {
                ElementType::I8 => i8::try_from(value).ok().map(|value| value as u64),
                ElementType::I16 => i16::try_from(value).ok().map(|value| value as u64),
                ElementType::I32 => i32::try_from(value).ok().map(|value| value as u64),
                ElementType::I64 => i64::try_from(value).ok().map(|value| value as u64),
                ElementType::U8 => u8::try_from(value).ok().map(u64::from),
                ElementType::U16 => u16::try_from(value).ok().map(u64::from),
                ElementType::U32 => u32::try_from(value).ok().map(u64::from),
                ElementType::U64 => u64::try_from(value).ok(),
                _ => u64::try_from(value).ok().filter(|value| *value < 2),
            };
        }
    };
    let (bits, is_finite) = match element_type {
        ElementType::F64 => (value.to_bits(), value.is_finite()),
        ElementType::F16 => (f16::from_f64(value).to_bits().into(), f16::from_f64(value).is_finite()),
        ElementType::Bf16 => (bf16::from_f64(value).to_bits().into(), bf16::from_f64(value).is_finite()),
        _ => ((value as f32).to_bits().into(), (value as f32).is_finite()),
    };
    Some(bits).filter(|_| is_finite)
}

/// The bits of positive infinity, and the bits of the usual NaN.
const fn special_bits(element_type: ElementType) -> (u64, u64) {
    match element_type {
        ElementType::F64 => (0x7FF0_0000_0000_0000, 0x7FF8_0000_0000_0000),
        ElementType::F16 => (0x7C00, 0x7E00),
        ElementType::Bf16 => (0x7F80, 0x7FC0),
        _ => (0x7F80_0000, 0x7FC0_0000),
    }
}

/// Converts a number to another type. Floats are rounded. Returns `None` if the type has no such value: an integer is out
/// of range, a finite number becomes infinite, or an integer type must hold a fraction, NaN or infinity.
pub fn cast(to: ElementType, number: Number) -> Option<u64> {
    let Number::Float(value) = number else { return encode(to, number) };
    let (infinity, nan) = special_bits(to);
    let sign = u64::from(value.is_sign_negative()) << (to.size() * 8 - 1);
    match to.is_float() {
        true if value.is_nan() => Some(nan | sign),
        true if value.is_infinite() => Some(infinity | sign),
        true => encode(to, number),
        false if value.is_finite() && value.fract() == 0.0 => encode(to, Number::Integer(value as i128)),
        false => None,
    }
}

/// Appends the bytes of an element with these bits.
pub fn push_bits(element_type: ElementType, bits: u64, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&bits.to_le_bytes()[..element_type.size() as usize]);
}

/// Returns the element type with this name, for example "bf16".
pub fn parse_type(name: &str) -> Option<ElementType> {
    ElementType::ALL.into_iter().find(|element_type| element_type.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn casts_round_floats_and_refuse_values_that_do_not_fit() {
        use ElementType::{Bool, F16, F32, F64, I8, I64, U8};
        let f32_bits = |value: f32| Some(u64::from(value.to_bits()));
        assert_eq!(cast(F32, Number::Float(0.1)), f32_bits(0.1));
        assert_eq!(cast(F32, Number::Integer(i64::MAX.into())), f32_bits(i64::MAX as f32));
        assert_eq!(cast(F32, Number::Float(f64::NEG_INFINITY)), f32_bits(f32::NEG_INFINITY));
        assert_eq!(cast(F16, Number::Float(f64::NAN)), Some(0x7E00));
        assert_eq!(cast(I8, Number::Float(-128.0)), Some(0xFFFF_FFFF_FFFF_FF80));
        assert_eq!((cast(Bool, Number::Integer(1)), cast(F64, Number::Integer(0))), (Some(1), Some(0)));
        for (to, number) in [
            (F32, Number::Float(1e39)),
            (F16, Number::Integer(65520)),
            (I8, Number::Float(128.0)),
            (I8, Number::Float(0.5)),
            (U8, Number::Integer(-1)),
            (I64, Number::Float(f64::NAN)),
            (I64, Number::Float(1e300)),
            (Bool, Number::Integer(2)),
        ] {
            assert_eq!(cast(to, number), None, "{to} {number:?}");
        }
    }
}
