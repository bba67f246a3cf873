//! Reads a stream.

use super::source::{CHUNK, Payload, Source, SourceReader};
use super::stats_thread::StatsThread;
use super::{Content, Object, OwnedRecord, Stream, StreamHeader, Tensor};
use crate::tool::error::CliError;
use crate::{InspectError, inspect};
use std::cell::Cell;
use std::fmt;
use std::io::{self, BufReader, Read};
use std::sync::Arc;
use training_monitor::checkpoint::{self, DecodeError, Info, Inspect, RankingRule};
use training_monitor::embedded_io;
use training_monitor::run_record::RunRecord;

/// What a command does with the tensors of a stream after it has read the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Only checks the stream, or reads the elements later.
    Read,
    /// Shows the statistics of the elements.
    Statistics,
}

/// The length in bytes from which a second thread computes the statistics of a stream while it is read.
const LARGE: u64 = 4 << 20;

/// The length and the checksum of a stream.
#[derive(Clone, Copy, Debug)]
pub struct StreamEnd {
    /// The length of the stream in bytes.
    pub len: u64,
    /// The checksum of the stream, its last four bytes.
    pub crc: u32,
}

impl Stream {
    /// Reads the stream in a part of a source and checks every rule of the format. Returns an error if other bytes follow
    /// the stream. The elements of the tensors are read once.
    pub fn read(part: &Payload, purpose: Purpose) -> Result<(Stream, StreamEnd), ReadError> {
        let position = Cell::new(0);
        let mut reader = StreamReader { reader: BufReader::new(part.reader()), position: &position };
        let mut collector = Collector {
            stream: Stream { header: StreamHeader::default(), object_names: vec![], objects: vec![] },
            part,
            position: &position,
            stats: (purpose == Purpose::Statistics && part.len() >= LARGE).then(StatsThread::start),
        };
        let mut scratch = vec![0; CHUNK.min(part.len() as usize).max(64)];
        let info = inspect(&mut reader, &mut scratch, &mut collector)?;
        let mut stream = collector.stream;
        for (tensor, stats) in stream.writable_tensors().zip(collector.stats.into_iter().flat_map(StatsThread::finish))
        {
            tensor.stats = stats;
        }
        let Info { step, sequence, iteration, score, run, series, save_id, crc, len, .. } = info;
        let model = series.model;
        stream.header = StreamHeader { step, sequence, iteration, score, run, model, save_id, ..stream.header };
        Ok((stream, StreamEnd { len: len.into(), crc }))
    }

    /// Reads the stream that is a whole source.
    pub fn read_source(source: &Arc<Source>, purpose: Purpose) -> Result<(Stream, StreamEnd), ReadError> {
        Stream::read(&Payload::new(source, 0, source.len()), purpose)
    }
}

/// The reason why a stream cannot be read.
pub type ReadError = InspectError<SourceError>;

/// An I/O error of a source.
#[derive(Debug)]
pub struct SourceError(pub io::Error);

impl SourceError {
    /// Returns the I/O error of a source as an error of the tool. Returns the error unchanged if it has another cause.
    pub fn into_io(error: ReadError, source: &Source) -> Result<CliError, ReadError> {
        match error {
            InspectError::Decode(DecodeError::Io(SourceError(cause))) => Ok(CliError::io("read", source.path())(cause)),
            other => Err(other),
        }
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for SourceError {}

impl embedded_io::Error for SourceError {
    fn kind(&self) -> embedded_io::ErrorKind {
        match self.0.kind() {
            io::ErrorKind::Interrupted => embedded_io::ErrorKind::Interrupted,
            _ => embedded_io::ErrorKind::Other,
        }
    }
}

/// A reader that counts the bytes that were read.
struct StreamReader<'a> {
    reader: BufReader<SourceReader>,
    position: &'a Cell<u64>,
}

impl embedded_io::ErrorType for StreamReader<'_> {
    type Error = SourceError;
}

impl embedded_io::Read for StreamReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, SourceError> {
        let count = self.reader.read(into).map_err(SourceError)?;
        self.position.set(self.position.get() + count as u64);
        Ok(count)
    }
}

/// Collects the parts of a stream.
struct Collector<'a> {
    stream: Stream,
    part: &'a Payload,
    /// The number of bytes of the stream that were read. The decoder reads no byte ahead, so this is the position of the
    /// next part.
    position: &'a Cell<u64>,
    stats: Option<StatsThread>,
}

impl Collector<'_> {
    /// Returns the next `len` bytes of the stream.
    fn next_bytes(&self, len: u64) -> Payload {
        self.part.part(self.position.get(), len)
    }

    fn push_object(&mut self, name: &str, content: Content) {
        self.stream.objects.push(Object { name: name.to_owned(), content });
    }
}

impl Inspect for Collector<'_> {
    fn score_name(&mut self, name: &str) {
        self.stream.header.score_name = Some(name.to_owned());
    }

    fn series(&mut self, name: &str, rule: RankingRule) {
        (self.stream.header.series_name, self.stream.header.rule) = (name.to_owned(), rule);
    }

    fn run(&mut self, record: &RunRecord<[u8]>) {
        self.stream.header.record = Some(OwnedRecord::new(record));
    }

    fn writer(&mut self, version: &str) {
        self.stream.header.writer = Some(version.to_owned());
    }

    fn metadata(&mut self, name: &str, _: u32) {
        self.stream.header.metadata.push((name.to_owned(), vec![]));
    }

    fn object_name(&mut self, name: &str) {
        self.stream.object_names.push(name.to_owned());
    }

    fn state_dict(&mut self, object: &str, _: u32) {
        self.push_object(object, Content::Tensors(vec![]));
    }

    fn tensor(&mut self, tensor: checkpoint::Tensor<'_>) {
        let checkpoint::Tensor { name, element_type, shape, .. } = tensor;
        // The decoder has checked that the number of bytes fits into 32 bits.
        let elements: u64 = if shape.contains(&0) { 0 } else { shape.iter().map(|side| u64::from(*side)).product() };
        let payload = self.next_bytes(elements * u64::from(element_type.size()));
        if let Some(stats) = &self.stats {
            stats.add(element_type, payload.clone());
        }
        if let Some(Object { content: Content::Tensors(tensors), .. }) = self.stream.objects.last_mut() {
            let shape = shape.to_vec();
            tensors.push(Tensor { name: name.to_owned(), element_type, shape, payload, stats: None });
        }
    }

    fn value(&mut self, object: &str, len: u32) {
        let payload = self.next_bytes(len.into());
        self.push_object(object, Content::Value(payload));
    }

    fn payload(&mut self, bytes: &[u8]) {
        if self.stream.objects.is_empty()
            && let Some((_, value)) = self.stream.header.metadata.last_mut()
        {
            // The metadata come before the first object.
            value.extend_from_slice(bytes);
        }
    }
}
