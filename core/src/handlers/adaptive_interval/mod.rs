//! Adapts the time between two saves to the failures of the power supply, to the duration of a save, and to the wear of
//! the memory.
//!
//! A short interval costs time for saves, a long one repeats more work after a failure. The interval with the least loss
//! is `√(2 · duration of a save · mean time between failures)`, to first order (Young, 1974). An [`AdaptiveInterval`]
//! measures both: it takes the duration of a save from the clock, and it counts the starts of the program and the time
//! between them. What it has learned is a part of every checkpoint. Two bounds can make the interval longer:
//!
//! * a *maximum overhead*: the part of the time that is spent in saves ([`with_max_overhead`]),
//! * a *wear budget*: the erases that the memory endures in a required lifetime ([`with_wear_budget`]).
//!
//! A start whose power fails before its first save leaves no trace. Therefore, the interval starts anew at each start: the
//! first interval is as long as a save, and each further interval is at most twice as long as the last one. Only the wear
//! budget makes the first interval longer. A device without a wear budget makes progress if its power lasts for the time of
//! two saves and an iteration.
//!
//! # Wear budget
//!
//! Each erase of a slot costs `lifetime / erases` ticks of *debt*, and each tick pays back one tick. The limit of the debt
//! is three quarters of `borrow`; the last quarter is a reserve, see below. A save that would increase the debt above the
//! limit waits, so at most `(elapsed + limit) · erases / lifetime` erases have been counted when a save begins. A save at an
//! event that the filter does not select, such as the end of the run, does not wait; later saves pay for it. The interval
//! becomes longer with the debt: at half of the limit, the expected number of saves is what the budget permits. For a mean
//! time between failures `M` and `p` ticks of debt per erase, that is the interval `M · ln(1 + p / M)`.
//!
//! By default, the time between a save and the next start does not pay back debt, because it is unknown. A clock that
//! continues while the power is off makes it known ([`with_continuous_clock`]). Without such a clock, a device whose
//! power often fails saves less often than the budget permits. If the budget is used up, it makes no progress while each
//! on-time is shorter than the time of four erases.
//!
//! The erase of an interrupted save is counted at the next start, when the store finds the remains of the save. The first
//! save of that start comes at once, so that its checkpoint contains the debt. If the budget does not permit this save, it
//! waits until the budget does, and at least for the time of one erase, because a further interrupted save would leave the
//! same remains.
//!
//! An erase that was interrupted before it changed what the store reads leaves no remains and is not counted. Instead, an
//! interrupted save whose remains are found costs three erases, and a quarter of `borrow` is a reserve. No fixed reserve
//! suffices for every sequence of such failures. Consecutive starts whose first save is interrupted leave the same
//! remains, so while the budget permits their saves, they cost three erases together. The erases can therefore exceed the
//! budget if power repeatedly fails before one save is complete.
//!
//! ```
//! use std::cell::Cell;
//! use training_monitor::checkpoint::Named;
//! use training_monitor::event::IterationCompleted;
//! use training_monitor::handlers::adaptive_interval::{IntervalLimit, WearBudget};
//! use training_monitor::store::ram::Ram;
//! use training_monitor::{AdaptiveInterval, Engine, ModelCheckpoint};
//!
//! const DAY: u64 = 24 * 3600 * 1000; // the clock counts milliseconds
//!
//! let interval = AdaptiveInterval::new()
//!     .with_max_overhead(0.035)?
//!     // 16 slots that endure 10 000 erases each shall last for one year. One day of wear can be borrowed.
//!     .with_wear_budget(WearBudget { erases: 16 * 10_000, lifetime: 365 * DAY, borrow: DAY })?
//!     .with_continuous_clock();
//!
//! // Each reading of this clock is 10 ms after the last one, so an iteration takes 10 ms, and a save takes 10 ms.
//! let ms = Cell::new(0);
//! let clock = || { ms.set(ms.get() + 10); ms.get() };
//! let checkpoint = ModelCheckpoint::<2>::every(1)?.attach(IterationCompleted, Ram::<3, 256>::new())?;
//! let mut handler = interval.attach(IterationCompleted, clock, checkpoint);
//! Engine::new(1).run(&mut Named::new("model", [0.0_f32]), 0..500, &mut handler, |_, _, _| ())?;
//!
//! assert_eq!(handler.handler.policy().calls(), 4);
//! // The device has trained for a short time, so it does not use much of the wear that it can borrow.
//! assert_eq!(handler.interval.limit(), IntervalLimit::Wear);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`with_max_overhead`]: AdaptiveInterval::with_max_overhead
//! [`with_wear_budget`]: AdaptiveInterval::with_wear_budget
//! [`with_continuous_clock`]: AdaptiveInterval::with_continuous_clock

