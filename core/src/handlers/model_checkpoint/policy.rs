//! Decides which checkpoints are saved. The [ranking](super::ranking) of this policy decides which ones are evicted.
//! This module performs no I/O.

mod settings;

pub use settings::{OnError, StepSource};

pub(super) use settings::Settings;

use super::ranking::{RankedCheckpoint, Ranking};
use super::score::NoScore;
use crate::checkpoint::{RankingRule, rule_id};
use crate::event::Counters;
use core::num::NonZeroU32;

/// The decision to save a checkpoint, with its step number and score. Each checkpoint contains the decision for its own
/// save, so these fields are part of the checkpoint format.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SaveDecision {
    /// The step number of the checkpoint.
    pub step: u32,
    /// The score of the checkpoint; never NaN.
    pub score: Option<f32>,
}

/// A policy that saves the best checkpoints by a score, or the latest ones at an interval. It also decides which
/// checkpoint is evicted.
///
/// The policy is a state machine that performs no I/O. The method [`attach`](Self::attach) combines it with a store.
/// `N`, from 1 to 255, is the largest number of checkpoints that it can keep. The [module](super) describes its rules.
///
/// ```
/// use training_monitor::ModelCheckpoint;
///
/// // Keeps the best two checkpoints by score.
/// let mut policy = ModelCheckpoint::<2>::by_score();
/// let mut stored = Vec::new();
/// for score in [0.1, 0.5, f32::NAN, 0.3, 0.2] {
///     if let Some(decision) = policy.update(Some(score)) {
///         stored.push(decision.step); // The caller writes the checkpoint and then records the commit:
///         if let Some(evicted) = policy.record_commit(decision) {
///             stored.retain(|step| *step != evicted.step);
///         }
///     }
/// }
/// assert_eq!(stored, [2, 4]);
/// assert_eq!(policy.best().map(|best| best.step), Some(2));
/// assert_eq!(policy.latest().map(|latest| latest.step), Some(4));
/// ```
#[derive(Clone, Debug)]
pub struct ModelCheckpoint<const N: usize, F = NoScore> {
    pub(super) score_function: F,
    pub(super) settings: Settings,
    interval: Option<NonZeroU32>,
    /// A checkpoint is saved only if its score is greater than this one. It is never NaN.
    initial_threshold: Option<f32>,
    /// If true, no checkpoint is removed from the store, and the ranking contains only the best `N` of them.
    keep_all: bool,
    /// The number of checkpoints to keep. The ranking has fewer places if the store has too few.
    n_saved: u8,
    calls: u32,
    ranking: Ranking<N>,
    /// The newest checkpoint that the ranking (the table of kept checkpoints) has accepted. With `keep_all`, it is the
    /// newest of all checkpoints.
    latest: Option<RankedCheckpoint>,
}

impl<const N: usize, F> ModelCheckpoint<N, F> {
    /// Counts a call and decides whether to save a checkpoint. Returns the step number and the score of the save, or
    /// `None` if there is nothing to save. A policy with an interval ignores `score`.
    pub fn update(&mut self, score: Option<f32>) -> Option<SaveDecision> {
        self.update_at(&Counters::default(), score)
    }

    /// Does the same as [`update`](Self::update), with the engine's counters. The counters give the step number
    /// for [`StepSource::Iteration`] and [`StepSource::Epoch`].
    pub fn update_at(&mut self, counters: &Counters, score: Option<f32>) -> Option<SaveDecision> {
        self.calls = self.calls.saturating_add(1);
        self.decide(counters, score)
    }

    /// Decides again about the current call. The ranking has changed since the first decision.
    pub(super) fn decide(&self, counters: &Counters, score: Option<f32>) -> Option<SaveDecision> {
        if self.interval.is_some_and(|interval| self.calls % interval != 0) {
            return None;
        }
        let step = match self.settings.step_source {
            StepSource::Calls => self.calls,
            StepSource::Iteration => counters.iteration,
            StepSource::Epoch => counters.epoch,
        };
        let score = score.filter(|_| self.interval.is_none());
        let checkpoint = RankedCheckpoint::new(step, score);
        let save = if self.keep_all {
            self.interval.is_some() || checkpoint.score().is_some()
        } else {
            self.ranking.accepts(&checkpoint)
        };
        (save && self.exceeds_threshold(checkpoint.score())).then_some(SaveDecision { step, score: checkpoint.score() })
    }

    /// Returns whether a checkpoint of this policy contains a score.
    pub(super) const fn score_is_saved(&self) -> bool {
        self.interval.is_none()
    }

    /// Returns the rule of the series.
    pub(super) const fn rule(&self) -> RankingRule {
        if self.interval.is_some() { RankingRule::Latest } else { RankingRule::Best }
    }

    /// Returns the hash of the name of the series, its rule and its score name.
    pub(super) fn rule_id(&self) -> u32 {
        rule_id(self.settings.name.as_bytes(), self.rule(), self.settings.score_name.unwrap_or_default().as_bytes())
    }

    /// Returns how many checkpoints are kept. The number is less than `n_saved` if the store has too few places.
    #[must_use]
    pub const fn places(&self) -> u8 {
        self.ranking.places()
    }

    /// Returns the configured number of checkpoints to keep.
    pub(super) fn n_saved(&self) -> u32 {
        u32::from(self.n_saved)
    }

