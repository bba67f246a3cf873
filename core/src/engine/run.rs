//! `run` over batches.

use super::{After, Batches, Engine, Position};
use crate::event::Event;
use crate::handler::Handler;
use crate::state::{State, StopReason, flag};
use core::convert::Infallible;
use core::fmt;

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Outcome {
    /// Why.
    pub reason: StopReason,
    /// The last epoch.
    pub epoch: u32,
    /// The last iteration.
    pub iteration: u32,
}

impl<O, X> Engine<O, X> {
    /// Runs `step` over `data` until the epochs are done or something ends the run. `step` is given the model, the
    /// batch and the state, and returns the output.
    ///
    /// A run that was [resumed](Self::resume) goes on where its checkpoint was taken. A finished engine starts again.
    ///
    /// # Errors
    /// As [`try_run`](Self::try_run), but for the step's.
    pub fn run<T, D, H, F>(
        &mut self,
        model: &mut T,
        data: D,
        handlers: &mut H,
        mut step: F,
    ) -> Result<Outcome, RunError>
    where
        T: ?Sized,
        D: Batches,
        H: Handler<T, O, X>,
        F: FnMut(&mut T, D::Batch, &mut State<O, X>) -> O,
    {
        self.try_run(model, data, handlers, |model, batch, state| Ok(step(model, batch, state)))
    }

    /// As [`run`](Self::run), with a step that can fail.
    ///
    /// # Errors
    /// * [`RunError::Step`]: the step's own error. `ExceptionRaised` has fired; nothing else fires after it.
    /// * [`RunError::NoData`]: there is nothing to train on. Nothing has been fired or changed, unless the data does not
    ///   know its length and showed only when it was asked.
    /// * [`RunError::DataExhausted`]: data of unknown length ended before the run did.
    /// * [`RunError::SaveFailed`]: a checkpoint could not be saved and its handler is set to stop then. The run ended in
    ///   order; the handler keeps the cause.
    pub fn try_run<T, D, H, F, E>(
        &mut self,
        model: &mut T,
        mut data: D,
        handlers: &mut H,
        mut step: F,
    ) -> Result<Outcome, RunError<E>>
    where
        T: ?Sized,
        D: Batches,
        H: Handler<T, O, X>,
        F: FnMut(&mut T, D::Batch, &mut State<O, X>) -> Result<O, E>,
    {
        if data.is_empty() {
            return Err(RunError::NoData);
        }
        self.restart();
        if self.state.epoch_length == 0 {
            self.state.epoch_length = data.len().unwrap_or(0);
        }
        self.state.data_length = data.len().unwrap_or(u32::MAX);
        'run: while self.advance(model, handlers, false) {
            // A run that goes on after one of these three has fired it already; only the batch has to be fetched again.
            let mut begun = match self.after {
                After::GetBatchStarted => 1,
                After::GetBatchCompleted => 2,
                After::IterationStarted => 3,
                _ => 0u8,
            };
            // The offset of an iteration that has been started: none has the greatest.
            let mut started = u32::MAX;
            if begun == 3 {
                started = self.state.offset;
                // It is counted again below, as every iteration is.
                self.state.counters.iteration = self.state.counters.iteration.saturating_sub(1);
            }
            // What stays inside this loop has nothing to ask but whether something was asked for. Where the engine stands
            // is written down on the way out of it.
            loop {
                if begun < 1 && !self.tell(Event::GetBatchStarted, After::GetBatchStarted, model, handlers) {
                    continue 'run;
                }
                let Some(batch) = self.fetch(&mut data) else {
                    if self.data_ended(started == self.state.offset) {
                        continue 'run;
                    }
                    return Err(self.exhausted());
                };
                if begun < 2 && !self.tell(Event::GetBatchCompleted, After::GetBatchCompleted, model, handlers) {
                    continue 'run;
                }
                self.count_iteration();
                if begun < 3 && !self.tell(Event::IterationStarted, After::IterationStarted, model, handlers) {
                    continue 'run;
                }
                begun = 0;
                match step(model, batch, &mut self.state) {
                    Ok(output) => {
                        // A request from inside the step waits for `IterationCompleted`: the step has been done.
                        if !self.finish_iteration(output, model, handlers) {
                            self.after = After::Iteration;
                            self.attend(model, handlers);
                            continue 'run;
                        }
                    }
                    Err(error) => {
                        self.state.stop = Some(StopReason::StepFailed);
                        self.after = After::ExceptionRaised;
                        self.emit(Event::ExceptionRaised, model, handlers);
                        return Err(RunError::Step(error));
                    }
                }
            }
        }
        match self.outcome_now() {
            Outcome { reason: StopReason::SaveFailed, .. } => Err(RunError::SaveFailed),
            outcome => Ok(outcome),
        }
    }

    #[inline(always)]
    fn fetch<D: Batches>(&mut self, data: &mut D) -> Option<D::Batch> {
        match data.get(self.position()) {
            None => self.fetch_again(data),
            batch => batch,
        }
    }

    /// The data is shorter than it said. It begins again, unless that ends the epoch.
    #[cold]
    #[inline(never)]
    fn fetch_again<D: Batches>(&mut self, data: &mut D) -> Option<D::Batch> {
        if self.state.epoch_length == 0 {
            return None;
        }
        self.state.position = 0;
        data.get(self.position())
    }

    fn position(&self) -> Position {
        Position { epoch: self.state.counters.epoch, offset: self.state.offset, drawn: self.state.position }
    }

    /// The data has ended, for an iteration that had been `started` or for a new one. True when that only ends the epoch,
    /// whose length is known from now on.
    #[cold]
    fn data_ended(&mut self, started: bool) -> bool {
        if started {
            self.count_iteration();
        } else {
            self.after = After::GetBatchStarted;
        }
        let known = self.state.epoch_length != 0;
        if !known && self.state.offset > 0 {
            self.state.epoch_length = self.state.offset;
            return true;
        }
        false
    }

    #[cold]
    fn exhausted<E>(&mut self) -> RunError<E> {
        let error = if self.state.counters.iteration == 0 { RunError::NoData } else { self.data_exhausted() };
        self.after = After::Completed;
        self.state.flags &= !(flag::STOP | flag::STOP_EPOCH);
        error
    }

    fn data_exhausted<E>(&self) -> RunError<E> {
        RunError::DataExhausted { epoch: self.state.counters.epoch, iteration: self.state.counters.iteration }
    }
}

/// Why [`Engine::run`] did not come to an end of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum RunError<E = Infallible> {
    /// The step function's error.
    Step(E),
    /// There is no batch at all.
    NoData,
    /// The data ended for good before the run did.
    DataExhausted {
        /// The epoch for which there was none.
        epoch: u32,
        /// The last iteration done.
        iteration: u32,
    },
    /// A checkpoint could not be saved; the handler's `last_error` has the cause.
    SaveFailed,
}

impl<E: fmt::Display> fmt::Display for RunError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Step(error) => write!(f, "the step function failed: {error}"),
            RunError::NoData => f.write_str("there are no batches"),
            RunError::DataExhausted { epoch, iteration } => {
                write!(f, "the data ended in epoch {epoch} after iteration {iteration}")
            }
            RunError::SaveFailed => f.write_str("a checkpoint could not be saved"),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for RunError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            RunError::Step(error) => Some(error),
            _ => None,
        }
    }
}