mod handler;
mod settings;
mod state;

pub use handler::AdaptiveIntervalHandler;
pub use settings::{IntervalLimit, WearBudget};
pub use state::AdaptiveIntervalState;

use crate::config::ConfigError;
use crate::event::EventFilter;
use crate::hash::{Hash, fold};
use crate::store::Wear;
use crate::time::Clock;
use core::fmt;

/// The failures after which the older half of the observed time counts half, so that the estimate follows a change.
const MAX_FAILURES: u8 = 16;
/// The erases that an interrupted save costs: its own, and two for interrupted saves that left no remains.
const INTERRUPTED_SAVE: u32 = 3;

/// A state machine that decides when to save. The [module](self) describes its rules. All durations are in ticks of the
/// program's clock.
///
/// The method [`attach`](Self::attach) combines it with a handler that saves checkpoints. A custom loop calls
/// [`start`](Self::start), [`update`](Self::update), [`begin_save`](Self::begin_save) and [`end_save`](Self::end_save).
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct AdaptiveInterval {
    /// The maximum part of the time that is spent in saves; 1 without a bound.
    max_overhead: f32,
    budget: Option<WearBudget>,
    is_clock_continuous: bool,
    /// The hash of the name; 0 without a name.
    name: u16,
    /// What the saves and starts of the run have shown.
    learned: AdaptiveIntervalState,
    /// The last reading of the clock. `None` while the time does not count.
    last: Option<u64>,
    /// The ticks since the last save, or since the start.
    elapsed: u64,
    /// The interval until the next save.
    interval: u64,
    /// The last interval. `None` before the first save after a start.
    last_interval: Option<u64>,
    /// Whether the store contained the remains of an interrupted save at the start.
    was_interrupted: bool,
}

impl Default for AdaptiveInterval {
    fn default() -> Self {
        Self::new()
    }
}

impl AdaptiveInterval {
    /// Creates a state machine without bounds. The time does not count before [`start`](Self::start).
    #[must_use]
    pub const fn new() -> Self {
        AdaptiveInterval {
            max_overhead: 1.0,
            budget: None,
            is_clock_continuous: false,
            name: 0,
            learned: AdaptiveIntervalState::NEW,
            last: None,
            elapsed: 0,
            interval: 0,
            last_interval: None,
            was_interrupted: false,
        }
    }

    /// Bounds the part of the time that is spent in saves. The bound applies once the interval has grown to it, see the
    /// [module](self).
    ///
    /// # Errors
    /// Returns [`ConfigError::MaxOverhead`] if `share` is not in the range 0 < share < 1.
    pub const fn with_max_overhead(mut self, share: f32) -> Result<Self, ConfigError> {
        if !(share > 0.0 && share < 1.0) {
            return Err(ConfigError::MaxOverhead);
        }
        self.max_overhead = share;
        Ok(self)
    }

    /// Bounds the erases of the memory.
    ///
    /// # Errors
    /// Returns [`ConfigError::WearBudget`] if a field is 0, or if less than six erases can be borrowed.
    pub const fn with_wear_budget(mut self, budget: WearBudget) -> Result<Self, ConfigError> {
        if !budget.is_valid() {
            return Err(ConfigError::WearBudget);
        }
        self.budget = Some(budget);
        Ok(self)
    }

    /// States that the clock continues while the power is off, as a real-time clock with a battery does. The time without
    /// power then pays back wear.
    #[must_use]
    pub const fn with_continuous_clock(mut self) -> Self {
        self.is_clock_continuous = true;
        self
    }

    /// Sets a name. A program with two state machines of the same settings gives them names, so that a checkpoint
    /// distinguishes their states.
    #[must_use]
    pub const fn with_name(mut self, name: &'static str) -> Self {
        self.name = fold(Hash::NEW.bytes(name.as_bytes()).value());
        self
    }

