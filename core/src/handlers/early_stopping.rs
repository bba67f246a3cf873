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

use crate::config::ConfigError;
use crate::event::{Event, EventFilter};
use crate::handler::Handler;
use crate::hash::{Hash, fold};
use crate::run_record::{HandlerKind, HandlerStates, Persist, StateCodec, StateDecoder, StateEncoder};
use crate::state::{State, StopReason};

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

    /// Sets a name. A program with two handlers of the same settings gives them names, so that a checkpoint distinguishes
    /// their states. Otherwise it distinguishes them by their settings, and then by their order.
    #[must_use]
    pub const fn with_name(mut self, name: &'static str) -> Self {
        self.name = fold(Hash::NEW.bytes(name.as_bytes()).value());
        self
    }

    /// Compares `score` with the best score so far. Returns true if the run should stop.
    pub fn update(&mut self, score: f32) -> bool {
        let improved = match self.progress.best {
            _ if score.is_nan() => false,
            None => true,
            Some(best) => self.mode.is_improvement(score, best, self.threshold, self.threshold_mode),
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

    /// Returns the number of scores in a row without an improvement.
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

    /// Attaches the state machine to a run. At each event that `filter` selects, the handler passes the result of
    /// `score` to [`update`](Self::update). When the patience is exhausted, the handler terminates the run with the
    /// reason [`StopReason::EarlyStopping`]. If that run is an evaluation, [`State::terminate_if_stopped`] can
    /// terminate the training run as well.
    pub const fn attach<O, X, W, F>(self, filter: W, score: F) -> EarlyStoppingHandler<W, F>
    where
        W: EventFilter,
        F: FnMut(&State<O, X>) -> f32,
    {
        EarlyStoppingHandler { early_stopping: self, filter, score, observer: (), warmup: () }
    }
}

impl Persist for EarlyStopping {
    const KIND: HandlerKind = HandlerKind::EARLY_STOPPING;
    type State = Progress;
    const MAX_LEN: usize = 10;
    fn tag(&self) -> u16 {
        let modes = [self.mode as u8, self.threshold_mode as u8, u8::from(self.cumulative)];
        let settings = Hash::NEW.number(self.patience).number(self.threshold.to_bits()).bytes(&modes);
        fold(settings.value()) ^ self.name
    }
    fn save(&mut self) -> Progress {
        self.progress
    }
    fn restore(&mut self, progress: Progress) {
        self.progress = progress;
    }
}

/// A handler that stops a run early. Created by [`EarlyStopping::attach`]. The type parameters are the event filter, the
/// score function, the observer and the warm-up.
#[derive(Clone, Copy, Debug)]
pub struct EarlyStoppingHandler<W, F, B = (), U = ()> {
    /// The state machine that decides when the run stops.
    pub early_stopping: EarlyStopping,
    filter: W,
    score: F,
    observer: B,
    warmup: U,
}

impl<W, F, B, U> EarlyStoppingHandler<W, F, B, U> {
    /// Adds an observer, which is called after each score. It receives the state machine and the state of the run. For
    /// example, it can report the [remaining patience](EarlyStopping::remaining_patience).
    pub fn observe<O, X, C: FnMut(&EarlyStopping, &State<O, X>)>(
        self,
        observer: C,
    ) -> EarlyStoppingHandler<W, F, C, U> {
        let EarlyStoppingHandler { early_stopping, filter, score, warmup, .. } = self;
        EarlyStoppingHandler { early_stopping, filter, score, observer, warmup }
    }

    /// Adds a warm-up: the run does not stop before the end of epoch `epochs`. All scores count, so the run can stop in the
    /// next epoch, unless the score then improves. The epochs are those of the run to which the handler is attached; an
    /// evaluator's run has only its own. The warm-up has no state, so a checkpoint contains nothing of it.
    ///
    /// ```
    /// use training_monitor::{EarlyStopping, Engine, event::EpochCompleted};
    ///
    /// let falling = |state: &training_monitor::State<f32>| -(state.epoch() as f32);
    /// let mut stopping = EarlyStopping::new(2)?.attach(EpochCompleted, falling).with_warmup(5);
    /// let outcome = Engine::new(9).run(&mut (), 0..1, &mut stopping, |_, _, _| 0.0)?;
    /// assert_eq!((outcome.epoch, stopping.early_stopping.counter()), (6, 5)); // without the warm-up: epoch 3
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn with_warmup(self, epochs: u32) -> EarlyStoppingHandler<W, F, B, WarmupEpochs> {
        let EarlyStoppingHandler { early_stopping, filter, score, observer, .. } = self;
        EarlyStoppingHandler { early_stopping, filter, score, observer, warmup: WarmupEpochs(epochs) }
    }
}

/// The warm-up of an [`EarlyStoppingHandler`]: the number of epochs in which the run does not stop. Created
/// by [`EarlyStoppingHandler::with_warmup`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct WarmupEpochs(u32);

/// The warm-up of an [`EarlyStoppingHandler`]: [`WarmupEpochs`], or `()` for none.
pub trait EarlyStoppingWarmup: warmup::Sealed {}

impl EarlyStoppingWarmup for () {}
impl EarlyStoppingWarmup for WarmupEpochs {}

mod warmup {
    //! The method of a warm-up, private to this crate.

    pub trait Sealed {
        /// Returns whether the warm-up allows the run to stop in this epoch.
        fn can_stop(&self, epoch: u32) -> bool;
    }

    impl Sealed for () {
        #[inline(always)]
        fn can_stop(&self, _: u32) -> bool {
            true
        }
    }

    impl Sealed for super::WarmupEpochs {
        #[inline]
        fn can_stop(&self, epoch: u32) -> bool {
            epoch > self.0
        }
    }
}

/// A function that an [`EarlyStoppingHandler`] calls after each score. Closures `FnMut(&EarlyStopping, &State<O, X>)`
/// implement this trait. The type `()` stands for no observer.
pub trait EarlyStoppingObserver<O, X> {
    /// The handler calls this method after `early_stopping` has received a score.
    fn on_score(&mut self, early_stopping: &EarlyStopping, state: &State<O, X>);
}

/// An observer that does nothing. A handler uses it unless the program adds another observer.
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

impl<T, O, X, W, F, B, U> Handler<T, O, X> for EarlyStoppingHandler<W, F, B, U>
where
    T: ?Sized,
    W: EventFilter,
    F: FnMut(&State<O, X>) -> f32,
    B: EarlyStoppingObserver<O, X>,
    U: EarlyStoppingWarmup,
{
    #[inline(always)]
    fn on_event(&mut self, event: Event, _: &mut T, state: &mut State<O, X>) {
        if !self.filter.matches(event, state.counters()) {
            return;
        }
        let stop = self.early_stopping.update((self.score)(state));
        self.observer.on_score(&self.early_stopping, state);
        if stop && self.warmup.can_stop(state.epoch()) {
            state.terminate(StopReason::EarlyStopping);
        }
    }
    fn persist(&mut self, _: &mut State<O, X>, states: &mut HandlerStates<'_>) {
        states.visit(&mut self.early_stopping);
    }
}
