//! Stops a run whose score has reached a target, or is much too bad.
//!
//! The rules are those of Lightning's `EarlyStopping`, apart from its patience. They apply in this order:
//!
//! | setting | the run stops if | reason |
//! | --- | --- | --- |
//! | [`with_check_finite`](ScoreLimits::with_check_finite), on by default | the score is NaN or infinite | [`StopReason::NonFinite`] |
//! | [`with_target`](ScoreLimits::with_target) (`stopping_threshold`) | the score is better than the target | [`StopReason::TargetReached`] |
//! | [`with_divergence_limit`](ScoreLimits::with_divergence_limit) (`divergence_threshold`) | the score is worse than the limit | [`StopReason::Diverged`] |
//!
//! A score that is equal to a limit does not stop the run. Without the check for finite scores, a NaN never stops the run,
//! and an infinity is better or worse than a limit as every number is.
//!
//! The limits have no state, so a checkpoint contains nothing of them. For a patience as well,
//! use [`EarlyStopping`](crate::EarlyStopping) beside them. If its threshold (`min_delta`) is absolute and it
//! is `cumulative`, both together follow Lightning's rules. In Lightning, a score that stops the run because of a limit
//! changes neither the counter nor the best score of the patience. In this crate, all handlers receive the event, so an
//! attached `EarlyStopping` includes that last score.
//!
//! ```
//! use training_monitor::event::EpochCompleted;
//! use training_monitor::handlers::early_stopping::Mode;
//! use training_monitor::{EarlyStopping, Engine, ScoreLimits, StopReason};
//!
//! // The score is a loss: 0.25 is good enough, and above 10 the training has diverged.
//! let limits = ScoreLimits::new().with_mode(Mode::Min).with_target(0.25)?.with_divergence_limit(10.0)?;
//! assert_eq!(limits.update(0.25), None);
//! assert_eq!(limits.update(0.2), Some(StopReason::TargetReached));
//! assert_eq!(limits.update(11.0), Some(StopReason::Diverged));
//! assert_eq!(limits.update(f32::NAN), Some(StopReason::NonFinite));
//!
//! let loss = |state: &training_monitor::State<f32>| state.output.unwrap_or(f32::NAN);
//! let mut handlers = (
//!     limits.attach(EpochCompleted, loss),
//!     EarlyStopping::new(3)?.with_mode(Mode::Min).attach(EpochCompleted, loss),
//! );
//! let outcome = Engine::new(9).run(&mut 1.0, 0..1, &mut handlers, |loss, _, _| { *loss *= 0.5; *loss })?;
//! assert_eq!((outcome.reason, outcome.epoch), (StopReason::TargetReached, 3));
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

use super::early_stopping::Mode;
use crate::config::ConfigError;
use crate::event::{Event, EventFilter};
use crate::handler::Handler;
use crate::state::{State, StopReason};

/// A state machine without a state that compares a score with limits.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ScoreLimits {
    mode: Mode,
    check_finite: bool,
    target: Option<f32>,
    divergence_limit: Option<f32>,
}

impl Default for ScoreLimits {
    fn default() -> Self {
        Self::new()
    }
}

impl ScoreLimits {
    /// Creates limits that only stop a run with a NaN or infinite score. A higher score is better by default.
    #[must_use]
    pub const fn new() -> Self {
        ScoreLimits { mode: Mode::Max, check_finite: true, target: None, divergence_limit: None }
    }

    /// Sets whether a higher or a lower score is better.
    #[must_use]
    pub const fn with_mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets whether a NaN or infinite score stops the run. The default is true.
    #[must_use]
    pub const fn with_check_finite(mut self, check_finite: bool) -> Self {
        self.check_finite = check_finite;
        self
    }

    /// Sets the target: a better score stops the run.
    ///
    /// # Errors
    /// Returns [`ConfigError::ScoreLimit`] if `target` is NaN or infinite.
    pub const fn with_target(mut self, target: f32) -> Result<Self, ConfigError> {
        if !target.is_finite() {
            return Err(ConfigError::ScoreLimit);
        }
        self.target = Some(target);
        Ok(self)
    }

    /// Sets the divergence limit: a worse score stops the run.
    ///
    /// # Errors
    /// Returns [`ConfigError::ScoreLimit`] if `limit` is NaN or infinite.
    pub const fn with_divergence_limit(mut self, limit: f32) -> Result<Self, ConfigError> {
        if !limit.is_finite() {
            return Err(ConfigError::ScoreLimit);
        }
        self.divergence_limit = Some(limit);
        Ok(self)
    }

    /// Compares `score` with the limits. Returns the reason if the run should stop.
    #[must_use]
    pub fn update(&self, score: f32) -> Option<StopReason> {
        if self.check_finite && !score.is_finite() {
            Some(StopReason::NonFinite)
        } else if self.target.is_some_and(|target| self.is_better(score, target)) {
            Some(StopReason::TargetReached)
        } else if self.divergence_limit.is_some_and(|limit| self.is_better(limit, score)) {
            Some(StopReason::Diverged)
        } else {
            None
        }
    }

    fn is_better(&self, score: f32, other: f32) -> bool {
        match self.mode {
            Mode::Max => score > other,
            Mode::Min => score < other,
        }
    }

    /// Attaches the limits to a run. At each event that `filter` selects, the handler passes the result of `score`
    /// to [`update`](Self::update), and terminates the run with the returned reason. If that run is an
    /// evaluation, [`State::terminate_if_stopped`] can terminate the training run as well.
    ///
    /// If another handler terminates the run at the same event, the reason of the handler that comes first in the tuple
    /// is kept.
    pub const fn attach<O, X, W, F>(self, filter: W, score: F) -> ScoreLimitsHandler<W, F>
    where
        W: EventFilter,
        F: FnMut(&State<O, X>) -> f32,
    {
        ScoreLimitsHandler { score_limits: self, filter, score }
    }
}

/// A handler that stops a run because of its score. Created by [`ScoreLimits::attach`].
#[derive(Clone, Copy, Debug)]
pub struct ScoreLimitsHandler<W, F> {
    /// The limits.
    pub score_limits: ScoreLimits,
    filter: W,
    score: F,
}

impl<T, O, X, W, F> Handler<T, O, X> for ScoreLimitsHandler<W, F>
where
    T: ?Sized,
    W: EventFilter,
    F: FnMut(&State<O, X>) -> f32,
{
    #[inline(always)]
    fn on_event(&mut self, event: Event, _: &mut T, state: &mut State<O, X>) {
        if !self.filter.matches(event, state.counters()) {
            return;
        }
        if let Some(reason) = self.score_limits.update((self.score)(state)) {
            state.terminate(reason);
        }
    }
}
