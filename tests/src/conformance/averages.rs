//! Replays traces of averages and of gradient clipping.
//!
//! The recorded results are numbers of other libraries, most of them f64. [`expect_near`] states the allowed difference.

use super::trace_values::Number;
use super::{Failure, expect_equal, rejected};
use serde::Deserialize;
use std::cell::Cell;
use training_monitor::event::IterationCompleted;
use training_monitor::gradient::{self, GradientLimit};
use training_monitor::handler::RunTypes;
use training_monitor::handlers::weight_average::AverageRule;
use training_monitor::{Engine, RunningAverage, StopReason, TimeLimit, WeightAverage, on};

/// The allowed difference of a value, relative to the recorded value.
const RELATIVE: f64 = 1e-5;

/// The allowed difference of a value, relative to the largest magnitude in the trace. A result that is small because two
/// large inputs cancel each other has no more accuracy than these.
const RELATIVE_TO_LARGEST: f64 = 1e-6;

/// The largest magnitude of the finite numbers in a trace.
fn largest_magnitude<'a>(numbers: impl IntoIterator<Item = &'a Number>) -> f64 {
    numbers.into_iter().map(|number| number.0.abs()).filter(|number| number.is_finite()).fold(0.0, f64::max)
}

/// Compares a recorded value with that of the library. `largest` is the largest magnitude among the inputs and results of
/// the trace. A NaN or an infinity must be the recorded one.
fn expect_near(index: usize, field: &'static str, largest: f64, expected: Number, found: f32) -> Result<(), Failure> {
    let found = f64::from(found);
    let difference = (expected.0 - found).abs();
    let near = difference <= RELATIVE * expected.0.abs() || difference <= RELATIVE_TO_LARGEST * largest;
    let same = expected.0 == found || expected.0.is_nan() && found.is_nan();
    if same || (near && expected.0.is_finite()) { Ok(()) } else { expect_equal(index, field, &expected.0, &found) }
}

/// Compares the elements of a tensor with [`expect_near`].
fn expect_all_near(
    index: usize,
    field: &'static str,
    largest: f64,
    expected: &[Number],
    found: &[f32],
) -> Result<(), Failure> {
    expect_equal(index, field, &expected.len(), &found.len())?;
    expected.iter().zip(found).try_for_each(|(expected, found)| expect_near(index, field, largest, *expected, *found))
}

fn as_f32(numbers: &[Number]) -> Vec<f32> {
    numbers.iter().map(|number| number.as_f32()).collect()
}

#[derive(Deserialize)]
pub struct EmaTrace {
    config: EmaConfig,
    calls: Vec<EmaCall>,
}

#[derive(Deserialize)]
struct EmaConfig {
    initial: Vec<Number>,
    momentum: Number,
    momentum_warmup: Option<Number>,
    warmup_iters: Option<u32>,
}

#[derive(Deserialize)]
struct EmaCall {
    weights: Vec<Number>,
    average: Vec<Number>,
    momentum: Number,
}

pub fn ema(trace: &EmaTrace) -> Result<(), Failure> {
    let EmaConfig { initial, momentum, momentum_warmup, warmup_iters } = &trace.config;
    let mut ema = WeightAverage::exponential(momentum.as_f32()).map_err(rejected)?;
    if let (Some(first), Some(iterations)) = (momentum_warmup, warmup_iters) {
        ema = ema.with_warmup(first.as_f32(), *iterations).map_err(rejected)?;
    }
    let recorded = trace.calls.iter().flat_map(|call| call.weights.iter().chain(&call.average));
    let largest = largest_magnitude(initial.iter().chain(recorded));
    let mut weights = as_f32(initial);
    let mut averages = vec![f32::NAN; weights.len()];
    ema.start(|pair| pair(&mut averages, &mut weights));
    for (index, call) in trace.calls.iter().enumerate() {
        update(index, &mut ema, &mut averages, &call.weights)?;
        expect_all_near(index, "average", largest, &call.average, &averages)?;
        expect_near(index, "momentum", 0.0, call.momentum, ema.momentum())?;
    }
    Ok(())
}

fn update<R: AverageRule>(
    index: usize,
    rule: &mut WeightAverage<R>,
    averages: &mut [f32],
    weights: &[Number],
) -> Result<(), Failure> {
    let updated = rule.update(|pair| pair(averages, &mut as_f32(weights)));
    expect_equal(index, "weights", &true, &updated)
}

#[derive(Deserialize)]
pub struct EqualAverageTrace {
    calls: Vec<EqualAverageCall>,
}

#[derive(Deserialize)]
struct EqualAverageCall {
    weights: Vec<Number>,
    average: Vec<Number>,
    n_averaged: u32,
}

pub fn equal_average(trace: &EqualAverageTrace) -> Result<(), Failure> {
    let mut mean = WeightAverage::equal();
    let largest = largest_magnitude(trace.calls.iter().flat_map(|call| call.weights.iter().chain(&call.average)));
    let mut averages = vec![f32::NAN; trace.calls.first().map_or(0, |call| call.weights.len())];
    for (index, call) in trace.calls.iter().enumerate() {
        update(index, &mut mean, &mut averages, &call.weights)?;
        expect_all_near(index, "average", largest, &call.average, &averages)?;
        expect_equal(index, "n_averaged", &call.n_averaged, &mean.updates())?;
    }
    Ok(())
}

#[derive(Deserialize)]
pub struct RunningAverageTrace {
    config: RunningAverageConfig,
    calls: Vec<RunningAverageCall>,
}

