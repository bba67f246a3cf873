//! The slots on a flash whose geometry is known when the judge runs. [`Slots`] are generic over it, and over their number:
//! here they are made for each geometry, once, and stand behind one type; all that judges them is compiled once.

use crate::flash::{Chip, Fault, Flash};
use core::marker::PhantomData;
use core::ops::Range;
use embedded_io::{ErrorType, Read, Write};
use training_monitor::checkpoint::{Checksum, Encoded, Header};
use training_monitor::embedded_storage::nor_flash::{self, NorFlash, ReadNorFlash};
use training_monitor::store::slots::{Slots, SlotsError};
use training_monitor::store::{Opening, Store, Stored};

type Error = SlotsError<Fault>;

/// Write granule, erase block, erased value.
pub type Geometry = (usize, usize, u8);

/// A mistake that lies between the store and the flash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mistake {
    /// None.
    None,
    /// Leaves out erases of blocks that read as all ones or all zeros.
    SkipsBlank,
    /// Answers reads of a seal with the seal that belongs there.
    ReadsSeals,
    /// Erases only slots' first blocks.
    ErasesOne,
}

/// The driver of a chip, with a mistake in it.
struct Driver<'a, const W: usize, const E: usize> {
    flash: Flash<W, E, 1, &'a mut Chip>,
    mistake: Mistake,
}

impl<const W: usize, const E: usize> nor_flash::ErrorType for Driver<'_, W, E> {
    type Error = Fault;
}

impl<const W: usize, const E: usize> ReadNorFlash for Driver<'_, W, E> {
    const READ_SIZE: usize = 1;
    fn read(&mut self, at: u32, into: &mut [u8]) -> Result<(), Fault> {
        read(&mut self.flash, self.mistake, at, into)
    }
    fn capacity(&self) -> usize {
        self.flash.image().len()
    }
}

impl<const W: usize, const E: usize> NorFlash for Driver<'_, W, E> {
    const WRITE_SIZE: usize = W;
    const ERASE_SIZE: usize = E;
    fn write(&mut self, at: u32, data: &[u8]) -> Result<(), Fault> {
        self.flash.program(at, data)
    }
    fn erase(&mut self, from: u32, to: u32) -> Result<(), Fault> {
        erase(&mut self.flash, self.mistake, from, to)
    }
}

fn read(chip: &mut Chip, mistake: Mistake, at: u32, into: &mut [u8]) -> Result<(), Fault> {
    chip.read(at, into)?;
    let (_, block, _) = chip.geometry();
    // Only seals are read 32 bytes at 64 from the beginning of a block.
    if mistake == Mistake::ReadsSeals && into.len() == 32 && at as usize % block == 64 {
        let mut record = [0; 64];
        chip.read(at - 64, &mut record)?;
        into[..4].copy_from_slice(b"TMSK");
        for (seal, byte) in into[4..8].iter_mut().zip(&record[40..44]) {
            *seal = !byte;
        }
    }
    Ok(())
}

fn erase(chip: &mut Chip, mistake: Mistake, from: u32, to: u32) -> Result<(), Fault> {
    let (_, block, _) = chip.geometry();
    let skipped = match mistake {
        Mistake::SkipsBlank => {
            let mut bytes = vec![0; (to - from) as usize];
            let read = chip.read(from, &mut bytes);
            read.is_ok() && bytes.first().is_some_and(|first| bytes.iter().all(|byte| byte == first))
        }
        Mistake::ErasesOne => from as usize / block % 2 == 1,
        Mistake::None | Mistake::ReadsSeals => false,
    };
    if skipped { Ok(()) } else { chip.erase(from, to) }
}

