//! Stops a run whose output, or whose weights, are no longer numbers.
//!
//! Ignite's rule: after the step, every number in the output is looked at, however deep it is nested; a NaN or an
//! infinity ends the run. What can be looked at is [`Finite`]. Unlike Ignite it can also watch parameters and
//! gradients, and it can do so at a cadence, since at batch size 1 such a scan costs more than a tenth of the step:
//! every k-th call, or one stripe of the slice a call, so that k calls cover all of it.
//! It changes nothing, and undoes nothing: a bad update has been made when the output shows it. Checkpoints refuse
//! non-finite weights, so the last good one is still there.
//!
//! ```
//! use training_monitor::{Engine, State, StopReason, TerminateOnNan, event::IterationCompleted};
//!
//! // Ignite's example: [1.23, torch.tensor(...), torch.tensor(math.nan)]
//! let output = |x: f32| (1.23_f32, [0.5_f32, 0.25], [x]);
//! let mut guard = TerminateOnNan::new().attach(IterationCompleted, |_: &(), s: &State<_>| s.output);
//! let outcome = Engine::new(1).run(&mut (), &[0.0, f32::NAN, 0.0][..], &mut guard, |_, x, _| output(*x))?;
//! assert_eq!((outcome.reason, outcome.iteration), (StopReason::NonFinite, 2));
//! # Ok::<(), training_monitor::RunError>(())
//! ```

use crate::event::{Event, When};
use crate::finite::{Finite, first_non_finite};
use crate::handler::Handler;
use crate::record::{RecordReader, RecordWriter, kind};
use crate::state::{State, StopReason};
use core::num::NonZeroU32;

/// The guard. `C` says which calls look: [`EachCall`], which costs nothing, or [`EveryNth`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct TerminateOnNan<C = EachCall> {
    cadence: C,
}

/// Each call looks, at everything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct EachCall;

/// Every n-th call looks, or each at an n-th part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct EveryNth {
    every: NonZeroU32,
    /// Calls since the last one that looked; less than `every`.
    calls: u32,
}

/// Which calls look: [`EachCall`] or [`EveryNth`].
pub trait Cadence: Copy + cadence::Sealed {}

impl Cadence for EachCall {}
impl Cadence for EveryNth {}

mod cadence {
    //! What a cadence does, for this file alone.

    use super::{EachCall, EveryNth, NonZeroU32};

    pub trait Sealed {
        /// How many calls cover everything.
        fn every(&self) -> NonZeroU32;
        /// Which of them the next call is, from 0. Part of the checkpoint format.
        fn phase(&self) -> u32;
        fn set_phase(&mut self, phase: u32);
        /// Counts the call. Whether it is one that looks.
        fn due(&mut self) -> bool;
    }

    impl Sealed for EachCall {
        fn every(&self) -> NonZeroU32 {
            NonZeroU32::MIN
        }
        fn phase(&self) -> u32 {
            0
        }
        fn set_phase(&mut self, _: u32) {}
        #[inline]
        fn due(&mut self) -> bool {
            true
        }
    }

    impl Sealed for EveryNth {
        fn every(&self) -> NonZeroU32 {
            self.every
        }
        fn phase(&self) -> u32 {
            self.calls
        }
        fn set_phase(&mut self, phase: u32) {
            // The cadence is configuration and may have become shorter.
            self.calls = phase.min(self.every.get() - 1);
        }
        #[inline]
        fn due(&mut self) -> bool {
            let calls = self.calls.wrapping_add(1);
            let due = calls >= self.every.get();
            self.calls = if due { 0 } else { calls };
            due
        }
    }
}

impl Default for TerminateOnNan {
    fn default() -> Self {
        Self::new()
    }
}

impl TerminateOnNan {
    /// Looks at every call.
    #[must_use]
    pub const fn new() -> Self {
        TerminateOnNan { cadence: EachCall }
    }
}

impl<C: Cadence> TerminateOnNan<C> {
    /// Looks at every `every`-th call, or with [`check_stripe`](Self::check_stripe) at an `every`-th part each call.
    /// A guard with a cadence is of another type, [`TerminateOnNan<EveryNth>`](EveryNth), since it has a counter.
    #[must_use]
    pub const fn with_cadence(self, every: NonZeroU32) -> TerminateOnNan<EveryNth> {
        TerminateOnNan { cadence: EveryNth { every, calls: 0 } }
    }

    /// Counts the call and, when it is due, looks: true when `value` has a NaN or an infinity.
    #[inline]
    pub fn check<F: Finite + ?Sized>(&mut self, value: &F) -> bool {
        self.cadence.due() && !value.is_finite()
    }

    /// Looks at the next stripe of `values`: `every` calls cover all of them. True when there is a NaN or an infinity.
    pub fn check_stripe(&mut self, values: &[f32]) -> bool {
        let found = self.find_in_stripe(values);
        self.cadence.due();
        found.is_some()
    }

