//! A save without a copy of the model, in pieces. The training waits until the save is complete, but control returns to
//! the program after each operation of the store. The program can then serve a radio, feed a watchdog, or yield to other
//! tasks.
//!
//! The objects are borrowed during the whole save, so they cannot change between two pieces. Each piece is encoded
//! again from the start of the checkpoint, and the bytes before the piece are skipped. The RAM of a save is one piece.
//!
//! ```
//! # use training_monitor::embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
//! # struct Chip([u8; 4096]);
//! # impl ErrorType for Chip { type Error = NorFlashErrorKind; }
//! # impl ReadNorFlash for Chip {
//! #     const READ_SIZE: usize = 1;
//! #     fn read(&mut self, at: u32, to: &mut [u8]) -> Result<(), NorFlashErrorKind> {
//! #         to.copy_from_slice(&self.0[at as usize..][..to.len()]);
//! #         Ok(())
//! #     }
//! #     fn capacity(&self) -> usize { 4096 }
//! # }
//! # impl NorFlash for Chip {
//! #     const WRITE_SIZE: usize = 4;
//! #     const ERASE_SIZE: usize = 256;
//! #     fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
//! #         self.0[from as usize..to as usize].fill(0xFF);
//! #         Ok(())
//! #     }
//! #     fn write(&mut self, at: u32, from: &[u8]) -> Result<(), NorFlashErrorKind> {
//! #         self.0[at as usize..][..from.len()].copy_from_slice(from);
//! #         Ok(())
//! #     }
//! # }
//! use training_monitor::handlers::model_checkpoint::SaveDecision;
//! use training_monitor::{ModelCheckpoint, checkpoint::Named, event::IterationCompleted, store::flash::Slots};
//!
//! # let mut chip = Chip([0; 4096]);
//! let store = Slots::<_, 2>::open(&mut chip, 0..4096)?;
//! let mut checkpoint = ModelCheckpoint::<1>::every(1)?.attach(IterationCompleted, store)?;
//! let mut weights = [0.5_f32; 64];
//! let mut model = Named::new("model", &mut weights);
//!
//! let mut piece = [0; 128];
//! let decision = SaveDecision { step: 1, score: None };
//! let mut save = checkpoint.save_in_pieces(decision, 1, None, &mut model, &mut piece)?;
//! let mut served = 0;
//! while !save.advance()? {
//!     served += 1; // Here, the program serves its other tasks.
//! }
//! assert_eq!(checkpoint.policy().kept().len(), 1);
//! // Two erases, three pieces, the record, the seal, and two steps that read the checkpoint back.
//! assert_eq!(served, 8);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

use super::{CheckpointHandler, CheckpointObserver, SaveDecision};
use crate::checkpoint::{Checksum, EncodeError, Encoded, Header, Objects, encode_piece, measure_for};
use crate::run_record::RunRecord;
use crate::store::{IncrementalStore, PIECE_UNIT, StreamSpec};
use core::ops::Range;

/// The checkpoint that a save writes. It is the same in all attempts, except for its sequence number.
#[derive(Clone, Copy, Debug)]
pub(super) struct SavePlan {
    pub decision: SaveDecision,
    /// The engine's iteration of the checkpoint.
    pub iteration: u32,
    /// The number of the run of the checkpoint.
    pub run: u32,
    /// The length of the checkpoint, in bytes.
    pub len: u32,
}

/// One attempt to save a checkpoint to one place of a store. `P` is the progress that the store keeps.
#[derive(Debug)]
pub(super) struct Attempt<P> {
    plan: SavePlan,
    phase: AttemptPhase,
    progress: P,
}

#[derive(Clone, Copy, Debug)]
enum AttemptPhase {
    /// The store erases the place.
    Prepare,
    /// The store has written this number of bytes.
    Write(u32),
    Commit,
}

impl<P> Attempt<P> {
    /// Returns the range of the next piece, or an empty range if the next operation writes no piece. `piece_len` is the
    /// greatest length of a piece.
    pub fn next_piece(&self, piece_len: usize) -> Range<usize> {
        let AttemptPhase::Write(written) = self.phase else { return 0..0 };
        let written = written as usize;
        written..written.saturating_add(piece_len).min(self.plan.len as usize)
    }
}

