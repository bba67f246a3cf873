//! Averages the weights of a model over its training steps. The averaged weights are often better than the last ones.
//!
//! There are two rules:
//!
//! * [`WeightAverage::exponential`] is Ignite's `EMAHandler`: average ← (1 − m) × average + m × weight. The momentum m is
//!   the weight of the *new* value; Ignite's default is 0.0002. (torch and Lightning call 1 − m the decay.)
//!   [`with_warmup`](WeightAverage::with_warmup) changes the momentum linearly during the first updates.
//! * [`WeightAverage::equal`] is the running mean of torch's `AveragedModel`, for stochastic weight averaging. All updates
//!   have the same weight: m = 1 / n at the n-th update. The first update copies the weights.
//!
//! The averages are slices of the program. The program lists them in its `StateDict`, so a checkpoint contains them as
//! it contains all tensors. One closure lists the pairs of averages and weights. It serves all operations: start,
//! update, swap and the check. The pairs must have equal lengths.
//!
//! Decisions:
//!
//! * An update is all or nothing. If a weight is NaN or infinite, or if the slices of a pair differ in length, no average
//!   changes, and the update does not count. (In Ignite, one NaN remains in the average forever.) The update therefore
//!   calls the closure twice: first to check all pairs, then to change the averages.
//! * The averages of finite weights are finite, even close to `f32::MAX`.
//! * Weights that do not change have an average that does not change.
//! * The number of updates stops at `u32::MAX`.
//! * An update without a start copies the weights, because the averages contain no weights yet.
//!
//! ```
//! use training_monitor::WeightAverage;
//!
//! let mut weights = [0.0, 1.0];
//! let mut averages = [0.0; 2];
//! let mut ema = WeightAverage::exponential(0.25)?;
//! assert!(ema.start(|pair| pair(&mut averages, &mut weights))); // copies the weights
//!
//! weights = [4.0, 1.0];
//! assert!(ema.update(|pair| pair(&mut averages, &mut weights)));
//! assert_eq!((averages, ema.updates()), ([1.0, 1.0], 1));
//!
//! weights[1] = f32::NAN;
//! assert!(!ema.update(|pair| pair(&mut averages, &mut weights)));
//! assert_eq!((averages, ema.updates()), ([1.0, 1.0], 1));
//! # Ok::<(), training_monitor::ConfigError>(())
//! ```
//!
//! Attached to a run, and swapped in for an evaluation:
//!
//! ```
//! use training_monitor::event::{EpochCompleted, IterationCompleted};
//! use training_monitor::handler::RunTypes;
//! use training_monitor::{Engine, WeightAverage, on};
//!
//! struct Net { weights: [f32; 2], averages: [f32; 2] }
//!
//! let pairs = |net: &mut Net, pair: &mut dyn FnMut(&mut [f32], &mut [f32])| pair(&mut net.averages, &mut net.weights);
//! let evaluate = |net: &mut Net| net.weights[0];
//! let mut evaluations = Vec::new();
//! let mut handlers = (
//!     WeightAverage::equal().attach(IterationCompleted, pairs),
//!     on(EpochCompleted, RunTypes::<Net, ()>::new().function(|net, _| {
//!         WeightAverage::swap(|pair| pairs(net, pair)); // the averages are now the weights
//!         evaluations.push(evaluate(net));
//!         WeightAverage::swap(|pair| pairs(net, pair)); // training continues with the same bits
//!     })),
//! );
//! let mut net = Net { weights: [0.0; 2], averages: [0.0; 2] };
//! Engine::new(2).run(&mut net, 0..2, &mut handlers, |net, _, _| net.weights[0] += 1.0)?;
//! assert_eq!((evaluations, net.weights[0]), (vec![1.5, 2.5], 4.0)); // the means of 1, 2 and of 1, 2, 3, 4
//! # Ok::<(), training_monitor::RunError>(())
//! ```

use super::running_average::move_towards;
use crate::config::ConfigError;
use crate::event::{Event, EventFilter};
use crate::finite::all_finite;
use crate::handler::Handler;
use crate::hash::{Hash, fold};
use crate::run_record::{HandlerKind, HandlerStates, Persist, StateCodec, StateDecoder, StateEncoder};
use crate::state::State;
use core::num::NonZeroU32;

