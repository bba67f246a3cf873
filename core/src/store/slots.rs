//! Checkpoints in NOR flash: a region divided into `SLOTS` slots of whole erase blocks, one more than are kept.
//!
//! ```text
//!  region   ┌─ slot 0 ────────┬─ slot 1 ────────┬─ slot 2 ────────┐
//!           └─────────────────┴─────────────────┴─────────────────┘
//!  a slot   0        64     96                       96 + length
//!           │ record │ seal │ the checkpoint's stream │ not touched │
//!  written    second   last   first
//!
//!  record   0  "TMSR"        4 bytes
//!           4  version       u32, 1
//!           8  sequence      u32, counts commits; the highest is the newest
//!          12  length        u32, bytes of the stream
//!          16  stream CRC    u32, the one at the stream's end
//!          20  step          u32
//!          24  iteration     u32
//!          28  score         f32; a NaN: no score
//!          32  erases        u32, of this slot
//!          36  all erases    u32, of all slots, as far as they were known
//!          40  record CRC    u32, over the 40 bytes before it, the slot's place in the region (u32, bytes) and the
//!                            size of a slot (u32, bytes)
//!  seal     0  "TMSK"        4 bytes
//!           4  !record CRC   u32
//! ```
//!
//! All numbers are little-endian, all CRCs CRC-32/ISO-HDLC. The positions are the same for every flash; what a write
//! granule has beyond record, seal or stream is written as zeros.
//!
//! **What makes it safe.** Every granule is programmed at most once between erases, nothing is cleared by programming
//! over it, and the value of erased flash means nothing. A slot counts only if the record's CRC and the CRC of the whole
//! stream are right, so a cut in the stream, in the record or in an erase leaves a slot that does not count; and whatever
//! does not count is erased before it is programmed, even where it reads blank. A read that fails is a slot that does not
//! count. Nothing is known but what [`open`](Slots::open) found on the flash.
//!
//! **Why there is a seal.** Power that fails in the last write may leave cells that read one way now and another
//! way later. While the record is the last thing written, that may be the record, and whoever erases an older
//! checkpoint trusting it may end with neither. A record whose seal was begun is firm, for it was whole before: a seal
//! is there as soon as its eight bytes are not all the same, as erased ones are. One without a seal is
//! listed and can be loaded, but as long as it is there nothing of value is erased: its own slot is taken first, by a run
//! that goes on from it to save it again.
//!
//! **What it costs.** A save erases ceil((96 + length) / erase block) blocks and programs 52 bytes beside the stream, plus
//! what fills up the last granules of the three. Removing costs nothing: it is only remembered until the next opening,
//! where ranking comes to the same end. Opening reads what is committed once, in pieces of 64 bytes.
//!
//! **Wear.** A save goes to the slot that was erased least. Each slot's erases are counted in its record. They are exact,
//! but for saves cut by a power failure or given up, whose erase is forgotten when the power goes before another save is
//! committed: then they are a lower bound.
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
//! use training_monitor::{Engine, ModelCheckpoint, checkpoint::One, event::IterationCompleted, store::slots::Slots};
//!
//! # let mut chip = Chip([0xA5; 4096]);
//! // The two latest, so three slots: from 1 KiB to 4 KiB of the chip, 1 KiB each.
//! let store = Slots::<_, 3>::open(&mut chip, 1024..4096)?;
//! let mut weights = [0.0_f32; 4];
//! let mut model = One("mymodel", &mut weights);
//! let mut checkpoint =
//!     ModelCheckpoint::<2>::builder().save_interval(2).n_saved(2).build()?.attach(IterationCompleted, store)?;
//! Engine::new(1).run(&mut model, 0..6, &mut checkpoint, |model, batch, _| model.1[0] = batch as f32)?;
//! assert_eq!(checkpoint.store().erases(), [1, 1, 1]);
//! drop(checkpoint);
//!
//! // After a reset.
//! let store = Slots::<_, 3>::open(&mut chip, 1024..4096)?;
//! let mut checkpoint =
//!     ModelCheckpoint::<2>::builder().save_interval(2).n_saved(2).build()?.attach(IterationCompleted, store)?;
//! let mut weights = [0.0_f32; 4];
//! let best = checkpoint.load_best(&mut One("mymodel", &mut weights))?;
//! assert_eq!((best.map(|info| info.step), weights[0]), (Some(6), 5.0));
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

