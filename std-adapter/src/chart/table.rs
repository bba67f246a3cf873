//! The table of a profile: the durations of the parts of a run.

use super::canvas::{Anchor, Canvas, FONT, LEFT, RIGHT};
use super::color::{FAINT, GRID, INK, stroke};
use super::text::{format_duration, shorten};
use crate::history::ProfiledPart;
use std::fmt::{self, Write};

/// The height of a row in pixels.
const ROW: f64 = 18.0;
/// The width of the first column in pixels.
const NAME_WIDTH: f64 = 150.0;
const COLUMNS: [&str; 6] = ["count", "total", "min", "max", "mean", "deviation"];

/// Returns the height of the table in pixels, with its title.
pub(super) fn height(parts: &[ProfiledPart]) -> f64 {
    if parts.is_empty() { 0.0 } else { ROW * (parts.len() + 2) as f64 }
}

/// Draws the table. The baseline of its title is at the y-coordinate of the canvas.
pub(super) fn draw(canvas: &mut Canvas, parts: &[ProfiledPart]) -> fmt::Result {
    if parts.is_empty() {
        return Ok(());
    }
    canvas.heading(canvas.y, "profile", "  ·  since the last start of the program")?;
    canvas.y += ROW;
    let width = (RIGHT - LEFT - NAME_WIDTH) / COLUMNS.len() as f64;
    let column = |index: usize| LEFT + NAME_WIDTH + width * (index + 1) as f64;
    for (index, name) in COLUMNS.iter().enumerate() {
        canvas.text((column(index), canvas.y), Anchor::End, FAINT, name)?;
    }
    for part in parts {
        let line = canvas.y + 5.0;
        writeln!(canvas.svg, r#"<path d="M{LEFT} {line:.1}H{RIGHT}" {}/>"#, stroke(GRID))?;
        canvas.y += ROW;
        canvas.text((LEFT, canvas.y), Anchor::Start, INK, &shorten(&part.name, NAME_WIDTH, FONT))?;
        let durations = [part.total, part.min, part.max, part.mean, part.deviation].map(format_duration);
        let cells = std::iter::once(part.count.to_string()).chain(durations);
        for (index, cell) in cells.enumerate() {
            canvas.text((column(index), canvas.y), Anchor::End, INK, &cell)?;
        }
    }
    Ok(())
}