/// A closure that passes each pair of averages and weights to its argument.
type Pairs<'a> = dyn FnMut(&mut dyn FnMut(&mut [f32], &mut [f32])) + 'a;

/// A state machine that averages weights. `R` is the rule: [`Exponential`] or [`Equal`].
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct WeightAverage<R = Exponential> {
    rule: R,
    /// The hash of the name; 0 without a name.
    name: u16,
    /// The number of updates; `None` while the averages do not contain weights.
    updates: Option<u32>,
}

/// The rule of an exponential average: an update has the same weight at all times, apart from a warm-up.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Exponential {
    /// The weight of the new value, greater than 0 and less than 1.
    momentum: f32,
    /// The momentum of the first update. Equal to `momentum` without a warm-up.
    first_momentum: f32,
    warmup_iterations: NonZeroU32,
}

/// The rule of a mean: all updates have the same weight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Equal;

/// The rule of a [`WeightAverage`]: [`Exponential`] or [`Equal`].
pub trait AverageRule: Copy + rule::Sealed {}

impl AverageRule for Exponential {}
impl AverageRule for Equal {}

mod rule {
    //! The methods of a rule, private to this crate.

    use super::{Equal, Exponential, Hash};

    pub trait Sealed {
        /// Returns the weight of the new value in the update with this number. The first update has the number 1.
        fn momentum(&self, update: u32) -> f32;
        /// Returns the hash of the settings.
        fn hash(&self) -> u32;
    }

    impl Sealed for Exponential {
        fn momentum(&self, update: u32) -> f32 {
            let (first, last) = (self.first_momentum, self.momentum);
            // The last iteration of the warm-up has the final momentum. A warm-up of one iteration has no last iteration
            // besides the first one; Ignite then divides by 1.
            let steps = self.warmup_iterations.get().saturating_sub(1).max(1);
            let step = update.saturating_sub(1);
            if step >= steps { last } else { first + (last - first) * step as f32 / steps as f32 }
        }
        fn hash(&self) -> u32 {
            let momenta = Hash::NEW.number(self.momentum.to_bits()).number(self.first_momentum.to_bits());
            momenta.number(self.warmup_iterations.get()).value()
        }
    }

    impl Sealed for Equal {
        fn momentum(&self, update: u32) -> f32 {
            1.0 / update.max(1) as f32
        }
        fn hash(&self) -> u32 {
            Hash::NEW.value()
        }
    }
}

impl WeightAverage<Exponential> {
    /// Creates an exponential average. `momentum` is the weight of the new value in an update.
    ///
    /// # Errors
    /// Returns [`ConfigError::Momentum`] unless 0 < `momentum` < 1.
    pub const fn exponential(momentum: f32) -> Result<Self, ConfigError> {
        if !is_momentum(momentum) {
            return Err(ConfigError::Momentum);
        }
        let rule = Exponential { momentum, first_momentum: momentum, warmup_iterations: NonZeroU32::MIN };
        Ok(WeightAverage { rule, name: 0, updates: None })
    }

    /// Sets a linear warm-up (Ignite's `momentum_warmup` and `warmup_iters`). The first update has the momentum
    /// `first_momentum`. It changes linearly, so that the update with the number `iterations` has the momentum of the
    /// constructor.
    ///
    /// # Errors
    /// * [`ConfigError::Momentum`] unless 0 < `first_momentum` < 1.
    /// * [`ConfigError::WarmupIterations`] if `iterations` is 0.
    pub const fn with_warmup(mut self, first_momentum: f32, iterations: u32) -> Result<Self, ConfigError> {
        if !is_momentum(first_momentum) {
            return Err(ConfigError::Momentum);
        }
        self.rule.first_momentum = first_momentum;
        match NonZeroU32::new(iterations) {
            Some(iterations) => self.rule.warmup_iterations = iterations,
            None => return Err(ConfigError::WarmupIterations),
        }
        Ok(self)
    }

