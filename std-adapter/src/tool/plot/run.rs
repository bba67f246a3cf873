//! A training run, as its history file records it.

use crate::chart::NamedRun;
use crate::history::{self, HistoryError, HistoryEvent, split_runs};
use crate::tool::error::{CliError, Result};
use crate::tool::files;
use crate::tool::numbers::count;
use std::io;
use std::path::{Path, PathBuf};

/// The history of a run.
pub struct Run {
    /// The name of the run's directory. If the history contains several runs, the number of the run follows.
    pub name: String,
    pub events: Vec<HistoryEvent>,
    /// The time of each event in seconds since 1970, if the history contains it.
    pub times: Vec<Option<f64>>,
    /// The history file.
    pub file: PathBuf,
    /// The number of the run in its file, from 1. `None` if the file contains a single run.
    number: Option<usize>,
}

impl Run {
    /// Reads all runs of the history file at `path`, or of the directory `path`. There is at least one.
    pub fn read(path: &Path) -> Result<Vec<Run>> {
        let file = history_file(path);
        let text = match files::read(&file) {
            Err(CliError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound && path.is_dir() => {
                let found = "it is a directory without a history.jsonl".to_owned();
                return Err(CliError::WrongFile { path: path.to_owned(), expected: "a run", found });
            }
            text => text?,
        };
        let lines = history::parse(&file, &text).map_err(|error| match error {
            HistoryError::NotAHistory { .. } => {
                let found = files::describe_content(&text);
                CliError::WrongFile { path: file.clone(), expected: "the history of a run", found }
            }
            other => CliError::other(other),
        })?;
        drop(text);
        let mut lengths: Vec<usize> = split_runs(&lines).iter().map(|run| run.len()).collect();
        if lengths.is_empty() {
            lengths.push(0);
        }
        let mut lines = lines.into_iter();
        let run = |(index, len): (usize, &usize)| {
            let number = (lengths.len() > 1).then_some(index + 1);
            let (events, times) = lines.by_ref().take(*len).map(|line| (line.event, line.time)).unzip();
            Run { name: numbered(run_name(path), number), events, times, file: file.clone(), number }
        };
        Ok(lengths.iter().enumerate().map(run).collect())
    }

    /// Returns a run that consists of the selected events.
    pub fn filter(&self, mut is_selected: impl FnMut(&HistoryEvent) -> bool) -> Run {
        let lines = self.events.iter().zip(&self.times).filter(|(event, _)| is_selected(event));
        let (events, times) = lines.map(|(event, time)| (event.clone(), *time)).unzip();
        Run { name: self.name.clone(), events, times, file: self.file.clone(), number: self.number }
    }

    /// Returns the run in the form that the chart functions of the library need.
    pub fn as_named(&self) -> NamedRun<'_> {
        NamedRun { name: &self.name, events: &self.events }
    }

    /// Returns whether the history ends with the end of the run.
    pub fn has_stopped(&self) -> bool {
        let ends = |event: &HistoryEvent| match event {
            HistoryEvent::Stopped { .. } => Some(true),
            HistoryEvent::Iteration { .. } | HistoryEvent::Resumed { .. } => Some(false),
            _ => None,
        };
        self.events.iter().rev().find_map(ends).unwrap_or(false)
    }
}

fn numbered(name: String, number: Option<usize>) -> String {
    number.map_or(name.clone(), |number| format!("{name} (run {number})"))
}

/// Makes the names of the runs unique. If runs from different files have the same name, their files become their names.
pub fn make_names_unique(runs: &mut [Run]) {
    let names: Vec<String> = runs.iter().map(|run| run.name.clone()).collect();
    for run in runs.iter_mut() {
        if names.iter().filter(|name| **name == run.name).count() > 1 {
            let directory =
                run.file.parent().filter(|parent| run.file.ends_with("history.jsonl") && *parent != Path::new(""));
            run.name = numbered(directory.unwrap_or(&run.file).display().to_string(), run.number);
        }
    }
}

/// Returns a title that contains the names of the runs, or only their number if there are too many names.
pub fn title(runs: &[Run]) -> String {
    /// The maximum number of characters of a title that lists the names of all runs.
    const MAX_TITLE: usize = 64;
    let names = runs.iter().map(|run| run.name.as_str()).collect::<Vec<_>>().join(", ");
    if runs.len() > 1 && names.chars().count() > MAX_TITLE { count(runs.len(), "run") } else { names }
}

/// Returns the path of the history file of a run. If `path` is a directory, the history file is `history.jsonl` in this
/// directory. Otherwise `path` is the history file.
pub fn history_file(path: &Path) -> PathBuf {
    if path.is_dir() { path.join("history.jsonl") } else { path.to_owned() }
}

/// Returns the name of a run, which is the name of its directory.
fn run_name(path: &Path) -> String {
    if files::is_standard_stream(path) {
        return "standard input".to_owned();
    }
    let directory = if path.is_dir() { Some(path) } else { path.parent() };
    let name = directory.and_then(Path::file_name).or(path.file_stem());
    name.unwrap_or("run".as_ref()).to_string_lossy().into_owned()
}
