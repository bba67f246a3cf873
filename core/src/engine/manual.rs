//! Custom loops: the program calls the engine around each iteration instead of passing a step function to
//! [`Engine::run`].

use super::{Engine, Phase, RunError, Until};
use crate::event::Event;
use crate::handler::Handler;
use crate::state::{StopReason, flag};

impl<O, X> Engine<O, X> {
    /// Starts the next iteration: fires the events that precede it, counts it, and fires `IterationStarted`. Returns
    /// `Ok(false)` when the run is over, and again at every further call until [`restart`](Self::restart).
    ///
    /// # Errors
    /// * [`RunError::IterationNotEnded`] if [`end_iteration`](Self::end_iteration) was not called for the last iteration.
    ///   Nothing has changed; the iteration can still be ended.
    /// * [`RunError::SaveFailed`] if the run ended because a checkpoint could not be saved. The handler's `last_error`
    ///   returns the cause.
    #[inline]
    pub fn begin_iteration<T: ?Sized, H: Handler<T, O, X>>(
        &mut self,
        model: &mut T,
        handlers: &mut H,
    ) -> Result<bool, RunError> {
        while self.can_start_iteration() || self.advance_to_iteration(model, handlers)? {
            if self.phase == Phase::IterationStarted {
                // The run resumed inside this iteration, which is already counted.
                self.resumed_in_iteration = false;
                return Ok(true);
            }
            self.count_iteration();
            self.phase = Phase::IterationStarted;
            if self.dispatch_fast(Event::IterationStarted, Phase::IterationStarted, model, handlers) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Slow path of `begin_iteration`: fires the events that precede the next iteration.
    #[inline(never)]
    fn advance_to_iteration<T: ?Sized, H: Handler<T, O, X>>(
        &mut self,
        model: &mut T,
        handlers: &mut H,
    ) -> Result<bool, RunError> {
        let stopping = self.state.flags & (flag::STOP | flag::STOP_EPOCH) != 0;
        if self.phase == Phase::IterationStarted && !self.resumed_in_iteration && !stopping {
            return Err(RunError::IterationNotEnded);
        }
        let running = self.advance(model, handlers, Until::NextIteration);
        if !running && self.state.stop == Some(StopReason::SaveFailed) {
            return Err(RunError::SaveFailed);
        }
        Ok(running)
    }

    /// Ends the iteration with the output of the step, and fires the events that follow: `IterationCompleted`, and the
    /// end of the epoch or of the run if it is reached. Returns false when the run is over.
    ///
    /// Without a preceding [`begin_iteration`](Self::begin_iteration) the output is discarded.
    #[inline]
    pub fn end_iteration<T: ?Sized, H: Handler<T, O, X>>(
        &mut self,
        output: O,
        model: &mut T,
        handlers: &mut H,
    ) -> bool {
        if self.phase == Phase::IterationStarted {
            self.phase = Phase::BetweenIterations;
            if self.finish_iteration(output, model, handlers) {
                return true;
            }
            self.run_deferred_actions(model, handlers);
        }
        self.finish_epoch(model, handlers);
        !self.phase.is_final()
    }

    /// Ends the current epoch of a custom loop over data of unknown length. The epoch length is known from then on.
    pub fn end_data<T: ?Sized, H: Handler<T, O, X>>(&mut self, model: &mut T, handlers: &mut H) {
        if self.phase.is_between_iterations() && self.state.offset > 0 {
            self.state.epoch_length = self.state.offset;
            self.state.fast_until = 0;
            self.finish_epoch(model, handlers);
        }
    }

    /// Ends the epoch and the run if they are over. Does not start another epoch.
    #[inline(always)]
    fn finish_epoch<T: ?Sized, H: Handler<T, O, X>>(&mut self, model: &mut T, handlers: &mut H) {
        if !self.can_start_iteration() {
            self.advance(model, handlers, Until::EpochBoundary);
        }
    }
}
