//! torch's cyclic schedule.

use super::Schedule;
use super::math::{at_least_one, divide, factor, finite, interpolate, progress};
use crate::config::ConfigError;

/// How the height of the triangles of [`Cyclic`] changes.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum CyclicMode {
    /// All triangles have the same height.
    #[default]
    Triangular,
    /// Each triangle has half the height of the previous one.
    Triangular2,
    /// The height is multiplied by this factor, torch's `gamma`, at each step.
    ExpRange(
        /// The factor, from 0 to 1.
        f32,
    ),
}

/// Moves the value up from `base` to `max` in `step_size_up` steps and down again in `step_size_down` steps, in cycles, as
/// torch's `CyclicLR` does.
///
/// ```
/// use training_monitor::handlers::schedules::{Cyclic, CyclicMode};
/// use training_monitor::Schedule;
///
/// let schedule = Cyclic::new(1.0, 3.0, 2, 2)?.with_mode(CyclicMode::Triangular2)?;
/// assert_eq!([0, 1, 2, 3, 4, 6, 8].map(|step| schedule.value(step)), [1.0, 2.0, 3.0, 2.0, 1.0, 2.0, 1.0]);
/// # Ok::<(), training_monitor::ConfigError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Cyclic {
    base: f32,
    max: f32,
    step_size_up: u32,
    step_size_down: u32,
    mode: CyclicMode,
}

impl Cyclic {
    /// Creates a schedule of triangles of the same height.
    ///
    /// # Errors
    /// Returns [`ConfigError::ScheduleValue`] if `base` or `max` is not finite, and [`ConfigError::ScheduleSteps`] if a
    /// step size is 0.
    pub const fn new(base: f32, max: f32, step_size_up: u32, step_size_down: u32) -> Result<Self, ConfigError> {
        match (finite(base), finite(max), at_least_one(step_size_up), at_least_one(step_size_down)) {
            (Ok(base), Ok(max), Ok(step_size_up), Ok(step_size_down)) => {
                Ok(Cyclic { base, max, step_size_up, step_size_down, mode: CyclicMode::Triangular })
            }
            (Err(error), ..) | (_, Err(error), ..) | (.., Err(error), _) | (.., Err(error)) => Err(error),
        }
    }

    /// Sets how the height of the triangles changes.
    ///
    /// # Errors
    /// Returns [`ConfigError::ScheduleFactor`] if the factor of [`CyclicMode::ExpRange`] is not between 0 and 1.
    pub const fn with_mode(mut self, mode: CyclicMode) -> Result<Self, ConfigError> {
        if let CyclicMode::ExpRange(gamma) = mode {
            match factor(gamma) {
                Ok(gamma) if gamma <= 1.0 => (),
                _ => return Err(ConfigError::ScheduleFactor),
            }
        }
        self.mode = mode;
        Ok(self)
    }
}

impl Schedule for Cyclic {
    fn value(&self, step: u32) -> f32 {
        let (up, down) = (self.step_size_up, self.step_size_down);
        let (cycle, step_in_cycle) = match up.checked_add(down) {
            Some(size) => divide(step, size),
            // The first cycle is longer than all steps.
            None => (0, step),
        };
        let height = match step_in_cycle.checked_sub(up) {
            None => progress(step_in_cycle, up),
            Some(fallen) => progress(down.saturating_sub(fallen), down),
        };
        let height = height
            * match self.mode {
                CyclicMode::Triangular => 1.0,
                CyclicMode::Triangular2 => libm::powf(0.5, cycle as f32),
                CyclicMode::ExpRange(gamma) => libm::powf(gamma, step as f32),
            };
        interpolate(self.base, self.max, height)
    }
}
