//! The inventory of a flash dump: all checkpoints in the dump. The user can pass the region and the number of its
//! slots. Otherwise the tool finds the slots by their commit records.
//!
//! The inventory lists exactly the checkpoints that the store on the device would list. All other slots are leftovers:
//! damaged records, interrupted saves, duplicates and free slots.

use super::commit_record::{DumpRecord, STREAM_OFFSET};
use super::{Checkpoint, Inventory, Leftover, Medium, Region, Series, Slot, Verdict, classify_error, stored_stream};
use crate::error::{CliError, Result};
use crate::numbers::{address, count, parse_byte_count};
use crate::stream::Stream;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use training_monitor::store::CheckpointMeta;
use training_monitor::store::flash::layout::{CommitRecord, RECORD_MAGIC, SealState, hides_older, hides_unsealed};

/// The command line arguments that say where the slots of a flash are.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Geometry {
    /// The region of a flash dump that contains the slots, as START..END in bytes. The prefix 0x marks hexadecimal
    /// numbers, and the suffixes K and M mean 1024 and 1024² bytes. Without --region and --slots, the tool finds the
    /// regions by their commit records.
    #[arg(long, value_name = "START..END", value_parser = parse_range, requires = "slots")]
    pub region: Option<Range<usize>>,
    /// The number of slots in the region
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(2..))]
    pub slots: Option<u32>,
}

impl Geometry {
    pub fn is_given(&self) -> bool {
        self.slots.is_some()
    }

    /// Returns the region that the user passed, for a dump of `len` bytes. Returns `None` if the user passed no region.
    pub fn region(&self, len: usize) -> Result<Option<Region>> {
        let Some(slots) = self.slots else { return Ok(None) };
        let slot_count = slots as usize;
        let Range { start, end } = self.region.clone().unwrap_or(0..len);
        if start >= end || end > len {
            return Err(CliError::usage(format!("the region {start}..{end} is not inside the dump of {len} bytes")));
        }
        let slot_size = (end - start) / slot_count;
        if slot_size * slot_count != end - start || slot_size < STREAM_OFFSET {
            return Err(CliError::usage(format!(
                "{} bytes cannot be divided into {slot_count} slots of equal size with at least {STREAM_OFFSET} bytes",
                end - start
            )));
        }
        Ok(Some(Region { start, slot_size, slot_count, erases: 0 }))
    }
}

/// Parses a range of bytes, such as `0x1000..16K`.
fn parse_range(text: &str) -> std::result::Result<Range<usize>, String> {
    let (start, end) = text.split_once("..").ok_or("a range is START..END")?;
    Ok(parse_byte_count(start)?..parse_byte_count(end)?)
}

/// Takes the inventory of a flash dump: lists all checkpoints and all slots without a usable checkpoint.
pub fn read(path: &Path, dump: &[u8], geometry: &Geometry) -> Result<Inventory> {
    let mut inventory = Inventory { path: path.to_owned(), medium: Medium::Flash, series: vec![], leftovers: vec![] };
    match geometry.region(dump.len())? {
        Some(region) => {
            let records = (0..region.slot_count).filter_map(|index| {
                let slot_offset = index * region.slot_size;
                let record = DumpRecord::parse(dump, region.start + slot_offset)?;
                record.matches_slot(slot_offset, region.slot_size).then_some(record)
            });
            read_region(dump, region, &records.collect::<Vec<_>>(), &mut inventory);
        }
        None => find_regions(dump, &mut inventory),
    }
    Ok(inventory)
}

