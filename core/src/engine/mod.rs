//! The engine fires events around the user's step function.
//!
//! The engine decides which event comes next. It reads no clock, does not own the model and stores nothing. The
//! method [`Engine::run`] iterates over batches as Ignite's `Engine.run` does. A custom loop (an RTOS task, an
//! interrupt) calls [`begin_iteration`](Engine::begin_iteration) and [`end_iteration`](Engine::end_iteration) instead.
//!
//! Both ways follow the rules of Ignite 0.5.5. A call of `terminate` takes effect at once, at any event. An epoch that
//! `terminate` stops has no `EpochCompleted`. Pending requests are cleared when a run starts.
//!
//! ```
//! use training_monitor::{Engine, StopReason, event::Any, on};
//!
//! let mut engine = Engine::<f32>::new(2); // two epochs
//! let mut stop_at_3 = on(Any, |_, state| {
//!     if state.output == Some(3.0) { state.terminate(StopReason::User(7)); }
//! });
//! let outcome = engine.run(&mut (), &[1.0, 2.0, 3.0, 4.0][..], &mut stop_at_3, |_, batch, _| *batch)?;
//! assert_eq!((outcome.reason, outcome.iteration), (StopReason::User(7), 3));
//!
//! // The same run in a custom loop.
//! let mut engine = Engine::new(2).with_epoch_length(4);
//! while engine.begin_iteration(&mut (), &mut stop_at_3)? {
//!     let output = (engine.state().offset() + 1) as f32;
//!     engine.end_iteration(output, &mut (), &mut stop_at_3);
//! }
//! assert_eq!(engine.outcome().map(|outcome| outcome.iteration), Some(3));
//! # Ok::<(), training_monitor::RunError>(())
//! ```

mod batches;
mod evaluator;
mod manual;
mod resume;
mod run;

pub use crate::run_record::{EngineState, Phase};
pub use batches::{Batches, IterBatches, Position};
pub use evaluator::{Evaluator, EvaluatorHandler};
pub use resume::Resumed;
pub use run::RunError;

use crate::checkpoint::EncodeError;
use crate::event::{Counters, Event, UserEvent};
use crate::handler::{Handler, StartCheck};
use crate::run_record::{CAPACITY, HandlerStates, RunRecord};
use crate::state::{Outcome, State, StopReason, flag};
use embedded_io::ErrorKind;

/// The engine of a training run: it runs the step function and fires the events. `O` is the output type of the step
/// function. `X` is the type of the metrics. `RECORD` is the capacity of the run record in bytes: the room in a checkpoint
/// for the states of all handlers.
#[derive(Clone, Debug)]
pub struct Engine<O, X = (), const RECORD: usize = CAPACITY> {
    state: State<O, X>,
    /// The last event that the engine fired. Together with `state`, it determines what the engine does next.
    phase: Phase,
    /// Tells `begin_iteration` how to treat an iteration that is already started. If true, the run was resumed inside
    /// the iteration, and the iteration is repeated. If false, the program forgot to call `end_iteration`, which is an
    /// error.
    resumed_in_iteration: bool,
    /// Whether the handlers have checked their limits for this run.
    checked: bool,
    /// Whether the engine resumed a finished run. The run stays finished until the program restarts it.
    resumed_finished: bool,
    /// Whether the last call ended because the run was interrupted.
    is_interrupted: bool,
    /// The maximum number of epochs that the program configured. A resumed run uses this number, unless a handler had
    /// changed the number before the checkpoint was saved.
    max_epochs: u32,
    /// The number of iterations per epoch that the program configured; 0 means the number of batches in the data. A new
    /// run starts with this setting, because its data can be longer or shorter than the data of the last run.
    epoch_length: u32,
}

/// The point at which [`Engine::advance`] stops firing events.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// Before the next iteration. Starts a new epoch if necessary.
    NextIteration,
    /// Before the next iteration or between two epochs.
    EpochBoundary,
}

impl<O> Engine<O> {
    /// Creates an engine that runs at most `max_epochs` epochs and has no metrics.
    #[must_use]
    pub const fn new(max_epochs: u32) -> Self {
        Engine::with_metrics(max_epochs, ())
    }
}

impl<O, X> Engine<O, X> {
    /// Creates an engine that runs at most `max_epochs` epochs. The argument `metrics` is the initial value
    /// of [`State::metrics`].
    #[must_use]
    pub const fn with_metrics(max_epochs: u32, metrics: X) -> Self {
        Engine::with_record_capacity(max_epochs, metrics)
    }
}

