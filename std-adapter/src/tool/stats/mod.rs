//! Statistics of tensors, which are computed while their elements are read.

mod difference;
mod kernel;

pub use difference::{DifferenceCollector, TensorDifference, Tolerance};

use crate::tool::elements::{Number, for_each};
use fearless_simd::Level;
use kernel::{BLOCK, float_block, integer_block};
use serde::Serialize;
use training_monitor::checkpoint::ElementType;

/// Statistics of one tensor. The minimum, the maximum, the mean, the standard deviation and the norm include only finite
/// elements. The minimum and the maximum of integers are exact. A tensor of type bool has none of the five.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct TensorStats {
    pub elements: u64,
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
    pub nan: u64,
    /// The number of elements that are infinite.
    pub infinite: u64,
    /// The index of the first element that is NaN or infinite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_non_finite: Option<u64>,
    /// The number of elements that are true; `None` unless the type is bool.
    #[serde(rename = "true", skip_serializing_if = "Option::is_none")]
    pub true_count: Option<u64>,
}

impl TensorStats {
    /// Returns the number of elements of the tensor that are NaN or infinite.
    pub const fn non_finite(&self) -> u64 {
        self.nan + self.infinite
    }
}

/// Computes the statistics of a tensor from chunks of its elements.
#[derive(Clone, Debug)]
pub struct StatsCollector {
    element_type: ElementType,
    /// The vector instructions of the processor.
    level: Level,
    stats: TensorStats,
    zeros: u64,
    /// The first finite element. The standard deviation is computed from the distances from it: the squares of the elements
    /// would lose the digits of a deviation that is small beside the mean.
    pivot: Option<Number>,
    /// The sum of the distances, and of their squares.
    sum: f64,
    squares: f64,
    /// The exact sum of the distances of integers.
    integer_sum: i128,
}

impl StatsCollector {
    pub fn new(element_type: ElementType) -> StatsCollector {
        StatsCollector {
            element_type,
            level: Level::new(),
            stats: TensorStats::default(),
            zeros: 0,
            pivot: None,
            sum: 0.0,
            squares: 0.0,
            integer_sum: 0,
        }
    }

    /// Adds the next elements. `bytes` are whole elements, in little-endian byte order.
    pub fn add(&mut self, bytes: &[u8]) {
        let size = self.element_type.size() as usize;
        for block in bytes.chunks(BLOCK * size) {
            self.add_block(block);
            self.stats.elements += (block.len() / size) as u64;
        }
    }

    fn add_block(&mut self, block: &[u8]) {
        if self.pivot.is_none() {
            for_each(self.element_type, block, |number| {
                if number.to_f64().is_finite() {
                    self.pivot.get_or_insert(number);
                }
            });
        }
        let float_pivot = self.pivot.map_or(0.0, Number::to_f64);
        if let Some(sums) = float_block(self.level, self.element_type, block, float_pivot) {
            self.zeros += sums.zeros;
            self.sum += sums.sum;
            self.squares += sums.squares;
            // The numbers of 32-bit integers are exact.
            self.integer_sum += if self.element_type.is_float() { 0 } else { sums.sum as i128 };
            let number = |value: f64| match self.element_type.is_float() {
                true => Number::Float(value),
                false => Number::Integer(value as i128),
            };
            self.include(number(sums.min), number(sums.max));
        } else if let Some(sums) = integer_block(self.level, self.element_type, block, float_pivot as i32) {
            self.zeros += sums.zeros;
            self.sum += sums.sum as f64;
            self.squares += sums.squares as f64;
            self.integer_sum += i128::from(sums.sum);
            self.include(Number::Integer(sums.min.into()), Number::Integer(sums.max.into()));
        } else {
            self.add_each(block);
        }
    }

