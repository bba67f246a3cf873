//! The medium flash: slots on a simulated chip, with several write granules, erased values and layouts of the region.

use super::medium::{Inspect, Medium, MediumCheckpoint, Sum, read_all};
use super::program::Program;
use super::watch::{Power, Watch};
use crate::flash::{Chip, ChipError, Flash, Interruption};
use crate::random::Random;
use core::ops::Range;
use training_monitor::checkpoint::{Encoded, Header};
use training_monitor::embedded_storage::nor_flash::{self, NorFlash, ReadNorFlash};
use training_monitor::store::flash::{Reader, Slots, SlotsError, Writer};
use training_monitor::store::{CheckpointMeta, Store, StreamSpec};

/// The size of an erase block.
const ERASE: usize = 256;
/// The size of the chip: four slots of two blocks, and two slots of space for other layouts.
const CAPACITY: usize = 12 * ERASE;

/// The layouts of the region: its bytes and its number of slots. The others divide the region of the first one in
/// another way, are shorter, or start elsewhere.
pub const LAYOUTS: [(Range<u32>, usize); 5] =
    [(0..2048, 4), (0..2048, 2), (0..1536, 3), (256..2304, 4), (512..2560, 4)];

/// Flash with a write granule of `W` bytes.
#[derive(Clone, Debug)]
pub struct FlashMedium<const W: usize> {
    chip: Chip,
    /// The slot of two blocks that can no longer be erased and written.
    broken: Option<u32>,
    /// The values of two erased bytes. On a chip that encrypts its content, they differ.
    erased: [u8; 2],
}

/// The driver of a chip whose power can fail.
#[derive(Debug)]
pub struct Driver<'a, const W: usize> {
    flash: Flash<W, ERASE, 1, &'a mut Chip>,
    broken: Option<u32>,
    erased: [u8; 2],
    /// `None` for an inspection, during which nothing fails.
    watch: Option<&'a Watch>,
}

impl<const W: usize> nor_flash::ErrorType for Driver<'_, W> {
    type Error = ChipError;
}

impl<const W: usize> Driver<'_, W> {
    /// Counts the operations. Prepares the chip for the failure of one of them.
    fn operate(&mut self, at: u32, count: usize, is_erase: bool) -> Result<(), ChipError> {
        if self.broken.is_some_and(|slot| at / (2 * ERASE as u32) == slot) {
            return Err(ChipError::Unreadable);
        }
        let Some(watch) = self.watch else { return Ok(()) };
        let left = watch.power_left();
        match watch.operate(count as u32) {
            Power::On => Ok(()),
            Power::Off => Err(ChipError::PowerOff),
            Power::Fails => {
                let effects = Interruption::all(is_erase, W);
                let effect = effects[usize::from(watch.effect.get()) % effects.len()];
                self.flash.cut_power_at(u64::from(left.unwrap_or(0)), effect, u64::from(watch.effect.get()));
                Ok(())
            }
        }
    }
}

impl<const W: usize> ReadNorFlash for Driver<'_, W> {
    const READ_SIZE: usize = 1;
    fn read(&mut self, offset: u32, into: &mut [u8]) -> Result<(), ChipError> {
        self.flash.read(offset, into)?;
        encrypt(self.erased, offset as usize, into);
        Ok(())
    }
    fn capacity(&self) -> usize {
        CAPACITY
    }
}

impl<const W: usize> NorFlash for Driver<'_, W> {
    const WRITE_SIZE: usize = W;
    const ERASE_SIZE: usize = ERASE;
    fn write(&mut self, offset: u32, data: &[u8]) -> Result<(), ChipError> {
        self.operate(offset, data.len() / W, false)?;
        let mut data = data.to_vec();
        encrypt(self.erased, offset as usize, &mut data);
        self.flash.program(offset, &data)
    }
    fn erase(&mut self, from: u32, to: u32) -> Result<(), ChipError> {
        self.operate(from, (to - from) as usize / ERASE, true)?;
        NorFlash::erase(&mut self.flash, from, to)
    }
}

