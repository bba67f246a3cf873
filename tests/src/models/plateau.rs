//! A model of `ReduceOnPlateau` that remembers every metric. It follows torch's `ReduceLROnPlateau`.

/// The model of a value that is reduced on a plateau: a second, simple implementation for the tests. It computes in f64
/// and rounds to f32 where a device computes in f32.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the fields are the parameters and attributes of torch's scheduler")]
pub struct Plateau {
    pub initial: f32,
    pub lower: bool,
    pub factor: f32,
    pub patience: u32,
    pub threshold: f32,
    pub relative: bool,
    pub cooldown: u32,
    pub min_value: f32,
    pub eps: f32,
    /// All metrics since the last reset.
    pub metrics: Vec<f32>,
}

/// The state after some metrics.
#[derive(Clone, Copy, PartialEq, Debug)]
#[allow(missing_docs, reason = "the fields are the attributes of torch's scheduler")]
pub struct Progress {
    pub value: f64,
    pub best: Option<f64>,
    pub num_bad_epochs: u64,
    pub cooldown_counter: u32,
}

fn round(value: f64) -> f64 {
    f64::from(value as f32)
}

impl Plateau {
    /// Applies torch's rule to all metrics since the last reset.
    pub fn progress(&self) -> Progress {
        let start = Progress { value: f64::from(self.initial), best: None, num_bad_epochs: 0, cooldown_counter: 0 };
        self.metrics.iter().fold(start, |progress, metric| self.step(progress, f64::from(*metric)))
    }

    fn step(&self, mut progress: Progress, metric: f64) -> Progress {
        let worst = if self.lower { f64::INFINITY } else { f64::NEG_INFINITY };
        if self.is_better(metric, progress.best.unwrap_or(worst)) {
            progress.best = Some(metric);
            progress.num_bad_epochs = 0;
        } else {
            progress.num_bad_epochs += 1;
        }
        if progress.cooldown_counter > 0 {
            progress.cooldown_counter -= 1;
            progress.num_bad_epochs = 0;
        }
        if progress.num_bad_epochs > u64::from(self.patience) {
            let product = round(progress.value * f64::from(self.factor));
            let reduced = product.max(f64::from(self.min_value));
            if round(progress.value - reduced) > f64::from(self.eps) {
                progress.value = reduced;
            }
            progress.cooldown_counter = self.cooldown;
            progress.num_bad_epochs = 0;
        }
        progress
    }

    fn is_better(&self, metric: f64, best: f64) -> bool {
        let sign = if self.lower { -1.0 } else { 1.0 };
        let margin = sign * f64::from(self.threshold);
        // Without a best metric, every number is better than the infinity, for any threshold.
        let limit = match (best.is_infinite(), self.relative) {
            (true, _) if best == -sign * f64::INFINITY => best,
            (_, true) => round(best * round(1.0 + margin)),
            (_, false) => round(best + margin),
        };
        if self.lower { metric < limit } else { metric > limit }
    }
}
