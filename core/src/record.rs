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
    /// [`KeepOutput`](crate::handlers::keep::KeepOutput).
    pub const OUTPUT: u8 = 5;
    /// [`KeepMetrics`](crate::handlers::keep::KeepMetrics).
    pub const METRICS: u8 = 6;
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
    pub(crate) states: Vec<u8, RECORD_SIZE, u8>,
    /// False when a handler's state did not fit; such a record is never written.
    pub(crate) whole: bool,
}

impl Record {
    /// A run that has not begun, without handlers: room for one that is read.
    #[must_use]
    pub const fn new() -> Self {
        Record { engine: EngineState::NEW, count: 0, states: Vec::new(), whole: true }
    }

    /// The states of the handlers, as (kind, postcard bytes) in the order of their tuple.
    pub fn handlers(&self) -> impl Iterator<Item = (u8, &[u8])> {
        let mut rest = self.states.as_slice();
        core::iter::from_fn(move || {
            let (kind, state, tail) = split_state(rest)?;
            rest = tail;
            Some((kind, state))
        })
    }

    /// Makes room for the states of `count` handlers.
    pub(crate) fn begin(&mut self, count: u8) {
        self.count = count;
        self.states.clear();
        self.whole = true;
    }

    /// The next byte of the states. What does not fit makes the record one that can be looked at, not gone on from.
    pub(crate) fn add(&mut self, byte: u8) {
        self.whole &= self.states.push(byte).is_ok();
    }
}

impl Default for Record {
    fn default() -> Self {
        Self::new()
    }
}

/// The first state of `bytes`, and what follows it.
fn split_state(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&kind, rest) = bytes.split_first()?;
    let (&len, rest) = rest.split_first()?;
    let (state, rest) = rest.split_at_checked(usize::from(len))?;
    Some((kind, state, rest))
}

/// Collects the states of handlers. What does not fit is told by [`Engine::record`](crate::Engine::record), and by the
/// save that needs it.
#[derive(Debug)]
pub struct RecordWriter<'a>(&'a mut Record);

impl<'a> RecordWriter<'a> {
    /// Into `record`, in place of what was there.
    pub(crate) fn new(record: &'a mut Record) -> Self {
        record.begin(0);
        RecordWriter(record)
    }

    /// Adds a state under `kind` (128 and up for handlers of the user's own): at most 127 bytes of postcard.
    pub fn push<S: Serialize>(&mut self, kind: u8, state: &S) {
        self.fields(kind, |to| {
            if postcard::serialize_with_flavor(state, Tail(to)).is_err() {
                to.0.whole = false;
            }
        });
    }

    /// Adds a state field by field, which takes less code than a serializer.
    pub(crate) fn fields(&mut self, kind: u8, write: impl FnOnce(&mut Self)) {
        let at = self.open(kind);
        write(self);
        self.close(at);
    }

    #[inline(never)]
    fn open(&mut self, kind: u8) -> usize {
        self.byte(kind);
        self.byte(0);
        self.0.states.len()
    }

    #[inline(never)]
    fn close(&mut self, at: usize) {
        // One byte is the whole length up to 127, as postcard's varint has it.
        let len = self.0.states.len().wrapping_sub(at);
        match self.0.states.get_mut(at.wrapping_sub(1)) {
            Some(place) if len < 128 && self.0.count < 127 => {
                *place = len as u8;
                self.0.count += 1;
            }
            _ => self.0.whole = false,
        }
    }

    pub(crate) fn byte(&mut self, byte: u8) {
        self.0.add(byte);
    }

    /// postcard's varint of a `u64`, or of anything shorter.
    pub(crate) fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            let [low, ..] = value.to_le_bytes();
            self.byte(low | 0x80);
            value >>= 7;
        }
        let [low, ..] = value.to_le_bytes();
        self.byte(low);
    }

    pub(crate) fn score(&mut self, score: Option<f32>) {
        self.byte(u8::from(score.is_some()));
        score.iter().flat_map(|score| score.to_le_bytes()).for_each(|byte| self.byte(byte));
    }
}

/// postcard's output, appended to the states.
struct Tail<'b, 'a>(&'b mut RecordWriter<'a>);

impl postcard::ser_flavors::Flavor for Tail<'_, '_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.byte(byte);
        Ok(())
    }
    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Hands the states back, in order. The first error counts, and nothing is handed out after it.
#[derive(Debug)]
pub struct RecordReader<'a> {
    rest: &'a [u8],
    checking: bool,
    error: Option<RestoreError>,
}

impl<'a> RecordReader<'a> {
    pub(crate) fn new(record: &'a Record, checking: bool) -> Self {
        RecordReader { rest: &record.states, checking, error: None }
    }

    /// The next state, which must be of `kind`. `None` when it is not, when its bytes are not an `S`, and while the
    /// record is only being checked: the handler must not change then.
    pub fn take<S: DeserializeOwned>(&mut self, kind: u8) -> Option<S> {
        self.fields(kind, |from| {
            let (state, left) = postcard::take_from_bytes(from.rest).ok()?;
            from.rest = left;
            Some(state)
        })
    }

    /// As [`take`](Self::take), field by field. `read` returns `None` for what cannot be.
    pub(crate) fn fields<S>(&mut self, kind: u8, read: impl FnOnce(&mut Fields<'a>) -> Option<S>) -> Option<S> {
        let mut fields = self.open(kind)?;
        let state = read(&mut fields);
        self.close(kind, state.is_some() && fields.rest.is_empty()).then_some(())?;
        state
    }

    fn open(&mut self, kind: u8) -> Option<Fields<'a>> {
        let error = match split_state(self.rest) {
            _ if self.error.is_some() => return None,
            None => RestoreError::Missing { kind },
            Some((found, ..)) if found != kind => RestoreError::OtherHandler { expected: kind, found },
            Some((_, state, rest)) => {
                self.rest = rest;
                return Some(Fields { rest: state });
            }
        };
        self.error = Some(error);
        None
    }

    /// Whether a state that could be read is to be handed out.
    fn close(&mut self, kind: u8, good: bool) -> bool {
        if !good {
            self.error = Some(RestoreError::Malformed { kind });
        }
        good && !self.checking
    }

    pub(crate) fn finish(&self) -> Result<(), RestoreError> {
        match (self.error, self.rest.first()) {
            (Some(error), _) => Err(error),
            (None, None) => Ok(()),
            (None, Some(&kind)) => Err(RestoreError::Left { kind }),
        }
    }
}

/// The fields of one state.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl Fields<'_> {
    pub fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    pub fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    /// postcard's varint of a `u64`: the tenth byte has one bit left for it.
    pub fn long(&mut self) -> Option<u64> {
        self.varint(63, 1)
    }

    /// postcard's varint of a `u32`: the fifth byte has four bits left for it.
    pub fn number(&mut self) -> Option<u32> {
        u32::try_from(self.varint(28, 0x0F)?).ok()
    }

    /// A varint whose byte at `last` bits is the last there may be, and at most `most`.
    fn varint(&mut self, last: u32, most: u8) -> Option<u64> {
        let mut value = 0;
        for shift in (0..=last).step_by(7) {
            let byte = self.byte()?;
            if shift == last && byte > most {
                return None;
            }
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    pub fn score(&mut self) -> Option<Option<f32>> {
        if !self.flag()? {
            return Some(None);
        }
        let (bytes, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(Some(f32::from_le_bytes(*bytes)))
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
