//! The state of a run, as the step function and the handlers see it.
//!
//! `O` is the type that the step function returns; `X` is the type of the user's metrics (any struct, or `()` for none).
//! Only the engine changes the counters. A step function or a handler makes requests with [`State::terminate`],
//! [`State::terminate_epoch`] and [`State::fire`]; the engine carries them out.

use crate::event::{Counters, UserEvent};
use core::fmt;

/// The capacity of the queue of user-defined events.
pub const EVENT_QUEUE: usize = 3;

pub(crate) mod flag {
    //! Bits of `State::flags`: requests that the engine must handle before the next iteration.

    /// Terminate the run.
    pub const STOP: u8 = 1;
    /// Terminate the epoch.
    pub const STOP_EPOCH: u8 = 2;
    /// Dispatch the queued user-defined events.
    pub const QUEUED: u8 = 4;
    /// Call `Handler::perform`.
    pub const ACTION: u8 = 8;
}

/// The reason why a run ended. Part of the checkpoint format: new variants are added at the end only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum StopReason {
    /// The run completed all epochs.
    MaxEpochs,
    /// [`EarlyStopping`](crate::EarlyStopping) ran out of patience.
    EarlyStopping,
    /// [`TerminateOnNan`](crate::TerminateOnNan) found a NaN or an infinity.
    NonFinite,
    /// A save failed, and the handler's error policy is to stop.
    SaveFailed,
    /// The step function returned an error.
    StepFailed,
    /// The program requested it. The number is chosen by the program.
    User(u8),
}

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Outcome {
    /// The reason.
    pub reason: StopReason,
    /// The last epoch.
    pub epoch: u32,
    /// The last iteration.
    pub iteration: u32,
}

/// The state of a run.
#[derive(Clone, Debug)]
pub struct State<O, X = ()> {
    pub(crate) counters: Counters,
    /// Completed iterations of the current epoch.
    pub(crate) offset: u32,
    /// Batches fetched since the first batch of the data.
    pub(crate) data_offset: u32,
    /// Iterations per epoch; 0 while unknown.
    pub(crate) epoch_length: u32,
    /// Batches in the data; `u32::MAX` if unknown or if the caller fetches the batches.
    pub(crate) data_length: u32,
    pub(crate) max_epochs: u32,
    pub(crate) stop: Option<StopReason>,
    /// Pending requests: bits of [`flag`].
    pub(crate) flags: u8,
    /// Offset at which the engine must leave the fast path: the nearer of epoch end and data end. 0 if a flag is raised
    /// or the value is not computed yet. With it, one comparison per iteration is enough.
    pub(crate) fast_until: u32,
    /// User-defined events in the order of dispatch. (A `Deque` takes 8 bytes more, and the queue is usually empty.)
    queue: heapless::Vec<UserEvent, EVENT_QUEUE, u8>,
    /// The last output of the step function. `None` before the first step, and from the start of an iteration to the end
    /// of its step, as in Ignite. A checkpoint contains it only if the handlers include
    /// [`KeepOutput`](crate::handlers::keep::KeepOutput). A run that saves at `IterationCompleted` and reads the output
    /// at `EpochCompleted` needs that handler.
    pub output: Option<O>,
    /// The user's metrics: an evaluator writes them, a score function reads them. A checkpoint contains them only if the
    /// handlers include [`KeepMetrics`](crate::handlers::keep::KeepMetrics). Otherwise a resumed run starts with the
    /// metrics that were passed to its engine.
    pub metrics: X,
}

impl<O, X> State<O, X> {
    pub(crate) const fn new(max_epochs: u32, metrics: X) -> Self {
        State {
            counters: Counters { epoch: 0, iteration: 0 },
            offset: 0,
            data_offset: 0,
            epoch_length: 0,
            data_length: u32::MAX,
            max_epochs,
            stop: None,
            flags: 0,
            fast_until: 0,
            queue: heapless::Vec::new(),
            output: None,
            metrics,
        }
    }

