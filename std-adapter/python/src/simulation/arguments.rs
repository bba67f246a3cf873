//! The arguments of a simulation, and the exception of a run.

use crate::directory::open_error;
use crate::error::{CheckpointError, exception, text};
use crate::save::{Contents, to_bytes};
use clap::Parser;
use digits_workload::host::arguments::Arguments;
use digits_workload::host::run::SaveError;
use digits_workload::host::settings::UsageError;
use digits_workload::shard::Shard;
use pyo3::exceptions::{PyBlockingIOError, PyOSError, PyValueError};
use pyo3::prelude::*;
use std::error::Error;
use std::io;
use std::path::Path;
use training_monitor_std::directory::OpenError;

/// Converts the error of a run to an exception with the same text.
pub fn run_exception(error: &(dyn Error + 'static)) -> PyErr {
    let text = text(error);
    match (error.downcast_ref::<OpenError>(), error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error)) {
        // Another process may close the directory, so a program can wait.
        (Some(OpenError::Locked { .. }), _) => PyBlockingIOError::new_err(text),
        (Some(error), _) => open_error(error),
        (_, Some(number)) => PyOSError::new_err((number, text)),
        _ if error.is::<UsageError>() => PyValueError::new_err(text),
        _ if error.is::<SaveError>() => PyOSError::new_err(text),
        _ => CheckpointError::new_err(text),
    }
}

/// Parses the options of the command line. The exception has the first paragraph of the error.
pub fn parse(options: Vec<String>) -> PyResult<Arguments> {
    Arguments::try_parse_from(["digits".to_owned()].into_iter().chain(options)).map_err(|error| {
        let text = error.to_string();
        let text = text.split("\n\n").next().unwrap_or_default();
        PyValueError::new_err(text.strip_prefix("error: ").unwrap_or(text).to_owned())
    })
}

/// Returns the training images of a partition.
pub fn partition_shard((index, count): (u32, u32)) -> PyResult<Shard> {
    Shard::new(index, count).ok_or_else(|| {
        PyValueError::new_err(format!(
            "partition ({index}, {count}): expected an index that is less than the count, and a count of at most {}",
            Shard::WHOLE.len()
        ))
    })
}

/// Converts the arrays of a program to a checkpoint of the object `model`.
pub fn weights_checkpoint(contents: &Contents<'_>) -> PyResult<Vec<u8>> {
    let path = Path::new("weights");
    let stream = contents.to_stream(path)?;
    if let Some(object) = stream.objects.iter().find(|object| object.name != "model") {
        let name = stream.tensors().find(|(name, _)| *name == object.name);
        let name = name.map_or_else(|| object.name.clone(), |(_, tensor)| format!("{}.{}", object.name, tensor.name));
        return Err(PyValueError::new_err(format!("weights: the model has no tensor {name}")));
    }
    to_bytes(path, &stream, false).map_err(exception)
}