mod error;
mod find;
mod io;
mod record;
mod store;

pub use error::{RegionError, SlotsError};
pub use io::{Reader, Writer};

use super::Stored;
use crate::checkpoint::{Checksum, Crc32};
use core::marker::PhantomData;
use core::ops::Range;
use embedded_storage::nor_flash::NorFlash;
use io::Writing;
use record::STREAM_AT;

/// The store. `C` is how streams are summed.
#[derive(Debug)]
pub struct Slots<F, const SLOTS: usize, C = Crc32> {
    flash: F,
    /// Where slot 0 begins.
    start: u32,
    /// Bytes of a slot, a multiple of the erase block.
    size: u32,
    slots: [Slot; SLOTS],
    /// The stream that was opened last, until it is committed.
    writing: Option<Writing>,
    checksum: PhantomData<fn() -> C>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    state: State,
    /// What the flash has there; only means something where the state says so.
    stored: Stored,
    /// Bytes of its stream, as above.
    len: u32,
    /// How often the slot was erased.
    erases: u32,
}

/// What is known of a slot. Only `Committed` and `Unsealed` are listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// No checkpoint was found there: erased before it is programmed.
    Unknown,
    /// Something was begun since the opening and did not end in a commit: as `Unknown`, and tried last.
    Torn,
    /// So many bytes from its beginning were erased since the opening and not programmed.
    Erased(u32),
    /// A whole checkpoint.
    Committed,
    /// A whole checkpoint without a seal: the power went at the end of its commit.
    Unsealed,
    /// A whole checkpoint that has been removed or replaced. It would be found again at an opening.
    Removed,
}

impl Slot {
    const UNKNOWN: Self = Slot {
        state: State::Unknown,
        stored: Stored { step: 0, sequence: 0, iteration: 0, score: None },
        len: 0,
        erases: 0,
    };

    fn is_listed(&self) -> bool {
        matches!(self.state, State::Committed | State::Unsealed)
    }

    /// In which order slots are taken. `None` for one that is not free.
    fn rank(&self) -> Option<u8> {
        match self.state {
            State::Erased(_) => Some(0),
            // Before those that still hold something: an interrupted save is repeated in the same slot, so that it
            // cannot come to light later beside its successor.
            State::Unknown => Some(1),
            State::Removed => Some(2),
            State::Torn => Some(3),
            State::Committed | State::Unsealed => None,
        }
    }
}

impl<F: NorFlash, const SLOTS: usize, C: Checksum> Slots<F, SLOTS, C> {
    /// Takes the bytes `region` of `flash`, in slots of an equal number of whole erase blocks, and finds what is
    /// committed there. Whatever else the flash holds is taken for free space; nothing is written.
    ///
    /// Reads at most 4 + size / 64 times a slot. A flash that can't be read is one without checkpoints.
    ///
    /// # Errors
    /// [`RegionError`], whatever the flash holds. Lend the flash (`&mut flash`) to keep it then.
    pub fn open(flash: F, region: Range<u32>) -> Result<Self, RegionError> {
        let size = error::slot_size::<F>(flash.capacity(), &region, SLOTS)?;
        let slots = [Slot::UNKNOWN; SLOTS];
        let mut open = Slots { flash, start: region.start, size, slots, writing: None, checksum: PhantomData };
        open.scan();
        Ok(open)
    }

    /// How often each slot was erased: for a save, or [ahead](Self::erase_ahead) of one.
    pub fn erases(&self) -> [u32; SLOTS] {
        self.slots.map(|slot| slot.erases)
    }

