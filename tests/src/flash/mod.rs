//! NOR flash in memory, as strict as the worst of the real ones, whose power can be cut in the middle of anything.
//!
//! Holds its user to the contract: reads, programs and erases aligned and in bounds; a granule programmed once between
//! two erases, and never after an operation on it or its block was interrupted, however blank it reads. What breaks
//! that is noted as a [`Violation`]. Programming only changes bits away from the erased value. Each granule programmed
//! and each block erased is an *operation*, counted from 0; one of them can be told to be the last before the power
//! goes, with an [`Outcome`]. Then everything fails until [`power_on`](Flash::power_on).
//!
//! ```
//! use training_monitor::embedded_storage::nor_flash::{NorFlash, ReadNorFlash};
//! use training_monitor_tests::flash::{Flash, Outcome, Violation};
//!
//! let mut flash = Flash::<4, 256>::new(512, 0xFF);
//! flash.erase(0, 256).unwrap();
//! flash.cut_at(1, Outcome::Half, 0);
//! assert!(flash.write(0, &[1, 2, 3, 4, 5, 6, 7, 8]).is_err()); // the second granule gets half of its bytes
//! flash.power_on();
//! let mut bytes = [0; 8];
//! flash.read(0, &mut bytes).unwrap();
//! assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 0xFF, 0xFF]);
//! flash.write(4, &[5, 6, 7, 8]).unwrap();
//! assert_eq!(flash.violations(), [Violation::Reprogrammed { at: 4 }]);
//! ```

mod outcome;

pub use outcome::Outcome;

use crate::random::Random;
use training_monitor::embedded_storage::nor_flash::{
    ErrorType, MultiwriteNorFlash, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};

/// A flash that programs `WRITE`, erases `ERASE` and reads `READ` bytes at a time.
#[derive(Clone, Debug)]
pub struct Flash<const WRITE: usize, const ERASE: usize, const READ: usize = 1> {
    bytes: Vec<u8>,
    /// Per granule: whether it may be programmed.
    fresh: Vec<bool>,
    erased: u8,
    /// Bits that read differently each time: (byte, mask).
    unstable: Vec<(usize, u8)>,
    /// Granules that can't be read.
    unreadable: Vec<usize>,
    cut: Option<Cut>,
    off: bool,
    violations: Vec<Violation>,
    /// What was done so far.
    pub counts: Counts,
    /// Erases of each block.
    pub block_erases: Vec<u32>,
    /// For each operation whether it was an erase, while somebody wants to know.
    pub log: Option<Vec<bool>>,
    /// Reads that are allowed; then everything fails, as if the power were gone. Ends what would not end.
    pub read_budget: u64,
    random: Random,
}

#[derive(Clone, Copy, Debug)]
struct Cut {
    operation: u64,
    outcome: Outcome,
    seed: u64,
}

/// Operations, in calls unless said otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Granules programmed and blocks erased.
    pub operations: u64,
    /// Bytes programmed.
    pub programmed: u64,
    /// Blocks erased.
    pub erased: u64,
    /// Read calls.
    pub reads: u64,
}

/// A broken contract.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Violation {
    /// Not at or not of whole units.
    NotAligned {
        /// Where.
        at: usize,
    },
    /// Beyond the end.
    OutOfBounds {
        /// Where.
        at: usize,
    },
    /// A granule was programmed that was not known to be erased.
    Reprogrammed {
        /// Where.
        at: usize,
    },
}

/// What an operation can fail with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The power is off.
    Off,
    /// The cells can't be read.
    Unreadable,
    /// The call breaks the contract.
    Contract(NorFlashErrorKind),
}

impl NorFlashError for Fault {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Fault::Contract(kind) => *kind,
            _ => NorFlashErrorKind::Other,
        }
    }
}

impl<const WRITE: usize, const ERASE: usize, const READ: usize> Flash<WRITE, ERASE, READ> {
    /// A flash fresh from the factory.
    pub fn new(capacity: usize, erased: u8) -> Self {
        Self::with_image(vec![erased; capacity], erased)
    }

    /// A flash with these bytes, of which nothing else is known.
    pub fn with_image(bytes: Vec<u8>, erased: u8) -> Self {
        assert!(ERASE.is_multiple_of(WRITE) && bytes.len().is_multiple_of(ERASE));
        Flash {
            fresh: vec![false; bytes.len() / WRITE],
            block_erases: vec![0; bytes.len() / ERASE],
            bytes,
            erased,
            unstable: Vec::new(),
            unreadable: Vec::new(),
            cut: None,
            off: false,
            violations: Vec::new(),
            counts: Counts::default(),
            log: None,
            read_budget: u64::MAX,
            random: Random::new(1),
        }
    }

    /// Cuts the power in the operation that `after` more operations precede. `seed` decides what the outcome leaves to
    /// chance.
    pub fn cut_at(&mut self, after: u64, outcome: Outcome, seed: u64) {
        self.cut = Some(Cut { operation: self.counts.operations + after, outcome, seed });
    }

