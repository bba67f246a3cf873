//! Presents byte-addressable memory as a flash, so that the flash store can use it.

use super::SLOT_ALIGNMENT;
use crate::checkpoint::Checksum;
use crate::store::flash::RegionError;
use crate::store::flash::layout::{CommitRecord, RECORD_LEN, SEAL_LEN, SEAL_OFFSET, STREAM_OFFSET};
use core::fmt::{self, Debug};
use core::ops::Range;
use embedded_storage::Storage;
use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};

/// The largest page with which the layout of a flash slot separates record, seal and stream.
const MAX_PAGE_OF_FLASH_LAYOUT: usize = (STREAM_OFFSET - SEAL_OFFSET) as usize;
/// The number of bytes in which a seal is alone, if pages are larger than that.
const SEAL_PAGE: u32 = SLOT_ALIGNMENT as u32;
/// The distance of the addresses at which a record can be.
const ERASE_SIZE: u32 = SLOT_ALIGNMENT as u32;
/// The offset by which record and stream are moved, if pages are larger than that. The stream then starts with a page.
const SHIFT: u32 = SEAL_PAGE - STREAM_OFFSET;

const fn has_large_pages<const PAGE: usize>() -> bool {
    PAGE > MAX_PAGE_OF_FLASH_LAYOUT
}

/// Returns the number of bytes of a slot that the flash layout does not use.
const fn reserved_bytes<const PAGE: usize>() -> u32 {
    if has_large_pages::<PAGE>() { SHIFT + SEAL_PAGE } else { 0 }
}

/// Byte-addressable memory that is presented as a flash with erase blocks of [`SLOT_ALIGNMENT`] bytes. Bytes are overwritten
/// without an erase. An erase only makes a slot invalid: it writes zeros over the commit record and the seal.
///
/// [`ByteSlots`](super::ByteSlots) uses this type. A program needs it only if it learns the number of slots when it runs: it
/// then opens [`Slots`](crate::store::flash::Slots) with a [`RunTimeGeometry`](crate::store::flash::RunTimeGeometry). Such a
/// store writes each page of up to 64 bytes once per save, because the encoder writes multiples of 64 bytes, and a larger
/// page up to four times.
// The addresses are those of the flash layout. With large pages, record and stream are moved by `SHIFT`, and the seal is
// moved to the last bytes of the slot.
#[derive(Debug)]
pub struct FlashView<S, const PAGE: usize> {
    storage: S,
    /// The address of slot 0, in bytes.
    start: u32,
    /// The size of a slot, in bytes. The value is only meaningful if the flash store accepts the region.
    slot: u32,
}

/// The error of a [`FlashView`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ViewError<E> {
    /// The error of the driver of the memory.
    Memory(E),
    /// The bytes are not inside one slot. Only a record that no save has written has such a length.
    OutsideSlot,
}

impl<E: Debug> fmt::Display for ViewError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ViewError::Memory(error) => write!(f, "the driver of the memory failed: {error:?}"),
            ViewError::OutsideSlot => {
                f.write_str("the bytes are not inside the part of a slot that the flash layout uses")
            }
        }
    }
}

impl<E: Debug> core::error::Error for ViewError<E> {}

impl<E: Debug> NorFlashError for ViewError<E> {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

impl<S: Storage, const PAGE: usize> FlashView<S, PAGE> {
    /// The number of bytes of a slot that the flash layout does not use.
    pub const RESERVED: u32 = reserved_bytes::<PAGE>();

    /// Creates a view of a region that contains a number of slots.
    pub fn new(storage: S, region: &Range<u32>, slots: usize) -> Self {
        let len = region.end.saturating_sub(region.start);
        let slot = u32::try_from(slots).ok().and_then(|slots| len.checked_div(slots)).unwrap_or(0);
        FlashView { storage, start: region.start, slot }
    }

