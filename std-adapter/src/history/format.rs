//! The lines of a history file.

use super::event::from_map;
use super::{HistoryError, HistoryEvent, TimedEvent};
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};
use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::str::FromStr;

pub(super) const SCHEMA: &str = "training-monitor-history";
pub(super) const VERSION: u32 = 1;

/// The first line of a history file. It contains the name and the version of the file format.
#[derive(Serialize, Deserialize)]
pub(super) struct FileHeader {
    schema: String,
    version: u32,
}

impl FileHeader {
    /// Returns the header (the first line of a history file) that this version of the crate writes.
    pub fn current() -> Self {
        FileHeader { schema: SCHEMA.to_owned(), version: VERSION }
    }
}

impl fmt::Display for FileHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// Checks the first line of the history file at `path`. A program that reads a history line by line calls this function
/// for the first line, and parses each other line as a [`TimedEvent`] or as a [`HistoryEvent`].
///
/// # Errors
/// Returns a [`HistoryError`] if the line is not the header of a history, or if the history has an unknown version.
pub fn check_header(path: &Path, line: &[u8]) -> Result<(), HistoryError> {
    match serde_json::from_slice::<FileHeader>(line) {
        Ok(FileHeader { schema, version: VERSION }) if schema == SCHEMA => Ok(()),
        Ok(FileHeader { schema, version: found }) if schema == SCHEMA => {
            Err(HistoryError::Version { path: path.to_owned(), found })
        }
        _ => Err(HistoryError::NotAHistory { path: path.to_owned() }),
    }
}

impl TimedEvent {
    /// Writes the event as one line. The time is the last field, in milliseconds.
    pub(super) fn write(&self, writer: &mut impl Write) -> io::Result<()> {
        let mut line = serde_json::to_vec(&self.event)?;
        if let Some(time) = self.time {
            // Each event is a JSON object, so its last byte is `}`.
            line.pop();
            write!(line, ",\"time\":{time:.3}}}")?;
        }
        line.push(b'\n');
        writer.write_all(&line)
    }
}

/// Parses one line of a history file. The time, if the line contains one, is ignored.
///
/// Prefer this implementation to `serde_json::from_str`. Both give the same result, but `serde_json::from_str` rejects
/// fractions if any crate in the program enables the feature `arbitrary_precision` of `serde_json`.
impl FromStr for HistoryEvent {
    type Err = serde_json::Error;

    fn from_str(line: &str) -> Result<HistoryEvent, serde_json::Error> {
        parse_line(line.as_bytes()).map(|line| line.event)
    }
}

/// Parses one line of a history file.
impl FromStr for TimedEvent {
    type Err = serde_json::Error;

    fn from_str(line: &str) -> Result<TimedEvent, serde_json::Error> {
        parse_line(line.as_bytes())
    }
}

fn parse_line(line: &[u8]) -> serde_json::Result<TimedEvent> {
    /// The named values of an event, in the order in which the line of the history file lists them. A [`Value`] of
    /// `serde_json` does not keep this order.
    #[derive(Deserialize)]
    struct NamedValues {
        #[serde(alias = "values", deserialize_with = "from_map")]
        metrics: Vec<(String, Option<f64>)>,
    }

    let mut value: Value = serde_json::from_slice(line)?;
    normalize_numbers(&mut value);
    let time = value.get("time").and_then(Value::as_f64);
    let mut event = HistoryEvent::deserialize(value)?;
    match &mut event {
        HistoryEvent::Epoch { metrics: values, .. } | HistoryEvent::Scalars { values, .. } => {
            *values = serde_json::from_slice::<NamedValues>(line)?.metrics;
        }
        HistoryEvent::Iteration { loss, .. } => *loss = loss.filter(|loss| loss.is_finite()),
        _ => (),
    }
    Ok(TimedEvent { time, event })
}

