//! Draws charts as text. The command `plot` prints them, and the live view of `watch` shows them.

use super::run::Run;
use super::table;
use crate::chart::{self, NamedRun, Panel, ValueRange};
use crate::tool::error::Result;
use crate::tool::output;
use crate::tool::output::text::{escape, escape_lines};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
use ratatui::symbols::Marker;
use ratatui::text::Line;
use ratatui::widgets::{Axis, Block, Chart, Dataset, GraphType, Widget};
use std::fmt::Write as _;
use std::io::Write;

/// The colors of the curves. Each run has its own color.
const COLORS: [Color; 6] = [Color::Cyan, Color::Yellow, Color::Green, Color::Magenta, Color::Red, Color::Blue];
/// The height of a chart in lines.
const HEIGHT: u16 = 14;

/// Prints one chart for each panel: the loss, the metrics and the scalars. Then prints the profile of each run.
pub fn print(runs: &[Run]) -> Result<()> {
    let width = output::terminal_width().unwrap_or(80).clamp(20, 160);
    let mut out = anstream::stdout().lock();
    for (index, run) in runs.iter().enumerate() {
        let color = ansi_code(color(index));
        output::check_write(writeln!(out, "\x1b[{color}m──\x1b[0m {}", escape(&run.name)))?;
    }
    let named: Vec<NamedRun<'_>> = runs.iter().map(Run::as_named).collect();
    for panel in &chart::panels(&named) {
        let area = Rect::new(0, 0, width, HEIGHT);
        let mut buffer = Buffer::empty(area);
        let legend = if runs.len() > 1 { named.as_slice() } else { &[] };
        draw(panel, legend, area, &mut buffer);
        output::check_write(out.write_all(to_ansi_text(&buffer).as_bytes()))?;
    }
    for run in runs {
        output::check_write(out.write_all(escape_lines(&table::profile(run, width.into())).as_bytes()))?;
    }
    Ok(())
}

