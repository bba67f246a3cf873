//! A store that reports each commit to the checker, takes a snapshot of the medium before and after each change, and
//! fails on request.

use super::failures::Failure;
use super::medium::{Inspect, MediumCheckpoint};
use core::cell::{Cell, RefCell};
use core::fmt::Debug;
use embedded_io::{ErrorKind, ErrorType, Read, Write};
use training_monitor::checkpoint::{Encoded, Header, RankingRule};
use training_monitor::store::{CheckpointMeta, Store, StreamSpec};

/// What happened during a start, in order.
#[derive(Debug)]
pub enum WatchEvent {
    /// The loadable checkpoints on a medium.
    Snapshot {
        /// 0 for the first store of the device, 1 for the second.
        place: usize,
        /// The checkpoints.
        listed: Vec<MediumCheckpoint>,
        /// The capacity that the store reports.
        capacity: u32,
    },
    /// The program called `commit`.
    Commit(Commit),
    /// The program has resumed or has decided to start a new run. Later records belong to the run.
    Running,
}

/// A call of `commit`.
#[derive(Clone, Debug)]
pub struct Commit {
    /// 0 for the first store of the device, 1 for the second.
    pub place: usize,
    /// The metadata from the header.
    pub meta: CheckpointMeta,
    /// The series name in the header.
    pub series: String,
    /// The ranking rule in the header.
    pub rule: RankingRule,
    /// The score name in the header.
    pub score_name: Option<String>,
    /// The bytes of all streams.
    pub bytes: Vec<u8>,
    /// The lengths of the streams.
    pub lens: Vec<usize>,
    /// Whether `commit` returned `Ok`.
    pub acknowledged: bool,
    /// The capacity that the store reports.
    pub capacity: u32,
}

/// The number of ticks that a step takes.
pub const STEP_TICKS: u64 = 10;

/// The state that the stores of a device share during a start.
#[derive(Debug, Default)]
pub struct Watch {
    is_off: Cell<bool>,
    power_left: Cell<Option<u32>>,
    /// The number of operations so far that change the medium.
    pub operations: Cell<u32>,
    /// Selects the effect of the interrupted operation, or how many writes fail.
    pub effect: Cell<u8>,
    commits_left: Cell<Option<u32>>,
    reads_left: Cell<Option<u32>>,
    lists_left: Cell<Option<u32>>,
    writes_left: Cell<Option<u32>>,
    requests_left: Cell<Option<u32>>,
    /// Whether the failure of this start has happened.
    pub has_failed: Cell<bool>,
    /// The number of events that the handlers received.
    pub events: Cell<u32>,
    /// The training time in ticks. Each step takes [`STEP_TICKS`].
    pub ticks: Cell<u64>,
    /// What happened so far.
    pub records: RefCell<Vec<WatchEvent>>,
    streams: RefCell<(Vec<u8>, Vec<usize>)>,
}

/// What the power does during an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Power {
    /// The operation is complete.
    On,
    /// The power fails during the operation.
    Fails,
    /// The power has failed before.
    Off,
}

impl Watch {
    /// Creates the shared state of a start with this failure.
    pub fn new(failure: Failure) -> Self {
        let watch = Watch::default();
        match failure {
            Failure::Power { after, effect } => {
                watch.power_left.set(Some(after));
                watch.effect.set(effect);
            }
            Failure::Stop(commits) => watch.commits_left.set(Some(commits)),
            Failure::Read(number) => watch.reads_left.set(Some(number)),
            Failure::List(number) => watch.lists_left.set(Some(number)),
            Failure::Write(number) => {
                watch.writes_left.set(Some(number));
                watch.effect.set(number as u8);
            }
            Failure::Request(number) => watch.requests_left.set(Some(number)),
            Failure::None | Failure::Damage(_) | Failure::Remove => (),
        }
        watch
    }

    /// Whether the power is off.
    pub fn is_off(&self) -> bool {
        self.is_off.get()
    }

    /// Returns how many operations remain before the power fails, if it fails.
    pub fn power_left(&self) -> Option<u32> {
        self.power_left.get()
    }

    /// Counts `count` operations that change the medium. If the power fails during one of them, it is off afterwards.
    pub fn operate(&self, count: u32) -> Power {
        if self.is_off() {
            return Power::Off;
        }
        self.operations.set(self.operations.get() + count);
        match self.power_left.get() {
            Some(left) if left < count => {
                self.is_off.set(true);
                self.has_failed.set(true);
                Power::Fails
            }
            left => {
                self.power_left.set(left.map(|left| left - count));
                Power::On
            }
        }
    }

