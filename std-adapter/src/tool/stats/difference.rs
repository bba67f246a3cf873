//! Statistics of the difference between two tensors.

use super::kernel::{BLOCK, difference_block};
use crate::tool::elements::{Number, for_each_pair};
use fearless_simd::Level;
use serde::Serialize;
use training_monitor::checkpoint::ElementType;

/// Statistics of the difference between two tensors with the same name, type and shape.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct TensorDifference {
    /// The number of elements whose bits differ.
    pub changed: u64,
    /// The number of elements whose difference exceeds the tolerance; `None` if there is no tolerance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outside: Option<u64>,
    /// The number of elements of each tensor.
    pub elements: u64,
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
    /// Returns whether the tensors are equal: within the tolerance if there is one, otherwise bit by bit.
    pub fn is_equal(&self) -> bool {
        self.outside.unwrap_or(self.changed) == 0
    }
}

/// The largest difference that counts as equal. As in `numpy.allclose`, elements `a` and `b` are equal if
/// `|a - b| <= atol + rtol * |b|`. Elements with the same bits are always equal.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Tolerance {
    pub rtol: f64,
    pub atol: f64,
}

impl Tolerance {
    fn includes(self, a: Number, b: Number) -> bool {
        let limit = self.atol + self.rtol * b.to_f64().abs();
        match (a, b) {
            (Number::Integer(a), Number::Integer(b)) => (b - a).abs() as f64 <= limit,
            // Infinities are equal only to themselves, and 0 is equal to -0.
            (a, b) => a == b || b.to_f64().is_finite() && (b.to_f64() - a.to_f64()).abs() <= limit,
        }
    }
}

/// Computes a [`TensorDifference`] from chunks of both tensors.
#[derive(Debug)]
pub struct DifferenceCollector {
    element_type: ElementType,
    tolerance: Option<Tolerance>,
    /// The vector instructions of the processor.
    level: Level,
    elements: u64,
    changed: u64,
    outside: u64,
    max_float: f64,
    max_integer: i128,
    /// The sum of the squares of the differences, and of the elements of the first tensor.
    squares: f64,
    first_squares: f64,
}

impl DifferenceCollector {
    pub fn new(element_type: ElementType, tolerance: Option<Tolerance>) -> DifferenceCollector {
        DifferenceCollector {
            element_type,
            tolerance,
            level: Level::new(),
            elements: 0,
            changed: 0,
            outside: 0,
            max_float: 0.0,
            max_integer: 0,
            squares: 0.0,
            first_squares: 0.0,
        }
    }

    /// Adds the next elements of both tensors. The chunks have the same length, and consist of whole elements.
    pub fn add(&mut self, a: &[u8], b: &[u8]) {
        let size = self.element_type.size() as usize;
        for (a, b) in a.chunks(BLOCK * size).zip(b.chunks(BLOCK * size)) {
            if !self.add_block([a, b]) {
                self.add_each(a, b);
            }
        }
        self.elements += (a.len() / size) as u64;
    }

    /// Adds a block. Returns false if the type is not one that [`difference_block`] supports, or if an element is NaN or
    /// infinite.
    fn add_block(&mut self, blocks: [&[u8]; 2]) -> bool {
        let tolerance = self.tolerance.map(|Tolerance { rtol, atol }| (rtol, atol));
        let Some(sums) = difference_block(self.level, self.element_type, blocks, tolerance) else {
            return false;
        };
        self.changed += sums.changed;
        self.outside += sums.outside;
        if self.element_type.is_float() {
            self.max_float = self.max_float.max(sums.max_abs);
        } else {
            self.max_integer = self.max_integer.max(sums.max_abs as i128);
        }
        self.squares += sums.squares;
        self.first_squares += sums.first_squares;
        true
    }

    /// Adds the sums of the elements that `other` has received.
    pub fn merge(&mut self, other: &DifferenceCollector) {
        self.elements += other.elements;
        self.changed += other.changed;
        self.outside += other.outside;
        self.max_float = self.max_float.max(other.max_float);
        self.max_integer = self.max_integer.max(other.max_integer);
        self.squares += other.squares;
        self.first_squares += other.first_squares;
    }

    fn add_each(&mut self, a: &[u8], b: &[u8]) {
        for_each_pair(self.element_type, a, b, |is_same, a, b| {
            self.first_squares += a.to_f64() * a.to_f64();
            // Two equal NaN values would have the difference NaN. Therefore elements with equal bits count as equal
            // without a subtraction.
            if is_same {
                return;
            }
            self.changed += 1;
            self.outside += u64::from(self.tolerance.is_some_and(|tolerance| !tolerance.includes(a, b)));
            let delta = match (a, b) {
                (Number::Integer(a), Number::Integer(b)) => {
                    self.max_integer = self.max_integer.max((b - a).abs());
                    (b - a) as f64
                }
                (a, b) => b.to_f64() - a.to_f64(),
            };
            // The function `f64::max` ignores NaN. Therefore a difference that is not finite is replaced by infinity.
            self.max_float = if delta.is_finite() { self.max_float.max(delta.abs()) } else { f64::INFINITY };
            self.squares += delta * delta;
        });
    }

