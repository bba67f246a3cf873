//! The state of a training run, which the step function and the handlers receive.
//!
//! In `State<O, X>`, `O` is the return type of the step function. `X` is the type of the user's metrics, or `()` for
//! none. Only the engine changes the counters. The step function and the handlers request an action with the
//! methods [`State::terminate`], [`State::terminate_epoch`] and [`State::fire`]. The engine performs the action
//! afterwards.

use crate::event::{Counters, UserEvent};
use core::fmt;

/// The capacity of the queue of user-defined events.
pub const EVENT_QUEUE: usize = 3;

pub(crate) mod flag {
    //! The bits of `State::flags`. Each bit is a request that the engine must handle before the next iteration.

    /// If this bit is set, the engine must terminate the run.
    pub const STOP: u8 = 1;
    /// If this bit is set, the engine must terminate the current epoch.
    pub const STOP_EPOCH: u8 = 2;
    /// If this bit is set, the engine must pass the queued user-defined events to the handlers.
    pub const QUEUED: u8 = 4;
    /// If this bit is set, the engine must call `Handler::perform` of every handler, for example to save a checkpoint.
    pub const ACTION: u8 = 8;
    /// If this bit is set, the run is interrupted after the current event.
    pub const INTERRUPT: u8 = 16;
    /// If this bit is set, the engine must load the newest checkpoint and continue there.
    pub const ROLL_BACK: u8 = 32;
}

/// The reason why a run ended. Checkpoints store it as a number, so new variants are only added at the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum StopReason {
    /// The run completed all epochs.
    MaxEpochs,
    /// The handler [`EarlyStopping`](crate::EarlyStopping) ran out of patience.
    EarlyStopping,
    /// The handler [`TerminateOnNan`](crate::TerminateOnNan) found a NaN or an infinity.
    NonFinite,
    /// A checkpoint could not be saved, and its handler is configured to stop the run in this case.
    SaveFailed,
    /// The step function returned an error.
    StepFailed,
    /// A reason that the program defines. The program chooses the number.
    User(u8),
    /// The handler [`TimeLimit`](crate::TimeLimit) measured that the training time is used up.
    TimeLimit,
    /// A score reached the target of [`ScoreLimits`](crate::ScoreLimits).
    TargetReached,
    /// A score was worse than the limit of [`ScoreLimits`](crate::ScoreLimits).
    Diverged,
    /// The program [interrupted](State::interrupt) the run, for example after Ctrl-C or before the power is switched off.
    Interrupted,
    /// A value was a spike, as the handler [`SpikeGuard`](crate::SpikeGuard) defines it.
    Spike,
}

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Outcome {
    /// The reason why the run ended.
    pub reason: StopReason,
    /// The number of the last epoch of the run. The first epoch is 1.
    pub epoch: u32,
    /// The number of the last iteration of the run. The first iteration is 1, and a new epoch does not reset the
    /// number.
    pub iteration: u32,
}

