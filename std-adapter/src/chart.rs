//! Charts of runs as SVG images, drawn from their [histories](crate::history).
//!
//! An image is 800 pixels wide and readable at that size. The image contains no scripts and no embedded fonts. The
//! function [`compare`] draws several runs into one chart, and [`draw`] draws a single run. From top to bottom, the
//! chart of a single run shows:
//!
//! * the training loss of each iteration, and the smoothed loss;
//! * each metric on its own axis, for example a learning rate;
//! * the duration of each iteration;
//! * a lane for each checkpoint handler, with a filled dot for a kept checkpoint and a hollow dot for a removed one.
//!
//! Vertical lines through all panels mark the best checkpoint, each resume and the stop. An axis is logarithmic if its
//! values are positive and span more than a factor of 50.
//!
//! ```
//! use training_monitor_std::{chart, history::HistoryEvent};
//!
//! let loss = |iteration| HistoryEvent::Iteration { iteration, loss: Some(1.0 / iteration as f32), seconds: None };
//! let mut events: Vec<HistoryEvent> = (1..=40).map(loss).collect();
//! let (epoch, iteration, score) = (1, 40, Some(0.75));
//! events.push(HistoryEvent::Epoch { epoch, iteration, metrics: vec![("accuracy".into(), Some(0.75))] });
//! events.push(HistoryEvent::Saved { store: "best".into(), step: 1, iteration, score, bytes: 900, removed: None });
//! events.push(HistoryEvent::Stopped { reason: "EarlyStopping".into(), epoch, iteration });
//!
//! let svg = chart::draw(&events, "forty steps");
//! assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
//! assert!(svg.contains("forty steps") && svg.contains("accuracy") && svg.contains("early stopping"));
//! ```

mod annotations;
mod axis;
mod canvas;
mod compare;
mod error;
mod panel;
mod run;

pub use axis::ValueRange;
pub use error::ChartError;
pub use panel::{Curve, Panel, panels, smooth};

use crate::history::{History, HistoryEvent};
use crate::progress::variant_to_words;
use annotations::draw_checkpoint;
use axis::{Axis, format_rounded};
use canvas::{Canvas, FAINT, GAP, GRID, LEFT, RIGHT, Stroke, WIDTH, escape_xml};
use panel::{downsample, metric_title, time_unit};
use run::{Lane, Run, Save};
use std::fmt::{self, Write};
use std::path::Path;

/// The y-coordinate of the top of the first panel, in pixels.
const TOP: f64 = 88.0;
const LOSS_HEIGHT: f64 = 210.0;
const METRIC_HEIGHT: f64 = 120.0;
const DURATION_HEIGHT: f64 = 90.0;
const LANE_HEIGHT: f64 = 30.0;

const LOSS: &str = "#0072b2";
const BEST: &str = "#e69f00";
const STOP: &str = "#d55e00";
const RESUME: &str = "#8250df";
const DURATION: &str = "#57606a";
const METRICS: [&str; 4] = ["#009e73", "#cc4c8f", "#56789b", "#a05a00"];

/// A training run, with its name, for a chart that compares several runs.
#[derive(Clone, Copy, Debug)]
pub struct NamedRun<'a> {
    /// The name of the run in the legend.
    pub name: &'a str,
    /// The history of the run.
    pub events: &'a [HistoryEvent],
}

/// Draws the chart of one training run. `events` is the history of the run. Returns the SVG image as text.
#[must_use]
pub fn draw(events: &[HistoryEvent], title: &str) -> String {
    // Writing to a `String` cannot fail.
    Chart::new(&Run::new(events), title).and_then(Chart::draw).unwrap_or_default()
}