    /// Starts to count the time at the tick `now`. What is known of earlier starts in the same program remains.
    pub fn start(&mut self, now: u64) {
        self.learned.starts = self.learned.starts.saturating_add(1);
        self.begin(now, false);
    }

    /// Continues after a restart of the program, from a state that a checkpoint contained. The program starts at the tick
    /// `now`. `wear` is that of the store before the first save.
    pub fn restart(&mut self, state: AdaptiveIntervalState, now: u64, wear: Wear) {
        self.learned = state;
        let off = if self.is_clock_continuous { now.saturating_sub(state.reading) } else { 0 };
        let learned = &mut self.learned;
        learned.starts = learned.starts.saturating_add(1);
        if !state.is_stopped {
            // The power failed at an unknown time until the next save: after half of that time on average.
            let mut lost = 0.5 * state.interval;
            if self.is_clock_continuous {
                lost = lost.min(off as f32);
            }
            learned.lost += lost;
            learned.observed += lost;
            learned.failures += 1;
            if learned.failures > MAX_FAILURES {
                learned.failures /= 2;
                learned.observed *= 0.5;
            }
        }
        learned.is_stopped = false;
        learned.debt = learned.debt.saturating_sub(off);
        let was_interrupted = wear.interrupted > 0;
        if was_interrupted {
            self.charge(INTERRUPTED_SAVE);
            if !self.can_borrow() {
                self.learned.debt = self.learned.debt.max(self.budget.map_or(0, WearBudget::max_debt));
            }
        }
        self.begin(now, was_interrupted);
    }

    fn begin(&mut self, now: u64, was_interrupted: bool) {
        self.last = Some(now);
        // The time until now has paid back debt. The next restart must not count it again.
        self.learned.reading = now;
        self.elapsed = 0;
        self.last_interval = None;
        self.was_interrupted = was_interrupted;
        self.plan();
    }

    /// Adds the ticks since the last call. Returns true if it is time for a save. The first call
    /// after [`new`](Self::new) or [`pause`](Self::pause) adds nothing, and neither does a clock that runs backwards.
    pub fn update(&mut self, now: u64) -> bool {
        self.elapsed = self.elapsed.saturating_add(self.count(now));
        self.elapsed >= self.interval && self.can_borrow()
    }

    /// Adds the ticks since the last call. The time then does not count until the next call of a method with a time. A
    /// restart from a checkpoint that is saved until then is not a failure.
    pub fn pause(&mut self, now: u64) {
        if self.last.is_some() {
            self.update(now);
        }
        self.last = None;
        self.learned.is_stopped = true;
    }

    /// Tells the state machine that a save begins, at the tick of the last update. Call this method before the
    /// [state](Self::state) is encoded, so that the checkpoint contains the wear of its own save.
    pub fn begin_save(&mut self) {
        let elapsed = core::mem::take(&mut self.elapsed);
        // Before the first save of a start, a failure would have left no trace, so that time does not count.
        if self.last_interval.is_some() {
            self.learned.observed += elapsed as f32;
        }
        self.last_interval = Some(elapsed);
        self.was_interrupted = false;
        self.charge(1);
        self.plan();
    }

    /// Tells the state machine that a save has ended at the tick `now`. `is_saved` says whether it was committed. `erases`
    /// is the number of slots that the save has erased, and `wear` is that of the store after the save.
    pub fn end_save(&mut self, now: u64, is_saved: bool, erases: u32, wear: Wear) {
        let is_measured = is_saved && self.last.is_some();
        let ticks = self.count(now) as f32;
        let learned = &mut self.learned;
        learned.observed += ticks;
        if is_measured {
            let ticks = ticks.max(1.0); // shorter than a tick of the clock
            learned.duration = if learned.duration > 0.0 { 0.75 * learned.duration + 0.25 * ticks } else { ticks };
        }
        // A store that does not count its erases has used one slot.
        let erases = erases.max(u32::from(is_saved));
        match erases.checked_sub(1) {
            Some(further) => self.charge(further),
            None => learned.debt = learned.debt.saturating_sub(self.budget.map_or(0, WearBudget::ticks_per_erase)),
        }
        self.plan();
        if let Some(budget) = self.budget.filter(|_| wear.erases > 0) {
            self.learned.life = budget.erases.saturating_sub(wear.erases) as f32 * self.learned.interval;
        }
    }

