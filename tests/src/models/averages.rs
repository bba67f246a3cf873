//! Models of the averages that remember every value, in f64.

/// The model of a running average.
#[derive(Clone, Debug)]
pub struct RunningAverage {
    /// The weight of the old average.
    pub alpha: f32,
    /// All finite values since the last reset.
    pub values: Vec<f32>,
}

impl RunningAverage {
    /// Adds a value. A NaN or an infinity is skipped.
    pub fn update(&mut self, value: f32) {
        self.values.extend(Some(value).filter(|value| value.is_finite()));
    }

    /// The average of all values since the last reset.
    pub fn value(&self) -> Option<f64> {
        let alpha = f64::from(self.alpha);
        let values = self.values.iter().map(|value| f64::from(*value));
        values.reduce(|average, value| alpha * average + (1.0 - alpha) * value)
    }
}

/// The rule of a [`WeightAverage`].
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Rule {
    /// Ignite's `EMAHandler`: the momentum, the momentum of the first update, and the number of the update from which the
    /// first one applies.
    Exponential(f32, f32, u32),
    /// torch's `AveragedModel`.
    Equal,
}

/// The model of a weight average. It remembers the weights of the start and of each update.
#[derive(Clone, Debug)]
pub struct WeightAverage {
    /// The rule.
    pub rule: Rule,
    /// The weights of the start, if any.
    pub start: Option<Vec<f32>>,
    /// The weights of each update.
    pub updates: Vec<Vec<f32>>,
}

impl WeightAverage {
    /// Copies the weights. Returns whether they are finite.
    pub fn start(&mut self, weights: &[f32]) -> bool {
        let is_valid = weights.iter().all(|weight| weight.is_finite());
        if is_valid {
            self.start = Some(weights.to_vec());
            self.updates.clear();
        }
        is_valid
    }

    /// Adds the weights. Returns whether they are finite.
    pub fn update(&mut self, weights: &[f32]) -> bool {
        let is_valid = weights.iter().all(|weight| weight.is_finite());
        if is_valid {
            self.updates.push(weights.to_vec());
        }
        is_valid
    }

    /// The weights that have an influence on the average of the weight with this index.
    pub fn history(&self, index: usize) -> Vec<f64> {
        self.start.iter().chain(&self.updates).map(|weights| f64::from(weights[index])).collect()
    }

    /// The average of the weight with this index, or `None` before the start.
    pub fn average(&self, index: usize) -> Option<f64> {
        let history = self.history(index);
        if self.rule == Rule::Equal && !self.updates.is_empty() {
            let updates = &history[history.len() - self.updates.len()..];
            return Some(updates.iter().sum::<f64>() / updates.len() as f64);
        }
        let first_update = history.len() - self.updates.len();
        let averages = history.iter().copied().enumerate();
        let last = averages.reduce(|(_, average), (place, weight)| {
            let update = place + 1 - first_update;
            let momentum = self.momentum(update as u32);
            (place, average + momentum * (weight - average))
        });
        last.map(|(_, average)| average)
    }

    /// The weight of the new value in the update with this number, from 1.
    pub fn momentum(&self, update: u32) -> f64 {
        match self.rule {
            Rule::Equal => 1.0 / f64::from(update.max(1)),
            Rule::Exponential(momentum, first, iterations) => {
                let (momentum, first) = (f64::from(momentum), f64::from(first));
                let steps = (f64::from(iterations) - 1.0).max(1.0);
                let progress = (f64::from(update.max(1)) - 1.0) / steps;
                first + (momentum - first) * progress.min(1.0)
            }
        }
    }
}