    /// Exchanges the averages and the weights, for example before and after an evaluation. Two calls restore the
    /// original bits, including those of a NaN. `pairs` lists the pairs of averages and weights. Returns false if the
    /// slices of a pair differ in length; nothing has changed in this case.
    ///
    /// The function is the same for both rules. While the averages and the weights are exchanged, do not train, update or save. A checkpoint would contain the
    /// averages as weights.
    pub fn swap(mut pairs: impl FnMut(&mut dyn FnMut(&mut [f32], &mut [f32]))) -> bool {
        swap_all(&mut pairs)
    }

    /// Returns whether all weights are finite and the slices of each pair have equal lengths. `pairs` lists the pairs of
    /// averages and weights. The function is the same for both rules. [`update`](Self::update) performs this check, too.
    #[must_use]
    pub fn is_valid(mut pairs: impl FnMut(&mut dyn FnMut(&mut [f32], &mut [f32]))) -> bool {
        check_all(&mut pairs, true)
    }
}

const fn is_momentum(value: f32) -> bool {
    value > 0.0 && value < 1.0
}

impl WeightAverage<Equal> {
    /// Creates an average in which all updates have the same weight.
    #[must_use]
    pub const fn equal() -> Self {
        WeightAverage { rule: Equal, name: 0, updates: None }
    }
}

impl<R: AverageRule> WeightAverage<R> {
    /// Sets a name. A program with two averages of the same settings gives them names, so that a checkpoint
    /// distinguishes their states. Otherwise it distinguishes them by their settings, and then by their order.
    #[must_use]
    pub const fn with_name(mut self, name: &'static str) -> Self {
        self.name = fold(Hash::NEW.bytes(name.as_bytes()).value());
        self
    }

    /// Copies the weights to the averages and sets the number of updates to 0. `pairs` lists the pairs of averages and
    /// weights. Returns false if a weight is NaN or infinite, or if the slices of a pair differ in length. Nothing has
    /// changed in this case.
    pub fn start(&mut self, mut pairs: impl FnMut(&mut dyn FnMut(&mut [f32], &mut [f32]))) -> bool {
        let copied = blend_all(&mut pairs, 1.0);
        if copied {
            self.updates = Some(0);
        }
        copied
    }

    /// Updates the averages with the weights and counts the update. `pairs` lists the pairs of averages and weights.
    /// Returns false if a weight is NaN or infinite, or if the slices of a pair differ in length. Nothing has changed in
    /// this case.
    pub fn update(&mut self, mut pairs: impl FnMut(&mut dyn FnMut(&mut [f32], &mut [f32]))) -> bool {
        let update = self.updates().saturating_add(1);
        let momentum = if self.updates.is_some() { self.rule.momentum(update) } else { 1.0 };
        let changed = blend_all(&mut pairs, momentum);
        if changed {
            self.updates = Some(update);
        }
        changed
    }

    /// Returns the number of updates since the start. The number stops at `u32::MAX`.
    #[must_use]
    pub fn updates(&self) -> u32 {
        self.updates.unwrap_or(0)
    }

    /// Returns the momentum of the last update: the weight of the new value. Before the first update, returns the
    /// momentum of the first one.
    #[must_use]
    pub fn momentum(&self) -> f32 {
        self.rule.momentum(self.updates())
    }

    /// Attaches the average to a run. It starts when a new run starts, but not when a run resumes. At each event
    /// that `filter` selects, it [updates](Self::update) the averages. The closure `pairs` passes the pairs of averages
    /// and weights of the model to its second argument, in the order average, weight. The example of
    /// the [module](self) shows it.
    pub const fn attach<T, W, F>(self, filter: W, pairs: F) -> WeightAverageHandler<W, F, R>
    where
        T: ?Sized,
        W: EventFilter,
        F: FnMut(&mut T, &mut dyn FnMut(&mut [f32], &mut [f32])),
    {
        WeightAverageHandler { weight_average: self, filter, pairs, skipped: 0 }
    }
}

/// Returns whether the slices of each pair have equal lengths and, if `finite` is set, all weights are finite.
#[inline(never)] // One copy of the code for all operations and models.
fn check_all(pairs: &mut Pairs<'_>, finite: bool) -> bool {
    let mut valid = true;
    pairs(&mut |averages, weights| {
        valid = valid && averages.len() == weights.len() && (!finite || all_finite(weights));
    });
    valid
}

