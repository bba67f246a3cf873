//! A checkpoint stream (the bytes of a checkpoint) as plain data. The module converts a stream to data and back to
//! bytes.
//!
//! A device knows the names, the types and the shapes of its tensors at compile time. This tool reads them from the
//! stream. The functions of the packages `training-monitor` and `training-monitor-std` read and write the bytes, so
//! this module does not depend on the format.
//!
//! The elements of tensors and the bytes of values stay in their file. A stream only contains their positions.

mod read;
mod source;
mod spool;
mod stats_thread;
mod write;

pub use read::{Purpose, ReadError, SourceError};
pub use source::{CHUNK, Payload, ReadAt, Source, SourceReader, with_cancellation};
pub use spool::Spool;
pub use write::{StreamObjects, WriteError};

use crate::tool::error::Result;
use crate::tool::stats::{StatsCollector, TensorStats};
use std::ops::Deref;
use training_monitor::checkpoint::{ElementType, Header, RankingRule, Series};
use training_monitor::run_record::{EngineState, RunRecord};

/// The content of a complete checkpoint stream (the bytes of a checkpoint). The tool read it from bytes with a correct
/// checksum, or will write it.
#[derive(Clone, Debug)]
pub struct Stream {
    pub header: StreamHeader,
    /// The names of all objects of the checkpoint if each object has its own stream. The list is empty if one stream
    /// contains all objects.
    pub object_names: Vec<String>,
    pub objects: Vec<Object>,
}

/// The run record of a checkpoint.
#[derive(Debug)]
pub struct OwnedRecord(Box<RunRecord<[u8]>>);

impl OwnedRecord {
    /// Copies a record. A directory can contain ten thousand of them, so the copy has not more space than it needs.
    pub fn new(record: &RunRecord<[u8]>) -> OwnedRecord {
        // 32 handler states of 127 bytes, each with four more bytes, are the most that a checkpoint can contain.
        let mut copy: Box<RunRecord<[u8]>> = match record.handlers().map(|(_, _, state)| state.len() + 4).sum::<usize>()
        {
            0..=128 => Box::new(RunRecord::<[u8; 128]>::with_capacity()),
            129..=512 => Box::new(RunRecord::<[u8; 512]>::with_capacity()),
            _ => Box::new(RunRecord::<[u8; 32 * 131]>::with_capacity()),
        };
        copy.copy_from(record);
        OwnedRecord(copy)
    }

    pub fn engine_mut(&mut self) -> &mut EngineState {
        &mut self.0.engine
    }
}

impl Clone for OwnedRecord {
    fn clone(&self) -> OwnedRecord {
        OwnedRecord::new(&self.0)
    }
}

impl Deref for OwnedRecord {
    type Target = RunRecord<[u8]>;
    fn deref(&self) -> &RunRecord<[u8]> {
        &self.0
    }
}

/// The fields at the start of a stream, before its objects.
#[derive(Clone, Debug, Default)]
pub struct StreamHeader {
    pub step: u32,
    pub sequence: u32,
    pub iteration: u32,
    pub score: Option<f32>,
    pub score_name: Option<String>,
    /// The number of the run that saved the checkpoint; 0 if no engine was used.
    pub run: u32,
    /// The name of the series; empty by default.
    pub series_name: String,
    pub rule: RankingRule,
    /// The signature of the model; 0 if it is unknown.
    pub model: u32,
    /// The identity of the save; 0 if the checkpoint has one stream.
    pub save_id: u32,
    /// The version of the program that wrote the stream. The tool writes its own version instead.
    pub writer: Option<String>,
    /// The names and values of the metadata that the program added, in ascending order of the names.
    pub metadata: Vec<(String, Vec<u8>)>,
    /// The state of the engine and of the handlers. `None` if the checkpoint contains no such state, so that a run
    /// cannot resume from it.
    pub record: Option<OwnedRecord>,
}

#[derive(Clone, Debug)]
pub struct Object {
    pub name: String,
    pub content: Content,
}

