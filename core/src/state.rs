//! Where a run stands: what the step function and the handlers see and may change.
//!
//! Shapes: `O` is what the step function returns, `X` the user's metrics (any struct; `()` for none).
//! The counters are the engine's and can only be read; [`State::terminate`], [`State::terminate_epoch`] and
//! [`State::fire`] are how a step function or a handler asks for something. This file decides nothing.

use crate::event::{Counters, UserEvent};
use core::fmt;

/// Events of the user's own that may wait to be fired.
pub const EVENT_QUEUE: usize = 3;

pub(crate) mod flag {
    //! Bits of `State::flags`.
    pub const STOP: u8 = 1;
    pub const STOP_EPOCH: u8 = 2;
    pub const QUEUED: u8 = 4;
    pub const ACT: u8 = 8;
}

/// Why a run ended. Part of the checkpoint format: variants are only ever added at the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum StopReason {
    /// All epochs were run.
    MaxEpochs,
    /// [`EarlyStopping`](crate::EarlyStopping) ran out of patience.
    EarlyStopping,
    /// [`TerminateOnNan`](crate::TerminateOnNan) met a NaN or an infinity.
    NonFinite,
    /// A checkpoint could not be saved, and the policy is to stop.
    SaveFailed,
    /// The step function returned an error.
    StepFailed,
    /// The user's own code asked for it; the number is the user's.
    User(u8),
}

/// The state of a run.
#[derive(Clone, Debug)]
pub struct State<O, X = ()> {
    pub(crate) counters: Counters,
    /// Iterations done in this epoch.
    pub(crate) offset: u32,
    /// Batches drawn since the data began or began again.
    pub(crate) position: u32,
    /// 0 while unknown.
    pub(crate) epoch_length: u32,
    /// Batches that the data has before it begins again; the most there can be while unknown, or where it is the
    /// caller's own.
    pub(crate) data_length: u32,
    pub(crate) max_epochs: u32,
    pub(crate) stop: Option<StopReason>,
    /// What the engine has to look at before it goes on: bits of [`flag`].
    pub(crate) flags: u8,
    /// The offset up to which iterations may follow one another without a look at anything, be it the end of the epoch or
    /// of the data: 0 while any flag is set, or while the engine has not found out. So one comparison is all that an
    /// iteration costs.
    pub(crate) limit: u32,
    /// In the order in which they are to be fired. (A `Deque` takes 8 bytes more, for a queue that is nearly always empty.)
    queue: heapless::Vec<UserEvent, EVENT_QUEUE, u8>,
    /// What the step function returned last; `None` before its first call and from the start of each iteration to
    /// the end of its step, as in Ignite. A resumed run has it only with
    /// [`KeepOutput`](crate::handlers::keep::KeepOutput) among its handlers: a run that reads it at `EpochCompleted`
    /// and saves at `IterationCompleted` needs that.
    pub output: Option<O>,
    /// The user's metrics. An evaluator writes them, a score function reads them. A resumed run begins with those its
    /// engine was built with, or with [`KeepMetrics`](crate::handlers::keep::KeepMetrics) goes on with those of the checkpoint.
    pub metrics: X,
}

impl<O, X> State<O, X> {
    pub(crate) const fn new(max_epochs: u32, metrics: X) -> Self {
        State {
            counters: Counters { epoch: 0, iteration: 0 },
            offset: 0,
            position: 0,
            epoch_length: 0,
            data_length: u32::MAX,
            max_epochs,
            stop: None,
            flags: 0,
            limit: 0,
            queue: heapless::Vec::new(),
            output: None,
            metrics,
        }
    }

