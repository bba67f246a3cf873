//! Finds the committed checkpoints when a store is opened. It reads every slot, verifies all checksums, and resolves
//! conflicts between slots. Nothing is written, so a power failure has no effect.

use super::io::{Aligned, Reader, read_flash};
use super::layout::{
    CommitRecord, MAX_GRANULE, RECORD_LEN, RecordBytes, SEAL_LEN, SEAL_OFFSET, STREAM_OFFSET, SealState, hides_older,
    hides_unsealed, is_damaged_commit,
};
use super::region::to_u32;
use super::{Geometry, RegionError, Slot, SlotState, Slots};
use crate::checkpoint::Checksum;
use embedded_storage::nor_flash::NorFlash;

/// The CRC-32 of any data followed by the data's own CRC-32. This value does not depend on the data, so a stream that
/// ends with its CRC-32 is intact if its checksum is this value.
pub(super) const RESIDUE: u32 = 0x2144_DF1C;

/// The number of times that slots with the same step or sequence number are read. One unstable bit has the same value in
/// all these reads with a probability of 1 in 32 768.
const READS_OF_CONFLICTING_SLOTS: u32 = 16;

/// The content of a slot.
pub(super) enum Content {
    /// A checkpoint whose record and stream are valid, and the checksum of the stream.
    Valid(CommitRecord, SealState, u32),
    /// A committed checkpoint whose record or stream was damaged later. The sequence number is only known if the record
    /// is valid.
    Damaged(Option<u32>),
    /// Data that is not a valid checkpoint, such as an interrupted save.
    Remains,
    /// No data, or data that cannot be read because a write of it was interrupted.
    None,
    /// The flash driver returns an error for the record, or for the stream of a sealed record. The slot can contain a
    /// checkpoint. Contains the record if it is valid.
    Unreadable(Option<CommitRecord>),
}

impl<F: NorFlash, const SLOTS: usize, C: Checksum, G: Geometry<F>> Slots<F, SLOTS, C, G> {
    /// Determines the states of all slots from the content of the flash.
    pub(super) fn mount(&mut self) -> Result<(), RegionError> {
        self.check_layout()?;
        // The sealed record with the highest sequence number.
        let mut newest: Option<CommitRecord> = None;
        let mut newest_damaged = None;
        for index in 0..self.slot_count() {
            let content = self.read_slot(index);
            let Some(slot) = self.slots.get_mut(index) else { break };
            match content {
                Content::Valid(record, seal, _) => {
                    let is_newer = |other: CommitRecord| other.meta.sequence < record.meta.sequence;
                    if seal == SealState::Complete && newest.is_none_or(is_newer) {
                        newest = Some(record);
                    }
                    let state = if seal == SealState::Complete { SlotState::Committed } else { SlotState::Unsealed };
                    *slot = Slot { state, meta: record.meta, len: record.len, erases: record.erases, ..Slot::UNKNOWN };
                }
                Content::Damaged(sequence) => {
                    newest_damaged = newest_damaged.max(Some(sequence.unwrap_or(u32::MAX)));
                }
                Content::Remains => slot.state = SlotState::Remains,
                Content::None => (),
                Content::Unreadable(None) => slot.state = SlotState::Unreadable,
                // An interrupted erase can have the same effect, so other slots are used first.
                Content::Unreadable(Some(record)) => {
                    newest_damaged = newest_damaged.max(Some(record.meta.sequence));
                    slot.state = SlotState::Removed;
                    slot.erases = record.erases;
                }
            }
        }
        self.read_conflicting_slots_again();
        self.hide_unsealed();
        if let Some(newest) = newest {
            self.apply_flags(&newest);
        }
        self.hide_older();
        self.separate_equal_sequences();
        self.estimate_erases(newest.map_or(0, |newest| newest.total_erases));
        // A damaged checkpoint that is older than a listed one may have been removed, and its erase interrupted.
        let last = self.slots.iter().filter(|slot| slot.is_listed()).map(|slot| slot.meta.sequence).max();
        self.damaged = u32::from(newest_damaged > last);
        let unreadable = self.slots.iter().filter(|slot| slot.state == SlotState::Unreadable).count();
        // If no slot can be read, the flash is probably blank and of a kind that returns errors for blank units.
        if unreadable < self.slot_count() {
            self.damaged = self.damaged.saturating_add(to_u32(unreadable));
        }
        Ok(())
    }

