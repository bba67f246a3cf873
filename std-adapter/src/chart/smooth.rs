//! Reduces the noise and the number of points of a curve.
//!
//! The points of a curve are pairs of an iteration and a value, in the order of the iterations.

use std::cmp::Ordering;

/// The maximum number of points of a smoothed curve.
const MAX_SMOOTHED: usize = 4096;

/// Smooths a curve with a centered moving average. Each result is a weighted mean of the values on both sides of a point,
/// so the smoothed curve does not lag behind the values. The average extends over one thirtieth of the curve in each
/// direction, and over more of a short curve. At the ends, where a side is missing, the result is the value of a line
/// through the existing points, and the other side is longer. The average depends on no other curve.
///
/// If `is_logarithmic` is true, the result is the geometric mean. On a logarithmic axis, this is the mean of the
/// positions. All values must then be positive.
///
/// A curve with more than 4096 points is first reduced to the means of groups of points.
///
/// ```
/// use training_monitor_std::chart::smooth;
///
/// // The values fall at iteration 100. The smoothed values follow within one thirtieth of the curve.
/// let values: Vec<(f64, f64)> = (0..900).map(|n| (f64::from(n), if n < 100 { 2.3 } else { 0.38 })).collect();
/// let smoothed = smooth(&values, false);
/// assert!((smoothed[60].1 - 2.3).abs() < 1e-12 && (smoothed[130].1 - 0.38).abs() < 1e-12);
/// ```
#[must_use]
pub fn smooth(points: &[(f64, f64)], is_logarithmic: bool) -> Vec<(f64, f64)> {
    let to_axis = |value: f64| if is_logarithmic { value.max(f64::MIN_POSITIVE).ln() } else { value };
    let from_axis = |value: f64| if is_logarithmic { value.exp() } else { value };
    let group = points.len().div_ceil(MAX_SMOOTHED).max(1);
    let mean = |chunk: &[(f64, f64)]| {
        let share = 1.0 / chunk.len() as f64;
        chunk.iter().fold((0.0, 0.0), |mean, point| (mean.0 + point.0 * share, mean.1 + to_axis(point.1) * share))
    };
    let grouped: Vec<(f64, f64)> = points.chunks(group).map(mean).collect();
    // A short curve needs more than a thirtieth of its points to be smooth.
    let reach = (grouped.len() / 30).max((grouped.len() / 12).min(15)).max(1);
    let smoothed = (0..grouped.len()).map(|index| (grouped[index].0, from_axis(local_average(&grouped, index, reach))));
    smoothed.collect()
}

/// Returns the weighted average of the values at most `reach` points from `index`. It is the value at `index` of the line
/// with the smallest weighted squared distance to the points. If there are equally many points on both sides, this is their
/// weighted mean.
fn local_average(points: &[(f64, f64)], index: usize, reach: usize) -> f64 {
    // The number of points stays the same at the ends of the curve. Otherwise the noise would be greater there.
    let existing = index.min(points.len() - 1 - index);
    let reach = reach + reach.saturating_sub(existing);
    let first = index.saturating_sub(reach);
    let last = (index + reach).min(points.len() - 1);
    let (mut weights, mut mean) = (0.0, 0.0);
    let (mut x_sum, mut x_squares, mut x_values) = (0.0, 0.0, 0.0);
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    let total = (first..=last).map(|other| (reach + 1 - index.abs_diff(other)) as f64).sum::<f64>();
    for (other, (_, value)) in points.iter().enumerate().take(last + 1).skip(first) {
        // The weights add up to 1, so that no sum exceeds the range of f64.
        let weight = (reach + 1 - index.abs_diff(other)) as f64 / total;
        let x = other as f64 - index as f64;
        weights += weight;
        mean += weight * value;
        x_sum += weight * x;
        x_squares += weight * x * x;
        x_values += weight * x * value;
        (low, high) = (low.min(*value), high.max(*value));
    }
    if x_sum.abs() < 1e-9 {
        return mean / weights;
    }
    let determinant = weights * x_squares - x_sum * x_sum;
    ((x_squares * mean - x_sum * x_values) / determinant).clamp(low, high)
}

