//! A store in NOR flash: a region that is divided into `SLOTS` slots of whole erase blocks. It needs one slot more than
//! the number of checkpoints that are kept. [`layout`] specifies the bytes of a slot.
//!
//! **Power failures.** Each granule is programmed at most once between two erases. No data is invalidated by programming
//! over it, and the value of erased flash has no meaning. A slot is valid only if the CRC of its record and the CRC of
//! the whole stream match. Therefore a power failure during the stream, the record or an erase leaves an invalid slot. An
//! invalid slot is erased before it is programmed, even if it reads as blank. A failed read makes a slot invalid. All
//! knowledge about the flash comes from reading it in [`Slots::open`].
//!
//! **The seal.** A power failure during the last write can leave cells that read differently at different times. Without
//! a seal the record would be the last write. If power fails during it, the record may verify now and fail later; erasing
//! an older checkpoint on the strength of it could lose both. The seal is written after the record. A record whose seal
//! was started is durable, because the record was complete before. A seal counts as started as soon as its eight bytes
//! are not all equal. A checkpoint without a seal is listed and can be loaded. While it exists, nothing durable is
//! erased: the next save reuses its slot first, and a run that resumes from it saves it again.
//!
//! **Cost.** A save erases ceil((96 + length) / erase block) blocks and programs 52 bytes beside the stream, plus the
//! padding of up to three granules. A removal writes nothing; the next [`Slots::open`] lists the checkpoint again, and the
//! ranking evicts it again. Opening reads each committed checkpoint once, in pieces of 64 bytes.
//!
//! **Wear.** A save uses the free slot with the fewest erases. The record of a slot contains the number of its erases. An
//! erase is not counted if power fails before the next commit; the number is then a lower bound.
//!
//! ```
//! # use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
//! # struct Chip([u8; 4096]);
//! # impl ErrorType for Chip { type Error = NorFlashErrorKind; }
//! # impl ReadNorFlash for Chip {
//! #     const READ_SIZE: usize = 1;
//! #     fn read(&mut self, at: u32, to: &mut [u8]) -> Result<(), NorFlashErrorKind> {
//! #         to.copy_from_slice(&self.0[at as usize..][..to.len()]);
//! #         Ok(())
//! #     }
//! #     fn capacity(&self) -> usize { 4096 }
//! # }
//! # impl NorFlash for Chip {
//! #     const WRITE_SIZE: usize = 4;
//! #     const ERASE_SIZE: usize = 256;
//! #     fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
//! #         self.0[from as usize..to as usize].fill(0xFF);
//! #         Ok(())
//! #     }
//! #     fn write(&mut self, at: u32, from: &[u8]) -> Result<(), NorFlashErrorKind> {
//! #         self.0[at as usize..][..from.len()].copy_from_slice(from);
//! #         Ok(())
//! #     }
//! # }
//! use training_monitor::{Engine, ModelCheckpoint, checkpoint::Named, event::IterationCompleted, store::flash::Slots};
//!
//! # let mut chip = Chip([0xA5; 4096]);
//! // Two checkpoints are kept, so three slots: 1 KiB each, from 1 KiB to 4 KiB of the chip.
//! let store = Slots::<_, 3>::open(&mut chip, 1024..4096)?;
//! let mut weights = [0.0_f32; 4];
//! let mut model = Named::new("mymodel", &mut weights);
//! let mut checkpoint = ModelCheckpoint::<2>::every(2)?.attach(IterationCompleted, store)?;
//! Engine::new(1).run(&mut model, 0..6, &mut checkpoint, |model, batch, _| model[0] = batch as f32)?;
//! assert_eq!(checkpoint.store().erases(), [1, 1, 1]);
//! drop(checkpoint);
//!
//! // After a reset.
//! let store = Slots::<_, 3>::open(&mut chip, 1024..4096)?;
//! let mut checkpoint = ModelCheckpoint::<2>::every(2)?.attach(IterationCompleted, store)?;
//! let mut weights = [0.0_f32; 4];
//! let best = checkpoint.load_best(&mut Named::new("mymodel", &mut weights))?;
//! assert_eq!((best.map(|info| info.step), weights[0]), (Some(6), 5.0));
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

