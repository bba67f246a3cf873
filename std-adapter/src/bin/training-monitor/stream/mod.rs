//! A checkpoint stream (the bytes of a checkpoint) as plain data. The module converts a stream to data and back to the
//! same bytes.
//!
//! A device knows the names and the shapes of its tensors at compile time. This tool reads them from the stream. The
//! functions `inspect_with` and `encode_with` of the package `training-monitor` read and write the bytes, so this
//! module does not depend on the format.

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeTuple, Serializer};
use std::cell::Cell;
use std::convert::Infallible;
use std::fmt;
use training_monitor::checkpoint::{
    Contents, DecodeError, EncodeError, Header, Info, Inspect, Loader, ObjectVisitor, Objects, RankingRule, Series,
    StateDict, TensorView, TensorVisitor, encode_with, inspect_with, measure,
};
use training_monitor::run_record::RunRecord;
use training_monitor_std::Crc32Fast;

/// The content of a complete checkpoint stream (the bytes of a checkpoint). The tool read it from bytes with a correct
/// checksum, or will write it.
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    pub header: StreamHeader,
    /// The names of all objects of the checkpoint if each object has its own stream. The list is empty if one stream
    /// contains all objects.
    pub object_names: Vec<String>,
    pub objects: Vec<Object>,
}

/// A run record with room for every record that a checkpoint can contain: 127 handler states of 127 bytes, each with
/// four more bytes.
pub type LargeRecord = RunRecord<[u8; 127 * 131]>;

