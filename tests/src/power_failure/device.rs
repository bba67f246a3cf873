//! Slots with a geometry that is selected at run time. [`Slots`] is generic over the geometry and the number of
//! slots. This module instantiates it for each geometry of a flash and hides the instances behind one type, so that the
//! checks are compiled once. The module `byte_device` does the same for byte-addressable memory.

use super::byte_device;
use super::in_pieces::InPieces;
use crate::flash::{Chip, ChipError, Flash, Interruption};
use core::marker::PhantomData;
use core::ops::Range;
use embedded_io::{ErrorType, Read, Write};
use training_monitor::checkpoint::{Checksum, Encoded, Header};
use training_monitor::embedded_storage::nor_flash::{self, NorFlash, ReadNorFlash};
use training_monitor::store::flash::layout::RECORD_MAGIC;
use training_monitor::store::flash::{Slots, SlotsError};
use training_monitor::store::{CheckpointMeta, Store, StreamSpec};

pub type Error = SlotsError<ChipError>;

/// Write size in bytes, erase size in bytes, and the values of two erased bytes. An erase size of 0 stands for
/// byte-addressable memory, whose pages have the write size.
pub type Geometry = (usize, usize, [u8; 2]);

/// Creates the chip of a geometry. `erased` is the value of an erased byte of a flash.
pub fn new_chip(write: usize, erase: usize, image: Vec<u8>, erased: u8) -> Chip {
    match erase {
        0 => Chip::byte_addressable(write, image),
        _ => Chip::new(write, erase, 1, image, erased),
    }
}

/// Returns half the size of a slot. It is an erase block of a flash.
pub fn block_size(write: usize, erase: usize) -> usize {
    match (erase, write) {
        (0, ..=32) => 256,
        // With larger pages, 512 bytes of a slot contain no stream.
        (0, _) => 512,
        _ => erase,
    }
}

/// Returns half the size of a slot on this chip.
pub fn block_size_of(chip: &Chip) -> usize {
    let (write, erase, _) = chip.geometry();
    block_size(write, if chip.is_byte_addressable() { 0 } else { erase })
}

/// Returns all effects of a power failure on an operation of a chip: on an erase, or on a write of `write` bytes.
pub fn interruptions(is_byte_addressable: bool, is_erase: bool, write: usize) -> &'static [Interruption] {
    if is_byte_addressable { Interruption::all_of_overwrite(write) } else { Interruption::all(is_erase, write) }
}

/// The number of slots, and the encryption of the flash.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// The number of slots.
    pub slots: usize,
    /// The values of two erased bytes.
    erased: [u8; 2],
}

impl Layout {
    /// Creates the layout of a flash whose erased bytes have these two values in turn.
    pub fn new(slots: usize, erased: [u8; 2]) -> Self {
        Layout { slots, erased }
    }

    /// Returns the value of an erased byte of the chip itself.
    pub fn blank(self) -> u8 {
        let [even, odd] = self.erased;
        if even == odd { even } else { 0xFF }
    }

    /// Encrypts or decrypts bytes at this address, so that erased bytes of the chip read as `erased`.
    fn encrypt(self, address: u32, bytes: &mut [u8]) {
        let [even, odd] = self.erased;
        if even != odd {
            let keys = [!even, !odd].into_iter().cycle().skip(address as usize % 2);
            bytes.iter_mut().zip(keys).for_each(|(byte, key)| *byte ^= key);
        }
    }
}

/// A deliberate mistake of the driver between the store and the flash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mistake {
    /// The driver is correct.
    None,
    /// The driver does not erase a block whose bytes are all equal.
    SkipsBlankBlocks,
    /// A read of a seal (a second mark after the commit record of a checkpoint) always returns the correct seal, even
    /// if the flash contains none.
    FakesSeals,
    /// The driver erases only the first block of each slot (the flash area of one checkpoint).
    ErasesOneBlock,
    /// The driver of byte-addressable memory does not write the zeros that make the old checkpoint of a slot invalid.
    KeepsOldRecords,
    /// The store is opened with pages of 1 byte, although the pages of the memory are larger.
    UnderstatesPage,
    /// The driver is correct, and the store in flash saves in pieces.
    NoneInPieces,
}

/// The driver of a chip, with a deliberate mistake.
struct Driver<'a, const W: usize, const E: usize> {
    flash: Flash<W, E, 1, &'a mut Chip>,
    mistake: Mistake,
    layout: Layout,
}

impl<const W: usize, const E: usize> nor_flash::ErrorType for Driver<'_, W, E> {
    type Error = ChipError;
}

impl<const W: usize, const E: usize> ReadNorFlash for Driver<'_, W, E> {
    const READ_SIZE: usize = 1;
    fn read(&mut self, offset: u32, buffer: &mut [u8]) -> Result<(), ChipError> {
        read(&mut self.flash, self.mistake, self.layout, offset, buffer)
    }
    fn capacity(&self) -> usize {
        self.flash.image().len()
    }
}

