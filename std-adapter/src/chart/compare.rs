//! The chart that compares several runs.

use super::NamedRun;
use super::axis::format_rounded;
use super::canvas::{Canvas, LEFT, RIGHT, Stroke, escape_xml};
use super::panel::{Panel, downsample, duration_panel, loss_and_metric_panels, metric_title};
use super::run::Run;
use std::fmt::{self, Write};

/// The y-coordinate of the first line of the legend, in pixels.
const LEGEND_TOP: f64 = 54.0;
/// The height of a line of the legend, in pixels.
const LEGEND_LINE: f64 = 20.0;
/// The vertical space between the last line of the legend and the first panel, in pixels.
const LEGEND_GAP: f64 = 26.0;
const LOSS_HEIGHT: f64 = 210.0;
const METRIC_HEIGHT: f64 = 150.0;

/// The colors of the runs. They are the colors of Okabe and Ito, which people with color vision deficiencies can
/// distinguish.
const COLORS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5a5a5a"];

/// Draws the chart of several runs. Returns the SVG image as text.
pub(super) fn draw(named: &[NamedRun<'_>], title: &str) -> Result<String, fmt::Error> {
    let runs: Vec<Run> = named.iter().map(|run| Run::new(run.events)).collect();
    let mut panels = loss_and_metric_panels(&runs);
    panels.extend(duration_panel(&runs));
    let mut heights = vec![METRIC_HEIGHT; panels.len()];
    heights[0] = LOSS_HEIGHT;
    let iterations = runs.iter().map(|run| run.iterations).max().unwrap_or(0);
    let top = LEGEND_TOP + LEGEND_LINE * runs.len() as f64 + LEGEND_GAP;
    let mut canvas = Canvas::new(title, iterations, top, &heights)?;
    for (index, (run, NamedRun { name, .. })) in runs.iter().zip(named).enumerate() {
        draw_legend_line(&mut canvas.svg, index, name, &summary(run))?;
    }
    for (panel, height) in panels.iter().zip(heights) {
        draw_panel(&mut canvas, panel, height, &runs)?;
    }
    canvas.finish()
}

const fn color(run: usize) -> &'static str {
    COLORS[run % COLORS.len()]
}

fn draw_legend_line(svg: &mut String, run: usize, name: &str, summary: &str) -> fmt::Result {
    let y = LEGEND_TOP + LEGEND_LINE * run as f64;
    let (color, line_y, to, x) = (color(run), y - 4.0, LEFT + 24.0, LEFT + 32.0);
    writeln!(svg, r#"<path d="M{LEFT} {line_y}H{to}" stroke="{color}" stroke-width="3"/>"#)?;
    let (name, summary) = (escape_xml(name), escape_xml(summary));
    writeln!(svg, r#"<text x="{x}" y="{y}"><tspan font-weight="bold">{name}</tspan>{summary}</text>"#)
}

/// Returns the text after the name of a run in the legend: the reason of the stop, and the last value of each metric.
fn summary(run: &Run) -> String {
    let stop = run.stop.iter().map(|stop| format!("{} at {}", stop.reason, stop.iteration));
    let last_value = |(name, points): &(String, Vec<(f64, f64)>)| {
        points.last().map(|(_, value)| format!("{} {}", metric_title(name), format_rounded(*value)))
    };
    let parts = stop.chain(run.metrics.iter().filter_map(last_value));
    parts.map(|part| format!("  ·  {part}")).collect()
}

fn draw_panel(canvas: &mut Canvas, panel: &Panel, height: f64, runs: &[Run]) -> fmt::Result {
    let values = panel.curves.iter().flat_map(|curve| &curve.points).map(|(_, value)| *value);
    let (_, _, axis) = canvas.draw_panel(&panel.title, height, values)?;
    for curve in &panel.curves {
        let color = color(curve.run);
        let points = downsample(&curve.points, RIGHT - LEFT);
        canvas.draw_curve(&points, &axis, Stroke { color, width: 2.0, opacity: 1.0 })?;
        // A dot marks the end of a run that stopped.
        if let Some(last) = curve.points.last().filter(|_| runs[curve.run].stop.is_some()) {
            canvas.draw_dot(*last, &axis, 4.0, color)?;
        }
    }
    Ok(())
}
