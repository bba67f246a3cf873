//! Converts numbers to text. All tables, messages, charts and JSON values of the tool use these functions. The module
//! `elements` converts the elements of tensors.
//!
//! | function | used for | example |
//! | --- | --- | --- |
//! | [`rounded`] | measured values in tables, charts and messages | `0.080739` |
//! | [`exact`] | scores; the text is parsed to the same f32 | `0.08073898` |
//! | [`json_f32`] | the same in JSON, as a double | `0.08073897659778595` |
//! | [`count`] | numbers of things, sizes in bytes | `19580 bytes` |
//! | [`kibibytes`], [`percent`], [`duration`] | short forms for narrow columns | `19.1 KiB`, `12.5 %`, `1.5 ms` |
//! | [`long_duration`] | remaining times | `1:05:07` |
//! | [`ranges`] | lists of step numbers | `1-20, 30, 33` |
//! | [`shape`], [`hex`], [`crc`], [`address`] | shapes, raw bytes, checksums, positions in a dump | `2×3`, `ac02`, `0000ac02`, `0x400` |

use serde_json::Value;
use std::fmt::Display;

/// Formats a value with at most five significant digits and without trailing zeros.
pub fn rounded(value: f64) -> String {
    let magnitude = value.abs();
    if value == 0.0 {
        "0".to_owned()
    } else if !value.is_finite() {
        format!("{value}")
    } else if !(1e-4..1e6).contains(&magnitude) {
        format!("{value:.3e}")
    } else {
        let digits = (4 - magnitude.log10().floor() as i32).clamp(0, 8) as usize;
        let text = format!("{value:.digits$}");
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    }
}

/// Formats a value like [`rounded`]. Returns `missing` if there is no value.
pub fn rounded_or(value: Option<f64>, missing: &str) -> String {
    value.map_or_else(|| missing.to_owned(), rounded)
}

/// Formats a number as the shortest text that is parsed to the same f32.
pub fn exact(value: f32) -> String {
    format_special(value).unwrap_or_else(|| format!("{value:?}"))
}

/// Converts an f32 to JSON. A finite number becomes the JSON number with the exact value. NaN and infinities become
/// strings, because JSON has no numbers for them.
pub fn json_f32(value: f32) -> Value {
    format_special(value).map_or_else(|| Value::from(f64::from(value)), Value::String)
}

/// Serializes an optional f32 with [`json_f32`]. A missing value becomes `null`. Fields use this function in the
/// attribute `serde(serialize_with)`.
pub fn serialize_f32<S: serde::Serializer>(value: &Option<f32>, serializer: S) -> Result<S::Ok, S::Error> {
    serde::Serialize::serialize(&value.map(json_f32), serializer)
}

/// Returns the name of a NaN or an infinity, and `None` for a finite value.
fn format_special(value: f32) -> Option<String> {
    match value {
        f32::INFINITY => Some("Infinity".to_owned()),
        f32::NEG_INFINITY => Some("-Infinity".to_owned()),
        _ if value.is_nan() => Some("NaN".to_owned()),
        _ => None,
    }
}

/// Formats a number of things, for example "1 checkpoint" or "2 checkpoints".
pub fn count(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Formats a size in KiB with one digit after the decimal point.
pub fn kibibytes(bytes: u64) -> String {
    format!("{:.1} KiB", bytes as f64 / 1024.0)
}

/// Formats a fraction as a percentage with one digit after the decimal point.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Formats a duration in seconds, milliseconds or microseconds. The unit depends on the duration.
pub fn duration(seconds: f64) -> String {
    let (unit, per_second) = match seconds {
        seconds if seconds < 1e-3 => ("µs", 1e6),
        seconds if seconds < 1.0 => ("ms", 1e3),
        _ => ("s", 1.0),
    };
    format!("{} {unit}", rounded(seconds * per_second))
}

/// Formats a duration in whole seconds, minutes and hours, for example `1:05:07`.
pub fn long_duration(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Formats the shape of a tensor, for example as `2×3`.
pub fn shape(sides: &[u32]) -> String {
    if sides.is_empty() { "scalar".to_owned() } else { join(sides, "×") }
}

/// Formats numbers with a separator between them.
pub fn join(numbers: &[impl Display], separator: &str) -> String {
    let texts: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    texts.join(separator)
}

/// The number of ranges that [`ranges`] lists before it omits some.
const MAX_RANGES: usize = 8;

/// Formats numbers in ascending order as a short list of ranges, for example `1-20, 30, 33`. A long list ends with the
/// last number and with the number of all.
pub fn ranges(numbers: &[u32]) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, end)) if *number == end.saturating_add(1) => *end = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    let text = |(start, end): &(u32, u32)| match end - start {
        0 => start.to_string(),
        1 => format!("{start}, {end}"),
        _ => format!("{start}-{end}"),
    };
    let parts: Vec<String> = ranges.iter().take(MAX_RANGES).map(text).collect();
    match numbers.last() {
        Some(last) if ranges.len() > MAX_RANGES => {
            format!("{}, …, {last}; {} in total", parts.join(", "), numbers.len())
        }
        _ => parts.join(", "),
    }
}

