//! A model of early stopping that remembers every score since the last reset. It follows Ignite 0.5.5, except that a
//! NaN is never an improvement.

/// The model of early stopping: a second, simple implementation for the tests. It computes in f64 and rounds to f32
/// where a device computes in f32.
#[derive(Clone, Debug, Default)]
pub struct EarlyStopping {
    /// The run stops after this number of consecutive scores without an improvement.
    pub patience: u32,
    /// The minimum difference between an improvement and the best score.
    pub threshold: f32,
    /// Whether the threshold is relative to the best score.
    pub relative: bool,
    /// Whether a lower score is better.
    pub lower: bool,
    /// Whether small gains add up until they exceed the threshold.
    pub cumulative: bool,
    /// For each score since the last reset, whether it was an improvement.
    pub improved: Vec<bool>,
    /// The score that the next score is compared with.
    pub best: Option<f64>,
}

impl EarlyStopping {
    /// Adds a score. Returns whether the run should stop.
    pub fn update(&mut self, score: f32) -> bool {
        let score = f64::from(score);
        let is_better = |score: f64, other: f64| if self.lower { score < other } else { score > other };
        let is_improvement = !score.is_nan() && self.best.is_none_or(|best| is_better(score, self.limit(best)));
        // Without `cumulative`, a gain below the threshold is no improvement, but still sets a new best score.
        let is_small_gain = !self.cumulative && self.best.is_some_and(|best| is_better(score, best));
        if is_improvement || is_small_gain {
            self.best = Some(score);
        }
        self.improved.push(is_improvement);
        !is_improvement && self.counter() >= self.patience as usize
    }

    /// The limit that a score must exceed to be an improvement over `best`.
    fn limit(&self, best: f64) -> f64 {
        let round = |value: f64| f64::from(value as f32);
        let sign = if self.lower { -1.0 } else { 1.0 };
        let margin = sign * f64::from(self.threshold);
        if self.relative { round(best * round(1.0 + margin)) } else { round(best + margin) }
    }

    /// The number of scores since the last improvement.
    pub fn counter(&self) -> usize {
        self.improved.iter().rev().take_while(|improved| !**improved).count()
    }

    /// Removes all scores.
    pub fn reset(&mut self) {
        self.improved.clear();
        self.best = None;
    }
}
