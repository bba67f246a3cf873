//! Compares the schedules with the rules of torch and Ignite, alone and composed, and checks what holds for all settings:
//! a value is finite, lies within its bounds, and depends on the step only. Also compares `ReduceOnPlateau`.

use super::decode;
use super::plateau::{PlateauInput, plateau};
use super::schedule_kinds::{Built, Kind, widen};
use crate::models::number::{Counter, Number};
use arbitrary::Arbitrary;
use training_monitor::event::{EpochStarted, IterationStarted};
use training_monitor::handlers::schedules::{Concat, ConcatArray, Lambda, Warmup};
use training_monitor::{ConfigError, Engine, EventFilter, Schedule};

#[derive(Arbitrary, Debug)]
enum Input {
    Schedule(ScheduleInput),
    Plateau(PlateauInput),
}

#[derive(Arbitrary, Debug)]
struct ScheduleInput {
    first: Kind,
    composition: Composition,
    steps: Vec<Counter>,
    run: Run,
}

#[derive(Arbitrary, Debug)]
enum Composition {
    None,
    Warmup {
        start: Number,
        end: Option<Number>,
        duration: Counter,
    },
    Concat {
        duration: Counter,
        second: Kind,
    },
    /// A warm-up before a sequence, and a last schedule after it.
    Nested {
        start: Number,
        durations: [Counter; 3],
        second: Kind,
        third: Kind,
    },
    Lambda,
}

/// A run with a schedule, which is interrupted after an iteration or inside it.
#[derive(Arbitrary, Debug)]
struct Run {
    epochs: u8,
    epoch_length: u8,
    by_epoch: bool,
    interrupt_at: u8,
    is_inside: bool,
}

/// The number of steps for which the rules of torch and Ignite are computed, step by step.
pub(super) const STEPS: u32 = 40;

/// The fuzz target for the schedules and for `ReduceOnPlateau`.
pub fn schedules(data: &[u8]) {
    match decode::<Input>(data) {
        Some(Input::Schedule(input)) => schedule(&input),
        Some(Input::Plateau(input)) => plateau(&input),
        None => (),
    }
}

fn schedule(input: &ScheduleInput) {
    let Some(first) = input.first.build() else { return };
    check_kind(&input.first, &first, input);
    let first = &*first.schedule;
    match &input.composition {
        Composition::None => check_purity(&first, input),
        Composition::Lambda => {
            let lambda = Lambda(|step: u32| first.value(step / 2));
            check_purity(&lambda, input);
            steps(input).for_each(|step| assert_same(lambda.value(step), first.value(step / 2), input));
        }
        Composition::Warmup { start, end, duration } => {
            if let Some(schedule) = warm_up(first, start.0, end.map(|end| end.0), duration.0, input) {
                check_purity(&schedule, input);
            }
        }
        Composition::Concat { duration, second } => {
            let Some(second_built) = second.build() else { return };
            check_kind(second, &second_built, input);
            let second = &*second_built.schedule;
            if let Some(schedule) = concatenate(first, duration.0, second, input) {
                check_purity(&schedule, input);
            }
        }
        Composition::Nested { start, durations, second, third } => {
            let (Some(second), Some(third)) = (second.build(), third.build()) else { return };
            let (second, third) = (&*second.schedule, &*third.schedule);
            let [warmup, one, two] = durations.each_ref().map(|duration| duration.0);
            let array = ConcatArray::new([(first, one), (second, two)], third);
            let error = Some(ConfigError::ScheduleSteps).filter(|_| one == 0 || two == 0);
            assert_eq!(array.as_ref().err(), error.as_ref(), "{input:?}");
            let Ok(array) = array else { return };
            for step in steps(input) {
                let rest = step.checked_sub(one);
                let expected = match (rest, rest.and_then(|rest| rest.checked_sub(two))) {
                    (None, _) => first.value(step),
                    (Some(rest), None) => second.value(rest),
                    (_, Some(rest)) => third.value(rest),
                };
                assert_same(array.value(step), expected, input);
            }
            let Some(warm) = warm_up(&array, start.0, None, warmup, input) else { return };
            if let Some(schedule) = concatenate(&warm, one, &array, input) {
                check_purity(&schedule, input);
            }
        }
    }
}

/// Returns the steps at which values are checked: the first ones, those of the input, and their neighbours.
fn steps(input: &ScheduleInput) -> impl DoubleEndedIterator<Item = u32> {
    let far = input.steps.iter().take(12).flat_map(|step| [step.0, step.0.saturating_add(1)]);
    (0..STEPS).chain(far)
}

fn assert_same(value: f32, expected: f32, input: &ScheduleInput) {
    assert_eq!(value.to_bits(), expected.to_bits(), "{value} instead of {expected}: {input:?}");
}

