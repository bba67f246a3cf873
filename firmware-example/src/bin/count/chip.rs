//! A flash in RAM. With it, the instructions of a save are measured without the duration of real flash operations.

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};

/// Size of an erase block in bytes.
pub const BLOCK: usize = 512;
/// Size of the flash in bytes: two slots of three erase blocks each.
pub const BYTES: usize = 2 * 3 * BLOCK;

/// A flash in RAM. The array is the content of the flash.
pub struct Chip(pub [u8; BYTES]);

impl ErrorType for Chip {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Chip {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        let source = self.0.get(offset as usize..).and_then(|tail| tail.get(..bytes.len()));
        bytes.copy_from_slice(source.ok_or(NorFlashErrorKind::OutOfBounds)?);
        Ok(())
    }
    fn capacity(&self) -> usize {
        self.0.len()
    }
}

impl NorFlash for Chip {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = BLOCK;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        self.0.get_mut(from as usize..to as usize).ok_or(NorFlashErrorKind::OutOfBounds)?.fill(0xFF);
        Ok(())
    }
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        let target = self.0.get_mut(offset as usize..).and_then(|tail| tail.get_mut(..bytes.len()));
        target.ok_or(NorFlashErrorKind::OutOfBounds)?.copy_from_slice(bytes);
        Ok(())
    }
}
