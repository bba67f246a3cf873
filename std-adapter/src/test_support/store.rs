//! A checkpoint store that fails on request. Wrap your own store to test how your firmware handles a failing medium.
//!
//! Before each operation, a [`FaultyStore`] calls a closure, which returns the fault to inject. The wrapped store
//! stores the data.
//!
//! ```
//! use training_monitor::{Engine, ModelCheckpoint, checkpoint::Named, event::IterationCompleted, store::ram::Ram};
//! use training_monitor::handlers::model_checkpoint::OnError;
//! use training_monitor_std::test_support::store::{FaultyStore, StoreFault, StoreOperation};
//!
//! // The second commit fails.
//! let mut commits = 0;
//! let store = FaultyStore::new(Ram::<3, 256>::new(), |operation| {
//!     commits += u32::from(operation == StoreOperation::Commit);
//!     if operation == StoreOperation::Commit && commits == 2 { StoreFault::Before } else { StoreFault::None }
//! });
//! let mut model = Named::new("mymodel", [0.0_f32; 4]);
//! let policy = ModelCheckpoint::<2>::every(1)?.with_on_error(OnError::Continue);
//! let mut checkpoint = policy.attach(IterationCompleted, store)?;
//! Engine::new(1).run(&mut model, 0..3, &mut checkpoint, |_, batch, _| batch)?;
//! assert_eq!(checkpoint.policy().kept().iter().map(|kept| kept.step).collect::<Vec<_>>(), [1, 3]);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

use core::fmt;
use training_monitor::checkpoint::{Encoded, Header};
use training_monitor::embedded_io::{self, ErrorKind, ErrorType, Read, Write};
use training_monitor::store::{CheckpointMeta, Store, StreamSpec, Wear};

/// An operation of a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreOperation {
    /// Creating a stream for writing.
    Create,
    /// Writing to a stream.
    Write,
    /// Flushing a stream.
    Flush,
    /// Committing a checkpoint.
    Commit,
    /// Getting the metadata of a checkpoint.
    List,
    /// Getting the number of streams of a checkpoint.
    StreamCount,
    /// Opening a stream for reading.
    Open,
    /// Reading from a stream.
    Read,
    /// Removing a checkpoint.
    Remove,
}

/// The fault that a [`FaultyStore`] injects into an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreFault {
    /// No fault is injected: the wrapped store performs the operation normally.
    None,
    /// The operation returns an error and has no effect, because the wrapped store is not called.
    Before,
    /// The wrapped store performs the operation, and the operation then returns an error. There are two exceptions: a
    /// read or a flush returns the error without a call of the wrapped store, and creating or opening a stream
    /// succeeds.
    After,
    /// A read or a write transfers only one byte and succeeds. Other operations succeed normally.
    Short,
}

/// A store that wraps another store and injects faults.
///
/// A failed save is not repeated in another place of the wrapped store, because an injected fault is no fault of a
/// place. Checking a stream and the number of damaged checkpoints come from the wrapped store without faults.
#[derive(Clone, Debug)]
pub struct FaultyStore<S, D> {
    inner: S,
    decide: D,
}

impl<S: Store, D: FnMut(StoreOperation) -> StoreFault> FaultyStore<S, D> {
    /// Wraps the store `inner`. The closure `decide` is called before each operation and returns the fault to inject.
    pub const fn new(inner: S, decide: D) -> Self {
        FaultyStore { inner, decide }
    }

    /// Returns the wrapped store. Direct calls to the wrapped store have no injected faults.
    pub const fn inner_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the wrapped store.
    pub fn into_inner(self) -> S {
        self.inner
    }

    fn call<T>(
        &mut self,
        operation: StoreOperation,
        perform: impl FnOnce(&mut S) -> Result<T, S::Error>,
    ) -> Result<T, FaultyStoreError<S::Error>> {
        match (self.decide)(operation) {
            StoreFault::Before => Err(FaultyStoreError::Injected(operation)),
            StoreFault::After => perform(&mut self.inner)
                .map_err(FaultyStoreError::Store)
                .and(Err(FaultyStoreError::Injected(operation))),
            StoreFault::None | StoreFault::Short => perform(&mut self.inner).map_err(FaultyStoreError::Store),
        }
    }
}

/// A stream (the data of a checkpoint) of a [`FaultyStore`]. Faults are also injected into its reads and writes.
#[derive(Debug)]
pub struct FaultyStream<'a, I, D> {
    inner: I,
    decide: &'a mut D,
}

impl<I: ErrorType, D> ErrorType for FaultyStream<'_, I, D> {
    type Error = FaultyStoreError<I::Error>;
}

