//! A file on the emulator's host that stands in for flash and survives when the emulator is killed.
//!
//! It knows bytes and their geometry. That a granule is programmed once is enforced by `WriteOnce` around it.

use core::ffi::CStr;
use core::ops::Range;
use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};
use semihosting::fd::{AsFd, OwnedFd};
use semihosting::sys::arm_compat::{OpenMode, sys_flen, sys_open, sys_read_orig, sys_seek, sys_write_orig};

/// Written at a time where a page is erased: small enough that a kill can fall into the middle of one.
const PIECE: usize = 256;

/// A range of a file, as flash with pages of `PAGE` bytes and granules of `GRANULE` bytes.
#[derive(Debug)]
pub struct FileFlash<const PAGE: usize, const GRANULE: usize> {
    file: OwnedFd,
    start: u32,
    len: u32,
}

impl<const PAGE: usize, const GRANULE: usize> FileFlash<PAGE, GRANULE> {
    /// Opens `range` of the file at `path`, which is made, as erased flash, where it is missing.
    ///
    /// # Errors
    /// [`FileError`] when the host refuses.
    pub fn open(path: &CStr, range: Range<u32>) -> Result<Self, FileError> {
        let file = sys_open(path, OpenMode::RDWR_BINARY).or_else(|_| sys_open(path, OpenMode::RDWR_TRUNC_BINARY));
        let mut flash = Self { file: file.map_err(|_| FileError)?, start: 0, len: range.end };
        let have = u32::try_from(sys_flen(flash.file.as_fd()).map_err(|_| FileError)?).map_err(|_| FileError)?;
        flash.fill(have, range.end)?;
        flash.start = range.start;
        flash.len = range.end - range.start;
        Ok(flash)
    }

    fn seek(&self, offset: u32) -> Result<(), FileError> {
        let position = self.start.checked_add(offset).ok_or(FileError)?;
        // SAFETY: beyond the end of a file the effect of a seek is the host's business; the file is filled up to the
        // end of this range when it is opened, and a fill begins at its end.
        unsafe { sys_seek(self.file.as_fd(), position as usize) }.map_err(|_| FileError)
    }

    fn put(&self, bytes: &[u8]) -> Result<(), FileError> {
        match sys_write_orig(self.file.as_fd(), bytes) {
            Ok(0) => Ok(()),
            _ => Err(FileError),
        }
    }

    /// Makes `from..to` erased.
    fn fill(&mut self, from: u32, to: u32) -> Result<(), FileError> {
        if from >= to {
            return Ok(());
        }
        self.seek(from)?;
        let mut left = (to - from) as usize;
        while left > 0 {
            let piece = [0xFF; PIECE];
            let piece = piece.get(..left.min(PIECE)).unwrap_or_default();
            self.put(piece)?;
            left -= piece.len();
        }
        Ok(())
    }
}

impl<const PAGE: usize, const GRANULE: usize> ErrorType for FileFlash<PAGE, GRANULE> {
    type Error = FileError;
}

impl<const PAGE: usize, const GRANULE: usize> ReadNorFlash for FileFlash<PAGE, GRANULE> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FileError> {
        self.seek(offset)?;
        match sys_read_orig(self.file.as_fd(), bytes) {
            Ok(0) => Ok(()),
            _ => Err(FileError),
        }
    }
    fn capacity(&self) -> usize {
        self.len as usize
    }
}

impl<const PAGE: usize, const GRANULE: usize> NorFlash for FileFlash<PAGE, GRANULE> {
    const WRITE_SIZE: usize = GRANULE;
    const ERASE_SIZE: usize = PAGE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), FileError> {
        self.fill(from, to)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FileError> {
        self.seek(offset)?;
        // A granule a call: a kill falls between granules, as a power cut would.
        bytes.chunks(GRANULE).try_for_each(|granule| self.put(granule))
    }
}

/// The host refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileError;

impl NorFlashError for FileError {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}
