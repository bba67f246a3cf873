//! What a [`Saving`](super::Saving) tells whoever wants to know: what was saved, removed, and what failed.

use super::Save;
use crate::checkpoint::{DecodeError, EncodeError};
use core::fmt;

/// What a save did, for an observer.
#[derive(Debug)]
#[non_exhaustive]
pub enum Report<'a, E> {
    /// A checkpoint was committed.
    Saved {
        /// Which.
        save: Save,
        /// Bytes of all its streams.
        bytes: u32,
        /// The one whose place it took.
        removed: Option<u32>,
    },
    /// A checkpoint could not be saved.
    SaveFailed {
        /// Which.
        save: Save,
        /// Why.
        error: &'a EncodeError<E>,
        /// Whether it is tried again at once.
        retrying: bool,
    },
    /// A checkpoint that has to go could not be removed; this is tried again.
    RemovalFailed {
        /// Which.
        step: u32,
        /// Why.
        error: &'a E,
    },
    /// A checkpoint could not be loaded; an older one is tried.
    LoadFailed {
        /// Which.
        step: u32,
        /// Why.
        error: &'a DecodeError<E>,
    },
}

/// A function that is told what saves do.
pub trait Observer<E> {
    /// Something was done.
    fn observe(&mut self, report: &Report<'_, E>);
}

/// Nobody.
impl<E> Observer<E> for () {
    #[inline]
    fn observe(&mut self, _: &Report<'_, E>) {}
}

impl<E, F: FnMut(&Report<'_, E>)> Observer<E> for F {
    #[inline]
    fn observe(&mut self, report: &Report<'_, E>) {
        self(report);
    }
}

impl<E: fmt::Display> fmt::Display for Report<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Report::Saved { save, bytes, removed: None } => write!(f, "saved step {} ({bytes} bytes)", save.step),
            Report::Saved { save, bytes, removed: Some(gone) } => {
                write!(f, "saved step {} ({bytes} bytes) in place of step {gone}", save.step)
            }
            Report::SaveFailed { save, error, retrying } => {
                let next = if *retrying { "; trying again" } else { "" };
                write!(f, "step {} was not saved: {error}{next}", save.step)
            }
            Report::RemovalFailed { step, error } => write!(f, "step {step} could not be removed: {error}"),
            Report::LoadFailed { step, error } => write!(f, "step {step} could not be loaded: {error}"),
        }
    }
}