#[cfg(feature = "nor-flash-async")]
mod blocking;
mod error;
mod io;
pub mod layout;
mod mount;
mod region;
mod save;
mod shared;

#[cfg(feature = "nor-flash-async")]
#[cfg_attr(docsrs, doc(cfg(feature = "nor-flash-async")))]
pub use blocking::BlockingNorFlash;
pub use error::SlotsError;
pub use io::{Reader, Writer};
pub use region::RegionError;
pub use shared::{SharedError, SharedNorFlash};

use super::CheckpointMeta;
use crate::checkpoint::{Checksum, Crc32};
use core::marker::PhantomData;
use core::ops::Range;
use embedded_storage::nor_flash::NorFlash;
use io::StreamProgress;
use layout::STREAM_OFFSET;
use region::to_u32;

/// The store. `C` is the implementation of the checksum.
#[derive(Debug)]
pub struct Slots<F, const SLOTS: usize, C = Crc32> {
    flash: F,
    /// The address of slot 0.
    start: u32,
    /// The size of a slot in bytes, a multiple of the erase block.
    size: u32,
    slots: [Slot; SLOTS],
    /// The stream that is being written, until it is committed.
    writing: Option<StreamProgress>,
    checksum: PhantomData<fn() -> C>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    state: SlotState,
    /// The metadata of the checkpoint in the slot; undefined in states without a checkpoint.
    meta: CheckpointMeta,
    /// The length of its stream in bytes; undefined in states without a checkpoint.
    len: u32,
    /// The number of erases of the slot.
    erases: u32,
}

/// What is known about a slot. Only `Committed` and `Unsealed` slots are listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum SlotState {
    /// The slot contains no valid checkpoint. It is erased before it is programmed.
    Unknown,
    /// An erase or a save was started since the store was opened and did not end in a commit. Treated as `Unknown`, and
    /// used last.
    Interrupted,
    /// This number of bytes from its start were erased since the store was opened and not programmed since.
    Erased(u32),
    /// The slot contains a sealed checkpoint.
    Committed,
    /// The slot contains a checkpoint without a seal: power failed at the end of its commit.
    Unsealed,
    /// The slot contains a checkpoint that was removed or replaced. The next opening would list it again.
    Removed,
}

impl Slot {
    const UNKNOWN: Self = Slot {
        state: SlotState::Unknown,
        meta: CheckpointMeta { step: 0, sequence: 0, iteration: 0, score: None },
        len: 0,
        erases: 0,
    };

    fn is_listed(&self) -> bool {
        matches!(self.state, SlotState::Committed | SlotState::Unsealed)
    }

    /// The order in which free slots are used, lowest first. `None` if the slot is not free.
    fn allocation_order(&self) -> Option<u8> {
        match self.state {
            SlotState::Erased(_) => Some(0),
            // Before slots with an old checkpoint, so that an interrupted save is repeated in the same slot. Otherwise its
            // remains could verify later, beside the repeated save.
            SlotState::Unknown => Some(1),
            SlotState::Removed => Some(2),
            SlotState::Interrupted => Some(3),
            SlotState::Committed | SlotState::Unsealed => None,
        }
    }
}

impl<F: NorFlash, const SLOTS: usize, C: Checksum> Slots<F, SLOTS, C> {
    /// Divides the bytes `region` of `flash` into slots of an equal number of whole erase blocks, and finds the committed
    /// checkpoints. Other content of the flash is treated as free space. Opening writes nothing.
    ///
    /// It performs at most 4 + size / 64 reads per slot. A flash that cannot be read is treated as empty.
    ///
    /// # Errors
    /// [`RegionError`] if region, slots and flash geometry do not match. Pass `&mut flash` to keep the flash in this case.
    pub fn open(flash: F, region: Range<u32>) -> Result<Self, RegionError> {
        let size = region::slot_size::<F>(flash.capacity(), &region, SLOTS)?;
        let slots = [Slot::UNKNOWN; SLOTS];
        let mut open = Slots { flash, start: region.start, size, slots, writing: None, checksum: PhantomData };
        open.mount();
        Ok(open)
    }

    /// The number of erases of each slot, by saves and by [`erase_ahead`](Self::erase_ahead).
    pub fn erases(&self) -> [u32; SLOTS] {
        self.slots.map(|slot| slot.erases)
    }

