//! Saves checkpoints at every n-th call, or the best `n_saved` checkpoints by a score.
//!
//! The rules are those of Ignite 0.2.0, whose `ModelCheckpoint` counts its own calls. The step number of a checkpoint
//! is the number of the call (or the engine's iteration or epoch, see [`StepSource`]). Either an interval or a score
//! decides whether to save. The module [`ranking`] decides which checkpoints are kept. Two rules differ from Ignite: a
//! NaN score is never saved, and the ranking changes only after a commit. A failed save consumes its step number. An
//! [initial threshold](ModelCheckpoint::with_initial_threshold), as in Keras, limits the scores that are saved.
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
//! The store needs one place more than the number of checkpoints that are kept. Otherwise the run does not start: it
//! returns [`RunError::Start`](crate::RunError::Start) with [`EncodeError::TooFewPlaces`].
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

mod background;
mod copy_too_small;
mod events;
mod handler;
mod load;
mod pieces;
mod policy;
pub mod ranking;
mod recovery;
mod restore_best;
mod score;
mod streams;

pub use background::BackgroundCheckpoint;
pub use copy_too_small::CopyTooSmall;
pub use events::{CheckpointEvent, CheckpointObserver};
pub use handler::CheckpointHandlerState;
pub use pieces::SaveInPieces;
pub use policy::{ModelCheckpoint, OnError, SaveDecision, StepSource};
pub use restore_best::RestoreBest;
pub use score::{GetScore, NoScore, ScoreArgument, ScoreFunction, Scored};

use crate::checkpoint::{self, Contents, EncodeError, Header, Objects, Series, SeriesId};
use crate::event::EventFilter;
use crate::run_record::RunRecord;
use crate::store::{CheckpointMeta, Store};
use recovery::{PriorWrite, newest_where};
use streams::{check_streams, write_single_stream, write_stream_per_object};

