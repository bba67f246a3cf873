//! A simulated memory chip: NOR flash, or byte-addressable memory. The chip stores the content, simulates complete and
//! interrupted operations, and reports calls that violate the rules of the memory.

mod effects;
mod overwrite;

use super::interruption::Interruption;
use super::random::Random;
use training_monitor::embedded_storage::nor_flash::{NorFlashError, NorFlashErrorKind};

/// A simulated memory chip: NOR flash, or byte-addressable memory. Use the driver [`Flash`](super::flash::Flash) or
/// [`Memory`](super::memory::Memory) to access the chip. The sizes are values and not constants, so that one test can use
/// chips of several sizes.
#[derive(Clone, Debug)]
pub struct Chip {
    /// The size of a granule (the smallest unit that can be programmed) in bytes. A page of byte-addressable memory is
    /// a granule.
    write_size: usize,
    /// The size of an erase block in bytes.
    erase_size: usize,
    /// The alignment of reads in bytes.
    read_size: usize,
    /// Whether the chip is byte-addressable memory, in which any byte can be overwritten.
    is_byte_addressable: bool,
    bytes: Vec<u8>,
    /// For each granule, `true` if the granule may be programmed. A granule may be programmed only once after its block
    /// is erased.
    is_programmable: Vec<bool>,
    /// The value of an erased byte.
    erased: u8,
    /// The unstable bits: bits that have a random value in each read. Each element is the address of a byte and the
    /// mask of the unstable bits in this byte.
    unstable: Vec<(usize, u8)>,
    /// The indices of the granules that cannot be read.
    unreadable: Vec<usize>,
    power_failure: Option<PowerFailure>,
    is_off: bool,
    violations: Vec<Violation>,
    /// The numbers of operations since the creation of the chip.
    pub counts: Counts,
    /// The number of erases of each block.
    pub block_erases: Vec<u32>,
    /// The log of all operations: `true` for an erase, and `false` for the programming of a granule. Set this field to
    /// `Some` to enable the log.
    pub log: Option<Vec<bool>>,
    /// The maximum number of reads. After this number all calls fail, as if the power were off. Set a limit to end a
    /// test that would otherwise read forever.
    pub read_budget: u64,
    random: Random,
}

/// A planned power failure: the flash operation that it interrupts, and its effect.
#[derive(Clone, Copy, Debug)]
struct PowerFailure {
    /// The number of the operation during which power fails.
    operation: u64,
    interruption: Interruption,
    seed: u64,
}

/// The numbers of operations that a chip has performed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// The number of programmed granules plus the number of erased blocks.
    pub operations: u64,
    /// The number of programmed bytes.
    pub programmed: u64,
    /// The number of erased blocks.
    pub erased: u64,
    /// The number of read calls.
    pub reads: u64,
}

/// A violation of the contract of the `NorFlash` trait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Violation {
    /// The address or the length of a call is not a multiple of the required unit: the granule size, the block size or
    /// the read size.
    NotAligned {
        /// The address of the call.
        at: usize,
    },
    /// A call exceeds the capacity of the chip.
    OutOfBounds {
        /// The address of the call.
        at: usize,
    },
    /// A call programmed a granule a second time, although its block was not erased in between.
    Reprogrammed {
        /// The address of the granule.
        at: usize,
    },
}

/// Why a call failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChipError {
    /// The power is off, so the chip performs no call.
    PowerOff,
    /// The call reads a granule (the smallest unit of a write) that an interrupted operation made unreadable.
    Unreadable,
    /// The call violates the contract of the `NorFlash` trait, for example its alignment.
    Contract(NorFlashErrorKind),
}

impl NorFlashError for ChipError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            ChipError::Contract(kind) => *kind,
            _ => NorFlashErrorKind::Other,
        }
    }
}

impl Chip {
    /// Creates a chip with the content `bytes`. `write_size` is the size of a granule (the smallest unit that can be
    /// programmed), `erase_size` is the size of an erase block, and `read_size` is the alignment of reads. All sizes
    /// are in bytes. `erased` is the value of an erased byte. Each block must be erased before it is programmed.
    ///
    /// # Panics
    /// Panics if the length of `bytes` is not a multiple of `erase_size`, or `erase_size` is not a multiple of
    /// `write_size`.
    #[must_use]
    pub fn new(write_size: usize, erase_size: usize, read_size: usize, bytes: Vec<u8>, erased: u8) -> Self {
        assert!(
            erase_size.is_multiple_of(write_size) && bytes.len().is_multiple_of(erase_size),
            "{} bytes must be whole blocks of {erase_size} bytes; blocks must be whole granules of {write_size} bytes",
            bytes.len(),
        );
        Chip {
            write_size,
            erase_size,
            read_size,
            is_byte_addressable: false,
            is_programmable: vec![false; bytes.len() / write_size],
            block_erases: vec![0; bytes.len() / erase_size],
            bytes,
            erased,
            unstable: Vec::new(),
            unreadable: Vec::new(),
            power_failure: None,
            is_off: false,
            violations: Vec::new(),
            counts: Counts::default(),
            log: None,
            read_budget: u64::MAX,
            random: Random::new(1),
        }
    }

    /// Returns the size of a granule, the size of an erase block and the alignment of reads, in bytes.
    #[must_use]
    pub const fn geometry(&self) -> (usize, usize, usize) {
        (self.write_size, self.erase_size, self.read_size)
    }