    /// Where in `values` the first NaN or infinity of this call's stripe is.
    fn find_in_stripe(&self, values: &[f32]) -> Option<usize> {
        let len = values.len().div_ceil(self.cadence.every().get() as usize);
        let start = len.saturating_mul(self.cadence.phase() as usize);
        let end = start.saturating_add(len).min(values.len());
        // Where stripes do not come out even the last ones are empty.
        first_non_finite(values.get(start..end)?).map(|index| start.saturating_add(index))
    }

    /// Makes it a handler: whenever `when` fires, looks at what `output` makes of the model and the state (Ignite's
    /// `output_transform`): the state's output, the model's parameters, a part of either. A NaN or an infinity terminates the
    /// engine with [`StopReason::NonFinite`].
    pub const fn attach<W, F>(self, when: W, output: F) -> Attached<W, F, C> {
        Attached { terminate_on_nan: self, when, output }
    }

    /// As [`attach`](Self::attach), to look at slices that `slices` passes to its last argument one by one: parameters,
    /// gradients. Cheaper to write than a returned collection where the model owns them.
    pub const fn watch<W, F>(self, when: W, slices: F) -> Watching<W, F, C> {
        Watching { terminate_on_nan: self, when, slices, found: None }
    }
}

/// A [`TerminateOnNan`] that watches an engine.
#[derive(Clone, Copy, Debug)]
pub struct Attached<W, F, C = EachCall> {
    /// The guard.
    pub terminate_on_nan: TerminateOnNan<C>,
    when: W,
    output: F,
}

impl<T, O, X, R, W, F, C> Handler<T, O, X> for Attached<W, F, C>
where
    T: ?Sized,
    R: Finite,
    W: When,
    F: FnMut(&T, &State<O, X>) -> R,
    C: Cadence,
{
    #[inline(always)]
    fn on_event(&mut self, event: Event, model: &mut T, state: &mut State<O, X>) {
        if self.when.fires(event, state.counters())
            && self.terminate_on_nan.cadence.due()
            && !(self.output)(model, state).is_finite()
        {
            state.terminate(StopReason::NonFinite);
        }
    }
    fn save_state(&mut self, _: &State<O, X>, record: &mut RecordWriter<'_>) {
        self.terminate_on_nan.save_state(record);
    }
    fn restore_state(&mut self, _: &mut State<O, X>, record: &mut RecordReader<'_>) {
        self.terminate_on_nan.restore_state(record);
    }
}

/// A [`TerminateOnNan`] that watches slices of the model, a stripe of each a call.
#[derive(Clone, Copy, Debug)]
pub struct Watching<W, F, C = EachCall> {
    /// The guard.
    pub terminate_on_nan: TerminateOnNan<C>,
    when: W,
    slices: F,
    found: Option<NonFinite>,
}

/// Where a NaN or an infinity was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct NonFinite {
    /// Which slice, from 0 in the order in which they were passed.
    pub slice: u32,
    /// Which of its elements.
    pub index: u32,
}

impl<W, F, C> Watching<W, F, C> {
    /// Where the last one was that ended a run; looked for only then.
    #[must_use]
    pub const fn found(&self) -> Option<NonFinite> {
        self.found
    }
}

impl<T, O, X, W, F, C> Handler<T, O, X> for Watching<W, F, C>
where
    T: ?Sized,
    W: When,
    F: FnMut(&T, &mut dyn FnMut(&[f32])),
    C: Cadence,
{
    #[inline(always)]
    fn on_event(&mut self, event: Event, model: &mut T, state: &mut State<O, X>) {
        if !self.when.fires(event, state.counters()) {
            return;
        }
        let now = self.terminate_on_nan;
        let mut slice = 0u32;
        let mut found = None;
        // Each slice is striped on its own, all from the same phase.
        (self.slices)(model, &mut |values| {
            if found.is_none() {
                let at = |index| NonFinite { slice, index: u32::try_from(index).unwrap_or(u32::MAX) };
                found = now.find_in_stripe(values).map(at);
            }
            slice = slice.saturating_add(1);
        });
        self.terminate_on_nan.cadence.due();
        if found.is_some() {
            self.found = found;
            state.terminate(StopReason::NonFinite);
        }
    }
    fn save_state(&mut self, _: &State<O, X>, record: &mut RecordWriter<'_>) {
        self.terminate_on_nan.save_state(record);
    }
    fn restore_state(&mut self, _: &mut State<O, X>, record: &mut RecordReader<'_>) {
        self.terminate_on_nan.restore_state(record);
    }
}

impl<C: Cadence> TerminateOnNan<C> {
    fn save_state(&self, record: &mut RecordWriter<'_>) {
        record.fields(kind::TERMINATE_ON_NAN, |to| to.number(self.cadence.phase().into()));
    }

    fn restore_state(&mut self, record: &mut RecordReader<'_>) {
        if let Some(phase) = record.fields(kind::TERMINATE_ON_NAN, |from| from.number()) {
            self.cadence.set_phase(phase);
        }
    }
}
