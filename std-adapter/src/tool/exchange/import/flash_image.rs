//! Writes a checkpoint into a flash image. The module calls `Slots`, the same code that stores checkpoints on a device.
//!
//! The image obeys the rules of NOR flash: an erase clears a whole slot, and each byte is written at most once after an
//! erase. The image is written in units of 32 bytes, the largest write unit of all supported flash chips. A device with
//! smaller write units can read the image, too.

use crate::Crc32Fast;
use crate::tool::error::{CliError, Result};
use crate::tool::inventory::flash_dump::Geometry;
use crate::tool::inventory::{Inventory, Region, Series};
use crate::tool::numbers::address;
use crate::tool::stream::{Payload, Purpose, Source, Stream, StreamHeader, StreamObjects, WriteError};
use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use training_monitor::checkpoint::{Contents, Header, encode_with, measure};
use training_monitor::embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use training_monitor::store::flash::Slots;
use training_monitor::store::{Store, StreamSpec};

/// The value of an erased byte in a new flash image. The store on the device accepts any value for erased bytes.
const ERASED: u8 = 0xFF;

/// A flash image that will be written: a dump in which some slots have other bytes, or an empty flash with such slots.
pub struct FlashImage {
    dump: Option<Arc<Source>>,
    region: Region,
    /// The bytes of each slot that differs from the dump, by the index of the slot. A slot has at most 16 MiB.
    slots: HashMap<usize, Vec<u8>>,
    /// Describes the checkpoint and its slot.
    pub summary: String,
}

impl FlashImage {
    /// Saves the checkpoint in the first slot of an empty flash.
    pub fn create(slot_size: usize, slot_count: usize, mut stream: Stream) -> Result<FlashImage> {
        stream.header.sequence = 1;
        let region = Region { start: 0, slot_size, slot_count, erases: 0 };
        FlashImage::save(None, region, stream, None)
    }

    /// Saves the checkpoint in a copy of the dump `path`, in which it becomes the newest checkpoint. `series_name` selects
    /// one of several regions.
    pub fn insert(
        path: &Path,
        geometry: &Geometry,
        series_name: Option<&str>,
        mut stream: Stream,
    ) -> Result<FlashImage> {
        let dump = Source::open(path)?;
        let inventory = Inventory::of_source(path, &dump, geometry, Purpose::Read)?;
        let series = choose_region(&inventory, series_name)?;
        let region = series.region.ok_or_else(|| CliError::usage(format!("{} is not a flash dump", path.display())))?;
        if region.end() as u64 > dump.len() {
            let (start, end, len) = (address(region.start), address(region.end()), dump.len());
            let reason = format!("the region {start}..{end} ends after the end of the dump, which has {len} bytes");
            return Err(CliError::content(path, reason));
        }
        adopt_series(series, &mut stream.header);
        let evicted = checkpoint_to_evict(series, region, stream.header.step);
        make_newest(&inventory, &mut stream);
        FlashImage::save(Some(dump), region, stream, evicted)
    }

    fn save(dump: Option<Arc<Source>>, region: Region, mut stream: Stream, evicted: Option<u32>) -> Result<FlashImage> {
        stream.object_names.clear();
        stream.header.save_id = 0;
        let flash = RegionImage { dump, region, ..RegionImage::default() };
        let (index, flash) = save_to_region(flash, region.slot_count, &stream, evicted)?;
        let header = &stream.header;
        let address = address(region.start + index * region.slot_size);
        let summary = format!("step {} (iteration {}) in slot {index} at {address}", header.step, header.iteration);
        Ok(FlashImage { dump: flash.dump, region, slots: flash.slots, summary })
    }

    /// Writes the whole image.
    pub fn write(&self, output: &mut dyn Write) -> std::result::Result<(), WriteError> {
        let Region { start, slot_size, slot_count, .. } = self.region;
        self.write_dump(0, start, output)?;
        for index in 0..slot_count {
            match self.slots.get(&index) {
                Some(bytes) => output.write_all(bytes)?,
                None => self.write_dump(start + index * slot_size, slot_size, output)?,
            }
        }
        let end = self.region.end();
        let rest = self.dump.as_ref().map_or(0, |dump| dump.len() as usize - end);
        self.write_dump(end, rest, output)
    }

    /// Writes unchanged bytes.
    fn write_dump(&self, offset: usize, len: usize, output: &mut dyn Write) -> std::result::Result<(), WriteError> {
        match &self.dump {
            Some(dump) => Payload::new(dump, offset as u64, len as u64)
                .for_each_chunk(|chunk| output.write_all(chunk).map_err(WriteError::Output)),
            None => {
                Ok(std::io::copy(&mut std::io::Read::take(std::io::repeat(ERASED), len as u64), output).map(|_| ())?)
            }
        }
    }
}

