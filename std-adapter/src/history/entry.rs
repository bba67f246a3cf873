//! The lines of a history.

use super::HistoryError;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Number, Value};
use std::collections::HashSet;
use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::str::FromStr;

const SCHEMA: &str = "training-monitor-history";
const VERSION: u32 = 1;

/// The first line.
#[derive(Serialize, Deserialize)]
pub(super) struct First {
    schema: String,
    version: u32,
}

impl First {
    pub fn here() -> Self {
        First { schema: SCHEMA.to_owned(), version: VERSION }
    }
}

impl fmt::Display for First {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// Something that happened in a run. Numbers that are not finite are `None`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Entry {
    /// A step of the training.
    Iteration {
        /// Which, from 1.
        iteration: u32,
        /// The loss.
        loss: Option<f32>,
        /// How long it took.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds: Option<f64>,
    },
    /// The end of an epoch.
    Epoch {
        /// Which, from 1.
        epoch: u32,
        /// The iteration it ended at.
        iteration: u32,
        /// What was measured, in the order given.
        #[serde(serialize_with = "to_map", deserialize_with = "from_map")]
        metrics: Vec<(String, Option<f64>)>,
    },
    /// A checkpoint was committed.
    Saved {
        /// By which handler.
        store: String,
        /// Its step number.
        step: u32,
        /// The iteration it was taken at.
        iteration: u32,
        /// Its score.
        score: Option<f32>,
        /// Bytes of all its files.
        bytes: u32,
        /// The step of the checkpoint whose place it took.
        removed: Option<u32>,
    },
    /// A checkpoint could not be saved.
    SaveFailed {
        /// By which handler.
        store: String,
        /// Its step number.
        step: u32,
        /// The iteration it was to be taken at.
        iteration: u32,
        /// Why.
        error: String,
        /// Whether it was tried again at once.
        retrying: bool,
    },
    /// A checkpoint could not be removed.
    EvictionFailed {
        /// By which handler.
        store: String,
        /// Its step number.
        step: u32,
        /// The iteration at that time.
        iteration: u32,
        /// Why.
        error: String,
    },
    /// A checkpoint could not be loaded, so an older one was tried.
    LoadFailed {
        /// By which handler.
        store: String,
        /// Its step number.
        step: u32,
        /// Why.
        error: String,
    },
    /// The run went on from a checkpoint.
    Resumed {
        /// The epoch of the checkpoint.
        epoch: u32,
        /// Its iteration.
        iteration: u32,
        /// Newer checkpoints that could not be loaded.
        skipped: u32,
    },
    /// The run ended.
    Stopped {
        /// Why, as the variant of [`StopReason`](training_monitor::StopReason) is called.
        reason: String,
        /// The last epoch.
        epoch: u32,
        /// The last iteration.
        iteration: u32,
    },
    /// Something that a newer version of this crate wrote.
    #[serde(other)]
    Unknown,
}

impl Entry {
    /// The iteration it happened at, if it belongs to one.
    #[must_use]
    pub const fn iteration(&self) -> Option<u32> {
        match self {
            Entry::Iteration { iteration, .. }
            | Entry::Epoch { iteration, .. }
            | Entry::Saved { iteration, .. }
            | Entry::SaveFailed { iteration, .. }
            | Entry::EvictionFailed { iteration, .. }
            | Entry::Resumed { iteration, .. }
            | Entry::Stopped { iteration, .. } => Some(*iteration),
            Entry::LoadFailed { .. } | Entry::Unknown => None,
        }
    }

    /// Whether it still holds for a run that goes on from `iteration`. That the run had stopped there does not.
    pub(super) fn is_before(&self, iteration: u32) -> bool {
        match self {
            Entry::Stopped { iteration: at, .. } => *at < iteration,
            // The nothing that a run begins with is before every iteration.
            _ => self.iteration().is_none_or(|at| at <= iteration && iteration > 0),
        }
    }

