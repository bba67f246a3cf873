//! Annotations of a chart: vertical lines through all panels, and the symbols of checkpoints.

use super::canvas::escape_xml;
use super::{BEST, Chart, LOSS, LOSS_HEIGHT, RESUME, STOP, TOP};
use crate::progress::variant_to_words;
use std::fmt::{self, Write};

const BEST_TEXT: &str = "#8a5f00";

/// A vertical line through all panels, with a label in the first panel.
struct Annotation {
    x: f64,
    color: &'static str,
    /// The dash pattern of the line, as the value of the SVG attribute `stroke-dasharray`.
    dash: &'static str,
    label: String,
}

/// Draws the symbol of a checkpoint. A kept checkpoint is a filled dot, and a removed checkpoint is a hollow dot.
pub(super) fn draw_checkpoint(svg: &mut String, x: f64, y: f64, kept: bool) -> fmt::Result {
    let (radius, fill, stroke) = if kept { (4.6, LOSS, "#ffffff") } else { (3.2, "#ffffff", "#9aa4ae") };
    writeln!(svg, r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius}" fill="{fill}" stroke="{stroke}"/>"#)
}

impl Chart<'_> {
    /// Returns the annotations (labeled vertical lines) of the run, from left to right.
    fn annotations(&self) -> Vec<Annotation> {
        let annotate = |iteration: f64, color, dash, label: String| {
            let x = self.canvas.x.to_pixel(iteration);
            Annotation { x, color, dash, label }
        };
        let resumes = self.run.resumes.iter().map(|at| annotate(*at, RESUME, "4 3", "resumed".to_owned()));
        let best = self.run.best().map(|(best, _)| annotate(best.iteration, BEST, "1.5 3", "best".to_owned()));
        let stop = self.run.stop.as_ref();
        let stop = stop.map(|stop| annotate(stop.iteration, STOP, "none", variant_to_words(&stop.reason)));
        let mut annotations: Vec<Annotation> = resumes.chain(best).chain(stop).collect();
        annotations.sort_by(|a, b| a.x.total_cmp(&b.x));
        annotations
    }

    /// Draws the annotation lines of one panel, from the y-coordinate `top` to `bottom`. Each panel draws its curves
    /// after these lines, so that the curves cover the lines.
    pub(super) fn draw_annotation_lines(&mut self, top: f64, bottom: f64) -> fmt::Result {
        for Annotation { x, color, dash, .. } in self.annotations() {
            writeln!(
                self.canvas.svg,
                r#"<path d="M{x:.1} {top:.1}V{bottom:.1}" stroke="{color}" stroke-width="1.4" stroke-dasharray="{dash}"/>"#
            )?;
        }
        Ok(())
    }

    /// Draws the labels of the annotation lines as vertical text in the first panel. A label is at the top of its line,
    /// or at the bottom if the loss curve or another label covers the top. A label is omitted if both places are
    /// occupied.
    pub(super) fn draw_annotation_labels(&mut self) -> fmt::Result {
        // The x-coordinates at which the labels so far end: `free_from[0]` for labels at the top of the panel, and
        // `free_from[1]` for labels at the bottom.
        let mut free_from = [0.0; 2];
        for Annotation { x, color, label, .. } in self.annotations() {
            // The yellow of the line is too light for text, so the label has a darker color.
            let color = if color == BEST { BEST_TEXT } else { color };
            let overlaps = |(at, y): &(f64, f64)| (x - 18.0..=x).contains(at) && *y < TOP + 90.0;
            let places = if self.loss_line.iter().any(overlaps) { [1, 0] } else { [0, 1] };
            let Some(place) = places.into_iter().find(|place| x >= free_from[*place]) else { continue };
            free_from[place] = x + 13.0;
            let (y, anchor) = [(TOP + 6.0, "end"), (TOP + LOSS_HEIGHT - 6.0, "start")][place];
            let (x, text) = (x - 5.0, escape_xml(&label));
            writeln!(
                self.canvas.svg,
                r##"<text transform="translate({x:.1} {y:.1}) rotate(-90)" text-anchor="{anchor}" font-size="11" fill="{color}" stroke="#ffffff" stroke-width="3" paint-order="stroke">{text}</text>"##
            )?;
        }
        Ok(())
    }

    /// Draws the symbol of the best checkpoint.
    pub(super) fn draw_star(&mut self, x: f64, y: f64, size: f64) -> fmt::Result {
        self.canvas.svg.write_str(r#"<polygon points=""#)?;
        for corner in 0..10 {
            let angle = f64::from(corner) * std::f64::consts::PI / 5.0;
            let radius = if corner % 2 == 0 { size } else { size * 0.42 };
            write!(self.canvas.svg, "{:.1},{:.1} ", x + radius * angle.sin(), y - radius * angle.cos())?;
        }
        writeln!(self.canvas.svg, r##"" fill="{BEST}" stroke="#ffffff"/>"##)
    }

    /// Draws the symbol of a failed save.
    pub(super) fn draw_cross(&mut self, x: f64, y: f64) -> fmt::Result {
        let (x, y) = (x - 4.0, y - 4.0);
        writeln!(self.canvas.svg, r#"<path d="M{x:.1} {y:.1}l8 8m0 -8l-8 8" stroke="{STOP}" stroke-width="2"/>"#)
    }
}
