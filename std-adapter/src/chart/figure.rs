//! The picture of one or several runs.
//!
//! One run and several runs are drawn by the same code. The picture of one run also shows the recorded values behind a
//! smoothed curve, the annotations, the checkpoints and the profile.

use super::annotations::{Annotations, draw_star};
use super::axis::ValueRange;
use super::canvas::{Anchor, Canvas, Frame, GAP, LABEL_ROW, Mark, RIGHT, Stroke, WIDTH};
use super::color::{self, BACKGROUND, Color, DURATION, FAINT, LOSS, STOP, fill, stroke};
use super::legend::{self, Summary};
use super::panel::{Curve, Panel, duration_panel, value_panels};
use super::run::Run;
use super::smooth::downsample;
use super::text::{format_short, format_value};
use super::{NamedRun, hover, lanes, table};
use crate::progress::variant_to_words;
use std::collections::BTreeMap;
use std::fmt::{self, Write};

/// The y-coordinate of the first line below the title, in pixels.
const LEGEND_TOP: f64 = 52.0;
/// The vertical space between the last line of the legend and the first panel, in pixels.
const LEGEND_GAP: f64 = 38.0;
const FIRST_HEIGHT: f64 = 210.0;
const METRIC_HEIGHT: f64 = 120.0;
const DURATION_HEIGHT: f64 = 90.0;

/// A metric with at most this many values shows each of them as a dot. More dots would overlap.
const MAX_DOTS: usize = 80;

/// The number of rows of marks in a panel. More rows would cover the curves.
const MARK_ROWS: usize = 5;

struct Figure<'a> {
    runs: &'a [Run],
    names: &'a [&'a str],
    canvas: Canvas,
    annotations: Annotations,
}

