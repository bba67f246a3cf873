//! The implementation of [`Store`] for [`Slots`]. A save first writes the checkpoint, then its commit record (the
//! description of the checkpoint), and finally the seal (the mark of a complete commit).

use super::io::{Aligned, Reader, StreamProgress, Writer};
use super::layout::{CommitRecord, RECORD_LEN, SEAL_LEN, SEAL_OFFSET, STREAM_OFFSET, SealState, seal_bytes};
use super::mount::Content;
use super::region::to_u32;
use super::{Geometry, Slot, SlotState, Slots, SlotsError};
use crate::checkpoint::{Checksum, Encoded, Header};
use crate::store::{CheckpointMeta, Store, StreamSpec, Wear};
use embedded_storage::nor_flash::NorFlash;

impl<F: NorFlash, const SLOTS: usize, C: Checksum, G: Geometry<F>> Store for Slots<F, SLOTS, C, G> {
    type Error = SlotsError<F::Error>;
    type Writer<'a>
        = Writer<'a, F, G>
    where
        Self: 'a;
    type Reader<'a>
        = Reader<'a, F, G>
    where
        Self: 'a;
    type Checksum = C;

    const PLACES: u32 = SLOTS as u32;

    fn capacity(&mut self) -> u32 {
        to_u32(self.usable_slots())
    }

    fn check(&mut self, spec: &StreamSpec<'_>) -> Result<(), Self::Error> {
        self.bytes_required(spec.len).map(|_| ())
    }

    fn create(&mut self, spec: &StreamSpec<'_>) -> Result<Writer<'_, F, G>, Self::Error> {
        self.writing = None;
        self.selected = None;
        let required = self.bytes_required(spec.len)?;
        let index = self.select_slot().ok_or(SlotsError::Full)?;
        self.selected = Some(index);
        self.erase_remains(index);
        while self.erase_block(index, required)? < required {}
        let address = self.slot_address(index).wrapping_add(STREAM_OFFSET);
        let progress = start_stream(&mut self.slots, &mut self.writing, index, spec.len);
        Ok(Writer::new(&mut self.flash, self.geometry, progress, address))
    }

    fn abandon_place(&mut self) -> bool {
        self.writing = None;
        let Some(slot) = self.selected.take().and_then(|index| self.slots.get_mut(index)) else { return false };
        // The first failure can have a passing cause, so the slot gets a second chance.
        slot.failed |= slot.has_failed_once;
        slot.has_failed_once = true;
        self.restore_removed();
        // If no slot is free, the caller can remove a checkpoint, but never the last one.
        let listed = self.slots.iter().filter(|slot| slot.is_listed()).count();
        self.usable_slots() > listed || listed > 1
    }

    #[inline(never)] // Keeps its variables off the stack of the encoder.
    fn commit(&mut self, header: &Header<'_>, last: &Encoded) -> Result<(), Self::Error> {
        let StreamProgress { slot: index, len, written } = self.writing.take().ok_or(SlotsError::Incomplete)?;
        if written != len || last.len != len {
            return Err(SlotsError::Incomplete);
        }
        let record = self.commit_record(index, len, header);
        self.write_record_and_seal(index, record)?;
        // Reads the checkpoint back before the commit returns `Ok`, because a write to worn-out flash can fail without
        // an error.
        let is_valid = match self.read_slot(index) {
            Content::Valid(found, SealState::Complete, crc) => {
                found.meta.sequence == record.meta.sequence && crc == last.crc
            }
            _ => false,
        };
        if !is_valid {
            return Err(SlotsError::VerifyFailed);
        }
        self.finish_commit(index, len, record.meta);
        Ok(())
    }

    fn checkpoint(&mut self, index: u32) -> Result<Option<CheckpointMeta>, Self::Error> {
        let order = |place: usize, slot: &Slot| slot.is_listed().then_some((slot.meta.sequence, place));
        for (place, slot) in self.slots.iter().enumerate() {
            let this = order(place, slot);
            let is_before =
                |(place, slot): &(usize, &Slot)| order(*place, slot).is_some_and(|other| Some(other) < this);
            if this.is_some() && self.slots.iter().enumerate().filter(is_before).count() == index as usize {
                return Ok(Some(slot.meta));
            }
        }
        Ok(None)
    }

    fn stream_count(&mut self, sequence: u32) -> Result<u32, Self::Error> {
        Ok(u32::from(self.find(sequence).is_some()))
    }

    fn damaged(&mut self) -> u32 {
        self.damaged
    }

    fn wear(&mut self) -> Wear {
        // After one save for each slot, every slot has contained a checkpoint.
        let used = self.slots.iter().any(|slot| slot.is_listed() && slot.meta.sequence >= to_u32(self.slot_count()));
        let is_empty = |slot: &&Slot| matches!(slot.state, SlotState::Unknown | SlotState::Remains) && !slot.failed;
        let interrupted = if used { to_u32(self.present().iter().filter(is_empty).count()) } else { 0 };
        Wear { erases: self.total_erases(), interrupted }
    }

    fn is_durable(&mut self, sequence: u32) -> bool {
        let slot = self.find(sequence).and_then(|index| self.slots.get(index));
        slot.is_none_or(|slot| slot.state != SlotState::Unsealed)
    }

    fn open(&mut self, sequence: u32, _: u32) -> Result<Reader<'_, F, G>, Self::Error> {
        let index = self.find(sequence).ok_or(SlotsError::NotFound)?;
        let address = self.slot_address(index).wrapping_add(STREAM_OFFSET);
        let len = self.slots.get(index).map_or(0, |slot| slot.len);
        Ok(Reader::new(&mut self.flash, self.geometry, address, len))
    }

