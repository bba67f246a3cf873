//! Stops a run whose score no longer improves.
//!
//! The rules are Ignite's. In [`Mode::Max`], a score is an improvement if it exceeds best + threshold (`Abs`) or best ×
//! (1 + threshold) (`Rel`). In [`Mode::Min`], the signs are reversed. After `patience` scores in a row without an
//! improvement, the run should stop. A further score without an improvement gives the same result. Without
//! `cumulative`, a better score that is not an improvement still becomes the best score. With patience 1 and threshold
//! 0, the first score that is not better stops the run.
//!
//! There are two ways to give a run time before it can stop. They are the warm-ups of two other frameworks:
//!
//! | warm-up | how | rule | source |
//! | --- | --- | --- | --- |
//! | ignore the first scores | the event filter `EpochCompleted.after(n)` | the first n scores neither count nor become the best score | Keras `start_from_epoch` |
//! | do not stop in the first epochs | [`EarlyStoppingHandler::with_warmup`] | all scores count, but the run stops after epoch n at the earliest | burn `warmup_epochs` |
//!
//! A [baseline](EarlyStopping::with_baseline) is a score that the run must beat within the patience. An improvement that
//! does not beat the baseline becomes the best score, but counts as a score without an improvement. The setting is that
//! of Keras. Keras does not check the patience after an improvement, so a run that improves below the baseline never
//! stops there. Here, each score is checked, also the first one.
//!
//! One rule differs from Ignite: a NaN is never an improvement and never becomes the best score. (In Ignite, a NaN
//! counts as an improvement, so a diverged run is never stopped.)
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
//! # Ok::<(), training_monitor::ConfigError>(())
//! ```

mod handler;

pub use handler::{EarlyStoppingHandler, EarlyStoppingObserver, EarlyStoppingWarmup, WarmupEpochs};

use crate::config::ConfigError;
use crate::hash::{Hash, fold};
use crate::run_record::{HandlerKind, Persist, StateCodec, StateDecoder, StateEncoder};

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

impl Mode {
    /// Returns whether `score` is better than `best` by more than the threshold.
    #[inline(always)] // See `EarlyStopping::improves`.
    pub(super) fn is_improvement(self, score: f32, best: f32, threshold: f32, threshold_mode: ThresholdMode) -> bool {
        let margin = match self {
            Mode::Max => threshold,
            Mode::Min => -threshold,
        };
        let limit = match threshold_mode {
            ThresholdMode::Abs => best + margin,
            ThresholdMode::Rel => best * (1.0 + margin),
        };
        match self {
            Mode::Max => score > limit,
            Mode::Min => score < limit,
        }
    }
}

/// Whether the threshold (the minimum gain of an improvement) is a difference of scores or a fraction of the best
/// score.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum ThresholdMode {
    /// The threshold is a difference of scores.
    #[default]
    Abs,
    /// The threshold is a fraction of the best score. If the best score is negative, the threshold has the opposite
    /// effect, as in Ignite: a slightly worse score is then an improvement.
    Rel,
}

/// A state machine that decides when a run stops early.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct EarlyStopping {
    /// The patience: the run stops after this number of scores in a row without an improvement. It is never 0.
    patience: u32,
    threshold: f32,
    threshold_mode: ThresholdMode,
    mode: Mode,
    cumulative: bool,
    /// The score that an improvement must beat to set the counter to 0. It is finite.
    baseline: Option<f32>,
    /// The hash of the name; 0 without a name.
    name: u16,
    progress: Progress,
}

/// The state of an [`EarlyStopping`] in a checkpoint: the counter and the best score. The checkpoint format fixes the
/// encoding of both.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Progress {
    counter: u32,
    /// The best score so far. It is never NaN.
    best: Option<f32>,
}

impl Progress {
    /// Creates the state of a run with these scores, for [`Persist::restore`]. Returns `None` if the best score is NaN: no
    /// score would be better than it.
    #[must_use]
    pub const fn new(counter: u32, best_score: Option<f32>) -> Option<Progress> {
        match best_score {
            Some(best) if best.is_nan() => None,
            best => Some(Progress { counter, best }),
        }
    }
}

impl StateCodec for Progress {
    fn encode(&self, encoder: &mut StateEncoder<'_>) {
        encoder.write_u32(self.counter);
        encoder.write_opt_f32(self.best);
    }
    fn decode(decoder: &mut StateDecoder<'_>) -> Option<Self> {
        Progress::new(decoder.read_u32()?, decoder.read_opt_f32()?)
    }
}

