//! The statistics of durations, in constant memory.

use crate::handlers::timer::divide;
use core::fmt;
use core::num::NonZeroU32;

/// Count, total, minimum, maximum, mean and standard deviation of durations in ticks.
///
/// A tick is the unit of the program's clock. The memory does not grow with the number of durations. All sums are
/// integers, so they do not depend on the order of the durations, and every target computes the same bits. Before the
/// first duration, every number is 0.
///
/// The limits of the integers are out of reach in practice:
///
/// * After `u32::MAX` durations, further ones are ignored.
/// * The total stops at `u64::MAX` ticks. At one tick per microsecond, this takes 584 000 years. The mean is then too small,
///   and the deviation is wrong. The sum of the squared durations fits into a `u128` until then.
///
/// ```
/// use training_monitor::handlers::profiler::TickStatistics;
///
/// let mut step = TickStatistics::new();
/// for ticks in [20, 30, 40] {
///     step.update(ticks);
/// }
/// assert_eq!((step.count(), step.total(), step.min(), step.max()), (3, 90, 20, 40));
/// assert_eq!((step.mean(), step.deviation()), (30.0, 10.0));
/// // The program knows the rate of its clock. Milliseconds at 1 MHz:
/// assert_eq!(step.mean() / 1000.0, 0.03);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TickStatistics {
    pub(super) count: u32,
    pub(super) total: u64,
    pub(super) min: u64,
    pub(super) max: u64,
    /// The sum of the squared durations.
    pub(super) squares: u128,
}

impl TickStatistics {
    /// The heading of a table. Each row of the table is a name of up to 16 characters and a `TickStatistics`, which the
    /// format string `"{name:<16}{statistics}"` aligns with the heading.
    pub const HEADER: &str =
        "name                 count            total          min          max         mean    deviation";

    /// Creates statistics without a duration.
    #[must_use]
    pub const fn new() -> Self {
        TickStatistics { count: 0, total: 0, min: 0, max: 0, squares: 0 }
    }

    /// Adds a duration of `ticks` ticks.
    pub const fn update(&mut self, ticks: u64) {
        let Some(count) = self.count.checked_add(1) else { return };
        if self.count == 0 || ticks < self.min {
            self.min = ticks;
        }
        if ticks > self.max {
            self.max = ticks;
        }
        self.count = count;
        self.total = self.total.saturating_add(ticks);
        // The square of a `u64` fits into a `u128`.
        self.squares = self.squares.saturating_add((ticks as u128).wrapping_mul(ticks as u128));
    }

    /// Returns the number of durations.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Returns the sum of the durations in ticks.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Returns the shortest duration in ticks.
    #[must_use]
    pub const fn min(&self) -> u64 {
        self.min
    }

    /// Returns the longest duration in ticks.
    #[must_use]
    pub const fn max(&self) -> u64 {
        self.max
    }

    /// Returns the mean duration in ticks.
    #[must_use]
    pub const fn mean(&self) -> f32 {
        match NonZeroU32::new(self.count) {
            Some(count) => self.total as f32 / count.get() as f32,
            None => 0.0,
        }
    }

    /// Returns the standard deviation of the durations in ticks. As in Ignite, it is the deviation of a sample: the
    /// variance is divided by the number of durations minus 1. The deviation of fewer than two durations is 0.
    #[must_use]
    pub fn deviation(&self) -> f32 {
        let Some(count) = NonZeroU32::new(self.count).filter(|count| count.get() > 1) else { return 0.0 };
        // The difference of large sums loses all digits in floats, so the differences are computed in integers. `mean` is
        // rounded down. The sum of the squared distances from it is `squares − mean · (total + remainder)`, and the
        // variance is `(count · distances − remainder²) / (count · (count − 1))`.
        let mean = divide(self.total, count);
        let count = u64::from(count.get());
        let remainder = self.total.wrapping_sub(mean.wrapping_mul(count)); // less than `count`
        let correction = u128::from(mean).wrapping_mul(u128::from(self.total).wrapping_add(u128::from(remainder)));
        let distances = self.squares.saturating_sub(correction);
        let variance = match u64::try_from(distances) {
            Ok(distances) => {
                let product = u128::from(distances).wrapping_mul(u128::from(count)); // fits
                let numerator = product.saturating_sub(u128::from(remainder.wrapping_mul(remainder)));
                numerator as f32 / count.wrapping_mul(count.wrapping_sub(1)) as f32
            }
            // The remainder has no effect on a variance of this size.
            Err(_) => distances as f32 / count.wrapping_sub(1) as f32,
        };
        libm::sqrtf(variance.min(f32::MAX))
    }

    /// Returns the mean, rounded to whole ticks.
    fn rounded_mean(&self) -> u64 {
        match NonZeroU32::new(self.count) {
            Some(count) => divide(self.total.saturating_add(u64::from(count.get() / 2)), count),
            None => 0,
        }
    }
}

/// Writes the numbers as a row of a table: count, total, minimum, maximum, mean and deviation. The mean and the deviation
/// are rounded to whole ticks.
impl fmt::Display for TickStatistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TickStatistics { count, total, min, max, .. } = self;
        let (mean, deviation) = (self.rounded_mean(), (self.deviation() + 0.5) as u64);
        write!(f, "{count:>10} {total:>16} {min:>12} {max:>12} {mean:>12} {deviation:>12}")
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for TickStatistics {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(
            f,
            "{=u32} times, total {=u64} ticks, min {=u64}, max {=u64}, mean {=f32}, deviation {=f32}",
            self.count,
            self.total,
            self.min,
            self.max,
            self.mean(),
            self.deviation()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn the_count_stops() {
        let mut statistics = TickStatistics { count: u32::MAX - 1, total: 10, min: 1, max: 5, squares: 20 };
        statistics.update(7);
        assert_eq!((statistics.count(), statistics.total(), statistics.max()), (u32::MAX, 17, 7));
        let full = statistics;
        statistics.update(9);
        assert_eq!(statistics, full);
    }

    /// A checkpoint can contain numbers that are not those of any durations. No query of them panics.
    #[test]
    fn every_number_gives_finite_results() {
        let numbers = [0, 1, 2, u64::from(u32::MAX), 1 << 40, u64::MAX - 1, u64::MAX];
        for count in [0, 1, 2, u32::MAX - 1, u32::MAX] {
            for total in numbers {
                for squares in [0, 1, u128::from(u64::MAX), 1 << 96, u128::MAX - 1, u128::MAX] {
                    let mut statistics = TickStatistics { count, total, min: total, max: 3, squares };
                    assert!(statistics.deviation().is_finite() && statistics.mean().is_finite());
                    // A number with many digits moves the rest of its row, but two numbers never touch.
                    assert_eq!(statistics.to_string().split_whitespace().count(), 6);
                    statistics.update(u64::MAX);
                }
            }
        }
    }
}
