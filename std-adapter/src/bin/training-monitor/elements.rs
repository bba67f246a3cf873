//! The elements of a tensor as numbers, as text and as JSON.
//!
//! The tool stores a tensor as its little-endian bytes, so no conversion can change a bit. Text and JSON contain each
//! element as a number with the exact value. A NaN with an unusual payload contains its bits.
//!
//! | type | text | JSON |
//! | --- | --- | --- |
//! | f32, f64, f16, bf16 | `0.5`, `-Infinity`, `NaN`, `NaN(0x7e01)` | a number; NaN and infinities as strings |
//! | integers | `-128` | a number with all digits |
//! | bool | `true` | `true` |

use half::{bf16, f16};
use serde::{Serialize, Serializer};
use serde_json::Value;
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
            Number::Float(value) => f.write_str(&crate::numbers::rounded(*value)),
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

/// Returns the name of a NaN or an infinity, and `None` for a finite value.
fn format_special(element_type: ElementType, (number, bits): (Number, u64)) -> Option<String> {
    let Number::Float(value) = number else { return None };
    let digits = element_type.size() as usize * 2;
    match value {
        f64::INFINITY => Some("Infinity".to_owned()),
        f64::NEG_INFINITY => Some("-Infinity".to_owned()),
        _ if !value.is_nan() => None,
        _ if bits == special_bits(element_type).1 => Some("NaN".to_owned()),
        _ => Some(format!("NaN(0x{bits:0digits$x})")),
    }
}

/// Returns the bits of a NaN or an infinity with the name that [`format_special`] returns, in upper or lower case. Also
/// parses `inf`, which other programs write.
fn parse_special(element_type: ElementType, text: &str) -> Option<u64> {
    let (infinity, nan) = special_bits(element_type);
    let sign = 1 << (element_type.size() * 8 - 1);
    match text.to_ascii_lowercase().as_str() {
        _ if !element_type.is_float() => None,
        "nan" => Some(nan),
        "inf" | "infinity" => Some(infinity),
        "-inf" | "-infinity" => Some(infinity | sign),
        text => {
            let bits = text.strip_prefix("nan(0x")?.strip_suffix(')')?;
            let bits = u64::from_str_radix(bits, 16).ok()?;
            // A NaN has the exponent of infinity and a payload that is not 0. No other bit is set.
            Some(bits).filter(|bits| bits & !sign > infinity && bits & !sign < sign)
        }
    }
}

/// Formats an element as text.
pub fn to_text(element_type: ElementType, element: &[u8]) -> String {
    let decoded = decode(element_type, element);
    format_special(element_type, decoded).unwrap_or_else(|| match decoded.0 {
        Number::Integer(value) if element_type == ElementType::Bool => (value != 0).to_string(),
        Number::Integer(value) => value.to_string(),
        Number::Float(value) if element_type == ElementType::F64 => format!("{value:?}"),
        // The shortest text that is parsed to the same f32. All values of f16 and bf16 are values of f32.
        Number::Float(value) => format!("{:?}", value as f32),
    })
}

/// Parses an element, as [`to_text`] formats it, and appends its bytes to `bytes`. Returns `None` if the text is not a
/// value of this type.
pub fn push_text(element_type: ElementType, text: &str, bytes: &mut Vec<u8>) -> Option<()> {
    let text = text.trim();
    let parse = || match element_type {
        ElementType::Bool => text.to_ascii_lowercase().parse::<bool>().ok().map(u64::from),
        _ if element_type.is_float() => encode(element_type, Number::Float(text.parse().ok()?)),
        _ => encode(element_type, Number::Integer(text.parse().ok()?)),
    };
    push_bits(element_type, parse_special(element_type, text).or_else(parse)?, bytes)
}

/// Converts an element to JSON.
pub fn to_json(element_type: ElementType, element: &[u8]) -> Value {
    let decoded = decode(element_type, element);
    match (format_special(element_type, decoded), decoded.0) {
        (Some(text), _) => Value::String(text),
        (None, Number::Integer(value)) if element_type == ElementType::Bool => Value::Bool(value != 0),
        (None, number) => serde_json::to_value(number).unwrap_or_default(),
    }
}