    /// Searches the region for commit records of the other layout, which other page sizes have. Such checkpoints would be
    /// overwritten.
    ///
    /// # Errors
    /// Returns [`RegionError::OtherLayout`] for such a record.
    pub fn check_page_size<C: Checksum>(&mut self, region: Range<u32>) -> Result<(), RegionError> {
        let record_offset = if has_large_pages::<PAGE>() { 0 } else { SHIFT };
        let mut address = region.start;
        while address < region.end {
            let mut bytes = [0; SEAL_OFFSET as usize];
            let record = bytes.get_mut(..RECORD_LEN).unwrap_or_default();
            let readable = self.storage.read(address.saturating_add(record_offset), record).is_ok();
            if let Some(record) = CommitRecord::from_bytes::<C>(&bytes).filter(|_| readable) {
                let CommitRecord { size, index, last, .. } = record;
                return Err(RegionError::OtherLayout { address, slot: size, index, slots: u16::from(last) + 1 });
            }
            address = address.saturating_add(ERASE_SIZE);
        }
        Ok(())
    }

    /// Returns the offset of an address from the start of its slot.
    fn slot_offset(&self, address: u32) -> Option<u32> {
        address.checked_sub(self.start)?.checked_rem(self.slot)
    }

    /// Returns the address in the memory of `len` bytes at an address of the flash layout.
    fn locate(&self, address: u32, len: usize) -> Result<u32, ViewError<S::Error>> {
        if !has_large_pages::<PAGE>() {
            return Ok(address);
        }
        let offset = self.slot_offset(address).ok_or(ViewError::OutsideSlot)?;
        let end_of_stream = self.slot.saturating_sub(SEAL_PAGE);
        if offset == SEAL_OFFSET && len <= SEAL_LEN {
            return Ok(address.wrapping_sub(offset).wrapping_add(end_of_stream));
        }
        let is_inside = u32::try_from(len)
            .ok()
            .and_then(|len| offset.checked_add(SHIFT)?.checked_add(len))
            .is_some_and(|end| end <= end_of_stream);
        if is_inside { Ok(address.wrapping_add(SHIFT)) } else { Err(ViewError::OutsideSlot) }
    }
}

impl<S, const PAGE: usize> FlashView<S, PAGE> {
    /// Returns a reference to the driver of the memory.
    pub const fn storage(&self) -> &S {
        &self.storage
    }

    /// Returns the driver of the memory, for access to addresses outside the region.
    pub const fn storage_mut(&mut self) -> &mut S {
        &mut self.storage
    }

    /// Discards the view and returns the driver of the memory.
    pub fn into_storage(self) -> S {
        self.storage
    }
}

impl<S: Storage<Error: Debug>, const PAGE: usize> ErrorType for FlashView<S, PAGE> {
    type Error = ViewError<S::Error>;
}

impl<S: Storage<Error: Debug>, const PAGE: usize> ReadNorFlash for FlashView<S, PAGE> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        let address = self.locate(offset, bytes.len())?;
        self.storage.read(address, bytes).map_err(ViewError::Memory)
    }

    fn capacity(&self) -> usize {
        self.storage.capacity()
    }
}

impl<S: Storage<Error: Debug>, const PAGE: usize> NorFlash for FlashView<S, PAGE> {
    /// The [writer](super::Writer) collects whole pages, so the flash store need not collect bytes.
    const WRITE_SIZE: usize = 1;
    /// Opening looks for a commit record at each multiple of this size.
    const ERASE_SIZE: usize = SLOT_ALIGNMENT;

    /// Makes the slot at `from` invalid. The flash store erases the blocks of a slot one after the other. The blocks
    /// without a record need no erase.
    fn erase(&mut self, from: u32, _: u32) -> Result<(), Self::Error> {
        if self.slot_offset(from) != Some(0) {
            return Ok(());
        }
        // First the record: a slot with a record but without a seal would count as an interrupted commit.
        self.write(from, &[0; RECORD_LEN])?;
        self.write(from.wrapping_add(SEAL_OFFSET), &[0; SEAL_LEN])
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        let address = self.locate(offset, bytes.len())?;
        self.storage.write(address, bytes).map_err(ViewError::Memory)
    }
}
