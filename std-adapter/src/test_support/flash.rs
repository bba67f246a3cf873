//! NOR flash in memory, as strict as the worst of the real ones, whose power can be cut in the middle of anything.
//!
//! Holds its user to the contract: reads, programs and erases aligned and in bounds; a granule programmed once between
//! two erases, and never after an operation on it or its block was interrupted, however blank it reads. What breaks
//! that is noted as a [`Violation`]. Programming only changes bits away from the erased value. Each granule programmed
//! and each block erased is an *operation*, counted from 0; one of them can be told to be the last before the power
//! goes, with an [`Outcome`]. Then everything fails until [`power_on`](Chip::power_on).
//!
//! ```
//! use training_monitor::embedded_storage::nor_flash::{NorFlash, ReadNorFlash};
//! use training_monitor_std::test_support::flash::{Flash, Outcome, Violation};
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
//!
//! A firmware's own code on it, cut at every operation that a save has:
//!
//! ```
//! use training_monitor::{Engine, ModelCheckpoint, checkpoint::Named, event::EpochCompleted, store::flash::Slots};
//! use training_monitor::handlers::model_checkpoint::OnError;
//! use training_monitor_std::test_support::flash::{Flash, Outcome};
//!
//! // From power on to the end of the run, or until the power goes.
//! let session = |flash: &mut Flash<8, 256>| -> Option<f32> {
//!     let store = Slots::<_, 3>::open(flash, 0..768).ok()?;
//!     let settings = ModelCheckpoint::<2>::every(1)?.n_saved(2).on_error(OnError::Stop);
//!     let mut checkpoint = settings.build().ok()?.attach(EpochCompleted, store).ok()?;
//!     let mut model = Named::new("m", [0.0_f32]);
//!     let mut engine = Engine::new(3);
//!     engine.resume(&mut model, &mut checkpoint).ok()?;
//!     engine.run(&mut model, 0..2, &mut checkpoint, |model, batch, _| model.1[0] += batch as f32).ok()?;
//!     Some(model.1[0])
//! };
//! let mut flash = Flash::new(768, 0xFF);
//! assert_eq!(session(&mut flash), Some(3.0));
//! for operation in 0..flash.counts.operations {
//!     let mut flash = Flash::new(768, 0xFF);
//!     flash.cut_at(operation, Outcome::Garbage, 0);
//!     assert_eq!(session(&mut flash), None);
//!     flash.power_on();
//!     assert_eq!(session(&mut flash), Some(3.0)); // resumed, to the same bits
//!     assert_eq!(flash.violations(), []);
//! }
//! ```

pub use super::chip::{Chip, Counts, Fault, Violation};
pub use super::outcome::Outcome;

use core::ops::{Deref, DerefMut};
use training_monitor::embedded_storage::nor_flash::{ErrorType, MultiwriteNorFlash, NorFlash, ReadNorFlash};

/// The driver of a [`Chip`] that programs `WRITE`, erases `ERASE` and reads `READ` bytes at a time: its own, or one that
/// is lent (`C` = `&mut Chip`). It derefs to the chip, where cuts are ordered and counts are read.
#[derive(Clone, Debug)]
pub struct Flash<const WRITE: usize, const ERASE: usize, const READ: usize = 1, C = Box<Chip>>(C);

impl<const WRITE: usize, const ERASE: usize, const READ: usize> Flash<WRITE, ERASE, READ> {
    /// A flash fresh from the factory.
    #[must_use]
    pub fn new(capacity: usize, erased: u8) -> Self {
        Self::with_image(vec![erased; capacity], erased)
    }

    /// A flash with these bytes, of which nothing else is known.
    ///
    /// # Panics
    /// On an image that is not made of whole erase blocks, or blocks that are not made of whole granules.
    #[must_use]
    pub fn with_image(bytes: Vec<u8>, erased: u8) -> Self {
        Flash(Box::new(Chip::new(WRITE, ERASE, READ, bytes, erased)))
    }
}

impl<'a, const WRITE: usize, const ERASE: usize, const READ: usize> Flash<WRITE, ERASE, READ, &'a mut Chip> {
    /// Drives a chip that was made elsewhere. `None` for one of another geometry.
    pub fn over(chip: &'a mut Chip) -> Option<Self> {
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
    type Error = Fault;
}

impl<const WRITE: usize, const ERASE: usize, const READ: usize, C: DerefMut<Target = Chip>> ReadNorFlash
    for Flash<WRITE, ERASE, READ, C>
{
    const READ_SIZE: usize = READ;

    fn read(&mut self, offset: u32, into: &mut [u8]) -> Result<(), Fault> {
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

    fn write(&mut self, offset: u32, data: &[u8]) -> Result<(), Fault> {
        self.0.program(offset, data)
    }
    fn erase(&mut self, from: u32, to: u32) -> Result<(), Fault> {
        self.0.erase(from, to)
    }
}

/// Not for the slots: for stores that program a granule twice. They are not held to programming once where they own up.
impl<const WRITE: usize, const ERASE: usize, const READ: usize, C: DerefMut<Target = Chip>> MultiwriteNorFlash
    for Flash<WRITE, ERASE, READ, C>
{
}
