//! A chart of a run as an SVG image, drawn from its [history](crate::history).
//!
//! The image is 800 pixels wide and readable at that size. The image contains no scripts and no embedded fonts. From
//! top to bottom, the chart shows:
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
mod error;
mod run;

pub use error::ChartError;

use crate::history::{History, HistoryEvent};
use crate::progress::variant_to_words;
use annotations::draw_checkpoint;
use axis::{Axis, format_number};
use run::{Lane, Run, Save, smooth};
use std::fmt::{self, Write};
use std::path::Path;

const WIDTH: f64 = 800.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 24.0;
/// The y-coordinate of the first panel.
const TOP: f64 = 88.0;
/// The height of the space below the last panel.
const BOTTOM: f64 = 52.0;
const LOSS_HEIGHT: f64 = 210.0;
const METRIC_HEIGHT: f64 = 120.0;
const DURATION_HEIGHT: f64 = 90.0;
const LANE_HEIGHT: f64 = 30.0;
/// The vertical space between two panels, in pixels. The title of the lower panel is in this space.
const GAP: f64 = 34.0;

const INK: &str = "#24292f";
const FAINT: &str = "#6e7781";
const GRID: &str = "#e7eaee";
const LOSS: &str = "#0072b2";
const BEST: &str = "#e69f00";
const STOP: &str = "#d55e00";
const RESUME: &str = "#8250df";
const DURATION: &str = "#57606a";
const METRICS: [&str; 4] = ["#009e73", "#cc4c8f", "#56789b", "#a05a00"];

/// Draws the chart of one training run. `events` is the history of the run. Returns the SVG image as text.
#[must_use]
pub fn draw(events: &[HistoryEvent], title: &str) -> String {
    let run = Run::new(events);
    let mut svg = String::new();
    // Writing to a `String` cannot fail.
    let _ = Chart::new(&run, &mut svg).draw(title);
    svg
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

struct Chart<'a> {
    run: &'a Run,
    svg: &'a mut String,
    x: Axis,
    /// The y-coordinate of the next panel.
    y: f64,
    /// The height of the image.
    height: f64,
    /// The points of the smoothed loss curve in pixels.
    loss_line: Vec<(f64, f64)>,
}

impl<'a> Chart<'a> {
    fn new(run: &'a Run, svg: &'a mut String) -> Self {
        let x = Axis::linear(0.0, f64::from(run.iterations.max(1)) * 1.015, LEFT, WIDTH - RIGHT);
        let mut chart = Chart { run, svg, x, y: TOP, height: 0.0, loss_line: Vec::new() };
        chart.height = chart.panels().last().map_or(TOP, |(_, bottom)| *bottom) + BOTTOM;
        chart
    }

    /// Returns the y-coordinates of the top and the bottom of each panel. The checkpoint handlers share one panel, in
    /// which each handler has one row.
    fn panels(&self) -> Vec<(f64, f64)> {
        let metrics = self.run.metrics.iter().map(|_| METRIC_HEIGHT);
        let durations = (!self.run.durations.is_empty()).then_some(DURATION_HEIGHT);
        let lanes = (!self.run.lanes.is_empty()).then_some(LANE_HEIGHT * self.run.lanes.len() as f64);
        let heights = std::iter::once(LOSS_HEIGHT).chain(metrics).chain(durations).chain(lanes);
        let mut top = TOP;
        let panel = |height| {
            let panel = (top, top + height);
            top = panel.1 + GAP;
            panel
        };
        heights.map(panel).collect()
    }

