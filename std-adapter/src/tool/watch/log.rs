//! Converts the log lines of a device to the events of a history.
//!
//! The module `lines` defines the format strings of the log lines. A logger may print levels, times and colors before a
//! line, and other text after it. `watch` shows all other lines unchanged.

use super::lines::{Field, LineKind, LogLine, TABLES};
use super::pattern::{Pattern, Suffix};
use crate::history::HistoryEvent;
use std::str::FromStr;
use std::sync::LazyLock;

/// The names of the variants of `StopReason`.
const STOP_REASONS: [&str; 11] = [
    "MaxEpochs",
    "EarlyStopping",
    "NonFinite",
    "SaveFailed",
    "StepFailed",
    "User",
    "TimeLimit",
    "TargetReached",
    "Diverged",
    "Interrupted",
    "Spike",
];

/// The name of the value `patience` in a log line of an epoch. The value is not a metric. It is the number of epochs
/// without improvement that `EarlyStopping` still allows.
pub const PATIENCE: &str = "patience";

/// The text that an event contains as the cause of a failure. A log line does not contain the cause, so this text
/// refers the user to the log.
const UNKNOWN_CAUSE: &str = "see the log of the device";

/// The meaning of a log line that the device prints.
#[derive(PartialEq, Debug)]
pub enum LogEvent {
    /// A run starts without a checkpoint.
    Started,
    /// The total number of erases of all slots (flash areas) of a store. The device logs this number when it starts.
    SlotErases { store: String, erases: u32 },
    /// An event that can also occur in a history.
    History(HistoryEvent),
}

static PATTERNS: LazyLock<Vec<(Pattern, &LogLine)>> =
    LazyLock::new(|| TABLES.iter().copied().flatten().map(|line| (Pattern::new(line.format), line)).collect());

/// Parses a log line. `iteration` is the current iteration of the run, or 0 if it is unknown. The caller passes the
/// iteration, because most log lines do not contain it.
pub fn parse(line: &str, iteration: u32) -> Option<LogEvent> {
    if line.starts_with('{') {
        return line.parse().ok().map(LogEvent::History);
    }
    // Try the format strings twice. The first pass accepts only matches of the whole line. Otherwise a short format
    // string could match the start of a line that belongs to a longer format string.
    [Suffix::None, Suffix::Any].into_iter().find_map(|suffix| {
        PATTERNS.iter().find_map(|(pattern, line_format)| {
            // A line that reports a new run discards the state of the previous run. Therefore the format string must
            // match the whole line, so that no other line has this effect.
            if line_format.kind == LineKind::Started && suffix == Suffix::Any {
                return None;
            }
            let values = pattern.captures(line, suffix)?;
            Values { fields: line_format.fields, values }.to_event(line_format.kind, iteration)
        })
    })
}

/// The values in a log line, together with their meanings.
struct Values<'l> {
    fields: &'static [Field],
    values: Vec<&'l str>,
}

