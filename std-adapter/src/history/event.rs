//! The events of a history, and the lines that store them.

use super::HistoryError;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Number, Value};
use std::collections::HashSet;
use std::fmt;
use std::io::{self, Write};
use std::mem::{self, Discriminant};
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

/// An event of a training run. Each event is one line of the history file. A number that is NaN or infinite is stored
/// as `null` and read as `None`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum HistoryEvent {
    /// The run finished an iteration.
    Iteration {
        /// The number of the iteration, from 1.
        iteration: u32,
        /// The loss of the iteration.
        loss: Option<f32>,
        /// The duration of the iteration in seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds: Option<f64>,
    },
    /// The run finished an epoch.
    Epoch {
        /// The number of the epoch, from 1.
        epoch: u32,
        /// The last iteration of the epoch.
        iteration: u32,
        /// The names and the values of the metrics, in the order in which the program recorded them.
        #[serde(serialize_with = "to_map", deserialize_with = "from_map")]
        metrics: Vec<(String, Option<f64>)>,
    },
    /// A checkpoint handler committed a checkpoint.
    Saved {
        /// The name of the checkpoint handler.
        store: String,
        /// The step number of the checkpoint.
        step: u32,
        /// The iteration at which the checkpoint was saved.
        iteration: u32,
        /// The score of the checkpoint.
        score: Option<f32>,
        /// The total size of the checkpoint in bytes.
        bytes: u32,
        /// The step number of the checkpoint that the handler evicted (removed) after the save; `None` if it evicted no
        /// checkpoint.
        removed: Option<u32>,
    },
    /// A checkpoint handler failed to save a checkpoint.
    SaveFailed {
        /// The name of the checkpoint handler.
        store: String,
        /// The step number of the checkpoint.
        step: u32,
        /// The iteration of the failed save.
        iteration: u32,
        /// The error message.
        error: String,
        /// Whether the handler immediately retried the save.
        retrying: bool,
    },
    /// A checkpoint handler failed to remove an evicted checkpoint (a checkpoint that the handler no longer keeps). In
    /// the history file, this event is called `removal_failed`.
    #[serde(rename = "removal_failed")]
    EvictionFailed {
        /// The name of the checkpoint handler.
        store: String,
        /// The step number of the checkpoint.
        step: u32,
        /// The iteration of the failed removal.
        iteration: u32,
        /// The error message.
        error: String,
    },
    /// A checkpoint handler failed to load a checkpoint, and then tried an older one.
    LoadFailed {
        /// The name of the checkpoint handler.
        store: String,
        /// The step number of the checkpoint that could not be loaded.
        step: u32,
        /// The error message.
        error: String,
    },
    /// The run resumed from a checkpoint.
    Resumed {
        /// The epoch of the checkpoint.
        epoch: u32,
        /// The iteration of the checkpoint.
        iteration: u32,
        /// The number of newer checkpoints that could not be loaded.
        skipped: u32,
    },
    /// The run stopped.
    Stopped {
        /// The name of a variant of [`StopReason`](training_monitor::StopReason), for example `EarlyStopping`.
        reason: String,
        /// The last epoch of the run.
        epoch: u32,
        /// The last iteration of the run.
        iteration: u32,
    },
    /// An event whose kind is unknown to this version of the crate.
    #[serde(other)]
    Unknown,
}

impl HistoryEvent {
    /// Returns the number of the iteration in which the event happened. Returns `None` if the event contains no
    /// iteration number.
    #[must_use]
    pub const fn iteration(&self) -> Option<u32> {
        match self {
            HistoryEvent::Iteration { iteration, .. }
            | HistoryEvent::Epoch { iteration, .. }
            | HistoryEvent::Saved { iteration, .. }
            | HistoryEvent::SaveFailed { iteration, .. }
            | HistoryEvent::EvictionFailed { iteration, .. }
            | HistoryEvent::Resumed { iteration, .. }
            | HistoryEvent::Stopped { iteration, .. } => Some(*iteration),
            HistoryEvent::LoadFailed { .. } | HistoryEvent::Unknown => None,
        }
    }

    /// Returns whether the event remains in the history after a resume from the checkpoint of `iteration`. The resume
    /// removes all later events. It also removes a stop event at `iteration`, because the resumed run continues.
    pub(super) fn is_valid_after_resume(&self, iteration: u32) -> bool {
        match self {
            HistoryEvent::Stopped { iteration: stop, .. } => *stop < iteration,
            // If `iteration` is 0, the run starts from the beginning, so all events with an iteration number are
            // removed.
            _ => self.iteration().is_none_or(|own| own <= iteration && iteration > 0),
        }
    }

