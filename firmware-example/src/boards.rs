//! The flash geometry and the checkpoint regions of each board.
//!
//! The firmware of a board and the host program that reads the board's flash image use the same numbers.
//!
//! | board | erase block | write granule | checkpoint slot |
//! | --- | --- | --- | --- |
//! | M4F | 2 KiB | 8 bytes | 24 KiB, for the network 64-32-10 |
//! | M0 | 1 KiB | 4 bytes | 8 KiB, for the network 64-10-10 |
//! | RV32 | 256 KiB | 4 bytes | 256 KiB |
//!
//! M4F has the flash geometry of an STM32L4 and M0 that of an nRF51. RV32 has the geometry of the NOR flash that QEMU
//! emulates.
//!
//! ```
//! use digits_workload::boards::{M0, Region};
//!
//! assert_eq!(M0.range(Region::Latest), 0..16 * 1024);
//! assert_eq!(M0.range(Region::Best), 16 * 1024..40 * 1024);
//! ```

use core::ops::Range;

/// A board's name, its flash geometry, and the size of its checkpoint slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Board {
    /// Short name of the board, used in file names and in the tables of numbers.
    pub name: &'static str,
    /// Size of an erase block in bytes.
    pub erase_size: usize,
    /// Size of a write granule in bytes: the smallest unit that the flash programs.
    pub write_size: usize,
    /// Size of a checkpoint slot in bytes.
    pub slot_size: u32,
}

/// The Cortex-M4F board.
pub const M4F: Board = Board { name: "m4f", erase_size: 2048, write_size: 8, slot_size: 24 * 1024 };
/// The Cortex-M0 board.
pub const M0: Board = Board { name: "m0", erase_size: 1024, write_size: 4, slot_size: 8 * 1024 };
/// The RV32IMC board.
pub const RV32: Board = Board { name: "rv32", erase_size: 256 * 1024, write_size: 4, slot_size: 256 * 1024 };

/// One of the two flash regions of a board. Each region holds the slots of one checkpoint series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Region {
    /// Slots for the latest checkpoint.
    Latest,
    /// Slots for the best checkpoints.
    Best,
}

/// Number of slots in [`Region::Latest`]: one for the checkpoint that is kept and one for the next save.
pub const LATEST_SLOTS: usize = 2;
/// Number of slots in [`Region::Best`]: one for each checkpoint that is kept and one for the next save.
pub const BEST_SLOTS: usize = crate::monitored::N_BEST + 1;

impl Board {
    /// Byte range of `region`, counted from the first byte that the board reserves for checkpoints.
    pub const fn range(&self, region: Region) -> Range<u32> {
        let middle = LATEST_SLOTS as u32 * self.slot_size;
        match region {
            Region::Latest => 0..middle,
            Region::Best => middle..middle + BEST_SLOTS as u32 * self.slot_size,
        }
    }

    /// Size of both regions together in bytes.
    pub const fn capacity(&self) -> u32 {
        self.range(Region::Best).end
    }
}
