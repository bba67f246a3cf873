//! A flash driver that stores its data in a file on the emulator's host. The file persists when the emulator is killed.
//!
//! The driver implements the geometry of a flash. The wrapper `WriteOnce` enforces that each write granule is
//! programmed at most once.

use core::ffi::CStr;
use core::ops::Range;
use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};
use semihosting::fd::{AsFd, OwnedFd};
use semihosting::sys::arm_compat::{OpenMode, sys_flen, sys_open, sys_read_orig, sys_seek, sys_write_orig};

/// Size in bytes of the chunks in which an erase writes to the file. An erase takes several writes, so that a kill of
/// the emulator can interrupt it.
const CHUNK_SIZE: usize = 256;

/// A range of a file that acts as a flash with erase blocks of `PAGE` bytes and write granules of `GRANULE` bytes.
#[derive(Debug)]
pub struct FileFlash<const PAGE: usize, const GRANULE: usize> {
    file: OwnedFd,
    start: u32,
    len: u32,
}

impl<const PAGE: usize, const GRANULE: usize> FileFlash<PAGE, GRANULE> {
    /// Opens the bytes `range` of the file at `path`. Creates the file if it does not exist, and extends a shorter file
    /// with erased bytes.
    ///
    /// # Errors
    /// Returns [`FileError`] if a file operation fails on the host.
    pub fn open(path: &CStr, range: Range<u32>) -> Result<Self, FileError> {
        let file = sys_open(path, OpenMode::RDWR_BINARY).or_else(|_| sys_open(path, OpenMode::RDWR_TRUNC_BINARY));
        let mut flash = Self { file: file.map_err(|_| FileError)?, start: 0, len: range.end };
        let file_len = u32::try_from(sys_flen(flash.file.as_fd()).map_err(|_| FileError)?).map_err(|_| FileError)?;
        flash.fill_erased(file_len, range.end)?;
        flash.start = range.start;
        flash.len = range.end - range.start;
        Ok(flash)
    }

    fn seek(&self, offset: u32) -> Result<(), FileError> {
        let position = self.start.checked_add(offset).ok_or(FileError)?;
        // SAFETY: a seek beyond the end of the file would have an unspecified effect. `open` extends the file to the
        // end of this range, and the extension itself starts at the current end of the file.
        unsafe { sys_seek(self.file.as_fd(), position as usize) }.map_err(|_| FileError)
    }

    fn write_bytes(&self, bytes: &[u8]) -> Result<(), FileError> {
        match sys_write_orig(self.file.as_fd(), bytes) {
            Ok(0) => Ok(()),
            _ => Err(FileError),
        }
    }

    /// Fills the range `from..to` with the value of erased flash.
    fn fill_erased(&mut self, from: u32, to: u32) -> Result<(), FileError> {
        if from >= to {
            return Ok(());
        }
        self.seek(from)?;
        let mut remaining = (to - from) as usize;
        while remaining > 0 {
            let chunk = [0xFF; CHUNK_SIZE];
            let chunk = chunk.get(..remaining.min(CHUNK_SIZE)).unwrap_or_default();
            self.write_bytes(chunk)?;
            remaining -= chunk.len();
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
        self.fill_erased(from, to)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FileError> {
        self.seek(offset)?;
        // Each granule is one file write. A kill of the emulator can interrupt the operation between two granules, as a
        // power failure can on a real flash.
        bytes.chunks(GRANULE).try_for_each(|granule| self.write_bytes(granule))
    }
}

/// A file operation failed on the host. Semihosting does not report a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileError;

impl NorFlashError for FileError {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}
