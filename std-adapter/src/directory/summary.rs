//! The summary of a checkpoint file: the part of its content that recovery needs.

use super::error::{DirectoryError, Operation};
use super::naming::Naming;
use crate::inspect::{InspectError, inspect};
use std::io::Read as _;
use std::path::PathBuf;
use training_monitor::checkpoint::{Header, Inspect, RankingRule, Series};
use training_monitor::embedded_io::{ErrorType, Read};
use training_monitor::store::CheckpointMeta;

/// The summary of a valid checkpoint file: the header, and the names of all objects of the checkpoint. A file is valid
/// if [`inspect`](crate::inspect()) accepts it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct StreamSummary {
    /// The step number of the checkpoint.
    pub step: u32,
    /// The sequence number of the save that wrote the file. The newest checkpoint has the highest number.
    pub sequence: u32,
    /// The number of the run that saved the checkpoint; 0 if no engine was used.
    pub run: u32,
    /// The training iteration at which the checkpoint was saved.
    pub iteration: u32,
    /// The score of the checkpoint, which can be negative. `None` if the checkpoint has no score.
    pub score: Option<f32>,
    /// The name of the score, which is a part of the file name. `None` if the score has no name.
    pub score_name: Option<String>,
    /// The name of the series; empty by default.
    pub series_name: String,
    /// How the series ranks its checkpoints.
    pub rule: RankingRule,
    /// The signature of the model; 0 if it is unknown.
    pub model: u32,
    /// The identity of the save. All files of a checkpoint have the same identity. It is 0 if the checkpoint has one
    /// file.
    pub save_id: u32,
    /// The names of all objects of the checkpoint, each of which has its own file. For a file that stores the whole
    /// checkpoint, the only name is `checkpoint`.
    pub objects: Vec<String>,
}

impl StreamSummary {
    /// Returns the header of the file.
    #[must_use]
    pub fn header(&self) -> Header<'_> {
        Header {
            step: self.step,
            sequence: self.sequence,
            iteration: self.iteration,
            score: self.score,
            score_name: self.score_name.as_deref(),
            run: self.run,
            series: Series { name: &self.series_name, rule: self.rule, model: self.model },
            save_id: self.save_id,
        }
    }

    /// Reads and verifies a whole file. `scratch` is a buffer for the data that is read.
    pub(super) fn read<R: std::io::Read>(
        reader: &mut BufferedReader<R>,
        scratch: &mut [u8],
    ) -> Result<StreamSummary, InspectError<DirectoryError>> {
        let mut names = NameCollector::default();
        let info = inspect(reader, scratch, &mut names)?;
        if names.objects.is_empty() {
            names.objects.push(Naming::ALL_OBJECTS.to_owned());
        }
        Ok(StreamSummary {
            step: info.step,
            sequence: info.sequence,
            iteration: info.iteration,
            run: info.run,
            score: info.score,
            score_name: names.score,
            series_name: names.series,
            rule: names.rule,
            model: info.series.model,
            save_id: info.save_id,
            objects: names.objects,
        })
    }
}

impl From<&StreamSummary> for CheckpointMeta {
    fn from(summary: &StreamSummary) -> CheckpointMeta {
        CheckpointMeta::from(&summary.header())
    }
}

/// Collects the names of the score, of the series and of the objects in a checkpoint file.
#[derive(Default)]
struct NameCollector {
    score: Option<String>,
    series: String,
    rule: RankingRule,
    objects: Vec<String>,
}

impl Inspect for NameCollector {
    fn score_name(&mut self, name: &str) {
        self.score = Some(name.to_owned());
    }
    fn series(&mut self, name: &str, rule: RankingRule) {
        (self.series, self.rule) = (name.to_owned(), rule);
    }
    fn object_name(&mut self, name: &str) {
        self.objects.push(name.to_owned());
    }
}

/// A file reader with a buffer, which reduces the number of system calls.
pub(super) struct BufferedReader<R> {
    reader: std::io::BufReader<R>,
    /// The path of the file, for error messages.
    path: PathBuf,
}

impl<R: std::io::Read> BufferedReader<R> {
    pub fn new(reader: R, path: PathBuf) -> Self {
        BufferedReader { reader: std::io::BufReader::new(reader), path }
    }

    /// Discards the buffer and returns the file.
    pub fn into_inner(self) -> R {
        self.reader.into_inner()
    }
}

impl<R> ErrorType for BufferedReader<R> {
    type Error = DirectoryError;
}

impl<R: std::io::Read> Read for BufferedReader<R> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, DirectoryError> {
        loop {
            match self.reader.read(into) {
                // A signal interrupted the system call, so call it again.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => (),
                result => return result.map_err(DirectoryError::io(Operation::Read, &self.path)),
            }
        }
    }
}
