//! The thread that executes a run. At the end of each epoch, after its checkpoints are saved, it waits for a request.

use super::arguments::run_exception;
use digits_workload::host::arguments::Arguments;
use digits_workload::host::directory::{find_directory, rename_existing};
use digits_workload::host::network::Study;
use digits_workload::host::observer::{EpochReport, RunObserver};
use digits_workload::host::recorder;
use digits_workload::host::run::{self, Summary};
use digits_workload::host::settings::{Settings, UsageError};
use digits_workload::host::weights;
use pyo3::PyErr;
use std::cell::Cell;
use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use training_monitor::engine::Resumed;
use training_monitor_std::{Directory, History};

/// What the thread of a run sends.
pub enum Message {
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
    /// The path of the history.
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

    fn on_epoch(&self, report: &EpochReport) {
        self.report.set(Some(*report));
    }

    fn on_warning(&self, text: &str) {
        self.send(Message::Warning(text.to_owned()));
    }

    fn stop_requested(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Everything that a run needs.
pub struct Prepared {
    directory: PathBuf,
    pub settings: Settings,
    study: Study,
    latest: Directory,
    best: Directory,
    history: History,
    pub notes: Vec<String>,
}

impl Prepared {
    /// Checks the arguments, and opens the directory. Changes no file if an argument is invalid.
    pub fn new(arguments: &mut Arguments, weights: Option<&[u8]>) -> Result<Prepared, Box<dyn Error>> {
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
        let summary =
            run::run(&mut self.study, &self.settings, nan_at, self.latest, self.best, &self.history, observer)?;
        recorder::finish(&self.history, &self.directory, &summary.outcome)?;
        Ok(Box::new(summary))
    }
}

/// The thread of a run.
pub struct Worker {
    pub requests: Sender<()>,
    pub messages: Mutex<Receiver<Message>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Worker {
    pub fn start(prepared: Prepared, nan_at: Option<u32>) -> io::Result<Worker> {
        let (requests, requested) = channel();
        let (sender, messages) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let thread_stop = Arc::clone(&stop);
        let thread = thread::Builder::new().name("training".to_owned()).spawn(move || {
            let observer = ThreadObserver {
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
    pub fn stop(self) -> Vec<Message> {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.requests);
        let messages = self.messages.into_inner().unwrap_or_else(PoisonError::into_inner).iter().collect();
        // A panic has been reported on standard error; the messages have no end then.
        let _ = self.thread.join();
        messages
    }
}
