//! A store in byte-addressable memory: FRAM, MRAM or EEPROM, over [`Storage`]. It divides a region of the memory into
//! slots of equal size, and each slot contains at most one checkpoint. To keep `n_saved` checkpoints, the store needs
//! `n_saved + 1` slots: a save writes to the free slot and leaves all kept checkpoints unchanged. The feature
//! `byte-addressable` enables this module.
//!
//! **Guarantee.** The guarantee is that of the [flash store](super::flash): if a save returned `Ok`, its checkpoint can
//! be loaded after any power failure, until `n_saved` better or newer ones are committed. The next save needs no repair.
//!
//! **Fault model.** A page is the unit that the memory writes internally: one byte of an FRAM, 16 to 256 bytes of
//! a serial EEPROM, a word of a memory with error correction. If power fails during a call of [`Storage::write`], then
//! each byte of each page that the call touches can have any value, and a different value at each read until it is
//! written again. No order of the bytes of one call is assumed, so a multi-byte write is never atomic. All other bytes
//! are unchanged. When `write` returns `Ok`, its bytes are durable. A driver must therefore wait until an EEPROM has
//! finished its write cycle. A read changes nothing.
//!
//! **A save** writes, in separate calls:
//!
//! 1. zeros over the commit record and the seal of the old checkpoint in the slot, which make the slot invalid
//! 2. the stream
//! 3. the commit record, which contains a CRC
//! 4. the seal, which marks the commit as complete
//!
//! Then it reads everything back. The stream, the record and the seal share no page, so an interrupted write of one of
//! them does not change the others. Opening the store writes nothing.
//!
//! ```text
//!  PAGE ≤ 32     0        64     96                                   size
//!                │ record │ seal │ the checkpoint's stream │ unused    │
//!
//!  PAGE > 32     0        160       256                   size - 256  size
//!                │ unused │ record  │ stream │ unused      │ seal     │
//! ```
//!
//! The bytes of the record and the seal are those of the [flash layout](super::flash::layout). With pages of up to 32
//! bytes, the whole slot has the flash layout, and `training-monitor inspect` reads a copy of the memory.
//!
//! **Why the flash store is reused.** Byte-addressable memory needs no erase, but the order of the writes, the
//! interrupted seals and the choice of the next slot are the same problem. This module presents the memory as a flash
//! whose erase only makes a slot invalid, and uses [`Slots`]. On a Cortex-M4 at opt-level z, a program with this store has
//! 430 bytes more code than with the flash store, or 820 bytes with large pages. A separate store would be as large. Its
//! 680 lines would repeat the states of a slot, the selection of a slot and the rules of opening, in place of 250 lines
//! here, and would need a proof of their own. An erase that fills the slot would double the written bytes.
//!
//! **Cost.** A save of a stream of `length` bytes writes `length` + 120 bytes, and reads `length` + 60 bytes to verify
//! them. A page of the stream is written once, in one call that starts at the page; a page of the record or of the seal
//! is written twice. Opening reads each checkpoint once, and twice 56 bytes for each 256 bytes of the region. It reads
//! checkpoints of the same step 16 times.
//!
//! The time of a save is the time of its bytes on the bus. For a serial FRAM with a clock of 40 MHz, each byte takes
//! 0.2 µs, and each call has 5 more bytes, for the command and the address:
//!
//! ```
//! /// The time of a save on a serial FRAM in µs. The stream is written in `writes` calls and read in pieces of 64 bytes.
//! fn save_us(length: f64, writes: f64, clock_mhz: f64) -> f64 {
//!     let write = length + 120.0 + 5.0 * (writes + 4.0);
//!     let read = length + 60.0 + 5.0 * (length / 64.0 + 2.0);
//!     (write + read) * 8.0 / clock_mhz
//! }
//!
//! // A checkpoint of 1000 weights: less than 2 ms. A flash erases a block of 4 KiB in 45 ms before it writes it.
//! assert_eq!(save_us(4096.0, 20.0, 40.0).round(), 1764.0);
//! // A 64-32-10 network with momentum, 19 580 bytes: 8 ms. Training can lose power every 20 seconds.
//! assert_eq!((save_us(19_580.0, 20.0, 40.0) / 1000.0).round(), 8.0);
//! ```
//!
//! **Wear.** FRAM and MRAM have practically no wear. For an EEPROM, a slot endures half as many saves as a page endures
//! writes, because the pages of the record and the seal are written twice. The store uses the free slot that was
//! overwritten least often. [`ByteSlots::overwrites`] returns the numbers.
//!
//! **Not for flash.** `Storage` can also be a flash behind a driver that reads, erases and rewrites blocks, for example
//! `RmwNorFlashStorage`. Such a driver loses a whole erase block when power fails, which may be larger than a slot. Use
//! [`Slots`] for flash.
//!
//! # Example
//! ```
//! use core::cell::RefCell;
//! use training_monitor::embedded_storage::{ReadStorage, Storage};
//! use training_monitor::store::byte_addressable::{ByteSlots, SharedStorage};
//! use training_monitor::{Engine, ModelCheckpoint, checkpoint::Named, event::IterationCompleted};
//!
//! /// A driver of an FRAM with 8 KiB. RAM stands in for the FRAM.
//! struct Fram([u8; 8192]);
//!
//! #[derive(Debug)]
//! struct OutOfBounds;
//!
//! impl ReadStorage for Fram {
//!     type Error = OutOfBounds;
//!     fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), OutOfBounds> {
//!         let source = self.0.get(offset as usize..).and_then(|rest| rest.get(..bytes.len()));
//!         bytes.copy_from_slice(source.ok_or(OutOfBounds)?);
//!         Ok(())
//!     }
//!     fn capacity(&self) -> usize { self.0.len() }
//! }
//!
//! impl Storage for Fram {
//!     fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), OutOfBounds> {
//!         let target = self.0.get_mut(offset as usize..).and_then(|rest| rest.get_mut(..bytes.len()));
//!         target.ok_or(OutOfBounds)?.copy_from_slice(bytes);
//!         Ok(())
//!     }
//! }
//!
//! let fram = RefCell::new(Fram([0xA5; 8192]));
//! // Two checkpoints are kept, so three slots: 2 KiB each, from 2 KiB to 8 KiB of the memory.
//! let store = ByteSlots::<_, 3>::open(SharedStorage(&fram), 2048..8192)?;
//! assert_eq!(store.max_stream_len(), 2048 - 96);
//! let mut model = Named::new("mymodel", [0.0_f32; 4]);
//! let mut checkpoint = ModelCheckpoint::<2>::every(2)?.attach(IterationCompleted, store)?;
//! Engine::new(1).run(&mut model, 0..6, &mut checkpoint, |model, batch, _| model[0] = batch as f32)?;
//! assert_eq!(checkpoint.store().overwrites(), [1, 1, 1]);
//! drop(checkpoint);
//!
//! // After a reset.
//! let store = ByteSlots::<_, 3>::open(SharedStorage(&fram), 2048..8192)?;
//! let mut checkpoint = ModelCheckpoint::<2>::every(2)?.attach(IterationCompleted, store)?;
//! let mut model = Named::new("mymodel", [0.0_f32; 4]);
//! let best = checkpoint.load_best(&mut model)?;
//! assert_eq!((best.map(|info| info.step), model[0]), (Some(6), 5.0));
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

