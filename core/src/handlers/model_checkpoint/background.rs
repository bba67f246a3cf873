//! Saves a copy of the model between the iterations of a run, so that the training continues during the save.
//!
//! When the policy decides to save, the handler encodes the whole checkpoint into a buffer, which is the copy. At the
//! end of each further iteration, it performs one operation: it erases one block, writes one piece of the copy, or
//! performs one step of the commit. The longest pause is therefore one erase of a block, instead of a whole save.
//!
//! * **RAM.** The buffer has at least the length of the checkpoint. A run whose checkpoints do not fit does not start, see
//!   [`copy_too_small`](BackgroundCheckpoint::copy_too_small). A checkpoint that became longer during the run, because a
//!   value of it has grown, is saved with a blocking save.
//! * **When a checkpoint counts.** It is ranked, reported to the observer and announced
//!   with [`SavedCheckpoint`](crate::Event::SavedCheckpoint) after its commit. Until then, it is not in the store: after
//!   a power failure, the run resumes from an older checkpoint. This checkpoint remains until the new one is
//!   committed.
//! * **A new decision during a save.** The handler first completes the save in progress without further pauses, and then
//!   decides again. Therefore, the same checkpoints are saved as with a blocking save. If a save takes more iterations
//!   than the interval of the policy, increase the interval, the [`min_interval`](CheckpointHandler::min_interval) or
//!   the length of a piece.
//! * **The end of a run.** At [`Completed`](crate::Event::Completed), `ExceptionRaised` and `Interrupt`, the handler
//!   completes the save in progress, and it performs a save that is decided at these events completely. A custom loop
//!   that ends in another way calls [`complete`](BackgroundCheckpoint::complete).
//! * **Errors.** A failed operation is a failed save: it is repeated in another place of the store if possible, or
//!   handled by the [error policy](super::OnError).
//!
//! Do not combine this handler with an [`AdaptiveInterval`](crate::AdaptiveInterval), which measures blocking saves.
//!
//! A save in progress is not part of the run record of other checkpoints. If a second handler saves to another store
//! during the save, and the run resumes from that checkpoint, the interrupted save is not repeated.
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
//! use training_monitor::{Engine, ModelCheckpoint, checkpoint::Named, event::IterationCompleted, store::flash::Slots};
//!
//! # let mut chip = Chip([0; 4096]);
//! let store = Slots::<_, 2>::open(&mut chip, 0..4096)?;
//! let mut weights = [0.0_f32; 16];
//! let mut model = Named::new("model", &mut weights);
//! let checkpoint = ModelCheckpoint::<1>::every(20)?.attach(IterationCompleted, store)?;
//! let mut checkpoint = checkpoint.in_background([0; 256]);
//! let mut saving = 0;
//! let mut engine = Engine::new(1);
//! while engine.begin_iteration(&mut model, &mut checkpoint)? && engine.state().iteration() <= 30 {
//!     model[0] += 1.0;
//!     engine.end_iteration((), &mut model, &mut checkpoint);
//!     saving += u32::from(checkpoint.is_saving());
//! }
//! // The save started in iteration 20 and took five operations. The training continued in between.
//! assert_eq!((saving, checkpoint.is_saving()), (5, false));
//! assert_eq!(model[0], 30.0);
//! checkpoint.into_handler().load_best(&mut model)?;
//! assert_eq!(model[0], 20.0);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

use super::pieces::{Attempt, SavePlan};
use super::{CheckpointEvent, CheckpointHandler, CheckpointObserver, CopyTooSmall, GetScore, OnError, SaveDecision};
use crate::checkpoint::{EncodeError, Objects, encode_measured, measure_for, renumber};
use crate::event::{Event, EventFilter};
use crate::handler::{Handler, StartCheck, forward_to_inner};
use crate::run_record::{HandlerStates, RestoreError, ResumePoint, RunRecord};
use crate::state::{State, StopReason};
use crate::store::{IncrementalStore, PIECE_UNIT};
use core::convert::Infallible;
use core::mem::take;
use core::ops::Deref;
use embedded_io::ErrorKind;

