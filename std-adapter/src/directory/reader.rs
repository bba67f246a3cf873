//! Opens the files of listed checkpoints for reading.

use super::Directory;
use super::error::{DirectoryError, Operation};
use super::file_system::FileSystem;
use super::lock::Access;
use super::summary::BufferedReader;
use std::fmt;
use std::io::{self, ErrorKind, SeekFrom};
use training_monitor::embedded_io::{ErrorType, Read};

/// A reader for one file of a checkpoint.
pub struct Reader<'a, F: FileSystem>(BufferedReader<Source<'a, F::Reader>>);

/// The file that a [`Reader`] reads.
enum Source<'a, R> {
    Opened(R),
    /// A file that a read-only directory keeps open.
    Held(&'a mut R),
}

impl<R: io::Read> io::Read for Source<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Source::Opened(file) => file.read(into),
            Source::Held(file) => file.read(into),
        }
    }
}

impl<F: FileSystem> ErrorType for Reader<'_, F> {
    type Error = DirectoryError;
}

impl<F: FileSystem> Read for Reader<'_, F> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, DirectoryError> {
        self.0.read(into)
    }
}

impl<F: FileSystem> fmt::Debug for Reader<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

impl<F: FileSystem> Directory<F> {
    /// Opens a file of the checkpoint with this sequence number.
    pub(super) fn open_stream(&mut self, sequence: u32, stream_index: u32) -> Result<Reader<'_, F>, DirectoryError> {
        let mut name = self.file_name(sequence, stream_index)?;
        let is_held = |directory: &Self, name: &str| matches!(&directory.access, Access::ReadOnly(held) if held.contains_key(name));
        let mut opened = None;
        if !is_held(self, &name) {
            match self.location.fs.open(&self.location.path(&name)) {
                Ok(file) => opened = Some(file),
                // Another program has renamed or removed the file, so the list is out of date.
                Err(cause) if cause.kind() == ErrorKind::NotFound && self.is_read_only() => {
                    self.refresh()?;
                    name = self.file_name(sequence, stream_index)?;
                }
                Err(cause) => return Err(DirectoryError::io(Operation::Open, self.location.path(&name))(cause)),
            }
        }
        let path = self.location.path(&name);
        let held = match &mut self.access {
            Access::ReadOnly(held) => held.get_mut(&name),
            Access::Write(_) => None,
        };
        let source = match (opened, held) {
            (Some(file), _) => Source::Opened(file),
            (None, Some(file)) => {
                io::Seek::seek(file, SeekFrom::Start(0)).map_err(DirectoryError::io(Operation::Read, &path))?;
                Source::Held(file)
            }
            (None, None) => {
                Source::Opened(self.location.fs.open(&path).map_err(DirectoryError::io(Operation::Open, &path))?)
            }
        };
        Ok(Reader(BufferedReader::new(source, path)))
    }

    fn file_name(&self, sequence: u32, stream_index: u32) -> Result<String, DirectoryError> {
        let checkpoint = self.position(sequence).and_then(|index| self.checkpoints.get(index));
        let name = checkpoint.and_then(|checkpoint| checkpoint.files.get(stream_index as usize));
        name.cloned().ok_or_else(|| DirectoryError::NoCheckpoint { path: self.location.dir.clone(), sequence })
    }
}
