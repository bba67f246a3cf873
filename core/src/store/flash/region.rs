//! Checks whether a region of a flash can be divided into slots of equal size.

use super::Geometry;
use super::layout::{MAX_GRANULE, MAX_SLOT, MAX_SLOTS, STREAM_OFFSET};
use core::fmt;
use core::ops::Range;

/// The minimum room for a checkpoint in a slot, in bytes. Every checkpoint is longer, so a smaller slot is an error.
const MIN_STREAM_LEN: u32 = 8;

/// Converts a size or an index to `u32`. This type is large enough, because flash addresses have 32 bits.
pub(super) fn to_u32(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Checks the region of a flash, and returns the size of a slot in bytes.
///
/// `table` is the number of slots for which the store has room.
pub(super) fn slot_size<F, G: Geometry<F>>(
    geometry: &G,
    capacity: usize,
    region: &Range<u32>,
    table: usize,
) -> Result<u32, RegionError> {
    let (read, write, erase) = (geometry.read_size(), geometry.write_size(), geometry.erase_size());
    let slots = geometry.slots(table);
    let divides = |divisor: usize, size: usize| divisor > 0 && size.is_multiple_of(divisor);
    let supported =
        divides(write, MAX_GRANULE) && divides(read, MAX_GRANULE) && divides(write.max(read), erase as usize);
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
    if slot > MAX_SLOT || slots > MAX_SLOTS.min(table) {
        return Err(RegionError::TooLarge { slot, slots });
    }
    if slot < geometry.reserved().saturating_add(STREAM_OFFSET + MIN_STREAM_LEN) {
        return Err(RegionError::TooSmall { slot });
    }
    Ok(slot)
}

/// The reason why a region of the flash cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum RegionError {
    /// The flash is not supported. The size of its read unit and the size of its write granule must be 1, 2, 4, 8, 16
    /// or 32 bytes. The size of its erase block must be a multiple of both.
    Geometry {
        /// The size of the read unit, in bytes.
        read: usize,
        /// The size of the write granule, in bytes.
        write: usize,
        /// The size of the erase block, in bytes.
        erase: u32,
    },
    /// The store has fewer than two slots. A store needs at least one slot for the new checkpoint and one for the
    /// previous checkpoint.
    TooFewSlots,
    /// The region is empty or exceeds the flash.
    OutOfBounds {
        /// The size of the flash, in bytes.
        capacity: usize,
    },
    /// The region does not start at the start of an erase block, or it cannot be divided into equal slots of whole
    /// erase blocks.
    NotAligned {
        /// The size of the erase block, in bytes.
        erase: u32,
        /// The number of slots.
        slots: usize,
    },
    /// A slot has 16 MiB or more, or the region has more than 256 slots, or more slots than the store has room for.
    TooLarge {
        /// The size of a slot, in bytes.
        slot: u32,
        /// The number of slots.
        slots: usize,
    },
    /// The region contains a checkpoint that was saved with another division into slots: with another start of the region
    /// or another number of slots. The store cannot see such checkpoints and would overwrite them. Open the region as
    /// before, or erase it with [`Slots::erase_region`](super::Slots::erase_region).
    OtherLayout {
        /// The address of the checkpoint in the flash.
        address: u32,
        /// The size of a slot when the checkpoint was saved, in bytes.
        slot: u32,
        /// The index of its slot when the checkpoint was saved.
        index: u8,
        /// The number of slots when the checkpoint was saved.
        slots: u16,
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
            RegionError::TooLarge { slot, slots } => {
                write!(
                    f,
                    "{slots} slots of {slot} bytes are too many or too large: at most 256 slots below 16 MiB each"
                )
            }
            RegionError::OtherLayout { address, slot, index, slots } => write!(
                f,
                "the region contains a checkpoint of another division into slots: at address {address:#x}, saved in slot \
                 {index} of {slots} slots of {slot} bytes; open the region as before, or erase it with `Slots::erase_region`"
            ),
            RegionError::TooSmall { slot } => write!(f, "a slot of {slot} bytes is too small for a checkpoint"),
        }
    }
}

impl core::error::Error for RegionError {}
