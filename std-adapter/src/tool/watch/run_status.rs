//! The status of a training run for the command `watch`, which displays a run while it is executed. Each new line of
//! the history file or of the device log updates the status.

use super::log::{self, LogEvent};
use super::pace::Pace;
use crate::history::HistoryEvent;
use crate::tool::numbers::{count, exact, rounded};
use crate::tool::plot::series::Points;
use std::collections::VecDeque;
use std::path::Path;
use std::time::Instant;

/// The maximum number of messages that are kept for the live view.
const MAX_MESSAGES: usize = 100;
/// The maximum number of durations that are kept. The median of these durations is the time per iteration.
const MAX_DURATIONS: usize = 100;

pub struct RunStatus {
    pub name: String,
    /// The patience of `EarlyStopping` (the number of epochs without improvement before the stop). `None` if the user
    /// did not pass it.
    pub patience: Option<u32>,
    /// The number of epochs of the run. `None` if it is unknown.
    pub epochs: Option<u32>,
    /// The number of iterations of an epoch. `None` if it is unknown.
    pub epoch_length: Option<u32>,
    /// The number of epochs without improvement that `EarlyStopping` still allows. `None` if the log does not contain
    /// it.
    pub patience_left: Option<u32>,
    pub epoch: u32,
    pub iteration: u32,
    /// `true` if the lines contain iterations. Otherwise the epoch is the horizontal position in the charts.
    pub has_iterations: bool,
    pub losses: Points,
    pub metrics: Vec<(String, Points)>,
    /// The named values of the iterations, for example the learning rate.
    pub scalars: Vec<(String, Points)>,
    pub stores: Vec<StoreStatus>,
    /// The first iteration with a NaN or infinite loss, and the number of such iterations.
    pub non_finite: Option<(u32, usize)>,
    pub failures: usize,
    pub resumes: usize,
    pub stop_reason: Option<String>,
    pub saves: usize,
    /// The last messages about the run, from the oldest to the newest.
    pub messages: VecDeque<String>,
    /// The durations of the last iterations in seconds.
    durations: VecDeque<f64>,
    pace: Pace,
}

/// The checkpoints that one checkpoint handler saved.
pub struct StoreStatus {
    pub name: String,
    /// The step and the score of each kept checkpoint.
    pub kept: Vec<(u32, Option<f32>)>,
    /// The total size of all saves in bytes.
    pub bytes: u64,
    pub saves: usize,
    /// The total number of erases of all slots (the flash areas of the checkpoints). The number comes from a log line,
    /// and each later save adds one.
    pub erases: Option<u32>,
}

impl RunStatus {
    pub fn new(path: &Path, patience: Option<u32>, epochs: Option<u32>) -> RunStatus {
        let name = match path.parent().and_then(Path::file_name) {
            Some(directory) if path.ends_with("history.jsonl") => directory.to_string_lossy().into_owned(),
            _ if path == Path::new("-") => "standard input".to_owned(),
            _ => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        };
        RunStatus {
            name,
            patience,
            epochs,
            epoch_length: None,
            patience_left: None,
            epoch: 0,
            iteration: 0,
            has_iterations: false,
            losses: vec![],
            metrics: vec![],
            scalars: vec![],
            stores: vec![],
            non_finite: None,
            failures: 0,
            resumes: 0,
            stop_reason: None,
            saves: 0,
            messages: VecDeque::new(),
            durations: VecDeque::new(),
            pace: Pace::default(),
        }
    }

    /// Discards the status, because the history is read again from the start. The number of saves is kept, because a
    /// change of this number triggers a new read of the checkpoints.
    pub fn restart(&mut self) {
        let fresh = RunStatus::new(Path::new(&self.name), self.patience, self.epochs);
        *self = RunStatus { name: std::mem::take(&mut self.name), saves: self.saves, ..fresh };
    }