/// The fields at the start of a stream, before its objects.
#[derive(Clone, Debug, PartialEq, Default)]
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
    /// The state of the engine and of the handlers. `None` if the checkpoint contains no such state, so that a run
    /// cannot resume from it.
    pub record: Option<Box<LargeRecord>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    pub name: String,
    pub content: Content,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    Tensors(Vec<Tensor>),
    /// An object that is a single serde value. The bytes are its postcard encoding.
    Value(Vec<u8>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    pub name: String,
    pub shape: Vec<u32>,
    /// The elements in row-major order.
    pub elements: Vec<f32>,
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
        self.record.as_deref().map(|record| record as &RunRecord<[u8]>)
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
    /// Reads one stream at the start of `bytes`. Also returns the bytes after the stream.
    pub fn read(mut bytes: &[u8]) -> Result<(Stream, &[u8]), DecodeError<Infallible>> {
        let mut collector = StreamCollector::default();
        let mut start = bytes;
        let info = inspect_with::<Crc32Fast, _, _>(&mut bytes, &mut [0; 8192], &mut collector)?;
        let mut stream = collector.finish(info);
        if info.has_run {
            // `Inspect` only lends the record. A second pass reads it into a record that the stream owns.
            let mut record = Box::new(LargeRecord::with_capacity());
            let (mut objects, mut scratch) = (NoObjects, [0; 8192]);
            Loader::new(&mut objects, &mut scratch).verify::<Crc32Fast, _>(&mut start, Some(&mut *record))?;
            stream.header.record = Some(record);
        }
        Ok((stream, bytes))
    }

    /// Reads a stream. Returns an error if other bytes follow the stream.
    pub fn read_all(bytes: &[u8]) -> Result<Stream, DecodeError<Infallible>> {
        match Stream::read(bytes)? {
            (stream, []) => Ok(stream),
            _ => Err(DecodeError::Malformed),
        }
    }

    /// Encodes the stream. If the stream was read from bytes, the result is equal to these bytes. NaN and infinite
    /// elements are allowed, because the device has already applied its own check when it saved the checkpoint.
    pub fn write(&self) -> Result<Vec<u8>, EncodeError<Infallible>> {
        let single_object =
            self.objects.first().filter(|_| !self.object_names.is_empty()).map(|object| object.name.as_str());
        let contents = Contents {
            header: self.header.as_core(),
            record: self.header.record(),
            single_object,
            allow_non_finite: true,
            metadata: &[],
        };
        // The function `measure` reports invalid names and shapes before the first byte is written.
        let mut objects = self;
        measure(&contents, &mut objects)?;
        let mut bytes = VecWriter(Vec::new());
        encode_with::<Crc32Fast, _, _>(&mut bytes, &contents, &mut objects)?;
        Ok(bytes.0)
    }

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

    /// Returns the name and the postcard bytes of each object that is a single serde value instead of a list of
    /// tensors.
    pub fn values(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.objects.iter().filter_map(|object| match &object.content {
            Content::Value(bytes) => Some((object.name.as_str(), bytes.as_slice())),
            Content::Tensors(_) => None,
        })
    }

    /// Returns a copy in which each tensor has the shape `[0]` and no elements. The copy contains everything that a
    /// file of tensors lacks: the state of the run and of the handlers, the serde values, and the order of the objects.
    pub fn template(&self) -> Stream {
        let mut template = self.clone();
        for object in &mut template.objects {
            if let Content::Tensors(tensors) = &mut object.content {
                for tensor in tensors {
                    tensor.shape = vec![0];
                    tensor.elements = Vec::new();
                }
            }
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

/// A writer that collects the encoded bytes in memory.
struct VecWriter(Vec<u8>);

impl training_monitor::embedded_io::ErrorType for VecWriter {
    type Error = Infallible;
}

impl training_monitor::embedded_io::Write for VecWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Collects the parts of a stream. The function `inspect_with` passes them to this type while it reads the stream.
#[derive(Default)]
struct StreamCollector {
    score_name: Option<String>,
    series_name: String,
    rule: RankingRule,
    object_names: Vec<String>,
    objects: Vec<Object>,
    /// The bytes of the last tensor or value that were received so far.
    payload: Vec<u8>,
}

impl StreamCollector {
    /// Moves the received bytes into the last tensor or value. The collector calls this method before each new item and
    /// at the end of the stream.
    fn finish_item(&mut self) {
        let bytes = std::mem::take(&mut self.payload);
        match self.objects.last_mut().map(|object| &mut object.content) {
            Some(Content::Value(value)) if value.is_empty() => *value = bytes,
            Some(Content::Tensors(tensors)) => {
                if let Some(tensor) = tensors.last_mut().filter(|tensor| tensor.elements.is_empty()) {
                    let (words, _) = bytes.as_chunks::<4>();
                    tensor.elements = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
                }
            }
            _ => (),
        }
    }

    fn finish(mut self, info: Info) -> Stream {
        self.finish_item();
        let header = StreamHeader {
            step: info.step,
            sequence: info.sequence,
            iteration: info.iteration,
            score: info.score,
            score_name: self.score_name,
            run: info.run,
            series_name: self.series_name,
            rule: self.rule,
            model: info.series.model,
            save_id: info.save_id,
            record: None,
        };
        Stream { header, object_names: self.object_names, objects: self.objects }
    }
}

impl Inspect for StreamCollector {
    fn score_name(&mut self, name: &str) {
        self.score_name = Some(name.to_owned());
    }

    fn series(&mut self, name: &str, rule: RankingRule) {
        (self.series_name, self.rule) = (name.to_owned(), rule);
    }

    fn object_name(&mut self, name: &str) {
        self.object_names.push(name.to_owned());
    }

    fn tensor(&mut self, tensor: training_monitor::checkpoint::Tensor<'_>) {
        self.finish_item();
        let new = Tensor { name: tensor.name.to_owned(), shape: tensor.shape.to_vec(), elements: Vec::new() };
        match self.objects.last_mut() {
            Some(Object { name, content: Content::Tensors(tensors) }) if name == tensor.object => tensors.push(new),
            _ => self.objects.push(Object { name: tensor.object.to_owned(), content: Content::Tensors(vec![new]) }),
        }
    }

    fn payload(&mut self, bytes: &[u8]) {
        self.payload.extend_from_slice(bytes);
    }

    fn value(&mut self, object: &str, _: u32) {
        self.finish_item();
        self.objects.push(Object { name: object.to_owned(), content: Content::Value(Vec::new()) });
    }
}

/// A model without objects, for reading only the run record of a stream.
struct NoObjects;

impl Objects for NoObjects {
    fn objects<V: ObjectVisitor>(&mut self, _: &mut V) -> Result<(), V::Error> {
        Ok(())
    }
}

/// Passes the objects of the stream to the encoder. Loading is not supported. To read a checkpoint, `Stream::read`
/// creates a new stream from the bytes.
impl Objects for &Stream {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        // If each object has its own stream, each stream must list the names of all objects. Therefore the encoder
        // visits the objects of the other streams as empty state dicts.
        if !self.object_names.is_empty() {
            for name in &self.object_names {
                match self.objects.iter().find(|object| object.name == *name) {
                    Some(object) => visit_object(object, visitor)?,
                    None => visitor.state_dict(name, &mut TensorDict(&[]))?,
                }
            }
            return Ok(());
        }
        self.objects.iter().try_for_each(|object| visit_object(object, visitor))
    }
}

fn visit_object<V: ObjectVisitor>(object: &Object, visitor: &mut V) -> Result<(), V::Error> {
    match &object.content {
        Content::Tensors(tensors) => visitor.state_dict(&object.name, &mut TensorDict(tensors)),
        Content::Value(bytes) => {
            LEN.set(bytes.len());
            visitor.value(&object.name, &mut EncodedValue(bytes.clone()))
        }
    }
}

struct TensorDict<'a>(&'a [Tensor]);

impl StateDict for TensorDict<'_> {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        self.0.iter().try_for_each(|tensor| {
            visitor.visit_tensor(&tensor.name, TensorView::read_only(&tensor.shape, &tensor.elements))
        })
    }
}

thread_local! {
    /// The length of the [`EncodedValue`] that is being written. The encoder deserializes the value to check that it
    /// can be loaded again. Neither the stream of the encoder nor the type contains the length.
    static LEN: Cell<usize> = const { Cell::new(0) };
}

/// The postcard encoding of a value. The type serializes as a tuple of bytes, because postcard writes the bytes of such
/// a tuple unchanged.
struct EncodedValue(Vec<u8>);

impl Serialize for EncodedValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        self.0.iter().try_for_each(|byte| tuple.serialize_element(byte))?;
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for EncodedValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple(LEN.get(), BytesVisitor).map(EncodedValue)
    }
}

/// Collects the bytes of an [`EncodedValue`].
struct BytesVisitor;

impl<'de> Visitor<'de> for BytesVisitor {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes of a value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<u8>, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = sequence.next_element()? {
            bytes.push(byte);
        }
        Ok(bytes)
    }
}
