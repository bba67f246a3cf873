//! Statistics of one tensor, and statistics of the difference between two tensors.

use serde::Serialize;

/// Statistics of one tensor. The minimum, the maximum and the mean include only finite elements.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct TensorStats {
    pub elements: usize,
    pub min: Option<f32>,
    pub max: Option<f32>,
    pub mean: Option<f64>,
    /// The share of elements that are 0 or -0, from 0 to 1.
    pub zeros: f64,
    /// The number of elements that are NaN.
    pub nan: usize,
    /// The number of elements that are infinite.
    pub infinite: usize,
}

impl TensorStats {
    pub fn new(elements: &[f32]) -> TensorStats {
        let mut stats = TensorStats { elements: elements.len(), ..TensorStats::default() };
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
        let finite = elements.len() - stats.non_finite();
        if finite > 0 {
            stats.mean = Some(sum / finite as f64);
        }
        stats.zeros = zeros as f64 / elements.len().max(1) as f64;
        stats
    }

    /// Returns the number of elements of the tensor that are NaN or infinite.
    pub const fn non_finite(&self) -> usize {
        self.nan + self.infinite
    }
}

/// Statistics of the difference between two tensors with the same name and shape.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct TensorDifference {
    /// The number of elements whose bits differ.
    pub changed: usize,
    /// The number of elements of each tensor.
    pub elements: usize,
    /// The largest absolute difference between two elements. `None` if a difference is not finite.
    pub max_abs: Option<f64>,
    /// The Euclidean norm of the difference. `None` if the norm is not finite.
    pub l2: Option<f64>,
    /// The Euclidean norm of the difference, divided by the norm of the first tensor. `None` if the result is not
    /// finite.
    pub relative: Option<f64>,
}

impl TensorDifference {
    /// Compares the elements of two tensors. The slices `a` and `b` must have the same length.
    pub fn new(a: &[f32], b: &[f32]) -> TensorDifference {
        let mut difference =
            TensorDifference { changed: 0, elements: a.len(), max_abs: None, l2: None, relative: None };
        let (mut max, mut squares, mut length) = (0.0_f64, 0.0_f64, 0.0_f64);
        for (a, b) in a.iter().zip(b) {
            // Two equal NaN values would have the difference NaN. Therefore elements with equal bits count as equal
            // without a subtraction.
            let same = a.to_bits() == b.to_bits();
            difference.changed += usize::from(!same);
            let delta = if same { 0.0 } else { f64::from(*b) - f64::from(*a) };
            // The function `f64::max` ignores NaN. Therefore a difference that is not finite is replaced by infinity.
            max = if delta.is_finite() { max.max(delta.abs()) } else { f64::INFINITY };
            squares += delta * delta;
            length += f64::from(*a) * f64::from(*a);
        }
        let finite = |value: f64| value.is_finite().then_some(value);
        difference.max_abs = finite(max);
        difference.l2 = finite(squares.sqrt());
        difference.relative = finite((squares / length).sqrt());
        difference
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn non_finite_elements_are_counted_separately() {
        let stats = TensorStats::new(&[1.0, -3.0, 0.0, -0.0, f32::NAN, f32::INFINITY]);
        assert_eq!((stats.min, stats.max, stats.mean), (Some(-3.0), Some(1.0), Some(-0.5)));
        assert_eq!((stats.zeros, stats.nan, stats.infinite), (2.0 / 6.0, 1, 1));
        let empty = TensorStats::new(&[]);
        assert_eq!((empty.min, empty.mean, empty.zeros), (None, None, 0.0));
    }

    #[test]
    fn differences_compare_bits() {
        let difference = TensorDifference::new(&[3.0, 4.0, 0.0, f32::NAN], &[3.0, 4.5, -0.0, f32::NAN]);
        assert_eq!((difference.changed, difference.max_abs, difference.l2), (2, Some(0.5), Some(0.5)));
        let broken = TensorDifference::new(&[1.0, 1.0], &[f32::NAN, 2.0]);
        assert_eq!((broken.changed, broken.max_abs, broken.l2), (2, None, None));
    }
}
