//! Slots whose saves are performed with the methods of [`IncrementalStore`], in pieces of 32 bytes. The checks call
//! them like any other slots.

use super::device::{AnySlots, Error};
use core::mem::take;
use embedded_io::{ErrorType, Read, Write};
use training_monitor::checkpoint::{Checksum, Encoded, Header};
use training_monitor::embedded_storage::nor_flash::NorFlash;
use training_monitor::store::flash::{Slots, SlotsError};
use training_monitor::store::{CheckpointMeta, IncrementalStore, PIECE_UNIT, Store, StreamSpec};

/// Slots, and the save in progress.
pub struct InPieces<S: IncrementalStore> {
    slots: S,
    progress: Option<S::Progress>,
    /// The bytes of the next piece.
    piece: Vec<u8>,
}

impl<S: IncrementalStore> InPieces<S> {
    pub fn new(slots: S) -> Self {
        InPieces { slots, progress: None, piece: Vec::new() }
    }
}

impl<S: IncrementalStore<Error = Error>> InPieces<S> {
    fn write_piece(&mut self) -> Result<(), Error> {
        let progress = self.progress.as_mut().ok_or(SlotsError::Incomplete)?;
        self.slots.write_piece(progress, &take(&mut self.piece))
    }
}

/// The writer of a checkpoint. It writes each complete piece.
struct PieceWriter<'a, S: IncrementalStore>(&'a mut InPieces<S>);

impl<S: IncrementalStore<Error = Error>> ErrorType for PieceWriter<'_, S> {
    type Error = Error;
}

impl<S: IncrementalStore<Error = Error>> Write for PieceWriter<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        let count = bytes.len().min(PIECE_UNIT - self.0.piece.len());
        self.0.piece.extend_from_slice(&bytes[..count]);
        if self.0.piece.len() == PIECE_UNIT {
            self.0.write_piece()?;
        }
        Ok(count)
    }
    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

impl<F: NorFlash, const SLOTS: usize, C: Checksum> AnySlots for InPieces<Slots<F, SLOTS, C>>
where
    Slots<F, SLOTS, C>: AnySlots + IncrementalStore<Error = Error>,
{
    fn create(&mut self, spec: &StreamSpec<'_>) -> Result<Box<dyn Write<Error = Error> + '_>, Error> {
        self.piece.clear();
        let mut progress = self.slots.begin(spec)?;
        while !self.slots.prepare(&mut progress)? {}
        self.progress = Some(progress);
        Ok(Box::new(PieceWriter(self)))
    }
    fn commit(&mut self, header: &Header<'_>, last: &Encoded) -> Result<(), Error> {
        if !self.piece.is_empty() {
            self.write_piece()?;
        }
        let mut progress = self.progress.take().ok_or(SlotsError::Incomplete)?;
        while !self.slots.commit_next(&mut progress, header, last)? {}
        Ok(())
    }
    fn checkpoint(&mut self, index: u32) -> Result<Option<CheckpointMeta>, Error> {
        Store::checkpoint(&mut self.slots, index)
    }
    fn stream_count(&mut self, sequence: u32) -> Result<u32, Error> {
        Store::stream_count(&mut self.slots, sequence)
    }
    fn is_durable(&mut self, sequence: u32) -> bool {
        Store::is_durable(&mut self.slots, sequence)
    }
    fn open(&mut self, sequence: u32, stream_index: u32) -> Result<Box<dyn Read<Error = Error> + '_>, Error> {
        AnySlots::open(&mut self.slots, sequence, stream_index)
    }
    fn remove(&mut self, sequence: u32) -> Result<(), Error> {
        Store::remove(&mut self.slots, sequence)
    }
    fn capacity(&mut self) -> u32 {
        Store::capacity(&mut self.slots)
    }
    fn abandon_place(&mut self) -> bool {
        Store::abandon_place(&mut self.slots)
    }
    fn damaged(&mut self) -> u32 {
        Store::damaged(&mut self.slots)
    }
    fn erases(&self) -> Vec<u32> {
        AnySlots::erases(&self.slots)
    }
    fn erase_ahead(&mut self, len: u32) -> Result<bool, Error> {
        AnySlots::erase_ahead(&mut self.slots, len)
    }
}
