//! A wrapper that measures one handler.

use super::TickStatistics;
use crate::event::{Event, EventFilter};
use crate::handler::{Handler, forward_to_inner};
use crate::run_record::{HandlerStates, RunRecord};
use crate::state::{State, flag};
use crate::time::Clock;
use core::fmt;

/// A handler that measures the ticks that another handler takes.
///
/// It measures [`Handler::on_event`] at the events that its filter selects; choose those at which the handler works. It
/// also measures [`Handler::perform`], where checkpoints are saved, whenever the handler requested it. All methods are
/// passed on to the handler, and nothing else changes: a run with this wrapper saves the same checkpoints as a run without
/// it and resumes from them. Therefore, the statistics are not saved. They start anew after a restart, and at `Started`.
///
/// ```
/// use std::cell::Cell;
/// use training_monitor::checkpoint::Named;
/// use training_monitor::event::IterationCompleted;
/// use training_monitor::store::ram::Ram;
/// use training_monitor::{Engine, ModelCheckpoint, Profiled};
///
/// // Each reading of this clock is 5 ticks after the last one.
/// let ticks = Cell::new(0);
/// let clock = || { ticks.set(ticks.get() + 5); ticks.get() };
/// let saving = ModelCheckpoint::<2>::every(3)?.attach(IterationCompleted, Ram::<3, 256>::new())?;
/// let mut saving = Profiled::new("saving", saving, IterationCompleted, clock);
/// Engine::new(1).run(&mut Named::new("model", [0.0_f32]), 0..7, &mut saving, |_, _, _| 0.0_f32)?;
/// assert_eq!((saving.events().count(), saving.events().total()), (7, 35));
/// assert_eq!((saving.actions().count(), saving.actions().max()), (2, 5)); // after the iterations 3 and 6
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Profiled<H, W, C> {
    /// The handler that is measured.
    pub handler: H,
    /// The clock.
    pub clock: C,
    filter: W,
    name: &'static str,
    events: TickStatistics,
    actions: TickStatistics,
    /// Whether the handler has requested an action.
    requested: bool,
}

impl<H, W: EventFilter, C: Clock> Profiled<H, W, C> {
    /// Measures `handler` at the events that `filter` selects. The table shows its statistics under `name`.
    pub const fn new(name: &'static str, handler: H, filter: W, clock: C) -> Self {
        let (events, actions) = (TickStatistics::new(), TickStatistics::new());
        Profiled { handler, clock, filter, name, events, actions, requested: false }
    }
}

impl<H, W, C> Profiled<H, W, C> {
    /// Returns the statistics of [`Handler::on_event`] at the selected events.
    pub const fn events(&self) -> &TickStatistics {
        &self.events
    }

    /// Returns the statistics of [`Handler::perform`]. A call is counted if the handler had requested it, or if it saved a
    /// checkpoint. The engine calls `perform` of every handler when one handler requests it; the other calls do nothing and
    /// are not counted.
    pub const fn actions(&self) -> &TickStatistics {
        &self.actions
    }
}

/// Writes the row of the handler for a [table](TickStatistics::HEADER). If the handler has performed an action, a second
/// row follows for the actions. Durations are in ticks.
impl<H, W, C> fmt::Display for Profiled<H, W, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<16}{}", self.name, self.events)?;
        if self.actions.count() > 0 {
            write!(f, "\n{:<16}{}", "  actions", self.actions)?;
        }
        Ok(())
    }
}

impl<T: ?Sized, O, X, H: Handler<T, O, X>, W: EventFilter, C: Clock> Handler<T, O, X> for Profiled<H, W, C> {
    #[inline(always)]
    fn on_event(&mut self, event: Event, model: &mut T, state: &mut State<O, X>) {
        if event == Event::Started {
            (self.events, self.actions) = (TickStatistics::new(), TickStatistics::new());
        }
        // Hides the requests of other handlers, so that a request of this handler is seen.
        let others = state.flags & flag::ACTION;
        state.flags &= !flag::ACTION;
        if self.filter.matches(event, state.counters()) {
            let start = self.clock.now();
            self.handler.on_event(event, model, state);
            self.events.update(self.clock.now().saturating_sub(start));
        } else {
            self.handler.on_event(event, model, state);
        }
        self.requested |= state.flags & flag::ACTION != 0;
        state.flags |= others;
    }
    #[inline(always)]
    fn persist(&mut self, run: &mut State<O, X>, states: &mut HandlerStates<'_>) {
        self.handler.persist(run, states);
    }
    #[inline(always)]
    fn perform(&mut self, model: &mut T, state: &mut State<O, X>, record: &RunRecord<[u8]>) -> bool {
        let start = self.clock.now();
        let saved = self.handler.perform(model, state, record);
        let ticks = self.clock.now().saturating_sub(start);
        if core::mem::take(&mut self.requested) || saved {
            self.actions.update(ticks);
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