    pub(super) fn write(&self, writer: &mut impl Write) -> io::Result<()> {
        serde_json::to_writer(&mut *writer, self)?;
        writer.write_all(b"\n")
    }

    /// What of it can be there only once.
    fn place(&self) -> Option<(u8, String, u32)> {
        match self {
            Entry::Iteration { iteration, .. } => Some((0, String::new(), *iteration)),
            Entry::Epoch { epoch, .. } => Some((1, String::new(), *epoch)),
            _ => None,
        }
    }
}

/// From a line of a history.
///
/// Does the same as `serde_json::from_str`, and does it also where some dependency has turned on serde_json's feature
/// `arbitrary_precision`: with it, fractions are not numbers any more to an enum with a tag inside.
impl FromStr for Entry {
    type Err = serde_json::Error;

    fn from_str(line: &str) -> Result<Entry, serde_json::Error> {
        of_line(line.as_bytes())
    }
}

fn of_line(line: &[u8]) -> serde_json::Result<Entry> {
    /// Metrics in their order, which a [`Value`] forgets.
    #[derive(Deserialize)]
    struct InOrder {
        #[serde(deserialize_with = "from_map")]
        metrics: Vec<(String, Option<f64>)>,
    }

    let mut value: Value = serde_json::from_slice(line)?;
    plain_numbers(&mut value);
    let mut entry = Entry::deserialize(value)?;
    if let Entry::Epoch { metrics, .. } = &mut entry {
        *metrics = serde_json::from_slice::<InOrder>(line)?.metrics;
    }
    Ok(entry)
}

/// Each fraction as its nearest double, written as serde_json itself would: that, it always passes on as a number.
fn plain_numbers(value: &mut Value) {
    match value {
        Value::Number(number) if !number.is_u64() && !number.is_i64() => {
            if let Some(plain) = number.as_f64().and_then(Number::from_f64) {
                *number = plain;
            }
        }
        Value::Object(map) => map.values_mut().for_each(plain_numbers),
        Value::Array(values) => values.iter_mut().for_each(plain_numbers),
        _ => (),
    }
}

/// A run that goes on from a checkpoint in the middle of an iteration's events tells of its end a second time.
pub(super) fn without_repeats(mut entries: Vec<Entry>) -> Vec<Entry> {
    let mut seen = HashSet::new();
    entries.reverse();
    entries.retain(|entry| entry.place().is_none_or(|place| seen.insert(place)));
    entries.reverse();
    entries
}

/// The entries of a file, and the bytes that the whole lines have.
pub(super) fn parse(path: &Path, text: &[u8]) -> Result<(Vec<Entry>, usize), HistoryError> {
    let mut lines = text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    let not_a_history = || HistoryError::NotAHistory { path: path.to_owned() };
    let first = lines.next().ok_or_else(not_a_history)?;
    match serde_json::from_slice::<First>(first) {
        Ok(First { schema, version: VERSION }) if schema == SCHEMA => (),
        Ok(First { schema, version: found }) if schema == SCHEMA => {
            return Err(HistoryError::Version { path: path.to_owned(), found });
        }
        _ => return Err(not_a_history()),
    }
    let mut entries = Vec::new();
    let mut len = first.len();
    let mut lines = lines.enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        match of_line(line) {
            Ok(entry) => entries.push(entry),
            // Torn, with a line end from elsewhere.
            Err(_) if lines.peek().is_none() => break,
            Err(cause) => return Err(HistoryError::Line { path: path.to_owned(), line: index + 2, cause }),
        }
        len += line.len();
    }
    Ok((entries, len))
}

fn to_map<S: Serializer>(metrics: &[(String, Option<f64>)], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(metrics.iter().map(|(name, value)| (name, value)))
}

fn from_map<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(String, Option<f64>)>, D::Error> {
    struct Metrics;

    impl<'de> Visitor<'de> for Metrics {
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

    from.deserialize_map(Metrics)
}
