//! A temporary file for bytes that a command must read more than once or at any position.

use super::source::{Payload, Source};
use crate::tool::error::{CliError, Result};
use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

/// The number of bytes that are collected before they are written.
const BUFFER: usize = 256 * 1024;

/// A file in the directory of temporary files. It has no name, so the operating system removes it when the tool ends.
#[derive(Debug)]
pub struct Spool {
    file: BufWriter<File>,
    len: u64,
}

fn error(cause: std::io::Error) -> CliError {
    CliError::io("write a temporary file in", &std::env::temp_dir())(cause)
}

impl Spool {
    pub fn new() -> Result<Spool> {
        let file = tempfile::tempfile().map_err(error)?;
        Ok(Spool { file: BufWriter::with_capacity(BUFFER, file), len: 0 })
    }

    /// Returns the number of bytes up to the end.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.len += bytes.len() as u64;
        self.file.write_all(bytes).map_err(error)
    }

    /// Writes bytes at a position. The next call of [`write`](Self::write) appends at the end.
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.file.seek(SeekFrom::Start(offset)).and_then(|_| self.file.write_all(bytes)).map_err(error)?;
        self.len = self.len.max(offset + bytes.len() as u64);
        self.file.seek(SeekFrom::Start(self.len)).map(|_| ()).map_err(error)
    }

    /// Returns the file as a source. `path` is the file from which its bytes come, for error messages.
    pub fn finish(self, path: &Path) -> Result<Arc<Source>> {
        let file = self.file.into_inner().map_err(|failed| error(failed.into_error()))?;
        Ok(Arc::new(Source::from_file(path, file, self.len)))
    }

    /// Returns the whole file as a payload.
    pub fn into_payload(self, path: &Path) -> Result<Payload> {
        let source = self.finish(path)?;
        Ok(Payload::new(&source, 0, source.len()))
    }
}
