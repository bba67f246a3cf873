//! The cells of a [`Flash`](super::flash::Flash), whose geometry is known when the program runs: what each operation does,
//! what an interrupted one leaves, and what breaks the contract.

use super::outcome::Outcome;
use super::random::Random;
use training_monitor::embedded_storage::nor_flash::{NorFlashError, NorFlashErrorKind};

/// The cells and all that is known of them; [`Flash`](super::flash::Flash) is the driver of one.
#[derive(Clone, Debug)]
pub struct Chip {
    /// Bytes of a granule.
    write: usize,
    /// Bytes of a block.
    erase: usize,
    /// Bytes that are read at a time, or a multiple.
    read: usize,
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

impl Chip {
    /// A chip with these bytes, of which nothing else is known, that programs `write`, erases `erase` and reads `read`
    /// bytes at a time.
    ///
    /// # Panics
    /// On an image that is not made of whole erase blocks, or blocks that are not made of whole granules.
    #[must_use]
    pub fn new(write: usize, erase: usize, read: usize, bytes: Vec<u8>, erased: u8) -> Self {
        assert!(erase.is_multiple_of(write) && bytes.len().is_multiple_of(erase));
        Chip {
            write,
            erase,
            read,
            fresh: vec![false; bytes.len() / write],
            block_erases: vec![0; bytes.len() / erase],
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

    /// How many bytes are programmed, erased and read at a time.
    #[must_use]
    pub const fn geometry(&self) -> (usize, usize, usize) {
        (self.write, self.erase, self.read)
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
        self.bytes[at..][..self.write].iter().zip(data).map(toward).collect()
    }

    fn change(&mut self, at: usize, data: &[u8]) {
        for (cell, byte) in self.bytes[at..][..self.write].iter_mut().zip(data) {
            *cell = if self.erased == 0 { *cell | byte } else { *cell & byte };
        }
    }

    fn interrupted_program(&mut self, at: usize, data: &[u8], outcome: Outcome, random: &mut Random) {
        let whole = self.programmed(at, &data[..self.write]);
        self.fresh[at / self.write] = false;
        let cells = &mut self.bytes[at..][..self.write];
        let prefix = |len: usize, cells: &mut [u8]| cells[..len].copy_from_slice(&whole[..len]);
        match outcome {
            Outcome::First => prefix(1, cells),
            Outcome::Half => prefix(self.write / 2, cells),
            Outcome::ButOne => prefix(self.write - 1, cells),
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
                        let start = random.below(8 * self.write);
                        let mut bits = (0..8 * self.write).map(|bit| (start + bit) % (8 * self.write));
                        if let Some(bit) = bits.find(|bit| changed[bit / 8] >> (bit % 8) & 1 != 0) {
                            self.unstable.push((at + bit / 8, 1 << (bit % 8)));
                        }
                    }
                    Outcome::Unreadable => self.unreadable.push(at / self.write),
                    _ => (),
                }
            }
            Outcome::Scatter => {
                self.bytes[at..][..self.write].fill_with(|| random.byte());
                // The chip programs a page at a time, in an order of its own.
                for (granule, data) in data.chunks(self.write).enumerate().skip(1) {
                    let at = at + granule * self.write;
                    self.fresh[at / self.write] = false;
                    match random.below(3) {
                        0 => self.change(at, data),
                        1 => self.bytes[at..][..self.write].fill_with(|| random.byte()),
                        _ => (),
                    }
                }
            }
            _ => (),
        }
    }

    fn interrupted_erase(&mut self, at: usize, outcome: Outcome, random: &mut Random) {
        self.fresh[at / self.write..][..self.erase / self.write].fill(false);
        let erased = self.erased;
        let split = 1 + random.below(self.erase - 1);
        let old = self.bytes[at..][..self.erase].to_vec();
        let block = &mut self.bytes[at..][..self.erase];
        match outcome {
            Outcome::Whole | Outcome::Unstable => block.fill(erased),
            Outcome::Zero => block.fill(0),
            Outcome::One => block.fill(0xFF),
            Outcome::Garbage => block.fill_with(|| random.byte()),
            Outcome::TailZero => block[self.erase / 2..].fill(0),
            Outcome::TailZeroAnywhere => block[split..].fill(0),
            Outcome::HeadErased => block[..split].fill(erased),
            Outcome::TailErased => block[split..].fill(erased),
            Outcome::Bits => block.iter_mut().for_each(|cell| *cell ^= (*cell ^ erased) & random.byte()),
            Outcome::AlmostErased => {
                // As old, but for a few bits.
                for _ in 0..4 {
                    let bit = random.below(8 * self.erase);
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
                let start = random.below(self.erase);
                let programmed =
                    (0..self.erase).map(|byte| (start + byte) % self.erase).find(|byte| old[*byte] != erased);
                if let Some(byte) = programmed {
                    let bits = old[byte] ^ erased;
                    self.unstable.push((at + byte, bits & bits.wrapping_neg()));
                }
            }
            Outcome::Unreadable => self.unreadable.extend(at / self.write..(at + self.erase) / self.write),
            Outcome::OneUnreadable => self.unreadable.push((at + split) / self.write),
            _ => (),
        }
    }

    /// Reads.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn read(&mut self, offset: u32, into: &mut [u8]) -> Result<(), Fault> {
        let at = offset as usize;
        self.check(at, into.len(), self.read)?;
        self.counts.reads += 1;
        if self.counts.reads > self.read_budget {
            self.off = true;
            return Err(Fault::Off);
        }
        let granules = at / self.write..(at + into.len()).div_ceil(self.write);
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

    /// Programs whole granules, an operation each.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn program(&mut self, offset: u32, data: &[u8]) -> Result<(), Fault> {
        self.check(offset as usize, data.len(), self.write)?;
        for from in (0..data.len()).step_by(self.write) {
            let at = offset as usize + from;
            if !self.fresh[at / self.write] {
                self.violations.push(Violation::Reprogrammed { at });
            }
            if let Some((outcome, mut random)) = self.operation(false) {
                self.interrupted_program(at, &data[from..], outcome, &mut random);
                return Err(Fault::Off);
            }
            self.counts.programmed += self.write as u64;
            self.fresh[at / self.write] = false;
            self.change(at, &data[from..][..self.write]);
        }
        Ok(())
    }

    /// Erases whole blocks, an operation each.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn erase(&mut self, from: u32, to: u32) -> Result<(), Fault> {
        self.check(from as usize, to.saturating_sub(from) as usize, self.erase)?;
        for at in (from as usize..to as usize).step_by(self.erase) {
            let block = at..at + self.erase;
            self.block_erases[at / self.erase] += 1;
            self.counts.erased += 1;
            if let Some((outcome, mut random)) = self.operation(true) {
                self.interrupted_erase(at, outcome, &mut random);
                return Err(Fault::Off);
            }
            self.bytes[block.clone()].fill(self.erased);
            self.fresh[at / self.write..][..self.erase / self.write].fill(true);
            self.unstable.retain(|(byte, _)| !block.contains(byte));
            self.unreadable.retain(|granule| !block.contains(&(granule * self.write)));
        }
        Ok(())
    }
}
