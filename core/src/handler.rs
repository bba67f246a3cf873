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

mod closure;
mod combined;
mod inner;

pub use closure::{On, RunTypes, on};
pub(crate) use inner::forward_to_inner;

use crate::checkpoint::EncodeError;
use crate::event::Event;
use crate::run_record::{HandlerStates, MAX_ENGINE_LEN, RestoreError, ResumePoint, RunRecord, RunRecordFull};
use crate::state::State;
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

    /// Ends the run. The engine calls this method after the last event and the last save, also if the step function
    /// failed, and if a resumed run was already finished. In a custom loop, it is called whenever a method of the engine
    /// returns that the run is over.
    #[inline(always)]
    fn finish(&mut self, model: &mut T) {
        let _ = model;
    }

    /// Returns whether the handler can roll the run back to its newest checkpoint. The result must be the same at each
    /// call, so that the compiler removes the code for it from a program without a [`RollBack`](crate::RollBack).
    #[inline(always)]
    fn rolls_back(&self) -> bool {
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

    /// Returns the wear of the memory in which the handler saves checkpoints.
    #[inline(always)]
    fn wear(&mut self) -> Wear {
        Wear::default()
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

/// The wear of the memory in which checkpoints are stored.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Wear {
    /// How often places for a checkpoint were erased, in total. The number is 0 if the store does not count its erases.
    /// Erases of an interrupted save are not counted.
    pub erases: u32,
    /// The number of places with the remains of an interrupted save. Each of them stands for at least one erase that is not
    /// counted.
    pub interrupted: u32,
}

impl Wear {
    pub(crate) const fn plus(self, other: Wear) -> Wear {
        Wear {
            erases: self.erases.saturating_add(other.erases),
            interrupted: self.interrupted.saturating_add(other.interrupted),
        }
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