mod error;
mod flash_view;
mod io;
mod save;
mod shared;

pub use error::{ByteSlotsError, EraseError};
pub use flash_view::{FlashView, ViewError};
pub use io::{Reader, Writer};
pub use shared::{SharedStorage, SharedStorageError};

use super::flash::layout::STREAM_OFFSET;
use super::flash::{RegionError, Slots};
use crate::checkpoint::{Checksum, Crc32};
use core::fmt::Debug;
use core::ops::Range;
use embedded_storage::Storage;

/// The size of each slot and the start of the region must be multiples of this number of bytes. A page is not larger.
pub const SLOT_ALIGNMENT: usize = 256;

/// A store in byte-addressable memory with `SLOTS` slots. `S` is the driver of the memory, and `C` computes the checksums.
///
/// `PAGE` is the number of bytes that the memory writes as one unit, from the data sheet: 1 for most FRAM, the page size
/// of a serial EEPROM, the word of a memory with error correction. It is a power of two up to 256. A larger number is
/// always safe, a smaller one is not. [Opening](Self::open) with another layout is refused.
#[derive(Debug)]
pub struct ByteSlots<S, const SLOTS: usize, const PAGE: usize = 1, C = Crc32> {
    slots: Slots<FlashView<S, PAGE>, SLOTS, C>,
}

