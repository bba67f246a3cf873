//! The implementation of [`IncrementalStore`] for [`Slots`]. A save erases, writes and commits as the blocking save in
//! the module `save` does, with the same operations in the same order, but each call performs only one of them.
//!
//! The commit has three parts: it writes the commit record, then the seal, and then reads the checkpoint back in pieces
//! of 256 bytes.

use super::io::{Aligned, StreamProgress, Writer};
use super::layout::{
    CommitRecord, MAX_GRANULE, RECORD_LEN, RecordBytes, SEAL_LEN, SEAL_OFFSET, STREAM_OFFSET, SealState, seal_bytes,
};
use super::mount::RESIDUE;
use super::save::start_stream;
use super::{Geometry, SlotState, Slots, SlotsError};
use crate::checkpoint::{Checksum, Encoded, Header};
use crate::store::{IncrementalStore, StreamSpec};
use embedded_io::Write as _;
use embedded_storage::nor_flash::NorFlash;

/// The number of bytes that one step of a commit reads back.
const READ_BACK: u32 = 256;

/// The size of the checksum at the end of a stream, in bytes.
const CHECKSUM: u32 = 4;

/// The progress of an incremental save to [`Slots`]. `C` computes the checksum of the bytes that are read back.
#[derive(Debug)]
pub struct SlotsProgress<C> {
    /// The slot that the save has selected.
    slot: usize,
    /// The length of the stream, in bytes.
    len: u32,
    commit: CommitStep<C>,
}

/// The next step of a commit.
#[derive(Debug)]
enum CommitStep<C> {
    /// The commit record is written next.
    WriteRecord,
    /// The record was written. The seal with these bytes is written next.
    WriteSeal([u8; SEAL_LEN]),
    /// The seal was written. This number of bytes of the stream has been read back, and has this checksum.
    ReadBack(u32, C),
}

impl<F: NorFlash, const SLOTS: usize, C: Checksum, G: Geometry<F>> IncrementalStore for Slots<F, SLOTS, C, G> {
    type Progress = SlotsProgress<C>;

    fn begin(&mut self, spec: &StreamSpec<'_>) -> Result<Self::Progress, Self::Error> {
        self.writing = None;
        self.selected = None;
        self.bytes_required(spec.len)?;
        let slot = self.select_slot().ok_or(SlotsError::Full)?;
        self.selected = Some(slot);
        Ok(SlotsProgress { slot, len: spec.len, commit: CommitStep::WriteRecord })
    }

    fn prepare(&mut self, progress: &mut Self::Progress) -> Result<bool, Self::Error> {
        let SlotsProgress { slot, len, .. } = *progress;
        let required = self.bytes_required(len)?;
        if self.selected != Some(slot) || self.writing.is_some() {
            return Err(SlotsError::Incomplete);
        }
        if self.erase_next_remains(slot) || self.erase_block(slot, required)? < required {
            return Ok(false);
        }
        start_stream(&mut self.slots, &mut self.writing, slot, len);
        Ok(true)
    }

    fn write_piece(&mut self, progress: &mut Self::Progress, mut bytes: &[u8]) -> Result<(), Self::Error> {
        let address = self.slot_address(progress.slot).wrapping_add(STREAM_OFFSET);
        let is_unfinished = self.slots.get(progress.slot).is_some_and(|slot| slot.state == SlotState::Unfinished);
        // The granule of the last piece must be complete, because the bytes of an incomplete one are not kept. A save
        // that was started since the last piece has another slot, or starts with its first byte.
        let unit = self.geometry.unit();
        let is_current = |stream: &&mut StreamProgress| {
            stream.slot == progress.slot && stream.len == progress.len && (stream.written as usize).is_multiple_of(unit)
        };
        let stream = self.writing.as_mut().filter(is_current).filter(|_| is_unfinished);
        let mut writer = Writer::new(&mut self.flash, self.geometry, stream.ok_or(SlotsError::Incomplete)?, address);
        while !bytes.is_empty() {
            let written = writer.write(bytes)?;
            bytes = bytes.get(written.max(1)..).unwrap_or_default();
        }
        Ok(())
    }

