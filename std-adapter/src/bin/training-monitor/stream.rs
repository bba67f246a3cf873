//! A checkpoint's stream as plain data, and back to the very same bytes.
//!
//! Firmware knows its tensors when it is compiled; this tool learns them from the stream. Reading goes through the
//! core's `inspect`, writing through its `encode`: the format is known there and nowhere here.

use std::convert::Infallible;
use training_monitor::checkpoint::{
    Contents, DecodeError, EncodeError, Header, Info, Inspect, Objects, StateDict, Visit, VisitMut, VisitTensors,
    VisitTensorsMut, encode, inspect, measure,
};
use training_monitor::record::Record;
use training_monitor_std::Crc32Fast;

/// A stream that was read to its end and whose checksum is right, or one that is to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    pub head: Head,
    /// All objects of the checkpoint, where this stream is one of several.
    pub set: Vec<String>,
    pub objects: Vec<Object>,
}

/// What a stream says before its objects.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Head {
    pub step: u32,
    pub sequence: u32,
    pub iteration: u32,
    pub score: Option<f32>,
    pub score_name: Option<String>,
    pub record: Option<Record>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    pub name: String,
    pub content: Content,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    Tensors(Vec<Tensor>),
    /// A whole value, in its own postcard encoding.
    Value(Vec<u8>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    pub name: String,
    /// Row-major.
    pub shape: Vec<u32>,
    pub elements: Vec<f32>,
}

impl Head {
    pub fn header(&self) -> Header<'_> {
        Header {
            step: self.step,
            sequence: self.sequence,
            iteration: self.iteration,
            score: self.score,
            score_name: self.score_name.as_deref(),
        }
    }
}

impl Stream {
    /// Reads `bytes`, from which the rest behind the stream is returned, too.
    pub fn read(mut bytes: &[u8]) -> Result<(Stream, &[u8]), DecodeError<Infallible>> {
        let mut see = Seen::default();
        let info = inspect::<Crc32Fast, _, _>(&mut bytes, &mut [0; 8192], &mut see)?;
        Ok((see.finish(info), bytes))
    }

    /// Reads `bytes`, which end with the stream.
    pub fn read_all(bytes: &[u8]) -> Result<Stream, DecodeError<Infallible>> {
        match Stream::read(bytes)? {
            (stream, []) => Ok(stream),
            _ => Err(DecodeError::Malformed),
        }
    }

    /// The bytes of the stream. Those that were read come out as they were. Non-finite elements are allowed: what may
    /// be saved was decided by whoever trained.
    pub fn write(&self) -> Result<Vec<u8>, EncodeError<Infallible>> {
        let only = self.objects.first().filter(|_| !self.set.is_empty()).map(|object| object.name.as_str());
        let contents =
            Contents { header: self.head.header(), record: self.head.record.as_ref(), only, allow_non_finite: true };
        // Finds names and shapes that cannot be saved before anything is written.
        measure(&contents, self)?;
        let mut bytes = Sink(Vec::new());
        encode::<Crc32Fast, _, _>(&mut bytes, &contents, self)?;
        Ok(bytes.0)
    }

    /// Each tensor with the name of its object.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.objects.iter().flat_map(|object| {
            let tensors = match &object.content {
                Content::Tensors(tensors) => tensors.as_slice(),
                Content::Value(_) => &[],
            };
            tensors.iter().map(|tensor| (object.name.as_str(), tensor))
        })
    }

    /// Each whole value with the name of its object.
    pub fn values(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.objects.iter().filter_map(|object| match &object.content {
            Content::Value(bytes) => Some((object.name.as_str(), bytes.as_slice())),
            Content::Tensors(_) => None,
        })
    }

    /// The same without its elements: what a file of tensors has no place for.
    pub fn skeleton(&self) -> Stream {
        let mut bare = self.clone();
        for object in &mut bare.objects {
            if let Content::Tensors(tensors) = &mut object.content {
                for tensor in tensors {
                    tensor.shape = vec![0];
                    tensor.elements = Vec::new();
                }
            }
        }
        bare
    }

    /// The streams of one checkpoint as one.
    pub fn merged(parts: &[Stream]) -> Option<Stream> {
        let (first, rest) = parts.split_first()?;
        let mut whole = first.clone();
        if !rest.is_empty() {
            whole.set.clear();
            whole.objects.extend(rest.iter().flat_map(|part| part.objects.iter().cloned()));
        }
        Some(whole)
    }
}

