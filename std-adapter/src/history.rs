//! What happened in a run, as a file that grows by a line an event: losses, metrics, saves, failures, the end.
//!
//! The file is JSON lines. The first is `{"schema":"training-monitor-history","version":1}`, every other an [`Entry`]
//! with its `event`; numbers that JSON has no word for (NaN, infinities) are `null`. Any tool that reads JSON lines
//! reads it; [`chart`](crate::chart) draws it. Lines are gathered and written when an epoch ends, when a checkpoint is saved and when the
//! run stops.
//!
//! It is a diary, no part of what is promised at a power cut: it is not synced, and a last line that was torn is passed
//! over. Nor does it ever stop a run: what cannot be written is dropped, and [`History::flush`] tells of it.
//! A run that goes on from a checkpoint takes back what had happened after that checkpoint, so nothing is there twice.
//!
//! ```
//! use training_monitor::{Engine, ModelCheckpoint, State, checkpoint::Named, event::*, on};
//! use training_monitor_std::{Directory, History, history::Entry};
//!
//! let dir = tempfile::tempdir()?;
//! let path = dir.path().join("history.jsonl");
//! let history = History::create(&path)?;
//! let files = Directory::builder(dir.path(), "best").open()?;
//! let mut handlers = (
//!     on(IterationCompleted, |_: &mut _, s: &mut State<f32>| history.iteration(s.iteration(), s.output.unwrap_or(f32::NAN), None)),
//!     on(EpochCompleted, |_: &mut _, s: &mut State<f32>| history.epoch(s.epoch(), &[("accuracy", 0.5)])),
//!     ModelCheckpoint::<1>::builder().score_function(|s: &State<f32>| -s.output.unwrap_or(f32::NAN)).build()?
//!         .attach(EpochCompleted, files)?
//!         .observe(history.observer("best")),
//! );
//! let outcome = Engine::new(2).run(&mut Named::new("model", [0.0_f32]), 0..3, &mut handlers, |_, batch, _| batch as f32)?;
//! history.stopped(&outcome);
//! history.flush()?;
//!
//! let entries = History::read(&path)?;
//! assert_eq!(entries[0], Entry::Iteration { iteration: 1, loss: Some(0.0), seconds: None });
//! assert!(matches!(&entries[4], Entry::Saved { store, step: 1, iteration: 3, .. } if store == "best"));
//! assert!(matches!(&entries[9], Entry::Stopped { reason, iteration: 6, .. } if reason == "MaxEpochs"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod entry;
mod error;

pub use entry::Entry;
pub use error::HistoryError;

use entry::First;
use std::cell::RefCell;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use training_monitor::Outcome;
use training_monitor::engine::Resumed;
use training_monitor::handlers::model_checkpoint::{CheckpointObserver, CheckpointEvent};

/// A handle to the file of one run. Clones write to the same file.
#[derive(Clone)]
pub struct History(Rc<RefCell<Log>>);

struct Log {
    path: PathBuf,
    file: BufWriter<File>,
    /// Only every n-th iteration is written.
    every: u32,
    /// The last iteration that was told of, which saves belong to.
    iteration: u32,
    /// The first thing that went wrong, until it is told.
    error: Option<io::Error>,
}

impl History {
    /// A new file, in place of one that is there.
    ///
    /// # Errors
    /// [`HistoryError::Io`].
    pub fn create(path: impl Into<PathBuf>) -> Result<History, HistoryError> {
        let path = path.into();
        let file = File::create(&path).and_then(|mut file| {
            writeln!(file, "{}", First::here())?;
            Ok(file)
        });
        let file = file.map_err(HistoryError::io(&path))?;
        Ok(History::new(path, file, 0))
    }

