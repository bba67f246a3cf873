//! Fires a user-defined event at regular times, for example to save a checkpoint every ten minutes.
//!
//! The event is due when `interval` ticks of the program's clock have passed since the last one, or since the run
//! started. As in Lightning's `train_time_interval`, it fires at the first check after that time, and the next interval
//! starts at this check. A tick is the unit of the clock; see the module [`time`](crate::time).
//!
//! A checkpoint contains the ticks since the last event, so the event is due at the same training time in a resumed run.
//! (In Lightning, the interval starts anew.) The time between two starts of the device does not count.
//!
//! ```
//! use training_monitor::event::{IterationCompleted, User};
//! use training_monitor::handlers::every_ticks::EveryTicks;
//! use training_monitor::store::ram::Ram;
//! use training_monitor::{Engine, ModelCheckpoint, checkpoint::Named};
//!
//! /// The event at which a checkpoint is saved.
//! const SAVE: u8 = 1;
//!
//! // Each reading of this clock is 100 ticks after the last one.
//! let mut ticks = 0;
//! let clock = || { ticks += 100; ticks };
//! let mut handlers = (
//!     EveryTicks::new(250)?.attach(IterationCompleted, clock, SAVE),
//!     ModelCheckpoint::<2>::every(1)?.attach(User(SAVE), Ram::<3, 256>::new())?,
//! );
//! Engine::new(1).run(&mut Named::new("model", [0.0_f32]), 0..7, &mut handlers, |_, _, _| 0.0_f32)?;
//! let saved: Vec<_> = handlers.1.policy().kept().iter().map(|kept| kept.step).collect();
//! assert_eq!(saved, [1, 2]); // after the iterations 3 and 6
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::config::ConfigError;
use crate::event::{Event, EventFilter, UserEvent};
use crate::handler::Handler;
use crate::hash::{Hash, fold};
use crate::run_record::{HandlerKind, HandlerStates, Persist, StateCodec, StateDecoder, StateEncoder};
use crate::state::State;
use crate::time::Clock;

/// A state machine that decides when an interval of time is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct EveryTicks {
    /// The interval in ticks. It is never 0.
    interval: u64,
    /// The hash of the name; 0 without a name.
    name: u16,
    /// The ticks from the last event to `last`.
    elapsed: u64,
    /// The last reading of the clock. `None` before the first one.
    last: Option<u64>,
}

impl EveryTicks {
    /// Creates an interval of `ticks` ticks.
    ///
    /// # Errors
    /// Returns [`ConfigError::TickInterval`] if `ticks` is 0.
    pub const fn new(ticks: u64) -> Result<Self, ConfigError> {
        if ticks == 0 {
            return Err(ConfigError::TickInterval);
        }
        Ok(EveryTicks { interval: ticks, name: 0, elapsed: 0, last: None })
    }

    /// Sets a name. A program with two equal intervals gives them names, so that a checkpoint distinguishes their states.
    #[must_use]
    pub const fn with_name(mut self, name: &'static str) -> Self {
        self.name = fold(Hash::NEW.bytes(name.as_bytes()).value());
        self
    }

    /// Starts an interval at the tick `now`.
    pub const fn start(&mut self, now: u64) {
        self.elapsed = 0;
        self.last = Some(now);
    }

    /// Adds the ticks since the last call. Returns true if the interval is over; the next one starts at `now`. The first
    /// call adds nothing. A clock that runs backwards adds nothing either.
    pub const fn update(&mut self, now: u64) -> bool {
        if let Some(last) = self.last {
            self.elapsed = self.elapsed.saturating_add(now.saturating_sub(last));
        }
        self.last = Some(now);
        let is_over = self.elapsed >= self.interval;
        if is_over {
            self.elapsed = 0;
        }
        is_over
    }

    /// Returns the ticks from the last event to the last update.
    #[must_use]
    pub const fn elapsed(&self) -> u64 {
        self.elapsed
    }

    /// Attaches the interval to a run. At each event that `filter` selects, the handler reads `clock`. If the interval is
    /// over, it fires the user-defined event `id`. The value of the event is the number of the iteration. If the queue of
    /// events is full, the event fires one interval later.
    pub const fn attach<W: EventFilter, C: Clock>(self, filter: W, clock: C, id: u8) -> EveryTicksHandler<W, C> {
        EveryTicksHandler { every_ticks: self, clock, filter, id }
    }
}

/// A handler that fires a user-defined event at regular times. Created by [`EveryTicks::attach`].
#[derive(Clone, Copy, Debug)]
pub struct EveryTicksHandler<W, C> {
    /// The state machine that decides when the event fires.
    pub every_ticks: EveryTicks,
    /// The clock.
    pub clock: C,
    filter: W,
    id: u8,
}

impl<T: ?Sized, O, X, W: EventFilter, C: Clock> Handler<T, O, X> for EveryTicksHandler<W, C> {
    #[inline(always)]
    fn on_event(&mut self, event: Event, _: &mut T, state: &mut State<O, X>) {
        if event == Event::Started {
            self.every_ticks.start(self.clock.now());
        }
        if event == Event::Interrupt {
            // The time until the run continues does not count.
            self.every_ticks.last = None;
        }
        if self.filter.matches(event, state.counters()) && self.every_ticks.update(self.clock.now()) {
            let _ = state.fire(UserEvent { id: self.id, value: state.iteration() });
        }
    }
    fn persist(&mut self, _: &mut State<O, X>, states: &mut HandlerStates<'_>) {
        states.visit(self);
    }
}

/// The state of an [`EveryTicks`] in a checkpoint: the ticks since the last event. The checkpoint format fixes its
/// encoding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TicksSinceEvent(u64);

impl StateCodec for TicksSinceEvent {
    fn encode(&self, encoder: &mut StateEncoder<'_>) {
        encoder.write_u64(self.0);
    }
    fn decode(decoder: &mut StateDecoder<'_>) -> Option<Self> {
        decoder.read_u64().map(TicksSinceEvent)
    }
}

/// A save after a check contains all ticks until that check.
impl<W, C: Clock> Persist for EveryTicksHandler<W, C> {
    const KIND: HandlerKind = HandlerKind::EVERY_TICKS;
    type State = TicksSinceEvent;
    const MAX_LEN: usize = 10;
    fn tag(&self) -> u16 {
        fold(Hash::NEW.bytes(&self.every_ticks.interval.to_le_bytes()).value()) ^ self.every_ticks.name
    }
    fn save(&mut self) -> TicksSinceEvent {
        TicksSinceEvent(self.every_ticks.elapsed)
    }
    fn restore(&mut self, TicksSinceEvent(elapsed): TicksSinceEvent) {
        self.every_ticks.start(self.clock.now());
        self.every_ticks.elapsed = elapsed;
    }
}
