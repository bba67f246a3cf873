//! Fires events around the user's step function.
//!
//! The engine decides which event comes next and nothing else: it reads no clock, owns no model and stores nothing.
//! [`Engine::run`] goes over batches as Ignite's `Engine.run` does; a loop of the user's own (an RTOS task, an
//! interrupt) uses [`begin_iteration`](Engine::begin_iteration) and [`end_iteration`](Engine::end_iteration) instead.
//! Both are the same machine, whose rules are Ignite 0.5.5's: `terminate` acts at once and at any event, a cut epoch
//! has no `EpochCompleted`, requests are forgotten when a run starts.
//!
//! ```
//! use training_monitor::{Engine, Event, State, StopReason, event::Any, on};
//!
//! let mut iterations = 0;
//! let mut engine = Engine::new(2); // epochs
//! let mut watch = on(Any, |_: &mut (), state: &mut State<f32>| {
//!     if state.output == Some(3.0) { state.terminate(StopReason::User(7)); }
//! });
//! let outcome = engine.run(&mut (), &[1.0, 2.0, 3.0, 4.0][..], &mut watch, |_, batch, _| *batch)?;
//! assert_eq!((outcome.reason, outcome.iteration), (StopReason::User(7), 3));
//!
//! // The same in a loop of one's own.
//! let mut engine = Engine::new(2).with_epoch_length(4);
//! while engine.begin_iteration(&mut (), &mut watch) {
//!     engine.end_iteration((engine.state().offset() + 1) as f32, &mut (), &mut watch);
//! }
//! assert_eq!(engine.outcome().map(|o| o.iteration), Some(3));
//! # Ok::<(), training_monitor::RunError>(())
//! ```

mod batches;
mod resume;
mod run;

pub use batches::{Batches, Position, Stream};
pub use resume::{EngineState, Resumed};
pub use run::{Outcome, RunError};

use crate::event::{Event, UserEvent};
use crate::handler::Handler;
use crate::record::{Record, RecordWriter};
use crate::state::{State, flag};

/// After which event the engine stands. Everything it does next follows from this and the state, so this is all that
/// a checkpoint has to say. Part of the checkpoint format: variants are only ever added at the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum After {
    /// Before any event.
    Nothing,
    /// `Started`.
    Started,
    /// `EpochStarted` or `IterationCompleted`: from both the next iteration or the end of the epoch follows.
    Iteration,
    /// `IterationStarted`: the step function follows.
    IterationStarted,
    /// `TerminateSingleEpoch`.
    EpochTerminated,
    /// `EpochCompleted`.
    EpochCompleted,
    /// `Terminate`.
    Terminate,
    /// `Completed`: the run is over.
    Completed,
    /// `ExceptionRaised`: the run is over.
    ExceptionRaised,
    /// `GetBatchStarted`: fetching a batch follows.
    GetBatchStarted,
    /// `GetBatchCompleted`: the batch is fetched, again after a restart, and the iteration follows.
    GetBatchCompleted,
}

impl After {
    /// All, each in the place of its code.
    const ALL: [After; 11] = [
        After::Nothing,
        After::Started,
        After::Iteration,
        After::IterationStarted,
        After::EpochTerminated,
        After::EpochCompleted,
        After::Terminate,
        After::Completed,
        After::ExceptionRaised,
        After::GetBatchStarted,
        After::GetBatchCompleted,
    ];

    /// The one with this code in a checkpoint, which is what `as u8` gives.
    pub(crate) fn from_code(code: u32) -> Option<Self> {
        Self::ALL.get(code as usize).copied()
    }

    /// In an epoch, with no iteration begun.
    #[inline(always)]
    const fn between_iterations(self) -> bool {
        matches!(self, After::Iteration | After::GetBatchStarted | After::GetBatchCompleted)
    }
}

