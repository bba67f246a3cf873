//! The history of a run: a file with one line for each event, such as losses, metrics, saves, failures and the end.
//!
//! The file consists of JSON lines. The first line is `{"schema":"training-monitor-history","version":1}`. Every other
//! line is a [`HistoryEvent`], whose kind is in the field `event`. The field `time` of each line is the system time in
//! seconds since 1970-01-01 00:00 UTC. JSON has no NaN and no infinities, so these numbers are stored as `null`. Any tool
//! for JSON lines can read the file, and [`chart`](crate::chart) draws it.
//!
//! | method | records |
//! | --- | --- |
//! | [`record_iteration`](History::record_iteration) | the loss and the duration of an iteration |
//! | [`record_scalars`](History::record_scalars) | any named values of an iteration, such as the learning rate |
//! | [`record_epoch`](History::record_epoch) | the metrics of an epoch |
//! | [`observer`](History::observer) | the saves and the failures of a checkpoint handler |
//! | [`record_profile`](History::record_profile) | the durations of the parts of a run |
//! | [`record_stop`](History::record_stop) | the reason why the run stopped |
//!
//! A [`History`] buffers the lines. It writes them when an epoch ends, when a checkpoint handler saves a checkpoint and
//! when the run stops. All clones of a history write to the same file, also from several threads.
//!
//! The history has no guarantees after a power failure: the file is not synchronized, and a truncated last line is
//! skipped. An I/O error never stops the run. Lines that cannot be written are dropped, and the next call
//! of [`History::flush`] returns the error.
//!
//! After a resume from a checkpoint, call [`History::record_resume`]. This method removes the events after that
//! checkpoint, because the resumed run records them again. If the program starts a new run after the end of an earlier one
//! instead, the file contains both runs; see [`split_runs`].
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
//!     on(IterationCompleted, |_, s| {
//!         history.record_iteration(s.iteration(), s.output.unwrap_or(f32::NAN), None);
//!         history.record_scalars(s.iteration(), &[("learning_rate", 0.1), ("gradient_norm", 2.5)]);
//!     }),
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
//! assert!(matches!(&events[1], HistoryEvent::Scalars { iteration: 1, values } if values[0].0 == "learning_rate"));
//! assert!(matches!(&events[7], HistoryEvent::Saved { store, step: 1, iteration: 3, .. } if store == "best"));
//! assert!(matches!(&events[15], HistoryEvent::Stopped { reason, iteration: 6, .. } if reason == "MaxEpochs"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod event;
mod format;
mod observer;

pub use error::HistoryError;
pub use event::{HistoryEvent, ProfiledPart, TimedEvent, split_runs};
pub use format::{check_header, parse};
pub use observer::HistoryObserver;

use format::FileHeader;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use training_monitor::Outcome;
use training_monitor::engine::Resumed;
use training_monitor::handlers::profiler::TickStatistics;

