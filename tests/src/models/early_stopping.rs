//! Early stopping, with all scores remembered. Rules: Ignite 0.5.5; a NaN is no improvement.

/// The model. Computes in f64 and rounds to f32 where a device would have to.
#[derive(Clone, Debug, Default)]
pub struct EarlyStopping {
    /// So many in a row stop the run.
    pub patience: u32,
    /// How far beyond the best a score must be.
    pub threshold: f32,
    /// Whether the threshold is a share of the best.
    pub relative: bool,
    /// Whether lower is better.
    pub lower: bool,
    /// Whether small gains add up.
    pub cumulative: bool,
    /// For each score since the last reset: whether it was an improvement.
    pub improved: Vec<bool>,
    /// What the next score is held against.
    pub best: Option<f64>,
}

impl EarlyStopping {
    /// Takes a score; whether the run should stop.
    pub fn update(&mut self, score: f32) -> bool {
        let score = f64::from(score);
        let better = |score: f64, than: f64| if self.lower { score < than } else { score > than };
        let improved = !score.is_nan() && self.best.is_none_or(|best| better(score, self.bar(best)));
        let creeps = !self.cumulative && self.best.is_some_and(|best| better(score, best));
        if improved || creeps {
            self.best = Some(score);
        }
        self.improved.push(improved);
        !improved && self.counter() >= self.patience as usize
    }

    /// What a score has to be beyond.
    fn bar(&self, best: f64) -> f64 {
        let round = |value: f64| f64::from(value as f32);
        let sign = if self.lower { -1.0 } else { 1.0 };
        let margin = sign * f64::from(self.threshold);
        if self.relative { round(best * round(1.0 + margin)) } else { round(best + margin) }
    }

    /// How many at the end were no improvement.
    pub fn counter(&self) -> usize {
        self.improved.iter().rev().take_while(|improved| !**improved).count()
    }

    /// Forgets all scores.
    pub fn reset(&mut self) {
        self.improved.clear();
        self.best = None;
    }
}
