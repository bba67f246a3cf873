//! Saves checkpoints at every n-th call, or the best `n_saved` checkpoints by a score.
//!
//! The rules are those of Ignite 0.2.0, whose `ModelCheckpoint` counts its own calls. The step number of a checkpoint
//! is the number of the call (or the engine's iteration or epoch, see [`StepSource`]). Either an interval or a score
//! decides whether to save. The module [`ranking`] decides which checkpoints are kept. Two rules differ from Ignite: a
//! NaN score is never saved, and the ranking changes only after a commit. A failed save consumes its step number.
//!
//! The type [`ModelCheckpoint`] is a state machine. The method [`attach`](ModelCheckpoint::attach) combines it with
//! a [store](crate::store). The resulting handler saves in this order:
//!
//! 1. It measures and checks the objects. An error at this point leaves the medium unchanged.
//! 2. The store opens a place, and the encoder streams the objects into it.
//! 3. The store commits the checkpoint.
//! 4. The ranking changes.
//! 5. The store removes the evicted checkpoint.
//!
//! The store needs one place more than the number of checkpoints that are kept. Otherwise the save after the last free
//! place fails, and the run ends with [`RunError::SaveFailed`](crate::RunError::SaveFailed).
//!
//! An error before the commit leaves the ranking and the stored checkpoints unchanged. A failed removal is reported and
//! repeated at the next save. The method [`last_error`](CheckpointHandler::last_error) and
//! an [observer](CheckpointHandler::observe) give the cause of a failed save.
//!
//! A run that saves at `IterationCompleted` and takes a score from the output at `EpochCompleted` needs the
//! handler [`KeepOutput`](crate::handlers::keep::KeepOutput).
//!
//! ```
//! use training_monitor::{Engine, ModelCheckpoint, checkpoint::Named, event::IterationCompleted, store::ram::Ram};
//!
//! let mut weights = [0.0_f32; 4];
//! let mut model = Named::new("mymodel", &mut weights);
//! let mut checkpoint = ModelCheckpoint::<2>::every(2)?.attach(IterationCompleted, Ram::<3, 256>::new())?;
//!
//! Engine::new(1).run(&mut model, 0..6, &mut checkpoint, |model, batch, _| model[0] = batch as f32)?;
//! assert_eq!(checkpoint.policy().kept().iter().map(|kept| kept.step).collect::<Vec<_>>(), [4, 6]);
//!
//! // After a reset, a new engine resumes from the checkpoints in the store.
//! let mut store = checkpoint.into_store();
//! let mut checkpoint = ModelCheckpoint::<2>::every(2)?.attach(IterationCompleted, &mut store)?;
//! let mut engine = Engine::new(2);
//! let resumed = engine.resume(&mut model, &mut checkpoint)?;
//! assert_eq!(resumed.map(|resumed| resumed.iteration), Some(6));
//! engine.run(&mut model, 0..6, &mut checkpoint, |model, batch, _| model[0] = batch as f32)?;
//! assert_eq!(checkpoint.policy().kept().iter().map(|kept| kept.step).collect::<Vec<_>>(), [10, 12]);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

mod events;
mod handler;
mod policy;
pub mod ranking;
mod recovery;
mod streams;

pub use events::{CheckpointEvent, CheckpointObserver};
pub use handler::CheckpointHandlerState;
pub use policy::{
    GetScore, ModelCheckpoint, NoScore, OnError, SaveDecision, ScoreArgument, ScoreFunction, Scored, StepSource,
};

use crate::checkpoint::{self, Contents, DecodeError, EncodeError, Header, Info, Objects};
use crate::event::EventFilter;
use crate::run_record::RunRecord;
use crate::store::{CheckpointMeta, Store};
use recovery::PriorWrite;
use streams::{ReadPass, read, write_single_stream, write_stream_per_object};