/// Finds the regions of a dump. Two commit records belong to the same region if both yield the same start of the region
/// and the same size of a slot.
fn find_regions(dump: &[u8], inventory: &mut Inventory) {
    let mut regions = BTreeMap::<(usize, usize), Vec<DumpRecord>>::new();
    let mut damaged = Vec::new();
    let offsets = (0..dump.len()).step_by(4).filter(|offset| dump[*offset..].starts_with(&RECORD_MAGIC));
    for record in offsets.filter_map(|offset| DumpRecord::parse(dump, offset)) {
        let known = regions.keys().copied().find(|(start, slot_size)| {
            let slot_offset = record.offset.checked_sub(*start);
            slot_offset.is_some_and(|offset| offset % slot_size == 0 && record.matches_slot(offset, *slot_size))
        });
        let region = known.or_else(|| {
            let (slot_offset, slot_size) = record.find_slot()?;
            Some((record.offset - slot_offset, slot_size))
        });
        match region {
            Some(region) => regions.entry(region).or_default().push(record),
            None => damaged.push(record),
        }
    }
    let ends: Vec<usize> = regions.keys().map(|(start, _)| *start).skip(1).chain([dump.len()]).collect();
    for (((start, slot_size), records), end) in regions.iter().zip(ends) {
        let (start, slot_size) = (*start, *slot_size);
        let used = records.iter().map(|record| (record.offset - start) / slot_size + 1).max().unwrap_or(0);
        // No record contains the number of slots of a region. Therefore the function examines the content of each slot
        // after the last record to decide whether the slot belongs to the region.
        let slots_before_end = (end.max(start) - start) / slot_size;
        let unused = (used..slots_before_end)
            .take_while(|index| is_unused_slot(dump, start + index * slot_size, slot_size))
            .count();
        let region = Region { start, slot_size, slot_count: used + unused, erases: 0 };
        read_region(dump, region, records, inventory);
    }
    // `read_region` already lists the damaged records at the start of a slot. Therefore these records are removed from
    // the list of the other damaged records.
    damaged.retain(|record| !inventory.leftovers.iter().any(|item| item.place.ends_with(&address(record.offset))));
    inventory.leftovers.extend(damaged.iter().map(|record| classify_damaged_record(record, None)));
}

/// Returns whether the bytes at `offset` look like a slot without a commit record. Such a slot is blank, or it contains
/// the start of a checkpoint.
fn is_unused_slot(dump: &[u8], offset: usize, slot_size: usize) -> bool {
    dump.get(offset..offset + slot_size).is_some_and(|bytes| is_blank(bytes) || has_stream_start(bytes))
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| matches!(first, 0xFF | 0) && bytes.iter().all(|byte| byte == first))
}

fn has_stream_start(slot: &[u8]) -> bool {
    slot.get(STREAM_OFFSET..).is_some_and(|stream| stream.starts_with(b"TMCK"))
}

/// Adds all slots of a region to the inventory. `records` are the commit records with a correct checksum.
fn read_region(dump: &[u8], mut region: Region, records: &[DumpRecord], inventory: &mut Inventory) {
    let accepted: Vec<(usize, &DumpRecord)> = (records.iter())
        .filter(|record| record.matches_stream(dump, region.slot_size))
        .map(|record| ((record.offset - region.start) / region.slot_size, record))
        .collect();
    let sealed = accepted.iter().filter(|(_, record)| record.seal == SealState::Complete);
    let newest = sealed.max_by_key(|(_, record)| record.fields.meta.sequence).map(|(_, record)| record.fields);
    region.erases = newest.map_or(0, |record| record.total_erases);
    let mut checkpoints = Vec::new();
    let mut hidden = find_hidden_slots(&accepted);
    for index in 0..region.slot_count {
        let offset = region.start + index * region.slot_size;
        let place = format!("slot {index} at {}", address(offset));
        let Some(slot) = dump.get(offset..offset + region.slot_size) else { continue };
        if let Some((verdict, reason)) = hidden.remove(&index) {
            inventory.leftovers.push(Leftover { place, verdict, reason });
            continue;
        }
        match records.iter().find(|record| record.offset == offset) {
            Some(record) => match read_committed_slot(slot, record, index, &place) {
                Ok(mut checkpoint) => {
                    if let Some(slot) = &mut checkpoint.slot {
                        slot.is_durable |= newest.is_some_and(|newest| is_known_durable(&newest, record, index));
                    }
                    checkpoints.push(checkpoint);
                }
                Err(leftover) => inventory.leftovers.push(leftover),
            },
            None => inventory.leftovers.push(classify_uncommitted_slot(dump, slot, offset, place)),
        }
    }
    checkpoints.sort_by_key(|checkpoint| checkpoint.header.sequence);
    inventory.series.push(Series { name: address(region.start), region: Some(region), checkpoints });
}

/// Returns whether the newest sealed record says that the checkpoint of `record` in slot `index` is durable.
fn is_known_durable(newest: &CommitRecord, record: &DumpRecord, index: usize) -> bool {
    let bit = u32::try_from(index).ok().and_then(|index| 1_u16.checked_shl(index)).unwrap_or(0);
    newest.durable & bit != 0 && record.fields.meta.sequence < newest.meta.sequence
}