/// Replaces each fractional number in `value` by the nearest `f64`. `serde_json` can deserialize an `f64` with any
/// combination of its features.
fn normalize_numbers(value: &mut Value) {
    match value {
        Value::Number(number) if !number.is_u64() && !number.is_i64() => {
            if let Some(normalized) = number.as_f64().and_then(Number::from_f64) {
                *number = normalized;
            }
        }
        Value::Object(map) => map.values_mut().for_each(normalize_numbers),
        Value::Array(values) => values.iter_mut().for_each(normalize_numbers),
        _ => (),
    }
}

/// What a run may contain only once. A resumed run can record the iteration of its checkpoint a second time.
#[derive(PartialEq, Eq, Hash)]
enum UniqueKey {
    Iteration(u32),
    Epoch(u32),
    /// An iteration, and the number of the scalar's name in the order of the first appearance.
    Scalar(u32, usize),
}

/// Keeps only the last event of each iteration and of each epoch of a run, and only the last value of each scalar in an
/// iteration. Events of different runs are not duplicates.
fn remove_duplicates(mut events: Vec<TimedEvent>) -> Vec<TimedEvent> {
    let run_lengths: Vec<usize> = super::split_runs(&events).iter().map(|run| run.len()).collect();
    let mut is_kept = vec![true; events.len()];
    let mut names: HashMap<String, usize> = HashMap::new();
    let mut first = 0;
    for len in run_lengths {
        let mut seen = HashSet::new();
        for (line, is_kept) in events[first..first + len].iter_mut().zip(&mut is_kept[first..]).rev() {
            *is_kept = match &mut line.event {
                HistoryEvent::Iteration { iteration, .. } => seen.insert(UniqueKey::Iteration(*iteration)),
                HistoryEvent::Epoch { epoch, .. } => seen.insert(UniqueKey::Epoch(*epoch)),
                HistoryEvent::Scalars { iteration, values } => {
                    let was_empty = values.is_empty();
                    values.retain(|(name, _)| {
                        let name = names.get(name).copied().unwrap_or_else(|| {
                            names.insert(name.clone(), names.len());
                            names.len() - 1
                        });
                        seen.insert(UniqueKey::Scalar(*iteration, name))
                    });
                    was_empty || !values.is_empty()
                }
                _ => true,
            };
        }
        first += len;
    }
    let mut is_kept = is_kept.into_iter();
    events.retain(|_| is_kept.next().unwrap_or(true));
    events
}

/// Parses `text`, the content of the history file at `path`, like [`History::read_timed`](super::History::read_timed). A
/// program calls this function for a history that is no file, for example standard input.
///
/// # Errors
/// Returns a [`HistoryError`] if `text` is no history. The error contains `path`.
pub fn parse(path: &Path, text: &[u8]) -> Result<Vec<TimedEvent>, HistoryError> {
    let (lines, _) = parse_lines(path, text)?;
    Ok(remove_duplicates(lines.into_iter().map(|line| line.event).collect()))
}

/// A line of a history file.
#[derive(Clone)]
pub(super) struct Line<'t> {
    pub event: TimedEvent,
    /// The line as it is in the file, with the line feed.
    pub text: &'t [u8],
}

impl Borrow<HistoryEvent> for Line<'_> {
    fn borrow(&self) -> &HistoryEvent {
        &self.event.event
    }
}

/// Parses `text`, the content of the history file at `path`. Returns the lines, and the total length in bytes of all
/// lines that were parsed without an error.
pub(super) fn parse_lines<'t>(path: &Path, text: &'t [u8]) -> Result<(Vec<Line<'t>>, usize), HistoryError> {
    let mut texts = text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    let header = texts.next().ok_or_else(|| HistoryError::NotAHistory { path: path.to_owned() })?;
    check_header(path, header)?;
    let mut lines = Vec::new();
    let mut len = header.len();
    let mut texts = texts.enumerate().peekable();
    while let Some((index, text)) = texts.next() {
        match parse_line(text) {
            Ok(event) => lines.push(Line { event, text }),
            // A power failure can leave garbage in the last line, so an invalid last line is skipped.
            Err(_) if texts.peek().is_none() => break,
            Err(cause) => return Err(HistoryError::Line { path: path.to_owned(), line: index + 2, cause }),
        }
        len += text.len();
    }
    Ok((lines, len))
}
