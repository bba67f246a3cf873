//! A run as a picture: its loss, its metrics, what was saved and removed, where it was resumed and why it stopped.
//!
//! One SVG without scripts or fonts of its own, 800 pixels wide, whose text can be read at that size. From top to
//! bottom: the training loss, raw and smoothed; each metric on its own axis, a learning rate for example; how long an
//! iteration took; a lane for each checkpoint handler, with the checkpoints that are kept filled and those removed hollow. The best checkpoint is marked through all of them.
//! A loss that spans more than a factor of 50 has a logarithmic axis. Nothing is read but the [history](crate::history).
//!
//! ```
//! use training_monitor_std::{chart, history::Entry};
//!
//! let loss = |iteration| Entry::Iteration { iteration, loss: Some(1.0 / iteration as f32), seconds: None };
//! let mut entries: Vec<Entry> = (1..=40).map(loss).collect();
//! entries.push(Entry::Epoch { epoch: 1, iteration: 40, metrics: vec![("accuracy".into(), Some(0.75))] });
//! entries.push(Entry::Saved { store: "best".into(), step: 1, iteration: 40, score: Some(0.75), bytes: 900, removed: None });
//! entries.push(Entry::Stopped { reason: "EarlyStopping".into(), epoch: 1, iteration: 40 });
//!
//! let svg = chart::draw(&entries, "forty steps");
//! assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
//! assert!(svg.contains("forty steps") && svg.contains("accuracy") && svg.contains("early stopping"));
//! ```

mod axis;
mod error;
mod marks;
mod run;

pub use error::ChartError;

use crate::history::{Entry, History};
use crate::progress::words;
use axis::{Axis, number};
use marks::dot;
use run::{Lane, Run, Save, smoothed};
use std::fmt::{self, Write};
use std::path::Path;

const WIDTH: f64 = 800.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 24.0;
/// The top of the first panel.
const TOP: f64 = 88.0;
/// Below the last.
const BOTTOM: f64 = 52.0;
const LOSS_HEIGHT: f64 = 210.0;
const METRIC_HEIGHT: f64 = 120.0;
const PACE_HEIGHT: f64 = 90.0;
const LANE_HEIGHT: f64 = 30.0;
/// Between two panels, with the upper one's neighbour's title in it.
const GAP: f64 = 34.0;

const INK: &str = "#24292f";
const FAINT: &str = "#6e7781";
const GRID: &str = "#e7eaee";
const LOSS: &str = "#0072b2";
const BEST: &str = "#e69f00";
const STOP: &str = "#d55e00";
const RESUME: &str = "#8250df";
const PACE: &str = "#57606a";
const METRICS: [&str; 4] = ["#009e73", "#cc4c8f", "#56789b", "#a05a00"];

/// Draws the run that `entries` are the history of.
#[must_use]
pub fn draw(entries: &[Entry], title: &str) -> String {
    let run = Run::new(entries);
    let mut svg = String::new();
    // Cannot fail: a String takes everything.
    let _ = Chart::new(&run, &mut svg).draw(title);
    svg
}

/// Reads the history at `history` and writes its chart to `svg`.
///
/// # Errors
/// [`ChartError`].
pub fn write(history: impl AsRef<Path>, svg: impl AsRef<Path>, title: &str) -> Result<(), ChartError> {
    let entries = History::read(history).map_err(ChartError::History)?;
    let path = svg.as_ref();
    std::fs::write(path, draw(&entries, title)).map_err(|cause| ChartError::Io { path: path.to_owned(), cause })
}

struct Chart<'a> {
    run: &'a Run,
    svg: &'a mut String,
    x: Axis,
    /// The top of what comes next.
    y: f64,
    height: f64,
    /// Where the smoothed loss is, in pixels.
    loss_line: Vec<(f64, f64)>,
}

