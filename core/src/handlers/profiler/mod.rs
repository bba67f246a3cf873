//! Measures how long the parts of an iteration and of an epoch take, and how long each handler takes.
//!
//! A [`Profiler`] divides the time of a run into three parts. At every moment, exactly one of them is in progress, so the
//! totals of the three parts add up to the time from `Started` to `Completed`:
//!
//! * *fetch*: from `GetBatchStarted` to `GetBatchCompleted`. A custom loop does not fire these events, so it has no fetch.
//! * *step*: from `IterationStarted` to `IterationCompleted`.
//! * *other*: from the end of a step to the start of the next one, without the fetch. This is the time of the handlers,
//!   of the saves, and of the engine. The time before the first step and after the last step is *other*, too.
//!
//! An *epoch* from `EpochStarted` to `EpochCompleted` contains these parts. A step that fails, a fetch without a batch and
//! an epoch that [`terminate`](crate::State::terminate) stops are not counted. The ticks of that step or fetch belong to
//! *other*.
//!
//! A profiler sees an event in the order of the tuple. Put it first: then a step ends before the other handlers
//! of `IterationCompleted` start. Their time is *other*, but the handlers of `IterationStarted` belong to the step.
//!
//! A [`Profiled`] handler measures one handler alone. Both types have constant memory: Ignite's `BasicTimeProfiler`
//! and `HandlersTimeProfiler` store every duration, these types store [`TickStatistics`]. All durations are in ticks of
//! the program's clock; see the module [`time`](crate::time). A clock that runs backwards adds nothing. A wrapping 32-bit
//! counter is extended by [`WrappingClock`](crate::time::WrappingClock), which must be read once every 2³² ticks. The
//! profiler reads it several times per iteration.
//!
//! ```
//! use std::cell::Cell;
//! use training_monitor::event::{EpochCompleted, IterationCompleted};
//! use training_monitor::{EarlyStopping, Engine, Profiled, Profiler};
//!
//! // A clock for this example: a step takes 50 ticks, and a slow handler takes 7 ticks.
//! let ticks = Cell::new(0);
//! let clock = || ticks.get();
//! let stopping = EarlyStopping::new(3)?.attach(EpochCompleted, |state| {
//!     ticks.set(ticks.get() + 7);
//!     state.output.unwrap_or(0.0)
//! });
//! let mut handlers = (
//!     Profiler::new().attach(clock),
//!     Profiled::new("stopping", stopping, EpochCompleted, clock),
//! );
//! Engine::new(2).run(&mut (), 0..10, &mut handlers, |_, _, state| {
//!     ticks.set(ticks.get() + 50);
//!     state.iteration() as f32
//! })?;
//!
//! let (profiler, stopping) = (&handlers.0.profiler, &handlers.1);
//! assert_eq!((profiler.step().count(), profiler.step().mean()), (20, 50.0));
//! assert_eq!((profiler.other().total(), profiler.other().max()), (14, 7));
//! assert_eq!(stopping.events().total(), 14);
//! let table = format!("{profiler}\n{stopping}");
//! assert_eq!(table, "\
//! name                 count            total          min          max         mean    deviation
//! fetch                   20                0            0            0            0            0
//! step                    20             1000           50           50           50            0
//! other                   21               14            0            7            1            2
//! epoch                    2             1000          500          500          500            0
//! stopping                 2               14            7            7            7            0");
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

mod interval;
mod profiled;
mod statistics;

pub use profiled::Profiled;
pub use statistics::TickStatistics;

use crate::event::{Event, EventFilter, Never};
use crate::handler::Handler;
use crate::run_record::HandlerStates;
use crate::state::State;
use crate::time::Clock;
use core::fmt;
use interval::Interval;

/// Measures the parts of an iteration and the epochs, from the events of a run and the ticks of the program's clock.
///
/// By default, a checkpoint contains no statistics, so a profiler can be added to a program without a change of its
/// checkpoints. The method [`with_saved_statistics`](Self::with_saved_statistics) saves them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Profiler {
    /// While it is open, it is the part in progress.
    fetch: Interval,
    /// While it is open and `fetch` is not, it is the part in progress.
    step: Interval,
    /// Stays open during a fetch, but the ticks of the fetch are not added to it.
    other: Interval,
    epoch: Interval,
    /// The last reading of the clock. `None` while the time does not count.
    last: Option<u64>,
    is_saved: bool,
}

impl Default for Profiler {
    fn default() -> Self {
        Self::new()
    }
}

