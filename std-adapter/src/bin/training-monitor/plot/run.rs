//! A training run, as its history file records it.

use crate::error::{CliError, Result};
use crate::files;
use std::io;
use std::path::{Path, PathBuf};
use training_monitor_std::History;
use training_monitor_std::chart::NamedRun;
use training_monitor_std::history::{HistoryError, HistoryEvent};

/// The history of a run.
pub struct Run {
    /// The name of the run's directory.
    pub name: String,
    pub events: Vec<HistoryEvent>,
}

impl Run {
    pub fn read(path: &Path) -> Result<Run> {
        let file = history_file(path);
        let events = History::read(&file).map_err(|error| history_error(path, &file, error))?;
        Ok(Run { name: run_name(path), events })
    }

    /// Returns the run in the form that the chart functions of the library need.
    pub fn as_named(&self) -> NamedRun<'_> {
        NamedRun { name: &self.name, events: &self.events }
    }
}

/// Returns the path of the history file of a run. If `path` is a directory, the history file is `history.jsonl` in this
/// directory. Otherwise `path` is the history file.
pub fn history_file(path: &Path) -> PathBuf {
    if path.is_dir() { path.join("history.jsonl") } else { path.to_owned() }
}

/// Converts an error of reading the history file `file` to an error of the tool. The message of the new error mentions
/// `path`, the path that the user passed.
fn history_error(path: &Path, file: &Path, error: HistoryError) -> CliError {
    match error {
        HistoryError::Io { cause, .. } if cause.kind() == io::ErrorKind::NotFound && path.is_dir() => {
            let found = "it is a directory without a history.jsonl".to_owned();
            CliError::WrongFile { path: path.to_owned(), expected: "a run", found }
        }
        HistoryError::Io { cause, .. } => CliError::io("read", file)(cause),
        HistoryError::NotAHistory { .. } => {
            let content = files::read(file).map(|bytes| files::describe_content(&bytes));
            let found = content.unwrap_or_else(|error| error.to_string());
            CliError::WrongFile { path: file.to_owned(), expected: "the history of a run", found }
        }
        other => CliError::content(file, other),
    }
}

/// Returns the name of a run, which is the name of its directory.
fn run_name(path: &Path) -> String {
    let directory = if path.is_dir() { Some(path) } else { path.parent() };
    let name = directory.and_then(Path::file_name).or(path.file_stem());
    name.unwrap_or("run".as_ref()).to_string_lossy().into_owned()
}