impl<S: Storage<Error: Debug>, const SLOTS: usize, const PAGE: usize, C: Checksum> ByteSlots<S, SLOTS, PAGE, C> {
    /// Opens the store in the bytes `region` of `storage`, and finds the committed checkpoints. The region is divided
    /// into `SLOTS` slots of equal size. Other content of the region is treated as free space. Opening writes nothing.
    ///
    /// Opening performs at most 4 + 3 × size / 128 reads per slot, where size is the size of a slot in bytes. It reads
    /// slots with checkpoints of the same step 16 times. A failed read is repeated twice.
    ///
    /// A `PAGE` that is not a power of two up to 256 does not compile:
    ///
    /// ```compile_fail,E0080
    /// # use training_monitor::{embedded_storage::Storage, store::byte_addressable::ByteSlots, store::flash::RegionError};
    /// fn open<S: Storage<Error = ()>>(eeprom: S) -> Result<ByteSlots<S, 3, 512>, RegionError> {
    ///     ByteSlots::open(eeprom, 0..8192)
    /// }
    /// # use training_monitor::embedded_storage::ReadStorage;
    /// # struct Eeprom;
    /// # impl ReadStorage for Eeprom {
    /// #     type Error = ();
    /// #     fn read(&mut self, _: u32, _: &mut [u8]) -> Result<(), ()> { Ok(()) }
    /// #     fn capacity(&self) -> usize { 8192 }
    /// # }
    /// # impl Storage for Eeprom {
    /// #     fn write(&mut self, _: u32, _: &[u8]) -> Result<(), ()> { Ok(()) }
    /// # }
    /// # assert!(open(Eeprom).is_ok());
    /// ```
    ///
    /// # Errors
    /// Returns a [`RegionError`] if the region cannot be divided into `SLOTS` slots whose size is a multiple of
    /// [`SLOT_ALIGNMENT`], or if the region contains a checkpoint of another division into slots, or of a page size that
    /// has another layout. The texts of this error call the memory a flash, and the alignment an erase block. Pass
    /// a [`SharedStorage`] to keep the driver in this case.
    pub fn open(storage: S, region: Range<u32>) -> Result<Self, RegionError> {
        const { assert!(PAGE.is_power_of_two() && PAGE <= SLOT_ALIGNMENT, "PAGE is a power of two from 1 to 256") };
        let slots = Slots::open(FlashView::new(storage, &region, SLOTS), region.clone())?;
        let mut store = ByteSlots { slots };
        if store.max_stream_len() == 0 {
            return Err(RegionError::TooSmall { slot: store.slots.max_stream_len().saturating_add(STREAM_OFFSET) });
        }
        store.slots.flash_mut().check_page_size::<C>(region)?;
        Ok(store)
    }

    /// Writes zeros to the whole region, with all its checkpoints. Call this function before [`open`](Self::open) to
    /// divide a region into other slots, to change the page size, or to start over.
    ///
    /// # Errors
    /// Returns an [`EraseError`] if the region exceeds the memory, or if the driver of the memory fails.
    pub fn erase_region(mut storage: S, region: Range<u32>) -> Result<(), EraseError<S::Error>> {
        let capacity = storage.capacity();
        if region.end as usize > capacity || region.start >= region.end {
            return Err(EraseError::OutOfBounds { capacity });
        }
        const ZEROS: [u8; 64] = [0; 64];
        let mut address = region.start;
        while let Some(len) = region.end.checked_sub(address).filter(|len| *len > 0) {
            // From the second piece on, each piece starts at a multiple of its length. No piece is in two pages.
            let len = len.min(64 - address % 64);
            storage.write(address, ZEROS.get(..len as usize).unwrap_or(&ZEROS)).map_err(EraseError::Memory)?;
            address = address.saturating_add(len);
        }
        Ok(())
    }

    /// Returns the maximum length of a checkpoint, in bytes.
    pub fn max_stream_len(&self) -> u32 {
        self.slots.max_stream_len().saturating_sub(FlashView::<S, PAGE>::RESERVED)
    }

    /// Returns how many slots can be used for checkpoints. A slot whose writes fail repeatedly is not counted.
    pub fn usable_slots(&self) -> usize {
        self.slots.usable_slots()
    }

    /// Returns how many slots could not be read when the store was opened, although the read was repeated. Such a slot
    /// can contain a checkpoint. It is overwritten only if no other slot is free.
    pub fn unreadable_slots(&self) -> usize {
        self.slots.unreadable_slots()
    }

    /// Returns how many times each slot was overwritten by saves. If power fails before a commit, the number can be too
    /// low.
    pub fn overwrites(&self) -> [u32; SLOTS] {
        self.slots.erases()
    }

    /// Returns a reference to the driver of the memory.
    pub const fn storage(&self) -> &S {
        self.slots.flash().storage()
    }

    /// Returns the driver of the memory, for access to addresses outside the region of the store. Do not write inside the
    /// region.
    pub const fn storage_mut(&mut self) -> &mut S {
        self.slots.flash_mut().storage_mut()
    }

    /// Discards the store and returns the driver of the memory.
    pub fn into_inner(self) -> S {
        self.slots.into_inner().into_storage()
    }
}
