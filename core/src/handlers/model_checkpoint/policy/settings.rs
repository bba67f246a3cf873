//! The constructors and the settings of [`ModelCheckpoint`].

use super::ModelCheckpoint;
use crate::config::ConfigError;
use crate::handlers::model_checkpoint::ranking::{Order, Ranking};
use crate::handlers::model_checkpoint::score::{NoScore, ScoreArgument, ScoreFunction, Scored};
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

/// Settings for the saves of a checkpoint handler, such as its reaction to a failed save.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
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

    /// Sets an initial threshold: a checkpoint is saved only if its score is greater than `score` (Keras'
    /// `initial_value_threshold`). By default, there is no threshold.
    ///
    /// The threshold limits only the decision to save. An equal score is not saved, also
    /// with [`with_greater_or_equal`](Self::with_greater_or_equal). Stored checkpoints with a lower score still rank. With
    /// an infinite threshold, the policy saves every score above −∞, or nothing.
    ///
    /// ```
    /// use training_monitor::ModelCheckpoint;
    ///
    /// let mut policy = ModelCheckpoint::<2>::by_score().with_initial_threshold(0.5)?;
    /// assert!([0.25, 0.5, f32::NAN].iter().all(|score| policy.update(Some(*score)).is_none()));
    /// assert_eq!(policy.update(Some(0.75)).map(|decision| decision.step), Some(4));
    /// assert!(ModelCheckpoint::<2>::by_score().with_initial_threshold(f32::NAN).is_err());
    /// # Ok::<(), training_monitor::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// Returns [`ConfigError::InitialThreshold`] if `score` is NaN.
    pub fn with_initial_threshold(mut self, score: f32) -> Result<Self, ConfigError> {
        if score.is_nan() {
            return Err(ConfigError::InitialThreshold);
        }
        self.initial_threshold = Some(score);
        Ok(self)
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
            initial_threshold: None,
            keep_all: false,
            n_saved: N as u8,
            calls: 0,
            ranking: Ranking::new(N, order, false),
            latest: None,
        }
    }

    /// Replaces the source of the score. A policy with an interval and a policy by score then have the same type, so that
    /// a program that chooses the rule at run time contains the code of their handlers once.
    #[must_use]
    pub fn with_score_source<G>(self, score_function: G) -> ModelCheckpoint<N, G> {
        let ModelCheckpoint {
            settings, interval, initial_threshold, keep_all, n_saved, calls, ranking, latest, ..
        } = self;
        ModelCheckpoint {
            score_function,
            settings,
            interval,
            initial_threshold,
            keep_all,
            n_saved,
            calls,
            ranking,
            latest,
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
}