/// Formats a CRC-32 as eight hexadecimal digits.
pub fn crc(crc: u32) -> String {
    format!("{crc:08x}")
}

/// Formats a position in a flash dump.
pub fn address(offset: usize) -> String {
    format!("{offset:#x}")
}

/// Formats bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns bytes as text if they are printable text, and as hexadecimal digits otherwise.
pub fn text_or_hex(bytes: &[u8]) -> String {
    let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains(char::is_control));
    text.map_or_else(|| hex(bytes), str::to_owned)
}

/// Parses hexadecimal digits, as [`hex`] writes them. Returns `None` if the text has another form.
pub fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect();
    let (pairs, rest) = digits.as_deref()?.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

/// Parses a number of bytes in decimal, or in hexadecimal with the prefix `0x`. The suffix K multiplies the number by
/// 1024, and the suffix M by 1024².
pub fn parse_byte_count(text: &str) -> Result<usize, String> {
    let text = text.trim().replace('_', "");
    let (digits, unit) = match text.strip_suffix(['K', 'k']) {
        Some(digits) => (digits, 1024),
        None => text.strip_suffix(['M', 'm']).map_or((text.as_str(), 1), |digits| (digits, 1024 * 1024)),
    };
    let parsed = match digits.strip_prefix("0x") {
        Some(digits) => usize::from_str_radix(digits, 16),
        None => digits.parse(),
    };
    parsed.ok().and_then(|n| n.checked_mul(unit)).ok_or_else(|| format!("{text:?} is not a number of bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounded_numbers_have_at_most_five_digits() {
        let all = [0.0, 1.0, -0.080_738_98, 123_456.0, 1e-9, 0.5, 1e9].map(rounded);
        assert_eq!(all, ["0", "1", "-0.080739", "123456", "1.000e-9", "0.5", "1.000e9"]);
        assert_eq!([2e-6, 0.0015, 2.5].map(duration), ["2 µs", "1.5 ms", "2.5 s"]);
        assert_eq!([0.4, 59.6, 3907.0, 400_000.0].map(long_duration), ["0:00:00", "0:01:00", "1:05:07", "111:06:40"]);
    }

    #[test]
    fn a_list_of_numbers_is_short() {
        assert_eq!(ranges(&[]), "");
        assert_eq!(ranges(&[3]), "3");
        assert_eq!(ranges(&[1, 3, 4, 6, 7, 8, u32::MAX - 1, u32::MAX]), "1, 3, 4, 6-8, 4294967294, 4294967295");
        assert_eq!(ranges(&(0..10_000).collect::<Vec<_>>()), "0-9999");
        let odd: Vec<u32> = (0..10_000).map(|number| 2 * number + 1).collect();
        assert_eq!(ranges(&odd), "1, 3, 5, 7, 9, 11, 13, 15, …, 19999; 10000 in total");
        assert_eq!(ranges(&odd[..8]), "1, 3, 5, 7, 9, 11, 13, 15");
    }

    #[test]
    fn special_values_have_names() {
        let values = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 0.1, -0.0].map(exact);
        assert_eq!(values, ["Infinity", "-Infinity", "NaN", "0.1", "-0.0"]);
        assert_eq!((json_f32(f32::NAN), json_f32(0.5)), (Value::from("NaN"), Value::from(0.5)));
    }

    #[test]
    fn hexadecimal_digits_round_trip() {
        assert_eq!(parse_hex(&hex(&[0, 0x7F, 0xFF])), Some(vec![0, 0x7F, 0xFF]));
        assert_eq!(parse_hex("abc"), None);
        assert_eq!(parse_hex("zz"), None);
    }

    #[test]
    fn byte_counts_have_prefixes_and_suffixes() {
        assert_eq!(parse_byte_count("2M"), Ok(2 << 20));
        assert_eq!(parse_byte_count("0x1000"), Ok(4096));
        for invalid in ["", "0x", "K", "-1", "99999999999999999999"] {
            assert!(parse_byte_count(invalid).is_err(), "{invalid}");
        }
    }
}
