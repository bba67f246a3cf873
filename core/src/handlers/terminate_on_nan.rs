//! Stops a run whose output or weights contain a NaN or an infinity.
//!
//! Ignite's rule: after each step, every number in the output is checked, however deeply it is nested; a NaN or an
//! infinity terminates the run. Types that can be checked implement [`Finite`]. Unlike Ignite, the guard can also check
//! parameters and gradients. Such a scan can take more than a tenth of a step at batch size 1. Therefore a schedule can
//! limit it to every n-th call, or to one n-th of each slice per call.
//!
//! The guard changes no weights. When it finds a NaN, the update that produced it has already happened. Checkpoints
//! refuse non-finite weights, so the last checkpoint is intact.
//!
//! ```
//! use training_monitor::{Engine, StopReason, TerminateOnNan, event::IterationCompleted};
//!
//! // Ignite's example: [1.23, torch.tensor(...), torch.tensor(math.nan)]
//! let output = |x: f32| (1.23_f32, [0.5_f32, 0.25], [x]);
//! let mut guard = TerminateOnNan::new().attach(IterationCompleted, |_, s| &s.output);
//! let outcome = Engine::new(1).run(&mut (), &[0.0, f32::NAN, 0.0][..], &mut guard, |_, x, _| output(*x))?;
//! assert_eq!((outcome.reason, outcome.iteration), (StopReason::NonFinite, 2));
//!
//! // The weights of the model instead of the output.
//! let mut guard = TerminateOnNan::new().attach(IterationCompleted, |weights: &[f32; 2], _| weights);
//! let outcome = Engine::new(1).run(&mut [1.0, 2.0], 0..3, &mut guard, |weights, _, _| weights[0] *= f32::MAX)?;
//! assert_eq!(outcome.reason, StopReason::NonFinite);
//! # Ok::<(), training_monitor::RunError>(())
//! ```

use crate::config::ConfigError;
use crate::event::{Event, EventFilter};
use crate::finite::{Finite, first_non_finite};
use crate::handler::Handler;
use crate::run_record::{HandlerKind, HandlerStates, Persist, StateCodec, StateDecoder, StateEncoder};
use crate::state::{State, StopReason};
use core::num::NonZeroU32;

/// A guard that checks values for NaN and infinity. `S` is the schedule of the checks: [`EveryCall`] is the default,
/// and [`EveryNthCall`] makes them cheaper.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct TerminateOnNan<S = EveryCall> {
    schedule: S,
}

/// A schedule that checks everything at each call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct EveryCall;

/// A schedule that spreads the work of a NaN guard over `n` calls. The guard checks a single value at every `n`-th
/// call. It divides a slice into `n` parts and checks one part at each call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct EveryNthCall {
    n: NonZeroU32,
    /// The number of calls since the last complete check, from 0 to `n - 1`.
    calls: u32,
}

/// The schedule of a guard: [`EveryCall`] or [`EveryNthCall`].
pub trait CheckSchedule: Copy + schedule::Sealed {}

impl CheckSchedule for EveryCall {}
impl CheckSchedule for EveryNthCall {}

mod schedule {
    //! The methods of a schedule, private to this crate.

    use super::{EveryCall, EveryNthCall, NonZeroU32};

    pub trait Sealed {
        /// Returns the period: the number of calls that together check all values.
        fn period(&self) -> NonZeroU32;
        /// Returns the index of the next call within the period, starting at 0. Checkpoints contain this index.
        fn index(&self) -> u32;
        fn set_index(&mut self, index: u32);
        /// Counts a call. Returns true if it is the last call of its period.
        fn tick(&mut self) -> bool;
    }

    impl Sealed for EveryCall {
        fn period(&self) -> NonZeroU32 {
            NonZeroU32::MIN
        }
        fn index(&self) -> u32 {
            0
        }
        fn set_index(&mut self, _: u32) {}
        #[inline]
        fn tick(&mut self) -> bool {
            true
        }
    }

    impl Sealed for EveryNthCall {
        fn period(&self) -> NonZeroU32 {
            self.n
        }
        fn index(&self) -> u32 {
            self.calls
        }
        fn set_index(&mut self, index: u32) {
            // The program may now have a shorter period than the program that saved the index. In this case, the next
            // call is the last one of the period.
            self.calls = index.min(self.n.get() - 1);
        }
        #[inline]
        fn tick(&mut self) -> bool {
            let calls = self.calls.wrapping_add(1);
            let last = calls >= self.n.get();
            self.calls = if last { 0 } else { calls };
            last
        }
    }
}

