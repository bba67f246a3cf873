//! The host simulation, which a thread executes. At the end of each epoch, after its checkpoints are saved, the thread
//! waits until the program asks for the next epoch.

pub mod arguments;
mod worker;

use crate::checkpoint::StoredCheckpoint;
use crate::long_work::SIGNAL_INTERVAL;
use crate::save::Contents;
use crate::shortest;
use arguments::{parse, partition_shard, run_exception, weights_checkpoint};
use digits_workload::host::observer::EpochReport;
use digits_workload::host::run::Summary;
use digits_workload::host::settings::Settings;
use digits_workload::shard::Shard;
use digits_workload::train::Metrics;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::path::PathBuf;
use std::sync::PoisonError;
use std::sync::mpsc::RecvTimeoutError;
use worker::{Message, Prepared, Worker};

/// The epoch, the smoothed loss, the loss and the accuracy of the validation, the learning rate and the gradient norm.
type EpochValues = (u32, f64, f64, f64, f64, Option<f64>);

fn epoch_values(report: &EpochReport) -> EpochValues {
    let EpochReport { epoch, smoothed_loss, validation: Metrics { loss, accuracy }, .. } = *report;
    let norm = report.gradient_norm.map(shortest);
    (epoch, shortest(smoothed_loss), shortest(loss), shortest(accuracy), shortest(report.learning_rate), norm)
}

/// A run of the host simulation. Its directory is open until the run has ended or is closed.
#[pyclass(module = "training_monitor._native")]
pub struct Simulation {
    settings: Settings,
    notes: Vec<String>,
    warnings: Vec<String>,
    resumed: Option<u32>,
    epochs: Vec<EpochReport>,
    weights: Vec<u8>,
    checksum: u64,
    /// Whether the next epoch has been requested.
    is_requested: bool,
    summary: Option<Box<Summary>>,
    /// `None` after the end of the run.
    worker: Option<Worker>,
}

impl Simulation {
    /// Waits until the thread waits or has ended. Returns the report of the epoch that it has completed.
    fn wait(&mut self, py: Python<'_>) -> PyResult<Option<EpochReport>> {
        loop {
            let Some(worker) = &mut self.worker else { return Ok(None) };
            let messages = worker.messages.get_mut().unwrap_or_else(PoisonError::into_inner);
            let message = py.detach(move || {
                loop {
                    match messages.recv_timeout(SIGNAL_INTERVAL) {
                        Ok(message) => return Ok(Some(message)),
                        Err(RecvTimeoutError::Timeout) => Python::attach(|py| py.check_signals())?,
                        Err(RecvTimeoutError::Disconnected) => return Ok::<_, PyErr>(None),
                    }
                }
            })?;
            let is_start = self.weights.is_empty();
            let Some(message) = message else {
                self.worker = None;
                return Err(PyRuntimeError::new_err("the run panicked"));
            };
            match self.receive(message)? {
                None if !is_start || self.weights.is_empty() => (),
                report => return Ok(report),
            }
        }
    }

    /// Stores the content of a message. Returns the report of an epoch.
    fn receive(&mut self, message: Message) -> PyResult<Option<EpochReport>> {
        match message {
            Message::Started { resumed, epochs } => (self.resumed, self.epochs) = (resumed, epochs),
            Message::Weights { checkpoint, checksum, report } => {
                (self.weights, self.checksum) = (checkpoint, checksum);
                self.epochs.extend(report);
                return Ok(report);
            }
            Message::Warning(text) => self.warnings.push(text),
            Message::Ended(result) => {
                self.worker = None;
                self.summary = Some(result?);
            }
        }
        Ok(None)
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        // The thread does not need the lock of the interpreter.
        drop(self.worker.take().map(Worker::stop));
    }
}