    /// The file of a run that may go on, or a new one. Then call [`resumed`](Self::resumed).
    ///
    /// # Errors
    /// [`HistoryError`]; a file that is there is left as it is then.
    pub fn open(path: impl Into<PathBuf>) -> Result<History, HistoryError> {
        let path = path.into();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(HistoryError::io(&path)(error)),
        };
        // Cut before its first line was written.
        if !text.contains(&b'\n') {
            return History::create(path);
        }
        let (entries, len) = entry::parse(&path, &text)?;
        let iteration = entries.iter().filter_map(Entry::iteration).max().unwrap_or(0);
        // A torn last line goes.
        let file = OpenOptions::new().append(true).open(&path).and_then(|file| {
            file.set_len(len as u64)?;
            Ok(file)
        });
        Ok(History::new(path.clone(), file.map_err(HistoryError::io(&path))?, iteration))
    }

    fn new(path: PathBuf, file: File, iteration: u32) -> History {
        let file = BufWriter::new(file);
        History(Rc::new(RefCell::new(Log { path, file, every: 1, iteration, error: None })))
    }

    /// Everything in the file at `path`, in order. Of what was written twice, because a run went on from before it, the
    /// later stays.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn read(path: impl AsRef<Path>) -> Result<Vec<Entry>, HistoryError> {
        let path = path.as_ref();
        let text = fs::read(path).map_err(HistoryError::io(path))?;
        entry::parse(path, &text).map(|(entries, _)| entry::without_repeats(entries))
    }

    /// Writes only every `n`-th iteration from now on; 0 as 1.
    pub fn set_interval(&self, n: u32) {
        self.0.borrow_mut().every = n.max(1);
    }

    /// An iteration is done, with this loss, in so many seconds.
    pub fn iteration(&self, iteration: u32, loss: f32, seconds: Option<f64>) {
        let mut log = self.0.borrow_mut();
        log.iteration = iteration;
        if iteration.is_multiple_of(log.every) {
            log.write(&Entry::Iteration { iteration, loss: Some(loss), seconds });
        }
    }

    /// An epoch is done, with these metrics.
    pub fn epoch(&self, epoch: u32, metrics: &[(&str, f64)]) {
        let mut log = self.0.borrow_mut();
        let metrics = metrics.iter().map(|(name, value)| ((*name).to_owned(), Some(*value))).collect();
        let iteration = log.iteration;
        log.write(&Entry::Epoch { epoch, iteration, metrics });
        log.flush();
    }

    /// The run is over.
    pub fn stopped(&self, outcome: &Outcome) {
        let mut log = self.0.borrow_mut();
        let reason = format!("{:?}", outcome.reason);
        log.write(&Entry::Stopped { reason, epoch: outcome.epoch, iteration: outcome.iteration });
        log.flush();
    }

    /// The run goes on, as [`Engine::resume`](training_monitor::Engine::resume) says: what happened after that
    /// checkpoint is taken back; with `None`, when there was none to go on from, everything is.
    ///
    /// # Errors
    /// [`HistoryError`]; the file is as it was then.
    pub fn resumed(&self, resumed: Option<Resumed>) -> Result<(), HistoryError> {
        self.flush()?;
        let mut log = self.0.borrow_mut();
        let path = log.path.clone();
        let mut entries = History::read(&path)?;
        let at = resumed.map_or(0, |resumed| resumed.iteration);
        entries.retain(|entry| entry.is_before(at));
        if let Some(Resumed { epoch, iteration, skipped, .. }) = resumed {
            entries.push(Entry::Resumed { epoch, iteration, skipped });
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".tmp");
        let temp = path.with_file_name(name);
        let rewrite = || -> io::Result<File> {
            let mut file = BufWriter::new(File::create(&temp)?);
            writeln!(file, "{}", First::here())?;
            entries.iter().try_for_each(|entry| entry.write(&mut file))?;
            let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            fs::rename(&temp, &path)?;
            Ok(file)
        };
        log.file = BufWriter::new(rewrite().map_err(HistoryError::io(&path))?);
        log.iteration = at;
        Ok(())
    }

    /// Writes out what was gathered, and tells whether anything could not be written since the last call.
    ///
    /// # Errors
    /// [`HistoryError::Io`], the first that happened.
    pub fn flush(&self) -> Result<(), HistoryError> {
        let mut log = self.0.borrow_mut();
        log.flush();
        match log.error.take() {
            Some(error) => Err(HistoryError::io(&log.path)(error)),
            None => Ok(()),
        }
    }

    /// Has what a checkpoint handler does written down, as of `store`: "best", "latest".
    #[must_use]
    pub fn observer(&self, store: impl Into<String>) -> HistoryObserver {
        HistoryObserver { history: self.clone(), store: store.into() }
    }
}

impl Log {
    fn write(&mut self, entry: &Entry) {
        if let Err(error) = entry.write(&mut self.file) {
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

/// Writes what one checkpoint handler does to the history.
#[derive(Clone, Debug)]
pub struct HistoryObserver {
    history: History,
    store: String,
}

impl<E: fmt::Display> CheckpointObserver<E> for HistoryObserver {
    fn on_checkpoint_event(&mut self, report: &CheckpointEvent<'_, E>) {
        let mut log = self.history.0.borrow_mut();
        let (store, iteration) = (self.store.clone(), log.iteration);
        let entry = match report {
            CheckpointEvent::Saved { decision: save, bytes, evicted: removed } => {
                Entry::Saved { store, step: save.step, iteration, score: save.score, bytes: *bytes, removed: *removed }
            }
            CheckpointEvent::SaveFailed { decision: save, error, retrying } => {
                let error = error.to_string();
                Entry::SaveFailed { store, step: save.step, iteration, error, retrying: *retrying }
            }
            CheckpointEvent::EvictionFailed { step, error } => {
                Entry::EvictionFailed { store, step: *step, iteration, error: error.to_string() }
            }
            CheckpointEvent::LoadFailed { step, error } => Entry::LoadFailed { store, step: *step, error: error.to_string() },
            _ => return,
        };
        log.write(&entry);
        log.flush();
    }
}
