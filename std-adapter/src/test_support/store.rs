//! A store that misbehaves on request: put it around your own, to see what your firmware does when the medium fails.
//!
//! [`Faulty`] asks a function of yours before each operation what is to become of it, and does so. It decides nothing
//! itself and holds no bytes.
//!
//! ```
//! use training_monitor::{Engine, ModelCheckpoint, checkpoint::Named, event::IterationCompleted, store::ram::Ram};
//! use training_monitor::handlers::model_checkpoint::OnError;
//! use training_monitor_std::test_support::store::{Fault, Faulty, Operation};
//!
//! // The second commit fails.
//! let mut commits = 0;
//! let store = Faulty::new(Ram::<3, 256>::new(), |operation| {
//!     commits += u32::from(operation == Operation::Commit);
//!     if operation == Operation::Commit && commits == 2 { Fault::Before } else { Fault::None }
//! });
//! let mut model = Named::new("mymodel", [0.0_f32; 4]);
//! let mut checkpoint = ModelCheckpoint::<2>::every(1)?.n_saved(2).on_error(OnError::Continue).build()?
//!     .attach(IterationCompleted, store)?;
//! Engine::new(1).run(&mut model, 0..3, &mut checkpoint, |_, batch, _| batch)?;
//! assert_eq!(checkpoint.policy().kept().iter().map(|e| e.step).collect::<Vec<_>>(), [1, 3]);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

use core::fmt;
use training_monitor::checkpoint::{Encoded, Header};
use training_monitor::embedded_io::{self, ErrorKind, ErrorType, Read, Write};
use training_monitor::store::{StreamSpec, Store, CheckpointMeta};

/// What a store is about to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Open a place.
    Create,
    /// Take bytes.
    Write,
    /// Flush a stream.
    Flush,
    /// Make a checkpoint count.
    Commit,
    /// Tell of a checkpoint.
    List,
    /// Count its streams.
    Parts,
    /// Open one.
    Open,
    /// Give bytes.
    Read,
    /// Remove a checkpoint.
    Remove,
}

/// What becomes of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// All is well.
    None,
    /// It fails, and nothing was done.
    Before,
    /// It is done, and fails.
    After,
    /// Of bytes to be taken or given only one is: not an error. Anything else goes well.
    Short,
}

/// A store around another.
#[derive(Clone, Debug)]
pub struct Faulty<S, D> {
    inner: S,
    decide: D,
}

impl<S: Store, D: FnMut(Operation) -> Fault> Faulty<S, D> {
    /// Around `inner`; `decide` is asked before each operation.
    pub const fn new(inner: S, decide: D) -> Self {
        Faulty { inner, decide }
    }

    /// The store inside, which does not fail.
    pub const fn inner_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Gives it back.
    pub fn into_inner(self) -> S {
        self.inner
    }

    fn attempt<T>(
        &mut self,
        operation: Operation,
        act: impl FnOnce(&mut S) -> Result<T, S::Error>,
    ) -> Result<T, FaultError<S::Error>> {
        match (self.decide)(operation) {
            Fault::Before => Err(FaultError::Injected(operation)),
            Fault::After => act(&mut self.inner).map_err(FaultError::Store).and(Err(FaultError::Injected(operation))),
            Fault::None | Fault::Short => act(&mut self.inner).map_err(FaultError::Store),
        }
    }
}

/// A stream of a [`Faulty`].
#[derive(Debug)]
pub struct Stream<'a, I, D> {
    inner: I,
    decide: &'a mut D,
}

impl<I: ErrorType, D> ErrorType for Stream<'_, I, D> {
    type Error = FaultError<I::Error>;
}

impl<I: Write, D: FnMut(Operation) -> Fault> Write for Stream<'_, I, D> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
        let fault = (self.decide)(Operation::Write);
        let bytes = if fault == Fault::Short { bytes.get(..1).unwrap_or(bytes) } else { bytes };
        if fault == Fault::Before {
            return Err(FaultError::Injected(Operation::Write));
        }
        let written = self.inner.write(bytes).map_err(FaultError::Store)?;
        if fault == Fault::After { Err(FaultError::Injected(Operation::Write)) } else { Ok(written) }
    }
    fn flush(&mut self) -> Result<(), Self::Error> {
        match (self.decide)(Operation::Flush) {
            Fault::Before | Fault::After => Err(FaultError::Injected(Operation::Flush)),
            Fault::None | Fault::Short => self.inner.flush().map_err(FaultError::Store),
        }
    }
}

impl<I: Read, D: FnMut(Operation) -> Fault> Read for Stream<'_, I, D> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Self::Error> {
        let fault = (self.decide)(Operation::Read);
        let len = if fault == Fault::Short { into.len().min(1) } else { into.len() };
        match fault {
            Fault::Before | Fault::After => Err(FaultError::Injected(Operation::Read)),
            Fault::None | Fault::Short => self.inner.read(&mut into[..len]).map_err(FaultError::Store),
        }
    }
}

impl<S: Store, D: FnMut(Operation) -> Fault> Store for Faulty<S, D> {
    type Error = FaultError<S::Error>;
    type Writer<'a>
        = Stream<'a, S::Writer<'a>, D>
    where
        Self: 'a;
    type Reader<'a>
        = Stream<'a, S::Reader<'a>, D>
    where
        Self: 'a;
    type Checksum = S::Checksum;

    const STREAM_PER_OBJECT: bool = S::STREAM_PER_OBJECT;
    const LARGE_BUFFER: bool = S::LARGE_BUFFER;

    fn create(&mut self, opening: &StreamSpec<'_>) -> Result<Self::Writer<'_>, Self::Error> {
        if (self.decide)(Operation::Create) == Fault::Before {
            return Err(FaultError::Injected(Operation::Create));
        }
        let inner = self.inner.create(opening).map_err(FaultError::Store)?;
        Ok(Stream { inner, decide: &mut self.decide })
    }
    fn commit(&mut self, header: &Header<'_>, last: &Encoded) -> Result<(), Self::Error> {
        self.attempt(Operation::Commit, |store| store.commit(header, last))
    }
    fn checkpoint(&mut self, index: u32) -> Result<Option<CheckpointMeta>, Self::Error> {
        self.attempt(Operation::List, |store| store.checkpoint(index))
    }
    fn stream_count(&mut self, step: u32) -> Result<u32, Self::Error> {
        self.attempt(Operation::Parts, |store| store.stream_count(step))
    }
    fn is_durable(&mut self, step: u32) -> bool {
        self.inner.is_durable(step)
    }
    fn open(&mut self, step: u32, part: u32) -> Result<Self::Reader<'_>, Self::Error> {
        if (self.decide)(Operation::Open) == Fault::Before {
            return Err(FaultError::Injected(Operation::Open));
        }
        let inner = self.inner.open(step, part).map_err(FaultError::Store)?;
        Ok(Stream { inner, decide: &mut self.decide })
    }
    fn remove(&mut self, step: u32) -> Result<(), Self::Error> {
        self.attempt(Operation::Remove, |store| store.remove(step))
    }
}

/// Why an operation failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultError<E> {
    /// It was to.
    Injected(Operation),
    /// The store inside.
    Store(E),
}

impl<E: fmt::Debug> fmt::Display for FaultError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl<E: fmt::Debug> core::error::Error for FaultError<E> {}

impl<E: embedded_io::Error> embedded_io::Error for FaultError<E> {
    fn kind(&self) -> ErrorKind {
        match self {
            FaultError::Injected(_) => ErrorKind::Other,
            FaultError::Store(error) => error.kind(),
        }
    }
}
