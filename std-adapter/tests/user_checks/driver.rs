//! A flash driver with deliberate mistakes that the check must find.

use training_monitor::embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};

/// A mistake of the driver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mistake {
    None,
    /// A write also programs the next granule.
    ProgramsNextGranule,
    /// A write of several granules programs only the first.
    ProgramsOneGranule,
    /// A write wraps at the end of a page of 256 bytes, as a serial flash does.
    WrapsAtPage,
    /// A write of a granule at an odd position does nothing.
    SkipsOddGranules,
    /// An erase also erases the next block.
    ErasesNextBlock,
    /// An erase leaves the second half of the block.
    ErasesHalf,
    /// An erase of several blocks erases only the first.
    ErasesOneBlock,
    /// An erase does nothing.
    ErasesNothing,
    /// A read returns at most 64 bytes.
    ReadsAtMost64,
    /// A read starts at a multiple of 16 bytes.
    ReadsAlignedTo16,
    /// Reads across the end of a block return its start again.
    WrapsAtBlock,
    /// The highest address bit is not connected.
    MirrorsAddresses,
    /// The driver does not check alignments.
    AcceptsUnaligned,
    /// The driver does not check the bounds of reads.
    AcceptsOutOfBounds,
    /// An unaligned write is an error, but programs the granule.
    ProgramsBeforeCheck,
    /// Every second read fails.
    FailsSometimes,
}

const BLOCK: usize = 512;
const CAPACITY: usize = 8 * BLOCK;

/// A flash with granules of 4 bytes, read units of 2 bytes and blocks of 512 bytes.
pub struct Driver {
    bytes: [u8; CAPACITY],
    mistake: Mistake,
    reads: u32,
}

impl Driver {
    pub fn new(mistake: Mistake) -> Self {
        Driver { bytes: [0xA5; CAPACITY], mistake, reads: 0 }
    }

    fn program(&mut self, at: usize, data: &[u8]) {
        for (index, byte) in data.iter().enumerate() {
            let mut address = at + index;
            if self.mistake == Mistake::WrapsAtPage {
                address = at / 256 * 256 + address % 256;
            }
            self.bytes[self.cell(address)] &= byte;
        }
    }

    fn cell(&self, address: usize) -> usize {
        if self.mistake == Mistake::MirrorsAddresses { address % (CAPACITY / 2) } else { address }
    }
}

impl ErrorType for Driver {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Driver {
    const READ_SIZE: usize = 2;

    fn read(&mut self, offset: u32, into: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        match check_read(self, offset, into.len()) {
            Err(NorFlashErrorKind::NotAligned) if self.mistake == Mistake::AcceptsUnaligned => (),
            Err(NorFlashErrorKind::OutOfBounds) if self.mistake == Mistake::AcceptsOutOfBounds => return Ok(()),
            result => result?,
        }
        self.reads += 1;
        if self.mistake == Mistake::FailsSometimes && self.reads.is_multiple_of(2) {
            return Err(NorFlashErrorKind::Other);
        }
        let at = offset as usize;
        for (index, byte) in into.iter_mut().enumerate() {
            let address = match self.mistake {
                Mistake::ReadsAtMost64 if index >= 64 => break,
                Mistake::ReadsAlignedTo16 => at / 16 * 16 + index,
                Mistake::WrapsAtBlock => at / BLOCK * BLOCK + (at + index) % BLOCK,
                _ => at + index,
            };
            *byte = self.bytes[self.cell(address)];
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        CAPACITY
    }
}

impl NorFlash for Driver {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = BLOCK;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        check_erase(self, from, to)?;
        let (from, mut to) = (from as usize, to as usize);
        match self.mistake {
            Mistake::ErasesNextBlock => to = (to + BLOCK).min(CAPACITY),
            Mistake::ErasesHalf => to -= BLOCK / 2,
            Mistake::ErasesOneBlock => to = from + BLOCK,
            Mistake::ErasesNothing => to = from,
            _ => (),
        }
        (from..to).for_each(|address| self.bytes[self.cell(address)] = 0xFF);
        Ok(())
    }

    fn write(&mut self, offset: u32, data: &[u8]) -> Result<(), NorFlashErrorKind> {
        let at = offset as usize;
        if self.mistake == Mistake::ProgramsBeforeCheck && at + data.len() <= CAPACITY {
            self.program(at, data);
        }
        check_write(self, offset, data.len())?;
        match self.mistake {
            Mistake::ProgramsBeforeCheck => (),
            Mistake::ProgramsOneGranule => self.program(at, &data[..4]),
            Mistake::SkipsOddGranules if data.len() == 4 && at / 4 % 2 == 1 => (),
            Mistake::ProgramsNextGranule => {
                self.program(at, data);
                if at + data.len() < CAPACITY {
                    self.program(at + data.len(), &data[..4]);
                }
            }
            _ => self.program(at, data),
        }
        Ok(())
    }
}
