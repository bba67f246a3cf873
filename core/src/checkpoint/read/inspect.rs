//! Inspecting a stream without a model.

use super::decoder::{Sink, decode_from};
use super::input::{Input, Name};
use super::run;
use crate::checkpoint::error::DecodeError;
use crate::checkpoint::{Checksum, Crc32, Info};
use crate::run_record::RunRecord;
use embedded_io::Read;

/// A tensor of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Tensor<'a> {
    /// The name of its object.
    pub object: &'a str,
    /// The name of the tensor.
    pub name: &'a str,
    /// The dimensions; the payload is in row-major order.
    pub shape: &'a [u32],
}

/// Receives the contents of a stream in their order. The checksum is verified last, so the contents are reliable only if
/// [`inspect`] returns Ok.
pub trait Inspect {
    /// The name of the score.
    fn score_name(&mut self, name: &str) {
        let _ = name;
    }
    /// The name of an object of the checkpoint, if the checkpoint has one stream per object. Called once per object, in
    /// order.
    fn object_name(&mut self, name: &str) {
        let _ = name;
    }
    /// The run record.
    fn run(&mut self, record: &RunRecord) {
        let _ = record;
    }
    /// The start of a tensor. Its payload follows.
    fn tensor(&mut self, tensor: Tensor<'_>) {
        let _ = tensor;
    }
    /// The next bytes of a payload: little-endian f32 for a tensor, postcard for a value.
    fn payload(&mut self, bytes: &[u8]) {
        let _ = bytes;
    }
    /// The start of a value. Its payload of `len` bytes follows.
    fn value(&mut self, object: &str, len: u32) {
        let _ = (object, len);
    }
}

/// Ignores all contents.
impl Inspect for () {}

/// Reads and verifies a stream, with the checksum of [`Crc32`], and passes its contents to `visitor`. Payloads are passed
/// in chunks of at most the size of `scratch`.
///
/// # Errors
/// [`DecodeError`].
pub fn inspect<R: Read, I: Inspect>(
    reader: &mut R,
    scratch: &mut [u8],
    visitor: &mut I,
) -> Result<Info, DecodeError<R::Error>> {
    inspect_with::<Crc32, R, I>(reader, scratch, visitor)
}

/// As [`inspect`], with another implementation of the checksum.
///
/// # Errors
/// As for [`inspect`].
pub fn inspect_with<C: Checksum, R: Read, I: Inspect>(
    reader: &mut R,
    scratch: &mut [u8],
    visitor: &mut I,
) -> Result<Info, DecodeError<R::Error>> {
    decode_from::<C, R>(reader, &mut InspectSink { visitor, scratch, record: RunRecord::new() })
}

struct InspectSink<'a, I> {
    visitor: &'a mut I,
    scratch: &'a mut [u8],
    record: RunRecord,
}

impl<I: Inspect> Sink for InspectSink<'_, I> {
    fn score_name(&mut self, name: &Name) {
        self.visitor.score_name(name.as_str());
    }
    fn object_name(&mut self, name: &Name) {
        self.visitor.object_name(name.as_str());
    }
    fn run(&mut self, input: &mut Input<'_>) {
        run::read(input, Some(&mut self.record));
        if !input.has_failed() {
            self.visitor.run(&self.record);
        }
    }
    fn tensor(&mut self, input: &mut Input<'_>, object: &Name, name: &Name, shape: &[u32], bytes: u32) {
        self.visitor.tensor(Tensor { object: object.as_str(), name: name.as_str(), shape });
        input.read_chunks(bytes, self.scratch, &mut |chunk| self.visitor.payload(chunk));
    }
    fn value(&mut self, input: &mut Input<'_>, object: &Name, len: u32) {
        self.visitor.value(object.as_str(), len);
        input.read_chunks(len, self.scratch, &mut |chunk| self.visitor.payload(chunk));
    }
}
