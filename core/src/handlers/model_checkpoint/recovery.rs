//! Compares the state of a handler with the content of its store. Finds the checkpoint from which a run resumes, decides
//! which stored checkpoints are removed, and completes a save that a power failure interrupted.
//!
//! A handler removes a checkpoint only during a save. It removes its own checkpoints that are not in the ranking, but
//! only while the ranking is full: then `n_saved` other checkpoints of the series remain. A checkpoint of another series
//! is removed only if the store has no other place for the new checkpoint.

use super::{CheckpointEvent, CheckpointHandler, CheckpointObserver, SaveDecision};
use crate::checkpoint::{Objects, model_signature};
use crate::run_record::ResumePoint;
use crate::store::{CheckpointMeta, Store};

/// How much of a pending save the store already contains after a restart. A checkpoint contains a run record (the saved
/// state of the engine and the handlers) from before its own save. So each record lists the save of its own checkpoint
/// as pending.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PriorWrite {
    /// The checkpoint of this save is not in the store.
    None,
    /// The checkpoint is complete but not durable, because its commit was interrupted. The handler saves it again.
    /// Unlike any other save, this one uses the sequence number of the first attempt.
    NotDurable,
    /// The checkpoint is committed and durable, so the handler does not save it again.
    Durable,
}

/// Returns the newest stored checkpoint that `accept` accepts, or `None` if there is none.
#[inline(never)] // One copy of the code for all searches.
pub(super) fn newest_where<S: Store>(
    store: &mut S,
    accept: &mut dyn FnMut(&CheckpointMeta) -> bool,
) -> Result<Option<CheckpointMeta>, S::Error> {
    let mut newest = None;
    let mut index = 0_u32;
    while let Some(meta) = store.checkpoint(index)? {
        if accept(&meta) {
            newest = Some(meta);
        }
        let Some(next) = index.checked_add(1) else { break };
        index = next;
    }
    Ok(newest)
}

impl<const N: usize, W, S: Store, F, B> CheckpointHandler<N, W, S, F, B> {
    /// Adapts the handler to the model of a save, a load or a run. If the model has another signature than before, the
    /// handler continues another series, whose ranking is rebuilt from the store. Nothing changes if a tensor of the model
    /// is not available: the save or load that follows reports it.
    pub(super) fn bind<T: Objects + ?Sized>(&mut self, objects: &mut T) -> Result<(), S::Error> {
        match model_signature(objects) {
            Ok(model) if model != self.series.model => {
                self.series.model = model;
                self.rank_stored(None)
            }
            _ => Ok(()),
        }
    }

    /// Rebuilds the ranking from the checkpoints of the series in the store, except the one with the step number
    /// `except`. An error leaves the ranking unchanged.
    pub(super) fn rank_stored(&mut self, except: Option<u32>) -> Result<(), S::Error> {
        // The first listing changes nothing, so an error of the store is found before the ranking is cleared.
        newest_where(&mut self.store, &mut |_| false)?;
        self.policy.clear_ranking();
        let (policy, series) = (&mut self.policy, self.series);
        newest_where(&mut self.store, &mut |meta| {
            if meta.series == series && Some(meta.step) != except {
                policy.record_commit(SaveDecision { step: meta.step, score: meta.score });
            }
            false
        })?;
        Ok(())
    }

    /// Returns the highest step number in the store, of any series.
    pub(super) fn last_step(&mut self) -> Result<u32, S::Error> {
        let mut last = 0;
        newest_where(&mut self.store, &mut |meta| {
            last = meta.step.max(last);
            false
        })?;
        Ok(last)
    }

    /// Returns the stored checkpoint of the series with the step number `step`.
    pub(super) fn find(&mut self, step: u32) -> Result<Option<CheckpointMeta>, S::Error> {
        let series = self.series;
        newest_where(&mut self.store, &mut |meta| meta.step == step && meta.series == series)
    }

    /// Removes the checkpoints of the series that are not in the ranking, as far as the rules allow it at this moment:
    /// only while the ranking is full. A save does this, too. Call this method before an operation that needs a free
    /// place in the store, such as erasing flash ahead of a save.
    pub fn evict_unranked(&mut self)
    where
        B: CheckpointObserver<S::Error>,
    {
        if let Err(error) = self.evict(0, false) {
            self.observer.on_checkpoint_event(&CheckpointEvent::ListFailed { error: &error });
        }
    }

    /// Frees a place for a new checkpoint, if the store has a limited number of places.
    pub(super) fn make_room(&mut self) -> Result<(), S::Error>
    where
        B: CheckpointObserver<S::Error>,
    {
        let capacity = self.store.capacity();
        if capacity == u32::MAX {
            return Ok(());
        }
        if self.limit_places() {
            self.report_places();
        }
        self.evict(capacity, true)
    }

    /// Limits the ranking to the places of the store that can be used. Returns whether their number has changed.
    pub(super) fn limit_places(&mut self) -> bool {
        let capacity = self.store.capacity();
        capacity != u32::MAX && !self.policy.keeps_all() && self.policy.limit_places(capacity)
    }

    /// Reports to the observer how many checkpoints the handler keeps.
    pub(super) fn report_places(&mut self)
    where
        B: CheckpointObserver<S::Error>,
    {
        let places = self.policy.places();
        self.observer.on_checkpoint_event(&CheckpointEvent::FewerPlaces { places });
    }

