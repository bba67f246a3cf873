//! The colors of charts. Each color has a light and a dark variant; the viewer's preference selects one.
//!
//! An element has its light color as an attribute, so that every program can display the image. Its class and the style
//! sheet replace the color if the viewer prefers a dark one.

use std::fmt::{self, Write};

/// A color of the chart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Color {
    class: &'static str,
    light: &'static str,
    dark: &'static str,
}

const fn color(class: &'static str, light: &'static str, dark: &'static str) -> Color {
    Color { class, light, dark }
}

pub(super) const BACKGROUND: Color = color("bg", "#ffffff", "#0d1117");
pub(super) const INK: Color = color("ink", "#24292f", "#e6edf3");
pub(super) const FAINT: Color = color("faint", "#656d76", "#9198a1");
pub(super) const GRID: Color = color("grid", "#e7eaee", "#262c36");
/// A removed checkpoint.
pub(super) const REMOVED: Color = color("removed", "#9aa4ae", "#6e7681");
pub(super) const BEST: Color = color("best", "#e69f00", "#f0b429");
/// The yellow of the best checkpoint is too light for text.
pub(super) const BEST_TEXT: Color = color("besttext", "#8a5f00", "#f0b429");
pub(super) const STOP: Color = color("stop", "#d55e00", "#ff8f45");
pub(super) const RESUME: Color = color("resume", "#8250df", "#bc8cff");
pub(super) const DURATION: Color = color("time", "#57606a", "#a8b1bb");

/// The colors of the runs, or of the panels of a single run. The light variants are the colors of Okabe and Ito, which
/// people with color vision deficiencies can distinguish.
const SERIES: [Color; 7] = [
    color("c0", "#0072b2", "#58a6ff"),
    color("c1", "#d55e00", "#ff8f45"),
    color("c2", "#009e73", "#3fcf9f"),
    color("c3", "#cc79a7", "#ee9fca"),
    color("c4", "#e69f00", "#f0b429"),
    color("c5", "#56b4e9", "#8fd3ff"),
    color("c6", "#5a5a5a", "#b8b8b8"),
];

/// The colors of the metrics of a single run. Orange and yellow are missing, because they mark the stop and the best
/// checkpoint.
const METRICS: [Color; 4] = [
    SERIES[2],
    color("m1", "#cc4c8f", "#f778ba"),
    color("m2", "#56789b", "#8fb3d9"),
    color("m3", "#a05a00", "#d9a066"),
];

/// The color of the loss of a single run.
pub(super) const LOSS: Color = SERIES[0];

/// Returns the color of a run in a comparison.
pub(super) const fn of_run(run: usize) -> Color {
    SERIES[run % SERIES.len()]
}

/// Returns the attribute of the dashes of a run in a comparison. Dashes distinguish runs of the same color.
pub(super) const fn dash_of_run(run: usize) -> &'static str {
    match run / SERIES.len() % 3 {
        0 => "",
        1 => r#" stroke-dasharray="7 3""#,
        _ => r#" stroke-dasharray="2 3""#,
    }
}

/// Returns the color of a metric of a single run.
pub(super) const fn of_metric(metric: usize) -> Color {
    METRICS[metric % METRICS.len()]
}

/// Writes the style sheet: the dark variants, and a shade for the column under the mouse pointer.
pub(super) fn write_style(svg: &mut String) -> fmt::Result {
    let others = [BACKGROUND, INK, FAINT, GRID, REMOVED, BEST, BEST_TEXT, STOP, RESUME, DURATION];
    svg.write_str("<style>.hover rect:hover{fill-opacity:.1}@media (prefers-color-scheme:dark){")?;
    for Color { class, dark, .. } in others.iter().chain(&SERIES).chain(&METRICS[1..]) {
        write!(svg, ".f-{class}{{fill:{dark}}}.s-{class}{{stroke:{dark}}}")?;
    }
    svg.write_str("}</style>\n")
}

/// The fill and the stroke of an element, as attributes.
#[derive(Clone, Copy)]
pub(super) struct Paint {
    pub fill: Option<Color>,
    pub stroke: Option<Color>,
}

pub(super) const fn fill(color: Color) -> Paint {
    Paint { fill: Some(color), stroke: None }
}

pub(super) const fn stroke(color: Color) -> Paint {
    Paint { fill: None, stroke: Some(color) }
}

impl Paint {
    pub const fn with_stroke(self, color: Color) -> Paint {
        Paint { stroke: Some(color), ..self }
    }
}

impl fmt::Display for Paint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Paint { fill, stroke } = self;
        match (fill, stroke) {
            (Some(fill), None) => write!(f, r#"class="f-{}" fill="{}""#, fill.class, fill.light),
            (None, Some(stroke)) => write!(f, r#"class="s-{}" fill="none" stroke="{}""#, stroke.class, stroke.light),
            (Some(fill), Some(stroke)) => write!(
                f,
                r#"class="f-{} s-{}" fill="{}" stroke="{}""#,
                fill.class, stroke.class, fill.light, stroke.light
            ),
            (None, None) => f.write_str(r#"fill="none""#),
        }
    }
}
