//! Errors of saving and restoring a run record.

use super::{CAPACITY, HandlerKind};
use core::fmt;

/// The handler states do not fit into a run record. All states together have at most [`CAPACITY`] bytes, and each state
/// has at most 127 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RunRecordFull;

impl fmt::Display for RunRecordFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the states of the handlers do not fit into the run record ({CAPACITY} bytes for all, 127 bytes for each)"
        )
    }
}

impl core::error::Error for RunRecordFull {}

/// The reason why a run cannot resume from a record. The model, the engine and the handlers are unchanged, unless the
/// error is [`BecameUnreadable`](RestoreError::BecameUnreadable).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum RestoreError {
    /// The record contains no state for a handler of the program.
    Missing {
        /// The kind of the program's handler.
        kind: HandlerKind,
    },
    /// The record contains the state of another kind of handler at this position.
    OtherHandler {
        /// The kind of the program's handler.
        expected: HandlerKind,
        /// The kind of the handler whose state the record contains.
        found: HandlerKind,
    },
    /// This version of the handler cannot decode the state.
    Malformed {
        /// The kind of the handler.
        kind: HandlerKind,
    },
    /// The record contains a state for which the program has no handler.
    Unclaimed {
        /// The kind of the handler whose state the record contains.
        kind: HandlerKind,
    },
    /// The engine's counters in the record contradict each other, or the record is incomplete.
    Engine,
    /// The stores contain checkpoints, but none can be loaded. Each one is damaged, does not fit the model, or has no
    /// run record.
    NoneLoadable {
        /// The number of checkpoints that were tried.
        skipped: u32,
    },
    /// The checkpoint was verified, but could not be read a second time to load it. Some tensors of the model may
    /// already have their new values.
    BecameUnreadable {
        /// The iteration of that checkpoint.
        iteration: u32,
    },
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RestoreError::Missing { kind } => {
                write!(f, "the checkpoint contains no state for {kind}, which is a handler of this program")
            }
            RestoreError::OtherHandler { expected, found } => {
                write!(f, "the checkpoint contains state for {found}, but this program has {expected} at that position")
            }
            RestoreError::Malformed { kind } => write!(f, "the checkpoint's state for {kind} cannot be decoded"),
            RestoreError::Unclaimed { kind } => write!(
                f,
                "the checkpoint contains state for {kind}, but this program has no such handler at that position"
            ),
            RestoreError::Engine => f.write_str("the engine's counters in the checkpoint contradict each other"),
            RestoreError::NoneLoadable { skipped } => write!(
                f,
                "the stores contain checkpoints of {skipped} iterations, but each of them is damaged, has no run record \
                 or does not match the model"
            ),
            RestoreError::BecameUnreadable { iteration } => write!(
                f,
                "the checkpoint of iteration {iteration} was verified but became unreadable while it was loaded; some \
                 tensors may have been replaced"
            ),
        }
    }
}

impl core::error::Error for RestoreError {}
