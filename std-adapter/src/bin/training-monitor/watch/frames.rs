//! What a device sends, as lines: lines as they are, or defmt's frames, decoded with the table in the program that sent them.
//!
//! A frame that was cut, because the power went or because the tool came in the middle, is told of and passed over where
//! the encoding allows it (rzCOBS, defmt's default). What can never be frames of that program ends with an error instead
//! of silence: text, or another encoding.

use crate::failure::{self, Failure, Result};
use defmt_decoder::{DecodeError, Frame, StreamDecoder, Table};
use std::io;
use std::path::Path;

/// Bytes in which there must have been a frame; defmt's are rarely longer than a hundred.
const LONGEST: usize = 64 * 1024;

/// In what form lines come.
pub enum Format {
    Text,
    Defmt(Table),
}

impl Format {
    /// That of the program at `elf`.
    pub fn of(elf: Option<&Path>) -> Result<Format> {
        let Some(path) = elf else { return Ok(Format::Text) };
        let bytes = failure::read(path)?;
        if !bytes.starts_with(b"\x7fELF") {
            let (wanted, found) = ("a device's program (ELF)", failure::looks_like(&bytes));
            return Err(Failure::WrongFile { path: path.to_owned(), wanted, found });
        }
        let table = Table::parse(&bytes).map_err(|error| Failure::content(path, format!("{error:#}")))?;
        table.map(Format::Defmt).ok_or_else(|| {
            let (wanted, found) = ("a program that logs with defmt", "it has no section .defmt".to_owned());
            Failure::WrongFile { path: path.to_owned(), wanted, found }
        })
    }

    /// From the beginning of what is sent.
    pub fn lines(&self) -> Lines<'_> {
        match self {
            Format::Text => Lines::Text { rest: Vec::new(), told: false },
            Format::Defmt(table) => Lines::Defmt {
                decoder: table.new_stream_decoder(),
                recovers: table.encoding().can_recover(),
                waiting: 0,
                good: false,
            },
        }
    }
}

/// Puts lines together from bytes that come in pieces.
pub enum Lines<'t> {
    Text {
        /// What has no end yet.
        rest: Vec<u8>,
        /// Whether it was told that this is no text.
        told: bool,
    },
    Defmt {
        decoder: Box<dyn StreamDecoder + Send + Sync + 't>,
        /// Whether a broken frame can be passed over.
        recovers: bool,
        /// Bytes since the last frame, whole or broken.
        waiting: usize,
        /// Whether any frame was whole.
        good: bool,
    },
}

impl Lines<'_> {
    /// Takes the next bytes, and hands on the lines that they end.
    ///
    /// # Errors
    /// What never will be lines.
    pub fn push(&mut self, bytes: &[u8], mut line: impl FnMut(String)) -> io::Result<()> {
        match self {
            Lines::Text { rest, told } => {
                if bytes.contains(&0) && !*told {
                    *told = true;
                    line(
                        "(there are bytes here that are no text; if they are defmt's frames, give --elf PROGRAM)"
                            .into(),
                    );
                }
                rest.extend_from_slice(bytes);
                let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                let ended = rest.drain(..whole).collect::<Vec<u8>>();
                ended.split_inclusive(|byte| *byte == b'\n').map(text).for_each(line);
                Ok(())
            }
            Lines::Defmt { decoder, recovers, waiting, good } => {
                decoder.received(bytes);
                *waiting += bytes.len();
                loop {
                    match decoder.decode() {
                        Ok(frame) => {
                            (*waiting, *good) = (0, true);
                            line(told(&frame));
                        }
                        Err(DecodeError::UnexpectedEof) if *waiting > LONGEST => {
                            return Err(wrong("there is no end to a frame; if the log is text, leave --elf out"));
                        }
                        Err(DecodeError::UnexpectedEof) => return Ok(()),
                        Err(DecodeError::Malformed) if *recovers => {
                            *waiting = 0;
                            line("(a broken frame)".into());
                        }
                        // Where the next one begins is not known.
                        Err(DecodeError::Malformed) => {
                            return Err(wrong("a frame is broken, and this encoding ends with it"));
                        }
                    }
                }
            }
        }
    }

    /// Nothing more will come: a last line of text may have no end.
    ///
    /// # Errors
    /// There was something, but no frame in it.
    pub fn finish(&mut self) -> io::Result<Option<String>> {
        match self {
            Lines::Text { rest, .. } => Ok((!rest.is_empty()).then(|| text(rest))),
            Lines::Defmt { waiting, good: false, .. } if *waiting > 0 => {
                Err(wrong("there is no frame in it; if the log is text, leave --elf out"))
            }
            Lines::Defmt { .. } => Ok(None),
        }
    }
}

fn wrong(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn text(bytes: &[u8]) -> String {
    shown(String::from_utf8_lossy(bytes).trim_end())
}

/// Without what would move the cursor or change colours: loggers have colours, and a torn line may hold anything.
fn shown(line: &str) -> String {
    let plain = anstream::adapter::strip_str(line).to_string();
    plain.chars().map(|c| if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Time, if the program has one, level and message, in the way of `probe-rs run`.
fn told(frame: &Frame<'_>) -> String {
    let time = frame.display_timestamp().map_or(String::new(), |time| format!("{time} "));
    let level = frame.level().map_or(String::new(), |level| format!("{:<5} ", level.as_str().to_uppercase()));
    shown(&format!("{time}{level}{}", frame.display_message()))
}