    /// Updates the status with a line of the history or of the log. Returns the message that the user sees, or `None`
    /// if the line needs no message.
    pub fn apply_line(&mut self, line: &str) -> Option<String> {
        self.has_iterations |= line.starts_with('{');
        let iteration = if self.has_iterations { self.iteration } else { 0 };
        let message = match log::parse(line, iteration) {
            Some(LogEvent::History(event)) => self.apply_event(&event),
            // Empty lines and the first line of a history are not shown.
            None if line.trim().is_empty() || line.starts_with(r#"{"schema""#) => None,
            Some(LogEvent::SlotErases { store, erases }) => {
                self.store_mut(&store).erases = Some(erases);
                Some(line.to_owned())
            }
            Some(LogEvent::Started) => {
                if !self.has_iterations {
                    self.start_new_run();
                }
                Some(line.to_owned())
            }
            None => Some(line.to_owned()),
        };
        if let Some(message) = &message {
            push_limited(&mut self.messages, message.clone(), MAX_MESSAGES);
        }
        message
    }

    /// Starts the status of a new run. The log of a device can contain several runs. The messages of the previous run
    /// are kept.
    fn start_new_run(&mut self) {
        if self.epoch > 0 {
            let messages = std::mem::take(&mut self.messages);
            self.restart();
            self.messages = messages;
        }
    }

    fn apply_event(&mut self, event: &HistoryEvent) -> Option<String> {
        self.iteration = self.iteration.max(event.iteration().unwrap_or(0));
        match event {
            HistoryEvent::Started => {
                self.start_new_run();
                Some("started a new run".to_owned())
            }
            HistoryEvent::Iteration { iteration, loss, seconds } => {
                self.has_iterations = true;
                // A history can contain several runs. An iteration after the end of a run belongs to the next one.
                self.stop_reason = None;
                if let Some(seconds) = seconds {
                    push_limited(&mut self.durations, *seconds, MAX_DURATIONS);
                }
                self.apply_loss(*iteration, *loss)
            }
            HistoryEvent::Scalars { iteration, values } => {
                for (name, value) in values {
                    if let Some(value) = value {
                        push_point(points_mut(&mut self.scalars, name), *iteration, *value);
                    }
                }
                None
            }
            HistoryEvent::Epoch { epoch, iteration, metrics } => {
                self.epoch = *epoch;
                if self.has_iterations && *epoch > 0 && iteration.is_multiple_of(*epoch) {
                    self.epoch_length = Some(iteration / epoch);
                }
                let total = self.epochs.map_or(String::new(), |epochs| format!("/{epochs}"));
                let mut message = format!("epoch {epoch}{total}{}", self.at_iteration(*iteration));
                for (name, value) in metrics {
                    message += &format!("  {name} {}", self.apply_metric(name, *value, *iteration));
                }
                Some(message)
            }
            HistoryEvent::Saved { store, step, score, bytes, removed, .. } => {
                self.saves += 1;
                let status = self.store_mut(store);
                status.saves += 1;
                status.erases = status.erases.map(|erases| erases.saturating_add(1));
                status.bytes += u64::from(*bytes);
                status.kept.retain(|(kept, _)| Some(*kept) != *removed && kept != step);
                status.kept.push((*step, *score));
                let score = score.map_or(String::new(), |score| format!(", score {}", exact(score)));
                let removed = removed.map_or(String::new(), |removed| format!(", evicted step {removed}"));
                Some(format!("{store}: saved step {step}{score}, {}{removed}", count(*bytes as usize, "byte")))
            }
            HistoryEvent::SaveFailed { store, step, error, retrying, .. } => {
                self.failures += 1;
                let retrying = if *retrying { "; retrying" } else { "" };
                Some(format!("{store}: cannot save step {step}: {error}{retrying}"))
            }
            HistoryEvent::EvictionFailed { store, step, error, .. } => {
                self.failures += 1;
                Some(format!("{store}: cannot remove step {step}: {error}"))
            }
            HistoryEvent::LoadFailed { store, step, error } => {
                self.failures += 1;
                Some(format!("{store}: cannot load step {step}: {error}"))
            }
            HistoryEvent::Resumed { epoch, iteration, skipped } => {
                self.resumes += 1;
                self.epoch = *epoch;
                self.stop_reason = None;
                let skipped = count(*skipped as usize, "damaged checkpoint");
                Some(format!("resumed in epoch {epoch} after iteration {iteration}, skipped {skipped}"))
            }
            HistoryEvent::Stopped { reason, epoch, iteration } => {
                self.epoch = *epoch;
                self.stop_reason = Some(reason.clone());
                Some(format!("stopped: {reason}, after epoch {epoch}{}", self.at_iteration(*iteration)))
            }
            _ => None,
        }
    }

    fn apply_loss(&mut self, iteration: u32, loss: Option<f32>) -> Option<String> {
        let Some(loss) = loss else {
            let (first, count) = self.non_finite.unwrap_or((iteration, 0));
            self.non_finite = Some((first, count + 1));
            return Some(format!("iteration {iteration}: the loss is not finite"));
        };
        push_point(&mut self.losses, iteration, f64::from(loss));
        None
    }

    /// Stores a metric of an epoch. Returns the metric as text.
    fn apply_metric(&mut self, name: &str, value: Option<f64>, iteration: u32) -> String {
        let Some(value) = value else { return "not finite".to_owned() };
        if name == log::PATIENCE {
            self.patience_left = Some(value as u32);
        } else {
            push_point(points_mut(&mut self.metrics, name), iteration, value);
        }
        rounded(value)
    }

    /// Returns the iteration as a part of a message. The text is empty if the lines contain no iterations.
    fn at_iteration(&self, iteration: u32) -> String {
        if self.has_iterations { format!(" (iteration {iteration})") } else { String::new() }
    }

    fn store_mut(&mut self, name: &str) -> &mut StoreStatus {
        let index = self.stores.iter().position(|known| known.name == name).unwrap_or_else(|| {
            self.stores.push(StoreStatus { name: name.to_owned(), kept: vec![], bytes: 0, saves: 0, erases: None });
            self.stores.len() - 1
        });
        &mut self.stores[index]
    }

    /// Returns the completed and the total number of iterations. If the log contains no iterations, the two numbers are
    /// those of the epochs. Returns `None` if the total is unknown.
    pub fn progress(&self) -> Option<(u32, u32)> {
        let epochs = self.epochs?;
        let (done, total) = match self.has_iterations {
            true => (self.iteration, epochs.checked_mul(self.epoch_length?)?),
            false => (self.epoch, epochs),
        };
        Some((done.min(total), total))
    }

    /// Measures the pace of the run. The caller calls this method while no lines wait to be read.
    pub fn sample_pace(&mut self, now: Instant) {
        let done = if self.has_iterations { self.iteration } else { self.epoch };
        self.pace.sample(now, f64::from(done));
    }

    /// Returns the remaining time of the run in seconds. Before the pace is known, the time follows from the durations of
    /// the last iterations, which exclude evaluations and saves.
    pub fn remaining_seconds(&self) -> Option<f64> {
        let (done, total) = self.progress().filter(|_| self.stop_reason.is_none())?;
        let pace = self.pace.seconds_per_unit();
        let seconds = pace.or_else(|| self.iteration_seconds().filter(|_| self.has_iterations))?;
        Some(seconds * f64::from(total - done))
    }

    /// Returns the median duration of the last iterations, in seconds. The median is not affected by the few iterations
    /// that save a checkpoint and take much longer.
    pub fn iteration_seconds(&self) -> Option<f64> {
        let mut durations: Vec<f64> = self.durations.iter().copied().collect();
        durations.sort_by(f64::total_cmp);
        durations.get(durations.len() / 2).copied()
    }
}

/// Returns the points of the curve `name`. Adds the curve if it is new.
fn points_mut<'c>(curves: &'c mut Vec<(String, Points)>, name: &str) -> &'c mut Points {
    let index = curves.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
        curves.push((name.to_owned(), vec![]));
        curves.len() - 1
    });
    &mut curves[index].1
}