impl EarlyStopping {
    /// Creates a state machine that stops at the `patience`-th score in a row without an improvement. By default, the
    /// threshold is 0 and a higher score is better.
    ///
    /// # Errors
    /// Returns [`ConfigError::Patience`] if `patience` is 0.
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
            baseline: None,
            name: 0,
            progress: Progress { counter: 0, best: None },
        })
    }

    /// Sets the threshold: the amount by which a score must exceed the best score to be an improvement. (Earlier
    /// versions of Ignite call it `min_delta`.)
    ///
    /// # Errors
    /// Returns [`ConfigError::Threshold`] if `threshold` is negative, NaN or infinite.
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

    /// Sets whether small gains add up. If true, only an improvement changes the best score. Several gains below the
    /// threshold can then exceed the threshold together.
    #[must_use]
    pub const fn with_cumulative(mut self, cumulative: bool) -> Self {
        self.cumulative = cumulative;
        self
    }

    /// Sets a baseline: an improvement sets the counter to 0 only if it is also better than the baseline, by more than the
    /// threshold. By default, there is no baseline.
    ///
    /// ```
    /// use training_monitor::EarlyStopping;
    ///
    /// let mut stopping = EarlyStopping::new(3)?.with_baseline(0.5)?;
    /// assert_eq!([0.25, 0.375, 0.75, 0.625].map(|score| stopping.update(score)), [false; 4]); // the counter: 1, 2, 0, 1
    /// stopping.reset();
    /// assert_eq!([0.25, 0.375, 0.5].map(|score| stopping.update(score)), [false, false, true]);
    /// assert_eq!(stopping.best_score(), Some(0.5));
    /// # Ok::<(), training_monitor::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// Returns [`ConfigError::Baseline`] if `baseline` is NaN or infinite.
    pub const fn with_baseline(mut self, baseline: f32) -> Result<Self, ConfigError> {
        if !baseline.is_finite() {
            return Err(ConfigError::Baseline);
        }
        self.baseline = Some(baseline);
        Ok(self)
    }

    /// Sets a name. A program with two handlers of the same settings gives them names, so that a checkpoint distinguishes
    /// their states. Otherwise it distinguishes them by their settings, and then by their order.
    #[must_use]
    pub const fn with_name(mut self, name: &'static str) -> Self {
        self.name = fold(Hash::NEW.bytes(name.as_bytes()).value());
        self
    }

    #[inline(always)] // Without this, the settings of a program are not compiled into the two comparisons (200 bytes).
    fn improves(&self, score: f32, reference: f32) -> bool {
        self.mode.is_improvement(score, reference, self.threshold, self.threshold_mode)
    }

    /// Compares `score` with the best score so far. Returns true if the run should stop.
    pub fn update(&mut self, score: f32) -> bool {
        // A comparison with NaN is false.
        let is_improvement = match self.progress.best {
            Some(best) => self.improves(score, best),
            None => !score.is_nan(),
        };
        let beats_baseline = match self.baseline {
            Some(baseline) => self.improves(score, baseline),
            None => true,
        };
        if is_improvement && beats_baseline {
            self.progress = Progress { counter: 0, best: Some(score) };
            return false;
        }
        let is_better = |best: f32| match self.mode {
            Mode::Max => score > best,
            Mode::Min => score < best,
        };
        // A NaN is not better than any score.
        if is_improvement || (!self.cumulative && self.progress.best.is_some_and(is_better)) {
            self.progress.best = Some(score);
        }
        self.progress.counter = self.progress.counter.saturating_add(1);
        self.progress.counter >= self.patience
    }

    /// Returns the number of scores in a row without an improvement. With a baseline, an improvement that does not beat it
    /// counts as well.
    #[must_use]
    pub const fn counter(&self) -> u32 {
        self.progress.counter
    }

    /// Returns the best score so far, or `None` if there was none. A NaN never becomes the best score.
    #[must_use]
    pub const fn best_score(&self) -> Option<f32> {
        self.progress.best
    }

    /// Returns the patience: the run stops after this number of scores in a row without an improvement.
    #[must_use]
    pub const fn patience(&self) -> u32 {
        self.patience
    }

    /// Returns the remaining patience. The run stops after this number of further scores in a row without improvement.
    #[must_use]
    pub const fn remaining_patience(&self) -> u32 {
        self.patience.saturating_sub(self.progress.counter)
    }

    /// Sets the counter to 0 and removes the best score, for a new run with the same settings.
    pub const fn reset(&mut self) {
        self.progress = Progress { counter: 0, best: None };
    }
}

impl Persist for EarlyStopping {
    const KIND: HandlerKind = HandlerKind::EARLY_STOPPING;
    type State = Progress;
    const MAX_LEN: usize = 10;
    fn tag(&self) -> u16 {
        let modes = [self.mode as u8, self.threshold_mode as u8, u8::from(self.cumulative)];
        let settings = Hash::NEW.number(self.patience).number(self.threshold.to_bits()).bytes(&modes);
        // Without a baseline, the tag is that of a version that had no such setting.
        let settings = self.baseline.map_or(settings, |baseline| settings.number(baseline.to_bits()));
        fold(settings.value()) ^ self.name
    }
    fn save(&mut self) -> Progress {
        self.progress
    }
    fn restore(&mut self, progress: Progress) {
        self.progress = progress;
    }
}
