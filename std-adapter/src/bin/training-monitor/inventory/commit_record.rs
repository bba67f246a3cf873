//! The commit records in a flash dump. A commit record describes the checkpoint in one slot of the flash. The module
//! `store::flash::layout` of the package `training-monitor` defines the bytes of a record.
//!
//! The checksum of a record includes the position of its slot and the size of a slot. If the position and the size are
//! unknown, `DumpRecord::find_slot` tries values until the checksum matches.

use training_monitor::checkpoint::Checksum;
use training_monitor::store::flash::layout::{self, CommitRecord, RecordBytes, SEAL_LEN, SealState};
use training_monitor_std::Crc32Fast;

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
}

impl DumpRecord {
    /// Reads the record at `offset`. Returns `None` if the bytes do not begin with the magic bytes and the version of a
    /// record. The checksum is not verified, because it depends on the position of the slot. The
    /// method [`Self::matches_slot`] verifies it.
    pub fn parse(dump: &[u8], offset: usize) -> Option<DumpRecord> {
        let (bytes, rest) = dump.get(offset..)?.split_first_chunk()?;
        let fields = CommitRecord::from_bytes_unverified(bytes)?;
        let seal = SealState::new(rest.first_chunk::<SEAL_LEN>()?, bytes);
        Some(DumpRecord { offset, fields, seal, bytes: *bytes })
    }

    /// Returns whether the checksum of the commit record is correct for a slot of `slot_size` bytes. `slot_offset` is
    /// the number of bytes from the start of the region to the slot.
    pub fn matches_slot(&self, slot_offset: usize, slot_size: usize) -> bool {
        let (Ok(offset), Ok(size)) = (u32::try_from(slot_offset), u32::try_from(slot_size)) else { return false };
        CommitRecord::from_bytes::<Crc32Fast>(&self.bytes, offset, size).is_some()
    }

    /// Finds the position of the slot in its region, and the size of a slot. Tries all slot sizes that are multiples of
    /// `granularity` bytes, until the checksum is correct. Returns `None` if the record is damaged.
    pub fn find_slot(&self, dump_len: usize, granularity: usize) -> Option<(usize, usize)> {
        let smallest = (STREAM_OFFSET + self.stream_len()).next_multiple_of(granularity);
        for slot_size in (smallest..=dump_len).step_by(granularity) {
            // The region starts inside the dump. Therefore the distance from the start of the region to the slot is at
            // most the distance from the start of the dump to the slot.
            for slot_offset in (0..=self.offset).step_by(slot_size) {
                if self.matches_slot(slot_offset, slot_size) {
                    return Some((slot_offset, slot_size));
                }
            }
        }
        None
    }

    /// Returns whether the checkpoint in the slot is intact. The store on the device performs the same check. The
    /// record contains the checksum of the checkpoint. It must be equal to the checksum of the bytes, and to the last
    /// four bytes of the checkpoint.
    pub fn matches_stream(&self, dump: &[u8], slot_size: usize) -> bool {
        let slot = dump.get(self.offset..).and_then(|bytes| bytes.get(..slot_size));
        let stream = slot.and_then(|slot| slot.get(STREAM_OFFSET..)).and_then(|bytes| bytes.get(..self.stream_len()));
        stream.and_then(|stream| stream.split_last_chunk::<4>()).is_some_and(|(body, end)| {
            let mut crc = Crc32Fast::default();
            crc.update(body);
            crc.value() == self.fields.crc && u32::from_le_bytes(*end) == self.fields.crc
        })
    }

    /// Returns the length of the checkpoint in bytes.
    pub const fn stream_len(&self) -> usize {
        self.fields.len as usize
    }
}
