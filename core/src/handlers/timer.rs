//! Measures the time of a run, an epoch or a batch, as a total or as an average.
//!
//! The rules are Ignite's. A timer runs from its construction. The method [`reset`](Timer::reset) sets the timer to
//! zero and starts it. The method [`pause`](Timer::pause) has no effect while the timer is paused,
//! and [`resume`](Timer::resume) has no effect while it is running. The method [`step`](Timer::step) counts a step. The
//! average is the total, divided by the number of steps. A timer without steps divides by 1.
//!
//! The program passes the time, in ticks of its clock (see the module [`time`](crate::time)). A timer that is attached
//! to a run owns a clock and reads it at its events.
//!
//! ```
//! use training_monitor::Timer;
//!
//! let mut timer = Timer::new(100); // starts at tick 100
//! timer.pause(150);
//! timer.resume(1000);
//! timer.step();
//! timer.step();
//! assert_eq!(timer.total(), 50); // completed intervals only
//! assert_eq!(timer.elapsed(1010), 60);
//! assert_eq!(timer.value(1010), 30);
//! assert_eq!(timer.seconds(1010, 10), 3.0); // 60 ticks at 10 Hz, divided by 2 steps
//! ```

use crate::event::{Completed, Event, EventFilter, Never, Started};
use crate::handler::Handler;
use crate::run_record::{HandlerKind, HandlerStates, Persist, StateCodec, StateDecoder, StateEncoder};
use crate::state::State;
use crate::time::Clock;
use core::num::NonZeroU32;

/// A timer that is driven by the ticks of the program's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Timer {
    average: bool,
    /// Ticks of completed intervals.
    total: u64,
    steps: u32,
    /// The tick at which the current interval started. `None` while the timer is paused.
    since: Option<u64>,
}

impl Timer {
    /// Creates a timer that runs from the tick `now` and returns averages over its steps.
    #[must_use]
    pub const fn new(now: u64) -> Self {
        Timer { average: true, total: 0, steps: 0, since: Some(now) }
    }

    /// Turns averaging off (Ignite's `average=False`). The methods [`value`](Self::value)
    /// and [`seconds`](Self::seconds) then return the total time.
    #[must_use]
    pub const fn without_average(mut self) -> Self {
        self.average = false;
        self
    }

    /// Sets total and steps to zero and starts the timer.
    pub const fn reset(&mut self, now: u64) {
        self.total = 0;
        self.steps = 0;
        self.since = Some(now);
    }

    /// Pauses the timer. Has no effect if it is paused.
    pub const fn pause(&mut self, now: u64) {
        self.total = self.elapsed(now);
        self.since = None;
    }

    /// Resumes the timer. Has no effect if it is running.
    pub const fn resume(&mut self, now: u64) {
        if self.since.is_none() {
            self.since = Some(now);
        }
    }

    /// Counts a step. Works while the timer is paused, too.
    pub const fn step(&mut self) {
        self.steps = self.steps.saturating_add(1);
    }

    /// Returns the ticks of all completed intervals, without the current interval (Ignite's `total`).
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Returns the ticks until `now`, including the current interval.
    #[must_use]
    pub const fn elapsed(&self, now: u64) -> u64 {
        match self.since {
            // A clock that went backwards adds nothing.
            Some(since) => self.total.saturating_add(now.saturating_sub(since)),
            None => self.total,
        }
    }

    /// Returns the elapsed ticks, divided by the number of steps and rounded down. If averaging is off, returns the
    /// elapsed ticks. This is Ignite's `value()` in ticks.
    #[must_use]
    pub const fn value(&self, now: u64) -> u64 {
        divide(self.elapsed(now), self.divisor())
    }

    /// Returns the elapsed time in seconds, divided by the number of steps unless averaging is off. `hertz` is the
    /// number of ticks per second. This is Ignite's `value()`.
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

    /// Returns the number of steps.
    #[must_use]
    pub const fn step_count(&self) -> u32 {
        self.steps
    }

    /// Returns whether the timer is running.
    #[must_use]
    pub const fn is_running(&self) -> bool {
        self.since.is_some()
    }

