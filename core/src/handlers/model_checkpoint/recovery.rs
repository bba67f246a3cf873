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

/// The content of a store, as a handler sees it.
struct Listing {
    /// The number of checkpoints of all series.
    count: u32,
    /// The oldest checkpoint of the handler's series that is not in its ranking.
    own_unranked: Option<CheckpointMeta>,
    /// The oldest checkpoint of another series.
    other: Option<CheckpointMeta>,
}

impl<const N: usize, W, S: Store, F, B> CheckpointHandler<N, W, S, F, B> {
    /// Calls `visit` for each stored checkpoint, the oldest first.
    pub(super) fn list(&mut self, mut visit: impl FnMut(&CheckpointMeta)) -> Result<(), S::Error> {
        let mut index = 0;
        while let Some(meta) = self.store.checkpoint(index)? {
            visit(&meta);
            index += 1;
        }
        Ok(())
    }

    /// Adapts the handler to the model of a save, a load or a run. If the model has another signature than before, the
    /// handler continues another series, whose ranking is rebuilt from the store.
    pub(super) fn bind<T: Objects + ?Sized>(&mut self, objects: &mut T) -> Result<(), S::Error> {
        let model = model_signature(objects);
        if model == self.series.model {
            return Ok(());
        }
        self.series.model = model;
        self.rank_stored(None)
    }

    /// Rebuilds the ranking from the checkpoints of the series in the store, except the one with the step number
    /// `except`. The calls continue after the highest step number of all series, so that two series do not use the same
    /// file name.
    pub(super) fn rank_stored(&mut self, except: Option<u32>) -> Result<(), S::Error> {
        // Lists once before anything changes: an error leaves the ranking unchanged.
        self.list(|_| ())?;
        self.policy.clear_ranking();
        let mut index = 0;
        while let Some(CheckpointMeta { step, score, series, .. }) = self.store.checkpoint(index)? {
            if series == self.series && Some(step) != except {
                self.policy.record_commit(SaveDecision { step, score });
            }
            index += 1;
        }
        Ok(())
    }

    /// Returns the stored checkpoint of the series with the step number `step`.
    pub(super) fn find(&mut self, step: u32) -> Result<Option<CheckpointMeta>, S::Error> {
        let (series, mut found) = (self.series, None);
        self.list(|meta| {
            if meta.step == step && meta.series == series {
                found = Some(*meta);
            }
        })?;
        Ok(found)
    }

    /// Removes the checkpoints of the series that are not in the ranking, as far as the rules allow it at this moment:
    /// only while the ranking is full. A save does this, too. Call this method before an operation that needs a free
    /// place in the store, such as erasing flash ahead of a save.
    pub fn evict_unranked(&mut self)
    where
        B: CheckpointObserver<S::Error>,
    {
        if self.policy.keeps_all() || !self.policy.is_full() {
            return;
        }
        let mut index = 0;
        loop {
            let meta = match self.store.checkpoint(index) {
                Ok(Some(meta)) => meta,
                Ok(None) => return,
                Err(error) => return self.observer.on_checkpoint_event(&CheckpointEvent::ListFailed { error: &error }),
            };
            let removed = self.is_unranked(&meta) && self.remove(&meta);
            index += u32::from(!removed);
        }
    }

    fn is_unranked(&self, meta: &CheckpointMeta) -> bool {
        meta.series == self.series && !self.policy.is_kept(meta.step)
    }

    /// Removes a checkpoint from the store. Reports a failure. Returns whether the store no longer lists the checkpoint.
    fn remove(&mut self, meta: &CheckpointMeta) -> bool
    where
        B: CheckpointObserver<S::Error>,
    {
        if let Err(error) = self.store.remove(meta.sequence) {
            self.observer.on_checkpoint_event(&CheckpointEvent::EvictionFailed { step: meta.step, error: &error });
            return false;
        }
        // A store may report a successful removal but still list the checkpoint.
        self.store.stream_count(meta.sequence).is_ok_and(|streams| streams == 0)
    }

