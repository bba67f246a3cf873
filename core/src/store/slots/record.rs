//! The commit record and the seal as bytes; the drawing is at the top of [`slots`](super). Only bytes here, no flash.

use crate::checkpoint::Checksum;
use crate::store::Stored;

/// The largest write granule.
pub(super) const MAX_GRANULE: usize = 32;
/// Where the seal begins in a slot: the record, in whole granules.
pub(super) const SEAL_AT: u32 = 64;
/// Where the stream begins in a slot.
pub(super) const STREAM_AT: u32 = 96;
/// Bytes of the record.
pub(super) const RECORD_LEN: usize = 44;
/// Bytes of the seal.
pub(super) const SEAL_LEN: usize = 8;

const MAGIC: u32 = u32::from_le_bytes(*b"TMSR");
const VERSION: u32 = 1;
const SEAL: u32 = u32::from_le_bytes(*b"TMSK");

#[derive(Clone, Copy)]
pub(super) struct Record {
    pub stored: Stored,
    /// Bytes of the stream.
    pub len: u32,
    /// The checksum at its end.
    pub crc: u32,
    pub erases: u32,
    pub all_erases: u32,
}

impl Record {
    /// The record for the slot that begins at `place` of the region and has `size` bytes.
    pub fn to_bytes<C: Checksum>(self, place: u32, size: u32) -> [u8; SEAL_AT as usize] {
        let score = self.stored.score.unwrap_or(f32::NAN).to_bits();
        let Stored { step, sequence, iteration, .. } = self.stored;
        let fields =
            [MAGIC, VERSION, sequence, self.len, self.crc, step, iteration, score, self.erases, self.all_erases];
        let mut bytes = [0; SEAL_AT as usize];
        let (words, _) = bytes.as_chunks_mut::<4>();
        for (word, field) in words.iter_mut().zip(fields) {
            *word = field.to_le_bytes();
        }
        let crc = sum::<C>(&bytes, place, size);
        let (words, _) = bytes.as_chunks_mut::<4>();
        if let Some(word) = words.get_mut(10) {
            *word = crc.to_le_bytes();
        }
        bytes
    }

    /// `None` for anything that [`to_bytes`](Self::to_bytes) did not make for this very place.
    pub fn from_bytes<C: Checksum>(bytes: &[u8; SEAL_AT as usize], place: u32, size: u32) -> Option<Self> {
        let (words, _) = bytes.as_chunks::<4>();
        let words = words.first_chunk::<11>()?.map(u32::from_le_bytes);
        let [magic, version, sequence, len, crc, step, iteration, score, erases, all_erases, sum_found] = words;
        if magic != MAGIC || version != VERSION || sum_found != sum::<C>(bytes, place, size) {
            return None;
        }
        let score = Some(f32::from_bits(score)).filter(|score| !score.is_nan());
        Some(Record { stored: Stored { step, sequence, iteration, score }, len, crc, erases, all_erases })
    }
}

/// The checksum of a record.
fn sum<C: Checksum>(bytes: &[u8; SEAL_AT as usize], place: u32, size: u32) -> u32 {
    let mut crc = C::default();
    crc.update(bytes.first_chunk::<40>().map_or(&[], |fields| fields.as_slice()));
    crc.update(&place.to_le_bytes());
    crc.update(&size.to_le_bytes());
    crc.value()
}

/// What is found where a seal belongs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Eight bytes that are all the same, as erased ones are whatever they read as: the seal was not begun.
    Nothing,
    /// Something: the seal was begun, so the record was whole.
    Begun,
    /// The seal.
    Seal,
}

impl Found {
    /// `bytes` in the place of `seal`.
    pub fn new(bytes: &[u8; SEAL_LEN], seal: &[u8; SEAL_LEN]) -> Self {
        match bytes {
            _ if bytes == seal => Found::Seal,
            [first, rest @ ..] if rest.iter().all(|byte| byte == first) => Found::Nothing,
            _ => Found::Begun,
        }
    }
}

/// The seal that belongs to a record.
pub(super) fn seal(record: &[u8; SEAL_AT as usize]) -> [u8; SEAL_LEN] {
    let (words, _) = record.as_chunks::<4>();
    let crc = words.get(10).map_or(0, |word| u32::from_le_bytes(*word));
    (u64::from(!crc) << 32 | u64::from(SEAL)).to_le_bytes()
}
