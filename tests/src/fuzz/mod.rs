//! Fuzz targets: functions that take bytes and panic if they detect an error.
//!
//! A target decodes a configuration and a sequence of operations from the bytes ([`arbitrary`]). It performs the
//! operations with the library and with a [model](crate::models), and compares both after every operation. Targets read
//! neither clocks nor files, so an input always gives the same result. Three programs run the targets: `cargo test`
//! runs the committed corpus and thousands of seeded inputs, `cargo run --release --bin fuzz` ([`runner`]) runs on
//! stable Rust for any time, and libFuzzer (`tests/fuzz`) uses coverage to find new inputs.
//!
//! ```
//! let target = training_monitor_tests::fuzz::target("early-stopping").unwrap();
//! (target.body)(&[3, 0, 1, 2]);
//! ```

pub mod adaptive_interval;
pub mod averages;
pub mod bytes;
pub mod c_calls;
pub mod directory;
pub mod engine;
pub mod filters;
pub mod handlers;
pub mod limits;
mod plateau;
pub mod profiler;
pub mod roll_back;
pub mod runner;
pub mod saving;
mod schedule_kinds;
pub mod schedules;
pub mod slots;
pub mod spike_guard;
mod state;

use arbitrary::{Arbitrary, Unstructured};

/// A fuzz target: a function that tests a part of the library with arbitrary input bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of the target. The directory of its corpus (the committed test inputs) has this name too.
    pub name: &'static str,
    /// Runs one input, and panics if it detects an error.
    pub body: fn(&[u8]),
    /// The maximum length of generated inputs, in bytes.
    pub len: usize,
}

/// All fuzz targets of the project, with their names and maximum input lengths.
pub const TARGETS: [Target; 23] = [
    Target { name: "checkpoint-bytes", body: bytes::checkpoint_bytes, len: 160 },
    Target { name: "names", body: bytes::names, len: 48 },
    Target { name: "early-stopping", body: handlers::early_stopping, len: 96 },
    Target { name: "model-checkpoint", body: handlers::model_checkpoint, len: 160 },
    Target { name: "timer", body: handlers::timer, len: 96 },
    Target { name: "filters", body: filters::filters, len: 64 },
    Target { name: "guard", body: handlers::guard, len: 128 },
    Target { name: "schedules", body: schedules::schedules, len: 128 },
    Target { name: "averages", body: averages::averages, len: 160 },
    Target { name: "limits", body: limits::limits, len: 128 },
    Target { name: "roll-back", body: roll_back::roll_back, len: 64 },
    Target { name: "spike-guard", body: spike_guard::spike_guard, len: 96 },
    Target { name: "adaptive-interval", body: adaptive_interval::adaptive_interval, len: 96 },
    Target { name: "profiler", body: profiler::profiler, len: 96 },
    Target { name: "engine", body: engine::engine, len: 64 },
    Target { name: "hostile-record", body: engine::hostile_record, len: 32 },
    Target { name: "saving", body: saving::saving, len: 160 },
    Target { name: "flash-image", body: slots::flash_image, len: 160 },
    Target { name: "slot-operations", body: slots::slot_operations, len: 128 },
    Target { name: "memory-image", body: slots::memory_image, len: 160 },
    Target { name: "memory-operations", body: slots::memory_operations, len: 128 },
    Target { name: "c-calls", body: c_calls::c_calls, len: 160 },
    Target { name: "directory", body: directory::directory, len: 192 },
];

/// Returns the target with this name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}

/// Decodes the input of a target. Returns `None` if there are too few bytes.
fn decode<'a, T: Arbitrary<'a>>(data: &'a [u8]) -> Option<T> {
    T::arbitrary_take_rest(Unstructured::new(data)).ok()
}
