//! A driver for parallel NOR flash with the Intel command set (CFI 0001): two 16-bit chips side by side, so that every
//! command and every status goes to both halves of a 32-bit word.
//!
//! It erases blocks and programs words, waits for each, and leaves the chips in the state in which they can be read.
//! That a word is programmed once is enforced by `WriteOnce` around it.

use core::ops::Range;
use core::ptr;
use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};

/// Bytes of an erase block, of both chips together.
pub const BLOCK: u32 = 256 * 1024;

/// The same for both chips.
const fn both(half: u16) -> u32 {
    (half as u32) << 16 | half as u32
}

const READ_ARRAY: u32 = both(0xFF);
const QUERY: u32 = both(0x98);
const CLEAR_STATUS: u32 = both(0x50);
const PROGRAM: u32 = both(0x40);
const ERASE: u32 = both(0x20);
const CONFIRM: u32 = both(0xD0);
const READY: u32 = both(0x80);
/// Erase failed, program failed, voltage too low, block locked.
const FAILED: u32 = both(0x20 | 0x10 | 0x08 | 0x02);

/// Some blocks of a flash.
#[derive(Debug)]
pub struct CfiFlash {
    base: *mut u32,
    len: u32,
}

impl CfiFlash {
    /// The bytes `range` of the chips at `chips`.
    ///
    /// # Safety
    /// `chips` is the address of two chips as above, `range` is of whole blocks of them and this driver's alone, no other
    /// driver of the same chips is at work while this one is, and nothing runs from them.
    ///
    /// # Errors
    /// [`CfiError::NoFlash`] when nothing answers the query.
    pub unsafe fn new(chips: usize, range: Range<u32>) -> Result<Self, CfiError> {
        let chips = ptr::with_exposed_provenance_mut::<u32>(chips);
        let all = Self { base: chips, len: range.end };
        all.command(0, QUERY);
        let answer = [0x40, 0x44, 0x48].map(|offset| all.word(offset));
        all.command(0, READ_ARRAY);
        // "QRY", from both chips.
        if answer != [both(b'Q' as u16), both(b'R' as u16), both(b'Y' as u16)] {
            return Err(CfiError::NoFlash);
        }
        Ok(Self { base: chips.wrapping_byte_add(range.start as usize), len: range.end.saturating_sub(range.start) })
    }

    fn address(&self, offset: u32) -> *mut u32 {
        self.base.wrapping_byte_add((offset & !3) as usize)
    }

    fn word(&self, offset: u32) -> u32 {
        // SAFETY: `offset` was checked against `len`, all of which is flash (`new`); reading it changes nothing.
        unsafe { self.address(offset).read_volatile() }
    }

    fn command(&self, offset: u32, word: u32) {
        // SAFETY: as in `word`; a write to flash is a command, and this driver is its only sender.
        unsafe { self.address(offset).write_volatile(word) };
    }

    fn wait(&self, offset: u32) -> Result<(), CfiError> {
        loop {
            let status = self.word(offset);
            if status & READY == READY {
                if status & FAILED == 0 {
                    return Ok(());
                }
                self.command(offset, CLEAR_STATUS);
                return Err(CfiError::Failed);
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
        let (words, rest) = bytes.as_chunks::<4>();
        if !offset.is_multiple_of(4) || !rest.is_empty() {
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

/// Why the flash did not do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CfiError {
    /// Nothing there answers as such a flash does.
    NoFlash,
    /// The chips say that an erase or a program failed.
    Failed,
    /// Not on a word.
    NotAligned,
    /// Beyond the end.
    OutOfBounds,
}

impl NorFlashError for CfiError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            CfiError::NotAligned => NorFlashErrorKind::NotAligned,
            CfiError::OutOfBounds => NorFlashErrorKind::OutOfBounds,
            CfiError::NoFlash | CfiError::Failed => NorFlashErrorKind::Other,
        }
    }
}
