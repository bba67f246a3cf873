//! Finds what is committed: reads every slot, believes nothing without its checksum, and settles what two slots claim. It
//! writes nothing, so whatever cut an opening short, the next one finds the same.

use super::io::{Granule, Reader};
use super::record::{self, Found, MAX_GRANULE, Record, SEAL_AT, STREAM_AT};
use super::{Slot, Slots, State, Stored};
use crate::checkpoint::Checksum;
use embedded_storage::nor_flash::NorFlash;

/// The sum of a stream with its own checksum at its end, whatever the stream.
const RESIDUE: u32 = 0x2144_DF1C;

impl<F: NorFlash, const SLOTS: usize, C: Checksum> Slots<F, SLOTS, C> {
    /// Fills in the slots from the flash.
    pub(super) fn scan(&mut self) {
        let mut newest = None;
        for index in 0..SLOTS {
            if let Some((record, seal)) = self.inspect(index) {
                newest = newest.max(Some((record.stored.sequence, record.all_erases)));
                if let Some(slot) = self.slots.get_mut(index) {
                    let state = if seal == Found::Nothing { State::Unsealed } else { State::Committed };
                    *slot = Slot { state, stored: record.stored, len: record.len, erases: record.erases };
                }
            }
        }
        // One without a seal was not promised. It counts for nothing beside one with a seal that has its sequence, taken
        // for it when it was cut, or its step, whose place it was to take and would hide until it is erased itself.
        for index in 0..SLOTS {
            let Some(slot) = self.slots.get(index).copied() else { break };
            let Stored { step, sequence, .. } = slot.stored;
            let firm = |by: &Slot| by.state == State::Committed;
            let beaten = |by: &Slot| firm(by) && (by.stored.sequence == sequence || by.stored.step == step);
            if slot.state == State::Unsealed && self.slots.iter().any(beaten) {
                self.set(index, State::Unknown);
            }
        }
        // Two of a step: the newer is meant. Of two without a seal, cut at the same sequence, either will do.
        for index in 0..SLOTS {
            let Some(slot) = self.slots.get(index).copied() else { break };
            let newer = |(place, by): (usize, &Slot)| {
                let later = (by.stored.sequence, place) > (slot.stored.sequence, index);
                by.is_listed() && by.stored.step == slot.stored.step && later
            };
            if slot.is_listed() && self.slots.iter().enumerate().any(newer) {
                self.set(index, State::Removed);
            }
        }
        // The newest knew what all slots together had; what the others do not account for, the unknown ones had.
        let known = self.all_erases();
        let left = newest.map_or(0, |(_, all)| all).saturating_sub(known);
        let unknown = self.slots.iter().filter(|slot| slot.state == State::Unknown).count();
        let share = u32::try_from(unknown).ok().and_then(|unknown| left.checked_div(unknown)).unwrap_or(0);
        for slot in self.slots.iter_mut().filter(|slot| slot.state == State::Unknown) {
            slot.erases = share;
        }
    }

    /// The record of a slot that holds a whole checkpoint, and what is in the place of its seal.
    #[inline(never)]
    pub(super) fn inspect(&mut self, index: usize) -> Option<(Record, Found)> {
        let at = self.at(index);
        let mut bytes = Granule([0; SEAL_AT as usize]);
        self.flash.read(at, &mut bytes.0).ok()?;
        let record = Record::from_bytes::<C>(&bytes.0, at.wrapping_sub(self.start), self.size)?;
        let seal = record::seal(&bytes.0);
        let room = self.size.saturating_sub(STREAM_AT);
        let body = record.len.checked_sub(4).filter(|_| record.len <= room)?;

        let from = at.wrapping_add(STREAM_AT);
        let mut crc = C::default();
        self.sum(from, body, &mut crc, &mut bytes.0)?;
        if crc.value() != record.crc {
            return None;
        }
        self.sum(from.wrapping_add(body), 4, &mut crc, &mut bytes.0)?;
        if crc.value() != RESIDUE {
            return None;
        }
        let found = bytes.0.first_chunk_mut::<MAX_GRANULE>()?;
        let read = self.flash.read(at.wrapping_add(SEAL_AT), found);
        let found = if read.is_ok() { Found::new(found.first_chunk()?, &seal) } else { Found::Nothing };
        Some((record, found))
    }

    /// Adds `len` bytes of the flash to `crc`, through `piece`.
    fn sum(&mut self, from: u32, len: u32, crc: &mut C, piece: &mut [u8]) -> Option<()> {
        let mut reader = Reader::new(&mut self.flash, from, len);
        loop {
            let read = reader.read_some(piece).ok()?;
            match piece.get(..read) {
                Some(bytes) if !bytes.is_empty() => crc.update(bytes),
                _ => return Some(()),
            }
        }
    }
}
