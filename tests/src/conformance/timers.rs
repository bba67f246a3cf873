//! Replays `timer` traces, which call a [`Timer`] directly, and `timer_attached` traces, which attach a timer to a run.
//! Both use a scripted clock.
//!
//! The comparison of seconds allows a relative difference of 10⁻⁶. Step counts and states must be equal.

use super::trace_values::{NamedEvent, Number, OptionalEvent};
use super::{Failure, expect_equal, rejected};
use serde::Deserialize;
use std::cell::Cell;
use training_monitor::handlers::timer::TimerHandler;
use training_monitor::{Engine, Event, Handler, State, Timer};

/// The allowed relative difference of a time in seconds.
const TOLERANCE: f64 = 1e-6;

#[derive(Deserialize)]
pub struct TimerTrace {
    config: TimerConfig,
    calls: Vec<Call>,
}

#[derive(Deserialize)]
struct TimerConfig {
    average: bool,
    tick_hz: u32,
}

#[derive(Deserialize)]
struct Call {
    advance_ticks: u64,
    #[serde(rename = "op")]
    operation: Operation,
    #[serde(flatten)]
    reading: Reading,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Operation {
    None,
    Pause,
    Resume,
    Step,
    Reset,
}

/// The recorded state of a timer at one moment.
#[derive(Clone, Copy, Deserialize)]
struct Reading {
    value: Number,
    total: Number,
    step_count: u32,
    running: bool,
}

impl Reading {
    fn new(timer: &Timer, now: u64, hertz: u32) -> Self {
        #[allow(clippy::cast_precision_loss, reason = "within the tolerance")]
        let total = timer.total() as f64 / f64::from(hertz);
        Reading {
            value: Number(f64::from(timer.seconds(now, hertz))),
            total: Number(total),
            step_count: timer.step_count(),
            running: timer.is_running(),
        }
    }

    fn check(&self, index: usize, found: &Reading) -> Result<(), Failure> {
        expect_near(index, "value", self.value, found.value)?;
        expect_near(index, "total", self.total, found.total)?;
        expect_equal(index, "step_count", &self.step_count, &found.step_count)?;
        expect_equal(index, "running", &self.running, &found.running)
    }
}

fn expect_near(index: usize, field: &'static str, expected: Number, found: Number) -> Result<(), Failure> {
    let is_near = (expected.0 - found.0).abs() <= TOLERANCE * expected.0.abs();
    if is_near { Ok(()) } else { expect_equal(index, field, &expected.0, &found.0) }
}

/// Builds a timer that starts at tick `now`. If `average` is set, the value of the timer is the time per step.
fn build(average: bool, now: u64) -> Timer {
    let timer = Timer::new(now);
    if average { timer } else { timer.without_average() }
}

pub fn timer(trace: &TimerTrace) -> Result<(), Failure> {
    let TimerConfig { average, tick_hz } = trace.config;
    let mut now = 0;
    let mut timer = build(average, now);
    for (index, call) in trace.calls.iter().enumerate() {
        now += call.advance_ticks;
        match call.operation {
            Operation::None => (),
            Operation::Pause => timer.pause(now),
            Operation::Resume => timer.resume(now),
            Operation::Step => timer.step(),
            Operation::Reset => timer.reset(now),
        }
        call.reading.check(index, &Reading::new(&timer, now, tick_hz))?;
    }
    Ok(())
}

#[derive(Deserialize)]
pub struct AttachedTrace {
    config: AttachedConfig,
    calls: Vec<Reading>,
}

#[derive(Deserialize)]
struct AttachedConfig {
    #[serde(flatten)]
    timer: TimerConfig,
    epochs: u32,
    batches: u32,
    work_ticks: u64,
    idle_ticks: u64,
    start: NamedEvent,
    pause: NamedEvent,
    resume: Option<NamedEvent>,
    step: Option<NamedEvent>,
}

/// A timer together with the actions of the recording program. After an event, these actions read the timer and advance
/// the clock.
struct RecordedTimer<'a, C> {
    timer: TimerHandler<C, Event, Event, OptionalEvent, OptionalEvent>,
    clock: &'a Cell<u64>,
    tick_hz: u32,
    idle_ticks: u64,
    readings: Vec<Reading>,
}

impl<C: FnMut() -> u64> Handler<(), ()> for RecordedTimer<'_, C> {
    fn on_event(&mut self, event: Event, model: &mut (), state: &mut State<()>) {
        self.timer.on_event(event, model, state);
        if matches!(event, Event::IterationCompleted | Event::EpochCompleted | Event::Completed) {
            self.readings.push(Reading::new(&self.timer.timer, self.clock.get(), self.tick_hz));
        }
        if event == Event::IterationCompleted {
            self.clock.set(self.clock.get() + self.idle_ticks);
        }
    }
}

pub fn attached(trace: &AttachedTrace) -> Result<(), Failure> {
    let AttachedConfig { timer: TimerConfig { average, tick_hz }, epochs, batches, work_ticks, idle_ticks, .. } =
        trace.config;
    let AttachedConfig { start: NamedEvent(start), pause: NamedEvent(pause), resume, step, .. } = trace.config;
    let clock = Cell::new(0);
    let timer = build(average, 0).attach(|| clock.get()).start(start).pause(pause);
    let timer = timer.resume(OptionalEvent(resume)).step(OptionalEvent(step));
    let mut handlers = RecordedTimer { timer, clock: &clock, tick_hz, idle_ticks, readings: Vec::new() };
    let work = |_: &mut (), _, _: &mut State<()>| clock.set(clock.get() + work_ticks);
    Engine::new(epochs).run(&mut (), 0..batches, &mut handlers, work).map_err(rejected)?;
    for (index, (expected, found)) in trace.calls.iter().zip(&handlers.readings).enumerate() {
        expected.check(index, found)?;
    }
    expect_equal(0, "number of readings", &trace.calls.len(), &handlers.readings.len())
}