#[derive(Clone, Debug)]
pub enum Content {
    Tensors(Vec<Tensor>),
    /// An object that is a single serde value. The bytes are its postcard encoding.
    Value(Payload),
}

#[derive(Clone, Debug)]
pub struct Tensor {
    pub name: String,
    pub element_type: ElementType,
    pub shape: Vec<u32>,
    /// The elements in row-major order and in little-endian byte order.
    pub payload: Payload,
    /// The statistics of the elements; `None` if they were not computed while the stream was read.
    pub stats: Option<TensorStats>,
}

impl Tensor {
    /// Returns the number of elements.
    pub fn len(&self) -> u64 {
        self.payload.len() / u64::from(self.element_type.size())
    }

    /// Returns the statistics of the elements. Reads the elements if the statistics are not known yet.
    pub fn stats(&self) -> Result<TensorStats> {
        self.stats.map_or_else(|| compute_stats(self.element_type, &self.payload), Ok)
    }
}

/// Reads elements and computes their statistics.
fn compute_stats(element_type: ElementType, payload: &Payload) -> Result<TensorStats> {
    let mut collector = StatsCollector::new(element_type);
    payload.for_each_chunk(|chunk| -> Result<()> {
        collector.add(chunk);
        Ok(())
    })?;
    Ok(collector.finish())
}

impl StreamHeader {
    /// Converts the header to the form that the encoder needs.
    pub fn as_core(&self) -> Header<'_> {
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

    /// Returns the run record in the form that the encoder needs.
    pub fn record(&self) -> Option<&RunRecord<[u8]>> {
        self.record.as_deref()
    }

    /// Returns the metadata in the form that the encoder needs.
    pub fn metadata(&self) -> Vec<(&str, &[u8])> {
        self.metadata.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect()
    }

    /// Returns the name of the ranking rule in tables and in JSON.
    pub const fn rule_label(&self) -> &'static str {
        match self.rule {
            RankingRule::Latest => "latest",
            RankingRule::Best => "best",
        }
    }
}

impl Stream {
    /// Returns all tensors. Each tensor comes with the name of its object.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.objects.iter().flat_map(|object| {
            let tensors = match &object.content {
                Content::Tensors(tensors) => tensors.as_slice(),
                Content::Value(_) => &[],
            };
            tensors.iter().map(|tensor| (object.name.as_str(), tensor))
        })
    }

    fn writable_tensors(&mut self) -> impl Iterator<Item = &mut Tensor> {
        self.objects.iter_mut().flat_map(|object| match &mut object.content {
            Content::Tensors(tensors) => tensors.as_mut_slice(),
            Content::Value(_) => &mut [],
        })
    }

    /// Returns the name and the postcard bytes of each object that is a single serde value instead of a list of
    /// tensors.
    pub fn values(&self) -> impl Iterator<Item = (&str, &Payload)> {
        self.objects.iter().filter_map(|object| match &object.content {
            Content::Value(payload) => Some((object.name.as_str(), payload)),
            Content::Tensors(_) => None,
        })
    }

    /// Returns a copy in which each tensor has the shape `[0]` and no elements. The copy contains everything that a
    /// file of tensors lacks: the state of the run and of the handlers, the serde values, and the order of the objects.
    pub fn template(&self) -> Stream {
        let mut template = self.clone();
        for tensor in template.writable_tensors() {
            tensor.shape = vec![0];
            tensor.payload = Payload::default();
            tensor.stats = None;
        }
        template
    }

    /// Merges the streams of one checkpoint. The result contains the objects of all streams.
    pub fn merged(streams: &[Stream]) -> Option<Stream> {
        let (first, rest) = streams.split_first()?;
        let mut merged = first.clone();
        if !rest.is_empty() {
            merged.object_names.clear();
            merged.header.save_id = 0;
            merged.objects.extend(rest.iter().flat_map(|stream| stream.objects.iter().cloned()));
        }
        Some(merged)
    }
}
