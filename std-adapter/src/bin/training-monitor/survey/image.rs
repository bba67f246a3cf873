//! The dump of a flash: regions and slots found by their records, or taken as they are given.
//!
//! What a slot holds is told as the device's own store would tell it at its next opening; what that would pass over in
//! silence is shown: records that are damaged, saves that were cut, free slots.

use super::record::{Record, STREAM_AT, Seal};
use super::{Checkpoint, Kind, Other, Region, Series, Slot, Survey, Verdict, part, verdict_of};
use crate::failure::{Failure, Result};
use crate::stream::Stream;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

/// Erase blocks are multiples of this on every flash that is known of; the search for slots goes by it.
const STEP: usize = 64;

/// Where the slots of a flash are, as far as that is given.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Geometry {
    /// The region of a flash dump that holds the slots, as START..END in bytes; 0x for hexadecimal. Found by its records
    /// if not given
    #[arg(long, value_name = "START..END", value_parser = range, requires = "slots")]
    pub region: Option<Range<usize>>,
    /// How many slots the region has
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(2..))]
    pub slots: Option<u32>,
}

impl Geometry {
    pub fn is_given(&self) -> bool {
        self.slots.is_some()
    }

    /// Start, slot size and slots, for a dump of `len` bytes.
    pub fn region(&self, len: usize) -> Result<Option<Region>> {
        let Some(slots) = self.slots else { return Ok(None) };
        let slots = slots as usize;
        let Range { start, end } = self.region.clone().unwrap_or(0..len);
        if start >= end || end > len {
            return Err(Failure::usage(format!("the region {start}..{end} is not in a dump of {len} bytes")));
        }
        let slot = (end - start) / slots;
        if slot * slots != end - start || slot < STREAM_AT {
            return Err(Failure::usage(format!("{} bytes are not {slots} slots of equal size", end - start)));
        }
        Ok(Some(Region { start, slot, slots, erases: 0 }))
    }
}

/// `0x1000..0x4000`.
fn range(text: &str) -> std::result::Result<Range<usize>, String> {
    let (start, end) = text.split_once("..").ok_or("a range is START..END")?;
    Ok(number(start)?..number(end)?)
}

/// A decimal or hexadecimal number, with K and M for 1024 and 1024².
pub fn number(text: &str) -> std::result::Result<usize, String> {
    let text = text.trim().replace('_', "");
    let (digits, unit) = match text.strip_suffix(['K', 'k']) {
        Some(digits) => (digits, 1024),
        None => text.strip_suffix(['M', 'm']).map_or((text.as_str(), 1), |digits| (digits, 1024 * 1024)),
    };
    let parsed = match digits.strip_prefix("0x") {
        Some(digits) => usize::from_str_radix(digits, 16),
        None => digits.parse(),
    };
    parsed.ok().and_then(|n| n.checked_mul(unit)).ok_or_else(|| format!("{text:?} is not a number of bytes"))
}

/// Looks at a dump.
pub fn survey(path: &Path, dump: &[u8], geometry: &Geometry) -> Result<Survey> {
    let mut survey = Survey { path: path.to_owned(), kind: Kind::Flash, series: vec![], others: vec![] };
    match geometry.region(dump.len())? {
        Some(region) => {
            let records = (0..region.slots).filter_map(|slot| {
                let record = Record::at(dump, region.start + slot * region.slot)?;
                record.is_for(slot * region.slot, region.slot).then_some(record)
            });
            look(dump, region, &records.collect::<Vec<_>>(), &mut survey);
        }
        None => search(dump, &mut survey),
    }
    Ok(survey)
}

/// Regions by the records that agree about where theirs begins and how large its slots are.
fn search(dump: &[u8], survey: &mut Survey) {
    let mut regions = BTreeMap::<(usize, usize), Vec<Record>>::new();
    let mut lost = Vec::new();
    let begins = (0..dump.len()).step_by(4).filter(|at| dump[*at..].starts_with(b"TMSR"));
    for record in begins.filter_map(|at| Record::at(dump, at)) {
        let known = regions.keys().copied().find(|(start, size)| {
            record.at.checked_sub(*start).is_some_and(|place| place % size == 0 && record.is_for(place, *size))
        });
        let found = known.or_else(|| record.locate(dump.len(), STEP).map(|(place, size)| (record.at - place, size)));
        match found {
            Some(region) => regions.entry(region).or_default().push(record),
            None => lost.push(record),
        }
    }
    let ends: Vec<usize> = regions.keys().map(|(start, _)| *start).skip(1).chain([dump.len()]).collect();
    for (((start, slot), records), end) in regions.iter().zip(ends) {
        let used = records.iter().map(|record| (record.at - start) / slot + 1).max().unwrap_or(0);
        // Slots behind the last one used are told by what is in them: the region may end anywhere.
        let more = (used..(end.max(*start) - start) / slot).take_while(|n| is_slot(dump, start + n * slot, *slot));
        let region = Region { start: *start, slot: *slot, slots: used + more.count(), erases: 0 };
        look(dump, region, records, survey);
    }
    lost.retain(|record| !survey.others.iter().any(|other| other.place.ends_with(&format!("{:#x}", record.at))));
    survey.others.extend(lost.iter().map(|record| damaged_record(record, "a slot".to_owned())));
}

