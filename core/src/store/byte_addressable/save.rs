//! The implementation of [`Store`] for [`ByteSlots`].

use super::{ByteSlots, ByteSlotsError, Reader, Writer};
use crate::checkpoint::{Checksum, Encoded, Header};
use crate::store::{CheckpointMeta, Store, StreamSpec, Wear};
use core::fmt::Debug;
use embedded_storage::Storage;

impl<S, const SLOTS: usize, const PAGE: usize, C> Store for ByteSlots<S, SLOTS, PAGE, C>
where
    S: Storage<Error: Debug>,
    C: Checksum,
{
    type Error = ByteSlotsError<S::Error>;
    type Writer<'a>
        = Writer<'a, S, PAGE>
    where
        Self: 'a;
    type Reader<'a>
        = Reader<'a, S, PAGE>
    where
        Self: 'a;
    type Checksum = C;

    const PLACES: u32 = SLOTS as u32;

    fn capacity(&mut self) -> u32 {
        self.slots.capacity()
    }

    fn check(&mut self, spec: &StreamSpec<'_>) -> Result<(), Self::Error> {
        let max = self.max_stream_len();
        if spec.len > max { Err(ByteSlotsError::TooLong { len: spec.len, max }) } else { Ok(()) }
    }

    fn create(&mut self, spec: &StreamSpec<'_>) -> Result<Writer<'_, S, PAGE>, Self::Error> {
        if let Err(error) = self.check(spec) {
            // The flash store refuses this length, too, and discards a stream that was started before.
            let _ = self.slots.create(&StreamSpec { len: u32::MAX, ..*spec });
            return Err(error);
        }
        let writer = self.slots.create(spec).map_err(ByteSlotsError::from_slots)?;
        Ok(Writer::new(writer, spec.len))
    }

    fn wear(&mut self) -> Wear {
        self.slots.wear()
    }

    fn abandon_place(&mut self) -> bool {
        self.slots.abandon_place()
    }

    fn commit(&mut self, header: &Header<'_>, last: &Encoded) -> Result<(), Self::Error> {
        self.slots.commit(header, last).map_err(ByteSlotsError::from_slots)
    }

    fn checkpoint(&mut self, index: u32) -> Result<Option<CheckpointMeta>, Self::Error> {
        self.slots.checkpoint(index).map_err(ByteSlotsError::from_slots)
    }

    fn stream_count(&mut self, sequence: u32) -> Result<u32, Self::Error> {
        self.slots.stream_count(sequence).map_err(ByteSlotsError::from_slots)
    }

    fn damaged(&mut self) -> u32 {
        self.slots.damaged()
    }

    fn is_durable(&mut self, sequence: u32) -> bool {
        self.slots.is_durable(sequence)
    }

    fn open(&mut self, sequence: u32, stream_index: u32) -> Result<Reader<'_, S, PAGE>, Self::Error> {
        Store::open(&mut self.slots, sequence, stream_index).map(Reader).map_err(ByteSlotsError::from_slots)
    }

    fn remove(&mut self, sequence: u32) -> Result<(), Self::Error> {
        self.slots.remove(sequence).map_err(ByteSlotsError::from_slots)
    }

    fn erase(&mut self, sequence: u32) -> Result<(), Self::Error> {
        self.slots.erase(sequence).map_err(ByteSlotsError::from_slots)
    }
}
