//! Compares log lines with defmt format strings.
//!
//! A format string consists of fixed text and of placeholders: `{}`, `{=type}` or `{=type:hint}`. The line must contain
//! the fixed text unchanged. A placeholder matches the text before the next fixed text. The sequences `{{` and `}}`
//! stand for single braces.

/// A parsed defmt format string, which log lines are compared with.
pub struct Pattern {
    segments: Vec<Segment>,
}

#[derive(PartialEq, Debug)]
enum Segment {
    Literal(String),
    Placeholder(ValueType),
}

/// The text that a placeholder accepts.
#[derive(Clone, Copy, PartialEq, Debug)]
enum ValueType {
    /// An integer. Its placeholders are `{=u8}` to `{=u128}`, `{=i8}` to `{=i128}`, `{=usize}` and `{=isize}`.
    Integer,
    /// A floating-point number. Its placeholders are `{=f32}` and `{=f64}`.
    Float,
    /// Any text: all other types, and all types with a display hint. A hint can change the notation of a number, for
    /// example to hexadecimal.
    Text,
}

impl ValueType {
    /// Returns the type of a placeholder. `placeholder` is the text between its braces.
    fn parse(placeholder: &str) -> ValueType {
        match placeholder.strip_prefix('=') {
            Some("u8" | "u16" | "u32" | "u64" | "u128" | "usize") => ValueType::Integer,
            Some("i8" | "i16" | "i32" | "i64" | "i128" | "isize") => ValueType::Integer,
            Some("f32" | "f64") => ValueType::Float,
            _ => ValueType::Text,
        }
    }

    fn accepts(self, text: &str) -> bool {
        match self {
            ValueType::Integer => text.parse::<i128>().is_ok() || text.parse::<u128>().is_ok(),
            ValueType::Float => text.parse::<f64>().is_ok(),
            ValueType::Text => !text.is_empty(),
        }
    }

    /// Returns the start of `text` that has this type. The function is used for a placeholder at the end of a format
    /// string, because other text can follow in the same line.
    fn leading_value(self, text: &str) -> &str {
        match self {
            ValueType::Text => text,
            _ => text.split([',', ':', ' ', '\t']).next().unwrap_or(text),
        }
    }
}

/// The part of a line that may follow the match of a pattern.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Suffix {
    /// Only white space may follow, so the pattern must match up to the end of the line.
    None,
    /// Any text may follow, because a logger can print other text after the message.
    Any,
}

impl Pattern {
    pub fn new(format: &str) -> Pattern {
        let mut segments = Vec::new();
        let mut literal = String::new();
        let mut rest = format;
        while let Some(brace) = rest.find(['{', '}']) {
            let (text, tail) = rest.split_at(brace);
            literal.push_str(text);
            if let Some(escaped) = ["{{", "}}"].iter().find(|escaped| tail.starts_with(**escaped)) {
                literal.push_str(&escaped[..1]);
                rest = &tail[2..];
                continue;
            }
            // defmt does not allow a single brace. The brace is treated as fixed text.
            let Some((placeholder, after)) = tail.strip_prefix('{').and_then(|tail| tail.split_once('}')) else {
                literal.push_str(&tail[..1]);
                rest = &tail[1..];
                continue;
            };
            if !literal.is_empty() {
                segments.push(Segment::Literal(std::mem::take(&mut literal)));
            }
            segments.push(Segment::Placeholder(ValueType::parse(placeholder)));
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            segments.push(Segment::Literal(literal));
        }
        Pattern { segments }
    }

