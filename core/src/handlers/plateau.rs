//! Reduces a parameter, such as the learning rate, when a metric no longer improves.
//!
//! The rules are those of torch's `ReduceLROnPlateau`. In [`Mode::Min`], a metric is an improvement if it is less than
//! best · (1 − threshold) (`Rel`) or best − threshold (`Abs`). In [`Mode::Max`], the signs are reversed. Only an
//! improvement becomes the best metric. Each metric without an improvement is a bad one. When there are more than
//! `patience` bad ones in a row, the value is multiplied by `factor`, but not below `min_value`, and the count starts at
//! 0. During the following `cooldown` metrics, bad ones are not counted. A reduction by `eps` or less leaves the value
//! unchanged; the cooldown starts all the same. A NaN is a bad metric.
//!
//! `patience` differs from [`EarlyStopping`](crate::EarlyStopping), as in Ignite and torch: with patience 0, the first bad
//! metric reduces the value. Ignite's `ReduceLROnPlateauScheduler` has the same rules, but ignores the minimum unless
//! `param_group_index` is given; here it always applies.
//!
//! ```
//! use training_monitor::ReduceOnPlateau;
//!
//! let mut rate = ReduceOnPlateau::new(1.0)?.with_patience(1).with_factor(0.5)?.with_min_value(0.25)?;
//! assert_eq!([3.0, 3.0].map(|loss| rate.update(loss)), [1.0, 1.0]);
//! assert_eq!(rate.update(f32::NAN), 0.5); // the second bad metric in a row
//! assert_eq!([3.0, 3.0, 3.0, 3.0].map(|loss| rate.update(loss)), [0.5, 0.25, 0.25, 0.25]);
//! assert_eq!((rate.value(), rate.best(), rate.bad_count()), (0.25, Some(3.0), 0));
//! assert!(ReduceOnPlateau::new(f32::NAN).is_err());
//! # Ok::<(), training_monitor::ConfigError>(())
//! ```

use super::early_stopping::{Mode, ThresholdMode};
use crate::config::ConfigError;
use crate::event::{Event, EventFilter};
use crate::handler::{Handler, StartCheck};
use crate::hash::{Hash, fold};
use crate::run_record::{HandlerKind, HandlerStates, Persist, RunRecord, StateCodec, StateDecoder, StateEncoder};
use crate::state::State;

/// A state machine that reduces a value when a metric no longer improves.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ReduceOnPlateau {
    initial: f32,
    mode: Mode,
    /// At least 0 and less than 1.
    factor: f32,
    patience: u32,
    threshold: f32,
    threshold_mode: ThresholdMode,
    cooldown: u32,
    min_value: f32,
    eps: f32,
    /// The hash of the name; 0 without a name.
    name: u16,
    progress: PlateauState,
}

/// The state of a [`ReduceOnPlateau`] in a checkpoint. The checkpoint format fixes the encoding of these fields.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PlateauState {
    /// The number of bad metrics in a row. A metric of the cooldown is not counted.
    bad: u32,
    /// The number of further metrics that belong to the cooldown.
    cooldown: u32,
    /// The metric of the last improvement. It is never NaN.
    best: Option<f32>,
    /// The current value. It is finite.
    value: f32,
}

impl PlateauState {
    const fn new(value: f32) -> Self {
        PlateauState { bad: 0, cooldown: 0, best: None, value }
    }
}

impl StateCodec for PlateauState {
    fn encode(&self, encoder: &mut StateEncoder<'_>) {
        encoder.write_u32(self.bad);
        encoder.write_u32(self.cooldown);
        encoder.write_opt_f32(self.best);
        self.value.to_le_bytes().into_iter().for_each(|byte| encoder.write_u8(byte));
    }
    fn decode(decoder: &mut StateDecoder<'_>) -> Option<Self> {
        let (bad, cooldown, best) = (decoder.read_u32()?, decoder.read_u32()?, decoder.read_opt_f32()?);
        let bytes = [decoder.read_u8()?, decoder.read_u8()?, decoder.read_u8()?, decoder.read_u8()?];
        let value = f32::from_le_bytes(bytes);
        let is_valid = value.is_finite() && !best.is_some_and(f32::is_nan);
        is_valid.then_some(PlateauState { bad, cooldown, best, value })
    }
}

impl ReduceOnPlateau {
    /// Creates a state machine with the initial value of the parameter and torch's defaults: a lower metric is better,
    /// `factor` is 0.1, `patience` is 10, the threshold is 0.0001 of the best metric, `cooldown` and `min_value` are 0,
    /// and `eps` is 10⁻⁸.
    ///
    /// # Errors
    /// Returns [`ConfigError::PlateauValue`] if `value` is not finite.
    pub const fn new(value: f32) -> Result<Self, ConfigError> {
        if !value.is_finite() {
            return Err(ConfigError::PlateauValue);
        }
        Ok(ReduceOnPlateau {
            initial: value,
            mode: Mode::Min,
            factor: 0.1,
            patience: 10,
            threshold: 1e-4,
            threshold_mode: ThresholdMode::Rel,
            cooldown: 0,
            min_value: 0.0,
            eps: 1e-8,
            name: 0,
            progress: PlateauState::new(value),
        })
    }

