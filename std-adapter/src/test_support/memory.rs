//! A simulated byte-addressable memory in RAM: FRAM, MRAM or EEPROM. Power can fail during any write.
//!
//! A page is the unit that the memory writes internally: one byte of an FRAM, or a page of an EEPROM. Each written page
//! is one *operation*, counted from 0. The method [`cut_power_at`](Chip::cut_power_at) makes power fail during one
//! operation. An [`Interruption`] selects its effect on the page, and [`Interruption::OVERWRITE`] lists the possible
//! effects: the page can then have any content, also bits with a random value in each read. The effect `Scatter` also
//! changes later pages of the same call, because no order of the bytes of a call is guaranteed. All later calls fail
//! until [`power_on`](Chip::power_on). A complete write of a page makes its bits stable again.
//!
//! ```
//! use training_monitor::embedded_storage::{ReadStorage, Storage};
//! use training_monitor_std::test_support::memory::{Interruption, Memory};
//!
//! let mut fram = Memory::new(8192, 1);
//! fram.cut_power_at(2, Interruption::Nothing, 0);
//! assert!(fram.write(100, &[1, 2, 3, 4]).is_err()); // writes two bytes
//! fram.power_on();
//! let mut bytes = [0xFF; 4];
//! fram.read(100, &mut bytes).unwrap();
//! assert_eq!(bytes, [1, 2, 0, 0]);
//!
//! // An EEPROM with pages of 64 bytes. A page can be lost as a whole, with bytes that the call does not write.
//! let mut eeprom = Memory::new(8192, 64);
//! eeprom.write(120, &[1, 2, 3, 4]).unwrap();
//! eeprom.cut_power_at(0, Interruption::One, 0);
//! assert!(eeprom.write(126, &[5]).is_err());
//! eeprom.power_on();
//! eeprom.read(120, &mut bytes).unwrap();
//! assert_eq!(bytes, [0xFF; 4]);
//! ```
//!
//! The judge of power failures interrupts each write of a store on this memory:
//!
//! ```
//! use training_monitor::store::byte_addressable::ByteSlots;
//! use training_monitor::store::flash::RegionError;
//! use training_monitor_std::test_support::memory::{Chip, Interruption, Memory};
//! use training_monitor_std::test_support::{JudgeOptions, Medium, PowerMedium, judge_power_failures};
//!
//! /// An EEPROM with pages of 64 bytes.
//! struct Device(Memory);
//!
//! impl Medium for Device {
//!     type Store<'a> = ByteSlots<Memory<&'a mut Chip>, 3, 64>; // replace this by your store
//!     type OpenError = RegionError;
//!     fn open(&mut self) -> Result<Self::Store<'_>, RegionError> {
//!         ByteSlots::open(self.0.borrow_mut(), 0..3072)
//!     }
//! }
//!
//! const EFFECTS: [Interruption; 3] = [Interruption::Nothing, Interruption::Garbage, Interruption::Whole];
//!
//! impl PowerMedium for Device {
//!     fn operations(&self) -> u64 {
//!         self.0.counts.operations
//!     }
//!     fn cut_power_at(&mut self, operation: u64, seed: u64) {
//!         let after = operation - self.0.counts.operations;
//!         self.0.cut_power_at(after, EFFECTS[seed as usize % EFFECTS.len()], seed);
//!     }
//!     fn restore_power(&mut self) {
//!         self.0.power_on();
//!     }
//! }
//!
//! let options = JudgeOptions { effects: EFFECTS.len() as u64, second_failures: 1 };
//! let report = judge_power_failures(|| Device(Memory::new(3072, 64)), options)?;
//! assert!(report.cases > 1000);
//! # Ok::<(), training_monitor_std::test_support::PowerFailureViolation>(())
//! ```

pub use super::chip::{Chip, ChipError, Counts, Violation};
pub use super::interruption::Interruption;

use core::ops::{Deref, DerefMut};
use training_monitor::embedded_storage::{ReadStorage, Storage};

/// The driver of a simulated byte-addressable memory. All methods of the [`Chip`] can be called on the driver. Its field
/// [`block_erases`](Chip::block_erases) contains the number of writes of each page.
///
/// The driver owns the chip, or borrows it if `C` is `&mut Chip`.
#[derive(Clone, Debug)]
pub struct Memory<C = Box<Chip>>(C);

impl Memory {
    /// Creates a memory of `capacity` bytes, which are 0. `page` is the number of bytes that the memory writes as one
    /// unit: 1 for an FRAM.
    ///
    /// # Panics
    /// Panics if `capacity` is not a multiple of `page`.
    #[must_use]
    pub fn new(capacity: usize, page: usize) -> Self {
        Self::with_image(vec![0; capacity], page)
    }

    /// Creates a memory with the content `bytes` and pages of `page` bytes.
    ///
    /// # Panics
    /// Panics if the length of `bytes` is not a multiple of `page`.
    #[must_use]
    pub fn with_image(bytes: Vec<u8>, page: usize) -> Self {
        Memory(Box::new(Chip::byte_addressable(page, bytes)))
    }

    /// Returns a driver that borrows the chip, for example for a store.
    pub fn borrow_mut(&mut self) -> Memory<&mut Chip> {
        Memory(&mut self.0)
    }
}

impl<'a> Memory<&'a mut Chip> {
    /// Creates a driver that borrows an existing chip. Returns `None` if the chip is a flash.
    pub fn with_chip(chip: &'a mut Chip) -> Option<Self> {
        chip.is_byte_addressable().then_some(Memory(chip))
    }
}

impl<C: Deref<Target = Chip>> Deref for Memory<C> {
    type Target = Chip;
    fn deref(&self) -> &Chip {
        &self.0
    }
}

impl<C: DerefMut<Target = Chip>> DerefMut for Memory<C> {
    fn deref_mut(&mut self) -> &mut Chip {
        &mut self.0
    }
}

impl<C: DerefMut<Target = Chip>> ReadStorage for Memory<C> {
    type Error = ChipError;

    fn read(&mut self, offset: u32, into: &mut [u8]) -> Result<(), ChipError> {
        self.0.read(offset, into)
    }
    fn capacity(&self) -> usize {
        self.0.image().len()
    }
}

impl<C: DerefMut<Target = Chip>> Storage for Memory<C> {
    fn write(&mut self, offset: u32, data: &[u8]) -> Result<(), ChipError> {
        self.0.overwrite(offset, data)
    }
}
