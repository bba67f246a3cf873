//! The commit record and the seal of a flash slot, parsed without knowing where the slots are or how large they are.
//!
//! The module documentation of `training_monitor::store::slots` shows the layout. The checksum of a record covers the offset
//! of its slot in the region and the slot size. If these are unknown, `CommitRecord::find_slot` tries values until the
//! checksum matches.

use training_monitor::store::Stored;

/// The offset of the stream in a slot, in bytes.
pub const STREAM_OFFSET: usize = 96;
/// The offset of the seal in a slot, in bytes.
const SEAL_OFFSET: usize = 64;
const VERSION: u32 = 1;

/// The fields of a commit record. The checksum may be invalid.
#[derive(Clone, Copy, Debug)]
pub struct CommitRecord {
    /// The offset of the slot in the dump, in bytes.
    pub offset: usize,
    /// Step, sequence, iteration and score of the checkpoint.
    pub meta: Stored,
    /// The length of the stream in bytes.
    pub len: usize,
    /// The checksum at the end of the stream.
    pub crc: u32,
    /// The erase count of the slot.
    pub erases: u32,
    /// The erase count of all slots of the region.
    pub total_erases: u32,
    pub seal: SealState,
    /// The CRC-32 of the fields of the record, without slot offset and slot size.
    fields_crc: u32,
    /// The checksum stored in the record.
    record_crc: u32,
}

/// The state of the seal that the store writes after the record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SealState {
    /// The seal is present and belongs to the record before it.
    Complete,
    /// A seal is present, but its checksum does not match the record before it.
    Mismatched,
    /// There is no seal.
    Absent,
}

fn read_u32(bytes: &[u8], offset: usize) -> Option<u32> {
    let bytes = bytes.get(offset..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*bytes))
}

impl CommitRecord {
    /// Parses the bytes at `offset`. Returns `None` if they do not start with the magic bytes and the version of a record.
    /// The checksum is not verified, because it depends on the slot: see [`Self::matches_slot`].
    pub fn parse(dump: &[u8], offset: usize) -> Option<CommitRecord> {
        let bytes = dump.get(offset..)?.first_chunk::<STREAM_OFFSET>()?;
        if !bytes.starts_with(b"TMSR") || read_u32(bytes, 4)? != VERSION {
            return None;
        }
        let score = Some(f32::from_bits(read_u32(bytes, 28)?)).filter(|score| !score.is_nan());
        let (step, sequence, iteration) = (read_u32(bytes, 20)?, read_u32(bytes, 8)?, read_u32(bytes, 24)?);
        let record_crc = read_u32(bytes, 40)?;
        let seal = match bytes.get(SEAL_OFFSET..SEAL_OFFSET + 4) {
            Some(b"TMSK") if read_u32(bytes, SEAL_OFFSET + 4) == Some(!record_crc) => SealState::Complete,
            Some(b"TMSK") => SealState::Mismatched,
            _ => SealState::Absent,
        };
        Some(CommitRecord {
            offset,
            meta: Stored { step, sequence, iteration, score },
            len: read_u32(bytes, 12)? as usize,
            crc: read_u32(bytes, 16)?,
            erases: read_u32(bytes, 32)?,
            total_erases: read_u32(bytes, 36)?,
            seal,
            fields_crc: crc32fast::hash(bytes.get(..40)?),
            record_crc,
        })
    }

    /// Whether the checksum is valid for a slot of `slot_size` bytes at `slot_offset` bytes from the start of its region.
    pub fn matches_slot(&self, slot_offset: usize, slot_size: usize) -> bool {
        let mut crc = crc32fast::Hasher::new_with_initial_len(self.fields_crc, 40);
        crc.update(&(slot_offset as u32).to_le_bytes());
        crc.update(&(slot_size as u32).to_le_bytes());
        crc.finalize() == self.record_crc
    }

    /// Finds the slot offset in the region and the slot size for which the checksum is valid. Tries slot sizes that are
    /// multiples of `granularity` bytes. Returns `None` if the record is damaged.
    pub fn find_slot(&self, dump_len: usize, granularity: usize) -> Option<(usize, usize)> {
        let smallest = (STREAM_OFFSET + self.len).next_multiple_of(granularity);
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
}
