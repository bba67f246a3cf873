//! Where each board keeps its checkpoints: known to its firmware, and to the host that reads its flash.
//!
//! | board | erase block | granule | a place for a checkpoint |
//! | --- | --- | --- | --- |
//! | M4F | 2 KiB | 8 bytes | 24 KiB, for 64-32-10 |
//! | M0 | 1 KiB | 4 bytes | 8 KiB, for 64-10-10 |
//! | RV32 | 256 KiB | 4 bytes | 256 KiB |
//!
//! The first two have the geometry of an STM32L4 and an nRF51, the third that of the flash that QEMU emulates.
//! This file holds numbers only.
//!
//! ```
//! use digits_workload::boards::{M0, Region};
//!
//! assert_eq!(M0.range(Region::Latest), 0..16 * 1024);
//! assert_eq!(M0.range(Region::Best), 16 * 1024..40 * 1024);
//! ```

use core::ops::Range;

/// The flash of a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Board {
    /// What the board is called.
    pub name: &'static str,
    /// Bytes of an erase block.
    pub block: usize,
    /// Bytes that are programmed at once.
    pub granule: usize,
    /// Bytes of a place for a checkpoint.
    pub slot: u32,
}

/// Cortex-M4F.
pub const M4F: Board = Board { name: "m4f", block: 2048, granule: 8, slot: 24 * 1024 };
/// Cortex-M0.
pub const M0: Board = Board { name: "m0", block: 1024, granule: 4, slot: 8 * 1024 };
/// RV32IMC.
pub const RV32: Board = Board { name: "rv32", block: 256 * 1024, granule: 4, slot: 256 * 1024 };

/// A part of the flash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Region {
    /// Places for the latest checkpoint.
    Latest,
    /// Places for the best ones.
    Best,
}

/// Places of [`Region::Latest`]: one is kept.
pub const LATEST_SLOTS: usize = 2;
/// Places of [`Region::Best`].
pub const BEST_SLOTS: usize = crate::monitored::BEST + 1;

impl Board {
    /// Where a region lies in the flash.
    pub const fn range(&self, region: Region) -> Range<u32> {
        let middle = LATEST_SLOTS as u32 * self.slot;
        match region {
            Region::Latest => 0..middle,
            Region::Best => middle..middle + BEST_SLOTS as u32 * self.slot,
        }
    }

    /// Bytes of both regions.
    pub const fn capacity(&self) -> u32 {
        self.range(Region::Best).end
    }
}
