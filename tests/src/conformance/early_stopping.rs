//! Replays `early_stopping` traces: one [`EarlyStopping`] with a sequence of scores.

use super::trace_values::Number;
use super::{Failure, expect_equal, rejected};
use serde::Deserialize;
use training_monitor::EarlyStopping;
use training_monitor::handlers::early_stopping::{Mode, ThresholdMode};

#[derive(Deserialize)]
pub struct Trace {
    config: Config,
    calls: Vec<Call>,
}

#[derive(Deserialize)]
struct Config {
    patience: u32,
    threshold: Number,
    cumulative: bool,
    threshold_mode: TraceThresholdMode,
    mode: TraceMode,
}

/// Whether a threshold is a difference or a fraction.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TraceThresholdMode {
    Abs,
    Rel,
}

/// Whether a higher or a lower score is better.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TraceMode {
    Max,
    Min,
}

impl From<TraceThresholdMode> for ThresholdMode {
    fn from(mode: TraceThresholdMode) -> Self {
        match mode {
            TraceThresholdMode::Abs => ThresholdMode::Abs,
            TraceThresholdMode::Rel => ThresholdMode::Rel,
        }
    }
}

impl From<TraceMode> for Mode {
    fn from(mode: TraceMode) -> Self {
        match mode {
            TraceMode::Max => Mode::Max,
            TraceMode::Min => Mode::Min,
        }
    }
}

#[derive(Deserialize)]
struct Call {
    reset_before: bool,
    score: Number,
    counter: u32,
    best_score: Option<Number>,
    terminated: bool,
}

pub fn replay(trace: &Trace) -> Result<(), Failure> {
    let Config { patience, threshold, cumulative, .. } = trace.config;
    let threshold_mode = trace.config.threshold_mode.into();
    let mut stopping = EarlyStopping::new(patience)
        .and_then(|stopping| stopping.with_threshold(threshold.as_f32(), threshold_mode))
        .map_err(rejected)?
        .with_mode(trace.config.mode.into())
        .with_cumulative(cumulative);
    let mut terminated = false;
    for (index, call) in trace.calls.iter().enumerate() {
        if call.reset_before {
            stopping.reset();
        }
        terminated |= stopping.update(call.score.as_f32());
        expect_equal(index, "counter", &call.counter, &stopping.counter())?;
        expect_equal(index, "best_score", &call.best_score.map(Number::as_f32), &stopping.best_score())?;
        expect_equal(index, "terminated", &call.terminated, &terminated)?;
    }
    Ok(())
}