    /// Counts down to a failure that happens once. Returns true if it happens now.
    fn expires(&self, left: &Cell<Option<u32>>) -> bool {
        let expired = left.get() == Some(0);
        left.set(left.get().and_then(|left| left.checked_sub(1)));
        if expired {
            self.has_failed.set(true);
        }
        expired
    }

    /// Returns an error if a read fails now.
    pub fn check_read<E>(&self) -> Result<(), Fault<E>> {
        match () {
            () if self.is_off() => Err(Fault::PowerOff),
            () if self.expires(&self.reads_left) => Err(Fault::Injected),
            () => Ok(()),
        }
    }

    /// Returns an error if a listing fails now.
    pub fn check_list<E>(&self) -> Result<(), Fault<E>> {
        match () {
            () if self.is_off() => Err(Fault::PowerOff),
            () if self.expires(&self.lists_left) => Err(Fault::Injected),
            () => Ok(()),
        }
    }

    /// Counts a write. If it fails now, returns how many writes fail.
    pub fn failing_writes(&self) -> Option<usize> {
        self.expires(&self.writes_left).then(|| 1 + usize::from(self.effect.get()) % 3)
    }

    /// Counts an event. Returns whether the program is asked to stop at this event.
    pub fn must_stop(&self) -> bool {
        let left = self.requests_left.get();
        self.requests_left.set(left.and_then(|left| left.checked_sub(1)));
        left == Some(0)
    }

    /// Counts the time of a step.
    pub fn take_step(&self) {
        self.ticks.set(self.ticks.get() + STEP_TICKS);
    }

    /// Adds a record.
    pub fn record(&self, record: WatchEvent) {
        self.records.borrow_mut().push(record);
    }
}

/// The error of a [`Watched`] store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault<E> {
    /// The error of the store.
    Store(E),
    /// The failure of this start.
    Injected,
    /// The power is off.
    PowerOff,
}

impl<E: Debug> core::fmt::Display for Fault<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{self:?}")
    }
}

impl<E: Debug> core::error::Error for Fault<E> {}

impl<E: embedded_io::Error> embedded_io::Error for Fault<E> {
    fn kind(&self) -> ErrorKind {
        match self {
            Fault::Store(error) => error.kind(),
            _ => ErrorKind::Other,
        }
    }
}

/// A store that reports to a [`Watch`].
#[derive(Debug)]
pub struct Watched<'w, S> {
    store: S,
    watch: &'w Watch,
    place: usize,
}

impl<'w, S: Inspect> Watched<'w, S> {
    /// Wraps a store. `place` is 0 for the first store of the device, 1 for the second.
    pub fn new(store: S, watch: &'w Watch, place: usize) -> Self {
        Watched { store, watch, place }
    }

    /// Records the content of the medium.
    pub fn snapshot(&mut self) {
        let (listed, capacity) = (self.store.inspect(), self.store.capacity());
        self.watch.record(WatchEvent::Snapshot { place: self.place, listed, capacity });
    }

    fn change<T>(&mut self, change: impl FnOnce(&mut S) -> Result<T, S::Error>) -> Result<T, Fault<S::Error>> {
        if S::SIMULATES_POWER {
            return if self.watch.is_off() {
                Err(Fault::PowerOff)
            } else {
                change(&mut self.store).map_err(Fault::Store)
            };
        }
        match self.watch.operate(1) {
            Power::On => change(&mut self.store).map_err(Fault::Store),
            Power::Fails => {
                if self.watch.effect.get().is_multiple_of(2) {
                    let _ = change(&mut self.store);
                }
                Err(Fault::PowerOff)
            }
            Power::Off => Err(Fault::PowerOff),
        }
    }
}

/// A writer that copies the bytes to the watch.
#[derive(Debug)]
pub struct WatchedWriter<'a, W> {
    writer: W,
    watch: &'a Watch,
}

impl<W: ErrorType> ErrorType for WatchedWriter<'_, W> {
    type Error = Fault<W::Error>;
}

impl<W: Write> Write for WatchedWriter<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Self::Error> {
        if self.watch.is_off() {
            return Err(Fault::PowerOff);
        }
        let count = self.writer.write(bytes).map_err(Fault::Store)?;
        let (all, lens) = &mut *self.watch.streams.borrow_mut();
        all.extend_from_slice(&bytes[..count]);
        if let Some(last) = lens.last_mut() {
            *last += count;
        }
        Ok(count)
    }
    fn flush(&mut self) -> Result<(), Self::Error> {
        self.writer.flush().map_err(Fault::Store)
    }
}