/// Encrypts or decrypts bytes at this address, so that erased bytes of the chip (FF) read as `erased`.
fn encrypt(erased: [u8; 2], address: usize, bytes: &mut [u8]) {
    if erased[0] != erased[1] {
        bytes.iter_mut().enumerate().for_each(|(at, byte)| *byte ^= !erased[(address + at) % 2]);
    }
}

/// Slots of any supported number.
#[derive(Debug)]
pub enum AnySlots<'a, const W: usize> {
    /// Two slots.
    Two(Slots<Driver<'a, W>, 2, Sum>, usize),
    /// Three slots.
    Three(Slots<Driver<'a, W>, 3, Sum>, usize),
    /// Four slots.
    Four(Slots<Driver<'a, W>, 4, Sum>, usize),
}

macro_rules! each {
    ($slots:expr, $store:ident => $call:expr) => {
        match $slots {
            AnySlots::Two($store, _) => $call,
            AnySlots::Three($store, _) => $call,
            AnySlots::Four($store, _) => $call,
        }
    };
}

fn open<'a, const W: usize>(
    chip: &'a mut Chip,
    (broken, erased): (Option<u32>, [u8; 2]),
    layout: usize,
    watch: Option<&'a Watch>,
) -> Result<AnySlots<'a, W>, String> {
    let flash = Flash::with_chip(chip).ok_or("the geometry of the chip")?;
    let driver = Driver { flash, broken, erased, watch };
    let (region, slots) = LAYOUTS[layout].clone();
    match slots {
        2 => Slots::open(driver, region).map(|slots| AnySlots::Two(slots, layout)),
        3 => Slots::open(driver, region).map(|slots| AnySlots::Three(slots, layout)),
        _ => Slots::open(driver, region).map(|slots| AnySlots::Four(slots, layout)),
    }
    .map_err(|error| error.to_string())
}

impl<const W: usize> Inspect for AnySlots<'_, W> {
    const SIMULATES_POWER: bool = true;
    fn inspect(&mut self) -> Vec<MediumCheckpoint> {
        let (driver, layout) = match self {
            AnySlots::Two(slots, layout) => (slots.flash(), *layout),
            AnySlots::Three(slots, layout) => (slots.flash(), *layout),
            AnySlots::Four(slots, layout) => (slots.flash(), *layout),
        };
        let mut chip = Chip::clone(&driver.flash);
        chip.power_on();
        open::<W>(&mut chip, (None, driver.erased), layout, None).map_or(Vec::new(), |mut slots| read_all(&mut slots))
    }
}

impl<'f, const W: usize> Store for AnySlots<'f, W> {
    type Error = SlotsError<ChipError>;
    type Writer<'a>
        = Writer<'a, Driver<'f, W>>
    where
        Self: 'a;
    type Reader<'a>
        = Reader<'a, Driver<'f, W>>
    where
        Self: 'a;
    type Checksum = Sum;

    const PLACES: u32 = 4;

    fn capacity(&mut self) -> u32 {
        each!(self, store => store.capacity())
    }
    fn check(&mut self, spec: &StreamSpec<'_>) -> Result<(), Self::Error> {
        each!(self, store => store.check(spec))
    }
    fn create(&mut self, spec: &StreamSpec<'_>) -> Result<Self::Writer<'_>, Self::Error> {
        each!(self, store => store.create(spec))
    }
    fn abandon_place(&mut self) -> bool {
        each!(self, store => store.abandon_place())
    }
    fn commit(&mut self, header: &Header<'_>, last: &Encoded) -> Result<(), Self::Error> {
        each!(self, store => store.commit(header, last))
    }
    fn checkpoint(&mut self, index: u32) -> Result<Option<CheckpointMeta>, Self::Error> {
        each!(self, store => store.checkpoint(index))
    }
    fn stream_count(&mut self, sequence: u32) -> Result<u32, Self::Error> {
        each!(self, store => store.stream_count(sequence))
    }
    fn damaged(&mut self) -> u32 {
        each!(self, store => store.damaged())
    }
    fn is_durable(&mut self, sequence: u32) -> bool {
        each!(self, store => store.is_durable(sequence))
    }
    fn open(&mut self, sequence: u32, stream_index: u32) -> Result<Self::Reader<'_>, Self::Error> {
        each!(self, store => store.open(sequence, stream_index))
    }
    fn remove(&mut self, sequence: u32) -> Result<(), Self::Error> {
        each!(self, store => store.remove(sequence))
    }
    fn erase(&mut self, sequence: u32) -> Result<(), Self::Error> {
        each!(self, store => store.erase(sequence))
    }
}

