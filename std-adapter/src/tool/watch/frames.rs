//! Decodes the bytes of a log to lines. A log consists of plain text or of defmt frames. The ELF file of the program
//! that sent the frames contains the table for decoding them.
//!
//! A frame is truncated if power fails, or if the tool starts to read in the middle of a frame. With the encoding
//! rzCOBS, which is the default of defmt, the tool reports such a frame and skips it. Other encodings do not mark the
//! start of the next frame, so a truncated frame is an error. A log without any frame, for example plain text, is also
//! an error.

use crate::tool::error::{CliError, Result};
use crate::tool::files;
use defmt_decoder::{DecodeError, Frame, StreamDecoder, Table};
use std::io;
use std::path::Path;

/// The maximum number of bytes without a complete frame. A frame of defmt rarely has more than a hundred bytes.
const MAX_FRAME_LEN: usize = 64 * 1024;

/// The format of a log.
pub enum LogFormat {
    Text,
    Defmt(Table),
}

impl LogFormat {
    /// Returns the format of a log: the defmt frames of the program `elf`, or text if there is no program.
    pub fn new(elf: Option<&Path>) -> Result<LogFormat> {
        let Some(path) = elf else { return Ok(LogFormat::Text) };
        let wrong_file = |expected, found| CliError::WrongFile { path: path.to_owned(), expected, found };
        let bytes = files::read(path)?;
        if !bytes.starts_with(b"\x7fELF") {
            return Err(wrong_file("a program for a device (ELF)", files::describe_content(&bytes)));
        }
        let table = Table::parse(&bytes).map_err(|error| CliError::content(path, format!("{error:#}")))?;
        table
            .map(LogFormat::Defmt)
            .ok_or_else(|| wrong_file("a program that logs with defmt", "it has no section .defmt".to_owned()))
    }

    /// Creates a decoder for the start of a log.
    pub fn decoder(&self) -> LineDecoder<'_> {
        match self {
            LogFormat::Text => LineDecoder::Text { incomplete: Vec::new(), has_warned: false },
            LogFormat::Defmt(table) => LineDecoder::Defmt {
                decoder: table.new_stream_decoder(),
                can_recover: table.encoding().can_recover(),
                pending_len: 0,
                has_decoded: false,
            },
        }
    }
}

/// Assembles lines from bytes that arrive in pieces.
pub enum LineDecoder<'t> {
    Text {
        /// The bytes after the last line end.
        incomplete: Vec<u8>,
        /// `true` if the warning about binary data was shown.
        has_warned: bool,
    },
    Defmt {
        decoder: Box<dyn StreamDecoder + Send + Sync + 't>,
        /// `true` if the decoder can skip a broken frame of this encoding.
        can_recover: bool,
        /// The number of bytes since the last complete or broken frame.
        pending_len: usize,
        /// `true` if a complete frame was decoded.
        has_decoded: bool,
    },
}

impl LineDecoder<'_> {
    /// Decodes the next bytes and passes each completed line to `line`.
    ///
    /// # Errors
    /// Returns an error if the bytes are not valid frames of the program.
    pub fn push(&mut self, bytes: &[u8], mut line: impl FnMut(String)) -> io::Result<()> {
        match self {
            LineDecoder::Text { incomplete, has_warned } => {
                if bytes.contains(&0) && !*has_warned {
                    *has_warned = true;
                    line("(the log contains binary data; if it consists of defmt frames, use --elf PROGRAM)".into());
                }
                incomplete.extend_from_slice(bytes);
                let complete = incomplete.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
                let lines = incomplete.drain(..complete).collect::<Vec<u8>>();
                lines.split_inclusive(|byte| *byte == b'\n').map(decode_text).for_each(line);
                Ok(())
            }
            LineDecoder::Defmt { decoder, can_recover, pending_len, has_decoded } => {
                decoder.received(bytes);
                *pending_len += bytes.len();
                loop {
                    match decoder.decode() {
                        Ok(frame) => {
                            (*pending_len, *has_decoded) = (0, true);
                            line(format_frame(&frame));
                        }
                        Err(DecodeError::UnexpectedEof) if *pending_len > MAX_FRAME_LEN => {
                            return Err(invalid_log("a frame has no end; if the log is text, omit --elf"));
                        }
                        Err(DecodeError::UnexpectedEof) => return Ok(()),
                        Err(DecodeError::Malformed) if *can_recover => {
                            *pending_len = 0;
                            line("(a broken frame)".into());
                        }
                        Err(DecodeError::Malformed) => {
                            return Err(invalid_log("a frame is broken, and the encoding cannot skip broken frames"));
                        }
                    }
                }
            }
        }
    }

    /// Ends the log. Returns the last line of text if it has no line end.
    ///
    /// # Errors
    /// Returns an error if the log contains bytes, but no complete frame.
    pub fn finish(&mut self) -> io::Result<Option<String>> {
        match self {
            LineDecoder::Text { incomplete, .. } => Ok((!incomplete.is_empty()).then(|| decode_text(incomplete))),
            LineDecoder::Defmt { pending_len, has_decoded: false, .. } if *pending_len > 0 => {
                Err(invalid_log("the log contains no frame; if it is text, omit --elf"))
            }
            LineDecoder::Defmt { .. } => Ok(None),
        }
    }
}

fn invalid_log(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

fn decode_text(bytes: &[u8]) -> String {
    remove_controls(String::from_utf8_lossy(bytes).trim_end())
}

/// Removes color codes and replaces control characters, so that they cannot change the state of the user's terminal. A
/// log can contain color codes, and a truncated line can contain any bytes.
fn remove_controls(line: &str) -> String {
    let is_control = |c: char| c.is_control() && c != '\t';
    // Nearly all lines are without control characters. Without this check, the removal would take most of the time that a
    // long history needs to appear.
    if !line.contains(is_control) {
        return line.to_owned();
    }
    let plain = anstream::adapter::strip_str(line).to_string();
    plain.chars().map(|c| if is_control(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Formats a frame like the program `probe-rs run`: the time if the device has a clock, the level and the message.
fn format_frame(frame: &Frame<'_>) -> String {
    let time = frame.display_timestamp().map_or(String::new(), |time| format!("{time} "));
    let level = frame.level().map_or(String::new(), |level| format!("{:<5} ", level.as_str().to_uppercase()));
    remove_controls(&format!("{time}{level}{}", frame.display_message()))
}
