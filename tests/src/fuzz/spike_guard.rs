//! Compares `SpikeGuard` with its model after every operation.

use super::decode;
use super::state::{check_average, transfer_state};
use crate::models::number::{Counter, Number};
use crate::models::spike_guard::{SpikeGuard as Model, Verdict};
use arbitrary::Arbitrary;
use std::cell::Cell;
use training_monitor::event::User;
use training_monitor::handlers::early_stopping::Mode;
use training_monitor::handlers::spike_guard::{SpikeGuardHandler, SpikeVerdict, stop_run};
use training_monitor::{ConfigError, Engine, Event, Handler, SpikeGuard, State, StopReason, UserEvent};

#[derive(Arbitrary, Debug)]
struct Input {
    lower: bool,
    window: Counter,
    warmup: Counter,
    absolute_tolerance: Tolerance,
    relative_tolerance: Tolerance,
    /// What the action does: 0 nothing, 1 stops the run, 2 resets the guard, 3 resets it at every second spike.
    action: u8,
    operations: Vec<Operation>,
}

/// A multiple of 1/8 from 0 to 31/8, or any number.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Tolerance {
    Small(u8),
    Any(Number),
}

impl Tolerance {
    fn value(self) -> f32 {
        match self {
            Tolerance::Small(eighths) => f32::from(eighths % 32) / 8.0,
            Tolerance::Any(Number(value)) => value,
        }
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Operation {
    Update(Number),
    /// The same value several times. The handler receives it from a run.
    Repeated(Number, u8),
    /// The event `Started`.
    Started,
    Reset,
    Restart,
}

/// The fuzz target for the spike guard.
pub fn spike_guard(data: &[u8]) {
    let Some(input) = decode::<Input>(data) else { return };
    if let Some(guard) = build(&input) {
        run(guard, &input);
    }
}

/// Builds the guard, and checks that it is built only if all settings are valid.
fn build(input: &Input) -> Option<SpikeGuard> {
    let (absolute, relative) = (input.absolute_tolerance.value(), input.relative_tolerance.value());
    let is_tolerance = |tolerance: f32| tolerance.is_finite() && tolerance >= 0.0;
    let expected = if input.window.0 == 0 {
        Some(ConfigError::SpikeWindow)
    } else {
        Some(ConfigError::SpikeTolerance).filter(|_| !is_tolerance(absolute) || !is_tolerance(relative))
    };
    let built = SpikeGuard::new()
        .with_window(input.window.0)
        .and_then(|guard| guard.with_absolute_tolerance(absolute))
        .and_then(|guard| guard.with_relative_tolerance(relative));
    assert_eq!(built.as_ref().err(), expected.as_ref(), "{input:?}");
    let mode = if input.lower { Mode::Min } else { Mode::Max };
    built.ok().map(|guard| guard.with_mode(mode).with_warmup(input.warmup.0).with_name("fuzz"))
}

/// What the action of the handler does.
fn perform_action(kind: u8, guard: &mut SpikeGuard, verdict: SpikeVerdict, state: &mut State<f32>) {
    match kind % 4 {
        1 => stop_run(guard, verdict, state),
        2 => guard.reset(),
        3 if guard.spike_count() == 2 => guard.reset(),
        _ => (),
    }
}

/// The model, and the number of spikes since the last reset.
struct Expected {
    model: Model,
    spikes: u32,
}

impl Expected {
    fn reset(&mut self) {
        self.model.values.clear();
        self.spikes = 0;
    }

    /// Adds a value. Returns the expected verdict. If rounding decides, this is `found`.
    fn update(&mut self, value: f32, mean: Option<f32>, found: Option<SpikeVerdict>) -> SpikeVerdict {
        let error = mean.zip(self.model.mean()).map_or(0.0, |(mean, exact)| (f64::from(mean) - exact).abs());
        let verdict = match self.model.verdict(value, error) {
            Verdict::Normal => SpikeVerdict::Normal,
            Verdict::Spike => SpikeVerdict::Spike,
            Verdict::NonFinite => SpikeVerdict::NonFinite,
            Verdict::Close => found.unwrap_or(SpikeVerdict::Normal),
        };
        if verdict == SpikeVerdict::Normal {
            self.model.values.push(value);
        } else {
            self.spikes += 1;
        }
        verdict
    }
}

fn run(configured: SpikeGuard, input: &Input) {
    // The number of calls of the action.
    let calls = Cell::new(0);
    let attach = |guard: SpikeGuard| {
        let value = |state: &State<f32>| state.output.unwrap_or(0.0);
        guard.attach(User(1), value, |guard, verdict, state: &mut State<f32>| {
            calls.set(calls.get() + 1);
            perform_action(input.action, guard, verdict, state);
        })
    };
    let model = Model {
        lower: input.lower,
        window: input.window.0,
        warmup: input.warmup.0,
        absolute_tolerance: input.absolute_tolerance.value(),
        relative_tolerance: input.relative_tolerance.value(),
        values: Vec::new(),
    };
    let mut expected = Expected { model, spikes: 0 };
    let mut handler = attach(configured);
    for operation in &input.operations {
        match *operation {
            Operation::Update(Number(value)) => {
                let mean = handler.spike_guard.mean();
                let found = handler.spike_guard.update(value);
                assert_eq!(found, expected.update(value, mean, Some(found)), "{value}: {input:?}");
            }
            Operation::Repeated(Number(value), times) => {
                for _ in 0..times % 8 {
                    calls.set(0);
                    let verdict = repeat(&mut handler, &mut expected, value, input);
                    assert_eq!(calls.get(), u32::from(verdict != SpikeVerdict::Normal), "{input:?}");
                }
            }
            Operation::Started => {
                handler.on_event(Event::Started, &mut (), Engine::<f32>::new(1).state_mut());
                expected.reset();
            }
            Operation::Reset => {
                handler.spike_guard.reset();
                expected.reset();
            }
            Operation::Restart => {
                let mut restored = attach(configured);
                transfer_state::<(), _, _>(&mut handler, &mut restored);
                assert_eq!(restored.spike_guard, handler.spike_guard, "{input:?}");
                handler = restored;
            }
        }
        check(&handler.spike_guard, &expected, input);
    }
}

/// Passes a value to the handler and returns the verdict, which a copy of the guard reports.
fn repeat<W, F, A>(
    handler: &mut SpikeGuardHandler<W, F, A>,
    expected: &mut Expected,
    value: f32,
    input: &Input,
) -> SpikeVerdict
where
    SpikeGuardHandler<W, F, A>: Handler<(), f32>,
{
    let (mean, mut copy) = (handler.spike_guard.mean(), handler.spike_guard);
    let found = copy.update(value);
    let verdict = expected.update(value, mean, Some(found));
    assert_eq!(found, verdict, "{value}: {input:?}");
    let mut engine = Engine::<f32>::new(1);
    engine.state_mut().output = Some(value);
    handler.on_event(Event::User(UserEvent { id: 1, value: 0 }), &mut (), engine.state_mut());
    let reason = match verdict {
        SpikeVerdict::Normal => None,
        SpikeVerdict::Spike => Some(StopReason::Spike),
        SpikeVerdict::NonFinite => Some(StopReason::NonFinite),
    };
    assert_eq!(engine.state().stop_reason(), reason.filter(|_| input.action % 4 == 1), "{value}: {input:?}");
    let resets = input.action % 4 == 2 || (input.action % 4 == 3 && expected.spikes == 2);
    if verdict != SpikeVerdict::Normal && resets {
        expected.reset();
    }
    verdict
}

fn check(guard: &SpikeGuard, expected: &Expected, input: &Input) {
    assert_eq!(guard.spike_count(), expected.spikes, "{input:?}");
    assert_eq!(guard.last(), expected.model.values.last().copied(), "{input:?}");
    assert_eq!(guard.mean().is_some(), expected.model.mean().is_some(), "{input:?}");
    if let (Some(mean), Some(exact)) = (guard.mean(), expected.model.mean()) {
        let values: Vec<f64> = expected.model.values.iter().map(|value| f64::from(*value)).collect();
        check_average(mean, exact, &values, input);
    }
}
