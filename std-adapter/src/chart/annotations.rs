//! Annotations of a chart: vertical lines through all panels, and symbols.

use super::canvas::{Canvas, Frame};
use super::color::{BACKGROUND, BEST, BEST_TEXT, Color, RESUME, STOP, fill, stroke};
use super::run::Run;
use super::text::{escape_xml, shorten};
use crate::progress::variant_to_words;
use std::fmt::{self, Write};

/// The annotations of a run, from left to right.
pub(super) struct Annotations(Vec<Annotation>);

/// A vertical line through all panels, with a label in the first panel.
struct Annotation {
    iteration: f64,
    color: Color,
    /// The dash pattern of the line, as the value of the SVG attribute `stroke-dasharray`.
    dash: &'static str,
    label: String,
}

impl Annotations {
    pub fn new(run: &Run) -> Annotations {
        let annotate = |iteration: f64, color, dash, label: String| Annotation { iteration, color, dash, label };
        let resumes = run.resumes.iter().map(|at| annotate(*at, RESUME, "4 3", "resumed".to_owned()));
        let best = run.best().map(|(best, _)| annotate(best.iteration, BEST, "1.5 3", "best".to_owned()));
        let stop = run.stop.as_ref();
        let stop = stop.map(|stop| annotate(stop.iteration, STOP, "none", variant_to_words(&stop.reason)));
        let mut annotations: Vec<Annotation> = resumes.chain(best).chain(stop).collect();
        annotations.sort_by(|a, b| a.iteration.total_cmp(&b.iteration));
        Annotations(annotations)
    }

    /// Draws the lines of one panel, from the y-coordinate `top` to `bottom`. Each panel draws its curves after these
    /// lines, so that the curves cover the lines.
    pub fn draw_lines(&self, canvas: &mut Canvas, top: f64, bottom: f64) -> fmt::Result {
        for Annotation { iteration, color, dash, label } in &self.0 {
            let (x, paint) = (canvas.x.position(*iteration), stroke(*color));
            let title = escape_xml(&format!("iteration {iteration}: {label}"));
            writeln!(
                canvas.svg,
                r#"<path d="M{x:.1} {top:.1}V{bottom:.1}" {paint} stroke-width="1.4" stroke-dasharray="{dash}"><title>{title}</title></path>"#
            )?;
        }
        Ok(())
    }

    /// Draws the labels of the lines as vertical text in the first panel. `line` is the curve of the first panel in
    /// pixels. A label is at the top of its line, or at the bottom if the curve or another label covers the top. A label
    /// is omitted if both places are occupied.
    pub fn draw_labels(&self, canvas: &mut Canvas, frame: Frame, line: &[(f64, f64)]) -> fmt::Result {
        // The x-coordinates at which the labels so far end: `free_from[0]` for labels at the top of the panel, and
        // `free_from[1]` for labels at the bottom.
        let mut free_from = [0.0; 2];
        for Annotation { iteration, color, label, .. } in &self.0 {
            let x = canvas.x.position(*iteration);
            // The yellow of the line is too light for text, so the label has a darker color.
            let color = if *color == BEST { BEST_TEXT } else { *color };
            let overlaps = |(at, y): &(f64, f64)| (x - 18.0..=x).contains(at) && *y < frame.top + 90.0;
            let places = if line.iter().any(overlaps) { [1, 0] } else { [0, 1] };
            let Some(place) = places.into_iter().find(|place| x >= free_from[*place]) else { continue };
            free_from[place] = x + 13.0;
            let (y, anchor) = [(frame.top + 6.0, "end"), (frame.bottom - 6.0, "start")][place];
            let text = escape_xml(&shorten(label, frame.bottom - frame.top - 12.0, 11.0));
            let paint = fill(color).with_stroke(BACKGROUND);
            writeln!(
                canvas.svg,
                r#"<text transform="translate({:.1} {y:.1}) rotate(-90)" text-anchor="{anchor}" font-size="11" {paint} stroke-width="3" paint-order="stroke" pointer-events="none">{text}</text>"#,
                x - 5.0
            )?;
        }
        Ok(())
    }
}

/// Draws the symbol of the best checkpoint.
pub(super) fn draw_star(svg: &mut String, (x, y): (f64, f64), size: f64, title: &str) -> fmt::Result {
    svg.write_str(r#"<polygon points=""#)?;
    for corner in 0..10 {
        let angle = f64::from(corner) * std::f64::consts::PI / 5.0;
        let radius = if corner % 2 == 0 { size } else { size * 0.42 };
        write!(svg, "{:.1},{:.1} ", x + radius * angle.sin(), y - radius * angle.cos())?;
    }
    writeln!(svg, r#"" {}><title>{}</title></polygon>"#, fill(BEST).with_stroke(BACKGROUND), escape_xml(title))
}

/// Draws the symbol of a failed save.
pub(super) fn draw_cross(svg: &mut String, (x, y): (f64, f64), title: &str) -> fmt::Result {
    let (x, y, paint, title) = (x - 4.0, y - 4.0, stroke(STOP), escape_xml(title));
    writeln!(svg, r#"<path d="M{x:.1} {y:.1}l8 8m0 -8l-8 8" {paint} stroke-width="2"><title>{title}</title></path>"#)
}
