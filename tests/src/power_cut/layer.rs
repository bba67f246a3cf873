//! The store under test as it is, or with a mistake that the judge has to find.

use super::device::Mistake;
use training_monitor::checkpoint::{Checksum, Crc32};

/// A store under test: [`Slots`](training_monitor::store::slots::Slots) with this checksum, over a flash or a mistake.
pub trait Layer {
    /// How streams are summed.
    type Sum: Checksum + 'static;
    /// What lies between the store and the flash.
    const MISTAKE: Mistake = Mistake::None;
    /// Checkpoints that a ranking keeps, of how many slots.
    fn keeps(slots: usize) -> usize {
        slots - 1
    }
}

/// The store as it is. Its sums are made by a faster program, as a device's may be by its CRC unit: most of the judge's
/// time goes into them.
#[derive(Debug)]
pub struct Honest;

/// crc32fast.
#[derive(Default, Debug)]
pub struct Fast(crc32fast::Hasher);

impl Checksum for Fast {
    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
    fn value(&self) -> u32 {
        self.0.clone().finalize()
    }
}

impl Layer for Honest {
    type Sum = Fast;
}

/// The store as it is, with the sums of its own crate.
#[derive(Debug)]
pub struct HonestOwnSums;

impl Layer for HonestOwnSums {
    type Sum = Crc32;
}

/// A store that believes a stream whatever its checksum.
#[derive(Debug)]
pub struct NoChecksum;

/// Always what a whole stream with its own checksum at its end comes to.
#[derive(Default, Debug)]
pub struct Always;

impl Checksum for Always {
    fn update(&mut self, _: &[u8]) {}
    fn value(&self) -> u32 {
        0x2144_DF1C
    }
}

impl Layer for NoChecksum {
    type Sum = Always;
}

/// A store that keeps as many as it has slots.
#[derive(Debug)]
pub struct NoSpare;

impl Layer for NoSpare {
    type Sum = Fast;
    fn keeps(slots: usize) -> usize {
        slots
    }
}

/// A store that does not erase what reads blank.
#[derive(Debug)]
pub struct TrustsBlank;

impl Layer for TrustsBlank {
    type Sum = Fast;
    const MISTAKE: Mistake = Mistake::SkipsBlank;
}

/// A store that commits with the record alone.
#[derive(Debug)]
pub struct NoSeal;

impl Layer for NoSeal {
    type Sum = Fast;
    const MISTAKE: Mistake = Mistake::ReadsSeals;
}

/// A store that erases one block, however long the checkpoint was.
#[derive(Debug)]
pub struct OneBlock;

impl Layer for OneBlock {
    type Sum = Fast;
    const MISTAKE: Mistake = Mistake::ErasesOne;
}
