//! The methods [`Engine::run`] and [`Engine::try_run`], which iterate over batches.

use super::{Batches, Engine, Phase, Position, Until, save_error};
use crate::checkpoint::EncodeError;
use crate::event::Event;
use crate::handler::Handler;
use crate::state::{Outcome, State, StopReason};
use core::convert::Infallible;
use core::fmt;
use embedded_io::ErrorKind;

/// The events that a resumed run does not fire again in its first iteration. A variant stands for the named event and
/// all earlier ones. The variants are in the order in which the events fire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
enum BatchEvents {
    None,
    GetBatchStarted,
    GetBatchCompleted,
    IterationStarted,
}

impl<O, X, const RECORD: usize> Engine<O, X, RECORD> {
    /// Calls `step` for each batch of `data` until all epochs are complete or the run is terminated. `step` receives
    /// the model, the batch and the state of the run. It returns its output, for example the loss.
    ///
    /// A [resumed](Self::resume) run continues at its checkpoint. If that run was finished, this method fires no event and
    /// returns the outcome of the finished run. An engine that finished a run in this program starts a new run.
    ///
    /// # Errors
    /// Returns the errors of [`try_run`](Self::try_run), except [`RunError::Step`].
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

    /// Does the same as [`run`](Self::run), with a step function that can fail.
    ///
    /// # Errors
    /// * [`RunError::Step`]: the error of the step function. `ExceptionRaised` was the last event.
    /// * [`RunError::NoData`]: the data has no batch. If the data knows its length, no event was fired.
    /// * [`RunError::DataExhausted`]: data of unknown length ended before the run.
    /// * [`RunError::Start`]: a checkpoint of the model cannot be saved, for example because it is too long for the store.
    ///   No event was fired.
    /// * [`RunError::SaveFailed`]: a checkpoint could not be saved, and its handler's error policy is to stop. The run
    ///   ended with `Terminate` and `Completed`.
    pub fn try_run<T, D, H, F, E>(
        &mut self,
        model: &mut T,
        data: D,
        handlers: &mut H,
        step: F,
    ) -> Result<Outcome, RunError<E>>
    where
        T: ?Sized,
        D: Batches,
        H: Handler<T, O, X>,
        F: FnMut(&mut T, D::Batch, &mut State<O, X>) -> Result<O, E>,
    {
        if self.resumed_finished {
            self.finish(model, handlers);
            return self.result(handlers);
        }
        if data.is_empty() {
            return Err(RunError::NoData);
        }
        self.restart();
        self.prepare_run(model, handlers).map_err(RunError::Start)?;
        self.is_interrupted = false;
        let ended = self.run_to_end(model, data, handlers, step);
        self.finish(model, handlers);
        ended?;
        self.result(handlers)
    }

