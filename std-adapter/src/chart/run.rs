//! What a chart shows of a run, gathered from its history.

use crate::history::Entry;

/// A run.
#[derive(Default, Debug)]
pub(super) struct Run {
    /// Iteration and loss, where it is finite.
    pub losses: Vec<(f64, f64)>,
    /// Iteration and how long it took.
    pub seconds: Vec<(f64, f64)>,
    /// Each metric, in the order in which they first came.
    pub metrics: Vec<(String, Vec<(f64, f64)>)>,
    pub stores: Vec<Lane>,
    pub resumes: Vec<f64>,
    pub stop: Option<Stop>,
    pub iterations: u32,
    pub epochs: u32,
}

/// What one checkpoint handler did.
#[derive(Debug)]
pub(super) struct Lane {
    pub name: String,
    pub saves: Vec<Save>,
    /// Where a save failed.
    pub failures: Vec<f64>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Save {
    pub step: u32,
    pub at: f64,
    pub score: Option<f32>,
    pub kept: bool,
}

#[derive(Debug)]
pub(super) struct Stop {
    pub reason: String,
    pub at: f64,
}

impl Lane {
    /// The kept one with the highest score.
    pub fn best(&self) -> Option<&Save> {
        let scored = self.saves.iter().filter(|save| save.kept && save.score.is_some());
        // Of equal ones the first: a later one would not have taken its place.
        scored.reduce(|best, save| if save.score > best.score { save } else { best })
    }
}

impl Run {
    pub fn new(entries: &[Entry]) -> Run {
        let mut run = Run::default();
        for entry in entries {
            run.iterations = run.iterations.max(entry.iteration().unwrap_or(0));
            run.add(entry);
        }
        run
    }

    fn add(&mut self, entry: &Entry) {
        match entry {
            Entry::Iteration { iteration, loss, seconds } => {
                let seconds = seconds.filter(|seconds| seconds.is_finite());
                self.seconds.extend(seconds.map(|seconds| (f64::from(*iteration), seconds)));
                let finite = loss.filter(|loss| loss.is_finite());
                self.losses.extend(finite.map(|loss| (f64::from(*iteration), f64::from(loss))));
            }
            Entry::Epoch { epoch, iteration, metrics } => {
                self.epochs = self.epochs.max(*epoch);
                for (name, value) in metrics {
                    if let Some(value) = value.filter(|value| value.is_finite()) {
                        self.metric(name).push((f64::from(*iteration), value));
                    }
                }
            }
            Entry::Saved { store, step, iteration, score, removed, .. } => {
                let saves = &mut self.lane(store).saves;
                // The newest of that number; a run that went on may have had the number before.
                if let Some(gone) = saves.iter_mut().rev().find(|save| Some(save.step) == *removed) {
                    gone.kept = false;
                }
                saves.iter_mut().filter(|save| save.step == *step).for_each(|save| save.kept = false);
                saves.push(Save { step: *step, at: f64::from(*iteration), score: *score, kept: true });
            }
            Entry::SaveFailed { store, iteration, .. } => self.lane(store).failures.push(f64::from(*iteration)),
            Entry::Resumed { iteration, .. } => {
                self.resumes.push(f64::from(*iteration));
                self.stop = None;
            }
            Entry::Stopped { reason, epoch, iteration } => {
                self.epochs = self.epochs.max(*epoch);
                self.stop = Some(Stop { reason: reason.clone(), at: f64::from(*iteration) });
            }
            _ => (),
        }
    }

    fn metric(&mut self, name: &str) -> &mut Vec<(f64, f64)> {
        let index = self.metrics.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
            self.metrics.push((name.to_owned(), Vec::new()));
            self.metrics.len() - 1
        });
        &mut self.metrics[index].1
    }

    fn lane(&mut self, name: &str) -> &mut Lane {
        let index = self.stores.iter().position(|lane| lane.name == name).unwrap_or_else(|| {
            self.stores.push(Lane { name: name.to_owned(), saves: Vec::new(), failures: Vec::new() });
            self.stores.len() - 1
        });
        &mut self.stores[index]
    }

    /// The best checkpoint of the run, and what its score is called if a metric had that value then.
    pub fn best(&self) -> Option<(&Save, Option<&str>)> {
        let lanes = self.stores.iter().filter_map(Lane::best);
        let best = lanes.reduce(|best, save| if save.score > best.score { save } else { best })?;
        let score = f64::from(best.score?);
        let same = |at: f64, value: f64| at == best.at && (value.abs() - score.abs()).abs() <= 1e-5 * score.abs();
        let metric = self.metrics.iter().find(|(_, values)| values.iter().any(|(at, value)| same(*at, *value)));
        Some((best, metric.map(|(name, _)| name.as_str())))
    }
}

/// Exponentially smoothed, without the pull towards the first value: each is the weighted mean of all before it.
pub(super) fn smoothed(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    // A fortieth of the run, but never less than three points.
    let keep = 1.0 - 1.0 / (points.len() as f64 / 40.0).max(3.0);
    let (mut sum, mut weight) = (0.0, 0.0);
    let smooth = |(at, value): &(f64, f64)| {
        sum = keep * sum + value;
        weight = keep * weight + 1.0;
        (*at, sum / weight)
    };
    points.iter().map(smooth).collect()
}