impl Profiler {
    /// Creates a profiler. The time does not count before the first event.
    #[must_use]
    pub const fn new() -> Self {
        Profiler {
            fetch: Interval::new(1),
            step: Interval::new(2),
            other: Interval::new(3),
            epoch: Interval::new(4),
            last: None,
            is_saved: false,
        }
    }

    /// Saves the statistics with the run, so that the statistics of a resumed run cover the whole training. The parts that
    /// are in progress at the save continue in the resumed run. The time between the save and the restore does not count.
    ///
    /// The statistics take up to 280 bytes in the run record of a checkpoint, and usually less than half of that. The
    /// default [capacity](crate::run_record::CAPACITY) is too small for them.
    /// Call [`Engine::with_record_capacity`](crate::Engine::with_record_capacity). A run resumes only if the program
    /// and its checkpoint agree on this setting.
    ///
    /// ```
    /// use training_monitor::{Engine, Profiler};
    ///
    /// let mut ticks = 0;
    /// let mut profiler = Profiler::new().with_saved_statistics().attach(|| { ticks += 1; ticks });
    /// let mut engine = Engine::<(), (), 512>::with_record_capacity(1, ());
    /// engine.run(&mut (), 0..4, &mut profiler, |_, _, _| ())?;
    /// let record = engine.record::<(), _>(&mut profiler)?;
    ///
    /// let mut restored = Profiler::new().with_saved_statistics().attach(|| 0);
    /// engine.restore::<(), _>(&record, &mut restored)?;
    /// assert_eq!(restored.profiler.step(), profiler.profiler.step());
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn with_saved_statistics(mut self) -> Self {
        self.is_saved = true;
        self
    }

    /// Processes an event that the engine fires at the tick `now`. An attached profiler calls this method.
    ///
    /// `Started` removes the statistics of the last run. At `Interrupt`, the time stops until the next event. If the run
    /// was interrupted between the start of a fetch or of a step and its end, the profiler does not know when it started
    /// again, so it does not count that fetch or step.
    pub const fn update(&mut self, event: Event, now: u64) {
        if self.last.is_none() {
            self.fetch.abandon();
            self.step.abandon();
        }
        self.add_ticks(now);
        match event {
            Event::Started => {
                *self = Profiler { last: self.last, is_saved: self.is_saved, ..Profiler::new() };
                self.other.open();
            }
            Event::EpochStarted => {
                self.epoch.open();
                // It is closed if the run was finished and continues with more epochs.
                self.other.open();
            }
            Event::GetBatchStarted => self.fetch.open(),
            Event::GetBatchCompleted => self.fetch.close(),
            Event::IterationStarted => {
                self.other.close();
                self.step.open();
            }
            Event::IterationCompleted => {
                self.step.close();
                self.other.open();
            }
            Event::EpochCompleted => {
                self.abandon_iteration();
                self.epoch.close();
            }
            Event::Completed | Event::ExceptionRaised => {
                self.abandon_iteration();
                self.other.close();
                self.epoch.abandon();
                self.last = None;
            }
            Event::Interrupt => self.last = None,
            _ => {}
        }
    }

    /// Returns whether [`update`](Self::update) needs the event.
    #[inline(always)]
    const fn selects(event: Event) -> bool {
        use Event::{
            Completed, EpochCompleted, EpochStarted, ExceptionRaised, GetBatchCompleted, GetBatchStarted, Interrupt,
            IterationCompleted, IterationStarted, Started,
        };
        matches!(
            event,
            Started
                | EpochStarted
                | GetBatchStarted
                | GetBatchCompleted
                | IterationStarted
                | IterationCompleted
                | EpochCompleted
                | Completed
                | ExceptionRaised
                | Interrupt
        )
    }

    /// Adds the ticks since the last reading to the parts that are in progress.
    const fn add_ticks(&mut self, now: u64) {
        if let Some(last) = self.last {
            let ticks = now.saturating_sub(last);
            self.epoch.add(ticks);
            if self.fetch.is_open() {
                self.fetch.add(ticks);
            } else if self.step.is_open() {
                self.step.add(ticks);
            } else {
                self.other.add(ticks);
            }
        }
        self.last = Some(now);
    }

    /// Ends a fetch without a batch or a step without an output. Its ticks belong to `other`.
    const fn abandon_iteration(&mut self) {
        if self.fetch.is_open() || self.step.is_open() {
            self.other.open();
        }
        self.other.add(self.fetch.abandon());
        self.other.add(self.step.abandon());
    }

    /// Returns the statistics of the fetches.
    #[must_use]
    pub const fn fetch(&self) -> &TickStatistics {
        &self.fetch.statistics
    }

