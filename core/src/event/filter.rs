//! Event filters: which events call a handler.

use super::{Counters, Event};
use core::fmt;
use core::num::NonZeroU32;

/// Selects the events that call a handler.
///
/// Import the trait to narrow a filter: `use training_monitor::EventFilter;`, then `EpochCompleted.every(2)?`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not select events",
    note = "use an event of `training_monitor::event`, such as `EpochCompleted`, or `EpochCompleted.every(2)?`"
)]
pub trait EventFilter {
    /// Whether the filter selects `event`, fired at `counters`.
    fn matches(&mut self, event: Event, counters: &Counters) -> bool;

    /// Selects every `n`-th occurrence: `every(3)` selects 3, 6, 9, …
    /// After [`after`](Filtered::after) or [`before`](Filtered::before), the count starts at the first value inside the
    /// window.
    ///
    /// # Errors
    /// [`FilterError::Zero`] if `n` is 0.
    fn every(self, n: u32) -> Result<Filtered<Self>, FilterError>
    where
        Self: Sized,
    {
        Filtered::new(self).every(n)
    }

    /// Selects only occurrence number `n`. Join several with [`or`](EventFilter::or).
    ///
    /// # Errors
    /// [`FilterError::Zero`] if `n` is 0, because counters start at 1.
    fn once(self, n: u32) -> Result<Once<Self>, FilterError>
    where
        Self: Sized,
    {
        Ok(Once { filter: self, at: NonZeroU32::new(n).ok_or(FilterError::Zero)? })
    }

    /// Selects only occurrences with a number less than `n`.
    fn before(self, n: u32) -> Filtered<Self>
    where
        Self: Sized,
    {
        Filtered::new(self).before(n)
    }

    /// Selects only occurrences with a number greater than `n`.
    fn after(self, n: u32) -> Filtered<Self>
    where
        Self: Sized,
    {
        Filtered::new(self).after(n)
    }

    /// Selects only occurrences for which `predicate` returns true. Its argument is [`Event::value`].
    fn filter<F: FnMut(u32) -> bool>(self, predicate: F) -> FilteredBy<Self, F>
    where
        Self: Sized,
    {
        FilteredBy { filter: self, predicate }
    }

    /// Selects the events of both filters (Ignite's `|`).
    fn or<W: EventFilter>(self, other: W) -> Either<Self, W>
    where
        Self: Sized,
    {
        Either(self, other)
    }
}

/// Selects this event. An [`Event::User`] selects every user-defined event with the same `id` and any `value`.
impl EventFilter for Event {
    #[inline]
    fn matches(&mut self, event: Event, _: &Counters) -> bool {
        match (*self, event) {
            (Event::User(selected), Event::User(fired)) => selected.id == fired.id,
            (selected, fired) => selected == fired,
        }
    }
}

/// Selects every event.
#[derive(Clone, Copy, Debug, Default)]
pub struct Any;

impl EventFilter for Any {
    #[inline]
    fn matches(&mut self, _: Event, _: &Counters) -> bool {
        true
    }
}

/// Selects no event.
#[derive(Clone, Copy, Debug, Default)]
pub struct Never;

impl EventFilter for Never {
    #[inline]
    fn matches(&mut self, _: Event, _: &Counters) -> bool {
        false
    }
}

/// Selects the user-defined events with this `id`.
#[derive(Clone, Copy, Debug)]
pub struct User(
    /// [`UserEvent::id`](super::UserEvent::id).
    pub u8,
);

impl EventFilter for User {
    #[inline]
    fn matches(&mut self, event: Event, _: &Counters) -> bool {
        matches!(event, Event::User(fired) if fired.id == self.0)
    }
}

macro_rules! named_events {
    ($($name:ident)*) => {$(
        #[doc = concat!("Selects [`Event::", stringify!($name), "`] at compile time.")]
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $name;

        impl EventFilter for $name {
            #[inline(always)]
            fn matches(&mut self, event: Event, _: &Counters) -> bool {
                matches!(event, Event::$name)
            }
        }
    )*};
}

