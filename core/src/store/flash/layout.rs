//! The byte layout of a slot. A slot contains a commit record, a seal and a checkpoint. The commit record describes the
//! checkpoint. The seal, which is written last, marks the commit as complete.
//!
//! ```text
//!  region   ┌─ slot 0 ────────┬─ slot 1 ────────┬─ slot 2 ────────┐
//!           └─────────────────┴─────────────────┴─────────────────┘
//!  a slot   0        64     96                       96 + length
//!           │ record │ seal │ the checkpoint's stream │ unused      │
//!  written    second   last   first
//!
//!  record   0  "TM"          2 bytes
//!           2  last slot     u8, the index of the last slot in the region
//!           3  version       u8, 2
//!           4  slot size     u24, bytes
//!           7  slot index    u8
//!           8  sequence      u32, the number of the save; the highest is the newest
//!          12  run           u32, the number of the run
//!          16  rule          u32, the hash of the name and the rule of the series
//!          20  model         u32, the signature of the model
//!          24  length        u32, bytes of the stream
//!          28  step          u32
//!          32  iteration     u32
//!          36  score         f32; NaN if there is no score
//!          40  erases        u32, erases of this slot
//!          44  total erases  u32, erases of all slots, as far as they were known
//!          48  durable       u16, one bit for each of the first 16 slots: it contained a durable checkpoint
//!          50  failed        u16, one bit for each of the first 16 slots: an erase or a write of it failed
//!          52  record CRC    u32, over the 52 bytes before it
//!  seal     0  !record CRC   u32
//! ```
//!
//! All numbers are little-endian, and all CRCs are CRC-32/ISO-HDLC. The offsets are the same for every flash. If a part
//! does not fill its last unit, the unit is filled with zeros. A unit is the larger one of the write granule (the smallest
//! unit that can be written) and the read unit of the flash.
//!
//! Opening a store hides the duplicates that an interrupted commit or a later save of the same step can leave. First,
//! the store hides each unsealed checkpoint for which [`hides_unsealed`] finds a sealed one. Then it compares the
//! remaining checkpoints with [`hides_older`].

use crate::checkpoint::Checksum;
use crate::store::{CheckpointMeta, SeriesId};

/// The largest supported write granule, in bytes.
pub const MAX_GRANULE: usize = 32;
/// The offset of the seal (the mark of a complete commit) from the start of a slot, in bytes.
pub const SEAL_OFFSET: u32 = 64;
/// The offset of the stream (the bytes of the checkpoint) from the start of a slot, in bytes.
pub const STREAM_OFFSET: u32 = 96;
/// The length of a commit record (the description of a checkpoint), in bytes.
pub const RECORD_LEN: usize = 56;
/// The length of the seal, in bytes.
pub const SEAL_LEN: usize = 4;
/// The first two bytes of every commit record, which identify it.
pub const RECORD_MAGIC: [u8; 2] = *b"TM";
/// The version of the layout, the fourth byte of every commit record.
const VERSION: u8 = 2;
/// The maximum size of a slot in bytes. The record stores the size in 24 bits.
pub const MAX_SLOT: u32 = 0x00FF_FFFF;
/// The maximum number of slots. The record stores the index of its slot in one byte.
pub const MAX_SLOTS: usize = 256;

/// The position of the CRC in a record, counted in 32-bit words from the start of the record.
const CRC_WORD: usize = 13;

/// The bytes at the start of a slot, before its seal. They contain the commit record, followed by zeros.
pub type RecordBytes = [u8; SEAL_OFFSET as usize];

/// A commit record, which describes the checkpoint in a slot.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct CommitRecord {
    /// The metadata of the checkpoint.
    pub meta: CheckpointMeta,
    /// The index of the slot in its region. With `last` and `size`, it shows whether the region was divided into other
    /// slots when the record was written.
    pub index: u8,
    /// The index of the last slot in the region.
    pub last: u8,
    /// The size of a slot, in bytes.
    pub size: u32,
    /// The length of the stream, in bytes.
    pub len: u32,
    /// The number of erases of the slot.
    pub erases: u32,
    /// The number of erases of all slots that were known when the record was written.
    pub total_erases: u32,
    /// One bit for each of the first 16 slots, slot 0 in the lowest bit: whether it contained a durable checkpoint when
    /// the record was written.
    pub durable: u16,
    /// One bit for each of the first 16 slots: whether an erase or a write of the slot has failed.
    pub failed: u16,
}

impl CommitRecord {
    /// Converts the record to bytes.
    #[must_use]
    pub fn to_bytes<C: Checksum>(self) -> RecordBytes {
        let CheckpointMeta { step, sequence, run, iteration, score, series } = self.meta;
        let layout = u32::from(self.index) << 24 | self.size & MAX_SLOT;
        let flags = u32::from(self.failed) << 16 | u32::from(self.durable);
        let score = score.unwrap_or(f32::NAN).to_bits();
        let [first, second] = RECORD_MAGIC;
        let magic = u32::from_le_bytes([first, second, self.last, VERSION]);
        let fields: [u32; CRC_WORD] = [
            magic,
            layout,
            sequence,
            run,
            series.rule,
            series.model,
            self.len,
            step,
            iteration,
            score,
            self.erases,
            self.total_erases,
            flags,
        ];
        let mut bytes = [0; SEAL_OFFSET as usize];
        let (words, _) = bytes.as_chunks_mut::<4>();
        for (word, field) in words.iter_mut().zip(fields) {
            *word = field.to_le_bytes();
        }
        let crc = record_crc::<C>(&bytes);
        let (words, _) = bytes.as_chunks_mut::<4>();
        if let Some(word) = words.get_mut(CRC_WORD) {
            *word = crc.to_le_bytes();
        }
        bytes
    }

