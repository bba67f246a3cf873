//! Stops a run whose score no longer improves.
//!
//! The rules are Ignite's. Score is compared with best ± threshold (`Abs`) or best × (1 ± threshold) (`Rel`), plus for
//! [`Mode::Max`], minus for [`Mode::Min`]; a score that does not go *beyond* that bar is no improvement. After
//! `patience` of those in a row the decision is to stop, and it stays so for every further one. Without
//! `cumulative` a gain too small to count still moves the bar. So with patience 1 and threshold 0 the first score that
//! is not better stops the run.
//!
//! One rule is not Ignite's: a NaN is no improvement and never becomes the best. (There it counts as an improvement, so
//! that a diverged run is never stopped.)
//!
//! This file reads no engine and stops nothing by itself; [`Attached`] does.
//!
//! ```
//! use training_monitor::EarlyStopping;
//!
//! let mut stopping = EarlyStopping::new(3)?;
//! assert!(!stopping.update(1.0));
//! assert!(!stopping.update(0.5));
//! assert!(!stopping.update(f32::NAN));
//! assert!(stopping.update(1.0)); // the third in a row that is not better
//! assert_eq!((stopping.counter(), stopping.best_score()), (3, Some(1.0)));
//! assert!(EarlyStopping::new(0).is_err());
//! # Ok::<(), training_monitor::handlers::early_stopping::ConfigError>(())
//! ```

use crate::event::{Event, When};
use crate::handler::Handler;
use crate::record::{RecordReader, RecordWriter, kind};
use crate::state::{State, StopReason};
use core::fmt;
use core::num::NonZeroU32;

/// Whether a higher or a lower score is better.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Mode {
    /// Higher is better.
    #[default]
    Max,
    /// Lower is better: a loss as it is.
    Min,
}

/// What the threshold is a part of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum ThresholdMode {
    /// A difference of scores.
    #[default]
    Abs,
    /// A share of the best score. As in Ignite, a negative best turns the bar round.
    Rel,
}

/// The state machine.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct EarlyStopping {
    /// The wire has `u32`; zero is refused when this is built.
    patience: u32,
    threshold: f32,
    threshold_mode: ThresholdMode,
    mode: Mode,
    cumulative: bool,
    state: Progress,
}

/// What survives a restart. Part of the checkpoint format.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
struct Progress {
    counter: u32,
    /// Never NaN.
    best: Option<f32>,
}

impl EarlyStopping {
    /// Stops at the `patience`-th score in a row that is no improvement. Threshold 0, higher is better.
    ///
    /// # Errors
    /// [`ConfigError::Patience`] for 0.
    pub const fn new(patience: u32) -> Result<Self, ConfigError> {
        if NonZeroU32::new(patience).is_none() {
            return Err(ConfigError::Patience);
        }
        Ok(EarlyStopping {
            patience,
            threshold: 0.0,
            threshold_mode: ThresholdMode::Abs,
            mode: Mode::Max,
            cumulative: false,
            state: Progress { counter: 0, best: None },
        })
    }

    /// How much better a score must be to count (older Ignite: `min_delta`).
    ///
    /// # Errors
    /// [`ConfigError::Threshold`] when it is negative, NaN or infinite.
    pub const fn with_threshold(mut self, threshold: f32, mode: ThresholdMode) -> Result<Self, ConfigError> {
        if !(threshold >= 0.0 && threshold < f32::INFINITY) {
            return Err(ConfigError::Threshold);
        }
        self.threshold = threshold;
        self.threshold_mode = mode;
        Ok(self)
    }

    /// Whether higher or lower is better.
    #[must_use]
    pub const fn with_mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Whether small gains add up until together they pass the threshold: the bar then stays where the last improvement
    /// put it.
    #[must_use]
    pub const fn with_cumulative(mut self, cumulative: bool) -> Self {
        self.cumulative = cumulative;
        self
    }

