//! Bytes, varints and postcard values from a [`Read`], counted and summed. Bounded in every step by the bytes that the
//! reader has; nothing a stream claims is believed before it has been read.
//!
//! An error sticks: after it everything reads as zero, and only the end has to ask. So a loop over a number that a
//! stream claims asks [`Input::failed`] in each turn.

use super::Checksum;
use super::error::DecodeError;
use super::names::is_text;
use super::objects::MAX_NAME;
use embedded_io::Read;
use postcard::de_flavors::Flavor;
use serde::de::DeserializeOwned;

/// Where a stream comes from: a reader and a checksum, whatever they are.
pub(super) trait Source {
    /// Fills `into`, or says why not.
    fn fill(&mut self, into: &mut [u8]) -> Result<(), End>;
    /// Adds to the checksum.
    fn sum(&mut self, bytes: &[u8]);
    /// The checksum so far.
    fn value(&self) -> u32;
}

/// Why there are no more bytes.
pub(super) enum End {
    /// There are none.
    Ended,
    /// The reader failed.
    Failed,
}

/// A reader with its checksum.
pub(super) struct From<'a, C, R: Read> {
    pub reader: &'a mut R,
    pub crc: C,
    pub error: Option<R::Error>,
}

impl<C: Checksum, R: Read> Source for From<'_, C, R> {
    fn fill(&mut self, mut into: &mut [u8]) -> Result<(), End> {
        while !into.is_empty() {
            let read = match self.reader.read(into) {
                Ok(0) => return Err(End::Ended),
                Ok(read) => read,
                Err(error) => {
                    self.error = Some(error);
                    return Err(End::Failed);
                }
            };
            into = into.get_mut(read..).unwrap_or_default();
        }
        Ok(())
    }
    fn sum(&mut self, bytes: &[u8]) {
        self.crc.update(bytes);
    }
    fn value(&self) -> u32 {
        self.crc.value()
    }
}

/// Bytes in memory that were verified just now. Nothing can have changed them since, so they are not summed again.
pub(super) struct Verified<'a> {
    pub bytes: Bytes<'a>,
    pub crc: u32,
}

impl Source for Verified<'_> {
    fn fill(&mut self, into: &mut [u8]) -> Result<(), End> {
        match self.bytes.read(into) {
            Ok(read) if read == into.len() => Ok(()),
            _ => Err(End::Ended),
        }
    }
    fn sum(&mut self, _: &[u8]) {}
    fn value(&self) -> u32 {
        self.crc
    }
}

/// A name.
#[derive(Default)]
pub(super) struct Text {
    bytes: [u8; MAX_NAME],
    len: usize,
}

impl Text {
    /// UTF-8 all the same: a stream with anything else is malformed.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.bytes()).unwrap_or_default()
    }
}

/// A source with its position.
pub(super) struct Input<'a> {
    source: &'a mut dyn Source,
    pub position: u32,
    /// The first error.
    pub failure: Option<DecodeError<()>>,
}

impl<'a> Input<'a> {
    pub fn new(source: &'a mut dyn Source) -> Self {
        Input { source, position: 0, failure: None }
    }

    /// The first error counts.
    pub fn fail(&mut self, error: DecodeError<()>) {
        self.failure.get_or_insert(error);
    }

    #[inline(never)]
    pub fn malformed(&mut self) {
        self.fail(DecodeError::Malformed);
    }

    pub fn failed(&self) -> bool {
        self.failure.is_some()
    }

    /// The checksum of everything so far.
    pub fn sum(&self) -> u32 {
        self.source.value()
    }

    /// Fills `into` without adding to the sum.
    pub fn raw(&mut self, into: &mut [u8]) {
        if self.failed() {
            return;
        }
        match self.source.fill(into) {
            Ok(()) => (),
            Err(End::Ended) => return self.fail(DecodeError::Truncated),
            Err(End::Failed) => return self.fail(DecodeError::Io(())),
        }
        match u32::try_from(into.len()).ok().and_then(|len| self.position.checked_add(len)) {
            Some(position) => self.position = position,
            None => self.malformed(),
        }
    }

    pub fn fill(&mut self, into: &mut [u8]) {
        self.raw(into);
        self.source.sum(into);
    }

    pub fn byte(&mut self) -> u8 {
        let mut byte = [0];
        self.fill(&mut byte);
        let [byte] = byte;
        byte
    }

    pub fn flag(&mut self) -> bool {
        let byte = self.byte();
        if byte > 1 {
            self.malformed();
        }
        byte == 1
    }

