//! The part of a text file that is being parsed. The readers of JSON and CSV parse most elements directly in these bytes,
//! because a general parser needs several times as long, and pass everything else to a library.

use crate::tool::error::{CliError, Result};
use crate::tool::stream::{Source, SourceReader};
use std::io::{self, Read};
use std::sync::Arc;

/// The number of bytes that are read at once.
const CHUNK: usize = 64 * 1024;

pub struct Window {
    source: Arc<Source>,
    reader: SourceReader,
    buffer: Vec<u8>,
    /// The index in the buffer of the first byte that was not consumed.
    start: usize,
    /// The number of bytes that were consumed.
    offset: u64,
    is_at_end: bool,
}

impl Window {
    pub fn new(source: &Arc<Source>) -> Window {
        let (source, reader) = (Arc::clone(source), SourceReader::new(source));
        Window { source, reader, buffer: vec![], start: 0, offset: 0, is_at_end: false }
    }

    /// Returns the bytes that were read and not consumed.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Returns the position of these bytes in the file.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns whether no bytes follow these bytes.
    pub const fn is_at_end(&self) -> bool {
        self.is_at_end
    }

    pub const fn consume(&mut self, count: usize) {
        self.start += count;
        self.offset += count as u64;
    }

    /// Reads more bytes. Their number grows with that of the present bytes, so that a parser that waits for the end of a
    /// long text does not search the text too often.
    pub fn fill(&mut self) -> Result<()> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let len = self.buffer.len();
        self.buffer.resize(len + len.max(CHUNK), 0);
        let count = loop {
            match self.reader.read(&mut self.buffer[len..]) {
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => (),
                result => break result.map_err(|cause| CliError::io("read", self.source.path())(cause))?,
            }
        };
        self.buffer.truncate(len + count);
        self.is_at_end = count == 0;
        Ok(())
    }
}
