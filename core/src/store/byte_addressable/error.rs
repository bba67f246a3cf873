//! The errors of saving and reading checkpoints in byte-addressable memory.

use super::flash_view::ViewError;
use crate::store::flash::SlotsError;
use core::fmt;
use embedded_io::ErrorKind;

/// Why a checkpoint could not be saved or read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ByteSlotsError<E> {
    /// The error of the driver of the memory.
    Memory(E),
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
    /// The bytes that were read back from the memory are not the bytes that were written. The checkpoint is not
    /// committed.
    VerifyFailed,
}

impl<E> ByteSlotsError<E> {
    /// Converts the error of the flash store.
    pub(super) fn from_slots(error: SlotsError<ViewError<E>>) -> Self {
        match error {
            SlotsError::Flash(ViewError::Memory(error)) => ByteSlotsError::Memory(error),
            SlotsError::TooLong { len, max } => ByteSlotsError::TooLong { len, max },
            SlotsError::Full => ByteSlotsError::Full,
            SlotsError::NotFound => ByteSlotsError::NotFound,
            SlotsError::Incomplete => ByteSlotsError::Incomplete,
            // Only a hostile record has a stream that is outside its slot. Opening does not list it.
            SlotsError::VerifyFailed | SlotsError::Flash(ViewError::OutsideSlot) => ByteSlotsError::VerifyFailed,
        }
    }
}

impl<E: fmt::Debug> fmt::Display for ByteSlotsError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The error type of a driver need not implement `Display`, so the error is printed with `Debug`.
            ByteSlotsError::Memory(error) => write!(f, "the driver of the memory failed: {error:?}"),
            ByteSlotsError::TooLong { len, max } => {
                write!(f, "the checkpoint has {len} bytes, but a slot has room for {max}")
            }
            ByteSlotsError::Full => {
                f.write_str("every slot contains a kept checkpoint; the region needs n_saved + 1 slots")
            }
            ByteSlotsError::NotFound => f.write_str("no slot contains the checkpoint"),
            ByteSlotsError::Incomplete => {
                f.write_str("the checkpoint was committed before its whole stream was written")
            }
            ByteSlotsError::VerifyFailed => f.write_str("the memory does not contain the bytes that were written"),
        }
    }
}

impl<E: fmt::Debug> core::error::Error for ByteSlotsError<E> {}

impl<E: fmt::Debug> embedded_io::Error for ByteSlotsError<E> {
    fn kind(&self) -> ErrorKind {
        match self {
            ByteSlotsError::Memory(_) => ErrorKind::Other,
            ByteSlotsError::TooLong { .. } | ByteSlotsError::Full => ErrorKind::OutOfMemory,
            ByteSlotsError::NotFound => ErrorKind::NotFound,
            ByteSlotsError::Incomplete => ErrorKind::InvalidInput,
            ByteSlotsError::VerifyFailed => ErrorKind::InvalidData,
        }
    }
}

/// Why a region could not be erased.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum EraseError<E> {
    /// The region is empty or exceeds the memory.
    OutOfBounds {
        /// The size of the memory, in bytes.
        capacity: usize,
    },
    /// The error of the driver of the memory.
    Memory(E),
}

impl<E: fmt::Debug> fmt::Display for EraseError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EraseError::OutOfBounds { capacity } => {
                write!(f, "the region is empty or exceeds the memory of {capacity} bytes")
            }
            EraseError::Memory(error) => write!(f, "the driver of the memory failed: {error:?}"),
        }
    }
}

impl<E: fmt::Debug> core::error::Error for EraseError<E> {}
