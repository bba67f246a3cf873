//! A checkpoint to bytes, in one pass through the checksum into any [`Write`].
//!
//! Small fields are gathered in a buffer of [`BUFFER`] bytes; tensors go out straight from the user's slice where that
//! is little-endian already, and through the buffer elsewhere. No write call is smaller than the buffer except the
//! last. [`measure`] goes the same way without writing: it finds every error that does not come from the writer, and
//! the exact length. Nothing of the user's is changed, and nothing is allocated.
//!
//! All of it is one piece of code whatever the writer and the checksum are, and a user's objects are visited by one
//! type of visitor in all passes. An error sticks: what comes after it does nothing, so only the end has to ask.

use super::error::EncodeError;
use super::names::{name_is_good, shape_fits};
use super::objects::{MAX_ITEMS, Objects, StateDict, Visit, VisitTensors};
use super::output::{Output, To, out};
use super::{Checksum, Header, MAGIC, VERSION, run};
use crate::record::Record;
use embedded_io::Write;
use serde::Serialize;

/// Bytes that are gathered before a write.
pub const BUFFER: usize = 64;

/// Bytes of the checksum at the end, which the last write may have beyond [`BUFFER`].
const CHECKSUM: usize = 4;

/// Bytes that go through the checksum and the writer at a time: small enough to stay in a first-level cache between the
/// two, a multiple of any write granule.
const BLOCK: usize = 8192;

/// What a checkpoint holds beside its objects.
#[derive(Clone, Copy, Debug)]
pub struct Contents<'a> {
    /// Step, sequence, score.
    pub header: Header<'a>,
    /// The run, so that it can go on.
    pub record: Option<&'a Record>,
    /// Only the object of this name, as one of several streams of a checkpoint; `None` for all in one stream.
    pub only: Option<&'a str>,
    /// Whether NaN and infinities may be saved.
    pub allow_non_finite: bool,
}

/// What was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Encoded {
    /// Bytes of the stream.
    pub len: u32,
    /// The checksum at its end.
    pub crc: u32,
}

/// Writes a checkpoint to `writer` and flushes it.
///
/// # Errors
/// [`EncodeError`]; what was written so far is then not a checkpoint.
#[inline(never)] // Its buffer is not to be on the stack of the one who saves beside the store's.
pub fn encode<C: Checksum, W: Write, T: Objects + ?Sized>(
    writer: &mut W,
    contents: &Contents<'_>,
    objects: &T,
) -> Result<Encoded, EncodeError<W::Error>> {
    let mut output = To { writer, crc: C::default(), error: None };
    let mut encoder = Encoder::new(Some(&mut output), contents);
    let crc = encoder.stream(objects);
    let Encoder { len, failure, .. } = encoder;
    match failure {
        None => Ok(Encoded { len, crc }),
        Some(failure) => Err(failure.with_io(output.error)),
    }
}

/// How long the stream will be, and whether it can be made. Also scans the tensors, unless
/// [`allow_non_finite`](Contents::allow_non_finite).
///
/// # Errors
/// Any [`EncodeError`] but [`Io`](EncodeError::Io) and [`WriteZero`](EncodeError::WriteZero).
#[inline(never)] // As above.
pub fn measure<E, T: Objects + ?Sized>(contents: &Contents<'_>, objects: &T) -> Result<u32, EncodeError<E>> {
    let mut encoder = Encoder::new(None, contents);
    encoder.stream(objects);
    match encoder.failure {
        None => Ok(encoder.len),
        Some(failure) => Err(failure.with_io(None)),
    }
}

/// What is made of the objects that are visited.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// Names, shapes and numbers are checked; nothing is written.
    Check,
    /// The names of all objects.
    Set,
    /// The objects.
    Body,
    /// The tensors of one object are counted.
    Count,
}

pub(super) struct Encoder<'a> {
    /// `None` only measures.
    output: Option<&'a mut dyn Output>,
    contents: &'a Contents<'a>,
    buffer: [u8; BUFFER + CHECKSUM],
    /// Bytes of the buffer that are taken: fewer than [`BUFFER`] between two calls.
    used: usize,
    /// Bytes of the stream so far.
    len: u32,
    pass: Pass,
    /// Objects of the checkpoint, and of this stream.
    objects: u32,
    chosen: u32,
    /// Tensors and values of the checkpoint; while counting, tensors of the object.
    items: u32,
    /// The first error.
    failure: Option<EncodeError<()>>,
}