    /// Limits the ranking to the places of a store with this capacity, which includes the place of the next save. At
    /// least one checkpoint is kept. Returns whether the number of places has changed.
    pub(super) fn limit_places(&mut self, capacity: u32) -> bool {
        let places = u8::try_from(capacity.saturating_sub(1)).unwrap_or(u8::MAX).min(self.n_saved).max(1);
        let changed = places != self.ranking.places();
        self.ranking.set_places(places);
        while self.ranking.entries().len() > usize::from(places) {
            self.ranking.remove_worst();
        }
        changed
    }

    /// Returns whether the ranking has no free place.
    pub(super) fn is_full(&self) -> bool {
        self.ranking.is_full()
    }

    /// Returns whether the ranking contains a better checkpoint with the same step number.
    pub(super) fn has_better(&self, decision: SaveDecision) -> bool {
        let new = RankedCheckpoint::new(decision.step, decision.score);
        let same_step = self.ranking.entries().iter().find(|kept| kept.step == decision.step);
        same_step.is_some_and(|kept| *kept != new && !self.ranking.accepts(&new))
    }

    /// Returns whether the checkpoint of an earlier decision would be saved now.
    pub(super) fn still_accepts(&self, decision: SaveDecision) -> bool {
        let accepted = self.keep_all || self.ranking.accepts(&RankedCheckpoint::new(decision.step, decision.score));
        // The decision of a resumed run can be that of a program with another threshold.
        accepted && self.exceeds_threshold(decision.score)
    }

    /// Returns whether the initial threshold allows to save a checkpoint with this score. A policy with an interval has no
    /// threshold.
    fn exceeds_threshold(&self, score: Option<f32>) -> bool {
        self.initial_threshold.is_none_or(|threshold| score.is_some_and(|score| score > threshold))
    }

    /// Removes a checkpoint from the ranking, because it cannot be loaded.
    pub(super) fn forget(&mut self, step: u32) {
        self.ranking.remove(step);
    }

    /// Clears the ranking. The calls continue.
    pub(super) fn clear_ranking(&mut self) {
        self.ranking.clear();
        self.latest = None;
    }

    /// Continues the step numbers after `step`, if the calls of the handler count them.
    pub(super) fn continue_after(&mut self, step: u32) {
        if self.settings.step_source == StepSource::Calls {
            self.calls = self.calls.max(step);
        }
    }

    /// Adds a checkpoint to the ranking after its commit. Returns the checkpoint that the ranking evicted, if any. A
    /// program that uses this policy without a handler removes that checkpoint from its medium.
    pub fn record_commit(&mut self, decision: SaveDecision) -> Option<RankedCheckpoint> {
        let checkpoint = RankedCheckpoint::new(decision.step, decision.score);
        let evicted = self.ranking.insert(checkpoint);
        if self.keep_all {
            self.latest = Some(checkpoint);
            return None;
        }
        if !self.is_kept(decision.step) {
            // The ranking (the table of kept checkpoints) did not accept the new checkpoint. So `evicted` is the new
            // checkpoint itself, and `latest` stays unchanged.
            return evicted;
        }
        self.latest = Some(checkpoint);
        // An evicted entry with the step number of the new checkpoint needs no removal, because the new checkpoint has
        // already replaced it in the store.
        evicted.filter(|evicted| evicted.step != decision.step)
    }

    /// Adds a stored checkpoint to the ranking (the table of kept checkpoints). Call this method for all checkpoints in
    /// the store, the oldest first. Returns the checkpoint that is evicted from the ranking, if any.
    pub fn restore_entry(&mut self, decision: SaveDecision) -> Option<RankedCheckpoint> {
        self.continue_after(decision.step);
        self.record_commit(decision)
    }

    /// Returns whether the ranking contains the checkpoint with the step number `step`.
    pub(super) fn is_kept(&self, step: u32) -> bool {
        self.ranking.entries().iter().any(|kept| kept.step == step)
    }

    /// Returns the best checkpoint. For a policy with an interval, this is the latest checkpoint.
    #[must_use]
    pub fn best(&self) -> Option<RankedCheckpoint> {
        self.ranking.best()
    }

    /// Returns the newest checkpoint that is kept.
    #[must_use]
    pub fn latest(&self) -> Option<RankedCheckpoint> {
        // The filter has an effect only before the first commit, if `latest` is not in the ranking. Each commit that
        // the ranking accepts sets `latest` to the new checkpoint. Therefore, `latest` is in the ranking after such a
        // commit.
        self.latest.filter(|latest| self.keep_all || self.is_kept(latest.step))
    }

    /// Returns the checkpoints in the ranking, from the worst to the best. With [`keep_all`](Self::keep_all), these are
    /// the best `N` checkpoints.
    #[must_use]
    pub fn kept(&self) -> &[RankedCheckpoint] {
        self.ranking.entries()
    }

    /// Returns the number of calls so far. Each call asks the policy whether to save a checkpoint.
    #[must_use]
    pub const fn calls(&self) -> u32 {
        self.calls
    }

    /// Returns whether the policy keeps all checkpoints. In this case, none is ever removed from the store.
    pub(super) const fn keeps_all(&self) -> bool {
        self.keep_all
    }

    pub(super) const fn set_calls(&mut self, calls: u32) {
        self.calls = calls;
    }

    /// Sets the number of calls to 0 and clears the ranking, to start another run with the same settings. The stored
    /// checkpoints remain.
    pub fn reset(&mut self) {
        self.calls = 0;
        self.clear_ranking();
    }
}
