//! The drivers of flash and of byte-addressable memory on which the stores are called.

use core::future::poll_fn;
use core::task::Poll;
use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};
use embedded_storage::{ReadStorage, Storage};
use training_monitor::embedded_storage_async::nor_flash as async_flash;

/// A flash in RAM with write granules of `GRANULE` bytes.
pub struct Chip<const GRANULE: usize>(pub [u8; 3 * 1024]);

impl<const GRANULE: usize> ErrorType for Chip<GRANULE> {
    type Error = OutOfBounds;
}

impl<const GRANULE: usize> ReadNorFlash for Chip<GRANULE> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), OutOfBounds> {
        let source = self.0.get(offset as usize..).ok_or(OutOfBounds)?;
        bytes.iter_mut().zip(source).for_each(|(to, from)| *to = *from);
        Ok(())
    }
    fn capacity(&self) -> usize {
        self.0.len()
    }
}

impl<const GRANULE: usize> NorFlash for Chip<GRANULE> {
    const WRITE_SIZE: usize = GRANULE;
    const ERASE_SIZE: usize = 512;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), OutOfBounds> {
        self.0.get_mut(from as usize..to as usize).ok_or(OutOfBounds)?.fill(0xFF);
        Ok(())
    }
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), OutOfBounds> {
        let target = self.0.get_mut(offset as usize..).ok_or(OutOfBounds)?;
        target.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        Ok(())
    }
}

/// The error of [`Chip`]: the range exceeds the size of the flash.
#[derive(Debug, defmt::Format)]
pub struct OutOfBounds;

impl NorFlashError for OutOfBounds {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::OutOfBounds
    }
}

/// A byte-addressable memory in RAM.
pub struct ByteMemory(pub [u8; 3 * 1024]);

impl ReadStorage for ByteMemory {
    type Error = OutOfBounds;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), OutOfBounds> {
        let source = self.0.get(offset as usize..).ok_or(OutOfBounds)?;
        bytes.iter_mut().zip(source).for_each(|(to, from)| *to = *from);
        Ok(())
    }
    fn capacity(&self) -> usize {
        self.0.len()
    }
}

impl Storage for ByteMemory {
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), OutOfBounds> {
        let target = self.0.get_mut(offset as usize..).ok_or(OutOfBounds)?;
        target.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        Ok(())
    }
}

/// An async driver of the flash in RAM. Its futures are not `async fn`s, because the compiler adds a panic to each of
/// these, for a future that is polled after its completion.
pub struct AsyncChip(pub Chip<4>);

impl async_flash::ErrorType for AsyncChip {
    type Error = OutOfBounds;
}

impl async_flash::ReadNorFlash for AsyncChip {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> impl Future<Output = Result<(), OutOfBounds>> {
        let mut result = Some(self.0.read(offset, bytes));
        poll_fn(move |_| result.take().map_or(Poll::Pending, Poll::Ready))
    }
    fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

impl async_flash::NorFlash for AsyncChip {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 512;

    fn erase(&mut self, from: u32, to: u32) -> impl Future<Output = Result<(), OutOfBounds>> {
        let mut result = Some(self.0.erase(from, to));
        poll_fn(move |_| result.take().map_or(Poll::Pending, Poll::Ready))
    }
    fn write(&mut self, offset: u32, bytes: &[u8]) -> impl Future<Output = Result<(), OutOfBounds>> {
        let mut result = Some(self.0.write(offset, bytes));
        poll_fn(move |_| result.take().map_or(Poll::Pending, Poll::Ready))
    }
}
