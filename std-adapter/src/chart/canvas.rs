//! The parts that all charts have in common: the image, panels with axes, curves and marks.

use super::axis::{Axis, ValueRange};
use super::color::{self, BACKGROUND, Color, FAINT, GRID, INK, Paint, fill, stroke};
use super::panel::Panel;
use super::smooth::{downsample, simplify};
use super::text::{escape_xml, format_short, shorten};
use std::fmt::{self, Write};

/// The width of an image in pixels.
pub(super) const WIDTH: f64 = 800.0;
/// The x-coordinate of the left edge of all panels, in pixels.
pub(super) const LEFT: f64 = 74.0;
/// The x-coordinate of the right edge of all panels, in pixels.
pub(super) const RIGHT: f64 = WIDTH - 24.0;
/// The vertical space between two panels, in pixels. The title of the lower panel is in this space.
pub(super) const GAP: f64 = 34.0;
/// The height of a row of labels below the last panel, in pixels.
pub(super) const LABEL_ROW: f64 = 17.0;
/// The font size of all text except titles, in pixels.
pub(super) const FONT: f64 = 12.0;

/// A curve continues over a NaN only if its neighbors are at most this close, in pixels.
const MAX_BRIDGE: f64 = 3.0;

/// An SVG image that is written from top to bottom.
pub(super) struct Canvas {
    /// The SVG text of the image, as far as it is already drawn.
    pub svg: String,
    /// The horizontal axis of all panels. It shows the iterations.
    pub x: Axis,
    /// The y-coordinate of the top of the next panel, in pixels.
    pub y: f64,
}

/// The style of a curve: its color, its width in pixels, its opacity from 0 to 1, and the attribute of its dashes.
#[derive(Clone, Copy)]
pub(super) struct Stroke {
    pub color: Color,
    pub width: f64,
    pub opacity: f64,
    pub dash: &'static str,
}

/// The place and the axis of a panel.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    pub top: f64,
    pub bottom: f64,
    pub axis: Axis,
}

/// A mark in a panel.
#[derive(Clone, Copy)]
pub(super) enum Mark {
    /// A value that is not finite.
    Cross(Color),
    /// A value that is too high for the panel.
    Triangle,
}

