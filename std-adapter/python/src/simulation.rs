//! The host simulation, which a thread executes. At the end of each epoch, after its checkpoints are saved, the thread
//! waits until the program asks for the next epoch.

use crate::checkpoint::StoredCheckpoint;
use crate::directory::open_error;
use crate::error::{CheckpointError, exception, write_error};
use crate::long_work::SIGNAL_INTERVAL;
use crate::save::Contents;
use crate::shortest;
use clap::Parser;
use digits_workload::host::arguments::Arguments;
use digits_workload::host::directory::{find_directory, rename_existing};
use digits_workload::host::network::Study;
use digits_workload::host::observer::{EpochReport, IterationReport, RunObserver};
use digits_workload::host::recorder::{self, Recorder};
use digits_workload::host::run::{self, SaveError, Summary};
use digits_workload::host::settings::{Settings, UsageError};
use digits_workload::host::weights;
use digits_workload::monitored::Series;
use digits_workload::shard::Shard;
use digits_workload::train::Metrics;
use pyo3::exceptions::{PyBlockingIOError, PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::cell::Cell;
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use training_monitor::engine::Resumed;
use training_monitor::event::Counters;
use training_monitor::handlers::model_checkpoint::CheckpointEvent;
use training_monitor::handlers::profiler::TickStatistics;
use training_monitor_std::directory::{DirectoryError, OpenError};
use training_monitor_std::tool::stream::{Purpose, Source, Stream};
use training_monitor_std::{Directory, History};

/// The epoch, the smoothed loss, the loss and the accuracy of the validation, the learning rate and the gradient norm.
type EpochValues = (u32, f64, f64, f64, f64, Option<f64>);

fn epoch_values(report: &EpochReport) -> EpochValues {
    let EpochReport { epoch, smoothed_loss, validation: Metrics { loss, accuracy }, .. } = *report;
    let norm = report.gradient_norm.map(shortest);
    (epoch, shortest(smoothed_loss), shortest(loss), shortest(accuracy), shortest(report.learning_rate), norm)
}

/// What the thread of a run sends.
enum Message {
    /// The run starts. The epochs are those before the checkpoint from which it resumed.
    Started {
        resumed: Option<u32>,
        epochs: Vec<EpochReport>,
    },
    /// The network has these weights. With a report, and after the start, the thread waits.
    Weights {
        checkpoint: Vec<u8>,
        checksum: u64,
        report: Option<EpochReport>,
    },
    Warning(String),
    Ended(Result<Box<Summary>, PyErr>),
}

/// Sends the events of a run to the program, and waits for its requests.
struct ThreadObserver {
    recorder: Recorder,
    history: PathBuf,
    messages: Sender<Message>,
    /// A request for the next epoch. The sender is dropped when the run must stop.
    requests: Receiver<()>,
    stop: Arc<AtomicBool>,
    has_started: Cell<bool>,
    /// The last epoch, until its checkpoints are saved.
    report: Cell<Option<EpochReport>>,
}

impl ThreadObserver {
    fn send(&self, message: Message) {
        // The receiver is dropped after the end of the run only.
        let _ = self.messages.send(message);
    }
}

impl RunObserver for ThreadObserver {
    fn on_start(&self, resumed: Option<Resumed>, batches: u32) {
        if let Err(error) = self.recorder.record_start(resumed) {
            self.send(Message::Warning(error.to_string()));
        }
        let epochs = match resumed {
            None => Vec::new(),
            Some(_) => recorder::read_epochs(&self.history).unwrap_or_else(|error| {
                self.send(Message::Warning(error.to_string()));
                Vec::new()
            }),
        };
        self.send(Message::Started { resumed: resumed.map(|resumed| resumed.iteration / batches), epochs });
    }

    fn on_weights(&self, study: &mut Study) {
        let report = self.report.take();
        match weights::to_checkpoint(study) {
            Ok(checkpoint) => self.send(Message::Weights { checkpoint, checksum: study.checksum(), report }),
            Err(error) => self.send(Message::Warning(error.to_string())),
        }
        if (report.is_some() || !self.has_started.replace(true)) && self.requests.recv().is_err() {
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    fn on_iteration_started(&self) {
        self.recorder.start_step();
    }

    fn on_iteration(&self, counters: &Counters, report: &IterationReport) {
        self.recorder.record_step(counters, report);
    }

    fn on_epoch(&self, report: &EpochReport) {
        self.recorder.record_epoch(report);
        self.report.set(Some(*report));
    }

    fn on_profile(&self, parts: &[(&str, &TickStatistics)]) {
        self.recorder.record_profile(parts);
    }

    fn on_checkpoint(&self, series: Series, event: &CheckpointEvent<'_, DirectoryError>) {
        if let Some(warning) = self.recorder.record_checkpoint(series, event) {
            self.send(Message::Warning(warning));
        }
    }

    fn now(&self) -> u64 {
        self.recorder.now()
    }

    fn microseconds(&self) -> u64 {
        self.recorder.microseconds()
    }

    fn stop_requested(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Everything that a run needs.
struct Prepared {
    directory: PathBuf,
    settings: Settings,
    study: Study,
    latest: Directory,
    best: Directory,
    history: History,
    notes: Vec<String>,
}

impl Prepared {
    /// Checks the arguments, and opens the directory. Changes no file if an argument is invalid.
    fn new(arguments: &mut Arguments, weights: Option<&[u8]>) -> Result<Prepared, Box<dyn Error>> {
        let directory = find_directory(arguments)?;
        let earlier = if arguments.resume { Settings::read(&directory)? } else { None };
        let (mut settings, mut notes) = arguments.settings(earlier)?;
        let mut study = Study::new(&settings)?;
        if let Some(weights) = weights {
            let crc = weights::from_checkpoint(&mut study, weights);
            arguments.initial_weights = Some(crc.map_err(|error| UsageError(format!("weights: {error}")))?);
            (settings, notes) = arguments.settings(earlier)?;
        }
        if !arguments.resume
            && let Some(renamed) = rename_existing(&directory)?
        {
            notes.push(format!("renamed the directory of the earlier run to {}", renamed.display()));
        }
        let best = Directory::builder(&directory, "best").require_empty(false).open()?;
        let latest = Directory::builder(&directory, "latest").require_empty(false).open()?;
        for (prefix, store) in [("best", &best), ("latest", &latest)] {
            notes.extend(store.incomplete().chain(store.foreign()).map(|file| format!("{prefix}: skipped {file}")));
        }
        let history = History::open(directory.join(recorder::FILE))?;
        Ok(Prepared { directory, settings, study, latest, best, history, notes })
    }

    /// Executes the run.
    fn run(mut self, nan_at: Option<u32>, observer: &ThreadObserver) -> Result<Box<Summary>, Box<dyn Error>> {
        let summary = run::run(&mut self.study, &self.settings, nan_at, self.latest, self.best, observer)?;
        recorder::finish(&self.history, &self.directory, &summary.outcome)?;
        Ok(Box::new(summary))
    }
}

/// Converts the error of a run to an exception with the same text.
pub fn run_exception(error: &(dyn Error + 'static)) -> PyErr {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
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
    let mut bytes = Vec::new();
    stream.write_checked(path, &mut bytes, false).map_err(|error| exception(write_error(path, error)))?;
    Ok(bytes)
}

/// The thread of a run.
struct Worker {
    requests: Sender<()>,
    messages: Mutex<Receiver<Message>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Worker {
    fn start(prepared: Prepared, nan_at: Option<u32>) -> io::Result<Worker> {
        let (requests, requested) = channel();
        let (sender, messages) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let thread_stop = Arc::clone(&stop);
        let thread = thread::Builder::new().name("training".to_owned()).spawn(move || {
            let observer = ThreadObserver {
                recorder: Recorder::new(&prepared.history),
                history: prepared.directory.join(recorder::FILE),
                messages: sender,
                requests: requested,
                stop: thread_stop,
                has_started: Cell::new(false),
                report: Cell::new(None),
            };
            let result = prepared.run(nan_at, &observer).map_err(|error| run_exception(&*error));
            observer.send(Message::Ended(result));
        })?;
        Ok(Worker { requests, messages: Mutex::new(messages), stop, thread })
    }

    /// Stops the run before its next step. Returns the messages until its end.
    fn stop(self) -> Vec<Message> {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.requests);
        let messages = self.messages.into_inner().unwrap_or_else(PoisonError::into_inner).iter().collect();
        // A panic has been reported on standard error; the messages have no end then.
        let _ = self.thread.join();
        messages
    }
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
        let source = Arc::new(Source::from_bytes(self.weights.clone()));
        let stream = Stream::read_source(&source, Purpose::Read);
        stream
            .map(|(stream, _)| StoredCheckpoint { stream })
            .map_err(|error| CheckpointError::new_err(error.to_string()))
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
