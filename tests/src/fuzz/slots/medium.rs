//! The memories on which the targets open a store: NOR flash, and byte-addressable memory with its two layouts.

use super::SLOTS;
use crate::flash::{Chip, Flash, Interruption};
use core::ops::Range;
use training_monitor::store::Store;
use training_monitor::store::byte_addressable::ByteSlots;
use training_monitor::store::flash::{RegionError, Slots};
use training_monitor_std::test_support::memory::Memory;

/// The size of an erase block of the flash, and the alignment of a slot in byte-addressable memory.
pub const BLOCK: usize = 256;

/// The offsets of the parts of a slot, as documented.
#[derive(Clone, Copy, Debug)]
pub struct SlotLayout {
    /// The size of a slot, in bytes.
    pub size: usize,
    /// The offset of the commit record.
    pub record: usize,
    /// The offset of the seal.
    pub seal: usize,
    /// The offset of the stream.
    pub stream: usize,
    /// The offset of the first byte after the longest stream.
    pub end: usize,
}

/// The layout of flash and of byte-addressable memory with pages of up to 32 bytes.
const SMALL: SlotLayout = SlotLayout { size: 256, record: 0, seal: 64, stream: 96, end: 256 };
/// The layout of byte-addressable memory with larger pages.
const LARGE: SlotLayout = SlotLayout { size: 1024, record: 160, seal: 768, stream: 256, end: 768 };

/// A kind of memory, and the store on it.
pub trait Medium {
    type Store<'a>: ChipStore;
    const LAYOUT: SlotLayout;
    /// A power failure interrupts one of the first operations of a save, as many as this number.
    const MAX_OPERATIONS: u64;
    /// Creates a chip. `erased` is the value of an erased byte of a flash.
    fn new_chip(image: Vec<u8>, erased: u8) -> Chip;
    fn open(chip: &mut Chip, region: Range<u32>) -> Result<Self::Store<'_>, RegionError>;
    /// Returns all effects of a power failure on an erase, or on another operation.
    fn interruptions(is_erase: bool) -> &'static [Interruption];
}

/// A store on a simulated chip.
pub trait ChipStore: Store {
    fn chip_mut(&mut self) -> &mut Chip;
    /// Erases a free slot in advance, if the medium needs erases. Returns whether this was possible.
    fn erase_ahead(&mut self, len: u32) -> bool;
}

/// NOR flash with granules of `WRITE` bytes.
pub struct NorFlash<const WRITE: usize>;

impl<const WRITE: usize> Medium for NorFlash<WRITE> {
    type Store<'a> = Slots<Flash<WRITE, BLOCK, 1, &'a mut Chip>, SLOTS>;
    const LAYOUT: SlotLayout = SMALL;
    const MAX_OPERATIONS: u64 = 80;

    fn new_chip(image: Vec<u8>, erased: u8) -> Chip {
        Chip::new(WRITE, BLOCK, 1, image, erased)
    }
    fn open(chip: &mut Chip, region: Range<u32>) -> Result<Self::Store<'_>, RegionError> {
        Slots::open(Flash::with_chip(chip).expect("the geometry of the chip"), region)
    }
    fn interruptions(is_erase: bool) -> &'static [Interruption] {
        Interruption::all(is_erase, WRITE)
    }
}

impl<const WRITE: usize> ChipStore for Slots<Flash<WRITE, BLOCK, 1, &mut Chip>, SLOTS> {
    fn chip_mut(&mut self) -> &mut Chip {
        self.flash_mut()
    }
    fn erase_ahead(&mut self, len: u32) -> bool {
        Slots::erase_ahead(self, len).is_ok()
    }
}

/// Byte-addressable memory with pages of `PAGE` bytes.
pub struct Bytes<const PAGE: usize>;

impl<const PAGE: usize> Medium for Bytes<PAGE> {
    type Store<'a> = ByteSlots<Memory<&'a mut Chip>, SLOTS, PAGE>;
    const LAYOUT: SlotLayout = if PAGE > 32 { LARGE } else { SMALL };
    /// A save writes at most 120 bytes and a stream of 150 bytes, in at least 8 pages.
    const MAX_OPERATIONS: u64 = (8 + 256 / PAGE) as u64;

    fn new_chip(image: Vec<u8>, _: u8) -> Chip {
        Chip::byte_addressable(PAGE, image)
    }
    fn open(chip: &mut Chip, region: Range<u32>) -> Result<Self::Store<'_>, RegionError> {
        ByteSlots::open(Memory::with_chip(chip).expect("no flash"), region)
    }
    fn interruptions(_: bool) -> &'static [Interruption] {
        Interruption::all_of_overwrite(PAGE)
    }
}

impl<const PAGE: usize> ChipStore for ByteSlots<Memory<&mut Chip>, SLOTS, PAGE> {
    fn chip_mut(&mut self) -> &mut Chip {
        self.storage_mut()
    }
    fn erase_ahead(&mut self, _: u32) -> bool {
        true
    }
}
