//! Replays recorded traces of pytorch-ignite, torch, Lightning and Keras with the library, and reports the first difference of each trace.
//!
//! A trace file contains one trace per line, as JSON: an `id`, a `kind`, a `config`, and the recorded calls with their
//! results. `tests/traces/README.md` documents the fields. This module has a replay function for each kind, which uses
//! only the public API of the library. [`run`] replays all traces of a file. A line that is not a trace, an unknown
//! kind and settings that the library rejects are failures; no trace is skipped. The trace alone defines the expected
//! behaviour.

mod averages;
mod checkpoints;
mod directory;
mod early_stopping;
mod engine;
mod plateau;
mod schedules;
mod stopping_peers;
mod terminate_on_nan;
mod timers;
mod trace_values;

pub use trace_values::Tolerance;

use serde::de::DeserializeOwned;
use serde_json::Value;
use std::any::Any;
use std::fmt::{self, Debug};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The result of one trace.
#[derive(Debug)]
pub struct TraceResult {
    /// The `id` of the trace, or `line N` if it has none.
    pub id: String,
    /// The first difference, if any.
    pub result: Result<(), Failure>,
}

/// The reason why the library does not reproduce a trace.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Failure {
    /// The line of the trace file is not a valid trace.
    Malformed(String),
    /// There is no replay function for this kind.
    UnknownKind(String),
    /// The library or its store returned an error for an action of the recorded program.
    Rejected(String),
    /// The library returns a value that differs from the recorded value.
    Differs {
        /// The index of the call or log entry.
        index: usize,
        /// The name of the trace field whose recorded value differs.
        field: &'static str,
        /// The recorded value.
        expected: String,
        /// The value of the library.
        found: String,
    },
    /// The library or the replay function panicked.
    Panicked(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Malformed(reason) => write!(f, "not a trace: {reason}"),
            Failure::UnknownKind(kind) => write!(f, "unknown kind {kind:?}"),
            Failure::Rejected(reason) => write!(f, "rejected: {reason}"),
            Failure::Differs { index, field, expected, found } => {
                write!(f, "{field} at {index}: expected {expected}, found {found}")
            }
            Failure::Panicked(message) => write!(f, "panicked: {message}"),
        }
    }
}

impl std::error::Error for Failure {}

/// Replays every trace of a file. Lines with white space only are ignored.
#[must_use]
pub fn run(file: &[u8]) -> Vec<TraceResult> {
    let lines = file.split(|byte| *byte == b'\n').enumerate();
    let traces = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
    traces.map(|(index, line)| run_line(index + 1, line)).collect()
}

fn run_line(number: usize, line: &[u8]) -> TraceResult {
    let id = format!("line {number}");
    match serde_json::from_slice::<Value>(line) {
        Err(error) => TraceResult { id, result: Err(malformed(&error)) },
        Ok(trace) => {
            let id = trace.get("id").and_then(Value::as_str).map_or(id, one_line);
            let result = catch_unwind(AssertUnwindSafe(|| replay(trace)));
            TraceResult { id, result: result.unwrap_or_else(|panic| Err(Failure::Panicked(message(&*panic)))) }
        }
    }
}

fn replay(trace: Value) -> Result<(), Failure> {
    let Some(kind) = trace.get("kind").and_then(Value::as_str) else {
        return Err(Failure::Malformed("missing field `kind`".into()));
    };
    match kind {
        "model_checkpoint" => parse(trace).and_then(|trace| checkpoints::model_checkpoint(&trace)),
        "retention" => parse(trace).and_then(|trace| checkpoints::retention(&trace)),
        "early_stopping" => parse(trace).and_then(|trace| early_stopping::replay(&trace)),
        "timer" => parse(trace).and_then(|trace| timers::timer(&trace)),
        "timer_attached" => parse(trace).and_then(|trace| timers::attached(&trace)),
        "terminate_on_nan" => parse(trace).and_then(|trace| terminate_on_nan::replay(&trace)),
        "engine" => parse(trace).and_then(|trace| engine::replay(&trace)),
        "ema" => parse(trace).and_then(|trace| averages::ema(&trace)),
        "equal_average" => parse(trace).and_then(|trace| averages::equal_average(&trace)),
        "running_average" => parse(trace).and_then(|trace| averages::running_average(&trace)),
        "time_limit" => parse(trace).and_then(|trace| averages::time_limit(&trace)),
        "clip_grad" => parse(trace).and_then(|trace| averages::clip_grad(&trace)),
        "early_stopping_lightning" => parse(trace).and_then(|trace| stopping_peers::lightning(&trace)),
        "early_stopping_keras" => parse(trace).and_then(|trace| stopping_peers::keras(&trace)),
        "lr_schedule" => parse(trace).and_then(|trace| schedules::lr_schedule(&trace)),
        "param_schedule" => parse(trace).and_then(|trace| schedules::param_schedule(&trace)),
        "plateau" => parse(trace).and_then(|trace| plateau::replay(&trace)),
        other => Err(Failure::UnknownKind(other.into())),
    }
}

fn parse<T: DeserializeOwned>(mut trace: Value) -> Result<T, Failure> {
    use_canonical_numbers(&mut trace);
    serde_json::from_value(trace).map_err(|error| malformed(&error))
}

/// Replaces the text of each float by its canonical one. Another crate of the build may enable the feature
/// `arbitrary_precision` of serde_json, which keeps the text. A tagged enum then reads a text such as `7.5e-05` as a map.
fn use_canonical_numbers(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            if let Some(canonical) = number.as_f64().and_then(serde_json::Number::from_f64) {
                *number = canonical;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(use_canonical_numbers),
        Value::Object(fields) => fields.values_mut().for_each(use_canonical_numbers),
        _ => (),
    }
}

fn malformed(error: &serde_json::Error) -> Failure {
    Failure::Malformed(one_line(&error.to_string()))
}

/// Builds the failure that reports an error of the library or of its store.
fn rejected<E: fmt::Display>(error: E) -> Failure {
    Failure::Rejected(one_line(&error.to_string()))
}

/// Replaces control characters, so that the report of a trace is one line.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    one_line(text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message"))
}

/// Compares a recorded value with the value of the library.
fn expect_equal<T: PartialEq + Debug + ?Sized>(
    index: usize,
    field: &'static str,
    expected: &T,
    found: &T,
) -> Result<(), Failure> {
    if expected == found {
        return Ok(());
    }
    let text = |value: &T| one_line(&format!("{value:?}"));
    Err(Failure::Differs { index, field, expected: text(expected), found: text(found) })
}
