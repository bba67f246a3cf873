//! Decides which checkpoints are saved and which stay: every n-th, or the best n_saved by a score.
//!
//! The rules are Ignite 0.2.0's, whose `ModelCheckpoint` counts its own calls: the step number is the number of the call
//! (or the engine's iteration or epoch, see [`Step`]); exactly one of an interval and a score decides; the place goes to whatever
//! [`Ranking`] prefers. What is not Ignite's: a NaN score is never saved, the ranking changes only after a commit, and
//! a checkpoint goes only after the new one is committed. The number of a failed save is used up.
//!
//! This file decides and remembers; it writes nothing. [`saving`](super::saving) does, for any [store](crate::store).
//!
//! ```
//! use training_monitor::ModelCheckpoint;
//!
//! // The best two by score, in a table of three places.
//! let mut checkpoint = ModelCheckpoint::<3>::builder().scored().n_saved(2).build()?;
//! let mut on_disk = Vec::new();
//! for score in [0.1, 0.5, f32::NAN, 0.3, 0.2] {
//!     if let Some(save) = checkpoint.update(Some(score)) {
//!         on_disk.push(save.step); // … written, and then:
//!         if let Some(gone) = checkpoint.committed(save) {
//!             on_disk.retain(|step| *step != gone.step);
//!         }
//!     }
//! }
//! assert_eq!(on_disk, [2, 4]);
//! assert_eq!(checkpoint.best().map(|best| best.step), Some(2));
//! assert_eq!(checkpoint.latest().map(|latest| latest.step), Some(4));
//! # Ok::<(), training_monitor::handlers::model_checkpoint::ConfigError>(())
//! ```

use crate::event::Counters;
use crate::ranking::{Entry, Order, Ranking};
use core::fmt;
use core::num::NonZeroU32;

/// Where a checkpoint's step number comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Step {
    /// How often the handler was called, as in Ignite 0.2.0.
    #[default]
    Calls,
    /// The engine's iteration.
    Iteration,
    /// The engine's epoch.
    Epoch,
}

/// A checkpoint that is to be saved. Part of the checkpoint format.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Save {
    /// Its step number.
    pub step: u32,
    /// Its score, never NaN.
    pub score: Option<f32>,
}

/// The state machine. `N` is how many places its table has; at most 255.
#[derive(Clone, Debug)]
pub struct ModelCheckpoint<const N: usize, F = NoScore> {
    pub(crate) score_function: F,
    pub(crate) settings: Settings,
    interval: Option<NonZeroU32>,
    /// Keeps all: nothing is ever removed, and the table is of the best `N`.
    keep_all: bool,
    calls: u32,
    ranking: Ranking<N>,
    /// The newest commit, in the ranking or not.
    latest: Option<Entry>,
}

/// What only matters to a [`Saving`](super::saving::Saving).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub step: Step,
    pub score_name: Option<&'static str>,
    pub on_error: OnError,
    pub allow_non_finite: bool,
}

/// What a handler does when a checkpoint cannot be saved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum OnError {
    /// End the run in order.
    #[default]
    Stop,
    /// Go on without it.
    Continue,
    /// Try so many more times at once, then go on without it.
    Retry(u8),
}

/// No score function: the interval decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NoScore;

/// A score that the caller passes to [`ModelCheckpoint::update`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Scored;

/// Where the score comes from: any closure `FnMut(&State<O, X>) -> f32`.
pub trait ScoreFunction<S> {
    /// Whether there is one.
    const SCORED: bool;
    /// The score now.
    fn score(&mut self, state: &S) -> Option<f32>;
}

impl<S> ScoreFunction<S> for NoScore {
    const SCORED: bool = false;
    #[inline]
    fn score(&mut self, _: &S) -> Option<f32> {
        None
    }
}

impl<S, F: FnMut(&S) -> f32> ScoreFunction<S> for F {
    const SCORED: bool = true;
    #[inline]
    fn score(&mut self, state: &S) -> Option<f32> {
        Some(self(state))
    }
}