    /// Plans a power failure: the next `after` operations complete, and the operation after them is interrupted.
    /// `interruption` selects the effect of the power failure, and `seed` is the seed for random effects.
    pub fn cut_power_at(&mut self, after: u64, interruption: Interruption, seed: u64) {
        let operation = self.counts.operations + after;
        self.power_failure = Some(PowerFailure { operation, interruption, seed });
    }

    /// Returns whether the power is off.
    pub fn is_off(&self) -> bool {
        self.is_off
    }

    /// Switches the power on again. Also cancels a planned power failure that has not happened yet.
    pub fn power_on(&mut self) {
        self.is_off = false;
        self.power_failure = None;
    }

    /// Returns all violations of the `NorFlash` contract since the creation of the chip.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Returns whether the chip has unstable bits. Each read returns a random value for an unstable bit.
    pub fn is_unstable(&self) -> bool {
        !self.unstable.is_empty()
    }

    /// Returns the content of the chip. An unstable bit has an arbitrary value.
    pub fn image(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the content of the chip for modification, for example to simulate data corruption.
    pub fn image_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    fn check(&mut self, at: usize, len: usize, unit: usize) -> Result<(), ChipError> {
        if self.is_off {
            return Err(ChipError::PowerOff);
        }
        if !at.is_multiple_of(unit) || !len.is_multiple_of(unit) {
            self.violations.push(Violation::NotAligned { at });
            return Err(ChipError::Contract(NorFlashErrorKind::NotAligned));
        }
        if at + len > self.bytes.len() {
            self.violations.push(Violation::OutOfBounds { at });
            return Err(ChipError::Contract(NorFlashErrorKind::OutOfBounds));
        }
        Ok(())
    }

    /// Counts and logs an operation. If power fails during this operation, switches the power off and returns the
    /// interruption and its random generator.
    fn begin_operation(&mut self, erase: bool) -> Option<(Interruption, Random)> {
        if let Some(log) = &mut self.log {
            log.push(erase);
        }
        let operation = self.counts.operations;
        self.counts.operations += 1;
        self.power_failure.filter(|failure| failure.operation == operation).map(|failure| {
            self.is_off = true;
            (failure.interruption, Random::new(failure.seed))
        })
    }

    /// Fills `into` with the bytes at the address `offset`.
    ///
    /// # Errors
    /// Returns a [`ChipError`] if the power is off, a granule is unreadable or the call violates the `NorFlash`
    /// contract.
    pub fn read(&mut self, offset: u32, into: &mut [u8]) -> Result<(), ChipError> {
        let at = offset as usize;
        self.check(at, into.len(), self.read_size)?;
        self.counts.reads += 1;
        if self.counts.reads > self.read_budget {
            self.is_off = true;
            return Err(ChipError::PowerOff);
        }
        let granules = at / self.write_size..(at + into.len()).div_ceil(self.write_size);
        if self.unreadable.iter().any(|granule| granules.contains(granule)) {
            return Err(ChipError::Unreadable);
        }
        into.copy_from_slice(&self.bytes[at..][..into.len()]);
        for (byte, mask) in &self.unstable {
            if let Some(byte) = byte.checked_sub(at).and_then(|byte| into.get_mut(byte)) {
                *byte ^= mask & self.random.byte();
            }
        }
        Ok(())
    }

    /// Programs `data` at the address `offset`. The data must consist of whole granules. Each granule counts as one
    /// operation.
    ///
    /// # Errors
    /// Returns a [`ChipError`] if the power is off, power fails during the call or the call violates the `NorFlash`
    /// contract.
    pub fn program(&mut self, offset: u32, data: &[u8]) -> Result<(), ChipError> {
        self.check(offset as usize, data.len(), self.write_size)?;
        for from in (0..data.len()).step_by(self.write_size) {
            let at = offset as usize + from;
            if !self.is_programmable[at / self.write_size] {
                self.violations.push(Violation::Reprogrammed { at });
            }
            if let Some((interruption, mut random)) = self.begin_operation(false) {
                self.interrupt_program(at, &data[from..], interruption, &mut random);
                return Err(ChipError::PowerOff);
            }
            self.counts.programmed += self.write_size as u64;
            self.is_programmable[at / self.write_size] = false;
            self.program_granule(at, &data[from..][..self.write_size]);
        }
        Ok(())
    }

    /// Erases the blocks from the address `from` to the address `to`, which is not included. Each block counts as one
    /// operation.
    ///
    /// # Errors
    /// Returns a [`ChipError`] if the power is off, power fails during the call or the call violates the `NorFlash`
    /// contract.
    pub fn erase(&mut self, from: u32, to: u32) -> Result<(), ChipError> {
        self.check(from as usize, to.saturating_sub(from) as usize, self.erase_size)?;
        for at in (from as usize..to as usize).step_by(self.erase_size) {
            let block = at..at + self.erase_size;
            self.block_erases[at / self.erase_size] += 1;
            self.counts.erased += 1;
            if let Some((interruption, mut random)) = self.begin_operation(true) {
                self.interrupt_erase(at, interruption, &mut random);
                return Err(ChipError::PowerOff);
            }
            self.bytes[block.clone()].fill(self.erased);
            self.is_programmable[at / self.write_size..][..self.erase_size / self.write_size].fill(true);
            self.unstable.retain(|(byte, _)| !block.contains(byte));
            self.unreadable.retain(|granule| !block.contains(&(granule * self.write_size)));
        }
        Ok(())
    }
}
