//! The [`Handler`] implementation of [`CheckpointHandler`]. It decides at the selected events, and saves after all
//! handlers have seen the event. It also finds and loads the checkpoint from which a run resumes.

use super::recovery::PriorWrite;
use super::streams::{ReadPass, read};
use super::{CheckpointEvent, CheckpointHandler, CheckpointObserver, GetScore, OnError, SaveDecision};
use crate::checkpoint::Objects;
use crate::event::{Event, EventFilter};
use crate::handler::Handler;
use crate::run_record::{HandlerKind, HandlerStates, Persist, RunRecord, StateCodec, StateDecoder, StateEncoder};
use crate::state::{State, StopReason};
use crate::store::{CheckpointMeta, Store};

impl<T, O, X, const N: usize, W, S, F, B> Handler<T, O, X> for CheckpointHandler<N, W, S, F, B>
where
    T: Objects + ?Sized,
    W: EventFilter,
    S: Store,
    F: GetScore<O, X>,
    B: CheckpointObserver<S::Error>,
{
    #[inline(always)]
    fn on_event(&mut self, event: Event, _: &mut T, state: &mut State<O, X>) {
        if !self.filter.matches(event, state.counters()) {
            return;
        }
        let score = self.policy.score_function.score(state);
        let decision = self.policy.update_at(state.counters(), score);
        let interval_elapsed = |last: u32| state.iteration().wrapping_sub(last) >= self.min_interval;
        if let Some(decision) = decision.filter(|_| self.last_saved.is_none_or(interval_elapsed)) {
            self.pending = Some(decision);
            // The decision is new, so no part of this checkpoint is stored yet. A stored checkpoint with the same step
            // number is from another run or from before a restart.
            self.prior_write = PriorWrite::None;
            state.request_action();
        }
    }

    fn persist(&mut self, run: &mut State<O, X>, states: &mut HandlerStates<'_>) {
        // `visit` returns true if it has restored the handler from a run record (the saved state of the engine and the
        // handlers).
        if states.visit(self) {
            self.prior_write = self.find_prior_write(self.pending, run.iteration());
            // Removes the checkpoints whose removal the power failure interrupted. The run may end before another save
            // removes them.
            self.evict_unranked();
        }
    }

    fn perform(&mut self, model: &mut T, state: &mut State<O, X>, record: &RunRecord) -> bool {
        let Some(decision) = self.pending.take() else { return false };
        match core::mem::replace(&mut self.prior_write, PriorWrite::None) {
            PriorWrite::None => (),
            // The method `write` adds 1 to the sequence number. Therefore, 1 is subtracted here, so that the repeated
            // save has the sequence number of its interrupted first attempt.
            PriorWrite::NotDurable => self.sequence = self.sequence.wrapping_sub(1),
            PriorWrite::Durable => return false,
        }
        let saved = self.save_with_retries(decision, state.iteration(), record, model);
        if !saved && self.policy.settings.on_error == OnError::Stop {
            state.terminate(StopReason::SaveFailed);
        }
        saved
    }

    fn newest_checkpoint(&mut self, below: Option<u32>) -> Option<u32> {
        self.newest_before(below).map(|meta| meta.iteration)
    }

    fn verify_checkpoint(&mut self, iteration: u32, model: &mut T, record: &mut RunRecord) -> bool {
        let Some(CheckpointMeta { step, .. }) = self.at_iteration(iteration) else { return false };
        match read(&mut self.store, step, model, ReadPass::Verify(Some(record))) {
            Ok(info) => info.has_run,
            Err(error) => {
                self.observer.on_checkpoint_event(&CheckpointEvent::LoadFailed { step, error: &error });
                false
            }
        }
    }

    fn load_checkpoint(&mut self, iteration: u32, model: &mut T) -> bool {
        let meta = self.at_iteration(iteration);
        let loaded = meta.is_some_and(|meta| read(&mut self.store, meta.step, model, ReadPass::Load).is_ok());
        if loaded {
            // The run continues from this checkpoint, so the minimum interval to the next save starts at its iteration.
            // The store may also contain checkpoints of later iterations.
            self.last_saved = Some(iteration);
        }
        loaded
    }
}

impl<const N: usize, W, S: Store, F, B: CheckpointObserver<S::Error>> CheckpointHandler<N, W, S, F, B> {
    /// Saves a checkpoint, and repeats a failed save as often as the error policy allows. Returns true if the
    /// checkpoint was committed.
    fn save_with_retries<T: Objects + ?Sized>(
        &mut self,
        decision: SaveDecision,
        iteration: u32,
        record: &RunRecord,
        objects: &mut T,
    ) -> bool {
        let mut retries = match self.policy.settings.on_error {
            OnError::Retry(retries) => retries,
            _ => 0,
        };
        loop {
            match self.save(decision, iteration, Some(record), objects) {
                Ok(()) => {
                    self.last_error = None;
                    return true;
                }
                Err(error) => {
                    let event = CheckpointEvent::SaveFailed { decision, error: &error, retrying: retries > 0 };
                    self.observer.on_checkpoint_event(&event);
                    self.last_error = Some(error);
                }
            }
            match retries.checked_sub(1) {
                Some(left) => retries = left,
                None => return false,
            }
        }
    }
}

/// The state of a [`CheckpointHandler`] in a checkpoint: the number of calls and the pending save. The ranking is not
/// included, because the handler rebuilds it from the store. The checkpoint format fixes the encoding of these fields.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct CheckpointHandlerState {
    calls: u32,
    pending: Option<SaveDecision>,
}

impl StateCodec for CheckpointHandlerState {
    fn encode(&self, encoder: &mut StateEncoder<'_>) {
        encoder.write_u32(self.calls);
        encoder.write_bool(self.pending.is_some());
        if let Some(decision) = self.pending {
            encoder.write_u32(decision.step);
            encoder.write_opt_f32(decision.score);
        }
    }
    fn decode(decoder: &mut StateDecoder<'_>) -> Option<Self> {
        let calls = decoder.read_u32()?;
        let pending = if decoder.read_bool()? {
            Some(SaveDecision { step: decoder.read_u32()?, score: decoder.read_opt_f32()? })
        } else {
            None
        };
        Some(CheckpointHandlerState { calls, pending })
    }
}

impl<const N: usize, W, S: Store, F, B> Persist for CheckpointHandler<N, W, S, F, B> {
    const KIND: HandlerKind = HandlerKind::MODEL_CHECKPOINT;
    type State = CheckpointHandlerState;
    fn save(&mut self) -> CheckpointHandlerState {
        CheckpointHandlerState { calls: self.policy.calls(), pending: self.pending }
    }
    fn restore(&mut self, state: CheckpointHandlerState) {
        self.policy.set_calls(state.calls);
        self.pending = state.pending;
    }
}