/// What the judge does with slots of any geometry.
trait AnySlots {
    fn create(&mut self, opening: &Opening<'_>) -> Result<Box<dyn Write<Error = Error> + '_>, Error>;
    fn commit(&mut self, header: &Header<'_>, last: &Encoded) -> Result<(), Error>;
    fn stored(&mut self, index: u32) -> Result<Option<Stored>, Error>;
    fn parts(&mut self, step: u32) -> Result<u32, Error>;
    fn is_firm(&mut self, step: u32) -> bool;
    fn open(&mut self, step: u32, part: u32) -> Result<Box<dyn Read<Error = Error> + '_>, Error>;
    fn remove(&mut self, step: u32) -> Result<(), Error>;
    fn erases(&self) -> Vec<u32>;
    fn erase_ahead(&mut self, len: u32) -> Result<bool, Error>;
}

impl<const W: usize, const E: usize, const SLOTS: usize, C: Checksum> AnySlots for Slots<Driver<'_, W, E>, SLOTS, C> {
    fn create(&mut self, opening: &Opening<'_>) -> Result<Box<dyn Write<Error = Error> + '_>, Error> {
        Ok(Box::new(Store::create(self, opening)?))
    }
    fn commit(&mut self, header: &Header<'_>, last: &Encoded) -> Result<(), Error> {
        Store::commit(self, header, last)
    }
    fn stored(&mut self, index: u32) -> Result<Option<Stored>, Error> {
        Store::stored(self, index)
    }
    fn parts(&mut self, step: u32) -> Result<u32, Error> {
        Store::parts(self, step)
    }
    fn is_firm(&mut self, step: u32) -> bool {
        Store::is_firm(self, step)
    }
    fn open(&mut self, step: u32, part: u32) -> Result<Box<dyn Read<Error = Error> + '_>, Error> {
        Ok(Box::new(Store::open(self, step, part)?))
    }
    fn remove(&mut self, step: u32) -> Result<(), Error> {
        Store::remove(self, step)
    }
    fn erases(&self) -> Vec<u32> {
        Slots::erases(self).to_vec()
    }
    fn erase_ahead(&mut self, len: u32) -> Result<bool, Error> {
        Slots::erase_ahead(self, len)
    }
}

/// The slots on a chip. `C` is how streams are summed.
pub struct Device<'a, C>(Box<dyn AnySlots + 'a>, PhantomData<C>);

impl<C> Device<'_, C> {
    /// As [`Slots::erases`].
    pub fn erases(&self) -> Vec<u32> {
        self.0.erases()
    }

    /// As [`Slots::erase_ahead`].
    pub fn erase_ahead(&mut self, len: u32) -> Result<bool, Error> {
        self.0.erase_ahead(len)
    }
}

/// A stream that is written or read.
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

    fn create(&mut self, opening: &Opening<'_>) -> Result<Self::Writer<'_>, Error> {
        self.0.create(opening).map(Stream)
    }
    fn commit(&mut self, header: &Header<'_>, last: &Encoded) -> Result<(), Error> {
        self.0.commit(header, last)
    }
    fn stored(&mut self, index: u32) -> Result<Option<Stored>, Error> {
        self.0.stored(index)
    }
    fn parts(&mut self, step: u32) -> Result<u32, Error> {
        self.0.parts(step)
    }
    fn is_firm(&mut self, step: u32) -> bool {
        self.0.is_firm(step)
    }
    fn open(&mut self, step: u32, part: u32) -> Result<Self::Reader<'_>, Error> {
        self.0.open(step, part).map(Stream)
    }
    fn remove(&mut self, step: u32) -> Result<(), Error> {
        self.0.remove(step)
    }
}

fn open_as<const W: usize, const E: usize, const SLOTS: usize, C: Checksum + 'static>(
    chip: &mut Chip,
    mistake: Mistake,
    region: Range<u32>,
) -> Result<Device<'_, C>, String> {
    let flash = Flash::over(chip).ok_or("the chip has another geometry")?;
    let slots = Slots::<Driver<'_, W, E>, SLOTS, C>::open(Driver { flash, mistake }, region);
    Ok(Device(Box::new(slots.map_err(|error| format!("open: {error}"))?), PhantomData))
}

macro_rules! geometries {
    ($(($write:literal, $erase:literal, $erased:literal),)*) => {
        /// Those that are built in.
        pub const GEOMETRIES: &[Geometry] = &[$(($write, $erase, $erased),)*];

        /// Opens 2 to 4 slots in `region` of a chip of one of the [`GEOMETRIES`].
        pub fn open<C: Checksum + 'static>(
            chip: &mut Chip,
            mistake: Mistake,
            region: Range<u32>,
            slots: usize,
        ) -> Result<Device<'_, C>, String> {
            let (write, erase, _) = chip.geometry();
            match (write, erase, slots) {
                $(
                    ($write, $erase, 2) => open_as::<$write, $erase, 2, C>(chip, mistake, region),
                    ($write, $erase, 3) => open_as::<$write, $erase, 3, C>(chip, mistake, region),
                    ($write, $erase, 4) => open_as::<$write, $erase, 4, C>(chip, mistake, region),
                )*
                _ => Err(format!("no geometry of {write} and {erase} bytes with {slots} slots is built in")),
            }
        }
    };
}

geometries! {
    (32, 256, 0xFF),
    (16, 256, 0x00),
    (8, 256, 0xFF),
    (4, 256, 0xFF),
    (4, 4096, 0xFF),
    (1, 256, 0x00),
    (2, 1024, 0xFF),
    (8, 2048, 0xFF),
    (16, 4096, 0x00),
    (32, 131_072, 0xFF),
}
