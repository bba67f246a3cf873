//! Writes and reads checkpoints in flash. Flash drivers write only whole write granules and read only whole read units.
//! The writer and the reader in this module accept any number of bytes. They access no bytes outside their slot.

use super::layout::MAX_GRANULE;
use super::region::to_u32;
use super::{Geometry, OfDriver, SlotsError};
use core::fmt;
use embedded_io::{ErrorType, Read, Write};
use embedded_storage::nor_flash::{NorFlash, ReadNorFlash};

/// A byte buffer that is aligned to 4 bytes, because some flash drivers require this alignment.
#[derive(Clone, Copy, Debug)]
#[repr(align(4))]
pub(super) struct Aligned<const N: usize>(pub [u8; N]);

/// The progress of a stream that is being written.
#[derive(Clone, Copy, Debug)]
pub(super) struct StreamProgress {
    /// The index of the slot (the part of the flash that contains one checkpoint).
    pub slot: usize,
    /// The announced length of the stream, in bytes.
    pub len: u32,
    /// The number of bytes that the writer has accepted. It reaches `len` only if all bytes were written to the flash.
    pub written: u32,
}

/// A writer for the checkpoint in a slot. It collects bytes until they fill a write granule, which is the smallest unit
/// that the flash can write. When the checkpoint reaches its announced length, the last granule is filled with zeros.
pub struct Writer<'a, F, G = OfDriver> {
    flash: &'a mut F,
    geometry: G,
    progress: &'a mut StreamProgress,
    /// The address of the checkpoint in the flash. It is a multiple of the write granule.
    address: u32,
    /// A buffer for bytes that do not fill a write granule yet. The first `written % WRITE_SIZE` bytes of the buffer
    /// are used.
    granule: Aligned<MAX_GRANULE>,
}

impl<'a, F, G> Writer<'a, F, G> {
    pub(super) const fn new(flash: &'a mut F, geometry: G, progress: &'a mut StreamProgress, address: u32) -> Self {
        Writer { flash, geometry, progress, address, granule: Aligned([0; MAX_GRANULE]) }
    }
}

impl<F, G> fmt::Debug for Writer<'_, F, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("address", &self.address)
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

impl<F: NorFlash, G> ErrorType for Writer<'_, F, G> {
    type Error = SlotsError<F::Error>;
}

impl<F: NorFlash, G: Geometry<F>> Write for Writer<'_, F, G> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
        let StreamProgress { len, written, .. } = *self.progress;
        let remaining = len.saturating_sub(written) as usize;
        if bytes.is_empty() {
            return Ok(0);
        }
        if bytes.len() > remaining {
            return Err(SlotsError::TooLong { len: written.saturating_add(to_u32(bytes.len())), max: len });
        }
        let granule = self.geometry.unit();
        let used = written as usize % granule;
        let whole = bytes.len() - bytes.len() % granule;
        let aligned = !self.geometry.write_size().is_multiple_of(4) || bytes.as_ptr().cast::<u32>().is_aligned();
        // `programmed` contains the bytes to write to the flash now. `accepted` is the number of bytes that this call
        // takes from `bytes`.
        let (programmed, accepted) = if used == 0 && whole > 0 && aligned {
            (bytes.get(..whole).unwrap_or_default(), whole)
        } else {
            if used == 0 {
                self.granule.0 = [0; MAX_GRANULE];
            }
            let free = self.granule.0.get_mut(used..granule).unwrap_or_default();
            let accepted = free.len().min(bytes.len());
            for (place, byte) in free.iter_mut().zip(bytes) {
                *place = *byte;
            }
            let complete = used + accepted == granule || accepted == remaining;
            (if complete { self.granule.0.get(..granule).unwrap_or_default() } else { &[] }, accepted)
        };
        if !programmed.is_empty() {
            let address = self.address.wrapping_add(written.saturating_sub(to_u32(used)));
            if let Err(error) = self.flash.write(address, programmed) {
                // After a failed write, the content of the flash is unknown. The length 0 makes all further calls fail.
                self.progress.len = 0;
                return Err(SlotsError::Flash(error));
            }
        }
        self.progress.written = written.saturating_add(to_u32(accepted));
        Ok(accepted)
    }

    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// A reader for the checkpoint in a slot.
pub struct Reader<'a, F, G = OfDriver> {
    flash: &'a mut F,
    geometry: G,
    address: u32,
    /// The number of bytes that have not been read yet.
    remaining: u32,
}

impl<'a, F: ReadNorFlash, G: Geometry<F>> Reader<'a, F, G> {
    pub(super) const fn new(flash: &'a mut F, geometry: G, address: u32, len: u32) -> Self {
        Reader { flash, geometry, address, remaining: len }
    }

    pub(super) fn read_some(&mut self, into: &mut [u8]) -> Result<usize, F::Error> {
        let unit = self.geometry.read_size().max(1);
        let wanted = into.len().min(self.remaining as usize);
        let into = into.get_mut(..wanted).unwrap_or_default();
        let before = self.address as usize % unit;
        let whole = wanted - wanted % unit;
        let is_aligned = into.as_ptr().cast::<u32>().is_aligned();
        let count = if before == 0 && whole > 0 && is_aligned {
            read_flash(self.flash, self.address, into.get_mut(..whole).unwrap_or_default())?;
            whole
        } else if wanted == 0 {
            0
        } else {
            // The driver reads only whole units, and some drivers require an aligned buffer. The whole unit is inside
            // the slot, and all its bytes were written, because the writer fills the last unit.
            let mut buffer = Aligned([0; MAX_GRANULE]);
            let len = (before + wanted).next_multiple_of(unit).min(MAX_GRANULE);
            let bytes = buffer.0.get_mut(..len).unwrap_or_default();
            read_flash(self.flash, self.address.wrapping_sub(to_u32(before)), bytes)?;
            let bytes = bytes.get(before..).unwrap_or_default();
            for (place, byte) in into.iter_mut().zip(bytes) {
                *place = *byte;
            }
            bytes.len().min(wanted)
        };
        self.address = self.address.wrapping_add(to_u32(count));
        self.remaining = self.remaining.saturating_sub(to_u32(count));
        Ok(count)
    }
}

/// How often a failed read is tried in total.
const READ_ATTEMPTS: u8 = 3;

/// Reads from the flash, and repeats a failed read. A failed read does not mean that the flash is empty.
#[inline(never)] // One copy of the code.
pub(super) fn read_flash<F: ReadNorFlash>(flash: &mut F, address: u32, into: &mut [u8]) -> Result<(), F::Error> {
    let mut attempt = 1;
    loop {
        match flash.read(address, into) {
            Err(_) if attempt < READ_ATTEMPTS => attempt += 1,
            result => return result,
        }
    }
}

impl<F, G> fmt::Debug for Reader<'_, F, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("address", &self.address)
            .field("remaining", &self.remaining)
            .finish_non_exhaustive()
    }
}

impl<F: NorFlash, G> ErrorType for Reader<'_, F, G> {
    type Error = SlotsError<F::Error>;
}

impl<F: NorFlash, G: Geometry<F>> Read for Reader<'_, F, G> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Self::Error> {
        self.read_some(into).map_err(SlotsError::Flash)
    }
}