/// Where a text begins or ends.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Canvas {
    /// Creates an image and draws its title. The description is for screen readers. `iterations` is the last iteration
    /// of the horizontal axis.
    pub fn new(title: &str, description: &str, iterations: u32, height: f64) -> Result<Canvas, fmt::Error> {
        let x = Axis::linear(0.0, f64::from(iterations.max(1)) * 1.015, LEFT, RIGHT);
        let mut svg = String::new();
        writeln!(
            svg,
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" aria-labelledby="title desc" font-family="Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif" font-size="{FONT}" {}>"#,
            fill(INK)
        )?;
        let short = escape_xml(&shorten(title, RIGHT - LEFT, 18.0));
        writeln!(svg, r#"<title id="title">{}</title>"#, escape_xml(title))?;
        writeln!(svg, r#"<desc id="desc">{}</desc>"#, escape_xml(description))?;
        color::write_style(&mut svg)?;
        writeln!(svg, r#"<rect width="{WIDTH}" height="{height}" {}/>"#, fill(BACKGROUND))?;
        writeln!(svg, r#"<text x="{LEFT}" y="30" font-size="18" font-weight="bold">{short}</text>"#)?;
        Ok(Canvas { svg, x, y: 0.0 })
    }

    /// Writes a line of text.
    pub fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, color: Color, text: &str) -> fmt::Result {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => r#" text-anchor="middle""#,
            Anchor::End => r#" text-anchor="end""#,
        };
        writeln!(self.svg, r#"<text x="{x:.1}" y="{y:.1}"{anchor} {}>{}</text>"#, fill(color), escape_xml(text))
    }

    /// Writes the title of a panel, of the checkpoints or of a table.
    pub fn heading(&mut self, y: f64, text: &str, note: &str) -> fmt::Result {
        let (text, note) = (escape_xml(text), escape_xml(note));
        writeln!(
            self.svg,
            r#"<text x="{LEFT}" y="{y:.1}"><tspan font-weight="bold">{text}</tspan><tspan xml:space="preserve" {}>{note}</tspan></text>"#,
            fill(FAINT)
        )
    }

    /// Draws a panel without curves: the title, the frame and the grid. The vertical axis shows `range`.
    pub fn draw_panel(&mut self, panel: &Panel, range: Option<ValueRange>, height: f64) -> Result<Frame, fmt::Error> {
        let (top, bottom) = (self.y, self.y + height);
        let axis = Axis::for_range(range, panel.is_logarithmic, bottom, top);
        let mut notes = Vec::new();
        // Several runs show only their medians, which are not clipped.
        if let (Some(limit), [curve]) = (panel.limit, &panel.curves[..]) {
            match curve.points.iter().filter(|(_, value)| *value > limit).count() {
                0 => (),
                clipped => notes.push(format!("{clipped} above {}, marked by triangles", format_short(limit))),
            }
        }
        if panel.non_finite() > 0 {
            notes.push(format!("{} not finite, marked by crosses", panel.non_finite()));
        }
        let log = if axis.is_logarithmic() { " (log)" } else { "" };
        let notes: String = notes.iter().map(|note| format!("  ·  {note}")).collect();
        self.heading(top - 8.0, &panel_title(panel), &format!("{log}{notes}"))?;
        for tick in axis.ticks(22.0) {
            let y = axis.position(tick.value);
            writeln!(self.svg, r#"<path d="M{LEFT} {y:.1}H{RIGHT}" {}/>"#, stroke(GRID))?;
            self.text((LEFT - 8.0, y + 4.0), Anchor::End, FAINT, &tick.label)?;
        }
        for tick in self.x.whole_ticks(80.0) {
            let x = self.x.position(tick.value);
            writeln!(self.svg, r#"<path d="M{x:.1} {top:.1}V{bottom:.1}" {}/>"#, stroke(GRID))?;
        }
        writeln!(self.svg, r#"<path d="M{LEFT} {top:.1}V{bottom:.1}H{RIGHT}" {}/>"#, stroke(FAINT))?;
        if panel.range().is_none() {
            let text = if panel.non_finite() > 0 { "no finite value" } else { "no values recorded" };
            self.text(((LEFT + RIGHT) / 2.0, (top + bottom) / 2.0 + 4.0), Anchor::Middle, FAINT, text)?;
        }
        self.y = bottom + GAP;
        Ok(Frame { top, bottom, axis })
    }

    /// Draws a curve. If the curve has many more points than the image has pixels, it is reduced first. The curve is
    /// interrupted where values are not finite. A point without a neighbor is a dot.
    pub fn draw_curve(
        &mut self,
        points: &[(f64, f64)],
        non_finite: &[f64],
        axis: &Axis,
        Stroke { color, width, opacity, dash }: Stroke,
    ) -> fmt::Result {
        let points = downsample(points, RIGHT - LEFT);
        let mut lines: Vec<Vec<(f64, f64)>> = Vec::new();
        let mut last: Option<f64> = None;
        for (iteration, value) in points {
            let (x, y) = (self.x.position(iteration), axis.position(value));
            let is_interrupted = |last: f64| {
                let next = non_finite.partition_point(|at| *at <= last);
                x - self.x.position(last) > MAX_BRIDGE && non_finite.get(next).is_some_and(|at| *at < iteration)
            };
            match lines.last_mut().filter(|_| !last.is_some_and(is_interrupted)) {
                Some(line) => line.push((x, y)),
                None => lines.push(vec![(x, y)]),
            }
            last = Some(iteration);
        }
        for line in lines {
            if let [(x, y)] = line[..] {
                let radius = width.max(1.6);
                writeln!(self.svg, r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius}" {}/>"#, fill(color))?;
                continue;
            }
            self.svg.write_str(r#"<polyline points=""#)?;
            for (index, (x, y)) in simplify(&line).into_iter().enumerate() {
                let space = if index == 0 { "" } else { " " };
                write!(self.svg, "{space}{x:.1},{y:.1}")?;
            }
            let paint = stroke(color);
            writeln!(
                self.svg,
                r#"" {paint} stroke-width="{width}" stroke-opacity="{opacity}"{dash} stroke-linejoin="round" pointer-events="none"/>"#
            )?;
        }
        Ok(())
    }

    /// Draws a mark for each of `iterations` at the y-coordinate `y`. Marks that would overlap become one mark. The text of
    /// a mark is `describe(first, last, count)`.
    pub fn draw_marks(
        &mut self,
        iterations: &[f64],
        y: f64,
        mark: Mark,
        describe: impl Fn(f64, f64, usize) -> String,
    ) -> fmt::Result {
        const SIZE: f64 = 7.0;
        let mut rest = iterations;
        while let Some(first) = rest.first() {
            let x = self.x.position(*first);
            let len = rest.partition_point(|at| self.x.position(*at) < x + SIZE);
            let (merged, others) = rest.split_at(len.max(1));
            rest = others;
            let last = merged[merged.len() - 1];
            let title = escape_xml(&describe(*first, last, merged.len()));
            let x = (x + self.x.position(last)) / 2.0;
            let (shape, paint) = match mark {
                Mark::Cross(color) => (format!("M{:.1} {:.1}l6 6m0 -6l-6 6", x - 3.0, y - 3.0), stroke(color)),
                Mark::Triangle => (format!("M{:.1} {:.1}l4 -6l4 6z", x - 4.0, y + 3.0), fill(FAINT)),
            };
            writeln!(self.svg, r#"<path d="{shape}" {paint} stroke-width="1.6"><title>{title}</title></path>"#)?;
        }
        Ok(())
    }

    /// Draws a dot with a text that appears under the mouse pointer.
    pub fn draw_dot(&mut self, (x, y): (f64, f64), radius: f64, paint: Paint, title: &str) -> fmt::Result {
        let title = escape_xml(title);
        writeln!(self.svg, r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius}" {paint}><title>{title}</title></circle>"#)
    }

    /// Draws the labels of the horizontal axis below the last panel: the iterations, and the epochs if their positions
    /// `epoch_ends` are known.
    pub fn draw_x_labels(&mut self, epoch_ends: &[(u32, u32)]) -> fmt::Result {
        let mut y = self.y - GAP + LABEL_ROW;
        self.text((LEFT - 8.0, y), Anchor::End, INK, "iteration")?;
        for tick in self.x.whole_ticks(80.0) {
            let x = self.x.position(tick.value);
            self.text((x, y), Anchor::Middle, FAINT, &tick.label)?;
        }
        if !epoch_ends.is_empty() {
            y += LABEL_ROW;
            self.text((LEFT - 8.0, y), Anchor::End, INK, "epoch")?;
            for (epoch, iteration) in epoch_labels(&self.x, epoch_ends) {
                let x = self.x.position(f64::from(iteration));
                self.text((x, y), Anchor::Middle, FAINT, &epoch.to_string())?;
            }
        }
        self.y = y + GAP;
        Ok(())
    }

    /// Ends the image. Returns its text.
    pub fn finish(mut self) -> String {
        self.svg.push_str("</svg>\n");
        self.svg
    }
}

/// Returns the title of a panel. A long title is shortened, so that it leaves space for notes.
pub(super) fn panel_title(panel: &Panel) -> String {
    shorten(&panel.title, 400.0, FONT)
}

/// Selects the epochs that have a label: multiples of the smallest of 1, 2, 5, 10 and so on, whose labels do not overlap.
fn epoch_labels(x: &Axis, epoch_ends: &[(u32, u32)]) -> Vec<(u32, u32)> {
    let steps = (0..10).flat_map(|exponent| [1, 2, 5].map(|digit| digit * 10_u32.saturating_pow(exponent)));
    let selected = |step: u32| epoch_ends.iter().copied().filter(|(epoch, _)| epoch % step == 0).collect::<Vec<_>>();
    let has_space = |labels: &Vec<(u32, u32)>| {
        let position = |label: &(u32, u32)| x.position(f64::from(label.1));
        labels.windows(2).all(|pair| position(&pair[1]) - position(&pair[0]) >= 40.0)
    };
    steps.map(selected).find(has_space).unwrap_or_default()
}