    /// The current epoch, or the last one after the run. Starts at 1; 0 before the first epoch.
    #[inline]
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.counters.epoch
    }

    /// The current iteration, or the last one after the run. Starts at 1 and counts over all epochs; 0 before the first
    /// iteration.
    #[inline]
    #[must_use]
    pub const fn iteration(&self) -> u32 {
        self.counters.iteration
    }

    /// The epoch and iteration counters.
    #[inline]
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Completed iterations of the current epoch. In the step function, this is the index (from 0) of the batch.
    #[inline]
    #[must_use]
    pub const fn offset(&self) -> u32 {
        self.offset
    }

    /// Iterations per epoch. `None` during the first epoch over data of unknown length.
    #[must_use]
    pub const fn epoch_length(&self) -> Option<u32> {
        if self.epoch_length == 0 { None } else { Some(self.epoch_length) }
    }

    /// Whether the iteration between `IterationStarted` and the end of its step is the last one of its epoch. False
    /// while the epoch length is unknown. A loop that awaits can use it to schedule slow work before the epoch ends.
    #[must_use]
    pub const fn is_last_in_epoch(&self) -> bool {
        self.epoch_length != 0 && self.offset.saturating_add(1) >= self.epoch_length
    }

    /// The maximum number of epochs.
    #[must_use]
    pub const fn max_epochs(&self) -> u32 {
        self.max_epochs
    }

    /// Changes the maximum number of epochs. The engine reads it before each epoch, so a handler can lengthen or shorten
    /// a run.
    pub fn set_max_epochs(&mut self, max_epochs: u32) {
        self.max_epochs = max_epochs;
    }

    /// Terminates the run: the remaining handlers of the current event are still called, then
    /// [`Terminate`](crate::Event::Terminate) and [`Completed`](crate::Event::Completed) fire. If several callers give a
    /// reason, the first one is kept.
    #[inline]
    pub fn terminate(&mut self, reason: StopReason) {
        self.raise(flag::STOP);
        if self.stop.is_none() {
            self.stop = Some(reason);
        }
    }

    /// Terminates the current epoch: [`TerminateSingleEpoch`](crate::Event::TerminateSingleEpoch) and
    /// [`EpochCompleted`](crate::Event::EpochCompleted) fire, and the data restarts. Outside an epoch the call has no
    /// effect (Ignite raises `RuntimeError`).
    #[inline]
    pub fn terminate_epoch(&mut self) {
        self.raise(flag::STOP_EPOCH);
    }

    /// The reason why the run is ending or has ended; `None` while it is running.
    #[inline]
    #[must_use]
    pub const fn stop_reason(&self) -> Option<StopReason> {
        self.stop
    }

    /// Queues a user-defined event. The engine dispatches it after the current event or step function.
    ///
    /// # Errors
    /// [`EventQueueFull`] if [`EVENT_QUEUE`] events are already queued. The queue is unchanged in this case.
    pub fn fire(&mut self, event: UserEvent) -> Result<(), EventQueueFull> {
        self.queue.push(event).map_err(|_| EventQueueFull)?;
        self.raise(flag::QUEUED);
        Ok(())
    }

    /// Iterations per epoch, or `u32::MAX` if unknown.
    pub(crate) const fn epoch_length_or_max(&self) -> u32 {
        if self.epoch_length == 0 { u32::MAX } else { self.epoch_length }
    }

    /// Recomputes `fast_until`. Call only if another iteration will run.
    pub(crate) fn update_fast_until(&mut self) {
        if self.data_offset >= self.data_length {
            // The data restarts. `data_offset` can also come from a record of a run with longer data.
            self.data_offset = self.data_offset.checked_rem(self.data_length).unwrap_or(0);
        }
        let epoch_rest = self.epoch_length_or_max().saturating_sub(self.offset);
        let rest = epoch_rest.min(self.data_length.saturating_sub(self.data_offset));
        self.fast_until = if self.flags == 0 { self.offset.saturating_add(rest) } else { 0 };
    }

    /// Raises `flag` and ends the engine's fast path.
    #[inline]
    pub(crate) const fn raise(&mut self, flag: u8) {
        self.flags |= flag;
        self.fast_until = 0;
    }

    /// Removes the first queued user-defined event.
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

    /// Removes all queued user-defined events.
    pub(crate) fn clear_events(&mut self) {
        self.queue.clear();
    }

    /// Makes the engine call [`Handler::perform`](crate::Handler::perform) of every handler after all handlers have seen
    /// the current event.
    #[inline]
    pub fn request_action(&mut self) {
        self.raise(flag::ACTION);
    }

    /// Terminates this run with the reason of `evaluation`, the outcome of an evaluator's run. An evaluator whose early
    /// stopping ran out of patience or that found a NaN thereby terminates its trainer. An evaluator that completed all
    /// its epochs changes nothing.
    pub fn terminate_if_stopped(&mut self, evaluation: &Outcome) {
        if evaluation.reason != StopReason::MaxEpochs {
            self.terminate(evaluation.reason);
        }
    }
}

/// The error of [`State::fire`]: [`EVENT_QUEUE`] events are already queued.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct EventQueueFull;

impl fmt::Display for EventQueueFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the event was not queued: {EVENT_QUEUE} user-defined events are already waiting")
    }
}

impl core::error::Error for EventQueueFull {}
