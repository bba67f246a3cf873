//! The data of a chart, independent of how the chart is drawn: panels, lines, smoothing, and ranges of values.
//!
//! `compare` draws panels as SVG, `terminal` draws them as text for `plot` and for the live view of `watch`.

use super::run::Run;
use crate::numbers::time_unit;

/// Points of a line: iteration and value.
pub type Points = Vec<(f64, f64)>;

/// A chart with one vertical axis.
pub struct Panel {
    pub title: String,
    pub lines: Vec<Line>,
}

/// The values of one run in a panel.
pub struct Line {
    /// The index of the run, which selects the colour of the line.
    pub run: usize,
    /// The name of the run.
    pub name: String,
    pub points: Points,
}

impl Panel {
    /// A panel with a single line.
    pub fn single(title: impl Into<String>, points: Points) -> Panel {
        let title = title.into();
        Panel { lines: vec![Line { run: 0, name: title.clone(), points }], title }
    }

    /// The range of the values of all lines.
    pub fn range(&self) -> ValueRange {
        ValueRange::containing(self.lines.iter().flat_map(|line| &line.points).map(|(_, value)| *value))
    }

    /// The last iteration of all lines.
    pub fn last_iteration(&self) -> f64 {
        self.lines.iter().flat_map(|line| &line.points).map(|(iteration, _)| *iteration).fold(0.0, f64::max)
    }
}

/// A panel for the smoothed loss, and a panel for each metric that at least one run has.
pub fn loss_and_metric_panels(runs: &[Run]) -> Vec<Panel> {
    let mut panels = vec![Panel { title: "training loss, smoothed".to_owned(), lines: vec![] }];
    // All runs are smoothed alike. If the length of each run selected its smoothing, a short run would look noisier.
    let longest = longest_run(runs);
    for (run, history) in runs.iter().enumerate() {
        let line = |points| Line { run, name: history.name.clone(), points };
        panels[0].lines.push(line(smoothed(&history.losses(), longest)));
        for (name, points) in history.metrics() {
            let title = metric_title(&name);
            match panels[1..].iter_mut().find(|panel| panel.title == title) {
                Some(panel) => panel.lines.push(line(points)),
                None => panels.push(Panel { title, lines: vec![line(points)] }),
            }
        }
    }
    panels
}

/// A panel for the duration of an iteration; `None` if no run has recorded durations. Each point is the median of
/// consecutive iterations, because an iteration with a save takes many times as long as the others.
pub fn duration_panel(runs: &[Run]) -> Option<Panel> {
    let group = longest_run(runs).div_ceil(60);
    let median_of_run = |run: &Run| medians(&run.seconds(), usize::MAX).first().map(|(_, median)| *median);
    let slowest = runs.iter().filter_map(median_of_run).fold(0.0, f64::max);
    let (unit, per_second) = time_unit(slowest);
    let mut lines = Vec::new();
    for (run, history) in runs.iter().enumerate() {
        let medians = medians(&history.seconds(), group);
        let points: Points = medians.iter().map(|(iteration, seconds)| (*iteration, seconds * per_second)).collect();
        if !points.is_empty() {
            lines.push(Line { run, name: history.name.clone(), points });
        }
    }
    let title = format!("duration of an iteration in {unit}, median of each {group}");
    (!lines.is_empty()).then_some(Panel { title, lines })
}

/// The name of a metric as the title of a panel: "val loss" for `val_loss`.
pub fn metric_title(name: &str) -> String {
    name.replace('_', " ")
}

fn longest_run(runs: &[Run]) -> usize {
    runs.iter().map(|run| run.losses().len()).max().unwrap_or(0)
}

/// Exponentially smoothed values. The time constant is a fortieth of `length` points, but at least three points. The weights
/// are normalized, so the first values do not pull the line towards zero.
pub fn smoothed(points: &[(f64, f64)], length: usize) -> Points {
    let keep = 1.0 - 1.0 / (length as f64 / 40.0).max(3.0);
    let (mut sum, mut weight) = (0.0, 0.0);
    let smooth = |(iteration, value): &(f64, f64)| {
        sum = keep * sum + value;
        weight = keep * weight + 1.0;
        (*iteration, sum / weight)
    };
    points.iter().map(smooth).collect()
}

/// The median of each `group` consecutive points.
fn medians(points: &[(f64, f64)], group: usize) -> Points {
    let median = |chunk: &[(f64, f64)]| {
        let mut values: Vec<f64> = chunk.iter().map(|(_, value)| *value).collect();
        values.sort_by(f64::total_cmp);
        (chunk[chunk.len() / 2].0, values[values.len() / 2])
    };
    points.chunks(group.max(1)).map(median).collect()
}

/// Every n-th point and the last one, with n such that about `limit` points remain.
pub fn downsampled(points: &[(f64, f64)], limit: usize) -> Points {
    let step = points.len().div_ceil(limit).max(1);
    let last = points.last().filter(|_| points.len() % step != 1 && step > 1);
    points.iter().step_by(step).chain(last).copied().collect()
}

/// A range of values for a vertical axis. `low` is always less than `high`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ValueRange {
    pub low: f64,
    pub high: f64,
}

impl ValueRange {
    /// The smallest range that contains all values. A single value gets a range around it; no value yields 0 to 1.
    pub fn containing(values: impl Iterator<Item = f64>) -> ValueRange {
        let (low, high) =
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        if low < high {
            ValueRange { low, high }
        } else if low == high {
            let margin = if low == 0.0 { 0.5 } else { low.abs() / 2.0 };
            ValueRange { low: low - margin, high: high + margin }
        } else {
            ValueRange { low: 0.0, high: 1.0 }
        }
    }

    /// Whether the axis should be logarithmic: all values are positive and span more than a factor of 50.
    pub fn needs_log_axis(self) -> bool {
        self.low > 0.0 && self.high / self.low > 50.0
    }

    /// The range with a margin of 6 % on both sides. The margin is never zero in f64 arithmetic.
    pub fn with_margin(self) -> ValueRange {
        let margin = ((self.high - self.low) * 0.06).max(self.high.abs() * 1e-6 + f64::MIN_POSITIVE);
        ValueRange { low: self.low - margin, high: self.high + margin }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_never_empty() {
        let range = |values: &[f64]| ValueRange::containing(values.iter().copied());
        assert_eq!(range(&[]), ValueRange { low: 0.0, high: 1.0 });
        assert_eq!(range(&[2.0]), ValueRange { low: 1.0, high: 3.0 });
        assert_eq!(range(&[0.0, 0.0]), ValueRange { low: -0.5, high: 0.5 });
        assert!(range(&[0.01, 1.0]).needs_log_axis() && !range(&[0.0, 1.0]).needs_log_axis());
    }

    #[test]
    fn downsampling_keeps_both_ends() {
        let points: Points = (0..10).map(|n| (f64::from(n), 0.0)).collect();
        let iterations = |limit| downsampled(&points, limit).iter().map(|(at, _)| *at).collect::<Vec<_>>();
        assert_eq!(iterations(4), [0.0, 3.0, 6.0, 9.0]);
        assert_eq!(iterations(3), [0.0, 4.0, 8.0, 9.0]);
        assert_eq!(iterations(20).len(), 10);
    }

    #[test]
    fn medians_ignore_slow_iterations() {
        let points = [(1.0, 1.0), (2.0, 50.0), (3.0, 2.0), (4.0, 3.0)];
        assert_eq!(medians(&points, 3), [(2.0, 2.0), (4.0, 3.0)]);
    }
}
