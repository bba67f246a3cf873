//! Encodes a checkpoint, computes its checksum and writes it to any [`Write`]. The encoder changes no user data and
//! allocates no memory.
//!
//! The function [`measure`] runs the same code without a writer. It returns the exact length of the checkpoint, and
//! every error that does not come from a writer.
//!
//! The encoder accesses the writer and the checksum through a trait object. Therefore, it is compiled only once for all
//! types of writers and checksums.

use super::output::{ChecksummedSink, ChecksummedWriter, Output};
use super::run;
use super::value::loads_again;
use crate::checkpoint::error::EncodeError;
use crate::checkpoint::format::{Contents, Encoded, Header, IDENTITY, MAGIC, Series, VERSION, padding};
use crate::checkpoint::names::{ItemName, NameBuffer, is_valid_name, shape_matches_len};
use crate::checkpoint::objects::{MAX_ITEMS, ObjectVisitor, Objects, StateDict, TensorVisitor};
use crate::checkpoint::{Checksum, Crc32, TensorUnavailable, TensorView};
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
#[inline(never)] // Keeps the buffer off the stack of a caller that also runs a store.
pub fn encode_with<C: Checksum, W: Write, T: Objects + ?Sized>(
    writer: &mut W,
    contents: &Contents<'_>,
    objects: &mut T,
) -> Result<Encoded, EncodeError<W::Error>> {
    let mut sink = ChecksummedWriter { writer, crc: C::default(), error: None };
    let mut encoder = Encoder::new(Some(&mut sink), contents);
    let crc = encoder.encode(objects);
    match encoder.output.failure {
        None => Ok(Encoded { len: encoder.output.len, crc }),
        Some(failure) => Err(failure.map_io(|()| sink.error)),
    }
}

/// Returns the length that the checkpoint will have, in bytes. Also checks all names and shapes. Rejects NaN and
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
    let mut encoder = Encoder::new(None, contents);
    encoder.encode(objects);
    match encoder.output.failure {
        None => Ok(encoder.output.len),
        Some(failure) => Err(failure.map_io(|()| None)),
    }
}

/// The purpose of one pass over the user's objects.
#[derive(Clone, Copy, PartialEq, Eq)]
enum EncodePass {
    /// Checks names, shapes and counts; writes nothing.
    Check,
    /// Writes the names of all objects.
    ObjectNames,
    /// Writes the objects.
    Objects,
    /// Counts the tensors of one object.
    CountTensors,
    /// Compares the names of all objects, tensors and values with the name of the entry with this index.
    CompareNames(u32),
}

struct Encoder<'a> {
    output: Output<'a>,
    contents: &'a Contents<'a>,
    pass: EncodePass,
    /// The number of objects in the checkpoint.
    object_count: u32,
    /// The number of objects that are written.
    selected_count: u32,
    /// The number of tensors and values that were listed so far. During [`EncodePass::CountTensors`], it counts only
    /// the tensors of one object. During [`EncodePass::CompareNames`], it counts objects and tensors.
    item_count: u32,
    /// The name to which [`EncodePass::CompareNames`] compares later names. `None` before that name.
    compared: Option<NameBuffer>,
    /// Whether `compared` is the name of an object.
    compares_objects: bool,
}

/// The error that makes a state dict stop listing its tensors. The actual error is stored in [`Output::failure`].
struct Stop;

impl From<TensorUnavailable> for Stop {
    fn from(_: TensorUnavailable) -> Self {
        Stop
    }
}

impl<'a> Encoder<'a> {
    fn new(sink: Option<&'a mut dyn ChecksummedSink>, contents: &'a Contents<'a>) -> Self {
        Encoder {
            output: Output::new(sink),
            contents,
            pass: EncodePass::Check,
            object_count: 0,
            selected_count: 0,
            item_count: 0,
            compared: None,
            compares_objects: false,
        }
    }

