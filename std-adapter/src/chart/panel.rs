//! The panels of a chart. A panel shows one quantity of one or several runs.

use super::NamedRun;
use super::axis::ValueRange;
use super::run::{Run, Series};
use super::smooth::{is_noisy, median, medians, smooth};
use super::text::{metric_title, time_unit};

/// A panel of a chart: a title, and a curve for each run that has values.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Panel {
    /// The title, for example the name of a metric.
    pub title: String,
    /// Whether the vertical axis is logarithmic. It is if all values are positive and span several orders of magnitude,
    /// except for quantities between 0 and 1 such as an accuracy.
    pub is_logarithmic: bool,
    /// The curves, in the order of the runs.
    pub curves: Vec<Curve>,
    /// The highest value that the axis shows. Higher values are clipped, and a mark shows each of them.
    pub(super) limit: Option<f64>,
}

/// The curve of one run in a [`Panel`]. A point consists of an iteration and a value.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Curve {
    /// The index of the run in the list of runs that the chart compares, from 0.
    pub run: usize,
    /// The recorded values, without NaN and infinities.
    pub points: Vec<(f64, f64)>,
    /// The curve without noise. It is empty if the values are not noisy.
    pub smoothed: Vec<(f64, f64)>,
    /// The iterations at which the value was NaN or infinite.
    pub non_finite: Vec<f64>,
}

impl Curve {
    /// Returns the points that represent the run in a comparison: the smoothed curve if there is one, otherwise the
    /// recorded values.
    #[must_use]
    pub fn line(&self) -> &[(f64, f64)] {
        if self.smoothed.is_empty() { &self.points } else { &self.smoothed }
    }
}

impl Panel {
    /// Creates a panel of a single run. A training loss of at least 20 values is smoothed, and any other quantity if its
    /// values are noisy.
    ///
    /// ```
    /// use training_monitor_std::chart::Panel;
    ///
    /// let panel = Panel::new("accuracy", vec![(1.0, 0.01), (2.0, 0.99)]);
    /// assert!(!panel.is_logarithmic);
    /// assert!(Panel::new("val_loss", vec![(1.0, 0.01), (2.0, 0.99)]).is_logarithmic);
    /// ```
    #[must_use]
    pub fn new(name: &str, points: Vec<(f64, f64)>) -> Panel {
        let mut panel = Panel::empty(name);
        panel.curves.push(curve(0, name, points, Vec::new()));
        panel.is_logarithmic = is_logarithmic(name, panel.range());
        panel
    }

    fn empty(name: &str) -> Panel {
        Panel { title: metric_title(name), is_logarithmic: false, curves: Vec::new(), limit: None }
    }

    /// Returns the range of all values in the panel, or `None` if there is no value.
    #[must_use]
    pub fn range(&self) -> Option<ValueRange> {
        ValueRange::of(self.curves.iter().flat_map(|curve| &curve.points).map(|(_, value)| *value))
    }

    /// Returns the number of values that are NaN or infinite.
    #[must_use]
    pub fn non_finite(&self) -> usize {
        self.curves.iter().map(|curve| curve.non_finite.len()).sum()
    }
}

/// The name of the training loss, which is also its title.
pub(super) const LOSS: &str = "training loss";

/// The minimum number of losses that are smoothed. The losses of a shorter run are visible without it.
const MIN_SMOOTHED: usize = 20;

/// Words in the names of quantities that are at most 1 or 100 %. Their axis is linear, because the distance from the
/// highest value matters, and a logarithmic axis would hide it.
const FRACTIONS: [&str; 9] = ["acc", "precision", "recall", "f1", "auc", "iou", "miou", "dice", "top"];

/// Returns whether the quantity is a fraction, of which a higher value is better. `val_acc` and `Accuracy` are fractions.
pub(super) fn is_fraction(name: &str) -> bool {
    let name = name.to_lowercase();
    let mut words = name.split(|character: char| !character.is_alphanumeric());
    words.any(|word| FRACTIONS.iter().any(|fraction| word.starts_with(fraction))) && !name.contains("loss")
}

fn is_logarithmic(name: &str, range: Option<ValueRange>) -> bool {
    range.is_some_and(ValueRange::is_wide) && !is_fraction(name)
}