/// The engine of a run: `O` is what the step function returns, `X` the user's metrics.
#[derive(Clone, Debug)]
pub struct Engine<O, X = ()> {
    state: State<O, X>,
    after: After,
    /// As configured: what a resumed run goes by, unless a handler had changed it in the run.
    max_epochs: u32,
    /// As configured, 0 for the length of the data: what a run from the beginning goes by, since its data may have
    /// another length than the last run's. An evaluator goes over training data, then over validation data.
    epoch_length: u32,
}

impl<O> Engine<O> {
    /// An engine for a run of `max_epochs` epochs, without metrics.
    #[must_use]
    pub const fn new(max_epochs: u32) -> Self {
        Engine::with_metrics(max_epochs, ())
    }
}

impl<O, X> Engine<O, X> {
    /// An engine for a run of `max_epochs` epochs, with metrics of the user's own type.
    #[must_use]
    pub const fn with_metrics(max_epochs: u32, metrics: X) -> Self {
        Engine { state: State::new(max_epochs, metrics), after: After::Nothing, max_epochs, epoch_length: 0 }
    }

    /// Fixes the iterations of an epoch, whatever the length of the data: the data goes on from epoch to epoch and
    /// begins again at its end, as in Ignite. 0 means the length of the data.
    #[must_use]
    pub fn with_epoch_length(mut self, iterations: u32) -> Self {
        self.state.epoch_length = iterations;
        self.state.limit = 0;
        self.epoch_length = iterations;
        self
    }

    /// Where the run stands.
    #[inline]
    #[must_use]
    pub const fn state(&self) -> &State<O, X> {
        &self.state
    }

    /// Where the run stands, to write metrics or to ask for its end from outside.
    #[inline]
    pub const fn state_mut(&mut self) -> &mut State<O, X> {
        &mut self.state
    }

