//! What happens in a run, and which of it a handler wants to hear about.
//!
//! [`Event`] is what the engine fires. [`When`] decides whether a handler is called: the unit types of this module
//! ([`Started`], [`IterationCompleted`], …) name one event each and cost nothing where another event fires, because
//! the compiler sees both sides of the comparison; an [`Event`] value does the same at run time. Both can be narrowed
//! with [`every`](When::every), [`once`](When::once), [`before`](When::before), [`after`](When::after) and
//! [`filter`](When::filter), or joined with [`or`](When::or).
//!
//! The value that the numeric filters look at is the iteration for iteration and batch events, the epoch for the
//! others, and [`UserEvent::value`] for events of the user's own (Ignite 0.5.5, `CallableEventWithFilter`).
//! This file never fires anything.
//!
//! ```
//! use training_monitor::event::{Counters, EpochCompleted, Event, IterationCompleted, When};
//!
//! let at = |iteration| Counters { epoch: 1, iteration };
//! let mut third = IterationCompleted.every(3)?;
//! assert!(!third.fires(Event::IterationCompleted, &at(2)));
//! assert!(third.fires(Event::IterationCompleted, &at(3)));
//! assert!(!third.fires(Event::EpochCompleted, &at(3)));
//! // Exclusive on both sides: 3 and 4 only.
//! let mut window = IterationCompleted.after(2).before(5);
//! assert!(!window.fires(Event::IterationCompleted, &at(2)));
//! assert!(window.fires(Event::IterationCompleted, &at(4)));
//! assert!(EpochCompleted.every(0).is_err());
//! # Ok::<(), training_monitor::event::FilterError>(())
//! ```

use core::fmt;
use core::num::NonZeroU32;

/// Something that happened in a run. Order of a plain run: `Started (EpochStarted (GetBatchStarted GetBatchCompleted
/// IterationStarted step IterationCompleted)* EpochCompleted)* Completed`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Event {
    /// A run begins. Not fired by a run that [resumes](crate::Engine::resume): for the handlers nothing has happened.
    Started,
    /// An epoch begins; the epoch has been counted.
    EpochStarted,
    /// The engine is about to fetch a batch. Only [`Engine::run`](crate::Engine::run) and `try_run` fetch batches.
    GetBatchStarted,
    /// The batch has been fetched.
    GetBatchCompleted,
    /// An iteration begins; it has been counted, the step function has not run.
    IterationStarted,
    /// The step function has run; its output is in [`State::output`](crate::State::output).
    IterationCompleted,
    /// An epoch is over. Not fired for an epoch that `terminate` cut.
    EpochCompleted,
    /// The run is over, whichever way. Not fired after an error of the step function.
    Completed,
    /// `terminate` was called; acts at once, before any further step.
    Terminate,
    /// `terminate_epoch` was called; [`EpochCompleted`](Event::EpochCompleted) follows.
    TerminateSingleEpoch,
    /// The step function returned an error, which [`Engine::try_run`](crate::Engine::try_run) returns after this.
    ExceptionRaised,
    /// At least one checkpoint of the event before was committed.
    SavedCheckpoint,
    /// An event of the user's own, fired through [`State::fire`](crate::State::fire) or `Engine::fire`.
    User(UserEvent),
}

/// An event of the user's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct UserEvent {
    /// Which event: any number the program gives it.
    pub id: u8,
    /// What [`every`](When::every) and its kin look at (Ignite's `event_to_attr`).
    pub value: u32,
}

/// The two counters of a run. Both count from 1; 0 means none yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Counters {
    /// The epoch under way, or the last one.
    pub epoch: u32,
    /// The iteration under way, or the last one, counted over all epochs.
    pub iteration: u32,
}

impl Event {
    /// The number that filters look at when this event fires.
    #[inline]
    #[must_use]
    pub const fn value(self, at: &Counters) -> u32 {
        match self {
            Event::GetBatchStarted | Event::GetBatchCompleted | Event::IterationStarted | Event::IterationCompleted => {
                at.iteration
            }
            Event::User(event) => event.value,
            _ => at.epoch,
        }
    }
}

/// Whether a handler is called for an event.
pub trait When {
    /// Whether `event`, fired at `at`, is meant.
    fn fires(&mut self, event: Event, at: &Counters) -> bool;

    /// Every `n`-th time: 3 means 3, 6, 9, …
    /// With [`after`](Filtered::after) or [`before`](Filtered::before) the first time is the first inside the window.
    ///
    /// # Errors
    /// [`FilterError::Zero`] for `n` = 0.
    fn every(self, n: u32) -> Result<Filtered<Self>, FilterError>
    where
        Self: Sized,
    {
        Filtered::new(self).every(n)
    }

    /// At `n` alone; several with [`or`](When::or).
    ///
    /// # Errors
    /// [`FilterError::Zero`] for `n` = 0: counters begin at 1.
    fn once(self, n: u32) -> Result<Once<Self>, FilterError>
    where
        Self: Sized,
    {
        Ok(Once { when: self, at: NonZeroU32::new(n).ok_or(FilterError::Zero)? })
    }

    /// Only before `n`, exclusive.
    fn before(self, n: u32) -> Filtered<Self>
    where
        Self: Sized,
    {
        Filtered::new(self).before(n)
    }

