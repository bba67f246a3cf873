//! The run record contains everything that a run needs to resume, except the model. It takes a few dozen bytes.
//!
//! The record contains the state of the engine and the state of each handler. Each checkpoint of a run contains a
//! record, so that one commit saves the model and the run together. Handlers append their states in tuple order, each
//! as its kind, its tag, its length and its postcard bytes. The tag is a hash of the settings of the handler, so a
//! handler finds its own state even if the program lists its handlers in another order. A record of other handlers is
//! refused before anything changes. This module performs no I/O.
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
pub use engine_state::{EngineState, Phase, ResumePoint};
pub use error::{RestoreError, RunRecordFull};
pub use persist::{HandlerStates, Persist, encode_handler_state, restore_handler_state};

use core::fmt;

/// The default capacity of a run record in bytes: the maximum size of all handler states together. Each state takes its
/// own bytes and four more. `EarlyStopping`, `Timer`, `TerminateOnNan` and one `ModelCheckpoint` together take at most 68
/// bytes.
pub const CAPACITY: usize = 128;

/// The maximum length of one handler state in bytes. The length is stored as a variable-length integer of one byte,
/// which holds at most 127.
const MAX_STATE: usize = 127;

/// The maximum number of handler states in a run record.
pub(crate) const MAX_STATES: u8 = 32;

/// The number of bytes before each handler state: its kind, its tag and its length.
const STATE_PREFIX: usize = 4;

/// The maximum length of the engine's part of a record in a checkpoint, in bytes: six numbers of five bytes, six bytes for
/// the maximum number of epochs, and six bytes for the other fields.
pub(crate) const MAX_ENGINE_LEN: usize = 6 * 5 + 6 + 6;

/// The maximum size of all handler states together, in bytes.
pub(crate) const MAX_CAPACITY: usize = MAX_STATES as usize * (STATE_PREFIX + MAX_STATE);

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
    /// The kind of [`ReduceOnPlateau`](crate::ReduceOnPlateau).
    pub const REDUCE_ON_PLATEAU: Self = Self(7);
    /// The kind of [`RunningAverage`](crate::RunningAverage).
    pub const RUNNING_AVERAGE: Self = Self(8);
    /// The kind of [`WeightAverage`](crate::WeightAverage).
    pub const WEIGHT_AVERAGE: Self = Self(9);
    /// The kind of [`TimeLimit`](crate::TimeLimit).
    pub const TIME_LIMIT: Self = Self(10);
    /// The kind of [`EveryTicks`](crate::handlers::every_ticks::EveryTicks).
    pub const EVERY_TICKS: Self = Self(11);
    /// The kind of [`SpikeGuard`](crate::SpikeGuard).
    pub const SPIKE_GUARD: Self = Self(12);
    /// The kind of [`Profiler`](crate::Profiler). A profiler has one state for each part of the run.
    pub const PROFILER: Self = Self(13);
    /// The kind of [`RollBack`](crate::RollBack).
    pub const ROLL_BACK: Self = Self(14);
    /// The kind of [`AdaptiveInterval`](crate::AdaptiveInterval).
    pub const ADAPTIVE_INTERVAL: Self = Self(15);

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
            Self::REDUCE_ON_PLATEAU => "ReduceOnPlateau",
            Self::RUNNING_AVERAGE => "RunningAverage",
            Self::WEIGHT_AVERAGE => "WeightAverage",
            Self::TIME_LIMIT => "TimeLimit",
            Self::EVERY_TICKS => "EveryTicks",
            Self::SPIKE_GUARD => "SpikeGuard",
            Self::PROFILER => "Profiler",
            Self::ROLL_BACK => "RollBack",
            Self::ADAPTIVE_INTERVAL => "AdaptiveInterval",
            Self(code) if code >= 128 => return write!(f, "user-defined handler {}", code & 127),
            Self(code) => return write!(f, "unknown handler {code}"),
        })
    }
}

/// The saved state of a run at one moment. It consists of the state of the engine and the states of the handlers.
///
/// `B` is the buffer for the handler states, an array of bytes. A `&RunRecord` of any capacity converts to
/// `&RunRecord<[u8]>`, which the methods of a [`Handler`](crate::Handler) receive.
#[derive(Debug)]
pub struct RunRecord<B: ?Sized = [u8; CAPACITY]> {
    /// The engine's state.
    pub engine: EngineState,
    /// The number of handler states in `states`.
    pub(crate) count: u8,
    /// False if a handler state did not fit into the record. An incomplete record is never saved.
    pub(crate) complete: bool,
    /// The number of used bytes of `states`. It is greater than the capacity if a state did not fit.
    len: usize,
    /// The encoded handler states. Each state consists of its kind (one byte), its tag (two bytes), its length (one
    /// byte) and its postcard bytes.
    states: B,
}

