//! Ignite's cyclical schedules, whose cycles can become longer or shorter.

use super::Schedule;
use super::math::{cosine_progress, divide, factor, finite, interpolate, progress, scale};
use crate::config::ConfigError;

/// The sizes and values of the cycles of both schedules.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
struct Cycles {
    start_value: f32,
    end_value: f32,
    /// The number of steps of the first cycle, without its warm-up; at least 2.
    cycle_size: u32,
    cycle_mult: f32,
    start_value_mult: f32,
    end_value_mult: f32,
    /// The number of steps between the first and the second cycle.
    warmup_duration: u32,
}

/// The place of a step in the cycles.
enum Place {
    /// The step is in a cycle of `size` steps that moves from `start` to `end`. `step` is at most `size`.
    Cycle { start: f32, end: f32, step: u32, size: u32 },
    /// The step is on the straight line between two cycles.
    Warmup { value: f32 },
}

impl Cycles {
    const fn new(start_value: f32, end_value: f32, cycle_size: u32) -> Result<Self, ConfigError> {
        if cycle_size < 2 {
            return Err(ConfigError::CycleSize);
        }
        match (finite(start_value), finite(end_value)) {
            (Ok(start_value), Ok(end_value)) => Ok(Cycles {
                start_value,
                end_value,
                cycle_size,
                cycle_mult: 1.0,
                start_value_mult: 1.0,
                end_value_mult: 1.0,
                warmup_duration: 0,
            }),
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }

    const fn with_cycle_mult(mut self, cycle_mult: f32) -> Result<Self, ConfigError> {
        if !(cycle_mult > 0.0 && cycle_mult < f32::INFINITY) {
            return Err(ConfigError::CycleMult);
        }
        self.cycle_mult = cycle_mult;
        Ok(self)
    }

    const fn with_value_mults(mut self, start_value_mult: f32, end_value_mult: f32) -> Result<Self, ConfigError> {
        match (factor(start_value_mult), factor(end_value_mult)) {
            (Ok(start_value_mult), Ok(end_value_mult)) => {
                self.start_value_mult = start_value_mult;
                self.end_value_mult = end_value_mult;
                Ok(self)
            }
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }

    /// Returns the number of steps that follows `steps` in the next cycle: the product with `cycle_mult`, truncated as in
    /// Ignite. Most decimal numbers are not exact as an `f32`. A product that differs from an integer by less than this
    /// inaccuracy is that integer: 10 · 1.3 is 13, not 12.
    fn next_size(&self, steps: u32) -> u32 {
        let product = steps as f32 * self.cycle_mult;
        let nearest = libm::roundf(product);
        let is_integer = libm::fabsf(product - nearest) <= product * f32::EPSILON;
        // The conversion truncates, and limits the result to `u32::MAX`.
        if is_integer { nearest as u32 } else { product as u32 }
    }

    /// Finds the cycle of `step`.
    ///
    /// The loop has one repetition for each completed cycle whose successor has another size. With a `cycle_mult` of 1, it
    /// has none. With 1.5 or more, it has at most 52. The sizes differ by at least 1, so it has fewer than
    /// `√(2 · step) + 1` in all cases.
    fn locate(&self, step: u32) -> Place {
        let (mut size, mut warmup, mut cycle, mut step) = (self.cycle_size, self.warmup_duration, 0_u32, step);
        // The first cycle whose size does not fit into the type is longer than the rest of all steps.
        while let Some(total) = size.checked_add(warmup).filter(|total| step >= *total) {
            // A cycle has at least one step. In Ignite, a size of 0 is a division by zero.
            let next = if self.cycle_mult == 1.0 {
                (size, warmup)
            } else {
                (self.next_size(size).max(1), self.next_size(warmup))
            };
            if next == (size, warmup) {
                // All further cycles have this size.
                let (completed, rest) = divide(step, total);
                (cycle, step) = (cycle.saturating_add(completed), rest);
                break;
            }
            (step, cycle) = (step - total, cycle.saturating_add(1));
            (size, warmup) = next;
        }
        let start = scale(self.start_value, self.start_value_mult, cycle);
        let end = scale(self.end_value, self.end_value_mult, cycle);
        match step.checked_sub(size) {
            Some(steps) if steps > 0 => {
                let next_start = scale(self.start_value, self.start_value_mult, cycle.saturating_add(1));
                Place::Warmup { value: interpolate(end, next_start, progress(steps, warmup)) }
            }
            _ => Place::Cycle { start, end, step, size },
        }
    }
}

/// Moves the value from `start_value` to `end_value` in the first half of each cycle and back in the second half, as
/// Ignite's `LinearCyclicalScheduler` does.
///
/// ```
/// use training_monitor::{Schedule, handlers::schedules::LinearCyclical};
///
/// let schedule = LinearCyclical::new(1.0, 0.0, 4)?.with_cycle_mult(2.0)?.with_value_mults(0.5, 1.0)?;
/// assert_eq!([0, 1, 2, 3].map(|step| schedule.value(step)), [1.0, 0.5, 0.0, 0.5]);
/// assert_eq!([4, 6, 8, 10, 12].map(|step| schedule.value(step)), [0.5, 0.25, 0.0, 0.25, 0.25]);
/// # Ok::<(), training_monitor::ConfigError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct LinearCyclical {
    cycles: Cycles,
    monotonic: bool,
}

impl LinearCyclical {
    /// Creates a schedule with cycles of `cycle_size` steps.
    ///
    /// # Errors
    /// Returns [`ConfigError::ScheduleValue`] if a value is not finite, and [`ConfigError::CycleSize`] if `cycle_size` is
    /// less than 2.
    pub const fn new(start_value: f32, end_value: f32, cycle_size: u32) -> Result<Self, ConfigError> {
        match Cycles::new(start_value, end_value, cycle_size) {
            Ok(cycles) => Ok(LinearCyclical { cycles, monotonic: false }),
            Err(error) => Err(error),
        }
    }