impl<'l> Values<'l> {
    fn text(&self, field: Field) -> Option<&'l str> {
        let index = self.fields.iter().position(|other| *other == field)?;
        self.values.get(index).copied()
    }

    fn number<T: FromStr>(&self, field: Field) -> Option<T> {
        self.text(field)?.parse().ok()
    }

    /// Returns all metrics of the log line. A metric that is not finite has the value `None`, as in a history.
    fn metrics(&self) -> Vec<(String, Option<f64>)> {
        let parse = |value: &str| value.parse().ok().map(|value: f64| Some(value).filter(|value| value.is_finite()));
        let mut metrics = Vec::new();
        for (field, text) in self.fields.iter().zip(&self.values) {
            match field {
                Field::Metric(name) => metrics.extend(parse(text).map(|value| ((*name).to_owned(), value))),
                Field::Metrics => metrics.extend(text.split(',').filter_map(|pair| {
                    let (name, value) = pair.trim().rsplit_once(' ')?;
                    Some((name.trim().replace(' ', "_"), parse(value)?))
                })),
                _ => (),
            }
        }
        metrics
    }

    /// Returns the event that the log line describes. Returns `None` if a value is invalid, for example an unknown stop
    /// reason.
    fn to_event(&self, kind: LineKind, iteration: u32) -> Option<LogEvent> {
        let store = || self.text(Field::Store).map(str::to_owned);
        let step = || self.number(Field::Step);
        let error = UNKNOWN_CAUSE.to_owned();
        Some(LogEvent::History(match kind {
            LineKind::Started => return Some(LogEvent::Started),
            LineKind::Message => return None,
            LineKind::SlotErases => {
                let counts = self.text(Field::EraseCounts)?.strip_prefix('[')?.strip_suffix(']')?;
                let counts: Result<Vec<u32>, _> = counts.split(',').map(|count| count.trim().parse()).collect();
                let erases = counts.ok()?.into_iter().fold(0, u32::saturating_add);
                return Some(LogEvent::SlotErases { store: store()?, erases });
            }
            LineKind::Epoch => {
                let (epoch, metrics) = (self.number(Field::Epoch)?, self.metrics());
                // If the log contains no iterations, the epoch is the horizontal position in the charts.
                let iteration = iteration.max(epoch);
                (!metrics.is_empty()).then_some(HistoryEvent::Epoch { epoch, iteration, metrics })?
            }
            LineKind::Iteration => {
                let loss = self.number(Field::Loss).filter(|loss: &f32| loss.is_finite());
                HistoryEvent::Iteration { iteration: self.number(Field::Iteration)?, loss, seconds: None }
            }
            LineKind::Resumed => HistoryEvent::Resumed {
                epoch: self.number(Field::Epoch)?,
                iteration: self.number(Field::Iteration)?,
                skipped: self.number(Field::Skipped).unwrap_or(0),
            },
            LineKind::Saved => HistoryEvent::Saved {
                store: store()?,
                step: step()?,
                iteration,
                score: None,
                bytes: self.number(Field::Bytes)?,
                removed: self.number(Field::EvictedStep),
            },
            LineKind::SaveFailed => {
                HistoryEvent::SaveFailed { store: store()?, step: step()?, iteration, error, retrying: false }
            }
            LineKind::EvictionFailed => {
                HistoryEvent::EvictionFailed { store: store()?, step: step()?, iteration, error }
            }
            LineKind::LoadFailed => HistoryEvent::LoadFailed { store: store()?, step: step()?, error },
            LineKind::Stopped => {
                let reason = self.text(Field::Reason)?.to_owned();
                let is_known = STOP_REASONS.iter().any(|known| reason.starts_with(known));
                let epoch = self.number(Field::Epoch)?;
                is_known.then_some(HistoryEvent::Stopped { reason, epoch, iteration: iteration.max(epoch) })?
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::lines::LOG_MODULE_LINES;
    use super::*;

    fn saved(removed: Option<u32>) -> HistoryEvent {
        HistoryEvent::Saved { store: "best".to_owned(), step: 7, iteration: 5, score: None, bytes: 19580, removed }
    }

    fn stopped(reason: &str) -> HistoryEvent {
        HistoryEvent::Stopped { reason: reason.to_owned(), epoch: 12, iteration: 12 }
    }

    fn epoch(epoch: u32, iteration: u32, metrics: &[(&str, Option<f64>)]) -> HistoryEvent {
        let metrics = metrics.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        HistoryEvent::Epoch { epoch, iteration, metrics }
    }

    fn iteration(loss: Option<f32>) -> HistoryEvent {
        HistoryEvent::Iteration { iteration: 12, loss, seconds: None }
    }

    fn resumed(skipped: u32) -> HistoryEvent {
        HistoryEvent::Resumed { epoch: 3, iteration: 225, skipped }
    }

    fn failures() -> [HistoryEvent; 3] {
        let (store, error) = ("latest".to_owned(), UNKNOWN_CAUSE.to_owned());
        [
            HistoryEvent::SaveFailed {
                store: store.clone(),
                step: 4,
                iteration: 5,
                error: error.clone(),
                retrying: false,
            },
            HistoryEvent::EvictionFailed { store: store.clone(), step: 4, iteration: 5, error: error.clone() },
            HistoryEvent::LoadFailed { store, step: 4, error },
        ]
    }

    #[test]
    fn lines_of_the_log_module() {
        let [save_failed, eviction_failed, load_failed] = failures();
        let metrics = [("loss", Some(0.25)), ("accuracy", None), (PATIENCE, Some(4.0))];
        for (line, event) in [
            ("resumed in epoch 3 after iteration 225, skipped 1 checkpoints", resumed(1)),
            ("iteration 12: loss 0.5", iteration(Some(0.5))),
            ("epoch 9: loss 0.25, accuracy inf, patience 4", epoch(9, 9, &metrics)),
            ("best: saved step 7, 19580 bytes", saved(None)),
            ("best: saved step 7, 19580 bytes, evicted step 3", saved(Some(3))),
            ("latest: step 4 was not saved", save_failed),
            ("latest: step 4 was not evicted", eviction_failed),
            ("latest: step 4 could not be loaded", load_failed),
            ("EarlyStopping after epoch 12", stopped("EarlyStopping")),
            ("User(3) after epoch 12", stopped("User(3)")),
        ] {
            // A logger can print a level and a time before the line.
            for prefix in ["", "INFO  ", "12.5 [INFO ] "] {
                let line = format!("{prefix}{line}");
                assert_eq!(parse(&line, 5), Some(LogEvent::History(event.clone())), "{line}");
            }
        }
        assert_eq!(parse("INFO  started a new run", 5), Some(LogEvent::Started));
        let erases = LogEvent::SlotErases { store: "best".to_owned(), erases: 25 };
        assert_eq!(parse("INFO  best: slots erased [3, 20, 2] times", 5), Some(erases));
    }

    #[test]
    fn lines_of_other_programs() {
        for (line, event) in [
            ("epoch 9: loss 0.25, accuracy NaN", epoch(9, 9, &[("loss", Some(0.25)), ("accuracy", None)])),
            ("INFO epoch 2: val loss 0.25", epoch(2, 5, &[("val_loss", Some(0.25))])),
            (
                "epoch 2: loss 1, accuracy 0.5, patience 4, lr 0.1",
                epoch(2, 5, &[("loss", Some(1.0)), ("accuracy", Some(0.5)), (PATIENCE, Some(4.0)), ("lr", Some(0.1))]),
            ),
            ("iteration 12, loss inf", iteration(None)),
            ("iteration 12: loss 0.5, lr 0.1", iteration(Some(0.5))),
            ("resumed in epoch 3 after iteration 225", resumed(0)),
            ("best: saved step 7, 19580 bytes (src/main.rs:12)", saved(None)),
            ("best: saved step 7, 19580 bytes, evicted step 3 (src/main.rs:12)", saved(Some(3))),
            ("EarlyStopping after epoch 12, done", stopped("EarlyStopping")),
            (r#"{"event":"iteration","iteration":12,"loss":0.5}"#, iteration(Some(0.5))),
        ] {
            assert_eq!(parse(line, 5), Some(LogEvent::History(event)), "{line}");
        }
        assert_eq!(parse("my network: started a new run", 5), Some(LogEvent::Started));
    }

    #[test]
    fn lines_without_a_meaning() {
        for line in [
            "",
            "best: slots erased [] times",
            "epoch: 7",
            "{not json",
            "a: saved step x, 1 bytes",
            "Lunch after epoch 12",
            "it started a new run yesterday",
            // The example firmware prints these lines without the module `training_monitor::log`.
            "network 64-32-10",
            "900 steps, the best is 7",
            "test: loss 0.1, accuracy 0.9",
            "the run failed: NoFlash",
        ] {
            assert_eq!(parse(line, 5), None, "{line}");
        }
    }

    #[test]
    fn the_tables_give_each_placeholder_a_meaning() {
        for line in TABLES.iter().copied().flatten() {
            let placeholders = line.format.matches('{').count();
            assert_eq!(line.fields.len(), placeholders, "{}", line.format);
        }
    }

    #[test]
    fn the_table_contains_all_lines_of_the_log_module() {
        let mut formats: Vec<&str> = LOG_MODULE_LINES.iter().map(|line| line.format).collect();
        let mut expected = training_monitor::log::LINES.to_vec();
        formats.sort_unstable();
        expected.sort_unstable();
        assert_eq!(formats, expected);
    }
}