impl<const N: usize> ModelCheckpoint<N> {
    /// Settings, one by one. Without further ones: the best or latest 1, named by call, stopping the run on errors.
    pub const fn builder() -> Builder<N> {
        Builder {
            interval: None,
            scored: false,
            score_function: NoScore,
            n_saved: Some(1),
            or_equal: false,
            settings: Settings {
                step: Step::Calls,
                score_name: None,
                on_error: OnError::Stop,
                allow_non_finite: false,
            },
        }
    }
}

impl<const N: usize, F> ModelCheckpoint<N, F> {
    /// Counts a call and decides. `score` is looked at only where scores rank.
    pub fn update(&mut self, score: Option<f32>) -> Option<Save> {
        self.update_at(&Counters::default(), score)
    }

    /// As [`update`](Self::update), with the engine's counters for [`Step::Iteration`] and [`Step::Epoch`].
    pub fn update_at(&mut self, at: &Counters, score: Option<f32>) -> Option<Save> {
        self.calls = self.calls.saturating_add(1);
        if self.interval.is_some_and(|interval| self.calls % interval != 0) {
            return None;
        }
        let step = match self.settings.step {
            Step::Calls => self.calls,
            Step::Iteration => at.iteration,
            Step::Epoch => at.epoch,
        };
        let score = score.filter(|_| self.interval.is_none());
        let entry = Entry::new(step, score);
        let ranks = if self.keep_all {
            self.interval.is_some() || entry.score().is_some()
        } else {
            self.ranking.accepts(&entry)
        };
        ranks.then_some(Save { step, score: entry.score() })
    }

    /// Takes notice that `save` was committed, and returns what has to go.
    pub fn committed(&mut self, save: Save) -> Option<Entry> {
        let entry = Entry::new(save.step, save.score);
        let gone = self.ranking.insert(entry);
        if self.keep_all {
            self.latest = Some(entry);
            return None;
        }
        if !self.ranking.entries().iter().any(|kept| kept.step == save.step) {
            // It does not rank: it goes itself, and the latest is still the one before.
            return gone;
        }
        self.latest = Some(entry);
        // The same step in the same place: written over, not to be removed.
        gone.filter(|gone| gone.step != save.step)
    }

    /// Takes notice of a checkpoint found on the medium; from the oldest to the newest. Returns what has to go.
    pub fn found(&mut self, save: Save) -> Option<Entry> {
        if self.settings.step == Step::Calls {
            self.calls = self.calls.max(save.step);
        }
        self.committed(save)
    }

    /// The best kept; without scores the latest.
    #[must_use]
    pub fn best(&self) -> Option<Entry> {
        self.ranking.best()
    }

    /// The newest kept.
    #[must_use]
    pub fn latest(&self) -> Option<Entry> {
        let kept =
            |latest: &Entry| self.keep_all || self.ranking.entries().iter().any(|entry| entry.step == latest.step);
        // It can only have gone for one that is later, so it is missing before the first alone.
        self.latest.filter(kept)
    }

    /// All kept, from the worst to the best (the best `N` where all are kept).
    #[must_use]
    pub fn kept(&self) -> &[Entry] {
        self.ranking.entries()
    }

    /// How often it was called.
    #[must_use]
    pub const fn calls(&self) -> u32 {
        self.calls
    }

    /// Whether nothing is ever removed.
    pub(crate) const fn keeps_all(&self) -> bool {
        self.keep_all
    }

    pub(crate) const fn set_calls(&mut self, calls: u32) {
        self.calls = calls;
    }

    /// Forgets everything, for an independent run with the same settings. What is stored stays stored.
    pub fn reset(&mut self) {
        self.calls = 0;
        self.ranking.clear();
        self.latest = None;
    }
}

/// Settings of a [`ModelCheckpoint`].
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Builder<const N: usize, F = NoScore> {
    interval: Option<u32>,
    scored: bool,
    score_function: F,
    n_saved: Option<u32>,
    or_equal: bool,
    settings: Settings,
}

impl<const N: usize, F> Builder<N, F> {
    /// Save at every `calls`-th call: the first is number `calls`.
    pub const fn save_interval(mut self, calls: u32) -> Self {
        self.interval = Some(calls);
        self
    }

