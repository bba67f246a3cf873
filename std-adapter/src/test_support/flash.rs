//! A simulated NOR flash in RAM, as strict as the strictest real chips. Power can fail during any operation.
//!
//! The flash checks the contract of a NOR flash and reports each violation as a [`Violation`]:
//!
//! * Each read, program and erase is aligned and within the capacity.
//! * A granule (the smallest unit that can be programmed) is programmed at most once between two erases.
//! * A granule is not programmed after an interrupted operation on the granule or on its block, even if the granule
//!   reads as erased. The block must be erased first.
//!
//! Programming changes bits only away from the erased value. Each programmed granule and each erased block is
//! one *operation*, counted from 0. The method [`cut_power_at`](Chip::cut_power_at) makes power fail during one
//! operation. An [`Interruption`] selects the effect of the power failure. All later calls fail
//! until [`power_on`](Chip::power_on).
//!
//! ```
//! use training_monitor::embedded_storage::nor_flash::{NorFlash, ReadNorFlash};
//! use training_monitor_std::test_support::flash::{Flash, Interruption, Violation};
//!
//! let mut flash = Flash::<4, 256>::new(512, 0xFF);
//! flash.erase(0, 256).unwrap();
//! flash.cut_power_at(1, Interruption::Half, 0);
//! assert!(flash.write(0, &[1, 2, 3, 4, 5, 6, 7, 8]).is_err()); // programs one granule and half of the next
//! flash.power_on();
//! let mut bytes = [0; 8];
//! flash.read(0, &mut bytes).unwrap();
//! assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 0xFF, 0xFF]);
//! flash.write(4, &[5, 6, 7, 8]).unwrap();
//! assert_eq!(flash.violations(), [Violation::Reprogrammed { at: 4 }]);
//! ```
//!
//! This test runs the training code of a firmware on the simulated flash. Power fails once in each flash operation of
//! the run, and the resumed run must give the same result:
//!
//! ```
//! use training_monitor::{Engine, ModelCheckpoint, checkpoint::Named, event::EpochCompleted, store::flash::Slots};
//! use training_monitor_std::test_support::flash::{Flash, Interruption};
//!
//! // Runs the firmware from power-on. Returns the result of the run, or `None` if power fails.
//! let session = |flash: &mut Flash<8, 256>| -> Option<f32> {
//!     let store = Slots::<_, 3>::open(flash, 0..768).ok()?;
//!     let mut checkpoint = ModelCheckpoint::<2>::every(1).ok()?.attach(EpochCompleted, store).ok()?;
//!     let mut model = Named::new("m", [0.0_f32]);
//!     let mut engine = Engine::new(3);
//!     engine.resume(&mut model, &mut checkpoint).ok()?;
//!     engine.run(&mut model, 0..2, &mut checkpoint, |model, batch, _| model[0] += batch as f32).ok()?;
//!     Some(model[0])
//! };
//! let mut flash = Flash::new(768, 0xFF);
//! assert_eq!(session(&mut flash), Some(3.0));
//! for operation in 0..flash.counts.operations {
//!     let mut flash = Flash::new(768, 0xFF);
//!     flash.cut_power_at(operation, Interruption::Garbage, 0);
//!     assert_eq!(session(&mut flash), None);
//!     flash.power_on();
//!     assert_eq!(session(&mut flash), Some(3.0)); // the resumed run has the same result
//!     assert_eq!(flash.violations(), []);
//! }
//! ```

pub use super::chip::{Chip, ChipError, Counts, Violation};
pub use super::interruption::Interruption;

use core::ops::{Deref, DerefMut};
use training_monitor::embedded_storage::nor_flash::{ErrorType, MultiwriteNorFlash, NorFlash, ReadNorFlash};

/// The driver of a simulated [`Chip`]. `WRITE` is the size of a granule (the smallest unit that can be programmed),
/// `ERASE` is the size of an erase block, and `READ` is the alignment of reads, in bytes.
///
/// The driver owns the chip, or borrows it if `C` is `&mut Chip`. All methods of the chip can be called on the driver.
#[derive(Clone, Debug)]
pub struct Flash<const WRITE: usize, const ERASE: usize, const READ: usize = 1, C = Box<Chip>>(C);

impl<const WRITE: usize, const ERASE: usize, const READ: usize> Flash<WRITE, ERASE, READ> {
    /// Creates a flash of `capacity` bytes. All bytes have the value `erased`, but each block must be erased before it
    /// is programmed.
    #[must_use]
    pub fn new(capacity: usize, erased: u8) -> Self {
        Self::with_image(vec![erased; capacity], erased)
    }

    /// Creates a flash with the content `bytes`. `erased` is the value of an erased byte. Each block must be erased
    /// before it is programmed.
    ///
    /// # Panics
    /// Panics if the length of `bytes` is not a multiple of `ERASE`, or `ERASE` is not a multiple of `WRITE`.
    #[must_use]
    pub fn with_image(bytes: Vec<u8>, erased: u8) -> Self {
        Flash(Box::new(Chip::new(WRITE, ERASE, READ, bytes, erased)))
    }
}

impl<'a, const WRITE: usize, const ERASE: usize, const READ: usize> Flash<WRITE, ERASE, READ, &'a mut Chip> {
    /// Creates a driver that borrows an existing chip. Returns `None` if the sizes of the chip differ from `WRITE`,
    /// `ERASE` and `READ`.
    pub fn with_chip(chip: &'a mut Chip) -> Option<Self> {
        (chip.geometry() == (WRITE, ERASE, READ)).then_some(Flash(chip))
    }
}

impl<const WRITE: usize, const ERASE: usize, const READ: usize, C: Deref<Target = Chip>> Deref
    for Flash<WRITE, ERASE, READ, C>
{
    type Target = Chip;
    fn deref(&self) -> &Chip {
        &self.0
    }
}

impl<const WRITE: usize, const ERASE: usize, const READ: usize, C: DerefMut<Target = Chip>> DerefMut
    for Flash<WRITE, ERASE, READ, C>
{
    fn deref_mut(&mut self) -> &mut Chip {
        &mut self.0
    }
}

impl<const WRITE: usize, const ERASE: usize, const READ: usize, C> ErrorType for Flash<WRITE, ERASE, READ, C> {
    type Error = ChipError;
}

impl<const WRITE: usize, const ERASE: usize, const READ: usize, C: DerefMut<Target = Chip>> ReadNorFlash
    for Flash<WRITE, ERASE, READ, C>
{
    const READ_SIZE: usize = READ;

    fn read(&mut self, offset: u32, into: &mut [u8]) -> Result<(), ChipError> {
        self.0.read(offset, into)
    }
    fn capacity(&self) -> usize {
        self.0.image().len()
    }
}

impl<const WRITE: usize, const ERASE: usize, const READ: usize, C: DerefMut<Target = Chip>> NorFlash
    for Flash<WRITE, ERASE, READ, C>
{
    const WRITE_SIZE: usize = WRITE;
    const ERASE_SIZE: usize = ERASE;

    fn write(&mut self, offset: u32, data: &[u8]) -> Result<(), ChipError> {
        self.0.program(offset, data)
    }
    fn erase(&mut self, from: u32, to: u32) -> Result<(), ChipError> {
        self.0.erase(from, to)
    }
}

/// Allows tests of stores that program a granule twice without an erase in between. The chip reports each such write as
/// a [`Violation::Reprogrammed`], which these tests must ignore.
impl<const WRITE: usize, const ERASE: usize, const READ: usize, C: DerefMut<Target = Chip>> MultiwriteNorFlash
    for Flash<WRITE, ERASE, READ, C>
{
}