/// The state of a run: its counters, the last output of the step function, and the user's metrics.
#[derive(Clone, Debug)]
pub struct State<O, X = ()> {
    pub(crate) counters: Counters,
    /// The number of completed iterations in the current epoch.
    pub(crate) offset: u32,
    /// The position in the data: the number of batches that are complete since the data last started with its first
    /// batch.
    pub(crate) data_offset: u32,
    /// The number of iterations per epoch; 0 while it is unknown.
    pub(crate) epoch_length: u32,
    /// The number of batches in the data. `u32::MAX` if the number is unknown, or if a custom loop fetches the batches
    /// itself.
    pub(crate) data_length: u32,
    pub(crate) max_epochs: u32,
    pub(crate) stop: Option<StopReason>,
    /// The number of the run; 0 before the run starts.
    pub(crate) run: u32,
    /// The highest sequence number in all stores of the run, so that sequence numbers order the checkpoints of all stores.
    pub(crate) sequence: u32,
    /// `None` for a training run. An evaluator inside a training run defers its actions, such as saves, to the training
    /// run; the value is then true if an action is deferred.
    pub(crate) deferred: Option<bool>,
    /// Whether the run was finished and resumes with more epochs. Only true while the handlers are restored.
    pub(crate) extended: bool,
    /// The pending requests. The module [`flag`] defines the meaning of each bit.
    pub(crate) flags: u8,
    /// While `offset` is less than this value, the engine runs iterations without further checks. The value is the end
    /// of the epoch or of the data, whichever comes first. It is 0 if a request is pending or if the value is not
    /// computed yet.
    pub(crate) fast_until: u32,
    /// The user-defined events that wait for their dispatch, the oldest first. A `Deque` would take 8 more bytes, and
    /// the queue is usually empty.
    queue: heapless::Vec<UserEvent, EVENT_QUEUE, u8>,
    /// The output of the last step. It is `None` before the first step, and from the start of an iteration until its
    /// step returns (as in Ignite).
    ///
    /// A checkpoint contains the output only if [`KeepOutput`](crate::handlers::keep::KeepOutput) is one of the
    /// handlers. A run needs that handler if it saves at `IterationCompleted` and reads the output at `EpochCompleted`.
    pub output: Option<O>,
    /// The user's metrics. Usually an evaluator writes them and a score function reads them.
    ///
    /// A checkpoint contains the metrics only if [`KeepMetrics`](crate::handlers::keep::KeepMetrics) is one of the
    /// handlers. Otherwise a resumed run starts with the metrics that the program passed to the engine.
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
            run: 0,
            sequence: 0,
            deferred: None,
            extended: false,
            flags: 0,
            fast_until: 0,
            queue: heapless::Vec::new(),
            output: None,
            metrics,
        }
    }

    /// Returns the number of the current epoch, or of the last epoch after the run. The first epoch is 1; before it
    /// starts, the number is 0.
    #[inline]
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.counters.epoch
    }

    /// Returns the number of the current iteration, or of the last iteration after the run. The first iteration is 1;
    /// before it starts, the number is 0. A new epoch does not reset the number.
    #[inline]
    #[must_use]
    pub const fn iteration(&self) -> u32 {
        self.counters.iteration
    }

    /// Returns the epoch and iteration counters.
    #[inline]
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Returns the number of the run, which orders the runs whose checkpoints are in the same stores. The first run is
    /// 1; before a run starts, the number is 0. A resumed run keeps its number.
    #[must_use]
    pub const fn run(&self) -> u32 {
        self.run
    }

    /// Returns the number of completed iterations in the current epoch. Inside the step function, this is the index of
    /// the batch in the epoch, starting at 0.
    #[inline]
    #[must_use]
    pub const fn offset(&self) -> u32 {
        self.offset
    }

    /// Returns the number of iterations per epoch. Returns `None` during the first epoch if the length of the data is
    /// unknown.
    #[must_use]
    pub const fn epoch_length(&self) -> Option<u32> {
        if self.epoch_length == 0 { None } else { Some(self.epoch_length) }
    }

    /// Returns whether the current iteration is the last one of its epoch. Returns false while the length of the epoch
    /// is unknown. Call this method before the step ends, for example to schedule slow work in an async loop.
    #[must_use]
    pub const fn is_last_in_epoch(&self) -> bool {
        self.epoch_length != 0 && self.offset.saturating_add(1) >= self.epoch_length
    }

    /// Returns the maximum number of epochs.
    #[must_use]
    pub const fn max_epochs(&self) -> u32 {
        self.max_epochs
    }

    /// Changes the maximum number of epochs, which lengthens or shortens the run. The engine reads the number before
    /// each epoch.
    pub fn set_max_epochs(&mut self, max_epochs: u32) {
        self.max_epochs = max_epochs;
    }

    /// Terminates the run for the given reason. The remaining handlers still receive the current event. Then the
    /// events [`Terminate`](crate::Event::Terminate) and [`Completed`](crate::Event::Completed) fire. If this method is
    /// called several times, the first reason is kept.
    #[inline]
    pub fn terminate(&mut self, reason: StopReason) {
        self.raise(flag::STOP);
        if self.stop.is_none() {
            self.stop = Some(reason);
        }
    }

    /// Terminates the current epoch. The events [`TerminateSingleEpoch`](crate::Event::TerminateSingleEpoch)
    /// and [`EpochCompleted`](crate::Event::EpochCompleted) fire. The next epoch starts with the first batch of the
    /// data. Outside an epoch the call has no effect (Ignite raises `RuntimeError`).
    #[inline]
    pub fn terminate_epoch(&mut self) {
        self.raise(flag::STOP_EPOCH);
    }

    /// Interrupts the run, for example after Ctrl-C, before the power is switched off, or to serve another task. The
    /// remaining handlers still receive the current event. Then the event [`Interrupt`](crate::Event::Interrupt) fires. A
    /// handler that saves at this event saves the exact position of the run.
    ///
    /// [`Engine::run`](crate::Engine::run) then returns with the reason [`StopReason::Interrupted`]. A custom loop
    /// learns it from `begin_iteration`. Another call continues the run. So does a resumed run after a restart: unlike a
    /// terminated run, an interrupted run is not finished.
    ///
    /// ```
    /// use training_monitor::event::{IterationCompleted, Interrupt};
    /// use training_monitor::{Engine, StopReason, on};
    ///
    /// let mut handlers = (
    ///     on(IterationCompleted.every(2)?, |_, state| state.interrupt()),
    ///     on(Interrupt, |saved: &mut u32, _| *saved += 1),
    /// );
    /// # use training_monitor::EventFilter;
    /// let (mut engine, mut saved) = (Engine::new(1), 0);
    /// let outcome = engine.run(&mut saved, 0..3, &mut handlers, |_, _, _| ())?;
    /// assert_eq!((outcome.reason, outcome.iteration, saved), (StopReason::Interrupted, 2, 1));
    /// let outcome = engine.run(&mut saved, 0..3, &mut handlers, |_, _, _| ())?;
    /// assert_eq!((outcome.reason, outcome.iteration, saved), (StopReason::MaxEpochs, 3, 1));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[inline]
    pub fn interrupt(&mut self) {
        self.raise(flag::INTERRUPT);
    }

    /// Rolls the run back to its newest checkpoint, instead of the termination that was requested. The engine does this
    /// only for a tuple of handlers that contains a [`RollBack`](crate::RollBack).
    pub(crate) const fn roll_back(&mut self) {
        self.raise(flag::ROLL_BACK);
    }

    /// Returns the reason why the run ended or is about to end. Returns `None` while the run continues.
    #[inline]
    #[must_use]
    pub const fn stop_reason(&self) -> Option<StopReason> {
        self.stop
    }

    /// Queues a user-defined event. The engine passes the event to the handlers after the current event or the current
    /// step.
    ///
    /// # Errors
    /// Returns [`EventQueueFull`] if [`EVENT_QUEUE`] events are already queued. The queue is unchanged in this case.
    pub fn fire(&mut self, event: UserEvent) -> Result<(), EventQueueFull> {
        self.queue.push(event).map_err(|_| EventQueueFull)?;
        self.raise(flag::QUEUED);
        Ok(())
    }

    /// Returns the number of iterations per epoch, or `u32::MAX` if it is unknown.
    pub(crate) const fn epoch_length_or_max(&self) -> u32 {
        if self.epoch_length == 0 { u32::MAX } else { self.epoch_length }
    }

    /// Recomputes `fast_until`. While `offset` is less than this value, the engine runs iterations without further
    /// checks. Call this method only if another iteration follows.
    pub(crate) fn update_fast_until(&mut self) {
        if self.data_offset >= self.data_length {
            // All batches were used, so the data restarts with its first batch. Only a resumed run with less data than
            // the saved run can have `data_offset` greater than `data_length`. The remainder is then a valid position.
            self.data_offset = self.data_offset.checked_rem(self.data_length).unwrap_or(0);
        }
        let epoch_rest = self.epoch_length_or_max().saturating_sub(self.offset);
        let rest = epoch_rest.min(self.data_length.saturating_sub(self.data_offset));
        self.fast_until = if self.flags == 0 { self.offset.saturating_add(rest) } else { 0 };
    }

    /// Sets the bit `flag`, so that the engine checks the requests before the next iteration.
    #[inline]
    pub(crate) const fn raise(&mut self, flag: u8) {
        self.flags |= flag;
        self.fast_until = 0;
    }

    /// Removes the first queued user-defined event and returns it.
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

    /// Requests a call of [`Handler::perform`](crate::Handler::perform). The engine calls `perform` of every handler
    /// after all handlers have seen the current event.
    #[inline]
    pub fn request_action(&mut self) {
        self.raise(flag::ACTION);
    }

    /// Terminates this run for the same reason as an evaluation run, for example early stopping. `evaluation` is the
    /// outcome of the evaluation run. If that run completed all its epochs, this method does nothing. If it was interrupted,
    /// this run is interrupted, too.
    pub fn terminate_if_stopped(&mut self, evaluation: &Outcome) {
        match evaluation.reason {
            StopReason::MaxEpochs => (),
            StopReason::Interrupted => self.interrupt(),
            reason => self.terminate(reason),
        }
    }
}

/// The error of [`State::fire`] if the queue is full. The queue has a capacity of [`EVENT_QUEUE`] events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct EventQueueFull;

impl fmt::Display for EventQueueFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the event was not queued: {EVENT_QUEUE} user-defined events are already waiting")
    }
}

impl core::error::Error for EventQueueFull {}