impl<'a> Chart<'a> {
    fn new(run: &'a Run, svg: &'a mut String) -> Self {
        let x = Axis::linear(0.0, f64::from(run.iterations.max(1)) * 1.015, LEFT, WIDTH - RIGHT);
        let mut chart = Chart { run, svg, x, y: TOP, height: 0.0, loss_line: Vec::new() };
        chart.height = chart.panels().last().map_or(TOP, |(_, bottom)| *bottom) + BOTTOM;
        chart
    }

    /// Top and bottom of each panel; the lanes are one.
    fn panels(&self) -> Vec<(f64, f64)> {
        let lanes = LANE_HEIGHT * self.run.stores.len() as f64;
        let metrics = self.run.metrics.iter().map(|_| METRIC_HEIGHT);
        let pace = (!self.run.seconds.is_empty()).then_some(PACE_HEIGHT);
        let lanes = Some(lanes).filter(|lanes| *lanes > 0.0);
        let heights = std::iter::once(LOSS_HEIGHT).chain(metrics).chain(pace).chain(lanes);
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
        let title = escaped(title);
        writeln!(self.svg, "<title>{title}</title>")?;
        writeln!(self.svg, r##"<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>"##)?;
        writeln!(self.svg, r#"<text x="{LEFT}" y="30" font-size="18" font-weight="bold">{title}</text>"#)?;
        let summary = escaped(&self.summary());
        writeln!(self.svg, r#"<text x="{LEFT}" y="50" font-size="12.5" fill="{FAINT}">{summary}</text>"#)?;
        self.losses()?;
        for (index, (name, values)) in self.run.metrics.iter().enumerate() {
            self.metric(name, values, METRICS[index % METRICS.len()])?;
        }
        if !self.run.seconds.is_empty() {
            self.pace()?;
        }
        if !self.run.stores.is_empty() {
            self.lanes()?;
        }
        self.mark_names()?;
        self.iterations()?;
        self.svg.write_str("</svg>\n")
    }

    /// The run in one line.
    fn summary(&self) -> String {
        let run = self.run;
        let mut parts = vec![format!("{} epochs, {} iterations", run.epochs, run.iterations)];
        if let Some((best, metric)) = run.best() {
            let score = best.score.map_or(f64::NAN, f64::from);
            // The score of a loss is often its negative; the metric's own value says more.
            let told = match metric {
                Some(name) => format!("{name} {}", number(round(score.abs()))),
                None => format!("score {}", number(round(score))),
            };
            parts.push(format!("best: step {} ({told})", best.step));
        }
        match run.resumes.len() {
            0 => (),
            1 => parts.push("resumed once".to_owned()),
            n => parts.push(format!("resumed {n} times")),
        }
        if let Some(stop) = &run.stop {
            parts.push(format!("ended: {}", words(&stop.reason)));
        }
        parts.join("  ·  ")
    }

    /// The frame of a panel, with its grid, and the axis of its values.
    fn panel(&mut self, title: &str, height: f64, values: &[f64]) -> Result<(f64, Axis), fmt::Error> {
        let (top, bottom) = (self.y, self.y + height);
        let axis = Axis::fitting(values.iter().copied(), bottom, top);
        let log = if axis.is_log() { " (log)" } else { "" };
        let right = WIDTH - RIGHT;
        writeln!(
            self.svg,
            r#"<text x="{LEFT}" y="{:.1}" font-weight="bold">{}{log}</text>"#,
            top - 8.0,
            escaped(title)
        )?;
        for tick in axis.ticks((height / 28.0) as usize) {
            let y = axis.at(tick);
            writeln!(self.svg, r#"<path d="M{LEFT} {y:.1}H{right}" stroke="{GRID}"/>"#)?;
            let (x, y, text) = (LEFT - 8.0, y + 4.0, number(tick));
            writeln!(self.svg, r#"<text x="{x}" y="{y:.1}" text-anchor="end" fill="{FAINT}">{text}</text>"#)?;
        }
        for tick in self.x.ticks(8) {
            let x = self.x.at(tick);
            writeln!(self.svg, r#"<path d="M{x:.1} {top:.1}V{bottom:.1}" stroke="{GRID}"/>"#)?;
        }
        writeln!(self.svg, r#"<path d="M{LEFT} {top:.1}V{bottom:.1}H{right}" stroke="{FAINT}" fill="none"/>"#)?;
        self.mark_lines(top, bottom)?;
        self.y = bottom + GAP;
        Ok((top, axis))
    }

    fn losses(&mut self) -> fmt::Result {
        let run = self.run;
        let values: Vec<f64> = run.losses.iter().map(|(_, loss)| *loss).collect();
        let (top, axis) = self.panel("training loss", LOSS_HEIGHT, &values)?;
        self.key(top - 8.0)?;
        self.line(&thinned(&run.losses), &axis, LOSS, 1.0, 0.35)?;
        let smoothed = thinned(&smoothed(&run.losses));
        self.loss_line = smoothed.iter().map(|(at, loss)| (self.x.at(*at), axis.at(*loss))).collect();
        self.line(&smoothed, &axis, LOSS, 2.2, 1.0)
    }

    fn metric(&mut self, name: &str, values: &[(f64, f64)], color: &str) -> fmt::Result {
        let all: Vec<f64> = values.iter().map(|(_, value)| *value).collect();
        let (_, axis) = self.panel(&words_of(name), METRIC_HEIGHT, &all)?;
        self.line(values, &axis, color, 1.8, 1.0)?;
        // Dots while they can be told apart.
        if values.len() <= 80 {
            for (at, value) in values {
                let (x, y) = (self.x.at(*at), axis.at(*value));
                writeln!(self.svg, r#"<circle cx="{x:.1}" cy="{y:.1}" r="2.4" fill="{color}"/>"#)?;
            }
        }
        let best = self.run.best().filter(|(_, metric)| *metric == Some(name)).map(|(save, _)| *save);
        if let Some((at, value)) = best.and_then(|save| values.iter().find(|(at, _)| *at == save.at)) {
            self.star(self.x.at(*at), axis.at(*value), 8.0)?;
        }
        Ok(())
    }

    /// How long an iteration took. A few take much longer, those with a save in them; they are cut off at the top, or
    /// nothing could be told of the others.
    fn pace(&mut self) -> fmt::Result {
        let run = self.run;
        let mut sorted: Vec<f64> = run.seconds.iter().map(|(_, seconds)| *seconds).collect();
        sorted.sort_by(f64::total_cmp);
        let nearly_all = sorted[(sorted.len() - 1) * 97 / 100] * 1.1;
        let (unit, scale) = match sorted[sorted.len() / 2] {
            median if median < 1e-3 => ("µs", 1e6),
            median if median < 1.0 => ("ms", 1e3),
            _ => ("s", 1.0),
        };
        let points: Vec<(f64, f64)> =
            run.seconds.iter().map(|(at, seconds)| (*at, seconds.min(nearly_all) * scale)).collect();
        let values: Vec<f64> = points.iter().map(|(_, value)| *value).collect();
        let (_, axis) = self.panel(&format!("time of an iteration, {unit}"), PACE_HEIGHT, &values)?;
        self.line(&thinned(&points), &axis, PACE, 1.0, 0.35)?;
        self.line(&thinned(&smoothed(&points)), &axis, PACE, 1.8, 1.0)
    }

    fn line(&mut self, points: &[(f64, f64)], axis: &Axis, color: &str, width: f64, opacity: f64) -> fmt::Result {
        if points.is_empty() {
            return Ok(());
        }
        self.svg.write_str(r#"<polyline points=""#)?;
        for (index, (at, value)) in points.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(self.svg, "{space}{:.1},{:.1}", self.x.at(*at), axis.at(*value))?;
        }
        writeln!(
            self.svg,
            r#"" fill="none" stroke="{color}" stroke-width="{width}" stroke-opacity="{opacity}" stroke-linejoin="round"/>"#
        )
    }

    /// What the two lines of the first panel are.
    fn key(&mut self, y: f64) -> fmt::Result {
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

    fn lanes(&mut self) -> fmt::Result {
        let title = self.y - 8.0;
        writeln!(self.svg, r#"<text x="{LEFT}" y="{title:.1}" font-weight="bold">checkpoints</text>"#)?;
        let failed = self.run.stores.iter().any(|lane| !lane.failures.is_empty());
        let mut x = WIDTH - RIGHT - if failed { 272.0 } else { 178.0 };
        let y = title - 4.0;
        for (text, width) in [("kept", 52.0), ("removed", 78.0), ("best", 52.0), ("save failed", 90.0)] {
            match text {
                "kept" => dot(self.svg, x, y, true)?,
                "removed" => dot(self.svg, x, y, false)?,
                "best" => self.star(x, y, 7.0)?,
                _ if failed => self.cross(x, y)?,
                _ => break,
            }
            writeln!(self.svg, r#"<text x="{:.1}" y="{title:.1}" fill="{FAINT}">{text}</text>"#, x + 10.0)?;
            x += width;
        }
        let right = WIDTH - RIGHT;
        let run = self.run;
        self.mark_lines(self.y, self.y + LANE_HEIGHT * run.stores.len() as f64)?;
        for lane in &run.stores {
            let y = self.y + LANE_HEIGHT / 2.0;
            writeln!(self.svg, r#"<path d="M{LEFT} {y:.1}H{right}" stroke="{GRID}"/>"#)?;
            let (x, below) = (LEFT - 8.0, y + 4.0);
            let name = escaped(&lane.name);
            writeln!(self.svg, r#"<text x="{x}" y="{below:.1}" text-anchor="end" fill="{FAINT}">{name}</text>"#)?;
            self.lane(lane, y)?;
            self.y += LANE_HEIGHT;
        }
        self.y += GAP;
        Ok(())
    }

    fn lane(&mut self, lane: &Lane, y: f64) -> fmt::Result {
        // The kept ones over the removed ones, the best over all.
        let (kept, removed): (Vec<&Save>, Vec<&Save>) = lane.saves.iter().partition(|save| save.kept);
        for save in removed.into_iter().chain(kept) {
            dot(self.svg, self.x.at(save.at), y, save.kept)?;
        }
        if let Some(best) = lane.best() {
            self.star(self.x.at(best.at), y, 8.0)?;
        }
        for at in &lane.failures {
            self.cross(self.x.at(*at), y)?;
        }
        Ok(())
    }

    fn iterations(&mut self) -> fmt::Result {
        let y = self.y - GAP + 18.0;
        for tick in self.x.ticks(8) {
            let (x, text) = (self.x.at(tick), number(tick));
            writeln!(self.svg, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="middle" fill="{FAINT}">{text}</text>"#)?;
        }
        let (x, y) = ((LEFT + WIDTH - RIGHT) / 2.0, y + 20.0);
        writeln!(self.svg, r#"<text x="{x}" y="{y:.1}" text-anchor="middle">iteration</text>"#)
    }
}

/// At most three points a pixel, the lowest and the highest of each stretch among them: spikes stay.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let stretch = points.len().div_ceil(WIDTH as usize);
    if stretch <= 3 {
        return points.to_vec();
    }
    let mut thin = Vec::new();
    for chunk in points.chunks(stretch) {
        let by = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let mut ends = [chunk.iter().min_by(by), chunk.iter().max_by(by)];
        ends.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        thin.extend(ends.into_iter().flatten());
    }
    thin
}

/// Four digits after the point.
fn round(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// `val_loss` as "val loss".
fn words_of(name: &str) -> String {
    name.replace('_', " ")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
