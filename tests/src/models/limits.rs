//! Models of the limits: of the training time, of the time between two events, of a score, and of a gradient.

use training_monitor::StopReason;

/// The model of a time that is added up from intervals.
#[derive(Clone, Debug, Default)]
pub struct Elapsed {
    /// The lengths of the completed intervals.
    pub intervals: Vec<u64>,
    /// The start of the current interval, if the time counts.
    pub since: Option<u64>,
}

impl Elapsed {
    /// Starts anew at the tick `now`.
    pub fn start(&mut self, now: u64) {
        *self = Elapsed { intervals: Vec::new(), since: Some(now) };
    }

    /// Completes the interval, if any, and starts the next one at the tick `now`. A clock that runs backwards adds
    /// nothing.
    pub fn check(&mut self, now: u64) {
        let interval = self.since.map(|since| now.saturating_sub(since));
        self.intervals.extend(interval);
        self.since = Some(now);
    }

    /// The elapsed time. It stops at the largest number.
    pub fn total(&self) -> u64 {
        let total: u128 = self.intervals.iter().map(|interval| u128::from(*interval)).sum();
        u64::try_from(total).unwrap_or(u64::MAX)
    }
}

/// The model of the score limits.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the fields have the names of the library's settings")]
pub struct ScoreLimits {
    pub lower: bool,
    pub check_finite: bool,
    pub target: Option<f32>,
    pub divergence_limit: Option<f32>,
}

impl ScoreLimits {
    /// Returns the reason for which the score stops the run.
    pub fn update(&self, score: f32) -> Option<StopReason> {
        // In both modes, a higher number is now better.
        let upwards = |score: f32| if self.lower { -f64::from(score) } else { f64::from(score) };
        let score_is_finite = score.is_finite();
        let score = upwards(score);
        [
            (self.check_finite && !score_is_finite, StopReason::NonFinite),
            (self.target.is_some_and(|target| score > upwards(target)), StopReason::TargetReached),
            (self.divergence_limit.is_some_and(|limit| score < upwards(limit)), StopReason::Diverged),
        ]
        .into_iter()
        .find_map(|(applies, reason)| applies.then_some(reason))
    }
}

/// Returns the norm of a gradient, in f64: NaN if an element is NaN, and otherwise infinity if one is infinite.
pub fn norm(elements: &[f32]) -> f64 {
    elements.iter().map(|element| f64::from(*element).powi(2)).sum::<f64>().sqrt()
}

/// Returns the largest magnitude of a gradient, in f64: NaN if an element is NaN.
pub fn largest(elements: &[f32]) -> f64 {
    let magnitudes = elements.iter().map(|element| f64::from(*element).abs());
    magnitudes.fold(
        0.0,
        |largest: f64, magnitude| {
            if largest.is_nan() || magnitude.is_nan() { f64::NAN } else { largest.max(magnitude) }
        },
    )
}

/// Returns the factor of torch's `clip_grad_norm_`.
pub fn factor(limit: f32, norm: f64) -> f64 {
    (f64::from(limit) / (norm + 1e-6)).min(1.0)
}
