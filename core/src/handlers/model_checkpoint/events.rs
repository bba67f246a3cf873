//! Events of a checkpoint handler, for observers: saves, evictions and failures.

use super::SaveDecision;
use crate::checkpoint::{DecodeError, EncodeError};
use core::fmt;

/// What happened to a checkpoint.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum CheckpointEvent<'a, E> {
    /// A checkpoint was committed.
    Saved {
        /// Its step number and score.
        decision: SaveDecision,
        /// The bytes of all its streams.
        bytes: u32,
        /// The step number of the checkpoint that it evicted.
        evicted: Option<u32>,
    },
    /// A checkpoint could not be saved.
    SaveFailed {
        /// Its step number and score.
        decision: SaveDecision,
        /// The cause.
        error: &'a EncodeError<E>,
        /// Whether the save is retried now.
        retrying: bool,
    },
    /// An evicted checkpoint could not be removed. The removal is retried at the next save.
    EvictionFailed {
        /// Its step number.
        step: u32,
        /// The cause.
        error: &'a E,
    },
    /// A checkpoint could not be loaded. An older one is tried.
    LoadFailed {
        /// Its step number.
        step: u32,
        /// The cause.
        error: &'a DecodeError<E>,
    },
}

/// Observes a [`CheckpointHandler`](super::CheckpointHandler): a closure `FnMut(&CheckpointEvent<E>)`, or `()` for none.
pub trait CheckpointObserver<E> {
    /// Called for every event.
    fn on_checkpoint_event(&mut self, event: &CheckpointEvent<'_, E>);
}

/// Observes nothing.
impl<E> CheckpointObserver<E> for () {
    #[inline]
    fn on_checkpoint_event(&mut self, _: &CheckpointEvent<'_, E>) {}
}

impl<E, F: FnMut(&CheckpointEvent<'_, E>)> CheckpointObserver<E> for F {
    #[inline]
    fn on_checkpoint_event(&mut self, event: &CheckpointEvent<'_, E>) {
        self(event);
    }
}

impl<E: fmt::Display> fmt::Display for CheckpointEvent<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CheckpointEvent::Saved { decision, bytes, evicted: None } => {
                write!(f, "saved step {} ({bytes} bytes)", decision.step)
            }
            CheckpointEvent::Saved { decision, bytes, evicted: Some(evicted) } => {
                write!(f, "saved step {} ({bytes} bytes), evicted step {evicted}", decision.step)
            }
            CheckpointEvent::SaveFailed { decision, error, retrying } => {
                let next = if *retrying { "; retrying" } else { "" };
                write!(f, "step {} was not saved: {error}{next}", decision.step)
            }
            CheckpointEvent::EvictionFailed { step, error } => write!(f, "step {step} was not evicted: {error}"),
            CheckpointEvent::LoadFailed { step, error } => write!(f, "step {step} could not be loaded: {error}"),
        }
    }
}
