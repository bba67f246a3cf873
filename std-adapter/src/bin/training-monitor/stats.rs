//! Numbers about a tensor: range, mean, zeros, and what is not a number.

use serde::Serialize;

/// Over the finite elements, but for the counts.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct Stats {
    pub elements: usize,
    pub min: Option<f32>,
    pub max: Option<f32>,
    pub mean: Option<f64>,
    /// The share of elements that are 0 (or -0).
    pub zeros: f64,
    pub nan: usize,
    pub infinite: usize,
}

impl Stats {
    pub fn of(elements: &[f32]) -> Stats {
        let mut stats = Stats { elements: elements.len(), ..Stats::default() };
        let mut sum = 0.0;
        let mut zeros = 0;
        for &element in elements {
            if element.is_nan() {
                stats.nan += 1;
            } else if element.is_infinite() {
                stats.infinite += 1;
            } else {
                sum += f64::from(element);
                zeros += usize::from(element == 0.0);
                stats.min = Some(stats.min.map_or(element, |min| min.min(element)));
                stats.max = Some(stats.max.map_or(element, |max| max.max(element)));
            }
        }
        let finite = elements.len() - stats.nan - stats.infinite;
        if finite > 0 {
            stats.mean = Some(sum / finite as f64);
        }
        stats.zeros = zeros as f64 / elements.len().max(1) as f64;
        stats
    }

    pub const fn non_finite(&self) -> usize {
        self.nan + self.infinite
    }
}

/// What tells two tensors of one name apart.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Change {
    /// Elements whose bits differ.
    pub changed: usize,
    pub elements: usize,
    /// The largest difference; none where a NaN or an infinity makes it meaningless.
    pub max_abs: Option<f64>,
    /// The length of the difference as a vector.
    pub l2: Option<f64>,
    /// The same, as a share of the length of the first.
    pub relative: Option<f64>,
}

impl Change {
    /// Of two tensors of one length.
    pub fn between(a: &[f32], b: &[f32]) -> Change {
        let mut change = Change { changed: 0, elements: a.len(), max_abs: None, l2: None, relative: None };
        let (mut max, mut squares, mut length) = (0.0_f64, 0.0_f64, 0.0_f64);
        for (a, b) in a.iter().zip(b) {
            // The same NaN has not changed.
            let same = a.to_bits() == b.to_bits();
            change.changed += usize::from(!same);
            let difference = if same { 0.0 } else { f64::from(*b) - f64::from(*a) };
            // `max` alone would lose a NaN.
            max = if difference.is_finite() { max.max(difference.abs()) } else { f64::INFINITY };
            squares += difference * difference;
            length += f64::from(*a) * f64::from(*a);
        }
        let finite = |value: f64| value.is_finite().then_some(value);
        change.max_abs = finite(max);
        change.l2 = finite(squares.sqrt());
        change.relative = finite((squares / length).sqrt());
        change
    }
}

/// A number for people: at most five digits, short where it is round.
pub fn short(value: f64) -> String {
    let magnitude = value.abs();
    if value == 0.0 {
        "0".to_owned()
    } else if !value.is_finite() {
        format!("{value}")
    } else if !(1e-4..1e6).contains(&magnitude) {
        format!("{value:.3e}")
    } else {
        let digits = (4 - magnitude.log10().floor() as i32).clamp(0, 8) as usize;
        let text = format!("{value:.digits$}");
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_finite_is_counted_and_left_out() {
        let stats = Stats::of(&[1.0, -3.0, 0.0, -0.0, f32::NAN, f32::INFINITY]);
        assert_eq!((stats.min, stats.max, stats.mean), (Some(-3.0), Some(1.0), Some(-0.5)));
        assert_eq!((stats.zeros, stats.nan, stats.infinite), (2.0 / 6.0, 1, 1));
        let nothing = Stats::of(&[]);
        assert_eq!((nothing.min, nothing.mean, nothing.zeros), (None, None, 0.0));
    }

    #[test]
    fn changes_are_of_bits() {
        let change = Change::between(&[3.0, 4.0, 0.0, f32::NAN], &[3.0, 4.5, -0.0, f32::NAN]);
        assert_eq!((change.changed, change.max_abs, change.l2), (2, Some(0.5), Some(0.5)));
        let broken = Change::between(&[1.0, 1.0], &[f32::NAN, 2.0]);
        assert_eq!((broken.changed, broken.max_abs, broken.l2), (2, None, None));
    }

    #[test]
    fn short_numbers() {
        let all = [0.0, 1.0, -0.080_738_98, 123_456.0, 1e-9, 0.5, 1e9].map(short);
        assert_eq!(all, ["0", "1", "-0.080739", "123456", "1.000e-9", "0.5", "1.000e9"]);
    }
}
