//! The events of a history.

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Borrow;
use std::fmt;
use training_monitor::handlers::profiler::TickStatistics;

/// An event of a training run. Each event is one line of the history file. A number that is NaN or infinite is stored
/// as `null` and read as `None`. A loss that exceeds the range of `f32` is read as `None`, too.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum HistoryEvent {
    /// A run starts, and the file already contains an earlier one.
    Started,
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
    /// The values of named quantities in an iteration, for example the learning rate and the gradient norm.
    Scalars {
        /// The number of the iteration, from 1.
        iteration: u32,
        /// The names and the values, in the order in which the program recorded them.
        #[serde(serialize_with = "to_map", deserialize_with = "from_map")]
        values: Vec<(String, Option<f64>)>,
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
    /// The durations of the parts of the run since the start of the program.
    Profile {
        /// The last iteration that the durations include.
        iteration: u32,
        /// The parts, in the order in which the program recorded them.
        parts: Vec<ProfiledPart>,
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
            | HistoryEvent::Scalars { iteration, .. }
            | HistoryEvent::Epoch { iteration, .. }
            | HistoryEvent::Saved { iteration, .. }
            | HistoryEvent::SaveFailed { iteration, .. }
            | HistoryEvent::EvictionFailed { iteration, .. }
            | HistoryEvent::Resumed { iteration, .. }
            | HistoryEvent::Profile { iteration, .. }
            | HistoryEvent::Stopped { iteration, .. } => Some(*iteration),
            HistoryEvent::Started | HistoryEvent::LoadFailed { .. } | HistoryEvent::Unknown => None,
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
}

/// The durations of one part of a run, for example of all training steps or of all saves of a handler. All durations are
/// in seconds.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProfiledPart {
    /// The name of the part.
    pub name: String,
    /// The number of durations.
    pub count: u32,
    /// The sum of the durations.
    pub total: f64,
    /// The shortest duration.
    pub min: f64,
    /// The longest duration.
    pub max: f64,
    /// The mean of the durations.
    pub mean: f64,
    /// The standard deviation of the durations.
    pub deviation: f64,
}

impl ProfiledPart {
    /// Converts statistics in ticks to seconds. `hertz` is the number of ticks per second.
    #[must_use]
    pub fn new(name: &str, statistics: &TickStatistics, hertz: u32) -> Self {
        let hertz = f64::from(hertz.max(1));
        let (count, total) = (statistics.count(), statistics.total() as f64);
        ProfiledPart {
            name: name.to_owned(),
            count,
            total: total / hertz,
            min: statistics.min() as f64 / hertz,
            max: statistics.max() as f64 / hertz,
            mean: total / (hertz * f64::from(count.max(1))),
            deviation: f64::from(statistics.deviation()) / hertz,
        }
    }
}

/// An event with the time at which the program recorded it.
#[derive(Clone, PartialEq, Debug)]
pub struct TimedEvent {
    /// The time of the system clock in seconds since 1970-01-01 00:00 UTC. `None` if the file contains no time.
    pub time: Option<f64>,
    /// The event.
    pub event: HistoryEvent,
}

impl Borrow<HistoryEvent> for TimedEvent {
    fn borrow(&self) -> &HistoryEvent {
        &self.event
    }
}

/// Divides the events of a history into runs. A file can contain several runs, if the program recorded a new run after
/// the end of an earlier one. A run begins with [`HistoryEvent::Started`]. Without this event, it begins with the first
/// event after a stop whose iteration is not higher than that of the stop, unless the run was resumed. Returns no empty
/// run.
///
/// ```
/// use training_monitor_std::history::{HistoryEvent, split_runs};
///
/// let iteration = |iteration| HistoryEvent::Iteration { iteration, loss: Some(0.5), seconds: None };
/// let stop = |iteration| HistoryEvent::Stopped { reason: "MaxEpochs".into(), epoch: 1, iteration };
/// let events = [iteration(1), iteration(2), stop(2), iteration(1), stop(1)];
/// assert_eq!(split_runs(&events), [&events[..3], &events[3..]]);
/// ```
#[must_use]
pub fn split_runs<E: Borrow<HistoryEvent>>(events: &[E]) -> Vec<&[E]> {
    let (mut runs, mut start) = (Vec::new(), 0);
    let mut stop = None;
    for (index, event) in events.iter().enumerate() {
        let starts_run = |stop: u32| match event.borrow() {
            HistoryEvent::Iteration { iteration, .. } | HistoryEvent::Scalars { iteration, .. } => *iteration <= stop,
            // A program can record the metrics of the last epoch after the stop.
            other => other.iteration().is_some_and(|iteration| iteration < stop),
        };
        match event.borrow() {
            HistoryEvent::Resumed { .. } => stop = None,
            event if *event == HistoryEvent::Started || stop.is_some_and(starts_run) => {
                runs.push(&events[start..index]);
                (start, stop) = (index, None);
            }
            _ => (),
        }
        if let HistoryEvent::Stopped { iteration, .. } = event.borrow() {
            stop = Some(*iteration);
        }
    }
    runs.push(&events[start..]);
    runs.retain(|run| !run.is_empty());
    runs
}

fn to_map<S: Serializer>(metrics: &[(String, Option<f64>)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(metrics.iter().map(|(name, value)| (name, value)))
}

pub(super) fn from_map<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, Option<f64>)>, D::Error> {
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
