//! The record of a run: where the engine stands and the state of every handler, a few dozen bytes.
//!
//! It travels in each checkpoint, so one commit holds everything that a run needs to go on. Handlers add their state
//! in the order of their tuple, each as (kind, postcard bytes), and take it back in the same order; a record of other
//! handlers is refused before anything is changed. Nothing here writes to a medium: `checkpoint` does.
//!
//! ```
//! use training_monitor::{EarlyStopping, Engine, Event, State, event::IterationCompleted};
//!
//! let stopping = || EarlyStopping::new(2).map(|s| s.attach(IterationCompleted, |s: &State<f32>| s.output.unwrap_or(0.0)));
//! let mut handlers = stopping()?;
//! let mut engine = Engine::new(1);
//! engine.run(&mut (), &[1.0, 0.5][..], &mut handlers, |_, score, _| *score)?;
//! let record = engine.record::<(), _>(&mut handlers)?;
//!
//! let mut restored = stopping()?;
//! engine.restore::<(), _>(&record, &mut restored)?;
//! assert_eq!(restored.early_stopping.counter(), 1);
//! assert!(engine.restore::<(), _>(&record, &mut ()).is_err()); // other handlers
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

use crate::engine::EngineState;
use core::fmt;
use heapless::Vec;
use serde::{Serialize, de::DeserializeOwned};

/// Bytes that the states of all handlers of a run may take together; the four handlers of this crate take at most 60.
pub const RECORD_SIZE: usize = 128;

/// Which handler a state belongs to. Numbers from 128 are for handlers of the user's own.
pub mod kind {
    /// [`EarlyStopping`](crate::EarlyStopping).
    pub const EARLY_STOPPING: u8 = 1;
    /// [`Timer`](crate::Timer).
    pub const TIMER: u8 = 2;
    /// [`ModelCheckpoint`](crate::ModelCheckpoint).
    pub const MODEL_CHECKPOINT: u8 = 3;
    /// [`TerminateOnNan`](crate::TerminateOnNan).
    pub const TERMINATE_ON_NAN: u8 = 4;
    /// The first number for handlers of the user's own.
    pub const USER: u8 = 128;
}

/// A run at one moment.
#[derive(Clone, PartialEq, Debug)]
pub struct Record {
    /// Where the engine stands.
    pub engine: EngineState,
    /// How many handler states follow, and their bytes: kind, length, postcard.
    pub(crate) count: u8,
    pub(crate) states: Vec<u8, RECORD_SIZE>,
    /// False when a handler's state did not fit; such a record is never written.
    pub(crate) whole: bool,
}

impl Record {
    /// The states of the handlers, as (kind, postcard bytes) in the order of their tuple.
    pub fn handlers(&self) -> impl Iterator<Item = (u8, &[u8])> {
        let mut rest = self.states.as_slice();
        core::iter::from_fn(move || {
            let (kind, state, tail) = split_state(rest)?;
            rest = tail;
            Some((kind, state))
        })
    }
}

/// The first state of `bytes`, and what follows it.
fn split_state(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&kind, rest) = bytes.split_first()?;
    let (&len, rest) = rest.split_first()?;
    let (state, rest) = rest.split_at_checked(usize::from(len))?;
    Some((kind, state, rest))
}

/// Collects the states of handlers.
#[derive(Debug, Default)]
pub struct RecordWriter {
    count: u8,
    states: Vec<u8, RECORD_SIZE>,
}

impl RecordWriter {
    /// Adds a state under `kind` (128 and up for handlers of the user's own): at most 127 bytes of postcard.
    ///
    /// # Errors
    /// [`RecordFull`] when it does not fit; nothing has been added then.
    pub fn push<S: Serialize>(&mut self, kind: u8, state: &S) -> Result<(), RecordFull> {
        let start = self.states.len();
        let result = self.try_push(kind, state);
        if result.is_none() {
            self.states.truncate(start);
        }
        result.ok_or(RecordFull)
    }

    fn try_push<S: Serialize>(&mut self, kind: u8, state: &S) -> Option<()> {
        self.states.push(kind).ok()?;
        let at = self.states.len();
        self.states.push(0).ok()?;
        postcard::serialize_with_flavor(state, Tail(&mut self.states)).ok()?;
        // One byte is the whole length up to 127, as postcard's varint has it.
        let len = u8::try_from(self.states.len().checked_sub(at)?.checked_sub(1)?).ok().filter(|len| *len < 128)?;
        *self.states.get_mut(at)? = len;
        self.count = self.count.checked_add(1).filter(|count| *count < 128)?;
        Some(())
    }

