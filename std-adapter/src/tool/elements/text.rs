//! The elements of a tensor as text and as JSON. Both contain each element as a number with the exact value. A NaN with an
//! unusual payload contains its bits.
//!
//! | type | text | JSON |
//! | --- | --- | --- |
//! | f32, f64, f16, bf16 | `0.5`, `-Infinity`, `NaN`, `NaN(0x7e01)` | a number; NaN and infinities as strings |
//! | integers | `-128` | a number with all digits |
//! | bool | `true` | `true` |

use super::{Number, decode, encode, special_bits};
use std::fmt;
use training_monitor::checkpoint::ElementType;

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

/// Appends an element as text to `text`. A float is the shortest text that is parsed to the same bits.
pub fn write_text(element_type: ElementType, element: &[u8], text: &mut Vec<u8>) {
    let (number, bits) = decode(element_type, element);
    match format_special(element_type, (number, bits)) {
        Some(special) => text.extend_from_slice(special.as_bytes()),
        None => match number {
            // All values of f16 and bf16 are values of f32.
            Number::Float(value) if element_type != ElementType::F64 => push_float(value as f32, text),
            number => push_number(element_type, number, text),
        },
    }
}

/// Appends an element as JSON to `json`. A parser that reads floats as doubles reads the same value.
pub fn write_json(element_type: ElementType, element: &[u8], json: &mut Vec<u8>) {
    let (number, bits) = decode(element_type, element);
    match format_special(element_type, (number, bits)) {
        Some(special) => json.extend([b"\"", special.as_bytes(), b"\""].concat()),
        None => push_number(element_type, number, json),
    }
}

/// Appends a finite number.
fn push_number(element_type: ElementType, number: Number, text: &mut Vec<u8>) {
    match number {
        Number::Float(value) => push_float(value, text),
        Number::Integer(value) if element_type == ElementType::Bool => {
            text.extend_from_slice(if value == 0 { b"false" } else { b"true" });
        }
        Number::Integer(value) => text.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
    }
}

fn push_float(value: impl zmij::Float, text: &mut Vec<u8>) {
    text.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
}

/// Parses an element, as [`write_text`] formats it. Returns its bits, or `None` if the text is not a value of this type.
pub fn parse_text(element_type: ElementType, text: &str) -> Option<u64> {
    let text = text.trim();
    let parse = || match element_type {
        ElementType::Bool => text.to_ascii_lowercase().parse::<bool>().ok().map(u64::from),
        _ => parse_number(element_type, text),
    };
    // Most elements are not special.
    parse().or_else(|| parse_special(element_type, text))
}

/// Parses a finite number of any type except bool.
fn parse_number(element_type: ElementType, text: &str) -> Option<u64> {
    let number = match element_type {
        // A number that is rounded to f64 first could become another f32.
        ElementType::F32 => {
            return text.parse::<f32>().ok().filter(|value| value.is_finite()).map(|value| value.to_bits().into());
        }
        _ if element_type.is_float() => Number::Float(text.parse().ok()?),
        _ => Number::Integer(text.parse::<i64>().map(i128::from).or_else(|_| text.parse()).ok()?),
    };
    encode(element_type, number)
}

