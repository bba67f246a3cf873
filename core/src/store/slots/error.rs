//! What can go wrong: the region when it is taken, the flash and the length later.

use super::record::{MAX_GRANULE, STREAM_AT};
use core::fmt;
use core::ops::Range;
use embedded_io::ErrorKind;
use embedded_storage::nor_flash::{NorFlash, NorFlashError, NorFlashErrorKind};

/// Sizes on a flash have 32 bits, as its addresses do.
pub(super) fn size(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Bytes of each of `slots` slots in `region`.
pub(super) fn slot_size<F: NorFlash>(capacity: usize, region: &Range<u32>, slots: usize) -> Result<u32, RegionError> {
    let (read, write, erase) = (F::READ_SIZE, F::WRITE_SIZE, size(F::ERASE_SIZE));
    let fits = |inner: usize, outer: usize| inner > 0 && outer.is_multiple_of(inner);
    if !fits(write, MAX_GRANULE) || !fits(read, MAX_GRANULE) || !fits(write.max(read), F::ERASE_SIZE) || erase == 0 {
        return Err(RegionError::Flash { read, write, erase });
    }
    if slots < 2 {
        return Err(RegionError::TooFewSlots);
    }
    if region.end as usize > capacity || region.start >= region.end {
        return Err(RegionError::OutOfBounds { capacity });
    }
    let len = region.end - region.start;
    let slot = len.checked_div(size(slots)).unwrap_or(0);
    if !region.start.is_multiple_of(erase) || !slot.is_multiple_of(erase) || slot.checked_mul(size(slots)) != Some(len)
    {
        return Err(RegionError::NotAligned { erase, slots });
    }
    // An empty checkpoint has more than 8 bytes.
    if slot < STREAM_AT + 8 {
        return Err(RegionError::TooSmall { slot });
    }
    Ok(slot)
}

/// Why a region cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum RegionError {
    /// The flash reads or writes in units that do not divide 32 bytes, or erases in units that are not whole ones of
    /// these.
    Flash {
        /// Its read unit.
        read: usize,
        /// Its write granule.
        write: usize,
        /// Its erase block.
        erase: u32,
    },
    /// One slot is always being written: there must be two at least.
    TooFewSlots,
    /// The region is empty or not on the flash.
    OutOfBounds {
        /// Bytes of the flash.
        capacity: usize,
    },
    /// The region does not begin at an erase block, or is not so many slots of whole erase blocks.
    NotAligned {
        /// Bytes of an erase block.
        erase: u32,
        /// How many slots.
        slots: usize,
    },
    /// A slot has no room for a checkpoint.
    TooSmall {
        /// Bytes of a slot.
        slot: u32,
    },
}

impl fmt::Display for RegionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RegionError::Flash { read, write, erase } => {
                write!(f, "a flash that reads {read}, writes {write} and erases {erase} bytes is not supported")
            }
            RegionError::TooFewSlots => f.write_str("two slots are needed at least"),
            RegionError::OutOfBounds { capacity } => write!(f, "the region is not on a flash of {capacity} bytes"),
            RegionError::NotAligned { erase, slots } => {
                write!(f, "the region is not {slots} slots of whole erase blocks of {erase} bytes")
            }
            RegionError::TooSmall { slot } => write!(f, "a slot of {slot} bytes has no room for a checkpoint"),
        }
    }
}

impl core::error::Error for RegionError {}

/// Why a checkpoint could not be saved or read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum SlotsError<E> {
    /// The flash's own error.
    Flash(E),
    /// The stream is longer than a slot has room, or than was announced.
    TooLong {
        /// Bytes of the stream.
        len: u32,
        /// Bytes that fit.
        room: u32,
    },
    /// Every slot holds a checkpoint that is kept: one more than `n_saved` is needed.
    Full,
    /// There is no such checkpoint.
    NotFound,
    /// A commit without all of its stream.
    Incomplete,
    /// What was written does not read as it should, and is not committed.
    Unreadable,
}

impl<E: fmt::Debug> fmt::Display for SlotsError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Errors of flash drivers need not have a text of their own.
            SlotsError::Flash(error) => write!(f, "the flash failed: {error:?}"),
            SlotsError::TooLong { len, room } => write!(f, "the checkpoint has {len} bytes, there is room for {room}"),
            SlotsError::Full => f.write_str("every slot holds a checkpoint that is kept"),
            SlotsError::NotFound => f.write_str("no such checkpoint"),
            SlotsError::Incomplete => f.write_str("the checkpoint was not written to its end"),
            SlotsError::Unreadable => f.write_str("the flash does not hold what was written"),
        }
    }
}

impl<E: fmt::Debug> core::error::Error for SlotsError<E> {}

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
            SlotsError::Unreadable => ErrorKind::InvalidData,
        }
    }
}
