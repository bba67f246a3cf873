//! Reports a value that suddenly becomes much worse, such as a spike of the loss, and can stop the run.
//!
//! The rule is that of Lightning's `SpikeDetection`. A value is a spike if all of these conditions hold:
//!
//! * The warm-up is over: at least [`warmup`](SpikeGuard::with_warmup) values and at least one value have entered the mean.
//! * The value is worse than the last value that was not a spike.
//! * It is worse than the mean, by at least the [absolute tolerance](SpikeGuard::with_absolute_tolerance) *and* at least
//!   the [relative tolerance](SpikeGuard::with_relative_tolerance) × |mean|.
//!
//! A spike changes neither the mean nor the last value. All other values enter the mean. With the default tolerances, a
//! loss is a spike if it is at least three times as high as the mean.
//!
//! These rules differ from Lightning:
//!
//! | case | here | Lightning 2.6.6 |
//! | --- | --- | --- |
//! | NaN or infinity | always reported, never enters the mean | in the warm-up, it enters the mean, and no later value is a spike |
//! | mean | the exact mean of the first `window` values; each further value has the weight 2 / (`window` + 1) | the exact mean of the last `window` values |
//! | value that is worse than the last one and better than the mean | no spike | a spike if it is far from the mean |
//! | warm-up | `warmup` values of the run | the first `warmup` batches of each epoch |
//! | state | part of each checkpoint | cannot be loaded |
//! | spike | the action decides what happens | raises an exception, and lists this batch and the one before it |
//!
//! The exact mean of a window needs memory for all its values. With the weight 2 / (`window` + 1), the values of the mean
//! have the same average age as those of the window, (`window` − 1) / 2. So both means are equal for a value that changes
//! at a constant rate.
//!
//! The mean of finite values is finite. A distance from the mean above `f32::MAX` is a spike with any tolerance. A relative
//! tolerance × |mean| above `f32::MAX` is not reached by any other distance. If the mean is 0, only the absolute tolerance
//! limits the spikes. After a permanent change of the level, each value of the new level can be a spike. The action can
//! then call [`reset`](SpikeGuard::reset).
//!
//! ```
//! use training_monitor::SpikeGuard;
//! use training_monitor::handlers::spike_guard::SpikeVerdict::{NonFinite, Normal, Spike};
//!
//! let mut guard = SpikeGuard::new().with_warmup(3);
//! assert_eq!([1.0, 1.0, 1.0].map(|loss| guard.update(loss)), [Normal; 3]);
//! assert_eq!([3.0, f32::NAN, 2.5].map(|loss| guard.update(loss)), [Spike, NonFinite, Normal]);
//! assert_eq!((guard.spike_count(), guard.mean(), guard.last()), (2, Some(1.375), Some(2.5)));
//! ```
//!
//! The action of an attached guard receives each spike. [`stop_run`] is an action that stops the run:
//!
//! ```
//! use training_monitor::event::IterationCompleted;
//! use training_monitor::handlers::spike_guard::stop_run;
//! use training_monitor::{Engine, SpikeGuard, State, StopReason};
//!
//! let loss = |state: &State<f32>| state.output.unwrap_or(f32::NAN);
//! let mut guard = SpikeGuard::new().attach(IterationCompleted, loss, stop_run);
//! let losses = [1.0, 0.9, 0.8, 7.0, 0.7];
//! let outcome = Engine::new(1).run(&mut (), &losses[..], &mut guard, |_, loss, _| *loss)?;
//! assert_eq!((outcome.reason, outcome.iteration), (StopReason::Spike, 4));
//!
//! // This run continues after a spike, but stops at the third one.
//! let mut guard = SpikeGuard::new().attach(IterationCompleted, loss, |guard, verdict, state| {
//!     if guard.spike_count() == 3 { stop_run(guard, verdict, state) }
//! });
//! let outcome = Engine::new(1).run(&mut (), &losses[..], &mut guard, |_, loss, _| *loss)?;
//! assert_eq!((outcome.reason, guard.spike_guard.spike_count()), (StopReason::MaxEpochs, 1));
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

