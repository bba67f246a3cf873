//! The schedules of the core crate. A schedule is a function from the number of a step to a value.

use crate::handlers::setting_error;
use crate::shortest;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::sync::Arc;
use training_monitor::handlers::schedules::{
    Anneal, Concat, Constant, Cosine, CosineAnnealing, CosineRestarts, Cyclic, CyclicMode, Exponential, Linear,
    LinearCyclical, MultiStep, OneCycle, PiecewiseLinear, Polynomial, StepDecay, Warmup,
};
use training_monitor::{ConfigError, Schedule as CoreSchedule};

type Shared = Arc<dyn CoreSchedule + Send + Sync>;

/// A value for each step.
#[pyclass(frozen, module = "training_monitor._native")]
pub struct Schedule(Shared);

/// Builds a schedule of the core crate that borrows its parts. The settings were checked when the schedule was created.
struct Built<T, F>(T, F);

impl<T, F: Fn(&T, u32) -> Result<f32, ConfigError>> CoreSchedule for Built<T, F> {
    fn value(&self, step: u32) -> f32 {
        // `build` has called the function with success, and the result depends on the settings only.
        (self.1)(&self.0, step).unwrap_or(f32::NAN)
    }
}

fn build<T, F>(parts: T, value: F) -> PyResult<Schedule>
where
    T: Send + Sync + 'static,
    F: Fn(&T, u32) -> Result<f32, ConfigError> + Send + Sync + 'static,
{
    value(&parts, 0).map_err(setting_error)?;
    Ok(Schedule(Arc::new(Built(parts, value))))
}

fn finish<S: CoreSchedule + Send + Sync + 'static>(schedule: Result<S, ConfigError>) -> PyResult<Schedule> {
    schedule.map(|schedule| Schedule(Arc::new(schedule))).map_err(setting_error)
}

/// The settings of a cyclical schedule of Ignite: the start value, the end value, the size of a cycle, and the factors of
/// the size, the start value and the end value after each cycle.
type Cycles = (f32, f32, u32, f32, f32, f32);

#[pymethods]
impl Schedule {
    fn value(&self, step: u32) -> f64 {
        shortest(self.0.value(step))
    }

    #[staticmethod]
    fn linear_cyclical(cycles: Cycles, monotonic_warmup: Option<u32>) -> PyResult<Self> {
        let (start_value, end_value, cycle_size, cycle_mult, start_value_mult, end_value_mult) = cycles;
        let schedule = LinearCyclical::new(start_value, end_value, cycle_size)
            .and_then(|schedule| schedule.with_cycle_mult(cycle_mult))
            .and_then(|schedule| schedule.with_value_mults(start_value_mult, end_value_mult));
        finish(schedule.map(|schedule| monotonic_warmup.map_or(schedule, |steps| schedule.with_monotonic(steps))))
    }

    #[staticmethod]
    fn cosine_annealing(cycles: Cycles, warmup_duration: u32) -> PyResult<Self> {
        let (start_value, end_value, cycle_size, cycle_mult, start_value_mult, end_value_mult) = cycles;
        let schedule = CosineAnnealing::new(start_value, end_value, cycle_size)
            .and_then(|schedule| schedule.with_cycle_mult(cycle_mult))
            .and_then(|schedule| schedule.with_value_mults(start_value_mult, end_value_mult));
        finish(schedule.map(|schedule| schedule.with_warmup_duration(warmup_duration)))
    }

    #[staticmethod]
    fn piecewise_linear(milestones_values: Vec<(u32, f32)>) -> PyResult<Self> {
        build(milestones_values, |points, step| Ok(PiecewiseLinear::new(points)?.value(step)))
    }

    #[staticmethod]
    fn warmup(schedule: &Schedule, start_value: f32, duration: u32, end_value: Option<f32>) -> PyResult<Self> {
        build(Arc::clone(&schedule.0), move |schedule, step| {
            let warmup = Warmup::new(&**schedule, start_value, duration)?;
            Ok(end_value.map_or(Ok(warmup), |end_value| warmup.with_end_value(end_value))?.value(step))
        })
    }

    #[staticmethod]
    fn concat(first: &Schedule, duration: u32, second: &Schedule) -> PyResult<Self> {
        build((Arc::clone(&first.0), Arc::clone(&second.0)), move |(first, second), step| {
            Ok(Concat::new(&**first, duration, &**second)?.value(step))
        })
    }

    #[staticmethod]
    fn step_decay(base: f32, step_size: u32, gamma: f32) -> PyResult<Self> {
        finish(StepDecay::new(base, step_size, gamma))
    }

    #[staticmethod]
    fn multi_step(base: f32, milestones: Vec<u32>, gamma: f32) -> PyResult<Self> {
        build(milestones, move |milestones, step| Ok(MultiStep::new(base, milestones, gamma)?.value(step)))
    }

    #[staticmethod]
    fn exponential(base: f32, gamma: f32) -> PyResult<Self> {
        finish(Exponential::new(base, gamma))
    }

    #[staticmethod]
    fn linear(base: f32, start_factor: f32, end_factor: f32, total_iters: u32) -> PyResult<Self> {
        finish(Linear::new(base, start_factor, end_factor, total_iters))
    }

    #[staticmethod]
    fn constant(base: f32, factor: f32, total_iters: u32) -> PyResult<Self> {
        finish(Constant::new(base, factor, total_iters))
    }

    #[staticmethod]
    fn polynomial(base: f32, power: f32, total_iters: u32) -> PyResult<Self> {
        finish(Polynomial::new(base, power, total_iters))
    }

    #[staticmethod]
    fn cosine(base: f32, t_max: u32, eta_min: f32) -> PyResult<Self> {
        finish(Cosine::new(base, t_max).and_then(|cosine| cosine.with_eta_min(eta_min)))
    }

    #[staticmethod]
    fn cosine_restarts(base: f32, t_0: u32, t_mult: u32, eta_min: f32) -> PyResult<Self> {
        let cosine = CosineRestarts::new(base, t_0).and_then(|cosine| cosine.with_t_mult(t_mult));
        finish(cosine.and_then(|cosine| cosine.with_eta_min(eta_min)))
    }

    #[staticmethod]
    fn one_cycle(
        max: f32,
        total_steps: u32,
        pct_start: f32,
        anneal: &str,
        div_factors: (f32, f32),
        three_phase: bool,
    ) -> PyResult<Self> {
        let anneal = match anneal {
            "cos" => Anneal::Cos,
            "linear" => Anneal::Linear,
            _ => return Err(PyValueError::new_err("anneal must be 'cos' or 'linear'")),
        };
        let cycle = OneCycle::new(max, total_steps)
            .and_then(|cycle| cycle.with_pct_start(pct_start))
            .and_then(|cycle| cycle.with_div_factors(div_factors.0, div_factors.1));
        finish(cycle.map(|cycle| cycle.with_anneal(anneal).with_three_phase(three_phase)))
    }

    #[staticmethod]
    fn cyclic(base: f32, max: f32, steps: (u32, u32), mode: &str, gamma: f32) -> PyResult<Self> {
        let mode = match mode {
            "triangular" => CyclicMode::Triangular,
            "triangular2" => CyclicMode::Triangular2,
            "exp_range" => CyclicMode::ExpRange(gamma),
            _ => return Err(PyValueError::new_err("mode must be 'triangular', 'triangular2' or 'exp_range'")),
        };
        finish(Cyclic::new(base, max, steps.0, steps.1).and_then(|cyclic| cyclic.with_mode(mode)))
    }
}