    /// Removes own checkpoints that have lost their rank, while the store contains at least `capacity` checkpoints. They
    /// are removed only while the ranking is full: then `n_saved` others remain.
    ///
    /// With `other_series`, a store that contains `capacity` checkpoints nevertheless loses the oldest checkpoint of
    /// another series, or else an own one without a rank. The last checkpoint in the store is never removed; the save
    /// then fails with the error of the store.
    #[inline(never)] // Called before and after a save.
    fn evict(&mut self, capacity: u32, other_series: bool) -> Result<(), S::Error>
    where
        B: CheckpointObserver<S::Error>,
    {
        // The highest sequence number of a checkpoint that could not be removed.
        let mut failed = None;
        loop {
            let keeps_all = self.policy.keeps_all();
            let (mut count, mut own, mut other) = (0_u32, None, None);
            let (policy, series) = (&self.policy, self.series);
            newest_where(&mut self.store, &mut |meta| {
                count = count.saturating_add(1);
                let victim = Some((meta.step, meta.sequence)).filter(|_| Some(meta.sequence) > failed);
                if meta.series != series {
                    other = other.or(victim);
                } else if !keeps_all && !policy.is_kept(meta.step) {
                    own = own.or(victim);
                }
                false
            })?;
            let mut victim = own.filter(|_| policy.is_full());
            if other_series && count > 1 {
                victim = victim.or(other).or(own);
            }
            victim = victim.filter(|_| count >= capacity);
            let Some((step, sequence)) = victim else { return Ok(()) };
            match self.store.remove(sequence) {
                Err(error) => {
                    self.observer.on_checkpoint_event(&CheckpointEvent::EvictionFailed { step, error: &error });
                    failed = Some(sequence);
                }
                Ok(()) if victim == other => {
                    self.observer.on_checkpoint_event(&CheckpointEvent::OtherSeriesEvicted { step });
                }
                Ok(()) => (),
            }
            // A store may report a successful removal but still list the checkpoint.
            if self.store.stream_count(sequence)? > 0 {
                failed = Some(sequence);
            }
        }
    }

    /// Rebuilds the ranking from the store if a ranked checkpoint is missing in the store. There are two possible
    /// causes: another program removed the checkpoint, or its commit was interrupted and the store reused its place.
    /// `new` is the step number of a stored checkpoint that is not ranked yet. Returns whether the ranking was rebuilt.
    /// If the store cannot list its checkpoints, the ranking is unchanged.
    #[inline(never)] // Called at several places.
    pub(super) fn reconcile(&mut self, new: Option<u32>) -> bool
    where
        B: CheckpointObserver<S::Error>,
    {
        let mut missing = None;
        for index in 0..self.policy.kept().len() {
            let Some(step) = self.policy.kept().get(index).map(|kept| kept.step) else { break };
            let streams = match self.find(step) {
                Ok(Some(meta)) => self.store.stream_count(meta.sequence),
                Ok(None) => Ok(0),
                Err(error) => Err(error),
            };
            if matches!(streams, Ok(0)) {
                missing = Some(step);
            }
        }
        let Some(step) = missing.filter(|_| !self.policy.keeps_all()) else { return false };
        let ranked = self.rank_stored(new);
        self.observer.on_checkpoint_event(&match &ranked {
            Ok(()) => CheckpointEvent::Disappeared { step },
            Err(error) => CheckpointEvent::ListFailed { error },
        });
        ranked.is_ok()
    }

    /// Returns the stored checkpoint of the newest point before `below`, of any series. If `below` is `None`, all points
    /// are allowed.
    pub(super) fn newest_before(&mut self, below: Option<ResumePoint>) -> Result<Option<CheckpointMeta>, S::Error> {
        let mut newest = None;
        newest_where(&mut self.store, &mut |meta| {
            let point = point_of(meta);
            let is_newest = newest.is_none_or(|newest| point >= newest) && below.is_none_or(|below| point < below);
            if is_newest {
                newest = Some(point);
            }
            is_newest
        })
    }

    /// Returns the stored checkpoint that was saved at `point`.
    pub(super) fn at_point(&mut self, point: ResumePoint) -> Result<Option<CheckpointMeta>, S::Error> {
        newest_where(&mut self.store, &mut |meta| point_of(meta) == point)
    }

    /// Returns how much of the save `pending` the store already contains. `run` and `iteration` are those in which the
    /// handler decided to save.
    #[inline(never)] // Keeps its copies of checkpoint metadata off the stack of its callers.
    pub(super) fn find_prior_write(&mut self, pending: Option<SaveDecision>, run: u32, iteration: u32) -> PriorWrite {
        let Some(SaveDecision { step, .. }) = pending else { return PriorWrite::None };
        match self.find(step) {
            Ok(Some(found)) if (found.run, found.iteration) == (run, iteration) => {
                if self.store.is_durable(found.sequence) {
                    PriorWrite::Durable
                } else if found.sequence == self.sequence {
                    PriorWrite::NotDurable
                } else {
                    PriorWrite::None
                }
            }
            _ => PriorWrite::None,
        }
    }
}

/// Returns the point in training at which a checkpoint was saved.
pub(super) const fn point_of(meta: &CheckpointMeta) -> ResumePoint {
    ResumePoint { run: meta.run, iteration: meta.iteration, sequence: meta.sequence }
}