    /// Sets the ratio of the sizes of a cycle and of the previous one. The default is 1. As in Ignite, the size is
    /// truncated to an integer. A cycle has at least one step, whose value is the start value; Ignite raises an error
    /// when the size becomes 0.
    ///
    /// # Errors
    /// Returns [`ConfigError::CycleMult`] if `cycle_mult` is not finite or not greater than 0.
    pub const fn with_cycle_mult(self, cycle_mult: f32) -> Result<Self, ConfigError> {
        match self.cycles.with_cycle_mult(cycle_mult) {
            Ok(cycles) => Ok(LinearCyclical { cycles, ..self }),
            Err(error) => Err(error),
        }
    }

    /// Sets the factors by which the start value and the end value are multiplied after each cycle. The default of both
    /// is 1.
    ///
    /// # Errors
    /// Returns [`ConfigError::ScheduleFactor`] if a factor is negative or not finite.
    pub const fn with_value_mults(self, start_value_mult: f32, end_value_mult: f32) -> Result<Self, ConfigError> {
        match self.cycles.with_value_mults(start_value_mult, end_value_mult) {
            Ok(cycles) => Ok(LinearCyclical { cycles, ..self }),
            Err(error) => Err(error),
        }
    }

    /// Moves the value from the start value to the end value during the whole cycle (Ignite's `monotonic=True`). Then
    /// the value moves to the next start value within `warmup_duration` steps, or at once if it is 0. The number of
    /// these steps is multiplied by `cycle_mult`, too.
    #[must_use]
    pub const fn with_monotonic(mut self, warmup_duration: u32) -> Self {
        self.monotonic = true;
        self.cycles.warmup_duration = warmup_duration;
        self
    }
}

impl Schedule for LinearCyclical {
    fn value(&self, step: u32) -> f32 {
        match self.cycles.locate(step) {
            Place::Warmup { value } => value,
            Place::Cycle { start, end, step, size } if self.monotonic => interpolate(start, end, progress(step, size)),
            Place::Cycle { start, end, step, size } => {
                // The distance from the middle of the cycle, in half steps: an exact integer.
                let distance = size.saturating_sub(step).abs_diff(step);
                interpolate(end, start, progress(distance, size))
            }
        }
    }
}

/// Moves the value along half a cosine wave from `start_value` to `end_value` in each cycle, as Ignite's
/// `CosineAnnealingScheduler` does. The next cycle begins with its start value, one step before the value would reach
/// `end_value`.
///
/// ```
/// use training_monitor::{Schedule, handlers::schedules::CosineAnnealing};
///
/// let schedule = CosineAnnealing::new(1.0, 0.0, 4)?.with_value_mults(0.5, 1.0)?;
/// assert_eq!([0, 2, 4, 6, 8].map(|step| schedule.value(step)), [1.0, 0.5, 0.5, 0.25, 0.25]);
/// # Ok::<(), training_monitor::ConfigError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct CosineAnnealing {
    cycles: Cycles,
}

impl CosineAnnealing {
    /// Creates a schedule with cycles of `cycle_size` steps.
    ///
    /// # Errors
    /// Returns [`ConfigError::ScheduleValue`] if a value is not finite, and [`ConfigError::CycleSize`] if `cycle_size` is
    /// less than 2.
    pub const fn new(start_value: f32, end_value: f32, cycle_size: u32) -> Result<Self, ConfigError> {
        match Cycles::new(start_value, end_value, cycle_size) {
            Ok(cycles) => Ok(CosineAnnealing { cycles }),
            Err(error) => Err(error),
        }
    }

    /// Sets the ratio of the sizes of a cycle and of the previous one, as
    /// [`LinearCyclical::with_cycle_mult`] does.
    ///
    /// # Errors
    /// Returns [`ConfigError::CycleMult`] if `cycle_mult` is not finite or not greater than 0.
    pub const fn with_cycle_mult(self, cycle_mult: f32) -> Result<Self, ConfigError> {
        match self.cycles.with_cycle_mult(cycle_mult) {
            Ok(cycles) => Ok(CosineAnnealing { cycles }),
            Err(error) => Err(error),
        }
    }

    /// Sets the factors by which the start value and the end value are multiplied after each cycle. The default of both
    /// is 1.
    ///
    /// # Errors
    /// Returns [`ConfigError::ScheduleFactor`] if a factor is negative or not finite.
    pub const fn with_value_mults(self, start_value_mult: f32, end_value_mult: f32) -> Result<Self, ConfigError> {
        match self.cycles.with_value_mults(start_value_mult, end_value_mult) {
            Ok(cycles) => Ok(CosineAnnealing { cycles }),
            Err(error) => Err(error),
        }
    }

    /// Sets the number of steps in which the value moves on a straight line from the end value of a cycle to the start
    /// value of the next one. The number is multiplied by `cycle_mult` after each cycle. The default is 0: the value jumps.
    #[must_use]
    pub const fn with_warmup_duration(mut self, warmup_duration: u32) -> Self {
        self.cycles.warmup_duration = warmup_duration;
        self
    }
}

impl Schedule for CosineAnnealing {
    fn value(&self, step: u32) -> f32 {
        match self.cycles.locate(step) {
            Place::Warmup { value } => value,
            Place::Cycle { start, end, step, size } => interpolate(start, end, cosine_progress(progress(step, size))),
        }
    }
}