/// A handler that saves checkpoints to a store at selected events. Created by [`ModelCheckpoint::attach`].
#[derive(Debug)]
pub struct CheckpointHandler<const N: usize, W, S: Store, F, B = ()> {
    policy: ModelCheckpoint<N, F>,
    filter: W,
    store: S,
    observer: B,
    /// The step number and the score of a save that is decided but not yet performed.
    pending: Option<SaveDecision>,
    /// How much of the pending save the store already contained when the run was resumed after a restart.
    prior_write: PriorWrite,
    /// The highest sequence number that a stored checkpoint can have. Each attempt to save takes the next number. A
    /// failed attempt also uses its number, because a part of its checkpoint may be on the medium.
    sequence: u32,
    /// The minimum number of iterations between two saves.
    min_interval: u32,
    /// The engine's iteration of the newest committed checkpoint, or of the checkpoint from which the run was resumed.
    last_saved: Option<u32>,
    last_error: Option<EncodeError<S::Error>>,
}

impl<const N: usize, F> ModelCheckpoint<N, F> {
    /// Attaches the state machine to a run and to a store. At each event that `filter` selects, the handler decides
    /// whether to save the [`Objects`] of the model to `store`. The ranking continues from the checkpoints in the
    /// store. With [`StepSource::Calls`], the step numbers continue, too. If the store contains more than `n_saved`
    /// checkpoints, the next save removes the surplus.
    ///
    /// # Errors
    /// Returns the error of the store if it cannot list its checkpoints.
    pub fn attach<W: EventFilter, S: Store>(
        mut self,
        filter: W,
        mut store: S,
    ) -> Result<CheckpointHandler<N, W, S, F>, S::Error> {
        self.reset();
        let mut newest: Option<CheckpointMeta> = None;
        let mut index = 0;
        while let Some(meta) = store.checkpoint(index)? {
            self.restore_entry(SaveDecision { step: meta.step, score: meta.score });
            newest = Some(meta);
            index += 1;
        }
        Ok(CheckpointHandler {
            policy: self,
            filter,
            store,
            observer: (),
            pending: None,
            prior_write: PriorWrite::None,
            sequence: newest.map_or(0, |newest| newest.sequence),
            min_interval: 0,
            last_saved: newest.map(|newest| newest.iteration),
            last_error: None,
        })
    }
}

impl<const N: usize, W, S: Store, F, B> CheckpointHandler<N, W, S, F, B> {
    /// Calls `observer` for every save, eviction and failure.
    pub fn observe<O: CheckpointObserver<S::Error>>(self, observer: O) -> CheckpointHandler<N, W, S, F, O> {
        CheckpointHandler {
            policy: self.policy,
            filter: self.filter,
            store: self.store,
            observer,
            pending: self.pending,
            prior_write: self.prior_write,
            sequence: self.sequence,
            min_interval: self.min_interval,
            last_saved: self.last_saved,
            last_error: self.last_error,
        }
    }

    /// Sets the minimum number of iterations between two saves, to reduce the wear of the medium. A save that is due
    /// too early is skipped, and its step number is not used again. This setting helps if the score improves at nearly
    /// every call.
    #[must_use]
    pub fn min_interval(mut self, iterations: u32) -> Self {
        self.min_interval = iterations;
        self
    }

    /// Returns the policy, which is the state machine that decides when to save. It knows the kept checkpoints, the
    /// best one and the latest one.
    pub const fn policy(&self) -> &ModelCheckpoint<N, F> {
        &self.policy
    }

    /// Returns the store.
    pub const fn store(&self) -> &S {
        &self.store
    }

    /// Returns the store, for example to erase flash before the next save needs it.
    pub const fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    /// Discards the handler and returns its store.
    pub fn into_store(self) -> S {
        self.store
    }

    /// Returns the error of the last save, or `None` if it succeeded.
    pub const fn last_error(&self) -> Option<&EncodeError<S::Error>> {
        self.last_error.as_ref()
    }

    /// Verifies the checkpoint with the step number `step`, then loads it into `objects`.
    ///
    /// # Errors
    /// Returns a [`DecodeError`] if the checkpoint cannot be loaded. `objects` is then unchanged, unless the medium
    /// changed between verifying and loading.
    pub fn load_step<T: Objects + ?Sized>(
        &mut self,
        step: u32,
        objects: &mut T,
    ) -> Result<Info, DecodeError<S::Error>> {
        read(&mut self.store, step, objects, ReadPass::Verify(None))?;
        read(&mut self.store, step, objects, ReadPass::Load)
    }