use super::early_stopping::Mode;
use super::running_average::move_towards;
use crate::config::ConfigError;
use crate::event::{Event, EventFilter};
use crate::handler::Handler;
use crate::hash::{Hash, fold};
use crate::run_record::{HandlerKind, HandlerStates, Persist, StateCodec, StateDecoder, StateEncoder};
use crate::state::{State, StopReason};

/// The decision of a [`SpikeGuard`] about one value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum SpikeVerdict {
    /// The value is not a spike. It has entered the mean.
    Normal,
    /// The value is much worse than the mean.
    Spike,
    /// The value is NaN or infinite. It counts as a spike.
    NonFinite,
}

impl SpikeVerdict {
    /// Returns the reason for which [`stop_run`] stops the run, or `None` for a value that is not a spike.
    #[must_use]
    pub const fn stop_reason(self) -> Option<StopReason> {
        match self {
            SpikeVerdict::Normal => None,
            SpikeVerdict::Spike => Some(StopReason::Spike),
            SpikeVerdict::NonFinite => Some(StopReason::NonFinite),
        }
    }
}

/// A state machine that finds spikes of a value.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SpikeGuard {
    mode: Mode,
    /// The number of values whose mean is exact. It is never 0.
    window: u32,
    warmup: u32,
    /// Finite and at least 0.
    absolute_tolerance: f32,
    /// Finite and at least 0.
    relative_tolerance: f32,
    /// The hash of the name; 0 without a name.
    name: u16,
    state: SpikeGuardState,
}

/// The state of a [`SpikeGuard`] in a checkpoint. The checkpoint format fixes the encoding of these fields.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SpikeGuardState {
    /// The number of values that have entered the mean.
    values: u32,
    spikes: u32,
    /// `None` before the first finite value.
    level: Option<Level>,
}

/// The values with which the next value is compared. Both are finite.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
struct Level {
    mean: f32,
    /// The last value that was not a spike.
    last: f32,
}

impl SpikeGuardState {
    const NEW: Self = SpikeGuardState { values: 0, spikes: 0, level: None };
}

impl StateCodec for SpikeGuardState {
    fn encode(&self, encoder: &mut StateEncoder<'_>) {
        encoder.write_u32(self.values);
        encoder.write_u32(self.spikes);
        encoder.write_opt_f32(self.level.map(|level| level.mean));
        encoder.write_opt_f32(self.level.map(|level| level.last));
    }
    fn decode(decoder: &mut StateDecoder<'_>) -> Option<Self> {
        let (values, spikes) = (decoder.read_u32()?, decoder.read_u32()?);
        let level = match (decoder.read_opt_f32()?, decoder.read_opt_f32()?) {
            // A mean that is not finite would never become finite again, so a record that contains one is malformed.
            (Some(mean), Some(last)) if values > 0 && mean.is_finite() && last.is_finite() => {
                Some(Level { mean, last })
            }
            (None, None) if values == 0 => None,
            _ => return None,
        };
        Some(SpikeGuardState { values, spikes, level })
    }
}

impl Default for SpikeGuard {
    fn default() -> Self {
        Self::new()
    }
}

impl SpikeGuard {
    /// Creates a guard with Lightning's defaults: a lower value is better, the window has 10 values, the warm-up has 1
    /// value, the absolute tolerance is 0, and the relative tolerance is 2.
    #[must_use]
    pub const fn new() -> Self {
        SpikeGuard {
            mode: Mode::Min,
            window: 10,
            warmup: 1,
            absolute_tolerance: 0.0,
            relative_tolerance: 2.0,
            name: 0,
            state: SpikeGuardState::NEW,
        }
    }

