//! What a save, a read and a removal are on the flash: the stream first, then the record, the seal last.

use super::io::{Granule, Reader, Writer, Writing};
use super::record::{self, Found, RECORD_LEN, Record, SEAL_AT, SEAL_LEN, STREAM_AT};
use super::{Slot, Slots, SlotsError, State};
use crate::checkpoint::{Checksum, Encoded, Header};
use crate::store::{Opening, Store, Stored};
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

    fn create(&mut self, opening: &Opening<'_>) -> Result<Writer<'_, F>, Self::Error> {
        self.writing = None;
        let need = self.need(opening.len)?;
        let index = self.next().ok_or(SlotsError::Full)?;
        while self.erase_block(index, need)? < need {}
        self.set(index, State::Torn);
        let at = self.at(index).wrapping_add(STREAM_AT);
        let writing = self.writing.insert(Writing { index, len: opening.len, written: 0 });
        Ok(Writer::new(&mut self.flash, writing, at))
    }

    #[inline(never)]
    fn commit(&mut self, header: &Header<'_>, last: &Encoded) -> Result<(), Self::Error> {
        let Writing { index, len, written } = self.writing.take().ok_or(SlotsError::Incomplete)?;
        if written != len || last.len != len {
            return Err(SlotsError::Incomplete);
        }
        let stored = Stored::from(header);
        let erases = self.slots.get(index).map_or(0, |slot| slot.erases);
        self.seal(index, Record { stored, len, crc: last.crc, erases, all_erases: self.all_erases() })?;
        // What was written is read before it counts: a flash at the end of its life fails silently.
        if self.inspect(index).is_none_or(|(record, found)| found != Found::Seal || record.crc != last.crc) {
            return Err(SlotsError::Unreadable);
        }

        for slot in &mut self.slots {
            if slot.is_listed() && slot.stored.step == stored.step {
                slot.state = State::Removed;
            }
        }
        if let Some(slot) = self.slots.get_mut(index) {
            *slot = Slot { state: State::Committed, stored, len, erases };
        }
        Ok(())
    }

    fn stored(&mut self, index: u32) -> Result<Option<Stored>, Self::Error> {
        // The one that so many others come before.
        let order = |place: usize, slot: &Slot| slot.is_listed().then_some((slot.stored.sequence, place));
        for (place, slot) in self.slots.iter().enumerate() {
            let mine = order(place, slot);
            let before = |(place, slot): &(usize, &Slot)| order(*place, slot).is_some_and(|other| Some(other) < mine);
            if mine.is_some() && self.slots.iter().enumerate().filter(before).count() == index as usize {
                return Ok(Some(slot.stored));
            }
        }
        Ok(None)
    }

    fn parts(&mut self, step: u32) -> Result<u32, Self::Error> {
        Ok(u32::from(self.slots.iter().any(|slot| slot.is_listed() && slot.stored.step == step)))
    }

    fn is_firm(&mut self, step: u32) -> bool {
        !self.slots.iter().any(|slot| slot.state == State::Unsealed && slot.stored.step == step)
    }

    fn open(&mut self, step: u32, _: u32) -> Result<Reader<'_, F>, Self::Error> {
        let mut slots = self.slots.iter().enumerate();
        let (index, slot) =
            slots.find(|(_, slot)| slot.is_listed() && slot.stored.step == step).ok_or(SlotsError::NotFound)?;
        let at = self.at(index).wrapping_add(STREAM_AT);
        Ok(Reader::new(&mut self.flash, at, slot.len))
    }

    fn remove(&mut self, step: u32) -> Result<(), Self::Error> {
        for slot in &mut self.slots {
            if slot.is_listed() && slot.stored.step == step {
                slot.state = State::Removed;
            }
        }
        Ok(())
    }
}

impl<F: NorFlash, const SLOTS: usize, C: Checksum> Slots<F, SLOTS, C> {
    /// Programs the record of a slot, and then its seal.
    #[inline(never)] // Its bytes are not to be on the stack when the slot is read.
    fn seal(&mut self, index: usize, record: Record) -> Result<(), SlotsError<F::Error>> {
        let at = self.at(index);
        let mut bytes = Granule(record.to_bytes::<C>(at.wrapping_sub(self.start), self.size));
        self.program(at, &bytes.0, RECORD_LEN)?;
        let seal = record::seal(&bytes.0);
        bytes.0 = [0; SEAL_AT as usize];
        if let Some(place) = bytes.0.first_chunk_mut() {
            *place = seal;
        }
        self.program(at.wrapping_add(SEAL_AT), &bytes.0, SEAL_LEN)
    }

    /// Programs the first `len` of `bytes`, rounded up to whole granules.
    fn program(&mut self, at: u32, bytes: &[u8], len: usize) -> Result<(), SlotsError<F::Error>> {
        let granules = bytes.get(..len.next_multiple_of(F::WRITE_SIZE.max(1))).unwrap_or(bytes);
        self.flash.write(at, granules).map_err(SlotsError::Flash)
    }
}
