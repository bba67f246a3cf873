//! The history of a run: a file with one line for each event, such as losses, metrics, saves, failures and the end.
//!
//! The file consists of JSON lines. The first line is `{"schema":"training-monitor-history","version":1}`. Every other
//! line is a [`HistoryEvent`], whose kind is in the field `event`. JSON has no NaN and no infinities, so these numbers
//! are stored as `null`. Any tool for JSON lines can read the file, and [`chart`](crate::chart) draws it.
//!
//! A [`History`] buffers the lines. It writes them when an epoch ends, when a checkpoint handler saves a checkpoint and
//! when the run stops.
//!
//! The history has no guarantees after a power failure: the file is not synchronized, and a truncated last line is
//! skipped. An I/O error never stops the run. Lines that cannot be written are dropped, and the next call
//! of [`History::flush`] returns the error.
//!
//! After a resume from a checkpoint, call [`History::record_resume`]. This method removes the events after that
//! checkpoint, because the resumed run records them again.
//!
//! ```
//! use training_monitor::{Engine, ModelCheckpoint, checkpoint::Named, event::*, on};
//! use training_monitor_std::{Directory, History, history::HistoryEvent};
//!
//! let dir = tempfile::tempdir()?;
//! let path = dir.path().join("history.jsonl");
//! let history = History::create(&path)?;
//! let files = Directory::builder(dir.path(), "best").open()?;
//! let mut handlers = (
//!     on(IterationCompleted, |_, s| history.record_iteration(s.iteration(), s.output.unwrap_or(f32::NAN), None)),
//!     on(EpochCompleted, |_, s| history.record_epoch(s.epoch(), &[("accuracy", 0.5)])),
//!     ModelCheckpoint::<1>::best_by(|s| -s.output.unwrap_or(f32::NAN))
//!         .attach(EpochCompleted, files)?
//!         .observe(history.observer("best")),
//! );
//! let outcome = Engine::new(2).run(&mut Named::new("model", [0.0_f32]), 0..3, &mut handlers, |_, batch, _| batch as f32)?;
//! history.record_stop(&outcome);
//! history.flush()?;
//!
//! let events = History::read(&path)?;
//! assert_eq!(events[0], HistoryEvent::Iteration { iteration: 1, loss: Some(0.0), seconds: None });
//! assert!(matches!(&events[4], HistoryEvent::Saved { store, step: 1, iteration: 3, .. } if store == "best"));
//! assert!(matches!(&events[9], HistoryEvent::Stopped { reason, iteration: 6, .. } if reason == "MaxEpochs"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod event;

pub use error::HistoryError;
pub use event::HistoryEvent;

use event::FileHeader;
use std::cell::RefCell;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use training_monitor::Outcome;
use training_monitor::engine::Resumed;
use training_monitor::handlers::model_checkpoint::{CheckpointEvent, CheckpointObserver, SaveDecision};

/// A handle to the history file of one training run. All clones of a handle write to the same file.
#[derive(Clone)]
pub struct History(Rc<RefCell<LogFile>>);

struct LogFile {
    path: PathBuf,
    file: BufWriter<File>,
    /// An iteration is recorded only if its number is a multiple of `interval`.
    interval: u32,
    /// The number of the last reported iteration. The history entries of saves and epochs contain this number.
    iteration: u32,
    /// The first I/O error since the last call of `flush`.
    error: Option<io::Error>,
}

impl History {
    /// Creates a new history file. Overwrites an existing file.
    ///
    /// # Errors
    /// Returns a [`HistoryError::Io`] if the file cannot be created or written.
    pub fn create(path: impl Into<PathBuf>) -> Result<History, HistoryError> {
        let path = path.into();
        let file = File::create(&path).and_then(|mut file| {
            writeln!(file, "{}", FileHeader::current())?;
            Ok(file)
        });
        let file = file.map_err(HistoryError::io(&path))?;
        Ok(History::new(path, file, 0))
    }

