//! Statistics of one tensor, and statistics of the difference between two tensors.

use crate::elements::{Number, for_each, for_each_pair};
use crate::stream::Tensor;
use serde::Serialize;
use training_monitor::checkpoint::ElementType;

/// Statistics of one tensor. The minimum, the maximum, the mean, the standard deviation and the norm include only finite
/// elements. The minimum and the maximum of integers are exact. A tensor of type bool has none of the five.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct TensorStats {
    pub elements: usize,
    pub min: Option<Number>,
    pub max: Option<Number>,
    pub mean: Option<f64>,
    /// The standard deviation: the square root of the mean squared distance from the mean.
    pub std: Option<f64>,
    /// The Euclidean norm.
    pub norm: Option<f64>,
    /// The share of elements that are 0, -0 or false, from 0 to 1.
    pub zeros: f64,
    /// The number of elements that are NaN.
    pub nan: usize,
    /// The number of elements that are infinite.
    pub infinite: usize,
    /// The number of elements that are true; `None` unless the type is bool.
    #[serde(rename = "true", skip_serializing_if = "Option::is_none")]
    pub true_count: Option<usize>,
}

impl TensorStats {
    pub fn new(tensor: &Tensor) -> TensorStats {
        let len = tensor.len();
        let mut stats = TensorStats { elements: len, ..TensorStats::default() };
        let (mut float_sum, mut integer_sum, mut squares, mut zeros) = (0.0, 0_i128, 0.0, 0_usize);
        for_each(tensor.element_type, &tensor.bytes, |number| {
            match number {
                Number::Float(value) if value.is_nan() => return stats.nan += 1,
                Number::Float(value) if value.is_infinite() => return stats.infinite += 1,
                Number::Float(value) => float_sum += value,
                // At most 2^32 elements of 64 bits, so the sum fits.
                Number::Integer(value) => integer_sum += value,
            }
            squares += number.to_f64() * number.to_f64();
            zeros += usize::from(number.to_f64() == 0.0);
            stats.min = Some(stats.min.filter(|min| *min <= number).unwrap_or(number));
            stats.max = Some(stats.max.filter(|max| *max >= number).unwrap_or(number));
        });
        let finite = len - stats.non_finite();
        if finite > 0 {
            let mean = if tensor.element_type.is_float() { float_sum } else { integer_sum as f64 } / finite as f64;
            let is_finite = |value: &f64| value.is_finite();
            stats.mean = Some(mean).filter(is_finite);
            stats.std = Some((squares / finite as f64 - mean * mean).max(0.0).sqrt()).filter(is_finite);
            stats.norm = Some(squares.sqrt()).filter(is_finite);
        }
        stats.zeros = zeros as f64 / len.max(1) as f64;
        if tensor.element_type == ElementType::Bool {
            (stats.min, stats.max, stats.mean, stats.std, stats.norm) = (None, None, None, None, None);
            stats.true_count = Some(len - zeros);
        }
        stats
    }

    /// Returns the number of elements of the tensor that are NaN or infinite.
    pub const fn non_finite(&self) -> usize {
        self.nan + self.infinite
    }
}

/// Statistics of the difference between two tensors with the same name, type and shape.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct TensorDifference {
    /// The number of elements whose bits differ.
    pub changed: usize,
    /// The number of elements of each tensor.
    pub elements: usize,
    /// The largest absolute difference between two elements, which is exact for integers. `None` if a difference is not
    /// finite.
    pub max_abs: Option<Number>,
    /// The Euclidean norm of the difference. `None` if the norm is not finite.
    pub l2: Option<f64>,
    /// The Euclidean norm of the difference, divided by the norm of the first tensor. `None` if the result is not
    /// finite.
    pub relative: Option<f64>,
}

