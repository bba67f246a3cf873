//! Slots in byte-addressable memory with a page size that is selected at run time.

use super::device::{AnySlots, Device, Error, Layout, Mistake};
use crate::flash::{Chip, ChipError};
use core::ops::Range;
use embedded_io::{ErrorType, Read, Write};
use training_monitor::checkpoint::{Checksum, Encoded, Header};
use training_monitor::embedded_storage::{ReadStorage, Storage};
use training_monitor::store::byte_addressable::{ByteSlots, ByteSlotsError};
use training_monitor::store::flash::SlotsError;
use training_monitor::store::flash::layout::{RECORD_LEN, SEAL_LEN};
use training_monitor::store::{CheckpointMeta, Store, StreamSpec};
use training_monitor_std::test_support::memory::Memory;

/// The driver of a memory, with a deliberate mistake.
struct Driver<'a> {
    memory: Memory<&'a mut Chip>,
    mistake: Mistake,
}

impl ReadStorage for Driver<'_> {
    type Error = ChipError;
    fn read(&mut self, offset: u32, buffer: &mut [u8]) -> Result<(), ChipError> {
        ReadStorage::read(&mut self.memory, offset, buffer)
    }
    fn capacity(&self) -> usize {
        self.memory.capacity()
    }
}

impl Storage for Driver<'_> {
    fn write(&mut self, offset: u32, data: &[u8]) -> Result<(), ChipError> {
        let is_invalidation = matches!(data.len(), RECORD_LEN | SEAL_LEN) && data.iter().all(|byte| *byte == 0);
        if self.mistake == Mistake::KeepsOldRecords && is_invalidation {
            return Ok(());
        }
        self.memory.write(offset, data)
    }
}

/// A writer or reader whose errors are those of the flash store.
struct Converted<S>(S);

impl<S> ErrorType for Converted<S> {
    type Error = Error;
}

impl<S: Write<Error = ByteSlotsError<ChipError>>> Write for Converted<S> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        self.0.write(bytes).map_err(convert)
    }
    fn flush(&mut self) -> Result<(), Error> {
        self.0.flush().map_err(convert)
    }
}

impl<S: Read<Error = ByteSlotsError<ChipError>>> Read for Converted<S> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        self.0.read(into).map_err(convert)
    }
}

fn convert(error: ByteSlotsError<ChipError>) -> Error {
    match error {
        ByteSlotsError::Memory(error) => SlotsError::Flash(error),
        ByteSlotsError::TooLong { len, max } => SlotsError::TooLong { len, max },
        ByteSlotsError::Full => SlotsError::Full,
        ByteSlotsError::NotFound => SlotsError::NotFound,
        ByteSlotsError::Incomplete => SlotsError::Incomplete,
        _ => SlotsError::VerifyFailed,
    }
}

impl<const SLOTS: usize, const PAGE: usize, C: Checksum> AnySlots for ByteSlots<Driver<'_>, SLOTS, PAGE, C> {
    fn create(&mut self, spec: &StreamSpec<'_>) -> Result<Box<dyn Write<Error = Error> + '_>, Error> {
        Ok(Box::new(Converted(Store::create(self, spec).map_err(convert)?)))
    }
    fn commit(&mut self, header: &Header<'_>, last: &Encoded) -> Result<(), Error> {
        Store::commit(self, header, last).map_err(convert)
    }
    fn checkpoint(&mut self, index: u32) -> Result<Option<CheckpointMeta>, Error> {
        Store::checkpoint(self, index).map_err(convert)
    }
    fn stream_count(&mut self, sequence: u32) -> Result<u32, Error> {
        Store::stream_count(self, sequence).map_err(convert)
    }
    fn is_durable(&mut self, sequence: u32) -> bool {
        Store::is_durable(self, sequence)
    }
    fn open(&mut self, sequence: u32, stream_index: u32) -> Result<Box<dyn Read<Error = Error> + '_>, Error> {
        Ok(Box::new(Converted(Store::open(self, sequence, stream_index).map_err(convert)?)))
    }
    fn remove(&mut self, sequence: u32) -> Result<(), Error> {
        Store::remove(self, sequence).map_err(convert)
    }
    fn capacity(&mut self) -> u32 {
        Store::capacity(self)
    }
    fn abandon_place(&mut self) -> bool {
        Store::abandon_place(self)
    }
    fn damaged(&mut self) -> u32 {
        Store::damaged(self)
    }
    fn erases(&self) -> Vec<u32> {
        self.overwrites().to_vec()
    }
    /// Nothing is erased ahead.
    fn erase_ahead(&mut self, _: u32) -> Result<bool, Error> {
        Ok(true)
    }
}

fn open_as<const PAGE: usize, const SLOTS: usize, C: Checksum + 'static>(
    chip: &mut Chip,
    mistake: Mistake,
    region: Range<u32>,
) -> Result<Device<'_, C>, String> {
    let memory = Memory::with_chip(chip).ok_or("the chip is a flash")?;
    let slots = ByteSlots::<_, SLOTS, PAGE, C>::open(Driver { memory, mistake }, region);
    Ok(Device::new(slots.map_err(|error| format!("cannot open the slots: {error}"))?))
}

/// Opens 2 to 4 slots in `region` of a memory with pages of 1, 8, 32, 64 or 256 bytes.
pub fn open<C: Checksum + 'static>(
    chip: &mut Chip,
    mistake: Mistake,
    region: Range<u32>,
    layout: Layout,
) -> Result<Device<'_, C>, String> {
    macro_rules! slots {
        ($page:literal) => {
            match layout.slots {
                2 => open_as::<$page, 2, C>(chip, mistake, region),
                3 => open_as::<$page, 3, C>(chip, mistake, region),
                _ => open_as::<$page, 4, C>(chip, mistake, region),
            }
        };
    }
    match chip.geometry().0 {
        _ if mistake == Mistake::UnderstatesPage => slots!(1),
        1 => slots!(1),
        8 => slots!(8),
        32 => slots!(32),
        64 => slots!(64),
        256 => slots!(256),
        page => Err(format!("unsupported page size {page}; see GEOMETRIES")),
    }
}
