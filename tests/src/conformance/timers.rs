//! `timer` and `timer_attached` traces: a [`Timer`] by hand, and one that watches a run, both on a scripted clock.
//!
//! Seconds are compared within 10⁻⁶ relative, step counts and states exactly.

use super::wire::{Maybe, Named, Number};
use super::{Failure, refused, same};
use serde::Deserialize;
use std::cell::Cell;
use training_monitor::handlers::timer::Attached;
use training_monitor::{Engine, Event, Handler, State, Timer};

/// How far a time in seconds may be off, relative.
const TOLERANCE: f64 = 1e-6;

#[derive(Deserialize)]
pub struct ByHand {
    config: Clocked,
    calls: Vec<Call>,
}

#[derive(Deserialize)]
struct Clocked {
    average: bool,
    tick_hz: u32,
}

#[derive(Deserialize)]
struct Call {
    advance_ticks: u64,
    op: Op,
    #[serde(flatten)]
    read: Reading,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Op {
    None,
    Pause,
    Resume,
    Step,
    Reset,
}

/// What a trace says of a timer at one moment.
#[derive(Clone, Copy, Deserialize)]
struct Reading {
    value: Number,
    total: Number,
    step_count: u32,
    running: bool,
}

impl Reading {
    fn of(timer: &Timer, now: u64, hertz: u32) -> Self {
        #[allow(clippy::cast_precision_loss, reason = "within the tolerance")]
        let total = timer.total() as f64 / f64::from(hertz);
        Reading {
            value: Number(f64::from(timer.seconds(now, hertz))),
            total: Number(total),
            step_count: timer.step_count(),
            running: timer.running(),
        }
    }

    fn check(&self, at: usize, found: &Reading) -> Result<(), Failure> {
        seconds(at, "value", self.value, found.value)?;
        seconds(at, "total", self.total, found.total)?;
        same(at, "step_count", &self.step_count, &found.step_count)?;
        same(at, "running", &self.running, &found.running)
    }
}

fn seconds(at: usize, what: &'static str, expected: Number, found: Number) -> Result<(), Failure> {
    let near = (expected.0 - found.0).abs() <= TOLERANCE * expected.0.abs();
    if near { Ok(()) } else { same(at, what, &expected.0, &found.0) }
}

/// A timer as its trace configures it, built at tick `now`.
fn build(average: bool, now: u64) -> Timer {
    let timer = Timer::new(now);
    if average { timer } else { timer.without_average() }
}

pub fn timer(trace: &ByHand) -> Result<(), Failure> {
    let Clocked { average, tick_hz } = trace.config;
    let mut now = 0;
    let mut timer = build(average, now);
    for (at, call) in trace.calls.iter().enumerate() {
        now += call.advance_ticks;
        match call.op {
            Op::None => (),
            Op::Pause => timer.pause(now),
            Op::Resume => timer.resume(now),
            Op::Step => timer.step(),
            Op::Reset => timer.reset(now),
        }
        call.read.check(at, &Reading::of(&timer, now, tick_hz))?;
    }
    Ok(())
}

#[derive(Deserialize)]
pub struct OnARun {
    config: Run,
    calls: Vec<Reading>,
}

#[derive(Deserialize)]
struct Run {
    #[serde(flatten)]
    clocked: Clocked,
    epochs: u32,
    batches: u32,
    work_ticks: u64,
    idle_ticks: u64,
    start: Named,
    pause: Named,
    resume: Option<Named>,
    step: Option<Named>,
}

/// A timer and the recorder's handlers behind it, which read it and let time pass.
struct Recorded<'a, C> {
    attached: Attached<C, Event, Event, Maybe, Maybe>,
    clock: &'a Cell<u64>,
    tick_hz: u32,
    idle_ticks: u64,
    readings: Vec<Reading>,
}

impl<C: FnMut() -> u64> Handler<(), ()> for Recorded<'_, C> {
    fn on_event(&mut self, event: Event, model: &mut (), state: &mut State<()>) {
        self.attached.on_event(event, model, state);
        if matches!(event, Event::IterationCompleted | Event::EpochCompleted | Event::Completed) {
            self.readings.push(Reading::of(&self.attached.timer, self.clock.get(), self.tick_hz));
        }
        if event == Event::IterationCompleted {
            self.clock.set(self.clock.get() + self.idle_ticks);
        }
    }
}

pub fn attached(trace: &OnARun) -> Result<(), Failure> {
    let Run { clocked: Clocked { average, tick_hz }, epochs, batches, work_ticks, idle_ticks, .. } = trace.config;
    let Run { start: Named(start), pause: Named(pause), resume, step, .. } = trace.config;
    let clock = Cell::new(0);
    let attached = build(average, 0).attach(|| clock.get(), start, pause, Maybe(resume), Maybe(step));
    let mut handlers = Recorded { attached, clock: &clock, tick_hz, idle_ticks, readings: Vec::new() };
    let work = |_: &mut (), _, _: &mut State<()>| clock.set(clock.get() + work_ticks);
    Engine::new(epochs).run(&mut (), 0..batches, &mut handlers, work).map_err(refused)?;
    for (at, (expected, found)) in trace.calls.iter().zip(&handlers.readings).enumerate() {
        expected.check(at, found)?;
    }
    same(0, "number of readings", &trace.calls.len(), &handlers.readings.len())
}
