//! What stands out in a chart: the lines through all panels, and the shapes in the lanes.

use super::{BEST, Chart, LOSS, LOSS_HEIGHT, RESUME, STOP, TOP, escaped};
use crate::progress::words;
use std::fmt::{self, Write};

const BEST_TEXT: &str = "#8a5f00";

/// A line through all panels.
struct Mark {
    x: f64,
    color: &'static str,
    dash: &'static str,
    text: String,
}

pub(super) fn dot(svg: &mut String, x: f64, y: f64, kept: bool) -> fmt::Result {
    let (radius, fill, stroke) = if kept { (4.6, LOSS, "#ffffff") } else { (3.2, "#ffffff", "#9aa4ae") };
    writeln!(svg, r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius}" fill="{fill}" stroke="{stroke}"/>"#)
}

impl Chart<'_> {
    /// What is marked through all panels, from left to right.
    fn marks(&self) -> Vec<Mark> {
        let mark = |at: f64, color, dash, text: String| Mark { x: self.x.at(at), color, dash, text };
        let resumes = self.run.resumes.iter().map(|at| mark(*at, RESUME, "4 3", "resumed".to_owned()));
        let best = self.run.best().map(|(best, _)| mark(best.at, BEST, "1.5 3", "best".to_owned()));
        let stop = self.run.stop.as_ref().map(|stop| mark(stop.at, STOP, "none", words(&stop.reason)));
        let mut marks: Vec<Mark> = resumes.chain(best).chain(stop).collect();
        marks.sort_by(|a, b| a.x.total_cmp(&b.x));
        marks
    }

    /// The lines through one panel: over its grid, under what is drawn in it.
    pub(super) fn mark_lines(&mut self, top: f64, bottom: f64) -> fmt::Result {
        for Mark { x, color, dash, .. } in self.marks() {
            writeln!(
                self.svg,
                r#"<path d="M{x:.1} {top:.1}V{bottom:.1}" stroke="{color}" stroke-width="1.4" stroke-dasharray="{dash}"/>"#
            )?;
        }
        Ok(())
    }

    /// Upright beside the lines in the first panel, at the top; at the bottom where the loss is at the top, or another
    /// name. Where there is room at neither, a line goes without.
    pub(super) fn mark_names(&mut self) -> fmt::Result {
        let mut free = [0.0; 2];
        for Mark { x, color, text, .. } in self.marks() {
            // Its yellow is too light for letters.
            let color = if color == BEST { BEST_TEXT } else { color };
            let beside = |(at, y): &&(f64, f64)| (x - 18.0..=x).contains(at) && *y < TOP + 90.0;
            let places = if self.loss_line.iter().any(|point| beside(&point)) { [1, 0] } else { [0, 1] };
            let Some(place) = places.into_iter().find(|place| x >= free[*place]) else { continue };
            free[place] = x + 13.0;
            let (y, anchor) = [(TOP + 6.0, "end"), (TOP + LOSS_HEIGHT - 6.0, "start")][place];
            let (x, text) = (x - 5.0, escaped(&text));
            writeln!(
                self.svg,
                r##"<text transform="translate({x:.1} {y:.1}) rotate(-90)" text-anchor="{anchor}" font-size="11" fill="{color}" stroke="#ffffff" stroke-width="3" paint-order="stroke">{text}</text>"##
            )?;
        }
        Ok(())
    }

    pub(super) fn star(&mut self, x: f64, y: f64, size: f64) -> fmt::Result {
        self.svg.write_str(r#"<polygon points=""#)?;
        for corner in 0..10 {
            let angle = f64::from(corner) * std::f64::consts::PI / 5.0;
            let radius = if corner % 2 == 0 { size } else { size * 0.42 };
            write!(self.svg, "{:.1},{:.1} ", x + radius * angle.sin(), y - radius * angle.cos())?;
        }
        writeln!(self.svg, r##"" fill="{BEST}" stroke="#ffffff"/>"##)
    }

    pub(super) fn cross(&mut self, x: f64, y: f64) -> fmt::Result {
        let (x, y) = (x - 4.0, y - 4.0);
        writeln!(self.svg, r#"<path d="M{x:.1} {y:.1}l8 8m0 -8l-8 8" stroke="{STOP}" stroke-width="2"/>"#)
    }
}
