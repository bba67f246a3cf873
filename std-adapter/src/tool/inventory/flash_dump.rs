//! The inventory of a flash dump: all checkpoints in the dump. The user can pass the region and the number of its
//! slots. Otherwise the tool finds the slots by their commit records.
//!
//! The inventory lists exactly the checkpoints that the store on the device would list. All other slots are leftovers:
//! damaged records, interrupted saves, duplicates and free slots.

use super::commit_record::{DumpRecord, STREAM_OFFSET};
use super::dump::{Dump, Found};
use super::{Checkpoint, Inventory, Leftover, Medium, Region, Series, Slot, StoredStream, Verdict, classify_error};
use crate::tool::error::{CliError, Result};
use crate::tool::numbers::{address, count, parse_byte_count};
use crate::tool::stream::{Purpose, Source};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use training_monitor::store::CheckpointMeta;
use training_monitor::store::flash::layout::{CommitRecord, SealState, hides_older, hides_unsealed};

/// The command line arguments that say where the slots of a flash are.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Geometry {
    /// The region of a flash dump that contains the slots, as START..END in bytes. The prefix 0x marks hexadecimal
    /// numbers, and the suffixes K and M mean 1024 and 1024² bytes. Without --region and --slots, the tool finds the
    /// regions by their commit records.
    #[arg(long, value_name = "START..END", value_parser = parse_range, requires = "slots")]
    pub region: Option<Range<usize>>,
    /// The number of slots in the region, from 2 to 256
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(2..=256))]
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
pub fn read(path: &Path, source: &Arc<Source>, geometry: &Geometry, purpose: Purpose) -> Result<Inventory> {
    let mut inventory = Inventory { path: path.to_owned(), medium: Medium::Flash, series: vec![], leftovers: vec![] };
    let mut dump = Dump::new(source, purpose);
    match geometry.region(dump.len())? {
        Some(region) => {
            let mut records = Vec::new();
            for index in 0..region.slot_count {
                let record = dump.record_at(region.start + index * region.slot_size)?;
                records.extend(record.filter(|record| record.matches_slot(&region, index)));
            }
            read_region(&mut dump, region, &records, &mut inventory)?;
        }
        None => read_regions(&mut dump, &mut inventory)?,
    }
    Ok(inventory)
}

/// Finds the regions of a dump and adds them to the inventory.
fn read_regions(dump: &mut Dump, inventory: &mut Inventory) -> Result<()> {
    let Found { regions, damaged, unlisted } = dump.scan(&inventory.path)?;
    for (region, records) in regions {
        read_region(dump, region, &records, inventory)?;
    }
    // `read_region` already lists the damaged records at the start of a slot. Therefore these records are removed from
    // the list of the other damaged records.
    let listed: HashSet<usize> =
        inventory.series.iter().filter_map(|series| series.region).flat_map(|region| region.slot_offsets()).collect();
    let damaged = damaged.iter().filter(|record| !listed.contains(&record.offset));
    inventory.leftovers.extend(damaged.map(|record| classify_damaged_record(record, None)));
    if unlisted > 0 {
        let reason = format!("{} are not listed", count(unlisted, "more damaged commit record"));
        inventory.leftovers.push(Leftover { place: "the dump".to_owned(), verdict: Verdict::Damaged, reason });
    }
    Ok(())
}

/// Adds all slots of a region to the inventory. `records` are the commit records with a correct checksum.
fn read_region(dump: &mut Dump, mut region: Region, records: &[DumpRecord], inventory: &mut Inventory) -> Result<()> {
    let mut accepted: Vec<(usize, &DumpRecord)> = Vec::new();
    for record in records {
        if dump.matches_stream(record, region.slot_size)? {
            accepted.push(((record.offset - region.start) / region.slot_size, record));
        }
    }
    let sealed = accepted.iter().filter(|(_, record)| record.seal == SealState::Complete);
    let newest = sealed.max_by_key(|(_, record)| record.fields.meta.sequence).map(|(_, record)| record.fields);
    region.erases = newest.map_or(0, |record| record.total_erases);
    let mut checkpoints = Vec::new();
    let mut hidden = find_hidden_slots(&accepted);
    let by_offset: HashMap<usize, &DumpRecord> = records.iter().map(|record| (record.offset, record)).collect();
    for (index, offset) in region.slot_offsets().enumerate() {
        let place = format!("slot {index} at {}", address(offset));
        if let Some((verdict, reason)) = hidden.remove(&index) {
            inventory.leftovers.push(Leftover { place, verdict, reason });
            continue;
        }
        match by_offset.get(&offset) {
            Some(record) => match read_committed_slot(dump, record, region.slot_size, index, &place)? {
                Ok(mut checkpoint) => {
                    if let Some(slot) = &mut checkpoint.slot {
                        slot.is_durable |= newest.is_some_and(|newest| is_known_durable(&newest, record, index));
                    }
                    checkpoints.push(checkpoint);
                }
                Err(leftover) => inventory.leftovers.push(leftover),
            },
            None => inventory.leftovers.push(classify_uncommitted_slot(dump, offset, region.slot_size, place)?),
        }
    }
    separate_equal_sequences(&mut checkpoints);
    checkpoints.sort_by_key(|checkpoint| checkpoint.header.sequence);
    inventory.series.push(Series { name: address(region.start), region: Some(region), checkpoints });
    Ok(())
}