impl Default for TerminateOnNan {
    fn default() -> Self {
        Self::new()
    }
}

impl TerminateOnNan {
    /// Creates a guard that checks all values at every call.
    #[must_use]
    pub const fn new() -> Self {
        TerminateOnNan { schedule: EveryCall }
    }
}

impl<S: CheckSchedule> TerminateOnNan<S> {
    /// Sets a period of `n` calls. [`check`](Self::check) then checks only every `n`-th
    /// value. [`check_stripe`](Self::check_stripe) and [`attach_slices`](Self::attach_slices) check one `n`-th of each
    /// slice per call.
    ///
    /// # Errors
    /// Returns [`ConfigError::CheckSchedule`] if `n` is 0.
    pub const fn with_schedule(self, n: u32) -> Result<TerminateOnNan<EveryNthCall>, ConfigError> {
        match NonZeroU32::new(n) {
            Some(n) => Ok(TerminateOnNan { schedule: EveryNthCall { n, calls: 0 } }),
            None => Err(ConfigError::CheckSchedule),
        }
    }

    /// Counts the call. If the schedule selects this call, checks `value` and returns true if it contains a NaN or an
    /// infinity. Otherwise returns false.
    #[inline]
    pub fn check<F: Finite + ?Sized>(&mut self, value: &F) -> bool {
        self.schedule.tick() && !value.is_finite()
    }

    /// Checks the next stripe (one `n`-th) of `values`, so that `n` calls check all of them. Returns true if the stripe
    /// contains a NaN or an infinity.
    pub fn check_stripe(&mut self, values: &[f32]) -> bool {
        let found = self.find_in_stripe(values);
        self.schedule.tick();
        found.is_some()
    }

    /// Returns the index of the first NaN or infinity in the current stripe of `values`. The index counts from the
    /// start of `values`.
    fn find_in_stripe(&self, values: &[f32]) -> Option<usize> {
        let len = values.len().div_ceil(self.schedule.period().get() as usize);
        let start = len.saturating_mul(self.schedule.index() as usize);
        let end = start.saturating_add(len).min(values.len());
        // A stripe at the end can start after the last value. It is then empty, and `get` returns `None`.
        first_non_finite(values.get(start..end)?).map(|index| start.saturating_add(index))
    }

    /// Attaches the guard to a run. At each event that `filter` selects, the guard checks the value to which `output`
    /// returns a reference (Ignite's `output_transform`). Examples of `output` are `|_, state| &state.output` and
    /// `|net: &Net, _| &net.weights`. A NaN or an infinity terminates the run with the
    /// reason [`StopReason::NonFinite`].
    pub const fn attach<T, O, X, R, W, F>(self, filter: W, output: F) -> NanGuard<W, F, S>
    where
        T: ?Sized,
        R: Finite + ?Sized,
        W: EventFilter,
        F: for<'a> FnMut(&'a T, &'a State<O, X>) -> &'a R,
    {
        NanGuard { terminate_on_nan: self, filter, output }
    }

    /// Attaches the guard to a run, to check several slices. At each event that `filter` selects, the closure `slices`
    /// passes slices of the model to its second argument. Examples are parameters and gradients.
    ///
    /// ```
    /// use training_monitor::handlers::terminate_on_nan::NonFinite;
    /// use training_monitor::{Engine, TerminateOnNan, event::IterationCompleted};
    ///
    /// struct Net { weight: [f32; 4], bias: [f32; 2] }
    ///
    /// let mut guard = TerminateOnNan::new().attach_slices(IterationCompleted, |net: &Net, check| {
    ///     check(&net.weight);
    ///     check(&net.bias);
    /// });
    /// let mut net = Net { weight: [0.0; 4], bias: [0.0; 2] };
    /// Engine::new(1).run(&mut net, 0..3, &mut guard, |net, _, _| net.bias[1] = f32::NAN)?;
    /// assert_eq!(guard.first_non_finite(), Some(NonFinite { slice: 1, index: 1 }));
    /// # Ok::<(), training_monitor::RunError>(())
    /// ```
    pub const fn attach_slices<T, W, F>(self, filter: W, slices: F) -> SliceNanGuard<W, F, S>
    where
        T: ?Sized,
        W: EventFilter,
        F: FnMut(&T, &mut dyn FnMut(&[f32])),
    {
        SliceNanGuard { terminate_on_nan: self, filter, slices, first_non_finite: None }
    }
}

