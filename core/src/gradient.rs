//! Limits the size of gradients before the optimizer uses them, so that a single bad batch does not spoil the weights.
//!
//! There are three rules, those of torch's `clip_grad_norm_` and `clip_grad_value_`. All slices together form one
//! gradient:
//!
//! | method | rule |
//! | --- | --- |
//! | [`GradientLimit::clip_norm`] | scales all elements so that the L2 norm, √(Σ g²), is at most the limit |
//! | [`GradientLimit::clip_largest`] | scales all elements so that the largest magnitude, max \|g\|, is at most the limit |
//! | [`GradientLimit::clip_values`] | limits each element to the range from −limit to limit |
//!
//! The first two multiply each element by limit / (norm + 10⁻⁶) if this factor is less than 1, and return the norm from
//! before the clipping. A step function calls them between the backward pass and the optimizer. A closure lists the
//! slices; it is called two or three times, and up to six times if squares overflow or underflow.
//!
//! Decisions:
//!
//! * If the norm is NaN or infinite, the gradients stay unchanged, and the norm is returned. (In torch, all elements then
//!   become NaN or 0.) The program can skip the step. The norm is not finite if and only if an element is not finite.
//! * The sum of squares does not overflow or underflow for finite elements. If the plain sum does, it is computed again
//!   with scaled elements. A norm above `f32::MAX` is returned as `f32::MAX`, but the gradients are scaled by the exact
//!   norm.
//! * The relative error of the norm is below 10⁻⁵. A subnormal norm is rounded to the next subnormal number.
//! * All operations are in `f32`, in the same order on all targets, so the results have the same bits.
//! * The norm of no elements is 0.
//!
//! ```
//! use training_monitor::gradient::GradientLimit;
//!
//! let (mut weights, mut bias) = ([3.0, 0.0], [-4.0]);
//! let limit = GradientLimit::new(0.5)?;
//! let norm = limit.clip_norm(|clip| { clip(&mut weights); clip(&mut bias); });
//! assert_eq!(norm, 5.0);
//! assert!((weights[0] - 0.3).abs() < 1e-6 && (bias[0] + 0.4).abs() < 1e-6);
//!
//! limit.clip_values(|clip| clip(&mut [f32::INFINITY])); // becomes 0.5
//! assert!(limit.clip_norm(|clip| clip(&mut [1.0, f32::NAN])).is_nan());
//! # Ok::<(), training_monitor::ConfigError>(())
//! ```

use crate::config::ConfigError;

mod norm;

use norm::{Norm, SCALE, Slices};

/// The limit of a gradient: the maximum norm, or the maximum magnitude of an element.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct GradientLimit {
    /// Finite and greater than 0.
    limit: f32,
}

/// The number that torch adds to the norm before it divides by it.
const EPSILON: f32 = 1e-6;

impl GradientLimit {
    /// Creates a limit.
    ///
    /// # Errors
    /// Returns [`ConfigError::GradientLimit`] unless `limit` is finite and greater than 0.
    pub const fn new(limit: f32) -> Result<Self, ConfigError> {
        if !(limit > 0.0 && limit < f32::INFINITY) {
            return Err(ConfigError::GradientLimit);
        }
        Ok(GradientLimit { limit })
    }

    /// Scales the gradient so that its L2 norm is at most the limit. `gradient` passes each slice to its argument.
    /// Returns the norm from before the clipping. If it is not finite, the gradient is unchanged.
    pub fn clip_norm(&self, mut gradient: impl FnMut(&mut dyn FnMut(&mut [f32]))) -> f32 {
        self.scale_all(&mut gradient, norm::l2)
    }

    /// Scales the gradient so that its largest magnitude is at most the limit. `gradient` passes each slice to its
    /// argument. Returns the largest magnitude from before the clipping. If it is not finite, the gradient is unchanged.
    pub fn clip_largest(&self, mut gradient: impl FnMut(&mut dyn FnMut(&mut [f32]))) -> f32 {
        self.scale_all(&mut gradient, |gradient| Norm::Exact(norm::largest(gradient)))
    }

    /// Limits each element to the range from −limit to limit. `gradient` passes each slice to its argument. An infinity
    /// becomes the limit with its sign. A NaN stays a NaN, so that a later check finds it.
    pub fn clip_values(&self, mut gradient: impl FnMut(&mut dyn FnMut(&mut [f32]))) {
        gradient(&mut |values| self.clip_slice(values));
    }

    fn clip_slice(&self, values: &mut [f32]) {
        for value in values {
            // These comparisons are false for a NaN.
            if *value > self.limit {
                *value = self.limit;
            } else if *value < -self.limit {
                *value = -self.limit;
            }
        }
    }

    /// Scales the gradient so that the result of `norm` is at most the limit. Returns the norm from before.
    #[inline(never)] // One copy of the code for all models.
    fn scale_all(&self, gradient: &mut Slices<'_>, norm: fn(&mut Slices<'_>) -> Norm) -> f32 {
        let norm = norm(gradient);
        if !norm.is_finite() {
            return norm.value();
        }
        let denominator = norm.add(EPSILON);
        match denominator.divide(self.limit) {
            Some(factor) if factor >= 1.0 => (),
            Some(factor) if factor >= f32::MIN_POSITIVE => multiply(gradient, factor),
            // A number as small as the factor is inaccurate, so it is applied in several steps.
            _ => {
                multiply(gradient, 1.0 / SCALE);
                let rest = self.limit / denominator.in_scale();
                if rest >= f32::MIN_POSITIVE {
                    multiply(gradient, rest);
                } else {
                    multiply(gradient, 1.0 / denominator.in_scale());
                    multiply(gradient, self.limit);
                }
            }
        }
        norm.value()
    }
}

fn multiply(gradient: &mut Slices<'_>, factor: f32) {
    gradient(&mut |values| values.iter_mut().for_each(|value| *value *= factor));
}

/// Returns the L2 norm, √(Σ g²), of all slices together. `gradient` passes each slice to its argument. If an element is
/// not finite, the result is NaN or infinity. A finite norm above `f32::MAX` is returned as `f32::MAX`.
pub fn l2_norm(mut gradient: impl FnMut(&mut dyn FnMut(&mut [f32]))) -> f32 {
    norm::l2(&mut gradient).value()
}

/// Returns the largest magnitude, max |g|, of all slices together. `gradient` passes each slice to its argument. The
/// result is NaN if an element is NaN, and 0 if there are no elements.
pub fn largest_magnitude(mut gradient: impl FnMut(&mut dyn FnMut(&mut [f32]))) -> f32 {
    norm::largest(&mut gradient)
}
