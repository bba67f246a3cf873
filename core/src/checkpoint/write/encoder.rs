//! Encodes a checkpoint, computes its checksum and writes it to any [`Write`]. The encoder changes no user data and
//! allocates no memory.
//!
//! The function [`measure`] runs the same code without a writer. It returns the exact length of the checkpoint, and
//! every error that does not come from a writer.
//!
//! The encoder accesses the writer and the checksum through a trait object. Therefore, it is compiled only once for all
//! types of writers and checksums.

use super::chunks;
use super::header::{self, check_name};
use super::name_check::NameCheck;
use super::output::{ChecksummedSink, ChecksummedWriter, Output};
use super::run;
use super::value::{Reload, loads_again};
use crate::checkpoint::element::SWAP_BYTES;
use crate::checkpoint::error::EncodeError;
use crate::checkpoint::format::{Contents, Encoded, padding};
use crate::checkpoint::names::{ItemName, shape_matches_len};
use crate::checkpoint::objects::{MAX_ITEMS, ObjectVisitor, Objects, StateDict, TensorChunks, TensorVisitor};
use crate::checkpoint::{Checksum, Crc32, ElementType, TensorUnavailable, TensorView};
use core::convert::Infallible;
use embedded_io::Write;
use serde::{Serialize, de::DeserializeOwned};

/// Writes a checkpoint of `objects` to `writer`, and flushes the writer. The checksum is computed with [`Crc32`].
///
/// # Errors
/// Returns an [`EncodeError`]. The bytes that were written before the error are not a valid checkpoint.
pub fn encode<W: Write, T: Objects + ?Sized>(
    writer: &mut W,
    contents: &Contents<'_>,
    objects: &mut T,
) -> Result<Encoded, EncodeError<W::Error>> {
    encode_with::<Crc32, W, T>(writer, contents, objects)
}

/// Does the same as [`encode`], but computes the checksum with `C` instead of [`Crc32`].
///
/// # Errors
/// Returns an [`EncodeError`] in the same cases as [`encode`].
pub fn encode_with<C: Checksum, W: Write, T: Objects + ?Sized>(
    writer: &mut W,
    contents: &Contents<'_>,
    objects: &mut T,
) -> Result<Encoded, EncodeError<W::Error>> {
    let len = measure_for(contents, objects)?;
    encode_measured::<C, W, T>(writer, contents, objects, len)
}

/// Does the same as [`encode_with`], but without a check. `len` is the result of [`measure`] for the same objects.
#[inline(never)] // Keeps the buffer off the stack of a caller that also runs a store.
pub(crate) fn encode_measured<C: Checksum, W: Write, T: Objects + ?Sized>(
    writer: &mut W,
    contents: &Contents<'_>,
    objects: &mut T,
    len: u32,
) -> Result<Encoded, EncodeError<W::Error>> {
    let mut sink = ChecksummedWriter { writer, crc: C::default(), error: None };
    let mut encoder = Encoder::new(Some(&mut sink), contents);
    let crc = encoder.write(objects, len);
    match &encoder.output.failure {
        None => Ok(Encoded { len, crc }),
        Some(failure) => Err(failure.with_io(sink.error)),
    }
}

/// Returns the length that the checkpoint will have, in bytes. Also checks all names, shapes and values. Rejects NaN and
/// infinities unless [`allow_non_finite`](Contents::allow_non_finite) is true.
///
/// # Errors
/// Returns any [`EncodeError`] that does not come from a writer.
pub fn measure<T: Objects + ?Sized>(contents: &Contents<'_>, objects: &mut T) -> Result<u32, EncodeError<Infallible>> {
    measure_for(contents, objects)
}

/// Does the same as [`measure`], but returns an `EncodeError<E>`. `E` is the error type of a writer.
#[inline(never)] // Keeps the buffer off the stack of a caller that also runs a store.
pub(crate) fn measure_for<E, T: Objects + ?Sized>(
    contents: &Contents<'_>,
    objects: &mut T,
) -> Result<u32, EncodeError<E>> {
    let mut names = NameCheck::default();
    let mut encoder = Encoder::new(None, contents);
    encoder.names = Some(&mut names);
    encoder.check(objects);
    encoder.write(objects, 0);
    match &encoder.output.failure {
        None => Ok(encoder.output.len),
        Some(failure) => Err(failure.with_io(None)),
    }
}

/// The purpose of one pass over the user's objects.
#[derive(Clone, Copy, PartialEq, Eq)]
enum EncodePass {
    /// Checks names, shapes, values and counts; writes nothing.
    Check,
    /// Counts the objects.
    CountObjects,
    /// Writes the names of all objects.
    ObjectNames,
    /// Writes the objects.
    Objects,
    /// Counts the tensors of one object.
    CountTensors,
    /// Compares the names of objects and tensors.
    CompareNames,
}

