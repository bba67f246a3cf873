//! Handlers react to the events of a training run. This module defines the trait and combines several handlers into
//! one.
//!
//! The engine passes each event to every handler with [`Handler::on_event`]. There a handler *decides*, for example to
//! save a checkpoint. After all handlers have seen the event, the engine calls [`Handler::perform`], where checkpoints
//! are written. The content of a checkpoint therefore does not depend on the order of the handlers.
//!
//! A tuple of up to twelve handlers is a handler, too. So are arrays, `Option`s and `&mut` references of handlers. They
//! can be nested. The compiler generates no code for an event that a handler does not select.
//!
//! ```
//! use training_monitor::{Engine, Event, Handler, State};
//!
//! /// Counts the iterations whose loss exceeds a limit.
//! struct SpikeCounter { limit: f32, count: u32 }
//!
//! impl<T: ?Sized> Handler<T, f32> for SpikeCounter {
//!     fn on_event(&mut self, event: Event, _model: &mut T, state: &mut State<f32>) {
//!         if event == Event::IterationCompleted && state.output.is_some_and(|loss| loss > self.limit) {
//!             self.count += 1;
//!         }
//!     }
//! }
//!
//! let mut spikes = SpikeCounter { limit: 1.0, count: 0 };
//! let losses = [0.5, 2.0, 0.1, 3.0];
//! Engine::new(1).run(&mut (), &losses[..], &mut spikes, |_, loss, _| *loss)?;
//! assert_eq!(spikes.count, 2);
//! # Ok::<(), training_monitor::RunError>(())
//! ```
//!
//! The documentation of [`Persist`](crate::run_record::Persist) shows a handler whose counter survives a restart.
//!
//! A `static`, an RTIC resource or the return type of a function needs the name of a handler's type. The type has a
//! name if the closure of the handler is a function pointer:
//!
//! ```
//! use training_monitor::event::EpochCompleted;
//! use training_monitor::handlers::early_stopping::EarlyStoppingHandler;
//! use training_monitor::handlers::model_checkpoint::{CheckpointHandler, ScoreFunction};
//! use training_monitor::store::ram::{Ram, RamError};
//! use training_monitor::{ConfigError, EarlyStopping, ModelCheckpoint, State};
//!
//! type Score = fn(&State<f32>) -> f32;
//! type Stopping = EarlyStoppingHandler<EpochCompleted, Score>;
//! type Best = CheckpointHandler<2, EpochCompleted, Ram<3, 256>, ScoreFunction<Score>>;
//!
//! fn stopping() -> Result<Stopping, ConfigError> {
//!     Ok(EarlyStopping::new(3)?.attach(EpochCompleted, |state| -state.output.unwrap_or(f32::INFINITY)))
//! }
//!
//! fn best() -> Result<Best, RamError> {
//!     let score: Score = |state| -state.output.unwrap_or(f32::INFINITY);
//!     ModelCheckpoint::best_by(score).attach(EpochCompleted, Ram::new())
//! }
//! # assert!(stopping().is_ok() && best().is_ok());
//! ```

use crate::checkpoint::EncodeError;
use crate::event::{Event, EventFilter};
use crate::run_record::{HandlerStates, MAX_ENGINE_LEN, RestoreError, ResumePoint, RunRecord, RunRecordFull};
use crate::state::State;
use core::marker::PhantomData;
use embedded_io::ErrorKind;

/// Reacts to the events of a training run. The type parameters are the model `T`, the output `O` of the step function,
/// and the metrics `X`. The model can have any type.
///
/// Only [`on_event`](Self::on_event) is required. A handler whose state must survive a restart also
/// implements [`persist`](Self::persist). The other methods are for handlers that save checkpoints.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler for an engine with output `{O}` and metrics `{X}`",
    label = "not a handler",
    note = "attach it to an event first: `.attach(EpochCompleted, ...)`",
    note = "the closure of an attached handler must take the state of this engine, `&State<{O}, {X}>`"
)]
pub trait Handler<T: ?Sized, O, X = ()> {
    /// Handles one event. The engine calls the handlers of a tuple from left to right.
    fn on_event(&mut self, event: Event, model: &mut T, state: &mut State<O, X>);

