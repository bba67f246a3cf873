//! Draws several runs into one SVG: a panel for the smoothed loss, for each metric and for the duration of iterations, with
//! one colour for each run.
//!
//! The colours are those of Okabe and Ito, which people with colour vision deficiencies can distinguish.

use super::run::Run;
use super::series::{Panel, downsampled, duration_panel, loss_and_metric_panels, metric_title};
use crate::error::{CliError, Result};
use crate::numbers::rounded;
use plotters::coord::Shift;
use plotters::prelude::*;
use std::fmt::Display;

/// The width of the picture in pixels.
const WIDTH: u32 = 800;
/// The height of a panel in pixels.
const PANEL_HEIGHT: u32 = 200;
/// The height of the title in pixels.
const HEADER_HEIGHT: u32 = 48;
/// The height of a line of the legend in pixels.
const LEGEND_LINE_HEIGHT: u32 = 20;
/// The height of the label below the last panel in pixels.
const FOOTER_HEIGHT: u32 = 26;
const COLORS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(90, 90, 90),
];
const INK: RGBColor = RGBColor(36, 41, 47);
const FAINT: RGBColor = RGBColor(110, 119, 129);
const GRID: RGBColor = RGBColor(231, 234, 238);
const FONT: &str = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif";

/// Draws the runs and returns the SVG.
pub fn draw(runs: &[Run], title: &str) -> Result<String> {
    let mut panels = loss_and_metric_panels(runs);
    panels.extend(duration_panel(runs));
    let legend_height = LEGEND_LINE_HEIGHT * runs.len() as u32;
    let height = HEADER_HEIGHT + legend_height + PANEL_HEIGHT * panels.len() as u32 + FOOTER_HEIGHT;
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        root.fill(&WHITE).map_err(drawing_error)?;
        let text = |size: i32, color: &RGBColor| (FONT, size).into_font().color(color);
        root.draw_text(title, &text(18, &INK), (24, 16)).map_err(drawing_error)?;
        for (index, run) in runs.iter().enumerate() {
            let y = (HEADER_HEIGHT + LEGEND_LINE_HEIGHT * index as u32) as i32;
            let stroke = PathElement::new(vec![(24, y + 6), (48, y + 6)], color(index).stroke_width(3));
            root.draw(&stroke).map_err(drawing_error)?;
            root.draw_text(&summary(run), &text(12, &INK), (56, y)).map_err(drawing_error)?;
        }
        let (_, rest) = root.split_vertically(HEADER_HEIGHT + legend_height);
        let last = runs.iter().map(Run::last_iteration).max().unwrap_or(0);
        // A small margin at the right keeps the mark of the last iteration inside the panel.
        let end = f64::from(last.max(1)) * 1.015;
        let areas = rest.margin(0, FOOTER_HEIGHT, 0, 0).split_evenly((panels.len(), 1));
        for (area, panel) in areas.iter().zip(&panels) {
            draw_panel(area, panel, runs, end)?;
        }
        let middle = (WIDTH / 2 - 24) as i32;
        root.draw_text("iteration", &text(12, &FAINT), (middle, height as i32 - 20)).map_err(drawing_error)?;
        root.present().map_err(drawing_error)?;
    }
    Ok(svg)
}

const fn color(run: usize) -> RGBColor {
    COLORS[run % COLORS.len()]
}

/// The line of the legend for a run: its name, the reason for its stop, and its last metrics.
fn summary(run: &Run) -> String {
    let mut parts = vec![run.name.clone()];
    if let Some((iteration, reason)) = run.stop() {
        parts.push(format!("{reason} at {iteration}"));
    }
    for (name, points) in run.metrics() {
        if let Some((_, last)) = points.last() {
            parts.push(format!("{} {}", metric_title(&name), rounded(*last)));
        }
    }
    parts.join("  ·  ")
}

fn draw_panel(area: &DrawingArea<SVGBackend<'_>, Shift>, panel: &Panel, runs: &[Run], end: f64) -> Result<()> {
    let range = panel.range();
    let is_log = range.needs_log_axis();
    let title = if is_log { format!("{} (log)", panel.title) } else { panel.title.clone() };
    let mut builder = ChartBuilder::on(area);
    let caption = (FONT, 12).into_font().style(FontStyle::Bold).color(&INK);
    builder.caption(title, caption).margin_left(8).margin_right(20).x_label_area_size(20).y_label_area_size(48);
    // A macro, because charts with linear and with logarithmic axes have different types.
    macro_rules! draw_with_axis {
        ($y:expr) => {{
            let mut chart = builder.build_cartesian_2d(0.0..end, $y).map_err(drawing_error)?;
            let label = (FONT, 11).into_font().color(&FAINT);
            chart
                .configure_mesh()
                .light_line_style(TRANSPARENT)
                .bold_line_style(GRID)
                .axis_style(FAINT)
                .x_labels(8)
                .y_labels(5)
                .label_style(label)
                .x_label_formatter(&|value| rounded(*value))
                .y_label_formatter(&|value| rounded(*value))
                .draw()
                .map_err(drawing_error)?;
            for line in &panel.lines {
                let color = color(line.run);
                let points = downsampled(&line.points, WIDTH as usize);
                // A dot marks the end of a run that stopped.
                let end_of_run = runs[line.run].stop().and_then(|_| points.last().copied());
                chart.draw_series(LineSeries::new(points, color.stroke_width(2))).map_err(drawing_error)?;
                let dot = end_of_run.map(|point| Circle::new(point, 4, color.filled()));
                chart.draw_series(dot).map_err(drawing_error)?;
            }
        }};
    }
    if is_log {
        draw_with_axis!((range.low * 0.9..range.high * 1.1).log_scale());
    } else {
        let range = range.with_margin();
        draw_with_axis!(range.low..range.high);
    }
    Ok(())
}

fn drawing_error(error: impl Display) -> CliError {
    CliError::usage(format!("cannot draw the chart: {error}"))
}