impl<O, X, const RECORD: usize> Engine<O, X, RECORD> {
    /// Creates the same engine as [`with_metrics`](Engine::with_metrics), with room for `RECORD` bytes of handler
    /// states in a checkpoint. The default is [`CAPACITY`].
    #[must_use]
    pub const fn with_record_capacity(max_epochs: u32, metrics: X) -> Self {
        Engine {
            state: State::new(max_epochs, metrics),
            phase: Phase::NotStarted,
            resumed_in_iteration: false,
            checked: false,
            resumed_finished: false,
            is_interrupted: false,
            max_epochs,
            epoch_length: 0,
        }
    }

    /// Sets the number of iterations per epoch. The default, 0, means the number of batches in the data. As in Ignite,
    /// an epoch can end in the middle of the data. The next epoch then continues with the next batch. The data restarts
    /// when it ends.
    #[must_use]
    pub fn with_epoch_length(mut self, iterations: u32) -> Self {
        self.state.epoch_length = iterations;
        self.state.fast_until = 0;
        self.epoch_length = iterations;
        self
    }

    /// Returns the state of the run.
    #[inline]
    #[must_use]
    pub const fn state(&self) -> &State<O, X> {
        &self.state
    }

    /// Returns the state of the run, for example to write metrics or to terminate the run.
    #[inline]
    pub const fn state_mut(&mut self) -> &mut State<O, X> {
        &mut self.state
    }

