//! A flash driver that lets the program serve other tasks between its operations.

use super::layout::MAX_GRANULE;
use super::region::to_u32;
use core::fmt;
use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};

/// A flash driver that calls a function of the program after each erase of a block, each write of a piece, and each
/// read. The function can for example serve a radio or feed a watchdog. It cannot access the model or the store.
///
/// A save with this driver waits until it is complete, but the longest time between two calls of the function is that of
/// one operation. It needs no further RAM, and works with every handler and with
/// [`Engine::run`](crate::Engine::run). To return from the save instead of calling a function, use
/// [`SaveInPieces`](crate::handlers::model_checkpoint::SaveInPieces).
///
/// ```
/// # use training_monitor::embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
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
/// use core::cell::Cell;
/// use training_monitor::event::IterationCompleted;
/// use training_monitor::store::flash::{Slots, YieldingNorFlash};
/// use training_monitor::{Engine, ModelCheckpoint, checkpoint::Named};
///
/// # let chip = Chip([0; 4096]);
/// let calls = Cell::new(0);
/// let flash = YieldingNorFlash::new(chip, 256, || calls.set(calls.get() + 1));
/// let store = Slots::<_, 2>::open(flash, 0..4096)?;
/// let mut checkpoint = ModelCheckpoint::<1>::every(2)?.attach(IterationCompleted, store)?;
/// let mut model = Named::new("model", [0.5_f32; 256]);
/// calls.set(0);
/// Engine::new(1).run(&mut model, 0..2, &mut checkpoint, |_, _, _| ())?;
/// // The save erased 5 blocks, and wrote 1.1 KiB in pieces of up to 256 bytes.
/// assert!(calls.get() >= 5 + 5);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
pub struct YieldingNorFlash<F, Y> {
    flash: F,
    piece_len: usize,
    yield_now: Y,
}

impl<F, Y: FnMut()> YieldingNorFlash<F, Y> {
    /// Wraps a flash driver. A write has at most `piece_len` bytes, rounded down to a multiple of 32 and at least 32.
    /// `yield_now` is called after each operation.
    pub const fn new(flash: F, piece_len: usize, yield_now: Y) -> Self {
        let piece_len = piece_len - piece_len % MAX_GRANULE;
        YieldingNorFlash { flash, piece_len: if piece_len == 0 { MAX_GRANULE } else { piece_len }, yield_now }
    }

    /// Returns the wrapped driver. Do not write or erase the region of a store.
    pub const fn inner_mut(&mut self) -> &mut F {
        &mut self.flash
    }

    /// Discards the wrapper and returns the driver.
    pub fn into_inner(self) -> F {
        self.flash
    }
}

impl<F: fmt::Debug, Y> fmt::Debug for YieldingNorFlash<F, Y> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("YieldingNorFlash")
            .field("flash", &self.flash)
            .field("piece_len", &self.piece_len)
            .finish_non_exhaustive()
    }
}

impl<F: ErrorType, Y> ErrorType for YieldingNorFlash<F, Y> {
    type Error = F::Error;
}

impl<F: ReadNorFlash, Y: FnMut()> ReadNorFlash for YieldingNorFlash<F, Y> {
    const READ_SIZE: usize = F::READ_SIZE;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), F::Error> {
        let result = self.flash.read(offset, bytes);
        (self.yield_now)();
        result
    }
    fn capacity(&self) -> usize {
        self.flash.capacity()
    }
}

impl<F: NorFlash, Y: FnMut()> NorFlash for YieldingNorFlash<F, Y> {
    const WRITE_SIZE: usize = F::WRITE_SIZE;
    const ERASE_SIZE: usize = F::ERASE_SIZE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), F::Error> {
        let mut start = from;
        while start < to {
            let end = start.saturating_add(to_u32(F::ERASE_SIZE).max(1)).min(to);
            let result = self.flash.erase(start, end);
            (self.yield_now)();
            result?;
            start = end;
        }
        Ok(())
    }
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), F::Error> {
        let mut address = offset;
        // `max` shows the compiler that the length is not 0, so that it adds no panic.
        for piece in bytes.chunks(self.piece_len.max(1)) {
            let result = self.flash.write(address, piece);
            (self.yield_now)();
            result?;
            address = address.saturating_add(to_u32(piece.len()));
        }
        Ok(())
    }
}
