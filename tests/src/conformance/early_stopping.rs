//! `early_stopping` traces: one [`EarlyStopping`], score by score.

use super::wire::Number;
use super::{Failure, refused, same};
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
    threshold_mode: Share,
    mode: Better,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Share {
    Abs,
    Rel,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Better {
    Max,
    Min,
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
    let threshold_mode = match trace.config.threshold_mode {
        Share::Abs => ThresholdMode::Abs,
        Share::Rel => ThresholdMode::Rel,
    };
    let mode = match trace.config.mode {
        Better::Max => Mode::Max,
        Better::Min => Mode::Min,
    };
    let mut stopping = EarlyStopping::new(patience)
        .and_then(|stopping| stopping.with_threshold(threshold.narrow(), threshold_mode))
        .map_err(refused)?
        .with_mode(mode)
        .with_cumulative(cumulative);
    let mut terminated = false;
    for (at, call) in trace.calls.iter().enumerate() {
        if call.reset_before {
            stopping.reset();
        }
        terminated |= stopping.update(call.score.narrow());
        same(at, "counter", &call.counter, &stopping.counter())?;
        same(at, "best_score", &call.best_score.map(Number::narrow), &stopping.best_score())?;
        same(at, "terminated", &call.terminated, &terminated)?;
    }
    Ok(())
}
