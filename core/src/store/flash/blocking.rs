//! A blocking flash driver that wraps an async flash driver.

use core::future::Future;
use core::hint::spin_loop;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
use embedded_storage_async::nor_flash as async_flash;

/// A blocking flash driver that wraps an async one. [`Slots`](super::Slots) requires a blocking driver.
///
/// Each operation polls the future of the async driver in a loop until the future is ready. This needs no executor, no
/// waker and no memory allocation. The feature `nor-flash-async` enables this type.
///
/// # Why `Slots` has no async variant
/// * A save calls user-defined methods of [`Objects`](crate::checkpoint::Objects)
///   and [`StateDict`](crate::checkpoint::StateDict), and the `Serialize` implementations of values. All of them are
///   ordinary functions, which cannot await.
/// * A save borrows the model from its first to its last byte. If the save could await, the model would have to stay
///   unchanged at every await, so the training task could not continue during the save.
///
/// # What waits during an operation
/// The calling task does not return to its executor, so all other tasks of this executor wait. Interrupts and executors
/// with a higher priority continue. The processor does not sleep while it waits. The longest operation is usually an
/// erase. To avoid erases during a save, call [`Slots::erase_ahead`](super::Slots::erase_ahead) between two saves.
///
/// # Drivers that never become ready
/// An operation never returns if the driver waits for something that cannot happen during the operation:
///
/// * The driver waits for another task of the same executor, for example for a task that holds the async mutex of a
///   shared flash.
/// * The driver waits for an interrupt that cannot interrupt the caller. This is the case if interrupts are disabled,
///   or if the caller is an interrupt handler of the same or a higher priority.
///
/// # Example
/// ```
/// # use core::future::poll_fn;
/// # use core::task::Poll;
/// use embedded_storage_async::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
/// use training_monitor::store::flash::{BlockingNorFlash, Slots};
/// use training_monitor::{Engine, ModelCheckpoint, checkpoint::Named, event::IterationCompleted};
///
/// /// An async driver. RAM stands in for the flash.
/// struct Chip { bytes: [u8; 3072] }
///
/// # /// Returns `Pending` at the first poll, as a driver that waits for an interrupt does.
/// # async fn busy() {
/// #     let mut polls = 0;
/// #     poll_fn(|_| { polls += 1; if polls > 1 { Poll::Ready(()) } else { Poll::Pending } }).await
/// # }
/// impl ErrorType for Chip { type Error = NorFlashErrorKind; }
///
/// impl ReadNorFlash for Chip {
///     const READ_SIZE: usize = 1;
///     async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
/// #       busy().await;
///         bytes.copy_from_slice(&self.bytes[offset as usize..][..bytes.len()]);
///         Ok(())
///     }
///     fn capacity(&self) -> usize { self.bytes.len() }
/// }
///
/// impl NorFlash for Chip {
///     const WRITE_SIZE: usize = 4;
///     const ERASE_SIZE: usize = 256;
///     async fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
/// #       busy().await;
///         self.bytes[from as usize..to as usize].fill(0xFF);
///         Ok(())
///     }
///     async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
/// #       busy().await;
///         self.bytes[offset as usize..][..bytes.len()].copy_from_slice(bytes);
///         Ok(())
///     }
/// }
///
/// let mut chip = Chip { bytes: [0; 3072] };
/// let mut weights = [0.0_f32; 4];
/// let mut model = Named::new("model", &mut weights);
///
/// // The adapter borrows the driver here, so the driver is available again after the run.
/// let store = Slots::<_, 3>::open(BlockingNorFlash::new(&mut chip), 0..3072)?;
/// let mut checkpoint = ModelCheckpoint::<2>::every(2)?.attach(IterationCompleted, store)?;
/// Engine::new(1).run(&mut model, 0..6, &mut checkpoint, |model, batch, _| model[0] = batch as f32)?;
/// drop(checkpoint);
///
/// // After a reset, the checkpoint of iteration 6 is found.
/// let store = Slots::<_, 3>::open(BlockingNorFlash::new(&mut chip), 0..3072)?;
/// let mut checkpoint = ModelCheckpoint::<2>::every(2)?.attach(IterationCompleted, store)?;
/// let mut engine = Engine::<()>::new(1);
/// let resumed = engine.resume(&mut model, &mut checkpoint)?;
/// assert_eq!(resumed.map(|resumed| resumed.iteration), Some(6));
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BlockingNorFlash<F> {
    flash: F,
}

impl<F> BlockingNorFlash<F> {
    /// Wraps an async flash driver, or a `&mut` reference to one.
    pub const fn new(flash: F) -> Self {
        BlockingNorFlash { flash }
    }

    /// Returns a reference to the async flash driver.
    pub const fn inner(&self) -> &F {
        &self.flash
    }

    /// Returns the async driver, so that the program can await its operations, for example to read other data. The
    /// program must not write or erase a region of the flash that [`Slots`](super::Slots) uses.
    pub const fn inner_mut(&mut self) -> &mut F {
        &mut self.flash
    }

    /// Discards the wrapper and returns the async flash driver.
    pub fn into_inner(self) -> F {
        self.flash
    }
}

impl<F: async_flash::ErrorType> ErrorType for BlockingNorFlash<F> {
    type Error = F::Error;
}

impl<F: async_flash::ReadNorFlash> ReadNorFlash for BlockingNorFlash<F> {
    const READ_SIZE: usize = F::READ_SIZE;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), F::Error> {
        block_on(self.flash.read(offset, bytes))
    }

    fn capacity(&self) -> usize {
        self.flash.capacity()
    }
}

impl<F: async_flash::NorFlash> NorFlash for BlockingNorFlash<F> {
    const WRITE_SIZE: usize = F::WRITE_SIZE;
    const ERASE_SIZE: usize = F::ERASE_SIZE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), F::Error> {
        block_on(self.flash.erase(from, to))
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), F::Error> {
        block_on(self.flash.write(offset, bytes))
    }
}

/// Polls `future` in a loop until it is ready, and returns its output. The loop never sleeps, so no waker is needed.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => spin_loop(),
        }
    }
}