fn curve(run: usize, name: &str, points: Vec<(f64, f64)>, non_finite: Vec<f64>) -> Curve {
    // The range of this run alone decides how its curve is smoothed. Its curve is therefore the same in every comparison.
    let range = ValueRange::of(points.iter().map(|(_, value)| *value));
    let is_smoothed = is_noisy(&points) || name == LOSS && points.len() >= MIN_SMOOTHED;
    let smoothed = if is_smoothed { smooth(&points, is_logarithmic(name, range)) } else { Vec::new() };
    Curve { run, points, smoothed, non_finite }
}

/// Returns the panels of a chart that shows several runs: the training loss, the metrics of the epochs and the scalars of
/// the iterations, in the order in which the histories first mention them. A program can draw the panels in its own way,
/// for example as text.
///
/// ```
/// use training_monitor_std::{chart::{NamedRun, panels}, history::HistoryEvent};
///
/// let epoch = HistoryEvent::Epoch { epoch: 1, iteration: 40, metrics: vec![("val_loss".into(), Some(0.25))] };
/// let panels = panels(&[NamedRun { name: "first", events: &[] }, NamedRun { name: "second", events: &[epoch] }]);
/// assert_eq!((panels[0].title.as_str(), panels[0].curves[0].run), ("val loss", 1));
/// assert_eq!(panels[0].curves[0].points, [(40.0, 0.25)]);
/// ```
#[must_use]
pub fn panels(runs: &[NamedRun<'_>]) -> Vec<Panel> {
    value_panels(&runs.iter().map(|run| Run::new(run.events)).collect::<Vec<_>>())
}

/// Returns one panel for the losses of all runs, and one panel for each metric. There is at least one panel.
pub(super) fn value_panels(runs: &[Run]) -> Vec<Panel> {
    let mut panels: Vec<(String, Panel)> = Vec::new();
    let series = |run: usize, name: &str, series: &Series| {
        (name.to_owned(), curve(run, name, series.points.clone(), series.non_finite.clone()))
    };
    let losses = runs.iter().enumerate().map(|(index, run)| series(index, LOSS, &run.losses));
    let metrics = runs
        .iter()
        .enumerate()
        .flat_map(|(index, run)| run.metrics.iter().map(move |metric| series(index, &metric.name, metric)));
    for (name, curve) in losses.chain(metrics) {
        if curve.points.is_empty() && curve.non_finite.is_empty() {
            continue;
        }
        match panels.iter_mut().find(|(known, _)| *known == name) {
            Some((_, panel)) => panel.curves.push(curve),
            None => panels.push((name.clone(), Panel { curves: vec![curve], ..Panel::empty(&name) })),
        }
    }
    if panels.is_empty() {
        panels.push((LOSS.to_owned(), Panel::empty(LOSS)));
    }
    let with_axis = |(name, panel): (String, Panel)| {
        let is_logarithmic = is_logarithmic(&name, panel.range());
        Panel { is_logarithmic, ..panel }
    };
    panels.into_iter().map(with_axis).collect()
}

/// Returns the panel of the durations of iterations, or `None` if no run has recorded durations. Its smoothed curves are
/// medians. An iteration that saves a checkpoint can take much longer than the others. Therefore the panel clips the
/// longest 3 % of the durations, so that the differences between the others stay visible.
pub(super) fn duration_panel(runs: &[Run]) -> Option<Panel> {
    let seconds = |run: &Run| run.durations.points.iter().map(|(_, seconds)| *seconds).collect::<Vec<f64>>();
    let recorded: Vec<(usize, Vec<f64>)> =
        runs.iter().map(seconds).enumerate().filter(|(_, seconds)| !seconds.is_empty()).collect();
    let slowest = recorded.iter().map(|(_, seconds)| median(seconds.iter().copied())).reduce(f64::max)?;
    let (unit, per_second) = time_unit(slowest);
    let limit = |seconds: &[f64]| {
        let mut sorted = seconds.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted[(sorted.len() - 1) * 97 / 100] * 1.1 * per_second
    };
    let limit = recorded.iter().map(|(_, seconds)| limit(seconds)).reduce(f64::max)?;
    let curve = |(run, _): &(usize, Vec<f64>)| {
        let durations = runs[*run].durations.points.iter();
        let points: Vec<(f64, f64)> =
            durations.map(|(iteration, seconds)| (*iteration, seconds * per_second)).collect();
        Curve { run: *run, smoothed: medians(&points), points, non_finite: Vec::new() }
    };
    let title = format!("time of an iteration, {unit}");
    Some(Panel { title, limit: Some(limit), curves: recorded.iter().map(curve).collect(), ..Panel::empty("") })
}
