//! A model of `SpikeGuard` that remembers every value of the mean, in f64.

/// The decision of the model about a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the variants have the names of the library's verdicts")]
pub enum Verdict {
    Normal,
    Spike,
    NonFinite,
    /// The value is so close to a tolerance that the rounding of f32 decides between `Normal` and `Spike`.
    Close,
}

/// The model of a spike guard: a second, simple implementation for the tests.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the fields have the names of the library's settings")]
pub struct SpikeGuard {
    pub lower: bool,
    pub window: u32,
    pub warmup: u32,
    pub absolute_tolerance: f32,
    pub relative_tolerance: f32,
    /// All values of the mean since the last reset.
    pub values: Vec<f32>,
}

impl SpikeGuard {
    /// The mean: that of the first `window` values, which each further value changes by the share 2 / (`window` + 1).
    pub fn mean(&self) -> Option<f64> {
        let values: Vec<f64> = self.values.iter().map(|value| f64::from(*value)).collect();
        let (first, rest) = values.split_at(values.len().min(self.window as usize));
        let share = 2.0 / (f64::from(self.window) + 1.0);
        let first = (!first.is_empty()).then(|| first.iter().sum::<f64>() / first.len() as f64)?;
        Some(rest.iter().fold(first, |mean, value| (1.0 - share) * mean + share * value))
    }

    /// Decides about a value. `error` is the largest rounding error of the library's mean.
    pub fn verdict(&self, value: f32, error: f64) -> Verdict {
        if !value.is_finite() {
            return Verdict::NonFinite;
        }
        let (Some(mean), Some(last)) = (self.mean(), self.values.last()) else { return Verdict::Normal };
        if self.values.len() < self.warmup as usize {
            return Verdict::Normal;
        }
        // In both modes, a higher number is now worse.
        let upwards = |value: f64| if self.lower { value } else { -value };
        if upwards(value.into()) <= upwards(f64::from(*last)) {
            return Verdict::Normal;
        }
        let distance = upwards(f64::from(value)) - upwards(mean);
        if distance > f64::from(f32::MAX) * (1.0 + 1e-6) {
            return Verdict::Spike;
        }
        let relative = f64::from(self.relative_tolerance) * mean.abs();
        let limits =
            [(f64::from(self.absolute_tolerance), 0.0), (relative, f64::from(self.relative_tolerance) * error)];
        let margins = limits.map(|(limit, limit_error)| {
            let rounding = rounding(distance, error) + rounding(limit, limit_error) + error + limit_error;
            (distance - limit, rounding)
        });
        if margins.iter().all(|(margin, rounding)| margin >= rounding) {
            Verdict::Spike
        } else if margins.iter().any(|(margin, rounding)| *margin < -rounding) {
            Verdict::Normal
        } else {
            Verdict::Close
        }
    }
}

/// Returns how much the rounding to f32 can change a number with this error. It is 0 for an exact number that f32 can
/// represent. A number close to `f32::MAX` can become an infinity.
fn rounding(number: f64, error: f64) -> f64 {
    let is_near_max = (number.abs() / f64::from(f32::MAX) - 1.0).abs() < 1e-6;
    match () {
        () if is_near_max => f64::INFINITY,
        () if error == 0.0 && f64::from(number as f32) == number => 0.0,
        () => number.abs() * 1.2e-7 + 1.5e-45,
    }
}
