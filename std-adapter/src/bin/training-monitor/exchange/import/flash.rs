//! A checkpoint into the image of a flash, by the very code that writes it on a device.
//!
//! The image is kept as a device keeps its flash: whole erase blocks are erased, each byte is programmed once. It is
//! written in the largest granules that any device has, which is right for those with smaller ones, too.

use super::Import;
use crate::failure::{self, Failure, Result};
use crate::stream::Stream;
use crate::survey::Survey;
use crate::survey::{Region, Series};
use training_monitor::checkpoint::{Contents, Header, encode, measure};
use training_monitor::embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use training_monitor::store::slots::Slots;
use training_monitor::store::{Opening, Store};
use training_monitor_std::Crc32Fast;

/// What erased flash reads as on the devices that an image is for. Nothing depends on it.
const ERASED: u8 = 0xFF;

/// The image with the checkpoint in it, and what to say about it.
pub fn place(arguments: &Import, mut stream: Stream) -> Result<(Vec<u8>, String)> {
    stream.set.clear();
    let (mut image, region, before) = match (&arguments.into, arguments.slot_size) {
        (Some(dump), _) => {
            let image = failure::read(dump)?;
            let survey = Survey::new(dump, &arguments.geometry)?;
            let series = choose(&survey, arguments)?;
            let region =
                series.region.ok_or_else(|| Failure::usage(format!("{} is not a flash dump", dump.display())))?;
            let gone = going(series, region, stream.head.step);
            newest(&survey, &mut stream);
            (image, region, gone)
        }
        (None, Some(slot)) => {
            let slots = arguments.geometry.slots.unwrap_or(2) as usize;
            let len = slot.checked_mul(slots).ok_or_else(|| Failure::usage("the image is too large"))?;
            stream.head.sequence = 1;
            (vec![ERASED; len], Region { start: 0, slot, slots, erases: 0 }, None)
        }
        (None, None) => {
            let why = "a flash image needs --into DUMP, or --slots NUMBER and --slot-size BYTES for a new one";
            return Err(Failure::usage(why));
        }
    };
    let end = region.start + region.slot * region.slots;
    let bytes = &mut image[region.start..end];
    let index = dispatch(bytes, region.slots, &stream, before)?;
    let head = &stream.head;
    let told = format!(
        "step {} (iteration {}) in slot {index} at {:#x}",
        head.step,
        head.iteration,
        region.start + index * region.slot
    );
    Ok((image, told))
}

/// The region that is meant, in a dump.
fn choose<'a>(survey: &'a Survey, arguments: &Import) -> Result<&'a Series> {
    let name = arguments.choice.series.as_deref().filter(|_| arguments.template.is_none());
    let mut all = survey.series.iter().filter(|series| name.is_none_or(|name| name == series.name));
    match (all.next(), all.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => {
            Err(Failure::content(&survey.path, "no such region; --region and --slots say where the slots are"))
        }
        (Some(_), Some(_)) => {
            let names: Vec<&str> = survey.series.iter().map(|series| series.name.as_str()).collect();
            let why = format!("there are the regions {}; --region and --slots say which is meant", names.join(", "));
            Err(Failure::content(&survey.path, why))
        }
    }
}

/// The step that has to go, where no slot is free: what the device would remove.
fn going(series: &Series, region: Region, step: u32) -> Option<u32> {
    let full = series.checkpoints.len() >= region.slots;
    let ranks = series.ranks();
    let worst = series.checkpoints.iter().zip(ranks).max_by_key(|(found, rank)| (found.head.step == step, *rank));
    worst.filter(|_| full).map(|(found, _)| found.head.step)
}

/// Makes it what a device goes on from: the highest sequence of all, and an iteration above that of any other.
fn newest(survey: &Survey, stream: &mut Stream) {
    let all = || survey.series.iter().flat_map(|series| &series.checkpoints);
    stream.head.sequence = all().map(|found| found.head.sequence).max().unwrap_or(0).saturating_add(1);
    let others = all().map(|found| found.head.iteration).max().unwrap_or(0);
    if stream.head.iteration <= others {
        stream.head.iteration = others.saturating_add(1);
    }
}

/// The number of slots is known when firmware is compiled; here it is one of those that are likely.
fn dispatch(bytes: &mut [u8], slots: usize, stream: &Stream, gone: Option<u32>) -> Result<usize> {
    macro_rules! of {
        ($($n:literal)*) => {
            match slots {
                $($n => save::<$n>(bytes, stream, gone),)*
                _ => Err(Failure::usage(format!("{slots} slots; from 2 to 17 are supported"))),
            }
        };
    }
    of!(2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17)
}

/// Saves as `ModelCheckpoint` does; returns the slot it went to.
fn save<const SLOTS: usize>(bytes: &mut [u8], stream: &Stream, gone: Option<u32>) -> Result<usize> {
    let wrong = |why: String| Failure::usage(format!("the flash image: {why}"));
    let end = u32::try_from(bytes.len()).map_err(|_| wrong("more than 4 GiB".to_owned()))?;
    let block = bytes.len() / SLOTS;
    let mut slots =
        Slots::<_, SLOTS, Crc32Fast>::open(Image { bytes, block }, 0..end).map_err(|e| wrong(e.to_string()))?;
    if let Some(step) = gone {
        slots.remove(step).map_err(|e| wrong(e.to_string()))?;
    }
    let header: Header<'_> = stream.head.header();
    let contents = Contents { header, record: stream.head.record.as_ref(), only: None, allow_non_finite: true };
    let len = measure::<core::convert::Infallible, _>(&contents, stream).map_err(|e| wrong(e.to_string()))?;
    let before = slots.erases();
    let mut writer =
        slots.create(&Opening { header, object: None, part: 0, parts: 1, len }).map_err(|e| wrong(e.to_string()))?;
    let encoded = encode::<Crc32Fast, _, _>(&mut writer, &contents, stream).map_err(|e| wrong(e.to_string()))?;
    slots.commit(&header, &encoded).map_err(|e| wrong(e.to_string()))?;
    let after = slots.erases();
    Ok(before.iter().zip(after).position(|(before, after)| *before != after).unwrap_or(0))
}

/// A region of an image. A slot is erased as a whole: how large the erase blocks of the device are does not matter then.
struct Image<'a> {
    bytes: &'a mut [u8],
    /// Bytes of a slot.
    block: usize,
}

impl ErrorType for Image<'_> {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Image<'_> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, to: &mut [u8]) -> std::result::Result<(), NorFlashErrorKind> {
        let from = self.bytes.get(offset as usize..).and_then(|from| from.get(..to.len()));
        to.copy_from_slice(from.ok_or(NorFlashErrorKind::OutOfBounds)?);
        Ok(())
    }
    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl NorFlash for Image<'_> {
    const WRITE_SIZE: usize = 32;
    const ERASE_SIZE: usize = 32;

    fn erase(&mut self, from: u32, to: u32) -> std::result::Result<(), NorFlashErrorKind> {
        // Nothing of a slot is programmed before all of it that is needed is erased.
        let from = from as usize / self.block * self.block;
        let to = (to as usize).next_multiple_of(self.block);
        self.bytes.get_mut(from..to).ok_or(NorFlashErrorKind::OutOfBounds)?.fill(ERASED);
        Ok(())
    }
    fn write(&mut self, offset: u32, bytes: &[u8]) -> std::result::Result<(), NorFlashErrorKind> {
        let to = self.bytes.get_mut(offset as usize..).and_then(|to| to.get_mut(..bytes.len()));
        to.ok_or(NorFlashErrorKind::OutOfBounds)?.copy_from_slice(bytes);
        Ok(())
    }
}