    fn remove(&mut self, sequence: u32) -> Result<(), Self::Error> {
        if let Some(index) = self.find(sequence) {
            self.set_state(index, SlotState::Removed);
        }
        Ok(())
    }

    fn erase(&mut self, sequence: u32) -> Result<(), Self::Error> {
        match self.find(sequence) {
            // The first block contains the commit record.
            Some(index) => self.erase_block(index, self.geometry.erase_size()).map(|_| ()),
            None => Ok(()),
        }
    }
}

/// Marks a slot as unfinished, because its stream of `len` bytes is written now. Returns the progress of the stream.
pub(super) fn start_stream<'a>(
    slots: &mut [Slot],
    writing: &'a mut Option<StreamProgress>,
    index: usize,
    len: u32,
) -> &'a mut StreamProgress {
    if let Some(slot) = slots.get_mut(index) {
        slot.state = SlotState::Unfinished;
    }
    writing.insert(StreamProgress { slot: index, len, written: 0 })
}

/// Returns the bit of a slot in the flags of a commit record. Only the first 16 slots have a bit.
fn bit(index: usize) -> u16 {
    u32::try_from(index).ok().and_then(|index| 1u16.checked_shl(index)).unwrap_or(0)
}

impl<F: NorFlash, const SLOTS: usize, C: Checksum, G: Geometry<F>> Slots<F, SLOTS, C, G> {
    /// Returns the index of the listed slot with the checkpoint `sequence`.
    fn find(&self, sequence: u32) -> Option<usize> {
        self.slots.iter().position(|slot| slot.is_listed() && slot.meta.sequence == sequence)
    }

    /// Lists the removed checkpoints again if no other is listed. A save that replaces an unsealed checkpoint, and fails, has
    /// destroyed it. Those that were removed before are then the last ones that can be loaded.
    fn restore_removed(&mut self) {
        if self.slots.iter().any(Slot::is_listed) {
            return;
        }
        // A slot whose stream could not be read has the length 0.
        for slot in self.slots.iter_mut().filter(|slot| slot.state == SlotState::Removed && slot.len > 0) {
            slot.state = SlotState::Committed;
        }
    }

