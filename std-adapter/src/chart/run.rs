//! The data that a chart shows, collected from the history of a run.

use super::checkpoints::{Lane, Save};
use super::text::metric_title;
use crate::history::{HistoryEvent, ProfiledPart, split_runs};
use std::collections::BTreeMap;

/// Values of larger magnitude are drawn as this one, so that the extent of an axis is finite.
const MAX_VALUE: f64 = 1e300;

/// The data of one training run. Iteration numbers are stored as `f64`, because the chart uses them as x-coordinates.
#[derive(Default, Debug)]
pub(super) struct Run {
    pub losses: Series,
    /// The duration of each iteration in seconds. Iterations without a recorded duration are left out.
    pub durations: Series,
    /// The metrics and the scalars, in the order of their first appearance.
    pub metrics: Vec<Series>,
    /// One lane (a row of the chart that shows the saves) for each checkpoint handler.
    pub lanes: Vec<Lane>,
    /// The iterations from which the run resumed.
    pub resumes: Vec<f64>,
    pub stop: Option<Stop>,
    /// The highest recorded iteration.
    pub iterations: u32,
    /// The highest recorded epoch.
    pub epochs: u32,
    /// The last iteration of each recorded epoch.
    pub epoch_ends: BTreeMap<u32, u32>,
    /// The parts of the last profile.
    pub profile: Vec<ProfiledPart>,
}

/// The values of one quantity. The points are pairs of an iteration and a finite value.
#[derive(Default, Debug)]
pub(super) struct Series {
    /// The name in the history.
    pub name: String,
    /// `true` if the values belong to iterations, `false` if they belong to epochs.
    pub is_scalar: bool,
    pub points: Vec<(f64, f64)>,
    /// The iterations at which the value was NaN or infinite.
    pub non_finite: Vec<f64>,
}

/// The end of the run, which the chart marks with a vertical line.
#[derive(Debug)]
pub(super) struct Stop {
    pub reason: String,
    pub iteration: f64,
}

impl Series {
    fn push(&mut self, iteration: u32, value: Option<f64>) {
        let iteration = f64::from(iteration);
        match value.filter(|value| value.is_finite()) {
            Some(value) => self.points.push((iteration, value.clamp(-MAX_VALUE, MAX_VALUE))),
            None => self.non_finite.push(iteration),
        }
    }
}

impl Run {
    /// Collects the data of the last run in `events`.
    pub fn new(events: &[HistoryEvent]) -> Run {
        let mut run = Run::default();
        for event in split_runs(events).pop().unwrap_or_default() {
            run.iterations = run.iterations.max(event.iteration().unwrap_or(0));
            run.add(event);
        }
        // The metrics of the epochs come first. A program can record a name for iterations and for epochs; both values of
        // an iteration are then the same.
        run.metrics.sort_by_key(|series| series.is_scalar);
        for series in &mut run.metrics {
            series.points.sort_by(|a, b| a.0.total_cmp(&b.0));
            series.points.dedup_by_key(|(iteration, _)| *iteration);
        }
        run
    }

    fn add(&mut self, event: &HistoryEvent) {
        match event {
            HistoryEvent::Iteration { iteration, loss, seconds } => {
                self.losses.push(*iteration, loss.map(f64::from));
                if seconds.is_some_and(f64::is_finite) {
                    self.durations.push(*iteration, *seconds);
                }
            }
            HistoryEvent::Scalars { iteration, values } => {
                for (name, value) in values {
                    let series = self.metric(name);
                    series.is_scalar = true;
                    series.push(*iteration, *value);
                }
            }
            HistoryEvent::Epoch { epoch, iteration, metrics } => {
                self.epochs = self.epochs.max(*epoch);
                self.epoch_ends.insert(*epoch, *iteration);
                metrics.iter().for_each(|(name, value)| self.metric(name).push(*iteration, *value));
            }
            HistoryEvent::Saved { store, step, iteration, score, removed, .. } => {
                let score = score.map(f64::from).filter(|score| score.is_finite());
                self.lane(store).add(*step, f64::from(*iteration), score, *removed);
            }
            HistoryEvent::SaveFailed { store, iteration, error, .. } => {
                self.lane(store).failures.push((f64::from(*iteration), error.clone()));
            }
            HistoryEvent::Resumed { iteration, .. } => {
                self.resumes.push(f64::from(*iteration));
                self.stop = None;
            }
            HistoryEvent::Profile { parts, .. } => self.profile.clone_from(parts),
            HistoryEvent::Stopped { reason, epoch, iteration } => {
                self.epochs = self.epochs.max(*epoch);
                self.stop = Some(Stop { reason: reason.clone(), iteration: f64::from(*iteration) });
            }
            _ => (),
        }
    }

    /// Returns the values of the metric `name`. Adds the metric if it is new.
    fn metric(&mut self, name: &str) -> &mut Series {
        let index = self.metrics.iter().position(|series| series.name == name).unwrap_or_else(|| {
            self.metrics.push(Series { name: name.to_owned(), ..Series::default() });
            self.metrics.len() - 1
        });
        &mut self.metrics[index]
    }

    /// Returns the lane (a row of the chart) of the checkpoint handler `name`. Adds a lane if there is none.
    fn lane(&mut self, name: &str) -> &mut Lane {
        let index = self.lanes.iter().position(|lane| lane.name == name).unwrap_or_else(|| {
            self.lanes.push(Lane::new(name));
            self.lanes.len() - 1
        });
        &mut self.lanes[index]
    }

    /// Returns the checkpoint with the highest score. Also returns the title of the metric that is the score of this
    /// checkpoint, if the history contains this metric.
    pub fn best(&self) -> Option<(&Save, Option<String>)> {
        let lanes = self.lanes.iter().filter_map(Lane::best);
        let best = lanes.reduce(|best, save| if save.score > best.score { save } else { best })?;
        let score = best.score?;
        let is_score = |(iteration, value): &(f64, f64)| {
            *iteration == best.iteration && (value.abs() - score.abs()).abs() <= 1e-5 * score.abs()
        };
        let metric = self.metrics.iter().find(|series| series.points.iter().any(is_score));
        Some((best, metric.map(|series| metric_title(&series.name))))
    }
}