    /// Sets whether a lower or a higher value is better. The default is [`Mode::Min`], for example for a loss.
    #[must_use]
    pub const fn with_mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets the number of values of the mean. A greater window follows a change more slowly. The [module](self) contains
    /// the rule.
    ///
    /// # Errors
    /// Returns [`ConfigError::SpikeWindow`] if `window` is 0.
    pub const fn with_window(mut self, window: u32) -> Result<Self, ConfigError> {
        if window == 0 {
            return Err(ConfigError::SpikeWindow);
        }
        self.window = window;
        Ok(self)
    }

    /// Sets the warm-up: the first `values` finite values are no spikes. 0 has the same effect as 1.
    #[must_use]
    pub const fn with_warmup(mut self, values: u32) -> Self {
        self.warmup = values;
        self
    }

    /// Sets the smallest distance of a spike from the mean (Lightning's `atol`). With 0, the relative tolerance alone
    /// decides.
    ///
    /// # Errors
    /// Returns [`ConfigError::SpikeTolerance`] if `tolerance` is negative, NaN or infinite.
    pub const fn with_absolute_tolerance(mut self, tolerance: f32) -> Result<Self, ConfigError> {
        if !(tolerance >= 0.0 && tolerance < f32::INFINITY) {
            return Err(ConfigError::SpikeTolerance);
        }
        self.absolute_tolerance = tolerance;
        Ok(self)
    }

    /// Sets the smallest distance of a spike from the mean, as a multiple of |mean| (Lightning's `rtol`). With 0, the
    /// absolute tolerance alone decides.
    ///
    /// # Errors
    /// Returns [`ConfigError::SpikeTolerance`] if `tolerance` is negative, NaN or infinite.
    pub const fn with_relative_tolerance(mut self, tolerance: f32) -> Result<Self, ConfigError> {
        if !(tolerance >= 0.0 && tolerance < f32::INFINITY) {
            return Err(ConfigError::SpikeTolerance);
        }
        self.relative_tolerance = tolerance;
        Ok(self)
    }

    /// Sets a name. A program with two guards of the same settings gives them names, so that a checkpoint distinguishes
    /// their states. Otherwise it distinguishes them by their settings, and then by their order.
    #[must_use]
    pub const fn with_name(mut self, name: &'static str) -> Self {
        self.name = fold(Hash::NEW.bytes(name.as_bytes()).value());
        self
    }

    /// Decides whether `value` is a spike. Adds it to the mean if it is none, and counts it otherwise.
    pub fn update(&mut self, value: f32) -> SpikeVerdict {
        let verdict = match self.state.level {
            _ if !value.is_finite() => SpikeVerdict::NonFinite,
            Some(level) if self.state.values >= self.warmup && self.is_spike(value, level) => SpikeVerdict::Spike,
            _ => SpikeVerdict::Normal,
        };
        if verdict == SpikeVerdict::Normal {
            let mean = self.state.level.map_or(value, |level| self.next_mean(level.mean, value));
            self.state.level = Some(Level { mean, last: value });
            self.state.values = self.state.values.saturating_add(1);
        } else {
            self.state.spikes = self.state.spikes.saturating_add(1);
        }
        verdict
    }

    fn is_spike(&self, value: f32, level: Level) -> bool {
        let (is_worse, distance) = match self.mode {
            Mode::Min => (value > level.last, value - level.mean),
            Mode::Max => (value < level.last, level.mean - value),
        };
        // The tolerances are at least 0, so a value that is better than the mean is no spike.
        is_worse && distance >= self.absolute_tolerance && distance >= self.relative_tolerance * level.mean.abs()
    }

    /// Returns the mean after `value`, which is not the first one.
    fn next_mean(&self, mean: f32, value: f32) -> f32 {
        let share = if self.state.values < self.window {
            1.0 / (self.state.values as f32 + 1.0)
        } else {
            2.0 / (self.window as f32 + 1.0)
        };
        if share <= 0.5 { move_towards(mean, value, share) } else { move_towards(value, mean, 1.0 - share) }
    }

    /// Returns the number of spikes so far, with NaNs and infinities. It stops at `u32::MAX`.
    #[must_use]
    pub const fn spike_count(&self) -> u32 {
        self.state.spikes
    }