impl<const N: usize, W, S: IncrementalStore, F, B: CheckpointObserver<S::Error>> CheckpointHandler<N, W, S, F, B> {
    /// Starts a save in pieces, for example at the end of a run or before a planned shutdown. The parameters are those
    /// of [`save`](Self::save). `buffer` contains one piece; `PIECE` must be a multiple of
    /// [`PIECE_UNIT`] bytes. Nothing is written yet.
    ///
    /// # Errors
    /// Returns an [`EncodeError`] if the checkpoint cannot be saved. Nothing has changed, but the sequence number is
    /// consumed.
    #[expect(clippy::type_complexity, reason = "the parameters are those of the handler")]
    pub fn save_in_pieces<'a, const PIECE: usize, T: Objects + ?Sized>(
        &'a mut self,
        decision: SaveDecision,
        iteration: u32,
        record: Option<&'a RunRecord<[u8]>>,
        objects: &'a mut T,
        buffer: &'a mut [u8; PIECE],
    ) -> Result<SaveInPieces<'a, N, W, S, F, B, T, PIECE>, EncodeError<S::Error>> {
        const { assert!(PIECE > 0 && PIECE.is_multiple_of(PIECE_UNIT), "a piece has a multiple of 32 bytes") };
        self.check_decision(decision, objects)?;
        let attempt = self.measure_attempt(decision, iteration, record, objects)?;
        let crc = S::Checksum::default();
        Ok(SaveInPieces { handler: self, objects, record, buffer, attempt, crc, is_committed: false })
    }

    /// Takes the next sequence number, measures the checkpoint, and begins an attempt to save it.
    fn measure_attempt<T: Objects + ?Sized>(
        &mut self,
        decision: SaveDecision,
        iteration: u32,
        record: Option<&RunRecord<[u8]>>,
        objects: &mut T,
    ) -> Result<Attempt<S::Progress>, EncodeError<S::Error>> {
        record.map_or(Ok(()), RunRecord::check_complete).map_err(EncodeError::RunRecordFull)?;
        self.sequence = self.sequence.checked_add(1).ok_or(EncodeError::NoSequenceLeft)?;
        let contents = self.contents(decision, iteration, record);
        let len = measure_for(&contents, objects)?;
        self.begin_attempt(SavePlan { decision, iteration, run: contents.header.run, len })
    }

    /// Frees a place in the store and selects it.
    pub(super) fn begin_attempt(&mut self, plan: SavePlan) -> Result<Attempt<S::Progress>, EncodeError<S::Error>> {
        self.make_room().map_err(EncodeError::Io)?;
        let header = self.header(&plan);
        let spec = StreamSpec { header, object: None, stream_index: 0, stream_count: 1, len: plan.len };
        let progress = self.store.begin(&spec).map_err(EncodeError::Io)?;
        Ok(Attempt { plan, phase: AttemptPhase::Prepare, progress })
    }

    fn header(&self, plan: &SavePlan) -> Header<'static> {
        Header { run: plan.run, ..self.contents(plan.decision, plan.iteration, None).header }
    }

    /// Performs the next operation of an attempt. `piece` contains the bytes of [`Attempt::next_piece`], and `crc` is
    /// the checksum of the checkpoint, which is needed after the last piece. Returns true if the checkpoint is committed.
    /// It is then ranked.
    pub(super) fn advance_attempt(
        &mut self,
        attempt: &mut Attempt<S::Progress>,
        piece: &[u8],
        crc: u32,
    ) -> Result<bool, S::Error> {
        let SavePlan { decision, iteration, len, .. } = attempt.plan;
        match attempt.phase {
            AttemptPhase::Prepare => {
                if self.store.prepare(&mut attempt.progress)? {
                    attempt.phase = AttemptPhase::Write(0);
                }
            }
            AttemptPhase::Write(written) => {
                self.store.write_piece(&mut attempt.progress, piece)?;
                let written = written.saturating_add(u32::try_from(piece.len()).unwrap_or(u32::MAX));
                attempt.phase = if written < len { AttemptPhase::Write(written) } else { AttemptPhase::Commit };
            }
            AttemptPhase::Commit => {
                let header = self.header(&attempt.plan);
                if self.store.commit_next(&mut attempt.progress, &header, &Encoded { len, crc })? {
                    self.reconcile(Some(decision.step));
                    self.finish_save(decision, iteration, len);
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

/// A save that is performed in pieces. Created by [`CheckpointHandler::save_in_pieces`]. If it is dropped before it is
/// complete, the checkpoint is not in the store, and all others are unchanged.
#[derive(Debug)]
pub struct SaveInPieces<'a, const N: usize, W, S: IncrementalStore, F, B, T: ?Sized, const PIECE: usize> {
    handler: &'a mut CheckpointHandler<N, W, S, F, B>,
    objects: &'a mut T,
    record: Option<&'a RunRecord<[u8]>>,
    buffer: &'a mut [u8; PIECE],
    attempt: Attempt<S::Progress>,
    /// The checksum of the pieces that were encoded.
    crc: S::Checksum,
    is_committed: bool,
}

impl<const N: usize, W, S, F, B, T, const PIECE: usize> SaveInPieces<'_, N, W, S, F, B, T, PIECE>
where
    S: IncrementalStore,
    B: CheckpointObserver<S::Error>,
    T: Objects + ?Sized,
{
    /// Performs the next operation: erases one block, writes one piece, or performs one step of the commit. Returns true
    /// if the checkpoint is committed; further calls then do nothing.
    ///
    /// # Errors
    /// Returns an [`EncodeError`] if the save failed, as [`CheckpointHandler::save`] does. Further calls return an error,
    /// too.
    pub fn advance(&mut self) -> Result<bool, EncodeError<S::Error>> {
        if self.is_committed {
            return Ok(true);
        }
        match self.perform_next() {
            Err(EncodeError::Io(_)) if self.handler.store.abandon_place() => {
                let SavePlan { decision, iteration, .. } = self.attempt.plan;
                self.crc = S::Checksum::default();
                self.attempt = self.handler.measure_attempt(decision, iteration, self.record, self.objects)?;
                Ok(false)
            }
            Err(error) => {
                self.handler.reconcile(None);
                Err(error)
            }
            Ok(is_committed) => {
                self.is_committed = is_committed;
                Ok(is_committed)
            }
        }
    }

    /// Returns the store.
    pub const fn store(&self) -> &S {
        &self.handler.store
    }

    fn perform_next(&mut self) -> Result<bool, EncodeError<S::Error>> {
        let SavePlan { decision, iteration, len, .. } = self.attempt.plan;
        let range = self.attempt.next_piece(PIECE);
        let piece = self.buffer.get_mut(..range.len()).unwrap_or_default();
        if !piece.is_empty() {
            let offset = u32::try_from(range.start).unwrap_or(u32::MAX);
            let contents = self.handler.contents(decision, iteration, self.record);
            let count = encode_piece(&contents, self.objects, len, offset, piece, &mut self.crc)?;
            if count < piece.len() {
                return Err(EncodeError::Changed);
            }
        }
        self.handler.advance_attempt(&mut self.attempt, piece, self.crc.value()).map_err(EncodeError::Io)
    }
}