/// The default length of a piece, in bytes. A page of most serial NOR flashes has 256 bytes.
const DEFAULT_PIECE: usize = 256;

/// A [`CheckpointHandler`] that saves a copy of the model between iterations. Created
/// by [`CheckpointHandler::in_background`]. It dereferences to that handler. `M` is the buffer of the copy.
#[derive(Debug)]
pub struct BackgroundCheckpoint<const N: usize, W, S: IncrementalStore, F, B, M> {
    handler: CheckpointHandler<N, W, S, F, B>,
    copy: M,
    piece_len: usize,
    /// The save in progress.
    running: Option<RunningSave<S::Progress>>,
    /// Whether a save was committed that the engine does not know yet.
    has_saved: bool,
    /// Whether a save failed whose error policy stops the run, and the engine does not know it yet.
    must_stop: bool,
    /// Whether the current event is one of the last events of the run.
    is_ending: bool,
    copy_too_small: Option<CopyTooSmall>,
}

/// A save whose checkpoint is in the copy.
#[derive(Debug)]
struct RunningSave<P> {
    plan: SavePlan,
    /// The checksum of the checkpoint in the copy.
    crc: u32,
    /// The current attempt. `None` if the next operation begins one.
    attempt: Option<Attempt<P>>,
    /// How often the save can still be repeated.
    retries: u8,
    /// The iteration of the previous save, for the case that this save fails.
    previous_saved: Option<u32>,
}

impl<const N: usize, W, S: IncrementalStore, F, B> CheckpointHandler<N, W, S, F, B> {
    /// Saves between the iterations of a run, from a copy of the checkpoint in `copy`. An observer and a minimum
    /// interval must be added before. `copy` can be an array or a `&mut [u8]`, and has at least the length of a
    /// checkpoint: the bytes of all tensors, and about 150 bytes for the header and the run record.
    pub const fn in_background<M: AsMut<[u8]>>(self, copy: M) -> BackgroundCheckpoint<N, W, S, F, B, M> {
        BackgroundCheckpoint {
            handler: self,
            copy,
            piece_len: DEFAULT_PIECE,
            running: None,
            has_saved: false,
            must_stop: false,
            is_ending: false,
            copy_too_small: None,
        }
    }
}