#[derive(Deserialize)]
struct RunningAverageConfig {
    alpha: Number,
    span: Span,
    epochs: u32,
    batches: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Span {
    Run,
    Epoch,
}

#[derive(Deserialize)]
struct RunningAverageCall {
    value: Number,
    average: Number,
}

pub fn running_average(trace: &RunningAverageTrace) -> Result<(), Failure> {
    let RunningAverageConfig { alpha, span, epochs, batches } = &trace.config;
    let average = RunningAverage::new(alpha.as_f32()).map_err(rejected)?;
    let average = match span {
        Span::Run => average,
        Span::Epoch => average.per_epoch(),
    };
    let types = RunTypes::<(), f32, f32>::new();
    let mut found = Vec::new();
    let mut handlers = (
        average.attach(
            IterationCompleted,
            types.score(|state| state.output.unwrap_or(f32::NAN)),
            types.store(|state, average| state.metrics = average),
        ),
        on(IterationCompleted, types.function(|(), state| found.push(state.metrics))),
    );
    let mut values = trace.calls.iter().map(|call| call.value.as_f32());
    let step = |_: &mut _, _, _: &mut _| values.next().unwrap_or(f32::NAN);
    Engine::with_metrics(*epochs, 0.0).run(&mut (), 0..*batches, &mut handlers, step).map_err(rejected)?;
    let largest = largest_magnitude(trace.calls.iter().flat_map(|call| [&call.value, &call.average]));
    for (index, (call, found)) in trace.calls.iter().zip(&found).enumerate() {
        expect_near(index, "average", largest, call.average, *found)?;
    }
    expect_equal(0, "number of calls", &trace.calls.len(), &found.len())
}

#[derive(Deserialize)]
pub struct TimeLimitTrace {
    config: TimeLimitConfig,
    work_ticks: Vec<u64>,
    iterations: u32,
    terminated: bool,
}

#[derive(Deserialize)]
struct TimeLimitConfig {
    tick_hz: u64,
    limit_seconds: u64,
    epochs: u32,
    batches: u32,
}

pub fn time_limit(trace: &TimeLimitTrace) -> Result<(), Failure> {
    let TimeLimitConfig { tick_hz, limit_seconds, epochs, batches } = trace.config;
    let clock = Cell::new(0);
    let limit = TimeLimit::new(tick_hz * limit_seconds).map_err(rejected)?;
    let mut handler = limit.attach(IterationCompleted, || clock.get());
    let mut work = trace.work_ticks.iter();
    let step = |_: &mut _, _, _: &mut _| clock.set(clock.get() + work.next().unwrap_or(&0));
    let outcome = Engine::<()>::new(epochs).run(&mut (), 0..batches, &mut handler, step).map_err(rejected)?;
    expect_equal(0, "iterations", &trace.iterations, &outcome.iteration)?;
    // Ignite's flag is not recorded. `terminated` is true if the limit ended the run before its last iteration.
    let early = outcome.reason == StopReason::TimeLimit && outcome.iteration < epochs * batches;
    expect_equal(0, "terminated", &trace.terminated, &early)
}

#[derive(Deserialize)]
pub struct ClipGradTrace {
    config: ClipGradConfig,
    before: Vec<Vec<Number>>,
    total_norm: Option<Number>,
    after: Vec<Vec<Number>>,
}

#[derive(Deserialize)]
struct ClipGradConfig {
    norm: NormKind,
    limit: Number,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum NormKind {
    L2,
    Inf,
    Value,
}

pub fn clip_grad(trace: &ClipGradTrace) -> Result<(), Failure> {
    let limit = GradientLimit::new(trace.config.limit.as_f32()).map_err(rejected)?;
    let before: Vec<Vec<f32>> = trace.before.iter().map(|tensor| as_f32(tensor)).collect();
    let mut after = before.clone();
    let list = |visit: &mut dyn FnMut(&mut [f32])| after.iter_mut().for_each(|tensor| visit(tensor));
    let norm = match trace.config.norm {
        NormKind::L2 => Some(limit.clip_norm(list)),
        NormKind::Inf => Some(limit.clip_largest(list)),
        NormKind::Value => {
            limit.clip_values(list);
            None
        }
    };
    let largest = largest_magnitude(trace.before.iter().chain(&trace.after).flatten().chain(&trace.total_norm));
    expect_equal(0, "total_norm", &trace.total_norm.is_some(), &norm.is_some())?;
    if let (Some(expected), Some(norm)) = (trace.total_norm, norm) {
        expect_near(0, "total_norm", largest, expected, norm)?;
        if !norm.is_finite() {
            // torch spoils these gradients. The library must leave every bit as it is.
            let bits = |tensors: &[Vec<f32>]| tensors.iter().flatten().map(|value| value.to_bits()).collect::<Vec<_>>();
            return expect_equal(0, "before", &bits(&before), &bits(&after));
        }
    }
    expect_equal(0, "after", &trace.after.len(), &after.len())?;
    for (index, (expected, found)) in trace.after.iter().zip(&after).enumerate() {
        expect_all_near(index, "after", largest, expected, found)?;
    }
    // The function that only measures returns the same norm.
    let measured = match trace.config.norm {
        NormKind::L2 => Some(gradient::l2_norm(|visit| before.clone().iter_mut().for_each(|tensor| visit(tensor)))),
        NormKind::Inf => {
            Some(gradient::largest_magnitude(|visit| before.clone().iter_mut().for_each(|tensor| visit(tensor))))
        }
        NormKind::Value => None,
    };
    expect_equal(0, "total_norm", &norm, &measured)
}
