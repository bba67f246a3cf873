//! The time limit of a run that can continue.
//!
//! [`TimeLimit`] terminates a run, and a terminated run stays finished. A study on a host has more time after the next
//! start with a larger limit. Therefore this handler interrupts the run instead, as a signal does. The checkpoint contains
//! the elapsed time, so a start with the same limit trains nothing.

use training_monitor::event::EpochCompleted;
use training_monitor::handlers::time_limit::TimeLimitHandler;
use training_monitor::run_record::HandlerStates;
use training_monitor::time::Clock;
use training_monitor::{ConfigError, Event, EventFilter, Handler, State, TimeLimit};

/// Interrupts a run at the end of the epoch in which its training time is used up. The time of all starts counts.
pub struct ResumableTimeLimit<C> {
    /// Measures the time, but never terminates the run.
    timer: TimeLimitHandler<Never, C>,
    has_interrupted: bool,
}

/// A filter that selects no event.
struct Never;

impl EventFilter for Never {
    fn matches(&mut self, _: Event, _: &training_monitor::event::Counters) -> bool {
        false
    }
}

impl<C: Clock> ResumableTimeLimit<C> {
    /// Creates a limit of `ticks` ticks of `clock`.
    ///
    /// # Errors
    /// Returns an error if `ticks` is 0.
    pub fn new(ticks: u64, clock: C) -> Result<Self, ConfigError> {
        Ok(ResumableTimeLimit { timer: TimeLimit::new(ticks)?.attach(Never, clock), has_interrupted: false })
    }

    /// Returns the training time in ticks.
    pub fn elapsed(&self) -> u64 {
        self.timer.time_limit.elapsed()
    }

    /// Returns whether the time is used up, so that a resumed run must not continue.
    pub fn is_used_up(&self) -> bool {
        self.elapsed() > self.timer.time_limit.limit()
    }

    /// Returns whether this handler has interrupted the run.
    pub fn has_interrupted(&self) -> bool {
        self.has_interrupted
    }
}

impl<T: ?Sized, O, X, C: Clock> Handler<T, O, X> for ResumableTimeLimit<C> {
    fn on_event(&mut self, event: Event, model: &mut T, state: &mut State<O, X>) {
        self.timer.on_event(event, model, state);
        let is_epoch_end = EpochCompleted.matches(event, state.counters());
        // A run that ends with this epoch is finished, and not interrupted.
        let continues = state.stop_reason().is_none() && state.epoch() < state.max_epochs();
        if is_epoch_end && self.timer.time_limit.update(self.timer.clock.now()) && continues {
            self.has_interrupted = true;
            state.interrupt();
        }
    }

    fn persist(&mut self, run: &mut State<O, X>, states: &mut HandlerStates<'_>) {
        Handler::<T, O, X>::persist(&mut self.timer, run, states);
    }
}
