//! The data that a chart shows, collected from the history of a run.

use crate::history::HistoryEvent;

/// The data of one training run. Iteration numbers are stored as `f64`, because the chart uses them as x-coordinates.
#[derive(Default, Debug)]
pub(super) struct Run {
    /// The iteration number and the loss of each iteration. Iterations with a NaN or infinite loss are left out.
    pub losses: Vec<(f64, f64)>,
    /// The iteration number and the duration in seconds of each iteration. Iterations without a recorded duration are
    /// left out.
    pub durations: Vec<(f64, f64)>,
    /// The metrics, in the order of their first appearance. Each element consists of the name of a metric and a list of
    /// its values. Each value is stored with its iteration number.
    pub metrics: Vec<(String, Vec<(f64, f64)>)>,
    /// One lane (a row of the chart that shows the saves) for each checkpoint handler.
    pub lanes: Vec<Lane>,
    /// The iterations from which the run resumed.
    pub resumes: Vec<f64>,
    pub stop: Option<Stop>,
    /// The highest recorded iteration.
    pub iterations: u32,
    /// The highest recorded epoch.
    pub epochs: u32,
}

/// The saves of one checkpoint handler.
#[derive(Debug)]
pub(super) struct Lane {
    /// The name of the checkpoint handler.
    pub name: String,
    pub saves: Vec<Save>,
    /// The iterations at which a save failed.
    pub failures: Vec<f64>,
}

/// A saved checkpoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct Save {
    pub step: u32,
    pub iteration: f64,
    pub score: Option<f32>,
    /// `true` if the checkpoint still exists at the end of the history.
    pub is_kept: bool,
}

/// The end of the run, which the chart marks with a vertical line.
#[derive(Debug)]
pub(super) struct Stop {
    pub reason: String,
    pub iteration: f64,
}

impl Lane {
    /// The kept checkpoint with the highest score.
    pub fn best(&self) -> Option<&Save> {
        let scored = self.saves.iter().filter(|save| save.is_kept && save.score.is_some());
        // If several checkpoints have the same score, the first one is the best. The checkpoint handler uses the same
        // rule.
        scored.reduce(|best, save| if save.score > best.score { save } else { best })
    }
}

impl Run {
    pub fn new(events: &[HistoryEvent]) -> Run {
        let mut run = Run::default();
        for event in events {
            run.iterations = run.iterations.max(event.iteration().unwrap_or(0));
            run.add(event);
        }
        run
    }

    fn add(&mut self, event: &HistoryEvent) {
        match event {
            HistoryEvent::Iteration { iteration, loss, seconds } => {
                let seconds = seconds.filter(|seconds| seconds.is_finite());
                self.durations.extend(seconds.map(|seconds| (f64::from(*iteration), seconds)));
                let finite = loss.filter(|loss| loss.is_finite());
                self.losses.extend(finite.map(|loss| (f64::from(*iteration), f64::from(loss))));
            }
            HistoryEvent::Epoch { epoch, iteration, metrics } => {
                self.epochs = self.epochs.max(*epoch);
                for (name, value) in metrics {
                    if let Some(value) = value.filter(|value| value.is_finite()) {
                        self.metric(name).push((f64::from(*iteration), value));
                    }
                }
            }
            HistoryEvent::Saved { store, step, iteration, score, removed, .. } => {
                let saves = &mut self.lane(store).saves;
                // A resumed run can save a checkpoint with the same step number again. In this case, the evicted
                // (removed) checkpoint is the newest one with this step number.
                if let Some(evicted) = saves.iter_mut().rev().find(|save| Some(save.step) == *removed) {
                    evicted.is_kept = false;
                }
                saves.iter_mut().filter(|save| save.step == *step).for_each(|save| save.is_kept = false);
                saves.push(Save { step: *step, iteration: f64::from(*iteration), score: *score, is_kept: true });
            }
            HistoryEvent::SaveFailed { store, iteration, .. } => self.lane(store).failures.push(f64::from(*iteration)),
            HistoryEvent::Resumed { iteration, .. } => {
                self.resumes.push(f64::from(*iteration));
                self.stop = None;
            }
            HistoryEvent::Stopped { reason, epoch, iteration } => {
                self.epochs = self.epochs.max(*epoch);
                self.stop = Some(Stop { reason: reason.clone(), iteration: f64::from(*iteration) });
            }
            _ => (),
        }
    }

    /// Returns the values of the metric `name`. Adds the metric if it is new.
    fn metric(&mut self, name: &str) -> &mut Vec<(f64, f64)> {
        let index = self.metrics.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
            self.metrics.push((name.to_owned(), Vec::new()));
            self.metrics.len() - 1
        });
        &mut self.metrics[index].1
    }

    /// Returns the lane (a row of the chart) of the checkpoint handler `name`. Adds a lane if there is none.
    fn lane(&mut self, name: &str) -> &mut Lane {
        let index = self.lanes.iter().position(|lane| lane.name == name).unwrap_or_else(|| {
            self.lanes.push(Lane { name: name.to_owned(), saves: Vec::new(), failures: Vec::new() });
            self.lanes.len() - 1
        });
        &mut self.lanes[index]
    }

    /// Returns the checkpoint with the highest score. Also returns the name of the metric that is the score of this
    /// checkpoint, if the history contains this metric.
    pub fn best(&self) -> Option<(&Save, Option<&str>)> {
        let lanes = self.lanes.iter().filter_map(Lane::best);
        let best = lanes.reduce(|best, save| if save.score > best.score { save } else { best })?;
        let score = f64::from(best.score?);
        let is_score = |(iteration, value): &(f64, f64)| {
            *iteration == best.iteration && (value.abs() - score.abs()).abs() <= 1e-5 * score.abs()
        };
        let metric = self.metrics.iter().find(|(_, values)| values.iter().any(is_score));
        Some((best, metric.map(|(name, _)| name.as_str())))
    }
}
