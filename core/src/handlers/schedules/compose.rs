//! Schedules that contain other schedules or a function.

use super::Schedule;
use super::math::{at_least_one, finite, interpolate, progress};
use crate::config::ConfigError;

/// Moves the value on a straight line to the first value of another schedule, and then follows that schedule from its
/// step 0, as Ignite's `create_lr_scheduler_with_warmup` does.
///
/// The warm-up has `duration` steps, from `start_value` at step 0 to the end value at step `duration − 1`. The last of
/// these steps is also the first one of the other schedule, so its value occurs once. If
/// [`with_end_value`](Self::with_end_value) sets another end value, the schedule starts one step later, at step
/// `duration`.
///
/// ```
/// use training_monitor::handlers::schedules::{StepDecay, Warmup};
/// use training_monitor::Schedule;
///
/// let schedule = Warmup::new(StepDecay::new(1.0, 2, 0.5)?, 0.0, 3)?;
/// assert_eq!([0, 1, 2, 3, 4].map(|step| schedule.value(step)), [0.0, 0.5, 1.0, 1.0, 0.5]);
/// let schedule = schedule.with_end_value(2.0)?;
/// assert_eq!([0, 1, 2, 3, 4].map(|step| schedule.value(step)), [0.0, 1.0, 2.0, 1.0, 1.0]);
/// # Ok::<(), training_monitor::ConfigError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Warmup<S> {
    schedule: S,
    start_value: f32,
    /// The value of the last step of the warm-up. `None` stands for the first value of `schedule`.
    end_value: Option<f32>,
    /// The number of steps of the warm-up; at least 2.
    duration: u32,
}

impl<S> Warmup<S> {
    /// Creates a warm-up of `duration` steps before `schedule`.
    ///
    /// # Errors
    /// Returns [`ConfigError::ScheduleValue`] if `start_value` is not finite, and [`ConfigError::WarmupDuration`] if
    /// `duration` is less than 2.
    pub const fn new(schedule: S, start_value: f32, duration: u32) -> Result<Self, ConfigError>
    where
        S: Copy,
    {
        if duration < 2 {
            return Err(ConfigError::WarmupDuration);
        }
        match finite(start_value) {
            Ok(start_value) => Ok(Warmup { schedule, start_value, end_value: None, duration }),
            Err(error) => Err(error),
        }
    }

    /// Sets the value of the last step of the warm-up. The default is the first value of the other schedule.
    ///
    /// # Errors
    /// Returns [`ConfigError::ScheduleValue`] if `end_value` is not finite.
    pub fn with_end_value(mut self, end_value: f32) -> Result<Self, ConfigError>
    where
        S: Schedule,
    {
        let end_value = finite(end_value)?;
        self.end_value = (end_value != self.schedule.value(0)).then_some(end_value);
        Ok(self)
    }
}

impl<S: Schedule> Schedule for Warmup<S> {
    fn value(&self, step: u32) -> f32 {
        let last = self.duration.saturating_sub(1);
        let first_step = if self.end_value.is_some() { self.duration } else { last };
        match step.checked_sub(first_step) {
            Some(step) => self.schedule.value(step),
            None => {
                let end_value = self.end_value.unwrap_or_else(|| self.schedule.value(0));
                interpolate(self.start_value, end_value, progress(step, last))
            }
        }
    }
}

/// Follows one schedule for `duration` steps, and then another one from its own step 0, as Ignite's `ConcatScheduler`
/// does. Nest `Concat`s for three and more schedules.
///
/// ```
/// use training_monitor::handlers::schedules::{Concat, Constant, Cosine, Linear};
/// use training_monitor::Schedule;
///
/// let (rise, hold, fall) = (Linear::new(1.0, 0.0, 1.0, 2)?, Constant::new(1.0, 1.0, 1)?, Cosine::new(1.0, 4)?);
/// let schedule = Concat::new(rise, 2, Concat::new(hold, 3, fall)?)?;
/// assert_eq!([0, 1, 2, 4, 5, 7, 9].map(|step| schedule.value(step)), [0.0, 0.5, 1.0, 1.0, 1.0, 0.5, 0.0]);
/// # Ok::<(), training_monitor::ConfigError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Concat<A, B> {
    first: A,
    duration: u32,
    second: B,
}

impl<A, B> Concat<A, B> {
    /// Creates a schedule that follows `first` for `duration` steps and then `second`.
    ///
    /// # Errors
    /// Returns [`ConfigError::ScheduleSteps`] if `duration` is 0.
    pub const fn new(first: A, duration: u32, second: B) -> Result<Self, ConfigError>
    where
        A: Copy,
        B: Copy,
    {
        match at_least_one(duration) {
            Ok(duration) => Ok(Concat { first, duration, second }),
            Err(error) => Err(error),
        }
    }
}

impl<A: Schedule, B: Schedule> Schedule for Concat<A, B> {
    fn value(&self, step: u32) -> f32 {
        match step.checked_sub(self.duration) {
            None => self.first.value(step),
            Some(step) => self.second.value(step),
        }
    }
}

/// Follows `N` schedules of one type for a number of steps each, and then a last schedule. Each one starts at its own step
/// 0. It is a [`Concat`] whose number of schedules is a constant.
///
/// ```
/// use training_monitor::handlers::schedules::{ConcatArray, Exponential};
/// use training_monitor::Schedule;
///
/// let schedules = [(Exponential::new(1.0, 0.5)?, 2), (Exponential::new(2.0, 0.5)?, 1)];
/// let schedule = ConcatArray::new(schedules, Exponential::new(8.0, 0.5)?)?;
/// assert_eq!([0, 1, 2, 3, 4].map(|step| schedule.value(step)), [1.0, 0.5, 2.0, 8.0, 4.0]);
/// # Ok::<(), training_monitor::ConfigError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ConcatArray<S, const N: usize> {
    /// The schedules, with the number of steps of each.
    schedules: [(S, u32); N],
    last: S,
}

impl<S, const N: usize> ConcatArray<S, N> {
    /// Creates a schedule that follows each of `schedules` for the given number of steps, and then `last`.
    ///
    /// # Errors
    /// Returns [`ConfigError::ScheduleSteps`] if a number of steps is 0.
    pub fn new(schedules: [(S, u32); N], last: S) -> Result<Self, ConfigError> {
        for (_, duration) in &schedules {
            at_least_one(*duration)?;
        }
        Ok(ConcatArray { schedules, last })
    }
}

impl<S: Schedule, const N: usize> Schedule for ConcatArray<S, N> {
    fn value(&self, step: u32) -> f32 {
        let mut rest = step;
        for (schedule, duration) in &self.schedules {
            match rest.checked_sub(*duration) {
                None => return schedule.value(rest),
                Some(next) => rest = next,
            }
        }
        self.last.value(rest)
    }
}

/// A schedule that calls a function of the program with the number of the step, like torch's `LambdaLR` and Keras's
/// `LearningRateScheduler`. A resumed run ends with the same result if the function depends on the step only.
///
/// ```
/// use training_monitor::{Schedule, handlers::schedules::Lambda};
///
/// let schedule = Lambda(|step| if step < 10 { 0.1 } else { 0.01 });
/// assert_eq!([9, 10].map(|step| schedule.value(step)), [0.1, 0.01]);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Lambda<F>(
    /// The function from the number of the step to the value.
    pub F,
);

impl<F: Fn(u32) -> f32> Schedule for Lambda<F> {
    fn value(&self, step: u32) -> f32 {
        (self.0)(step)
    }
}