impl<const N: usize, W, S, F, B, M> BackgroundCheckpoint<N, W, S, F, B, M>
where
    S: IncrementalStore,
    B: CheckpointObserver<S::Error>,
    M: AsMut<[u8]>,
{
    /// Sets the number of bytes that are written after an iteration. The default is 256. The number is rounded up to a
    /// multiple of [`PIECE_UNIT`] bytes.
    #[must_use]
    pub fn with_piece_len(mut self, bytes: usize) -> Self {
        self.piece_len = bytes.max(1).checked_next_multiple_of(PIECE_UNIT).unwrap_or(PIECE_UNIT);
        self
    }

    /// Returns whether a save is in progress.
    pub const fn is_saving(&self) -> bool {
        self.running.is_some()
    }

    /// Returns the required length of the copy if the last run did not start because the copy is too small. The error of
    /// the run is then [`RunError::Start`](crate::RunError::Start) with [`ErrorKind::OutOfMemory`].
    pub const fn copy_too_small(&self) -> Option<CopyTooSmall> {
        self.copy_too_small
    }

    /// Performs the next operation of the save in progress, for example while the program waits for data. Returns
    /// whether the save is still in progress. The engine calls this method after each iteration.
    pub fn advance(&mut self) -> bool {
        let Some(mut save) = self.running.take() else { return false };
        match self.perform_next(&mut save) {
            Ok(false) => self.running = Some(save),
            Ok(true) => {
                self.handler.last_error = None;
                self.has_saved = true;
            }
            Err(error) => self.fail(save, error),
        }
        self.running.is_some()
    }

    /// Completes the save in progress without further pauses. [`last_error`](CheckpointHandler::last_error) returns the
    /// error if it failed.
    pub fn complete(&mut self) {
        while self.advance() {}
    }

    /// Returns the handler without the background saves. A save in progress is discarded, so
    /// call [`complete`](Self::complete) before.
    pub fn into_handler(self) -> CheckpointHandler<N, W, S, F, B> {
        self.handler
    }

    fn perform_next(&mut self, save: &mut RunningSave<S::Progress>) -> Result<bool, EncodeError<S::Error>> {
        let attempt = match &mut save.attempt {
            Some(attempt) => attempt,
            none => none.insert(self.handler.begin_attempt(save.plan)?),
        };
        let range = attempt.next_piece(self.piece_len);
        let piece = self.copy.as_mut().get(range).unwrap_or_default();
        self.handler.advance_attempt(attempt, piece, save.crc).map_err(EncodeError::Io)
    }

    /// Handles a failed save: repeats it in another place or as often as the error policy allows. The copy is unchanged,
    /// so the same checkpoint is written again.
    fn fail(&mut self, mut save: RunningSave<S::Progress>, error: EncodeError<S::Error>) {
        save.attempt = None;
        if matches!(error, EncodeError::Io(_)) && self.handler.store.abandon_place() && self.renumber(&mut save) {
            self.running = Some(save);
            return;
        }
        self.handler.reconcile(None);
        let retrying = save.retries > 0 && self.renumber(&mut save);
        let event = CheckpointEvent::SaveFailed { decision: save.plan.decision, error: &error, retrying };
        self.handler.observer.on_checkpoint_event(&event);
        self.handler.last_error = Some(error);
        if retrying {
            save.retries = save.retries.saturating_sub(1);
            self.running = Some(save);
        } else {
            self.handler.last_saved = save.previous_saved;
            self.must_stop = self.handler.policy.settings.on_error == OnError::Stop;
        }
    }

    /// Gives the checkpoint in the copy the next sequence number, because each attempt has its own. Returns false if the
    /// number needs more bytes than the previous one; the save is then not repeated.
    fn renumber(&mut self, save: &mut RunningSave<S::Progress>) -> bool {
        let Some(sequence) = self.handler.sequence.checked_add(1) else { return false };
        let stream = self.copy.as_mut().get_mut(..save.plan.len as usize).unwrap_or_default();
        let Some(crc) = renumber::<S::Checksum>(stream, sequence) else { return false };
        self.handler.sequence = sequence;
        save.crc = crc;
        true
    }

    /// Encodes the checkpoint into the copy. Returns `None` if this is not possible. A blocking save then reports the
    /// cause, or succeeds if the checkpoint is longer than the copy.
    fn begin<T: Objects + ?Sized>(
        &mut self,
        decision: SaveDecision,
        iteration: u32,
        record: &RunRecord<[u8]>,
        objects: &mut T,
    ) -> Option<RunningSave<S::Progress>> {
        self.handler.check_decision(decision, objects).ok()?;
        record.check_complete().ok()?;
        let before = self.handler.sequence;
        self.handler.sequence = before.checked_add(1)?;
        let contents = self.handler.contents(decision, iteration, Some(record));
        let copy = self.copy.as_mut();
        let encoded = measure_for::<Infallible, T>(&contents, objects).ok().and_then(|len| {
            let mut writer = copy.get_mut(..len as usize)?;
            encode_measured::<S::Checksum, _, T>(&mut writer, &contents, objects, len).ok()
        });
        let Some(encoded) = encoded else {
            self.handler.sequence = before;
            return None;
        };
        let previous_saved = self.handler.last_saved.replace(iteration);
        let plan = SavePlan { decision, iteration, run: contents.header.run, len: encoded.len };
        let retries = self.handler.max_retries();
        Some(RunningSave { plan, crc: encoded.crc, attempt: None, retries, previous_saved })
    }

    /// Passes the results of the last operations to the run.
    #[inline(never)] // Called at several events.
    fn report<O, X>(&mut self, state: &mut State<O, X>) {
        state.sequence = self.handler.sequence.max(state.sequence);
        if self.has_saved {
            state.request_action();
        }
        if take(&mut self.must_stop) {
            state.terminate(StopReason::SaveFailed);
        }
    }
}