    pub fn float(&mut self) -> f32 {
        let mut bytes = [0; 4];
        self.fill(&mut bytes);
        f32::from_le_bytes(bytes)
    }

    /// postcard's varint of a `u32`.
    pub fn number(&mut self) -> u32 {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte();
            if shift == 28 && byte > 0x0F {
                break;
            }
            value |= u32::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return value;
            }
        }
        self.malformed();
        0
    }

    /// A name, in place of the one that was in `into`.
    pub fn text(&mut self, into: &mut Text) {
        into.len = self.number() as usize;
        match into.bytes.get_mut(..into.len) {
            Some(bytes) => self.fill(bytes),
            None => self.malformed(),
        }
        if !is_text(into.bytes()) {
            self.malformed();
        }
    }

    /// Passes over `len` bytes through `scratch`, showing each piece.
    pub fn each(&mut self, mut len: u32, scratch: &mut [u8], show: &mut dyn FnMut(&[u8])) {
        while len > 0 && !self.failed() {
            let take = (len as usize).min(scratch.len());
            let Some(piece) = scratch.get_mut(..take).filter(|piece| !piece.is_empty()) else {
                return self.malformed();
            };
            self.fill(piece);
            if !self.failed() {
                show(piece);
            }
            len = len.saturating_sub(u32::try_from(take).unwrap_or(u32::MAX));
        }
    }

    /// Floats straight into their place.
    pub fn floats(&mut self, into: &mut [f32]) {
        if cfg!(target_endian = "little") {
            // In blocks, so that the sum finds them in the cache.
            into.chunks_mut(2048).for_each(|block| self.fill(bytemuck::cast_slice_mut(block)));
            return;
        }
        into.iter_mut().for_each(|float| *float = self.float());
    }

    /// A postcard value of `len` bytes. Its strings and byte arrays must fit into `arena` together.
    pub fn value<S: DeserializeOwned>(&mut self, len: u32, arena: &mut [u8]) -> Option<S> {
        let start = self.position;
        let flavor = Through { input: &mut *self, arena, temporary: [0; 16] };
        let value = S::deserialize(&mut postcard::Deserializer::from_flavor(flavor)).ok();
        if value.is_none() || self.position.wrapping_sub(start) != len {
            self.malformed();
        }
        value.filter(|_| !self.failed())
    }
}

/// postcard from the input.
struct Through<'b, 'a> {
    input: &'b mut Input<'a>,
    /// What borrowed strings and byte arrays are copied to; shrinks from its front.
    arena: &'b mut [u8],
    /// Where numbers are put together.
    temporary: [u8; 16],
}

impl Through<'_, '_> {
    /// postcard only has to stop: the input keeps the error.
    fn going(&self) -> postcard::Result<()> {
        if self.input.failed() { Err(postcard::Error::DeserializeUnexpectedEnd) } else { Ok(()) }
    }
}

impl<'de, 'b: 'de, 'a: 'de> Flavor<'de> for Through<'b, 'a> {
    type Remainder = ();
    type Source = &'de [u8];

    fn pop(&mut self) -> postcard::Result<u8> {
        let byte = self.input.byte();
        self.going()?;
        Ok(byte)
    }

    fn try_take_n(&mut self, count: usize) -> postcard::Result<&'de [u8]> {
        let Some((taken, rest)) = core::mem::take(&mut self.arena).split_at_mut_checked(count) else {
            self.input.fail(DecodeError::ValueTooLarge);
            return Err(postcard::Error::DeserializeUnexpectedEnd);
        };
        self.arena = rest;
        self.input.fill(taken);
        self.going()?;
        Ok(taken)
    }

    fn try_take_n_temp<'t>(&'t mut self, count: usize) -> postcard::Result<&'t [u8]>
    where
        'de: 't,
    {
        if count > self.temporary.len() {
            return self.try_take_n(count);
        }
        self.input.fill(self.temporary.get_mut(..count).unwrap_or_default());
        self.going()?;
        Ok(self.temporary.get(..count).unwrap_or_default())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Bytes in memory as a [`Read`]. `embedded_io`'s own keeps, at opt-level "z", a check of lengths that ends in a panic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes<'a>(pub &'a [u8]);

impl embedded_io::ErrorType for Bytes<'_> {
    type Error = core::convert::Infallible;
}

impl Read for Bytes<'_> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Self::Error> {
        let read = self.0.len().min(into.len());
        into.iter_mut().zip(self.0).for_each(|(to, from)| *to = *from);
        self.0 = self.0.get(read..).unwrap_or_default();
        Ok(read)
    }
}