    /// Checks all objects, and then writes the whole checkpoint. Returns the checksum.
    fn encode<T: Objects + ?Sized>(&mut self, objects: &mut T) -> u32 {
        self.visit(EncodePass::Check, objects);
        if self.selected_count == 0 {
            self.output.fail(EncodeError::NoObjects);
        }
        // A name is compared with all later ones, so the last name needs no pass.
        for index in 1..self.object_count.saturating_add(self.item_count) {
            (self.item_count, self.compared) = (0, None);
            self.visit(EncodePass::CompareNames(index - 1), objects);
        }
        self.write_header();
        // If a checkpoint has one stream per object, each stream lists the names of all objects. A stream with all
        // objects does not need this list.
        if self.contents.single_object.is_some() {
            self.output.write_u32(self.object_count);
            self.visit(EncodePass::ObjectNames, objects);
        } else {
            self.output.write_u8(0);
        }
        self.write_extensions();
        run::write(&mut self.output, self.contents.record);
        self.output.write_u32(self.selected_count);
        self.visit(EncodePass::Objects, objects);
        self.output.finish()
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

    fn write_header(&mut self) {
        let Header { step, sequence, iteration, score, score_name, series, .. } = self.contents.header;
        let score = score.filter(|score| !score.is_nan());
        let output = &mut self.output;
        for name in score_name.into_iter().chain(Some(series.name).filter(|name| !name.is_empty())) {
            check_name(output, name);
        }
        output.write_bytes(&MAGIC);
        output.write_u8(VERSION);
        output.write_u32(step);
        output.write_u32(sequence);
        output.write_u32(iteration);
        output.write_bool(score.is_some());
        if let Some(score) = score {
            output.write_bytes(&score.to_le_bytes());
        }
        output.write_bool(score_name.is_some());
        if let Some(name) = score_name {
            output.write_text(name);
        }
    }

    /// Writes the list of extension fields. This version writes one field.
    fn write_extensions(&mut self) {
        let header = &self.contents.header;
        self.output.write_bytes(&[1, IDENTITY, 0]); // one field, which a reader may skip
        // The run record knows the number of its run.
        let run = self.contents.record.map_or(header.run, |record| record.engine.run);
        let len = self.output.measure(|output| write_identity(output, header, run));
        self.output.write_u32(len);
        write_identity(&mut self.output, header, run);
    }

    /// Returns an error if the encoder has failed. The error makes the state dict stop listing its tensors.
    fn status(&self) -> Result<(), Stop> {
        if self.output.failure.is_none() { Ok(()) } else { Err(Stop) }
    }

    fn serialize<S: Serialize + ?Sized>(output: &mut Output<'_>, name: &str, value: &S) {
        if postcard::serialize_with_flavor(value, PostcardSink(output)).is_err() {
            output.fail(EncodeError::Value { name: ItemName::new(name) });
        }
    }

    /// Handles the start of the object `name` in the current pass. Returns true if the caller must write the content of
    /// this object.
    fn start_object(&mut self, name: &str) -> bool {
        let selected = self.contents.single_object.is_none_or(|single| single == name);
        match self.pass {
            EncodePass::Check => {
                self.object_count = self.object_count.saturating_add(1);
                self.selected_count = self.selected_count.saturating_add(u32::from(selected));
                check_name(&mut self.output, name);
            }
            EncodePass::CompareNames(_) => {
                self.compare_name(name, true);
                // The names of tensors are unique within their object.
                if !self.compares_objects {
                    self.compared = None;
                }
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

    /// Compares a name with the name to which this pass compares all later ones.
    fn compare_name(&mut self, name: &str, is_object: bool) {
        let EncodePass::CompareNames(index) = self.pass else { return };
        if self.item_count == index {
            (self.compared, self.compares_objects) = (Some(NameBuffer::concat(&[name])), is_object);
        } else if self.compares_objects == is_object
            && self.compared.as_ref().is_some_and(|other| other.as_bytes() == name.as_bytes())
        {
            self.output.fail(EncodeError::Duplicate { name: ItemName::new(name) });
        }
        self.item_count = self.item_count.saturating_add(1);
    }

    fn write_tensor(&mut self, name: &str, shape: &[u32], elements: &[f32]) {
        let output = &mut self.output;
        // The pass that measures the length checks the elements for NaN and infinity. The pass that writes does not
        // repeat this check.
        if output.is_measuring() && !self.contents.allow_non_finite && !crate::finite::all_finite(elements) {
            return output.fail(EncodeError::NonFinite { name: ItemName::new(name) });
        }
        output.write_text(name);
        output.write_u32(u32::try_from(shape.len()).unwrap_or(u32::MAX));
        shape.iter().for_each(|side| output.write_u32(*side));
        let Some(bytes) = u32::try_from(elements.len()).ok().and_then(|len| len.checked_mul(4)) else {
            return output.fail(EncodeError::TooLong);
        };
        let pad = padding(output.len, bytes);
        output.write_u8(pad);
        (0..pad).for_each(|_| output.write_u8(0));
        output.write_u32(bytes);
        if cfg!(target_endian = "little") {
            return output.write_bytes(bytemuck::cast_slice(elements));
        }
        elements.iter().for_each(|element| output.write_bytes(&element.to_le_bytes()));
    }
}

/// Writes the extension field that identifies the run, the series and the save.
#[inline(never)] // Called twice.
fn write_identity(output: &mut Output<'_>, header: &Header<'_>, run: u32) {
    let Header { series: Series { name, rule, model }, save_id, .. } = *header;
    output.write_u32(run);
    output.write_text(name);
    output.write_u8(rule as u8);
    output.write_u32(model);
    output.write_u32(save_id);
}

/// Checks a name before the first byte of the checkpoint is written.
fn check_name(output: &mut Output<'_>, name: &str) {
    if !is_valid_name(name.as_bytes()) {
        output.fail(EncodeError::Name { name: ItemName::new(name) });
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
        } else if matches!(self.pass, EncodePass::Check | EncodePass::CompareNames(_)) {
            object.tensors(self)?;
        }
        self.status()
    }

    fn value<S: Serialize + DeserializeOwned>(&mut self, name: &str, object: &mut S) -> Result<(), Stop> {
        if self.start_object(name) {
            self.output.write_u8(1); // the object is a serde value
            // The length must be written before the value. Therefore, the value is first serialized without writing it,
            // to measure its length.
            let len = self.output.measure(|output| Self::serialize(output, name, object));
            self.output.write_u32(len);
            Self::serialize(&mut self.output, name, object);
        }
        if self.pass == EncodePass::Check {
            let len = self.output.measure(|output| Self::serialize(output, name, object));
            if !loads_again(object, len) {
                self.output.fail(EncodeError::Value { name: ItemName::new(name) });
            }
        }
        if !matches!(self.pass, EncodePass::CompareNames(_)) {
            self.count_item();
        }
        self.status()
    }
}

impl TensorVisitor for Encoder<'_> {
    type Error = Stop;

    fn visit_tensor(&mut self, name: &str, tensor: TensorView<'_>) -> Result<(), Stop> {
        self.visit_read_only(name, tensor.shape, tensor.elements)
    }

    fn visit_read_only(&mut self, name: &str, shape: &[u32], elements: &[f32]) -> Result<(), Stop> {
        if matches!(self.pass, EncodePass::CompareNames(_)) {
            self.compare_name(name, false);
            return self.status();
        }
        self.count_item();
        match self.pass {
            EncodePass::Objects => self.write_tensor(name, shape, elements),
            EncodePass::Check => {
                check_name(&mut self.output, name);
                if !shape_matches_len(shape, elements.len()) {
                    self.output.fail(EncodeError::Shape { name: ItemName::new(name) });
                }
            }
            EncodePass::ObjectNames | EncodePass::CountTensors | EncodePass::CompareNames(_) => (),
        }
        self.status()
    }
}