    /// Finds the first match in the line. Returns the texts that the placeholders match, without white space around
    /// them.
    ///
    /// Any text may precede the match, because loggers print levels and times at the start of a line. Therefore a
    /// placeholder at the start of the format string matches only the last word before the first fixed text.
    pub fn captures<'l>(&self, line: &'l str, suffix: Suffix) -> Option<Vec<&'l str>> {
        let (first, literal, rest) = match self.segments.as_slice() {
            [Segment::Literal(literal), rest @ ..] => (None, literal, rest),
            [Segment::Placeholder(first), Segment::Literal(literal), rest @ ..] => (Some(first), literal, rest),
            // A format string without fixed text would match every line.
            _ => return None,
        };
        line.match_indices(literal.as_str()).find_map(|(index, _)| {
            let mut captures = Vec::new();
            if let Some(value_type) = first {
                let word = line[..index].split_whitespace().next_back()?;
                captures.push(Some(word).filter(|word| value_type.accepts(word))?);
            }
            match_segments(rest, &line[index + literal.len()..], suffix, &mut captures).then_some(captures)
        })
    }
}

/// Compares `segments` (fixed texts and placeholders) with the start of `text`. Returns whether all segments match.
/// Appends the text that each placeholder matches to `captures`.
fn match_segments<'l>(segments: &[Segment], text: &'l str, suffix: Suffix, captures: &mut Vec<&'l str>) -> bool {
    let mut capture = |value_type: &ValueType, text: &'l str| {
        captures.push(text.trim());
        value_type.accepts(text.trim())
    };
    match segments {
        [] => suffix == Suffix::Any || text.trim().is_empty(),
        [Segment::Literal(literal), rest @ ..] => {
            text.strip_prefix(literal.as_str()).is_some_and(|text| match_segments(rest, text, suffix, captures))
        }
        [Segment::Placeholder(value_type)] if suffix == Suffix::Any => {
            capture(value_type, value_type.leading_value(text.trim_start()))
        }
        [Segment::Placeholder(value_type)] => capture(value_type, text),
        [Segment::Placeholder(value_type), Segment::Literal(literal), rest @ ..] => {
            let Some((value, text)) = text.split_once(literal.as_str()) else { return false };
            capture(value_type, value) && match_segments(rest, text, suffix, captures)
        }
        // There is no fixed text between two adjacent placeholders, so the end of the first value is unknown.
        [Segment::Placeholder(_), Segment::Placeholder(_), ..] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captures<'l>(format: &str, line: &'l str) -> Option<Vec<&'l str>> {
        Pattern::new(format).captures(line, Suffix::None)
    }

    #[test]
    fn placeholders_capture_up_to_the_next_literal() {
        let format = "{=str}: saved {=u32} ({=u32} bytes)";
        assert_eq!(captures(format, "12.5 [INFO] best: saved 7 (90 bytes)"), Some(vec!["best", "7", "90"]));
        assert_eq!(captures(format, "note: best: saved 7 (90 bytes) \r"), Some(vec!["best", "7", "90"]));
        assert_eq!(captures(format, "best: saved x (90 bytes)"), None);
        assert_eq!(captures(format, "best: saved 7 (90 bytes), and more"), None);
        assert_eq!(captures("erased {} times", "slots erased [1, 2] times"), Some(vec!["[1, 2]"]));
        assert_eq!(captures("loss {=f32}", "loss NaN"), Some(vec!["NaN"]));
    }

    #[test]
    fn types_and_hints() {
        assert_eq!(captures("at {=u32:#x}", "at 0x10"), Some(vec!["0x10"]));
        assert_eq!(captures("at {=u32}", "at 0x10"), None);
        assert_eq!(captures("at {=i8}", "at -1"), Some(vec!["-1"]));
        assert_eq!(captures("{{{=u8}}} of {=u8}", "{3} of 4"), Some(vec!["3", "4"]));
    }

    #[test]
    fn text_after_the_match_must_be_allowed() {
        let pattern = Pattern::new("epoch {=u32}: loss {=f32}");
        let line = "epoch 3: loss 0.5, accuracy 0.9";
        assert_eq!(pattern.captures(line, Suffix::None), None);
        assert_eq!(pattern.captures(line, Suffix::Any), Some(vec!["3", "0.5"]));
    }

    #[test]
    fn patterns_without_literals_never_match() {
        assert_eq!(captures("{}", "text"), None);
        assert_eq!(captures("", "text"), None);
        assert_eq!(captures("a {=u8}{=u8}", "a 12"), None);
    }
}
