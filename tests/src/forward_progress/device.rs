//! The simulated device: a memory chip whose operations take time, a clock that continues while the power is off, and
//! a power supply that fails at a given time.
//!
//! An operation that does not end before the power fails is interrupted in the granule or block in which the power
//! fails. The content of this granule or block is then one of the effects of [`Interruption`], at random.

use super::parts::{Budget, Part, Timing};
use super::time::{MICROSECOND, Nanos};
use std::cell::{Cell, RefCell};
use training_monitor::embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
use training_monitor::embedded_storage::{ReadStorage, Storage};
use training_monitor::time::Clock;
use training_monitor_std::test_support::flash::{Chip, ChipError, Interruption};
use training_monitor_std::test_support::random::Random;

/// A device with one memory. All numbers count from the first start.
#[derive(Debug)]
pub struct Device {
    timing: Timing,
    geometry: (usize, usize),
    slot_size: usize,
    budget: Option<Budget>,
    chip: RefCell<Chip>,
    random: RefCell<Random>,
    now: Cell<Nanos>,
    fails_at: Cell<Nanos>,
    is_on: Cell<bool>,
    /// The time in which the memory was busy.
    pub busy: Cell<Nanos>,
    /// The erases of slots that began.
    pub slot_erases: Cell<u64>,
    /// The largest number of erases that the wear budget did not allow at a moment.
    pub largest_excess: Cell<u64>,
    /// The operations that a power failure interrupted: erases, programs and reads.
    pub interrupted: Cell<[u32; 3]>,
}

impl Device {
    /// Creates a device without power at the time 0, with random content in its memory.
    #[must_use]
    pub fn new(part: &Part, budget: Option<Budget>, seed: u64) -> Self {
        let (write, erase) = part.geometry;
        let mut random = Random::new(seed);
        let chip = if write == erase {
            Chip::byte_addressable(write, vec![random.byte(); part.region()])
        } else {
            Chip::new(write, erase, 1, vec![random.byte(); part.region()], 0xFF)
        };
        Device {
            timing: part.timing,
            geometry: part.geometry,
            slot_size: part.slot_size,
            budget,
            chip: RefCell::new(chip),
            random: RefCell::new(random),
            now: Cell::new(0),
            fails_at: Cell::new(0),
            is_on: Cell::new(false),
            busy: Cell::new(0),
            slot_erases: Cell::new(0),
            largest_excess: Cell::new(0),
            interrupted: Cell::new([0; 3]),
        }
    }

    /// Switches the power on for the time `on_time`.
    pub fn power_on(&self, on_time: Nanos) {
        self.chip.borrow_mut().power_on();
        self.fails_at.set(self.now.get().saturating_add(on_time));
        self.is_on.set(true);
    }

    /// Lets the time pass until the power has failed and was off for the time `off_time`.
    pub fn power_off(&self, off_time: Nanos) {
        self.is_on.set(false);
        self.now.set(self.fails_at.get() + off_time);
    }

    /// Returns whether the device has power.
    pub fn is_on(&self) -> bool {
        self.is_on.get()
    }

    /// Returns the time since the first start.
    pub fn now(&self) -> Nanos {
        self.now.get()
    }

    /// Lets the CPU work for the time `time`. Returns false if the power fails before the work is done.
    pub fn work(&self, time: Nanos) -> bool {
        let end = self.now.get() + time;
        if self.is_on.get() && end <= self.fails_at.get() {
            self.now.set(end);
            return true;
        }
        self.fail();
        false
    }

