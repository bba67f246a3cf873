//! Stops a run when its training time is used up.
//!
//! As in Ignite's `TimeLimit`, the run stops at the first check at which the elapsed time is *greater* than the limit.
//! The limit and the time are in ticks of the program's clock, as in [`Timer`](crate::Timer); see the
//! module [`time`](crate::time). There are two differences from Ignite:
//!
//! * The elapsed time starts at 0 when a new run starts, not when the handler is created.
//! * A checkpoint contains the elapsed time, so it continues in a resumed run. The time between two starts of the
//!   device does not count, and neither does the time between a checkpoint and a power failure, because that work is
//!   repeated.
//!
//! A clock that runs backwards adds nothing. The elapsed time stops at `u64::MAX` ticks.
//!
//! ```
//! use training_monitor::{Engine, StopReason, TimeLimit, event::IterationCompleted};
//!
//! let mut limit = TimeLimit::new(100)?;
//! limit.start(1000);
//! assert!(!limit.update(1100)); // 100 ticks, exactly the limit
//! assert!(limit.update(1101));
//! assert_eq!(limit.elapsed(), 101);
//!
//! // Each reading of this clock is 60 ticks after the last one.
//! let mut ticks = 0;
//! let clock = || { ticks += 60; ticks };
//! let mut limit = TimeLimit::new(100)?.attach(IterationCompleted, clock);
//! let outcome = Engine::new(1).run(&mut (), 0..10, &mut limit, |_, _, _| ())?;
//! assert_eq!((outcome.reason, outcome.iteration), (StopReason::TimeLimit, 2));
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! # Limit of iterations
//!
//! A limit of iterations (Ignite's `max_iters`, Lightning's `max_steps`) needs no handler of its own, because the engine
//! counts the iterations, and a checkpoint contains their number. The filter `after(999)` selects every iteration whose
//! number is greater than 999, so this run ends with iteration 1000, in any epoch:
//!
//! ```
//! use training_monitor::event::IterationCompleted;
//! use training_monitor::{Engine, EventFilter, State, StopReason, on};
//!
//! let mut limit = on(IterationCompleted.after(999), |_: &mut (), state: &mut State<()>| {
//!     state.terminate(StopReason::User(1));
//! });
//! let outcome = Engine::new(u32::MAX).run(&mut (), 0..300, &mut limit, |_, _, _| ())?;
//! assert_eq!((outcome.reason, outcome.epoch, outcome.iteration), (StopReason::User(1), 4, 1000));
//! # Ok::<(), training_monitor::RunError>(())
//! ```
//!
//! As with every handler that stops the run, the last epoch is not completed, and a handler that saves at `Completed`
//! saves the final state. A finished run stays finished, also if a later program has a greater limit. If the limit becomes
//! less than the iteration of a resumed run, the run ends after its next iteration.

use crate::config::ConfigError;
use crate::event::{Event, EventFilter};
use crate::handler::Handler;
use crate::hash::{Hash, fold};
use crate::run_record::{HandlerKind, HandlerStates, Persist, StateCodec, StateDecoder, StateEncoder};
use crate::state::{State, StopReason};
use crate::time::Clock;

/// A state machine that decides when the training time is used up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct TimeLimit {
    /// The limit in ticks. It is never 0.
    limit: u64,
    /// The hash of the name; 0 without a name.
    name: u16,
    /// The ticks until `last`.
    elapsed: u64,
    /// The last reading of the clock. `None` while the time does not count.
    last: Option<u64>,
}

impl TimeLimit {
    /// Creates a limit of `ticks` ticks. The time does not count before [`start`](Self::start).
    ///
    /// # Errors
    /// Returns [`ConfigError::TimeLimit`] if `ticks` is 0.
    pub const fn new(ticks: u64) -> Result<Self, ConfigError> {
        if ticks == 0 {
            return Err(ConfigError::TimeLimit);
        }
        Ok(TimeLimit { limit: ticks, name: 0, elapsed: 0, last: None })
    }

    /// Sets a name. A program with two limits of the same number of ticks gives them names, so that a checkpoint
    /// distinguishes their states. Otherwise it distinguishes them by their settings, and then by their order.
    #[must_use]
    pub const fn with_name(mut self, name: &'static str) -> Self {
        self.name = fold(Hash::NEW.bytes(name.as_bytes()).value());
        self
    }

    /// Sets the elapsed time to 0. The time counts from the tick `now`.
    pub const fn start(&mut self, now: u64) {
        self.elapsed = 0;
        self.last = Some(now);
    }

    /// Adds the ticks since the last call to the elapsed time. Returns true if the elapsed time is greater than the
    /// limit, so the run should stop. The first call after [`new`](Self::new) or [`pause`](Self::pause) adds nothing:
    /// the time counts from then on.
    pub const fn update(&mut self, now: u64) -> bool {
        if let Some(last) = self.last {
            self.elapsed = self.elapsed.saturating_add(now.saturating_sub(last));
        }
        self.last = Some(now);
        self.elapsed > self.limit
    }

