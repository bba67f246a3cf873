//! The units of a flash and the number of slots, which are known at compile time or at run time.

use super::region::to_u32;
use core::fmt::Debug;
use embedded_storage::nor_flash::NorFlash;

/// The units of the flash driver `F`, and the number of slots. [`OfDriver`] takes the constants of the driver, so a
/// program contains no code for other units. [`RunTimeGeometry`] contains the numbers, for a driver that learns them when the
/// program runs.
pub trait Geometry<F>: Copy + Debug {
    /// Returns the size of the read unit, in bytes.
    fn read_size(&self) -> usize;
    /// Returns the size of the write granule, in bytes.
    fn write_size(&self) -> usize;
    /// Returns the size of the erase block, in bytes.
    fn erase_size(&self) -> u32;
    /// Returns the number of slots. `table` is the number of slots for which the store has room.
    fn slots(&self, table: usize) -> usize;

    /// Returns the number of bytes of each slot that the driver needs for itself.
    #[inline(always)]
    fn reserved(&self) -> u32 {
        0
    }

    /// Returns the unit of all writes: the larger one of the write granule and the read unit. A part that does not fill
    /// its last unit is filled with zeros. Therefore every read unit with data was written completely. Some flashes
    /// return an error for a read of an erased unit.
    #[inline(always)]
    fn unit(&self) -> usize {
        self.write_size().max(self.read_size()).max(1)
    }
}

/// The units are the constants of the driver, and all slots of the store are used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OfDriver;

impl<F: NorFlash> Geometry<F> for OfDriver {
    #[inline(always)]
    fn read_size(&self) -> usize {
        F::READ_SIZE
    }
    #[inline(always)]
    fn write_size(&self) -> usize {
        F::WRITE_SIZE
    }
    #[inline(always)]
    fn erase_size(&self) -> u32 {
        to_u32(F::ERASE_SIZE)
    }
    #[inline(always)]
    fn slots(&self, table: usize) -> usize {
        table
    }
}

/// Units and a number of slots that are known at run time. The constants of the driver are ignored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RunTimeGeometry {
    /// The size of the read unit, in bytes.
    pub read_size: u32,
    /// The size of the write granule, in bytes.
    pub write_size: u32,
    /// The size of the erase block, in bytes.
    pub erase_size: u32,
    /// The number of slots.
    pub slots: u32,
    /// The number of bytes of each slot that the driver needs for itself: 0 for a flash.
    pub reserved: u32,
}

impl<F> Geometry<F> for RunTimeGeometry {
    fn read_size(&self) -> usize {
        self.read_size as usize
    }
    fn write_size(&self) -> usize {
        self.write_size as usize
    }
    fn erase_size(&self) -> u32 {
        self.erase_size
    }
    fn slots(&self, _: usize) -> usize {
        self.slots as usize
    }
    fn reserved(&self) -> u32 {
        self.reserved
    }
}