impl<const W: usize> FlashMedium<W> {
    /// Returns the blocks of a checkpoint, whose commit record contains its sequence number.
    fn slot_of(&self, layout: u8, sequence: u32) -> Option<(usize, usize)> {
        let (region, slots) = LAYOUTS[usize::from(layout)].clone();
        let size = (region.end - region.start) as usize / slots;
        // The record starts with its magic bytes and the layout word. The sequence number follows.
        let is_record = |start: usize| {
            let mut record = self.chip.image()[start..][..12].to_vec();
            encrypt(self.erased, start, &mut record);
            record.starts_with(b"TM") && record[3] == 2 && record[8..12] == sequence.to_le_bytes()
        };
        let start = (0..slots).map(|slot| region.start as usize + slot * size).find(|start| is_record(*start));
        start.map(|start| (start, size))
    }
}

impl<const W: usize> Medium for FlashMedium<W> {
    type Store<'a> = AnySlots<'a, W>;
    const HAS_LAYOUT: bool = true;

    fn new(seed: u64) -> Self {
        let erased = [[0xFF, 0xFF], [0x00, 0x00], [0x39, 0xE3]][seed as usize % 3];
        let blank = if erased[0] == 0 { 0 } else { 0xFF };
        let mut image = vec![blank; CAPACITY];
        if seed / 3 % 2 == 1 {
            let mut random = Random::new(seed);
            image.fill_with(|| random.byte());
        }
        FlashMedium { chip: Chip::new(W, ERASE, 1, image, blank), broken: None, erased }
    }
    fn open<'a>(&'a mut self, program: &Program, watch: &'a Watch) -> Result<AnySlots<'a, W>, String> {
        self.chip.power_on();
        open(&mut self.chip, (self.broken, self.erased), usize::from(program.layout), Some(watch))
    }
    fn is_visible(&self, old: u8, new: u8, sequence: u32) -> bool {
        let region = &LAYOUTS[usize::from(new)].0;
        self.slot_of(old, sequence)
            .is_none_or(|(start, size)| start >= region.start as usize && start + size <= region.end as usize)
    }
    fn break_block(&mut self, number: u32) {
        self.broken = Some(number % 4);
    }
    fn damage(&mut self, program: &Program, sequence: u32, byte: u8) {
        if let Some((start, _)) = self.slot_of(program.layout, sequence) {
            // A byte of the stream, which starts after the record and the seal.
            self.chip.image_mut()[start + 96 + usize::from(byte) % 64] ^= 0x10;
        }
    }
    fn remove(&mut self, program: &Program, sequence: u32) {
        if let Some((start, size)) = self.slot_of(program.layout, sequence) {
            self.chip.power_on();
            let _ = self.chip.erase(start as u32, (start + size) as u32);
        }
    }
    fn erase(&mut self, _: &Program) {
        self.chip.power_on();
        let _ = self.chip.erase(0, CAPACITY as u32);
    }
    fn is_unstable(&self) -> bool {
        self.chip.is_unstable()
    }
    fn violation(&self) -> Option<String> {
        self.chip.violations().first().map(|violation| format!("the store violated the driver contract: {violation:?}"))
    }
}
