//! The state machines of the core crate: early stopping, times, averages, the NaN guard and the policy of checkpoints.

use crate::shortest;
use numpy::{PyReadonlyArray1, PyReadwriteArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use training_monitor::handlers::early_stopping::{Mode, Progress, ThresholdMode};
use training_monitor::handlers::plateau::ReduceOnPlateau as CorePlateau;
use training_monitor::handlers::running_average::RunningAverage as CoreRunningAverage;
use training_monitor::handlers::weight_average::{Equal, Exponential, WeightAverage as CoreWeightAverage};
use training_monitor::run_record::Persist;
use training_monitor::{ConfigError, finite};

/// Converts the error of a setting to an exception.
pub fn setting_error(error: ConfigError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

fn mode(name: &str) -> PyResult<Mode> {
    match name {
        "max" => Ok(Mode::Max),
        "min" => Ok(Mode::Min),
        _ => Err(PyValueError::new_err("Argument mode should be either 'min' or 'max'.")),
    }
}

fn threshold_mode(name: &str) -> PyResult<ThresholdMode> {
    match name {
        "abs" => Ok(ThresholdMode::Abs),
        "rel" => Ok(ThresholdMode::Rel),
        _ => Err(PyValueError::new_err("Argument threshold_mode should be either 'abs' or 'rel'.")),
    }
}

/// Decides when a run stops early.
#[pyclass(module = "training_monitor._native")]
pub struct EarlyStopping(training_monitor::EarlyStopping);

#[pymethods]
impl EarlyStopping {
    #[new]
    fn new(patience: u32, threshold: f32, threshold_mode: &str, mode: &str, cumulative: bool) -> PyResult<Self> {
        let (threshold_mode, mode) = (self::threshold_mode(threshold_mode)?, self::mode(mode)?);
        let stopping = training_monitor::EarlyStopping::new(patience)
            .and_then(|stopping| stopping.with_threshold(threshold, threshold_mode))
            .map_err(setting_error)?;
        Ok(EarlyStopping(stopping.with_mode(mode).with_cumulative(cumulative)))
    }

    /// Returns whether the run should stop.
    fn update(&mut self, score: f32) -> bool {
        self.0.update(score)
    }

    fn reset(&mut self) {
        self.0.reset();
    }

    #[getter]
    fn counter(&self) -> u32 {
        self.0.counter()
    }

    #[getter]
    fn best_score(&self) -> Option<f64> {
        self.0.best_score().map(shortest)
    }

    fn restore(&mut self, counter: u32, best_score: Option<f32>) {
        // In Ignite, a NaN can be the best score. Here it counts as no score.
        let progress = Progress::new(counter, best_score).or_else(|| Progress::new(counter, None));
        if let Some(progress) = progress {
            self.0.restore(progress);
        }
    }
}

/// Measures times in ticks.
#[pyclass(module = "training_monitor._native")]
pub struct Timer(training_monitor::Timer);

#[pymethods]
impl Timer {
    #[new]
    fn new(now: u64, average: bool) -> Self {
        let timer = training_monitor::Timer::new(now);
        Timer(if average { timer } else { timer.without_average() })
    }

    fn reset(&mut self, now: u64) {
        self.0.reset(now);
    }

    fn pause(&mut self, now: u64) {
        self.0.pause(now);
    }

    fn resume(&mut self, now: u64) {
        self.0.resume(now);
    }

    fn step(&mut self) {
        self.0.step();
    }

    fn total(&self) -> u64 {
        self.0.total()
    }

    fn elapsed(&self, now: u64) -> u64 {
        self.0.elapsed(now)
    }

    fn value(&self, now: u64) -> u64 {
        self.0.value(now)
    }

    #[getter]
    fn step_count(&self) -> u32 {
        self.0.step_count()
    }

    #[getter]
    fn running(&self) -> bool {
        self.0.is_running()
    }
}

/// Decides when the training time is used up, in ticks.
#[pyclass(module = "training_monitor._native")]
pub struct TimeLimit(training_monitor::TimeLimit);

#[pymethods]
impl TimeLimit {
    #[new]
    fn new(limit: u64) -> PyResult<Self> {
        training_monitor::TimeLimit::new(limit).map(TimeLimit).map_err(setting_error)
    }

    fn start(&mut self, now: u64) {
        self.0.start(now);
    }

    fn update(&mut self, now: u64) -> bool {
        self.0.update(now)
    }

    fn pause(&mut self, now: u64) {
        self.0.pause(now);
    }

    #[getter]
    fn elapsed(&self) -> u64 {
        self.0.elapsed()
    }
}

/// Averages numbers.
#[pyclass(module = "training_monitor._native")]
pub struct RunningAverage(CoreRunningAverage);

#[pymethods]
impl RunningAverage {
    #[new]
    fn new(alpha: f32) -> PyResult<Self> {
        CoreRunningAverage::new(alpha).map(RunningAverage).map_err(setting_error)
    }

    fn update(&mut self, value: f32) -> f64 {
        shortest(self.0.update(value))
    }

    fn reset(&mut self) {
        self.0.reset();
    }

    #[getter]
    fn value(&self) -> Option<f64> {
        self.0.value().map(shortest)
    }
}

/// Reduces a value when a metric no longer improves.
#[pyclass(module = "training_monitor._native")]
pub struct ReduceOnPlateau(CorePlateau);

#[pymethods]
impl ReduceOnPlateau {
    #[new]
    #[allow(clippy::too_many_arguments, reason = "the settings of torch's ReduceLROnPlateau")]
    fn new(
        value: f32,
        mode: &str,
        factor: f32,
        patience: u32,
        threshold: f32,
        threshold_mode: &str,
        cooldown: u32,
        min_value: f32,
        eps: f32,
    ) -> PyResult<Self> {
        let (mode, threshold_mode) = (self::mode(mode)?, self::threshold_mode(threshold_mode)?);
        let plateau = CorePlateau::new(value)
            .and_then(|plateau| plateau.with_factor(factor))
            .and_then(|plateau| plateau.with_threshold(threshold, threshold_mode))
            .and_then(|plateau| plateau.with_min_value(min_value))
            .and_then(|plateau| plateau.with_eps(eps))
            .map_err(setting_error)?;
        Ok(ReduceOnPlateau(plateau.with_mode(mode).with_patience(patience).with_cooldown(cooldown)))
    }

    fn update(&mut self, metric: f32) -> f64 {
        shortest(self.0.update(metric))
    }

    #[getter]
    fn value(&self) -> f64 {
        shortest(self.0.value())
    }
}

enum AverageRule {
    Exponential(CoreWeightAverage<Exponential>),
    Equal(CoreWeightAverage<Equal>),
}

/// Averages weights.
#[pyclass(module = "training_monitor._native")]
pub struct WeightAverage(AverageRule);

/// Calls the same method of both rules.
macro_rules! with_rule {
    ($average:expr, $name:ident => $call:expr) => {
        match $average {
            AverageRule::Exponential($name) => $call,
            AverageRule::Equal($name) => $call,
        }
    };
}

/// A pair of arrays: the averages and the weights.
type Pair<'py> = (PyReadwriteArray1<'py, f32>, PyReadwriteArray1<'py, f32>);

/// Borrows the elements of all pairs.
fn slices<'a>(pairs: &'a mut [Pair<'_>]) -> PyResult<Vec<(&'a mut [f32], &'a mut [f32])>> {
    pairs.iter_mut().map(|(averages, weights)| Ok((averages.as_slice_mut()?, weights.as_slice_mut()?))).collect()
}

#[pymethods]
impl WeightAverage {
    #[staticmethod]
    fn exponential(momentum: f32, warmup: Option<(f32, u32)>) -> PyResult<Self> {
        let average = CoreWeightAverage::exponential(momentum);
        let average = match warmup {
            Some((first, iterations)) => average.and_then(|average| average.with_warmup(first, iterations)),
            None => average,
        };
        average.map(|average| WeightAverage(AverageRule::Exponential(average))).map_err(setting_error)
    }

    #[staticmethod]
    fn equal() -> Self {
        WeightAverage(AverageRule::Equal(CoreWeightAverage::equal()))
    }

    /// Copies the weights to the averages. Returns false if a weight is not finite.
    fn start(&mut self, mut pairs: Vec<Pair<'_>>) -> PyResult<bool> {
        let mut slices = slices(&mut pairs)?;
        Ok(with_rule!(&mut self.0, average => average.start(|pair| slices.iter_mut().for_each(|(a, w)| pair(a, w)))))
    }

    /// Updates the averages. Returns false, and changes nothing, if a weight is not finite.
    fn update(&mut self, mut pairs: Vec<Pair<'_>>) -> PyResult<bool> {
        let mut slices = slices(&mut pairs)?;
        Ok(with_rule!(&mut self.0, average => average.update(|pair| slices.iter_mut().for_each(|(a, w)| pair(a, w)))))
    }

    #[getter]
    fn updates(&self) -> u32 {
        with_rule!(&self.0, average => average.updates())
    }

    #[getter]
    fn momentum(&self) -> f64 {
        shortest(with_rule!(&self.0, average => average.momentum()))
    }
}

/// Returns whether all numbers are finite.
#[pyfunction]
pub fn all_finite_f32(values: PyReadonlyArray1<'_, f32>) -> PyResult<bool> {
    Ok(finite::all_finite(values.as_slice()?))
}

/// Returns whether all numbers are finite.
#[pyfunction]
pub fn all_finite_f64(values: PyReadonlyArray1<'_, f64>) -> PyResult<bool> {
    Ok(finite::all_finite_f64(values.as_slice()?))
}