impl<'a> Encoder<'a> {
    fn new(output: Option<&'a mut dyn Output>, contents: &'a Contents<'a>) -> Self {
        Encoder {
            output,
            contents,
            buffer: [0; BUFFER + CHECKSUM],
            used: 0,
            len: 0,
            pass: Pass::Check,
            objects: 0,
            chosen: 0,
            items: 0,
            failure: None,
        }
    }

    /// Goes through all passes; returns the checksum.
    fn stream<T: Objects + ?Sized>(&mut self, objects: &T) -> u32 {
        self.visit(Pass::Check, objects);
        if self.chosen == 0 {
            self.fail(EncodeError::NoObjects);
        }
        self.head();
        // A stream that holds everything need not say what "everything" is.
        if self.contents.only.is_some() {
            self.number(self.objects);
            self.visit(Pass::Set, objects);
        } else {
            self.byte(0);
        }
        run::write(self, self.contents.record);
        self.number(self.chosen);
        self.visit(Pass::Body, objects);
        self.finish()
    }

    fn visit<T: Objects + ?Sized>(&mut self, pass: Pass, objects: &T) {
        self.pass = pass;
        if self.failure.is_none() {
            // What was wrong is in `failure`.
            let _ = objects.objects(self);
        }
    }

    fn head(&mut self) {
        let Header { step, sequence, iteration, score, score_name } = self.contents.header;
        self.put(&MAGIC);
        self.byte(VERSION);
        self.number(step);
        self.number(sequence);
        self.number(iteration);
        self.byte(u8::from(score.is_some()));
        if let Some(score) = score {
            self.put(&score.to_le_bytes());
        }
        self.byte(u8::from(score_name.is_some()));
        if let Some(name) = score_name {
            self.text(name);
        }
    }

    fn finish(&mut self) -> u32 {
        let Some(len) = self.len.checked_add(CHECKSUM as u32).filter(|_| self.failure.is_none()) else {
            self.fail(EncodeError::TooLong);
            return 0;
        };
        self.len = len;
        let Some(output) = self.output.as_deref_mut() else { return 0 };
        output.sum(self.buffer.get(..self.used).unwrap_or_default());
        let crc = output.value();
        let end = self.used.saturating_add(CHECKSUM);
        if let Some(place) = self.buffer.get_mut(self.used..).and_then(|rest| rest.first_chunk_mut()) {
            *place = crc.to_le_bytes();
        }
        let passed = output.write(self.buffer.get(..end).unwrap_or_default()) && output.flush();
        self.written(passed);
        crc
    }

    /// The first error counts.
    fn fail(&mut self, error: EncodeError<()>) {
        self.failure.get_or_insert(error);
    }

    /// For a visitor: whether to go on.
    fn going(&self) -> Result<(), ()> {
        if self.failure.is_none() { Ok(()) } else { Err(()) }
    }

    /// Adds bytes to the stream.
    pub fn put(&mut self, bytes: &[u8]) {
        let len = u32::try_from(bytes.len()).ok().and_then(|len| self.len.checked_add(len));
        match len {
            Some(len) => self.len = len,
            None => self.fail(EncodeError::TooLong),
        }
        if self.output.is_none() {
            return;
        }
        let mut rest = bytes;
        while self.failure.is_none() && !rest.is_empty() {
            let whole = rest.len() - rest.len() % BUFFER;
            if self.used == 0 && whole > 0 {
                let (direct, tail) = rest.split_at_checked(whole).unwrap_or((rest, &[]));
                let passed = direct.chunks(BLOCK).all(|block| out(&mut self.output, block));
                self.written(passed);
                rest = tail;
            } else {
                rest = self.gather(rest);
            }
        }
    }

