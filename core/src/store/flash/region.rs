//! The region of a flash that the slots use, and the checks of its geometry.

use super::layout::{MAX_GRANULE, STREAM_OFFSET};
use core::fmt;
use core::ops::Range;
use embedded_storage::nor_flash::NorFlash;

/// The smallest slot has room for this many bytes of a stream; every checkpoint is longer.
const MIN_STREAM_LEN: u32 = 8;

/// Converts a size or an index to 32 bits, which are enough for flash addresses.
pub(super) fn to_u32(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// The size of each of `slots` slots in `region`, in bytes.
pub(super) fn slot_size<F: NorFlash>(capacity: usize, region: &Range<u32>, slots: usize) -> Result<u32, RegionError> {
    let (read, write, erase) = (F::READ_SIZE, F::WRITE_SIZE, to_u32(F::ERASE_SIZE));
    let divides = |divisor: usize, size: usize| divisor > 0 && size.is_multiple_of(divisor);
    let supported =
        divides(write, MAX_GRANULE) && divides(read, MAX_GRANULE) && divides(write.max(read), F::ERASE_SIZE);
    if !supported || erase == 0 {
        return Err(RegionError::Geometry { read, write, erase });
    }
    if slots < 2 {
        return Err(RegionError::TooFewSlots);
    }
    if region.end as usize > capacity || region.start >= region.end {
        return Err(RegionError::OutOfBounds { capacity });
    }
    let len = region.end - region.start;
    let slot = len.checked_div(to_u32(slots)).unwrap_or(0);
    let aligned = region.start.is_multiple_of(erase) && slot.is_multiple_of(erase);
    if !aligned || slot.checked_mul(to_u32(slots)) != Some(len) {
        return Err(RegionError::NotAligned { erase, slots });
    }
    if slot < STREAM_OFFSET + MIN_STREAM_LEN {
        return Err(RegionError::TooSmall { slot });
    }
    Ok(slot)
}

/// Why a region cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum RegionError {
    /// The geometry of the flash is not supported. Read unit and write granule must divide 32 bytes, and the erase block
    /// must be a multiple of both.
    Geometry {
        /// The read unit, in bytes.
        read: usize,
        /// The write granule, in bytes.
        write: usize,
        /// The erase block, in bytes.
        erase: u32,
    },
    /// There are fewer than two slots. One slot is being written while the others keep checkpoints.
    TooFewSlots,
    /// The region is empty or exceeds the flash.
    OutOfBounds {
        /// The size of the flash, in bytes.
        capacity: usize,
    },
    /// The region does not start at an erase block, or cannot be divided into slots of whole erase blocks.
    NotAligned {
        /// The erase block, in bytes.
        erase: u32,
        /// The number of slots.
        slots: usize,
    },
    /// A slot is too small for a checkpoint.
    TooSmall {
        /// The size of a slot, in bytes.
        slot: u32,
    },
}

impl fmt::Display for RegionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RegionError::Geometry { read, write, erase } => write!(
                f,
                "flash with a read unit of {read} bytes, a write granule of {write} bytes and an erase block of {erase} \
                 bytes is not supported: read unit and write granule must divide 32 bytes and the erase block"
            ),
            RegionError::TooFewSlots => f.write_str("the flash store needs at least two slots"),
            RegionError::OutOfBounds { capacity } => {
                write!(f, "the region is empty or exceeds the flash of {capacity} bytes")
            }
            RegionError::NotAligned { erase, slots } => {
                write!(f, "the region cannot be divided into {slots} slots of whole erase blocks of {erase} bytes")
            }
            RegionError::TooSmall { slot } => write!(f, "a slot of {slot} bytes is too small for a checkpoint"),
        }
    }
}

impl core::error::Error for RegionError {}