    /// Attaches the timer to a run. As in Ignite, the timer resets at `Started` and pauses at `Completed` by default.
    /// The handler's
    /// methods [`start`](TimerHandler::start), [`pause`](TimerHandler::pause), [`resume`](TimerHandler::resume)
    /// and [`step`](TimerHandler::step) select other events.
    ///
    /// ```
    /// use training_monitor::event::{IterationCompleted, IterationStarted};
    /// use training_monitor::{Engine, Timer};
    ///
    /// let mut ticks = 0;
    /// // The average duration of a step, without the time between steps.
    /// let mut timer = Timer::new(0)
    ///     .attach(|| { ticks += 1; ticks })
    ///     .pause(IterationCompleted)
    ///     .resume(IterationStarted)
    ///     .step(IterationCompleted);
    /// Engine::new(1).run(&mut (), 0..4, &mut timer, |_, _, _| ())?;
    /// assert_eq!(timer.timer.step_count(), 4);
    /// # Ok::<(), training_monitor::RunError>(())
    /// ```
    pub const fn attach<C: Clock>(self, clock: C) -> TimerHandler<C> {
        TimerHandler {
            timer: self,
            clock,
            start: Started,
            pause: Completed,
            resume: Never,
            step: Never,
            observed: Never,
            observer: (),
        }
    }
}

/// Divides bit by bit. The compiler's 64-bit division takes 932 bytes of code on 32-bit targets. This function is
/// smaller and slower, which is acceptable because a timer is read rarely.
#[cfg(not(target_pointer_width = "64"))]
pub(super) const fn divide(dividend: u64, divisor: NonZeroU32) -> u64 {
    let divisor = divisor.get() as u64;
    let (mut quotient, mut remainder, mut bit) = (0, 0, 64);
    while bit > 0 {
        bit -= 1;
        // Less than twice the divisor, so it fits.
        remainder = remainder << 1 | dividend >> bit & 1;
        quotient <<= 1;
        if remainder >= divisor {
            remainder -= divisor;
            quotient |= 1;
        }
    }
    quotient
}

#[cfg(target_pointer_width = "64")]
pub(super) const fn divide(dividend: u64, divisor: NonZeroU32) -> u64 {
    dividend / divisor.get() as u64
}

/// A handler that starts, pauses and reads a [`Timer`] at the events of a run. The type parameters are the clock, the
/// event filters and the observer.
///
/// If several operations select the same event, their order is: start, pause, resume, step, observe.
#[derive(Clone, Copy, Debug)]
pub struct TimerHandler<C, S = Started, P = Completed, R = Never, T = Never, V = Never, B = ()> {
    /// The timer.
    pub timer: Timer,
    /// The clock.
    pub clock: C,
    start: S,
    pause: P,
    resume: R,
    step: T,
    observed: V,
    observer: B,
}

impl<C, S, P, R, T, V, B> TimerHandler<C, S, P, R, T, V, B> {
    /// Selects the events that [reset](Timer::reset) the timer. The default is `Started`.
    pub fn start<W: EventFilter>(self, start: W) -> TimerHandler<C, W, P, R, T, V, B> {
        let TimerHandler { timer, clock, pause, resume, step, observed, observer, .. } = self;
        TimerHandler { timer, clock, start, pause, resume, step, observed, observer }
    }

    /// Selects the events that [pause](Timer::pause) the timer. The default is `Completed`.
    pub fn pause<W: EventFilter>(self, pause: W) -> TimerHandler<C, S, W, R, T, V, B> {
        let TimerHandler { timer, clock, start, resume, step, observed, observer, .. } = self;
        TimerHandler { timer, clock, start, pause, resume, step, observed, observer }
    }

    /// Selects the events that [resume](Timer::resume) the timer. By default, no event does.
    pub fn resume<W: EventFilter>(self, resume: W) -> TimerHandler<C, S, P, W, T, V, B> {
        let TimerHandler { timer, clock, start, pause, step, observed, observer, .. } = self;
        TimerHandler { timer, clock, start, pause, resume, step, observed, observer }
    }

    /// Selects the events that [count a step](Timer::step). By default, no event does.
    pub fn step<W: EventFilter>(self, step: W) -> TimerHandler<C, S, P, R, W, V, B> {
        let TimerHandler { timer, clock, start, pause, resume, observed, observer, .. } = self;
        TimerHandler { timer, clock, start, pause, resume, step, observed, observer }
    }

    /// Returns [`Timer::value`] at the current tick of the clock.
    pub fn value(&mut self) -> u64
    where
        C: Clock,
    {
        self.timer.value(self.clock.now())
    }

    /// Returns [`Timer::seconds`] at the current tick of the clock. `hertz` is the number of ticks per second.
    pub fn seconds(&mut self, hertz: u32) -> f32
    where
        C: Clock,
    {
        self.timer.seconds(self.clock.now(), hertz)
    }