    /// Sets whether a lower or a higher metric is better. The default is [`Mode::Min`], for example for a loss.
    #[must_use]
    pub const fn with_mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets the number by which a reduction multiplies the value.
    ///
    /// # Errors
    /// Returns [`ConfigError::PlateauFactor`] if `factor` is negative, NaN, or not less than 1.
    pub const fn with_factor(mut self, factor: f32) -> Result<Self, ConfigError> {
        if !(factor >= 0.0 && factor < 1.0) {
            return Err(ConfigError::PlateauFactor);
        }
        self.factor = factor;
        Ok(self)
    }

    /// Sets the number of bad metrics in a row that are tolerated. The next one reduces the value.
    #[must_use]
    pub const fn with_patience(mut self, patience: u32) -> Self {
        self.patience = patience;
        self
    }

    /// Sets the threshold: a metric is an improvement if it is better than the best metric by more than this amount or
    /// fraction. Use [`ThresholdMode::Abs`] for a metric that can be negative. For such a metric, the default, a fraction,
    /// takes a slightly worse one for an improvement, as in torch.
    ///
    /// # Errors
    /// Returns [`ConfigError::PlateauThreshold`] if `threshold` is negative, NaN or infinite.
    pub const fn with_threshold(mut self, threshold: f32, mode: ThresholdMode) -> Result<Self, ConfigError> {
        if !(threshold >= 0.0 && threshold < f32::INFINITY) {
            return Err(ConfigError::PlateauThreshold);
        }
        self.threshold = threshold;
        self.threshold_mode = mode;
        Ok(self)
    }

    /// Sets the number of metrics after a reduction during which bad metrics are not counted.
    #[must_use]
    pub const fn with_cooldown(mut self, cooldown: u32) -> Self {
        self.cooldown = cooldown;
        self
    }

    /// Sets the minimum: a reduction does not lower the value below it (torch's `min_lr`).
    ///
    /// # Errors
    /// Returns [`ConfigError::PlateauValue`] if `min_value` is not finite.
    pub const fn with_min_value(mut self, min_value: f32) -> Result<Self, ConfigError> {
        if !min_value.is_finite() {
            return Err(ConfigError::PlateauValue);
        }
        self.min_value = min_value;
        Ok(self)
    }

    /// Sets the smallest difference: a reduction by `eps` or less leaves the value unchanged.
    ///
    /// # Errors
    /// Returns [`ConfigError::PlateauThreshold`] if `eps` is negative, NaN or infinite.
    pub const fn with_eps(mut self, eps: f32) -> Result<Self, ConfigError> {
        if !(eps >= 0.0 && eps < f32::INFINITY) {
            return Err(ConfigError::PlateauThreshold);
        }
        self.eps = eps;
        Ok(self)
    }

    /// Sets a name. A program with two handlers of the same settings gives them names, so that a checkpoint distinguishes
    /// their states. Otherwise it distinguishes them by their settings, and then by their order.
    #[must_use]
    pub const fn with_name(mut self, name: &'static str) -> Self {
        self.name = fold(Hash::NEW.bytes(name.as_bytes()).value());
        self
    }

    /// Compares `metric` with the best metric so far, and reduces the value if there were too many bad metrics in a row.
    /// Returns the value.
    pub fn update(&mut self, metric: f32) -> f32 {
        let progress = &mut self.progress;
        let is_improvement = match progress.best {
            // The first metric is an improvement unless it is NaN or the worst possible number.
            None => match self.mode {
                Mode::Min => metric < f32::INFINITY,
                Mode::Max => metric > f32::NEG_INFINITY,
            },
            Some(best) => self.mode.is_improvement(metric, best, self.threshold, self.threshold_mode),
        };
        if is_improvement {
            progress.best = Some(metric);
            progress.bad = 0;
        } else {
            progress.bad = progress.bad.saturating_add(1);
        }
        if progress.cooldown > 0 {
            progress.cooldown = progress.cooldown.saturating_sub(1);
            progress.bad = 0;
        }
        if progress.bad > self.patience {
            let reduced = (progress.value * self.factor).max(self.min_value);
            if progress.value - reduced > self.eps {
                progress.value = reduced;
            }
            progress.cooldown = self.cooldown;
            progress.bad = 0;
        }
        progress.value
    }

    /// Returns the current value.
    #[must_use]
    pub const fn value(&self) -> f32 {
        self.progress.value
    }

    /// Returns the number of bad metrics in a row. It never exceeds the patience.
    #[must_use]
    pub const fn bad_count(&self) -> u32 {
        self.progress.bad
    }

