//! Text for the terminal. Names in checkpoints, histories and logs can contain any character. A control character could
//! change the state of the terminal, or show a text that is not in the file.

use std::borrow::Cow;
use std::fmt::{Display, Write};

/// How a text is shown in a terminal with colors.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Style {
    #[default]
    Plain,
    Bold,
    Red,
    Green,
    Yellow,
    Cyan,
}

impl Style {
    fn to_owo(self) -> owo_colors::Style {
        let style = owo_colors::Style::new();
        match self {
            Style::Plain => style,
            Style::Bold => style.bold(),
            Style::Red => style.red().bold(),
            Style::Green => style.green(),
            Style::Yellow => style.yellow(),
            Style::Cyan => style.cyan(),
        }
    }
}

/// A part of a line, with one style.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Span {
    text: String,
    style: Style,
}

impl Span {
    pub fn new(text: impl Display, style: Style) -> Span {
        Span { text: text.to_string(), style }
    }

    /// Returns the text with its control characters escaped, and with color codes.
    pub fn to_ansi(&self) -> String {
        self.style.to_owo().style(escape(&self.text)).to_string()
    }
}

/// Creates a part of a line without a style.
pub fn plain(text: impl Display) -> Span {
    Span::new(text, Style::Plain)
}

/// Creates a bold part of a line.
pub fn bold(text: impl Display) -> Span {
    Span::new(text, Style::Bold)
}

/// Replaces each character that does not print by its code, for example the escape character by `\u{1b}`.
pub fn escape(text: &str) -> Cow<'_, str> {
    escape_except(text, "")
}

/// Escapes the text like [`escape`], but keeps line ends and tabs.
pub fn escape_lines(text: &str) -> Cow<'_, str> {
    escape_except(text, "\n\t")
}

fn escape_except<'t>(text: &'t str, kept: &str) -> Cow<'t, str> {
    let needs_escape = |c: char| is_invisible(c) && !kept.contains(c);
    if !text.contains(needs_escape) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if needs_escape(c) { escaped.extend(c.escape_unicode()) } else { escaped.push(c) }
    }
    Cow::Owned(escaped)
}

/// Escapes the control characters of a JSON text that JSON allows in strings, for example U+009B, the start of a control
/// sequence. All of them are in strings, because JSON allows them nowhere else.
pub fn escape_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if is_invisible(c) && c != '\n' {
            // All of these characters have at most 16 bits. Writing to a `String` never fails.
            let _ = write!(escaped, "\\u{:04x}", u32::from(c));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// Returns whether a character controls the terminal, the line or the direction of the text.
fn is_invisible(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_control_the_terminal_are_escaped() {
        assert_eq!(escape("a\x1b[31mb\n\u{9b}c\u{202e}é\u{7f}"), r"a\u{1b}[31mb\u{a}\u{9b}c\u{202e}é\u{7f}");
        assert_eq!(escape_lines("a\tb\n\r"), "a\tb\n\\u{d}");
        assert!(matches!(escape("fc.weight"), Cow::Borrowed(_)));
        let json = escape_json("{\n\"a\u{9b}\": \"\u{2066}ü\"}");
        assert_eq!(json, "{\n\"a\\u009b\": \"\\u2066ü\"}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["a\u{9b}"], "\u{2066}ü");
    }

    #[test]
    fn a_styled_text_cannot_end_its_style() {
        let red = Span::new("x\x1b[0my", Style::Green).to_ansi();
        assert_eq!(red, "\x1b[32mx\\u{1b}[0my\x1b[0m");
    }
}