/// Returns the region (the flash area of all slots) in which the command saves the imported checkpoint.
fn choose_region<'a>(inventory: &'a Inventory, name: Option<&str>) -> Result<&'a Series> {
    let mut candidates = inventory.series.iter().filter(|series| name.is_none_or(|name| name == series.name));
    let error = |reason: String| Err(CliError::content(&inventory.path, reason));
    match (candidates.next(), candidates.next()) {
        (Some(series), None) => Ok(series),
        (None, _) => error("no region found; use --region and --slots to say where the slots are".to_owned()),
        (Some(_), Some(_)) => {
            let names: Vec<&str> = inventory.series.iter().map(|series| series.name.as_str()).collect();
            error(format!("there are several regions ({}); use --region and --slots to choose one", names.join(", ")))
        }
    }
}

/// Returns the sequence number of the checkpoint that the command evicts (removes) to make room for the new checkpoint.
/// This is a checkpoint with the same step, or otherwise the checkpoint with the lowest rank. The device would choose
/// the same checkpoint. Returns `None` if a slot is free.
fn checkpoint_to_evict(series: &Series, region: Region, step: u32) -> Option<u32> {
    let is_full = series.checkpoints.len() >= region.slot_count;
    let ranked = series.checkpoints.iter().zip(series.ranks());
    let worst = ranked.max_by_key(|(checkpoint, rank)| (checkpoint.header.step == step, *rank));
    worst.filter(|_| is_full).map(|(checkpoint, _)| checkpoint.header.sequence)
}

/// Makes the imported checkpoint a part of the series in the region, so that the handler of the device ranks it. A region
/// contains the checkpoints of one handler.
fn adopt_series(region: &Series, header: &mut StreamHeader) {
    let newest = region.checkpoints.iter().map(|checkpoint| &checkpoint.header).max_by_key(|header| header.sequence);
    let Some(newest) = newest else { return };
    header.series_name.clone_from(&newest.series_name);
    header.score_name.clone_from(&newest.score_name);
    (header.rule, header.model) = (newest.rule, newest.model);
    header.score = header.score.filter(|_| newest.score.is_some());
}

/// Makes the imported checkpoint in `stream` the newest checkpoint of the dump. The checkpoint gets the highest
/// sequence number, and an iteration after all others, so that the device resumes from this checkpoint.
fn make_newest(inventory: &Inventory, stream: &mut Stream) {
    let all = || inventory.series.iter().flat_map(|series| &series.checkpoints);
    stream.header.sequence = all().map(|checkpoint| checkpoint.header.sequence).max().unwrap_or(0).saturating_add(1);
    let point = |header: &StreamHeader| (header.run, header.iteration);
    let newest = all().map(|checkpoint| point(&checkpoint.header)).max().unwrap_or_default();
    let header = &mut stream.header;
    if point(header) <= newest {
        // The device resumes from the checkpoint with the highest run number and the highest iteration.
        (header.run, header.iteration) = (newest.0, newest.1.saturating_add(1));
        if let Some(record) = &mut header.record {
            record.engine_mut().run = header.run;
        }
    }
}

/// Calls [`save`] with the number of slots as a constant. The type `Slots` needs a constant, but the number of slots is
/// known only at run time.
fn save_to_region(
    flash: RegionImage,
    slot_count: usize,
    stream: &Stream,
    evicted: Option<u32>,
) -> Result<(usize, RegionImage)> {
    macro_rules! with_slots {
        ($($n:literal)*) => {
            match slot_count {
                $($n => save::<$n>(flash, stream, evicted),)*
                _ => Err(CliError::usage(format!("--slots {slot_count}: from 2 to 17 slots are supported"))),
            }
        };
    }
    with_slots!(2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17)
}

/// Removes the evicted checkpoint and saves the new checkpoint with the same calls as `ModelCheckpoint`. Returns the
/// index of the slot that contains the new checkpoint.
fn save<const SLOTS: usize>(flash: RegionImage, stream: &Stream, evicted: Option<u32>) -> Result<(usize, RegionImage)> {
    let failed = |reason: &dyn std::fmt::Display| CliError::usage(format!("cannot write the flash image: {reason}"));
    let len = flash.region.slot_size.checked_mul(SLOTS).and_then(|len| u32::try_from(len).ok());
    let end = len.ok_or_else(|| failed(&"the region is larger than 4 GiB"))?;
    let mut slots = Slots::<_, SLOTS, Crc32Fast>::open(flash, 0..end).map_err(|error| failed(&error))?;
    if let Some(sequence) = evicted {
        slots.remove(sequence).map_err(|error| failed(&error))?;
    }
    let header: Header<'_> = stream.header.as_core();
    let (record, metadata) = (stream.header.record(), stream.header.metadata());
    let mut objects = StreamObjects { object_names: &[], objects: &stream.objects, error: None };
    let contents = Contents { header, record, single_object: None, allow_non_finite: true, metadata: &metadata };
    let mut write = || -> std::result::Result<usize, String> {
        let len = measure(&contents, &mut objects).map_err(|error| error.to_string())?;
        let before = slots.erases();
        let spec = StreamSpec { header, object: None, stream_index: 0, stream_count: 1, len };
        let mut writer = slots.create(&spec).map_err(|error| error.to_string())?;
        let encoded = encode_with::<Crc32Fast, _, _>(&mut writer, &contents, &mut objects);
        let encoded = encoded.map_err(|error| error.to_string())?;
        slots.commit(&header, &encoded).map_err(|error| error.to_string())?;
        // The save has erased exactly one slot, so the erase count of this slot has changed.
        Ok(before.iter().zip(slots.erases()).position(|(before, after)| *before != after).unwrap_or(0))
    };
    let index = write();
    let flash = std::mem::take(slots.flash_mut());
    match (index, objects.error.or(flash.error)) {
        (_, Some(error)) => Err(error),
        (Err(reason), None) => Err(failed(&reason)),
        (Ok(index), None) => Ok((index, RegionImage { error: None, ..flash })),
    }
}