    /// Returns the metric of the last improvement, or `None` if there was none. A NaN is never an improvement.
    #[must_use]
    pub const fn best(&self) -> Option<f32> {
        self.progress.best
    }

    /// Returns the number of further metrics that belong to the cooldown.
    #[must_use]
    pub const fn cooldown_left(&self) -> u32 {
        self.progress.cooldown
    }

    /// Restores the initial value and removes the best metric, for a new run with the same settings.
    pub const fn reset(&mut self) {
        self.progress = PlateauState::new(self.initial);
    }

    /// Attaches the state machine to a run. At each event that `filter` selects, the handler passes the result of
    /// `metric` to [`update`](Self::update) and the value to `apply`, which writes it to the model.
    ///
    /// The handler also applies the value at [`Event::Started`], and before the first event of a run that resumes. The
    /// parameter therefore has the right value even if the checkpoint does not contain it with the model.
    ///
    /// ```
    /// use training_monitor::event::EpochCompleted;
    /// use training_monitor::handler::RunTypes;
    /// use training_monitor::{Engine, ReduceOnPlateau};
    ///
    /// struct Net { rate: f32 }
    ///
    /// let types = RunTypes::<Net, f32>::new();
    /// let mut handler = ReduceOnPlateau::new(1.0)?.with_patience(0).with_factor(0.5)?.attach(
    ///     EpochCompleted,
    ///     types.score(|state| state.output.unwrap_or(f32::NAN)),
    ///     types.parameter(|net, rate| net.rate = rate),
    /// );
    /// let mut net = Net { rate: 0.0 };
    /// Engine::new(3).run(&mut net, 0..1, &mut handler, |_, _, _| 2.0)?; // a constant loss
    /// assert_eq!((net.rate, handler.plateau.best()), (0.25, Some(2.0)));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub const fn attach<T, O, X, W, F, A>(self, filter: W, metric: F, apply: A) -> PlateauHandler<W, F, A>
    where
        T: ?Sized,
        W: EventFilter,
        F: FnMut(&State<O, X>) -> f32,
        A: FnMut(&mut T, f32),
    {
        PlateauHandler { plateau: self, filter, metric, apply, restored: false }
    }
}

impl Persist for ReduceOnPlateau {
    const KIND: HandlerKind = HandlerKind::REDUCE_ON_PLATEAU;
    type State = PlateauState;
    const MAX_LEN: usize = 19;
    fn tag(&self) -> u16 {
        let modes = [self.mode as u8, self.threshold_mode as u8];
        let numbers = [self.initial, self.factor, self.threshold, self.min_value, self.eps];
        let hash = Hash::NEW.number(self.patience).number(self.cooldown).bytes(&modes);
        let hash = numbers.iter().fold(hash, |hash, number| hash.number(number.to_bits()));
        fold(hash.value()) ^ self.name
    }
    fn save(&mut self) -> PlateauState {
        self.progress
    }
    fn restore(&mut self, progress: PlateauState) {
        self.progress = progress;
    }
}

/// A handler that reduces a parameter of the model. Created by [`ReduceOnPlateau::attach`].
#[derive(Clone, Copy, Debug)]
pub struct PlateauHandler<W, F, A> {
    /// The state machine that decides when the value is reduced.
    pub plateau: ReduceOnPlateau,
    filter: W,
    metric: F,
    apply: A,
    /// Whether the value was restored from a checkpoint and is not applied to the model yet.
    restored: bool,
}

impl<W, F, A> PlateauHandler<W, F, A> {
    #[cold]
    fn reapply<T: ?Sized>(&mut self, model: &mut T)
    where
        A: FnMut(&mut T, f32),
    {
        if core::mem::take(&mut self.restored) {
            (self.apply)(model, self.plateau.value());
        }
    }
}

impl<T, O, X, W, F, A> Handler<T, O, X> for PlateauHandler<W, F, A>
where
    T: ?Sized,
    W: EventFilter,
    F: FnMut(&State<O, X>) -> f32,
    A: FnMut(&mut T, f32),
{
    #[inline(always)]
    fn on_event(&mut self, event: Event, model: &mut T, state: &mut State<O, X>) {
        if event == Event::Started {
            (self.apply)(model, self.plateau.value());
        }
        if self.filter.matches(event, state.counters()) {
            let value = self.plateau.update((self.metric)(state));
            (self.apply)(model, value);
        }
    }
    fn persist(&mut self, _: &mut State<O, X>, states: &mut HandlerStates<'_>) {
        self.restored |= states.visit(&mut self.plateau);
    }
    /// Runs before the first event of a resumed run.
    fn check_start(&mut self, model: &mut T, _: &mut StartCheck) {
        self.reapply(model);
    }
    /// Runs at the end of [`Engine::resume`](crate::Engine::resume), also if the engine is already running.
    fn perform(&mut self, model: &mut T, _: &mut State<O, X>, _: &RunRecord<[u8]>) -> bool {
        self.reapply(model);
        false
    }
}