    /// Returns the statistics of the steps.
    #[must_use]
    pub const fn step(&self) -> &TickStatistics {
        &self.step.statistics
    }

    /// Returns the statistics of the time between the steps, without the fetches.
    #[must_use]
    pub const fn other(&self) -> &TickStatistics {
        &self.other.statistics
    }

    /// Returns the statistics of the epochs.
    #[must_use]
    pub const fn epoch(&self) -> &TickStatistics {
        &self.epoch.statistics
    }

    /// Attaches the profiler to a run. The handler reads `clock` at the events that the profiler needs. Put it first in
    /// the tuple of handlers.
    pub const fn attach<C: Clock>(self, clock: C) -> ProfilerHandler<C> {
        ProfilerHandler { profiler: self, clock, observed: Never, observer: () }
    }
}

/// Writes a table with a heading and a row for each of fetch, step, other and epoch. Durations are in ticks.
impl fmt::Display for Profiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(TickStatistics::HEADER)?;
        let rows = [("fetch", self.fetch()), ("step", self.step()), ("other", self.other()), ("epoch", self.epoch())];
        rows.into_iter().try_for_each(|(name, statistics)| write!(f, "\n{name:<16}{statistics}"))
    }
}

/// A handler that measures the parts of a run. Created by [`Profiler::attach`]. The type parameters are the clock, the
/// event filter and the observer.
#[derive(Clone, Copy, Debug)]
pub struct ProfilerHandler<C, V = Never, B = ()> {
    /// The profiler.
    pub profiler: Profiler,
    /// The clock.
    pub clock: C,
    observed: V,
    observer: B,
}

impl<C, V, B> ProfilerHandler<C, V, B> {
    /// Adds an observer, which receives the profiler at the events that `filter` selects, for example to print its
    /// statistics after each epoch.
    ///
    /// ```
    /// use training_monitor::{Engine, Profiler, event::EpochCompleted};
    ///
    /// let (mut ticks, mut means) = (0, Vec::new());
    /// let mut profiler = Profiler::new()
    ///     .attach(|| { ticks += 10; ticks })
    ///     .observe(EpochCompleted, |profiler: &Profiler| means.push(profiler.step().mean()));
    /// Engine::new(2).run(&mut (), 0..4, &mut profiler, |_, _, _| ())?;
    /// assert_eq!(means, [10.0, 10.0]);
    /// # Ok::<(), training_monitor::RunError>(())
    /// ```
    pub fn observe<W, F>(self, filter: W, observer: F) -> ProfilerHandler<C, W, F>
    where
        W: EventFilter,
        F: FnMut(&Profiler),
    {
        ProfilerHandler { profiler: self.profiler, clock: self.clock, observed: filter, observer }
    }
}

/// A function that a [`ProfilerHandler`] calls to report its profiler. Closures `FnMut(&Profiler)` implement this trait.
/// The type `()` stands for no observer.
pub trait ProfilerObserver {
    /// Called with the profiler.
    fn on_statistics(&mut self, profiler: &Profiler);
}

/// The observer that does nothing.
impl ProfilerObserver for () {
    #[inline(always)]
    fn on_statistics(&mut self, _: &Profiler) {}
}

impl<F: FnMut(&Profiler)> ProfilerObserver for F {
    #[inline]
    fn on_statistics(&mut self, profiler: &Profiler) {
        self(profiler);
    }
}

impl<T: ?Sized, O, X, C: Clock, V: EventFilter, B: ProfilerObserver> Handler<T, O, X> for ProfilerHandler<C, V, B> {
    #[inline(always)]
    fn on_event(&mut self, event: Event, _: &mut T, state: &mut State<O, X>) {
        if Profiler::selects(event) {
            self.profiler.update(event, self.clock.now());
        }
        if self.observed.matches(event, state.counters()) {
            self.observer.on_statistics(&self.profiler);
        }
    }
    fn persist(&mut self, _: &mut State<O, X>, states: &mut HandlerStates<'_>) {
        if !self.profiler.is_saved {
            return;
        }
        if self.profiler.last.is_some() {
            // The saved state contains the ticks until now.
            self.profiler.add_ticks(self.clock.now());
        }
        let Profiler { fetch, step, other, epoch, .. } = &mut self.profiler;
        let restored =
            [fetch, step, other, epoch].into_iter().fold(false, |restored, part| states.visit(part) | restored);
        if restored {
            self.profiler.last = Some(self.clock.now());
        }
    }
}