    /// Runs until the last event. Returns an error if the step function failed or the data ended too early.
    #[inline(always)]
    fn run_to_end<T, D, H, F, E>(
        &mut self,
        model: &mut T,
        mut data: D,
        handlers: &mut H,
        mut step: F,
    ) -> Result<(), RunError<E>>
    where
        T: ?Sized,
        D: Batches,
        H: Handler<T, O, X>,
        F: FnMut(&mut T, D::Batch, &mut State<O, X>) -> Result<O, E>,
    {
        if self.state.epoch_length == 0 {
            self.state.epoch_length = data.len().unwrap_or(0);
        }
        self.state.data_length = data.len().unwrap_or(u32::MAX);
        'run: while self.advance(model, handlers, Until::NextIteration) {
            // Events that fired before the interruption do not fire again in a resumed run. Only the batch is fetched
            // again.
            let mut already_fired = match self.phase {
                Phase::GetBatchStarted => BatchEvents::GetBatchStarted,
                Phase::GetBatchCompleted => BatchEvents::GetBatchCompleted,
                Phase::IterationStarted => BatchEvents::IterationStarted,
                _ => BatchEvents::None,
            };
            // The index of the resumed iteration in its epoch. `u32::MAX` means that no iteration is resumed.
            let mut resumed_offset = u32::MAX;
            if already_fired == BatchEvents::IterationStarted {
                resumed_offset = self.state.offset;
                // The iteration counter already includes the resumed iteration, and the loop below counts this
                // iteration again. Therefore, 1 is subtracted here.
                self.state.counters.iteration = self.state.counters.iteration.saturating_sub(1);
            }
            // The fast path: one comparison per iteration is enough while no handler makes a request. `phase` is only
            // written when the loop ends.
            loop {
                if already_fired < BatchEvents::GetBatchStarted
                    && !self.dispatch_fast(Event::GetBatchStarted, Phase::GetBatchStarted, model, handlers)
                {
                    continue 'run;
                }
                let Some(batch) = self.fetch(&mut data) else {
                    if self.try_end_epoch(resumed_offset == self.state.offset) {
                        continue 'run;
                    }
                    return Err(self.exhausted());
                };
                if already_fired < BatchEvents::GetBatchCompleted
                    && !self.dispatch_fast(Event::GetBatchCompleted, Phase::GetBatchCompleted, model, handlers)
                {
                    continue 'run;
                }
                self.count_iteration();
                if already_fired < BatchEvents::IterationStarted
                    && !self.dispatch_fast(Event::IterationStarted, Phase::IterationStarted, model, handlers)
                {
                    continue 'run;
                }
                already_fired = BatchEvents::None;
                match step(model, batch, &mut self.state) {
                    Ok(output) => {
                        // The step has already run, so a request that it made takes effect after `IterationCompleted`.
                        if !self.finish_iteration(output, model, handlers) {
                            self.phase = Phase::BetweenIterations;
                            self.run_deferred_actions(model, handlers);
                            continue 'run;
                        }
                    }
                    Err(error) => {
                        self.state.stop = Some(StopReason::StepFailed);
                        self.phase = Phase::ExceptionRaised;
                        self.dispatch(Event::ExceptionRaised, model, handlers);
                        return Err(RunError::Step(error));
                    }
                }
            }
        }
        Ok(())
    }

    /// Returns the outcome of a finished run, or an error if the run ended because a save failed.
    fn result<T: ?Sized, H: Handler<T, O, X>, E>(&self, handlers: &H) -> Result<Outcome, RunError<E>> {
        match self.current_outcome() {
            Outcome { reason: StopReason::SaveFailed, .. } => Err(RunError::SaveFailed(save_error(handlers))),
            outcome => Ok(outcome),
        }
    }

    /// Lets the handlers end the run. An interrupted run has not ended, and the end of an evaluation is not the end of the
    /// training run.
    #[inline(always)]
    pub(super) fn finish<T: ?Sized, H: Handler<T, O, X>>(&self, model: &mut T, handlers: &mut H) {
        if self.state.deferred.is_none() && !self.is_interrupted {
            handlers.finish(model);
        }
    }

    #[inline(always)]
    fn fetch<D: Batches>(&mut self, data: &mut D) -> Option<D::Batch> {
        match data.get(self.position()) {
            None => self.fetch_from_start(data),
            batch => batch,
        }
    }

    /// Restarts the data and fetches its first batch. Returns `None` if the length of the epoch is unknown, because the
    /// epoch then ends with the data.
    #[cold]
    #[inline(never)]
    fn fetch_from_start<D: Batches>(&mut self, data: &mut D) -> Option<D::Batch> {
        if self.state.epoch_length == 0 {
            return None;
        }
        self.state.data_offset = 0;
        data.get(self.position())
    }

    fn position(&self) -> Position {
        Position { epoch: self.state.counters.epoch, offset: self.state.offset, data_offset: self.state.data_offset }
    }

    /// Tries to end the epoch after the data has ended. This is possible only if the length of the epoch was unknown.
    /// Otherwise returns false, and the run must end. `resumed` is true if the missing batch belongs to a resumed
    /// iteration.
    #[cold]
    fn try_end_epoch(&mut self, resumed: bool) -> bool {
        if resumed {
            self.count_iteration();
        } else {
            self.phase = Phase::GetBatchStarted;
        }
        let length_known = self.state.epoch_length != 0;
        if !length_known && self.state.offset > 0 {
            self.state.epoch_length = self.state.offset;
            return true;
        }
        false
    }

    #[cold]
    fn exhausted<E>(&mut self) -> RunError<E> {
        let error = if self.state.counters.iteration == 0 { RunError::NoData } else { self.data_exhausted() };
        self.phase = Phase::Completed;
        error
    }

    fn data_exhausted<E>(&self) -> RunError<E> {
        RunError::DataExhausted { epoch: self.state.counters.epoch, iteration: self.state.counters.iteration }
    }
}

/// The reason why a run failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum RunError<E = Infallible> {
    /// The step function returned this error.
    Step(E),
    /// The data has no batch.
    NoData,
    /// The data ended before the run was complete, and it cannot be restarted.
    DataExhausted {
        /// The epoch in which the data ended.
        epoch: u32,
        /// The last iteration that was completed.
        iteration: u32,
    },
    /// The run did not start, because no checkpoint of the model can be saved.
    Start(EncodeError<ErrorKind>),
    /// A checkpoint could not be saved. The checkpoint handler's method `last_error` returns the same error with the
    /// original error of the store.
    SaveFailed(EncodeError<ErrorKind>),
    /// A custom loop called `begin_iteration` twice without a call of `end_iteration` in between.
    IterationNotEnded,
}

impl<E: fmt::Display> fmt::Display for RunError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Step(error) => write!(f, "the step function failed: {error}"),
            RunError::NoData => f.write_str("the data contains no batch"),
            RunError::DataExhausted { epoch, iteration } => {
                write!(f, "the data ended in epoch {epoch} after iteration {iteration}, before the run was complete")
            }
            RunError::Start(error) => write!(f, "the run did not start: {error}"),
            RunError::SaveFailed(error) => write!(f, "a checkpoint could not be saved: {error}"),
            RunError::IterationNotEnded => {
                f.write_str("`begin_iteration` was called before `end_iteration` of the previous iteration")
            }
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for RunError<E> {
    /// The message includes that of the cause, so the source is the cause of the cause.
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            RunError::Step(error) => error.source(),
            _ => None,
        }
    }
}