impl<const W: usize, const E: usize> NorFlash for Driver<'_, W, E> {
    const WRITE_SIZE: usize = W;
    const ERASE_SIZE: usize = E;
    fn write(&mut self, offset: u32, data: &[u8]) -> Result<(), ChipError> {
        let mut data = data.to_vec();
        self.layout.encrypt(offset, &mut data);
        self.flash.program(offset, &data)
    }
    fn erase(&mut self, from: u32, to: u32) -> Result<(), ChipError> {
        erase(&mut self.flash, self.mistake, from, to)
    }
}

fn read(chip: &mut Chip, mistake: Mistake, layout: Layout, offset: u32, buffer: &mut [u8]) -> Result<(), ChipError> {
    chip.read(offset, buffer)?;
    layout.encrypt(offset, buffer);
    let (_, block, _) = chip.geometry();
    // The store reads a seal (the second mark of a checkpoint) as whole granules at offset 64 of a slot, which starts
    // with a commit record.
    if mistake == Mistake::FakesSeals && buffer.len() <= 32 && offset as usize % block == 64 {
        let mut record = [0; 64];
        chip.read(offset - 64, &mut record)?;
        layout.encrypt(offset - 64, &mut record);
        if record.starts_with(&RECORD_MAGIC) {
            for (seal, byte) in buffer[..4].iter_mut().zip(&record[52..56]) {
                *seal = !byte;
            }
        }
    }
    Ok(())
}

fn erase(chip: &mut Chip, mistake: Mistake, from: u32, to: u32) -> Result<(), ChipError> {
    let (_, block, _) = chip.geometry();
    let is_skipped = match mistake {
        Mistake::SkipsBlankBlocks => {
            let mut bytes = vec![0; (to - from) as usize];
            let result = chip.read(from, &mut bytes);
            result.is_ok() && bytes.first().is_some_and(|first| bytes.iter().all(|byte| byte == first))
        }
        Mistake::ErasesOneBlock => from as usize / block % 2 == 1,
        Mistake::None
        | Mistake::FakesSeals
        | Mistake::KeepsOldRecords
        | Mistake::UnderstatesPage
        | Mistake::NoneInPieces => false,
    };
    if is_skipped { Ok(()) } else { chip.erase(from, to) }
}

/// The functions of [`Slots`] that the checks call, independent of the geometry.
pub trait AnySlots {
    fn create(&mut self, spec: &StreamSpec<'_>) -> Result<Box<dyn Write<Error = Error> + '_>, Error>;
    fn commit(&mut self, header: &Header<'_>, last: &Encoded) -> Result<(), Error>;
    fn checkpoint(&mut self, index: u32) -> Result<Option<CheckpointMeta>, Error>;
    fn stream_count(&mut self, sequence: u32) -> Result<u32, Error>;
    fn is_durable(&mut self, sequence: u32) -> bool;
    fn open(&mut self, sequence: u32, stream_index: u32) -> Result<Box<dyn Read<Error = Error> + '_>, Error>;
    fn remove(&mut self, sequence: u32) -> Result<(), Error>;
    fn capacity(&mut self) -> u32;
    fn abandon_place(&mut self) -> bool;
    fn damaged(&mut self) -> u32;
    fn erases(&self) -> Vec<u32>;
    fn erase_ahead(&mut self, len: u32) -> Result<bool, Error>;
}

impl<const W: usize, const E: usize, const SLOTS: usize, C: Checksum> AnySlots for Slots<Driver<'_, W, E>, SLOTS, C> {
    fn create(&mut self, spec: &StreamSpec<'_>) -> Result<Box<dyn Write<Error = Error> + '_>, Error> {
        Ok(Box::new(Store::create(self, spec)?))
    }
    fn commit(&mut self, header: &Header<'_>, last: &Encoded) -> Result<(), Error> {
        Store::commit(self, header, last)
    }
    fn checkpoint(&mut self, index: u32) -> Result<Option<CheckpointMeta>, Error> {
        Store::checkpoint(self, index)
    }
    fn stream_count(&mut self, sequence: u32) -> Result<u32, Error> {
        Store::stream_count(self, sequence)
    }
    fn is_durable(&mut self, sequence: u32) -> bool {
        Store::is_durable(self, sequence)
    }
    fn open(&mut self, sequence: u32, stream_index: u32) -> Result<Box<dyn Read<Error = Error> + '_>, Error> {
        Ok(Box::new(Store::open(self, sequence, stream_index)?))
    }
    fn remove(&mut self, sequence: u32) -> Result<(), Error> {
        Store::remove(self, sequence)
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
        Slots::erases(self).to_vec()
    }
    fn erase_ahead(&mut self, len: u32) -> Result<bool, Error> {
        Slots::erase_ahead(self, len)
    }
}

/// Slots of any geometry on a chip. `C` is the checksum of the streams.
pub struct Device<'a, C>(Box<dyn AnySlots + 'a>, PhantomData<C>);

impl<'a, C> Device<'a, C> {
    /// Hides the type of the slots.
    pub fn new(slots: impl AnySlots + 'a) -> Self {
        Device(Box::new(slots), PhantomData)
    }
    /// Returns the erase count of each slot: see [`Slots::erases`].
    pub fn erases(&self) -> Vec<u32> {
        self.0.erases()
    }

