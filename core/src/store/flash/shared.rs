//! Lets several stores use one flash driver.

use core::cell::RefCell;
use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};

/// A reference to a flash driver that several stores share. For example, one store keeps the best checkpoints, and
/// another one keeps the latest. Each store has its own region of the flash and its own copy of this reference. The
/// regions must not overlap. This is not checked: a store knows only its own region.
///
/// ```
/// # use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
/// # struct Chip([u8; 4096]);
/// # impl ErrorType for Chip { type Error = NorFlashErrorKind; }
/// # impl ReadNorFlash for Chip {
/// #     const READ_SIZE: usize = 1;
/// #     fn read(&mut self, at: u32, to: &mut [u8]) -> Result<(), NorFlashErrorKind> {
/// #         to.copy_from_slice(&self.0[at as usize..][..to.len()]);
/// #         Ok(())
/// #     }
/// #     fn capacity(&self) -> usize { 4096 }
/// # }
/// # impl NorFlash for Chip {
/// #     const WRITE_SIZE: usize = 4;
/// #     const ERASE_SIZE: usize = 256;
/// #     fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
/// #         self.0[from as usize..to as usize].fill(0xFF);
/// #         Ok(())
/// #     }
/// #     fn write(&mut self, at: u32, from: &[u8]) -> Result<(), NorFlashErrorKind> {
/// #         self.0[at as usize..][..from.len()].copy_from_slice(from);
/// #         Ok(())
/// #     }
/// # }
/// use core::cell::RefCell;
/// use training_monitor::event::EpochCompleted;
/// use training_monitor::store::flash::{SharedNorFlash, Slots};
/// use training_monitor::{Engine, ModelCheckpoint, checkpoint::Named};
///
/// # let chip = Chip([0xFF; 4096]);
/// let flash = RefCell::new(chip);
/// let latest = Slots::<_, 2>::open(SharedNorFlash(&flash), 0..1024)?;
/// let best = Slots::<_, 3>::open(SharedNorFlash(&flash), 1024..2560)?;
/// let mut handlers = (
///     ModelCheckpoint::<1>::every(1)?.attach(EpochCompleted, latest)?,
///     ModelCheckpoint::<2>::best_by(|s| -s.output.unwrap_or(f32::INFINITY)).attach(EpochCompleted, best)?,
/// );
/// let mut model = Named::new("model", [0.0_f32; 4]);
/// Engine::new(3).run(&mut model, 0..4, &mut handlers, |_, batch, _| batch as f32)?;
/// assert_eq!(handlers.0.policy().latest().map(|latest| latest.step), Some(3));
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SharedNorFlash<'a, F>(
    /// The flash driver that the stores share.
    pub &'a RefCell<F>,
);

impl<F> Clone for SharedNorFlash<'_, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F> Copy for SharedNorFlash<'_, F> {}

/// An error of a [`SharedNorFlash`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum SharedError<E> {
    /// The error that the flash driver returned.
    Flash(E),
    /// Other code is using the driver. This can happen if an interrupt handler accesses the flash while the main
    /// program accesses it.
    InUse,
}

impl<E: NorFlashError> NorFlashError for SharedError<E> {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            SharedError::Flash(error) => error.kind(),
            SharedError::InUse => NorFlashErrorKind::Other,
        }
    }
}

impl<F: ErrorType> ErrorType for SharedNorFlash<'_, F> {
    type Error = SharedError<F::Error>;
}

impl<F: ReadNorFlash> ReadNorFlash for SharedNorFlash<'_, F> {
    const READ_SIZE: usize = F::READ_SIZE;
    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        let mut flash = self.0.try_borrow_mut().map_err(|_| SharedError::InUse)?;
        flash.read(offset, bytes).map_err(SharedError::Flash)
    }
    fn capacity(&self) -> usize {
        self.0.try_borrow().map_or(0, |flash| flash.capacity())
    }
}

impl<F: NorFlash> NorFlash for SharedNorFlash<'_, F> {
    const WRITE_SIZE: usize = F::WRITE_SIZE;
    const ERASE_SIZE: usize = F::ERASE_SIZE;
    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        let mut flash = self.0.try_borrow_mut().map_err(|_| SharedError::InUse)?;
        flash.erase(from, to).map_err(SharedError::Flash)
    }
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        let mut flash = self.0.try_borrow_mut().map_err(|_| SharedError::InUse)?;
        flash.write(offset, bytes).map_err(SharedError::Flash)
    }
}
