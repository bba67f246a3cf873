//! A checkpoint to bytes, in one pass through the checksum into any [`Write`].
//!
//! Small fields are gathered in a buffer of [`BUFFER`] bytes; tensors go out straight from the user's slice where that
//! is little-endian already, and through the buffer elsewhere. No write call is smaller than the buffer except the
//! last. [`measure`] goes the same way without writing: it finds every error that does not come from the writer, and
//! the exact length. Nothing of the user's is changed, and nothing is allocated.

use super::error::EncodeError;
use super::names::{Bad, Names};
use super::objects::{Objects, StateDict, Visit, VisitTensors};
use super::{Checksum, Header, MAGIC, VERSION};
use crate::record::Record;
use embedded_io::Write;
use serde::Serialize;

/// Bytes that are gathered before a write.
pub const BUFFER: usize = 64;

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
pub fn encode<C: Checksum, W: Write, T: Objects + ?Sized>(
    writer: &mut W,
    contents: &Contents<'_>,
    objects: &T,
) -> Result<Encoded, EncodeError<W::Error>> {
    Encoder::<C, W>::new(Some(writer), contents).stream(objects)
}

/// How long the stream will be, and whether it can be made. Also scans the tensors, unless
/// [`allow_non_finite`](Contents::allow_non_finite).
///
/// # Errors
/// Any [`EncodeError`] but [`Io`](EncodeError::Io) and [`WriteZero`](EncodeError::WriteZero).
pub fn measure<C: Checksum, W: Write, T: Objects + ?Sized>(
    contents: &Contents<'_>,
    objects: &T,
) -> Result<u32, EncodeError<W::Error>> {
    Encoder::<C, W>::new(None, contents).stream(objects).map(|encoded| encoded.len)
}

struct Encoder<'a, C, W: Write> {
    /// `None` only measures.
    writer: Option<&'a mut W>,
    contents: &'a Contents<'a>,
    crc: C,
    buffer: [u8; BUFFER],
    used: usize,
    len: u32,
    /// postcard knows one error for everything that goes wrong in a flavor; this is the real one.
    failure: Option<EncodeError<W::Error>>,
}

impl<'a, C: Checksum, W: Write> Encoder<'a, C, W> {
    fn new(writer: Option<&'a mut W>, contents: &'a Contents<'a>) -> Self {
        Encoder { writer, contents, crc: C::default(), buffer: [0; BUFFER], used: 0, len: 0, failure: None }
    }

    fn stream<T: Objects + ?Sized>(mut self, objects: &T) -> Result<Encoded, EncodeError<W::Error>> {
        let contents = self.contents;
        let mut names = Names::new(contents.only);
        if objects.objects(&mut names).is_err() || names.chosen == 0 {
            return Err(names.error.map_or(EncodeError::NoObjects, Bad::into_error));
        }
        self.put(&MAGIC)?;
        self.put(&[VERSION])?;
        self.serialize(&contents.header)?;
        // A stream that holds everything need not say what "everything" is.
        if contents.only.is_some() {
            self.number(names.objects)?;
            objects.objects(&mut SetNames(&mut self))?;
        } else {
            self.number(0)?;
        }
        match contents.record {
            None => self.put(&[0])?,
            Some(record) => {
                self.put(&[1])?;
                self.serialize(&record.engine)?;
                self.number(u32::from(record.count))?;
                self.put(&record.states)?;
            }
        }
        self.number(names.chosen)?;
        objects.objects(&mut Body(&mut self))?;
        self.finish()
    }

    fn finish(mut self) -> Result<Encoded, EncodeError<W::Error>> {
        self.sum_buffer();
        let crc = self.crc.value();
        // Not part of its own sum: straight into the buffer, whose bytes have been summed.
        for byte in crc.to_le_bytes() {
            if let Some(place) = self.buffer.get_mut(self.used) {
                *place = byte;
                self.used += 1;
            } else {
                self.write_buffer()?;
                if let Some(place) = self.buffer.first_mut() {
                    *place = byte;
                    self.used = 1;
                }
            }
        }
        self.len = self.len.checked_add(4).ok_or(EncodeError::TooLong)?;
        self.write_buffer()?;
        if let Some(writer) = self.writer {
            writer.flush().map_err(EncodeError::Io)?;
        }
        Ok(Encoded { len: self.len, crc })
    }