    /// Only after `n`, exclusive.
    fn after(self, n: u32) -> Filtered<Self>
    where
        Self: Sized,
    {
        Filtered::new(self).after(n)
    }

    /// Only where `keep` says so, given the [value](Event::value) of the event.
    fn filter<F: FnMut(u32) -> bool>(self, keep: F) -> FilteredBy<Self, F>
    where
        Self: Sized,
    {
        FilteredBy { when: self, keep }
    }

    /// For this or `other` (Ignite's `|`).
    fn or<W: When>(self, other: W) -> Either<Self, W>
    where
        Self: Sized,
    {
        Either(self, other)
    }
}

/// The event itself, chosen at run time. A [`Event::User`] is meant whatever its value.
impl When for Event {
    #[inline]
    fn fires(&mut self, event: Event, _: &Counters) -> bool {
        match (*self, event) {
            (Event::User(mine), Event::User(fired)) => mine.id == fired.id,
            (mine, fired) => mine == fired,
        }
    }
}

/// Fires for every event there is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Any;

impl When for Any {
    #[inline]
    fn fires(&mut self, _: Event, _: &Counters) -> bool {
        true
    }
}

/// Fires for no event.
#[derive(Clone, Copy, Debug, Default)]
pub struct Never;

impl When for Never {
    #[inline]
    fn fires(&mut self, _: Event, _: &Counters) -> bool {
        false
    }
}

/// A [`UserEvent`] by its number, whatever its value.
#[derive(Clone, Copy, Debug)]
pub struct User(pub u8);

impl When for User {
    #[inline]
    fn fires(&mut self, event: Event, _: &Counters) -> bool {
        matches!(event, Event::User(fired) if fired.id == self.0)
    }
}

macro_rules! named_events {
    ($($name:ident)*) => {$(
        #[doc = concat!("[`Event::", stringify!($name), "`], known when the program is compiled.")]
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $name;

        impl When for $name {
            #[inline(always)]
            fn fires(&mut self, event: Event, _: &Counters) -> bool {
                matches!(event, Event::$name)
            }
        }
    )*};
}

named_events! {
    Started EpochStarted GetBatchStarted GetBatchCompleted IterationStarted IterationCompleted EpochCompleted Completed
    Terminate TerminateSingleEpoch ExceptionRaised SavedCheckpoint
}

/// An event inside a window, or every n-th of it, or both.
#[derive(Clone, Copy, Debug)]
pub struct Filtered<W> {
    when: W,
    every: NonZeroU32,
    /// `None` until a bound is given: with one, the phase of `every` starts at the window's first value.
    after: Option<u32>,
    before: Option<u32>,
}

impl<W: When> Filtered<W> {
    const fn new(when: W) -> Self {
        Filtered { when, every: NonZeroU32::MIN, after: None, before: None }
    }

    /// Every `n`-th time.
    ///
    /// # Errors
    /// [`FilterError::Zero`] for `n` = 0.
    pub fn every(mut self, n: u32) -> Result<Self, FilterError> {
        self.every = NonZeroU32::new(n).ok_or(FilterError::Zero)?;
        Ok(self)
    }

    /// Only before `n`, exclusive.
    #[must_use]
    pub fn before(mut self, n: u32) -> Self {
        self.before = Some(n);
        self
    }

    /// Only after `n`, exclusive.
    #[must_use]
    pub fn after(mut self, n: u32) -> Self {
        self.after = Some(n);
        self
    }
}

impl<W: When> When for Filtered<W> {
    #[inline]
    fn fires(&mut self, event: Event, at: &Counters) -> bool {
        if !self.when.fires(event, at) {
            return false;
        }
        let value = event.value(at);
        if self.after.is_none() && self.before.is_none() {
            return value % self.every == 0;
        }
        let after = self.after.unwrap_or(0);
        let inside = value > after && self.before.is_none_or(|before| value < before);
        inside && (value - after - 1) % self.every == 0
    }
}

/// An event at one value of its counter.
#[derive(Clone, Copy, Debug)]
pub struct Once<W> {
    when: W,
    at: NonZeroU32,
}

impl<W: When> When for Once<W> {
    #[inline]
    fn fires(&mut self, event: Event, at: &Counters) -> bool {
        self.when.fires(event, at) && event.value(at) == self.at.get()
    }
}

/// An event that a function of the user's lets through.
#[derive(Clone, Copy, Debug)]
pub struct FilteredBy<W, F> {
    when: W,
    keep: F,
}

impl<W: When, F: FnMut(u32) -> bool> When for FilteredBy<W, F> {
    #[inline]
    fn fires(&mut self, event: Event, at: &Counters) -> bool {
        self.when.fires(event, at) && (self.keep)(event.value(at))
    }
}

/// One event or another.
#[derive(Clone, Copy, Debug)]
pub struct Either<A, B>(A, B);

impl<A: When, B: When> When for Either<A, B> {
    #[inline]
    fn fires(&mut self, event: Event, at: &Counters) -> bool {
        // Both are asked: a filter of the user's may count its calls.
        let first = self.0.fires(event, at);
        self.1.fires(event, at) || first
    }
}

/// Why an event filter cannot be built.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum FilterError {
    /// `every` or `once` of 0: counters begin at 1.
    Zero,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FilterError::Zero => f.write_str("`every` and `once` take a number of at least 1"),
        }
    }
}

impl core::error::Error for FilterError {}