/// Draws several training runs into one chart. Each run has its own color. The panels show the smoothed losses, the
/// metrics, and the durations of iterations. A dot marks the end of a run that stopped. Returns the SVG image as text.
///
/// ```
/// use training_monitor_std::{chart, history::HistoryEvent};
///
/// let run = |rate: f32| -> Vec<HistoryEvent> {
///     let loss = |iteration| Some((-rate * iteration as f32).exp());
///     (1..=40).map(|iteration| HistoryEvent::Iteration { iteration, loss: loss(iteration), seconds: None }).collect()
/// };
/// let (slow, fast) = (run(0.05), run(0.1));
/// let runs = [chart::NamedRun { name: "slow", events: &slow }, chart::NamedRun { name: "fast", events: &fast }];
/// let svg = chart::compare(&runs, "two learning rates");
/// assert!(svg.contains("two learning rates") && svg.contains("slow") && svg.contains("fast"));
/// ```
#[must_use]
pub fn compare(runs: &[NamedRun<'_>], title: &str) -> String {
    // Writing to a `String` cannot fail.
    compare::draw(runs, title).unwrap_or_default()
}

/// Reads the history file `history`, draws its chart and writes the chart to the file `svg`.
///
/// # Errors
/// Returns a [`ChartError`] if the history cannot be read or the SVG file cannot be written.
pub fn write(history: impl AsRef<Path>, svg: impl AsRef<Path>, title: &str) -> Result<(), ChartError> {
    let events = History::read(history).map_err(ChartError::History)?;
    let path = svg.as_ref();
    std::fs::write(path, draw(&events, title)).map_err(|cause| ChartError::Io { path: path.to_owned(), cause })
}

/// The chart of one run.
struct Chart<'a> {
    run: &'a Run,
    canvas: Canvas,
    /// The points of the smoothed loss curve in pixels.
    loss_line: Vec<(f64, f64)>,
}

impl<'a> Chart<'a> {
    fn new(run: &'a Run, title: &str) -> Result<Self, fmt::Error> {
        let metrics = run.metrics.iter().map(|_| METRIC_HEIGHT);
        let durations = (!run.durations.is_empty()).then_some(DURATION_HEIGHT);
        // The checkpoint handlers share one panel, in which each handler has one row.
        let lanes = (!run.lanes.is_empty()).then_some(LANE_HEIGHT * run.lanes.len() as f64);
        let heights = std::iter::once(LOSS_HEIGHT).chain(metrics).chain(durations).chain(lanes);
        let canvas = Canvas::new(title, run.iterations, TOP, &heights.collect::<Vec<_>>())?;
        Ok(Chart { run, canvas, loss_line: Vec::new() })
    }