/// A NOR flash that consists of one region of a flash image. An erase always clears a whole slot. Therefore the tool need
/// not know the size of an erase block of the device. Only erased slots are in memory.
#[derive(Default)]
struct RegionImage {
    dump: Option<Arc<Source>>,
    region: Region,
    /// The bytes of each slot that was erased.
    slots: HashMap<usize, Vec<u8>>,
    /// The slots to which nothing was written since they were erased.
    blank: HashSet<usize>,
    /// A part of the dump: its offset and its bytes. The store reads a few bytes at a time.
    window: (usize, Vec<u8>),
    error: Option<CliError>,
}

impl RegionImage {
    /// Returns the index of the slot at this offset of the region, and the offset in the slot.
    const fn locate(&self, offset: u32) -> (usize, usize) {
        (offset as usize / self.region.slot_size, offset as usize % self.region.slot_size)
    }

    /// Reads bytes that were not changed.
    fn read_dump(&mut self, offset: usize, buffer: &mut [u8]) -> std::result::Result<(), NorFlashErrorKind> {
        const WINDOW: usize = 256 * 1024;
        let Some(dump) = &self.dump else {
            buffer.fill(ERASED);
            return Ok(());
        };
        let (start, window) = &self.window;
        if offset < *start || offset + buffer.len() > start + window.len() {
            match dump.bytes_at(offset as u64, buffer.len().max(WINDOW)) {
                Ok(bytes) => self.window = (offset, bytes),
                Err(error) => {
                    self.error = Some(error);
                    return Err(NorFlashErrorKind::Other);
                }
            }
        }
        let (start, window) = &self.window;
        let source = window.get(offset - start..).and_then(|source| source.get(..buffer.len()));
        buffer.copy_from_slice(source.ok_or(NorFlashErrorKind::OutOfBounds)?);
        Ok(())
    }
}

impl ErrorType for RegionImage {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for RegionImage {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, buffer: &mut [u8]) -> std::result::Result<(), NorFlashErrorKind> {
        let (index, inside) = self.locate(offset);
        // The store never reads across the end of a slot.
        match self.slots.get(&index) {
            Some(bytes) => {
                let source = bytes.get(inside..).and_then(|source| source.get(..buffer.len()));
                buffer.copy_from_slice(source.ok_or(NorFlashErrorKind::OutOfBounds)?);
                Ok(())
            }
            None => self.read_dump(self.region.start + offset as usize, buffer),
        }
    }
    fn capacity(&self) -> usize {
        self.region.slot_size * self.region.slot_count
    }
}

impl NorFlash for RegionImage {
    const WRITE_SIZE: usize = 32;
    const ERASE_SIZE: usize = 32;

    fn erase(&mut self, from: u32, to: u32) -> std::result::Result<(), NorFlashErrorKind> {
        // The store erases a slot before it writes to the slot. Erasing the whole slot at once therefore loses no data.
        let (first, _) = self.locate(from);
        let (last, _) = self.locate(to.saturating_sub(1));
        for index in first..=last {
            // The store erases one block after the other. Only the first of these calls has an effect.
            if !self.blank.contains(&index) {
                self.slots.insert(index, vec![ERASED; self.region.slot_size]);
                self.blank.insert(index);
            }
        }
        Ok(())
    }
    fn write(&mut self, offset: u32, bytes: &[u8]) -> std::result::Result<(), NorFlashErrorKind> {
        let (index, inside) = self.locate(offset);
        self.blank.remove(&index);
        let target = self.slots.get_mut(&index).and_then(|slot| slot.get_mut(inside..)?.get_mut(..bytes.len()));
        target.ok_or(NorFlashErrorKind::OutOfBounds)?.copy_from_slice(bytes);
        Ok(())
    }
}
