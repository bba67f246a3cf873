//! The bytes of a flash dump. The dump is read once from start to end, and a checkpoint in a slot is read when its commit
//! record is found.

use super::commit_record::{DumpRecord, RECORD_AND_SEAL, STREAM_OFFSET};
use super::{Region, StoredStream, read_stream};
use crate::Crc32Fast;
use crate::tool::error::{CliError, Result};
use crate::tool::stream::{Payload, Purpose, ReadError, Source};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use training_monitor::checkpoint::Checksum;
use training_monitor::store::flash::layout::RECORD_MAGIC;

/// The maximum number of regions that are read without `--region`. Each region can extend over the whole dump, so without
/// a limit, a dump full of commit records would take quadratic time. A device has one region for each handler.
const MAX_REGIONS: usize = 32;

/// The maximum number of damaged commit records that are listed.
const MAX_DAMAGED: usize = 256;

/// The bytes are searched in pieces of this length, a multiple of four.
const PIECE: usize = 4096;

const ERASED: [u8; PIECE] = [0xFF; PIECE];
const ZEROS: [u8; PIECE] = [0; PIECE];

/// The commit records in a dump.
pub struct Found {
    /// The regions, and their records with a correct checksum.
    pub regions: Vec<(Region, Vec<DumpRecord>)>,
    /// The first damaged records.
    pub damaged: Vec<DumpRecord>,
    /// The number of all other damaged records.
    pub unlisted: usize,
}

/// A flash dump.
pub struct Dump {
    source: Arc<Source>,
    purpose: Purpose,
    len: usize,
    /// A part of the dump: its offset and its bytes.
    window: (usize, Vec<u8>),
    /// The checkpoints that were read, by the offsets of their slots.
    streams: HashMap<usize, std::result::Result<StoredStream, ReadError>>,
    /// Ranges of equal bytes (0xFF or 0): the end and the byte of each range, by its start.
    blank: BTreeMap<usize, (usize, u8)>,
}

impl Dump {
    pub fn new(source: &Arc<Source>, purpose: Purpose) -> Dump {
        let len = usize::try_from(source.len()).unwrap_or(usize::MAX);
        let (streams, blank) = (HashMap::new(), BTreeMap::new());
        Dump { source: Arc::clone(source), purpose, len, window: (0, vec![]), streams, blank }
    }

    pub const fn len(&self) -> usize {
        self.len
    }

    /// Returns `count` bytes at `offset`, or fewer at the end of the dump.
    fn bytes(&mut self, offset: usize, count: usize) -> Result<&[u8]> {
        let end = offset.saturating_add(count).min(self.len);
        let (start, window) = &self.window;
        if offset < *start || end > start + window.len() {
            self.window = (offset, self.source.bytes_at(offset as u64, count.max(64 * PIECE))?);
        }
        let (start, window) = &self.window;
        Ok(window.get(offset - start..(end - start).min(window.len())).unwrap_or_default())
    }

    /// Returns the commit record at `offset`, which can be damaged.
    pub fn record_at(&mut self, offset: usize) -> Result<Option<DumpRecord>> {
        if offset >= self.len {
            return Ok(None);
        }
        Ok(DumpRecord::parse(self.bytes(offset, RECORD_AND_SEAL)?, offset))
    }

    /// Searches the whole dump for commit records. Two commit records belong to the same region if both yield the same
    /// start, the same size of a slot and the same number of slots. A checkpoint with a correct checksum is not searched
    /// for commit records: its elements can contain anything.
    pub fn scan(&mut self, path: &Path) -> Result<Found> {
        let mut regions = BTreeMap::<Region, Vec<DumpRecord>>::new();
        let (mut damaged, mut unlisted, mut offset) = (Vec::new(), 0, 0);
        while offset < self.len {
            let count = PIECE - offset % PIECE;
            let piece = self.bytes(offset, count)?;
            let len = piece.len();
            if let Some(byte) = blank_byte(piece) {
                self.add_blank(offset, len, byte);
                offset += len;
                continue;
            }
            let Some(found) = piece.as_chunks::<4>().0.iter().position(|word| word[..2] == RECORD_MAGIC) else {
                offset += len.next_multiple_of(4);
                continue;
            };
            offset += found * 4;
            let record = self.record_at(offset)?;
            let next = offset + 4;
            match record.and_then(|record| Some((record, record.find_slot()?))) {
                Some((record, (slot_offset, slot_size))) => {
                    let slot_count = usize::from(record.fields.last) + 1;
                    let region = Region { start: offset - slot_offset, slot_size, slot_count, erases: 0 };
                    regions.entry(region).or_default().push(record);
                    if regions.len() > MAX_REGIONS {
                        let reason = format!(
                            "the dump contains commit records of more than {MAX_REGIONS} regions; use --region and \
                             --slots to say where the slots are"
                        );
                        return Err(CliError::content(path, reason));
                    }
                    let stream = self.stream(&record, slot_size)?;
                    let is_valid = stream.is_some_and(std::result::Result::is_ok);
                    let end = offset + STREAM_OFFSET + record.stream_len();
                    offset = if is_valid { end.next_multiple_of(4) } else { next };
                }
                None => {
                    match record {
                        Some(record) if damaged.len() < MAX_DAMAGED => damaged.push(record),
                        Some(record) => unlisted += usize::from(record.is_damaged_commit()),
                        None => (),
                    }
                    offset = next;
                }
            }
        }
        Ok(Found { regions: regions.into_iter().collect(), damaged, unlisted })
    }

