//! The tokens of a JSON file, one after the other, so that no part of the file must fit into memory.

use super::super::window::Window;
use crate::tool::error::{CliError, Result};
use crate::tool::stream::Source;
use json_event_parser::{JsonEvent, LowLevelJsonParser, WriterJsonSerializer};
use serde::de::DeserializeOwned;
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

/// The maximum length of a name, a string or a number, and of a value that is read as a whole, in bytes. The metadata of a
/// checkpoint are such a value.
const MAX_VALUE: usize = 16 << 20;

/// The maximum depth of nested lists and objects.
const MAX_DEPTH: usize = 128;

/// A token. The function [`Tokens::text`] returns the text of a key, a string or a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Token {
    StartObject,
    EndObject,
    StartArray,
    EndArray,
    Key,
    String,
    Number,
    Bool(bool),
    Null,
    /// The end of the file.
    End,
}

pub struct Tokens<'a> {
    path: &'a Path,
    window: Window,
    parser: LowLevelJsonParser,
    /// The text of the last token.
    text: String,
    /// The tensor that is being read, for error messages.
    pub tensor: Option<String>,
}

impl<'a> Tokens<'a> {
    pub fn new(path: &'a Path, source: &Arc<Source>) -> Tokens<'a> {
        let parser = LowLevelJsonParser::new().with_max_stack_size(MAX_DEPTH);
        Tokens { path, window: Window::new(source), parser, text: String::new(), tensor: None }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns an error about the file.
    pub fn error<T>(&self, reason: impl Display) -> Result<T> {
        let tensor = self.tensor.as_ref().map_or_else(String::new, |name| format!("tensor {name}: "));
        Err(CliError::content(self.path, format_args!("not a JSON file of tensors: {tensor}{reason}")))
    }

    /// Reads the next token.
    pub fn next(&mut self) -> Result<Token> {
        loop {
            let result = self.parser.parse_next(self.window.bytes(), self.window.is_at_end());
            let mut with_text = |token, text: &str| {
                self.text.clear();
                self.text.push_str(text);
                token
            };
            let token = match result.event.transpose() {
                Ok(event) => event.map(|event| match event {
                    JsonEvent::ObjectKey(text) => with_text(Token::Key, &text),
                    JsonEvent::String(text) => with_text(Token::String, &text),
                    JsonEvent::Number(text) => with_text(Token::Number, &text),
                    JsonEvent::Boolean(value) => Token::Bool(value),
                    JsonEvent::Null => Token::Null,
                    JsonEvent::StartArray => Token::StartArray,
                    JsonEvent::EndArray => Token::EndArray,
                    JsonEvent::StartObject => Token::StartObject,
                    JsonEvent::EndObject => Token::EndObject,
                    JsonEvent::Eof => Token::End,
                }),
                // The positions of the parser do not include the numbers that it did not see.
                Err(error) => {
                    let (reason, offset) = (error.message().to_owned(), self.window.offset());
                    return self.error(format_args!("{reason} near byte {offset}"));
                }
            };
            self.window.consume(result.consumed_bytes);
            if let Some(token) = token {
                return Ok(token);
            }
            if self.window.bytes().len() > MAX_VALUE {
                return self.error("a name, a string or a number has more than 16 MiB");
            }
            self.window.fill()?;
        }
    }

    /// Reads a token that must be `token`.
    pub fn expect(&mut self, token: Token, expected: &str) -> Result<()> {
        let offset = self.window.offset();
        if self.next()? == token { Ok(()) } else { self.error(format_args!("expected {expected} near byte {offset}")) }
    }

    /// Reads the next key of an object. Returns `None` at the end of the object.
    pub fn next_key(&mut self) -> Result<Option<String>> {
        Ok(if self.next()? == Token::Key { Some(std::mem::take(&mut self.text)) } else { None })
    }

    /// Passes each token of the next value to `each`.
    fn for_each_token(&mut self, mut each: impl FnMut(&mut Self, Token) -> Result<()>) -> Result<()> {
        let mut depth = 0;
        loop {
            let token = self.next()?;
            match token {
                Token::StartArray | Token::StartObject => depth += 1,
                Token::EndArray | Token::EndObject => depth -= 1,
                _ => (),
            }
            each(self, token)?;
            if depth == 0 && token != Token::Key {
                return Ok(());
            }
        }
    }

    /// Reads a value as a whole.
    pub fn value<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut json = WriterJsonSerializer::new(Vec::new());
        let mut len = 0;
        self.for_each_token(|tokens, token| {
            let text = || tokens.text.as_str().into();
            len += 16;
            len += if matches!(token, Token::Key | Token::String | Token::Number) { tokens.text.len() } else { 0 };
            if len > MAX_VALUE {
                return tokens.error("a value has more than 16 MiB");
            }
            let written = json.serialize_event(match token {
                Token::StartObject => JsonEvent::StartObject,
                Token::EndObject => JsonEvent::EndObject,
                Token::StartArray => JsonEvent::StartArray,
                Token::EndArray => JsonEvent::EndArray,
                Token::Key => JsonEvent::ObjectKey(text()),
                Token::String => JsonEvent::String(text()),
                Token::Number => JsonEvent::Number(text()),
                Token::Bool(value) => JsonEvent::Boolean(value),
                Token::Null => JsonEvent::Null,
                Token::End => JsonEvent::Eof,
            });
            written.or_else(|error| tokens.error(error))
        })?;
        let parsed = json.finish().map_err(serde_json::Error::io).and_then(|json| serde_json::from_slice(&json));
        parsed.or_else(|error| self.error(error))
    }

    pub fn skip_value(&mut self) -> Result<()> {
        // Whether all tokens since the start of the list are numbers.
        let mut is_list = false;
        self.for_each_token(|tokens, token| {
            is_list = token == Token::StartArray || is_list && token == Token::Number;
            if is_list && token == Token::Number { tokens.following_numbers(|_| Ok(true)) } else { Ok(()) }
        })
    }

    /// Passes the numbers that follow an element of a list to `each`, as far as they are complete in the window. Stops at an
    /// element of another kind, and if `each` returns false.
    ///
    /// The parser is between two elements before and after this call, so it need not see them.
    pub fn following_numbers(&mut self, mut each: impl FnMut(&str) -> Result<bool>) -> Result<()> {
        loop {
            let bytes = self.window.bytes();
            let Some((b',', rest)) = bytes.split_first() else { return Ok(()) };
            let spaces = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
            let rest = &rest[spaces..];
            let Some(number) = number_len(rest).and_then(|len| std::str::from_utf8(&rest[..len]).ok()) else {
                return Ok(());
            };
            let consumed = bytes.len() - rest.len() + number.len();
            if !each(number)? {
                return Ok(());
            }
            self.window.consume(consumed);
        }
    }
}

/// Returns the length of the JSON number at the start of a text. Returns `None` if there is none, or if its end is not in
/// the text.
fn number_len(text: &[u8]) -> Option<usize> {
    let digits = |from: usize| text.get(from..)?.iter().position(|byte| !byte.is_ascii_digit()).map(|len| from + len);
    let start = usize::from(*text.first()? == b'-');
    let mut end = digits(start)?;
    // A number has no leading zeros.
    if end == start || *text.get(start)? == b'0' && end > start + 1 {
        return None;
    }
    if text[end] == b'.' {
        let fraction = end + 1;
        end = digits(fraction).filter(|end| *end > fraction)?;
    }
    if matches!(text[end], b'e' | b'E') {
        let exponent = end + 1 + usize::from(matches!(text.get(end + 1)?, b'+' | b'-'));
        end = digits(exponent).filter(|end| *end > exponent)?;
    }
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_form_of_json() {
        for number in ["0", "-0", "10", "0.5", "-12.25e-3", "1E+9", "0e0"] {
            assert_eq!(number_len(format!("{number},").as_bytes()), Some(number.len()), "{number}");
            assert_eq!(number_len(number.as_bytes()), None, "the end of {number} is not known");
        }
        for text in ["", "-,", "+1,", "01,", ".5,", "1.,", "1.e5,", "1e,", "1e+,", "NaN,", "\"1\",", "-\"1\","] {
            assert_eq!(number_len(text.as_bytes()), None, "{text}");
        }
        // The parser refuses the character that follows.
        assert_eq!(number_len(b"1x,"), Some(1));
    }
}
