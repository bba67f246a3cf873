//! The axes of a chart: ranges of values, the mapping of values to pixels, tick marks and their labels.

use std::f64::consts::LN_10;

/// A range of values for the vertical axis of a chart.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ValueRange {
    /// The lowest value.
    pub low: f64,
    /// The highest value.
    pub high: f64,
}

impl ValueRange {
    /// Returns the smallest range that contains all `values`, or `None` if there is no value. NaN is no value.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<ValueRange> {
        values.into_iter().filter(|value| !value.is_nan()).fold(None, |range, value| match range {
            None => Some(ValueRange { low: value, high: value }),
            Some(ValueRange { low, high }) => Some(ValueRange { low: low.min(value), high: high.max(value) }),
        })
    }

    /// Returns whether the values span several orders of magnitude: all values are positive, and the highest value is
    /// more than 50 times the lowest value.
    ///
    /// ```
    /// use training_monitor_std::chart::ValueRange;
    ///
    /// let is_wide = |values: [f64; 3]| ValueRange::of(values).unwrap().is_wide();
    /// assert!(is_wide([0.01, 0.2, 1.0]));
    /// assert!(!is_wide([0.0, 0.2, 1.0]));
    /// ```
    #[must_use]
    pub fn is_wide(self) -> bool {
        self.low > 0.0 && self.high / self.low > 50.0
    }
}

/// A tick mark of an axis.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Tick {
    /// The value at which the mark is.
    pub value: f64,
    /// The value as text.
    pub label: String,
}

/// A linear or logarithmic axis. It maps values to positions, such as pixels of an image or rows of a terminal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    /// The lowest value of the axis. If the axis is logarithmic, this is the natural logarithm of the lowest value.
    low: f64,
    /// The highest value of the axis. If the axis is logarithmic, this is the natural logarithm of the highest value.
    high: f64,
    /// The position of the lowest value.
    low_position: f64,
    /// The position of the highest value.
    high_position: f64,
    is_logarithmic: bool,
}

impl Axis {
    /// Creates a linear axis. The values from `low` to `high` map to the positions from `low_position` to
    /// `high_position`.
    pub fn linear(low: f64, high: f64, low_position: f64, high_position: f64) -> Axis {
        // A range without an extent is extended, because `position` divides by it.
        let high = if high > low { high } else { low + low.abs().max(1e-6) * 0.1 };
        Axis { low, high, low_position, high_position, is_logarithmic: false }
    }

    /// Creates an axis that shows all values of `range` and a small margin. The values of a logarithmic axis must be
    /// positive.
    pub fn for_range(range: Option<ValueRange>, is_logarithmic: bool, low_position: f64, high_position: f64) -> Axis {
        let Some(ValueRange { low, high }) = range else {
            return Axis::linear(0.0, 1.0, low_position, high_position);
        };
        if is_logarithmic && low > 0.0 {
            let (low, high) = (low.ln(), high.ln());
            let margin = ((high - low) * 0.03).max(0.1);
            let (low, high) = (low - margin, high + margin);
            return Axis { low, high, low_position, high_position, is_logarithmic: true };
        }
        let margin = match high - low {
            // A constant value is in the middle of the axis.
            0.0 if low == 0.0 => 0.5,
            0.0 => low.abs() * 0.5,
            extent => extent * 0.06,
        };
        Axis::linear(low - margin, high + margin, low_position, high_position)
    }

    /// Returns whether the axis is logarithmic.
    pub const fn is_logarithmic(&self) -> bool {
        self.is_logarithmic
    }

    /// Returns the position of a value. A value outside the range of the axis gets the position of the nearest end of
    /// the axis.
    pub fn position(&self, value: f64) -> f64 {
        let value = if self.is_logarithmic { value.max(f64::MIN_POSITIVE).ln() } else { value };
        let fraction = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        self.low_position + fraction * (self.high_position - self.low_position)
    }

    /// Returns the tick marks of the axis at round values, such as 0.2 or 50. `spacing` is the minimum distance of two
    /// marks.
    pub fn ticks(&self, spacing: f64) -> Vec<Tick> {
        if self.is_logarithmic { self.logarithmic_ticks(spacing) } else { self.linear_ticks(spacing, 0.0) }
    }

    /// Returns the tick marks of an axis whose values are whole numbers.
    pub fn whole_ticks(&self, spacing: f64) -> Vec<Tick> {
        self.linear_ticks(spacing, 1.0)
    }

    fn length(&self) -> f64 {
        (self.high_position - self.low_position).abs()
    }

    fn linear_ticks(&self, spacing: f64, min_step: f64) -> Vec<Tick> {
        let count = (self.length() / spacing).floor().max(1.0);
        let rough = ((self.high - self.low) / count).max(min_step);
        let exponent = rough.log10().floor() as i32;
        let steps = [(1.0, exponent), (2.0, exponent), (5.0, exponent), (1.0, exponent + 1), (2.0, exponent + 1)];
        let is_long = |(digit, exponent): &(f64, i32)| decimal(*digit, *exponent) >= rough * 0.999;
        let (digit, exponent) = steps.into_iter().find(is_long).unwrap_or(steps[4]);
        let step = decimal(digit, exponent);
        let first = (self.low / step).ceil();
        // Each value is a multiple of the step, because repeated additions would accumulate rounding errors.
        let values = (0..=count as u32 + 1).map(|index| (first + f64::from(index)) * step);
        let values = values.take_while(|value| *value <= self.high + step * 1e-9);
        values.map(|value| Tick { value, label: self.label(value, exponent) }).collect()
    }

