//! The clock and the history of a run.

use super::observer::{EpochReport, IterationReport};
use super::run::SMOOTHING;
use crate::monitored::Series;
use crate::train::Metrics;
use std::cell::{Cell, RefCell};
use std::error::Error;
use std::path::{Path, PathBuf};
use training_monitor::engine::Resumed;
use training_monitor::event::Counters;
use training_monitor::handlers::model_checkpoint::{CheckpointEvent, CheckpointObserver};
use training_monitor::handlers::profiler::TickStatistics;
use training_monitor::time::Clock;
use training_monitor::{Outcome, RunningAverage, StopReason};
use training_monitor_std::directory::DirectoryError;
use training_monitor_std::history::{HistoryError, HistoryEvent, HistoryObserver, split_runs};
use training_monitor_std::{History, StdClock, chart};

/// The name of the history in the output directory.
pub const FILE: &str = "history.jsonl";
/// The rate of the clock of the profile.
const PROFILE_HERTZ: u32 = 1_000_000;
/// The names of the values in the history.
const VAL_LOSS: &str = "val_loss";
const ACCURACY: &str = "accuracy";
const LEARNING_RATE: &str = "learning_rate";
const GRADIENT_NORM: &str = "gradient_norm";

/// Reads the clock of a run and writes the history.
pub(super) struct Recorder {
    history: History,
    best: RefCell<HistoryObserver>,
    latest: RefCell<HistoryObserver>,
    clock: Cell<StdClock>,
    /// Time at which the current step started, in ticks of the clock.
    step_start: Cell<u64>,
}

impl Recorder {
    /// Creates a recorder that writes to `history`.
    pub fn new(history: &History) -> Self {
        Recorder {
            best: RefCell::new(history.observer("best")),
            latest: RefCell::new(history.observer("latest")),
            history: history.clone(),
            clock: Cell::new(StdClock::new()),
            step_start: Cell::new(0),
        }
    }

    /// Reads the clock, in nanoseconds.
    pub fn now(&self) -> u64 {
        let mut clock = self.clock.get();
        clock.now()
    }

    /// Reads the clock, in microseconds.
    pub fn microseconds(&self) -> u64 {
        self.now() / u64::from(StdClock::HERTZ / PROFILE_HERTZ)
    }

    /// Records the start of the run.
    ///
    /// # Errors
    /// Returns an error if the file cannot be rewritten.
    pub fn record_start(&self, resumed: Option<Resumed>) -> Result<(), HistoryError> {
        self.history.record_resume(resumed)
    }

    /// A training step starts. The time before it, for example of an evaluation or a save, does not belong to the step.
    pub fn start_step(&self) {
        self.step_start.set(self.now());
    }

    /// Records a training step and its duration.
    pub fn record_step(&self, counters: &Counters, report: &IterationReport) {
        let seconds = StdClock::seconds(self.now().saturating_sub(self.step_start.get()));
        self.history.record_iteration(counters.iteration, report.loss, Some(seconds));
        let mut scalars = vec![(LEARNING_RATE, f64::from(report.learning_rate))];
        scalars.extend(report.gradient_norm.map(|norm| (GRADIENT_NORM, f64::from(norm))));
        self.history.record_scalars(counters.iteration, &scalars);
    }

    /// Records an epoch, and writes all buffered lines.
    pub fn record_epoch(&self, report: &EpochReport) {
        let Metrics { loss, accuracy } = report.validation;
        self.history.record_epoch(report.epoch, &[(VAL_LOSS, f64::from(loss)), (ACCURACY, f64::from(accuracy))]);
    }

    /// Records the durations of those parts of the run that occurred.
    pub fn record_profile(&self, parts: &[(&str, &TickStatistics)]) {
        let occurred: Vec<_> = parts.iter().copied().filter(|(_, statistics)| statistics.count() > 0).collect();
        if !occurred.is_empty() {
            self.history.record_profile(PROFILE_HERTZ, &occurred);
        }
    }

    /// Records an event of a checkpoint handler. Returns a warning unless it is a successful save.
    pub fn record_checkpoint(&self, series: Series, event: &CheckpointEvent<'_, DirectoryError>) -> Option<String> {
        let (name, observer) = match series {
            Series::Best => ("best", &self.best),
            Series::Latest => ("latest", &self.latest),
        };
        observer.borrow_mut().on_checkpoint_event(event);
        (!matches!(event, CheckpointEvent::Saved { .. })).then(|| format!("{name}: {event}"))
    }
}

/// Records the end of the run and draws the chart. Returns the path of the chart.
///
/// # Errors
/// Returns an error if the history or the chart cannot be written.
pub fn finish(history: &History, directory: &Path, outcome: &Outcome) -> Result<PathBuf, Box<dyn Error>> {
    // A run that was interrupted is not over, so its history has no end.
    if outcome.reason != StopReason::Interrupted {
        history.record_stop(outcome);
    }
    history.flush()?;
    let chart = directory.join("run.svg");
    chart::write(directory.join(FILE), &chart, "Handwritten digits")?;
    Ok(chart)
}

/// Reads the reports of all completed epochs of the last run in a history. The smoothed loss is computed again from the
/// losses of the steps, with the same bits.
///
/// # Errors
/// Returns an error if the file cannot be read.
pub fn read_epochs(history: &Path) -> Result<Vec<EpochReport>, Box<dyn Error>> {
    let events = History::read(history)?;
    let mut average = RunningAverage::new(SMOOTHING)?;
    let (mut smoothed_loss, mut learning_rate, mut gradient_norm) = (f32::NAN, f32::NAN, None);
    let mut reports = Vec::new();
    let find = |values: &[(String, Option<f64>)], name: &str| {
        let value = values.iter().find(|(candidate, _)| candidate == name);
        value.map(|(_, value)| value.map_or(f32::NAN, |value| value as f32))
    };
    for event in split_runs(&events).pop().unwrap_or_default() {
        match event {
            HistoryEvent::Iteration { loss, .. } => smoothed_loss = average.update(loss.unwrap_or(f32::NAN)),
            HistoryEvent::Scalars { values, .. } => {
                learning_rate = find(values, LEARNING_RATE).unwrap_or(f32::NAN);
                gradient_norm = find(values, GRADIENT_NORM);
            }
            HistoryEvent::Epoch { epoch, metrics, .. } => {
                let [loss, accuracy] = [VAL_LOSS, ACCURACY].map(|name| find(metrics, name).unwrap_or(f32::NAN));
                let validation = Metrics { loss, accuracy };
                reports.push(EpochReport { epoch: *epoch, smoothed_loss, validation, learning_rate, gradient_norm });
            }
            _ => (),
        }
    }
    Ok(reports)
}
