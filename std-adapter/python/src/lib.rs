//! The native part of the Python package `training_monitor`. It passes checkpoints between NumPy and the Rust packages
//! `training-monitor` and `training-monitor-std`, which contain all rules. The Python files in `package/` contain the
//! interface for users.

mod checkpoint;
mod directory;
mod error;
mod evaluation;
mod handlers;
mod long_work;
mod save;
mod schedules;
mod simulation;

use pyo3::prelude::*;
use std::ffi::OsString;

/// Converts a number to Python. The result is the shortest decimal number that rounds to `value`: 0.1 instead of
/// 0.10000000149011612. It rounds to the same `f32` again.
fn shortest(value: f32) -> f64 {
    // Every number that Rust displays can be parsed.
    value.to_string().parse().unwrap_or(f64::from(value))
}

/// Runs the command line tool with these arguments, of which the first is the name of the program. Returns the exit code.
#[pyfunction]
fn run_tool(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| training_monitor_std::tool::run(arguments))
}

/// The native part of the package `training_monitor`.
#[pymodule]
mod _native {
    #[pymodule_export]
    use super::checkpoint::{StoredCheckpoint, decode_checkpoint, read_checkpoint};
    #[pymodule_export]
    use super::directory::CheckpointDirectory;
    #[pymodule_export]
    use super::error::CheckpointError;
    #[pymodule_export]
    use super::evaluation::{evaluate_weights, training_images};
    #[pymodule_export]
    use super::handlers::{
        EarlyStopping, ReduceOnPlateau, RunningAverage, TimeLimit, Timer, WeightAverage, all_finite_f32, all_finite_f64,
    };
    #[pymodule_export]
    use super::run_tool;
    #[pymodule_export]
    use super::save::{encode_checkpoint, write_checkpoint, write_flash_image};
    #[pymodule_export]
    use super::schedules::Schedule;
    #[pymodule_export]
    use super::simulation::Simulation;
}