    /// The maximum length of a checkpoint, in bytes.
    pub const fn max_stream_len(&self) -> u32 {
        self.size.saturating_sub(STREAM_OFFSET)
    }

    /// Erases one block of the slot that the next checkpoint will use, so that its save is faster. Returns true if no
    /// further block must be erased for a checkpoint of `len` bytes.
    ///
    /// Use it between saves if an erase blocks for a long time. Do not use it at each start: erased blocks are erased
    /// again after a power failure. With a [`CheckpointHandler`](crate::handlers::model_checkpoint::CheckpointHandler),
    /// call its `evict_unranked` first; otherwise there may be no free slot.
    ///
    /// # Errors
    /// [`SlotsError`]: there is no free slot, the checkpoint is too long, or the flash failed.
    pub fn erase_ahead(&mut self, len: u32) -> Result<bool, SlotsError<F::Error>> {
        let required = self.bytes_required(len)?;
        let index = self.select_slot().ok_or(SlotsError::Full)?;
        // Only a save may take the slot of an unsealed checkpoint.
        if self.slots.get(index).is_none_or(Slot::is_listed) {
            return Ok(true);
        }
        Ok(self.erase_block(index, required)? >= required)
    }

    /// The flash.
    pub const fn flash(&self) -> &F {
        &self.flash
    }

    /// The flash, to access addresses outside the region. Do not write or erase inside the region.
    pub const fn flash_mut(&mut self) -> &mut F {
        &mut self.flash
    }

    /// Returns the flash.
    pub fn into_inner(self) -> F {
        self.flash
    }

    /// The address of a slot. Cannot overflow, because the region is inside the flash.
    fn slot_address(&self, index: usize) -> u32 {
        self.start.wrapping_add(to_u32(index).wrapping_mul(self.size))
    }

    /// The bytes of a slot that a stream of `len` bytes uses.
    fn bytes_required(&self, len: u32) -> Result<u32, SlotsError<F::Error>> {
        let max = self.max_stream_len();
        if len > max { Err(SlotsError::TooLong { len, max }) } else { Ok(STREAM_OFFSET.saturating_add(len)) }
    }

    fn set_state(&mut self, index: usize, state: SlotState) {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.state = state;
        }
    }

    fn total_erases(&self) -> u32 {
        self.slots.iter().fold(0, |total, slot| total.saturating_add(slot.erases))
    }

    /// Selects the slot for the next checkpoint. The result depends only on the content of the flash and on removals, so
    /// it is the same again after a power failure.
    fn select_slot(&self) -> Option<usize> {
        let slots = self.slots.iter().enumerate();
        let free = slots.filter_map(|(index, slot)| Some((slot.allocation_order()?, slot.erases, index)));
        let (_, _, index) = free.min()?;
        if self.slots.get(index).is_some_and(|slot| slot.state == SlotState::Removed) {
            // The removed checkpoint may have been superseded only by an unsealed one. Reuse the newest unsealed slot
            // instead, because that checkpoint will be saved again.
            let unsealed = self.slots.iter().enumerate().filter(|(_, slot)| slot.state == SlotState::Unsealed);
            let newest = unsealed.max_by_key(|(_, slot)| slot.meta.sequence);
            return newest.map(|(index, _)| index).or(Some(index));
        }
        Some(index)
    }

    /// Erases the next block of a slot, if fewer than `required` bytes are erased. Returns the number of erased bytes.
    fn erase_block(&mut self, index: usize, required: u32) -> Result<u32, SlotsError<F::Error>> {
        let address = self.slot_address(index);
        let slot = self.slots.get_mut(index).ok_or(SlotsError::Full)?;
        let erased = match slot.state {
            SlotState::Erased(bytes) => bytes,
            _ => {
                slot.erases = slot.erases.saturating_add(1);
                0
            }
        };
        if erased >= required {
            return Ok(erased);
        }
        slot.state = SlotState::Interrupted;
        let end = erased.saturating_add(to_u32(F::ERASE_SIZE));
        self.flash.erase(address.wrapping_add(erased), address.wrapping_add(end)).map_err(SlotsError::Flash)?;
        self.set_state(index, SlotState::Erased(end));
        Ok(end)
    }
}
