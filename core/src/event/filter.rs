//! Event filters. A filter selects the events at which a handler is called.

use super::{Counters, Event};
use crate::config::ConfigError;
use core::num::NonZeroU32;

/// A filter that selects the events at which a handler is called.
///
/// The methods of this trait narrow a filter. For example, `EpochCompleted.every(2)?` selects every second epoch.
/// Import the trait to call them: `use training_monitor::EventFilter;`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not select events",
    note = "use an event of `training_monitor::event`, such as `EpochCompleted`, or `EpochCompleted.every(2)?`"
)]
pub trait EventFilter {
    /// Returns whether the filter selects `event`. `counters` are the counters of the run at this event.
    fn matches(&mut self, event: Event, counters: &Counters) -> bool;

    /// Selects every `n`-th occurrence: `every(3)` selects 3, 6, 9 and so on. With a limit
    /// from [`after`](Filtered::after) or [`before`](Filtered::before), the count starts at the first occurrence within
    /// the limits. For example, `after(10)` and `every(3)` together select 11, 14, 17 and so on.
    ///
    /// # Errors
    /// Returns [`ConfigError::Occurrence`] if `n` is 0.
    fn every(self, n: u32) -> Result<Filtered<Self>, ConfigError>
    where
        Self: Sized,
    {
        Filtered::new(self).every(n)
    }

    /// Selects only the occurrence with the number `n`, starting at 1. Combine several filters
    /// with [`or`](EventFilter::or).
    ///
    /// # Errors
    /// Returns [`ConfigError::Occurrence`] if `n` is 0.
    fn once(self, n: u32) -> Result<Once<Self>, ConfigError>
    where
        Self: Sized,
    {
        Ok(Once { filter: self, at: NonZeroU32::new(n).ok_or(ConfigError::Occurrence)? })
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

    /// Selects only occurrences for which `predicate` returns true. The argument of `predicate` is the number of the
    /// occurrence, as [`Event::value`] returns it.
    fn filter<F: FnMut(u32) -> bool>(self, predicate: F) -> FilteredBy<Self, F>
    where
        Self: Sized,
    {
        FilteredBy { filter: self, predicate }
    }

    /// Selects each event that at least one of the two filters selects (Ignite's `|`).
    fn or<W: EventFilter>(self, other: W) -> Either<Self, W>
    where
        Self: Sized,
    {
        Either(self, other)
    }
}

/// An event is a filter that selects exactly this event. A user-defined event selects all user-defined events with the
/// same `id`, with any `value`.
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
    /// The [`id`](super::UserEvent::id) of the events.
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
    Terminate TerminateSingleEpoch ExceptionRaised SavedCheckpoint Interrupt RolledBack
}

/// A filter that selects every n-th occurrence of an event, the occurrences inside a window, or both.
#[derive(Clone, Copy, Debug)]
pub struct Filtered<W> {
    filter: W,
    every: NonZeroU32,
    /// The lower bound of the window; only higher numbers are selected. With a window, `every` counts from the first
    /// occurrence inside it.
    after: Option<u32>,
    /// The upper bound of the window; only lower numbers are selected.
    before: Option<u32>,
}

impl<W: EventFilter> Filtered<W> {
    const fn new(filter: W) -> Self {
        Filtered { filter, every: NonZeroU32::MIN, after: None, before: None }
    }

    /// Selects every `n`-th occurrence.
    ///
    /// # Errors
    /// Returns [`ConfigError::Occurrence`] if `n` is 0.
    pub fn every(mut self, n: u32) -> Result<Self, ConfigError> {
        self.every = NonZeroU32::new(n).ok_or(ConfigError::Occurrence)?;
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

/// A filter that selects one occurrence of an event. Created by [`EventFilter::once`].
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

/// A filter that selects occurrences with a user-defined predicate. Created by [`EventFilter::filter`].
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

/// A filter that selects the events of two other filters. Created by [`EventFilter::or`].
#[derive(Clone, Copy, Debug)]
pub struct Either<A, B>(A, B);

impl<A: EventFilter, B: EventFilter> EventFilter for Either<A, B> {
    #[inline]
    fn matches(&mut self, event: Event, counters: &Counters) -> bool {
        // Both filters are called for every event, because a user-defined predicate may count its calls.
        let first = self.0.matches(event, counters);
        self.1.matches(event, counters) || first
    }
}