    /// Returns the ticks since the last reading of the clock, which also pay back debt.
    fn count(&mut self, now: u64) -> u64 {
        let ticks = self.last.map_or(0, |last| now.saturating_sub(last));
        self.last = Some(now);
        self.learned.is_stopped = false;
        self.learned.reading = now;
        self.learned.debt = self.learned.debt.saturating_sub(ticks);
        ticks
    }

    fn charge(&mut self, erases: u32) {
        let price = self.budget.map_or(0, WearBudget::ticks_per_erase);
        self.learned.debt = self.learned.debt.saturating_add(price.saturating_mul(u64::from(erases)));
    }

    fn can_borrow(&self) -> bool {
        let allows =
            |budget: WearBudget| self.learned.debt.saturating_add(budget.ticks_per_erase()) <= budget.max_debt();
        self.budget.is_none_or(allows)
    }

    /// Determines the next interval.
    fn plan(&mut self) {
        let duration = self.learned.duration;
        let mtbf = self.mean_time_between_failures().max(duration).max(1.0);
        let optimum = libm::sqrtf(2.0 * duration * mtbf);
        let overhead = duration * (1.0 / self.max_overhead - 1.0);
        let (mut interval, mut limit) = (optimum, IntervalLimit::Optimum);
        if overhead > interval {
            (interval, limit) = (overhead, IntervalLimit::Overhead);
        }
        let start = self.last_interval.map_or(duration, |last| 2.0 * duration.max(last as f32));
        if start < interval {
            (interval, limit) = (start, IntervalLimit::Start);
        }
        let wear_interval = self.budget.map_or(0.0, |budget| budget.interval(self.learned.debt, mtbf));
        if wear_interval > interval {
            (interval, limit) = (wear_interval, IntervalLimit::Wear);
        }
        if self.was_interrupted {
            (interval, limit) = (0.0, IntervalLimit::Start);
        }
        self.interval = interval as u64;
        self.learned.interval = self.interval as f32;
        self.learned.limit = limit;
    }

    /// Returns the interval until the next save, in ticks. It can be longer if the wear budget is used up.
    #[must_use]
    pub const fn interval(&self) -> u64 {
        self.interval
    }

    /// Returns what determines the interval.
    #[must_use]
    pub const fn limit(&self) -> IntervalLimit {
        self.learned.limit
    }

    /// Returns the estimated mean time between two failures, in ticks. The estimate counts the present start as a failure,
    /// so it is the observed time if there was none.
    #[must_use]
    pub fn mean_time_between_failures(&self) -> f32 {
        self.learned.observed / (f32::from(self.learned.failures) + 1.0)
    }

    /// Returns what a checkpoint contains: what the saves and starts of the run have shown.
    #[must_use]
    pub const fn state(&self) -> &AdaptiveIntervalState {
        &self.learned
    }

    /// Attaches the state machine to a run. At the events that `filter` selects, `handler` may save only if the interval is
    /// over; otherwise it does not receive the event. It receives all other events, so it can save at the end of the run,
    /// for example. Its saves count for the wear budget.
    ///
    /// A handler that [saves in the background](crate::handlers::model_checkpoint::BackgroundCheckpoint) cannot be attached:
    /// it needs every event to continue its save.
    ///
    /// The handler is usually a [`ModelCheckpoint`](crate::ModelCheckpoint) that saves at every event. A step number then
    /// counts the saves.
    pub const fn attach<W: EventFilter, C: Clock, H>(
        self,
        filter: W,
        clock: C,
        handler: H,
    ) -> AdaptiveIntervalHandler<H, W, C> {
        AdaptiveIntervalHandler::new(self, filter, clock, handler)
    }
}

/// Writes the interval and its reason, for example `saves every 5000 ticks (optimum), start 3, mean time between failures
/// 120000 ticks`.
impl fmt::Display for AdaptiveInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (interval, limit, starts) = (self.interval, self.limit(), self.learned.starts);
        let mtbf = self.mean_time_between_failures() as u64;
        write!(f, "saves every {interval} ticks ({limit}), start {starts}, mean time between failures {mtbf} ticks")?;
        match self.learned.life as u64 {
            0 => Ok(()),
            life => write!(f, ", remaining flash life {life} ticks"),
        }
    }
}