/// Returns whether a curve goes up and down so often that a smoothed curve shows more. A curve of few points is not noisy.
pub(super) fn is_noisy(points: &[(f64, f64)]) -> bool {
    let reversals =
        points.windows(3).filter(|three| (three[1].1 - three[0].1) * (three[2].1 - three[1].1) < 0.0).count();
    points.len() >= 30 && reversals * 4 > points.len()
}

/// Reduces a curve to at most two points per pixel. `width` is the width of the curve in pixels. A curve with more points
/// is divided into chunks. Only the lowest and the highest point of each chunk remain, so that spikes stay visible.
pub(super) fn downsample(points: &[(f64, f64)], width: f64) -> Vec<(f64, f64)> {
    let chunk_len = points.len().div_ceil(width as usize);
    if chunk_len <= 2 {
        return points.to_vec();
    }
    let mut sampled = Vec::new();
    for chunk in points.chunks(chunk_len) {
        let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let mut extremes = [chunk.iter().min_by(by_value), chunk.iter().max_by(by_value)];
        extremes.sort_by(|a, b| a.partial_cmp(b).unwrap_or(Ordering::Equal));
        sampled.extend(extremes.into_iter().flatten());
    }
    sampled
}

/// Removes the points of a line in pixels that are at most a tenth of a pixel away from the simpler line. This is the
/// algorithm of Douglas and Peucker.
pub(super) fn simplify(line: &[(f64, f64)]) -> Vec<(f64, f64)> {
    const TOLERANCE: f64 = 0.1;
    let mut is_kept = vec![false; line.len()];
    let mut sections = vec![(0, line.len().saturating_sub(1))];
    while let Some((first, last)) = sections.pop() {
        let (Some(start), Some(end)) = (line.get(first), line.get(last)) else { break };
        (is_kept[first], is_kept[last]) = (true, true);
        let distance = |index: &usize| distance_to_segment(line[*index], *start, *end);
        let farthest = (first + 1..last).max_by(|a, b| distance(a).total_cmp(&distance(b)));
        if let Some(farthest) = farthest.filter(|index| distance(index) > TOLERANCE) {
            sections.extend([(first, farthest), (farthest, last)]);
        }
    }
    line.iter().zip(is_kept).filter(|(_, is_kept)| *is_kept).map(|(point, _)| *point).collect()
}

fn distance_to_segment(point: (f64, f64), start: (f64, f64), end: (f64, f64)) -> f64 {
    let (dx, dy) = (end.0 - start.0, end.1 - start.1);
    let (x, y) = (point.0 - start.0, point.1 - start.1);
    let share = if dx == 0.0 && dy == 0.0 { 0.0 } else { ((x * dx + y * dy) / (dx * dx + dy * dy)).clamp(0.0, 1.0) };
    (x - share * dx).hypot(y - share * dy)
}

/// Replaces each group of consecutive points by one point with the median of their values. There are at most 60 groups.
/// The iteration of the new point is that of the point in the middle of the group.
///
/// The durations of iterations are reduced in this way, because an iteration that saves a checkpoint takes much longer than
/// the others.
pub(super) fn medians(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    // The groups have about the same number of points. A small group at the end would not be comparable.
    let groups = points.len().min(60);
    let edge = |group: usize| group * points.len() / groups;
    let median = |group: usize| {
        let group = &points[edge(group)..edge(group + 1)];
        (group[group.len() / 2].0, median(group.iter().map(|(_, value)| *value)))
    };
    (0..groups).map(median).collect()
}