/// Moves all averages to the weights by the share `momentum`. Returns false, and changes nothing, if a pair is invalid.
#[inline(never)] // One copy of the code for all models.
fn blend_all(pairs: &mut Pairs<'_>, momentum: f32) -> bool {
    let valid = check_all(pairs, true);
    if valid {
        pairs(&mut |averages, weights| blend(averages, weights, momentum));
    }
    valid
}

fn blend(averages: &mut [f32], weights: &[f32], momentum: f32) {
    let pairs = averages.iter_mut().zip(weights);
    if momentum >= 1.0 {
        // A copy, because the averages can contain anything before the start, even a NaN.
        pairs.for_each(|(average, weight)| *average = *weight);
    } else if momentum <= 0.5 {
        pairs.for_each(|(average, weight)| *average = move_towards(*average, *weight, momentum));
    } else {
        let share = 1.0 - momentum;
        pairs.for_each(|(average, weight)| *average = move_towards(*weight, *average, share));
    }
}

#[inline(never)] // One copy of the code for all models.
fn swap_all(pairs: &mut Pairs<'_>) -> bool {
    let valid = check_all(pairs, false);
    if valid {
        pairs(&mut |averages, weights| {
            averages.iter_mut().zip(weights).for_each(|(average, weight)| core::mem::swap(average, weight));
        });
    }
    valid
}

/// The state of a [`WeightAverage`] in a checkpoint: the number of updates, or none before the start. The checkpoint
/// format fixes its encoding. The tensors of the model contain the averages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UpdateCount(Option<u32>);

impl StateCodec for UpdateCount {
    fn encode(&self, encoder: &mut StateEncoder<'_>) {
        encoder.write_bool(self.0.is_some());
        self.0.iter().for_each(|updates| encoder.write_u32(*updates));
    }
    fn decode(decoder: &mut StateDecoder<'_>) -> Option<Self> {
        let started = decoder.read_bool()?;
        Some(UpdateCount(if started { Some(decoder.read_u32()?) } else { None }))
    }
}

impl<R: AverageRule> Persist for WeightAverage<R> {
    const KIND: HandlerKind = HandlerKind::WEIGHT_AVERAGE;
    type State = UpdateCount;
    const MAX_LEN: usize = 6;
    fn tag(&self) -> u16 {
        fold(self.rule.hash()) ^ self.name
    }
    fn save(&mut self) -> UpdateCount {
        UpdateCount(self.updates)
    }
    fn restore(&mut self, UpdateCount(updates): UpdateCount) {
        self.updates = updates;
    }
}

/// A handler that averages weights. Created by [`WeightAverage::attach`].
#[derive(Clone, Copy, Debug)]
pub struct WeightAverageHandler<W, F, R = Exponential> {
    /// The state machine that averages the weights.
    pub weight_average: WeightAverage<R>,
    filter: W,
    pairs: F,
    skipped: u32,
}

impl<W, F, R> WeightAverageHandler<W, F, R> {
    /// Returns the number of starts and updates that were skipped since the program started, because of a NaN, an
    /// infinity or a pair of different lengths. The number stops at `u32::MAX`. Checkpoints do not contain it.
    #[must_use]
    pub const fn skipped(&self) -> u32 {
        self.skipped
    }
}

impl<T, O, X, W, F, R> Handler<T, O, X> for WeightAverageHandler<W, F, R>
where
    T: ?Sized,
    W: EventFilter,
    F: FnMut(&mut T, &mut dyn FnMut(&mut [f32], &mut [f32])),
    R: AverageRule,
{
    #[inline(always)]
    fn on_event(&mut self, event: Event, model: &mut T, state: &mut State<O, X>) {
        let mut valid = true;
        if event == Event::Started {
            self.weight_average.updates = None;
            valid = self.weight_average.start(|pair| (self.pairs)(model, pair));
        }
        if self.filter.matches(event, state.counters()) {
            valid &= self.weight_average.update(|pair| (self.pairs)(model, pair));
        }
        if !valid {
            self.skipped = self.skipped.saturating_add(1);
        }
    }
    fn persist(&mut self, _: &mut State<O, X>, states: &mut HandlerStates<'_>) {
        states.visit(&mut self.weight_average);
    }
}
