//! Schedules of torch along half a cosine wave.

use super::Schedule;
use super::math::{at_least_one, cosine_progress, divide, finite, interpolate, progress};
use crate::config::ConfigError;

/// Moves the value along half a cosine wave from `base` to `eta_min`, as torch's `CosineAnnealingLR` does up to step
/// `t_max`: `eta_min + (base − eta_min) · (1 + cos(π · t / t_max)) / 2`.
///
/// From step `t_max`, the final value `eta_min` holds. torch's recursion follows the cosine up again, and its exact
/// values there depend on rounding errors. [`CosineRestarts`] is the schedule for several waves.
///
/// ```
/// use training_monitor::{Schedule, handlers::schedules::Cosine};
///
/// let schedule = Cosine::new(1.0, 10)?.with_eta_min(0.5)?;
/// assert_eq!([0, 5, 10, u32::MAX].map(|step| schedule.value(step)), [1.0, 0.75, 0.5, 0.5]);
/// # Ok::<(), training_monitor::ConfigError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Cosine {
    base: f32,
    eta_min: f32,
    t_max: u32,
}

impl Cosine {
    /// Creates a schedule that moves from `base` to 0 in `t_max` steps.
    ///
    /// # Errors
    /// Returns [`ConfigError::ScheduleValue`] if `base` is not finite, and [`ConfigError::ScheduleSteps`] if `t_max` is
    /// 0.
    pub const fn new(base: f32, t_max: u32) -> Result<Self, ConfigError> {
        match (finite(base), at_least_one(t_max)) {
            (Ok(base), Ok(t_max)) => Ok(Cosine { base, eta_min: 0.0, t_max }),
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }

    /// Sets the final value. The default is 0. It can be greater than `base`.
    ///
    /// # Errors
    /// Returns [`ConfigError::ScheduleValue`] if `eta_min` is not finite.
    pub const fn with_eta_min(mut self, eta_min: f32) -> Result<Self, ConfigError> {
        match finite(eta_min) {
            Ok(eta_min) => self.eta_min = eta_min,
            Err(error) => return Err(error),
        }
        Ok(self)
    }
}

impl Schedule for Cosine {
    fn value(&self, step: u32) -> f32 {
        interpolate(self.base, self.eta_min, cosine_progress(progress(step, self.t_max)))
    }
}

/// Moves the value along half a cosine wave from `base` towards `eta_min` and restarts, as torch's
/// `CosineAnnealingWarmRestarts` does. The first wave has `t_0` steps, and each further wave has `t_mult` times as many
/// steps as the previous one. The last step of a wave is one step before `eta_min`, because the next step is the restart.
///
/// ```
/// use training_monitor::{Schedule, handlers::schedules::CosineRestarts};
///
/// let schedule = CosineRestarts::new(1.0, 2)?.with_t_mult(2)?;
/// assert_eq!([0, 1, 2, 4, 6].map(|step| schedule.value(step)), [1.0, 0.5, 1.0, 0.5, 1.0]);
/// # Ok::<(), training_monitor::ConfigError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct CosineRestarts {
    base: f32,
    eta_min: f32,
    t_0: u32,
    t_mult: u32,
}

impl CosineRestarts {
    /// Creates a schedule whose waves have `t_0` steps each and move from `base` towards 0.
    ///
    /// # Errors
    /// Returns [`ConfigError::ScheduleValue`] if `base` is not finite, and [`ConfigError::ScheduleSteps`] if `t_0` is 0.
    pub const fn new(base: f32, t_0: u32) -> Result<Self, ConfigError> {
        match (finite(base), at_least_one(t_0)) {
            (Ok(base), Ok(t_0)) => Ok(CosineRestarts { base, eta_min: 0.0, t_0, t_mult: 1 }),
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }

    /// Sets how many times as long as the previous wave each wave is. The default is 1.
    ///
    /// # Errors
    /// Returns [`ConfigError::ScheduleSteps`] if `t_mult` is 0.
    pub const fn with_t_mult(mut self, t_mult: u32) -> Result<Self, ConfigError> {
        match at_least_one(t_mult) {
            Ok(t_mult) => self.t_mult = t_mult,
            Err(error) => return Err(error),
        }
        Ok(self)
    }

    /// Sets the value that each wave approaches. The default is 0.
    ///
    /// # Errors
    /// Returns [`ConfigError::ScheduleValue`] if `eta_min` is not finite.
    pub const fn with_eta_min(mut self, eta_min: f32) -> Result<Self, ConfigError> {
        match finite(eta_min) {
            Ok(eta_min) => self.eta_min = eta_min,
            Err(error) => return Err(error),
        }
        Ok(self)
    }

    /// Returns the step within its wave, and the length of the wave. With `t_mult` of at least 2, the lengths double at
    /// least, so the loop has at most 32 repetitions.
    fn locate(&self, step: u32) -> (u32, u64) {
        if self.t_mult == 1 {
            return (divide(step, self.t_0).1, self.t_0.into());
        }
        let (mut rest, mut size) = (step, self.t_0);
        while let Some(next) = rest.checked_sub(size) {
            rest = next;
            match size.checked_mul(self.t_mult) {
                Some(longer) => size = longer,
                // This wave is longer than the rest of all steps.
                None => return (rest, u64::from(size).saturating_mul(self.t_mult.into())),
            }
        }
        (rest, size.into())
    }
}

impl Schedule for CosineRestarts {
    fn value(&self, step: u32) -> f32 {
        let (step, size) = self.locate(step);
        interpolate(self.base, self.eta_min, cosine_progress(step as f32 / size as f32))
    }
}