    /// Whether the power is off.
    pub fn is_off(&self) -> bool {
        self.off
    }

    /// Power comes back. A cut that did not come is forgotten.
    pub fn power_on(&mut self) {
        self.off = false;
        self.cut = None;
    }

    /// How the contract was broken.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Whether reading twice can give two answers.
    pub fn is_unstable(&self) -> bool {
        !self.unstable.is_empty()
    }

    /// What the cells hold, as far as they hold anything.
    pub fn image(&self) -> &[u8] {
        &self.bytes
    }

    /// The cells, to be changed behind the user's back.
    pub fn image_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    fn check(&mut self, at: usize, len: usize, unit: usize) -> Result<(), Fault> {
        if self.off {
            return Err(Fault::Off);
        }
        if !at.is_multiple_of(unit) || !len.is_multiple_of(unit) {
            self.violations.push(Violation::NotAligned { at });
            return Err(Fault::Contract(NorFlashErrorKind::NotAligned));
        }
        if at + len > self.bytes.len() {
            self.violations.push(Violation::OutOfBounds { at });
            return Err(Fault::Contract(NorFlashErrorKind::OutOfBounds));
        }
        Ok(())
    }

    /// The outcome of the operation that comes now.
    fn operation(&mut self, erase: bool) -> Option<(Outcome, Random)> {
        if let Some(log) = &mut self.log {
            log.push(erase);
        }
        let operation = self.counts.operations;
        self.counts.operations += 1;
        self.cut.filter(|cut| cut.operation == operation).map(|cut| {
            self.off = true;
            (cut.outcome, Random::new(cut.seed))
        })
    }

    /// What a granule holds when `data` is programmed to it.
    fn programmed(&self, at: usize, data: &[u8]) -> Vec<u8> {
        let toward = |(cell, byte): (&u8, &u8)| if self.erased == 0 { cell | byte } else { cell & byte };
        self.bytes[at..][..WRITE].iter().zip(data).map(toward).collect()
    }

    fn program(&mut self, at: usize, data: &[u8]) {
        for (cell, byte) in self.bytes[at..][..WRITE].iter_mut().zip(data) {
            *cell = if self.erased == 0 { *cell | byte } else { *cell & byte };
        }
    }

    fn interrupted_program(&mut self, at: usize, data: &[u8], outcome: Outcome, random: &mut Random) {
        let whole = self.programmed(at, &data[..WRITE]);
        self.fresh[at / WRITE] = false;
        let cells = &mut self.bytes[at..][..WRITE];
        let prefix = |len: usize, cells: &mut [u8]| cells[..len].copy_from_slice(&whole[..len]);
        match outcome {
            Outcome::First => prefix(1, cells),
            Outcome::Half => prefix(WRITE / 2, cells),
            Outcome::ButOne => prefix(WRITE - 1, cells),
            Outcome::Bits => {
                for (cell, whole) in cells.iter_mut().zip(&whole) {
                    *cell ^= (*cell ^ whole) & random.byte();
                }
            }
            Outcome::Garbage => cells.fill_with(|| random.byte()),
            Outcome::Whole | Outcome::Unstable | Outcome::OneUnstable | Outcome::Unreadable => {
                let changed: Vec<u8> = cells.iter().zip(&whole).map(|(cell, whole)| cell ^ whole).collect();
                cells.copy_from_slice(&whole);
                match outcome {
                    Outcome::Unstable => {
                        let masks = changed.iter().enumerate().map(|(byte, bits)| (at + byte, bits & random.byte()));
                        self.unstable.extend(masks.filter(|(_, mask)| *mask != 0));
                    }
                    Outcome::OneUnstable => {
                        let start = random.below(8 * WRITE);
                        let mut bits = (0..8 * WRITE).map(|bit| (start + bit) % (8 * WRITE));
                        if let Some(bit) = bits.find(|bit| changed[bit / 8] >> (bit % 8) & 1 != 0) {
                            self.unstable.push((at + bit / 8, 1 << (bit % 8)));
                        }
                    }
                    Outcome::Unreadable => self.unreadable.push(at / WRITE),
                    _ => (),
                }
            }
            Outcome::Scatter => {
                self.bytes[at..][..WRITE].fill_with(|| random.byte());
                // The chip programs a page at a time, in an order of its own.
                for (granule, data) in data.chunks(WRITE).enumerate().skip(1) {
                    let at = at + granule * WRITE;
                    self.fresh[at / WRITE] = false;
                    match random.below(3) {
                        0 => self.program(at, data),
                        1 => self.bytes[at..][..WRITE].fill_with(|| random.byte()),
                        _ => (),
                    }
                }
            }
            _ => (),
        }
    }