named_events! {
    Started EpochStarted GetBatchStarted GetBatchCompleted IterationStarted IterationCompleted EpochCompleted Completed
    Terminate TerminateSingleEpoch ExceptionRaised SavedCheckpoint
}

/// Selects every n-th occurrence of an event, or the occurrences inside a window, or both.
#[derive(Clone, Copy, Debug)]
pub struct Filtered<W> {
    filter: W,
    every: NonZeroU32,
    /// Lower bound, exclusive. If a bound is set, `every` counts from the first value inside the window.
    after: Option<u32>,
    /// Upper bound, exclusive.
    before: Option<u32>,
}

impl<W: EventFilter> Filtered<W> {
    const fn new(filter: W) -> Self {
        Filtered { filter, every: NonZeroU32::MIN, after: None, before: None }
    }

    /// Selects every `n`-th occurrence.
    ///
    /// # Errors
    /// [`FilterError::Zero`] if `n` is 0.
    pub fn every(mut self, n: u32) -> Result<Self, FilterError> {
        self.every = NonZeroU32::new(n).ok_or(FilterError::Zero)?;
        Ok(self)
    }

    /// Selects only occurrences with a number less than `n`.
    #[must_use]
    pub fn before(mut self, n: u32) -> Self {
        self.before = Some(n);
        self
    }

    /// Selects only occurrences with a number greater than `n`.
    #[must_use]
    pub fn after(mut self, n: u32) -> Self {
        self.after = Some(n);
        self
    }
}

impl<W: EventFilter> EventFilter for Filtered<W> {
    #[inline]
    fn matches(&mut self, event: Event, counters: &Counters) -> bool {
        if !self.filter.matches(event, counters) {
            return false;
        }
        let value = event.value(counters);
        if self.after.is_none() && self.before.is_none() {
            return value % self.every == 0;
        }
        let after = self.after.unwrap_or(0);
        let inside = value > after && self.before.is_none_or(|before| value < before);
        inside && (value - after - 1) % self.every == 0
    }
}

/// Selects one occurrence of an event; created by [`EventFilter::once`].
#[derive(Clone, Copy, Debug)]
pub struct Once<W> {
    filter: W,
    at: NonZeroU32,
}

impl<W: EventFilter> EventFilter for Once<W> {
    #[inline]
    fn matches(&mut self, event: Event, counters: &Counters) -> bool {
        self.filter.matches(event, counters) && event.value(counters) == self.at.get()
    }
}

/// Selects occurrences with a predicate; created by [`EventFilter::filter`].
#[derive(Clone, Copy, Debug)]
pub struct FilteredBy<W, F> {
    filter: W,
    predicate: F,
}

impl<W: EventFilter, F: FnMut(u32) -> bool> EventFilter for FilteredBy<W, F> {
    #[inline]
    fn matches(&mut self, event: Event, counters: &Counters) -> bool {
        self.filter.matches(event, counters) && (self.predicate)(event.value(counters))
    }
}

/// Selects the events of two filters; created by [`EventFilter::or`].
#[derive(Clone, Copy, Debug)]
pub struct Either<A, B>(A, B);

impl<A: EventFilter, B: EventFilter> EventFilter for Either<A, B> {
    #[inline]
    fn matches(&mut self, event: Event, counters: &Counters) -> bool {
        // Both filters must see every event, because a user-defined predicate may count its calls.
        let first = self.0.matches(event, counters);
        self.1.matches(event, counters) || first
    }
}

/// The error of an event filter with an invalid argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum FilterError {
    /// The argument of `every` or `once` is 0. Counters start at 1.
    Zero,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FilterError::Zero => {
                f.write_str("the argument of an event filter's `every` or `once` is 0; it must be at least 1")
            }
        }
    }
}

impl core::error::Error for FilterError {}
