//! Several runs on one picture: the smoothed loss, and each metric that any of them has, a colour a run.
//!
//! Colours are those of Okabe and Ito, which people with any kind of colour vision can tell apart.

use super::{Run, smoothed};
use crate::failure::{Failure, Result};
use plotters::coord::Shift;
use plotters::prelude::*;
use std::fmt::Display;

const WIDTH: u32 = 800;
const PANEL: u32 = 200;
const HEAD: u32 = 48;
const FOOT: u32 = 26;
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

type Points = Vec<(f64, f64)>;

/// A panel: its title, and the line of each run that has one, with the run's number.
struct Panel {
    title: String,
    lines: Vec<(usize, Points)>,
}

/// Draws them.
pub fn draw(runs: &[Run], title: &str) -> Result<String> {
    let mut panels = vec![Panel { title: "training loss, smoothed".to_owned(), lines: vec![] }];
    // Alike for all of them, or a short run would look the wilder for being short.
    let longest = runs.iter().map(|run| run.losses().len()).max().unwrap_or(0);
    let (unit, scale) = pace_unit(runs);
    let mut pace = Panel { title: format!("time of an iteration, {unit}, median of a stretch"), lines: vec![] };
    for (number, run) in runs.iter().enumerate() {
        panels[0].lines.push((number, thinned(&smoothed(&run.losses(), longest))));
        let medians = medians(&run.seconds(), longest.div_ceil(60), scale);
        if !medians.is_empty() {
            pace.lines.push((number, medians));
        }
        for (name, points) in run.metrics() {
            let name = name.replace('_', " ");
            match panels[1..].iter_mut().find(|panel| panel.title == name) {
                Some(panel) => panel.lines.push((number, points)),
                None => panels.push(Panel { title: name, lines: vec![(number, points)] }),
            }
        }
    }
    if !pace.lines.is_empty() {
        panels.push(pace);
    }
    let legend = 20 * runs.len() as u32;
    let height = HEAD + legend + PANEL * panels.len() as u32 + FOOT;
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        root.fill(&WHITE).map_err(drawing)?;
        let text = |size: i32, color: &RGBColor| (FONT, size).into_font().color(color);
        root.draw_text(title, &text(18, &INK), (24, 16)).map_err(drawing)?;
        for (number, run) in runs.iter().enumerate() {
            let y = (HEAD + 20 * number as u32) as i32;
            let color = COLORS[number % COLORS.len()];
            root.draw(&PathElement::new(vec![(24, y + 6), (48, y + 6)], color.stroke_width(3))).map_err(drawing)?;
            root.draw_text(&summary(run), &text(12, &INK), (56, y)).map_err(drawing)?;
        }
        let (_, rest) = root.split_vertically(HEAD + legend);
        let last = runs.iter().flat_map(|run| run.entries.iter().filter_map(|entry| entry.iteration())).max();
        let end = f64::from(last.unwrap_or(1).max(1)) * 1.015;
        for (area, panel) in rest.margin(0, FOOT, 0, 0).split_evenly((panels.len(), 1)).iter().zip(&panels) {
            draw_panel(area, panel, runs, end)?;
        }
        let middle = (WIDTH / 2 - 24) as i32;
        root.draw_text("iteration", &text(12, &FAINT), (middle, height as i32 - 20)).map_err(drawing)?;
        root.present().map_err(drawing)?;
    }
    Ok(svg)
}

/// A run in one line: its name, its end, its best values.
fn summary(run: &Run) -> String {
    let mut parts = vec![run.name.clone()];
    if let Some((at, reason)) = run.stop() {
        parts.push(format!("{reason} at {at}"));
    }
    for (name, points) in run.metrics() {
        if let Some((_, last)) = points.last() {
            parts.push(format!("{} {}", name.replace('_', " "), crate::stats::short(*last)));
        }
    }
    parts.join("  ·  ")
}

fn draw_panel(area: &DrawingArea<SVGBackend<'_>, Shift>, panel: &Panel, runs: &[Run], end: f64) -> Result<()> {
    let values = || panel.lines.iter().flat_map(|(_, points)| points).map(|(_, value)| *value);
    let low = values().fold(f64::INFINITY, f64::min);
    let high = values().fold(f64::NEG_INFINITY, f64::max);
    let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
    // Where a loss spans more than a factor of 50, the axis is of its logarithm.
    let log = low > 0.0 && high / low > 50.0;
    let title = if log { format!("{} (log)", panel.title) } else { panel.title.clone() };
    let mut builder = ChartBuilder::on(area);
    let caption = (FONT, 12).into_font().style(FontStyle::Bold).color(&INK);
    builder.caption(title, caption).margin_left(8).margin_right(20).x_label_area_size(20).y_label_area_size(48);
    let room = ((high - low) * 0.06).max(high.abs() * 1e-6 + f64::MIN_POSITIVE);
    macro_rules! on {
        ($y:expr) => {{
            let mut chart = builder.build_cartesian_2d(0.0..end, $y).map_err(drawing)?;
            let label = (FONT, 11).into_font().color(&FAINT);
            chart
                .configure_mesh()
                .light_line_style(TRANSPARENT)
                .bold_line_style(GRID)
                .axis_style(FAINT)
                .x_labels(8)
                .y_labels(5)
                .label_style(label)
                .x_label_formatter(&|value| crate::stats::short(*value))
                .y_label_formatter(&|value| crate::stats::short(*value))
                .draw()
                .map_err(drawing)?;
            for (number, points) in &panel.lines {
                let color = COLORS[*number % COLORS.len()];
                let line = LineSeries::new(points.iter().copied(), color.stroke_width(2));
                chart.draw_series(line).map_err(drawing)?;
                // Where a run ended.
                let at_end = runs[*number].stop().and_then(|_| points.last());
                chart.draw_series(at_end.map(|at| Circle::new(*at, 4, color.filled()))).map_err(drawing)?;
            }
        }};
    }
    if log {
        on!((low * 0.9..high * 1.1).log_scale());
    } else {
        on!(low - room..high + room);
    }
    Ok(())
}

/// What a time is told in, and how many of it a second has.
fn pace_unit(runs: &[Run]) -> (&'static str, f64) {
    let slowest = runs.iter().flat_map(|run| medians(&run.seconds(), usize::MAX, 1.0)).map(|(_, median)| median);
    match slowest.fold(0.0, f64::max) {
        median if median < 1e-3 => ("µs", 1e6),
        median if median < 1.0 => ("ms", 1e3),
        _ => ("s", 1.0),
    }
}

/// Of every `stretch` points the one in the middle: an iteration with a save in it takes many times as long.
fn medians(points: &[(f64, f64)], stretch: usize, scale: f64) -> Points {
    let median = |chunk: &[(f64, f64)]| {
        let mut values: Vec<f64> = chunk.iter().map(|(_, value)| *value).collect();
        values.sort_by(f64::total_cmp);
        (chunk[chunk.len() / 2].0, values[values.len() / 2] * scale)
    };
    points.chunks(stretch.max(1)).map(median).collect()
}

/// A point for each pixel at most.
fn thinned(points: &[(f64, f64)]) -> Points {
    let stretch = points.len().div_ceil(WIDTH as usize).max(1);
    let last = points.last().filter(|_| points.len() % stretch != 1);
    points.iter().step_by(stretch).chain(last).copied().collect()
}

fn drawing(error: impl Display) -> Failure {
    Failure::usage(format!("the chart cannot be drawn: {error}"))
}
