//! Resuming a run: from a record, or from the newest checkpoint in the handlers' stores.

use super::{Engine, EngineState, Phase};
use crate::event::Counters;
use crate::handler::Handler;
use crate::run_record::{HandlerStates, RestoreError, RunRecord, RunRecordFull};
use crate::state::flag;

/// Where a resumed run continues.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Resumed {
    /// The epoch of the checkpoint.
    pub epoch: u32,
    /// The iteration of the checkpoint. The run continues after it.
    pub iteration: u32,
    /// The number of newer checkpoints that were skipped because they could not be loaded.
    pub skipped: u32,
}

impl<O, X> Engine<O, X> {
    /// The engine's part of the run record.
    #[must_use]
    pub fn engine_state(&self) -> EngineState {
        let state = &self.state;
        EngineState {
            phase: self.phase,
            epoch: state.counters.epoch,
            iteration: state.counters.iteration,
            offset: state.offset,
            data_offset: state.data_offset,
            epoch_length: state.epoch_length,
            max_epochs: (state.max_epochs != self.max_epochs).then_some(state.max_epochs),
            stop: state.stop,
            stop_epoch: state.flags & flag::STOP_EPOCH != 0,
        }
    }

    /// Starts a run after `epoch` epochs of `epoch_length` iterations each: `Started` fires, then the next epoch starts.
    /// Ignite's `load_state_dict` does the same with an epoch number. The handlers are unchanged.
    pub fn start_after_epoch(&mut self, epoch: u32, epoch_length: u32) {
        self.phase = Phase::NotStarted;
        self.state.counters = Counters { epoch, iteration: epoch.saturating_mul(epoch_length) };
        self.state.epoch_length = epoch_length;
        self.state.data_offset = 0;
        self.state.data_length = u32::MAX;
    }

    /// The record of the run at this moment: the engine's state and the state of every handler.
    ///
    /// # Errors
    /// [`RunRecordFull`] if the states of the handlers do not fit.
    pub fn record<T: ?Sized, H: Handler<T, O, X>>(&mut self, handlers: &mut H) -> Result<RunRecord, RunRecordFull> {
        let mut record = RunRecord::new();
        self.write_record(&mut record, handlers);
        if record.complete { Ok(record) } else { Err(RunRecordFull) }
    }

    #[inline(never)] // The code exists once, and its variables are not on the stack during a save.
    pub(super) fn write_record<T: ?Sized, H: Handler<T, O, X>>(&mut self, record: &mut RunRecord, handlers: &mut H) {
        self.visit_states(handlers, &mut HandlerStates::save(record));
        record.engine = self.engine_state();
    }

    /// Restores the engine and the handlers from `record`. The next `run` or `begin_iteration` continues after the
    /// recorded event. `Started` and `EpochStarted` do not fire again, because the handlers' states already include them.
    ///
    /// A completed run continues if `max_epochs` of this engine is larger than the recorded epoch.
    ///
    /// # Errors
    /// [`RestoreError`] if the record does not match these handlers. Nothing has changed in this case.
    pub fn restore<T: ?Sized, H: Handler<T, O, X>>(
        &mut self,
        record: &RunRecord,
        handlers: &mut H,
    ) -> Result<(), RestoreError> {
        self.check(record, handlers)?;
        self.apply(record, handlers);
        Ok(())
    }

    /// Resumes from the newest loadable checkpoint in the handlers' stores: loads it into `model` and restores the engine
    /// and the handlers. Returns `Ok(None)` if the stores contain no checkpoint; the run then starts at its beginning.
    ///
    /// Saves that were decided but not written before the power failure are performed now.
    ///
    /// # Errors
    /// * [`RestoreError::NoneLoadable`] if there are checkpoints, but none can be loaded. The caller decides whether to
    ///   start over.
    /// * Another [`RestoreError`] if the newest loadable checkpoint belongs to other handlers.
    ///
    /// Nothing has changed in these cases, except after [`RestoreError::BecameUnreadable`].
    pub fn resume<T: ?Sized, H: Handler<T, O, X>>(
        &mut self,
        model: &mut T,
        handlers: &mut H,
    ) -> Result<Option<Resumed>, RestoreError> {
        let mut record = RunRecord::new();
        let mut below = None;
        let mut skipped = 0u32;
        while let Some(iteration) = handlers.newest_checkpoint(below) {
            if handlers.verify_checkpoint(iteration, model, &mut record) {
                self.check(&record, handlers)?;
                if !handlers.load_checkpoint(iteration, model) {
                    return Err(RestoreError::BecameUnreadable { iteration });
                }
                self.apply(&record, handlers);
                self.state.flags |= flag::ACTION;
                self.run_deferred_actions(model, handlers);
                return Ok(Some(Resumed { epoch: record.engine.epoch, iteration, skipped }));
            }
            skipped = skipped.saturating_add(1);
            below = Some(iteration);
        }
        if skipped > 0 { Err(RestoreError::NoneLoadable { skipped }) } else { Ok(None) }
    }

    /// Checks that the record is consistent and that its states match the handlers. Changes nothing.
    fn check<T: ?Sized, H: Handler<T, O, X>>(
        &mut self,
        record: &RunRecord,
        handlers: &mut H,
    ) -> Result<(), RestoreError> {
        let engine = &record.engine;
        // A started iteration is counted but not completed.
        let started = engine.offset.checked_add((engine.phase == Phase::IterationStarted).into());
        let consistent = started.is_some_and(|started| {
            started <= engine.iteration && (engine.epoch_length == 0 || started <= engine.epoch_length)
        });
        if !consistent || !record.complete {
            return Err(RestoreError::Engine);
        }
        let mut states = HandlerStates::check(record);
        self.visit_states(handlers, &mut states);
        states.finish()
    }

    /// Restores the engine and the handlers from a record that was checked.
    fn apply<T: ?Sized, H: Handler<T, O, X>>(&mut self, record: &RunRecord, handlers: &mut H) {
        let engine = &record.engine;
        let state = &mut self.state;
        state.counters = Counters { epoch: engine.epoch, iteration: engine.iteration };
        state.offset = engine.offset;
        state.data_offset = engine.data_offset;
        state.epoch_length = engine.epoch_length;
        state.max_epochs = engine.max_epochs.unwrap_or(self.max_epochs);
        state.stop = engine.stop;
        state.clear_events();
        state.output = None;
        (state.fast_until, state.data_length) = (0, u32::MAX);
        state.flags = if engine.stop.is_some() { flag::STOP } else { 0 };
        if engine.stop_epoch {
            state.flags |= flag::STOP_EPOCH;
        }
        let extended = engine.phase == Phase::Completed && engine.stop.is_none() && engine.epoch < state.max_epochs;
        self.phase = if extended { Phase::EpochCompleted } else { engine.phase };
        self.resumed_in_iteration = true;
        self.visit_states(handlers, &mut HandlerStates::restore(record));
    }

    #[inline(never)] // One copy of the code for saving, checking and restoring.
    fn visit_states<T: ?Sized, H: Handler<T, O, X>>(&mut self, handlers: &mut H, states: &mut HandlerStates<'_>) {
        handlers.persist(&mut self.state, states);
    }
}