#[pymethods]
impl Simulation {
    #[new]
    fn new(
        py: Python<'_>,
        directory: PathBuf,
        options: Vec<String>,
        weights: Option<Contents<'_>>,
        partition: Option<(u32, u32)>,
    ) -> PyResult<Self> {
        let mut arguments = parse(options)?;
        arguments.directory = directory;
        arguments.partition = partition.map(partition_shard).transpose()?;
        let weights = weights.map(|contents| weights_checkpoint(&contents)).transpose()?;
        let (prepared, arguments) = py.detach(|| {
            let prepared = Prepared::new(&mut arguments, weights.as_deref());
            prepared.map(|prepared| (prepared, arguments)).map_err(|error| run_exception(&*error))
        })?;
        let (settings, notes) = (prepared.settings, prepared.notes.clone());
        let mut simulation = Simulation {
            settings,
            notes,
            warnings: Vec::new(),
            resumed: None,
            epochs: Vec::new(),
            weights: Vec::new(),
            checksum: 0,
            is_requested: false,
            summary: None,
            worker: Some(Worker::start(prepared, arguments.nan_at)?),
        };
        simulation.wait(py)?;
        Ok(simulation)
    }

    /// Trains the next epoch. Returns `None` if the run has ended.
    fn next_epoch(&mut self, py: Python<'_>) -> PyResult<Option<EpochValues>> {
        if let Some(worker) = &self.worker
            && !self.is_requested
        {
            // If the thread has ended, its last message says so.
            let _ = worker.requests.send(());
            self.is_requested = true;
        }
        let report = self.wait(py)?;
        self.is_requested = false;
        Ok(report.as_ref().map(epoch_values))
    }

    /// Stops the run, if it has not ended.
    fn close(&mut self, py: Python<'_>) -> PyResult<()> {
        let Some(worker) = self.worker.take() else { return Ok(()) };
        for message in py.detach(|| worker.stop()) {
            self.receive(message)?;
        }
        Ok(())
    }

    /// The values of all completed epochs.
    fn epochs(&self) -> Vec<EpochValues> {
        self.epochs.iter().map(epoch_values).collect()
    }

    /// The weights of the network.
    fn weights(&self) -> PyResult<StoredCheckpoint> {
        StoredCheckpoint::from_bytes(self.weights.clone())
    }

    /// Returns the warnings since the last call.
    fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    #[getter]
    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    #[getter]
    fn resumed(&self) -> Option<u32> {
        self.resumed
    }

    #[getter]
    fn checksum(&self) -> String {
        let checksum = self.summary.as_ref().map_or(self.checksum, |summary| summary.checksum);
        format!("{checksum:016x}")
    }

    /// The reason, the epoch and the iteration of the end.
    #[getter]
    fn outcome(&self) -> Option<(String, u32, u32)> {
        let outcome = self.summary.as_ref().map(|summary| summary.outcome);
        outcome.map(|outcome| (format!("{:?}", outcome.reason), outcome.epoch, outcome.iteration))
    }

    /// The epoch of the best checkpoint, and its loss and accuracy on the test images.
    #[getter]
    fn best(&self) -> Option<(u32, f64, f64)> {
        let best = self.summary.as_ref().and_then(|summary| summary.best);
        best.map(|best| (best.epoch, shortest(best.test.loss), shortest(best.test.accuracy)))
    }

    /// The training time of all starts in seconds.
    #[getter]
    fn seconds(&self) -> Option<f64> {
        self.summary.as_ref().map(|summary| summary.seconds)
    }

    #[getter]
    fn settings<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let Settings { batch_size, clip, epochs, hidden, initial_weights, .. } = self.settings;
        let Settings { learning_rate, momentum, n_saved, partition, patience, .. } = self.settings;
        let Settings { quantized, schedule, schedule_epochs, seed, time_limit, .. } = self.settings;
        let settings = PyDict::new(py);
        settings.set_item("batch_size", batch_size)?;
        settings.set_item("clip", clip.map(shortest))?;
        settings.set_item("epochs", epochs)?;
        settings.set_item("hidden", hidden)?;
        settings.set_item("initial_weights", initial_weights)?;
        settings.set_item("learning_rate", shortest(learning_rate))?;
        settings.set_item("momentum", shortest(momentum))?;
        settings.set_item("n_saved", n_saved)?;
        settings.set_item("partition", partition.map(Shard::parts))?;
        settings.set_item("patience", patience)?;
        settings.set_item("quantized", quantized)?;
        settings.set_item("schedule", schedule.name())?;
        settings.set_item("schedule_epochs", schedule_epochs)?;
        settings.set_item("seed", seed)?;
        settings.set_item("time_limit", time_limit)?;
        Ok(settings)
    }
}