    /// Converts bytes to a record, and verifies the CRC. Returns `None` if the record is damaged.
    #[must_use]
    pub fn from_bytes<C: Checksum>(bytes: &RecordBytes) -> Option<Self> {
        let record = Self::from_bytes_unverified(bytes)?;
        (stored_crc(bytes) == record_crc::<C>(bytes)).then_some(record)
    }

    /// Converts bytes to a record without verifying the CRC. A tool can use this function to show a damaged record.
    /// Returns `None` if the magic bytes or the version do not match.
    #[must_use]
    pub fn from_bytes_unverified(bytes: &RecordBytes) -> Option<Self> {
        let (words, _) = bytes.as_chunks::<4>();
        let words = words.first_chunk::<CRC_WORD>()?.map(u32::from_le_bytes);
        let [magic, layout, sequence, run, rule, model, len, step, iteration, score, erases, total_erases, flags] =
            words;
        let [first, second, last, version] = magic.to_le_bytes();
        if [first, second] != RECORD_MAGIC || version != VERSION {
            return None;
        }
        let score = Some(f32::from_bits(score)).filter(|score| !score.is_nan());
        let [size @ .., index] = layout.to_le_bytes();
        let [durable_low, durable_high, failed_low, failed_high] = flags.to_le_bytes();
        let [low, middle, high] = size;
        Some(CommitRecord {
            meta: CheckpointMeta { sequence, step, run, iteration, score, series: SeriesId { rule, model } },
            index,
            last,
            size: u32::from_le_bytes([low, middle, high, 0]),
            len,
            erases,
            total_erases,
            durable: u16::from_le_bytes([durable_low, durable_high]),
            failed: u16::from_le_bytes([failed_low, failed_high]),
        })
    }
}

/// Computes the CRC of a record over the fields before it.
fn record_crc<C: Checksum>(bytes: &RecordBytes) -> u32 {
    let mut crc = C::default();
    crc.update(bytes.first_chunk::<{ 4 * CRC_WORD }>().map_or(&[], |fields| fields.as_slice()));
    crc.value()
}

fn stored_crc(bytes: &RecordBytes) -> u32 {
    let (words, _) = bytes.as_chunks::<4>();
    words.get(CRC_WORD).map_or(0, |word| u32::from_le_bytes(*word))
}

/// The state of a seal, which marks the commit of a checkpoint as complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SealState {
    /// The seal was not written, or only a part of it. The value of erased flash is unknown, so the two cases cannot be
    /// distinguished.
    Incomplete,
    /// All bytes of the seal were written, so the commit is complete.
    Complete,
}

impl SealState {
    /// Returns the state of the seal `bytes`, which belongs to `record`.
    #[must_use]
    pub fn new(bytes: &[u8; SEAL_LEN], record: &RecordBytes) -> Self {
        if *bytes == seal_bytes(record) { SealState::Complete } else { SealState::Incomplete }
    }
}

/// Returns whether a sealed commit was damaged later, although its record `bytes` is not valid: the seal matches either
/// the stored CRC or the fields of the record. An interrupted save never leaves such a seal.
#[must_use]
pub fn is_damaged_commit<C: Checksum>(bytes: &RecordBytes, seal: &[u8; SEAL_LEN]) -> bool {
    let matches = |crc: u32| *seal == (!crc).to_le_bytes();
    CommitRecord::from_bytes_unverified(bytes).is_some()
        && (matches(stored_crc(bytes)) || matches(record_crc::<C>(bytes)))
}

/// Returns whether a store ignores the checkpoint `unsealed` because another slot contains the checkpoint `sealed`. The
/// commit of an unsealed checkpoint was interrupted. A sealed checkpoint with the same sequence number, or with the same
/// step number in the same series, takes its place.
#[must_use]
#[inline]
pub fn hides_unsealed(sealed: &CheckpointMeta, unsealed: &CheckpointMeta) -> bool {
    sealed.sequence == unsealed.sequence || (sealed.step == unsealed.step && sealed.series == unsealed.series)
}

/// Returns whether a store hides the checkpoint `older` because another slot contains the checkpoint `newer` of the
/// same step and series. The checkpoint with the higher sequence number is newer. If the sequence numbers are equal, both
/// checkpoints are equally valid, and the checkpoint in the later slot counts as newer. Each checkpoint is passed with
/// the index of its slot.
#[must_use]
#[inline]
pub fn hides_older(newer: (&CheckpointMeta, usize), older: (&CheckpointMeta, usize)) -> bool {
    let ((newer, newer_slot), (older, older_slot)) = (newer, older);
    newer.step == older.step
        && newer.series == older.series
        && (newer.sequence, newer_slot) > (older.sequence, older_slot)
}

/// Returns the bytes of the complete seal for `record`.
#[must_use]
pub fn seal_bytes(record: &RecordBytes) -> [u8; SEAL_LEN] {
    (!stored_crc(record)).to_le_bytes()
}