    /// Returns how the run ended, or `None` if it has not ended.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        self.phase.is_final().then(|| self.current_outcome())
    }

    fn current_outcome(&self) -> Outcome {
        Outcome {
            reason: match self.state.stop {
                _ if self.is_interrupted => StopReason::Interrupted,
                reason => reason.unwrap_or(StopReason::MaxEpochs),
            },
            epoch: self.state.counters.epoch,
            iteration: self.state.counters.iteration,
        }
    }

    /// Passes a user-defined event to the handlers immediately. Call this method between the iterations of a custom
    /// loop. Inside a step function or a handler, call [`State::fire`] instead.
    pub fn fire<T: ?Sized, H: Handler<T, O, X>>(&mut self, event: UserEvent, model: &mut T, handlers: &mut H) {
        self.dispatch(Event::User(event), model, handlers);
    }

    /// Prepares a finished engine for a new run. [`run`](Self::run) calls this method, too, unless the engine has
    /// resumed a finished run. If the last run reached its last epoch, the new run starts with epoch 1. Otherwise it
    /// starts with the next epoch, as in Ignite. A run that has not ended is unchanged.
    pub fn restart(&mut self) {
        if self.phase.is_final() {
            self.phase = Phase::NotStarted;
            self.resumed_finished = false;
            self.checked = false;
            self.state.run = 0;
            if self.state.counters.epoch >= self.state.max_epochs {
                self.state.counters = Counters::default();
                self.state.epoch_length = self.epoch_length;
            }
            self.state.offset = 0;
            self.state.data_offset = 0;
            self.state.data_length = u32::MAX;
        }
    }

    /// Passes `event` to the handlers, then performs what they requested. This function is always inlined, so that the
    /// compiler can remove handlers that ignore the event.
    #[inline(always)]
    fn dispatch<T: ?Sized, H: Handler<T, O, X>>(&mut self, event: Event, model: &mut T, handlers: &mut H) {
        handlers.on_event(event, model, &mut self.state);
        if self.state.flags != 0 {
            self.run_deferred_actions(model, handlers);
        }
    }

    /// Passes an event inside an iteration to the handlers. Stores `phase` only if a handler made a request. If no
    /// handler selects the event, the function compiles to nothing. Returns false if the iteration must be abandoned.
    #[inline(always)]
    fn dispatch_fast<T: ?Sized, H: Handler<T, O, X>>(
        &mut self,
        event: Event,
        phase: Phase,
        model: &mut T,
        handlers: &mut H,
    ) -> bool {
        let before = self.state.flags;
        handlers.on_event(event, model, &mut self.state);
        if self.state.flags == before {
            return true;
        }
        self.phase = phase;
        self.run_deferred_actions(model, handlers);
        self.state.flags & (flag::STOP | flag::STOP_EPOCH | flag::INTERRUPT) == 0
    }

    /// Performs the requests of the handlers, outside the fast path. Dispatches the queued user-defined events first.
    /// Then performs deferred actions, such as saves.
    #[cold]
    #[inline(never)]
    fn run_deferred_actions<T: ?Sized, H: Handler<T, O, X>>(&mut self, model: &mut T, handlers: &mut H) {
        if self.state.flags & (flag::QUEUED | flag::ACTION) == 0 || self.must_roll_back(handlers) {
            return;
        }
        self.dispatch_queued(model, handlers);
        // A handler of a user-defined event can request a roll-back, too.
        if self.state.flags & flag::ACTION == 0 || self.must_roll_back(handlers) {
            return;
        }
        self.state.flags &= !flag::ACTION;
        if let Some(deferred) = &mut self.state.deferred {
            // A checkpoint must contain the state of the training run. The engine of the training run therefore
            // performs the action, after the evaluation.
            *deferred = true;
            return;
        }
        let mut record = RunRecord::<[u8; RECORD]>::with_capacity();
        self.write_record(&mut record, handlers);
        if handlers.perform(model, &mut self.state, &record) {
            handlers.on_event(Event::SavedCheckpoint, model, &mut self.state);
        }
        // An action that a handler requests during a save is performed after the next event. Otherwise a handler that
        // saves at `SavedCheckpoint` would loop forever. User-defined events are dispatched now, because this may be
        // the last event of the run.
        self.dispatch_queued(model, handlers);
    }

    /// Returns whether a roll-back is requested. A save after its cause would make a bad model the newest checkpoint.
    #[inline(always)]
    fn must_roll_back<T: ?Sized, H: Handler<T, O, X>>(&self, handlers: &H) -> bool {
        handlers.rolls_back() && self.state.flags & flag::ROLL_BACK != 0
    }

    fn dispatch_queued<T: ?Sized, H: Handler<T, O, X>>(&mut self, model: &mut T, handlers: &mut H) {
        while let Some(event) = self.state.next_event() {
            handlers.on_event(Event::User(event), model, &mut self.state);
        }
        self.state.flags &= !flag::QUEUED;
    }

    /// Returns whether the next iteration can start immediately, because no other event comes first.
    #[inline(always)]
    const fn can_start_iteration(&self) -> bool {
        self.phase.is_between_iterations() && self.state.offset < self.state.fast_until
    }

    /// Fires events until an iteration can start or the run is over. Returns true if an iteration can start and false
    /// if the run is over. With [`Until::EpochBoundary`], the function also stops between two epochs and returns true.
    #[inline(never)]
    fn advance<T: ?Sized, H: Handler<T, O, X>>(&mut self, model: &mut T, handlers: &mut H, until: Until) -> bool {
        loop {
            let state = &mut self.state;
            let stop = state.flags & flag::STOP != 0;
            if handlers.rolls_back() && state.flags & flag::ROLL_BACK != 0 && !self.phase.is_final() {
                self.roll_back(model, handlers);
                continue;
            }
            // A request to terminate the run has priority. The first event of a run clears old requests.
            if state.flags & flag::INTERRUPT != 0 && !stop && !self.phase.is_final() && self.phase != Phase::NotStarted
            {
                if until == Until::NextIteration {
                    self.dispatch(Event::Interrupt, model, handlers);
                    // A handler of this event cannot interrupt the run once more, but a failed save terminates it.
                    self.state.flags &= !flag::INTERRUPT;
                    self.is_interrupted = self.state.flags & flag::STOP == 0;
                    if !self.is_interrupted {
                        continue;
                    }
                }
                return false;
            }
            let stop_epoch = state.flags & flag::STOP_EPOCH != 0;
            match self.phase {
                Phase::Completed | Phase::ExceptionRaised => return false,
                Phase::Terminate => {
                    self.phase = Phase::Completed;
                    self.dispatch(Event::Completed, model, handlers);
                }
                Phase::NotStarted => {
                    state.flags &= !(flag::STOP | flag::STOP_EPOCH | flag::INTERRUPT);
                    state.stop = None;
                    self.phase = Phase::Started;
                    self.dispatch(Event::Started, model, handlers);
                }
                _ if stop => {
                    self.phase = Phase::Terminate;
                    self.dispatch(Event::Terminate, model, handlers);
                }
                Phase::Started | Phase::EpochCompleted => {
                    if state.counters.epoch >= state.max_epochs {
                        self.phase = Phase::Completed;
                        self.dispatch(Event::Completed, model, handlers);
                    } else if until == Until::EpochBoundary {
                        return true;
                    } else {
                        state.counters.epoch = state.counters.epoch.saturating_add(1);
                        state.offset = 0;
                        state.flags &= !flag::STOP_EPOCH;
                        self.phase = Phase::BetweenIterations;
                        self.dispatch(Event::EpochStarted, model, handlers);
                    }
                }
                Phase::EpochTerminated => {
                    self.phase = Phase::EpochCompleted;
                    self.dispatch(Event::EpochCompleted, model, handlers);
                }
                Phase::BetweenIterations
                | Phase::GetBatchStarted
                | Phase::GetBatchCompleted
                | Phase::IterationStarted => {
                    if stop_epoch {
                        state.flags &= !flag::STOP_EPOCH;
                        // As in Ignite, the next epoch after a terminated one starts with the first batch of the data.
                        state.data_offset = 0;
                        self.phase = Phase::EpochTerminated;
                        self.dispatch(Event::TerminateSingleEpoch, model, handlers);
                    } else if self.phase == Phase::IterationStarted || state.offset < state.epoch_length_or_max() {
                        if state.flags & flag::QUEUED == 0 {
                            state.update_fast_until();
                            return true;
                        }
                        // The program queued a user-defined event between two iterations. The handlers receive it
                        // before the next iteration.
                        self.run_deferred_actions(model, handlers);
                    } else {
                        // An epoch of unknown length ends here after `u32::MAX` iterations, and its length is then
                        // known.
                        if state.epoch_length == 0 {
                            state.epoch_length = state.offset;
                        }
                        self.phase = Phase::EpochCompleted;
                        self.dispatch(Event::EpochCompleted, model, handlers);
                    }
                }
            }
        }
    }

    /// Prepares a run before its first event: lets the handlers check their limits, and numbers a new run. Does nothing if
    /// this was already done for this run. The engine of the training run checks the handlers of an evaluator, too.
    fn prepare_run<T: ?Sized, H: Handler<T, O, X>>(
        &mut self,
        model: &mut T,
        handlers: &mut H,
    ) -> Result<(), EncodeError<ErrorKind>> {
        if self.checked || self.state.deferred.is_some() {
            return Ok(());
        }
        let Some(newest_run) = self.check_start(model, handlers) else { return Err(save_error(handlers)) };
        if self.state.run == 0 {
            self.state.run = newest_run.saturating_add(1);
        }
        self.checked = true;
        Ok(())
    }

    /// Lets the handlers check their limits. They also learn the signature of the model. Returns the highest number of a
    /// run that has saved a checkpoint, or `None` if a handler refused the start.
    #[inline(never)]
    fn check_start<T: ?Sized, H: Handler<T, O, X>>(&mut self, model: &mut T, handlers: &mut H) -> Option<u32> {
        let mut states = HandlerStates::measure();
        self.visit_states(handlers, &mut states);
        let mut start = StartCheck::new(states.max_len(), RECORD);
        handlers.check_start(model, &mut start);
        self.state.sequence = start.newest_sequence();
        start.finish()
    }

    #[inline(always)]
    fn count_iteration(&mut self) {
        self.state.counters.iteration = self.state.counters.iteration.saturating_add(1);
        self.state.output = None;
    }

    /// Stores the output of the step function and fires `IterationCompleted`. Returns true if the next iteration can
    /// start immediately.
    #[inline(always)]
    fn finish_iteration<T: ?Sized, H: Handler<T, O, X>>(&mut self, output: O, model: &mut T, handlers: &mut H) -> bool {
        self.state.output = Some(output);
        // The addition cannot overflow: before this iteration, `offset` was less than the length of the epoch, which
        // fits into a `u32`.
        self.state.offset = self.state.offset.wrapping_add(1);
        self.state.data_offset = self.state.data_offset.wrapping_add(1);
        handlers.on_event(Event::IterationCompleted, model, &mut self.state);
        self.state.offset < self.state.fast_until
    }
}

/// Returns the cause of a failed save or of a refused start. If no handler knows it, the error of the store is unknown.
#[inline(never)] // One copy of the code.
fn save_error<T: ?Sized, O, X, H: Handler<T, O, X>>(handlers: &H) -> EncodeError<ErrorKind> {
    handlers.save_error().unwrap_or(EncodeError::Io(ErrorKind::Other))
}