    /// Searches the region for checkpoints that were saved with another division into slots.
    fn check_layout(&mut self) -> Result<(), RegionError> {
        let len = self.size.saturating_mul(to_u32(self.slot_count()));
        let mut offset = 0;
        while offset < len {
            let address = self.start.wrapping_add(offset);
            let mut bytes = Aligned([0; SEAL_OFFSET as usize]);
            let read = bytes.0.get_mut(..RECORD_LEN.next_multiple_of(self.geometry.unit())).unwrap_or_default();
            let readable = read_flash(&mut self.flash, address, read).is_ok();
            if let Some(record) = CommitRecord::from_bytes::<C>(&bytes.0).filter(|_| readable) {
                let CommitRecord { size, index, last, .. } = record;
                let is_same = size == self.size && last == self.last_slot();
                if !is_same || u32::from(index).checked_mul(size) != Some(offset) {
                    return Err(RegionError::OtherLayout { address, slot: size, index, slots: u16::from(last) + 1 });
                }
            }
            offset = offset.saturating_add(self.geometry.erase_size().max(1));
        }
        Ok(())
    }

    /// Reads slots with the same step or sequence number again, because a save can erase all of them but one. A slot
    /// counts as valid, and a seal as complete, only if each read says so. Otherwise, an interrupted operation left
    /// unstable bits, which have a random value in each read, and the next start could read the opposite.
    fn read_conflicting_slots_again(&mut self) {
        for index in 0..SLOTS {
            let Some(slot) = self.slots.get(index).copied() else { break };
            let conflicts = |(other_index, other): (usize, &Slot)| {
                other_index != index && other.is_listed() && hides_unsealed(&other.meta, &slot.meta)
            };
            if !slot.is_listed() || !self.slots.iter().enumerate().any(conflicts) {
                continue;
            }
            for _ in 1..READS_OF_CONFLICTING_SLOTS {
                match self.read_slot(index) {
                    Content::Valid(record, SealState::Complete, _) if record.meta == slot.meta => (),
                    Content::Valid(record, ..) if record.meta == slot.meta => {
                        self.set_state(index, SlotState::Unsealed)
                    }
                    // The driver failed. This says nothing about the checkpoint, so the slot must not be erased.
                    Content::Unreadable(_) => {
                        self.set_state(index, SlotState::Unreadable);
                        break;
                    }
                    _ => {
                        self.set_state(index, SlotState::Remains);
                        break;
                    }
                }
            }
        }
    }

    /// Ignores the unsealed checkpoints, whose commit was interrupted, if a completely committed checkpoint has the same
    /// sequence number or the same step number.
    fn hide_unsealed(&mut self) {
        for index in 0..SLOTS {
            let Some(slot) = self.slots.get(index) else { break };
            let hides_slot =
                |other: &Slot| other.state == SlotState::Committed && hides_unsealed(&other.meta, &slot.meta);
            if slot.state == SlotState::Unsealed && self.slots.iter().any(hides_slot) {
                self.set_state(index, SlotState::Remains);
            }
        }
    }

    /// If two checkpoints have the same step number in the same series, lists only the newer one. If their sequence
    /// numbers are the same, too, both are equally valid, and the one in the later slot is listed.
    fn hide_older(&mut self) {
        for index in 0..SLOTS {
            let Some(slot) = self.slots.get(index) else { break };
            let hides_slot = |(other_index, other): (usize, &Slot)| {
                other.is_listed() && hides_older((&other.meta, other_index), (&slot.meta, index))
            };
            if slot.is_listed() && self.slots.iter().enumerate().any(hides_slot) {
                self.set_state(index, SlotState::Removed);
            }
        }
    }

    /// Gives checkpoints with the same sequence number different ones, in the order of their steps. If a checkpoint could
    /// not be read when the store was opened, the next save took its number.
    fn separate_equal_sequences(&mut self) {
        for _ in 1..SLOTS {
            for index in 0..SLOTS {
                let Some(slot) = self.slots.get(index) else { break };
                let order = |index: usize, slot: &Slot| (slot.meta.step, index);
                let is_before = |(other_index, other): (usize, &Slot)| {
                    other.is_listed()
                        && other.meta.sequence == slot.meta.sequence
                        && order(other_index, other) < order(index, slot)
                };
                if slot.is_listed()
                    && self.slots.iter().enumerate().any(is_before)
                    && let Some(slot) = self.slots.get_mut(index)
                {
                    slot.meta.sequence = slot.meta.sequence.saturating_add(1);
                }
            }
        }
    }

