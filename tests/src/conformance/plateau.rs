//! Replays `plateau` traces of torch: one [`ReduceOnPlateau`] with a sequence of metrics.

use super::early_stopping::{TraceMode, TraceThresholdMode};
use super::trace_values::{Number, Tolerance};
use super::{Failure, expect_equal, rejected};
use serde::Deserialize;
use training_monitor::handlers::early_stopping::Mode;
use training_monitor::{ConfigError, ReduceOnPlateau};

#[derive(Deserialize)]
pub struct Trace {
    config: Config,
    calls: Vec<Call>,
}

#[derive(Clone, Copy, Deserialize)]
struct Config {
    base: Number,
    mode: TraceMode,
    factor: Number,
    patience: u32,
    threshold: Number,
    threshold_mode: TraceThresholdMode,
    cooldown: u32,
    min_lr: Number,
    eps: Number,
}

#[derive(Deserialize)]
struct Call {
    metric: Number,
    value: Number,
    bad: u32,
    best: Number,
    cooldown: u32,
}

impl Config {
    fn build(self) -> Result<ReduceOnPlateau, ConfigError> {
        let plateau = ReduceOnPlateau::new(self.base.as_f32())?
            .with_mode(self.mode.into())
            .with_patience(self.patience)
            .with_cooldown(self.cooldown)
            .with_factor(self.factor.as_f32())?
            .with_threshold(self.threshold.as_f32(), self.threshold_mode.into())?;
        plateau.with_min_value(self.min_lr.as_f32())?.with_eps(self.eps.as_f32())
    }
}

pub fn replay(trace: &Trace) -> Result<(), Failure> {
    let mode: Mode = trace.config.mode.into();
    let mut plateau = trace.config.build().map_err(rejected)?;
    let tolerance = Tolerance::new([trace.config.base.0, trace.config.min_lr.0]);
    for (index, call) in trace.calls.iter().enumerate() {
        let value = plateau.update(call.metric.as_f32());
        tolerance.expect_near(index, "value", call.value.0, value)?;
        expect_equal(index, "value", &plateau.value(), &value)?;
        expect_equal(index, "bad", &call.bad, &plateau.bad_count())?;
        // torch starts with the worst number as the best metric.
        let worst = if mode == Mode::Min { f32::INFINITY } else { f32::NEG_INFINITY };
        expect_equal(index, "best", &call.best.as_f32(), &plateau.best().unwrap_or(worst))?;
        expect_equal(index, "cooldown", &call.cooldown, &plateau.cooldown_left())?;
    }
    Ok(())
}