/// A reader that fails on request.
#[derive(Debug)]
pub struct WatchedReader<'a, R> {
    reader: R,
    watch: &'a Watch,
}

impl<R: ErrorType> ErrorType for WatchedReader<'_, R> {
    type Error = Fault<R::Error>;
}

impl<R: Read> Read for WatchedReader<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Self::Error> {
        self.watch.check_read()?;
        self.reader.read(into).map_err(Fault::Store)
    }
}

impl<'w, S: Inspect> Store for Watched<'w, S> {
    type Error = Fault<S::Error>;
    type Writer<'a>
        = WatchedWriter<'a, S::Writer<'a>>
    where
        Self: 'a;
    type Reader<'a>
        = WatchedReader<'a, S::Reader<'a>>
    where
        Self: 'a;
    type Checksum = S::Checksum;

    const SHARED: bool = S::SHARED;
    const PLACES: u32 = S::PLACES;

    fn has_stream_per_object(&self) -> bool {
        self.store.has_stream_per_object()
    }
    fn capacity(&mut self) -> u32 {
        self.store.capacity()
    }
    fn check(&mut self, spec: &StreamSpec<'_>) -> Result<(), Self::Error> {
        self.store.check(spec).map_err(Fault::Store)
    }
    fn create(&mut self, spec: &StreamSpec<'_>) -> Result<Self::Writer<'_>, Self::Error> {
        if self.watch.is_off() {
            return Err(Fault::PowerOff);
        }
        if spec.stream_index == 0 {
            self.snapshot();
            *self.watch.streams.borrow_mut() = Default::default();
        }
        if !S::SIMULATES_POWER && self.watch.expires(&self.watch.writes_left) {
            return Err(Fault::Injected);
        }
        self.watch.streams.borrow_mut().1.push(0);
        if !S::SIMULATES_POWER && self.watch.operate(1) != Power::On {
            return Err(Fault::PowerOff);
        }
        let writer = self.store.create(spec).map_err(Fault::Store)?;
        Ok(WatchedWriter { writer, watch: self.watch })
    }
    fn abandon_place(&mut self) -> bool {
        !self.watch.is_off() && self.store.abandon_place()
    }
    fn commit(&mut self, header: &Header<'_>, last: &Encoded) -> Result<(), Self::Error> {
        if self.watch.is_off() {
            return Err(Fault::PowerOff);
        }
        let (bytes, lens) = core::mem::take(&mut *self.watch.streams.borrow_mut());
        let mut commit = Commit {
            place: self.place,
            meta: CheckpointMeta::from(header),
            series: header.series.name.into(),
            rule: header.series.rule,
            score_name: header.score_name.map(Into::into),
            bytes,
            lens,
            acknowledged: true,
            capacity: self.store.capacity(),
        };
        let result = self.change(|store| store.commit(header, last));
        commit.acknowledged = result.is_ok();
        self.watch.record(WatchEvent::Commit(commit));
        if result.is_ok() {
            self.snapshot();
            let left = &self.watch.commits_left;
            left.set(left.get().map(|left| left.saturating_sub(1)));
            if left.get() == Some(0) {
                self.watch.is_off.set(true);
                self.watch.has_failed.set(true);
            }
        }
        result
    }
    fn checkpoint(&mut self, index: u32) -> Result<Option<CheckpointMeta>, Self::Error> {
        self.watch.check_list()?;
        self.store.checkpoint(index).map_err(Fault::Store)
    }
    fn stream_count(&mut self, sequence: u32) -> Result<u32, Self::Error> {
        self.store.stream_count(sequence).map_err(Fault::Store)
    }
    fn damaged(&mut self) -> u32 {
        self.store.damaged()
    }
    fn is_durable(&mut self, sequence: u32) -> bool {
        self.store.is_durable(sequence)
    }
    fn open(&mut self, sequence: u32, stream_index: u32) -> Result<Self::Reader<'_>, Self::Error> {
        self.watch.check_read()?;
        let reader = self.store.open(sequence, stream_index).map_err(Fault::Store)?;
        Ok(WatchedReader { reader, watch: self.watch })
    }
    fn remove(&mut self, sequence: u32) -> Result<(), Self::Error> {
        self.change(|store| store.remove(sequence))
    }
    fn erase(&mut self, sequence: u32) -> Result<(), Self::Error> {
        self.change(|store| store.erase(sequence))
    }
}
