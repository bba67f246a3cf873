//! The commit records in a flash dump. A commit record describes the checkpoint in one slot of the flash. The module
//! `store::flash::layout` of the package `training-monitor` defines the bytes of a record.
//!
//! A record contains the index of its slot and the size of a slot, so the tool finds the slots of a dump without
//! further information.

use super::Region;
use crate::Crc32Fast;
use training_monitor::store::flash::layout::{self, CommitRecord, RecordBytes, SEAL_LEN, SealState, is_damaged_commit};

/// The number of bytes of a commit record and its seal.
pub const RECORD_AND_SEAL: usize = layout::SEAL_OFFSET as usize + SEAL_LEN;

/// The number of bytes from the start of a slot to the checkpoint in it.
pub const STREAM_OFFSET: usize = layout::STREAM_OFFSET as usize;

/// A commit record in a dump. The checksum of the record may be wrong.
#[derive(Clone, Copy, Debug)]
pub struct DumpRecord {
    /// The offset of the slot in the dump, in bytes.
    pub offset: usize,
    pub fields: CommitRecord,
    /// The state of the seal. The store writes the seal after the record, so a complete seal shows that the commit was
    /// completed.
    pub seal: SealState,
    /// The bytes of the commit record, as the dump contains them.
    bytes: RecordBytes,
    seal_bytes: [u8; SEAL_LEN],
}

impl DumpRecord {
    /// Reads the record at `offset` from the bytes that begin there. Returns `None` if the bytes do not begin with the magic bytes and the version of a
    /// record. The checksum is not verified, because it depends on the position of the slot. The
    /// method [`Self::matches_slot`] verifies it.
    pub fn parse(start: &[u8], offset: usize) -> Option<DumpRecord> {
        let (bytes, rest) = start.split_first_chunk()?;
        let fields = CommitRecord::from_bytes_unverified(bytes)?;
        let seal_bytes = *rest.first_chunk::<SEAL_LEN>()?;
        let seal = SealState::new(&seal_bytes, bytes);
        Some(DumpRecord { offset, fields, seal, bytes: *bytes, seal_bytes })
    }

    /// Returns whether the checksum of the commit record is correct and the record belongs to slot `index` of the region.
    pub fn matches_slot(&self, region: &Region, index: usize) -> bool {
        let has_count = usize::from(self.fields.last) + 1 == region.slot_count;
        has_count && self.find_slot() == Some((index * region.slot_size, region.slot_size))
    }

    /// Returns the position of the slot in its region, and the size of a slot. Returns `None` if the record is damaged.
    pub fn find_slot(&self) -> Option<(usize, usize)> {
        let record = CommitRecord::from_bytes::<Crc32Fast>(&self.bytes)?;
        let slot_size = record.size as usize;
        let slot_offset = slot_size.checked_mul(usize::from(record.index))?;
        let is_possible = slot_size >= STREAM_OFFSET && slot_offset <= self.offset && record.index <= record.last;
        is_possible.then_some((slot_offset, slot_size))
    }

    /// Returns whether the record was committed and damaged later.
    pub fn is_damaged_commit(&self) -> bool {
        is_damaged_commit::<Crc32Fast>(&self.bytes, &self.seal_bytes)
    }

    /// Returns the length of the checkpoint in bytes.
    pub const fn stream_len(&self) -> usize {
        self.fields.len as usize
    }
}