    /// Applies what the newest sealed record knows of the other slots.
    ///
    /// A seal whose write was interrupted can read as complete at one start and as incomplete at a later one. If a start
    /// has read it as complete, its next record says so. The checkpoint then stays durable.
    fn apply_flags(&mut self, newest: &CommitRecord) {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let Some(bit) = u32::try_from(index).ok().and_then(|index| 1u16.checked_shl(index)) else { break };
            let is_older = slot.meta.sequence < newest.meta.sequence;
            if slot.state == SlotState::Unsealed && is_older && newest.durable & bit != 0 {
                slot.state = SlotState::Committed;
            }
            slot.failed = newest.failed & bit != 0 && !slot.is_listed();
        }
    }

    /// Estimates the erases of the slots without a valid record, whose numbers are lost. The newest record contains the
    /// total of all slots, so the missing erases are divided evenly among these slots.
    fn estimate_erases(&mut self, total: u32) {
        let unaccounted = total.saturating_sub(self.total_erases());
        let is_unknown =
            |slot: &Slot| matches!(slot.state, SlotState::Unknown | SlotState::Remains | SlotState::Unreadable);
        let unknown_slots = self.present().iter().filter(|slot| is_unknown(slot)).count();
        let share = unaccounted.checked_div(to_u32(unknown_slots)).unwrap_or(0);
        let count = self.slot_count();
        for slot in self.slots.get_mut(..count).unwrap_or_default().iter_mut().filter(|slot| is_unknown(slot)) {
            slot.erases = share;
        }
    }

    /// Reads the commit record and the checkpoint in a slot, and verifies both.
    #[inline(never)] // Its buffer is not on the stack during a save.
    pub(super) fn read_slot(&mut self, index: usize) -> Content {
        let address = self.slot_address(index);
        let mut bytes: Aligned<{ SEAL_OFFSET as usize }> = Aligned([0; SEAL_OFFSET as usize]);
        let (has_record, seal) = self.read_record_and_seal(address, &mut bytes.0);
        let seal = seal.as_ref();
        if !has_record {
            // After an interrupted write, a unit of the record can be unreadable. The seal was not written in this case,
            // so its bytes are usually all equal.
            let is_interrupted = seal.is_some_and(|[first, rest @ ..]| rest.iter().all(|byte| byte == first));
            return if is_interrupted { Content::None } else { Content::Unreadable(None) };
        }

        let Some(record) = CommitRecord::from_bytes::<C>(&bytes.0) else {
            let is_damaged = seal.is_some_and(|seal| is_damaged_commit::<C>(&bytes.0, seal));
            let [first, rest @ ..] = bytes.0;
            let is_blank = rest.get(..RECORD_LEN - 1).is_some_and(|rest| rest.iter().all(|byte| *byte == first));
            return match (is_damaged, is_blank) {
                (true, _) => Content::Damaged(None),
                (false, true) => Content::None,
                (false, false) => Content::Remains,
            };
        };
        let state = seal.map_or(SealState::Incomplete, |seal| SealState::new(seal, &bytes.0));
        match self.verify_stream(address.wrapping_add(STREAM_OFFSET), record.len, &mut bytes.0) {
            Ok(Some(crc)) => Content::Valid(record, state, crc),
            _ if state == SealState::Incomplete => Content::Remains,
            Ok(None) => Content::Damaged(Some(record.meta.sequence)),
            Err(_) => Content::Unreadable(Some(record)),
        }
    }

    /// Reads the commit record of the slot at `address` into `record`. Returns whether this succeeded, and the seal if it
    /// can be read.
    pub(super) fn read_record_and_seal(
        &mut self,
        address: u32,
        record: &mut RecordBytes,
    ) -> (bool, Option<[u8; SEAL_LEN]>) {
        // Only units that a save writes are read, because some flashes return an error for an erased unit.
        let units = record.get_mut(..RECORD_LEN.next_multiple_of(self.geometry.unit())).unwrap_or_default();
        let has_record = read_flash(&mut self.flash, address, units).is_ok();
        let mut seal = Aligned([0; MAX_GRANULE]);
        let units = seal.0.get_mut(..SEAL_LEN.next_multiple_of(self.geometry.unit())).unwrap_or_default();
        let has_seal = read_flash(&mut self.flash, address.wrapping_add(SEAL_OFFSET), units).is_ok();
        (has_record, seal.0.first_chunk().copied().filter(|_| has_seal))
    }

    /// Verifies the checksum at the end of a stream, and returns it. `buffer` is used for reading. Returns `None` if the
    /// checksum is wrong, and the error of the driver if a read fails.
    fn verify_stream(&mut self, from: u32, len: u32, buffer: &mut RecordBytes) -> Result<Option<u32>, F::Error> {
        let Some(body) = len.checked_sub(4).filter(|_| len <= self.max_stream_len()) else { return Ok(None) };
        let mut crc = C::default();
        self.add_to_crc(from, body, &mut crc, buffer)?;
        let value = crc.value();
        self.add_to_crc(from.wrapping_add(body), 4, &mut crc, buffer)?;
        Ok((crc.value() == RESIDUE).then_some(value))
    }

    /// Reads `len` bytes of the flash, starting at the address `from`, and adds them to `crc`. `buffer` is used for
    /// reading.
    pub(super) fn add_to_crc(
        &mut self,
        from: u32,
        len: u32,
        crc: &mut C,
        buffer: &mut RecordBytes,
    ) -> Result<(), F::Error> {
        let mut reader = Reader::new(&mut self.flash, self.geometry, from, len);
        loop {
            let count = reader.read_some(buffer)?;
            match buffer.get(..count) {
                Some(bytes) if !bytes.is_empty() => crc.update(bytes),
                _ => return Ok(()),
            }
        }
    }
}
