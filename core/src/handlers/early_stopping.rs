//! Stops a run whose score no longer improves.
//!
//! The rules are Ignite's. A score is an improvement if it exceeds best + threshold (`Abs`) or best × (1 + threshold)
//! (`Rel`) in [`Mode::Max`]; in [`Mode::Min`] the signs are reversed. After `patience` scores in a row without an
//! improvement, the decision is to stop, and it remains so for every further score without an improvement. Without
//! `cumulative`, a better score that does not exceed the threshold still becomes the new best. With patience 1 and
//! threshold 0, the first score that is not better stops the run.
//!
//! One rule differs from Ignite: a NaN is never an improvement and never becomes the best score. (In Ignite a NaN counts
//! as an improvement, so a diverged run is never stopped.)
//!
//! ```
//! use training_monitor::EarlyStopping;
//!
//! let mut stopping = EarlyStopping::new(3)?;
//! assert!(!stopping.update(1.0));
//! assert!(!stopping.update(0.5));
//! assert!(!stopping.update(f32::NAN));
//! assert!(stopping.update(1.0)); // the third score in a row that is not better
//! assert_eq!((stopping.counter(), stopping.best_score()), (3, Some(1.0)));
//! assert!(EarlyStopping::new(0).is_err());
//! # Ok::<(), training_monitor::handlers::early_stopping::ConfigError>(())
//! ```

use crate::event::{Event, EventFilter};
use crate::handler::Handler;
use crate::run_record::{HandlerKind, HandlerStates, Persist, StateCodec, StateDecoder, StateEncoder};
use crate::state::{State, StopReason};
use core::fmt;

/// Whether a higher or a lower score is better.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Mode {
    /// A higher score is better.
    #[default]
    Max,
    /// A lower score is better, for example a loss.
    Min,
}

/// How the threshold is applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum ThresholdMode {
    /// The threshold is a difference of scores.
    #[default]
    Abs,
    /// The threshold is a fraction of the best score. As in Ignite, a negative best score reverses its direction.
    Rel,
}

/// The early-stopping state machine.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct EarlyStopping {
    /// Never 0.
    patience: u32,
    threshold: f32,
    threshold_mode: ThresholdMode,
    mode: Mode,
    cumulative: bool,
    progress: Progress,
}

/// The state of an [`EarlyStopping`] in a checkpoint. Part of the checkpoint format.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Progress {
    counter: u32,
    /// Never NaN.
    best: Option<f32>,
}

impl StateCodec for Progress {
    fn encode(&self, encoder: &mut StateEncoder<'_>) {
        encoder.write_u32(self.counter);
        encoder.write_opt_f32(self.best);
    }
    fn decode(decoder: &mut StateDecoder<'_>) -> Option<Self> {
        Some(Progress { counter: decoder.read_u32()?, best: decoder.read_opt_f32()? })
    }
}

impl EarlyStopping {
    /// Stops at the `patience`-th score in a row without an improvement. The threshold is 0 and a higher score is better.
    ///
    /// # Errors
    /// [`ConfigError::Patience`] if `patience` is 0.
    pub const fn new(patience: u32) -> Result<Self, ConfigError> {
        if patience == 0 {
            return Err(ConfigError::Patience);
        }
        Ok(EarlyStopping {
            patience,
            threshold: 0.0,
            threshold_mode: ThresholdMode::Abs,
            mode: Mode::Max,
            cumulative: false,
            progress: Progress { counter: 0, best: None },
        })
    }

    /// Sets by how much a score must exceed the best one to be an improvement (`min_delta` in earlier versions of
    /// Ignite).
    ///
    /// # Errors
    /// [`ConfigError::Threshold`] if `threshold` is negative, NaN or infinite.
    pub const fn with_threshold(mut self, threshold: f32, mode: ThresholdMode) -> Result<Self, ConfigError> {
        if !(threshold >= 0.0 && threshold < f32::INFINITY) {
            return Err(ConfigError::Threshold);
        }
        self.threshold = threshold;
        self.threshold_mode = mode;
        Ok(self)
    }

    /// Sets whether a higher or a lower score is better.
    #[must_use]
    pub const fn with_mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets whether small gains add up: if true, the best score changes only at an improvement, so several gains below
    /// the threshold together can exceed it.
    #[must_use]
    pub const fn with_cumulative(mut self, cumulative: bool) -> Self {
        self.cumulative = cumulative;
        self
    }

    /// Adds a score. Returns true if the run should stop.
    pub fn update(&mut self, score: f32) -> bool {
        let improved = match self.progress.best {
            _ if score.is_nan() => false,
            None => true,
            Some(best) => self.improves(score, best),
        };
        if improved {
            self.progress = Progress { counter: 0, best: Some(score) };
            return false;
        }
        if let Some(best) = self.progress.best.filter(|_| !self.cumulative) {
            let better = match self.mode {
                Mode::Max => score > best,
                Mode::Min => score < best,
            };
            if better {
                self.progress.best = Some(score);
            }
        }
        self.progress.counter = self.progress.counter.saturating_add(1);
        self.progress.counter >= self.patience
    }

