//! Custom loops. In a custom loop, the program calls the engine before and after each iteration, instead of passing a
//! step function to [`Engine::run`].

use super::{Engine, Phase, RunError, Until, save_error};
use crate::event::Event;
use crate::handler::Handler;
use crate::state::{StopReason, flag};

impl<O, X, const RECORD: usize> Engine<O, X, RECORD> {
    /// Starts the next iteration. Fires all events up to `IterationStarted` and increments the iteration counter.
    /// Returns `Ok(false)` when the run is over. Further calls then return `Ok(false)` as well,
    /// until [`restart`](Self::restart) is called.
    ///
    /// # Errors
    /// * [`RunError::IterationNotEnded`] if [`end_iteration`](Self::end_iteration) was not called for the last
    ///   iteration. Nothing has changed; the iteration can still be ended.
    /// * [`RunError::Start`] if no checkpoint of the model can be saved. No event was fired.
    /// * [`RunError::SaveFailed`] if the run ended because a checkpoint could not be saved.
    #[inline]
    pub fn begin_iteration<T: ?Sized, H: Handler<T, O, X>>(
        &mut self,
        model: &mut T,
        handlers: &mut H,
    ) -> Result<bool, RunError> {
        while self.can_start_iteration() || self.advance_to_iteration(model, handlers)? {
            if self.phase == Phase::IterationStarted {
                // A resumed run repeats this iteration. The iteration counter already includes it.
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

    /// The slow path of `begin_iteration`. Fires the events before the next iteration, such as `EpochStarted`. Returns
    /// `Ok(false)` when the run is over.
    #[inline(never)]
    fn advance_to_iteration<T: ?Sized, H: Handler<T, O, X>>(
        &mut self,
        model: &mut T,
        handlers: &mut H,
    ) -> Result<bool, RunError> {
        let stopping = self.state.flags & (flag::STOP | flag::STOP_EPOCH | flag::INTERRUPT) != 0;
        if self.phase == Phase::IterationStarted && !self.resumed_in_iteration && !stopping {
            return Err(RunError::IterationNotEnded);
        }
        self.prepare_run(model, handlers).map_err(RunError::Start)?;
        self.is_interrupted = false;
        let running = self.advance(model, handlers, Until::NextIteration);
        // A run that was interrupted at `IterationStarted` continues inside that iteration.
        self.resumed_in_iteration |= self.is_interrupted;
        self.resumed_in_iteration &= self.phase == Phase::IterationStarted;
        if running {
            return Ok(true);
        }
        self.finish(model, handlers);
        if self.state.stop == Some(StopReason::SaveFailed) {
            return Err(RunError::SaveFailed(save_error(handlers)));
        }
        Ok(false)
    }

    /// Ends the iteration and stores the output of its step. Fires `IterationCompleted`. After the last iteration of an
    /// epoch or of the run, fires the final events of the epoch or of the run, too. Returns false when the run is over.
    ///
    /// A call without a preceding [`begin_iteration`](Self::begin_iteration) discards the output.
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
        let is_over = self.phase.is_final();
        if is_over {
            self.finish(model, handlers);
        }
        !is_over
    }

    /// Sets the number of batches in the data of a custom loop; 0 means unknown, which is the default. A checkpoint contains
    /// the position in the data, which restarts after this number of batches. With this call, a custom loop writes the
    /// checkpoints of [`run`](Self::run), which sets the number itself.
    ///
    /// Call it before the first iteration, and again after [`restart`](Self::restart).
    pub const fn set_data_length(&mut self, batches: u32) {
        self.state.data_length = if batches == 0 { u32::MAX } else { batches };
        self.state.fast_until = 0;
    }

    /// Ends the current epoch, because the data has ended. Custom loops over data of unknown length call this method.
    /// The number of completed iterations becomes the length of all further epochs.
    pub fn end_data<T: ?Sized, H: Handler<T, O, X>>(&mut self, model: &mut T, handlers: &mut H) {
        if self.phase.is_between_iterations() && self.state.offset > 0 {
            self.state.epoch_length = self.state.offset;
            self.state.fast_until = 0;
            self.finish_epoch(model, handlers);
        }
    }

    /// Fires the final events of the epoch and of the run, if their last iteration is complete. Does not start another
    /// epoch.
    #[inline(always)]
    fn finish_epoch<T: ?Sized, H: Handler<T, O, X>>(&mut self, model: &mut T, handlers: &mut H) {
        if !self.can_start_iteration() {
            self.advance(model, handlers, Until::EpochBoundary);
        }
    }
}
