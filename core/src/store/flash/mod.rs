//! A store in NOR flash. It divides a region of the flash into slots of equal size, and each slot contains at most one
//! checkpoint. The store needs one slot more than the number of checkpoints to keep. The module [`layout`] specifies
//! the bytes of a slot.
//!
//! **Power failures.** A slot is valid only if the CRC of its commit record and the CRC of its checkpoint match.
//! Therefore, a power failure during an erase, or before the commit record is complete, leaves an invalid slot. A slot
//! is also invalid if it cannot be read. An invalid slot is erased before it is used, even if it reads as blank. Each
//! write granule (the smallest unit that can be written) is written at most once between two erases. Erased flash may
//! have any value.
//!
//! **The seal.** If power fails during a write, the written cells may read differently at different times. A commit
//! record that was interrupted in this way may be valid now and invalid later. If an older checkpoint were erased
//! because of such a record, both checkpoints could be lost. Therefore, four more bytes, the seal, are written after
//! the record. If the seal is complete, the record was completely written before, and the checkpoint is durable. A
//! checkpoint without a complete seal is listed and can be loaded. As long as it exists, the store erases no durable
//! checkpoint. The next save may use its slot. Therefore, a run that resumes from it saves it again.
//!
//! A seal whose write was interrupted can also read as complete at one start and as incomplete at the next. Therefore,
//! each commit record contains which slots were durable when it was written. If two slots contain checkpoints of the
//! same step, a save can erase one of them. Therefore, opening reads both 16 times. A checkpoint is valid, and its seal
//! complete, only if all reads say so. A random bit passes 16 reads with a probability of 1 in 32 768.
//!
//! **Failing flash.** A failed read is repeated. A slot that stays unreadable is erased only if no other slot is free. If
//! an erase or a write fails twice in a slot, the save uses another slot, and the next commit record remembers the
//! failed one. The store then has fewer places, and the handler keeps fewer checkpoints.
//!
//! **Cost.** A save erases ceil((96 + length) / erase block) blocks. It writes the checkpoint, 60 more bytes, and zeros
//! that fill up to three write granules. A removal writes nothing. Therefore, the next [`Slots::open`] lists the
//! removed checkpoint again, and [`ModelCheckpoint`](crate::ModelCheckpoint) removes it again. Opening reads each
//! committed checkpoint once, in pieces of 64 bytes, and checkpoints of the same step 16 times.
//!
//! **Pauses.** A save blocks the program for the time of all its erases and writes. Three types shorten this pause to one
//! operation: [`BackgroundCheckpoint`](crate::handlers::model_checkpoint::BackgroundCheckpoint) continues the training,
//! [`SaveInPieces`](crate::handlers::model_checkpoint::SaveInPieces) returns to the program, and [`YieldingNorFlash`]
//! calls a function of the program.
//!
//! **Wear.** A save uses the free slot with the fewest erases. Slots without a checkpoint come first. The commit record
//! of a slot contains the number of its erases. If power fails before a commit, the erases since the last commit are not
//! counted, so the number can be too low.
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
mod geometry;
mod incremental;
mod io;
pub mod layout;
mod mount;
mod region;
mod save;
mod shared;
mod slot;
mod yielding;

#[cfg(feature = "nor-flash-async")]
#[cfg_attr(docsrs, doc(cfg(feature = "nor-flash-async")))]
pub use blocking::BlockingNorFlash;
pub use error::{EraseError, SlotsError};
pub use geometry::{Geometry, OfDriver, RunTimeGeometry};
pub use incremental::SlotsProgress;
pub use io::{Reader, Writer};
pub use region::RegionError;
pub use shared::{SharedError, SharedNorFlash};
pub use yielding::YieldingNorFlash;

use crate::checkpoint::{Checksum, Crc32};
use core::marker::PhantomData;
use core::ops::Range;
use embedded_storage::nor_flash::NorFlash;
use io::StreamProgress;
use layout::STREAM_OFFSET;
use region::to_u32;
use slot::{Slot, SlotState};