    pub fn finish(self) -> TensorDifference {
        let finite = |value: f64| value.is_finite().then_some(value);
        let max_abs = match self.element_type.is_float() {
            true => finite(self.max_float).map(Number::Float),
            false => Some(Number::Integer(self.max_integer)),
        };
        let relative = if self.changed == 0 { Some(0.0) } else { finite((self.squares / self.first_squares).sqrt()) };
        TensorDifference {
            changed: self.changed,
            outside: self.tolerance.map(|_| self.outside),
            elements: self.elements,
            max_abs,
            l2: finite(self.squares.sqrt()),
            relative,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference<const N: usize>(
        element_type: ElementType,
        [a, b]: [Vec<[u8; N]>; 2],
        tolerance: Option<Tolerance>,
    ) -> TensorDifference {
        let mut collector = DifferenceCollector::new(element_type, tolerance);
        collector.add(a.as_flattened(), b.as_flattened());
        collector.finish()
    }

    fn f32_difference(a: &[f32], b: &[f32], tolerance: Option<Tolerance>) -> TensorDifference {
        let bytes = [a, b].map(|elements| elements.iter().map(|element| element.to_le_bytes()).collect());
        difference(ElementType::F32, bytes, tolerance)
    }

    #[test]
    fn differences_compare_bits() {
        let found = f32_difference(&[3.0, 4.0, 0.0, f32::NAN], &[3.0, 4.5, -0.0, f32::NAN], None);
        assert_eq!((found.changed, found.max_abs, found.l2), (2, Some(Number::Float(0.5)), Some(0.5)));
        let found = f32_difference(&[3.0, 4.0, 0.0], &[3.0, 4.5, -0.0], None);
        assert_eq!((found.changed, found.max_abs, found.l2), (2, Some(Number::Float(0.5)), Some(0.5)));
        assert_eq!(found.relative, Some(0.1));
        let broken = f32_difference(&[1.0, 1.0], &[f32::NAN, 2.0], None);
        assert_eq!((broken.changed, broken.max_abs, broken.l2), (2, None, None));
        // A later finite difference does not hide one that is not finite.
        let broken = f32_difference(&[f32::MAX, 1.0], &[f32::INFINITY, 2.0], None);
        assert_eq!((broken.changed, broken.max_abs), (2, None));
    }

    #[test]
    fn differences_of_integers_are_exact() {
        let new =
            |a: i64, b: i64| difference(ElementType::I64, [a, b].map(|element| vec![element.to_le_bytes()]), None);
        let found = new(1 << 53, (1 << 53) + 1);
        assert_eq!((found.changed, found.max_abs), (1, Some(Number::Integer(1))));
        assert_eq!(new(i64::MAX, i64::MIN).max_abs, Some(Number::Integer(u64::MAX.into())));
        let elements = [i32::MIN, i32::MAX].map(|element| vec![element.to_le_bytes(), 7_i32.to_le_bytes()]);
        let found = difference(ElementType::I32, elements, None);
        assert_eq!((found.changed, found.max_abs), (1, Some(Number::Integer(u32::MAX.into()))));
    }

    #[test]
    fn a_tolerance_compares_as_numpy_does() {
        let tolerance = |rtol, atol| Some(Tolerance { rtol, atol });
        let outside = |a: f32, b: f32, rtol, atol| f32_difference(&[a], &[b], tolerance(rtol, atol)).outside.unwrap();
        assert_eq!(outside(1.0, 1.5, 0.0, 0.5), 0);
        assert_eq!(outside(1.0, 1.5, 0.0, 0.25), 1);
        // The tolerance is relative to the second tensor.
        assert_eq!((outside(1.0, 2.0, 0.5, 0.0), outside(2.0, 1.0, 0.5, 0.0)), (0, 1));
        assert_eq!((outside(0.0, -0.0, 0.0, 0.0), outside(f32::NAN, f32::NAN, 0.0, 0.0)), (0, 0));
        assert_eq!((outside(1.0, f32::NAN, 9.0, 9.0), outside(f32::NAN, 1.0, 9.0, 9.0)), (1, 1));
        assert_eq!((outside(1.0, f32::INFINITY, 9.0, 9.0), outside(f32::INFINITY, 1.0, 9.0, 9.0)), (1, 1));
        let integers = [[[1_u8], [9]], [[2], [3]]].map(Vec::from);
        let found = difference(ElementType::U8, integers, tolerance(0.0, 1.0));
        assert_eq!((found.changed, found.outside, found.is_equal()), (2, Some(1), false));
    }
}