    /// The epoch under way or the last one, from 1; 0 before the first.
    #[inline]
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.counters.epoch
    }

    /// The iteration under way or the last one, from 1 and over all epochs; 0 before the first.
    #[inline]
    #[must_use]
    pub const fn iteration(&self) -> u32 {
        self.counters.iteration
    }

    /// Both counters.
    #[inline]
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Iterations done in this epoch: the index, from 0, of the batch that the step function is working on.
    #[inline]
    #[must_use]
    pub const fn offset(&self) -> u32 {
        self.offset
    }

    /// Iterations an epoch; `None` while not known (data that does not tell its length, before its first end).
    #[must_use]
    pub const fn epoch_length(&self) -> Option<u32> {
        if self.epoch_length == 0 { None } else { Some(self.epoch_length) }
    }

    /// How many epochs the run has at most.
    #[must_use]
    pub const fn max_epochs(&self) -> u32 {
        self.max_epochs
    }

    /// Changes how many epochs the run has; read before each epoch, so a handler may lengthen or shorten a run.
    pub fn set_max_epochs(&mut self, max_epochs: u32) {
        self.max_epochs = max_epochs;
    }

    /// Ends the run at once: the other handlers of this event still see it, then [`Terminate`](crate::Event::Terminate)
    /// and [`Completed`](crate::Event::Completed) fire. The first reason given is kept.
    #[inline]
    pub fn terminate(&mut self, reason: StopReason) {
        self.ask(flag::STOP);
        if self.stop.is_none() {
            self.stop = Some(reason);
        }
    }

    /// Ends the epoch at once: [`TerminateSingleEpoch`](crate::Event::TerminateSingleEpoch) and
    /// [`EpochCompleted`](crate::Event::EpochCompleted) fire, and the data begins again. Outside an epoch it does
    /// nothing (Ignite raises `RuntimeError`; there is no run to lose here).
    #[inline]
    pub fn terminate_epoch(&mut self) {
        self.ask(flag::STOP_EPOCH);
    }

    /// Why the run is ending or has ended; `None` while it goes on.
    #[inline]
    #[must_use]
    pub const fn stop_reason(&self) -> Option<StopReason> {
        self.stop
    }

    /// Fires an event of the user's own, as soon as the step function or the event under way is done.
    ///
    /// # Errors
    /// [`EventQueueFull`] when [`EVENT_QUEUE`] events are waiting; nothing has changed then.
    pub fn fire(&mut self, event: UserEvent) -> Result<(), EventQueueFull> {
        self.queue.push(event).map_err(|_| EventQueueFull)?;
        self.ask(flag::QUEUED);
        Ok(())
    }

    /// Iterations an epoch has at most.
    pub(crate) const fn longest(&self) -> u32 {
        if self.epoch_length == 0 { u32::MAX } else { self.epoch_length }
    }

    /// How far iterations may go on, once the next one is sure to come.
    pub(crate) fn find_limit(&mut self) {
        if self.position >= self.data_length {
            // The data begins again. It may also be shorter than that of the run which wrote a record.
            self.position = self.position.checked_rem(self.data_length).unwrap_or(0);
        }
        let until_end = self.longest().saturating_sub(self.offset).min(self.data_length.saturating_sub(self.position));
        self.limit = if self.flags == 0 { self.offset.saturating_add(until_end) } else { 0 };
    }

    /// Has the engine look at `flag` after this event.
    #[inline]
    pub(crate) const fn ask(&mut self, flag: u8) {
        self.flags |= flag;
        self.limit = 0;
    }

    /// The next event of the user's own that waits to be fired.
    pub(crate) fn next_event(&mut self) -> Option<UserEvent> {
        let first = self.queue.first().copied();
        for index in 1..self.queue.len() {
            let next = self.queue.get(index).copied();
            if let (Some(place), Some(next)) = (self.queue.get_mut(index - 1), next) {
                *place = next;
            }
        }
        self.queue.pop();
        first
    }

    /// Forgets what waits to be fired.
    pub(crate) fn clear_events(&mut self) {
        self.queue.clear();
    }

    /// For handlers that have something [pending](crate::Handler::pending): makes the engine call
    /// [`Handler::act`](crate::Handler::act) once all handlers have seen the event.
    #[inline]
    pub fn request_act(&mut self) {
        self.ask(flag::ACT);
    }

    /// Ends this run as the run of a second engine was ended: an evaluator whose early stopping ran out of patience,
    /// or which met a NaN, stops its trainer with this. An evaluator that ran to its end stops nothing.
    pub fn follow(&mut self, evaluation: &crate::Outcome) {
        if evaluation.reason != StopReason::MaxEpochs {
            self.terminate(evaluation.reason);
        }
    }
}

/// [`EVENT_QUEUE`] events are waiting already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct EventQueueFull;

impl fmt::Display for EventQueueFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too many events of the user's own are waiting to be fired")
    }
}

impl core::error::Error for EventQueueFull {}