    pub(crate) fn finish(self, engine: EngineState, whole: bool) -> Record {
        Record { engine, count: self.count, states: self.states, whole }
    }
}

/// postcard's output, appended to a bounded vector.
struct Tail<'a>(&'a mut Vec<u8, RECORD_SIZE>);

impl postcard::ser_flavors::Flavor for Tail<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte).map_err(|_| postcard::Error::SerializeBufferFull)
    }
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes).map_err(|_| postcard::Error::SerializeBufferFull)
    }
    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Hands the states back, in order.
#[derive(Debug)]
pub struct RecordReader<'a> {
    rest: &'a [u8],
    checking: bool,
}

impl<'a> RecordReader<'a> {
    pub(crate) fn new(record: &'a Record, checking: bool) -> Self {
        RecordReader { rest: &record.states, checking }
    }

    /// The next state, which must be of `kind`. `None` while the record is only being checked: the handler must not
    /// change then.
    ///
    /// # Errors
    /// [`RestoreError`] when there is none left, it is of another kind, or its bytes are not an `S`.
    pub fn take<S: DeserializeOwned>(&mut self, kind: u8) -> Result<Option<S>, RestoreError> {
        let (found, bytes, rest) = split_state(self.rest).ok_or(RestoreError::Missing { kind })?;
        if found != kind {
            return Err(RestoreError::OtherHandler { expected: kind, found });
        }
        let (state, left) = postcard::take_from_bytes(bytes).map_err(|_| RestoreError::Malformed { kind })?;
        if !left.is_empty() {
            return Err(RestoreError::Malformed { kind });
        }
        self.rest = rest;
        Ok(if self.checking { None } else { Some(state) })
    }

    pub(crate) fn finish(&self) -> Result<(), RestoreError> {
        match self.rest.first() {
            None => Ok(()),
            Some(&kind) => Err(RestoreError::Left { kind }),
        }
    }
}

/// The states of a run's handlers do not fit into [`RECORD_SIZE`] bytes (or one of them into 127).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RecordFull;

impl fmt::Display for RecordFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the states of the handlers take more than {RECORD_SIZE} bytes")
    }
}

impl core::error::Error for RecordFull {}

/// Why a run cannot go on from a record. Nothing has been changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum RestoreError {
    /// The record has no state for a handler of the program.
    Missing {
        /// The [kind] of that handler.
        kind: u8,
    },
    /// The record has the state of another handler in this place.
    OtherHandler {
        /// The [kind] of the program's handler.
        expected: u8,
        /// The kind in the record.
        found: u8,
    },
    /// The state is not one that this version of the handler could have written.
    Malformed {
        /// The [kind] of the handler.
        kind: u8,
    },
    /// The record has a state for which the program has no handler.
    Left {
        /// The [kind] of that handler.
        kind: u8,
    },
    /// The engine's counters contradict each other.
    Engine,
    /// There are checkpoints, but each is damaged or does not fit the model.
    NoneFits {
        /// How many.
        skipped: u32,
    },
    /// The checkpoint that was good a moment ago can no longer be read, and some tensors of the model may have been
    /// replaced.
    Lost {
        /// The iteration of that checkpoint.
        iteration: u32,
    },
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RestoreError::Missing { kind } => write!(f, "the record has no state for a handler of kind {kind}"),
            RestoreError::OtherHandler { expected, found } => {
                write!(
                    f,
                    "the record has the state of a handler of kind {found}, the program has one of kind {expected}"
                )
            }
            RestoreError::Malformed { kind } => write!(f, "the state of the handler of kind {kind} cannot be read"),
            RestoreError::Left { kind } => write!(f, "the program has no handler for a state of kind {kind}"),
            RestoreError::Engine => f.write_str("the engine's counters contradict each other"),
            RestoreError::NoneFits { skipped } => {
                write!(
                    f,
                    "there are checkpoints of {skipped} iterations, but each is damaged or does not fit the model"
                )
            }
            RestoreError::Lost { iteration } => {
                write!(f, "the checkpoint of iteration {iteration} became unreadable while it was loaded")
            }
        }
    }
}

impl core::error::Error for RestoreError {}
