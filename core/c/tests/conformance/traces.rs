//! Reads the recorded traces and their values.

use serde_json::Value;
use std::fs;

/// Reads the traces of a file.
fn traces(name: &str) -> Vec<Value> {
    let path = format!("{}/../../tests/traces/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.lines().map(|line| serde_json::from_str(line).expect("a trace is JSON")).collect()
}

/// Replays the traces of a file. `replay` returns false for a trace that it skips.
pub fn replay_all(name: &str, at_least: usize, replay: impl Fn(&Value) -> bool) {
    let replayed = traces(name).iter().filter(|trace| replay(trace)).count();
    println!("{name}: {replayed} traces");
    assert!(replayed >= at_least, "{name}: {replayed} traces");
}

/// A number of a trace.
pub fn number(value: &Value) -> f64 {
    match value.as_str() {
        Some("nan") => f64::NAN,
        Some("inf") => f64::INFINITY,
        Some("-inf") => f64::NEG_INFINITY,
        _ => value.as_f64().unwrap_or_else(|| panic!("no number: {value}")),
    }
}

pub fn float(value: &Value) -> f32 {
    number(value) as f32
}

pub fn int(value: &Value) -> u32 {
    u32::try_from(value.as_u64().unwrap_or_else(|| panic!("no integer: {value}"))).unwrap()
}

pub fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}"))
}

/// The recorded numbers are f64. Small results of large inputs have the accuracy of the inputs.
pub fn assert_near(expected: f64, found: f32, largest: f64, trace: &Value) {
    let difference = (expected - f64::from(found)).abs();
    let near = difference <= 1e-5 * expected.abs() || difference <= 1e-6 * largest;
    assert!(near || expected.is_nan() && found.is_nan(), "{expected} {found} in {}", trace["id"]);
}

pub fn largest<'a>(numbers: impl Iterator<Item = &'a Value>) -> f64 {
    numbers.map(|value| number(value).abs()).filter(|value| value.is_finite()).fold(0.0, f64::max)
}