    /// How the run ended; `None` while it has not.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        matches!(self.after, After::Completed | After::ExceptionRaised).then(|| self.outcome_now())
    }

    fn outcome_now(&self) -> Outcome {
        Outcome {
            reason: self.state.stop.unwrap_or(crate::StopReason::MaxEpochs),
            epoch: self.state.counters.epoch,
            iteration: self.state.counters.iteration,
        }
    }

    /// Goes to the next iteration: fires what comes before it, counts it, and fires `IterationStarted`. False when the
    /// run is over, and from then on until [`restart`](Self::restart).
    #[inline]
    pub fn begin_iteration<T: ?Sized, H: Handler<T, O, X>>(&mut self, model: &mut T, handlers: &mut H) -> bool {
        while self.settle(model, handlers) {
            if self.after == After::IterationStarted {
                return true;
            }
            self.count_iteration();
            self.after = After::IterationStarted;
            if self.tell(Event::IterationStarted, After::IterationStarted, model, handlers) {
                return true;
            }
        }
        false
    }

    /// Ends the iteration with what the step made of it, and fires what follows: `IterationCompleted`, and the end of
    /// the epoch or the run where it is due. False when the run is over.
    ///
    /// Without [`begin_iteration`](Self::begin_iteration) before it, does nothing.
    #[inline]
    pub fn end_iteration<T: ?Sized, H: Handler<T, O, X>>(
        &mut self,
        output: O,
        model: &mut T,
        handlers: &mut H,
    ) -> bool {
        if self.after == After::IterationStarted {
            self.after = After::Iteration;
            if self.finish_iteration(output, model, handlers) {
                return true;
            }
            self.attend(model, handlers);
        }
        self.end_of_epoch(model, handlers);
        !matches!(self.after, After::Completed | After::ExceptionRaised)
    }

    /// For a loop of one's own over data of unknown length: tells that the data of this epoch has ended.
    pub fn end_data<T: ?Sized, H: Handler<T, O, X>>(&mut self, model: &mut T, handlers: &mut H) {
        if self.after.between_iterations() && self.state.offset > 0 {
            self.state.epoch_length = self.state.offset;
            self.state.limit = 0;
            self.end_of_epoch(model, handlers);
        }
    }

    /// Fires an event of the user's own at once, to be called between iterations of a loop of one's own. From inside
    /// a step function or a handler, use [`State::fire`].
    pub fn fire<T: ?Sized, H: Handler<T, O, X>>(&mut self, event: UserEvent, model: &mut T, handlers: &mut H) {
        self.emit(Event::User(event), model, handlers);
    }

    /// Makes a finished engine ready for a new run, as [`run`](Self::run) does by itself: after a run that was cut, with the
    /// epoch that follows, as in Ignite; after a full one from the beginning. An engine in a run is left alone.
    pub fn restart(&mut self) {
        if matches!(self.after, After::Completed | After::ExceptionRaised) {
            self.after = After::Nothing;
            if self.state.counters.epoch >= self.state.max_epochs {
                self.state.counters = crate::event::Counters::default();
                self.state.epoch_length = self.epoch_length;
            }
            self.state.position = 0;
            self.state.data_length = u32::MAX;
        }
    }

    /// Tells the handlers of `event`. Inlined with the event known, so that only those who listen leave code.
    #[inline(always)]
    fn emit<T: ?Sized, H: Handler<T, O, X>>(&mut self, event: Event, model: &mut T, handlers: &mut H) {
        handlers.on_event(event, model, &mut self.state);
        if self.state.flags != 0 {
            self.attend(model, handlers);
        }
    }

    /// As [`emit`](Self::emit), between two events of one iteration, where only a handler that this event reaches can
    /// have asked for anything: where none listens this comes to nothing, not even a test. Only one who asks can see
    /// that the engine stands `after` it. False when the iteration is not to be gone on with.
    #[inline(always)]
    fn tell<T: ?Sized, H: Handler<T, O, X>>(
        &mut self,
        event: Event,
        after: After,
        model: &mut T,
        handlers: &mut H,
    ) -> bool {
        let before = self.state.flags;
        handlers.on_event(event, model, &mut self.state);
        if self.state.flags == before {
            return true;
        }
        self.after = after;
        self.attend(model, handlers);
        self.state.flags & (flag::STOP | flag::STOP_EPOCH) == 0
    }

    /// What follows an event at which a handler asked for something: first the user's events, then what is pending.
    #[cold]
    #[inline(never)]
    fn attend<T: ?Sized, H: Handler<T, O, X>>(&mut self, model: &mut T, handlers: &mut H) {
        if self.state.flags & (flag::QUEUED | flag::ACT) == 0 {
            return;
        }
        self.fire_queued(model, handlers);
        self.state.flags &= !flag::ACT;
        if handlers.pending() {
            let mut record = Record::new();
            self.record_now(&mut record, handlers);
            if handlers.act(model, &mut self.state, &record) {
                handlers.on_event(Event::SavedCheckpoint, model, &mut self.state);
            }
            // What was fired meanwhile, at the end of the run, too, where no other event follows. What was decided
            // meanwhile waits for the next event: a handler that saves when something was saved would never be done.
            self.fire_queued(model, handlers);
        }
    }

    fn fire_queued<T: ?Sized, H: Handler<T, O, X>>(&mut self, model: &mut T, handlers: &mut H) {
        while let Some(event) = self.state.next_event() {
            handlers.on_event(Event::User(event), model, &mut self.state);
        }
        self.state.flags &= !flag::QUEUED;
    }

    /// Whether the next thing is an iteration, without anything to be fired before it.
    #[inline(always)]
    const fn ready(&self) -> bool {
        self.after.between_iterations() && self.state.offset < self.state.limit
    }

    /// Fires whatever comes before the next iteration. False when the run is over.
    #[inline(always)]
    fn settle<T: ?Sized, H: Handler<T, O, X>>(&mut self, model: &mut T, handlers: &mut H) -> bool {
        self.ready() || self.advance(model, handlers, false)
    }

    /// Ends the epoch, and the run, if they are over; does not begin another epoch.
    #[inline(always)]
    fn end_of_epoch<T: ?Sized, H: Handler<T, O, X>>(&mut self, model: &mut T, handlers: &mut H) {
        if !self.ready() {
            self.advance(model, handlers, true);
        }
    }

    /// Goes from event to event until an iteration is next (true) or the run is over (false); with `stay`, also until
    /// an epoch would begin (true).
    #[inline(never)]
    fn advance<T: ?Sized, H: Handler<T, O, X>>(&mut self, model: &mut T, handlers: &mut H, stay: bool) -> bool {
        loop {
            let state = &mut self.state;
            let stop = state.flags & flag::STOP != 0;
            let cut = state.flags & flag::STOP_EPOCH != 0;
            match self.after {
                After::Completed | After::ExceptionRaised => return false,
                After::Terminate => {
                    self.after = After::Completed;
                    self.emit(Event::Completed, model, handlers);
                }
                After::Nothing => {
                    state.flags &= !(flag::STOP | flag::STOP_EPOCH);
                    state.stop = None;
                    self.after = After::Started;
                    self.emit(Event::Started, model, handlers);
                }
                _ if stop => {
                    self.after = After::Terminate;
                    self.emit(Event::Terminate, model, handlers);
                }
                After::Started | After::EpochCompleted => {
                    if state.counters.epoch >= state.max_epochs {
                        self.after = After::Completed;
                        self.emit(Event::Completed, model, handlers);
                    } else if stay {
                        return true;
                    } else {
                        state.counters.epoch = state.counters.epoch.saturating_add(1);
                        state.offset = 0;
                        state.flags &= !flag::STOP_EPOCH;
                        self.after = After::Iteration;
                        self.emit(Event::EpochStarted, model, handlers);
                    }
                }
                After::EpochTerminated => {
                    self.after = After::EpochCompleted;
                    self.emit(Event::EpochCompleted, model, handlers);
                }
                After::Iteration | After::GetBatchStarted | After::GetBatchCompleted | After::IterationStarted => {
                    if cut {
                        state.flags &= !flag::STOP_EPOCH;
                        // The data begins again, as in Ignite.
                        state.position = 0;
                        self.after = After::EpochTerminated;
                        self.emit(Event::TerminateSingleEpoch, model, handlers);
                    } else if self.after == After::IterationStarted || state.offset < state.longest() {
                        if state.flags & flag::QUEUED == 0 {
                            state.find_limit();
                            return true;
                        }
                        // Fired between two events, from outside.
                        self.attend(model, handlers);
                    } else {
                        // Of unknown length until now, where it came to the most that there can be.
                        state.epoch_length = state.offset;
                        self.after = After::EpochCompleted;
                        self.emit(Event::EpochCompleted, model, handlers);
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn count_iteration(&mut self) {
        self.state.counters.iteration = self.state.counters.iteration.saturating_add(1);
        self.state.output = None;
    }

    /// Takes the step's output and fires `IterationCompleted`. True when nobody asked for anything and the epoch goes on.
    #[inline(always)]
    fn finish_iteration<T: ?Sized, H: Handler<T, O, X>>(&mut self, output: O, model: &mut T, handlers: &mut H) -> bool {
        self.state.output = Some(output);
        // Less than an epoch's length before.
        self.state.offset = self.state.offset.wrapping_add(1);
        self.state.position = self.state.position.wrapping_add(1);
        handlers.on_event(Event::IterationCompleted, model, &mut self.state);
        self.state.offset < self.state.limit
    }

    #[inline(never)] // Its code once, and nothing of it on the stack of a save.
    fn record_now<T: ?Sized, H: Handler<T, O, X>>(&self, record: &mut Record, handlers: &mut H) {
        handlers.save_state(&self.state, &mut RecordWriter::new(record));
        record.engine = self.engine_state();
    }
}
