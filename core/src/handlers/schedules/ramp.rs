//! Schedules that move to a final value in a given number of steps.

use super::Schedule;
use super::math::{at_least_one, factor, finite, interpolate, limit, progress};
use crate::config::ConfigError;

/// Moves the value on a straight line from `base · start_factor` to `base · end_factor`, as torch's `LinearLR` does. From
/// step `total_iters`, the final value holds.
///
/// ```
/// use training_monitor::{Schedule, handlers::schedules::Linear};
///
/// let schedule = Linear::new(2.0, 0.5, 1.0, 4)?;
/// assert_eq!([0, 2, 4, u32::MAX].map(|step| schedule.value(step)), [1.0, 1.5, 2.0, 2.0]);
/// # Ok::<(), training_monitor::ConfigError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Linear {
    base: f32,
    start_factor: f32,
    end_factor: f32,
    total_iters: u32,
}

impl Linear {
    /// Creates a schedule whose factor moves from `start_factor` to `end_factor` in `total_iters` steps. Unlike in torch,
    /// both factors may be 0, and greater than 1.
    ///
    /// # Errors
    /// Returns [`ConfigError::ScheduleValue`] if `base` is not finite, [`ConfigError::ScheduleFactor`] if a factor is
    /// negative or not finite, and [`ConfigError::ScheduleSteps`] if `total_iters` is 0.
    pub const fn new(base: f32, start_factor: f32, end_factor: f32, total_iters: u32) -> Result<Self, ConfigError> {
        match (finite(base), factor(start_factor), factor(end_factor), at_least_one(total_iters)) {
            (Ok(base), Ok(start_factor), Ok(end_factor), Ok(total_iters)) => {
                Ok(Linear { base, start_factor, end_factor, total_iters })
            }
            (Err(error), ..) | (_, Err(error), ..) | (.., Err(error), _) | (.., Err(error)) => Err(error),
        }
    }
}

impl Schedule for Linear {
    fn value(&self, step: u32) -> f32 {
        let progress = progress(step, self.total_iters);
        limit(self.base * interpolate(self.start_factor, self.end_factor, progress), self.base)
    }
}

/// Multiplies the value by `factor` during the first `total_iters` steps, as torch's `ConstantLR` does. Later steps have
/// the value `base`.
///
/// If `total_iters` is 0, the factor applies to all steps. torch's rule has the same result: it removes the factor when
/// the step reaches `total_iters`, and the step is never 0 again.
///
/// ```
/// use training_monitor::{Schedule, handlers::schedules::Constant};
///
/// let schedule = Constant::new(2.0, 0.25, 3)?;
/// assert_eq!([0, 2, 3, u32::MAX].map(|step| schedule.value(step)), [0.5, 0.5, 2.0, 2.0]);
/// # Ok::<(), training_monitor::ConfigError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Constant {
    base: f32,
    factor: f32,
    total_iters: u32,
}

impl Constant {
    /// Creates a schedule with the value `base · factor` for `total_iters` steps, and `base` after them.
    ///
    /// # Errors
    /// Returns [`ConfigError::ScheduleValue`] if `base` is not finite, and [`ConfigError::ScheduleFactor`] if
    /// `multiplier` is negative or not finite.
    pub const fn new(base: f32, multiplier: f32, total_iters: u32) -> Result<Self, ConfigError> {
        match (finite(base), factor(multiplier)) {
            (Ok(base), Ok(factor)) => Ok(Constant { base, factor, total_iters }),
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }
}

impl Schedule for Constant {
    fn value(&self, step: u32) -> f32 {
        let is_reduced = step < self.total_iters || self.total_iters == 0;
        if is_reduced { limit(self.base * self.factor, self.base) } else { self.base }
    }
}

/// Lowers the value to 0 along a polynomial, as torch's `PolynomialLR` does: `base · (1 − t / total_iters)^power`. From
/// step `total_iters`, the value is 0, or `base` if `power` is 0.
///
/// ```
/// use training_monitor::{Schedule, handlers::schedules::Polynomial};
///
/// let schedule = Polynomial::new(4.0, 2.0, 4)?;
/// assert_eq!([0, 2, 4, u32::MAX].map(|step| schedule.value(step)), [4.0, 1.0, 0.0, 0.0]);
/// # Ok::<(), training_monitor::ConfigError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Polynomial {
    base: f32,
    power: f32,
    total_iters: u32,
}

impl Polynomial {
    /// Creates a schedule that moves from `base` to 0 in `total_iters` steps. The curve is a straight line if `power` is
    /// 1.
    ///
    /// # Errors
    /// Returns [`ConfigError::ScheduleValue`] if `base` is not finite, [`ConfigError::ScheduleFactor`] if `power` is
    /// negative or not finite, and [`ConfigError::ScheduleSteps`] if `total_iters` is 0.
    pub const fn new(base: f32, power: f32, total_iters: u32) -> Result<Self, ConfigError> {
        match (finite(base), factor(power), at_least_one(total_iters)) {
            (Ok(base), Ok(power), Ok(total_iters)) => Ok(Polynomial { base, power, total_iters }),
            (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => Err(error),
        }
    }
}

impl Schedule for Polynomial {
    fn value(&self, step: u32) -> f32 {
        // The subtraction of integers is exact, unlike `1 - t / total_iters`.
        let rest = progress(self.total_iters.saturating_sub(step), self.total_iters);
        self.base * libm::powf(rest, self.power)
    }
}