    /// Save what ranks; higher is better. `score` is called with the engine's state at every call of the handler.
    pub fn score_function<G>(self, score: G) -> Builder<N, G> {
        Builder {
            interval: self.interval,
            scored: true,
            score_function: score,
            n_saved: self.n_saved,
            or_equal: self.or_equal,
            settings: self.settings,
        }
    }

    /// Save what ranks, by scores passed to [`ModelCheckpoint::update`].
    pub fn scored(self) -> Builder<N, Scored> {
        self.score_function(Scored)
    }

    /// What the score is called, in file names and in the checkpoint.
    pub const fn score_name(mut self, name: &'static str) -> Self {
        self.settings.score_name = Some(name);
        self
    }

    /// How many are kept, at most `N`.
    pub const fn n_saved(mut self, n_saved: u32) -> Self {
        self.n_saved = Some(n_saved);
        self
    }

    /// Keep all: Ignite's `n_saved=None`.
    pub const fn keep_all(mut self) -> Self {
        self.n_saved = None;
        self
    }

    /// Whether an equal score takes the place of the worst kept.
    pub const fn greater_or_equal(mut self, or_equal: bool) -> Self {
        self.or_equal = or_equal;
        self
    }

    /// Where step numbers come from.
    pub const fn step(mut self, step: Step) -> Self {
        self.settings.step = step;
        self
    }

    /// What happens when a save fails.
    pub const fn on_error(mut self, policy: OnError) -> Self {
        self.settings.on_error = policy;
        self
    }

    /// Whether NaN and infinite weights may be saved. They are refused otherwise.
    pub const fn allow_non_finite(mut self, allow: bool) -> Self {
        self.settings.allow_non_finite = allow;
        self
    }

    /// The handler.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn build(self) -> Result<ModelCheckpoint<N, F>, ConfigError> {
        let interval = match (self.interval, self.scored) {
            (Some(_), true) | (None, false) => return Err(ConfigError::IntervalOrScore),
            (Some(interval), false) => Some(NonZeroU32::new(interval).ok_or(ConfigError::SaveInterval)?),
            (None, true) => None,
        };
        match self.settings.score_name {
            Some(_) if !self.scored => return Err(ConfigError::ScoreNameWithoutScore),
            Some(name) if name.is_empty() || name.len() > crate::checkpoint::MAX_NAME => {
                return Err(ConfigError::ScoreName);
            }
            _ => (),
        }
        let places = match self.n_saved {
            None => N,
            Some(0) => return Err(ConfigError::NSaved),
            Some(n_saved) if n_saved as usize > N => return Err(ConfigError::Table { n_saved, places: N }),
            Some(n_saved) => n_saved as usize,
        };
        let order = if self.scored { Order::Score } else { Order::Step };
        Ok(ModelCheckpoint {
            score_function: self.score_function,
            settings: self.settings,
            interval,
            keep_all: self.n_saved.is_none(),
            calls: 0,
            ranking: Ranking::new(places, order, self.or_equal),
            latest: None,
        })
    }
}

/// Why a [`ModelCheckpoint`] cannot be built.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ConfigError {
    /// Exactly one of an interval and a score must be given.
    IntervalOrScore,
    /// The interval is a positive number.
    SaveInterval,
    /// A score name without a score.
    ScoreNameWithoutScore,
    /// The score name is empty or has more than [`MAX_NAME`](crate::checkpoint::MAX_NAME) bytes.
    ScoreName,
    /// `n_saved` is a positive number.
    NSaved,
    /// `n_saved` is more than the table has places.
    Table {
        /// What was asked for.
        n_saved: u32,
        /// What there is.
        places: usize,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::IntervalOrScore => {
                f.write_str("exactly one of `save_interval` and a score function must be given")
            }
            ConfigError::SaveInterval => f.write_str("`save_interval` should be a positive integer"),
            ConfigError::ScoreNameWithoutScore => f.write_str("a score name needs a score function"),
            ConfigError::ScoreName => f.write_str("the score name is empty or too long"),
            ConfigError::NSaved => f.write_str("`n_saved` should be a positive integer"),
            ConfigError::Table { n_saved, places } => {
                write!(f, "`n_saved` is {n_saved}, but the table has {places} places")
            }
        }
    }
}

impl core::error::Error for ConfigError {}
