//! Replays the `early_stopping` traces of Lightning and Keras with [`EarlyStopping`] and [`ScoreLimits`].

use super::early_stopping::TraceMode;
use super::trace_values::Number;
use super::{Failure, expect_equal, rejected};
use serde::Deserialize;
use training_monitor::checkpoint::Named;
use training_monitor::event::Never;
use training_monitor::handlers::early_stopping::{Mode, ThresholdMode};
use training_monitor::handlers::model_checkpoint::SaveDecision;
use training_monitor::store::ram::Ram;
use training_monitor::{EarlyStopping, ModelCheckpoint, ScoreLimits};

/// Builds early stopping with the rules of both frameworks: the minimum gain is a difference, and only an improvement
/// changes the best score.
fn build(patience: u32, min_delta: Number, mode: Mode) -> Result<EarlyStopping, Failure> {
    let stopping = EarlyStopping::new(patience)
        .and_then(|stopping| stopping.with_threshold(min_delta.as_f32(), ThresholdMode::Abs))
        .map_err(rejected)?;
    Ok(stopping.with_mode(mode).with_cumulative(true))
}

#[derive(Deserialize)]
pub struct LightningTrace {
    config: LightningConfig,
    calls: Vec<LightningCall>,
}

#[derive(Deserialize)]
struct LightningConfig {
    min_delta: Number,
    patience: u32,
    mode: TraceMode,
    check_finite: bool,
    stopping_threshold: Option<Number>,
    divergence_threshold: Option<Number>,
}

#[derive(Deserialize)]
struct LightningCall {
    score: Number,
    counter: u32,
    best_score: Number,
    stop: bool,
}

pub fn lightning(trace: &LightningTrace) -> Result<(), Failure> {
    let config = &trace.config;
    let mode = config.mode.into();
    let mut stopping = build(config.patience, config.min_delta, mode)?;
    let mut limits = ScoreLimits::new().with_mode(mode).with_check_finite(config.check_finite);
    if let Some(target) = config.stopping_threshold {
        limits = limits.with_target(target.as_f32()).map_err(rejected)?;
    }
    if let Some(limit) = config.divergence_threshold {
        limits = limits.with_divergence_limit(limit.as_f32()).map_err(rejected)?;
    }
    // Lightning's best score starts with this value, so a score that is equal to it is no improvement. For
    // `EarlyStopping`, as for Ignite, each first number is an improvement.
    let worst = match mode {
        Mode::Max => f32::NEG_INFINITY,
        Mode::Min => f32::INFINITY,
    };
    for (index, call) in trace.calls.iter().enumerate() {
        let score = call.score.as_f32();
        let stop = limits.update(score).is_some() || stopping.update(if score == worst { f32::NAN } else { score });
        expect_equal(index, "counter", &call.counter, &stopping.counter())?;
        expect_equal(index, "best_score", &call.best_score.as_f32(), &stopping.best_score().unwrap_or(worst))?;
        expect_equal(index, "stop", &call.stop, &stop)?;
    }
    Ok(())
}

#[derive(Deserialize)]
pub struct KerasTrace {
    config: KerasConfig,
    calls: Vec<KerasCall>,
    weights_of_epoch: usize,
}

#[derive(Deserialize)]
struct KerasConfig {
    min_delta: Number,
    patience: u32,
    mode: TraceMode,
    start_from_epoch: usize,
    restore_best_weights: bool,
}

#[derive(Deserialize)]
struct KerasCall {
    score: Number,
    counter: u32,
    best_score: Option<Number>,
    best_epoch: usize,
    stop: bool,
}

/// The weights of the model are one number: the epoch. A [`ModelCheckpoint`] saves them when the score has improved.
pub fn keras(trace: &KerasTrace) -> Result<(), Failure> {
    let config = &trace.config;
    let mut stopping = build(config.patience, config.min_delta, config.mode.into())?;
    let mut best =
        ModelCheckpoint::<1>::every(1).map_err(rejected)?.attach(Never, Ram::<2, 512>::new()).map_err(rejected)?;
    let mut model = Named::new("model", [0.0_f32]);
    let mut best_epoch = 0;
    for (epoch, call) in trace.calls.iter().enumerate() {
        model.object[0] = small(epoch);
        let mut stop = false;
        // Keras ignores the epochs before this one. A handler has the filter `EpochCompleted.after(n)` for this.
        if epoch >= config.start_from_epoch {
            stop = stopping.update(call.score.as_f32());
            if stopping.counter() == 0 {
                best_epoch = epoch;
                let decision = SaveDecision { step: epoch as u32, score: None };
                best.save(decision, epoch as u32, None, &mut model).map_err(rejected)?;
            }
        }
        expect_equal(epoch, "counter", &call.counter, &stopping.counter())?;
        expect_equal(epoch, "best_score", &call.best_score.map(Number::as_f32), &stopping.best_score())?;
        expect_equal(epoch, "best_epoch", &call.best_epoch, &best_epoch)?;
        expect_equal(epoch, "stop", &call.stop, &stop)?;
    }
    // Keras restores the best weights regardless of what ended the run.
    if config.restore_best_weights && stopping.best_score().is_some() {
        best.load_best(&mut model).map_err(rejected)?;
    }
    expect_equal(0, "weights_of_epoch", &small(trace.weights_of_epoch), &model.object[0])
}

/// Converts the number of an epoch, which is less than 2²⁴.
#[allow(clippy::cast_precision_loss, reason = "small numbers")]
fn small(epoch: usize) -> f32 {
    epoch as f32
}