    fn draw(mut self, title: &str) -> fmt::Result {
        let height = self.height;
        writeln!(
            self.svg,
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" font-family="Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif" font-size="12" fill="{INK}">"#
        )?;
        let title = escape_xml(title);
        writeln!(self.svg, "<title>{title}</title>")?;
        writeln!(self.svg, r##"<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>"##)?;
        writeln!(self.svg, r#"<text x="{LEFT}" y="30" font-size="18" font-weight="bold">{title}</text>"#)?;
        let summary = escape_xml(&self.summary());
        writeln!(self.svg, r#"<text x="{LEFT}" y="50" font-size="12.5" fill="{FAINT}">{summary}</text>"#)?;
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
        self.draw_iteration_axis()?;
        self.svg.write_str("</svg>\n")
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
                Some(name) => format!("{name} {}", format_number(round(score.abs()))),
                None => format!("score {}", format_number(round(score))),
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
    fn draw_panel(&mut self, title: &str, height: f64, values: &[f64]) -> Result<(f64, Axis), fmt::Error> {
        let (top, bottom) = (self.y, self.y + height);
        let axis = Axis::for_values(values.iter().copied(), bottom, top);
        let log = if axis.is_log() { " (log)" } else { "" };
        let right = WIDTH - RIGHT;
        writeln!(
            self.svg,
            r#"<text x="{LEFT}" y="{:.1}" font-weight="bold">{}{log}</text>"#,
            top - 8.0,
            escape_xml(title)
        )?;
        for tick in axis.ticks((height / 28.0) as usize) {
            let y = axis.to_pixel(tick);
            writeln!(self.svg, r#"<path d="M{LEFT} {y:.1}H{right}" stroke="{GRID}"/>"#)?;
            let (x, y, text) = (LEFT - 8.0, y + 4.0, format_number(tick));
            writeln!(self.svg, r#"<text x="{x}" y="{y:.1}" text-anchor="end" fill="{FAINT}">{text}</text>"#)?;
        }
        for tick in self.x.ticks(8) {
            let x = self.x.to_pixel(tick);
            writeln!(self.svg, r#"<path d="M{x:.1} {top:.1}V{bottom:.1}" stroke="{GRID}"/>"#)?;
        }
        writeln!(self.svg, r#"<path d="M{LEFT} {top:.1}V{bottom:.1}H{right}" stroke="{FAINT}" fill="none"/>"#)?;
        self.draw_annotation_lines(top, bottom)?;
        self.y = bottom + GAP;
        Ok((top, axis))
    }

    fn draw_loss(&mut self) -> fmt::Result {
        let run = self.run;
        let values: Vec<f64> = run.losses.iter().map(|(_, loss)| *loss).collect();
        let (top, axis) = self.draw_panel("training loss", LOSS_HEIGHT, &values)?;
        self.draw_legend(top - 8.0)?;
        self.draw_curve(&downsample(&run.losses), &axis, LOSS, 1.0, 0.35)?;
        let smoothed = downsample(&smooth(&run.losses));
        self.loss_line =
            smoothed.iter().map(|(iteration, loss)| (self.x.to_pixel(*iteration), axis.to_pixel(*loss))).collect();
        self.draw_curve(&smoothed, &axis, LOSS, 2.2, 1.0)
    }

    fn draw_metric(&mut self, name: &str, values: &[(f64, f64)], color: &str) -> fmt::Result {
        let range: Vec<f64> = values.iter().map(|(_, value)| *value).collect();
        let (_, axis) = self.draw_panel(&metric_title(name), METRIC_HEIGHT, &range)?;
        self.draw_curve(values, &axis, color, 1.8, 1.0)?;
        // More than 80 dots would overlap.
        if values.len() <= 80 {
            for (iteration, value) in values {
                let (x, y) = (self.x.to_pixel(*iteration), axis.to_pixel(*value));
                writeln!(self.svg, r#"<circle cx="{x:.1}" cy="{y:.1}" r="2.4" fill="{color}"/>"#)?;
            }
        }
        let best = self.run.best().filter(|(_, metric)| *metric == Some(name)).map(|(save, _)| *save);
        let value_at = |save: Save| values.iter().find(|(iteration, _)| *iteration == save.iteration);
        if let Some((iteration, value)) = best.and_then(value_at) {
            self.draw_star(self.x.to_pixel(*iteration), axis.to_pixel(*value), 8.0)?;
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
        let (unit, scale) = match sorted[sorted.len() / 2] {
            median if median < 1e-3 => ("µs", 1e6),
            median if median < 1.0 => ("ms", 1e3),
            _ => ("s", 1.0),
        };
        let points: Vec<(f64, f64)> =
            run.durations.iter().map(|(iteration, seconds)| (*iteration, seconds.min(limit) * scale)).collect();
        let values: Vec<f64> = points.iter().map(|(_, value)| *value).collect();
        let (_, axis) = self.draw_panel(&format!("time of an iteration, {unit}"), DURATION_HEIGHT, &values)?;
        self.draw_curve(&downsample(&points), &axis, DURATION, 1.0, 0.35)?;
        self.draw_curve(&downsample(&smooth(&points)), &axis, DURATION, 1.8, 1.0)
    }

    fn draw_curve(&mut self, points: &[(f64, f64)], axis: &Axis, color: &str, width: f64, opacity: f64) -> fmt::Result {
        if points.is_empty() {
            return Ok(());
        }
        self.svg.write_str(r#"<polyline points=""#)?;
        for (index, (iteration, value)) in points.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(self.svg, "{space}{:.1},{:.1}", self.x.to_pixel(*iteration), axis.to_pixel(*value))?;
        }
        writeln!(
            self.svg,
            r#"" fill="none" stroke="{color}" stroke-width="{width}" stroke-opacity="{opacity}" stroke-linejoin="round"/>"#
        )
    }

    /// Draws the legend of the two curves in the first panel.
    fn draw_legend(&mut self, y: f64) -> fmt::Result {
        for (x, text, width, opacity) in [(568.0, "each iteration", 1.2, 0.45), (688.0, "smoothed", 2.2, 1.0)] {
            let (to, text_x, line_y) = (x + 18.0, x + 23.0, y - 4.0);
            writeln!(
                self.svg,
                r#"<path d="M{x} {line_y:.1}H{to}" stroke="{LOSS}" stroke-width="{width}" stroke-opacity="{opacity}"/>"#
            )?;
            writeln!(self.svg, r#"<text x="{text_x}" y="{y:.1}" fill="{FAINT}">{text}</text>"#)?;
        }
        Ok(())
    }

    fn draw_lanes(&mut self) -> fmt::Result {
        let title = self.y - 8.0;
        writeln!(self.svg, r#"<text x="{LEFT}" y="{title:.1}" font-weight="bold">checkpoints</text>"#)?;
        let has_failures = self.run.lanes.iter().any(|lane| !lane.failures.is_empty());
        let mut x = WIDTH - RIGHT - if has_failures { 272.0 } else { 178.0 };
        let y = title - 4.0;
        for (text, width) in [("kept", 52.0), ("removed", 78.0), ("best", 52.0), ("save failed", 90.0)] {
            match text {
                "kept" => draw_checkpoint(self.svg, x, y, true)?,
                "removed" => draw_checkpoint(self.svg, x, y, false)?,
                "best" => self.draw_star(x, y, 7.0)?,
                _ if has_failures => self.draw_cross(x, y)?,
                _ => break,
            }
            writeln!(self.svg, r#"<text x="{:.1}" y="{title:.1}" fill="{FAINT}">{text}</text>"#, x + 10.0)?;
            x += width;
        }
        let right = WIDTH - RIGHT;
        let run = self.run;
        self.draw_annotation_lines(self.y, self.y + LANE_HEIGHT * run.lanes.len() as f64)?;
        for lane in &run.lanes {
            let y = self.y + LANE_HEIGHT / 2.0;
            writeln!(self.svg, r#"<path d="M{LEFT} {y:.1}H{right}" stroke="{GRID}"/>"#)?;
            let (x, below) = (LEFT - 8.0, y + 4.0);
            let name = escape_xml(&lane.name);
            writeln!(self.svg, r#"<text x="{x}" y="{below:.1}" text-anchor="end" fill="{FAINT}">{name}</text>"#)?;
            self.draw_lane(lane, y)?;
            self.y += LANE_HEIGHT;
        }
        self.y += GAP;
        Ok(())
    }

    fn draw_lane(&mut self, lane: &Lane, y: f64) -> fmt::Result {
        // Later symbols cover earlier ones. Therefore the removed checkpoints are drawn first, then the kept
        // checkpoints, and then the best checkpoint.
        let (kept, removed): (Vec<&Save>, Vec<&Save>) = lane.saves.iter().partition(|save| save.is_kept);
        for save in removed.into_iter().chain(kept) {
            draw_checkpoint(self.svg, self.x.to_pixel(save.iteration), y, save.is_kept)?;
        }
        if let Some(best) = lane.best() {
            self.draw_star(self.x.to_pixel(best.iteration), y, 8.0)?;
        }
        for iteration in &lane.failures {
            self.draw_cross(self.x.to_pixel(*iteration), y)?;
        }
        Ok(())
    }

    fn draw_iteration_axis(&mut self) -> fmt::Result {
        let y = self.y - GAP + 18.0;
        for tick in self.x.ticks(8) {
            let (x, text) = (self.x.to_pixel(tick), format_number(tick));
            writeln!(self.svg, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="middle" fill="{FAINT}">{text}</text>"#)?;
        }
        let (x, y) = ((LEFT + WIDTH - RIGHT) / 2.0, y + 20.0);
        writeln!(self.svg, r#"<text x="{x}" y="{y:.1}" text-anchor="middle">iteration</text>"#)
    }
}

/// Reduces a curve to at most three points per horizontal pixel. A curve with more points is divided into chunks. Only
/// the lowest and the highest point of each chunk remain, so that spikes stay visible.
fn downsample(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let chunk_len = points.len().div_ceil(WIDTH as usize);
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

/// Rounds to four digits after the decimal point.
fn round(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// Returns the title of a metric: `val_loss` becomes "val loss".
fn metric_title(name: &str) -> String {
    name.replace('_', " ")
}

/// Escapes the special characters of XML in `text`.
fn escape_xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
