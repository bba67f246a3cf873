//! A schedule of straight lines between given points.

use super::Schedule;
use super::math::{interpolate, progress};
use crate::config::ConfigError;

/// Moves the value on straight lines between milestones, as Ignite's `PiecewiseLinear` does. Before the first milestone,
/// its value holds. From the last milestone, its value holds.
///
/// Two milestones with the same step are a jump: from that step, the value of the second one applies.
///
/// ```
/// use training_monitor::{Schedule, handlers::schedules::PiecewiseLinear};
///
/// let schedule = PiecewiseLinear::new(&[(2, 1.0), (4, 2.0), (4, 0.5), (6, 0.0)])?;
/// assert_eq!([0, 2, 3, 4, 5, 6, u32::MAX].map(|step| schedule.value(step)), [1.0, 1.0, 1.5, 0.5, 0.25, 0.0, 0.0]);
/// # Ok::<(), training_monitor::ConfigError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PiecewiseLinear<'a> {
    /// The step and the value of each milestone, in ascending order of the steps. There is at least one.
    milestones_values: &'a [(u32, f32)],
}

impl<'a> PiecewiseLinear<'a> {
    /// Creates a schedule through the milestones: pairs of a step and a value, in ascending order of the steps.
    ///
    /// # Errors
    /// Returns [`ConfigError::Milestones`] if there is no milestone or if a step is less than the previous one, and
    /// [`ConfigError::ScheduleValue`] if a value is not finite.
    pub const fn new(milestones_values: &'a [(u32, f32)]) -> Result<Self, ConfigError> {
        if milestones_values.is_empty() {
            return Err(ConfigError::Milestones);
        }
        let mut rest = milestones_values;
        while let [(step, value), tail @ ..] = rest {
            if !value.is_finite() {
                return Err(ConfigError::ScheduleValue);
            }
            if let [(next, _), ..] = tail
                && *next < *step
            {
                return Err(ConfigError::Milestones);
            }
            rest = tail;
        }
        Ok(PiecewiseLinear { milestones_values })
    }
}

impl Schedule for PiecewiseLinear<'_> {
    fn value(&self, step: u32) -> f32 {
        let mut last = None;
        for (next_step, next_value) in self.milestones_values {
            if step < *next_step {
                return match last {
                    None => *next_value,
                    Some((last_step, last_value)) => {
                        let length = next_step.saturating_sub(last_step);
                        interpolate(last_value, *next_value, progress(step.saturating_sub(last_step), length))
                    }
                };
            }
            last = Some((*next_step, *next_value));
        }
        last.map_or(0.0, |(_, value)| value)
    }
}