    /// Erases the remains of interrupted saves in all slots but `selected`, before a new checkpoint takes a sequence
    /// number that the remains may have. A failed erase does not affect the save, so its error is ignored.
    fn erase_remains(&mut self, selected: usize) {
        while self.erase_next_remains(selected) {}
    }

    /// Erases the remains of an interrupted save in one slot other than `selected`. Returns false if there are none.
    pub(super) fn erase_next_remains(&mut self, selected: usize) -> bool {
        let has_remains = |slot: &Slot| slot.state == SlotState::Remains && !slot.failed;
        let mut slots = self.slots.iter().enumerate();
        let found = slots.find(|(index, slot)| *index != selected && has_remains(slot)).map(|(index, _)| index);
        let Some(index) = found else { return false };
        // The first block contains the commit record. After the call, the state of the slot is not `Remains`, even if
        // the erase fails.
        let _ = self.erase_block(index, self.geometry.erase_size());
        true
    }

    /// Returns the commit record of a checkpoint of `len` bytes in a slot.
    pub(super) fn commit_record(&self, index: usize, len: u32, header: &Header<'_>) -> CommitRecord {
        CommitRecord {
            meta: CheckpointMeta::from(header),
            index: u8::try_from(index).unwrap_or(u8::MAX),
            last: self.last_slot(),
            size: self.size,
            len,
            erases: self.slots.get(index).map_or(0, |slot| slot.erases),
            total_erases: self.total_erases(),
            durable: self.flags(|slot| slot.state == SlotState::Committed),
            failed: self.flags(|slot| slot.failed) & !bit(index),
        }
    }

    /// Lists the checkpoint that was committed in a slot, and removes those that it replaces.
    pub(super) fn finish_commit(&mut self, index: usize, len: u32, meta: CheckpointMeta) {
        for slot in &mut self.slots {
            if slot.is_listed() && (slot.meta.is_replaced_by(&meta) || slot.meta.sequence == meta.sequence) {
                slot.state = SlotState::Removed;
            }
        }
        if let Some(slot) = self.slots.get_mut(index) {
            let erases = slot.erases;
            *slot = Slot { state: SlotState::Committed, meta, len, erases, ..Slot::UNKNOWN };
        }
        self.selected = None;
    }

    /// Returns one bit for each of the first 16 slots that `select` accepts.
    fn flags(&self, select: impl Fn(&Slot) -> bool) -> u16 {
        let slots = self.slots.iter().enumerate().filter(|(_, slot)| select(slot));
        slots.fold(0, |flags, (index, _)| flags | bit(index))
    }

    /// Writes the commit record (the description of the checkpoint) to a slot, and then the seal, which marks the
    /// commit as complete.
    #[inline(never)] // Its buffer is not on the stack when the slot is verified.
    fn write_record_and_seal(&mut self, index: usize, record: CommitRecord) -> Result<(), SlotsError<F::Error>> {
        let address = self.slot_address(index);
        let mut bytes = Aligned(record.to_bytes::<C>());
        self.program(address, &bytes.0, RECORD_LEN)?;
        let seal = seal_bytes(&bytes.0);
        bytes.0 = [0; SEAL_OFFSET as usize];
        if let Some(place) = bytes.0.first_chunk_mut() {
            *place = seal;
        }
        self.program(address.wrapping_add(SEAL_OFFSET), &bytes.0, SEAL_LEN)
    }

    /// Writes the first `len` bytes of `bytes` to the flash. `len` is rounded up to a whole unit.
    pub(super) fn program(&mut self, address: u32, bytes: &[u8], len: usize) -> Result<(), SlotsError<F::Error>> {
        let units = bytes.get(..len.next_multiple_of(self.geometry.unit())).unwrap_or(bytes);
        self.flash.write(address, units).map_err(SlotsError::Flash)
    }
}