pub(super) struct Encoder<'a> {
    pub output: Output<'a>,
    contents: &'a Contents<'a>,
    pass: EncodePass,
    /// The number of objects in the checkpoint.
    object_count: u32,
    /// The number of objects that are written.
    selected_count: u32,
    /// The number of tensors and values that were listed so far. During [`EncodePass::CountTensors`], it counts only
    /// the tensors of one object.
    item_count: u32,
    /// The search for duplicate names; `None` while the stream is written.
    names: Option<&'a mut NameCheck>,
}

/// The error that makes a state dict stop listing its tensors. The actual error is stored in [`Output::failure`].
pub(super) struct Stop;

impl From<TensorUnavailable> for Stop {
    fn from(_: TensorUnavailable) -> Self {
        Stop
    }
}

impl<'a> Encoder<'a> {
    pub fn new(sink: Option<&'a mut dyn ChecksummedSink>, contents: &'a Contents<'a>) -> Self {
        Encoder {
            output: Output::new(sink),
            contents,
            pass: EncodePass::Check,
            object_count: 0,
            selected_count: 0,
            item_count: 0,
            names: None,
        }
    }

    /// Checks all objects, and the names of the header.
    fn check<T: Objects + ?Sized>(&mut self, objects: &mut T) {
        header::check(&mut self.output, self.contents);
        self.visit(EncodePass::Check, objects);
        while self.output.failure.is_none() && self.names.as_mut().is_some_and(|names| names.next()) {
            self.visit(EncodePass::CompareNames, objects);
        }
    }

    /// Writes the whole checkpoint, which has `len` bytes. Returns the checksum.
    pub fn write<T: Objects + ?Sized>(&mut self, objects: &mut T, len: u32) -> u32 {
        self.visit(EncodePass::CountObjects, objects);
        if self.selected_count == 0 {
            self.output.fail(EncodeError::NoObjects);
        }
        header::write(&mut self.output, &self.contents.header, len);
        // If a checkpoint has one stream per object, each stream lists the names of all objects. A stream with all
        // objects does not need this list.
        if self.contents.single_object.is_some() {
            self.output.write_u32(self.object_count);
            self.visit(EncodePass::ObjectNames, objects);
        } else {
            self.output.write_u8(0);
        }
        header::write_extensions(&mut self.output, self.contents);
        run::write(&mut self.output, self.contents.record);
        self.output.write_u32(self.selected_count);
        self.visit(EncodePass::Objects, objects);
        self.output.finish(len)
    }

    fn visit<T: Objects + ?Sized>(&mut self, pass: EncodePass, objects: &mut T) {
        self.pass = pass;
        if self.output.failure.is_none() {
            // If no other error is recorded, the objects stopped the listing because they cannot access a tensor. An
            // error that is already recorded stays unchanged.
            if objects.objects(self).is_err() {
                self.output.fail(EncodeError::Unavailable);
            }
        }
    }

    /// Returns an error if the encoder has failed. The error makes the state dict stop listing its tensors.
    fn status(&self) -> Result<(), Stop> {
        if self.output.failure.is_none() { Ok(()) } else { Err(Stop) }
    }

    fn serialize<S: Serialize + ?Sized>(output: &mut Output<'_>, name: &str, value: &S) {
        if postcard::serialize_with_flavor(value, PostcardSink(output)).is_err() {
            output.fail_item(name, |name| EncodeError::Value { name });
        }
    }

    /// Handles the start of the object `name` in the current pass. Returns true if the caller must write the content of
    /// this object.
    fn start_object(&mut self, name: &str) -> bool {
        let selected = self.contents.single_object.is_none_or(|single| single == name);
        match self.pass {
            EncodePass::Check | EncodePass::CompareNames => self.check_name(name, true),
            EncodePass::CountObjects => {
                self.object_count = self.object_count.saturating_add(1);
                self.selected_count = self.selected_count.saturating_add(u32::from(selected));
            }
            EncodePass::ObjectNames => self.output.write_text(name),
            EncodePass::Objects if selected => {
                self.output.write_text(name);
                return true;
            }
            EncodePass::Objects | EncodePass::CountTensors => (),
        }
        false
    }

    /// Counts one tensor or value. In the checking pass, reports an error if there are more than a checkpoint can
    /// contain.
    fn count_item(&mut self) {
        self.item_count = self.item_count.saturating_add(1);
        if self.pass == EncodePass::Check && self.item_count > MAX_ITEMS as u32 {
            self.output.fail(EncodeError::TooManyItems);
        }
    }

    /// Checks a name, and compares it with earlier names.
    fn check_name(&mut self, name: &str, is_object: bool) {
        check_name(&mut self.output, name);
        if self.names.as_mut().is_some_and(|names| names.is_duplicate(name, is_object)) {
            self.output.fail_item(name, |name| EncodeError::Duplicate { name });
        }
    }

    fn write_tensor(&mut self, name: &str, tensor: &TensorView<'_>) {
        let output = &mut self.output;
        // The pass that measures the length checks the elements for NaN and infinity. The pass that writes does not
        // repeat this check.
        if output.is_measuring()
            && !self.contents.allow_non_finite
            && let Some(index) = tensor.first_non_finite()
        {
            return output.fail(EncodeError::NonFinite { name: ItemName::new(name), index });
        }
        let bytes = tensor.bytes();
        let Ok(len) = u32::try_from(bytes.len()) else { return output.fail(EncodeError::TooLong) };
        write_tensor_start(output, name, tensor.element_type(), tensor.shape(), len);
        write_elements(output, bytes, tensor.element_type().size());
    }
}

