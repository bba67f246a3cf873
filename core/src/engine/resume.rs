//! Methods that resume a run, either from a run record or from the newest stored checkpoint.

use super::{Engine, EngineState, Phase};
use crate::event::{Counters, Event};
use crate::handler::Handler;
use crate::run_record::{HandlerKind, HandlerStates, RestoreError, RunRecord, RunRecordFull};
use crate::state::flag;

/// Where a resumed run continues.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Resumed {
    /// The epoch in which the checkpoint was saved.
    pub epoch: u32,
    /// The iteration in which the checkpoint was saved. The run continues after this iteration.
    pub iteration: u32,
    /// The number of checkpoints that the engine skipped: newer ones that do not fit the model or have no run record, and
    /// all that are damaged or unreadable. The observers of the handlers receive the reasons.
    pub skipped: u32,
    /// The number of iterations per epoch in the checkpoint, if the engine has another setting. The setting of the engine
    /// applies. Without a setting, the number in the checkpoint applies, regardless of the length of the data.
    pub changed_epoch_length: Option<u32>,
    /// The kind of a handler whose settings differ from those in the checkpoint, for example its patience. If several
    /// handlers differ, this is the first one. The settings of the program apply to the restored state.
    pub changed_settings: Option<HandlerKind>,
}

impl<O, X, const RECORD: usize> Engine<O, X, RECORD> {
    /// Returns the engine's part of the run record (the saved state of the engine and the handlers).
    #[must_use]
    pub fn engine_state(&self) -> EngineState {
        let state = &self.state;
        EngineState {
            run: state.run,
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
    pub fn record<T: ?Sized, H: Handler<T, O, X>>(
        &mut self,
        handlers: &mut H,
    ) -> Result<RunRecord<[u8; RECORD]>, RunRecordFull> {
        let mut record = RunRecord::with_capacity();
        self.write_record(&mut record, handlers);
        let written: &RunRecord<[u8]> = &record;
        written.check_complete()?;
        Ok(record)
    }

    #[inline(never)] // The code exists once, and its variables are not on the stack during a save.
    pub(super) fn write_record<T: ?Sized, H: Handler<T, O, X>>(
        &mut self,
        record: &mut RunRecord<[u8]>,
        handlers: &mut H,
    ) {
        self.visit_states(handlers, &mut HandlerStates::save(record));
        record.engine = self.engine_state();
    }

    /// Restores the engine and the handlers from `record`. The next call of `run` or `begin_iteration` continues after
    /// the last event of the recorded run. `Started` and `EpochStarted` do not fire again, because the states of the
    /// handlers already include their effect.
    ///
    /// A completed run continues if this engine has a larger `max_epochs` than the recorded run. Otherwise it stays
    /// finished: [`run`](Self::run) returns the recorded outcome, until the program calls [`restart`](Self::restart).
    ///
    /// # Errors
    /// Returns a [`RestoreError`] if the record does not match these handlers. Nothing has changed in this case.
    pub fn restore<T: ?Sized, H: Handler<T, O, X>>(
        &mut self,
        record: &RunRecord<[u8]>,
        handlers: &mut H,
    ) -> Result<(), RestoreError> {
        let states = self.check(record, handlers)?;
        self.apply(record, handlers, states);
        Ok(())
    }

    /// Resumes from the newest checkpoint that can be loaded: the newest one of the newest run. Loads that checkpoint
    /// from the store of a handler into `model`, and restores the engine and the handlers. Returns `Ok(None)` if there
    /// is no checkpoint; the run then starts at its beginning. No checkpoint is removed.
    ///
    /// Several handlers can save at the same event, and the power can fail between these saves. If so, this method now
    /// performs the missing saves. Nothing else is repeated: the run continues after the iteration of the checkpoint.
    ///
    /// # Errors
    /// * [`RestoreError::NoneLoadable`] if there are checkpoints, but none can be loaded. To start over, call
    ///   [`run`](Self::run).
    /// * [`RestoreError::ListFailed`] if a store could not list its checkpoints.
    /// * Another [`RestoreError`] if the newest loadable checkpoint was saved with other handlers. To keep its weights
    ///   only, load them
    ///   with [`load_best`](crate::handlers::model_checkpoint::CheckpointHandler::load_best) and call `run`.
    ///
    /// Nothing has changed in these cases, except after [`RestoreError::BecameUnreadable`].
    pub fn resume<T: ?Sized, H: Handler<T, O, X>>(
        &mut self,
        model: &mut T,
        handlers: &mut H,
    ) -> Result<Option<Resumed>, RestoreError> {
        // The handlers learn the signature of the model. `run` reports an error of this check.
        let _ = self.check_start(model, handlers);
        let mut skipped = handlers.damaged_checkpoints();
        let resumed = self.resume_newest(model, handlers, None, &mut skipped)?;
        if resumed.is_none() && skipped > 0 { Err(RestoreError::NoneLoadable { skipped }) } else { Ok(resumed) }
    }

    /// Loads the newest checkpoint of the current run, and restores the engine and the handlers. If this succeeds, fires
    /// `RolledBack`. Otherwise, the requested termination of the run takes effect.
    #[cold]
    #[inline(never)]
    pub(super) fn roll_back<T: ?Sized, H: Handler<T, O, X>>(&mut self, model: &mut T, handlers: &mut H) {
        self.state.flags &= !flag::ROLL_BACK;
        let (run, data_length) = (Some(self.state.run), self.state.data_length);
        let interrupt = self.state.flags & flag::INTERRUPT;
        if let Ok(Some(_)) = self.resume_newest(model, handlers, run, &mut 0) {
            // Unlike a run that resumes in another program, this one continues with the same data, and a request to
            // interrupt it still applies.
            self.state.data_length = data_length;
            self.state.flags |= interrupt;
            self.dispatch(Event::RolledBack, model, handlers);
        }
    }

    /// Resumes from the newest checkpoint that can be loaded. If `run` is given, only checkpoints of that run are
    /// considered. Adds the number of newer checkpoints that cannot be loaded to `skipped`.
    fn resume_newest<T: ?Sized, H: Handler<T, O, X>>(
        &mut self,
        model: &mut T,
        handlers: &mut H,
        run: Option<u32>,
        skipped: &mut u32,
    ) -> Result<Option<Resumed>, RestoreError> {
        let mut record = RunRecord::<[u8; RECORD]>::with_capacity();
        let mut below = None;
        while let Some(point) = handlers.newest_checkpoint(below)? {
            if run.is_some_and(|run| point.run != run) {
                break;
            }
            if handlers.verify_checkpoint(point, model, &mut record)? {
                let states = self.check(&record, handlers)?;
                if !handlers.load_checkpoint(point, model)? {
                    return Err(RestoreError::BecameUnreadable { iteration: point.iteration });
                }
                let EngineState { epoch, iteration, epoch_length, .. } = record.engine;
                let changed_settings = self.apply(&record, handlers, states);
                self.state.flags |= flag::ACTION;
                self.run_deferred_actions(model, handlers);
                let is_changed = self.epoch_length != 0 && epoch_length != 0 && epoch_length != self.epoch_length;
                let changed_epoch_length = is_changed.then_some(epoch_length);
                let skipped = *skipped;
                return Ok(Some(Resumed { epoch, iteration, skipped, changed_epoch_length, changed_settings }));
            }
            *skipped = skipped.saturating_add(1);
            below = Some(point);
        }
        Ok(None)
    }

    /// Checks that the run record (the saved state of a run) is consistent and contains the states of these handlers.
    /// Changes nothing. Returns the states, which can then be restored.
    fn check<'a, T: ?Sized, H: Handler<T, O, X>>(
        &mut self,
        record: &'a RunRecord<[u8]>,
        handlers: &mut H,
    ) -> Result<HandlerStates<'a>, RestoreError> {
        let engine = &record.engine;
        // If the saved run was inside an iteration, the iteration counter includes this iteration, but `offset` does
        // not.
        let started = engine.offset.checked_add((engine.phase == Phase::IterationStarted).into());
        let consistent = started.is_some_and(|started| {
            started <= engine.iteration && (engine.epoch_length == 0 || started <= engine.epoch_length)
        });
        if !consistent {
            return Err(RestoreError::Engine);
        }
        if !record.complete {
            return Err(RestoreError::RecordTooLong { capacity: record.capacity() });
        }
        let mut states = HandlerStates::read(record);
        self.visit_states(handlers, &mut states);
        states.next_pass();
        self.visit_states(handlers, &mut states);
        states.finish()?;
        states.next_pass();
        Ok(states)
    }