/// Whether an unused slot of a region is likely to be here: blank, or with something begun in it.
fn is_slot(dump: &[u8], at: usize, size: usize) -> bool {
    let Some(bytes) = dump.get(at..at + size) else { return false };
    is_blank(bytes) || bytes.get(STREAM_AT..).is_some_and(|stream| stream.starts_with(b"TMCK"))
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| matches!(first, 0xFF | 0) && bytes.iter().all(|byte| byte == first))
}

/// Looks at each slot of a region.
fn look(dump: &[u8], mut region: Region, records: &[Record], survey: &mut Survey) {
    let name = format!("{:#x}", region.start);
    let newest = records.iter().max_by_key(|record| record.stored.sequence);
    region.erases = newest.map_or(0, |record| record.all_erases);
    let mut checkpoints = Vec::new();
    for index in 0..region.slots {
        let at = region.start + index * region.slot;
        let place = format!("slot {index} at {at:#x}");
        let Some(bytes) = dump.get(at..at + region.slot) else { continue };
        match records.iter().find(|record| record.at == at) {
            Some(record) => match committed(bytes, record, index, &place) {
                Ok(checkpoint) => checkpoints.push(checkpoint),
                Err(other) => survey.others.push(other),
            },
            None => survey.others.push(uncommitted(dump, bytes, at, place)),
        }
    }
    checkpoints.sort_by_key(|found: &Checkpoint| found.head.sequence);
    survey.series.push(Series { name, region: Some(region), checkpoints });
}

/// A slot whose record is right.
fn committed(bytes: &[u8], record: &Record, index: usize, place: &str) -> std::result::Result<Checkpoint, Other> {
    let lost = |why: String| Other {
        place: place.to_owned(),
        verdict: Verdict::Damaged,
        why: format!("step {}: {why}", record.stored.step),
    };
    let Some(bytes) = bytes.get(STREAM_AT..STREAM_AT + record.len) else {
        return Err(lost("its length is more than the slot's".to_owned()));
    };
    let stream = Stream::read_all(bytes).map_err(|error| {
        let (verdict, why) = verdict_of(&error, bytes);
        Other { verdict, ..lost(why) }
    })?;
    let part = part(place.to_owned(), bytes, stream);
    let head = part.stream.head.clone();
    if part.crc != record.crc || head.step != record.stored.step || head.sequence != record.stored.sequence {
        return Err(lost("its record is that of another checkpoint".to_owned()));
    }
    let slot = Slot { index, erases: record.erases, sealed: record.seal == Seal::Whole };
    Ok(Checkpoint { head, parts: vec![part], slot: Some(slot) })
}

/// A slot without a record that is right.
fn uncommitted(dump: &[u8], bytes: &[u8], at: usize, place: String) -> Other {
    let other = |verdict, why: &str| Other { place: place.clone(), verdict, why: why.to_owned() };
    if let Some(record) = Record::at(dump, at) {
        return damaged_record(&record, place);
    }
    if is_blank(bytes) {
        return other(Verdict::Free, "blank");
    }
    if bytes.get(STREAM_AT..).is_some_and(|stream| stream.starts_with(b"TMCK")) {
        return other(Verdict::Torn, "a checkpoint was begun and not committed");
    }
    other(Verdict::Free, "holds no checkpoint")
}

/// A seal is written after its record was: with one, the record was whole once.
fn damaged_record(record: &Record, place: String) -> Other {
    let place = if place.contains(" at ") { place } else { format!("{place} at {:#x}", record.at) };
    let (verdict, why) = match record.seal {
        Seal::Missing => (Verdict::Torn, "its commit was cut in the record"),
        Seal::Whole | Seal::Foreign => (Verdict::Damaged, "its record was sealed, and is damaged"),
    };
    Other { place, verdict, why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_bytes() {
        assert_eq!(range("0x1000..16K"), Ok(4096..16384));
        assert_eq!(number("2M"), Ok(2 << 20));
        for wrong in ["", "1..", "0x", "K", "-1", "99999999999999999999"] {
            assert!(number(wrong).is_err(), "{wrong}");
        }
    }
}