impl RunRecord {
    /// Creates the record of a run that has not started and has no handlers. It can serve as a buffer, into which
    /// another record is read.
    #[must_use]
    pub const fn new() -> Self {
        Self::with_capacity()
    }
}

impl<const N: usize> RunRecord<[u8; N]> {
    /// Creates the same record as [`new`](RunRecord::new), with room for `N` bytes of handler states.
    #[must_use]
    pub const fn with_capacity() -> Self {
        RunRecord { engine: EngineState::NEW, count: 0, complete: true, len: 0, states: [0; N] }
    }
}

impl<B: AsRef<[u8]> + ?Sized> RunRecord<B> {
    /// Returns the handler states in tuple order. Each item is the kind of a handler, its
    /// [tag](Persist::tag), and the postcard bytes of its state.
    pub fn handlers(&self) -> impl Iterator<Item = (HandlerKind, u16, &[u8])> {
        let mut rest = self.states();
        core::iter::from_fn(move || {
            let (state, tail) = split_state(rest)?;
            rest = tail;
            Some((state.kind, state.tag, state.bytes))
        })
    }

    /// Returns how many bytes of handler states the record can contain.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.states.as_ref().len()
    }

    /// Returns the encoded handler states.
    pub(crate) fn states(&self) -> &[u8] {
        let states = self.states.as_ref();
        states.get(..self.len).unwrap_or(states)
    }
}

impl RunRecord<[u8]> {
    /// Replaces this record by a copy of `other`. If the handler states do not fit, the record is marked as incomplete,
    /// and no run can resume from it.
    pub fn copy_from(&mut self, other: &RunRecord<[u8]>) {
        self.engine = other.engine;
        self.start(other.count);
        other.states().iter().for_each(|byte| self.append(*byte));
        self.complete &= other.complete;
    }

    /// Removes all handler states and sets the number of expected states to `count`.
    pub(crate) fn start(&mut self, count: u8) {
        self.count = count;
        self.len = 0;
        self.complete = true;
    }

    /// Appends one byte to the handler states. If there is no space for it, the record is marked as incomplete, and no
    /// run can resume from it.
    #[inline(never)] // One copy of the code for all fields.
    pub(crate) fn append(&mut self, byte: u8) {
        match self.states.get_mut(self.len) {
            Some(place) => *place = byte,
            None => self.complete = false,
        }
        self.len = self.len.saturating_add(1);
    }

    /// Returns an error if the handler states did not fit into the record.
    pub(crate) fn check_complete(&self) -> Result<(), RunRecordFull> {
        let full = RunRecordFull { required: self.len, capacity: self.capacity() };
        if self.complete { Ok(()) } else { Err(full) }
    }
}

impl<const N: usize> Clone for RunRecord<[u8; N]> {
    fn clone(&self) -> Self {
        let RunRecord { engine, count, complete, len, states } = *self;
        RunRecord { engine, count, complete, len, states }
    }
}

impl<const N: usize, const M: usize> PartialEq<RunRecord<[u8; M]>> for RunRecord<[u8; N]> {
    fn eq(&self, other: &RunRecord<[u8; M]>) -> bool {
        let (a, b) = (self, other);
        (a.engine, a.count, a.complete, a.states()) == (b.engine, b.count, b.complete, b.states())
    }
}

impl Default for RunRecord {
    fn default() -> Self {
        Self::new()
    }
}

/// One handler state of a run record.
#[derive(Clone, Copy)]
struct StoredState<'a> {
    kind: HandlerKind,
    tag: u16,
    bytes: &'a [u8],
}

/// Splits the first handler state off `bytes`. Returns the state and the remaining bytes.
fn split_state(bytes: &[u8]) -> Option<(StoredState<'_>, &[u8])> {
    let ([kind, low, high, len], rest) = bytes.split_first_chunk::<STATE_PREFIX>()?;
    let (bytes, rest) = rest.split_at_checked(usize::from(*len))?;
    Some((StoredState { kind: HandlerKind(*kind), tag: u16::from_le_bytes([*low, *high]), bytes }, rest))
}