/// Writes everything of a tensor that precedes its elements. The elements have `len` bytes.
#[inline(always)] // A program without `TensorChunks` calls it only once.
pub(super) fn write_tensor_start(
    output: &mut Output<'_>,
    name: &str,
    element_type: ElementType,
    shape: &[u32],
    len: u32,
) {
    output.write_text(name);
    output.write_u8(element_type as u8);
    output.write_len(shape.len());
    shape.iter().for_each(|side| output.write_u32(*side));
    let pad = padding(output.len, len, element_type.size());
    output.write_u8(pad);
    (0..pad).for_each(|_| output.write_u8(0));
    output.write_u32(len);
}

/// Writes elements of `size` bytes, which are in the byte order of this machine.
#[inline(always)]
pub(super) fn write_elements(output: &mut Output<'_>, bytes: &[u8], size: u32) {
    if !SWAP_BYTES {
        return output.write_bytes(bytes);
    }
    for element in bytes.chunks(size as usize) {
        element.iter().rev().for_each(|byte| output.write_u8(*byte));
    }
}

/// Lets the `postcard` serializer write the bytes of a value to the output.
struct PostcardSink<'b, 'a>(&'b mut Output<'a>);

impl postcard::ser_flavors::Flavor for PostcardSink<'_, '_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.write_bytes(bytes);
        if self.0.failure.is_none() { Ok(()) } else { Err(postcard::Error::SerializeBufferFull) }
    }
    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

impl ObjectVisitor for Encoder<'_> {
    type Error = Stop;

    fn state_dict<D: StateDict + ?Sized>(&mut self, name: &str, object: &mut D) -> Result<(), Stop> {
        if self.start_object(name) {
            self.output.write_u8(0); // the object is a state dict
            self.pass = EncodePass::CountTensors;
            self.item_count = 0;
            object.tensors(self)?;
            self.pass = EncodePass::Objects;
            self.output.write_u32(self.item_count);
            object.tensors(self)?;
        } else if matches!(self.pass, EncodePass::Check | EncodePass::CompareNames) {
            object.tensors(self)?;
        }
        self.status()
    }

    fn value_with<S: Serialize + DeserializeOwned>(
        &mut self,
        name: &str,
        object: &mut S,
        scratch: &mut [u8],
    ) -> Result<(), Stop> {
        if self.start_object(name) {
            self.output.write_u8(1); // the object is a serde value
            // The length must be written before the value. Therefore, the value is first serialized without writing it,
            // to measure its length.
            let len = self.output.measure(|output| Self::serialize(output, name, object));
            self.output.write_u32(len);
            Self::serialize(&mut self.output, name, object);
        }
        if self.pass == EncodePass::Check {
            self.count_item();
            let len = self.output.measure(|output| Self::serialize(output, name, object));
            match loads_again(object, len, scratch) {
                Reload::Equal => (),
                Reload::TooLarge => self.output.fail_item(name, |name| EncodeError::ValueTooLarge { name }),
                Reload::Different => self.output.fail_item(name, |name| EncodeError::Value { name }),
            }
        }
        self.status()
    }
}

impl TensorVisitor for Encoder<'_> {
    type Error = Stop;

    fn visit_tensor(&mut self, name: &str, tensor: TensorView<'_>) -> Result<(), Stop> {
        match self.pass {
            EncodePass::Objects => self.write_tensor(name, &tensor),
            EncodePass::CompareNames => self.check_name(name, false),
            EncodePass::CountTensors => self.count_item(),
            EncodePass::Check => {
                self.count_item();
                self.check_name(name, false);
                let (len, size) = (tensor.bytes().len(), tensor.element_type().size() as usize);
                if !shape_matches_len(tensor.shape(), len / size) || !len.is_multiple_of(size) {
                    self.output.fail_item(name, |name| EncodeError::Shape { name });
                }
                if tensor.has_invalid_bool() {
                    self.output.fail_item(name, |name| EncodeError::Bool { name });
                }
            }
            EncodePass::ObjectNames | EncodePass::CountObjects => (),
        }
        self.status()
    }

    fn visit_chunks<C: TensorChunks>(
        &mut self,
        name: &str,
        element_type: ElementType,
        shape: &[u32],
        chunks: &mut C,
    ) -> Result<(), Stop> {
        match self.pass {
            EncodePass::Objects => chunks::write(&mut self.output, name, element_type, shape, chunks)?,
            EncodePass::CompareNames => self.check_name(name, false),
            EncodePass::CountTensors => self.count_item(),
            EncodePass::Check => {
                self.count_item();
                self.check_name(name, false);
                chunks::check(&mut self.output, self.contents, name, element_type, shape, chunks)?;
            }
            EncodePass::ObjectNames | EncodePass::CountObjects => (),
        }
        self.status()
    }
}