    /// Saves the handler's state in a checkpoint, or restores it. By default, a handler has no state to save. A handler
    /// that implements [`Persist`](crate::run_record::Persist) calls [`states.visit(self)`](HandlerStates::visit) here.
    /// `run` is the state of the run. During a restore, its counters are already restored.
    #[inline(always)]
    fn persist(&mut self, run: &mut State<O, X>, states: &mut HandlerStates<'_>) {
        let _ = (run, states);
    }

    /// Checks the limits of the handler before the first event of a run, and before a run resumes. A handler that saves
    /// checkpoints checks that its store has room for `model`.
    #[inline(always)]
    fn check_start(&mut self, model: &mut T, start: &mut StartCheck) {
        let _ = (model, start);
    }

    /// Performs an action that the handler deferred, such as a save. The engine calls this method after all handlers
    /// have seen an event, but only if a handler called [`State::request_action`]. `record` contains the states of the
    /// engine and of the handlers. Returns true if a checkpoint was saved.
    #[inline(always)]
    fn perform(&mut self, model: &mut T, state: &mut State<O, X>, record: &RunRecord<[u8]>) -> bool {
        let _ = (model, state, record);
        false
    }

    /// Returns why the last save of this handler failed, or why the handler refused the start of the run. Returns `None`
    /// if the last save succeeded.
    #[inline(always)]
    fn save_error(&self) -> Option<EncodeError<ErrorKind>> {
        None
    }

    /// Returns the point of the newest stored checkpoint from which a run can resume. If `below` is given, the method
    /// ignores checkpoints of that point and of later ones.
    ///
    /// # Errors
    /// Returns [`RestoreError::ListFailed`] if a store cannot list its checkpoints.
    #[inline(always)]
    fn newest_checkpoint(&mut self, below: Option<ResumePoint>) -> Result<Option<ResumePoint>, RestoreError> {
        let _ = below;
        Ok(None)
    }

    /// Returns the number of checkpoints that the stores could not list because they are damaged or unreadable.
    #[inline(always)]
    fn damaged_checkpoints(&mut self) -> u32 {
        0
    }

    /// Checks that the checkpoint of `point` is intact and fits `model`, without changing `model`. Copies the run
    /// record of the checkpoint (the states of the engine and of the handlers) to `record`. Returns false if the
    /// checkpoint is damaged, does not fit the model or has no run record.
    ///
    /// # Errors
    /// Returns [`RestoreError::ListFailed`] if a store cannot list its checkpoints.
    #[inline(always)]
    fn verify_checkpoint(
        &mut self,
        point: ResumePoint,
        model: &mut T,
        record: &mut RunRecord<[u8]>,
    ) -> Result<bool, RestoreError> {
        let _ = (point, model, record);
        Ok(false)
    }

    /// Loads the checkpoint of `point` into `model`. The engine calls this method
    /// after [`verify_checkpoint`](Self::verify_checkpoint) has returned true. Returns false if the checkpoint can no
    /// longer be read.
    ///
    /// # Errors
    /// Returns [`RestoreError::ListFailed`] if a store cannot list its checkpoints.
    #[inline(always)]
    fn load_checkpoint(&mut self, point: ResumePoint, model: &mut T) -> Result<bool, RestoreError> {
        let _ = (point, model);
        Ok(false)
    }
}

/// The checks before the start of a run. The engine passes a value of this type to the method
/// [`Handler::check_start`].
#[derive(Debug)]
pub struct StartCheck {
    max_states_len: usize,
    capacity: usize,
    newest_run: u32,
    newest_sequence: u32,
    refused: bool,
}

impl StartCheck {
    pub(crate) const fn new(max_states_len: usize, capacity: usize) -> Self {
        StartCheck { max_states_len, capacity, newest_run: 0, newest_sequence: 0, refused: false }
    }

    /// Returns the maximum length of the run record in a checkpoint, in bytes.
    #[must_use]
    pub const fn max_record_len(&self) -> usize {
        MAX_ENGINE_LEN.saturating_add(self.max_states_len)
    }

