//! Bytes, varints and postcard values from a [`Read`], counted and summed. Bounded in every step by the bytes that the
//! reader has; nothing a stream claims is believed before it has been read.

use super::Checksum;
use super::error::DecodeError;
use embedded_io::Read;
use postcard::de_flavors::Flavor;
use serde::de::DeserializeOwned;

/// A reader with its position and checksum.
pub(super) struct Input<'a, R: Read, C> {
    reader: &'a mut R,
    pub crc: C,
    pub position: u32,
    /// postcard knows few errors for what goes wrong in a flavor; this is the real one.
    failure: Option<DecodeError<R::Error>>,
}

impl<'a, R: Read, C: Checksum> Input<'a, R, C> {
    pub fn new(reader: &'a mut R) -> Self {
        Input { reader, crc: C::default(), position: 0, failure: None }
    }

    /// Fills `into` without adding to the sum.
    pub fn raw(&mut self, into: &mut [u8]) -> Result<(), DecodeError<R::Error>> {
        let mut filled = 0;
        while let Some(rest) = into.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.reader.read(rest) {
                Ok(0) => return Err(DecodeError::Truncated),
                Ok(read) => filled = filled.saturating_add(read),
                Err(error) => return Err(DecodeError::Io(error)),
            }
        }
        let len = u32::try_from(into.len()).ok().and_then(|len| self.position.checked_add(len));
        self.position = len.ok_or(DecodeError::Malformed)?;
        Ok(())
    }

    pub fn fill(&mut self, into: &mut [u8]) -> Result<(), DecodeError<R::Error>> {
        self.raw(into)?;
        self.crc.update(into);
        Ok(())
    }

    pub fn byte(&mut self) -> Result<u8, DecodeError<R::Error>> {
        let mut byte = [0];
        self.fill(&mut byte)?;
        let [byte] = byte;
        Ok(byte)
    }

    /// postcard's varint of a `u32`.
    pub fn number(&mut self) -> Result<u32, DecodeError<R::Error>> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            if shift == 28 && byte > 0x0F {
                break;
            }
            value |= u32::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Malformed)
    }

    /// A name of at most `N` bytes.
    pub fn text<const N: usize>(&mut self) -> Result<heapless::String<N>, DecodeError<R::Error>> {
        let len = self.number()? as usize;
        let mut bytes = [0u8; N];
        let bytes = bytes.get_mut(..len).ok_or(DecodeError::Malformed)?;
        self.fill(bytes)?;
        let text = core::str::from_utf8(bytes).map_err(|_| DecodeError::Malformed)?;
        heapless::String::try_from(text).map_err(|_| DecodeError::Malformed)
    }

    /// Passes over `len` bytes through `scratch`, showing each piece.
    pub fn each(
        &mut self,
        mut len: u32,
        scratch: &mut [u8],
        mut show: impl FnMut(&[u8]),
    ) -> Result<(), DecodeError<R::Error>> {
        while len > 0 {
            let take = (len as usize).min(scratch.len());
            let piece = scratch.get_mut(..take).filter(|piece| !piece.is_empty()).ok_or(DecodeError::Malformed)?;
            self.fill(piece)?;
            show(piece);
            len = len.saturating_sub(u32::try_from(take).unwrap_or(u32::MAX));
        }
        Ok(())
    }

    /// Floats straight into their place.
    pub fn floats(&mut self, into: &mut [f32]) -> Result<(), DecodeError<R::Error>> {
        if cfg!(target_endian = "little") {
            // In blocks, so that the sum finds them in the cache.
            for block in into.chunks_mut(2048) {
                self.fill(bytemuck::cast_slice_mut(block))?;
            }
            return Ok(());
        }
        for float in into {
            let mut bytes = [0; 4];
            self.fill(&mut bytes)?;
            *float = f32::from_le_bytes(bytes);
        }
        Ok(())
    }

    /// A postcard value of `len` bytes. Its strings and byte arrays must fit into `arena` together.
    pub fn value<S: DeserializeOwned>(
        &mut self,
        len: Option<u32>,
        arena: &mut [u8],
    ) -> Result<S, DecodeError<R::Error>> {
        let start = self.position;
        let result = {
            let flavor = Through { input: &mut *self, arena, temporary: [0; 16] };
            S::deserialize(&mut postcard::Deserializer::from_flavor(flavor))
        };
        match (result, self.failure.take()) {
            (_, Some(failure)) => Err(failure),
            (Ok(value), None) if len.is_none_or(|len| self.position.wrapping_sub(start) == len) => Ok(value),
            _ => Err(DecodeError::Malformed),
        }
    }
}

/// postcard from the input, keeping the real error.
struct Through<'b, 'a, R: Read, C> {
    input: &'b mut Input<'a, R, C>,
    /// What borrowed strings and byte arrays are copied to; shrinks from its front.
    arena: &'b mut [u8],
    /// Where numbers are put together.
    temporary: [u8; 16],
}

impl<R: Read, C: Checksum> Through<'_, '_, R, C> {
    fn noted<T>(&mut self, result: Result<T, DecodeError<R::Error>>) -> postcard::Result<T> {
        result.map_err(|error| {
            self.input.failure = Some(error);
            postcard::Error::DeserializeUnexpectedEnd
        })
    }
}

impl<'de, 'b: 'de, 'a: 'de, R: Read + 'de, C: Checksum + 'de> Flavor<'de> for Through<'b, 'a, R, C> {
    type Remainder = ();
    type Source = &'de [u8];

    fn pop(&mut self) -> postcard::Result<u8> {
        let byte = self.input.byte();
        self.noted(byte)
    }

    fn try_take_n(&mut self, count: usize) -> postcard::Result<&'de [u8]> {
        match core::mem::take(&mut self.arena).split_at_mut_checked(count) {
            Some((taken, rest)) => {
                self.arena = rest;
                let filled = self.input.fill(taken);
                self.noted(filled)?;
                Ok(taken)
            }
            None => self.noted(Err(DecodeError::ValueTooLarge)),
        }
    }

    fn try_take_n_temp<'t>(&'t mut self, count: usize) -> postcard::Result<&'t [u8]>
    where
        'de: 't,
    {
        if count > self.temporary.len() {
            return self.try_take_n(count);
        }
        let filled = self.input.fill(self.temporary.get_mut(..count).unwrap_or_default());
        self.noted(filled)?;
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