    /// Returns the mean, or `None` before the first finite value.
    #[must_use]
    pub const fn mean(&self) -> Option<f32> {
        match self.state.level {
            Some(level) => Some(level.mean),
            None => None,
        }
    }

    /// Returns the last value that was not a spike, or `None` before the first finite value.
    #[must_use]
    pub const fn last(&self) -> Option<f32> {
        match self.state.level {
            Some(level) => Some(level.last),
            None => None,
        }
    }

    /// Removes the mean and sets the number of spikes to 0. The warm-up starts again.
    pub const fn reset(&mut self) {
        self.state = SpikeGuardState::NEW;
    }

    /// Attaches the guard to a run. At each event that `filter` selects, the handler passes the result of `value`
    /// to [`update`](Self::update). If the value is a spike, the handler calls `action` with the guard, the verdict and the
    /// state of the run. Use [`stop_run`] as the action to stop the run at the first spike. The guard is
    /// [reset](Self::reset) when a new run starts.
    ///
    /// The guard changes no weights. If a step computes the loss and then updates the weights, the update has already
    /// happened when the guard reports the spike, and a checkpoint of the same event contains the updated weights.
    pub const fn attach<O, X, W, F, A>(self, filter: W, value: F, action: A) -> SpikeGuardHandler<W, F, A>
    where
        W: EventFilter,
        F: FnMut(&State<O, X>) -> f32,
        A: FnMut(&mut SpikeGuard, SpikeVerdict, &mut State<O, X>),
    {
        SpikeGuardHandler { spike_guard: self, filter, value, action }
    }
}

impl Persist for SpikeGuard {
    const KIND: HandlerKind = HandlerKind::SPIKE_GUARD;
    type State = SpikeGuardState;
    const MAX_LEN: usize = 20;
    fn tag(&self) -> u16 {
        let numbers = [self.window, self.warmup, self.absolute_tolerance.to_bits(), self.relative_tolerance.to_bits()];
        let hash = numbers.iter().fold(Hash::NEW.bytes(&[self.mode as u8]), |hash, number| hash.number(*number));
        fold(hash.value()) ^ self.name
    }
    fn save(&mut self) -> SpikeGuardState {
        self.state
    }
    fn restore(&mut self, state: SpikeGuardState) {
        self.state = state;
    }
}

/// An action for [`SpikeGuard::attach`] that stops the run, with the reason [`StopReason::Spike`]
/// or [`StopReason::NonFinite`].
pub fn stop_run<O, X>(_: &mut SpikeGuard, verdict: SpikeVerdict, state: &mut State<O, X>) {
    if let Some(reason) = verdict.stop_reason() {
        state.terminate(reason);
    }
}

/// A handler that reports spikes. Created by [`SpikeGuard::attach`].
#[derive(Clone, Copy, Debug)]
pub struct SpikeGuardHandler<W, F, A> {
    /// The state machine that finds the spikes.
    pub spike_guard: SpikeGuard,
    filter: W,
    value: F,
    action: A,
}

impl<T, O, X, W, F, A> Handler<T, O, X> for SpikeGuardHandler<W, F, A>
where
    T: ?Sized,
    W: EventFilter,
    F: FnMut(&State<O, X>) -> f32,
    A: FnMut(&mut SpikeGuard, SpikeVerdict, &mut State<O, X>),
{
    #[inline(always)]
    fn on_event(&mut self, event: Event, _: &mut T, state: &mut State<O, X>) {
        if event == Event::Started {
            self.spike_guard.reset();
        }
        if self.filter.matches(event, state.counters()) {
            let verdict = self.spike_guard.update((self.value)(state));
            if verdict != SpikeVerdict::Normal {
                (self.action)(&mut self.spike_guard, verdict, state);
            }
        }
    }
    fn persist(&mut self, _: &mut State<O, X>, states: &mut HandlerStates<'_>) {
        states.visit(&mut self.spike_guard);
    }
}