    /// Checks that the states of all handlers fit into the run record of the engine. A handler that saves the run record
    /// calls this method.
    ///
    /// # Errors
    /// Returns [`RunRecordFull`] if the states can become too long.
    pub const fn check_record(&self) -> Result<(), RunRecordFull> {
        let full = RunRecordFull { required: self.max_states_len, capacity: self.capacity };
        if full.required > full.capacity { Err(full) } else { Ok(()) }
    }

    /// Reports a stored checkpoint. A new run gets a higher number than all runs that have saved a checkpoint, and a new
    /// checkpoint gets a higher sequence number than all stored ones.
    pub fn add_checkpoint(&mut self, run: u32, sequence: u32) {
        self.newest_run = self.newest_run.max(run);
        self.newest_sequence = self.newest_sequence.max(sequence);
    }

    /// Reports that a limit is exceeded, so the run does not start. [`Handler::save_error`] returns the cause.
    pub fn refuse(&mut self) {
        self.refused = true;
    }

    /// Returns the highest sequence number of a stored checkpoint.
    pub(crate) const fn newest_sequence(&self) -> u32 {
        self.newest_sequence
    }

    /// Returns the highest number of a run that has saved a checkpoint, or `None` if a handler refused the start.
    pub(crate) fn finish(self) -> Option<u32> {
        (!self.refused).then_some(self.newest_run)
    }
}

/// A handler that does nothing, for a run without handlers.
impl<T: ?Sized, O, X> Handler<T, O, X> for () {
    #[inline(always)]
    fn on_event(&mut self, _: Event, _: &mut T, _: &mut State<O, X>) {}
}

/// Implements every method of [`Handler`]: each method calls the same method of all handlers in the iterator
/// `$handlers`. `$shared` is the same iterator over shared references.
macro_rules! forward {
    ($self:ident, $handlers:expr, $shared:expr) => {
        #[inline(always)]
        fn on_event(&mut $self, event: Event, model: &mut T, state: &mut State<O, X>) {
            $handlers.for_each(|handler| handler.on_event(event, model, state));
        }
        #[inline(always)]
        fn persist(&mut $self, run: &mut State<O, X>, states: &mut HandlerStates<'_>) {
            $handlers.for_each(|handler| handler.persist(run, states));
        }
        #[inline(always)]
        fn check_start(&mut $self, model: &mut T, start: &mut StartCheck) {
            $handlers.for_each(|handler| handler.check_start(model, start));
        }
        #[inline(always)]
        fn perform(&mut $self, model: &mut T, state: &mut State<O, X>, record: &RunRecord<[u8]>) -> bool {
            $handlers.fold(false, |saved, handler| handler.perform(model, state, record) | saved)
        }
        #[inline(always)]
        fn save_error(&$self) -> Option<EncodeError<ErrorKind>> {
            $shared.find_map(|handler| handler.save_error())
        }
        #[inline(always)]
        fn newest_checkpoint(&mut $self, below: Option<ResumePoint>) -> Result<Option<ResumePoint>, RestoreError> {
            $handlers.try_fold(None, |newest, handler| Ok(handler.newest_checkpoint(below)?.max(newest)))
        }
        #[inline(always)]
        fn damaged_checkpoints(&mut $self) -> u32 {
            $handlers.fold(0, |damaged, handler| handler.damaged_checkpoints().saturating_add(damaged))
        }
        #[inline(always)]
        fn verify_checkpoint(
            &mut $self,
            point: ResumePoint,
            model: &mut T,
            record: &mut RunRecord<[u8]>,
        ) -> Result<bool, RestoreError> {
            $handlers.try_fold(false, |found, handler| Ok(found || handler.verify_checkpoint(point, model, record)?))
        }
        #[inline(always)]
        fn load_checkpoint(&mut $self, point: ResumePoint, model: &mut T) -> Result<bool, RestoreError> {
            $handlers.try_fold(false, |loaded, handler| Ok(loaded || handler.load_checkpoint(point, model)?))
        }
    };
}

impl<T: ?Sized, O, X, H: Handler<T, O, X> + ?Sized> Handler<T, O, X> for &mut H {
    forward!(self, core::iter::once(&mut **self), core::iter::once(&**self));
}

