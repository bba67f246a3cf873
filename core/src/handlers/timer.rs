//! Measures time: of a run, an epoch, a batch; total or average.
//!
//! The rules are Ignite's. A timer runs from the moment it is built; [`reset`](Timer::reset) sets it to zero and
//! starts it; [`pause`](Timer::pause) and [`resume`](Timer::resume) do nothing when it is paused, or runs, already;
//! [`step`](Timer::step) counts what the average divides by, and no steps count as one.
//!
//! Time is an argument, in ticks of the caller's clock ([`time`](crate::time)). Nothing here reads a clock; [`Attached`] reads the one
//! it was given, and only at its events.
//!
//! ```
//! use training_monitor::Timer;
//!
//! let mut timer = Timer::new(100); // now = 100 ticks
//! timer.pause(150);
//! timer.resume(1000);
//! timer.step();
//! timer.step();
//! assert_eq!(timer.total(), 50); // closed intervals only
//! assert_eq!(timer.elapsed(1010), 60);
//! assert_eq!(timer.seconds(1010, 10), 3.0); // 60 ticks at 10 Hz, over 2 steps
//! ```

use crate::event::{Event, Never, When};
use crate::handler::Handler;
use crate::record::{RecordReader, RecordWriter, kind};
use crate::state::State;
use crate::time::Clock;
use core::num::{NonZeroU32, NonZeroU64};

/// The state machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Timer {
    average: bool,
    /// Ticks of closed intervals.
    total: u64,
    steps: u32,
    /// When the open interval began; `None` while paused.
    since: Option<u64>,
}

impl Timer {
    /// A timer that averages over its steps; it runs.
    #[must_use]
    pub const fn new(now: u64) -> Self {
        Timer { average: true, total: 0, steps: 0, since: Some(now) }
    }

    /// A timer that ignores its steps: Ignite's `average=False`.
    #[must_use]
    pub const fn without_average(mut self) -> Self {
        self.average = false;
        self
    }

    /// Back to zero, and starts.
    pub const fn reset(&mut self, now: u64) {
        self.total = 0;
        self.steps = 0;
        self.since = Some(now);
    }

    /// Stops counting. Does nothing when paused already.
    pub const fn pause(&mut self, now: u64) {
        self.total = self.elapsed(now);
        self.since = None;
    }

    /// Goes on counting. Does nothing while it runs.
    pub const fn resume(&mut self, now: u64) {
        if self.since.is_none() {
            self.since = Some(now);
        }
    }

    /// Counts a step; works while paused, too.
    pub const fn step(&mut self) {
        self.steps = self.steps.saturating_add(1);
    }

    /// Ticks of closed intervals (Ignite's `total`): what ran since the last resume is not in it.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Ticks until now, the open interval included.
    #[must_use]
    pub const fn elapsed(&self, now: u64) -> u64 {
        match self.since {
            // A clock that went back has measured nothing.
            Some(since) => self.total.saturating_add(now.saturating_sub(since)),
            None => self.total,
        }
    }

    /// Ignite's `value()`, in ticks: elapsed, divided by the steps if it averages.
    #[must_use]
    pub fn value(&self, now: u64) -> u64 {
        self.elapsed(now) / NonZeroU64::from(self.divisor())
    }

    /// Ignite's `value()`, in seconds of a clock of `hertz` ticks a second.
    #[must_use]
    pub fn seconds(&self, now: u64, hertz: u32) -> f32 {
        self.elapsed(now) as f32 / hertz as f32 / self.divisor().get() as f32
    }

    const fn divisor(&self) -> NonZeroU32 {
        match NonZeroU32::new(self.steps) {
            Some(steps) if self.average => steps,
            _ => NonZeroU32::MIN,
        }
    }

    /// Steps counted.
    #[must_use]
    pub const fn step_count(&self) -> u32 {
        self.steps
    }

    /// Whether it is counting.
    #[must_use]
    pub const fn running(&self) -> bool {
        self.since.is_some()
    }

    /// Makes it a handler with `clock`: `start` resets it, `pause` pauses it, `resume` resumes it, `step` counts, in this
    /// order where they are one event. [`Never`] leaves one out. Ignite's defaults are
    /// `attach(clock, Started, Completed, Never, Never)`.
    pub const fn attach<C, S, P, R, T>(
        self,
        clock: C,
        start: S,
        pause: P,
        resume: R,
        step: T,
    ) -> Attached<C, S, P, R, T> {
        Attached { timer: self, clock, start, pause, resume, step }
    }

    /// As [`attach`](Self::attach) with Ignite's defaults: the time of a run.
    pub const fn attach_to_run<C>(
        self,
        clock: C,
    ) -> Attached<C, crate::event::Started, crate::event::Completed, Never, Never> {
        self.attach(clock, crate::event::Started, crate::event::Completed, Never, Never)
    }
}

/// A [`Timer`] that watches an engine.
#[derive(Clone, Copy, Debug)]
pub struct Attached<C, S, P, R, T> {
    /// The state machine.
    pub timer: Timer,
    /// Its clock.
    pub clock: C,
    start: S,
    pause: P,
    resume: R,
    step: T,
}

impl<M: ?Sized, O, X, C, S, P, R, T> Handler<M, O, X> for Attached<C, S, P, R, T>
where
    C: Clock,
    S: When,
    P: When,
    R: When,
    T: When,
{
    #[inline(always)]
    fn on_event(&mut self, event: Event, _: &mut M, state: &mut State<O, X>) {
        let at = state.counters();
        if self.start.fires(event, at) {
            self.timer.reset(self.clock.now());
        }
        if self.pause.fires(event, at) {
            self.timer.pause(self.clock.now());
        }
        if self.resume.fires(event, at) {
            self.timer.resume(self.clock.now());
        }
        if self.step.fires(event, at) {
            self.timer.step();
        }
    }
    fn save_state(&mut self, _: &State<O, X>, record: &mut RecordWriter<'_>) {
        // The open interval is closed at this moment.
        let now = if self.timer.running() { self.clock.now() } else { 0 };
        self.timer.save_state(now, record);
    }
    fn restore_state(&mut self, _: &mut State<O, X>, record: &mut RecordReader<'_>) {
        if self.timer.restore_state(record) {
            self.timer.resume(self.clock.now());
        }
    }
}

impl Timer {
    fn save_state(&self, now: u64, record: &mut RecordWriter<'_>) {
        record.fields(kind::TIMER, |to| {
            to.number(self.elapsed(now));
            to.number(self.steps.into());
            to.byte(u8::from(self.running()));
        });
    }

    /// True when it was running; it is paused.
    fn restore_state(&mut self, record: &mut RecordReader<'_>) -> bool {
        let state = record.fields(kind::TIMER, |from| Some((from.long()?, from.number()?, from.flag()?)));
        let Some((total, steps, running)) = state else { return false };
        *self = Timer { average: self.average, total, steps, since: None };
        running
    }
}
