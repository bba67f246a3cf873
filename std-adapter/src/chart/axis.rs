//! The axes of a chart: ranges of values, the mapping of values to pixels, tick marks and their labels.

/// A range of values for the vertical axis of a chart.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ValueRange {
    /// The lowest value.
    pub low: f64,
    /// The highest value.
    pub high: f64,
}

impl ValueRange {
    /// Returns the smallest range that contains all `values`, or `None` if there is no value.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<ValueRange> {
        values.into_iter().fold(None, |range, value| match range {
            None => Some(ValueRange { low: value, high: value }),
            Some(ValueRange { low, high }) => Some(ValueRange { low: low.min(value), high: high.max(value) }),
        })
    }

    /// Returns whether the axis should be logarithmic. It should if all values are positive and the highest value is
    /// more than 50 times the lowest value.
    ///
    /// ```
    /// use training_monitor_std::chart::ValueRange;
    ///
    /// let is_logarithmic = |values: [f64; 3]| ValueRange::of(values).unwrap().is_logarithmic();
    /// assert!(is_logarithmic([0.01, 0.2, 1.0]));
    /// assert!(!is_logarithmic([0.0, 0.2, 1.0]));
    /// ```
    #[must_use]
    pub fn is_logarithmic(self) -> bool {
        self.low > 0.0 && self.high / self.low > 50.0
    }
}

/// A linear or logarithmic axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    /// The lowest value of the axis. If the axis is logarithmic, this is the natural logarithm of the lowest value.
    low: f64,
    /// The highest value of the axis. If the axis is logarithmic, this is the natural logarithm of the highest value.
    high: f64,
    /// The pixel coordinate to which the lowest value of the axis is mapped.
    low_pixel: f64,
    /// The pixel coordinate to which the highest value of the axis is mapped.
    high_pixel: f64,
    is_log: bool,
}

impl Axis {
    /// Creates a linear axis. The values from `low` to `high` map to the pixels from `low_pixel` to `high_pixel`.
    pub fn linear(low: f64, high: f64, low_pixel: f64, high_pixel: f64) -> Axis {
        // Extend an empty range, because `to_pixel` divides by the length of the range.
        let high = if high > low { high } else { low + low.abs().max(1.0) * 0.1 };
        Axis { low, high, low_pixel, high_pixel, is_log: false }
    }

    /// Creates an axis that shows all values of `range` and a small margin. The method `is_logarithmic` of the range
    /// decides whether the axis is logarithmic.
    pub fn for_range(range: Option<ValueRange>, low_pixel: f64, high_pixel: f64) -> Axis {
        let Some(range @ ValueRange { low, high }) = range else {
            return Axis::linear(0.0, 1.0, low_pixel, high_pixel);
        };
        if range.is_logarithmic() {
            return Axis { low: low.ln() - 0.1, high: high.ln() + 0.1, low_pixel, high_pixel, is_log: true };
        }
        let margin = (high - low) * 0.06;
        Axis::linear(low - margin, high + margin, low_pixel, high_pixel)
    }

    pub const fn is_log(&self) -> bool {
        self.is_log
    }

    /// Returns the pixel coordinate of a value. A value outside the range of the axis gets the pixel of the nearest end
    /// of the axis.
    pub fn to_pixel(self, value: f64) -> f64 {
        let value = if self.is_log { value.max(f64::MIN_POSITIVE).ln() } else { value };
        let fraction = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        self.low_pixel + fraction * (self.high_pixel - self.low_pixel)
    }

    /// Returns about `count` round numbers, such as 0.2 or 50, within the range of the axis. The chart draws a tick
    /// mark at each of them.
    pub fn ticks(&self, count: usize) -> Vec<f64> {
        if self.is_log {
            let decades =
                (self.low / std::f64::consts::LN_10).floor() as i32..=(self.high / std::f64::consts::LN_10) as i32;
            let has_few_decades = (self.high - self.low) / std::f64::consts::LN_10 < 2.5;
            let steps: &[f64] = if has_few_decades { &[1.0, 2.0, 5.0] } else { &[1.0] };
            let all = decades.flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade)));
            return all.filter(|value| (self.low..=self.high).contains(&value.ln())).collect();
        }
        let rough = (self.high - self.low) / count.max(1) as f64;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].iter().map(|step| step * power).find(|step| *step >= rough * 0.999);
        let step = step.unwrap_or(10.0 * power);
        let first = (self.low / step).ceil() as i64;
        // Multiply the step for each tick, because repeated addition would accumulate rounding errors.
        (first..).map(|n| n as f64 * step).take_while(|value| *value <= self.high * (1.0 + 1e-12)).take(50).collect()
    }
}

/// Formats a number with at most five digits after the decimal point and without trailing zeros.
pub(super) fn format_number(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-4..1e6).contains(&magnitude) {
        return format!("{value:e}");
    }
    let digits = if magnitude >= 1000.0 { 0 } else { 5 };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// Formats a number with at most four digits after the decimal point.
pub(super) fn format_rounded(value: f64) -> String {
    format_number((value * 1e4).round() / 1e4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers_within_the_range() {
        assert_eq!(Axis::linear(0.0, 430.0, 0.0, 1.0).ticks(5), [0.0, 100.0, 200.0, 300.0, 400.0]);
        let ticks: Vec<String> = Axis::linear(0.47, 1.02, 0.0, 1.0).ticks(4).into_iter().map(format_number).collect();
        assert_eq!(ticks, ["0.6", "0.8", "1"]);
        let log = Axis::for_range(ValueRange::of([0.002, 3.0]), 0.0, 1.0);
        assert_eq!(log.ticks(4).into_iter().map(format_number).collect::<Vec<_>>(), ["0.01", "0.1", "1"]);
        // An axis without values must still have tick marks. An axis with a single value must map this value to a
        // finite pixel.
        assert!(!Axis::for_range(ValueRange::of([]), 0.0, 1.0).ticks(4).is_empty());
        assert!(Axis::for_range(ValueRange::of([2.0]), 0.0, 1.0).to_pixel(2.0).is_finite());
    }
}