    /// Adds bytes to the stream.
    fn put(&mut self, bytes: &[u8]) -> Result<(), EncodeError<W::Error>> {
        let len = u32::try_from(bytes.len()).ok().and_then(|len| self.len.checked_add(len));
        self.len = len.ok_or(EncodeError::TooLong)?;
        if self.writer.is_none() {
            return Ok(());
        }
        let mut rest = bytes;
        if self.used > 0 || rest.len() < BUFFER {
            rest = self.gather(rest);
            if rest.is_empty() {
                return Ok(());
            }
            self.sum_buffer();
            self.write_buffer()?;
        }
        let (direct, tail) = rest.split_at_checked(rest.len() - rest.len() % BUFFER).unwrap_or((rest, &[]));
        for block in direct.chunks(BLOCK) {
            self.crc.update(block);
            self.write(block)?;
        }
        self.gather(tail);
        Ok(())
    }

    /// Takes what fits into the buffer and returns the rest.
    fn gather<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let free = self.buffer.get_mut(self.used..).unwrap_or_default();
        let taken = free.len().min(bytes.len());
        for (place, byte) in free.iter_mut().zip(bytes) {
            *place = *byte;
        }
        self.used += taken;
        bytes.get(taken..).unwrap_or_default()
    }

    fn sum_buffer(&mut self) {
        self.crc.update(self.buffer.get(..self.used).unwrap_or_default());
    }

    fn write_buffer(&mut self) -> Result<(), EncodeError<W::Error>> {
        let Some(writer) = self.writer.as_deref_mut() else {
            return Ok(());
        };
        write_all(writer, self.buffer.get(..self.used).unwrap_or_default())?;
        self.used = 0;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError<W::Error>> {
        match self.writer.as_deref_mut() {
            Some(writer) => write_all(writer, bytes),
            None => Ok(()),
        }
    }

    /// postcard's varint.
    fn number(&mut self, mut value: u32) -> Result<(), EncodeError<W::Error>> {
        loop {
            let [low, ..] = value.to_le_bytes();
            value >>= 7;
            if value == 0 {
                return self.put(&[low & 0x7F]);
            }
            self.put(&[low | 0x80])?;
        }
    }

    fn text(&mut self, text: &str) -> Result<(), EncodeError<W::Error>> {
        self.number(u32::try_from(text.len()).unwrap_or(u32::MAX))?;
        self.put(text.as_bytes())
    }

    fn serialize<S: Serialize + ?Sized>(&mut self, value: &S) -> Result<(), EncodeError<W::Error>> {
        match postcard::serialize_with_flavor(value, Through(self)) {
            Ok(()) => Ok(()),
            Err(_) => Err(self.failure.take().unwrap_or(EncodeError::Value)),
        }
    }
}

/// Ok(0) for a buffer that is not empty breaks `Write`'s contract; `embedded_io`'s own loop panics there.
fn write_all<W: Write>(writer: &mut W, mut bytes: &[u8]) -> Result<(), EncodeError<W::Error>> {
    while !bytes.is_empty() {
        let written = writer.write(bytes).map_err(EncodeError::Io)?;
        bytes = match bytes.get(written..) {
            Some(rest) if written > 0 => rest,
            _ => return Err(EncodeError::WriteZero),
        };
    }
    Ok(())
}

/// postcard into the encoder, keeping the real error.
struct Through<'b, 'a, C, W: Write>(&'b mut Encoder<'a, C, W>);

impl<C: Checksum, W: Write> postcard::ser_flavors::Flavor for Through<'_, '_, C, W> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.put(bytes).map_err(|error| {
            self.0.failure = Some(error);
            postcard::Error::SerializeBufferFull
        })
    }
    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Measures a value, to write its length before it.
