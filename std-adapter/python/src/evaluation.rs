//! What a device of a fleet computes beside its run: the loss of the global weights, and the size of its shard.

use crate::save::Contents;
use crate::shortest;
use crate::simulation::arguments::{parse, partition_shard, run_exception, weights_checkpoint};
use digits_workload::data::Split;
use digits_workload::host::network::Study;
use digits_workload::host::settings::UsageError;
use digits_workload::host::weights;
use digits_workload::train::Metrics;
use pyo3::prelude::*;
use std::error::Error;

/// Returns the loss and the accuracy of weights on the validation images, or on the test images. The options select the
/// network.
#[pyfunction]
pub fn evaluate_weights(
    py: Python<'_>,
    options: Vec<String>,
    weights: Contents<'_>,
    test: bool,
) -> PyResult<(f64, f64)> {
    let arguments = parse(options)?;
    let weights = weights_checkpoint(&weights)?;
    let split = if test { Split::Test } else { Split::Validation };
    let evaluate = || -> Result<Metrics, Box<dyn Error>> {
        let (settings, _) = arguments.settings(None)?;
        let mut study = Study::new(&settings)?;
        weights::from_checkpoint(&mut study, &weights).map_err(|error| UsageError(format!("weights: {error}")))?;
        Ok(study.evaluate(split))
    };
    let Metrics { loss, accuracy } = py.detach(|| evaluate().map_err(|error| run_exception(&*error)))?;
    Ok((shortest(loss), shortest(accuracy)))
}

/// Returns the number of training images of a partition.
#[pyfunction]
pub fn training_images(index: u32, count: u32) -> PyResult<u32> {
    Ok(partition_shard((index, count))?.len())
}
