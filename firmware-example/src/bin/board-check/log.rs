//! Decodes the defmt log of a board.

use crate::CheckResult;
use defmt_decoder::{DecodeError, Table};
use std::fs;
use std::path::Path;

/// Prints one line per log frame. Prints `(malformed frame)` for a malformed frame, and ignores a truncated frame at
/// the end of the log.
pub fn decode(elf: &Path, frames: &Path) -> CheckResult {
    let table = Table::parse(&fs::read(elf)?)?.ok_or("the program has no defmt log")?;
    let mut decoder = table.new_stream_decoder();
    decoder.received(&fs::read(frames)?);
    loop {
        match decoder.decode() {
            Ok(frame) => println!("{}", frame.display_message()),
            Err(DecodeError::Malformed) => println!("(malformed frame)"),
            Err(DecodeError::UnexpectedEof) => return Ok(()),
        }
    }
}
