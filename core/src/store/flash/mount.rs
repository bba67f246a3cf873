//! Finds the committed checkpoints when a store is opened. It reads every slot, verifies all checksums, and resolves
//! conflicts between slots. Nothing is written, so a power failure has no effect.

use super::io::{Aligned, Reader};
use super::layout::{
    CommitRecord, MAX_GRANULE, SEAL_OFFSET, STREAM_OFFSET, SealState, hides_older, hides_unsealed, seal_bytes,
};
use super::{Slot, SlotState, Slots};
use crate::checkpoint::Checksum;
use embedded_storage::nor_flash::NorFlash;

/// The CRC-32 of any data followed by the data's own CRC-32. This value does not depend on the data, so a stream that
/// ends with its CRC-32 is intact if its checksum is this value.
const RESIDUE: u32 = 0x2144_DF1C;

impl<F: NorFlash, const SLOTS: usize, C: Checksum> Slots<F, SLOTS, C> {
    /// Determines the states of all slots from the content of the flash.
    pub(super) fn mount(&mut self) {
        let mut newest = None;
        for index in 0..SLOTS {
            if let Some((record, seal)) = self.verify_slot(index) {
                newest = newest.max(Some((record.meta.sequence, record.total_erases)));
                if let Some(slot) = self.slots.get_mut(index) {
                    let state = if seal == SealState::Absent { SlotState::Unsealed } else { SlotState::Committed };
                    *slot = Slot { state, meta: record.meta, len: record.len, erases: record.erases };
                }
            }
        }
        // A checkpoint is unsealed if its commit was interrupted. It is ignored if a completely committed checkpoint
        // has the same sequence number or the same step number.
        for index in 0..SLOTS {
            let Some(slot) = self.slots.get(index).copied() else { break };
            let hides_slot =
                |other: &Slot| other.state == SlotState::Committed && hides_unsealed(&other.meta, &slot.meta);
            if slot.state == SlotState::Unsealed && self.slots.iter().any(hides_slot) {
                self.set_state(index, SlotState::Unknown);
            }
        }
        // If two checkpoints have the same step number, only the newer one is listed. If their sequence numbers are the
        // same, too, both are equally valid, and the one in the later slot is listed.
        for index in 0..SLOTS {
            let Some(slot) = self.slots.get(index).copied() else { break };
            let hides_slot = |(other_index, other): (usize, &Slot)| {
                other.is_listed() && hides_older((&other.meta, other_index), (&slot.meta, index))
            };
            if slot.is_listed() && self.slots.iter().enumerate().any(hides_slot) {
                self.set_state(index, SlotState::Removed);
            }
        }
        // The erase count of a slot without a valid record is lost. The newest record contains the total of all slots,
        // so the missing erases are divided evenly among the slots without a valid record.
        let known = self.total_erases();
        let unaccounted = newest.map_or(0, |(_, total)| total).saturating_sub(known);
        let unknown_slots = self.slots.iter().filter(|slot| slot.state == SlotState::Unknown).count();
        let share = u32::try_from(unknown_slots).ok().and_then(|slots| unaccounted.checked_div(slots)).unwrap_or(0);
        for slot in self.slots.iter_mut().filter(|slot| slot.state == SlotState::Unknown) {
            slot.erases = share;
        }
    }

    /// Verifies the commit record and the checkpoint in a slot. Returns the record and the state of the seal, or `None`
    /// if the slot contains no valid checkpoint.
    #[inline(never)] // Its buffer is not on the stack during a save.
    pub(super) fn verify_slot(&mut self, index: usize) -> Option<(CommitRecord, SealState)> {
        let address = self.slot_address(index);
        let mut bytes = Aligned([0; SEAL_OFFSET as usize]);
        self.flash.read(address, &mut bytes.0).ok()?;
        let record = CommitRecord::from_bytes::<C>(&bytes.0, address.wrapping_sub(self.start), self.size)?;
        let seal = seal_bytes(&bytes.0);
        let body = record.len.checked_sub(4).filter(|_| record.len <= self.max_stream_len())?;

        let stream = address.wrapping_add(STREAM_OFFSET);
        let mut crc = C::default();
        self.add_to_crc(stream, body, &mut crc, &mut bytes.0)?;
        if crc.value() != record.crc {
            return None;
        }
        self.add_to_crc(stream.wrapping_add(body), 4, &mut crc, &mut bytes.0)?;
        if crc.value() != RESIDUE {
            return None;
        }
        let found = bytes.0.first_chunk_mut::<MAX_GRANULE>()?;
        let read = self.flash.read(address.wrapping_add(SEAL_OFFSET), found);
        let state = if read.is_ok() { SealState::compare(found.first_chunk()?, &seal) } else { SealState::Absent };
        Some((record, state))
    }

    /// Reads `len` bytes of the flash, starting at the address `from`, and adds them to `crc`. `buffer` is used for
    /// reading. Returns `None` if a read fails.
    fn add_to_crc(&mut self, from: u32, len: u32, crc: &mut C, buffer: &mut [u8]) -> Option<()> {
        let mut reader = Reader::new(&mut self.flash, from, len);
        loop {
            let count = reader.read_some(buffer).ok()?;
            match buffer.get(..count) {
                Some(bytes) if !bytes.is_empty() => crc.update(bytes),
                _ => return Some(()),
            }
        }
    }
}