/// Draws the picture of the runs. Returns the SVG image as text.
pub(super) fn draw(named: &[NamedRun<'_>], title: &str) -> Result<String, fmt::Error> {
    let runs: Vec<Run> = named.iter().map(|run| Run::new(run.events)).collect();
    let names: Vec<&str> = named.iter().map(|run| run.name).collect();
    let mut panels = value_panels(&runs);
    let mut heights = vec![METRIC_HEIGHT; panels.len()];
    heights[0] = FIRST_HEIGHT;
    if let Some(panel) = duration_panel(&runs) {
        panels.push(panel);
        heights.push(DURATION_HEIGHT);
    }
    let single = if let [run] = &runs[..] { Some(run) } else { None };
    let lanes_height = single.map_or(0.0, |run| match run.lanes.len() {
        0 => 0.0,
        lanes => lanes::LANE_HEIGHT * lanes as f64 + GAP,
    });
    let table_height = single.map_or(0.0, |run| table::height(&run.profile));
    let epoch_ends = common_epochs(&runs);
    let labels_height = LABEL_ROW * if epoch_ends.is_empty() { 1.0 } else { 2.0 } + 15.0;
    let summary = Summary::new(&runs, &names);
    let top = LEGEND_TOP + legend::LINE * summary.lines().saturating_sub(1) as f64 + LEGEND_GAP;
    let panels_height = heights.iter().sum::<f64>() + GAP * (heights.len() - 1) as f64;
    let columns_bottom = top + panels_height;
    let height =
        columns_bottom + lanes_height + labels_height + if table_height > 0.0 { table_height + 14.0 } else { 0.0 };

    let iterations = runs.iter().map(|run| run.iterations).max().unwrap_or(0);
    let annotations = single.map_or_else(|| Annotations::new(&Run::default()), Annotations::new);
    let canvas = Canvas::new(title, &summary.describe(&panels), iterations, height)?;
    let mut figure = Figure { runs: &runs, names: &names, canvas, annotations };
    summary.draw(&mut figure.canvas, LEGEND_TOP)?;
    hover::draw(&mut figure.canvas, &panels, &runs, &names, (top, columns_bottom))?;
    figure.canvas.y = top;
    for (index, (panel, height)) in panels.iter().zip(heights).enumerate() {
        figure.draw_panel(index, panel, height)?;
    }
    let Figure { mut canvas, annotations, .. } = figure;
    if let Some(run) = single.filter(|run| !run.lanes.is_empty()) {
        lanes::draw(&mut canvas, run, |canvas, top, bottom| annotations.draw_lines(canvas, top, bottom))?;
    }
    canvas.draw_x_labels(&epoch_ends)?;
    if let Some(run) = single {
        table::draw(&mut canvas, &run.profile)?;
    }
    Ok(canvas.finish())
}

/// Returns the last iteration of each epoch, if all runs agree on it.
fn common_epochs(runs: &[Run]) -> Vec<(u32, u32)> {
    let mut common = BTreeMap::new();
    for (epoch, iteration) in runs.iter().flat_map(|run| &run.epoch_ends) {
        if *common.entry(*epoch).or_insert(*iteration) != *iteration {
            return Vec::new();
        }
    }
    common.into_iter().collect()
}

impl Figure<'_> {
    fn is_single(&self) -> bool {
        self.runs.len() == 1
    }

    fn draw_panel(&mut self, index: usize, panel: &Panel, height: f64) -> fmt::Result {
        let frame = self.canvas.draw_panel(panel, self.shown_range(panel), height)?;
        self.annotations.draw_lines(&mut self.canvas, frame.top, frame.bottom)?;
        let has_smoothed = panel.curves.iter().any(|curve| !curve.smoothed.is_empty());
        for curve in &panel.curves {
            let color = self.color(index, panel, curve);
            self.draw_curve(panel, curve, color, &frame)?;
            if self.is_single() && has_smoothed && panel.limit.is_none() {
                self.draw_curve_legend(frame.top - 8.0, color)?;
            }
        }
        self.draw_non_finite(panel, frame.bottom)?;
        if index == 0 {
            let position =
                |(iteration, value): &(f64, f64)| (self.canvas.x.position(*iteration), frame.axis.position(*value));
            let line = panel.curves.first().map_or(&[][..], Curve::line);
            let line: Vec<(f64, f64)> = downsample(line, WIDTH).iter().map(position).collect();
            self.annotations.draw_labels(&mut self.canvas, frame, &line)?;
        }
        Ok(())
    }

    /// Draws a mark at the bottom of a panel for each value that is not finite. Each of the first runs has its own row.
    fn draw_non_finite(&mut self, panel: &Panel, bottom: f64) -> fmt::Result {
        let curves = panel.curves.iter().filter(|curve| !curve.non_finite.is_empty());
        for (index, curve) in curves.enumerate() {
            let is_single = self.is_single();
            let color = if is_single { STOP } else { color::of_run(curve.run) };
            let name = if is_single { String::new() } else { format!("{}: ", self.names[curve.run]) };
            let y = bottom - 6.0 - 9.0 * (index % MARK_ROWS) as f64;
            self.canvas.draw_marks(&curve.non_finite, y, Mark::Cross(color), |first, last, count| match count {
                1 => format!("{name}iteration {first}: not finite"),
                _ => format!("{name}iterations {first} to {last}: {count} values are not finite"),
            })?;
        }
        Ok(())
    }

    /// Returns the range of the values that the panel shows.
    fn shown_range(&self, panel: &Panel) -> Option<ValueRange> {
        let points = |curve: &'_ Curve| if self.is_single() { curve.points.clone() } else { curve.line().to_vec() };
        let values = panel.curves.iter().flat_map(points).map(|(_, value)| value);
        ValueRange::of(values.map(|value| value.min(panel.limit.unwrap_or(f64::INFINITY))))
    }

    fn color(&self, index: usize, panel: &Panel, curve: &Curve) -> Color {
        match index {
            _ if !self.is_single() => color::of_run(curve.run),
            _ if panel.limit.is_some() => DURATION,
            0 => LOSS,
            _ => color::of_metric(index - 1),
        }
    }

    fn draw_curve(&mut self, panel: &Panel, curve: &Curve, color: Color, frame: &Frame) -> fmt::Result {
        let axis = &frame.axis;
        let is_single = self.is_single();
        if is_single && !curve.smoothed.is_empty() {
            let faint = Stroke { color, width: 1.0, opacity: 0.35, dash: "" };
            self.canvas.draw_curve(&curve.points, &curve.non_finite, axis, faint)?;
            let clipped: Vec<f64> = match panel.limit {
                Some(limit) => curve.points.iter().filter(|(_, value)| *value > limit).map(|(at, _)| *at).collect(),
                None => Vec::new(),
            };
            let highest = |first: f64, last: f64| {
                let values = curve.points.iter().filter(|(at, _)| (first..=last).contains(at)).map(|(_, value)| *value);
                format_short(values.fold(0.0, f64::max))
            };
            self.canvas.draw_marks(&clipped, frame.top + 4.0, Mark::Triangle, |first, last, count| match count {
                1 => format!("iteration {first}: {}", highest(first, last)),
                _ => format!("iterations {first} to {last}: {count} values, up to {}", highest(first, last)),
            })?;
        }
        let width = if curve.smoothed.is_empty() { 1.8 } else { 2.2 };
        let dash = if is_single { "" } else { color::dash_of_run(curve.run) };
        self.canvas.draw_curve(curve.line(), &curve.non_finite, axis, Stroke { color, width, opacity: 1.0, dash })?;
        if curve.smoothed.is_empty() && curve.points.len() <= MAX_DOTS {
            for (iteration, value) in &curve.points {
                let at = (self.canvas.x.position(*iteration), axis.position(*value));
                let title = format!("iteration {iteration}: {} {}", panel.title, format_value(*value));
                self.canvas.draw_dot(at, 2.4, fill(color), &title)?;
            }
        }
        let run = &self.runs[curve.run];
        // A dot marks the end of a run that stopped, if several runs are drawn. A single run has a line instead.
        if let (Some((iteration, value)), Some(stop), false) = (curve.line().last(), &run.stop, is_single) {
            let at = (self.canvas.x.position(*iteration), axis.position(*value));
            let name = self.names[curve.run];
            let title = format!("{name}: {} at iteration {}", variant_to_words(&stop.reason), stop.iteration);
            self.canvas.draw_dot(at, 4.0, fill(color).with_stroke(BACKGROUND), &title)?;
        }
        if let Some((best, Some(metric))) = run.best()
            && metric == panel.title
            && let Some((iteration, value)) = curve.points.iter().find(|(iteration, _)| *iteration == best.iteration)
        {
            let at = (self.canvas.x.position(*iteration), axis.position(*value));
            let title = format!("best: step {}, {} {}", best.step, panel.title, format_value(*value));
            draw_star(&mut self.canvas.svg, at, 8.0, &title)?;
            if !is_single {
                // The star of each run has a border in the color of the run.
                writeln!(
                    self.canvas.svg,
                    r#"<circle cx="{:.1}" cy="{:.1}" r="8" {} stroke-width="1.4" pointer-events="none"/>"#,
                    at.0,
                    at.1,
                    stroke(color)
                )?;
            }
        }
        Ok(())
    }

    /// Draws the legend of the two curves of a panel: the recorded values and the smoothed ones.
    fn draw_curve_legend(&mut self, y: f64, color: Color) -> fmt::Result {
        let paint = stroke(color);
        for (x, text, width, opacity) in
            [(RIGHT - 208.0, "each iteration", 1.2, 0.45), (RIGHT - 88.0, "smoothed", 2.2, 1.0)]
        {
            let (to, text_x, line_y) = (x + 18.0, x + 23.0, y - 4.0);
            writeln!(
                self.canvas.svg,
                r#"<path d="M{x} {line_y:.1}H{to}" {paint} stroke-width="{width}" stroke-opacity="{opacity}"/>"#
            )?;
            self.canvas.text((text_x, y), Anchor::Start, FAINT, text)?;
        }
        Ok(())
    }
}
