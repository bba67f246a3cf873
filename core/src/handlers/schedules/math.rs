//! The arithmetic that several schedules share.

use crate::config::ConfigError;

/// Returns `value`, or an error if it is NaN or infinite.
pub(super) const fn finite(value: f32) -> Result<f32, ConfigError> {
    if value.is_finite() { Ok(value) } else { Err(ConfigError::ScheduleValue) }
}

/// Returns `factor`, or an error if it is negative, NaN or infinite.
pub(super) const fn factor(factor: f32) -> Result<f32, ConfigError> {
    if factor >= 0.0 && factor < f32::INFINITY { Ok(factor) } else { Err(ConfigError::ScheduleFactor) }
}

/// Returns `steps`, or an error if it is 0.
pub(super) const fn at_least_one(steps: u32) -> Result<u32, ConfigError> {
    if steps == 0 { Err(ConfigError::ScheduleSteps) } else { Ok(steps) }
}

/// Returns the quotient and the remainder of a division. `divisor` is not 0; otherwise the result is (0, 0).
pub(super) fn divide(dividend: u32, divisor: u32) -> (u32, u32) {
    (dividend.checked_div(divisor).unwrap_or(0), dividend.checked_rem(divisor).unwrap_or(0))
}

/// Returns the progress `step / size`, at most 1. The progress is 1 if `size` is 0.
pub(super) fn progress(step: u32, size: u32) -> f32 {
    if step < size { step as f32 / size as f32 } else { 1.0 }
}

/// Returns the number between `start` (progress 0) and `end` (progress 1). Both ends are exact. The sum of two products
/// cannot overflow, unlike the product with the difference `end - start`.
pub(super) fn interpolate(start: f32, end: f32, progress: f32) -> f32 {
    if start == end { start } else { start * (1.0 - progress) + end * progress }
}

/// Coefficients of `sin(π/2 · y) ≈ y · (C₀ + C₁y² + C₂y⁴ + C₃y⁶ + C₄y⁸)` for `y` from −1 to 1 (C. Hastings, Approximations
/// for Digital Computers, 1955).
const SINE: [f32; 5] = [1.570_796_4, -0.645_963_7, 0.079_689_68, -0.004_673_765_6, 0.000_151_484_19];

/// Returns the progress along half a cosine wave, `(1 − cos(π · progress)) / 2`: exactly 0 at progress 0, and exactly 1 at
/// progress 1. The error is below 2 · 10⁻⁷.
///
/// `cosf` of libm reduces arguments of any size and computes in `f64`. On a Cortex-M4F it takes 6 KiB of code, with the
/// `f64` functions. This polynomial takes 100 bytes.
pub(super) fn cosine_progress(progress: f32) -> f32 {
    // cos(π · progress) is sin(π/2 · y).
    let y = 1.0 - 2.0 * progress;
    let square = y * y;
    let sine = y * SINE.iter().rev().fold(0.0, |sum, coefficient| sum * square + coefficient);
    // Next to the ends, rounding can give a number outside the range.
    (0.5 - 0.5 * sine).clamp(0.0, 1.0)
}

/// Returns `value · factor^count`. The result is limited to the finite numbers.
pub(super) fn scale(value: f32, factor: f32, count: u32) -> f32 {
    let count = count as f32;
    let power = libm::powf(factor, count);
    let product = if power.is_finite() {
        value * power
    } else {
        // The product of a small value with the power need not overflow, even if the power does.
        let root = libm::powf(factor, 0.25 * count);
        (0..4).fold(value, |product, _| product * root)
    };
    limit(product, value)
}

/// Limits `product` to the finite numbers. The product of 0 and infinity is NaN; the result is then `value`, which is 0.
pub(super) fn limit(product: f32, value: f32) -> f32 {
    if product.is_nan() { value } else { product.clamp(f32::MIN, f32::MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_exact() {
        for (start, end) in [(0.1, 0.3), (f32::MIN, f32::MAX), (1e-30, 1.0), (0.0, 0.0), (0.7, 0.7)] {
            assert_eq!([0.0, 1.0].map(|p| interpolate(start, end, cosine_progress(p))), [start, end]);
        }
        // Rounding can make the sum of the weights greater than 1.
        let largest = [f32::MAX, f32::from_bits(f32::MAX.to_bits() - 1)];
        for step in 0..10_000 {
            let value = interpolate(largest[0], largest[1], progress(step, 10_000));
            assert!((largest[1]..=largest[0]).contains(&value), "{step}: {value}");
        }
        assert_eq!([0, 1, 2, 3, u32::MAX].map(|step| progress(step, 2)), [0.0, 0.5, 1.0, 1.0, 1.0]);
        assert_eq!((progress(0, 0), divide(7, 3), divide(7, 0)), (1.0, (2, 1), (0, 0)));
    }

    #[test]
    fn half_a_cosine_wave_is_accurate_and_rises() {
        let mut last = 0.0;
        for step in 0..=100_000 {
            let part = progress(step, 100_000);
            let exact = 0.5 - 0.5 * (std::f64::consts::PI * f64::from(part)).cos();
            let value = cosine_progress(part);
            assert!((f64::from(value) - exact).abs() < 2e-7, "{part}: {value} instead of {exact}");
            assert!(value >= last - 2e-7 && (0.0..=1.0).contains(&value), "{part}: {value} after {last}");
            last = value;
        }
    }

    #[test]
    fn the_result_of_a_power_is_finite() {
        assert_eq!(scale(0.0, 2.0, u32::MAX), 0.0);
        assert_eq!((scale(1.0, 2.0, 200), scale(-1.0, 2.0, 200)), (f32::MAX, f32::MIN));
        // The power is infinite, but the product is not.
        for (value, factor, count, exact) in [(1e-30, 2.0, 200, 1.606_938e30), (-1e-38, 1e24, 3, -1e34)] {
            let relative = scale(value, factor, count) / exact;
            assert!((relative - 1.0).abs() < 1e-6, "{value} · {factor}^{count}: {relative}");
        }
        assert_eq!((scale(3.0, 0.5, 2), scale(3.0, 0.0, 0), scale(3.0, 0.0, 1)), (0.75, 3.0, 0.0));
    }
}