    fn improves(&self, score: f32, best: f32) -> bool {
        let margin = match self.mode {
            Mode::Max => self.threshold,
            Mode::Min => -self.threshold,
        };
        let limit = match self.threshold_mode {
            ThresholdMode::Abs => best + margin,
            ThresholdMode::Rel => best * (1.0 + margin),
        };
        match self.mode {
            Mode::Max => score > limit,
            Mode::Min => score < limit,
        }
    }

    /// The number of scores in a row without an improvement.
    #[must_use]
    pub const fn counter(&self) -> u32 {
        self.progress.counter
    }

    /// The best score so far; `None` before the first score that is not NaN.
    #[must_use]
    pub const fn best_score(&self) -> Option<f32> {
        self.progress.best
    }

    /// The number of scores in a row without an improvement at which the run stops.
    #[must_use]
    pub const fn patience(&self) -> u32 {
        self.patience
    }

    /// The number of further scores without an improvement at which the run stops.
    #[must_use]
    pub const fn remaining_patience(&self) -> u32 {
        self.patience.saturating_sub(self.progress.counter)
    }

    /// Removes all scores, for a new run with the same settings.
    pub const fn reset(&mut self) {
        self.progress = Progress { counter: 0, best: None };
    }

    /// Attaches the state machine to an event: at each event that `filter` selects, it adds the score that `score`
    /// returns. When patience is exhausted, it terminates the run with [`StopReason::EarlyStopping`]. If it is attached to
    /// an evaluator, [`State::terminate_if_stopped`] terminates the trainer.
    pub const fn attach<O, X, W, F>(self, filter: W, score: F) -> EarlyStoppingHandler<W, F>
    where
        W: EventFilter,
        F: FnMut(&State<O, X>) -> f32,
    {
        EarlyStoppingHandler { early_stopping: self, filter, score, observer: () }
    }
}

impl Persist for EarlyStopping {
    const KIND: HandlerKind = HandlerKind::EARLY_STOPPING;
    type State = Progress;
    fn save(&mut self) -> Progress {
        self.progress
    }
    fn restore(&mut self, progress: Progress) {
        self.progress = progress;
    }
}

/// An [`EarlyStopping`] that is attached to an event.
#[derive(Clone, Copy, Debug)]
pub struct EarlyStoppingHandler<W, F, B = ()> {
    /// The state machine.
    pub early_stopping: EarlyStopping,
    filter: W,
    score: F,
    observer: B,
}

impl<W, F> EarlyStoppingHandler<W, F> {
    /// Calls `observer` after each score with the state machine and the state of the run, for example to report the
    /// [remaining patience](EarlyStopping::remaining_patience).
    pub fn observe<O, X, B: FnMut(&EarlyStopping, &State<O, X>)>(self, observer: B) -> EarlyStoppingHandler<W, F, B> {
        let EarlyStoppingHandler { early_stopping, filter, score, .. } = self;
        EarlyStoppingHandler { early_stopping, filter, score, observer }
    }
}

/// Observes the scores of an [`EarlyStoppingHandler`]: a closure `FnMut(&EarlyStopping, &State<O, X>)`, or `()` for none.
pub trait EarlyStoppingObserver<O, X> {
    /// Called after each score.
    fn on_score(&mut self, early_stopping: &EarlyStopping, state: &State<O, X>);
}

/// Observes nothing.
impl<O, X> EarlyStoppingObserver<O, X> for () {
    #[inline(always)]
    fn on_score(&mut self, _: &EarlyStopping, _: &State<O, X>) {}
}

impl<O, X, B: FnMut(&EarlyStopping, &State<O, X>)> EarlyStoppingObserver<O, X> for B {
    #[inline]
    fn on_score(&mut self, early_stopping: &EarlyStopping, state: &State<O, X>) {
        self(early_stopping, state);
    }
}

impl<T, O, X, W, F, B> Handler<T, O, X> for EarlyStoppingHandler<W, F, B>
where
    T: ?Sized,
    W: EventFilter,
    F: FnMut(&State<O, X>) -> f32,
    B: EarlyStoppingObserver<O, X>,
{
    #[inline(always)]
    fn on_event(&mut self, event: Event, _: &mut T, state: &mut State<O, X>) {
        if !self.filter.matches(event, state.counters()) {
            return;
        }
        let stop = self.early_stopping.update((self.score)(state));
        self.observer.on_score(&self.early_stopping, state);
        if stop {
            state.terminate(StopReason::EarlyStopping);
        }
    }
    fn persist(&mut self, _: &mut State<O, X>, states: &mut HandlerStates<'_>) {
        states.visit(&mut self.early_stopping);
    }
}

/// Why an [`EarlyStopping`] cannot be constructed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ConfigError {
    /// `patience` is 0.
    Patience,
    /// `threshold` is negative, NaN or infinite.
    Threshold,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConfigError::Patience => "early stopping: `patience` is 0; it must be at least 1",
            ConfigError::Threshold => "early stopping: `threshold` must be a finite number of at least 0",
        })
    }
}

impl core::error::Error for ConfigError {}
