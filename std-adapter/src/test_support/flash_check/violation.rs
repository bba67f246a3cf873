//! What [`check_nor_flash`](super::check_nor_flash) reports.

use crate::test_support::driver::Access;
use core::fmt;
use training_monitor::embedded_storage::nor_flash::NorFlashErrorKind;

/// A property of a flash driver on which [`Slots`](training_monitor::store::flash::Slots) relies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FlashRule {
    /// `READ_SIZE` and `WRITE_SIZE` divide 32, `ERASE_SIZE` is a multiple of both, and the capacity is a multiple of
    /// `ERASE_SIZE`.
    Geometry,
    /// The region consists of at least two whole erase blocks inside the flash. A violation is a mistake of the caller.
    Region,
    /// A call with aligned arguments inside the region succeeds.
    Succeeds,
    /// Programmed bytes are read back, for all starts and lengths of the write and of the read.
    ReadsBack,
    /// Programming a write granule changes no other granule.
    ProgramsOneGranule,
    /// An erased block can be programmed with any data.
    Erases,
    /// An erase changes no other block.
    ErasesOneBlock,
    /// Each address has its own memory cells.
    DistinctAddresses,
    /// A call with an address or a length that is not aligned is an error, and changes nothing.
    RefusesUnaligned,
    /// A read beyond the capacity is an error.
    RefusesOutOfBounds,
}

impl fmt::Display for FlashRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FlashRule::Geometry => {
                "READ_SIZE and WRITE_SIZE divide 32, and ERASE_SIZE is a multiple of both and divides the capacity"
            }
            FlashRule::Region => "the region for the check consists of at least two whole erase blocks of the flash",
            FlashRule::Succeeds => "a call with aligned arguments inside the flash succeeds",
            FlashRule::ReadsBack => "programmed bytes are read back",
            FlashRule::ProgramsOneGranule => "programming a write granule changes no other granule",
            FlashRule::Erases => "an erased block can be programmed with any data",
            FlashRule::ErasesOneBlock => "an erase changes no other block",
            FlashRule::DistinctAddresses => "each address has its own memory cells",
            FlashRule::RefusesUnaligned => "an unaligned call is an error and changes nothing",
            FlashRule::RefusesOutOfBounds => "a read beyond the capacity is an error",
        })
    }
}

/// A byte that has not the value that was programmed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WrongByte {
    /// The address of the byte.
    pub address: u32,
    /// The value that was programmed.
    pub expected: u8,
    /// The value that was read.
    pub found: u8,
}

/// A mistake of a flash driver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlashViolation {
    /// The rule that the driver violates.
    pub rule: FlashRule,
    /// The call that shows the violation.
    pub access: Option<Access>,
    /// The error of the call, if it failed.
    pub error: Option<NorFlashErrorKind>,
    /// The byte that the call read, if its value is wrong.
    pub wrong_byte: Option<WrongByte>,
}

impl fmt::Display for FlashViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the flash driver violates the rule \"{}\"", self.rule)?;
        match self.access {
            Some(Access::Read { at, len }) => write!(f, ": a read of {len} bytes at address {at:#x}")?,
            Some(Access::Write { at, len }) => write!(f, ": a write of {len} bytes at address {at:#x}")?,
            Some(Access::Erase { from, to }) => write!(f, ": an erase from address {from:#x} to {to:#x}")?,
            None => (),
        }
        if let Some(WrongByte { address, expected, found }) = self.wrong_byte {
            write!(f, " returned {found:#04x} for address {address:#x}, expected {expected:#04x}")?;
        } else if let Some(error) = self.error {
            write!(f, " failed: {error}")?;
        } else if self.access.is_some() {
            f.write_str(" succeeded, expected an error")?;
        }
        Ok(())
    }
}

impl core::error::Error for FlashViolation {}