    fn draw(mut self) -> Result<String, fmt::Error> {
        let summary = escape_xml(&self.summary());
        writeln!(self.canvas.svg, r#"<text x="{LEFT}" y="50" font-size="12.5" fill="{FAINT}">{summary}</text>"#)?;
        self.draw_loss()?;
        for (index, (name, values)) in self.run.metrics.iter().enumerate() {
            self.draw_metric(name, values, METRICS[index % METRICS.len()])?;
        }
        if !self.run.durations.is_empty() {
            self.draw_durations()?;
        }
        if !self.run.lanes.is_empty() {
            self.draw_lanes()?;
        }
        self.draw_annotation_labels()?;
        self.canvas.finish()
    }

    /// Returns the subtitle of the chart: the length of the run, the best checkpoint, the number of resumes and the
    /// stop reason.
    fn summary(&self) -> String {
        let run = self.run;
        let mut parts = vec![format!("{} epochs, {} iterations", run.epochs, run.iterations)];
        if let Some((best, metric)) = run.best() {
            let score = best.score.map_or(f64::NAN, f64::from);
            // If the score is a negated metric, for example a loss, the subtitle shows the metric without the minus
            // sign.
            let value = match metric {
                Some(name) => format!("{name} {}", format_rounded(score.abs())),
                None => format!("score {}", format_rounded(score)),
            };
            parts.push(format!("best: step {} ({value})", best.step));
        }
        match run.resumes.len() {
            0 => (),
            1 => parts.push("resumed once".to_owned()),
            n => parts.push(format!("resumed {n} times")),
        }
        if let Some(stop) = &run.stop {
            parts.push(format!("ended: {}", variant_to_words(&stop.reason)));
        }
        parts.join("  ·  ")
    }

    /// Draws a panel without its curves: the frame, the grid and the annotation lines. Returns the y-coordinate of the
    /// top of the panel, and the vertical axis.
    fn draw_panel(&mut self, title: &str, height: f64, points: &[(f64, f64)]) -> Result<(f64, Axis), fmt::Error> {
        let values = points.iter().map(|(_, value)| *value);
        let (top, bottom, axis) = self.canvas.draw_panel(title, height, values)?;
        self.draw_annotation_lines(top, bottom)?;
        Ok((top, axis))
    }

    fn draw_loss(&mut self) -> fmt::Result {
        let run = self.run;
        let (top, axis) = self.draw_panel("training loss", LOSS_HEIGHT, &run.losses)?;
        self.draw_legend(top - 8.0)?;
        self.draw_curve(&run.losses, &axis, Stroke { color: LOSS, width: 1.0, opacity: 0.35 })?;
        let smoothed = smooth(&run.losses, run.losses.len());
        let to_pixels = |(iteration, loss): &(f64, f64)| (self.canvas.x.to_pixel(*iteration), axis.to_pixel(*loss));
        self.loss_line = downsample(&smoothed, WIDTH).iter().map(to_pixels).collect();
        self.draw_curve(&smoothed, &axis, Stroke { color: LOSS, width: 2.2, opacity: 1.0 })
    }

    fn draw_metric(&mut self, name: &str, values: &[(f64, f64)], color: &'static str) -> fmt::Result {
        let (_, axis) = self.draw_panel(&metric_title(name), METRIC_HEIGHT, values)?;
        self.canvas.draw_curve(values, &axis, Stroke { color, width: 1.8, opacity: 1.0 })?;
        // Draw a dot for each value only if there are at most 80 values, because more dots would overlap.
        if values.len() <= 80 {
            for point in values {
                self.canvas.draw_dot(*point, &axis, 2.4, color)?;
            }
        }
        let best = self.run.best().filter(|(_, metric)| *metric == Some(name)).map(|(save, _)| *save);
        let value_at = |save: Save| values.iter().find(|(iteration, _)| *iteration == save.iteration);
        if let Some((iteration, value)) = best.and_then(value_at) {
            self.draw_star(self.canvas.x.to_pixel(*iteration), axis.to_pixel(*value), 8.0)?;
        }
        Ok(())
    }

    /// Draws the panel that shows the duration of each iteration. An iteration that saves a checkpoint can take much
    /// longer than the others. Therefore the panel clips the longest 3 % of the durations, so that the differences
    /// between the others stay visible.
    fn draw_durations(&mut self) -> fmt::Result {
        let run = self.run;
        let mut sorted: Vec<f64> = run.durations.iter().map(|(_, seconds)| *seconds).collect();
        sorted.sort_by(f64::total_cmp);
        let limit = sorted[(sorted.len() - 1) * 97 / 100] * 1.1;
        let (unit, per_second) = time_unit(sorted[sorted.len() / 2]);
        let points: Vec<(f64, f64)> =
            run.durations.iter().map(|(iteration, seconds)| (*iteration, seconds.min(limit) * per_second)).collect();
        let (_, axis) = self.draw_panel(&format!("time of an iteration, {unit}"), DURATION_HEIGHT, &points)?;
        self.draw_curve(&points, &axis, Stroke { color: DURATION, width: 1.0, opacity: 0.35 })?;
        self.draw_curve(&smooth(&points, points.len()), &axis, Stroke { color: DURATION, width: 1.8, opacity: 1.0 })
    }

    /// Draws a curve. If the curve has many more points than the image has pixels, the curve is reduced first.
    fn draw_curve(&mut self, points: &[(f64, f64)], axis: &Axis, stroke: Stroke) -> fmt::Result {
        self.canvas.draw_curve(&downsample(points, WIDTH), axis, stroke)
    }

    /// Draws the legend of the two curves in the first panel: the loss and the smoothed loss.
    fn draw_legend(&mut self, y: f64) -> fmt::Result {
        for (x, text, width, opacity) in [(568.0, "each iteration", 1.2, 0.45), (688.0, "smoothed", 2.2, 1.0)] {
            let (to, text_x, line_y) = (x + 18.0, x + 23.0, y - 4.0);
            writeln!(
                self.canvas.svg,
                r#"<path d="M{x} {line_y:.1}H{to}" stroke="{LOSS}" stroke-width="{width}" stroke-opacity="{opacity}"/>"#
            )?;
            writeln!(self.canvas.svg, r#"<text x="{text_x}" y="{y:.1}" fill="{FAINT}">{text}</text>"#)?;
        }
        Ok(())
    }

    fn draw_lanes(&mut self) -> fmt::Result {
        let title = self.canvas.y - 8.0;
        writeln!(self.canvas.svg, r#"<text x="{LEFT}" y="{title:.1}" font-weight="bold">checkpoints</text>"#)?;
        let has_failures = self.run.lanes.iter().any(|lane| !lane.failures.is_empty());
        let mut x = RIGHT - if has_failures { 272.0 } else { 178.0 };
        let y = title - 4.0;
        for (text, width) in [("kept", 52.0), ("removed", 78.0), ("best", 52.0), ("save failed", 90.0)] {
            match text {
                "kept" => draw_checkpoint(&mut self.canvas.svg, x, y, true)?,
                "removed" => draw_checkpoint(&mut self.canvas.svg, x, y, false)?,
                "best" => self.draw_star(x, y, 7.0)?,
                _ if has_failures => self.draw_cross(x, y)?,
                _ => break,
            }
            writeln!(self.canvas.svg, r#"<text x="{:.1}" y="{title:.1}" fill="{FAINT}">{text}</text>"#, x + 10.0)?;
            x += width;
        }
        let run = self.run;
        self.draw_annotation_lines(self.canvas.y, self.canvas.y + LANE_HEIGHT * run.lanes.len() as f64)?;
        for lane in &run.lanes {
            let y = self.canvas.y + LANE_HEIGHT / 2.0;
            writeln!(self.canvas.svg, r#"<path d="M{LEFT} {y:.1}H{RIGHT}" stroke="{GRID}"/>"#)?;
            let (x, below) = (LEFT - 8.0, y + 4.0);
            let name = escape_xml(&lane.name);
            writeln!(
                self.canvas.svg,
                r#"<text x="{x}" y="{below:.1}" text-anchor="end" fill="{FAINT}">{name}</text>"#
            )?;
            self.draw_lane(lane, y)?;
            self.canvas.y += LANE_HEIGHT;
        }
        self.canvas.y += GAP;
        Ok(())
    }

    fn draw_lane(&mut self, lane: &Lane, y: f64) -> fmt::Result {
        // Later symbols cover earlier ones. Therefore the removed checkpoints are drawn first, then the kept
        // checkpoints, and then the best checkpoint.
        let (kept, removed): (Vec<&Save>, Vec<&Save>) = lane.saves.iter().partition(|save| save.is_kept);
        for save in removed.into_iter().chain(kept) {
            draw_checkpoint(&mut self.canvas.svg, self.canvas.x.to_pixel(save.iteration), y, save.is_kept)?;
        }
        if let Some(best) = lane.best() {
            self.draw_star(self.canvas.x.to_pixel(best.iteration), y, 8.0)?;
        }
        for iteration in &lane.failures {
            self.draw_cross(self.canvas.x.to_pixel(*iteration), y)?;
        }
        Ok(())
    }
}