    fn commit_next(
        &mut self,
        progress: &mut Self::Progress,
        header: &Header<'_>,
        last: &Encoded,
    ) -> Result<bool, Self::Error> {
        let SlotsProgress { slot, len, .. } = *progress;
        let address = self.slot_address(slot);
        if self.selected != Some(slot) {
            return Err(SlotsError::Incomplete);
        }
        match &mut progress.commit {
            CommitStep::WriteRecord => {
                let stream = self.writing.take().ok_or(SlotsError::Incomplete)?;
                if stream.slot != slot || stream.written != len || last.len != len {
                    return Err(SlotsError::Incomplete);
                }
                let bytes = Aligned(self.commit_record(slot, len, header).to_bytes::<C>());
                self.program(address, &bytes.0, RECORD_LEN)?;
                progress.commit = CommitStep::WriteSeal(seal_bytes(&bytes.0));
                Ok(false)
            }
            CommitStep::WriteSeal(seal) => {
                let mut bytes = Aligned([0; MAX_GRANULE]);
                if let Some(place) = bytes.0.first_chunk_mut() {
                    *place = *seal;
                }
                self.program(address.wrapping_add(SEAL_OFFSET), &bytes.0, SEAL_LEN)?;
                progress.commit = CommitStep::ReadBack(0, C::default());
                Ok(false)
            }
            CommitStep::ReadBack(read, crc) => {
                let meta = header.into();
                let is_done = self.read_back(slot, (len, last.crc), header.sequence, read, crc);
                if is_done.ok_or(SlotsError::VerifyFailed)? {
                    self.finish_commit(slot, len, meta);
                    return Ok(true);
                }
                Ok(false)
            }
        }
    }
}

impl<F: NorFlash, const SLOTS: usize, C: Checksum, G: Geometry<F>> Slots<F, SLOTS, C, G> {
    /// Reads the next bytes of a committed checkpoint back. At the start, `read` is 0. Returns true after the last byte,
    /// and `None` if the slot does not contain the checkpoint `sequence` with this length and checksum.
    fn read_back(
        &mut self,
        index: usize,
        (len, expected): (u32, u32),
        sequence: u32,
        read: &mut u32,
        crc: &mut C,
    ) -> Option<bool> {
        let mut buffer = Aligned([0; SEAL_OFFSET as usize]);
        if *read == 0 && !self.has_sealed_record(index, sequence, &mut buffer.0) {
            return None;
        }
        let body = len.checked_sub(CHECKSUM)?;
        let stream = self.slot_address(index).wrapping_add(STREAM_OFFSET);
        let count = body.saturating_sub(*read).min(READ_BACK);
        self.add_to_crc(stream.wrapping_add(*read), count, crc, &mut buffer.0).ok()?;
        *read = read.saturating_add(count);
        if *read < body {
            return Some(false);
        }
        let is_expected = crc.value() == expected;
        self.add_to_crc(stream.wrapping_add(body), CHECKSUM, crc, &mut buffer.0).ok()?;
        (is_expected && crc.value() == RESIDUE).then_some(true)
    }

    /// Returns whether a slot contains the commit record of the checkpoint `sequence` and its complete seal.
    fn has_sealed_record(&mut self, index: usize, sequence: u32, record: &mut RecordBytes) -> bool {
        let (has_record, seal) = self.read_record_and_seal(self.slot_address(index), record);
        let is_sealed = seal.is_some_and(|seal| SealState::new(&seal, record) == SealState::Complete);
        let found = CommitRecord::from_bytes::<C>(record).filter(|_| has_record && is_sealed);
        found.is_some_and(|found| found.meta.sequence == sequence)
    }
}