    /// Loads the best checkpoint into `objects`. If that checkpoint is damaged, loads the next best one. Returns
    /// `Ok(None)` if there is no checkpoint.
    ///
    /// # Errors
    /// If no checkpoint can be loaded, returns the error of the last attempt.
    pub fn load_best<T: Objects + ?Sized>(&mut self, objects: &mut T) -> Result<Option<Info>, DecodeError<S::Error>>
    where
        B: CheckpointObserver<S::Error>,
    {
        let mut last = Ok(None);
        for index in (0..self.policy.kept().len()).rev() {
            let Some(step) = self.policy.kept().get(index).map(|kept| kept.step) else { break };
            match self.load_step(step, objects) {
                Ok(info) => return Ok(Some(info)),
                Err(error) => {
                    self.observer.on_checkpoint_event(&CheckpointEvent::LoadFailed { step, error: &error });
                    last = Err(error);
                }
            }
        }
        last
    }

    /// Saves `objects` now, even if the policy (the rules that decide when to save) would not. Use this method at the
    /// end of a run or before a planned shutdown. The checkpoint is ranked like any other, so a checkpoint with a low
    /// score can be evicted at once.
    ///
    /// # Errors
    /// Returns an [`EncodeError`] if the save failed. The ranking and the stored checkpoints are then unchanged, but
    /// the sequence number is consumed.
    pub fn save<T: Objects + ?Sized>(
        &mut self,
        decision: SaveDecision,
        iteration: u32,
        record: Option<&RunRecord>,
        objects: &mut T,
    ) -> Result<(), EncodeError<S::Error>>
    where
        B: CheckpointObserver<S::Error>,
    {
        // Frees places in the store by removing checkpoints that are not in the ranking (the table of kept
        // checkpoints). Such checkpoints exist if an earlier removal failed.
        self.evict_unranked();
        let written = self.write(decision, iteration, record, objects);
        self.reconcile(written.is_ok().then_some(decision.step));
        let bytes = written?;
        self.last_saved = Some(iteration);
        // Only the observer needs the step number of the evicted checkpoint. The call of `evict_unranked` below removes
        // that checkpoint from the store.
        let evicted = self.policy.record_commit(decision).map(|evicted| evicted.step);
        // A checkpoint that the ranking does not accept is itself the evicted one. It replaces no other checkpoint.
        let evicted = evicted.filter(|step| *step != decision.step);
        self.observer.on_checkpoint_event(&CheckpointEvent::Saved { decision, bytes, evicted });
        self.evict_unranked();
        Ok(())
    }

    /// Writes a checkpoint to the store and commits it. Returns the size of the checkpoint in bytes.
    fn write<T: Objects + ?Sized>(
        &mut self,
        decision: SaveDecision,
        iteration: u32,
        record: Option<&RunRecord>,
        objects: &mut T,
    ) -> Result<u32, EncodeError<S::Error>> {
        if record.is_some_and(|record| !record.complete) {
            return Err(EncodeError::RunRecordFull);
        }
        // Each attempt has its own sequence number, because a failed save may have left a part of its checkpoint on the
        // medium.
        self.sequence = self.sequence.wrapping_add(1);
        let header = Header {
            step: decision.step,
            sequence: self.sequence,
            iteration,
            score: decision.score,
            score_name: self.policy.settings.score_name,
        };
        let contents =
            Contents { header, record, single_object: None, allow_non_finite: self.policy.settings.allow_non_finite };
        // Measuring the size also checks the objects. An error in them is thus found before the store is changed.
        let total = checkpoint::measure_for(&contents, objects)?;
        let (bytes, last) = if S::STREAM_PER_OBJECT {
            write_stream_per_object(&mut self.store, &contents, objects)?
        } else {
            (total, write_single_stream(&mut self.store, &contents, objects, total)?)
        };
        self.store.commit(&header, &last).map_err(EncodeError::Io)?;
        Ok(bytes)
    }
}