    /// Returns the chip, for example to read its counters.
    pub fn chip(&self) -> std::cell::Ref<'_, Chip> {
        self.chip.borrow()
    }

    fn fail(&self) {
        if self.is_on.replace(false) {
            self.now.set(self.fails_at.get());
        }
    }

    /// Lets the memory be busy for the time `time`. If the power fails before its end, returns the time until then.
    fn keep_busy(&self, time: Nanos, kind: usize) -> Option<Nanos> {
        let left = self.fails_at.get().saturating_sub(self.now.get());
        self.busy.set(self.busy.get() + time.min(left));
        if time <= left {
            self.now.set(self.now.get() + time);
            return None;
        }
        self.fail();
        let mut interrupted = self.interrupted.get();
        interrupted[kind] += 1;
        self.interrupted.set(interrupted);
        Some(left)
    }

    fn read(&self, offset: u32, into: &mut [u8]) -> Result<(), ChipError> {
        if !self.is_on() || self.keep_busy(self.timing.transfer(into.len()), READ).is_some() {
            return Err(ChipError::PowerOff);
        }
        self.chip.borrow_mut().read(offset, into)
    }

    /// Programs or overwrites bytes.
    fn write(&self, offset: u32, data: &[u8]) -> Result<(), ChipError> {
        if !self.is_on() {
            return Err(ChipError::PowerOff);
        }
        let mut chip = self.chip.borrow_mut();
        let time = self.timing.write(offset as usize, data.len());
        if let Some(left) = self.keep_busy(time, PROGRAM) {
            // The power fails in the granule that is being written at this time.
            let write = self.geometry.0 as u64;
            let first = u64::from(offset) / write;
            let granules = (u64::from(offset) + data.len() as u64).div_ceil(write) - first;
            let after = (left * granules / time).min(granules.saturating_sub(1));
            self.interrupt(&mut chip, after, false);
        }
        if chip.is_byte_addressable() { chip.overwrite(offset, data) } else { chip.program(offset, data) }
    }

    fn erase(&self, from: u32, to: u32) -> Result<(), ChipError> {
        for block in (from..to).step_by(self.geometry.1) {
            if !self.is_on() {
                return Err(ChipError::PowerOff);
            }
            self.count_erase(block);
            let mut chip = self.chip.borrow_mut();
            if self.keep_busy(self.timing.erase, ERASE).is_some() {
                self.interrupt(&mut chip, 0, true);
            }
            chip.erase(block, block + self.geometry.1 as u32)?;
        }
        Ok(())
    }

    fn count_erase(&self, block: u32) {
        if !(block as usize).is_multiple_of(self.slot_size) {
            return;
        }
        self.slot_erases.set(self.slot_erases.get() + 1);
        if let Some(budget) = self.budget {
            let excess = self.slot_erases.get().saturating_sub(budget.allowed(self.now()));
            self.largest_excess.set(self.largest_excess.get().max(excess));
        }
    }

    fn interrupt(&self, chip: &mut Chip, after: u64, erase: bool) {
        let mut random = self.random.borrow_mut();
        let write_size = self.geometry.0;
        let effects = if chip.is_byte_addressable() {
            Interruption::all_of_overwrite(write_size)
        } else {
            Interruption::all(erase, write_size)
        };
        chip.cut_power_at(after, *random.pick(effects), random.bits());
    }
}

const ERASE: usize = 0;
const PROGRAM: usize = 1;
const READ: usize = 2;

/// The real-time clock of a device. It counts microseconds and continues while the power is off.
#[derive(Clone, Copy, Debug)]
pub struct RealTimeClock<'a>(pub &'a Device);

impl Clock for RealTimeClock<'_> {
    fn now(&mut self) -> u64 {
        self.0.now() / MICROSECOND
    }
}

/// The flash driver of a device with granules of `WRITE` bytes and blocks of `ERASE` bytes.
#[derive(Clone, Copy, Debug)]
pub struct FlashDriver<'a, const WRITE: usize, const ERASE: usize>(pub &'a Device);

impl<const WRITE: usize, const ERASE: usize> ErrorType for FlashDriver<'_, WRITE, ERASE> {
    type Error = ChipError;
}

impl<const WRITE: usize, const ERASE: usize> ReadNorFlash for FlashDriver<'_, WRITE, ERASE> {
    const READ_SIZE: usize = 1;
    fn read(&mut self, offset: u32, into: &mut [u8]) -> Result<(), ChipError> {
        self.0.read(offset, into)
    }
    fn capacity(&self) -> usize {
        self.0.chip().image().len()
    }
}

impl<const WRITE: usize, const ERASE: usize> NorFlash for FlashDriver<'_, WRITE, ERASE> {
    const WRITE_SIZE: usize = WRITE;
    const ERASE_SIZE: usize = ERASE;
    fn write(&mut self, offset: u32, data: &[u8]) -> Result<(), ChipError> {
        self.0.write(offset, data)
    }
    fn erase(&mut self, from: u32, to: u32) -> Result<(), ChipError> {
        self.0.erase(from, to)
    }
}

/// The driver of byte-addressable memory of a device.
#[derive(Clone, Copy, Debug)]
pub struct MemoryDriver<'a>(pub &'a Device);

impl ReadStorage for MemoryDriver<'_> {
    type Error = ChipError;
    fn read(&mut self, offset: u32, into: &mut [u8]) -> Result<(), ChipError> {
        self.0.read(offset, into)
    }
    fn capacity(&self) -> usize {
        self.0.chip().image().len()
    }
}

impl Storage for MemoryDriver<'_> {
    fn write(&mut self, offset: u32, data: &[u8]) -> Result<(), ChipError> {
        self.0.write(offset, data)
    }
}
