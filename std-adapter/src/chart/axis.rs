//! A range of values on a range of pixels, and round numbers in it.

/// A linear or logarithmic scale.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    log: bool,
}

impl Axis {
    /// Values `low` to `high` on pixels `from` to `to`.
    pub fn linear(low: f64, high: f64, from: f64, to: f64) -> Axis {
        // A range of nothing is given some.
        let high = if high > low { high } else { low + low.abs().max(1.0) * 0.1 };
        Axis { low, high, from, to, log: false }
    }

    /// For `values`, with some room; logarithmic if they are positive and span more than a factor of 50.
    pub fn fitting(values: impl Iterator<Item = f64> + Clone, from: f64, to: f64) -> Axis {
        let low = values.clone().fold(f64::INFINITY, f64::min);
        let high = values.fold(f64::NEG_INFINITY, f64::max);
        if low > high {
            return Axis::linear(0.0, 1.0, from, to);
        }
        if low > 0.0 && high / low > 50.0 {
            return Axis { low: low.ln() - 0.1, high: high.ln() + 0.1, from, to, log: true };
        }
        let room = (high - low) * 0.06;
        Axis::linear(low - room, high + room, from, to)
    }

    pub const fn is_log(&self) -> bool {
        self.log
    }

    /// The pixel of a value; those outside are at the edge.
    pub fn at(&self, value: f64) -> f64 {
        let value = if self.log { value.max(f64::MIN_POSITIVE).ln() } else { value };
        let part = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        self.from + part * (self.to - self.from)
    }

    /// Round values inside, about `wanted` of them.
    pub fn ticks(&self, wanted: usize) -> Vec<f64> {
        if self.log {
            let decades =
                (self.low / std::f64::consts::LN_10).floor() as i32..=(self.high / std::f64::consts::LN_10) as i32;
            let few = (self.high - self.low) / std::f64::consts::LN_10 < 2.5;
            let steps: &[f64] = if few { &[1.0, 2.0, 5.0] } else { &[1.0] };
            let all = decades.flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade)));
            return all.filter(|value| (self.low..=self.high).contains(&value.ln())).collect();
        }
        let rough = (self.high - self.low) / wanted.max(1) as f64;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].iter().map(|step| step * power).find(|step| *step >= rough * 0.999);
        let step = step.unwrap_or(10.0 * power);
        let first = (self.low / step).ceil() as i64;
        // By number, not by adding up: 0.3 is not 0.30000000000000004.
        (first..).map(|n| n as f64 * step).take_while(|value| *value <= self.high * (1.0 + 1e-12)).take(50).collect()
    }
}

/// A number as short as it can be told apart: at most five digits.
pub(super) fn number(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-4..1e6).contains(&magnitude) {
        return format!("{value:e}");
    }
    let digits = if magnitude >= 1000.0 { 0 } else { 5 };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_numbers() {
        assert_eq!(Axis::linear(0.0, 430.0, 0.0, 1.0).ticks(5), [0.0, 100.0, 200.0, 300.0, 400.0]);
        let ticks: Vec<String> = Axis::linear(0.47, 1.02, 0.0, 1.0).ticks(4).into_iter().map(number).collect();
        assert_eq!(ticks, ["0.6", "0.8", "1"]);
        let log = Axis::fitting([0.002, 3.0].into_iter(), 0.0, 1.0);
        assert_eq!(log.ticks(4).into_iter().map(number).collect::<Vec<_>>(), ["0.01", "0.1", "1"]);
        // Nothing, or one value only.
        assert!(!Axis::fitting([].into_iter(), 0.0, 1.0).ticks(4).is_empty());
        assert!(Axis::fitting([2.0].into_iter(), 0.0, 1.0).at(2.0).is_finite());
    }
}
