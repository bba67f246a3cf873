//! The events of a run, and the filters that select the events a handler reacts to.
//!
//! The engine fires [`Event`]s. An [`EventFilter`] decides for each event whether a handler is called. Each event has a
//! filter type of the same name in this module, such as [`IterationCompleted`]. The compiler evaluates these filters,
//! so a handler costs nothing at events that it does not select. An [`Event`] value is a filter, too; the program
//! chooses it at run time.
//!
//! Methods of a filter narrow it: [`every`](EventFilter::every) and [`once`](EventFilter::once) select occurrences by
//! number, [`before`](EventFilter::before) and [`after`](EventFilter::after) set limits,
//! and [`filter`](EventFilter::filter) calls a predicate. The method [`or`](EventFilter::or) combines two filters.
//!
//! These methods compare the number of an occurrence. This number is the iteration for iteration and batch
//! events, [`UserEvent::value`] for user-defined events, and the epoch for all other events. The rule is that of
//! Ignite 0.5.5 (`CallableEventWithFilter`).
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
//! # Ok::<(), training_monitor::ConfigError>(())
//! ```

mod filter;

pub use filter::{
    Any, Completed, Either, EpochCompleted, EpochStarted, EventFilter, ExceptionRaised, Filtered, FilteredBy,
    GetBatchCompleted, GetBatchStarted, Interrupt, IterationCompleted, IterationStarted, Never, Once, RolledBack,
    SavedCheckpoint, Started, Terminate, TerminateSingleEpoch, User,
};

/// An event of a training run. An uninterrupted run fires the events in this order, where `*` means repetition:
/// `Started (EpochStarted (GetBatchStarted GetBatchCompleted IterationStarted step IterationCompleted)*
/// EpochCompleted)* Completed`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Event {
    /// A run starts. A run that was [resumed](crate::Engine::resume) from a checkpoint does not fire this event again.
    Started,
    /// An epoch starts. The epoch counter already includes it.
    EpochStarted,
    /// The engine is about to fetch a batch. In a custom loop, the program fetches the batches, so this event does not
    /// fire.
    GetBatchStarted,
    /// The engine has fetched a batch.
    GetBatchCompleted,
    /// An iteration starts. The iteration counter already includes it, and the step function is called next.
    IterationStarted,
    /// The step function has returned. Its output is in [`State::output`](crate::State::output).
    IterationCompleted,
    /// An epoch is complete. This event does not fire if `terminate` stopped the run during the epoch.
    EpochCompleted,
    /// The run is over. This event fires for any reason except an error of the step function.
    Completed,
    /// The run is being terminated, because a handler or the step function called `terminate`. No further step runs.
    Terminate,
    /// The epoch is being terminated, because a handler or the step function called `terminate_epoch`. The
    /// event [`EpochCompleted`](Event::EpochCompleted) follows.
    TerminateSingleEpoch,
    /// The step function returned an error. This is the last event. [`Engine::try_run`](crate::Engine::try_run) then
    /// returns the error.
    ExceptionRaised,
    /// At least one checkpoint was saved after the previous event.
    SavedCheckpoint,
    /// The run is being interrupted, because a handler or the step function called `interrupt`. This is the last event before
    /// the run continues, in this program or after a restart.
    Interrupt,
    /// The run was [rolled back](crate::RollBack): the model, the engine and the handlers have the state of the newest
    /// checkpoint again.
    RolledBack,
    /// A user-defined event. The program fires it with [`State::fire`](crate::State::fire) or `Engine::fire`.
    User(UserEvent),
}

/// A user-defined event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct UserEvent {
    /// Identifies the event. The program chooses the number.
    pub id: u8,
    /// The number of the occurrence, which filters such as [`every`](EventFilter::every) compare (Ignite's
    /// `event_to_attr`).
    pub value: u32,
}

/// The epoch and iteration counters of a run. Both start at 1. The value 0 means that no epoch or iteration has
/// started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Counters {
    /// The number of the current epoch, or of the last epoch after the run.
    pub epoch: u32,
    /// The number of the current iteration, or of the last iteration after the run. A new epoch does not reset the
    /// number.
    pub iteration: u32,
}

impl Event {
    /// Returns the number that filters such as `every` compare for this event: the iteration, the epoch, or the value
    /// of a user-defined event.
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
