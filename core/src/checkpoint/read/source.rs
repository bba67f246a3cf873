//! The sources of the decoder: a reader with a checksum, and bytes in memory that are already verified.

use crate::checkpoint::Checksum;
use crate::checkpoint::format::MAGIC;
use crate::target::HOST;
use embedded_io::{Error, ErrorKind, ErrorType, Read};

/// A reader with a checksum. The decoder uses it as a trait object, so that the decoder is compiled only once for all
/// types of readers and checksums.
pub(in crate::checkpoint) trait ChecksummedSource {
    /// Fills `into` with the next bytes of the stream.
    fn read(&mut self, into: &mut [u8]) -> Result<(), ReadFailure>;
    /// Adds `bytes` to the checksum.
    fn sum(&mut self, bytes: &[u8]);
    /// Returns the checksum of all added bytes.
    fn value(&self) -> u32;
    /// Skips `len` bytes without reading them. Returns false if they must be read.
    #[cfg(target_pointer_width = "64")]
    fn skip(&mut self, _len: u32) -> bool {
        false
    }
}

/// The reason why a source returned fewer bytes than requested.
pub(in crate::checkpoint) enum ReadFailure {
    /// The source has no more bytes.
    EndOfStream,
    /// The reader returned an error. The source keeps this error.
    Error,
}

/// A [`Read`] implementation with a checksum.
pub(super) struct ChecksummedReader<'a, C, R: Read> {
    pub reader: &'a mut R,
    pub crc: C,
    pub error: Option<R::Error>,
}

impl<C: Checksum, R: Read> ChecksummedSource for ChecksummedReader<'_, C, R> {
    fn read(&mut self, mut into: &mut [u8]) -> Result<(), ReadFailure> {
        while !into.is_empty() {
            let count = match self.reader.read(into) {
                Ok(0) => return Err(ReadFailure::EndOfStream),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.error = Some(error);
                    return Err(ReadFailure::Error);
                }
            };
            into = into.get_mut(count..).unwrap_or_default();
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

/// Bytes in memory whose checksum is already verified. The bytes cannot have changed since then, so the checksum is not
/// computed again.
#[derive(Clone, Copy)]
pub(super) struct VerifiedSlice<'a> {
    /// The bytes that were not read yet.
    bytes: &'a [u8],
    crc: u32,
}

impl<'a> VerifiedSlice<'a> {
    /// Returns the stream at the start of `bytes` if its checksum is right, and `None` on a device, where the code would
    /// be too large.
    pub fn new<C: Checksum>(bytes: &'a [u8]) -> Option<Self> {
        if !HOST {
            return None;
        }
        // The length of the stream follows the magic number and the version, which is one byte.
        let len = u32::from_le_bytes(*bytes.get(MAGIC.len() + 1..)?.first_chunk()?);
        let (summed, crc) = bytes.get(..len as usize)?.split_last_chunk()?;
        let mut checksum = C::default();
        checksum.update(summed);
        let crc = u32::from_le_bytes(*crc);
        (checksum.value() == crc).then_some(VerifiedSlice { bytes, crc })
    }

    /// Returns the next `len` bytes. `None` if there are fewer.
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(len)?;
        self.bytes = rest;
        Some(taken)
    }
}

impl ChecksummedSource for VerifiedSlice<'_> {
    fn read(&mut self, into: &mut [u8]) -> Result<(), ReadFailure> {
        let bytes = self.take(into.len()).ok_or(ReadFailure::EndOfStream)?;
        match (into, bytes) {
            // Most fields are single bytes, for which a call of `memcpy` would take too long.
            ([to], [from]) => *to = *from,
            (into, bytes) => into.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from),
        }
        Ok(())
    }
    fn sum(&mut self, _: &[u8]) {}
    fn value(&self) -> u32 {
        self.crc
    }
    #[cfg(target_pointer_width = "64")]
    fn skip(&mut self, len: u32) -> bool {
        self.take(len as usize).is_some()
    }
}

/// A reader for bytes in memory. It replaces the [`Read`] implementation of `embedded_io` for slices, which contains a
/// panic if it is compiled at opt-level "z".
#[derive(Clone, Copy, Debug)]
pub(crate) struct SliceReader<'a>(pub &'a [u8]);

impl ErrorType for SliceReader<'_> {
    type Error = core::convert::Infallible;
}

impl Read for SliceReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Self::Error> {
        let count = self.0.len().min(into.len());
        into.iter_mut().zip(self.0).for_each(|(to, from)| *to = *from);
        self.0 = self.0.get(count..).unwrap_or_default();
        Ok(count)
    }
}
