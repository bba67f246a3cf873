//! The store under test: unmodified, with saves in pieces, or with a deliberate mistake that the checks must detect.

use super::device::Mistake;
use training_monitor::checkpoint::{Checksum, Crc32};

/// A variant of [`Slots`](training_monitor::store::flash::Slots): its checksum, its number of kept checkpoints, and the
/// deliberate mistake of its flash driver.
pub trait StoreVariant {
    /// The checksum at the end of each stream (the encoded bytes of a checkpoint).
    type Sum: Checksum + 'static;
    /// The deliberate mistake of the flash driver, or `None` for a correct driver.
    const MISTAKE: Mistake = Mistake::None;
    /// Returns the number of checkpoints that the ranking keeps if the store has `slots` slots.
    fn n_saved(slots: usize) -> usize {
        slots - 1
    }
}

/// The unmodified store. It uses a fast checksum, because the checksum takes most of the run time of the checks.
#[derive(Debug)]
pub struct Unmodified;

/// The checksum of the crate crc32fast.
#[derive(Default, Debug)]
pub struct Crc32Fast(crc32fast::Hasher);

impl Checksum for Crc32Fast {
    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
    fn value(&self) -> u32 {
        self.0.clone().finalize()
    }
}

impl StoreVariant for Unmodified {
    type Sum = Crc32Fast;
}

/// The unmodified store with the built-in checksum of `training_monitor`.
#[derive(Debug)]
pub struct UnmodifiedBuiltInSum;

impl StoreVariant for UnmodifiedBuiltInSum {
    type Sum = Crc32;
}

/// The unmodified store in flash, whose saves are performed in pieces. The order of its flash operations must be that of
/// [`Unmodified`].
#[derive(Debug)]
pub struct SavesInPieces;

impl StoreVariant for SavesInPieces {
    type Sum = Crc32Fast;
    const MISTAKE: Mistake = Mistake::NoneInPieces;
}

/// A store with a deliberate mistake: it accepts a checkpoint stream with any checksum, so it does not detect damaged
/// data.
#[derive(Debug)]
pub struct NoChecksum;

/// A checksum that is always the same number. Every stream that ends with its own CRC-32 has this number as its CRC-32.
#[derive(Default, Debug)]
pub struct ConstantSum;

impl Checksum for ConstantSum {
    fn update(&mut self, _: &[u8]) {}
    fn value(&self) -> u32 {
        0x2144_DF1C
    }
}

impl StoreVariant for NoChecksum {
    type Sum = ConstantSum;
}

/// A store that keeps one checkpoint in every slot, so that each save must overwrite a kept checkpoint.
#[derive(Debug)]
pub struct NoSpareSlot;

impl StoreVariant for NoSpareSlot {
    type Sum = Crc32Fast;
    fn n_saved(slots: usize) -> usize {
        slots
    }
}

/// A store with a deliberate mistake: it does not erase a block whose bytes all have the erased value. After an
/// interrupted erase, such a block can still have unstable cells.
#[derive(Debug)]
pub struct SkipsBlankBlocks;

impl StoreVariant for SkipsBlankBlocks {
    type Sum = Crc32Fast;
    const MISTAKE: Mistake = Mistake::SkipsBlankBlocks;
}

/// A store with a deliberate mistake: it commits a checkpoint with the commit record alone. The correct store also
/// writes a seal (a second mark after the commit record).
#[derive(Debug)]
pub struct NoSeal;

impl StoreVariant for NoSeal {
    type Sum = Crc32Fast;
    const MISTAKE: Mistake = Mistake::FakesSeals;
}

/// A store with a deliberate mistake: it erases only the first block of a slot (the flash area of one checkpoint), even
/// if the checkpoint takes two blocks.
#[derive(Debug)]
pub struct ErasesOneBlock;

impl StoreVariant for ErasesOneBlock {
    type Sum = Crc32Fast;
    const MISTAKE: Mistake = Mistake::ErasesOneBlock;
}

/// A store in byte-addressable memory with a deliberate mistake: it does not make the old checkpoint of a slot invalid
/// before it writes the new one.
#[derive(Debug)]
pub struct KeepsOldRecords;

impl StoreVariant for KeepsOldRecords {
    type Sum = Crc32Fast;
    const MISTAKE: Mistake = Mistake::KeepsOldRecords;
}

/// A store in byte-addressable memory with a deliberate mistake: it is opened with a smaller page size than that of the
/// memory, so the record, the seal and the stream share pages.
#[derive(Debug)]
pub struct UnderstatesPage;

impl StoreVariant for UnderstatesPage {
    type Sum = Crc32Fast;
    const MISTAKE: Mistake = Mistake::UnderstatesPage;
}
