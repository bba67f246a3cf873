//! A driver for parallel NOR flash with the Intel command set (CFI 0001). Two 16-bit chips form one 32-bit word, so
//! each half of a command word or status word belongs to one chip.
//!
//! The driver waits until each erase or program operation is complete, and returns the chips to read mode. The wrapper
//! `WriteOnce` enforces that each word is programmed at most once.

use core::ops::Range;
use core::ptr;
use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};

/// Size in bytes of an erase block of both chips together.
pub const BLOCK: u32 = 256 * 1024;

/// Repeats a 16-bit value in both halves of a word, one for each chip.
const fn both_chips(value: u16) -> u32 {
    (value as u32) << 16 | value as u32
}

const READ_ARRAY: u32 = both_chips(0xFF);
const QUERY: u32 = both_chips(0x98);
const CLEAR_STATUS: u32 = both_chips(0x50);
const PROGRAM: u32 = both_chips(0x40);
const ERASE: u32 = both_chips(0x20);
const CONFIRM: u32 = both_chips(0xD0);
const READY: u32 = both_chips(0x80);
/// The four error bits of the status: erase error, program error, voltage too low, block locked.
const ERROR_BITS: u32 = both_chips(0x20 | 0x10 | 0x08 | 0x02);

/// A range of erase blocks of the flash.
#[derive(Debug)]
pub struct CfiFlash {
    base: *mut u32,
    len: u32,
}

impl CfiFlash {
    /// Creates a driver for the bytes `range` of the two chips at the address `chips`.
    ///
    /// # Safety
    /// * `chips` must be the address of two chips with the Intel command set.
    /// * `range` must consist of whole erase blocks, and no other driver may use these blocks.
    /// * No other driver of the same chips may run an operation at the same time.
    /// * The processor must not execute code from the chips.
    ///
    /// # Errors
    /// Returns [`CfiError::NoFlash`] if the chips do not answer the CFI query.
    pub unsafe fn new(chips: usize, range: Range<u32>) -> Result<Self, CfiError> {
        let chips = ptr::with_exposed_provenance_mut::<u32>(chips);
        let flash = Self { base: chips, len: range.end };
        flash.command(0, QUERY);
        let answer = [0x40, 0x44, 0x48].map(|offset| flash.word(offset));
        flash.command(0, READ_ARRAY);
        // A chip in query mode answers with the letters "QRY".
        if answer != [both_chips(b'Q' as u16), both_chips(b'R' as u16), both_chips(b'Y' as u16)] {
            return Err(CfiError::NoFlash);
        }
        Ok(Self { base: chips.wrapping_byte_add(range.start as usize), len: range.end.saturating_sub(range.start) })
    }

    fn address(&self, offset: u32) -> *mut u32 {
        self.base.wrapping_byte_add((offset & !3) as usize)
    }

    fn word(&self, offset: u32) -> u32 {
        // SAFETY: the caller has checked `offset` against `len`, and `new` requires that this range is flash. A read of
        // the flash has no side effect.
        unsafe { self.address(offset).read_volatile() }
    }

    fn command(&self, offset: u32, word: u32) {
        // SAFETY: the address is valid, as in `word`. A write to the flash is a command to the chips, and `new`
        // requires that no other driver sends commands at the same time.
        unsafe { self.address(offset).write_volatile(word) };
    }

    fn wait(&self, offset: u32) -> Result<(), CfiError> {
        loop {
            let status = self.word(offset);
            if status & READY == READY {
                if status & ERROR_BITS == 0 {
                    return Ok(());
                }
                self.command(offset, CLEAR_STATUS);
                return Err(CfiError::OperationFailed);
            }
        }
    }

    fn check(&self, offset: u32, len: usize) -> Result<(), CfiError> {
        let end = u32::try_from(len).ok().and_then(|len| offset.checked_add(len));
        if end.is_some_and(|end| end <= self.len) { Ok(()) } else { Err(CfiError::OutOfBounds) }
    }
}

impl ErrorType for CfiFlash {
    type Error = CfiError;
}

impl ReadNorFlash for CfiFlash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), CfiError> {
        self.check(offset, bytes.len())?;
        for (at, byte) in (offset..).zip(bytes) {
            let [a, b, c, d] = self.word(at).to_le_bytes();
            *byte = match at % 4 {
                0 => a,
                1 => b,
                2 => c,
                _ => d,
            };
        }
        Ok(())
    }
    fn capacity(&self) -> usize {
        self.len as usize
    }
}

impl NorFlash for CfiFlash {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = BLOCK as usize;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), CfiError> {
        self.check(from, to.saturating_sub(from) as usize)?;
        let mut result = Ok(());
        let mut block = from;
        while block < to && result.is_ok() {
            self.command(block, ERASE);
            self.command(block, CONFIRM);
            result = self.wait(block);
            block += BLOCK;
        }
        self.command(from, READ_ARRAY);
        result
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), CfiError> {
        self.check(offset, bytes.len())?;
        let (words, remainder) = bytes.as_chunks::<4>();
        if !offset.is_multiple_of(4) || !remainder.is_empty() {
            return Err(CfiError::NotAligned);
        }
        let mut result = Ok(());
        for (at, word) in (offset..).step_by(4).zip(words) {
            self.command(at, PROGRAM);
            self.command(at, u32::from_le_bytes(*word));
            result = self.wait(at);
            if result.is_err() {
                break;
            }
        }
        self.command(offset, READ_ARRAY);
        result
    }
}

/// The reason why a flash operation failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CfiError {
    /// There is no flash with the Intel command set at the given address.
    NoFlash,
    /// A chip set an error bit in its status after an erase or program operation.
    OperationFailed,
    /// The offset or the length of a write is not a multiple of 4 bytes.
    NotAligned,
    /// The range exceeds the size of the flash.
    OutOfBounds,
}

impl NorFlashError for CfiError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            CfiError::NotAligned => NorFlashErrorKind::NotAligned,
            CfiError::OutOfBounds => NorFlashErrorKind::OutOfBounds,
            CfiError::NoFlash | CfiError::OperationFailed => NorFlashErrorKind::Other,
        }
    }
}