/// Takes bytes without an end.
struct Sink(Vec<u8>);

impl training_monitor::embedded_io::ErrorType for Sink {
    type Error = Infallible;
}

impl training_monitor::embedded_io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Gathers what a stream shows.
#[derive(Default)]
struct Seen {
    score_name: Option<String>,
    record: Option<Record>,
    set: Vec<String>,
    objects: Vec<Object>,
    /// Payload of the tensor or value under way.
    bytes: Vec<u8>,
}

impl Seen {
    /// Gives the payload to what it belongs to.
    fn settle(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
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
        self.settle();
        let head = Head {
            step: info.step,
            sequence: info.sequence,
            iteration: info.iteration,
            score: info.score,
            score_name: self.score_name,
            record: self.record,
        };
        Stream { head, set: self.set, objects: self.objects }
    }
}

impl Inspect for Seen {
    fn score_name(&mut self, name: &str) {
        self.score_name = Some(name.to_owned());
    }

    fn run(&mut self, record: &Record) {
        self.record = Some(record.clone());
    }

    fn set(&mut self, name: &str) {
        self.set.push(name.to_owned());
    }

    fn tensor(&mut self, tensor: training_monitor::checkpoint::Tensor<'_>) {
        self.settle();
        let new = Tensor { name: tensor.name.to_owned(), shape: tensor.shape.to_vec(), elements: Vec::new() };
        match self.objects.last_mut() {
            Some(Object { name, content: Content::Tensors(tensors) }) if name == tensor.object => tensors.push(new),
            _ => self.objects.push(Object { name: tensor.object.to_owned(), content: Content::Tensors(vec![new]) }),
        }
    }

    fn payload(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn value(&mut self, object: &str, _: u32) {
        self.settle();
        self.objects.push(Object { name: object.to_owned(), content: Content::Value(Vec::new()) });
    }
}

impl Objects for Stream {
    fn objects<V: Visit>(&self, visitor: &mut V) -> Result<(), V::Error> {
        // One of several: the others are there by name only, so that the stream can say what its set is.
        if !self.set.is_empty() {
            for name in &self.set {
                match self.objects.iter().find(|object| object.name == *name) {
                    Some(object) => show(object, visitor)?,
                    None => visitor.state_dict(name, &Dict(&[]))?,
                }
            }
            return Ok(());
        }
        self.objects.iter().try_for_each(|object| show(object, visitor))
    }

    fn objects_mut<V: VisitMut>(&mut self, _: &mut V) -> Result<(), V::Error> {
        // Never loaded into: `read` learns what there is.
        Ok(())
    }
}

fn show<V: Visit>(object: &Object, visitor: &mut V) -> Result<(), V::Error> {
    match &object.content {
        Content::Tensors(tensors) => visitor.state_dict(&object.name, &Dict(tensors)),
        Content::Value(bytes) => visitor.value(&object.name, &Raw(bytes)),
    }
}

struct Dict<'a>(&'a [Tensor]);

impl StateDict for Dict<'_> {
    fn tensors<V: VisitTensors>(&self, visitor: &mut V) -> Result<(), V::Error> {
        self.0.iter().try_for_each(|tensor| visitor.tensor(&tensor.name, &tensor.shape, &tensor.elements))
    }
    fn tensors_mut<V: VisitTensorsMut>(&mut self, _: &mut V) -> Result<(), V::Error> {
        Ok(())
    }
}

/// Bytes that are a value's postcard encoding already: a tuple of bytes is written as they are.
struct Raw<'a>(&'a [u8]);

impl serde::Serialize for Raw<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeTuple;
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        self.0.iter().try_for_each(|byte| tuple.serialize_element(byte))?;
        tuple.end()
    }
}
