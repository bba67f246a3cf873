//! The [`Handler`] implementation of [`CheckpointHandler`]. It decides at the selected events, and saves after all
//! handlers have seen the event. It also finds and loads the checkpoint from which a run resumes.

use super::recovery::{PriorWrite, newest_where, point_of};
use super::streams::{ReadPass, read};
use super::{CheckpointEvent, CheckpointHandler, CheckpointObserver, GetScore, OnError, SaveDecision};
use crate::checkpoint::{EncodeError, Objects};
use crate::event::{Event, EventFilter};
use crate::handler::{Handler, StartCheck};
use crate::hash::fold;
use crate::run_record::{
    HandlerKind, HandlerStates, Persist, RestoreError, ResumePoint, RunRecord, StateCodec, StateDecoder, StateEncoder,
};
use crate::state::{State, StopReason};
use crate::store::{CheckpointMeta, Store, Wear};
use embedded_io::ErrorKind;

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
        // A run that ends because a save failed saves no final checkpoint: that checkpoint would be of a finished run. The
        // next start resumes from the last good checkpoint instead, and tries again.
        if !self.filter.matches(event, state.counters()) || state.stop_reason() == Some(StopReason::SaveFailed) {
            return;
        }
        let score = self.policy.score_function.score(state);
        let mut decision = self.policy.update_at(state.counters(), score);
        if S::SHARED && decision.is_none() && self.reconcile(None) {
            // A checkpoint with a better score has disappeared, so this one may be saved after all.
            decision = self.policy.decide(state.counters(), score);
        }
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
            if states.settings_changed() {
                // The pending save was decided by another rule. The step numbers continue after those of its series.
                self.pending = None;
                if let Ok(last_step) = self.last_step() {
                    self.policy.continue_after(last_step);
                }
            }
            self.prior_write = self.find_prior_write(self.pending, run.run(), run.iteration());
        }
    }

    fn check_start(&mut self, model: &mut T, start: &mut StartCheck) {
        let listed = newest_where(&mut self.store, &mut |meta| {
            start.add_checkpoint(meta.run, meta.sequence);
            false
        });
        if u32::from(self.policy.places()) < self.policy.n_saved() {
            self.report_places();
        }
        let checked = start.check_record().map_err(EncodeError::RunRecordFull);
        let checked = checked.and_then(|()| listed.map(|_| ()).map_err(EncodeError::Io));
        self.last_error = checked.and_then(|()| self.check_save(start.max_record_len(), model)).err();
        if self.last_error.is_some() {
            start.refuse();
        }
    }

    fn perform(&mut self, model: &mut T, state: &mut State<O, X>, record: &RunRecord<[u8]>) -> bool {
        let Some(decision) = self.take_decision(state) else { return false };
        let saved = self.save_with_retries(decision, state.iteration(), record, model);
        state.sequence = self.sequence.max(state.sequence);
        if !saved && self.policy.settings.on_error == OnError::Stop {
            state.terminate(StopReason::SaveFailed);
        }
        saved
    }

    fn save_error(&self) -> Option<EncodeError<ErrorKind>> {
        let error = self.last_error.as_ref()?;
        Some(error.with_io(error.io().map(embedded_io::Error::kind)))
    }

    fn newest_checkpoint(&mut self, below: Option<ResumePoint>) -> Result<Option<ResumePoint>, RestoreError> {
        match self.newest_before(below) {
            Ok(newest) => Ok(newest.as_ref().map(point_of)),
            Err(error) => {
                self.observer.on_checkpoint_event(&CheckpointEvent::ListFailed { error: &error });
                Err(RestoreError::ListFailed)
            }
        }
    }

    fn damaged_checkpoints(&mut self) -> u32 {
        self.store.damaged()
    }

    fn wear(&mut self) -> Wear {
        self.store.wear()
    }

    fn verify_checkpoint(
        &mut self,
        point: ResumePoint,
        model: &mut T,
        record: &mut RunRecord<[u8]>,
    ) -> Result<bool, RestoreError> {
        self.verified = false;
        let found = self.find_point(point)?;
        let Some(CheckpointMeta { step, sequence, series, .. }) = found else { return Ok(false) };
        match read(&mut self.store, sequence, model, ReadPass::Verify(Some(record))) {
            Ok(info) => {
                if !info.has_run {
                    self.observer.on_checkpoint_event(&CheckpointEvent::NoRunRecord { step });
                }
                self.verified = info.has_run;
                Ok(info.has_run)
            }
            Err(error) => {
                self.observer.on_checkpoint_event(&CheckpointEvent::LoadFailed { step, error: &error });
                if error.is_damage() && series == self.series {
                    self.policy.forget(step);
                }
                Ok(false)
            }
        }
    }

    #[inline(always)] // The engine calls it once, next to `verify_checkpoint`, so both share their stack.
    fn load_checkpoint(&mut self, point: ResumePoint, model: &mut T) -> Result<bool, RestoreError> {
        // Another handler may have accepted the checkpoint of this point in its own store.
        let found = if self.verified { self.find_point(point)? } else { None };
        let Some(CheckpointMeta { sequence, .. }) = found else { return Ok(false) };
        let loaded = read(&mut self.store, sequence, model, ReadPass::Load).is_ok();
        if loaded {
            // The run continues from this checkpoint, so the minimum interval to the next save starts at its iteration.
            // The store may also contain checkpoints of later iterations.
            self.last_saved = Some(point.iteration);
        }
        Ok(loaded)
    }
}

