//! The curves of a chart that shows several runs.

use super::NamedRun;
use super::axis::ValueRange;
use super::run::Run;

/// One panel of a chart that shows several runs: a title, and a curve for each run that has values.
#[derive(Clone, PartialEq, Debug)]
pub struct Panel {
    /// The title, for example the name of a metric.
    pub title: String,
    /// The curves, in the order of the runs.
    pub curves: Vec<Curve>,
}

/// The curve of one run in a [`Panel`].
#[derive(Clone, PartialEq, Debug)]
pub struct Curve {
    /// The index of the run in the list of runs that the chart compares, from 0.
    pub run: usize,
    /// The points of the curve. Each point consists of an iteration and a value.
    pub points: Vec<(f64, f64)>,
}

impl Panel {
    /// Returns the range of all values in the panel, or `None` if there is no value.
    #[must_use]
    pub fn range(&self) -> Option<ValueRange> {
        ValueRange::of(self.curves.iter().flat_map(|curve| &curve.points).map(|(_, value)| *value))
    }
}

/// Returns the panels of a chart that shows several runs. The first panel shows the smoothed training losses. The other
/// panels show the metrics, in the order in which the histories first mention them. A program can draw the panels in
/// its own way, for example as text.
///
/// All losses are smoothed with the same weights. Otherwise the curve of a short run would be less smooth than the
/// curve of a long run.
///
/// ```
/// use training_monitor_std::{chart::{NamedRun, panels}, history::HistoryEvent};
///
/// let epoch = HistoryEvent::Epoch { epoch: 1, iteration: 40, metrics: vec![("val_loss".into(), Some(0.25))] };
/// let panels = panels(&[NamedRun { name: "first", events: &[] }, NamedRun { name: "second", events: &[epoch] }]);
/// assert_eq!((panels[1].title.as_str(), panels[1].curves[0].run), ("val loss", 1));
/// assert_eq!(panels[1].curves[0].points, [(40.0, 0.25)]);
/// ```
#[must_use]
pub fn panels(runs: &[NamedRun<'_>]) -> Vec<Panel> {
    loss_and_metric_panels(&runs.iter().map(|run| Run::new(run.events)).collect::<Vec<_>>())
}

/// Returns one panel with the smoothed losses of all runs, and one panel for each metric.
pub(super) fn loss_and_metric_panels(runs: &[Run]) -> Vec<Panel> {
    let mut panels = vec![Panel { title: "training loss, smoothed".to_owned(), curves: Vec::new() }];
    let longest = longest_run(runs);
    for (index, run) in runs.iter().enumerate() {
        let losses = ("training loss, smoothed".to_owned(), smooth(&run.losses, longest));
        let metrics = run.metrics.iter().map(|(name, points)| (metric_title(name), points.clone()));
        for (title, points) in std::iter::once(losses).chain(metrics).filter(|(_, points)| !points.is_empty()) {
            let curve = Curve { run: index, points };
            match panels.iter_mut().find(|panel| panel.title == title) {
                Some(panel) => panel.curves.push(curve),
                None => panels.push(Panel { title, curves: vec![curve] }),
            }
        }
    }
    panels
}

/// Returns the panel of the durations of iterations, or `None` if no run has recorded durations. Each point is the
/// median of several consecutive iterations, because an iteration that saves a checkpoint takes much longer than the
/// others.
pub(super) fn duration_panel(runs: &[Run]) -> Option<Panel> {
    let group = longest_run(runs).div_ceil(60).max(1);
    let median_of_run = |run: &Run| medians(&run.durations, usize::MAX).first().map(|(_, median)| *median);
    let slowest = runs.iter().filter_map(median_of_run).reduce(f64::max)?;
    let (unit, per_second) = time_unit(slowest);
    let curve = |(run, history): (usize, &Run)| {
        let medians = medians(&history.durations, group).into_iter();
        let points: Vec<_> = medians.map(|(iteration, seconds)| (iteration, seconds * per_second)).collect();
        (!points.is_empty()).then_some(Curve { run, points })
    };
    let mut title = format!("time of an iteration, {unit}");
    if group > 1 {
        title.push_str(&format!(" (median of {group} iterations)"));
    }
    Some(Panel { title, curves: runs.iter().enumerate().filter_map(curve).collect() })
}

fn longest_run(runs: &[Run]) -> usize {
    runs.iter().map(|run| run.losses.len()).max().unwrap_or(0)
}

/// Returns the title of a metric: `val_loss` becomes "val loss".
pub(super) fn metric_title(name: &str) -> String {
    name.replace('_', " ")
}

/// Returns the unit for durations of about `seconds` seconds, and the number of these units in one second. For example,
/// the unit is µs for durations below 1 ms.
pub(super) const fn time_unit(seconds: f64) -> (&'static str, f64) {
    match seconds {
        seconds if seconds < 1e-3 => ("µs", 1e6),
        seconds if seconds < 1.0 => ("ms", 1e3),
        _ => ("s", 1.0),
    }
}

/// Smooths a curve with an exponential moving average. Each result is the weighted mean of a value and of all previous
/// values. Older values have smaller weights. The average extends over about one fortieth of `run_len` points, but at
/// least over three points. `run_len` is the number of points of the longest curve in the chart.
///
/// ```
/// use training_monitor_std::chart::smooth;
///
/// let spike = [(1.0, 0.0), (2.0, 0.0), (3.0, 1.0), (4.0, 0.0)];
/// let smoothed = smooth(&spike, spike.len());
/// assert!(smoothed[1].1 == 0.0 && smoothed[2].1 < 0.5 && smoothed[3].1 < smoothed[2].1);
/// ```
#[must_use]
pub fn smooth(points: &[(f64, f64)], run_len: usize) -> Vec<(f64, f64)> {
    let keep = 1.0 - 1.0 / (run_len as f64 / 40.0).max(3.0);
    let (mut sum, mut weight) = (0.0, 0.0);
    let mean = |(iteration, value): &(f64, f64)| {
        sum = keep * sum + value;
        weight = keep * weight + 1.0;
        (*iteration, sum / weight)
    };
    points.iter().map(mean).collect()
}

/// Reduces a curve to at most three points per pixel. `width` is the width of the chart in pixels. A curve with more
/// points is divided into chunks. Only the lowest and the highest point of each chunk remain, so that spikes stay
/// visible.
pub(super) fn downsample(points: &[(f64, f64)], width: f64) -> Vec<(f64, f64)> {
    let chunk_len = points.len().div_ceil(width as usize);
    if chunk_len <= 3 {
        return points.to_vec();
    }
    let mut sampled = Vec::new();
    for chunk in points.chunks(chunk_len) {
        let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let mut extremes = [chunk.iter().min_by(by_value), chunk.iter().max_by(by_value)];
        extremes.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        sampled.extend(extremes.into_iter().flatten());
    }
    sampled
}

/// Replaces each group of `group` consecutive points by one point with the median of their values. The iteration of the
/// new point is that of the point in the middle of the group.
fn medians(points: &[(f64, f64)], group: usize) -> Vec<(f64, f64)> {
    let median = |chunk: &[(f64, f64)]| {
        let mut values: Vec<f64> = chunk.iter().map(|(_, value)| *value).collect();
        values.sort_by(f64::total_cmp);
        (chunk[chunk.len() / 2].0, values[values.len() / 2])
    };
    points.chunks(group).map(median).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_ignore_slow_iterations() {
        let points = [(1.0, 1.0), (2.0, 50.0), (3.0, 2.0), (4.0, 3.0)];
        assert_eq!(medians(&points, 3), [(2.0, 2.0), (4.0, 3.0)]);
    }

    #[test]
    fn downsampling_keeps_spikes() {
        let points: Vec<(f64, f64)> = (0..100).map(|n| (f64::from(n), f64::from(u8::from(n == 37)))).collect();
        let sampled = downsample(&points, 10.0);
        assert_eq!((sampled.len(), sampled.contains(&(37.0, 1.0))), (20, true));
        assert_eq!(downsample(&points, 50.0), points);
    }
}
