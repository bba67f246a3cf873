//! The handler that saves at an adaptive interval. It contains the handler that saves.

use super::{AdaptiveInterval, AdaptiveIntervalState};
use crate::event::{Event, EventFilter};
use crate::handler::{Handler, forward_to_inner};
use crate::run_record::{HandlerKind, HandlerStates, Persist, RunRecord};
use crate::state::{State, flag};
use crate::store::Wear;
use crate::time::Clock;

/// A handler that lets another handler save at an adaptive interval. Created by [`AdaptiveInterval::attach`].
#[derive(Clone, Copy, Debug)]
pub struct AdaptiveIntervalHandler<H, W, C> {
    /// The state machine that decides when to save.
    pub interval: AdaptiveInterval,
    /// The handler that saves.
    pub handler: H,
    /// The clock.
    pub clock: C,
    filter: W,
    /// Whether the handler has requested a save.
    requested: bool,
    /// The wear of the store before the first save. Known only while a state is restored.
    wear: Wear,
}

impl<H, W, C> AdaptiveIntervalHandler<H, W, C> {
    pub(super) const fn new(interval: AdaptiveInterval, filter: W, clock: C, handler: H) -> Self {
        let wear = Wear { erases: 0, interrupted: 0 };
        AdaptiveIntervalHandler { interval, handler, clock, filter, requested: false, wear }
    }
}

impl<T: ?Sized, O, X, H: Handler<T, O, X>, W: EventFilter, C: Clock> Handler<T, O, X>
    for AdaptiveIntervalHandler<H, W, C>
{
    #[inline(always)]
    fn on_event(&mut self, event: Event, model: &mut T, state: &mut State<O, X>) {
        match event {
            Event::Started => self.interval.start(self.clock.now()),
            Event::Interrupt | Event::Completed => self.interval.pause(self.clock.now()),
            _ => (),
        }
        if self.filter.matches(event, state.counters()) && !self.interval.update(self.clock.now()) {
            return;
        }
        // Hides the requests of other handlers, so that a request of this handler is seen.
        let others = state.flags & flag::ACTION;
        state.flags &= !flag::ACTION;
        self.handler.on_event(event, model, state);
        if state.flags & flag::ACTION != 0 && !self.requested {
            self.requested = true;
            self.interval.begin_save();
        }
        state.flags |= others;
    }

    fn persist(&mut self, run: &mut State<O, X>, states: &mut HandlerStates<'_>) {
        if states.is_restoring() {
            self.wear = self.handler.wear();
        }
        states.visit(self);
        self.handler.persist(run, states);
    }

    fn perform(&mut self, model: &mut T, state: &mut State<O, X>, record: &RunRecord<[u8]>) -> bool {
        let before = self.handler.wear().erases;
        let saved = self.handler.perform(model, state, record);
        if saved && !self.requested {
            // The save was interrupted in an earlier start and is repeated.
            self.interval.begin_save();
        }
        if core::mem::take(&mut self.requested) || saved {
            let wear = self.handler.wear();
            self.interval.end_save(self.clock.now(), saved, wear.erases.saturating_sub(before), wear);
        }
        saved
    }

    #[inline(always)]
    fn finish(&mut self, model: &mut T) {
        self.handler.finish(model);
    }
    #[inline(always)]
    fn rolls_back(&self) -> bool {
        self.handler.rolls_back()
    }
    forward_to_inner!(all self.handler, O, X);
}

impl<H, W, C: Clock> Persist for AdaptiveIntervalHandler<H, W, C> {
    const KIND: HandlerKind = HandlerKind::ADAPTIVE_INTERVAL;
    type State = AdaptiveIntervalState;
    const MAX_LEN: usize = AdaptiveIntervalState::MAX_LEN;
    /// The settings are bounds that may change from start to start, so only the name distinguishes two handlers.
    fn tag(&self) -> u16 {
        self.interval.name
    }
    fn save(&mut self) -> AdaptiveIntervalState {
        self.interval.learned
    }
    fn restore(&mut self, state: AdaptiveIntervalState) {
        // If the run is rolled back in the same program, what the saves and starts have shown remains true.
        if self.interval.learned.starts == 0 {
            self.interval.restart(state, self.clock.now(), self.wear);
        }
    }
}
