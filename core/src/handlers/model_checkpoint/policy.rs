//! Decides which checkpoints are saved. The [ranking](super::ranking) of this policy decides which ones are evicted.
//! This module performs no I/O.

use super::ranking::{Order, RankedCheckpoint, Ranking};
use super::score::{NoScore, ScoreArgument, ScoreFunction, Scored};
use crate::checkpoint::{RankingRule, rule_id};
use crate::config::ConfigError;
use crate::event::Counters;
use crate::state::State;
use core::num::NonZeroU32;

/// The source of a checkpoint's step number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum StepSource {
    /// The number of calls of the handler, as in Ignite 0.2.0.
    #[default]
    Calls,
    /// The engine's iteration.
    Iteration,
    /// The engine's epoch.
    Epoch,
}

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

/// What a checkpoint handler does after a failed save.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum OnError {
    /// Terminate the run.
    #[default]
    Stop,
    /// Continue the run without this checkpoint.
    Continue,
    /// Repeat the save up to this number of times. If all attempts fail, continue the run without this checkpoint.
    Retry(u8),
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

/// Settings for the saves of a checkpoint handler, such as its reaction to a failed save.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub step_source: StepSource,
    pub name: &'static str,
    pub score_name: Option<&'static str>,
    pub on_error: OnError,
    pub allow_non_finite: bool,
    pub metadata: &'static [(&'static str, &'static [u8])],
}

impl<const N: usize> ModelCheckpoint<N> {
    /// Creates a policy that saves at every `calls`-th call and keeps the latest `N` checkpoints (Ignite's
    /// `save_interval`). The first checkpoint has the step number `calls`.
    ///
    /// # Errors
    /// Returns [`ConfigError::SaveInterval`] if `calls` is 0.
    pub fn every(calls: u32) -> Result<Self, ConfigError> {
        let interval = NonZeroU32::new(calls).ok_or(ConfigError::SaveInterval)?;
        Ok(Self::new(Some(interval), Order::Latest, NoScore))
    }

    /// Creates a policy that saves the best `N` checkpoints by score. The closure `score` computes the score. A higher
    /// score is better (Ignite's `score_function`).
    pub fn best_by<O, X, F: FnMut(&State<O, X>) -> f32>(score: F) -> ModelCheckpoint<N, ScoreFunction<F>> {
        ModelCheckpoint::new(None, Order::Score, ScoreFunction(score))
    }

    /// Creates a policy that saves the best `N` checkpoints by score. The program passes each score
    /// to [`update`](Self::update).
    #[must_use]
    pub fn by_score() -> ModelCheckpoint<N, ScoreArgument> {
        ModelCheckpoint::new(None, Order::Score, ScoreArgument)
    }
}

impl<const N: usize, F: Scored> ModelCheckpoint<N, F> {
    /// Sets the name of the score. Checkpoints and file names contain this name.
    ///
    /// # Errors
    /// Returns [`ConfigError::ScoreName`] if `name` is empty or longer than [`MAX_NAME`](crate::checkpoint::MAX_NAME)
    /// bytes.
    pub fn with_score_name(mut self, name: &'static str) -> Result<Self, ConfigError> {
        if name.is_empty() || name.len() > crate::checkpoint::MAX_NAME {
            return Err(ConfigError::ScoreName);
        }
        self.settings.score_name = Some(name);
        Ok(self)
    }

    /// Sets whether a new checkpoint replaces the worst one if both have the same score. The default is false.
    #[must_use]
    pub fn with_greater_or_equal(mut self, or_equal: bool) -> Self {
        self.ranking.set_greater_or_equal(or_equal);
        self
    }
}

impl<const N: usize, F> ModelCheckpoint<N, F> {
    fn new(interval: Option<NonZeroU32>, order: Order, score_function: F) -> Self {
        const { assert!(N >= 1 && N <= 255, "a ModelCheckpoint keeps between 1 and 255 checkpoints") }
        ModelCheckpoint {
            score_function,
            settings: Settings {
                step_source: StepSource::Calls,
                name: "",
                score_name: None,
                on_error: OnError::Stop,
                allow_non_finite: false,
                metadata: &[],
            },
            interval,
            keep_all: false,
            n_saved: N as u8,
            calls: 0,
            ranking: Ranking::new(N, order, false),
            latest: None,
        }
    }

    /// Sets the name of the series. Two handlers that save to the same place need different names if they have the same
    /// rule and the same score name. The default is the empty name.
    ///
    /// # Errors
    /// Returns [`ConfigError::SeriesName`] if `name` is longer than [`MAX_NAME`](crate::checkpoint::MAX_NAME) bytes.
    pub fn with_series_name(mut self, name: &'static str) -> Result<Self, ConfigError> {
        if name.len() > crate::checkpoint::MAX_NAME {
            return Err(ConfigError::SeriesName);
        }
        self.settings.name = name;
        Ok(self)
    }

    /// Adds named strings or bytes to each checkpoint, for example the version of the firmware. The names must be in
    /// ascending order of their bytes; this is checked at the start of the run.
    ///
    /// ```
    /// # use training_monitor::ModelCheckpoint;
    /// let policy = ModelCheckpoint::<3>::every(1)?.with_metadata(&[("device", b"A7"), ("firmware", b"1.4.0")]);
    /// # Ok::<(), training_monitor::ConfigError>(())
    /// ```
    #[must_use]
    pub fn with_metadata(mut self, metadata: &'static [(&'static str, &'static [u8])]) -> Self {
        self.settings.metadata = metadata;
        self
    }

    /// Sets the number of checkpoints that are kept. The default is `N`, the table size.
    ///
    /// # Errors
    /// Returns [`ConfigError::NSaved`] if `n_saved` is 0 or greater than `N`.
    pub fn with_n_saved(mut self, n_saved: u32) -> Result<Self, ConfigError> {
        match u8::try_from(n_saved) {
            Ok(places) if places > 0 && usize::from(places) <= N => {
                self.n_saved = places;
                self.ranking.set_places(places);
            }
            _ => return Err(ConfigError::NSaved { n_saved, table: N }),
        }
        Ok(self)
    }

    /// Keeps all checkpoints (Ignite's `n_saved=None`).
    #[must_use]
    pub fn keep_all(mut self) -> Self {
        self.keep_all = true;
        self
    }

    /// Sets where the step numbers of checkpoints come from. The default is [`StepSource::Calls`].
    #[must_use]
    pub fn with_step_source(mut self, source: StepSource) -> Self {
        self.settings.step_source = source;
        self
    }

    /// Sets what the handler does after a failed save. The default is [`OnError::Stop`].
    #[must_use]
    pub fn with_on_error(mut self, policy: OnError) -> Self {
        self.settings.on_error = policy;
        self
    }

    /// Sets whether a model with NaN or infinite weights may be saved. The default is false.
    #[must_use]
    pub fn with_allow_non_finite(mut self, allow: bool) -> Self {
        self.settings.allow_non_finite = allow;
        self
    }

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
        save.then_some(SaveDecision { step, score: checkpoint.score() })
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

    /// Returns whether the ranking would accept the checkpoint of an earlier decision now.
    pub(super) fn still_accepts(&self, decision: SaveDecision) -> bool {
        self.keep_all || self.ranking.accepts(&RankedCheckpoint::new(decision.step, decision.score))
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
