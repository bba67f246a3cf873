//! The commit record and the seal of a flash slot, found without knowing where slots begin or how large they are.
//!
//! The layout is the one drawn at the top of `training_monitor::store::slots`. A record's checksum covers its slot's place in
//! the region and the size of a slot; what is not known is tried until the checksum is right.

use training_monitor::store::Stored;

/// Where the stream begins in a slot.
pub const STREAM_AT: usize = 96;
const SEAL_AT: usize = 64;
const VERSION: u32 = 1;

/// A record as it stands there.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Where its slot begins in the dump.
    pub at: usize,
    pub stored: Stored,
    pub len: usize,
    /// The checksum at the stream's end.
    pub crc: u32,
    pub erases: u32,
    pub all_erases: u32,
    pub seal: Seal,
    /// Over the record's fields, before place and size.
    fields: u32,
    sum: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seal {
    /// There, and of this record.
    Whole,
    /// There, and not of the bytes before it.
    Foreign,
    Missing,
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*word))
}

impl Record {
    /// What begins as a record at `at`, whether or not its checksum can be right.
    pub fn at(dump: &[u8], at: usize) -> Option<Record> {
        let bytes = dump.get(at..)?.first_chunk::<STREAM_AT>()?;
        if !bytes.starts_with(b"TMSR") || word(bytes, 4)? != VERSION {
            return None;
        }
        let score = Some(f32::from_bits(word(bytes, 28)?)).filter(|score| !score.is_nan());
        let stored = Stored { step: word(bytes, 20)?, sequence: word(bytes, 8)?, iteration: word(bytes, 24)?, score };
        let sum = word(bytes, 40)?;
        let seal = match bytes.get(SEAL_AT..SEAL_AT + 4) {
            Some(b"TMSK") if word(bytes, SEAL_AT + 4) == Some(!sum) => Seal::Whole,
            Some(b"TMSK") => Seal::Foreign,
            _ => Seal::Missing,
        };
        Some(Record {
            at,
            stored,
            len: word(bytes, 12)? as usize,
            crc: word(bytes, 16)?,
            erases: word(bytes, 32)?,
            all_erases: word(bytes, 36)?,
            seal,
            fields: crc32fast::hash(bytes.get(..40)?),
            sum,
        })
    }

    /// Whether it was written for the slot at `place` of its region, in slots of `size`.
    pub fn is_for(&self, place: usize, size: usize) -> bool {
        let mut crc = crc32fast::Hasher::new_with_initial_len(self.fields, 40);
        crc.update(&(place as u32).to_le_bytes());
        crc.update(&(size as u32).to_le_bytes());
        crc.finalize() == self.sum
    }

    /// Finds place and size: slots are multiples of `step` bytes. `None` for a record that is damaged.
    pub fn locate(&self, dump: usize, step: usize) -> Option<(usize, usize)> {
        let smallest = (STREAM_AT + self.len).next_multiple_of(step);
        for size in (smallest..=dump).step_by(step) {
            // The region begins in the dump, and so does the slot.
            for place in (0..=self.at).step_by(size) {
                if self.is_for(place, size) {
                    return Some((place, size));
                }
            }
        }
        None
    }
}
