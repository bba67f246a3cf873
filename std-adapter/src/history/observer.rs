//! An observer that records the events of a checkpoint handler.

use super::{History, HistoryEvent};
use std::fmt;
use training_monitor::handlers::model_checkpoint::{CheckpointEvent, CheckpointObserver, SaveDecision};

/// An observer that records the saves and the failures of one checkpoint handler in a [`History`].
/// Use [`History::observer`] to create an observer.
#[derive(Clone, Debug)]
pub struct HistoryObserver {
    pub(super) history: History,
    pub(super) store: String,
}

impl<E: fmt::Display> CheckpointObserver<E> for HistoryObserver {
    fn on_checkpoint_event(&mut self, event: &CheckpointEvent<'_, E>) {
        let mut log = self.history.log();
        let (store, iteration) = (self.store.clone(), log.iteration);
        let event = match event {
            CheckpointEvent::Saved { decision: SaveDecision { step, score }, bytes, evicted } => {
                let (step, score, bytes, removed) = (*step, *score, *bytes, *evicted);
                HistoryEvent::Saved { store, step, iteration, score, bytes, removed }
            }
            CheckpointEvent::SaveFailed { decision, error, retrying } => {
                let error = error.to_string();
                HistoryEvent::SaveFailed { store, step: decision.step, iteration, error, retrying: *retrying }
            }
            CheckpointEvent::EvictionFailed { step, error } => {
                HistoryEvent::EvictionFailed { store, step: *step, iteration, error: error.to_string() }
            }
            CheckpointEvent::LoadFailed { step, error } => {
                HistoryEvent::LoadFailed { store, step: *step, error: error.to_string() }
            }
            _ => return,
        };
        log.write(event);
        log.flush();
    }
}
