//! Smooths a value that changes from step to step, such as the loss.
//!
//! The rule is that of Ignite's `RunningAverage`. The first value is copied. Each further value changes the average:
//! average = `alpha` × average + (1 − `alpha`) × value. A greater `alpha` smooths more. A value still has the weight
//! `alpha`ⁿ after n further values; with `alpha` = 0.98, half of it is left after 34 values.
//!
//! Three rules differ from Ignite or are not defined there:
//!
//! * A NaN or an infinity is skipped, so the average does not change. (In Ignite, the average is then NaN until the
//!   next reset.)
//! * The average of finite values is finite, even close to `f32::MAX`.
//! * The average is an `f32`. It differs from Ignite's `f64` average by a relative error of about 10⁻⁷ per value, which
//!   decays as the value does.
//!
//! A checkpoint contains the average, so a resumed run continues with it.
//!
//! ```
//! use training_monitor::RunningAverage;
//!
//! let mut loss = RunningAverage::new(0.75)?;
//! assert_eq!(loss.value(), None);
//! assert_eq!(loss.update(4.0), 4.0); // the first value is copied
//! assert_eq!(loss.update(8.0), 5.0); // 0.75 × 4 + 0.25 × 8
//! assert_eq!(loss.update(f32::NAN), 5.0);
//! assert!(RunningAverage::new(0.0).is_err());
//! # Ok::<(), training_monitor::ConfigError>(())
//! ```
//!
//! Handlers do not see each other. An attached average is therefore passed to a closure, which stores it in the metrics
//! of the run. Handlers that follow in the tuple read it there, at the same event. This run stops when the *smoothed*
//! loss has not improved for two epochs:
//!
//! ```
//! use training_monitor::event::{EpochCompleted, IterationCompleted};
//! use training_monitor::handler::RunTypes;
//! use training_monitor::handlers::early_stopping::Mode;
//! use training_monitor::{EarlyStopping, Engine, RunningAverage, StopReason};
//!
//! #[derive(Default)]
//! struct Metrics { smoothed_loss: f32 }
//!
//! let types = RunTypes::<(), f32, Metrics>::new();
//! let mut handlers = (
//!     RunningAverage::new(0.5)?.attach(
//!         IterationCompleted,
//!         types.score(|state| state.output.unwrap_or(f32::NAN)),
//!         types.store(|state, average| state.metrics.smoothed_loss = average),
//!     ),
//!     EarlyStopping::new(2)?
//!         .with_mode(Mode::Min)
//!         .attach(EpochCompleted, types.score(|state| state.metrics.smoothed_loss)),
//! );
//! // Two batches per epoch. The loss alternates, but its average falls only during the first three epochs.
//! let losses = [8.0, 0.0, 6.0, 0.0, 4.0, 0.0, 6.0, 0.0, 6.0, 0.0, 6.0, 0.0];
//! let mut engine = Engine::with_metrics(6, Metrics::default()).with_epoch_length(2);
//! let outcome = engine.run(&mut (), &losses[..], &mut handlers, |_, loss, _| *loss)?;
//! assert_eq!((outcome.reason, outcome.epoch), (StopReason::EarlyStopping, 5));
//! assert_eq!(engine.state().metrics.smoothed_loss, 1.9765625);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

use crate::config::ConfigError;
use crate::event::{Event, EventFilter};
use crate::handler::Handler;
use crate::hash::{Hash, fold};
use crate::run_record::{HandlerKind, HandlerStates, Persist, StateCodec, StateDecoder, StateEncoder};
use crate::state::State;

/// A state machine that computes an exponential running average.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RunningAverage {
    /// The weight of the old average, greater than 0 and at most 1.
    alpha: f32,
    per_epoch: bool,
    /// The hash of the name; 0 without a name.
    name: u16,
    /// The average. It is finite. `None` before the first finite value.
    average: Option<f32>,
}

impl RunningAverage {
    /// Creates a running average without a value. `alpha` is the weight of the old average. Ignite's default is 0.98.
    ///
    /// # Errors
    /// Returns [`ConfigError::Alpha`] unless 0 < `alpha` ≤ 1.
    pub const fn new(alpha: f32) -> Result<Self, ConfigError> {
        if !(alpha > 0.0 && alpha <= 1.0) {
            return Err(ConfigError::Alpha);
        }
        Ok(RunningAverage { alpha, per_epoch: false, name: 0, average: None })
    }

    /// Makes an attached average begin anew with each epoch (Ignite's `epoch_bound`). By default, it begins anew with
    /// each run.
    #[must_use]
    pub const fn per_epoch(mut self) -> Self {
        self.per_epoch = true;
        self
    }