/// Draws a panel. The legend shows the names of the runs in `legend`. If the list is empty, the chart has no legend.
pub fn draw(panel: &Panel, legend: &[NamedRun<'_>], area: Rect, buffer: &mut Buffer) {
    let to_axis = |value: f64| if panel.is_logarithmic { value.log10() } else { value };
    let from_axis = |value: f64| if panel.is_logarithmic { 10f64.powf(value) } else { value };
    // A logarithmic axis has no place for values that are not positive.
    let position = |(iteration, value): &(f64, f64)| (*iteration, to_axis(*value));
    let curves: Vec<(usize, Vec<(f64, f64)>)> = panel
        .curves
        .iter()
        .map(|curve| (curve.run, curve.line().iter().map(position).filter(|(_, y)| y.is_finite()).collect()))
        .collect();
    let end = panel.curves.iter().flat_map(|curve| &curve.points).map(|(iteration, _)| *iteration).fold(1.0, f64::max);
    let [low, high] = vertical_bounds(curves.iter().flat_map(|(_, points)| points).map(|(_, y)| *y));
    let datasets = curves.iter().map(|(run, points)| {
        let dataset = Dataset::default().marker(Marker::Braille).graph_type(GraphType::Line);
        let dataset = dataset.style(Style::default().fg(color(*run))).data(points);
        match legend.get(*run) {
            Some(run) => dataset.name(escape(run.name)),
            None => dataset,
        }
    });
    let faint = Style::default().fg(Color::DarkGray);
    let labels = |low: f64, high: f64| [low, (low + high) / 2.0, high];
    let y_labels = labels(low, high).map(from_axis).map(short_number);
    let x = Axis::default().style(faint).bounds([0.0, end]).labels(labels(0.0, end).map(short_number));
    let y = Axis::default().style(faint).bounds([low, high]).labels(y_labels);
    Chart::new(datasets.collect())
        .block(Block::bordered().border_style(faint).title(Line::from(title(panel))))
        .x_axis(x)
        .y_axis(y)
        .render(area, buffer);
}

fn title(panel: &Panel) -> String {
    let log = if panel.is_logarithmic { " (log)" } else { "" };
    let non_finite = match (panel.non_finite(), panel.range()) {
        (0, None) => ", no values recorded".to_owned(),
        (0, Some(_)) => String::new(),
        (count, None) => format!(", {count} not finite, no finite value"),
        (count, Some(_)) => format!(", {count} not finite"),
    };
    format!(" {}{log}{non_finite} ", escape(&panel.title))
}

/// Formats a number with at most three significant digits, for the narrow labels of the axes. Whole numbers below one
/// million have all digits.
fn short_number(value: f64) -> String {
    let magnitude = value.abs();
    if value == 0.0 {
        "0".to_owned()
    } else if !(1e-3..1e6).contains(&magnitude) {
        format!("{value:.1e}").replace(".0e", "e")
    } else {
        let digits = (2 - magnitude.log10().floor() as i32).clamp(0, 5) as usize;
        let text = format!("{value:.digits$}");
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    }
}

/// Returns the lowest and the highest position of the vertical axis. The two always differ, because ratatui draws nothing
/// on an axis of length zero. A constant curve is in the middle of the axis.
fn vertical_bounds(positions: impl Iterator<Item = f64>) -> [f64; 2] {
    match ValueRange::of(positions) {
        None => [0.0, 1.0],
        Some(ValueRange { low, high }) if low < high => [low, high],
        Some(ValueRange { low, .. }) => {
            let margin = if low == 0.0 { 0.5 } else { low.abs() / 2.0 };
            [low - margin, low + margin]
        }
    }
}

const fn color(run: usize) -> Color {
    COLORS[run % COLORS.len()]
}

/// Converts the cells of a buffer to text with ANSI color codes. The output stream removes the codes if the terminal
/// does not support them.
fn to_ansi_text(buffer: &Buffer) -> String {
    let mut text = String::new();
    for row in buffer.content().chunks(usize::from(buffer.area.width).max(1)) {
        let mut color = Color::Reset;
        for cell in row {
            if cell.fg != color {
                color = cell.fg;
                // Writing to a `String` never fails.
                let _ = write!(text, "\x1b[{}m", ansi_code(color));
            }
            text.push_str(cell.symbol());
        }
        text.push_str("\x1b[0m\n");
    }
    text
}

const fn ansi_code(color: Color) -> u8 {
    match color {
        Color::Red => 31,
        Color::Green => 32,
        Color::Yellow => 33,
        Color::Blue => 34,
        Color::Magenta => 35,
        Color::Cyan => 36,
        Color::DarkGray => 90,
        _ => 39,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(panel: &Panel, width: u16) -> String {
        let area = Rect::new(0, 0, width, HEIGHT);
        let mut buffer = Buffer::empty(area);
        draw(panel, &[], area, &mut buffer);
        let rows = buffer.content().chunks(width.into());
        rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>() + "\n").collect()
    }

    #[test]
    fn vertical_bounds_differ() {
        let bounds = |values: &[f64]| vertical_bounds(values.iter().copied());
        assert_eq!(bounds(&[]), [0.0, 1.0]);
        assert_eq!(bounds(&[2.0]), [1.0, 3.0]);
        assert_eq!(bounds(&[0.0, 0.0]), [-0.5, 0.5]);
        assert_eq!(bounds(&[3.0, 1.0]), [1.0, 3.0]);
    }

    #[test]
    fn labels_of_a_logarithmic_axis_are_values() {
        let points = (1..=100).map(|n| (f64::from(n), 10f64.powf(1.0 - f64::from(n) * 0.03))).collect();
        let panel = Panel::new("gradient_norm", points);
        for width in [30, 80] {
            let text = text(&panel, width);
            assert!(text.contains("gradient norm (log)"), "{text}");
            for label in ["9.33", "0.305", "0.01", "100"] {
                assert!(text.contains(label), "{label} at {width} columns:\n{text}");
            }
        }
    }

    #[test]
    fn extreme_and_missing_values() {
        let extreme = Panel::new("loss", vec![(1.0, -1e300), (2.0, 1e300), (3.0, 3.5e38)]);
        assert!(text(&extreme, 60).contains("1e300"));
        assert!(text(&Panel::new("loss", vec![]), 60).contains("no values recorded"));
        assert!(text(&Panel::new("a\x1b[31mb", vec![(1.0, 1.0)]), 60).contains(r"a\u{1b}[31mb"));
        assert_eq!(
            [0.0, 495.0, 990.0, 123_456.0, 0.012_345, 2.5e-7, 1e6].map(short_number),
            ["0", "495", "990", "123456", "0.0123", "2.5e-7", "1e6"]
        );
    }
}