/// An element in a JSON file.
#[derive(Clone, Copy, Debug)]
pub enum JsonElement<'a> {
    Bool(bool),
    Number(&'a str),
    /// The name of a NaN or an infinity.
    Text(&'a str),
}

impl fmt::Display for JsonElement<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JsonElement::Bool(value) => value.fmt(f),
            JsonElement::Number(text) => f.write_str(text),
            JsonElement::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// Returns the bits of an element that [`write_json`] wrote. Returns `None` if the type has no such value.
pub fn parse_json(element_type: ElementType, element: JsonElement<'_>) -> Option<u64> {
    match element {
        JsonElement::Bool(value) => Some(u64::from(value)).filter(|_| element_type == ElementType::Bool),
        JsonElement::Number(_) if element_type == ElementType::Bool => None,
        JsonElement::Number(text) => parse_number(element_type, text),
        JsonElement::Text(text) => parse_special(element_type, text),
    }
}

#[cfg(test)]
mod tests {
    use super::super::push_bits;
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

    /// Returns the element in a JSON text without escapes.
    fn json_element(text: &str) -> JsonElement<'_> {
        match text.strip_prefix('"') {
            Some(text) => JsonElement::Text(text.strip_suffix('"').unwrap()),
            None => text.parse().map_or(JsonElement::Number(text), JsonElement::Bool),
        }
    }

    #[test]
    fn text_and_json_preserve_all_bits() {
        for element_type in ElementType::ALL {
            for bits in samples(element_type) {
                let (mut element, mut text, mut json) = (vec![], vec![], vec![]);
                push_bits(element_type, bits, &mut element);
                write_text(element_type, &element, &mut text);
                write_json(element_type, &element, &mut json);
                let [text, json] = [text, json].map(|bytes| String::from_utf8(bytes).unwrap());
                assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{element_type} {bits:#x}: {json}");
                // The upper bits of a negative integer are not a part of the element.
                let bytes = |bits: Option<u64>| {
                    let mut bytes = vec![];
                    push_bits(element_type, bits.unwrap(), &mut bytes);
                    bytes
                };
                assert_eq!(bytes(parse_text(element_type, &text)), element, "{element_type} {bits:#x}: {text}");
                let parsed = bytes(parse_json(element_type, json_element(&json)));
                assert_eq!(parsed, element, "{element_type} {bits:#x}: {json}");
            }
        }
    }

    #[test]
    fn values_that_a_type_does_not_have_are_refused() {
        use ElementType::{Bf16, Bool, F16, F32, F64, I8, I64, U8, U64};
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
            assert_eq!(parse_text(element_type, text), None, "{element_type} {text}");
        }
        let values = [
            (F32, "true"),
            (F32, "1e39"),
            (I64, "1.5"),
            (U64, "-1"),
            (U64, "18446744073709551616"),
            (Bool, "1"),
            (I8, "\"NaN\""),
        ];
        for (element_type, text) in values {
            assert_eq!(parse_json(element_type, json_element(text)), None, "{element_type} {text}");
        }
    }

    #[test]
    fn floats_have_as_few_digits_as_possible() {
        let mut seed = 7_u32;
        for _ in 0..100_000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let value = f32::from_bits(seed);
            if !value.is_finite() {
                continue;
            }
            let (mut text, mut json) = (vec![], vec![]);
            write_text(ElementType::F32, &value.to_le_bytes(), &mut text);
            write_json(ElementType::F32, &value.to_le_bytes(), &mut json);
            let [text, json] = [text, json].map(|bytes| String::from_utf8(bytes).unwrap());
            assert_eq!(text.parse::<f32>().unwrap().to_bits(), seed, "{text}");
            assert_eq!(json.parse::<f64>().unwrap(), f64::from(value), "{json}");
            // The standard library also prints the shortest text, in another form.
            let digits = |text: &str| {
                let mantissa = text.split('e').next().unwrap_or_default();
                mantissa.replace(['.', '-'], "").trim_matches('0').to_owned()
            };
            assert_eq!(digits(&text).len(), digits(&format!("{value:e}")).len());
            assert_eq!(digits(&json).len(), digits(&format!("{:e}", f64::from(value))).len());
        }
    }

    /// The number is greater than the middle between two f32, but not as an f64.
    #[test]
    fn numbers_are_rounded_once() {
        let text = "1.00000005960464477539062500001";
        let expected = Some(u64::from(1.000_000_1_f32.to_bits()));
        assert_eq!(parse_text(ElementType::F32, text), expected);
        assert_eq!(parse_json(ElementType::F32, JsonElement::Number(text)), expected);
    }
}
