//! Compares the state of a handler with the content of its store. Finds the checkpoint from which a run resumes,
//! removes checkpoints that are not ranked, and completes a save that a power failure interrupted.

use super::{CheckpointEvent, CheckpointHandler, CheckpointObserver, SaveDecision};
use crate::store::{CheckpointMeta, Store};

/// How much of a pending save the store already contains after a restart. A checkpoint contains a run record (the saved
/// state of the engine and the handlers) from before its own save. So each record lists the save of its own checkpoint
/// as pending.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PriorWrite {
    /// The checkpoint of this save is not in the store.
    None,
    /// The checkpoint is complete but not durable, because its commit was interrupted. The handler saves it again.
    /// Unlike any other save, this one uses the sequence number of the first attempt.
    NotDurable,
    /// The checkpoint is committed and durable, so the handler does not save it again.
    Durable,
}

impl<const N: usize, W, S: Store, F, B> CheckpointHandler<N, W, S, F, B> {
    /// Removes each stored checkpoint that is not in the ranking (the table of kept checkpoints). Every save does this,
    /// too. Call this method before an operation that needs a free place in the store, such as erasing flash ahead of a
    /// save.
    pub fn evict_unranked(&mut self)
    where
        B: CheckpointObserver<S::Error>,
    {
        if self.policy.keeps_all() {
            return;
        }
        let mut index = 0;
        while let Ok(Some(CheckpointMeta { step, .. })) = self.store.checkpoint(index) {
            if self.policy.is_kept(step) {
                index += 1;
            } else if let Err(error) = self.store.remove(step) {
                self.observer.on_checkpoint_event(&CheckpointEvent::EvictionFailed { step, error: &error });
                index += 1;
            } else if self.store.checkpoint(index).is_ok_and(|next| next.is_some_and(|next| next.step == step)) {
                // The store reported a successful removal but still lists the checkpoint. The loop skips it, because it
                // would otherwise never end.
                index += 1;
            }
        }
    }

    /// Rebuilds the ranking from the store if a ranked checkpoint is missing in the store. There are two possible
    /// causes: another program removed the checkpoint, or its commit was interrupted and the store reused its place.
    /// `new` is the step number of a stored checkpoint that is not ranked yet.
    pub(super) fn reconcile(&mut self, new: Option<u32>) {
        let mut complete = true;
        for index in 0..self.policy.kept().len() {
            let Some(step) = self.policy.kept().get(index).map(|kept| kept.step) else { break };
            complete &= self.store.stream_count(step).map_or(true, |streams| streams > 0);
        }
        if complete || self.policy.keeps_all() {
            return;
        }
        let calls = self.policy.calls();
        self.policy.reset();
        let mut index = 0;
        while let Ok(Some(CheckpointMeta { step, score, .. })) = self.store.checkpoint(index) {
            if Some(step) != new {
                self.policy.restore_entry(SaveDecision { step, score });
            }
            index += 1;
        }
        self.policy.set_calls(calls);
    }

    /// Returns the stored checkpoint with the highest iteration before `below`. If `below` is `None`, all iterations
    /// are allowed.
    pub(super) fn newest_before(&mut self, below: Option<u32>) -> Option<CheckpointMeta> {
        let mut newest: Option<CheckpointMeta> = None;
        let mut index = 0;
        while let Ok(Some(meta)) = self.store.checkpoint(index) {
            let older = below.is_none_or(|below| meta.iteration < below);
            if older && newest.is_none_or(|newest| newest.iteration <= meta.iteration) {
                newest = Some(meta);
            }
            index += 1;
        }
        newest
    }

    /// Returns the newest stored checkpoint that was saved in the engine's iteration `iteration`.
    pub(super) fn at_iteration(&mut self, iteration: u32) -> Option<CheckpointMeta> {
        self.newest_before(iteration.checked_add(1)).filter(|meta| meta.iteration == iteration)
    }

    /// Returns how much of the save `pending` the store already contains. `iteration` is the iteration in which the
    /// handler decided to save.
    #[inline(never)] // Keeps its copies of checkpoint metadata off the stack of its callers.
    pub(super) fn find_prior_write(&mut self, pending: Option<SaveDecision>, iteration: u32) -> PriorWrite {
        match (pending, self.at_iteration(iteration)) {
            (Some(decision), Some(found)) if decision.step == found.step => {
                if self.store.is_durable(decision.step) {
                    PriorWrite::Durable
                } else if found.sequence == self.sequence {
                    PriorWrite::NotDurable
                } else {
                    PriorWrite::None
                }
            }
            _ => PriorWrite::None,
        }
    }
}
