//! Methods that resume a run, either from a run record or from the newest stored checkpoint.

use super::{Engine, EngineState, Phase};
use crate::event::Counters;
use crate::handler::Handler;
use crate::run_record::{HandlerStates, RestoreError, RunRecord, RunRecordFull};
use crate::state::flag;

/// Where a resumed run continues.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Resumed {
    /// The epoch in which the checkpoint was saved.
    pub epoch: u32,
    /// The iteration in which the checkpoint was saved. The run continues after this iteration.
    pub iteration: u32,
    /// The number of newer checkpoints that the engine skipped because it could not load them.
    pub skipped: u32,
}

impl<O, X> Engine<O, X> {
    /// Returns the engine's part of the run record (the saved state of the engine and the handlers).
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

    /// Prepares a run that continues after `epoch` completed epochs of `epoch_length` iterations each. The run first
    /// fires `Started` and then starts the next epoch. The handlers are unchanged. Ignite's `load_state_dict` does the
    /// same for a state with an epoch number.
    pub fn start_after_epoch(&mut self, epoch: u32, epoch_length: u32) {
        self.phase = Phase::NotStarted;
        self.state.counters = Counters { epoch, iteration: epoch.saturating_mul(epoch_length) };
        self.state.epoch_length = epoch_length;
        self.state.data_offset = 0;
        self.state.data_length = u32::MAX;
    }

    /// Returns the record of the run at this moment: the state of the engine and the state of every handler.
    ///
    /// # Errors
    /// Returns [`RunRecordFull`] if the states of the handlers do not fit into the record.
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

    /// Restores the engine and the handlers from `record`. The next call of `run` or `begin_iteration` continues after
    /// the last event of the recorded run. `Started` and `EpochStarted` do not fire again, because the states of the
    /// handlers already include their effect.
    ///
    /// A completed run continues if this engine has a larger `max_epochs` than the recorded run.
    ///
    /// # Errors
    /// Returns a [`RestoreError`] if the record does not match these handlers. Nothing has changed in this case.
    pub fn restore<T: ?Sized, H: Handler<T, O, X>>(
        &mut self,
        record: &RunRecord,
        handlers: &mut H,
    ) -> Result<(), RestoreError> {
        self.check(record, handlers)?;
        self.apply(record, handlers);
        Ok(())
    }

    /// Resumes from the newest checkpoint that can be loaded. Loads that checkpoint from the store of a handler into
    /// `model`, and restores the engine and the handlers. Returns `Ok(None)` if there is no checkpoint; the run then
    /// starts at its beginning.
    ///
    /// Several handlers can save at the same event, and the power can fail between these saves. If so, this method now
    /// performs the missing saves. Nothing else is repeated: the run continues after the iteration of the checkpoint.
    ///
    /// # Errors
    /// * [`RestoreError::NoneLoadable`] if there are checkpoints, but none can be loaded. The caller decides whether to
    ///   start over.
    /// * Another [`RestoreError`] if the newest loadable checkpoint was saved with other handlers.
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

    /// Checks that the run record (the saved state of a run) is consistent and contains the states of these handlers.
    /// Changes nothing.
    fn check<T: ?Sized, H: Handler<T, O, X>>(
        &mut self,
        record: &RunRecord,
        handlers: &mut H,
    ) -> Result<(), RestoreError> {
        let engine = &record.engine;
        // If the saved run was inside an iteration, the iteration counter includes this iteration, but `offset` does
        // not.
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

    /// Restores the engine and the handlers from `record`, which `check` has accepted.
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
        self.resumed_in_iteration = self.phase == Phase::IterationStarted;
        self.visit_states(handlers, &mut HandlerStates::restore(record));
    }

    #[inline(never)] // One copy of the code for saving, checking and restoring.
    fn visit_states<T: ?Sized, H: Handler<T, O, X>>(&mut self, handlers: &mut H, states: &mut HandlerStates<'_>) {
        handlers.persist(&mut self.state, states);
    }
}
