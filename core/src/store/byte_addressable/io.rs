//! Writes and reads checkpoints in byte-addressable memory.

use super::ByteSlotsError;
use super::flash_view::FlashView;
use crate::store::flash;
use core::fmt::{self, Debug};
use embedded_io::{ErrorType, Read, Write};
use embedded_storage::Storage;

/// A writer for the checkpoint in a slot. It collects bytes until they fill a page, so that each page of the memory is
/// written once. The last page of a checkpoint is written when the checkpoint reaches its announced length.
pub struct Writer<'a, S, const PAGE: usize> {
    inner: flash::Writer<'a, FlashView<S, PAGE>>,
    /// The announced length of the checkpoint, in bytes.
    len: u32,
    /// The number of bytes that the writer has accepted.
    accepted: u32,
    /// The bytes of the current page that are not written yet. The first `accepted % PAGE` bytes are used.
    page: [u8; PAGE],
}

impl<'a, S, const PAGE: usize> Writer<'a, S, PAGE> {
    pub(super) const fn new(inner: flash::Writer<'a, FlashView<S, PAGE>>, len: u32) -> Self {
        Writer { inner, len, accepted: 0, page: [0; PAGE] }
    }
}

impl<S: Storage<Error: Debug>, const PAGE: usize> ErrorType for Writer<'_, S, PAGE> {
    type Error = ByteSlotsError<S::Error>;
}

impl<S: Storage<Error: Debug>, const PAGE: usize> Write for Writer<'_, S, PAGE> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
        let remaining = self.len.saturating_sub(self.accepted) as usize;
        if bytes.len() > remaining {
            let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX).saturating_add(self.accepted);
            return Err(ByteSlotsError::TooLong { len, max: self.len });
        }
        let used = self.accepted as usize % PAGE;
        let whole = bytes.len() - bytes.len() % PAGE;
        // `complete` contains the bytes to write to the memory now. `count` is the number of bytes that this call takes
        // from `bytes`.
        let (complete, count) = if used == 0 && whole > 0 {
            (bytes.get(..whole).unwrap_or_default(), whole)
        } else {
            let free = self.page.get_mut(used..).unwrap_or_default();
            let count = free.len().min(bytes.len());
            for (place, byte) in free.iter_mut().zip(bytes) {
                *place = *byte;
            }
            let end = used + count;
            let is_complete = count > 0 && (end == PAGE || count == remaining);
            (if is_complete { self.page.get(..end).unwrap_or_default() } else { &[] }, count)
        };
        if !complete.is_empty()
            && let Err(error) = self.inner.write(complete)
        {
            // After a failed write, the content of the memory is unknown. The length 0 makes all further calls fail.
            self.len = 0;
            return Err(ByteSlotsError::from_slots(error));
        }
        self.accepted = self.accepted.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        Ok(count)
    }

    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

impl<S, const PAGE: usize> Debug for Writer<'_, S, PAGE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("accepted", &self.accepted).field("len", &self.len).finish_non_exhaustive()
    }
}

/// A reader for the checkpoint in a slot.
pub struct Reader<'a, S, const PAGE: usize>(pub(super) flash::Reader<'a, FlashView<S, PAGE>>);

impl<S: Storage<Error: Debug>, const PAGE: usize> ErrorType for Reader<'_, S, PAGE> {
    type Error = ByteSlotsError<S::Error>;
}

impl<S: Storage<Error: Debug>, const PAGE: usize> Read for Reader<'_, S, PAGE> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Self::Error> {
        self.0.read(into).map_err(ByteSlotsError::from_slots)
    }
}

impl<S, const PAGE: usize> Debug for Reader<'_, S, PAGE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