/// Finds the valid checkpoints that the store hides because of another slot with the same step or the same sequence
/// number. `accepted` are the valid checkpoints with the indices of their slots. The result maps the index of each
/// hidden slot to a verdict and a reason.
fn find_hidden_slots(accepted: &[(usize, &DumpRecord)]) -> BTreeMap<usize, (Verdict, String)> {
    let mut hidden = BTreeMap::new();
    let mut listed = accepted.to_vec();
    let (sealed, unsealed): (Vec<_>, Vec<_>) =
        listed.iter().copied().partition(|(_, record)| record.seal == SealState::Complete);
    for (index, record) in unsealed {
        let meta = &record.fields.meta;
        if let Some((other, _)) = sealed.iter().find(|(_, sealed)| hides_unsealed(&sealed.fields.meta, meta)) {
            let reason = format!(
                "step {}: the commit was interrupted before its seal, and the sealed checkpoint in slot {other} has \
                 the same step or sequence",
                meta.step
            );
            hidden.insert(index, (Verdict::Interrupted, reason));
        }
    }
    listed.retain(|(index, _)| !hidden.contains_key(index));
    for (index, record) in &listed {
        let older = (&record.fields.meta, *index);
        let hides = |(index, other): &&(usize, &DumpRecord)| hides_older((&other.fields.meta, *index), older);
        if let Some((other, _)) = listed.iter().find(hides) {
            let reason = format!("slot {other} holds a newer checkpoint of step {}", record.fields.meta.step);
            hidden.insert(*index, (Verdict::Replaced, reason));
        }
    }
    hidden
}

/// Returns the checkpoint in a slot with a valid commit record, or the reason why the checkpoint is not usable.
fn read_committed_slot(
    slot: &[u8],
    record: &DumpRecord,
    index: usize,
    place: &str,
) -> std::result::Result<Checkpoint, Leftover> {
    // Without a complete seal, the commit was interrupted, so no committed data is lost.
    let is_sealed = record.seal == SealState::Complete;
    let damaged = |reason: String| Leftover {
        place: place.to_owned(),
        verdict: if is_sealed { Verdict::Damaged } else { Verdict::Interrupted },
        reason: format!("step {}: {reason}", record.fields.meta.step),
    };
    let Some(bytes) = slot.get(STREAM_OFFSET..STREAM_OFFSET + record.stream_len()) else {
        let (len, available) = (record.stream_len(), slot.len().saturating_sub(STREAM_OFFSET));
        return Err(damaged(format!("the record gives a length of {len} bytes, but the slot has {available}")));
    };
    let stream = Stream::read(bytes).map_err(|error| {
        let (verdict, reason) = classify_error(&error);
        let leftover = damaged(reason);
        if is_sealed { Leftover { verdict, ..leftover } } else { leftover }
    })?;
    let stored = stored_stream(place.to_owned(), bytes, stream);
    let header = stored.stream.header.clone();
    let CommitRecord { meta, erases, .. } = record.fields;
    if CheckpointMeta::from(&header.as_core()) != meta {
        return Err(damaged("the record belongs to another checkpoint than the stream".to_owned()));
    }
    let slot = Slot { index, erases, seal: record.seal, is_durable: record.seal == SealState::Complete };
    Ok(Checkpoint { header, streams: vec![stored], slot: Some(slot) })
}

/// Returns the verdict about a slot without a valid commit record.
fn classify_uncommitted_slot(dump: &[u8], slot: &[u8], offset: usize, place: String) -> Leftover {
    if let Some(record) = DumpRecord::parse(dump, offset) {
        return classify_damaged_record(&record, Some(place));
    }
    let (verdict, reason) = if is_blank(slot) {
        (Verdict::Free, "blank")
    } else if has_stream_start(slot) {
        (Verdict::Interrupted, "the save was interrupted before the commit record was written")
    } else {
        (Verdict::Free, "no checkpoint")
    };
    Leftover { place, verdict, reason: reason.to_owned() }
}

/// Returns the verdict about a commit record with a wrong checksum. The store writes the seal only after the record is
/// complete. Therefore a record with a seal was once complete and is now damaged.
fn classify_damaged_record(record: &DumpRecord, place: Option<String>) -> Leftover {
    let place = place.unwrap_or_else(|| format!("a slot at {}", address(record.offset)));
    let (verdict, reason) = if record.is_damaged_commit() {
        (Verdict::Damaged, "the commit record is sealed but damaged")
    } else {
        (Verdict::Interrupted, "the commit was interrupted while its record was written")
    };
    Leftover { place, verdict, reason: reason.to_owned() }
}

/// Returns a text with the slots and the erase count of a region.
pub fn describe_region(region: &Region) -> String {
    format!(
        "{} of {} bytes, {} in total",
        count(region.slot_count, "slot"),
        region.slot_size,
        count(region.erases as usize, "erase")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_bytes() {
        assert_eq!(parse_range("0x1000..16K"), Ok(4096..16384));
        for invalid in ["", "1..", "4096", "a..b"] {
            assert!(parse_range(invalid).is_err(), "{invalid}");
        }
    }
}