/// Gives checkpoints with the same sequence number different ones, as the store does. The checkpoints are in the order of
/// their slots.
fn separate_equal_sequences(checkpoints: &mut [Checkpoint]) {
    for _ in 1..checkpoints.len() {
        for index in 0..checkpoints.len() {
            let order = |index: usize| (checkpoints[index].header.step, index);
            let sequence = checkpoints[index].header.sequence;
            let is_before = |(other_index, other): (usize, &Checkpoint)| {
                other.header.sequence == sequence && order(other_index) < order(index)
            };
            if checkpoints.iter().enumerate().any(is_before) {
                checkpoints[index].header.sequence = sequence.saturating_add(1);
            }
        }
    }
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
    dump: &mut Dump,
    record: &DumpRecord,
    slot_size: usize,
    index: usize,
    place: &str,
) -> Result<std::result::Result<Checkpoint, Leftover>> {
    // Without a complete seal, the commit was interrupted, so no committed data is lost.
    let is_sealed = record.seal == SealState::Complete;
    let damaged = |reason: String| Leftover {
        place: place.to_owned(),
        verdict: if is_sealed { Verdict::Damaged } else { Verdict::Interrupted },
        reason: format!("step {}: {reason}", record.fields.meta.step),
    };
    let (len, available) = (record.stream_len(), slot_size - STREAM_OFFSET);
    if len > available {
        return Ok(Err(damaged(format!("the record gives a length of {len} bytes, but the slot has {available}"))));
    }
    let stored = match dump.stream(record, slot_size)? {
        Some(Ok(stored)) => StoredStream { place: place.to_owned(), ..stored.clone() },
        Some(Err(error)) => {
            let (verdict, reason) = classify_error(error);
            let leftover = damaged(reason);
            return Ok(Err(if is_sealed { Leftover { verdict, ..leftover } } else { leftover }));
        }
        None => {
            return Ok(Err(damaged(format!("the dump of {} bytes ends before the end of the checkpoint", dump.len()))));
        }
    };
    let header = stored.stream.header.clone();
    let CommitRecord { meta, erases, .. } = record.fields;
    if CheckpointMeta::from(&header.as_core()) != meta {
        return Ok(Err(damaged("the record belongs to another checkpoint than the stream".to_owned())));
    }
    let slot = Slot { index, erases, seal: record.seal, is_durable: record.seal == SealState::Complete };
    Ok(Ok(Checkpoint { header, streams: vec![stored], slot: Some(slot) }))
}

/// Returns the verdict about a slot without a valid commit record.
fn classify_uncommitted_slot(dump: &mut Dump, offset: usize, slot_size: usize, place: String) -> Result<Leftover> {
    if let Some(record) = dump.record_at(offset)? {
        return Ok(classify_damaged_record(&record, Some(place)));
    }
    let (verdict, reason) = if dump.len() < offset + slot_size {
        (Verdict::Damaged, format!("the dump of {} bytes ends before the end of the slot", dump.len()))
    } else if dump.is_blank(offset, slot_size)? {
        (Verdict::Free, "blank".to_owned())
    } else if dump.has_stream_start(offset)? {
        (Verdict::Interrupted, "the save was interrupted before the commit record was written".to_owned())
    } else {
        (Verdict::Free, "no checkpoint".to_owned())
    };
    Ok(Leftover { place, verdict, reason })
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