impl<const N: usize, W, S: Store, F, B: CheckpointObserver<S::Error>> CheckpointHandler<N, W, S, F, B> {
    /// Takes the pending save, and prepares its sequence number. Returns `None` if there is nothing to save.
    pub(super) fn take_decision<O, X>(&mut self, state: &State<O, X>) -> Option<SaveDecision> {
        let decision = self.pending.take()?;
        match core::mem::replace(&mut self.prior_write, PriorWrite::None) {
            // After a restart, the ranking is rebuilt from the store. It can contain better checkpoints than at the time
            // of the decision, for example of another run.
            PriorWrite::None if !self.policy.still_accepts(decision) => return None,
            // The sequence numbers of all handlers together are in the order of the saves.
            PriorWrite::None => self.sequence = self.sequence.max(state.sequence),
            // The method `write` adds 1 to the sequence number. Therefore, 1 is subtracted here, so that the repeated
            // save has the sequence number of its interrupted first attempt.
            PriorWrite::NotDurable => self.sequence = self.sequence.saturating_sub(1),
            PriorWrite::Durable => return None,
        }
        Some(decision)
    }

    /// Returns how often a failed save is repeated.
    pub(super) const fn max_retries(&self) -> u8 {
        match self.policy.settings.on_error {
            OnError::Retry(retries) => retries,
            _ => 0,
        }
    }

    /// Returns the stored checkpoint that was saved at `point`. Reports a failure of the store.
    fn find_point(&mut self, point: ResumePoint) -> Result<Option<CheckpointMeta>, RestoreError> {
        self.at_point(point).map_err(|error| {
            self.observer.on_checkpoint_event(&CheckpointEvent::ListFailed { error: &error });
            RestoreError::ListFailed
        })
    }

    /// Saves a checkpoint, and repeats a failed save as often as the error policy allows. Returns true if the
    /// checkpoint was committed.
    pub(super) fn save_with_retries<T: Objects + ?Sized>(
        &mut self,
        decision: SaveDecision,
        iteration: u32,
        record: &RunRecord<[u8]>,
        objects: &mut T,
    ) -> bool {
        let mut retries = self.max_retries();
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
    const MAX_LEN: usize = 16;
    fn tag(&self) -> u16 {
        fold(self.series.rule) ^ self.policy.settings.step_source as u16
    }
    fn save(&mut self) -> CheckpointHandlerState {
        CheckpointHandlerState { calls: self.policy.calls(), pending: self.pending }
    }
    fn restore(&mut self, state: CheckpointHandlerState) {
        // The step numbers continue after those in the store, which can be of a newer run or of another series.
        self.policy.set_calls(state.calls);
        self.pending = state.pending;
    }
}