/// Returns the median of a list of at least one value.
pub(super) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(values: impl IntoIterator<Item = f64>) -> Vec<(f64, f64)> {
        (1..).map(f64::from).zip(values).collect()
    }

    #[test]
    fn a_smoothed_curve_does_not_lag() {
        // A curve that falls steadily keeps its position.
        let line = curve((0..600).map(|n| 3.0 - 0.005 * f64::from(n)));
        for (smoothed, exact) in smooth(&line, false).iter().zip(&line) {
            assert!((smoothed.1 - exact.1).abs() < 1e-9);
        }
        // On a logarithmic axis, the same is true for an exponential decay.
        let decay = curve((0..600).map(|n| (-0.01 * f64::from(n)).exp()));
        for (smoothed, exact) in smooth(&decay, true).iter().zip(&decay) {
            assert!((smoothed.1 / exact.1 - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn a_smoothed_curve_stays_between_its_values() {
        // The line through the first values of this curve is above all of them.
        let drop = curve((0..300).map(|n| if n < 20 { 2.3 } else { 0.38 }));
        assert!(smooth(&drop, false).iter().all(|(_, value)| (0.38..=2.3).contains(value)));
    }

    #[test]
    fn a_spike_stays_where_it_is() {
        let spike = curve([0.0, 0.0, 0.0, 4.0, 0.0, 0.0, 0.0]);
        let values: Vec<f64> = smooth(&spike, false).into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, [0.0, 0.0, 1.0, 2.0, 1.0, 0.0, 0.0]);
        // Two values are never smoothed, and one value cannot be.
        assert_eq!(smooth(&curve([2.0, 1.0]), false), curve([2.0, 1.0]));
        assert_eq!(smooth(&[], false), []);
        assert_eq!(smooth(&[(7.0, 2.0)], true)[0].0, 7.0);
        // The sum of these values exceeds the range of f64.
        assert!(smooth(&curve([1e308; 50]), true).iter().all(|(_, value)| value.is_finite()));
    }

    #[test]
    fn long_curves_are_reduced() {
        let long = curve((0..1_000_000).map(|n| f64::from(n % 2)));
        let smoothed = smooth(&long, false);
        assert!(smoothed.len() <= MAX_SMOOTHED && smoothed.iter().all(|(_, value)| (value - 0.5).abs() < 0.01));
        assert!(smoothed[0].0 < 200.0 && smoothed[smoothed.len() - 1].0 > 999_800.0);
    }

    #[test]
    fn noise_is_detected() {
        assert!(is_noisy(&curve((0..100).map(|n| f64::from(n * 7 % 10)))));
        assert!(!is_noisy(&curve((0..100).map(|n| f64::from(n / 25)))));
        assert!(!is_noisy(&curve((0..100).map(|n| (f64::from(n) / 8.0).cos()))));
    }

    #[test]
    fn medians_ignore_slow_iterations() {
        let mut durations = curve([1.0; 120]);
        durations[7].1 = 50.0;
        durations[9].1 = 2.0;
        let medians = medians(&durations);
        assert_eq!((medians.len(), medians[3], medians[4]), (60, (8.0, 50.0), (10.0, 2.0)));
        durations.extend_from_within(..);
        assert!(super::medians(&durations).iter().all(|(_, value)| *value == 1.0));
    }

    #[test]
    fn simplification_keeps_the_shape() {
        let straight: Vec<(f64, f64)> = (0..100).map(|n| (f64::from(n), 0.5 * f64::from(n))).collect();
        assert_eq!(simplify(&straight), [straight[0], straight[99]]);
        let spike = [(0.0, 0.0), (1.0, 0.0), (2.0, 0.0), (2.0, 90.0), (2.0, 0.0), (3.0, 0.0)];
        assert_eq!(simplify(&spike), [(0.0, 0.0), (2.0, 0.0), (2.0, 90.0), (2.0, 0.0), (3.0, 0.0)]);
        // Each removed point of an arc is still close to the line.
        let arc: Vec<(f64, f64)> = (0..700).map(|n| (f64::from(n), 100.0 * (f64::from(n) / 200.0).sin())).collect();
        let kept = simplify(&arc);
        assert!(kept.len() < 60, "{}", kept.len());
        for point in &arc {
            let next = kept.iter().position(|kept| kept.0 >= point.0).unwrap();
            let (a, b) = (kept[next.saturating_sub(1)], kept[next]);
            let share = if next == 0 { 0.0 } else { (point.0 - a.0) / (b.0 - a.0) };
            assert!((a.1 + share * (b.1 - a.1) - point.1).abs() <= 0.12);
        }
    }

    #[test]
    fn downsampling_keeps_spikes() {
        let points = curve((0..100).map(|n| f64::from(u8::from(n == 37))));
        let sampled = downsample(&points, 10.0);
        assert_eq!((sampled.len(), sampled.contains(&(38.0, 1.0))), (20, true));
        assert_eq!(downsample(&points, 50.0), points);
    }
}