impl<const N: usize, W, S: IncrementalStore, F, B, M> Deref for BackgroundCheckpoint<N, W, S, F, B, M> {
    type Target = CheckpointHandler<N, W, S, F, B>;
    fn deref(&self) -> &Self::Target {
        &self.handler
    }
}

impl<T, O, X, const N: usize, W, S, F, B, M> Handler<T, O, X> for BackgroundCheckpoint<N, W, S, F, B, M>
where
    T: Objects + ?Sized,
    W: EventFilter,
    S: IncrementalStore,
    F: GetScore<O, X>,
    B: CheckpointObserver<S::Error>,
    M: AsMut<[u8]>,
{
    #[inline(always)]
    fn on_event(&mut self, event: Event, model: &mut T, state: &mut State<O, X>) {
        match event {
            Event::IterationCompleted => {
                self.is_ending = false;
                if self.running.is_some() || self.has_saved || self.must_stop {
                    self.advance();
                    self.report(state);
                }
            }
            Event::Completed | Event::ExceptionRaised | Event::Interrupt => {
                self.is_ending = true;
                self.complete();
                self.report(state);
            }
            _ => (),
        }
        self.handler.on_event(event, model, state);
    }

    fn perform(&mut self, model: &mut T, state: &mut State<O, X>, record: &RunRecord<[u8]>) -> bool {
        if self.handler.pending.is_some() {
            self.complete();
        }
        let mut saved = take(&mut self.has_saved);
        let is_ending = take(&mut self.is_ending);
        self.report(state);
        if state.stop_reason() == Some(StopReason::SaveFailed) {
            self.handler.pending = None;
            return saved;
        }
        let Some(decision) = self.handler.take_decision(state) else { return saved };
        if !is_ending {
            self.running = self.begin(decision, state.iteration(), record, model);
        }
        if self.running.is_none() {
            let is_saved = self.handler.save_with_retries(decision, state.iteration(), record, model);
            saved |= is_saved;
            self.must_stop = !is_saved && self.handler.policy.settings.on_error == OnError::Stop;
        }
        self.report(state);
        saved
    }

    fn finish(&mut self, _: &mut T) {
        // A run whose data ended too early fires no last event. The next run does not report its save.
        self.complete();
        self.has_saved = false;
        self.must_stop = false;
    }
    fn persist(&mut self, run: &mut State<O, X>, states: &mut HandlerStates<'_>) {
        Handler::<T, O, X>::persist(&mut self.handler, run, states);
    }
    fn check_start(&mut self, model: &mut T, start: &mut StartCheck) {
        self.copy_too_small = None;
        self.handler.check_start(model, start);
        let capacity = self.copy.as_mut().len();
        let Ok(len) = measure_for::<Infallible, T>(&self.handler.longest_contents(), model) else { return };
        let required = len.saturating_add(u32::try_from(start.max_record_len()).unwrap_or(u32::MAX));
        if required as usize > capacity {
            self.copy_too_small = Some(CopyTooSmall { required, capacity });
            start.refuse();
        }
    }
    fn save_error(&self) -> Option<EncodeError<ErrorKind>> {
        if self.copy_too_small.is_some() {
            return Some(EncodeError::Io(ErrorKind::OutOfMemory));
        }
        Handler::<T, O, X>::save_error(&self.handler)
    }
    fn newest_checkpoint(&mut self, below: Option<ResumePoint>) -> Result<Option<ResumePoint>, RestoreError> {
        // A run that is rolled back continues from the checkpoint that is being saved.
        self.complete();
        Handler::<T, O, X>::newest_checkpoint(&mut self.handler, below)
    }
    forward_to_inner!(self.handler, O, X);
}