    /// Adds elements one by one. Some of them can be NaN or infinite.
    fn add_each(&mut self, block: &[u8]) {
        let mut index = self.stats.elements;
        for_each(self.element_type, block, |number| {
            let stats = &mut self.stats;
            match number {
                Number::Float(value) if !value.is_finite() => {
                    *(if value.is_nan() { &mut stats.nan } else { &mut stats.infinite }) += 1;
                    stats.first_non_finite.get_or_insert(index);
                }
                number => {
                    let distance = match (number, *self.pivot.get_or_insert(number)) {
                        (Number::Integer(value), Number::Integer(pivot)) => {
                            // At most 2^32 elements of 64 bits, so the sum fits.
                            self.integer_sum += value - pivot;
                            (value - pivot) as f64
                        }
                        (number, pivot) => number.to_f64() - pivot.to_f64(),
                    };
                    self.sum += distance;
                    self.squares += distance * distance;
                    self.zeros += u64::from(number.to_f64() == 0.0);
                    self.include(number, number);
                }
            }
            index += 1;
        });
    }

    fn include(&mut self, min: Number, max: Number) {
        let stats = &mut self.stats;
        stats.min = Some(stats.min.filter(|old| *old <= min).unwrap_or(min));
        stats.max = Some(stats.max.filter(|old| *old >= max).unwrap_or(max));
    }