    /// Sets a name. A program with two averages of the same settings gives them names, so that a checkpoint
    /// distinguishes their states. Otherwise it distinguishes them by their settings, and then by their order.
    #[must_use]
    pub const fn with_name(mut self, name: &'static str) -> Self {
        self.name = fold(Hash::NEW.bytes(name.as_bytes()).value());
        self
    }

    /// Adds `value` to the average and returns the average. A NaN or an infinity does not change the average. Returns
    /// NaN if there was no finite value yet.
    pub fn update(&mut self, value: f32) -> f32 {
        if value.is_finite() {
            self.average = Some(match self.average {
                None => value,
                Some(average) if self.alpha >= 0.5 => move_towards(average, value, 1.0 - self.alpha),
                Some(average) => move_towards(value, average, self.alpha),
            });
        }
        self.average.unwrap_or(f32::NAN)
    }

    /// Returns the average, or `None` before the first finite value.
    #[must_use]
    pub const fn value(&self) -> Option<f32> {
        self.average
    }

    /// Removes the average. The next finite value is copied.
    pub const fn reset(&mut self) {
        self.average = None;
    }

    /// Attaches the average to a run. At each event that `filter` selects, the handler passes the result of `value`
    /// to [`update`](Self::update), and passes the average to `store`. The average begins anew when a new run starts,
    /// and with each epoch if [`per_epoch`](Self::per_epoch) is set. The example of the [module](self) stores it in the
    /// metrics.
    ///
    /// A checkpoint contains the average, but contains the metrics only
    /// if [`KeepMetrics`](crate::handlers::keep::KeepMetrics) is one of the handlers.
    pub const fn attach<O, X, W, F, G>(self, filter: W, value: F, store: G) -> RunningAverageHandler<W, F, G>
    where
        W: EventFilter,
        F: FnMut(&State<O, X>) -> f32,
        G: FnMut(&mut State<O, X>, f32),
    {
        RunningAverageHandler { running_average: self, filter, value, store }
    }
}

/// Returns `from` + `share` × (`to` − `from`) for a `share` of at most 0.5.
///
/// The multiplication comes before the subtraction, so no intermediate result overflows: both products have at most half
/// of the largest magnitude. Equal arguments are returned unchanged. The formula with the two weights `share`
/// and 1 − `share` does not have this property: the weights are rounded and their sum is not exactly 1, which would
/// change an average of equal values a little with each step.
#[inline]
pub(super) fn move_towards(from: f32, to: f32, share: f32) -> f32 {
    from + (share * to - share * from)
}

/// The state of a [`RunningAverage`] in a checkpoint: the average. The checkpoint format fixes its encoding.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct SavedAverage(Option<f32>);

impl StateCodec for SavedAverage {
    fn encode(&self, encoder: &mut StateEncoder<'_>) {
        encoder.write_opt_f32(self.0);
    }
    fn decode(decoder: &mut StateDecoder<'_>) -> Option<Self> {
        // A non-finite average would never become finite again, so a record that contains one is malformed.
        decoder.read_opt_f32().filter(|average| average.is_none_or(f32::is_finite)).map(SavedAverage)
    }
}

impl Persist for RunningAverage {
    const KIND: HandlerKind = HandlerKind::RUNNING_AVERAGE;
    type State = SavedAverage;
    const MAX_LEN: usize = 5;
    fn tag(&self) -> u16 {
        fold(Hash::NEW.number(self.alpha.to_bits()).bytes(&[u8::from(self.per_epoch)]).value()) ^ self.name
    }
    fn save(&mut self) -> SavedAverage {
        SavedAverage(self.average)
    }
    fn restore(&mut self, SavedAverage(average): SavedAverage) {
        self.average = average;
    }
}

/// A handler that computes a running average. Created by [`RunningAverage::attach`].
#[derive(Clone, Copy, Debug)]
pub struct RunningAverageHandler<W, F, G> {
    /// The state machine that computes the average.
    pub running_average: RunningAverage,
    filter: W,
    value: F,
    store: G,
}

impl<T, O, X, W, F, G> Handler<T, O, X> for RunningAverageHandler<W, F, G>
where
    T: ?Sized,
    W: EventFilter,
    F: FnMut(&State<O, X>) -> f32,
    G: FnMut(&mut State<O, X>, f32),
{
    #[inline(always)]
    fn on_event(&mut self, event: Event, _: &mut T, state: &mut State<O, X>) {
        if event == Event::Started || (event == Event::EpochStarted && self.running_average.per_epoch) {
            self.running_average.reset();
        }
        if self.filter.matches(event, state.counters()) {
            let average = self.running_average.update((self.value)(state));
            (self.store)(state, average);
        }
    }
    fn persist(&mut self, _: &mut State<O, X>, states: &mut HandlerStates<'_>) {
        states.visit(&mut self.running_average);
    }
}
