//! What lies between the store and the flash: nothing, or a mistake that the judge has to find.

use training_monitor::checkpoint::{Checksum, Crc32};
use training_monitor::embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};

/// A store under test: [`Slots`](training_monitor::store::slots::Slots) with this checksum, over this flash.
pub trait Layer {
    /// Over a flash.
    type Over<F: NorFlash>: NorFlash<Error = F::Error>;
    /// How streams are summed.
    type Sum: Checksum;
    /// Checkpoints that a ranking keeps, of how many slots.
    fn keeps(slots: usize) -> usize {
        slots - 1
    }
    /// Over this flash.
    fn over<F: NorFlash>(flash: F) -> Self::Over<F>;
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
    type Over<F: NorFlash> = F;
    type Sum = Fast;
    fn over<F: NorFlash>(flash: F) -> F {
        flash
    }
}

/// The store as it is, with the sums of its own crate.
#[derive(Debug)]
pub struct HonestOwnSums;

impl Layer for HonestOwnSums {
    type Over<F: NorFlash> = F;
    type Sum = Crc32;
    fn over<F: NorFlash>(flash: F) -> F {
        flash
    }
}

/// A store that believes a stream whatever its checksum.
#[derive(Debug)]
pub struct NoChecksum;

/// Always 0.
#[derive(Default, Debug)]
pub struct Zero;

impl Checksum for Zero {
    fn update(&mut self, _: &[u8]) {}
    fn value(&self) -> u32 {
        0
    }
}

impl Layer for NoChecksum {
    type Over<F: NorFlash> = F;
    type Sum = Zero;
    fn over<F: NorFlash>(flash: F) -> F {
        flash
    }
}

/// A store that keeps as many as it has slots.
#[derive(Debug)]
pub struct NoSpare;

impl Layer for NoSpare {
    type Over<F: NorFlash> = F;
    type Sum = Crc32;
    fn keeps(slots: usize) -> usize {
        slots
    }
    fn over<F: NorFlash>(flash: F) -> F {
        flash
    }
}

/// A store that does not erase what reads blank.
#[derive(Debug)]
pub struct TrustsBlank;

impl Layer for TrustsBlank {
    type Over<F: NorFlash> = SkipsBlank<F>;
    type Sum = Crc32;
    fn over<F: NorFlash>(flash: F) -> SkipsBlank<F> {
        SkipsBlank(flash)
    }
}

/// A store that commits with the record alone.
#[derive(Debug)]
pub struct NoSeal;

impl Layer for NoSeal {
    type Over<F: NorFlash> = Seals<F>;
    type Sum = Crc32;
    fn over<F: NorFlash>(flash: F) -> Seals<F> {
        Seals(flash)
    }
}

/// A store that erases one block, however long the checkpoint was.
#[derive(Debug)]
pub struct OneBlock;

impl Layer for OneBlock {
    type Over<F: NorFlash> = ErasesOne<F>;
    type Sum = Crc32;
    fn over<F: NorFlash>(flash: F) -> ErasesOne<F> {
        ErasesOne(flash)
    }
}

macro_rules! pass_reads {
    ($name:ident) => {
        impl<F: NorFlash> ErrorType for $name<F> {
            type Error = F::Error;
        }
    };
}

/// Leaves out erases of blocks that read as all ones or all zeros.
#[derive(Debug)]
pub struct SkipsBlank<F>(F);
/// Answers reads of a seal with the seal that belongs there.
#[derive(Debug)]
pub struct Seals<F>(F);
/// Erases only slots' first blocks.
#[derive(Debug)]
pub struct ErasesOne<F>(F);

pass_reads!(SkipsBlank);
pass_reads!(Seals);
pass_reads!(ErasesOne);

impl<F: NorFlash> ReadNorFlash for SkipsBlank<F> {
    const READ_SIZE: usize = F::READ_SIZE;
    fn read(&mut self, at: u32, into: &mut [u8]) -> Result<(), F::Error> {
        self.0.read(at, into)
    }
    fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

impl<F: NorFlash> NorFlash for SkipsBlank<F> {
    const WRITE_SIZE: usize = F::WRITE_SIZE;
    const ERASE_SIZE: usize = F::ERASE_SIZE;
    fn write(&mut self, at: u32, data: &[u8]) -> Result<(), F::Error> {
        self.0.write(at, data)
    }
    fn erase(&mut self, from: u32, to: u32) -> Result<(), F::Error> {
        let mut block = vec![0; (to - from) as usize];
        let blank = self.0.read(from, &mut block).is_ok()
            && block.first().is_some_and(|first| block.iter().all(|byte| byte == first));
        if blank { Ok(()) } else { self.0.erase(from, to) }
    }
}

impl<F: NorFlash> ReadNorFlash for Seals<F> {
    const READ_SIZE: usize = F::READ_SIZE;
    fn read(&mut self, at: u32, into: &mut [u8]) -> Result<(), F::Error> {
        self.0.read(at, into)?;
        // Only seals are read 32 bytes at 64 from the beginning of a block.
        if into.len() == 32 && at % F::ERASE_SIZE as u32 == 64 {
            let mut record = [0; 64];
            self.0.read(at - 64, &mut record)?;
            into[..4].copy_from_slice(b"TMSK");
            for (seal, byte) in into[4..8].iter_mut().zip(&record[40..44]) {
                *seal = !byte;
            }
        }
        Ok(())
    }
    fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

impl<F: NorFlash> NorFlash for Seals<F> {
    const WRITE_SIZE: usize = F::WRITE_SIZE;
    const ERASE_SIZE: usize = F::ERASE_SIZE;
    fn write(&mut self, at: u32, data: &[u8]) -> Result<(), F::Error> {
        self.0.write(at, data)
    }
    fn erase(&mut self, from: u32, to: u32) -> Result<(), F::Error> {
        self.0.erase(from, to)
    }
}

impl<F: NorFlash> ReadNorFlash for ErasesOne<F> {
    const READ_SIZE: usize = F::READ_SIZE;
    fn read(&mut self, at: u32, into: &mut [u8]) -> Result<(), F::Error> {
        self.0.read(at, into)
    }
    fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

impl<F: NorFlash> NorFlash for ErasesOne<F> {
    const WRITE_SIZE: usize = F::WRITE_SIZE;
    const ERASE_SIZE: usize = F::ERASE_SIZE;
    fn write(&mut self, at: u32, data: &[u8]) -> Result<(), F::Error> {
        self.0.write(at, data)
    }
    fn erase(&mut self, from: u32, to: u32) -> Result<(), F::Error> {
        let second = from as usize / F::ERASE_SIZE % 2 == 1;
        if second { Ok(()) } else { self.0.erase(from, to) }
    }
}
