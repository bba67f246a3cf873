//! Schedules that multiply the value by a factor again and again.

use super::Schedule;
use super::math::{at_least_one, divide, factor, finite, scale};
use crate::config::ConfigError;

/// Multiplies the value by `gamma` every `step_size` steps, as torch's `StepLR` does: `base · gamma^⌊t / step_size⌋`.
///
/// ```
/// use training_monitor::{Schedule, handlers::schedules::StepDecay};
///
/// let schedule = StepDecay::new(1.0, 2, 0.5)?;
/// assert_eq!([0, 1, 2, 3, 4].map(|step| schedule.value(step)), [1.0, 1.0, 0.5, 0.5, 0.25]);
/// # Ok::<(), training_monitor::ConfigError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct StepDecay {
    base: f32,
    step_size: u32,
    gamma: f32,
}

impl StepDecay {
    /// Creates a schedule that starts with `base` and multiplies it by `gamma` after each `step_size` steps.
    ///
    /// # Errors
    /// Returns [`ConfigError::ScheduleValue`] if `base` is not finite, [`ConfigError::ScheduleSteps`] if `step_size` is
    /// 0, and [`ConfigError::ScheduleFactor`] if `gamma` is negative or not finite.
    pub const fn new(base: f32, step_size: u32, gamma: f32) -> Result<Self, ConfigError> {
        match (finite(base), at_least_one(step_size), factor(gamma)) {
            (Ok(base), Ok(step_size), Ok(gamma)) => Ok(StepDecay { base, step_size, gamma }),
            (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => Err(error),
        }
    }
}

impl Schedule for StepDecay {
    fn value(&self, step: u32) -> f32 {
        scale(self.base, self.gamma, divide(step, self.step_size).0)
    }
}

/// Multiplies the value by `gamma` at each milestone, as torch's `MultiStepLR` does. A milestone that occurs twice
/// counts twice. The value changes at the step of the milestone.
///
/// ```
/// use training_monitor::{Schedule, handlers::schedules::MultiStep};
///
/// let schedule = MultiStep::new(1.0, &[2, 3], 0.5)?;
/// assert_eq!([0, 1, 2, 3, 4].map(|step| schedule.value(step)), [1.0, 1.0, 0.5, 0.25, 0.25]);
/// # Ok::<(), training_monitor::ConfigError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct MultiStep<'a> {
    base: f32,
    /// In ascending order.
    milestones: &'a [u32],
    gamma: f32,
}

impl<'a> MultiStep<'a> {
    /// Creates a schedule that starts with `base` and multiplies it by `gamma` at each of the `milestones`, which are
    /// steps in ascending order.
    ///
    /// # Errors
    /// Returns [`ConfigError::ScheduleValue`] if `base` is not finite, [`ConfigError::Milestones`] if a milestone is
    /// less than the previous one, and [`ConfigError::ScheduleFactor`] if `gamma` is negative or not finite.
    pub const fn new(base: f32, milestones: &'a [u32], gamma: f32) -> Result<Self, ConfigError> {
        let mut rest = milestones;
        while let [first, tail @ ..] = rest {
            if let [second, ..] = tail
                && *second < *first
            {
                return Err(ConfigError::Milestones);
            }
            rest = tail;
        }
        match (finite(base), factor(gamma)) {
            (Ok(base), Ok(gamma)) => Ok(MultiStep { base, milestones, gamma }),
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }
}

impl Schedule for MultiStep<'_> {
    fn value(&self, step: u32) -> f32 {
        let passed = self.milestones.iter().take_while(|milestone| **milestone <= step).count();
        scale(self.base, self.gamma, passed as u32)
    }
}

/// Multiplies the value by `gamma` at each step, as torch's `ExponentialLR` does: `base · gamma^t`.
///
/// ```
/// use training_monitor::{Schedule, handlers::schedules::Exponential};
///
/// let schedule = Exponential::new(1.0, 0.5)?;
/// assert_eq!([0, 1, 2, u32::MAX].map(|step| schedule.value(step)), [1.0, 0.5, 0.25, 0.0]);
/// # Ok::<(), training_monitor::ConfigError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Exponential {
    base: f32,
    gamma: f32,
}

impl Exponential {
    /// Creates a schedule that starts with `base` and multiplies it by `gamma` after each step.
    ///
    /// # Errors
    /// Returns [`ConfigError::ScheduleValue`] if `base` is not finite, and [`ConfigError::ScheduleFactor`] if `gamma` is
    /// negative or not finite.
    pub const fn new(base: f32, gamma: f32) -> Result<Self, ConfigError> {
        match (finite(base), factor(gamma)) {
            (Ok(base), Ok(gamma)) => Ok(Exponential { base, gamma }),
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }
}

impl Schedule for Exponential {
    fn value(&self, step: u32) -> f32 {
        scale(self.base, self.gamma, step)
    }
}