/// A store in NOR flash with `SLOTS` slots. `F` is the flash driver, and `C` computes the checksums. `G` is the source of
/// the units of the flash, usually the constants of the driver.
#[derive(Debug)]
pub struct Slots<F, const SLOTS: usize, C = Crc32, G = OfDriver> {
    flash: F,
    geometry: G,
    /// The address of slot 0 in the flash, in bytes.
    start: u32,
    /// The size of a slot in bytes, a multiple of the erase block.
    size: u32,
    slots: [Slot; SLOTS],
    /// The stream that is being written, until it is committed.
    writing: Option<StreamProgress>,
    /// The slot that the current or failed save has selected.
    selected: Option<usize>,
    /// The number of checkpoints that opening found damaged or unreadable.
    damaged: u32,
    checksum: PhantomData<fn() -> C>,
}

impl<F: NorFlash, const SLOTS: usize, C: Checksum> Slots<F, SLOTS, C> {
    /// Opens the store in the bytes `region` of `flash`, and finds the committed checkpoints. The region is divided
    /// into `SLOTS` slots of equal size. Other content of the region is treated as free space. Opening writes nothing.
    ///
    /// Opening performs at most 4 + size / 64 reads per slot, where size is the size of a slot in bytes, and one read for
    /// each erase block. It reads slots with checkpoints of the same step 16 times. A failed read is repeated twice.
    ///
    /// # Errors
    /// Returns a [`RegionError`] if the region cannot be divided into `SLOTS` slots, if the flash is not supported, or if
    /// the region contains a checkpoint of another division into slots. Pass `&mut flash` to keep the flash in this case.
    pub fn open(flash: F, region: Range<u32>) -> Result<Self, RegionError> {
        Self::open_with_geometry(flash, region, OfDriver)
    }

    /// Erases the whole region, with all its checkpoints. Call this function before [`open`](Self::open) to divide a
    /// region into other slots, or to start over.
    ///
    /// # Errors
    /// Returns a [`RegionError`] if the region cannot be divided into `SLOTS` slots, or the error of the flash driver.
    pub fn erase_region(flash: F, region: Range<u32>) -> Result<(), EraseError<F::Error>> {
        Self::erase_region_with_geometry(flash, region, OfDriver)
    }
}

impl<F: NorFlash, const SLOTS: usize, C: Checksum, G: Geometry<F>> Slots<F, SLOTS, C, G> {
    /// Does the same as [`Slots::open`], with units and a number of slots that are known at run time. `SLOTS` is the
    /// largest number of slots.
    ///
    /// # Errors
    /// Returns a [`RegionError`] in the same cases as [`Slots::open`], and if the geometry has more than `SLOTS` slots.
    pub fn open_with_geometry(flash: F, region: Range<u32>, geometry: G) -> Result<Self, RegionError> {
        let size = region::slot_size(&geometry, flash.capacity(), &region, SLOTS)?;
        let slots = [Slot::UNKNOWN; SLOTS];
        let mut open = Slots {
            flash,
            geometry,
            start: region.start,
            size,
            slots,
            writing: None,
            selected: None,
            damaged: 0,
            checksum: PhantomData,
        };
        open.mount()?;
        Ok(open)
    }

    /// Does the same as [`Slots::erase_region`], with units and a number of slots that are known at run time.
    ///
    /// # Errors
    /// Returns the errors of [`Slots::erase_region`].
    pub fn erase_region_with_geometry(
        mut flash: F,
        region: Range<u32>,
        geometry: G,
    ) -> Result<(), EraseError<F::Error>> {
        region::slot_size(&geometry, flash.capacity(), &region, SLOTS).map_err(EraseError::Region)?;
        flash.erase(region.start, region.end).map_err(EraseError::Flash)
    }

    /// Returns how many slots can be used for checkpoints. A slot whose erases or writes fail repeatedly is not counted.
    pub fn usable_slots(&self) -> usize {
        self.present().iter().filter(|slot| !slot.failed || slot.is_listed()).count()
    }

    /// Returns how many slots could not be read when the store was opened, although the read was repeated. Such a slot
    /// can contain a checkpoint. It is erased only if no other slot is free.
    pub fn unreadable_slots(&self) -> usize {
        self.slots.iter().filter(|slot| slot.state == SlotState::Unreadable).count()
    }

    /// Returns how many times each slot was erased by saves and by [`erase_ahead`](Self::erase_ahead).
    pub fn erases(&self) -> [u32; SLOTS] {
        self.slots.map(|slot| slot.erases)
    }

