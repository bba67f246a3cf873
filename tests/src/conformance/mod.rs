//! Replays recorded traces of pytorch-ignite against the library and says where the two differ first.
//!
//! A trace file is JSON lines, one trace a line: an `id`, a `kind`, a `config`, and what happened, call by call
//! (`tests/traces/README.md` has the fields). Each kind has a replay of its own here, which drives nothing but the
//! library's public API; [`judge`] goes over a file. A line that cannot be read, an unknown kind and settings that the
//! library refuses are failures, never skipped. Nothing here decides what is right: the trace does.

mod checkpoints;
mod directory;
mod early_stopping;
mod engine;
mod terminate_on_nan;
mod timers;
mod wire;

use serde::de::DeserializeOwned;
use serde_json::Value;
use std::any::Any;
use std::fmt::{self, Debug};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What came of one trace.
#[derive(Debug)]
pub struct Verdict {
    /// Its `id`, or `line N` where it has none.
    pub id: String,
    /// The first difference, if there is one.
    pub result: Result<(), Failure>,
}

/// Why a trace is not reproduced.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Failure {
    /// The line is not a trace.
    Malformed(String),
    /// No replay is known for this kind.
    UnknownKind(String),
    /// The library, or the place where it writes, refused what the recorded program did.
    Refused(String),
    /// The library does something else.
    Differs {
        /// In which call or log entry, from 0.
        at: usize,
        /// Which of the recorded values.
        what: &'static str,
        /// The value that was recorded.
        expected: String,
        /// The value that came out.
        found: String,
    },
    /// The library, or the replay, panicked.
    Panicked(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Malformed(why) => write!(f, "not a trace: {why}"),
            Failure::UnknownKind(kind) => write!(f, "unknown kind {kind:?}"),
            Failure::Refused(why) => write!(f, "refused: {why}"),
            Failure::Differs { at, what, expected, found } => {
                write!(f, "{what} at {at}: expected {expected}, found {found}")
            }
            Failure::Panicked(message) => write!(f, "panicked: {message}"),
        }
    }
}

impl std::error::Error for Failure {}

/// Judges every trace of a file. Lines of white space alone are no traces.
#[must_use]
pub fn judge(file: &[u8]) -> Vec<Verdict> {
    let lines = file.split(|byte| *byte == b'\n').enumerate();
    let traces = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
    traces.map(|(index, line)| judge_line(index + 1, line)).collect()
}

fn judge_line(number: usize, line: &[u8]) -> Verdict {
    let id = format!("line {number}");
    match serde_json::from_slice::<Value>(line) {
        Err(error) => Verdict { id, result: Err(malformed(&error)) },
        Ok(trace) => {
            let id = trace.get("id").and_then(Value::as_str).map_or(id, one_line);
            let result = catch_unwind(AssertUnwindSafe(|| replay(trace)));
            Verdict { id, result: result.unwrap_or_else(|panic| Err(Failure::Panicked(message(&*panic)))) }
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
        other => Err(Failure::UnknownKind(other.into())),
    }
}

fn parse<T: DeserializeOwned>(trace: Value) -> Result<T, Failure> {
    serde_json::from_value(trace).map_err(|error| malformed(&error))
}

fn malformed(error: &serde_json::Error) -> Failure {
    Failure::Malformed(one_line(&error.to_string()))
}

/// Settings that the library refuses.
fn refused<E: fmt::Display>(error: E) -> Failure {
    Failure::Refused(one_line(&error.to_string()))
}

/// A verdict is one line, whatever stands in the trace.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    one_line(text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message"))
}

/// Holds one recorded value against what the library made of it.
fn same<T: PartialEq + Debug + ?Sized>(at: usize, what: &'static str, expected: &T, found: &T) -> Result<(), Failure> {
    if expected == found {
        return Ok(());
    }
    let text = |value: &T| one_line(&format!("{value:?}"));
    Err(Failure::Differs { at, what, expected: text(expected), found: text(found) })
}
