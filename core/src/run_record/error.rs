//! Errors of saving and restoring a run record.

use super::HandlerKind;
use core::fmt;

/// The handler states do not fit into a run record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RunRecordFull {
    /// The maximum size of all handler states together, in bytes.
    pub required: usize,
    /// The capacity of the record, in bytes. It is the third type parameter of [`Engine`](crate::Engine).
    pub capacity: usize,
}

impl fmt::Display for RunRecordFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RunRecordFull { required, capacity } = self;
        write!(
            f,
            "the states of the handlers can have {required} bytes, but the run record has room for {capacity}; give the \
             engine a larger record capacity"
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
    /// The engine's counters in the record contradict each other.
    Engine,
    /// The handler states of the checkpoint do not fit into the run record of this engine.
    RecordTooLong {
        /// The capacity of the engine's run record, in bytes.
        capacity: usize,
    },
    /// A store could not list its checkpoints. The observer of its handler receives the cause. The program can try
    /// again.
    ListFailed,
    /// The stores contain checkpoints, but none can be loaded. Each one is damaged, does not fit the model, or has no
    /// run record. The observer of a handler receives the reason for each one.
    NoneLoadable {
        /// The number of checkpoints that were skipped.
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
                write!(
                    f,
                    "the checkpoint contains no state for a {kind} of this program; to keep its weights only, call \
                     `load_best`"
                )
            }
            RestoreError::Malformed { kind } => write!(f, "the checkpoint's state for {kind} cannot be decoded"),
            RestoreError::Unclaimed { kind } => write!(
                f,
                "the checkpoint contains the state of a {kind}, which this program does not have; to keep its weights \
                 only, call `load_best`"
            ),
            RestoreError::RecordTooLong { capacity } => write!(
                f,
                "the handler states of the checkpoint do not fit into the run record, which has room for {capacity} \
                 bytes; give the engine a larger record capacity"
            ),
            RestoreError::ListFailed => f.write_str("a store could not list its checkpoints"),
            RestoreError::Engine => f.write_str("the engine's counters in the checkpoint contradict each other"),
            RestoreError::NoneLoadable { skipped } => write!(
                f,
                "none of the {skipped} checkpoints in the stores can be loaded; the observers of the handlers received \
                 the reason for each of them; to start over, call `run`"
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
