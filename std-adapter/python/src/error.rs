//! Converts errors of Rust to exceptions. The text of an exception is the text of the error.

use pyo3::exceptions::{PyFileExistsError, PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use std::error::Error;
use training_monitor_std::tool::error::CliError;
use training_monitor_std::tool::stream::WriteError;

pyo3::create_exception!(
    training_monitor,
    CheckpointError,
    PyValueError,
    "The content of a checkpoint, of a directory or of a flash dump cannot be used."
);

/// Returns the text of an error and of its causes.
pub fn text(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Converts an error of the package `training-monitor-std` to an exception.
pub fn exception(error: CliError) -> PyErr {
    let text = text(&error);
    match error {
        // Python chooses the class from the number of the error, for example `FileNotFoundError`.
        CliError::Io { cause, .. } | CliError::StandardOutput(cause) => match cause.raw_os_error() {
            Some(number) => PyOSError::new_err((number, text)),
            None => PyOSError::new_err(text),
        },
        CliError::OutputExists { .. } => PyFileExistsError::new_err(text),
        CliError::WrongFile { .. } | CliError::Content { .. } => CheckpointError::new_err(text),
        CliError::OutputIsInput { .. } | CliError::Usage(_) => PyValueError::new_err(text),
        CliError::Other(_) => PyRuntimeError::new_err(text),
    }
}

/// Converts the error of a write to `path` to an error of the package `training-monitor-std`.
pub fn write_error(path: &std::path::Path, error: WriteError) -> CliError {
    match error {
        WriteError::Input(error) => error,
        WriteError::Output(cause) => CliError::io("write", path)(cause),
    }
}
