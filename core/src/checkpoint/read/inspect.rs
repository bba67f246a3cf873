//! Inspects a checkpoint without a model.

use super::decoder::{Sink, TensorHeader, decode_from};
use super::input::{Input, Name};
use super::run;
use crate::checkpoint::error::DecodeError;
use crate::checkpoint::{Checksum, Crc32, ElementType, Info, RankingRule};
use crate::run_record::{CAPACITY, MAX_CAPACITY, RunRecord};
use crate::target::HOST;
use embedded_io::Read;

/// The description of a tensor in a checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct Tensor<'a> {
    /// The name of the object that contains the tensor.
    pub object: &'a str,
    /// The name of the tensor.
    pub name: &'a str,
    /// The type of the elements.
    pub element_type: ElementType,
    /// The dimensions, outermost first. The elements are in row-major order.
    pub shape: &'a [u32],
}

/// A visitor that receives the contents of a checkpoint in the order in which they are stored. The checksum is verified
/// last, so the contents may be damaged unless [`inspect`] returns `Ok`.
pub trait Inspect {
    /// Receives the name of the score.
    fn score_name(&mut self, name: &str) {
        let _ = name;
    }
    /// Receives the name of an object. This method is called for every object of the checkpoint, but only if each
    /// object has its own stream.
    fn object_name(&mut self, name: &str) {
        let _ = name;
    }
    /// Receives the name and the ranking rule of the series.
    fn series(&mut self, name: &str, rule: RankingRule) {
        let _ = (name, rule);
    }
    /// Receives the run record (the saved state of the engine and the handlers).
    fn run(&mut self, record: &RunRecord<[u8]>) {
        let _ = record;
    }
    /// Receives the name of a state dict (an object that is a list of tensors) and the number of its tensors, which
    /// follow. This method is called for every state dict, also for one without tensors.
    fn state_dict(&mut self, object: &str, tensors: u32) {
        let _ = (object, tensors);
    }
    /// Receives the description of a tensor. Its elements follow in calls of [`payload`](Self::payload).
    fn tensor(&mut self, tensor: Tensor<'_>) {
        let _ = tensor;
    }
    /// Receives the version of the program that wrote the checkpoint, for example "0.1.0" for this crate.
    fn writer(&mut self, version: &str) {
        let _ = version;
    }
    /// Receives the name and the length of the metadata that the program added. Its `len` bytes follow in calls
    /// of [`payload`](Self::payload).
    fn metadata(&mut self, name: &str, len: u32) {
        let _ = (name, len);
    }
    /// Receives the next bytes of a tensor, of a value or of metadata. The elements of a tensor are little-endian. A
    /// value is in the `postcard` format.
    fn payload(&mut self, bytes: &[u8]) {
        let _ = bytes;
    }
    /// Receives the name and the length of a value. Its `len` bytes follow in calls of [`payload`](Self::payload).
    fn value(&mut self, object: &str, len: u32) {
        let _ = (object, len);
    }
}

/// A visitor that ignores all contents, for a caller that only verifies a checkpoint.
impl Inspect for () {}

/// Reads a checkpoint, passes its contents to `visitor`, and verifies the checksum with [`Crc32`]. Tensors and values
/// are passed in chunks. `scratch` is the buffer for one chunk.
///
/// # Errors
/// Returns a [`DecodeError`] if the checkpoint is not valid.
pub fn inspect<R: Read, I: Inspect>(
    reader: &mut R,
    scratch: &mut [u8],
    visitor: &mut I,
) -> Result<Info, DecodeError<R::Error>> {
    inspect_with::<Crc32, R, I>(reader, scratch, visitor)
}

/// Does the same as [`inspect`], but computes the checksum with `C` instead of [`Crc32`].
///
/// # Errors
/// Returns a [`DecodeError`] if the checkpoint is not valid.
pub fn inspect_with<C: Checksum, R: Read, I: Inspect>(
    reader: &mut R,
    scratch: &mut [u8],
    visitor: &mut I,
) -> Result<Info, DecodeError<R::Error>> {
    let mut info = Info::default();
    let mut sink = InspectSink { visitor, scratch, record: RunRecord::with_capacity() };
    decode_from::<C, R, _>(reader, &mut sink, &mut info)?;
    Ok(info)
}

/// The capacity of the buffer for the run record, in bytes. A host has room for every record. A microcontroller shows the
/// first states of a larger one.
const RECORD: usize = if HOST { MAX_CAPACITY } else { CAPACITY };

struct InspectSink<'a, I> {
    visitor: &'a mut I,
    scratch: &'a mut [u8],
    record: RunRecord<[u8; RECORD]>,
}

impl<I: Inspect> Sink for InspectSink<'_, I> {
    fn score_name(&mut self, name: &Name) {
        self.visitor.score_name(name.as_str());
    }
    fn object_name(&mut self, name: &Name) {
        self.visitor.object_name(name.as_str());
    }
    fn series(&mut self, name: &Name, rule: RankingRule) {
        self.visitor.series(name.as_str(), rule);
    }
    fn run(&mut self, input: &mut Input<'_>, number: u32) {
        run::read(input, Some(&mut self.record));
        self.record.engine.run = number;
        if !input.has_failed() {
            self.visitor.run(&self.record);
        }
    }
    fn writer(&mut self, version: &Name) {
        self.visitor.writer(version.as_str());
    }
    fn metadata(&mut self, input: &mut Input<'_>, name: &Name, len: u32) {
        self.visitor.metadata(name.as_str(), len);
        input.read_chunks(len, self.scratch, &mut |chunk| self.visitor.payload(chunk));
    }
    fn state_dict(&mut self, object: &Name, tensors: u32) {
        self.visitor.state_dict(object.as_str(), tensors);
    }
    fn tensor(&mut self, input: &mut Input<'_>, tensor: TensorHeader<'_>, bytes: u32) {
        let TensorHeader { object, name, element_type, shape } = tensor;
        self.visitor.tensor(Tensor { object: object.as_str(), name: name.as_str(), element_type, shape });
        input.read_chunks(bytes, self.scratch, &mut |chunk| self.visitor.payload(chunk));
    }
    fn value(&mut self, input: &mut Input<'_>, object: &Name, len: u32) {
        self.visitor.value(object.as_str(), len);
        input.read_chunks(len, self.scratch, &mut |chunk| self.visitor.payload(chunk));
    }
}