    /// Returns the maximum length of a checkpoint, in bytes.
    pub fn max_stream_len(&self) -> u32 {
        self.size.saturating_sub(STREAM_OFFSET).saturating_sub(self.geometry.reserved())
    }

    /// Erases one block of the slot that the next checkpoint will use, so that the save is faster. Returns true if
    /// no further call is useful: enough blocks are erased for a checkpoint of `len` bytes, or only the save itself may
    /// erase the slot.
    ///
    /// Call this method between saves if an erase takes a long time. Do not call it at each start, because the store
    /// does not remember erased blocks after a reset and erases them again. With
    /// a [`CheckpointHandler`](crate::handlers::model_checkpoint::CheckpointHandler), call its method `evict_unranked`
    /// first. Otherwise, there may be no free slot.
    ///
    /// # Errors
    /// Returns a [`SlotsError`] if no slot is free, if the checkpoint is too long, or if the flash driver fails.
    pub fn erase_ahead(&mut self, len: u32) -> Result<bool, SlotsError<F::Error>> {
        let required = self.bytes_required(len)?;
        let index = self.select_slot().ok_or(SlotsError::Full)?;
        // The selected slot can contain an unsealed checkpoint. Only the save that replaces this checkpoint may erase
        // it.
        if self.slots.get(index).is_none_or(Slot::is_listed) {
            return Ok(true);
        }
        Ok(self.erase_block(index, required)? >= required)
    }

    /// Returns a reference to the flash driver of the store.
    pub const fn flash(&self) -> &F {
        &self.flash
    }

    /// Returns the flash driver, for access to addresses outside the region of the store. Do not write or erase inside
    /// the region.
    pub const fn flash_mut(&mut self) -> &mut F {
        &mut self.flash
    }

    /// Discards the store and returns its flash driver.
    pub fn into_inner(self) -> F {
        self.flash
    }

    /// Returns the number of slots.
    #[inline(always)]
    fn slot_count(&self) -> usize {
        self.geometry.slots(SLOTS)
    }

    /// Returns the slots of the region. The store can have room for more; those are never listed.
    #[inline(always)]
    fn present(&self) -> &[Slot] {
        self.slots.get(..self.slot_count()).unwrap_or(&self.slots)
    }

    /// Returns the index of the last slot. Opening checks that the number of slots is from 2 to 256.
    #[inline(always)]
    fn last_slot(&self) -> u8 {
        self.slot_count().saturating_sub(1) as u8
    }

    /// Returns the address of a slot. The calculation cannot overflow, because the region is inside the flash.
    fn slot_address(&self, index: usize) -> u32 {
        self.start.wrapping_add(to_u32(index).wrapping_mul(self.size))
    }

    /// Returns the number of bytes of a slot that a checkpoint of `len` bytes needs, including the commit record and
    /// the seal before the checkpoint.
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

    /// Selects the slot for the next checkpoint. If power fails during the save, the same slot is selected again after
    /// the restart.
    fn select_slot(&self) -> Option<usize> {
        let order = |slot: &Slot| Some(u64::from(slot.allocation_order()?) << 32 | u64::from(slot.erases));
        let free = self.present().iter().enumerate().filter_map(|(index, slot)| Some((order(slot)?, index)));
        let (_, index) = free.min_by_key(|(order, _)| *order)?;
        if self.slots.get(index).is_some_and(|slot| slot.state == SlotState::Removed) {
            // While an unsealed checkpoint exists, the removed checkpoint may be the only durable one, so its slot is
            // not erased yet. The slot of the newest unsealed checkpoint is used instead. Its loss does no harm: a run
            // that resumes from this checkpoint has it in RAM and saves it again before the next iteration.
            let unsealed = self.slots.iter().enumerate().filter(|(_, slot)| slot.state == SlotState::Unsealed);
            let newest = unsealed.max_by_key(|(_, slot)| slot.meta.sequence);
            return newest.map(|(index, _)| index).or(Some(index));
        }
        Some(index)
    }

    /// Erases the next block of a slot, unless `required` bytes are already erased. Returns the total number of erased
    /// bytes at the start of the slot.
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
        slot.state = SlotState::Unfinished;
        let end = erased.saturating_add(self.geometry.erase_size());
        self.flash.erase(address.wrapping_add(erased), address.wrapping_add(end)).map_err(SlotsError::Flash)?;
        self.set_state(index, SlotState::Erased(end));
        Ok(end)
    }
}
