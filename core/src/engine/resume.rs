//! Going on where a run stopped.

use super::{After, Engine};
use crate::event::Counters;
use crate::handler::Handler;
use crate::record::{Record, RecordFull, RecordReader, RestoreError};
use crate::state::{StopReason, flag};

/// Where an engine stands: Ignite's `Engine.state_dict`, and what it takes to go on in the middle of an epoch. Part of
/// the checkpoint format, in this order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct EngineState {
    /// The event after which it stands.
    pub after: After,
    /// The epoch, from 1; 0 before the first.
    pub epoch: u32,
    /// The iteration, from 1 and over all epochs; 0 before the first.
    pub iteration: u32,
    /// Iterations done in the epoch.
    pub offset: u32,
    /// Batches drawn since the data began or began again.
    pub drawn: u32,
    /// Iterations an epoch; 0 while unknown.
    pub epoch_length: u32,
    /// Set where a handler changed the number of epochs in the run.
    pub max_epochs: Option<u32>,
    /// Set where the run is ending.
    pub stop: Option<StopReason>,
    /// Whether the epoch is to be cut.
    pub stop_epoch: bool,
}

impl EngineState {
    /// Before the first event.
    pub(crate) const NEW: Self = EngineState {
        after: After::Nothing,
        epoch: 0,
        iteration: 0,
        offset: 0,
        drawn: 0,
        epoch_length: 0,
        max_epochs: None,
        stop: None,
        stop_epoch: false,
    };
}

/// A run that goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Resumed {
    /// The epoch it stands in.
    pub epoch: u32,
    /// The iteration after which it goes on.
    pub iteration: u32,
    /// Newer checkpoints that were passed over because they were damaged.
    pub skipped: u32,
}

impl<O, X> Engine<O, X> {
    /// Where the engine stands.
    #[must_use]
    pub fn engine_state(&self) -> EngineState {
        let state = &self.state;
        EngineState {
            after: self.after,
            epoch: state.counters.epoch,
            iteration: state.counters.iteration,
            offset: state.offset,
            drawn: state.position,
            epoch_length: state.epoch_length,
            max_epochs: (state.max_epochs != self.max_epochs).then_some(state.max_epochs),
            stop: state.stop,
            stop_epoch: state.flags & flag::STOP_EPOCH != 0,
        }
    }

    /// Starts a run after `epoch` epochs of `epoch_length` iterations, which is what Ignite's `load_state_dict` does
    /// with an epoch: `Started` fires, then the next epoch begins. Handlers are not touched.
    pub fn start_after_epoch(&mut self, epoch: u32, epoch_length: u32) {
        self.after = After::Nothing;
        self.state.counters = Counters { epoch, iteration: epoch.saturating_mul(epoch_length) };
        self.state.epoch_length = epoch_length;
        self.state.position = 0;
        self.state.data_length = u32::MAX;
    }

    /// The run at this moment: the engine and the state of every handler.
    ///
    /// # Errors
    /// [`RecordFull`] when the states do not fit.
    pub fn record<T: ?Sized, H: Handler<T, O, X>>(&self, handlers: &mut H) -> Result<Record, RecordFull> {
        let mut record = Record::new();
        self.record_now(&mut record, handlers);
        if record.whole { Ok(record) } else { Err(RecordFull) }
    }

    /// Puts engine and handlers where `record` says. The next `run` or `begin_iteration` goes on from there; `Started`
    /// and `EpochStarted` are not fired again, since for the handlers nothing has happened in between.
    ///
    /// A run that had done all its epochs goes on if this engine has more of them.
    ///
    /// # Errors
    /// [`RestoreError`] when the record is not of these handlers; nothing has changed then.
    pub fn restore<T: ?Sized, H: Handler<T, O, X>>(
        &mut self,
        record: &Record,
        handlers: &mut H,
    ) -> Result<(), RestoreError> {
        self.check(record, handlers)?;
        self.apply(record, handlers);
        Ok(())
    }

    /// Goes on from the newest checkpoint that any of the handlers' stores has and that is whole: loads it into
    /// `model` and restores engine and handlers. `Ok(None)` when there is none: the run starts at its beginning.
    ///
    /// Checkpoints that were decided but not written when the power went are written now.
    ///
    /// # Errors
    /// [`RestoreError`] when the newest whole checkpoint is of other handlers, or when there are checkpoints and none is
    /// whole and fits the model: the caller decides whether to start over. Nothing has changed then, except for
    /// [`RestoreError::Lost`].
    pub fn resume<T: ?Sized, H: Handler<T, O, X>>(
        &mut self,
        model: &mut T,
        handlers: &mut H,
    ) -> Result<Option<Resumed>, RestoreError> {
        let mut record = Record::new();
        let mut below = None;
        let mut skipped = 0u32;
        while let Some(iteration) = handlers.newest(below) {
            if handlers.verify(iteration, model, &mut record) {
                self.check(&record, handlers)?;
                if !handlers.load(iteration, model) {
                    return Err(RestoreError::Lost { iteration });
                }
                self.apply(&record, handlers);
                self.state.flags |= flag::ACT;
                self.attend(model, handlers);
                return Ok(Some(Resumed { epoch: record.engine.epoch, iteration, skipped }));
            }
            skipped = skipped.saturating_add(1);
            below = Some(iteration);
        }
        if skipped > 0 { Err(RestoreError::NoneFits { skipped }) } else { Ok(None) }
    }

    fn check<T: ?Sized, H: Handler<T, O, X>>(&mut self, record: &Record, handlers: &mut H) -> Result<(), RestoreError> {
        let engine = &record.engine;
        // Iterations of the epoch; one that has been started is counted and not yet done.
        let least = engine.offset.checked_add((engine.after == After::IterationStarted).into());
        let counts = least.is_some_and(|least| {
            least <= engine.iteration && (engine.epoch_length == 0 || least <= engine.epoch_length)
        });
        if !counts || !record.whole {
            return Err(RestoreError::Engine);
        }
        let mut states = RecordReader::new(record, true);
        handlers.restore_state(&mut self.state, &mut states);
        states.finish()
    }

    /// Puts engine and handlers where a record says that was checked.
    fn apply<T: ?Sized, H: Handler<T, O, X>>(&mut self, record: &Record, handlers: &mut H) {
        let engine = &record.engine;
        let state = &mut self.state;
        state.counters = Counters { epoch: engine.epoch, iteration: engine.iteration };
        state.offset = engine.offset;
        state.position = engine.drawn;
        state.epoch_length = engine.epoch_length;
        state.max_epochs = engine.max_epochs.unwrap_or(self.max_epochs);
        state.stop = engine.stop;
        state.clear_events();
        state.output = None;
        (state.limit, state.data_length) = (0, u32::MAX);
        state.flags = if engine.stop.is_some() { flag::STOP } else { 0 };
        if engine.stop_epoch {
            state.flags |= flag::STOP_EPOCH;
        }
        let longer = engine.after == After::Completed && engine.stop.is_none() && engine.epoch < state.max_epochs;
        self.after = if longer { After::EpochCompleted } else { engine.after };
        handlers.restore_state(&mut self.state, &mut RecordReader::new(record, false));
    }
}
