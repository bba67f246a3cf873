//! The commit records in a flash dump. Core's `store::flash::layout` defines the bytes of a record.
//!
//! The checksum of a record covers the offset of its slot in the region and the slot size. If these are unknown,
//! `DumpRecord::find_slot` tries values until the checksum matches.

use training_monitor::checkpoint::Checksum;
use training_monitor::store::flash::layout::{self, CommitRecord, RecordBytes, SEAL_LEN, SealState};
use training_monitor_std::Crc32Fast;

/// The offset of the stream in a slot, in bytes.
pub const STREAM_OFFSET: usize = layout::STREAM_OFFSET as usize;

/// A commit record in a dump. The checksum may be invalid.
#[derive(Clone, Copy, Debug)]
pub struct DumpRecord {
    /// The offset of the slot in the dump, in bytes.
    pub offset: usize,
    pub fields: CommitRecord,
    /// The state of the seal that the store writes after the record.
    pub seal: SealState,
    /// The record as it is in the dump.
    bytes: RecordBytes,
}

impl DumpRecord {
    /// Parses the bytes at `offset`. Returns `None` if they do not start with the magic bytes and the version of a record.
    /// The checksum is not verified, because it depends on the slot: see [`Self::matches_slot`].
    pub fn parse(dump: &[u8], offset: usize) -> Option<DumpRecord> {
        let (bytes, rest) = dump.get(offset..)?.split_first_chunk()?;
        let fields = CommitRecord::from_bytes_unverified(bytes)?;
        let seal = SealState::new(rest.first_chunk::<SEAL_LEN>()?, bytes);
        Some(DumpRecord { offset, fields, seal, bytes: *bytes })
    }

    /// Whether the checksum is valid for a slot of `slot_size` bytes at `slot_offset` bytes from the start of its region.
    pub fn matches_slot(&self, slot_offset: usize, slot_size: usize) -> bool {
        let (Ok(offset), Ok(size)) = (u32::try_from(slot_offset), u32::try_from(slot_size)) else { return false };
        CommitRecord::from_bytes::<Crc32Fast>(&self.bytes, offset, size).is_some()
    }

    /// Finds the slot offset in the region and the slot size for which the checksum is valid. Tries slot sizes that are
    /// multiples of `granularity` bytes. Returns `None` if the record is damaged.
    pub fn find_slot(&self, dump_len: usize, granularity: usize) -> Option<(usize, usize)> {
        let smallest = (STREAM_OFFSET + self.stream_len()).next_multiple_of(granularity);
        for slot_size in (smallest..=dump_len).step_by(granularity) {
            // The region starts inside the dump, so the slot offset is at most the offset of the slot in the dump.
            for slot_offset in (0..=self.offset).step_by(slot_size) {
                if self.matches_slot(slot_offset, slot_size) {
                    return Some((slot_offset, slot_size));
                }
            }
        }
        None
    }

    /// Whether the store accepts the checkpoint in the slot that the record describes. The store compares two checksums
    /// with the record: the checksum of the checkpoint's bytes, and the four bytes at the end of the checkpoint.
    pub fn matches_stream(&self, dump: &[u8], slot_size: usize) -> bool {
        let slot = dump.get(self.offset..).and_then(|bytes| bytes.get(..slot_size));
        let stream = slot.and_then(|slot| slot.get(STREAM_OFFSET..)).and_then(|bytes| bytes.get(..self.stream_len()));
        stream.and_then(|stream| stream.split_last_chunk::<4>()).is_some_and(|(body, end)| {
            let mut crc = Crc32Fast::default();
            crc.update(body);
            crc.value() == self.fields.crc && u32::from_le_bytes(*end) == self.fields.crc
        })
    }

    /// The length of the stream in bytes.
    pub const fn stream_len(&self) -> usize {
        self.fields.len as usize
    }
}
