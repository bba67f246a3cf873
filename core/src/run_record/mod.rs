//! The run record contains everything that a run needs to resume, except the model. It takes a few dozen bytes.
//!
//! The record contains the state of the engine and the state of each handler. Each checkpoint of a run contains a
//! record, so that one commit saves the model and the run together. Handlers append their states in tuple order, each
//! as its kind, its length and its postcard bytes. They read their states in the same order. A record of other handlers
//! is refused before anything changes. This module performs no I/O.
//!
//! ```
//! use training_monitor::{EarlyStopping, Engine, event::IterationCompleted};
//!
//! let stopping = || EarlyStopping::new(2).map(|s| s.attach(IterationCompleted, |s| s.output.unwrap_or(0.0)));
//! let mut handlers = stopping()?;
//! let mut engine = Engine::new(1);
//! engine.run(&mut (), &[1.0, 0.5][..], &mut handlers, |_, score, _| *score)?;
//! let record = engine.record::<(), _>(&mut handlers)?;
//!
//! let mut restored = stopping()?;
//! engine.restore::<(), _>(&record, &mut restored)?;
//! assert_eq!(restored.early_stopping.counter(), 1);
//! assert!(engine.restore::<(), _>(&record, &mut ()).is_err()); // the record contains a state that no handler claims
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

mod codec;
mod engine_state;
mod error;
mod persist;

pub use codec::{StateCodec, StateDecoder, StateEncoder};
pub use engine_state::{EngineState, Phase};
pub use error::{RestoreError, RunRecordFull};
pub use persist::{HandlerStates, Persist};

use core::fmt;
use heapless::Vec;

/// The maximum size in bytes of all handler states of a record together. Each state takes its own bytes, one byte for
/// its kind and one byte for its length. The four handlers of this crate take at most 60 bytes.
pub const CAPACITY: usize = 128;

/// The maximum length of one handler state in bytes. The length is stored as a variable-length integer of one byte,
/// which holds at most 127.
const MAX_STATE: usize = 127;

/// The maximum number of handler states in a run record. The number is stored as a variable-length integer of one byte,
/// which holds at most 127.
const MAX_STATES: u8 = 127;

/// The kind of a handler. A checkpoint stores the kind of each handler state, so that no state is restored into another
/// kind of handler.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct HandlerKind(u8);

impl HandlerKind {
    /// The kind of [`EarlyStopping`](crate::EarlyStopping).
    pub const EARLY_STOPPING: Self = Self(1);
    /// The kind of [`Timer`](crate::Timer).
    pub const TIMER: Self = Self(2);
    /// The kind of [`ModelCheckpoint`](crate::ModelCheckpoint).
    pub const MODEL_CHECKPOINT: Self = Self(3);
    /// The kind of [`TerminateOnNan`](crate::TerminateOnNan).
    pub const TERMINATE_ON_NAN: Self = Self(4);
    /// The kind of [`KeepOutput`](crate::handlers::keep::KeepOutput).
    pub const KEEP_OUTPUT: Self = Self(5);
    /// The kind of [`KeepMetrics`](crate::handlers::keep::KeepMetrics).
    pub const KEEP_METRICS: Self = Self(6);

    /// Returns the kind of a user-defined handler. The program chooses a different `number` from 0 to 127 for each of
    /// its handler types. The highest bit of `number` is ignored.
    #[must_use]
    pub const fn user(number: u8) -> Self {
        Self(number | 128)
    }

    /// Returns the number that a checkpoint stores for this kind. Handlers of this crate have numbers below 128. A
    /// user-defined handler has 128 plus the number that the program chose.
    #[must_use]
    pub const fn code(self) -> u8 {
        self.0
    }
}

impl fmt::Display for HandlerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::EARLY_STOPPING => "EarlyStopping",
            Self::TIMER => "Timer",
            Self::MODEL_CHECKPOINT => "ModelCheckpoint",
            Self::TERMINATE_ON_NAN => "TerminateOnNan",
            Self::KEEP_OUTPUT => "KeepOutput",
            Self::KEEP_METRICS => "KeepMetrics",
            Self(code) if code >= 128 => return write!(f, "user-defined handler {}", code & 127),
            Self(code) => return write!(f, "unknown handler {code}"),
        })
    }
}

/// The saved state of a run at one moment. It consists of the state of the engine and the states of the handlers.
#[derive(Clone, PartialEq, Debug)]
pub struct RunRecord {
    /// The engine's state.
    pub engine: EngineState,
    /// The number of handler states in `states`.
    pub(crate) count: u8,
    /// The encoded handler states. Each state consists of its kind (one byte), its length (one byte) and its postcard
    /// bytes.
    pub(crate) states: Vec<u8, CAPACITY, u8>,
    /// False if a handler state did not fit into the record. An incomplete record is never saved.
    pub(crate) complete: bool,
}

impl RunRecord {
    /// Creates the record of a run that has not started and has no handlers. It can serve as a buffer, into which
    /// another record is read.
    #[must_use]
    pub const fn new() -> Self {
        RunRecord { engine: EngineState::NEW, count: 0, states: Vec::new(), complete: true }
    }

    /// Returns the handler states in tuple order. Each item is the kind of a handler and the postcard bytes of its
    /// state.
    pub fn handlers(&self) -> impl Iterator<Item = (HandlerKind, &[u8])> {
        let mut rest = self.states.as_slice();
        core::iter::from_fn(move || {
            let (kind, state, tail) = split_state(rest)?;
            rest = tail;
            Some((kind, state))
        })
    }

    /// Removes all handler states and sets the number of expected states to `count`.
    pub(crate) fn start(&mut self, count: u8) {
        self.count = count;
        self.states.clear();
        self.complete = true;
    }

    /// Appends one byte to the handler states. If there is no space for it, the record is marked as incomplete, and no
    /// run can resume from it.
    pub(crate) fn append(&mut self, byte: u8) {
        self.complete &= self.states.push(byte).is_ok();
    }
}

impl Default for RunRecord {
    fn default() -> Self {
        Self::new()
    }
}

/// Splits the first handler state off `bytes`. Returns its kind, its postcard bytes, and the remaining bytes.
fn split_state(bytes: &[u8]) -> Option<(HandlerKind, &[u8], &[u8])> {
    let (&kind, rest) = bytes.split_first()?;
    let (&len, rest) = rest.split_first()?;
    let (state, rest) = rest.split_at_checked(usize::from(len))?;
    Some((HandlerKind(kind), state, rest))
}