    /// Frees a place for a new checkpoint, if the store has a limited number of places and none is free.
    ///
    /// The first choice is a checkpoint of the own series that has lost its rank, then the oldest checkpoint of another
    /// series. If the store has fewer places than `n_saved` + 1, the worst ranked checkpoint is evicted. The last
    /// checkpoint in the store is never removed: the save then fails with the error of the store.
    pub(super) fn make_room(&mut self) -> Result<(), S::Error>
    where
        B: CheckpointObserver<S::Error>,
    {
        let capacity = self.store.capacity();
        if capacity == u32::MAX {
            return Ok(());
        }
        if !self.policy.keeps_all() && self.policy.limit_places(capacity) {
            let places = self.policy.places();
            self.observer.on_checkpoint_event(&CheckpointEvent::FewerPlaces { places });
        }
        loop {
            let listing = self.survey()?;
            if listing.count < capacity || listing.count <= 1 {
                return Ok(());
            }
            let own = listing.own_unranked.filter(|_| !self.policy.keeps_all());
            let victim = own.filter(|_| self.policy.is_full()).or(listing.other).or(own);
            let Some(victim) = victim.filter(|victim| self.remove(victim)) else { return Ok(()) };
            if victim.series != self.series {
                self.observer.on_checkpoint_event(&CheckpointEvent::OtherSeriesEvicted { step: victim.step });
            }
        }
    }

    fn survey(&mut self) -> Result<Listing, S::Error> {
        let mut listing = Listing { count: 0, own_unranked: None, other: None };
        let mut index = 0;
        while let Some(meta) = self.store.checkpoint(index)? {
            listing.count = listing.count.saturating_add(1);
            if meta.series != self.series {
                listing.other.get_or_insert(meta);
            } else if self.is_unranked(&meta) {
                listing.own_unranked.get_or_insert(meta);
            }
            index += 1;
        }
        Ok(listing)
    }

    /// Rebuilds the ranking from the store if a ranked checkpoint is missing in the store. There are two possible
    /// causes: another program removed the checkpoint, or its commit was interrupted and the store reused its place.
    /// `new` is the step number of a stored checkpoint that is not ranked yet. Returns whether the ranking was rebuilt.
    /// If the store cannot list its checkpoints, the ranking is unchanged.
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
        match self.rank_stored(new) {
            Ok(()) => self.observer.on_checkpoint_event(&CheckpointEvent::Disappeared { step }),
            Err(error) => {
                self.observer.on_checkpoint_event(&CheckpointEvent::ListFailed { error: &error });
                return false;
            }
        }
        true
    }

    /// Returns the stored checkpoint of the newest point before `below`, of any series. If `below` is `None`, all points
    /// are allowed.
    pub(super) fn newest_before(&mut self, below: Option<ResumePoint>) -> Result<Option<CheckpointMeta>, S::Error> {
        let mut newest: Option<CheckpointMeta> = None;
        self.list(|meta| {
            let is_older = below.is_none_or(|below| point_of(meta) < below);
            if is_older && newest.is_none_or(|newest| point_of(&newest) <= point_of(meta)) {
                newest = Some(*meta);
            }
        })?;
        Ok(newest)
    }

    /// Returns the newest stored checkpoint that was saved at `point`.
    pub(super) fn at_point(&mut self, point: ResumePoint) -> Result<Option<CheckpointMeta>, S::Error> {
        let mut found = None;
        self.list(|meta| {
            if point_of(meta) == point {
                found = Some(*meta);
            }
        })?;
        Ok(found)
    }

    /// Returns how much of the save `pending` the store already contains. `point` is the point at which the handler
    /// decided to save.
    #[inline(never)] // Keeps its copies of checkpoint metadata off the stack of its callers.
    pub(super) fn find_prior_write(&mut self, pending: Option<SaveDecision>, point: ResumePoint) -> PriorWrite {
        match (pending, self.at_point(point).ok().flatten()) {
            (Some(decision), Some(found)) if decision.step == found.step && found.series == self.series => {
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
    ResumePoint { run: meta.run, iteration: meta.iteration }
}
