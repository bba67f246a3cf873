//! Checkpoints in RAM: `SLOTS` places of `SIZE` bytes. For tests, and for RAM that outlives a reset.
//!
//! ```
//! use training_monitor::store::{Store, ram::Ram};
//!
//! let mut store = Ram::<2, 256>::new();
//! assert_eq!(store.stored(0), Ok(None));
//! ```

use super::{Opening, Store, Stored};
use crate::checkpoint::{Bytes, Crc32, Encoded, Header};
use core::fmt;
use embedded_io::{ErrorKind, ErrorType, Read, Write};
use heapless::Vec;

/// The store.
#[derive(Clone, Debug)]
pub struct Ram<const SLOTS: usize, const SIZE: usize> {
    slots: [Slot<SIZE>; SLOTS],
}

#[derive(Clone, Debug)]
struct Slot<const SIZE: usize> {
    bytes: Vec<u8, SIZE>,
    /// `None` while free or being written.
    stored: Option<Stored>,
    writing: bool,
}

impl<const SIZE: usize> Slot<SIZE> {
    const FREE: Self = Slot { bytes: Vec::new(), stored: None, writing: false };
}

impl<const SLOTS: usize, const SIZE: usize> Ram<SLOTS, SIZE> {
    /// An empty store.
    #[must_use]
    pub const fn new() -> Self {
        Ram { slots: [Slot::FREE; SLOTS] }
    }

    fn slot(&self, step: u32) -> Option<&Slot<SIZE>> {
        self.slots.iter().find(|slot| slot.stored.is_some_and(|stored| stored.step == step))
    }
}

impl<const SLOTS: usize, const SIZE: usize> Default for Ram<SLOTS, SIZE> {
    fn default() -> Self {
        Self::new()
    }
}

/// Writes into a slot.
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

/// Reads from a slot.
#[derive(Debug)]
pub struct Reader<'a>(Bytes<'a>);

impl ErrorType for Reader<'_> {
    type Error = RamError;
}

impl Read for Reader<'_> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, RamError> {
        let Ok(read) = self.0.read(into);
        Ok(read)
    }
}

impl<const SLOTS: usize, const SIZE: usize> Store for Ram<SLOTS, SIZE> {
    type Error = RamError;
    type Writer<'a> = Writer<'a, SIZE>;
    type Reader<'a> = Reader<'a>;
    type Checksum = Crc32;

    fn create(&mut self, opening: &Opening<'_>) -> Result<Writer<'_, SIZE>, RamError> {
        if opening.len as usize > SIZE {
            return Err(RamError::TooLong);
        }
        self.slots.iter_mut().for_each(|slot| slot.writing = false);
        let slot = self.slots.iter_mut().find(|slot| slot.stored.is_none()).ok_or(RamError::Full)?;
        slot.bytes.clear();
        slot.writing = true;
        Ok(Writer(&mut slot.bytes))
    }

    fn commit(&mut self, header: &Header<'_>, _: &Encoded) -> Result<(), RamError> {
        let slot = self.slots.iter_mut().find(|slot| slot.writing).ok_or(RamError::NotFound)?;
        slot.writing = false;
        slot.stored = Some(Stored::from(header));
        let replaced = |stored: Stored| stored.step == header.step && stored.sequence != header.sequence;
        for slot in &mut self.slots {
            if slot.stored.is_some_and(replaced) {
                slot.stored = None;
            }
        }
        Ok(())
    }

    fn stored(&mut self, index: u32) -> Result<Option<Stored>, RamError> {
        let older = |sequence: u32| {
            let earlier = |slot: &&Slot<SIZE>| slot.stored.is_some_and(|stored| stored.sequence < sequence);
            self.slots.iter().filter(earlier).count()
        };
        let mut all = self.slots.iter().filter_map(|slot| slot.stored);
        Ok(all.find(|stored| older(stored.sequence) == index as usize))
    }

    fn parts(&mut self, step: u32) -> Result<u32, RamError> {
        Ok(u32::from(self.slot(step).is_some()))
    }

    fn open(&mut self, step: u32, _: u32) -> Result<Reader<'_>, RamError> {
        self.slot(step).map(|slot| Reader(Bytes(&slot.bytes))).ok_or(RamError::NotFound)
    }

    fn remove(&mut self, step: u32) -> Result<(), RamError> {
        for slot in &mut self.slots {
            if slot.stored.is_some_and(|stored| stored.step == step) {
                slot.stored = None;
            }
        }
        Ok(())
    }
}

/// Why RAM could not take or give a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum RamError {
    /// The checkpoint is longer than a slot.
    TooLong,
    /// Every slot is taken: one more than `n_saved` is needed.
    Full,
    /// No such checkpoint.
    NotFound,
}

impl fmt::Display for RamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RamError::TooLong => "the checkpoint is longer than a slot",
            RamError::Full => "every slot is taken",
            RamError::NotFound => "no such checkpoint",
        })
    }
}

impl core::error::Error for RamError {}

impl embedded_io::Error for RamError {
    fn kind(&self) -> ErrorKind {
        match self {
            RamError::TooLong | RamError::Full => ErrorKind::OutOfMemory,
            RamError::NotFound => ErrorKind::NotFound,
        }
    }
}
