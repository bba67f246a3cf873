//! Text in charts: numbers, durations, titles, and the characters that XML allows.

/// The width of an average character, as a fraction of the font size.
const CHARACTER_WIDTH: f64 = 0.56;

/// Escapes the special characters of XML in `text`. XML 1.0 allows no control characters except tabs and line ends, so
/// the replacement character stands for each other one.
pub(super) fn escape_xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\t' | '\n' => escaped.push(character),
            '\u{FFFE}' | '\u{FFFF}' => escaped.push(char::REPLACEMENT_CHARACTER),
            _ if character.is_control() => escaped.push(char::REPLACEMENT_CHARACTER),
            _ => escaped.push(character),
        }
    }
    escaped
}

/// Shortens `text` to about `width` pixels at the given font size. An ellipsis replaces the end of a longer text.
pub(super) fn shorten(text: &str, width: f64, font_size: f64) -> String {
    let total: f64 = text.chars().map(|character| character_width(character, font_size)).sum();
    if total <= width {
        return text.to_owned();
    }
    let mut available = width - character_width('…', font_size);
    let fits = |character: &char| {
        available -= character_width(*character, font_size);
        available >= 0.0
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

/// Returns the approximate width of a character in pixels. East Asian characters and emoji are as wide as high.
fn character_width(character: char, font_size: f64) -> f64 {
    let is_wide = character >= '\u{1100}' && !('\u{2000}'..='\u{25FF}').contains(&character);
    font_size * if is_wide { 1.0 } else { CHARACTER_WIDTH }
}

/// Formats a value with at most five significant digits and without trailing zeros.
pub(super) fn format_value(value: f64) -> String {
    format_digits(value, 5)
}

/// Formats a value with at most three significant digits and without trailing zeros.
pub(super) fn format_short(value: f64) -> String {
    format_digits(value, 3)
}

fn format_digits(value: f64, significant: i32) -> String {
    let magnitude = value.abs();
    if value == 0.0 {
        return "0".to_owned();
    }
    if !(1e-4..1e6).contains(&magnitude) {
        let text = format!("{value:.2e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{}e{exponent}", trim_zeros(mantissa));
    }
    let digits = (significant - 1 - magnitude.log10().floor() as i32).clamp(0, 8) as usize;
    trim_zeros(&format!("{value:.digits$}")).to_owned()
}

/// Removes the zeros at the end of a fraction.
fn trim_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// Formats a duration in seconds, with a unit.
pub(super) fn format_duration(seconds: f64) -> String {
    let (unit, per_second) = time_unit(seconds);
    format!("{} {unit}", format_short(seconds * per_second))
}

/// Returns the unit for durations of about `seconds` seconds, and the number of these units in one second. For example,
/// the unit is µs for durations below 1 ms.
pub(super) const fn time_unit(seconds: f64) -> (&'static str, f64) {
    match seconds {
        seconds if seconds < 1e-3 => ("µs", 1e6),
        seconds if seconds < 1.0 => ("ms", 1e3),
        _ => ("s", 1.0),
    }
}

/// Returns the title of a metric: `val_loss` becomes "val loss".
pub(super) fn metric_title(name: &str) -> String {
    name.replace('_', " ")
}

/// Returns `count` with a noun, for example "1 run" or "2 runs".
pub(super) fn count(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_five_digits() {
        let values = [0.0, 1.0, -0.080_738_98, 123_456.0, 1e-9, 0.5, 3.5e38, 1e-5];
        assert_eq!(values.map(format_value), ["0", "1", "-0.080739", "123456", "1e-9", "0.5", "3.5e38", "1e-5"]);
        assert_eq!([2e-6, 0.001_512_3, 2.5].map(format_duration), ["2 µs", "1.51 ms", "2.5 s"]);
    }

    #[test]
    fn long_texts_are_shortened() {
        assert_eq!(shorten("accuracy", 100.0, 12.0), "accuracy");
        assert_eq!(shorten("accuracy", 40.0, 12.0), "accu…");
        assert_eq!(shorten("正解率と損失", 40.0, 12.0), "正解…");
        assert_eq!(shorten("accuracy", 0.0, 12.0), "…");
    }

    #[test]
    fn control_characters_are_replaced() {
        assert_eq!(escape_xml("a\0b\x1b[31m\u{9b}\u{ffff}<\t"), "a\u{fffd}b\u{fffd}[31m\u{fffd}\u{fffd}&lt;\t");
    }
}
