//! The implementation of [`Store`] for [`Slots`]. A save first writes the checkpoint, then its commit record (the
//! description of the checkpoint), and finally the seal (the mark of a complete commit).

use super::io::{Aligned, Reader, StreamProgress, Writer};
use super::layout::{CommitRecord, RECORD_LEN, SEAL_LEN, SEAL_OFFSET, STREAM_OFFSET, SealState, seal_bytes};
use super::{Slot, SlotState, Slots, SlotsError};
use crate::checkpoint::{Checksum, Encoded, Header};
use crate::store::{CheckpointMeta, Store, StreamSpec};
use embedded_storage::nor_flash::NorFlash;

impl<F: NorFlash, const SLOTS: usize, C: Checksum> Store for Slots<F, SLOTS, C> {
    type Error = SlotsError<F::Error>;
    type Writer<'a>
        = Writer<'a, F>
    where
        Self: 'a;
    type Reader<'a>
        = Reader<'a, F>
    where
        Self: 'a;
    type Checksum = C;

    fn create(&mut self, spec: &StreamSpec<'_>) -> Result<Writer<'_, F>, Self::Error> {
        self.writing = None;
        let required = self.bytes_required(spec.len)?;
        let index = self.select_slot().ok_or(SlotsError::Full)?;
        while self.erase_block(index, required)? < required {}
        self.set_state(index, SlotState::Unfinished);
        let address = self.slot_address(index).wrapping_add(STREAM_OFFSET);
        let progress = self.writing.insert(StreamProgress { slot: index, len: spec.len, written: 0 });
        Ok(Writer::new(&mut self.flash, progress, address))
    }

    #[inline(never)] // Keeps its variables off the stack of the encoder.
    fn commit(&mut self, header: &Header<'_>, last: &Encoded) -> Result<(), Self::Error> {
        let StreamProgress { slot: index, len, written } = self.writing.take().ok_or(SlotsError::Incomplete)?;
        if written != len || last.len != len {
            return Err(SlotsError::Incomplete);
        }
        let meta = CheckpointMeta::from(header);
        let erases = self.slots.get(index).map_or(0, |slot| slot.erases);
        let total_erases = self.total_erases();
        self.write_record_and_seal(index, CommitRecord { meta, len, crc: last.crc, erases, total_erases })?;
        // Reads the checkpoint back before the commit returns `Ok`, because a write to worn-out flash can fail without
        // an error.
        let valid = |(record, seal): (CommitRecord, SealState)| seal == SealState::Complete && record.crc == last.crc;
        if !self.verify_slot(index).is_some_and(valid) {
            return Err(SlotsError::VerifyFailed);
        }

        for slot in &mut self.slots {
            if slot.is_listed() && slot.meta.step == meta.step {
                slot.state = SlotState::Removed;
            }
        }
        if let Some(slot) = self.slots.get_mut(index) {
            *slot = Slot { state: SlotState::Committed, meta, len, erases };
        }
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

    fn stream_count(&mut self, step: u32) -> Result<u32, Self::Error> {
        Ok(u32::from(self.slots.iter().any(|slot| slot.is_listed() && slot.meta.step == step)))
    }

    fn is_durable(&mut self, step: u32) -> bool {
        !self.slots.iter().any(|slot| slot.state == SlotState::Unsealed && slot.meta.step == step)
    }

    fn open(&mut self, step: u32, _: u32) -> Result<Reader<'_, F>, Self::Error> {
        let mut slots = self.slots.iter().enumerate();
        let (index, slot) =
            slots.find(|(_, slot)| slot.is_listed() && slot.meta.step == step).ok_or(SlotsError::NotFound)?;
        let address = self.slot_address(index).wrapping_add(STREAM_OFFSET);
        Ok(Reader::new(&mut self.flash, address, slot.len))
    }

    fn remove(&mut self, step: u32) -> Result<(), Self::Error> {
        for slot in &mut self.slots {
            if slot.is_listed() && slot.meta.step == step {
                slot.state = SlotState::Removed;
            }
        }
        Ok(())
    }
}

impl<F: NorFlash, const SLOTS: usize, C: Checksum> Slots<F, SLOTS, C> {
    /// Writes the commit record (the description of the checkpoint) to a slot, and then the seal, which marks the
    /// commit as complete.
    #[inline(never)] // Its buffer is not on the stack when the slot is verified.
    fn write_record_and_seal(&mut self, index: usize, record: CommitRecord) -> Result<(), SlotsError<F::Error>> {
        let address = self.slot_address(index);
        let mut bytes = Aligned(record.to_bytes::<C>(address.wrapping_sub(self.start), self.size));
        self.program(address, &bytes.0, RECORD_LEN)?;
        let seal = seal_bytes(&bytes.0);
        bytes.0 = [0; SEAL_OFFSET as usize];
        if let Some(place) = bytes.0.first_chunk_mut() {
            *place = seal;
        }
        self.program(address.wrapping_add(SEAL_OFFSET), &bytes.0, SEAL_LEN)
    }

    /// Writes the first `len` bytes of `bytes` to the flash. `len` is rounded up to a multiple of the write granule.
    fn program(&mut self, address: u32, bytes: &[u8], len: usize) -> Result<(), SlotsError<F::Error>> {
        let granules = bytes.get(..len.next_multiple_of(F::WRITE_SIZE.max(1))).unwrap_or(bytes);
        self.flash.write(address, granules).map_err(SlotsError::Flash)
    }
}