    /// Formats a multiple of a step with the given decimal exponent.
    fn label(&self, value: f64, exponent: i32) -> String {
        let magnitude = self.low.abs().max(self.high.abs());
        if value.abs() < decimal(0.5, exponent) {
            return "0".to_owned();
        }
        if (1e-4..1e7).contains(&magnitude) {
            let digits = (-exponent).clamp(0, 9) as usize;
            return format!("{value:.digits$}");
        }
        let digits = (value.abs().log10().floor() as i32 - exponent).clamp(0, 5) as usize;
        format!("{value:.digits$e}")
    }

    fn logarithmic_ticks(&self, spacing: f64) -> Vec<Tick> {
        let (low, high) = (self.low / LN_10, self.high / LN_10);
        let decade = self.length() / (high - low);
        // Between two decades, there are marks at 2 and 5 if the distance from 1 to 2 is sufficient.
        let digits: &[u32] = if decade * 2f64.log10() >= spacing { &[1, 2, 5] } else { &[1] };
        let step = [1, 2, 3, 5, 10, 20, 50, 100, 200].into_iter().find(|step| decade * f64::from(*step) >= spacing);
        let step = step.unwrap_or(500);
        let decades = (low.floor() as i32..=high.ceil() as i32).filter(|decade| decade.rem_euclid(step) == 0);
        let marks = decades.flat_map(|decade| digits.iter().map(move |digit| (*digit, decade)));
        let tick = |(digit, exponent): (u32, i32)| {
            let value = decimal(f64::from(digit), exponent);
            let label = match exponent {
                0..6 => format!("{value:.0}"),
                -4..0 => format!("{value:.*}", -exponent as usize),
                _ => format!("{digit}e{exponent}"),
            };
            Tick { value, label }
        };
        marks.map(tick).filter(|tick| (self.low..=self.high).contains(&tick.value.ln())).collect()
    }
}

/// Returns `digit` · 10^`exponent`. The parser rounds correctly, but `powi` does not: `10f64.powi(36)` is not 1e36.
fn decimal(digit: f64, exponent: i32) -> f64 {
    format!("{digit}e{exponent}").parse().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis, spacing: f64) -> Vec<String> {
        axis.ticks(spacing).into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn ticks_are_round_numbers_within_the_range() {
        assert_eq!(labels(&Axis::linear(0.0, 430.0, 0.0, 100.0), 20.0), ["0", "100", "200", "300", "400"]);
        assert_eq!(labels(&Axis::linear(0.47, 1.02, 0.0, 100.0), 25.0), ["0.6", "0.8", "1.0"]);
        assert_eq!(labels(&Axis::linear(-2e-5, 2e-5, 0.0, 100.0), 33.0), ["-2e-5", "0", "2e-5"]);
        assert_eq!(labels(&Axis::linear(0.0, 3.4e38, 0.0, 100.0), 50.0), ["0", "2e38"]);
        assert_eq!(labels(&Axis::linear(123_456_000.0, 123_457_000.0, 0.0, 100.0), 50.0)[0], "1.23456e8");
        let log = |range, length| Axis::for_range(ValueRange::of(range), true, 0.0, length);
        assert_eq!(labels(&log([0.002, 3.0], 100.0), 25.0), ["0.01", "0.1", "1"]);
        assert_eq!(labels(&log([0.02, 3.0], 200.0), 14.0), ["0.02", "0.05", "0.1", "0.2", "0.5", "1", "2"]);
        assert_eq!(labels(&Axis::linear(0.0, 3.0, 0.0, 400.0), 40.0).len(), 7);
        assert_eq!(Axis::linear(0.0, 3.0, 0.0, 400.0).whole_ticks(40.0).len(), 4);
        // An axis without values must still have tick marks. An axis with a single value shows it in the middle.
        assert!(!Axis::for_range(ValueRange::of([]), false, 0.0, 1.0).ticks(0.2).is_empty());
        for value in [2.0, 0.0, -1e300] {
            assert!((Axis::for_range(ValueRange::of([value]), false, 0.0, 1.0).position(value) - 0.5).abs() < 1e-9);
        }
    }

    /// A range of f32 has 83 decades. Their labels must not overlap, and each of them is a power of ten.
    #[test]
    fn labels_of_many_decades_do_not_overlap() {
        let axis = Axis::for_range(ValueRange::of([1e-45, 3.4e38]), true, 200.0, 0.0);
        let ticks = axis.ticks(14.0);
        assert!(ticks.len() > 5, "{ticks:?}");
        for pair in ticks.windows(2) {
            assert!(axis.position(pair[0].value) - axis.position(pair[1].value) >= 14.0);
        }
        assert_eq!(labels(&axis, 14.0).last().map(String::as_str), Some("1e40"));
        let all = Axis::for_range(ValueRange::of([1e-300, 1e300]), true, 0.0, 120.0);
        assert!(!all.ticks(14.0).is_empty());
    }
}
