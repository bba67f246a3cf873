//! The error type of saving and reading checkpoints in flash.

use super::RegionError;
use core::fmt;
use embedded_io::ErrorKind;
use embedded_storage::nor_flash::{NorFlashError, NorFlashErrorKind};

/// Why a checkpoint could not be saved or read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum SlotsError<E> {
    /// The error of the flash driver.
    Flash(E),
    /// The checkpoint is too long for a slot, or longer than the length that was passed
    /// to [`create`](crate::store::Store::create).
    TooLong {
        /// The length of the checkpoint, in bytes.
        len: u32,
        /// The maximum length, in bytes.
        max: u32,
    },
    /// No slot is free. To keep `n_saved` checkpoints, the store needs `n_saved + 1` slots.
    Full,
    /// The checkpoint does not exist.
    NotFound,
    /// The checkpoint was committed before all its bytes were written.
    Incomplete,
    /// The bytes that were read back from the flash are not the bytes that were written. The checkpoint is not
    /// committed.
    VerifyFailed,
}

impl<E: fmt::Debug> fmt::Display for SlotsError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The error type of a flash driver need not implement `Display`, so the error is printed with `Debug`.
            SlotsError::Flash(error) => write!(f, "the flash driver failed: {error:?}"),
            SlotsError::TooLong { len, max } => {
                write!(f, "the checkpoint has {len} bytes, but a slot has room for {max}")
            }
            SlotsError::Full => {
                f.write_str("every slot contains a kept checkpoint; the region needs n_saved + 1 slots")
            }
            SlotsError::NotFound => f.write_str("no slot contains the checkpoint"),
            SlotsError::Incomplete => f.write_str("the checkpoint was committed before its whole stream was written"),
            SlotsError::VerifyFailed => f.write_str("the flash does not contain the bytes that were written"),
        }
    }
}

impl<E: fmt::Debug> core::error::Error for SlotsError<E> {}

/// Why a region could not be erased.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum EraseError<E> {
    /// The region cannot be divided into the slots of the store.
    Region(RegionError),
    /// The error of the flash driver.
    Flash(E),
}

impl<E: fmt::Debug> fmt::Display for EraseError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EraseError::Region(error) => error.fmt(f),
            EraseError::Flash(error) => write!(f, "the flash driver failed: {error:?}"),
        }
    }
}

impl<E: fmt::Debug> core::error::Error for EraseError<E> {}

impl<E: NorFlashError> embedded_io::Error for SlotsError<E> {
    fn kind(&self) -> ErrorKind {
        match self {
            SlotsError::Flash(error) => match error.kind() {
                NorFlashErrorKind::NotAligned | NorFlashErrorKind::OutOfBounds => ErrorKind::InvalidInput,
                _ => ErrorKind::Other,
            },
            SlotsError::TooLong { .. } | SlotsError::Full => ErrorKind::OutOfMemory,
            SlotsError::NotFound => ErrorKind::NotFound,
            SlotsError::Incomplete => ErrorKind::InvalidInput,
            SlotsError::VerifyFailed => ErrorKind::InvalidData,
        }
    }
}
