//! Replays `lr_schedule` traces of torch and `param_schedule` traces of Ignite: the values of a schedule, from step 0.

use super::trace_values::Tolerance;
use super::{Failure, rejected};
use serde::Deserialize;
use training_monitor::handlers::schedules::{
    Anneal, Concat, ConcatArray, Constant, Cosine, CosineAnnealing, CosineRestarts, Cyclic, CyclicMode, Exponential,
    Linear, LinearCyclical, MultiStep, OneCycle, PiecewiseLinear, Polynomial, StepDecay, Warmup,
};
use training_monitor::{ConfigError, Schedule};

#[derive(Deserialize)]
pub struct LrTrace {
    config: LrConfig,
    values: Vec<f64>,
}

#[derive(Deserialize)]
struct LrConfig {
    base: f64,
    #[serde(flatten)]
    schedule: LrSchedule,
}

/// The schedules of torch, with the names of their parameters.
#[derive(Deserialize)]
#[serde(tag = "schedule", rename_all = "snake_case")]
enum LrSchedule {
    Step {
        step_size: u32,
        gamma: f64,
    },
    MultiStep {
        milestones: Vec<u32>,
        gamma: f64,
    },
    Exponential {
        gamma: f64,
    },
    Linear {
        start_factor: f64,
        end_factor: f64,
        total_iters: u32,
    },
    Constant {
        factor: f64,
        total_iters: u32,
    },
    Polynomial {
        total_iters: u32,
        power: f64,
    },
    Cosine {
        t_max: u32,
        eta_min: f64,
    },
    CosineRestarts {
        t_0: u32,
        t_mult: u32,
        eta_min: f64,
    },
    OneCycle {
        max_lr: f64,
        total_steps: u32,
        pct_start: f64,
        anneal: TraceAnneal,
        div_factor: f64,
        final_div_factor: f64,
        three_phase: bool,
    },
    Cyclic {
        base_lr: f64,
        max_lr: f64,
        step_size_up: u32,
        step_size_down: u32,
        mode: TraceCyclicMode,
        gamma: f64,
    },
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum TraceAnneal {
    Cos,
    Linear,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum TraceCyclicMode {
    Triangular,
    Triangular2,
    ExpRange,
}

impl LrConfig {
    /// Builds the schedule and compares its values.
    fn replay(&self, values: &[f64]) -> Result<(), Failure> {
        let base = single(self.base);
        let inputs = |inputs: &[f64]| [&[self.base], inputs].concat();
        match &self.schedule {
            LrSchedule::Step { step_size, gamma } => {
                compare(StepDecay::new(base, *step_size, single(*gamma)), &inputs(&[]), values)
            }
            LrSchedule::MultiStep { milestones, gamma } => {
                compare(MultiStep::new(base, milestones, single(*gamma)), &inputs(&[]), values)
            }
            LrSchedule::Exponential { gamma } => compare(Exponential::new(base, single(*gamma)), &inputs(&[]), values),
            LrSchedule::Linear { start_factor, end_factor, total_iters } => {
                let schedule = Linear::new(base, single(*start_factor), single(*end_factor), *total_iters);
                compare(schedule, &inputs(&[]), values)
            }
            LrSchedule::Constant { factor, total_iters } => {
                compare(Constant::new(base, single(*factor), *total_iters), &inputs(&[]), values)
            }
            LrSchedule::Polynomial { total_iters, power } => {
                compare(Polynomial::new(base, single(*power), *total_iters), &inputs(&[]), values)
            }
            LrSchedule::Cosine { t_max, eta_min } => {
                let schedule = Cosine::new(base, *t_max).and_then(|cosine| cosine.with_eta_min(single(*eta_min)));
                compare(schedule, &inputs(&[*eta_min]), values)
            }
            LrSchedule::CosineRestarts { t_0, t_mult, eta_min } => {
                let schedule = CosineRestarts::new(base, *t_0)
                    .and_then(|cosine| cosine.with_t_mult(*t_mult))
                    .and_then(|cosine| cosine.with_eta_min(single(*eta_min)));
                compare(schedule, &inputs(&[*eta_min]), values)
            }
            LrSchedule::OneCycle { max_lr, total_steps, pct_start, div_factor, final_div_factor, .. } => {
                let schedule = OneCycle::new(single(*max_lr), *total_steps)
                    .and_then(|cycle| cycle.with_pct_start(single(*pct_start)))
                    .and_then(|cycle| cycle.with_div_factors(single(*div_factor), single(*final_div_factor)));
                compare(schedule.map(|cycle| self.schedule.finish_one_cycle(cycle)), &inputs(&[*max_lr]), values)
            }
            LrSchedule::Cyclic { base_lr, max_lr, step_size_up, step_size_down, mode, gamma } => {
                let mode = match mode {
                    TraceCyclicMode::Triangular => CyclicMode::Triangular,
                    TraceCyclicMode::Triangular2 => CyclicMode::Triangular2,
                    TraceCyclicMode::ExpRange => CyclicMode::ExpRange(single(*gamma)),
                };
                let schedule = Cyclic::new(single(*base_lr), single(*max_lr), *step_size_up, *step_size_down);
                compare(schedule.and_then(|cyclic| cyclic.with_mode(mode)), &inputs(&[*base_lr, *max_lr]), values)
            }
        }
    }
}

impl LrSchedule {
    /// Sets the options of a one-cycle schedule that have no number.
    fn finish_one_cycle(&self, cycle: OneCycle) -> OneCycle {
        let LrSchedule::OneCycle { anneal, three_phase, .. } = self else { return cycle };
        let anneal = match anneal {
            TraceAnneal::Cos => Anneal::Cos,
            TraceAnneal::Linear => Anneal::Linear,
        };
        cycle.with_anneal(anneal).with_three_phase(*three_phase)
    }
}

pub fn lr_schedule(trace: &LrTrace) -> Result<(), Failure> {
    trace.config.replay(&trace.values)
}

#[derive(Deserialize)]
pub struct ParamTrace {
    config: ParamSchedule,
    values: Vec<f64>,
}

/// The schedules of Ignite, with the names of their parameters.
#[derive(Deserialize)]
#[serde(tag = "schedule", rename_all = "snake_case")]
enum ParamSchedule {
    LinearCyclical(Cycles),
    CosineAnnealing(Cycles),
    PiecewiseLinear { milestones_values: Vec<(u32, f64)> },
    Warmup { inner: Box<ParamSchedule>, warmup_start_value: f64, warmup_end_value: Option<f64>, warmup_duration: u32 },
    Concat { parts: Vec<ParamSchedule>, durations: Vec<u32> },
}

#[derive(Clone, Copy, Deserialize)]
struct Cycles {
    start_value: f64,
    end_value: f64,
    cycle_size: u32,
    #[serde(default = "one")]
    cycle_mult: f64,
    #[serde(default = "one")]
    start_value_mult: f64,
    #[serde(default = "one")]
    end_value_mult: f64,
}

fn one() -> f64 {
    1.0
}

impl Cycles {
    fn inputs(&self) -> [f64; 2] {
        [self.start_value, self.end_value]
    }

    fn linear(&self) -> Result<LinearCyclical, ConfigError> {
        LinearCyclical::new(single(self.start_value), single(self.end_value), self.cycle_size)?
            .with_cycle_mult(single(self.cycle_mult))?
            .with_value_mults(single(self.start_value_mult), single(self.end_value_mult))
    }

    fn cosine(&self) -> Result<CosineAnnealing, ConfigError> {
        CosineAnnealing::new(single(self.start_value), single(self.end_value), self.cycle_size)?
            .with_cycle_mult(single(self.cycle_mult))?
            .with_value_mults(single(self.start_value_mult), single(self.end_value_mult))
    }
}

/// A schedule of a trace that is part of another one.
#[derive(Clone, Copy)]
enum Part {
    Linear(LinearCyclical),
    Cosine(CosineAnnealing),
}

impl Schedule for Part {
    fn value(&self, step: u32) -> f32 {
        match self {
            Part::Linear(schedule) => schedule.value(step),
            Part::Cosine(schedule) => schedule.value(step),
        }
    }
}

impl ParamSchedule {
    /// Returns the schedule as a part of another one, and its input values.
    fn part(&self) -> Result<(Part, [f64; 2]), Failure> {
        match self {
            ParamSchedule::LinearCyclical(cycles) => {
                Ok((Part::Linear(cycles.linear().map_err(rejected)?), cycles.inputs()))
            }
            ParamSchedule::CosineAnnealing(cycles) => {
                Ok((Part::Cosine(cycles.cosine().map_err(rejected)?), cycles.inputs()))
            }
            _ => Err(Failure::Malformed("a part of a schedule must be a cyclical schedule".into())),
        }
    }
}

pub fn param_schedule(ParamTrace { config, values }: &ParamTrace) -> Result<(), Failure> {
    match config {
        ParamSchedule::LinearCyclical(cycles) => compare(cycles.linear(), &cycles.inputs(), values),
        ParamSchedule::CosineAnnealing(cycles) => compare(cycles.cosine(), &cycles.inputs(), values),
        ParamSchedule::PiecewiseLinear { milestones_values } => {
            let points: Vec<_> = milestones_values.iter().map(|(step, value)| (*step, single(*value))).collect();
            let inputs: Vec<_> = milestones_values.iter().map(|(_, value)| *value).collect();
            compare(PiecewiseLinear::new(&points), &inputs, values)
        }
        ParamSchedule::Warmup { inner, warmup_start_value, warmup_end_value, warmup_duration } => {
            let (part, inputs) = inner.part()?;
            let schedule = Warmup::new(part, single(*warmup_start_value), *warmup_duration)
                .and_then(|warmup| warmup_end_value.map_or(Ok(warmup), |end| warmup.with_end_value(single(end))));
            let inputs = [&inputs[..], &[*warmup_start_value], warmup_end_value.as_slice()].concat();
            compare(schedule, &inputs, values)
        }
        ParamSchedule::Concat { parts, durations } => {
            let (parts, inputs): (Vec<_>, Vec<_>) =
                parts.iter().map(ParamSchedule::part).collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
            concat(&parts, durations, &inputs.concat(), values)
        }
    }
}

/// Compares the values of two or three schedules, one after the other.
fn concat(parts: &[Part], durations: &[u32], inputs: &[f64], values: &[f64]) -> Result<(), Failure> {
    match (parts, durations) {
        ([first, second], [duration]) => compare(Concat::new(*first, *duration, *second), inputs, values),
        ([first, second, third], [duration, duration_2]) => {
            let rest = Concat::new(*second, *duration_2, *third);
            compare(rest.and_then(|rest| Concat::new(*first, *duration, rest)), inputs, values)?;
            // The same schedule as an array.
            compare(ConcatArray::new([(*first, *duration), (*second, *duration_2)], *third), inputs, values)
        }
        _ => {
            Err(Failure::Malformed("`concat` must have two or three parts, and a duration for all but the last".into()))
        }
    }
}

/// Compares the values of a schedule with the recorded ones. `inputs` are the values among its settings.
fn compare<S: Schedule>(schedule: Result<S, ConfigError>, inputs: &[f64], values: &[f64]) -> Result<(), Failure> {
    let schedule = schedule.map_err(rejected)?;
    let tolerance = Tolerance::new([inputs, values].concat());
    for (step, (index, value)) in (0..).zip(values.iter().enumerate()) {
        tolerance.expect_near(index, "values", *value, schedule.value(step))?;
    }
    Ok(())
}

/// The nearest f32 of a setting.
#[allow(clippy::cast_possible_truncation, reason = "the library has f32 settings")]
fn single(value: f64) -> f32 {
    value as f32
}