    /// Erases a free slot before the next save: see [`Slots::erase_ahead`].
    pub fn erase_ahead(&mut self, len: u32) -> Result<bool, Error> {
        self.0.erase_ahead(len)
    }
}

/// The writer or reader of a checkpoint stream.
pub struct Stream<S>(S);

impl<S> ErrorType for Stream<S> {
    type Error = Error;
}

impl Write for Stream<Box<dyn Write<Error = Error> + '_>> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        self.0.write(bytes)
    }
    fn flush(&mut self) -> Result<(), Error> {
        self.0.flush()
    }
}

impl Read for Stream<Box<dyn Read<Error = Error> + '_>> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        self.0.read(into)
    }
}

impl<C: Checksum> Store for Device<'_, C> {
    type Error = Error;
    type Writer<'a>
        = Stream<Box<dyn Write<Error = Error> + 'a>>
    where
        Self: 'a;
    type Reader<'a>
        = Stream<Box<dyn Read<Error = Error> + 'a>>
    where
        Self: 'a;
    type Checksum = C;

    fn capacity(&mut self) -> u32 {
        self.0.capacity()
    }
    fn abandon_place(&mut self) -> bool {
        self.0.abandon_place()
    }
    fn damaged(&mut self) -> u32 {
        self.0.damaged()
    }
    fn create(&mut self, spec: &StreamSpec<'_>) -> Result<Self::Writer<'_>, Error> {
        self.0.create(spec).map(Stream)
    }
    fn commit(&mut self, header: &Header<'_>, last: &Encoded) -> Result<(), Error> {
        self.0.commit(header, last)
    }
    fn checkpoint(&mut self, index: u32) -> Result<Option<CheckpointMeta>, Error> {
        self.0.checkpoint(index)
    }
    fn stream_count(&mut self, sequence: u32) -> Result<u32, Error> {
        self.0.stream_count(sequence)
    }
    fn is_durable(&mut self, sequence: u32) -> bool {
        self.0.is_durable(sequence)
    }
    fn open(&mut self, sequence: u32, stream_index: u32) -> Result<Self::Reader<'_>, Error> {
        self.0.open(sequence, stream_index).map(Stream)
    }
    fn remove(&mut self, sequence: u32) -> Result<(), Error> {
        self.0.remove(sequence)
    }
}

fn open_as<const W: usize, const E: usize, const SLOTS: usize, C: Checksum + 'static>(
    chip: &mut Chip,
    mistake: Mistake,
    region: Range<u32>,
    layout: Layout,
) -> Result<Device<'_, C>, String> {
    let flash = Flash::with_chip(chip).ok_or("the chip has another geometry than the driver")?;
    let slots = Slots::<Driver<'_, W, E>, SLOTS, C>::open(Driver { flash, mistake, layout }, region);
    let slots = slots.map_err(|error| format!("cannot open the slots: {error}"))?;
    Ok(if mistake == Mistake::NoneInPieces { Device::new(InPieces::new(slots)) } else { Device::new(slots) })
}

macro_rules! geometries {
    ($(($write:literal, $erase:literal, $erased:expr),)* pages: $($page:literal),*) => {
        /// The geometries that `open` supports.
        pub const GEOMETRIES: &[Geometry] = &[$(($write, $erase, $erased),)* $(($page, 0, [0; 2]),)*];

        /// Opens 2 to 4 slots in `region` of a chip. The geometry of the chip must be one of the [`GEOMETRIES`].
        pub fn open<C: Checksum + 'static>(
            chip: &mut Chip,
            mistake: Mistake,
            region: Range<u32>,
            layout: Layout,
        ) -> Result<Device<'_, C>, String> {
            if chip.is_byte_addressable() {
                return byte_device::open(chip, mistake, region, layout);
            }
            let (write, erase, _) = chip.geometry();
            let slots = layout.slots;
            match (write, erase, slots) {
                $(
                    ($write, $erase, 2) => open_as::<$write, $erase, 2, C>(chip, mistake, region, layout),
                    ($write, $erase, 3) => open_as::<$write, $erase, 3, C>(chip, mistake, region, layout),
                    ($write, $erase, 4) => open_as::<$write, $erase, 4, C>(chip, mistake, region, layout),
                )*
                _ => Err(format!(
                    "unsupported geometry: write size {write}, erase size {erase}, {slots} slots; see GEOMETRIES"
                )),
            }
        }
    };
}

geometries! {
    (32, 256, [0xFF; 2]),
    (16, 256, [0x00; 2]),
    (8, 256, [0x39, 0xE3]),
    (4, 256, [0xFF; 2]),
    (4, 4096, [0xFF; 2]),
    (1, 256, [0x00; 2]),
    (2, 1024, [0x39, 0xE3]),
    (8, 2048, [0xFF; 2]),
    (16, 4096, [0x00; 2]),
    (32, 131_072, [0xFF; 2]),
    pages: 1, 8, 32, 64, 256
}
