//! Encodes a checkpoint in pieces. Each call encodes the whole checkpoint again, but keeps only the bytes of one piece.
//! The bytes before the piece are skipped: blocks of a tensor's elements are not read, so skipping takes the time of one
//! call for each 8 KiB. The encoder stops at the end of the piece.

use super::encoder::Encoder;
use super::output::ChecksummedSink;
use crate::checkpoint::error::EncodeError;
use crate::checkpoint::format::Contents;
use crate::checkpoint::objects::Objects;
use crate::checkpoint::{Checksum, VERSION};
use crate::varint;

/// Encodes the bytes from `offset` on of a checkpoint of `len` bytes, until `piece` is full or the checkpoint ends.
/// Returns the number of these bytes. `crc` contains the checksum of the bytes before `offset`, and after the call also
/// of those in `piece`.
///
/// The objects must be the same in all calls. `len` is the result of the check of these objects
/// with [`measure_for`](super::measure_for).
#[inline(never)] // Keeps the buffer off the stack of a caller that also runs a store.
pub(crate) fn encode_piece<C: Checksum, E, T: Objects + ?Sized>(
    contents: &Contents<'_>,
    objects: &mut T,
    len: u32,
    offset: u32,
    piece: &mut [u8],
    crc: &mut C,
) -> Result<usize, EncodeError<E>> {
    let capacity = piece.len();
    let skipped = offset as usize;
    let mut sink = PieceSink { skip_sum: skipped, skip: skipped, piece, used: 0, summed: 0, crc };
    let mut encoder = Encoder::new(Some(&mut sink), contents);
    encoder.write(objects, len);
    let failure = encoder.output.failure;
    match failure {
        // The sink refuses all bytes after the end of the piece.
        Some(failure) if sink.used < capacity => Err(failure.with_io(None)),
        _ => Ok(sink.used),
    }
}

/// A sink that skips the bytes before a piece and refuses the bytes after it.
struct PieceSink<'a, C> {
    /// The number of bytes before the piece that have not been passed to `sum` yet.
    skip_sum: usize,
    /// The number of bytes before the piece that have not been passed to `write` yet.
    skip: usize,
    piece: &'a mut [u8],
    /// The number of bytes in `piece`.
    used: usize,
    /// The number of bytes of the piece that were added to the checksum. The encoder adds bytes before it writes them.
    summed: usize,
    crc: &'a mut C,
}

impl<C: Checksum> ChecksummedSink for PieceSink<'_, C> {
    fn sum(&mut self, bytes: &[u8]) {
        let bytes = skip(&mut self.skip_sum, bytes);
        let rest = self.piece.len().saturating_sub(self.summed);
        let bytes = bytes.get(..rest.min(bytes.len())).unwrap_or_default();
        self.summed = self.summed.saturating_add(bytes.len());
        self.crc.update(bytes);
    }
    /// The encoder reads the value after the last byte before the checksum. If the piece ends earlier, the value is not
    /// used, because the bytes of the checksum are then after the piece.
    fn value(&self) -> u32 {
        self.crc.value()
    }
    fn write(&mut self, bytes: &[u8]) -> bool {
        let bytes = skip(&mut self.skip, bytes);
        let free = self.piece.get_mut(self.used..).unwrap_or_default();
        let count = free.len().min(bytes.len());
        for (place, byte) in free.iter_mut().zip(bytes) {
            *place = *byte;
        }
        self.used = self.used.saturating_add(count);
        self.used < self.piece.len()
    }
    fn flush(&mut self) -> bool {
        true
    }
}

/// Removes the bytes from the start of `bytes` that must still be skipped.
fn skip<'a>(remaining: &mut usize, bytes: &'a [u8]) -> &'a [u8] {
    let count = bytes.len().min(*remaining);
    *remaining = remaining.saturating_sub(count);
    bytes.get(count..).unwrap_or_default()
}

/// The offset of the step number in a checkpoint. It follows the magic bytes, the version and the length.
const STEP_OFFSET: usize = 9;
const _: () = assert!(VERSION == 2, "check the offset for another version of the format");

/// Changes the sequence number in an encoded checkpoint, and its checksum. Returns the new checksum. Returns `None` if
/// the new number takes another number of bytes; the checkpoint is then unchanged.
pub(crate) fn renumber<C: Checksum>(stream: &mut [u8], sequence: u32) -> Option<u32> {
    let (body, checksum) = stream.split_last_chunk_mut::<4>()?;
    let mut bytes = body.get(STEP_OFFSET..)?.iter();
    varint::read_u32(|| bytes.next().copied())?;
    let rest = bytes.len();
    varint::read_u32(|| bytes.next().copied())?;
    let old_len = rest.checked_sub(bytes.len())?;
    if varint::len(sequence) as usize != old_len {
        return None;
    }
    let from = body.len().checked_sub(rest)?;
    let mut places = body.get_mut(from..)?.iter_mut();
    varint::write_u32(sequence, |byte| {
        if let Some(place) = places.next() {
            *place = byte;
        }
    });
    let mut crc = C::default();
    crc.update(body);
    *checksum = crc.value().to_le_bytes();
    Some(crc.value())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{Contents, Crc32, Named, encode, inspect};
    use std::vec::Vec;

    #[test]
    fn a_checkpoint_gets_another_sequence_number_of_the_same_length() {
        for (old, new, is_possible) in [(5, 6, true), (127, 128, false), (128, 127, false), (300, 16_383, true)] {
            let mut contents = Contents::new(1_000_000);
            contents.header.sequence = old;
            let mut bytes = Vec::new();
            encode(&mut bytes, &contents, &mut Named::new("model", [1.0_f32; 3])).unwrap();
            let before = bytes.clone();
            let crc = renumber::<Crc32>(&mut bytes, new);
            assert_eq!(crc.is_some(), is_possible, "{old} to {new}");
            if is_possible {
                let info = inspect(&mut &bytes[..], &mut [0; 16], &mut ()).unwrap();
                assert_eq!((info.step, info.sequence), (1_000_000, new));
                let mut expected = Vec::new();
                contents.header.sequence = new;
                let encoded = encode(&mut expected, &contents, &mut Named::new("model", [1.0_f32; 3])).unwrap();
                assert_eq!((crc, &bytes), (Some(encoded.crc), &expected));
            } else {
                assert_eq!(bytes, before);
            }
        }
        // A stream that is too short stays unchanged.
        assert_eq!(renumber::<Crc32>(&mut [0; 9], 1), None);
    }
}
