//! A stream to granules and back. Gathers what is smaller than a write granule, passes the rest through; neither side
//! leaves its stream. No state here outlives the stream but how much of it was written.

use super::SlotsError;
use super::error::size;
use super::record::MAX_GRANULE;
use core::fmt;
use embedded_io::{ErrorType, Read, Write};
use embedded_storage::nor_flash::{NorFlash, ReadNorFlash};

/// Some drivers only take words from where words may lie.
#[derive(Clone, Copy, Debug)]
#[repr(align(4))]
pub(super) struct Granule<const N: usize>(pub [u8; N]);

/// A stream under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writing {
    /// The slot it is written to.
    pub index: usize,
    /// How many bytes it will have.
    pub len: u32,
    /// How many were taken; `len` only when all have been programmed.
    pub written: u32,
}

/// Writes a stream to a slot. The last granule is programmed when the stream has the length that was announced.
pub struct Writer<'a, F> {
    flash: &'a mut F,
    writing: &'a mut Writing,
    /// Where on the flash the stream begins: at a granule.
    at: u32,
    /// The granule under way; its first `written % WRITE_SIZE` bytes are taken.
    granule: Granule<MAX_GRANULE>,
}

impl<'a, F> Writer<'a, F> {
    pub(super) const fn new(flash: &'a mut F, writing: &'a mut Writing, at: u32) -> Self {
        Writer { flash, writing, at, granule: Granule([0; MAX_GRANULE]) }
    }
}

impl<F> fmt::Debug for Writer<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("at", &self.at).field("writing", &self.writing).finish_non_exhaustive()
    }
}

impl<F: NorFlash> ErrorType for Writer<'_, F> {
    type Error = SlotsError<F::Error>;
}

impl<F: NorFlash> Write for Writer<'_, F> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
        let Writing { len, written, .. } = *self.writing;
        let left = len.saturating_sub(written) as usize;
        if bytes.len() > left {
            return Err(SlotsError::TooLong { len: written.saturating_add(size(bytes.len())), room: len });
        }
        let granule = F::WRITE_SIZE.max(1);
        let taken = written as usize % granule;
        let whole = bytes.len() - bytes.len() % granule;
        let word = granule % 4 != 0 || bytes.as_ptr().cast::<u32>().is_aligned();
        let (from, count) = if taken == 0 && whole > 0 && word {
            (bytes.get(..whole).unwrap_or_default(), whole)
        } else {
            if taken == 0 {
                self.granule.0 = [0; MAX_GRANULE];
            }
            let free = self.granule.0.get_mut(taken..granule).unwrap_or_default();
            let count = free.len().min(bytes.len());
            for (place, byte) in free.iter_mut().zip(bytes) {
                *place = *byte;
            }
            let full = taken + count == granule || count == left;
            (if full { self.granule.0.get(..granule).unwrap_or_default() } else { &[] }, count)
        };
        if !from.is_empty() {
            let at = self.at.wrapping_add(written.saturating_sub(size(taken)));
            if let Err(error) = self.flash.write(at, from) {
                // What the flash has now is not known: no more of this stream.
                self.writing.len = 0;
                return Err(SlotsError::Flash(error));
            }
        }
        self.writing.written = written.saturating_add(size(count));
        Ok(count)
    }

    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// Reads the stream of a slot.
pub struct Reader<'a, F> {
    flash: &'a mut F,
    at: u32,
    /// Bytes that are left.
    left: u32,
}

impl<'a, F: ReadNorFlash> Reader<'a, F> {
    pub(super) const fn new(flash: &'a mut F, at: u32, len: u32) -> Self {
        Reader { flash, at, left: len }
    }

    pub(super) fn read_some(&mut self, into: &mut [u8]) -> Result<usize, F::Error> {
        let unit = F::READ_SIZE.max(1);
        let many = into.len().min(self.left as usize);
        let into = into.get_mut(..many).unwrap_or_default();
        let before = self.at as usize % unit;
        let whole = many - many % unit;
        let count = if before == 0 && whole > 0 {
            self.flash.read(self.at, into.get_mut(..whole).unwrap_or_default())?;
            whole
        } else if many == 0 {
            0
        } else {
            // Less than can be read at a time: whole units lie in the slot, whose end is one.
            let mut unit_bytes = Granule([0; MAX_GRANULE]);
            let bytes = unit_bytes.0.get_mut(..unit).unwrap_or_default();
            self.flash.read(self.at.wrapping_sub(size(before)), bytes)?;
            let bytes = bytes.get(before..).unwrap_or_default();
            for (place, byte) in into.iter_mut().zip(bytes) {
                *place = *byte;
            }
            bytes.len().min(many)
        };
        self.at = self.at.wrapping_add(size(count));
        self.left = self.left.saturating_sub(size(count));
        Ok(count)
    }
}

impl<F> fmt::Debug for Reader<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("at", &self.at).field("left", &self.left).finish_non_exhaustive()
    }
}

impl<F: NorFlash> ErrorType for Reader<'_, F> {
    type Error = SlotsError<F::Error>;
}

impl<F: NorFlash> Read for Reader<'_, F> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Self::Error> {
        self.read_some(into).map_err(SlotsError::Flash)
    }
}
