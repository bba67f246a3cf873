//! Saves checkpoints: every n-th call, or the best `n_saved` by a score.
//!
//! The rules are Ignite 0.2.0's, whose `ModelCheckpoint` counts its own calls. The step number is the number of the call
//! (or the engine's iteration or epoch, see [`StepSource`]). Either an interval or a score decides. [`ranking`] decides
//! which checkpoints are kept. Two rules differ from Ignite: a NaN score is never saved, and the ranking changes only
//! after a commit. A failed save consumes its step number.
//!
//! [`ModelCheckpoint`] is the state machine. [`attach`](ModelCheckpoint::attach) combines it with a
//! [store](crate::store). The attached handler saves in this order:
//!
//! 1. It measures and checks the objects. An error at this point leaves the medium unchanged.
//! 2. The store opens a place, and the encoder streams the objects into it.
//! 3. The store commits the checkpoint.
//! 4. The ranking changes.
//! 5. The store removes the evicted checkpoint.
//!
//! The store needs one place more than the number of checkpoints that are kept. Otherwise the save after the last free place
//! fails, and the run ends with [`RunError::SaveFailed`](crate::RunError::SaveFailed).
//!
//! An error before the commit leaves the ranking and the stored checkpoints unchanged. A failed removal is reported and
//! retried at the next save. [`last_error`](CheckpointHandler::last_error) and an
//! [observer](CheckpointHandler::observe) give the cause of a failed save.
//!
//! A run that saves at `IterationCompleted` and takes a score from the output at `EpochCompleted` needs
//! [`KeepOutput`](crate::handlers::keep::KeepOutput) among its handlers.
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
    ConfigError, GetScore, ModelCheckpoint, NoScore, OnError, SaveDecision, ScoreArgument, ScoreFunction, Scored,
    StepSource,
};

use crate::checkpoint::{self, Contents, DecodeError, EncodeError, Header, Info, Objects};
use crate::event::EventFilter;
use crate::run_record::RunRecord;
use crate::store::{CheckpointMeta, Store};
use recovery::PriorWrite;
use streams::{ReadPass, read, write_single_stream, write_stream_per_object};

/// A [`ModelCheckpoint`] that is attached to an event and saves to a store.
#[derive(Debug)]
pub struct CheckpointHandler<const N: usize, W, S: Store, F, B = ()> {
    policy: ModelCheckpoint<N, F>,
    filter: W,
    store: S,
    observer: B,
    /// A save that is decided and not performed yet.
    pending: Option<SaveDecision>,
    /// How much of the pending save reached the medium before a restart.
    prior_write: PriorWrite,
    /// The highest sequence number that the medium can contain, including those of failed saves.
    sequence: u32,
    /// The minimum number of iterations between two saves.
    min_interval: u32,
    /// The iteration of the newest commit.
    last_saved: Option<u32>,
    last_error: Option<EncodeError<S::Error>>,
}

impl<const N: usize, F> ModelCheckpoint<N, F> {
    /// Attaches the state machine to an event: at each event that `filter` selects, it decides, and saves the
    /// [`Objects`] of the model to `store`. The ranking and, for [`StepSource::Calls`], the step number continue from the
    /// checkpoints in the store. Checkpoints in excess of `n_saved` are removed at the next save.
    ///
    /// # Errors
    /// The error of the store if it cannot list its checkpoints.
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

    /// Sets the minimum number of iterations between two saves, to reduce wear. A save that is decided earlier is skipped,
    /// and its step number is consumed. Use it if the score improves at nearly every call.
    #[must_use]
    pub fn min_interval(mut self, iterations: u32) -> Self {
        self.min_interval = iterations;
        self
    }

    /// The state machine: the kept checkpoints, the best one, the latest one.
    pub const fn policy(&self) -> &ModelCheckpoint<N, F> {
        &self.policy
    }

    /// The store.
    pub const fn store(&self) -> &S {
        &self.store
    }

    /// The store, for operations beside saves, such as erasing flash ahead of a save.
    pub const fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    /// Returns the store.
    pub fn into_store(self) -> S {
        self.store
    }

    /// The error of the last save; `None` if it succeeded.
    pub const fn last_error(&self) -> Option<&EncodeError<S::Error>> {
        self.last_error.as_ref()
    }

    /// Verifies the checkpoint of `step` and loads it into `objects`.
    ///
    /// # Errors
    /// [`DecodeError`]. Nothing has changed, unless the medium changed between verifying and loading.
    pub fn load_step<T: Objects + ?Sized>(
        &mut self,
        step: u32,
        objects: &mut T,
    ) -> Result<Info, DecodeError<S::Error>> {
        read(&mut self.store, step, objects, ReadPass::Verify(None))?;
        read(&mut self.store, step, objects, ReadPass::Load)
    }

    /// Loads the best checkpoint, or the next best one if the best is damaged. Returns `Ok(None)` if there is none.
    ///
    /// # Errors
    /// If no checkpoint can be loaded, the error of the last one that was tried.
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

    /// Saves `objects` now, independent of the policy: at the end of a run, or before a planned shutdown. The checkpoint
    /// is ranked like any other, so with a low score it may be evicted at once.
    ///
    /// # Errors
    /// [`EncodeError`]. The ranking and the stored checkpoints are unchanged; the sequence number is consumed.
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
        // Frees the place of a checkpoint that was found in excess or whose removal failed.
        self.evict_unranked();
        let written = self.write(decision, iteration, record, objects);
        self.reconcile(written.is_ok().then_some(decision.step));
        let bytes = written?;
        self.last_saved = Some(iteration);
        let evicted = self.policy.record_commit(decision).map(|evicted| evicted.step);
        let evicted = evicted.filter(|step| *step != decision.step);
        self.observer.on_checkpoint_event(&CheckpointEvent::Saved { decision, bytes, evicted });
        self.evict_unranked();
        Ok(())
    }

    /// Writes and commits a checkpoint. Returns the bytes of all its streams.
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
        // A failed save consumes the number, because it is unknown how much of the checkpoint the medium contains.
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
        // All errors that do not come from the store are found here, before the store is changed.
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