    /// Takes what fits into the buffer, writes it when it is full, and returns the rest.
    fn gather<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let free = self.buffer.get_mut(self.used..BUFFER).unwrap_or_default();
        let taken = free.len().min(bytes.len());
        for (place, byte) in free.iter_mut().zip(bytes) {
            *place = *byte;
        }
        self.used += taken;
        if self.used == BUFFER {
            self.used = 0;
            let passed = out(&mut self.output, self.buffer.get(..BUFFER).unwrap_or_default());
            self.written(passed);
        }
        bytes.get(taken..).unwrap_or_default()
    }

    fn written(&mut self, passed: bool) {
        if !passed {
            self.fail(EncodeError::Io(()));
        }
    }

    pub fn byte(&mut self, byte: u8) {
        self.put(&[byte]);
    }

    /// postcard's varint.
    pub fn number(&mut self, mut value: u32) {
        while value >= 0x80 {
            let [low, ..] = value.to_le_bytes();
            self.byte(low | 0x80);
            value >>= 7;
        }
        let [low, ..] = value.to_le_bytes();
        self.byte(low);
    }

    fn text(&mut self, text: &str) {
        self.number(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.put(text.as_bytes());
    }

    fn serialize<S: Serialize + ?Sized>(&mut self, value: &S) {
        if postcard::serialize_with_flavor(value, Through(self)).is_err() {
            self.fail(EncodeError::Value);
        }
    }

    /// An object begins. False where it is not to be written.
    fn object(&mut self, name: &str) -> bool {
        let chosen = self.contents.only.is_none_or(|only| only == name);
        match self.pass {
            Pass::Check => {
                self.objects = self.objects.saturating_add(1);
                self.chosen = self.chosen.saturating_add(u32::from(chosen));
                if !name_is_good(name) {
                    self.fail(EncodeError::Name);
                }
            }
            Pass::Set => self.text(name),
            Pass::Body if chosen => {
                self.text(name);
                return true;
            }
            Pass::Body | Pass::Count => (),
        }
        false
    }

    /// One more tensor or value.
    fn item(&mut self) {
        self.items = self.items.saturating_add(1);
        if self.pass == Pass::Check && self.items > MAX_ITEMS as u32 {
            self.fail(EncodeError::TooManyItems);
        }
    }

    fn payload(&mut self, name: &str, shape: &[u32], elements: &[f32]) {
        if self.output.is_none() && !self.contents.allow_non_finite && !crate::finite::all_finite(elements) {
            return self.fail(EncodeError::NonFinite);
        }
        self.text(name);
        self.number(u32::try_from(shape.len()).unwrap_or(u32::MAX));
        shape.iter().for_each(|side| self.number(*side));
        let Some(bytes) = u32::try_from(elements.len()).ok().and_then(|len| len.checked_mul(4)) else {
            return self.fail(EncodeError::TooLong);
        };
        let pad = super::padding(self.len, bytes);
        self.byte(pad);
        (0..pad).for_each(|_| self.byte(0));
        self.number(bytes);
        if cfg!(target_endian = "little") {
            return self.put(bytemuck::cast_slice(elements));
        }
        elements.iter().for_each(|element| self.put(&element.to_le_bytes()));
    }
}

/// postcard into the encoder.
struct Through<'b, 'a>(&'b mut Encoder<'a>);

impl postcard::ser_flavors::Flavor for Through<'_, '_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.put(bytes);
        self.0.going().map_err(|()| postcard::Error::SerializeBufferFull)
    }
    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

impl Visit for Encoder<'_> {
    type Error = ();

    fn state_dict<D: StateDict + ?Sized>(&mut self, name: &str, object: &D) -> Result<(), ()> {
        if self.object(name) {
            self.byte(0); // Content::StateDict
            self.pass = Pass::Count;
            self.items = 0;
            let _ = object.tensors(self);
            self.pass = Pass::Body;
            self.number(self.items);
            let _ = object.tensors(self);
        } else if self.pass == Pass::Check {
            let _ = object.tensors(self);
        }
        self.going()
    }

    fn value<S: Serialize + ?Sized>(&mut self, name: &str, object: &S) -> Result<(), ()> {
        if self.object(name) {
            self.byte(1); // Content::Value
            // Its length stands before it: measured first, as a whole stream is.
            let (output, before) = (self.output.take(), self.len);
            self.serialize(object);
            let len = self.len.wrapping_sub(before);
            self.output = output;
            self.len = before;
            self.number(len);
            self.serialize(object);
        }
        self.item();
        self.going()
    }
}

impl VisitTensors for Encoder<'_> {
    type Error = ();

    fn tensor(&mut self, name: &str, shape: &[u32], elements: &[f32]) -> Result<(), ()> {
        self.item();
        match self.pass {
            Pass::Body => self.payload(name, shape, elements),
            Pass::Check if !name_is_good(name) => self.fail(EncodeError::Name),
            Pass::Check if !shape_fits(shape, elements.len()) => self.fail(EncodeError::Shape),
            Pass::Check | Pass::Set | Pass::Count => (),
        }
        self.going()
    }
}
