//! Events that a checkpoint handler reports to its observer: saves, evictions and failures.

use super::SaveDecision;
use crate::checkpoint::{DecodeError, EncodeError};
use core::fmt;

/// What happened to a checkpoint.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum CheckpointEvent<'a, E> {
    /// A checkpoint was committed: the store contains the complete checkpoint.
    Saved {
        /// The step number and the score of the checkpoint.
        decision: SaveDecision,
        /// The size of the checkpoint in bytes.
        bytes: u32,
        /// The step number of the evicted checkpoint, which lost its place in the ranking. `None` if no checkpoint was
        /// evicted.
        evicted: Option<u32>,
    },
    /// A checkpoint could not be saved.
    SaveFailed {
        /// The step number and the score of the checkpoint.
        decision: SaveDecision,
        /// The cause of the failed save.
        error: &'a EncodeError<E>,
        /// Whether the handler now tries again to save this checkpoint.
        retrying: bool,
    },
    /// An evicted checkpoint (one that lost its place in the ranking) could not be removed from the store. The next
    /// save tries to remove it again.
    EvictionFailed {
        /// The step number of the checkpoint.
        step: u32,
        /// The cause of the failed removal.
        error: &'a E,
    },
    /// The store had no free place. A checkpoint of another series was removed for a new checkpoint.
    OtherSeriesEvicted {
        /// The step number of the removed checkpoint.
        step: u32,
    },
    /// A checkpoint that this handler had saved has disappeared from the store. It no longer ranks.
    Disappeared {
        /// The step number of the checkpoint.
        step: u32,
    },
    /// The store has too few places. The handler keeps fewer checkpoints than configured.
    FewerPlaces {
        /// The number of checkpoints that the handler keeps now.
        places: u8,
    },
    /// The store could not list its checkpoints.
    ListFailed {
        /// The cause.
        error: &'a E,
    },
    /// A run could not resume from a checkpoint, because it contains no run record.
    NoRunRecord {
        /// The step number of the checkpoint.
        step: u32,
    },
    /// A checkpoint could not be loaded. Another one is tried next.
    LoadFailed {
        /// The step number of the checkpoint.
        step: u32,
        /// The cause of the failed load.
        error: &'a DecodeError<E>,
    },
}

/// A function that a [`CheckpointHandler`](super::CheckpointHandler) calls for each event. Closures
/// `FnMut(&CheckpointEvent<E>)` implement this trait. The type `()` stands for no observer.
pub trait CheckpointObserver<E> {
    /// Receives one event of a checkpoint handler, for example to print it.
    fn on_checkpoint_event(&mut self, event: &CheckpointEvent<'_, E>);
}

/// An observer that does nothing. A handler uses it unless the program adds another observer.
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
            CheckpointEvent::OtherSeriesEvicted { step } => {
                write!(f, "evicted step {step} of another series, because the store is full")
            }
            CheckpointEvent::Disappeared { step } => write!(f, "step {step} has disappeared from the store"),
            CheckpointEvent::FewerPlaces { places } => {
                write!(f, "the store has too few places; {places} checkpoints are kept")
            }
            CheckpointEvent::ListFailed { error } => write!(f, "the checkpoints could not be listed: {error}"),
            CheckpointEvent::NoRunRecord { step } => {
                write!(f, "the run cannot resume from step {step}, which contains no run record")
            }
            CheckpointEvent::LoadFailed { step, error } => write!(f, "step {step} could not be loaded: {error}"),
        }
    }
}