    /// Opens a history file, or creates the file if it does not exist. Use this method for a run that may resume from a
    /// checkpoint. After the resume, call [`record_resume`](Self::record_resume).
    ///
    /// # Errors
    /// Returns a [`HistoryError`] if the file is no history, or cannot be read or written. An existing history remains
    /// unchanged after an error.
    pub fn open(path: impl Into<PathBuf>) -> Result<History, HistoryError> {
        let path = path.into();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(HistoryError::io(&path)(error)),
        };
        // The file does not exist, or a power failure interrupted the write of its first line. In both cases there are
        // no events.
        if !text.contains(&b'\n') {
            return History::create(path);
        }
        let (events, len) = event::parse(&path, &text)?;
        let iteration = events.iter().filter_map(HistoryEvent::iteration).max().unwrap_or(0);
        let file = OpenOptions::new().append(true).open(&path).and_then(|file| {
            // Remove an incomplete last line, so that the next recorded event begins on its own line.
            file.set_len(len as u64)?;
            Ok(file)
        });
        Ok(History::new(path.clone(), file.map_err(HistoryError::io(&path))?, iteration))
    }

    fn new(path: PathBuf, file: File, iteration: u32) -> History {
        let file = BufWriter::new(file);
        History(Rc::new(RefCell::new(LogFile { path, file, interval: 1, iteration, error: None })))
    }

    /// Reads all events of the history file at `path`, in the order of the file.
    ///
    /// A resumed run can record an iteration or an epoch a second time. The result then contains only the later event.
    ///
    /// # Errors
    /// Returns a [`HistoryError`] if the file is no history or cannot be read.
    pub fn read(path: impl AsRef<Path>) -> Result<Vec<HistoryEvent>, HistoryError> {
        let path = path.as_ref();
        let text = fs::read(path).map_err(HistoryError::io(path))?;
        event::parse(path, &text).map(|(events, _)| event::remove_duplicates(events))
    }

    /// From now on, records only the iterations whose number is a multiple of `n`. Records every iteration if `n` is 0
    /// or 1.
    pub fn set_interval(&self, n: u32) {
        self.0.borrow_mut().interval = n.max(1);
    }

    /// Records a finished iteration with its loss and, if known, its duration in seconds.
    pub fn record_iteration(&self, iteration: u32, loss: f32, seconds: Option<f64>) {
        let mut log = self.0.borrow_mut();
        log.iteration = iteration;
        if iteration.is_multiple_of(log.interval) {
            log.write(&HistoryEvent::Iteration { iteration, loss: Some(loss), seconds });
        }
    }

    /// Records a finished epoch with the names and the values of its metrics. Then writes all buffered lines to the
    /// file.
    pub fn record_epoch(&self, epoch: u32, metrics: &[(&str, f64)]) {
        let mut log = self.0.borrow_mut();
        let metrics = metrics.iter().map(|(name, value)| ((*name).to_owned(), Some(*value))).collect();
        let iteration = log.iteration;
        log.write(&HistoryEvent::Epoch { epoch, iteration, metrics });
        log.flush();
    }

    /// Records the end of the run. Then writes all buffered lines to the file.
    pub fn record_stop(&self, outcome: &Outcome) {
        let mut log = self.0.borrow_mut();
        let reason = format!("{:?}", outcome.reason);
        log.write(&HistoryEvent::Stopped { reason, epoch: outcome.epoch, iteration: outcome.iteration });
        log.flush();
    }

    /// Records the result of [`Engine::resume`](training_monitor::Engine::resume). Removes all events that are newer
    /// than the checkpoint from which the run resumed. If `resumed` is `None`, the run starts from the beginning, so
    /// all events are removed.
    ///
    /// # Errors
    /// Returns a [`HistoryError`] if the file cannot be read or rewritten. The recorded events remain unchanged after
    /// an error.
    pub fn record_resume(&self, resumed: Option<Resumed>) -> Result<(), HistoryError> {
        self.flush()?;
        let mut log = self.0.borrow_mut();
        let path = log.path.clone();
        let mut events = History::read(&path)?;
        let iteration = resumed.map_or(0, |resumed| resumed.iteration);
        events.retain(|event| event.is_valid_after_resume(iteration));
        if let Some(Resumed { epoch, iteration, skipped, .. }) = resumed {
            events.push(HistoryEvent::Resumed { epoch, iteration, skipped });
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".tmp");
        let temporary = path.with_file_name(name);
        let rewrite = || -> io::Result<File> {
            let mut file = BufWriter::new(File::create(&temporary)?);
            writeln!(file, "{}", FileHeader::current())?;
            events.iter().try_for_each(|event| event.write(&mut file))?;
            let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            fs::rename(&temporary, &path)?;
            Ok(file)
        };
        log.file = BufWriter::new(rewrite().map_err(HistoryError::io(&path))?);
        log.iteration = iteration;
        Ok(())
    }

    /// Writes all buffered lines to the file.
    ///
    /// # Errors
    /// Returns the first I/O error since the last call of `flush`, as a [`HistoryError::Io`]. Methods such as
    /// `record_epoch` do not return their I/O errors, so this method returns them.
    pub fn flush(&self) -> Result<(), HistoryError> {
        let mut log = self.0.borrow_mut();
        log.flush();
        match log.error.take() {
            Some(error) => Err(HistoryError::io(&log.path)(error)),
            None => Ok(()),
        }
    }

    /// Creates an observer for one checkpoint handler. The observer records each save and each failure of the handler.
    /// `store` is the name of the handler in the history file, for example "best" or "latest".
    #[must_use]
    pub fn observer(&self, store: impl Into<String>) -> HistoryObserver {
        HistoryObserver { history: self.clone(), store: store.into() }
    }
}

impl LogFile {
    fn write(&mut self, event: &HistoryEvent) {
        if let Err(error) = event.write(&mut self.file) {
            self.error.get_or_insert(error);
        }
    }

    fn flush(&mut self) {
        if let Err(error) = self.file.flush() {
            self.error.get_or_insert(error);
        }
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let log = self.0.borrow();
        f.debug_struct("History").field("path", &log.path).field("iteration", &log.iteration).finish_non_exhaustive()
    }
}

/// An observer that records the saves and the failures of one checkpoint handler in a [`History`].
/// Use [`History::observer`] to create an observer.
#[derive(Clone, Debug)]
pub struct HistoryObserver {
    history: History,
    store: String,
}

impl<E: fmt::Display> CheckpointObserver<E> for HistoryObserver {
    fn on_checkpoint_event(&mut self, event: &CheckpointEvent<'_, E>) {
        let mut log = self.history.0.borrow_mut();
        let (store, iteration) = (self.store.clone(), log.iteration);
        let event = match event {
            CheckpointEvent::Saved { decision: SaveDecision { step, score }, bytes, evicted } => {
                let (step, score, bytes, removed) = (*step, *score, *bytes, *evicted);
                HistoryEvent::Saved { store, step, iteration, score, bytes, removed }
            }
            CheckpointEvent::SaveFailed { decision, error, retrying } => {
                let error = error.to_string();
                HistoryEvent::SaveFailed { store, step: decision.step, iteration, error, retrying: *retrying }
            }
            CheckpointEvent::EvictionFailed { step, error } => {
                HistoryEvent::EvictionFailed { store, step: *step, iteration, error: error.to_string() }
            }
            CheckpointEvent::LoadFailed { step, error } => {
                HistoryEvent::LoadFailed { store, step: *step, error: error.to_string() }
            }
            _ => return,
        };
        log.write(&event);
        log.flush();
    }
}