    pub(super) fn write(&self, writer: &mut impl Write) -> io::Result<()> {
        serde_json::to_writer(&mut *writer, self)?;
        writer.write_all(b"\n")
    }

    /// Returns the kind and the number of an event that a history may contain only once, such as iteration 7 or
    /// epoch 2. Returns `None` for kinds of events that may occur repeatedly.
    fn unique_key(&self) -> Option<(Discriminant<HistoryEvent>, u32)> {
        match self {
            HistoryEvent::Iteration { iteration: number, .. } | HistoryEvent::Epoch { epoch: number, .. } => {
                Some((mem::discriminant(self), *number))
            }
            _ => None,
        }
    }
}

/// Parses one line of a history file.
///
/// Prefer this implementation to `serde_json::from_str`. Both give the same result, but `serde_json::from_str` rejects
/// fractions if any crate in the program enables the feature `arbitrary_precision` of `serde_json`.
impl FromStr for HistoryEvent {
    type Err = serde_json::Error;

    fn from_str(line: &str) -> Result<HistoryEvent, serde_json::Error> {
        parse_line(line.as_bytes())
    }
}

fn parse_line(line: &[u8]) -> serde_json::Result<HistoryEvent> {
    /// The metrics of an epoch event, in the order in which the line of the history file lists them. A [`Value`] of
    /// `serde_json` does not keep this order.
    #[derive(Deserialize)]
    struct OrderedMetrics {
        #[serde(deserialize_with = "from_map")]
        metrics: Vec<(String, Option<f64>)>,
    }

    let mut value: Value = serde_json::from_slice(line)?;
    normalize_numbers(&mut value);
    let mut event = HistoryEvent::deserialize(value)?;
    if let HistoryEvent::Epoch { metrics, .. } = &mut event {
        *metrics = serde_json::from_slice::<OrderedMetrics>(line)?.metrics;
    }
    Ok(event)
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

/// Keeps only the last event of each iteration and of each epoch. A resumed run can record the iteration of its
/// checkpoint a second time, so the history can contain duplicates.
pub(super) fn remove_duplicates(mut events: Vec<HistoryEvent>) -> Vec<HistoryEvent> {
    let mut seen = HashSet::new();
    events.reverse();
    events.retain(|event| event.unique_key().is_none_or(|key| seen.insert(key)));
    events.reverse();
    events
}

/// Parses `text`, the content of the history file at `path`. Returns the events, and the total length in bytes of all
/// lines that were parsed without an error.
pub(super) fn parse(path: &Path, text: &[u8]) -> Result<(Vec<HistoryEvent>, usize), HistoryError> {
    let mut lines = text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    let not_a_history = || HistoryError::NotAHistory { path: path.to_owned() };
    let header = lines.next().ok_or_else(not_a_history)?;
    match serde_json::from_slice::<FileHeader>(header) {
        Ok(FileHeader { schema, version: VERSION }) if schema == SCHEMA => (),
        Ok(FileHeader { schema, version: found }) if schema == SCHEMA => {
            return Err(HistoryError::Version { path: path.to_owned(), found });
        }
        _ => return Err(not_a_history()),
    }
    let mut events = Vec::new();
    let mut len = header.len();
    let mut lines = lines.enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        match parse_line(line) {
            Ok(event) => events.push(event),
            // A power failure can leave garbage in the last line, so an invalid last line is skipped.
            Err(_) if lines.peek().is_none() => break,
            Err(cause) => return Err(HistoryError::Line { path: path.to_owned(), line: index + 2, cause }),
        }
        len += line.len();
    }
    Ok((events, len))
}

fn to_map<S: Serializer>(metrics: &[(String, Option<f64>)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(metrics.iter().map(|(name, value)| (name, value)))
}

fn from_map<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, Option<f64>)>, D::Error> {
    struct MetricsVisitor;

    impl<'de> Visitor<'de> for MetricsVisitor {
        type Value = Vec<(String, Option<f64>)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of numbers")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut metrics = Vec::new();
            while let Some(metric) = map.next_entry()? {
                metrics.push(metric);
            }
            Ok(metrics)
        }
    }

    deserializer.deserialize_map(MetricsVisitor)
}