/// A handle to the history file of one training run. All clones of a handle write to the same file.
#[derive(Clone)]
pub struct History(Arc<Mutex<LogFile>>);

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
        let (lines, len) = format::parse_lines(&path, &text)?;
        let last_run = split_runs(&lines).pop().unwrap_or_default();
        let iteration = last_run.iter().filter_map(|line| line.event.event.iteration()).max().unwrap_or(0);
        let file = OpenOptions::new().append(true).open(&path).and_then(|file| {
            // Remove an incomplete last line, so that the next recorded event begins on its own line.
            file.set_len(len as u64)?;
            Ok(file)
        });
        Ok(History::new(path.clone(), file.map_err(HistoryError::io(&path))?, iteration))
    }

    fn new(path: PathBuf, file: File, iteration: u32) -> History {
        let file = BufWriter::new(file);
        History(Arc::new(Mutex::new(LogFile { path, file, interval: 1, iteration, error: None })))
    }

    /// Returns the file. A panic of another thread leaves the file in a valid state, because each line is written to the
    /// buffer as a whole.
    fn log(&self) -> MutexGuard<'_, LogFile> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads all events of the history file at `path`, in the order of the file.
    ///
    /// A resumed run can record an iteration or an epoch a second time. The result then contains only the later event.
    ///
    /// # Errors
    /// Returns a [`HistoryError`] if the file is no history or cannot be read.
    pub fn read(path: impl AsRef<Path>) -> Result<Vec<HistoryEvent>, HistoryError> {
        Ok(History::read_timed(path)?.into_iter().map(|line| line.event).collect())
    }

    /// Reads the history file at `path` like [`read`](Self::read), and returns each event with its time.
    ///
    /// # Errors
    /// Returns a [`HistoryError`] if the file is no history or cannot be read.
    pub fn read_timed(path: impl AsRef<Path>) -> Result<Vec<TimedEvent>, HistoryError> {
        let path = path.as_ref();
        let text = fs::read(path).map_err(HistoryError::io(path))?;
        parse(path, &text)
    }

    /// From now on, records only the iterations whose number is a multiple of `n`. Records every iteration if `n` is 0
    /// or 1.
    pub fn set_interval(&self, n: u32) {
        self.log().interval = n.max(1);
    }

    /// Records a finished iteration with its loss and, if known, its duration in seconds.
    pub fn record_iteration(&self, iteration: u32, loss: f32, seconds: Option<f64>) {
        let mut log = self.log();
        log.iteration = iteration;
        if iteration.is_multiple_of(log.interval) {
            log.write(HistoryEvent::Iteration { iteration, loss: Some(loss), seconds });
        }
    }

    /// Records the values of named quantities in an iteration, for example the learning rate and the norm of the gradient.
    /// Charts show each quantity in its own panel. A program can call this method several times for one iteration, before
    /// or after [`record_iteration`](Self::record_iteration), with different names.
    ///
    /// ```
    /// use training_monitor::event::IterationStarted;
    /// use training_monitor::handlers::schedules::Cosine;
    /// use training_monitor::{Engine, Schedule, State};
    /// use training_monitor_std::History;
    ///
    /// let dir = tempfile::tempdir()?;
    /// let history = History::create(dir.path().join("history.jsonl"))?;
    /// let mut rate = Cosine::new(0.1, 100)?
    ///     .attach(IterationStarted, |rate: &mut f32, value| *rate = value)
    ///     .observe(|value, state: &State<()>| {
    ///         history.record_scalars(state.iteration(), &[("learning_rate", value.into())]);
    ///     });
    /// Engine::new(1).run(&mut 0.0, 0..100, &mut rate, |_, _, _| ())?;
    /// history.flush()?;
    /// assert_eq!(History::read(dir.path().join("history.jsonl"))?.len(), 100);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn record_scalars(&self, iteration: u32, values: &[(&str, f64)]) {
        let mut log = self.log();
        if iteration.is_multiple_of(log.interval) {
            log.write(HistoryEvent::Scalars { iteration, values: owned(values) });
        }
    }

    /// Records the durations of the parts of a run, for example at the end of the run. `hertz` is the number of ticks per
    /// second of the clock that measured them.
    ///
    /// ```
    /// use training_monitor::{Engine, Profiler};
    /// use training_monitor_std::{History, StdClock};
    ///
    /// let dir = tempfile::tempdir()?;
    /// let history = History::create(dir.path().join("history.jsonl"))?;
    /// let mut profiler = Profiler::new().attach(StdClock::new());
    /// Engine::new(1).run(&mut (), 0..10, &mut profiler, |_, _, _| ())?;
    /// let profiler = &profiler.profiler;
    /// history.record_profile(StdClock::HERTZ, &[("step", profiler.step()), ("other", profiler.other())]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn record_profile(&self, hertz: u32, parts: &[(&str, &TickStatistics)]) {
        let mut log = self.log();
        let parts = parts.iter().map(|(name, statistics)| ProfiledPart::new(name, statistics, hertz)).collect();
        let iteration = log.iteration;
        log.write(HistoryEvent::Profile { iteration, parts });
    }

    /// Records a finished epoch with the names and the values of its metrics. Then writes all buffered lines to the
    /// file.
    pub fn record_epoch(&self, epoch: u32, metrics: &[(&str, f64)]) {
        let mut log = self.log();
        let iteration = log.iteration;
        log.write(HistoryEvent::Epoch { epoch, iteration, metrics: owned(metrics) });
        log.flush();
    }

    /// Records the end of the run. Then writes all buffered lines to the file.
    pub fn record_stop(&self, outcome: &Outcome) {
        let mut log = self.log();
        let reason = format!("{:?}", outcome.reason);
        log.write(HistoryEvent::Stopped { reason, epoch: outcome.epoch, iteration: outcome.iteration });
        log.flush();
    }

    /// Records the result of [`Engine::resume`](training_monitor::Engine::resume). Removes all events of the last run in
    /// the file that are newer than the checkpoint from which it resumed.
    ///
    /// If `resumed` is `None`, a run starts from the beginning. If the last run in the file has stopped, it is kept, and
    /// the file then contains two runs. Otherwise its events are removed, because it was interrupted before its first
    /// checkpoint.
    ///
    /// # Errors
    /// Returns a [`HistoryError`] if the file cannot be read or rewritten. The recorded events remain unchanged after
    /// an error.
    pub fn record_resume(&self, resumed: Option<Resumed>) -> Result<(), HistoryError> {
        self.flush()?;
        let mut log = self.log();
        let path = log.path.clone();
        let text = fs::read(&path).map_err(HistoryError::io(&path))?;
        let (lines, _) = format::parse_lines(&path, &text)?;
        let mut runs = split_runs(&lines);
        let last_run = runs.pop().unwrap_or_default();
        let has_stopped = last_run.iter().any(|line| matches!(line.event.event, HistoryEvent::Stopped { .. }));
        let is_kept = |event: &HistoryEvent| match resumed {
            Some(Resumed { iteration, .. }) => event.is_valid_after_resume(iteration),
            None => has_stopped,
        };
        let last_run = last_run.iter().filter(|line| is_kept(&line.event.event));
        // The lines are copied, so that events of a later version of this crate are not changed.
        let kept = runs.into_iter().flatten().chain(last_run);
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".tmp");
        let temporary = path.with_file_name(name);
        let rewrite = || -> io::Result<File> {
            let mut file = BufWriter::new(File::create(&temporary)?);
            writeln!(file, "{}", FileHeader::current())?;
            kept.clone().try_for_each(|line| file.write_all(line.text))?;
            match resumed {
                Some(Resumed { epoch, iteration, skipped, .. }) => {
                    now(HistoryEvent::Resumed { epoch, iteration, skipped }).write(&mut file)?;
                }
                None if kept.clone().next().is_some() => now(HistoryEvent::Started).write(&mut file)?,
                None => (),
            }
            let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            fs::rename(&temporary, &path)?;
            Ok(file)
        };
        log.file = BufWriter::new(rewrite().map_err(HistoryError::io(&path))?);
        log.iteration = resumed.map_or(0, |resumed| resumed.iteration);
        Ok(())
    }

    /// Writes all buffered lines to the file.
    ///
    /// # Errors
    /// Returns the first I/O error since the last call of `flush`, as a [`HistoryError::Io`]. Methods such as
    /// `record_epoch` do not return their I/O errors, so this method returns them.
    pub fn flush(&self) -> Result<(), HistoryError> {
        let mut log = self.log();
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
    fn write(&mut self, event: HistoryEvent) {
        if let Err(error) = now(event).write(&mut self.file) {
            self.error.get_or_insert(error);
        }
    }

    fn flush(&mut self) {
        if let Err(error) = self.file.flush() {
            self.error.get_or_insert(error);
        }
    }
}

/// Adds the time of the system clock to an event. A clock before 1970 gives no time.
fn now(event: HistoryEvent) -> TimedEvent {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|time| time.as_secs_f64());
    TimedEvent { time, event }
}

fn owned(values: &[(&str, f64)]) -> Vec<(String, Option<f64>)> {
    values.iter().map(|(name, value)| ((*name).to_owned(), Some(*value))).collect()
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let log = self.log();
        f.debug_struct("History").field("path", &log.path).field("iteration", &log.iteration).finish_non_exhaustive()
    }
}
