//! Rolls a run back to its newest checkpoint after a NaN, a spike or a divergence, instead of stopping it.
//!
//! Another handler requests the termination of the run: [`TerminateOnNan`](crate::TerminateOnNan) for
//! [`StopReason::NonFinite`], [`ScoreLimits`](crate::ScoreLimits) for [`StopReason::Diverged`],
//! or [`SpikeGuard`](crate::SpikeGuard) for [`StopReason::Spike`]. `RollBack` then loads the newest checkpoint of the run,
//! with the states of the engine and of all handlers. It calls a closure, which usually reduces the learning rate, and the
//! run continues. After `max` roll-backs, the run stops with the requested reason. It also stops if the run has not saved a
//! checkpoint yet, or if no checkpoint can be loaded.
//!
//! Three rules make the result independent of power failures:
//!
//! * A checkpoint contains the number of roll-backs before it. If power fails after a roll-back and before the next save,
//!   the resumed run meets the same NaN, and rolls back again.
//! * If several roll-backs reach the same checkpoint, the closure is called for each of them, because the checkpoint
//!   contains the effect of none.
//! * The closure may only change what a checkpoint contains, for example a learning rate that is one of the model's
//!   objects.
//!
//! At the event whose handler requested the termination, no checkpoint is saved. Put `RollBack` after the handlers that
//! request it. The data must be a slice, a range, or another kind that can return to an earlier batch.
//!
//! A [`TimeLimit`](crate::TimeLimit) does not count the time between the checkpoint and the roll-back.
//!
//! ```
//! use training_monitor::event::IterationCompleted;
//! use training_monitor::store::ram::Ram;
//! use training_monitor::{Engine, ModelCheckpoint, Objects, RollBack, StateDict, StopReason, TerminateOnNan};
//!
//! #[derive(StateDict)]
//! struct Weights { weight: [f32; 1], learning_rate: [f32; 1] }
//! #[derive(Objects)]
//! struct Model { net: Weights }
//!
//! let mut model = Model { net: Weights { weight: [1.0], learning_rate: [3.0] } };
//! let mut handlers = (
//!     ModelCheckpoint::<1>::every(10)?.attach(IterationCompleted, Ram::<2, 512>::new())?,
//!     TerminateOnNan::new().attach(IterationCompleted, |_, state| &state.output),
//!     RollBack::new(2)?.attach(|model: &mut Model, _| model.net.learning_rate[0] *= 0.5),
//! );
//! // The weight overflows if the learning rate is greater than 1.
//! let outcome = Engine::new(1).run(&mut model, 0..300, &mut handlers, |model, _, _| {
//!     let gradient = 2.0 * model.net.weight[0];
//!     model.net.weight[0] -= model.net.learning_rate[0] * gradient;
//!     model.net.weight[0]
//! })?;
//! assert_eq!((outcome.reason, handlers.2.roll_back.count()), (StopReason::MaxEpochs, 2));
//! assert_eq!(model.net.learning_rate[0], 0.75);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

use crate::config::ConfigError;
use crate::event::Event;
use crate::handler::Handler;
use crate::hash::{Hash, fold};
use crate::run_record::{HandlerKind, HandlerStates, Persist, StateCodec, StateDecoder, StateEncoder};
use crate::state::{State, StopReason};

/// A state machine that decides whether a run is rolled back, and counts the roll-backs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RollBack {
    max: u32,
    /// The number of roll-backs of the run.
    count: u32,
    /// The number of roll-backs that the checkpoint of the requested roll-back contains.
    in_checkpoint: u32,
    /// Whether a roll-back is requested but not performed yet.
    is_requested: bool,
}

impl RollBack {
    /// Creates a state machine that rolls a run back at most `max` times.
    ///
    /// # Errors
    /// Returns [`ConfigError::RollBacks`] if `max` is 0.
    pub const fn new(max: u32) -> Result<Self, ConfigError> {
        if max == 0 {
            return Err(ConfigError::RollBacks);
        }
        Ok(RollBack { max, count: 0, in_checkpoint: 0, is_requested: false })
    }

