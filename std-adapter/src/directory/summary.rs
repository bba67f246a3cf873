//! The summary of one checkpoint file: what recovery must know about its content.

use super::error::{DirectoryError, Operation};
use crate::checksum::Crc32Fast;
use std::io::Read as _;
use std::path::PathBuf;
use training_monitor::checkpoint::{DecodeError, Header, Inspect, inspect_with};
use training_monitor::embedded_io::{ErrorType, Read};
use training_monitor::store::CheckpointMeta;

/// The header of a complete stream whose checksum is correct, and the objects of its checkpoint.
#[derive(Clone, PartialEq, Debug)]
pub struct StreamSummary {
    /// The step number of the checkpoint.
    pub step: u32,
    /// The number of the commit; the newest checkpoint has the highest one.
    pub sequence: u32,
    /// The iteration of the engine at which the checkpoint was saved.
    pub iteration: u32,
    /// The signed score of the checkpoint.
    pub score: Option<f32>,
    /// The name of the score.
    pub score_name: Option<String>,
    /// The names of all objects of the checkpoint; each object has a file. Empty for a stream that stores a whole
    /// checkpoint, which a [`Directory`](crate::Directory) never writes.
    pub objects: Vec<String>,
}

impl StreamSummary {
    /// The header of the stream.
    #[must_use]
    pub fn header(&self) -> Header<'_> {
        Header {
            step: self.step,
            sequence: self.sequence,
            iteration: self.iteration,
            score: self.score,
            score_name: self.score_name.as_deref(),
        }
    }

    /// Reads and verifies a whole file. `scratch` holds one piece of the payload at a time.
    pub(super) fn read<R: std::io::Read>(
        reader: &mut BufferedReader<R>,
        scratch: &mut [u8],
    ) -> Result<StreamSummary, DecodeError<DirectoryError>> {
        let mut names = NameCollector::default();
        let info = inspect_with::<Crc32Fast, _, _>(reader, scratch, &mut names)?;
        // The directory writes nothing behind the checksum, so a longer file is damaged.
        if reader.read(&mut [0]).map_err(DecodeError::Io)? != 0 {
            return Err(DecodeError::Malformed);
        }
        Ok(StreamSummary {
            step: info.step,
            sequence: info.sequence,
            iteration: info.iteration,
            score: info.score,
            score_name: names.score,
            objects: names.objects,
        })
    }
}

impl From<&StreamSummary> for CheckpointMeta {
    fn from(summary: &StreamSummary) -> CheckpointMeta {
        CheckpointMeta::from(&summary.header())
    }
}

/// Collects the names that a stream contains.
#[derive(Default)]
struct NameCollector {
    score: Option<String>,
    objects: Vec<String>,
}

impl Inspect for NameCollector {
    fn score_name(&mut self, name: &str) {
        self.score = Some(name.to_owned());
    }
    fn object_name(&mut self, name: &str) {
        self.objects.push(name.to_owned());
    }
}

/// A buffered file reader. The buffer saves system calls.
pub(super) struct BufferedReader<R> {
    reader: std::io::BufReader<R>,
    /// The path of the file, for error messages.
    path: PathBuf,
}

impl<R: std::io::Read> BufferedReader<R> {
    pub fn new(reader: R, path: PathBuf) -> Self {
        BufferedReader { reader: std::io::BufReader::new(reader), path }
    }
}

impl<R> ErrorType for BufferedReader<R> {
    type Error = DirectoryError;
}

impl<R: std::io::Read> Read for BufferedReader<R> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, DirectoryError> {
        loop {
            match self.reader.read(into) {
                // A signal interrupted the system call, so the reader repeats the call.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => (),
                result => return result.map_err(DirectoryError::io(Operation::Read, &self.path)),
            }
        }
    }
}