impl TensorDifference {
    /// Compares the elements of two tensors, which have the same type and shape.
    pub fn new(a: &Tensor, b: &Tensor) -> TensorDifference {
        let (mut changed, mut squares, mut length) = (0, 0.0_f64, 0.0_f64);
        let (mut max_float, mut max_integer) = (0.0_f64, 0_i128);
        for_each_pair(a.element_type, &a.bytes, &b.bytes, |is_same, a, b| {
            length += a.to_f64() * a.to_f64();
            // Two equal NaN values would have the difference NaN. Therefore elements with equal bits count as equal
            // without a subtraction.
            if is_same {
                return;
            }
            changed += 1;
            let delta = match (a, b) {
                (Number::Integer(a), Number::Integer(b)) => {
                    max_integer = max_integer.max((b - a).abs());
                    (b - a) as f64
                }
                (a, b) => b.to_f64() - a.to_f64(),
            };
            // The function `f64::max` ignores NaN. Therefore a difference that is not finite is replaced by infinity.
            max_float = if delta.is_finite() { max_float.max(delta.abs()) } else { f64::INFINITY };
            squares += delta * delta;
        });
        let finite = |value: f64| value.is_finite().then_some(value);
        let max_abs = match a.element_type.is_float() {
            true => finite(max_float).map(Number::Float),
            false => Some(Number::Integer(max_integer)),
        };
        let (l2, relative) = (finite(squares.sqrt()), finite((squares / length).sqrt()));
        TensorDifference { changed, elements: a.len(), max_abs, l2, relative }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor<const N: usize>(element_type: ElementType, elements: impl IntoIterator<Item = [u8; N]>) -> Tensor {
        let bytes: Vec<u8> = elements.into_iter().flatten().collect();
        Tensor { name: "t".to_owned(), element_type, shape: vec![(bytes.len() / N) as u32], bytes }
    }

    fn f32_tensor(elements: &[f32]) -> Tensor {
        tensor(ElementType::F32, elements.iter().map(|element| element.to_le_bytes()))
    }

    #[test]
    fn non_finite_elements_are_counted_separately() {
        let stats = TensorStats::new(&f32_tensor(&[1.0, -3.0, 0.0, -0.0, f32::NAN, f32::INFINITY]));
        let float = |value| Some(Number::Float(value));
        assert_eq!((stats.min, stats.max, stats.mean), (float(-3.0), float(1.0), Some(-0.5)));
        assert_eq!((stats.zeros, stats.nan, stats.infinite), (2.0 / 6.0, 1, 1));
        assert_eq!((stats.norm, stats.std), (Some(10_f64.sqrt()), Some(2.25_f64.sqrt())));
        let empty = TensorStats::new(&f32_tensor(&[]));
        assert_eq!((empty.min, empty.mean, empty.zeros), (None, None, 0.0));
    }

    #[test]
    fn statistics_of_integers_are_exact() {
        let elements = [i64::MIN, i64::MAX, (1 << 53) + 1, 0];
        let stats = TensorStats::new(&tensor(ElementType::I64, elements.map(i64::to_le_bytes)));
        assert_eq!(stats.min, Some(Number::Integer(i64::MIN.into())));
        assert_eq!(stats.max, Some(Number::Integer(i64::MAX.into())));
        assert_eq!((stats.mean, stats.zeros), (Some(((1_i64 << 53) as f64) / 4.0), 0.25));
        let stats = TensorStats::new(&tensor(ElementType::U64, [u64::MAX, u64::MAX - 1].map(u64::to_le_bytes)));
        assert_eq!(serde_json::to_value(stats).unwrap()["min"].as_u64(), Some(u64::MAX - 1));
        let stats = TensorStats::new(&tensor(ElementType::Bool, [[1], [0], [1], [1]]));
        assert_eq!((stats.min, stats.mean, stats.zeros, stats.true_count), (None, None, 0.25, Some(3)));
    }

    #[test]
    fn differences_compare_bits() {
        let new = |a: &[f32], b: &[f32]| TensorDifference::new(&f32_tensor(a), &f32_tensor(b));
        let difference = new(&[3.0, 4.0, 0.0, f32::NAN], &[3.0, 4.5, -0.0, f32::NAN]);
        assert_eq!((difference.changed, difference.max_abs, difference.l2), (2, Some(Number::Float(0.5)), Some(0.5)));
        let broken = new(&[1.0, 1.0], &[f32::NAN, 2.0]);
        assert_eq!((broken.changed, broken.max_abs, broken.l2), (2, None, None));
    }

    #[test]
    fn differences_of_integers_are_exact() {
        let new = |a: i64, b: i64| {
            let tensors = [a, b].map(|element| tensor(ElementType::I64, [element.to_le_bytes()]));
            TensorDifference::new(&tensors[0], &tensors[1])
        };
        let difference = new(1 << 53, (1 << 53) + 1);
        assert_eq!((difference.changed, difference.max_abs), (1, Some(Number::Integer(1))));
        assert_eq!(new(i64::MAX, i64::MIN).max_abs, Some(Number::Integer(u64::MAX.into())));
    }
}