    /// Adds an observer, which is called at the events that `filter` selects. It receives the timer and the current
    /// tick. For example, it can report the [average](Timer::value).
    pub fn observe<W, F>(self, filter: W, observer: F) -> TimerHandler<C, S, P, R, T, W, F>
    where
        W: EventFilter,
        F: FnMut(&Timer, u64),
    {
        let TimerHandler { timer, clock, start, pause, resume, step, .. } = self;
        TimerHandler { timer, clock, start, pause, resume, step, observed: filter, observer }
    }
}

/// A function that a [`TimerHandler`] calls to report its timer. Closures `FnMut(&Timer, u64)` implement this trait.
/// The type `()` stands for no observer.
pub trait TimerObserver {
    /// Called with the timer and the current tick.
    fn on_reading(&mut self, timer: &Timer, now: u64);
}

/// The observer that does nothing.
impl TimerObserver for () {
    #[inline(always)]
    fn on_reading(&mut self, _: &Timer, _: u64) {}
}

impl<F: FnMut(&Timer, u64)> TimerObserver for F {
    #[inline]
    fn on_reading(&mut self, timer: &Timer, now: u64) {
        self(timer, now);
    }
}

impl<M: ?Sized, O, X, C, S, P, R, T, V, B> Handler<M, O, X> for TimerHandler<C, S, P, R, T, V, B>
where
    C: Clock,
    S: EventFilter,
    P: EventFilter,
    R: EventFilter,
    T: EventFilter,
    V: EventFilter,
    B: TimerObserver,
{
    #[inline(always)]
    fn on_event(&mut self, event: Event, _: &mut M, state: &mut State<O, X>) {
        let counters = state.counters();
        if self.start.matches(event, counters) {
            self.timer.reset(self.clock.now());
        }
        if self.pause.matches(event, counters) {
            self.timer.pause(self.clock.now());
        }
        if self.resume.matches(event, counters) {
            self.timer.resume(self.clock.now());
        }
        if self.step.matches(event, counters) {
            self.timer.step();
        }
        if self.observed.matches(event, counters) {
            self.observer.on_reading(&self.timer, self.clock.now());
        }
    }
    fn persist(&mut self, run: &mut State<O, X>, states: &mut HandlerStates<'_>) {
        // The run had ended and continues now, so the timer continues, too.
        let resumes = states.visit(self) && run.extended && self.pause.matches(Event::Completed, run.counters());
        if resumes {
            self.timer.resume(self.clock.now());
        }
    }
}

/// The state of a [`Timer`] in a checkpoint. The checkpoint format fixes the encoding of these fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimerState {
    /// The elapsed ticks when the state was saved, including the interval that had not ended.
    total: u64,
    steps: u32,
    running: bool,
}

impl StateCodec for TimerState {
    fn encode(&self, encoder: &mut StateEncoder<'_>) {
        encoder.write_u64(self.total);
        encoder.write_u32(self.steps);
        encoder.write_bool(self.running);
    }
    fn decode(decoder: &mut StateDecoder<'_>) -> Option<Self> {
        Some(TimerState { total: decoder.read_u64()?, steps: decoder.read_u32()?, running: decoder.read_bool()? })
    }
}

/// The timer does not measure the time between a save and a restore. The current interval ends at the save, and a new
/// interval starts at the restore.
impl<C: Clock, S, P, R, T, V, B> Persist for TimerHandler<C, S, P, R, T, V, B> {
    const KIND: HandlerKind = HandlerKind::TIMER;
    type State = TimerState;
    const MAX_LEN: usize = 16;
    fn save(&mut self) -> TimerState {
        let running = self.timer.is_running();
        let now = if running { self.clock.now() } else { 0 };
        TimerState { total: self.timer.elapsed(now), steps: self.timer.steps, running }
    }
    fn restore(&mut self, TimerState { total, steps, running }: TimerState) {
        self.timer = Timer { average: self.timer.average, total, steps, since: None };
        if running {
            self.timer.resume(self.clock.now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn division_matches_the_operator() {
        for dividend in [0, 1, 6, 7, 8, 1000, u64::from(u32::MAX), 1 << 40, u64::MAX - 1, u64::MAX] {
            for divisor in [1, 2, 3, 7, 1000, u32::MAX - 1, u32::MAX] {
                let steps = NonZeroU32::new(divisor).unwrap();
                assert_eq!(divide(dividend, steps), dividend / u64::from(divisor), "{dividend} / {divisor}");
            }
        }
    }
}