struct Size(u32);

impl postcard::ser_flavors::Flavor for Size {
    type Output = u32;

    fn try_push(&mut self, _: u8) -> postcard::Result<()> {
        self.try_extend(&[0])
    }
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        let len = u32::try_from(bytes.len()).ok().and_then(|len| self.0.checked_add(len));
        self.0 = len.ok_or(postcard::Error::SerializeBufferFull)?;
        Ok(())
    }
    fn finalize(self) -> postcard::Result<u32> {
        Ok(self.0)
    }
}

/// Counts the tensors of one object.
struct Count(u32);

impl VisitTensors for Count {
    type Error = core::convert::Infallible;

    fn tensor(&mut self, _: &str, _: &[u32], _: &[f32]) -> Result<(), Self::Error> {
        self.0 = self.0.saturating_add(1);
        Ok(())
    }
}

/// Writes the names of all objects.
struct SetNames<'b, 'a, C, W: Write>(&'b mut Encoder<'a, C, W>);

impl<C: Checksum, W: Write> Visit for SetNames<'_, '_, C, W> {
    type Error = EncodeError<W::Error>;

    fn state_dict<D: StateDict + ?Sized>(&mut self, name: &str, _: &D) -> Result<(), Self::Error> {
        self.0.text(name)
    }
    fn value<S: Serialize + ?Sized>(&mut self, name: &str, _: &S) -> Result<(), Self::Error> {
        self.0.text(name)
    }
}

/// Writes the objects.
struct Body<'b, 'a, C, W: Write>(&'b mut Encoder<'a, C, W>);

impl<C: Checksum, W: Write> Body<'_, '_, C, W> {
    fn skips(&self, name: &str) -> bool {
        self.0.contents.only.is_some_and(|only| only != name)
    }
}

impl<C: Checksum, W: Write> Visit for Body<'_, '_, C, W> {
    type Error = EncodeError<W::Error>;

    fn state_dict<D: StateDict + ?Sized>(&mut self, name: &str, object: &D) -> Result<(), Self::Error> {
        if self.skips(name) {
            return Ok(());
        }
        let mut tensors = Count(0);
        let Ok(()) = object.tensors(&mut tensors);
        self.0.text(name)?;
        self.0.put(&[0])?; // Content::StateDict
        self.0.number(tensors.0)?;
        object.tensors(self)
    }

    fn value<S: Serialize + ?Sized>(&mut self, name: &str, object: &S) -> Result<(), Self::Error> {
        if self.skips(name) {
            return Ok(());
        }
        let len = postcard::serialize_with_flavor(object, Size(0)).map_err(|_| EncodeError::Value)?;
        self.0.text(name)?;
        self.0.put(&[1])?; // Content::Value
        self.0.number(len)?;
        self.0.serialize(object)
    }
}

impl<C: Checksum, W: Write> VisitTensors for Body<'_, '_, C, W> {
    type Error = EncodeError<W::Error>;

    fn tensor(&mut self, name: &str, shape: &[u32], elements: &[f32]) -> Result<(), Self::Error> {
        let to = &mut *self.0;
        if to.writer.is_none() && !to.contents.allow_non_finite && !crate::finite::all_finite(elements) {
            return Err(EncodeError::NonFinite);
        }
        to.text(name)?;
        to.number(u32::try_from(shape.len()).unwrap_or(u32::MAX))?;
        for side in shape {
            to.number(*side)?;
        }
        let bytes =
            u32::try_from(elements.len()).ok().and_then(|len| len.checked_mul(4)).ok_or(EncodeError::TooLong)?;
        let pad = super::padding(to.len, bytes);
        to.put(&[pad])?;
        to.put([0; 3].get(..usize::from(pad)).unwrap_or_default())?;
        to.number(bytes)?;
        if cfg!(target_endian = "little") {
            return to.put(bytemuck::cast_slice(elements));
        }
        elements.iter().try_for_each(|element| to.put(&element.to_le_bytes()))
    }
}