impl<I: Write, D: FnMut(StoreOperation) -> StoreFault> Write for FaultyStream<'_, I, D> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
        let fault = (self.decide)(StoreOperation::Write);
        let bytes = if fault == StoreFault::Short { bytes.get(..1).unwrap_or(bytes) } else { bytes };
        if fault == StoreFault::Before {
            return Err(FaultyStoreError::Injected(StoreOperation::Write));
        }
        let written = self.inner.write(bytes).map_err(FaultyStoreError::Store)?;
        if fault == StoreFault::After { Err(FaultyStoreError::Injected(StoreOperation::Write)) } else { Ok(written) }
    }
    fn flush(&mut self) -> Result<(), Self::Error> {
        match (self.decide)(StoreOperation::Flush) {
            StoreFault::Before | StoreFault::After => Err(FaultyStoreError::Injected(StoreOperation::Flush)),
            StoreFault::None | StoreFault::Short => self.inner.flush().map_err(FaultyStoreError::Store),
        }
    }
}

impl<I: Read, D: FnMut(StoreOperation) -> StoreFault> Read for FaultyStream<'_, I, D> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Self::Error> {
        let fault = (self.decide)(StoreOperation::Read);
        let len = if fault == StoreFault::Short { into.len().min(1) } else { into.len() };
        match fault {
            StoreFault::Before | StoreFault::After => Err(FaultyStoreError::Injected(StoreOperation::Read)),
            StoreFault::None | StoreFault::Short => self.inner.read(&mut into[..len]).map_err(FaultyStoreError::Store),
        }
    }
}

impl<S: Store, D: FnMut(StoreOperation) -> StoreFault> Store for FaultyStore<S, D> {
    type Error = FaultyStoreError<S::Error>;
    type Writer<'a>
        = FaultyStream<'a, S::Writer<'a>, D>
    where
        Self: 'a;
    type Reader<'a>
        = FaultyStream<'a, S::Reader<'a>, D>
    where
        Self: 'a;
    type Checksum = S::Checksum;

    const LARGE_BUFFER: bool = S::LARGE_BUFFER;
    const PLACES: u32 = S::PLACES;
    const SHARED: bool = S::SHARED;

    fn has_stream_per_object(&self) -> bool {
        self.inner.has_stream_per_object()
    }
    fn capacity(&mut self) -> u32 {
        self.inner.capacity()
    }
    fn check(&mut self, spec: &StreamSpec<'_>) -> Result<(), Self::Error> {
        self.inner.check(spec).map_err(FaultyStoreError::Store)
    }
    fn damaged(&mut self) -> u32 {
        self.inner.damaged()
    }
    fn wear(&mut self) -> Wear {
        self.inner.wear()
    }
    fn create(&mut self, spec: &StreamSpec<'_>) -> Result<Self::Writer<'_>, Self::Error> {
        if (self.decide)(StoreOperation::Create) == StoreFault::Before {
            return Err(FaultyStoreError::Injected(StoreOperation::Create));
        }
        let inner = self.inner.create(spec).map_err(FaultyStoreError::Store)?;
        Ok(FaultyStream { inner, decide: &mut self.decide })
    }
    fn commit(&mut self, header: &Header<'_>, last: &Encoded) -> Result<(), Self::Error> {
        self.call(StoreOperation::Commit, |store| store.commit(header, last))
    }
    fn checkpoint(&mut self, index: u32) -> Result<Option<CheckpointMeta>, Self::Error> {
        self.call(StoreOperation::List, |store| store.checkpoint(index))
    }
    fn stream_count(&mut self, sequence: u32) -> Result<u32, Self::Error> {
        self.call(StoreOperation::StreamCount, |store| store.stream_count(sequence))
    }
    fn is_durable(&mut self, sequence: u32) -> bool {
        self.inner.is_durable(sequence)
    }
    fn open(&mut self, sequence: u32, stream_index: u32) -> Result<Self::Reader<'_>, Self::Error> {
        if (self.decide)(StoreOperation::Open) == StoreFault::Before {
            return Err(FaultyStoreError::Injected(StoreOperation::Open));
        }
        let inner = self.inner.open(sequence, stream_index).map_err(FaultyStoreError::Store)?;
        Ok(FaultyStream { inner, decide: &mut self.decide })
    }
    fn remove(&mut self, sequence: u32) -> Result<(), Self::Error> {
        self.call(StoreOperation::Remove, |store| store.remove(sequence))
    }
    fn erase(&mut self, sequence: u32) -> Result<(), Self::Error> {
        self.call(StoreOperation::Remove, |store| store.erase(sequence))
    }
}

/// Why an operation of a [`FaultyStore`] failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultyStoreError<E> {
    /// The closure injected a fault into the operation.
    Injected(StoreOperation),
    /// The wrapped store failed.
    Store(E),
}

impl<E: fmt::Debug> fmt::Display for FaultyStoreError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl<E: fmt::Debug> core::error::Error for FaultyStoreError<E> {}

impl<E: embedded_io::Error> embedded_io::Error for FaultyStoreError<E> {
    fn kind(&self) -> ErrorKind {
        match self {
            FaultyStoreError::Injected(_) => ErrorKind::Other,
            FaultyStoreError::Store(error) => error.kind(),
        }
    }
}