    /// Restores the engine and the handlers from `record` and `states`, which `check` has accepted. Returns the kind of
    /// the first handler whose settings differ from those in the record.
    fn apply<T: ?Sized, H: Handler<T, O, X>>(
        &mut self,
        record: &RunRecord<[u8]>,
        handlers: &mut H,
        mut states: HandlerStates<'_>,
    ) -> Option<HandlerKind> {
        let engine = &record.engine;
        let state = &mut self.state;
        state.run = engine.run;
        state.counters = Counters { epoch: engine.epoch, iteration: engine.iteration };
        state.offset = engine.offset;
        state.data_offset = engine.data_offset;
        state.max_epochs = engine.max_epochs.unwrap_or(self.max_epochs);
        state.stop = engine.stop;
        state.clear_events();
        state.output = None;
        (state.fast_until, state.data_length) = (0, u32::MAX);
        state.flags = if engine.stop.is_some() { flag::STOP } else { 0 };
        if engine.stop_epoch {
            state.flags |= flag::STOP_EPOCH;
        }
        let finished = engine.phase == Phase::Completed;
        state.extended = finished && engine.stop.is_none() && engine.epoch < state.max_epochs;
        self.phase = if state.extended { Phase::EpochCompleted } else { engine.phase };
        self.resumed_in_iteration = self.phase == Phase::IterationStarted;
        self.resumed_finished = finished && !state.extended;
        let state = &mut self.state;
        state.epoch_length = engine.epoch_length;
        if self.epoch_length != 0 {
            state.epoch_length = self.epoch_length;
            // If the epoch already has more iterations, it ends after the current one.
            let in_iteration = u32::from(self.phase == Phase::IterationStarted);
            state.offset = state.offset.min(self.epoch_length.saturating_sub(in_iteration));
        }
        self.visit_states(handlers, &mut states);
        self.state.extended = false;
        states.changed()
    }

    #[inline(never)] // One copy of the code for saving, checking and restoring.
    pub(super) fn visit_states<T: ?Sized, H: Handler<T, O, X>>(
        &mut self,
        handlers: &mut H,
        states: &mut HandlerStates<'_>,
    ) {
        handlers.persist(&mut self.state, states);
    }
}
