//! A board's log, from defmt's frames to lines.

use crate::Done;
use defmt_decoder::{DecodeError, Table};
use std::fs;
use std::path::Path;

/// Prints a line a frame. A frame that was cut, by a plug that was pulled, is passed over.
pub fn decode(elf: &Path, frames: &Path) -> Done {
    let table = Table::parse(&fs::read(elf)?)?.ok_or("the program has no log")?;
    let mut decoder = table.new_stream_decoder();
    decoder.received(&fs::read(frames)?);
    loop {
        match decoder.decode() {
            Ok(frame) => println!("{}", frame.display_message()),
            Err(DecodeError::Malformed) => println!("(a broken frame)"),
            Err(DecodeError::UnexpectedEof) => return Ok(()),
        }
    }
}