/// Parses a JSON value that [`to_json`] returns, and appends the bytes of the element to `bytes`. Returns `None` if the
/// type has no such value.
pub fn push_json(element_type: ElementType, value: &Value, bytes: &mut Vec<u8>) -> Option<()> {
    let bits = match value {
        Value::Bool(value) if element_type == ElementType::Bool => u64::from(*value),
        Value::Number(number) if element_type.is_float() => encode(element_type, Number::Float(number.as_f64()?))?,
        Value::Number(number) => {
            let integer = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))?;
            encode(element_type, Number::Integer(integer))?
        }
        Value::String(text) => parse_special(element_type, text)?,
        _ => return None,
    };
    push_bits(element_type, bits, bytes)
}

fn push_bits(element_type: ElementType, bits: u64, bytes: &mut Vec<u8>) -> Option<()> {
    bytes.extend_from_slice(bits.to_le_bytes().get(..element_type.size() as usize)?);
    Some(())
}

/// Returns the element type with this name, for example "bf16".
pub fn parse_type(name: &str) -> Option<ElementType> {
    ElementType::ALL.into_iter().find(|element_type| element_type.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Elements of every kind: both ends of the range, zeros, subnormal numbers, infinities, and NaN with a payload.
    fn samples(element_type: ElementType) -> Vec<u64> {
        let (infinity, nan) = special_bits(element_type);
        let sign = 1_u64 << (element_type.size() * 8 - 1);
        match element_type {
            ElementType::Bool => vec![0, 1],
            _ if element_type.is_float() => {
                let positive = [0, 1, infinity / 3, infinity - 1, infinity, infinity + 1, nan, nan + 1, sign - 1];
                positive.iter().flat_map(|bits| [*bits, bits | sign]).collect()
            }
            _ => vec![0, 1, 2, sign - 1, sign, sign | (sign - 1)],
        }
    }

    #[test]
    fn text_and_json_preserve_all_bits() {
        for element_type in ElementType::ALL {
            for bits in samples(element_type) {
                let (mut element, mut text, mut json) = (vec![], vec![], vec![]);
                push_bits(element_type, bits, &mut element).unwrap();
                push_text(element_type, &to_text(element_type, &element), &mut text).unwrap();
                // The JSON is written and parsed, as in a file.
                let value = to_json(element_type, &element).to_string();
                push_json(element_type, &serde_json::from_str(&value).unwrap(), &mut json).unwrap();
                assert_eq!((&text, &json), (&element, &element), "{element_type} {bits:#x}: {value}");
            }
        }
    }

    #[test]
    fn values_that_a_type_does_not_have_are_refused() {
        use ElementType::{Bf16, Bool, F16, F32, F64, I8, I64, U8, U64};
        let mut bytes = vec![];
        let texts = [
            (F32, "1e39"),
            (F16, "65520"),
            (Bf16, "3.4e38"),
            (F64, "one"),
            (F16, "NaN(0x7c00)"),
            (F16, "NaN(0x17e01)"),
            (I8, "128"),
            (I8, "1.0"),
            (I8, "NaN"),
            (U8, "-1"),
            (I64, "9223372036854775808"),
            (U64, "18446744073709551616"),
            (Bool, "2"),
        ];
        for (element_type, text) in texts {
            assert_eq!(push_text(element_type, text, &mut bytes), None, "{element_type} {text}");
        }
        let values =
            [(F32, "true"), (I64, "1.5"), (U64, "-1"), (U64, "18446744073709551616"), (Bool, "2"), (I8, "\"NaN\"")];
        for (element_type, text) in values {
            let value = serde_json::from_str(text).unwrap();
            assert_eq!(push_json(element_type, &value, &mut bytes), None, "{element_type} {text}");
        }
        assert!(bytes.is_empty());
    }
}
