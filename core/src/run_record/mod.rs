//! The run record: everything beside the model that a run needs to resume. It takes a few dozen bytes.
//!
//! The record contains the engine's state and the state of every stateful handler. Every checkpoint of a run contains
//! its record, so that one commit saves the model and the run together. Handlers append their states in tuple order,
//! each as (kind, length, postcard bytes), and read them back in the same order. A record of other handlers is refused
//! before anything changes. This module performs no I/O.
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

/// The capacity of a record for the states of all handlers together, in bytes. The four handlers of this crate take at
/// most 60 bytes.
pub const CAPACITY: usize = 128;

/// The largest length of one handler's state, in bytes. Its length must fit into one byte of a varint.
const MAX_STATE: usize = 127;

/// The largest number of handler states. Their count must fit into one byte of a varint.
const MAX_STATES: u8 = 127;

/// The kind of handler that a stored state belongs to. Part of the checkpoint format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct HandlerKind(u8);

impl HandlerKind {
    /// [`EarlyStopping`](crate::EarlyStopping).
    pub const EARLY_STOPPING: Self = Self(1);
    /// [`Timer`](crate::Timer).
    pub const TIMER: Self = Self(2);
    /// [`ModelCheckpoint`](crate::ModelCheckpoint).
    pub const MODEL_CHECKPOINT: Self = Self(3);
    /// [`TerminateOnNan`](crate::TerminateOnNan).
    pub const TERMINATE_ON_NAN: Self = Self(4);
    /// [`KeepOutput`](crate::handlers::keep::KeepOutput).
    pub const KEEP_OUTPUT: Self = Self(5);
    /// [`KeepMetrics`](crate::handlers::keep::KeepMetrics).
    pub const KEEP_METRICS: Self = Self(6);

    /// The kind of a user-defined handler. The program chooses `number`; only its lowest seven bits are used.
    #[must_use]
    pub const fn user(number: u8) -> Self {
        Self(number | 128)
    }

    /// The number that the checkpoint format stores: less than 128 for handlers of this crate, 128 plus the program's
    /// number for user-defined handlers.
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

/// The record of a run at one moment.
#[derive(Clone, PartialEq, Debug)]
pub struct RunRecord {
    /// The engine's state.
    pub engine: EngineState,
    /// The number of handler states in `states`.
    pub(crate) count: u8,
    /// The handler states: for each its kind, its length and its postcard bytes.
    pub(crate) states: Vec<u8, CAPACITY, u8>,
    /// False if a handler state did not fit. An incomplete record is never written to a medium.
    pub(crate) complete: bool,
}

impl RunRecord {
    /// The record of a run that has not started and has no handlers. Use it as a buffer for a record that is read.
    #[must_use]
    pub const fn new() -> Self {
        RunRecord { engine: EngineState::NEW, count: 0, states: Vec::new(), complete: true }
    }

    /// The handler states in tuple order, each as its kind and its postcard bytes.
    pub fn handlers(&self) -> impl Iterator<Item = (HandlerKind, &[u8])> {
        let mut rest = self.states.as_slice();
        core::iter::from_fn(move || {
            let (kind, state, tail) = split_state(rest)?;
            rest = tail;
            Some((kind, state))
        })
    }

    /// Removes all handler states and announces `count` new ones.
    pub(crate) fn start(&mut self, count: u8) {
        self.count = count;
        self.states.clear();
        self.complete = true;
    }

    /// Appends one byte of a handler state. On overflow the record is marked incomplete: it can be inspected, but a run
    /// cannot resume from it.
    pub(crate) fn append(&mut self, byte: u8) {
        self.complete &= self.states.push(byte).is_ok();
    }
}

impl Default for RunRecord {
    fn default() -> Self {
        Self::new()
    }
}

/// Splits `bytes` into the kind of the first state, its postcard bytes, and the remaining states.
fn split_state(bytes: &[u8]) -> Option<(HandlerKind, &[u8], &[u8])> {
    let (&kind, rest) = bytes.split_first()?;
    let (&len, rest) = rest.split_first()?;
    let (state, rest) = rest.split_at_checked(usize::from(len))?;
    Some((HandlerKind(kind), state, rest))
}