/// Compares a schedule with its rule, and checks its bounds.
fn check_kind(kind: &Kind, built: &Built<'_>, input: &ScheduleInput) {
    let expected = kind.values(STEPS);
    let (low, high) = built.bounds;
    for step in steps(input) {
        let value = built.schedule.value(step);
        assert!(value.is_finite(), "{value} at {step} of {kind:?}: {input:?}");
        assert!((low..=high).contains(&value), "{value} at {step} is not from {low} to {high}: {kind:?}");
        let known = expected.as_ref().and_then(|values| values.get(step as usize));
        if let Some(expected) = known {
            let expected = expected.clamp(f32::MIN.into(), f32::MAX.into());
            let tolerance = 1e-5 * expected.abs() + built.absolute_tolerance + 3e-45;
            let is_near = (f64::from(value) - expected).abs() <= tolerance;
            assert!(is_near, "{value} instead of {expected} at {step} of {kind:?}: {input:?}");
        }
    }
    let held = built.held_from.map(|step| (built.schedule.value(step), built.schedule.value(u32::MAX)));
    if let Some((value, last)) = held {
        assert_same(value, last, input);
    }
}

/// Checks that the value of a step is the same in any order of the queries, and in a run that is interrupted.
fn check_purity(schedule: &dyn Schedule, input: &ScheduleInput) {
    let values: Vec<f32> = steps(input).map(|step| schedule.value(step)).collect();
    let reversed: Vec<f32> = steps(input).rev().map(|step| schedule.value(step)).collect();
    for (value, again) in values.iter().zip(reversed.iter().rev()) {
        assert_same(*again, *value, input);
        assert!(value.is_finite(), "{value}: {input:?}");
    }
    if input.run.by_epoch { run(schedule, EpochStarted, input) } else { run(schedule, IterationStarted, input) }
}

fn warm_up<'a>(
    schedule: &'a dyn Schedule,
    start: f32,
    end: Option<f32>,
    duration: u32,
    input: &ScheduleInput,
) -> Option<Warmup<&'a dyn Schedule>> {
    let built = Warmup::new(schedule, start, duration);
    let built = built.and_then(|warmup| end.map_or(Ok(warmup), |end| warmup.with_end_value(end)));
    let error = if duration < 2 {
        Some(ConfigError::WarmupDuration)
    } else {
        let is_valid = start.is_finite() && end.is_none_or(f32::is_finite);
        Some(ConfigError::ScheduleValue).filter(|_| !is_valid)
    };
    assert_eq!(built.as_ref().err(), error.as_ref(), "{input:?}");
    let warmup = built.ok()?;
    let first = schedule.value(0);
    let end = end.unwrap_or(first);
    // A separate end value is one more step.
    let start_step = if end == first { duration - 1 } else { duration };
    for step in steps(input).chain([duration - 2, duration - 1, duration]) {
        let value = warmup.value(step);
        if let Some(rest) = step.checked_sub(start_step) {
            assert_same(value, schedule.value(rest), input);
            continue;
        }
        let (low, high) = widen(start, end);
        assert!((low..=high).contains(&value), "{value} at {step}: {input:?}");
        let (start, end) = (f64::from(start), f64::from(end));
        let expected = start + (end - start) * f64::from(step) / f64::from(duration - 1);
        let tolerance = 1e-6 * start.abs().max(end.abs()) + 3e-45;
        assert!((f64::from(value) - expected).abs() <= tolerance, "{value}, not {expected} at {step}: {input:?}");
    }
    Some(warmup)
}

fn concatenate<'a>(
    first: &'a dyn Schedule,
    duration: u32,
    second: &'a dyn Schedule,
    input: &ScheduleInput,
) -> Option<Concat<&'a dyn Schedule, &'a dyn Schedule>> {
    let built = Concat::new(first, duration, second);
    let error = Some(ConfigError::ScheduleSteps).filter(|_| duration == 0);
    assert_eq!(built.as_ref().err(), error.as_ref(), "{input:?}");
    let concat = built.ok()?;
    for step in steps(input) {
        let expected = step.checked_sub(duration).map_or_else(|| first.value(step), |rest| second.value(rest));
        assert_same(concat.value(step), expected, input);
    }
    Some(concat)
}

/// Runs with the schedule attached. After an interruption, a new engine and a new handler continue with the saved state,
/// and the parameter is as it was before the run.
fn run<W: EventFilter + Copy>(schedule: &dyn Schedule, filter: W, input: &ScheduleInput) {
    let (epochs, length) = (u32::from(input.run.epochs % 4), 1 + u32::from(input.run.epoch_length % 4));
    let attach = || schedule.attach(filter, |parameter: &mut f32, value| *parameter = value);
    let new_engine = || Engine::<f32>::new(epochs).with_epoch_length(length);
    let (mut engine, mut handler, mut parameter) = (new_engine(), attach(), f32::NAN);
    for iteration in 0..=epochs * length {
        for is_inside in [false, true] {
            if iteration == u32::from(input.run.interrupt_at % 16) && is_inside == input.run.is_inside {
                let record = engine.record::<f32, _>(&mut handler).expect("the record is large enough");
                (engine, handler, parameter) = (new_engine(), attach(), f32::NAN);
                engine.restore::<f32, _>(&record, &mut handler).expect("a record of this program");
            } else if is_inside {
                continue;
            }
            let is_running = engine.begin_iteration(&mut parameter, &mut handler).expect("no handler saves");
            assert_eq!(is_running, iteration < epochs * length, "{input:?}");
        }
        if iteration < epochs * length {
            let step = if input.run.by_epoch { iteration / length } else { iteration };
            assert_same(parameter, schedule.value(step), input);
            engine.end_iteration(0.0, &mut parameter, &mut handler);
        }
    }
}
