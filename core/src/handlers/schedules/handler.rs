//! The handler of an attached schedule.

use super::Schedule;
use crate::event::{Counters, Event, EventFilter};
use crate::handler::{Handler, StartCheck};
use crate::run_record::{HandlerStates, RunRecord};
use crate::state::State;

/// A handler that applies the value of a [`Schedule`] at selected events. Created by [`Schedule::attach`].
#[derive(Clone, Copy, Debug)]
pub struct ScheduleHandler<S, W, F, B = ()> {
    /// The schedule.
    pub schedule: S,
    filter: W,
    apply: F,
    observer: B,
    /// The counters of a restored run, until the handler has applied the value of the current step again.
    restored: Option<Counters>,
}

impl<S, W, F> ScheduleHandler<S, W, F> {
    pub(super) const fn new(schedule: S, filter: W, apply: F) -> Self {
        ScheduleHandler { schedule, filter, apply, observer: (), restored: None }
    }

    /// Adds an observer, which is called with each value that the handler applies at an event, and the state of the run.
    /// For example, it can print the learning rate.
    pub fn observe<O, X, B: FnMut(f32, &State<O, X>)>(self, observer: B) -> ScheduleHandler<S, W, F, B> {
        let ScheduleHandler { schedule, filter, apply, restored, .. } = self;
        ScheduleHandler { schedule, filter, apply, observer, restored }
    }
}

impl<S: Schedule, W: EventFilter, F, B> ScheduleHandler<S, W, F, B> {
    /// Applies the value of the current epoch or iteration again after a restore. The model may be as it was before the
    /// run: a checkpoint contains the parameter only if the program lists it.
    #[cold]
    fn reapply<T: ?Sized>(&mut self, model: &mut T)
    where
        F: FnMut(&mut T, f32),
    {
        let Some(counters) = self.restored.take() else { return };
        for (event, number) in [(Event::EpochStarted, counters.epoch), (Event::IterationStarted, counters.iteration)] {
            if number > 0 && self.filter.matches(event, &counters) {
                (self.apply)(model, self.schedule.value(number.saturating_sub(1)));
            }
        }
    }
}

/// Returns the step of an event: 0 for the first iteration or epoch.
fn step_of(event: Event, counters: &Counters) -> u32 {
    match event {
        // The counter does not include the iteration that follows yet.
        Event::GetBatchStarted | Event::GetBatchCompleted => counters.iteration,
        _ => event.value(counters).saturating_sub(1),
    }
}

/// A function that a [`ScheduleHandler`] calls with each value. Closures `FnMut(f32, &State<O, X>)` implement this trait.
/// The type `()` stands for no observer.
pub trait ScheduleObserver<O, X> {
    /// The handler calls this method after it has applied `value`.
    fn on_value(&mut self, value: f32, state: &State<O, X>);
}

/// An observer that does nothing. A handler uses it unless the program adds another observer.
impl<O, X> ScheduleObserver<O, X> for () {
    #[inline(always)]
    fn on_value(&mut self, _: f32, _: &State<O, X>) {}
}

impl<O, X, B: FnMut(f32, &State<O, X>)> ScheduleObserver<O, X> for B {
    #[inline]
    fn on_value(&mut self, value: f32, state: &State<O, X>) {
        self(value, state);
    }
}

impl<T, O, X, S, W, F, B> Handler<T, O, X> for ScheduleHandler<S, W, F, B>
where
    T: ?Sized,
    S: Schedule,
    W: EventFilter,
    F: FnMut(&mut T, f32),
    B: ScheduleObserver<O, X>,
{
    #[inline(always)]
    fn on_event(&mut self, event: Event, model: &mut T, state: &mut State<O, X>) {
        if self.filter.matches(event, state.counters()) {
            let value = self.schedule.value(step_of(event, state.counters()));
            (self.apply)(model, value);
            self.observer.on_value(value, state);
        }
    }
    fn persist(&mut self, run: &mut State<O, X>, states: &mut HandlerStates<'_>) {
        if states.is_restoring() {
            self.restored = Some(*run.counters());
        }
    }
    /// Runs before the first event of a resumed run.
    fn check_start(&mut self, model: &mut T, _: &mut StartCheck) {
        self.reapply(model);
    }
    /// Runs at the end of [`Engine::resume`](crate::Engine::resume), also if the engine is already running.
    fn perform(&mut self, model: &mut T, _: &mut State<O, X>, _: &RunRecord<[u8]>) -> bool {
        self.reapply(model);
        false
    }
}