    fn interrupted_erase(&mut self, at: usize, outcome: Outcome, random: &mut Random) {
        self.fresh[at / WRITE..][..ERASE / WRITE].fill(false);
        let erased = self.erased;
        let split = 1 + random.below(ERASE - 1);
        let old = self.bytes[at..][..ERASE].to_vec();
        let block = &mut self.bytes[at..][..ERASE];
        match outcome {
            Outcome::Whole | Outcome::Unstable => block.fill(erased),
            Outcome::Zero => block.fill(0),
            Outcome::One => block.fill(0xFF),
            Outcome::Garbage => block.fill_with(|| random.byte()),
            Outcome::TailZero => block[ERASE / 2..].fill(0),
            Outcome::TailZeroAnywhere => block[split..].fill(0),
            Outcome::HeadErased => block[..split].fill(erased),
            Outcome::TailErased => block[split..].fill(erased),
            Outcome::Bits => block.iter_mut().for_each(|cell| *cell ^= (*cell ^ erased) & random.byte()),
            Outcome::AlmostErased => {
                // As old, but for a few bits.
                for _ in 0..4 {
                    let bit = random.below(8 * ERASE);
                    block[bit / 8] ^= (block[bit / 8] ^ erased) & (1 << (bit % 8));
                }
            }
            _ => (),
        }
        match outcome {
            // What was not in the erased state may still read as it was.
            Outcome::Unstable => {
                let masks = old.iter().enumerate().map(|(byte, old)| (at + byte, (old ^ erased) & random.byte()));
                self.unstable.extend(masks.filter(|(_, mask)| *mask != 0));
            }
            Outcome::OneUnstable => {
                let start = random.below(ERASE);
                let programmed = (0..ERASE).map(|byte| (start + byte) % ERASE).find(|byte| old[*byte] != erased);
                if let Some(byte) = programmed {
                    let bits = old[byte] ^ erased;
                    self.unstable.push((at + byte, bits & bits.wrapping_neg()));
                }
            }
            Outcome::Unreadable => self.unreadable.extend(at / WRITE..(at + ERASE) / WRITE),
            Outcome::OneUnreadable => self.unreadable.push((at + split) / WRITE),
            _ => (),
        }
    }
}

impl<const WRITE: usize, const ERASE: usize, const READ: usize> ErrorType for Flash<WRITE, ERASE, READ> {
    type Error = Fault;
}

impl<const WRITE: usize, const ERASE: usize, const READ: usize> ReadNorFlash for Flash<WRITE, ERASE, READ> {
    const READ_SIZE: usize = READ;

    fn read(&mut self, offset: u32, into: &mut [u8]) -> Result<(), Fault> {
        let at = offset as usize;
        self.check(at, into.len(), READ)?;
        self.counts.reads += 1;
        if self.counts.reads > self.read_budget {
            self.off = true;
            return Err(Fault::Off);
        }
        let granules = at / WRITE..(at + into.len()).div_ceil(WRITE);
        if self.unreadable.iter().any(|granule| granules.contains(granule)) {
            return Err(Fault::Unreadable);
        }
        into.copy_from_slice(&self.bytes[at..][..into.len()]);
        for (byte, mask) in &self.unstable {
            if let Some(byte) = byte.checked_sub(at).and_then(|byte| into.get_mut(byte)) {
                *byte ^= mask & self.random.byte();
            }
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl<const WRITE: usize, const ERASE: usize, const READ: usize> NorFlash for Flash<WRITE, ERASE, READ> {
    const WRITE_SIZE: usize = WRITE;
    const ERASE_SIZE: usize = ERASE;

    fn write(&mut self, offset: u32, data: &[u8]) -> Result<(), Fault> {
        self.check(offset as usize, data.len(), WRITE)?;
        for from in (0..data.len()).step_by(WRITE) {
            let at = offset as usize + from;
            if !self.fresh[at / WRITE] {
                self.violations.push(Violation::Reprogrammed { at });
            }
            if let Some((outcome, mut random)) = self.operation(false) {
                self.interrupted_program(at, &data[from..], outcome, &mut random);
                return Err(Fault::Off);
            }
            self.counts.programmed += WRITE as u64;
            self.fresh[at / WRITE] = false;
            self.program(at, &data[from..][..WRITE]);
        }
        Ok(())
    }

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Fault> {
        self.check(from as usize, to.saturating_sub(from) as usize, ERASE)?;
        for at in (from as usize..to as usize).step_by(ERASE) {
            self.block_erases[at / ERASE] += 1;
            self.counts.erased += 1;
            if let Some((outcome, mut random)) = self.operation(true) {
                self.interrupted_erase(at, outcome, &mut random);
                return Err(Fault::Off);
            }
            self.bytes[at..][..ERASE].fill(self.erased);
            self.fresh[at / WRITE..][..ERASE / WRITE].fill(true);
            self.unstable.retain(|(byte, _)| !(at..at + ERASE).contains(byte));
            self.unreadable.retain(|granule| !(at..at + ERASE).contains(&(granule * WRITE)));
        }
        Ok(())
    }
}

/// Not for this crate's store: for those that need it, which then are not held to programming once.
impl<const WRITE: usize, const ERASE: usize, const READ: usize> MultiwriteNorFlash for Flash<WRITE, ERASE, READ> {}