impl<T: ?Sized, O, X, H: Handler<T, O, X>> Handler<T, O, X> for Option<H> {
    forward!(self, self.iter_mut(), self.iter());
}

impl<T: ?Sized, O, X, H: Handler<T, O, X>, const N: usize> Handler<T, O, X> for [H; N] {
    forward!(self, self.iter_mut(), self.iter());
}

macro_rules! tuples {
    ($($name:ident . $index:tt)+) => {
        impl<T: ?Sized, O, X, $($name: Handler<T, O, X>),+> Handler<T, O, X> for ($($name,)+) {
            #[inline(always)]
            fn on_event(&mut self, event: Event, model: &mut T, state: &mut State<O, X>) {
                $(self.$index.on_event(event, model, state);)+
            }
            #[inline(always)]
            fn persist(&mut self, run: &mut State<O, X>, states: &mut HandlerStates<'_>) {
                $(self.$index.persist(run, states);)+
            }
            #[inline(always)]
            fn check_start(&mut self, model: &mut T, start: &mut StartCheck) {
                $(self.$index.check_start(model, start);)+
            }
            #[inline(always)]
            fn perform(&mut self, model: &mut T, state: &mut State<O, X>, record: &RunRecord<[u8]>) -> bool {
                let mut saved = false;
                $(saved |= self.$index.perform(model, state, record);)+
                saved
            }
            #[inline(always)]
            fn save_error(&self) -> Option<EncodeError<ErrorKind>> {
                let mut error = None;
                $(error = error.or_else(|| self.$index.save_error());)+
                error
            }
            #[inline(always)]
            fn newest_checkpoint(&mut self, below: Option<ResumePoint>) -> Result<Option<ResumePoint>, RestoreError> {
                let mut newest = None;
                $(newest = newest.max(self.$index.newest_checkpoint(below)?);)+
                Ok(newest)
            }
            #[inline(always)]
            fn damaged_checkpoints(&mut self) -> u32 {
                let mut damaged = 0_u32;
                $(damaged = damaged.saturating_add(self.$index.damaged_checkpoints());)+
                damaged
            }
            #[inline(always)]
            fn verify_checkpoint(
                &mut self,
                point: ResumePoint,
                model: &mut T,
                record: &mut RunRecord<[u8]>,
            ) -> Result<bool, RestoreError> {
                $(if self.$index.verify_checkpoint(point, model, record)? { return Ok(true); })+
                Ok(false)
            }
            #[inline(always)]
            fn load_checkpoint(&mut self, point: ResumePoint, model: &mut T) -> Result<bool, RestoreError> {
                $(if self.$index.load_checkpoint(point, model)? { return Ok(true); })+
                Ok(false)
            }
        }
    };
}

tuples!(A.0);
tuples!(A.0 B.1);
tuples!(A.0 B.1 C.2);
tuples!(A.0 B.1 C.2 D.3);
tuples!(A.0 B.1 C.2 D.3 E.4);
tuples!(A.0 B.1 C.2 D.3 E.4 F.5);
tuples!(A.0 B.1 C.2 D.3 E.4 F.5 G.6);
tuples!(A.0 B.1 C.2 D.3 E.4 F.5 G.6 H.7);
tuples!(A.0 B.1 C.2 D.3 E.4 F.5 G.6 H.7 I.8);
tuples!(A.0 B.1 C.2 D.3 E.4 F.5 G.6 H.7 I.8 J.9);
tuples!(A.0 B.1 C.2 D.3 E.4 F.5 G.6 H.7 I.8 J.9 K.10);
tuples!(A.0 B.1 C.2 D.3 E.4 F.5 G.6 H.7 I.8 J.9 K.10 L.11);