/// The state of a [`TerminateOnNan`] in a checkpoint: the index of the next call in the schedule. The checkpoint format
/// fixes its encoding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScheduleIndex(u32);

impl StateCodec for ScheduleIndex {
    fn encode(&self, encoder: &mut StateEncoder<'_>) {
        encoder.write_u32(self.0);
    }
    fn decode(decoder: &mut StateDecoder<'_>) -> Option<Self> {
        decoder.read_u32().map(ScheduleIndex)
    }
}

impl<S: CheckSchedule> Persist for TerminateOnNan<S> {
    const KIND: HandlerKind = HandlerKind::TERMINATE_ON_NAN;
    type State = ScheduleIndex;
    const MAX_LEN: usize = 5;
    fn save(&mut self) -> ScheduleIndex {
        ScheduleIndex(self.schedule.index())
    }
    fn restore(&mut self, index: ScheduleIndex) {
        self.schedule.set_index(index.0);
    }
}

/// A handler that checks one value of the model or the state for NaN and infinity. Created
/// by [`TerminateOnNan::attach`].
#[derive(Clone, Copy, Debug)]
pub struct NanGuard<W, F, S = EveryCall> {
    /// The guard, which checks values for NaN and infinity.
    pub terminate_on_nan: TerminateOnNan<S>,
    filter: W,
    output: F,
}

impl<T, O, X, R, W, F, S> Handler<T, O, X> for NanGuard<W, F, S>
where
    T: ?Sized,
    R: Finite + ?Sized,
    W: EventFilter,
    F: for<'a> FnMut(&'a T, &'a State<O, X>) -> &'a R,
    S: CheckSchedule,
{
    #[inline(always)]
    fn on_event(&mut self, event: Event, model: &mut T, state: &mut State<O, X>) {
        if self.filter.matches(event, state.counters())
            && self.terminate_on_nan.schedule.tick()
            && !(self.output)(model, state).is_finite()
        {
            state.terminate(StopReason::NonFinite);
        }
    }
    fn persist(&mut self, _: &mut State<O, X>, states: &mut HandlerStates<'_>) {
        states.visit(&mut self.terminate_on_nan);
    }
}

/// A handler that checks slices of the model for NaN and infinity. Created by [`TerminateOnNan::attach_slices`].
#[derive(Clone, Copy, Debug)]
pub struct SliceNanGuard<W, F, S = EveryCall> {
    /// The guard, which checks values for NaN and infinity.
    pub terminate_on_nan: TerminateOnNan<S>,
    filter: W,
    slices: F,
    first_non_finite: Option<NonFinite>,
}

/// The position of a NaN or an infinity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct NonFinite {
    /// The index of the slice, starting at 0. Slices are numbered in the order in which the closure passes them.
    pub slice: u32,
    /// The index of the element within the slice.
    pub index: u32,
}

impl<W, F, S> SliceNanGuard<W, F, S> {
    /// Returns the position of the NaN or infinity that terminated the run. Returns `None` if there was none.
    #[must_use]
    pub const fn first_non_finite(&self) -> Option<NonFinite> {
        self.first_non_finite
    }
}

impl<T, O, X, W, F, S> Handler<T, O, X> for SliceNanGuard<W, F, S>
where
    T: ?Sized,
    W: EventFilter,
    F: FnMut(&T, &mut dyn FnMut(&[f32])),
    S: CheckSchedule,
{
    #[inline(always)]
    fn on_event(&mut self, event: Event, model: &mut T, state: &mut State<O, X>) {
        if !self.filter.matches(event, state.counters()) {
            return;
        }
        let guard = self.terminate_on_nan;
        let mut slice = 0u32;
        let mut found = None;
        // All slices use the same stripe index (the part of each slice that is checked now). The schedule advances only
        // after the last slice.
        (self.slices)(model, &mut |values| {
            if found.is_none() {
                let position = |index| NonFinite { slice, index: u32::try_from(index).unwrap_or(u32::MAX) };
                found = guard.find_in_stripe(values).map(position);
            }
            slice = slice.saturating_add(1);
        });
        self.terminate_on_nan.schedule.tick();
        if found.is_some() {
            self.first_non_finite = found;
            state.terminate(StopReason::NonFinite);
        }
    }
    fn persist(&mut self, _: &mut State<O, X>, states: &mut HandlerStates<'_>) {
        states.visit(&mut self.terminate_on_nan);
    }
}
