//! The events of a run, and the filters that select the events a handler reacts to.
//!
//! The engine fires [`Event`]s. An [`EventFilter`] decides for each event whether a handler is called. This module
//! defines one unit type per event ([`Started`], [`IterationCompleted`], …). The compiler evaluates these filters at
//! compile time, so a handler costs nothing at events that it does not select. An [`Event`] value is a filter that is
//! chosen at run time. Every filter can be narrowed with [`every`](EventFilter::every), [`once`](EventFilter::once),
//! [`before`](EventFilter::before), [`after`](EventFilter::after) and [`filter`](EventFilter::filter), and two filters
//! can be joined with [`or`](EventFilter::or).
//!
//! The numeric filters compare the iteration for iteration and batch events, the epoch for all other events, and
//! [`UserEvent::value`] for user-defined events (rule of Ignite 0.5.5, `CallableEventWithFilter`).
//!
//! ```
//! use training_monitor::event::{Counters, EpochCompleted, Event, EventFilter, IterationCompleted};
//!
//! let at = |iteration| Counters { epoch: 1, iteration };
//! let mut third = IterationCompleted.every(3)?;
//! assert!(!third.matches(Event::IterationCompleted, &at(2)));
//! assert!(third.matches(Event::IterationCompleted, &at(3)));
//! assert!(!third.matches(Event::EpochCompleted, &at(3)));
//! // Both bounds are exclusive: iterations 3 and 4 only.
//! let mut window = IterationCompleted.after(2).before(5);
//! assert!(!window.matches(Event::IterationCompleted, &at(2)));
//! assert!(window.matches(Event::IterationCompleted, &at(4)));
//! assert!(EpochCompleted.every(0).is_err());
//! # Ok::<(), training_monitor::event::FilterError>(())
//! ```

mod filter;

pub use filter::{
    Any, Completed, Either, EpochCompleted, EpochStarted, EventFilter, ExceptionRaised, FilterError, Filtered,
    FilteredBy, GetBatchCompleted, GetBatchStarted, IterationCompleted, IterationStarted, Never, Once, SavedCheckpoint,
    Started, Terminate, TerminateSingleEpoch, User,
};

/// An event of a run. The order in a run without interruptions is `Started (EpochStarted (GetBatchStarted
/// GetBatchCompleted IterationStarted step IterationCompleted)* EpochCompleted)* Completed`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Event {
    /// A run starts. A [resumed](crate::Engine::resume) run does not fire this event again.
    Started,
    /// An epoch starts. The epoch counter already includes it.
    EpochStarted,
    /// The engine is about to fetch a batch. Only [`Engine::run`](crate::Engine::run) and `try_run` fetch batches.
    GetBatchStarted,
    /// The engine has fetched a batch.
    GetBatchCompleted,
    /// An iteration starts. The iteration counter already includes it; the step function has not run yet.
    IterationStarted,
    /// The step function has run. [`State::output`](crate::State::output) contains its output.
    IterationCompleted,
    /// An epoch is complete. The engine does not fire this event for an epoch that `terminate` stopped.
    EpochCompleted,
    /// The run is over, for any reason except an error of the step function.
    Completed,
    /// A handler or the step function called `terminate`. No further step runs.
    Terminate,
    /// A handler or the step function called `terminate_epoch`. [`EpochCompleted`](Event::EpochCompleted) follows.
    TerminateSingleEpoch,
    /// The step function returned an error. [`Engine::try_run`](crate::Engine::try_run) returns that error afterwards.
    ExceptionRaised,
    /// At least one checkpoint was committed after the previous event.
    SavedCheckpoint,
    /// A user-defined event, fired with [`State::fire`](crate::State::fire) or `Engine::fire`.
    User(UserEvent),
}

/// A user-defined event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct UserEvent {
    /// Identifies the event. The program chooses the number.
    pub id: u8,
    /// The number that [`every`](EventFilter::every) and the other numeric filters compare (Ignite's `event_to_attr`).
    pub value: u32,
}

/// The counters of a run. Both start at 1; 0 means that no epoch or iteration has started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Counters {
    /// The current epoch, or the last one after the run.
    pub epoch: u32,
    /// The current iteration, or the last one after the run. It counts over all epochs.
    pub iteration: u32,
}

impl Event {
    /// The number that the numeric filters compare when this event fires at `counters`.
    #[inline]
    #[must_use]
    pub const fn value(self, counters: &Counters) -> u32 {
        match self {
            Event::GetBatchStarted | Event::GetBatchCompleted | Event::IterationStarted | Event::IterationCompleted => {
                counters.iteration
            }
            Event::User(event) => event.value,
            _ => counters.epoch,
        }
    }
}