    /// Reads the checkpoint of a commit record. Returns `None` if the slot or the dump ends before it.
    pub fn stream(
        &mut self,
        record: &DumpRecord,
        slot_size: usize,
    ) -> Result<Option<&std::result::Result<StoredStream, ReadError>>> {
        let Some(part) = self.part(record, slot_size) else { return Ok(None) };
        if !self.streams.contains_key(&record.offset) {
            let stored = read_stream("", &part, &self.source, self.purpose)?;
            self.streams.insert(record.offset, stored);
        }
        Ok(self.streams.get(&record.offset))
    }

    /// Returns whether the checkpoint in the slot has a correct checksum, the last four bytes. The store on the device
    /// performs the same check.
    pub fn matches_stream(&mut self, record: &DumpRecord, slot_size: usize) -> Result<bool> {
        if matches!(self.stream(record, slot_size)?, Some(Ok(_))) {
            return Ok(true);
        }
        let Some(part) = self.part(record, slot_size).filter(|part| part.len() >= 4) else { return Ok(false) };
        let mut crc = Crc32Fast::default();
        part.part(0, part.len() - 4).for_each_chunk(|chunk| -> Result<()> {
            crc.update(chunk);
            Ok(())
        })?;
        Ok(part.part(part.len() - 4, 4).to_vec()? == crc.value().to_le_bytes())
    }

    fn part(&self, record: &DumpRecord, slot_size: usize) -> Option<Payload> {
        let (start, len) = (record.offset + STREAM_OFFSET, record.stream_len());
        let fits = STREAM_OFFSET + len <= slot_size && start + len <= self.len;
        fits.then(|| Payload::new(&self.source, start as u64, len as u64))
    }

    /// Returns whether the slot at `offset` contains the start of a checkpoint.
    pub fn has_stream_start(&mut self, offset: usize) -> Result<bool> {
        Ok(self.bytes(offset + STREAM_OFFSET, 4)? == b"TMCK")
    }

    /// Returns whether all bytes are 0xFF, or all are 0.
    pub fn is_blank(&mut self, offset: usize, len: usize) -> Result<bool> {
        let (mut position, end) = (offset, offset + len);
        let mut expected = None;
        while position < end {
            let (next, byte) = match self.blank.range(..=position).next_back() {
                Some((_, (next, byte))) if *next > position => (*next, Some(*byte)),
                _ => {
                    let piece = self.bytes(position, PIECE.min(end - position))?;
                    (position + piece.len().max(1), blank_byte(piece))
                }
            };
            if byte.is_none() || *expected.get_or_insert(byte) != byte {
                return Ok(false);
            }
            position = next;
        }
        Ok(true)
    }

    fn add_blank(&mut self, offset: usize, len: usize, byte: u8) {
        match self.blank.range_mut(..offset).next_back() {
            Some((_, (end, known))) if *end == offset && *known == byte => *end += len,
            _ => drop(self.blank.insert(offset, (offset + len, byte))),
        }
    }
}

/// Returns 0xFF or 0 if all bytes of the piece have this value.
fn blank_byte(piece: &[u8]) -> Option<u8> {
    match piece.first() {
        Some(0xFF) if ERASED.starts_with(piece) => Some(0xFF),
        Some(0) if ZEROS.starts_with(piece) => Some(0),
        _ => None,
    }
}