/// A handler that saves checkpoints to a store at selected events. Created by [`ModelCheckpoint::attach`].
#[derive(Debug)]
pub struct CheckpointHandler<const N: usize, W, S: Store, F, B = ()> {
    policy: ModelCheckpoint<N, F>,
    filter: W,
    store: S,
    observer: B,
    /// The step number and the score of a save that is decided but not yet performed.
    pending: Option<SaveDecision>,
    /// The series of the checkpoints. Until the handler sees the model, this is the series of the newest stored
    /// checkpoint with the rule of the handler.
    series: SeriesId,
    /// How much of the pending save the store already contained when the run was resumed after a restart.
    prior_write: PriorWrite,
    /// Whether the handler has accepted the checkpoint that `verify_checkpoint` was called for last.
    verified: bool,
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
    /// whether to save the [`Objects`] of the model to `store`. Nothing is removed from the store.
    ///
    /// The handler continues a series: the ranking contains the stored checkpoints with the same series name, ranking
    /// rule, score name and model. All other checkpoints can be loaded, but do not rank. With [`StepSource::Calls`], the
    /// step numbers continue after the highest one in the store.
    ///
    /// # Errors
    /// Returns the error of the store if it cannot list its checkpoints.
    pub fn attach<W: EventFilter, S: Store>(
        mut self,
        filter: W,
        store: S,
    ) -> Result<CheckpointHandler<N, W, S, F>, S::Error> {
        self.reset();
        let rule = self.rule_id();
        let mut handler = CheckpointHandler {
            policy: self,
            filter,
            store,
            observer: (),
            pending: None,
            series: SeriesId { rule, model: 0 },
            prior_write: PriorWrite::None,
            verified: false,
            sequence: 0,
            min_interval: 0,
            last_saved: None,
            last_error: None,
        };
        let mut model = 0;
        let newest = newest_where(&mut handler.store, &mut |meta| {
            if meta.series.rule == rule {
                model = meta.series.model;
            }
            true
        })?;
        handler.series.model = model;
        handler.sequence = newest.map_or(0, |newest| newest.sequence);
        handler.last_saved = newest.map(|newest| newest.iteration);
        let last_step = handler.last_step()?;
        handler.policy.continue_after(last_step);
        // A part of the medium may have failed, so the first decision already counts with fewer checkpoints.
        handler.limit_places();
        handler.rank_stored(None)?;
        Ok(handler)
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
            series: self.series,
            prior_write: self.prior_write,
            verified: self.verified,
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

    /// Returns the series of the checkpoints. The model is known after the start of a run, a save or a load. Before, it is
    /// the model of the newest stored checkpoint with the rule of this handler.
    pub const fn series(&self) -> SeriesId {
        self.series
    }

    /// Erases all checkpoints of this series from the store, permanently. Use this method to start over.
    ///
    /// # Errors
    /// Returns the error of the store. Some checkpoints may already be erased.
    pub fn erase_series<T: Objects + ?Sized>(&mut self, objects: &mut T) -> Result<(), S::Error> {
        self.bind(objects)?;
        self.erase_where(|handler, meta| meta.series == handler.series)
    }

    /// Erases all checkpoints of the store, of every series, permanently.
    ///
    /// # Errors
    /// Returns the error of the store. Some checkpoints may already be erased.
    pub fn erase_all(&mut self) -> Result<(), S::Error> {
        self.erase_where(|_, _| true)
    }

    fn erase_where(&mut self, select: impl Fn(&Self, &CheckpointMeta) -> bool) -> Result<(), S::Error> {
        let mut index = 0;
        while let Some(meta) = self.store.checkpoint(index)? {
            if select(self, &meta) {
                self.store.erase(meta.sequence)?;
            }
            // After an erase, the next checkpoint has the same index.
            let is_listed = self.store.stream_count(meta.sequence)? > 0;
            index += u32::from(is_listed);
        }
        self.pending = None;
        self.rank_stored(None)
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
        record: Option<&RunRecord<[u8]>>,
        objects: &mut T,
    ) -> Result<(), EncodeError<S::Error>>
    where
        B: CheckpointObserver<S::Error>,
    {
        self.check_decision(decision, objects)?;
        let written = loop {
            let written = self.make_room().map_err(EncodeError::Io).and_then(|()| {
                // A failed save changes nothing that an older checkpoint needs, so it can be repeated in another place.
                self.write(decision, iteration, record, objects)
            });
            if !(matches!(written, Err(EncodeError::Io(_))) && self.store.abandon_place()) {
                break written;
            }
        };
        self.reconcile(written.is_ok().then_some(decision.step));
        let bytes = written?;
        self.finish_save(decision, iteration, bytes);
        Ok(())
    }

    /// Checks whether the policy and the store allow this save.
    fn check_decision<T: Objects + ?Sized>(
        &mut self,
        decision: SaveDecision,
        objects: &mut T,
    ) -> Result<(), EncodeError<S::Error>> {
        self.bind(objects).map_err(EncodeError::Io)?;
        self.check_places()?;
        if self.policy.has_better(decision) { Err(EncodeError::BetterExists) } else { Ok(()) }
    }

    /// Ranks a checkpoint of `bytes` bytes after its commit, and removes the evicted checkpoint.
    fn finish_save(&mut self, decision: SaveDecision, iteration: u32, bytes: u32)
    where
        B: CheckpointObserver<S::Error>,
    {
        self.last_saved = Some(iteration);
        // Only the observer needs the step number of the evicted checkpoint. The call of `evict_unranked` below removes
        // that checkpoint from the store.
        let evicted = self.policy.record_commit(decision).map(|evicted| evicted.step);
        // A checkpoint that the ranking does not accept is itself the evicted one. It replaces no other checkpoint.
        let evicted = evicted.filter(|step| *step != decision.step);
        self.observer.on_checkpoint_event(&CheckpointEvent::Saved { decision, bytes, evicted });
        self.evict_unranked();
    }

    /// Writes a checkpoint to the store and commits it. Returns the size of the checkpoint in bytes.
    fn write<T: Objects + ?Sized>(
        &mut self,
        decision: SaveDecision,
        iteration: u32,
        record: Option<&RunRecord<[u8]>>,
        objects: &mut T,
    ) -> Result<u32, EncodeError<S::Error>> {
        record.map_or(Ok(()), RunRecord::check_complete).map_err(EncodeError::RunRecordFull)?;
        // Each attempt has its own sequence number, because a failed save may have left a part of its checkpoint on the
        // medium.
        self.sequence = self.sequence.checked_add(1).ok_or(EncodeError::NoSequenceLeft)?;
        let contents = self.contents(decision, iteration, record);
        // Measuring the size also checks the objects. An error in them is thus found before the store is changed.
        let total = checkpoint::measure_for(&contents, objects)?;
        let (bytes, last) = if self.store.has_stream_per_object() {
            write_stream_per_object(&mut self.store, &contents, objects, total)?
        } else {
            (total, write_single_stream(&mut self.store, &contents, objects, total)?)
        };
        self.store.commit(&contents.header, &last).map_err(EncodeError::Io)?;
        Ok(bytes)
    }

    /// Checks that the store has a place for each kept checkpoint, and one more.
    fn check_places(&self) -> Result<(), EncodeError<S::Error>> {
        let n_saved = self.policy.n_saved();
        let fits = n_saved < S::PLACES || self.policy.keeps_all();
        if fits { Ok(()) } else { Err(EncodeError::TooFewPlaces { n_saved, places: S::PLACES }) }
    }

    fn contents<'a>(
        &self,
        decision: SaveDecision,
        iteration: u32,
        record: Option<&'a RunRecord<[u8]>>,
    ) -> Contents<'a> {
        let settings = &self.policy.settings;
        let header = Header {
            step: decision.step,
            sequence: self.sequence,
            iteration,
            score: decision.score,
            score_name: settings.score_name,
            run: record.map_or(0, |record| record.engine.run),
            series: Series { name: settings.name, rule: self.policy.rule(), model: self.series.model },
            save_id: 0,
        };
        let policy::Settings { allow_non_finite, metadata, .. } = *settings;
        Contents { header, record, single_object: None, allow_non_finite, metadata }
    }

    /// Checks that the model and the store allow a save with a run record of at most `max_record_len` bytes.
    fn check_save<T: Objects + ?Sized>(
        &mut self,
        max_record_len: usize,
        objects: &mut T,
    ) -> Result<(), EncodeError<S::Error>> {
        self.bind(objects).map_err(EncodeError::Io)?;
        self.check_places()?;
        let contents = self.longest_contents();
        let record = u32::try_from(max_record_len).unwrap_or(u32::MAX);
        check_streams(&mut self.store, &contents, objects, record)
    }

    /// Returns the contents of the longest possible checkpoint, without the run record and the objects.
    fn longest_contents(&self) -> Contents<'static> {
        // The step number and the score can take more bytes at a later save, so the check uses the greatest lengths.
        let decision = SaveDecision { step: u32::MAX, score: self.policy.score_is_saved().then_some(f32::MIN) };
        let mut contents = self.contents(decision, u32::MAX, None);
        contents.header.run = u32::MAX;
        contents.header.sequence = u32::MAX;
        contents.allow_non_finite = true;
        contents
    }
}
