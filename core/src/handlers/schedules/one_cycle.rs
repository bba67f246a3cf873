//! The schedule of one cycle: up to a large value, and down to a very small one.

use super::Schedule;
use super::math::{at_least_one, cosine_progress, finite, interpolate};
use crate::config::ConfigError;

/// The curve between two values of [`OneCycle`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Anneal {
    /// Half a cosine wave.
    #[default]
    Cos,
    /// A straight line.
    Linear,
}

/// Moves the value from `initial` up to `max` and down to `min` within `total_steps` steps, as torch's `OneCycleLR`
/// does. `initial` is `max / div_factor`, and `min` is `initial / final_div_factor`.
///
/// The way up ends at the step `pct_start · total_steps − 1`, which need not be an integer. With `three_phase`, the value
/// moves back to `initial` until the step `2 · pct_start · total_steps − 2`, and from there to `min`. The last step is
/// `total_steps − 1`; its value holds for all later steps. (torch raises an error there.)
///
/// ```
/// use training_monitor::{Schedule, handlers::schedules::OneCycle};
///
/// let schedule = OneCycle::new(1.0, 21)?.with_pct_start(0.5)?.with_div_factors(10.0, 100.0)?;
/// assert_eq!([0, 20, u32::MAX].map(|step| schedule.value(step)), [0.1, 0.001, 0.001]);
/// assert!((9..=10).all(|step| schedule.value(step) > 0.99));
/// # Ok::<(), training_monitor::ConfigError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct OneCycle {
    max: f32,
    total_steps: u32,
    pct_start: f32,
    div_factor: f32,
    final_div_factor: f32,
    anneal: Anneal,
    three_phase: bool,
}

/// A part of the cycle. It starts where the previous part ends.
struct Part {
    /// The last step of this part, which need not be an integer.
    end_step: f32,
    from: f32,
    to: f32,
}

impl OneCycle {
    /// Creates a schedule with torch's defaults: 30 % of the steps lead up to `max`, along half a cosine wave; the
    /// divisors are 25 and 10 000; there is no third phase.
    ///
    /// # Errors
    /// Returns [`ConfigError::ScheduleValue`] if `max` is not finite, and [`ConfigError::ScheduleSteps`] if
    /// `total_steps` is 0.
    pub const fn new(max: f32, total_steps: u32) -> Result<Self, ConfigError> {
        match (finite(max), at_least_one(total_steps)) {
            (Ok(max), Ok(total_steps)) => Ok(OneCycle {
                max,
                total_steps,
                pct_start: 0.3,
                div_factor: 25.0,
                final_div_factor: 1e4,
                anneal: Anneal::Cos,
                three_phase: false,
            }),
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }

    /// Sets the fraction of the steps that lead up to the maximum, from 0 to 1. With
    /// [`with_three_phase`](Self::with_three_phase), use at most 0.5.
    ///
    /// # Errors
    /// Returns [`ConfigError::PctStart`] if `pct_start` is not between 0 and 1.
    pub const fn with_pct_start(mut self, pct_start: f32) -> Result<Self, ConfigError> {
        if !(pct_start >= 0.0 && pct_start <= 1.0) {
            return Err(ConfigError::PctStart);
        }
        self.pct_start = pct_start;
        Ok(self)
    }

    /// Sets the divisors: the initial value is `max / div_factor`, and the final value is the initial value divided by
    /// `final_div_factor`.
    ///
    /// # Errors
    /// Returns [`ConfigError::DivFactor`] if a divisor is less than 1 or not finite.
    pub const fn with_div_factors(mut self, div_factor: f32, final_div_factor: f32) -> Result<Self, ConfigError> {
        let valid = div_factor >= 1.0 && final_div_factor >= 1.0;
        if !(valid && div_factor.is_finite() && final_div_factor.is_finite()) {
            return Err(ConfigError::DivFactor);
        }
        self.div_factor = div_factor;
        self.final_div_factor = final_div_factor;
        Ok(self)
    }

    /// Sets the curve between two values.
    #[must_use]
    pub const fn with_anneal(mut self, anneal: Anneal) -> Self {
        self.anneal = anneal;
        self
    }

    /// Sets whether the value first moves back to the initial value, as slowly as on the way up, and only then to the
    /// final value.
    #[must_use]
    pub const fn with_three_phase(mut self, three_phase: bool) -> Self {
        self.three_phase = three_phase;
        self
    }

    fn curve(&self, from: f32, to: f32, progress: f32) -> f32 {
        let progress = match self.anneal {
            Anneal::Cos => cosine_progress(progress),
            Anneal::Linear => progress,
        };
        interpolate(from, to, progress)
    }
}

impl Schedule for OneCycle {
    fn value(&self, step: u32) -> f32 {
        let last = self.total_steps.saturating_sub(1);
        let (step, last) = (step.min(last) as f32, last as f32);
        let initial = self.max / self.div_factor;
        let min = initial / self.final_div_factor;
        let rise = self.pct_start * self.total_steps as f32 - 1.0;
        let up = Part { end_step: rise, from: initial, to: self.max };
        let (middle, down_from) = if self.three_phase { (Some(2.0 * rise), initial) } else { (None, self.max) };
        let middle = middle.map(|end_step| Part { end_step, from: self.max, to: initial });
        let down = Part { end_step: last, from: down_from, to: min };

        let mut start_step = 0.0;
        let (mut from, mut to, mut end_step) = (down.from, down.to, down.end_step);
        for part in [Some(up), middle].into_iter().flatten() {
            if step <= part.end_step {
                (from, to, end_step) = (part.from, part.to, part.end_step);
                break;
            }
            start_step = part.end_step;
        }
        // A part without steps has reached its end. Rounding may put the start of a part after the step.
        let length = end_step - start_step;
        let progress = if length > 0.0 { ((step - start_step) / length).clamp(0.0, 1.0) } else { 1.0 };
        self.curve(from, to, progress)
    }
}