/// Appends an item. If there are more than `limit` items, the oldest items are removed.
fn push_limited<T>(items: &mut VecDeque<T>, item: T, limit: usize) {
    items.push_back(item);
    if items.len() > limit {
        items.pop_front();
    }
}

/// Appends a point to a curve. A resumed run repeats some iterations, so all points from this iteration on are removed
/// first.
fn push_point(points: &mut Points, iteration: u32, value: f64) {
    let iteration = f64::from(iteration);
    while points.pop_if(|(last, _)| *last >= iteration).is_some() {}
    points.push((iteration, value));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_log_with_a_resume_and_a_new_run() {
        let mut status = RunStatus::new(Path::new("-"), None, None);
        let mut apply = |lines: &[&str]| lines.iter().for_each(|line| drop(status.apply_line(line)));
        apply(&[
            "INFO  started a new run",
            "epoch 1: loss 0.5",
            "INFO  best: slots erased [4, 0, 3] times",
            "best: saved step 1, 9 bytes",
            "epoch 2: loss 0.4, patience 1",
        ]);
        // The device lost power before it saved epoch 2, so it repeats epoch 2. The horizontal positions in the charts
        // are epochs, so the iteration in the line about the resume must not become a position.
        apply(&[
            "resumed in epoch 1 after iteration 75, skipped 0 checkpoints",
            "epoch 2: loss 0.25, patience 2",
            "epoch 3: loss 0.125, patience 1",
        ]);
        assert_eq!(status.metrics, [("loss".to_owned(), vec![(1.0, 0.5), (2.0, 0.25), (3.0, 0.125)])]);
        assert_eq!((status.resumes, status.stores[0].kept.len()), (1, 1));
        assert_eq!((status.patience_left, status.stores[0].erases), (Some(1), Some(8)));
        // The flash was erased, so the device starts a new run. The messages of the previous run are kept.
        drop(status.apply_line("started a new run"));
        drop(status.apply_line("epoch 1: loss 1"));
        assert_eq!(status.metrics, [("loss".to_owned(), vec![(1.0, 1.0)])]);
        assert_eq!((status.resumes, status.stores.len(), status.messages.len()), (0, 0, 10));
        assert_eq!(status.patience_left, None);
    }

    #[test]
    fn the_remaining_time_follows_from_the_total_and_the_pace() {
        let mut status = RunStatus::new(Path::new("runs/digits/history.jsonl"), None, Some(10));
        let apply = |status: &mut RunStatus, iterations: std::ops::RangeInclusive<u32>| {
            for iteration in iterations {
                let line = format!(r#"{{"event":"iteration","iteration":{iteration},"loss":1.0,"seconds":0.5}}"#);
                status.apply_line(&line);
            }
        };
        apply(&mut status, 1..=20);
        assert_eq!((status.progress(), status.remaining_seconds()), (None, None), "the length of an epoch is unknown");
        let epoch = status.apply_line(r#"{"event":"epoch","epoch":2,"iteration":20,"metrics":{"accuracy":0.5}}"#);
        assert_eq!(epoch.as_deref(), Some("epoch 2/10 (iteration 20)  accuracy 0.5"));
        // The durations of the iterations, before the pace is known.
        assert_eq!((status.progress(), status.remaining_seconds()), (Some((20, 100)), Some(40.0)));
        let start = Instant::now();
        status.sample_pace(start);
        apply(&mut status, 21..=30);
        status.sample_pace(start + std::time::Duration::from_secs(20));
        assert_eq!(status.remaining_seconds(), Some(140.0));
        status.apply_line(r#"{"event":"stopped","reason":"EarlyStopping","epoch":3,"iteration":30}"#);
        assert_eq!(status.remaining_seconds(), None);
        // The log of a device contains epochs only.
        let mut status = RunStatus::new(Path::new("-"), None, Some(4));
        ["epoch 1: loss 0.5", "epoch 2: loss 0.5"].iter().for_each(|line| drop(status.apply_line(line)));
        assert_eq!((status.progress(), status.remaining_seconds()), (Some((2, 4)), None));
    }
}