    /// Takes the next score; true when the run should stop.
    pub fn update(&mut self, score: f32) -> bool {
        let improved = match self.state.best {
            _ if score.is_nan() => false,
            None => true,
            Some(best) => self.improves(score, best),
        };
        if improved {
            self.state = Progress { counter: 0, best: Some(score) };
            return false;
        }
        if let Some(best) = self.state.best.filter(|_| !self.cumulative) {
            let better = match self.mode {
                Mode::Max => score > best,
                Mode::Min => score < best,
            };
            if better {
                self.state.best = Some(score);
            }
        }
        self.state.counter = self.state.counter.saturating_add(1);
        self.state.counter >= self.patience
    }

    fn improves(&self, score: f32, best: f32) -> bool {
        let margin = match self.mode {
            Mode::Max => self.threshold,
            Mode::Min => -self.threshold,
        };
        let bar = match self.threshold_mode {
            ThresholdMode::Abs => best + margin,
            ThresholdMode::Rel => best * (1.0 + margin),
        };
        match self.mode {
            Mode::Max => score > bar,
            Mode::Min => score < bar,
        }
    }

    /// Scores in a row that were no improvement.
    #[must_use]
    pub const fn counter(&self) -> u32 {
        self.state.counter
    }

    /// The best score so far; `None` before the first that is a number.
    #[must_use]
    pub const fn best_score(&self) -> Option<f32> {
        self.state.best
    }

    /// After how many it stops.
    #[must_use]
    pub const fn patience(&self) -> u32 {
        self.patience
    }

    /// Forgets all scores, for a new run with the same settings.
    pub const fn reset(&mut self) {
        self.state = Progress { counter: 0, best: None };
    }

    /// Makes it a handler: whenever `when` fires it takes the score and terminates the engine it is attached to with
    /// [`StopReason::EarlyStopping`]. Attached to an evaluator, [`State::follow`] passes that on to the trainer.
    pub const fn attach<W, F>(self, when: W, score: F) -> Attached<W, F> {
        Attached { early_stopping: self, when, score }
    }
}

/// An [`EarlyStopping`] that watches an engine.
#[derive(Clone, Copy, Debug)]
pub struct Attached<W, F> {
    /// The state machine.
    pub early_stopping: EarlyStopping,
    when: W,
    score: F,
}

impl<T: ?Sized, O, X, W: When, F: FnMut(&State<O, X>) -> f32> Handler<T, O, X> for Attached<W, F> {
    #[inline(always)]
    fn on_event(&mut self, event: Event, _: &mut T, state: &mut State<O, X>) {
        if self.when.fires(event, state.counters()) && self.early_stopping.update((self.score)(state)) {
            state.terminate(StopReason::EarlyStopping);
        }
    }
    fn save_state(&mut self, _: &State<O, X>, record: &mut RecordWriter<'_>) {
        self.early_stopping.save_state(record);
    }
    fn restore_state(&mut self, _: &mut State<O, X>, record: &mut RecordReader<'_>) {
        self.early_stopping.restore_state(record);
    }
}

impl EarlyStopping {
    fn save_state(&self, record: &mut RecordWriter<'_>) {
        record.fields(kind::EARLY_STOPPING, |to| {
            to.number(self.state.counter.into());
            to.score(self.state.best);
        });
    }

    fn restore_state(&mut self, record: &mut RecordReader<'_>) {
        let state =
            record.fields(kind::EARLY_STOPPING, |from| Some(Progress { counter: from.number()?, best: from.score()? }));
        if let Some(state) = state {
            self.state = state;
        }
    }
}

/// Why an [`EarlyStopping`] cannot be built.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ConfigError {
    /// Patience is a positive number.
    Patience,
    /// The threshold is a finite number that is not negative.
    Threshold,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConfigError::Patience => "patience should be a positive integer",
            ConfigError::Threshold => "threshold should be a finite number of at least 0",
        })
    }
}

impl core::error::Error for ConfigError {}
