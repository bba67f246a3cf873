//! The parts that all charts have in common: the image, panels with axes, and curves.

use super::axis::{Axis, ValueRange, format_number};
use std::fmt::{self, Write};

/// The width of an image in pixels.
pub(super) const WIDTH: f64 = 800.0;
/// The x-coordinate of the left edge of all panels, in pixels.
pub(super) const LEFT: f64 = 74.0;
/// The x-coordinate of the right edge of all panels, in pixels.
pub(super) const RIGHT: f64 = WIDTH - 24.0;
/// The vertical space between two panels, in pixels. The title of the lower panel is in this space.
pub(super) const GAP: f64 = 34.0;
/// The height of the space below the last panel, in pixels. The labels of the horizontal axis are in this space.
const BOTTOM: f64 = 52.0;

const INK: &str = "#24292f";
pub(super) const FAINT: &str = "#6e7781";
pub(super) const GRID: &str = "#e7eaee";

/// An SVG image that is written from top to bottom.
pub(super) struct Canvas {
    /// The SVG text of the image, as far as it is already drawn.
    pub svg: String,
    /// The horizontal axis of all panels. It shows the iterations.
    pub x: Axis,
    /// The y-coordinate of the top of the next panel, in pixels.
    pub y: f64,
}

/// The style of a curve: its color, its width in pixels, and its opacity from 0 to 1.
#[derive(Clone, Copy)]
pub(super) struct Stroke {
    pub color: &'static str,
    pub width: f64,
    pub opacity: f64,
}

impl Canvas {
    /// Creates an image and draws its title. The first panel has its top at the y-coordinate `top`, and `heights` are
    /// the heights of all panels. `iterations` is the last iteration of the horizontal axis.
    pub fn new(title: &str, iterations: u32, top: f64, heights: &[f64]) -> Result<Canvas, fmt::Error> {
        let height = image_height(top, heights);
        let x = Axis::linear(0.0, f64::from(iterations.max(1)) * 1.015, LEFT, RIGHT);
        let mut svg = String::new();
        writeln!(
            svg,
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" font-family="Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif" font-size="12" fill="{INK}">"#
        )?;
        let title = escape_xml(title);
        writeln!(svg, "<title>{title}</title>")?;
        writeln!(svg, r##"<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>"##)?;
        writeln!(svg, r#"<text x="{LEFT}" y="30" font-size="18" font-weight="bold">{title}</text>"#)?;
        Ok(Canvas { svg, x, y: top })
    }

    /// Draws a panel without curves: the title, the frame and the grid. The vertical axis shows the range of `values`.
    /// Returns the y-coordinates of the top and the bottom of the panel, and the vertical axis.
    pub fn draw_panel(
        &mut self,
        title: &str,
        height: f64,
        values: impl Iterator<Item = f64>,
    ) -> Result<(f64, f64, Axis), fmt::Error> {
        let (top, bottom) = (self.y, self.y + height);
        let axis = Axis::for_range(ValueRange::of(values), bottom, top);
        let log = if axis.is_log() { " (log)" } else { "" };
        writeln!(
            self.svg,
            r#"<text x="{LEFT}" y="{:.1}" font-weight="bold">{}{log}</text>"#,
            top - 8.0,
            escape_xml(title)
        )?;
        for tick in axis.ticks((height / 28.0) as usize) {
            let y = axis.to_pixel(tick);
            writeln!(self.svg, r#"<path d="M{LEFT} {y:.1}H{RIGHT}" stroke="{GRID}"/>"#)?;
            let (x, y, text) = (LEFT - 8.0, y + 4.0, format_number(tick));
            writeln!(self.svg, r#"<text x="{x}" y="{y:.1}" text-anchor="end" fill="{FAINT}">{text}</text>"#)?;
        }
        for tick in self.x.ticks(8) {
            let x = self.x.to_pixel(tick);
            writeln!(self.svg, r#"<path d="M{x:.1} {top:.1}V{bottom:.1}" stroke="{GRID}"/>"#)?;
        }
        writeln!(self.svg, r#"<path d="M{LEFT} {top:.1}V{bottom:.1}H{RIGHT}" stroke="{FAINT}" fill="none"/>"#)?;
        self.y = bottom + GAP;
        Ok((top, bottom, axis))
    }

    /// Draws a curve through `points`. Each point consists of an iteration and a value.
    pub fn draw_curve(&mut self, points: &[(f64, f64)], axis: &Axis, stroke: Stroke) -> fmt::Result {
        if points.is_empty() {
            return Ok(());
        }
        let Stroke { color, width, opacity } = stroke;
        self.svg.write_str(r#"<polyline points=""#)?;
        for (index, (iteration, value)) in points.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(self.svg, "{space}{:.1},{:.1}", self.x.to_pixel(*iteration), axis.to_pixel(*value))?;
        }
        writeln!(
            self.svg,
            r#"" fill="none" stroke="{color}" stroke-width="{width}" stroke-opacity="{opacity}" stroke-linejoin="round"/>"#
        )
    }

    /// Draws a dot at `point`, which consists of an iteration and a value.
    pub fn draw_dot(&mut self, point: (f64, f64), axis: &Axis, radius: f64, color: &str) -> fmt::Result {
        let (x, y) = (self.x.to_pixel(point.0), axis.to_pixel(point.1));
        writeln!(self.svg, r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius}" fill="{color}"/>"#)
    }

    /// Draws the labels of the horizontal axis below the last panel, and ends the image. Returns the text of the image.
    pub fn finish(mut self) -> Result<String, fmt::Error> {
        let y = self.y - GAP + 18.0;
        for tick in self.x.ticks(8) {
            let (x, text) = (self.x.to_pixel(tick), format_number(tick));
            writeln!(self.svg, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="middle" fill="{FAINT}">{text}</text>"#)?;
        }
        let (x, y) = ((LEFT + RIGHT) / 2.0, y + 20.0);
        writeln!(self.svg, r#"<text x="{x}" y="{y:.1}" text-anchor="middle">iteration</text>"#)?;
        self.svg.push_str("</svg>\n");
        Ok(self.svg)
    }
}

/// Returns the height of an image. `heights` are the heights of its panels, and `top` is the y-coordinate of the top of
/// the first panel.
fn image_height(top: f64, heights: &[f64]) -> f64 {
    let gaps = GAP * heights.len().saturating_sub(1) as f64;
    top + heights.iter().sum::<f64>() + gaps + BOTTOM
}

/// Escapes the special characters of XML in `text`.
pub(super) fn escape_xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