    /// Adds the ticks since the last call to the elapsed time. The time then does not count until the next call
    /// of [`update`](Self::update) or [`start`](Self::start).
    pub const fn pause(&mut self, now: u64) {
        if self.last.is_some() {
            self.update(now);
        }
        self.last = None;
    }

    /// Returns the elapsed ticks at the last update.
    #[must_use]
    pub const fn elapsed(&self) -> u64 {
        self.elapsed
    }

    /// Returns the limit in ticks.
    #[must_use]
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// Returns the ticks that remain until the limit.
    #[must_use]
    pub const fn remaining(&self) -> u64 {
        self.limit.saturating_sub(self.elapsed)
    }

    /// Attaches the limit to a run. The elapsed time starts at 0 when a new run starts, and stops when the run ends or is
    /// interrupted. After an interruption, it continues when the state is restored, or at the next check in the same program.
    /// At each event that `filter` selects, the handler reads `clock`. If the elapsed time is greater than the limit, it
    /// terminates the run with the reason [`StopReason::TimeLimit`].
    pub const fn attach<W: EventFilter, C: Clock>(self, filter: W, clock: C) -> TimeLimitHandler<W, C> {
        TimeLimitHandler { time_limit: self, clock, filter, is_interrupted: false }
    }
}

/// A handler that stops a run when its training time is used up. Created by [`TimeLimit::attach`].
#[derive(Clone, Copy, Debug)]
pub struct TimeLimitHandler<W, C> {
    /// The state machine that decides when the time is used up.
    pub time_limit: TimeLimit,
    /// The clock.
    pub clock: C,
    filter: W,
    /// Whether the last pause was an interruption, after which the run continues.
    is_interrupted: bool,
}

impl<W, C: Clock> TimeLimitHandler<W, C> {
    #[inline(never)] // Called for several events.
    fn pause(&mut self, is_interrupted: bool) {
        self.time_limit.pause(self.clock.now());
        self.is_interrupted = is_interrupted;
    }
}

impl<T: ?Sized, O, X, W: EventFilter, C: Clock> Handler<T, O, X> for TimeLimitHandler<W, C> {
    #[inline(always)]
    fn on_event(&mut self, event: Event, _: &mut T, state: &mut State<O, X>) {
        if event == Event::Started {
            self.time_limit.start(self.clock.now());
        }
        if self.filter.matches(event, state.counters()) && self.time_limit.update(self.clock.now()) {
            state.terminate(StopReason::TimeLimit);
        }
        match event {
            Event::Completed | Event::ExceptionRaised => self.pause(false),
            Event::Interrupt => self.pause(true),
            _ => (),
        }
    }
    fn persist(&mut self, run: &mut State<O, X>, states: &mut HandlerStates<'_>) {
        // The run had ended and continues now, so the time counts again.
        if states.visit(self) && run.extended {
            self.time_limit.last = Some(self.clock.now());
        }
    }
}

/// The state of a [`TimeLimit`] in a checkpoint. The checkpoint format fixes the encoding of these fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeLimitState {
    elapsed: u64,
    /// Whether the time counts after a restore. It does not count after the end of a run.
    counts: bool,
}

impl StateCodec for TimeLimitState {
    fn encode(&self, encoder: &mut StateEncoder<'_>) {
        encoder.write_u64(self.elapsed);
        encoder.write_bool(self.counts);
    }
    fn decode(decoder: &mut StateDecoder<'_>) -> Option<Self> {
        Some(TimeLimitState { elapsed: decoder.read_u64()?, counts: decoder.read_bool()? })
    }
}

/// The time between a save and a restore does not count.
impl<W, C: Clock> Persist for TimeLimitHandler<W, C> {
    const KIND: HandlerKind = HandlerKind::TIME_LIMIT;
    type State = TimeLimitState;
    const MAX_LEN: usize = 11;
    fn tag(&self) -> u16 {
        fold(Hash::NEW.bytes(&self.time_limit.limit.to_le_bytes()).value()) ^ self.time_limit.name
    }
    fn save(&mut self) -> TimeLimitState {
        let is_counting = self.time_limit.last.is_some();
        if is_counting {
            self.time_limit.update(self.clock.now());
        }
        TimeLimitState { elapsed: self.time_limit.elapsed, counts: is_counting || self.is_interrupted }
    }
    fn restore(&mut self, TimeLimitState { elapsed, counts }: TimeLimitState) {
        self.time_limit.elapsed = elapsed;
        self.time_limit.last = if counts { Some(self.clock.now()) } else { None };
    }
}