    pub fn finish(self) -> TensorStats {
        let StatsCollector { element_type, mut stats, zeros, pivot, sum, squares, integer_sum, .. } = self;
        if let Some(pivot) = pivot {
            let finite = stats.elements - stats.non_finite();
            let count = finite as f64;
            let mean = match pivot {
                Number::Float(pivot) => pivot + sum / count,
                Number::Integer(pivot) => (pivot * i128::from(finite) + integer_sum) as f64 / count,
            };
            let variance = (squares / count - (sum / count) * (sum / count)).max(0.0);
            let is_finite = |value: &f64| value.is_finite();
            stats.mean = Some(mean).filter(is_finite);
            stats.std = Some(variance.sqrt()).filter(|_| squares.is_finite());
            stats.norm =
                Some((count * (variance + mean * mean)).sqrt()).filter(|norm| squares.is_finite() && norm.is_finite());
        }
        stats.zeros = zeros as f64 / stats.elements.max(1) as f64;
        if element_type == ElementType::Bool {
            (stats.min, stats.max, stats.mean, stats.std, stats.norm) = (None, None, None, None, None);
            stats.true_count = Some(stats.elements - zeros);
        }
        stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats<const N: usize>(element_type: ElementType, elements: impl IntoIterator<Item = [u8; N]>) -> TensorStats {
        let bytes: Vec<u8> = elements.into_iter().flatten().collect();
        let mut collector = StatsCollector::new(element_type);
        // Chunks of different lengths.
        let (start, end) = bytes.split_at(bytes.len() / (2 * N) * N);
        [start, end].iter().for_each(|chunk| collector.add(chunk));
        collector.finish()
    }

    fn f32_stats(elements: &[f32]) -> TensorStats {
        stats(ElementType::F32, elements.iter().map(|element| element.to_le_bytes()))
    }

    #[test]
    fn non_finite_elements_are_counted_separately() {
        let found = f32_stats(&[1.0, -3.0, 0.0, -0.0, f32::NAN, f32::INFINITY]);
        let float = |value| Some(Number::Float(value));
        assert_eq!((found.min, found.max, found.mean), (float(-3.0), float(1.0), Some(-0.5)));
        assert_eq!((found.zeros, found.nan, found.infinite, found.first_non_finite), (2.0 / 6.0, 1, 1, Some(4)));
        assert_eq!((found.norm, found.std), (Some(10_f64.sqrt()), Some(2.25_f64.sqrt())));
        let empty = f32_stats(&[]);
        assert_eq!((empty.min, empty.mean, empty.std, empty.zeros), (None, None, None, 0.0));
    }

    #[test]
    fn the_index_of_a_non_finite_element_counts_all_blocks() {
        let mut elements = vec![1.0; 3 * BLOCK];
        elements[2 * BLOCK + 5] = f32::NEG_INFINITY;
        elements[2 * BLOCK + 9] = f32::NAN;
        let found = f32_stats(&elements);
        assert_eq!((found.first_non_finite, found.infinite, found.nan), (Some(2 * BLOCK as u64 + 5), 1, 1));
        assert_eq!((found.mean, found.std), (Some(1.0), Some(0.0)));
    }

    /// The squares of the elements do not have enough digits for the deviation.
    #[test]
    fn a_deviation_that_is_small_beside_the_mean_has_its_digits() {
        let sign = |index: usize| if index.is_multiple_of(2) { 1.0 } else { -1.0 };
        for count in [6, 3 * BLOCK, 40 * BLOCK + 2] {
            let mut elements: Vec<f64> = (0..count).map(|index| 1e9 + sign(index)).collect();
            let stats_of =
                |elements: &[f64]| stats(ElementType::F64, elements.iter().map(|element| element.to_le_bytes()));
            let found = stats_of(&elements);
            assert_eq!((found.mean, found.std), (Some(1e9), Some(1.0)), "{count}");
            // The same with an element that is not finite.
            elements.push(f64::NAN);
            let found = stats_of(&elements);
            assert_eq!((found.mean, found.std, found.nan), (Some(1e9), Some(1.0), 1), "{count}");
            // The same with integers of 64 and of 32 bits.
            let integers = |index: usize| 1_000_000_000 + sign(index) as i32;
            let found = stats(ElementType::I32, (0..count).map(|index| integers(index).to_le_bytes()));
            assert_eq!((found.mean, found.std), (Some(1e9), Some(1.0)), "{count}");
            let found = stats(ElementType::I64, (0..count).map(|index| i64::from(integers(index)).to_le_bytes()));
            assert_eq!((found.mean, found.std), (Some(1e9), Some(1.0)), "{count}");
        }
    }

    #[test]
    fn statistics_of_integers_are_exact() {
        let elements = [i64::MIN, i64::MAX, (1 << 53) + 1, 0];
        let found = stats(ElementType::I64, elements.map(i64::to_le_bytes));
        assert_eq!(found.min, Some(Number::Integer(i64::MIN.into())));
        assert_eq!(found.max, Some(Number::Integer(i64::MAX.into())));
        assert_eq!((found.mean, found.zeros), (Some(((1_i64 << 53) as f64) / 4.0), 0.25));
        let found = stats(ElementType::U64, [u64::MAX, u64::MAX - 1].map(u64::to_le_bytes));
        assert_eq!(serde_json::to_value(found).unwrap()["min"].as_u64(), Some(u64::MAX - 1));
        let found = stats(ElementType::Bool, [[1], [0], [1], [1]]);
        assert_eq!((found.min, found.mean, found.zeros, found.true_count), (None, None, 0.25, Some(3)));
    }

    /// The fast loops for blocks and the loop for single elements agree for each type.
    #[test]
    fn blocks_and_single_elements_have_the_same_statistics() {
        for element_type in ElementType::ALL {
            let size = element_type.size() as usize;
            let mut seed = 7_u32;
            let bytes: Vec<u8> = (0..(2 * BLOCK + 3) * size)
                .map(|index| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let byte = (seed >> 24) as u8;
                    // The sign and the exponent of a float stay small, so that no sum overflows.
                    let is_exponent = element_type.is_float() && index % size >= size - 2;
                    if element_type == ElementType::Bool {
                        byte & 1
                    } else if is_exponent {
                        byte & 0xBF
                    } else {
                        byte
                    }
                })
                .collect();
            let (mut blocks, mut single) = (StatsCollector::new(element_type), StatsCollector::new(element_type));
            blocks.add(&bytes);
            single.add_each(&bytes);
            single.stats.elements = (bytes.len() / size) as u64;
            let (blocks, single) = (blocks.finish(), single.finish());
            let exact = |stats: TensorStats| TensorStats { mean: None, std: None, norm: None, ..stats };
            assert_eq!(exact(blocks), exact(single), "{element_type}");
            for (a, b) in [(blocks.mean, single.mean), (blocks.std, single.std), (blocks.norm, single.norm)] {
                let (a, b) = (a.unwrap_or(0.0), b.unwrap_or(0.0));
                assert!((a - b).abs() <= 1e-9 * b.abs(), "{element_type}: {a} {b}");
            }
        }
    }
}