/// Creates a handler from the closure `call`. At each event that `filter` selects, the handler calls the closure and
/// passes it the model and the state of the run.
///
/// A closure that accesses fields of the model needs the type of the model. Annotate its parameter, or
/// use [`RunTypes::function`].
///
/// ```
/// use training_monitor::{Engine, event::EpochCompleted, on};
///
/// let mut epochs = 0;
/// let count = on(EpochCompleted, |_, _| epochs += 1);
/// Engine::new(3).run(&mut (), 0..5, &mut { count }, |_, batch, _| batch)?;
/// assert_eq!(epochs, 3);
/// # Ok::<(), training_monitor::RunError>(())
/// ```
pub const fn on<T, O, X, W, F>(filter: W, call: F) -> On<W, F>
where
    T: ?Sized,
    W: EventFilter,
    F: FnMut(&mut T, &mut State<O, X>),
{
    On { filter, call }
}

/// A handler that calls a closure at the events that its filter selects. Created by [`on`].
#[derive(Clone, Copy, Debug)]
pub struct On<W, F> {
    filter: W,
    call: F,
}

impl<T: ?Sized, O, X, W: EventFilter, F: FnMut(&mut T, &mut State<O, X>)> Handler<T, O, X> for On<W, F> {
    #[inline(always)]
    fn on_event(&mut self, event: Event, model: &mut T, state: &mut State<O, X>) {
        if self.filter.matches(event, state.counters()) {
            (self.call)(model, state);
        }
    }
}

/// The types of a run: the model, the output and the metrics. The closures of its handlers need these types.
///
/// The compiler cannot infer the argument types of a closure that accesses fields of its arguments. Pass such a closure
/// through a method of this struct. The method returns the closure unchanged, but its signature tells the compiler the
/// types:
///
/// ```
/// use training_monitor::event::{EpochCompleted, IterationCompleted};
/// use training_monitor::handler::RunTypes;
/// use training_monitor::{EarlyStopping, Engine, TerminateOnNan, on};
///
/// struct Net { weights: [f32; 4] }
/// #[derive(Clone, Copy)]
/// struct Output { loss: f32 }
///
/// let types = RunTypes::<Net, Output>::new();
/// let mut handlers = (
///     TerminateOnNan::new().attach(IterationCompleted, types.reference(|net, _| &net.weights)),
///     EarlyStopping::new(3)?.attach(EpochCompleted, types.score(|state| -state.output.map_or(0.0, |output| output.loss))),
///     on(EpochCompleted, types.function(|net, _| net.weights[0] *= 0.9)),
/// );
/// let mut net = Net { weights: [1.0; 4] };
/// Engine::new(2).run(&mut net, 0..4, &mut handlers, |net, _, _| Output { loss: net.weights[0] })?;
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct RunTypes<T: ?Sized, O, X = ()>(PhantomData<fn(&T, &O, &X)>);

impl<T: ?Sized, O, X> RunTypes<T, O, X> {
    /// Creates a value for the types `T`, `O` and `X`.
    #[must_use]
    pub const fn new() -> Self {
        RunTypes(PhantomData)
    }

    /// Returns the closure `score` unchanged and tells the compiler its argument types. The closure computes a score
    /// for [`EarlyStopping`](crate::EarlyStopping) or [`ModelCheckpoint`](crate::ModelCheckpoint).
    pub const fn score<F: FnMut(&State<O, X>) -> f32>(&self, score: F) -> F {
        score
    }

    /// Returns the closure `reference` unchanged and tells the compiler its argument types. The closure returns a
    /// reference into the model or the state, for [`TerminateOnNan`](crate::TerminateOnNan).
    pub const fn reference<R: ?Sized, F: for<'a> FnMut(&'a T, &'a State<O, X>) -> &'a R>(&self, reference: F) -> F {
        reference
    }

    /// Returns the closure `slices` unchanged and tells the compiler its argument types. The closure passes slices of
    /// the model to its second argument, for [`TerminateOnNan::attach_slices`](crate::TerminateOnNan::attach_slices).
    pub const fn slices<F: FnMut(&T, &mut dyn FnMut(&[f32]))>(&self, slices: F) -> F {
        slices
    }

    /// Returns the closure `function` unchanged and tells the compiler its argument types. Pass the closure to [`on`].
    pub const fn function<F: FnMut(&mut T, &mut State<O, X>)>(&self, function: F) -> F {
        function
    }
}

impl<T: ?Sized, O, X> Default for RunTypes<T, O, X> {
    fn default() -> Self {
        Self::new()
    }
}
