//! Writes a checkpoint into a flash image. The module calls `Slots`, the same code that stores checkpoints on a device.
//!
//! The image obeys the rules of NOR flash: an erase clears a whole slot, and each byte is written at most once after an
//! erase. The image is written in units of 32 bytes, the largest write unit of all supported flash chips. A device with
//! smaller write units can read the image, too.

use super::Import;
use crate::error::{CliError, Result};
use crate::files;
use crate::inventory::{Inventory, Region, Series};
use crate::numbers::address;
use crate::stream::{Stream, StreamHeader, StreamObjects};
use training_monitor::checkpoint::{Contents, Header, encode_with, measure};
use training_monitor::embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use training_monitor::store::flash::Slots;
use training_monitor::store::{Store, StreamSpec};
use training_monitor_std::Crc32Fast;

/// The value of an erased byte in a new flash image. The store on the device accepts any value for erased bytes.
const ERASED: u8 = 0xFF;

/// Builds the flash image. Returns the bytes of the image, and a text that describes the checkpoint and its slot.
pub fn build(arguments: &Import, mut stream: Stream) -> Result<(Vec<u8>, String)> {
    stream.object_names.clear();
    stream.header.save_id = 0;
    let (mut image, region, evicted) = match (&arguments.into, arguments.slot_size) {
        (Some(dump), _) => {
            let image = files::read(dump)?;
            let inventory = Inventory::new(dump, &arguments.geometry)?;
            let series = choose_region(&inventory, arguments)?;
            let region =
                series.region.ok_or_else(|| CliError::usage(format!("{} is not a flash dump", dump.display())))?;
            adopt_series(series, &mut stream.header);
            let evicted = checkpoint_to_evict(series, region, stream.header.step);
            make_newest(&inventory, &mut stream);
            (image, region, evicted)
        }
        (None, Some(slot_size)) => {
            let slot_count = arguments.geometry.slots.unwrap_or(2) as usize;
            let len = slot_size.checked_mul(slot_count).ok_or_else(|| CliError::usage("the image is too large"))?;
            stream.header.sequence = 1;
            (vec![ERASED; len], Region { start: 0, slot_size, slot_count, erases: 0 }, None)
        }
        (None, None) => {
            let reason = "a flash image needs --into DUMP, or --slots NUMBER and --slot-size BYTES for a new image";
            return Err(CliError::usage(reason));
        }
    };
    let end = region.start + region.slot_size * region.slot_count;
    let index = save_to_region(&mut image[region.start..end], region.slot_count, &mut stream, evicted)?;
    let header = &stream.header;
    let address = address(region.start + index * region.slot_size);
    let summary = format!("step {} (iteration {}) in slot {index} at {address}", header.step, header.iteration);
    Ok((image, summary))
}

/// Returns the region (the flash area of all slots) in which the command saves the imported checkpoint.
fn choose_region<'a>(inventory: &'a Inventory, arguments: &Import) -> Result<&'a Series> {
    // If the user passes `--template`, the option `--series` selects a checkpoint of the template. It does not select
    // the region of the dump.
    let name = arguments.selection.series.as_deref().filter(|_| arguments.template.is_none());
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
            record.engine.run = header.run;
        }
    }
}

/// Calls [`save`] with the number of slots as a constant. The type `Slots` needs a constant, but the number of slots is
/// known only at run time.
fn save_to_region(region: &mut [u8], slot_count: usize, stream: &mut Stream, evicted: Option<u32>) -> Result<usize> {
    macro_rules! with_slots {
        ($($n:literal)*) => {
            match slot_count {
                $($n => save::<$n>(region, stream, evicted),)*
                _ => Err(CliError::usage(format!("{slot_count} slots; from 2 to 17 are supported"))),
            }
        };
    }
    with_slots!(2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17)
}

/// Removes the evicted checkpoint and saves the new checkpoint with the same calls as `ModelCheckpoint`. Returns the
/// index of the slot that contains the new checkpoint.
fn save<const SLOTS: usize>(region: &mut [u8], stream: &mut Stream, evicted: Option<u32>) -> Result<usize> {
    let failed = |reason: String| CliError::usage(format!("cannot write the flash image: {reason}"));
    let end = u32::try_from(region.len()).map_err(|_| failed("the region is larger than 4 GiB".to_owned()))?;
    let slot_size = region.len() / SLOTS;
    let image = RegionImage { bytes: region, slot_size };
    let mut slots = Slots::<_, SLOTS, Crc32Fast>::open(image, 0..end).map_err(|e| failed(e.to_string()))?;
    if let Some(sequence) = evicted {
        slots.remove(sequence).map_err(|e| failed(e.to_string()))?;
    }
    let header: Header<'_> = stream.header.as_core();
    let (record, metadata) = (stream.header.record(), stream.header.metadata());
    let mut objects = StreamObjects { object_names: &[], objects: &mut stream.objects };
    let contents = Contents { header, record, single_object: None, allow_non_finite: true, metadata: &metadata };
    let len = measure(&contents, &mut objects).map_err(|e| failed(e.to_string()))?;
    let before = slots.erases();
    let spec = StreamSpec { header, object: None, stream_index: 0, stream_count: 1, len };
    let mut writer = slots.create(&spec).map_err(|e| failed(e.to_string()))?;
    let encoded = encode_with::<Crc32Fast, _, _>(&mut writer, &contents, &mut objects);
    let encoded = encoded.map_err(|e| failed(e.to_string()))?;
    slots.commit(&header, &encoded).map_err(|e| failed(e.to_string()))?;
    let after = slots.erases();
    // The save has erased exactly one slot, so the erase count of this slot has changed.
    Ok(before.iter().zip(after).position(|(before, after)| *before != after).unwrap_or(0))
}

/// A NOR flash in memory that consists of one region of a flash image. An erase always clears a whole slot. Therefore
/// the tool need not know the size of an erase block of the device.
struct RegionImage<'a> {
    bytes: &'a mut [u8],
    /// The size of a slot (the flash area of one checkpoint) in bytes.
    slot_size: usize,
}

impl ErrorType for RegionImage<'_> {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for RegionImage<'_> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, buffer: &mut [u8]) -> std::result::Result<(), NorFlashErrorKind> {
        let source = self.bytes.get(offset as usize..).and_then(|source| source.get(..buffer.len()));
        buffer.copy_from_slice(source.ok_or(NorFlashErrorKind::OutOfBounds)?);
        Ok(())
    }
    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl NorFlash for RegionImage<'_> {
    const WRITE_SIZE: usize = 32;
    const ERASE_SIZE: usize = 32;

    fn erase(&mut self, from: u32, to: u32) -> std::result::Result<(), NorFlashErrorKind> {
        // The store erases a slot before it writes to the slot. Erasing the whole slot at once therefore loses no data.
        let from = from as usize / self.slot_size * self.slot_size;
        let to = (to as usize).next_multiple_of(self.slot_size);
        self.bytes.get_mut(from..to).ok_or(NorFlashErrorKind::OutOfBounds)?.fill(ERASED);
        Ok(())
    }
    fn write(&mut self, offset: u32, bytes: &[u8]) -> std::result::Result<(), NorFlashErrorKind> {
        let target = self.bytes.get_mut(offset as usize..).and_then(|target| target.get_mut(..bytes.len()));
        target.ok_or(NorFlashErrorKind::OutOfBounds)?.copy_from_slice(bytes);
        Ok(())
    }
}
