//! A store in RAM. It is useful for tests, and for RAM that keeps its content during a reset.
//!
//! ```
//! use training_monitor::store::{Store, ram::Ram};
//!
//! let mut store = Ram::<2, 256>::new();
//! assert_eq!(store.checkpoint(0), Ok(None));
//! ```

use super::{CheckpointMeta, Store, StreamSpec};
use crate::checkpoint::{Crc32, Encoded, Header, SliceReader};
use core::fmt;
use embedded_io::{ErrorKind, ErrorType, Read, Write};
use heapless::Vec;

/// A store in RAM with `SLOTS` slots of `SIZE` bytes. It needs one slot more than the number of checkpoints to keep,
/// because a new checkpoint is written before an old one is removed.
#[derive(Clone, Debug)]
pub struct Ram<const SLOTS: usize, const SIZE: usize> {
    slots: [Slot<SIZE>; SLOTS],
}

#[derive(Clone, Debug)]
struct Slot<const SIZE: usize> {
    bytes: Vec<u8, SIZE>,
    /// The metadata of the checkpoint. `None` if the slot is free or is being written.
    meta: Option<CheckpointMeta>,
    /// The announced length of the checkpoint that is being written.
    writing: Option<u32>,
}

impl<const SIZE: usize> Slot<SIZE> {
    const FREE: Self = Slot { bytes: Vec::new(), meta: None, writing: None };
}

impl<const SLOTS: usize, const SIZE: usize> Ram<SLOTS, SIZE> {
    /// Creates an empty store.
    #[must_use]
    pub const fn new() -> Self {
        Ram { slots: [Slot::FREE; SLOTS] }
    }

    fn slot(&self, sequence: u32) -> Option<&Slot<SIZE>> {
        self.slots.iter().find(|slot| slot.meta.is_some_and(|meta| meta.sequence == sequence))
    }
}

impl<const SLOTS: usize, const SIZE: usize> Default for Ram<SLOTS, SIZE> {
    fn default() -> Self {
        Self::new()
    }
}

/// A writer for the checkpoint in a slot.
#[derive(Debug)]
pub struct Writer<'a, const SIZE: usize>(&'a mut Vec<u8, SIZE>);

impl<const SIZE: usize> ErrorType for Writer<'_, SIZE> {
    type Error = RamError;
}

impl<const SIZE: usize> Write for Writer<'_, SIZE> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, RamError> {
        match self.0.extend_from_slice(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(_) => Err(RamError::TooLong),
        }
    }
    fn flush(&mut self) -> Result<(), RamError> {
        Ok(())
    }
}

/// A reader for the checkpoint in a slot.
#[derive(Debug)]
pub struct Reader<'a>(SliceReader<'a>);

impl ErrorType for Reader<'_> {
    type Error = RamError;
}

impl Read for Reader<'_> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, RamError> {
        let Ok(count) = self.0.read(into);
        Ok(count)
    }
}

impl<const SLOTS: usize, const SIZE: usize> Store for Ram<SLOTS, SIZE> {
    type Error = RamError;
    type Writer<'a> = Writer<'a, SIZE>;
    type Reader<'a> = Reader<'a>;
    type Checksum = Crc32;

    const PLACES: u32 = SLOTS as u32;

    fn check(&mut self, spec: &StreamSpec<'_>) -> Result<(), RamError> {
        if spec.len as usize > SIZE { Err(RamError::TooLong) } else { Ok(()) }
    }

    fn create(&mut self, spec: &StreamSpec<'_>) -> Result<Writer<'_, SIZE>, RamError> {
        self.check(spec)?;
        self.slots.iter_mut().for_each(|slot| slot.writing = None);
        let slot = self.slots.iter_mut().find(|slot| slot.meta.is_none()).ok_or(RamError::Full)?;
        slot.bytes.clear();
        slot.writing = Some(spec.len);
        Ok(Writer(&mut slot.bytes))
    }

    fn commit(&mut self, header: &Header<'_>, last: &Encoded) -> Result<(), RamError> {
        let mut slots = self.slots.iter_mut();
        let found = slots.find_map(|slot| slot.writing.take().map(|len| (slot, len)));
        let (slot, len) = found.ok_or(RamError::NotFound)?;
        if slot.bytes.len() != len as usize || last.len != len {
            return Err(RamError::Incomplete);
        }
        let new = CheckpointMeta::from(header);
        slot.meta = Some(new);
        for slot in &mut self.slots {
            slot.meta = slot.meta.filter(|meta| !meta.is_replaced_by(&new));
        }
        Ok(())
    }

    fn checkpoint(&mut self, index: u32) -> Result<Option<CheckpointMeta>, RamError> {
        let count_older = |sequence: u32| {
            let is_older = |slot: &&Slot<SIZE>| slot.meta.is_some_and(|meta| meta.sequence < sequence);
            self.slots.iter().filter(is_older).count()
        };
        let mut committed = self.slots.iter().filter_map(|slot| slot.meta);
        Ok(committed.find(|meta| count_older(meta.sequence) == index as usize))
    }

    fn stream_count(&mut self, sequence: u32) -> Result<u32, RamError> {
        Ok(u32::from(self.slot(sequence).is_some()))
    }

    fn open(&mut self, sequence: u32, _: u32) -> Result<Reader<'_>, RamError> {
        self.slot(sequence).map(|slot| Reader(SliceReader(&slot.bytes))).ok_or(RamError::NotFound)
    }

    fn remove(&mut self, sequence: u32) -> Result<(), RamError> {
        for slot in &mut self.slots {
            slot.meta = slot.meta.filter(|meta| meta.sequence != sequence);
        }
        Ok(())
    }
}

/// The errors of [`Ram`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum RamError {
    /// The checkpoint is longer than a slot.
    TooLong,
    /// No slot is free. To keep `n_saved` checkpoints, the store needs `n_saved + 1` slots.
    Full,
    /// The checkpoint does not exist.
    NotFound,
    /// The number of written bytes is not the announced length. The store has discarded the checkpoint.
    Incomplete,
}

impl fmt::Display for RamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RamError::TooLong => "the checkpoint is longer than a slot of the RAM store",
            RamError::Full => "every slot of the RAM store contains a checkpoint; it needs n_saved + 1 slots",
            RamError::NotFound => "the RAM store does not contain the checkpoint",
            RamError::Incomplete => "the checkpoint does not have the announced length, so it was discarded",
        })
    }
}

impl core::error::Error for RamError {}

impl embedded_io::Error for RamError {
    fn kind(&self) -> ErrorKind {
        match self {
            RamError::TooLong | RamError::Full => ErrorKind::OutOfMemory,
            RamError::NotFound => ErrorKind::NotFound,
            RamError::Incomplete => ErrorKind::InvalidData,
        }
    }
}