    /// Returns whether the run must be rolled back instead of being terminated for `reason`. Every other reason
    /// than [`StopReason::NonFinite`], [`StopReason::Diverged`] and [`StopReason::Spike`] terminates the run. The state
    /// machine requests a roll-back only once until [`complete`](Self::complete) is called.
    #[must_use]
    pub const fn update(&mut self, reason: Option<StopReason>) -> bool {
        let is_bad = matches!(reason, Some(StopReason::NonFinite | StopReason::Diverged | StopReason::Spike));
        if !is_bad || self.is_requested || self.count >= self.max {
            return false;
        }
        self.is_requested = true;
        true
    }

    /// Counts the roll-back after the checkpoint was loaded. Returns the number of roll-backs that the checkpoint does not
    /// contain. The program reduces the learning rate as many times.
    pub const fn complete(&mut self) -> u32 {
        self.is_requested = false;
        self.count = self.count.saturating_add(1);
        self.count.saturating_sub(self.in_checkpoint)
    }

    /// Returns the number of roll-backs of the run.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Attaches the state machine to a run. `change` is called after the newest checkpoint was loaded. It receives the
    /// model and the state of the run.
    pub const fn attach<T, O, X, F>(self, change: F) -> RollBackHandler<F>
    where
        T: ?Sized,
        F: FnMut(&mut T, &mut State<O, X>),
    {
        RollBackHandler { roll_back: self, change }
    }
}

/// The state of a [`RollBack`] in a checkpoint: the number of roll-backs before the save. The checkpoint format fixes its
/// encoding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SavedCount(u32);

impl StateCodec for SavedCount {
    fn encode(&self, encoder: &mut StateEncoder<'_>) {
        encoder.write_u32(self.0);
    }
    fn decode(decoder: &mut StateDecoder<'_>) -> Option<Self> {
        decoder.read_u32().map(SavedCount)
    }
}

impl Persist for RollBack {
    const KIND: HandlerKind = HandlerKind::ROLL_BACK;
    type State = SavedCount;
    const MAX_LEN: usize = 5;
    fn tag(&self) -> u16 {
        fold(Hash::NEW.number(self.max).value())
    }
    fn save(&mut self) -> SavedCount {
        SavedCount(self.count)
    }
    fn restore(&mut self, SavedCount(count): SavedCount) {
        self.in_checkpoint = count;
        // Several roll-backs to one checkpoint count, although the checkpoint contains none of them.
        if !self.is_requested {
            self.count = count;
        }
    }
}

/// A handler that rolls a run back. Created by [`RollBack::attach`].
#[derive(Clone, Copy, Debug)]
pub struct RollBackHandler<F> {
    /// The state machine.
    pub roll_back: RollBack,
    change: F,
}

impl<T, O, X, F> Handler<T, O, X> for RollBackHandler<F>
where
    T: ?Sized,
    F: FnMut(&mut T, &mut State<O, X>),
{
    #[inline(always)]
    fn on_event(&mut self, event: Event, model: &mut T, state: &mut State<O, X>) {
        match event {
            Event::Started => {
                let RollBack { max, .. } = self.roll_back;
                self.roll_back = RollBack { max, count: 0, in_checkpoint: 0, is_requested: false };
            }
            Event::RolledBack => {
                for _ in 0..self.roll_back.complete() {
                    (self.change)(model, state);
                }
            }
            // The run has ended.
            Event::Completed | Event::ExceptionRaised => return,
            _ => (),
        }
        // A handler can request the termination at any event, and a checkpoint can be saved at any event.
        if state.stop_reason().is_some() && self.roll_back.update(state.stop_reason()) {
            state.roll_back();
        }
    }
    #[inline(always)]
    fn rolls_back(&self) -> bool {
        true
    }
    fn persist(&mut self, _: &mut State<O, X>, states: &mut HandlerStates<'_>) {
        states.visit(&mut self.roll_back);
    }
}