    /// Bytes that the longest checkpoint may have.
    pub const fn room(&self) -> u32 {
        self.size.saturating_sub(STREAM_AT)
    }

    /// Erases one block of the slot that the next checkpoint will go to, so that saving it will not have to. True when
    /// there is nothing more to be erased for a checkpoint of `len` bytes.
    ///
    /// For flash whose erases block for long: call it now and then between two saves, not at each start, since what
    /// was erased before the power went has to be erased again.
    /// With [`Saving`](crate::handlers::saving::Saving), call its `sweep` first, or there may be no free slot.
    ///
    /// # Errors
    /// [`SlotsError`]: no free slot, too long, or the flash's own.
    pub fn erase_ahead(&mut self, len: u32) -> Result<bool, SlotsError<F::Error>> {
        let need = self.need(len)?;
        let index = self.next().ok_or(SlotsError::Full)?;
        // The place of an unsealed checkpoint is only taken when a save cannot do without.
        if self.slots.get(index).is_none_or(Slot::is_listed) {
            return Ok(true);
        }
        Ok(self.erase_block(index, need)? >= need)
    }

    /// The flash.
    pub const fn flash(&self) -> &F {
        &self.flash
    }

    /// The flash, for what lies beside the region. Inside it nothing may be written or erased.
    pub const fn flash_mut(&mut self) -> &mut F {
        &mut self.flash
    }

    /// Gives the flash back.
    pub fn into_inner(self) -> F {
        self.flash
    }

    /// Where a slot begins. Cannot overflow: the region is on the flash.
    fn at(&self, index: usize) -> u32 {
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        self.start.wrapping_add(index.wrapping_mul(self.size))
    }

    /// Bytes that a stream of `len` takes in a slot.
    fn need(&self, len: u32) -> Result<u32, SlotsError<F::Error>> {
        let room = self.room();
        if len > room { Err(SlotsError::TooLong { len, room }) } else { Ok(STREAM_AT.saturating_add(len)) }
    }

    fn set(&mut self, index: usize, state: State) {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.state = state;
        }
    }

    fn all_erases(&self) -> u32 {
        self.slots.iter().fold(0, |all, slot| all.saturating_add(slot.erases))
    }

    /// The slot for the next checkpoint. The choice depends only on what is on the flash and what was removed, so after
    /// a cut it is the same again.
    fn next(&self) -> Option<usize> {
        let free = self.slots.iter().enumerate();
        let free = free.filter_map(|(index, slot)| Some((slot.rank()?, slot.erases, index)));
        let (_, _, index) = free.min()?;
        if self.slots.get(index).is_some_and(|slot| slot.state == State::Removed) {
            // It may have been removed on account of one that will not last; the newest of these is to be made again.
            let unsealed = self.slots.iter().enumerate().filter(|(_, slot)| slot.state == State::Unsealed);
            let newest = unsealed.max_by_key(|(_, slot)| slot.stored.sequence);
            return newest.map(|(index, _)| index).or(Some(index));
        }
        Some(index)
    }

    /// Erases the next block of a slot, if it needs one for `need` bytes. Returns how many bytes are erased.
    fn erase_block(&mut self, index: usize, need: u32) -> Result<u32, SlotsError<F::Error>> {
        let at = self.at(index);
        let slot = self.slots.get_mut(index).ok_or(SlotsError::Full)?;
        let erased = match slot.state {
            State::Erased(bytes) => bytes,
            _ => {
                slot.erases = slot.erases.saturating_add(1);
                0
            }
        };
        if erased >= need {
            return Ok(erased);
        }
        slot.state = State::Torn;
        let end = erased.saturating_add(error::size(F::ERASE_SIZE));
        self.flash.erase(at.wrapping_add(erased), at.wrapping_add(end)).map_err(SlotsError::Flash)?;
        self.set(index, State::Erased(end));
        Ok(end)
    }
}
