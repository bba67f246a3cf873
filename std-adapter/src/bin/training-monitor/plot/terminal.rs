//! A chart as text, for where there is no viewer: the smoothed loss of each run, and below it the metrics.

use super::{Run, smoothed};
use crate::failure::Result;
use crate::output;
use crate::stats::short;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
use ratatui::symbols::Marker;
use ratatui::text::Line;
use ratatui::widgets::{Axis, Block, Chart, Dataset, GraphType, Widget};
use std::fmt::Write as _;
use std::io::Write;

pub const COLORS: [Color; 6] = [Color::Cyan, Color::Yellow, Color::Green, Color::Magenta, Color::Red, Color::Blue];

/// A line of a chart: its name, its points.
pub type Named = (String, Vec<(f64, f64)>);

/// Prints a chart for the loss, and one for each metric.
pub fn print(runs: &[Run]) -> Result<()> {
    let (width, _) = ratatui::crossterm::terminal::size().unwrap_or((80, 24));
    let width = width.clamp(40, 160);
    let mut charts = vec![("training loss, smoothed".to_owned(), Vec::<Named>::new())];
    let longest = runs.iter().map(|run| run.losses().len()).max().unwrap_or(0);
    for run in runs {
        charts[0].1.push((run.name.clone(), smoothed(&run.losses(), longest)));
        for (name, points) in run.metrics() {
            match charts[1..].iter_mut().find(|(title, _)| *title == name) {
                Some((_, lines)) => lines.push((run.name.clone(), points)),
                None => charts.push((name, vec![(run.name.clone(), points)])),
            }
        }
    }
    let mut out = anstream::stdout().lock();
    for (number, run) in runs.iter().enumerate() {
        let code = code(COLORS[number % COLORS.len()]);
        output::written(writeln!(out, "\x1b[{code}m──\x1b[0m {}", run.name))?;
    }
    for (title, lines) in &charts {
        let area = Rect::new(0, 0, width, 14);
        let mut buffer = Buffer::empty(area);
        chart(title, lines, runs.len() > 1).render(area, &mut buffer);
        output::written(out.write_all(text(&buffer).as_bytes()))?;
    }
    Ok(())
}

/// A chart of several lines; points need not be in order of their values.
pub fn chart<'a>(title: &'a str, lines: &'a [Named], legend: bool) -> Chart<'a> {
    let points = || lines.iter().flat_map(|(_, points)| points);
    let end = points().map(|(at, _)| *at).fold(1.0, f64::max);
    let low = points().map(|(_, value)| *value).fold(f64::INFINITY, f64::min);
    let high = points().map(|(_, value)| *value).fold(f64::NEG_INFINITY, f64::max);
    let (low, high) = if low < high {
        (low, high)
    } else if low == high {
        (low - 0.5, low + 0.5)
    } else {
        (0.0, 1.0)
    };
    let sets = lines.iter().enumerate().map(|(number, (name, points))| {
        let set = Dataset::default().marker(Marker::Braille).graph_type(GraphType::Line);
        let set = set.style(Style::default().fg(COLORS[number % COLORS.len()])).data(points);
        if legend { set.name(name.as_str()) } else { set }
    });
    let faint = Style::default().fg(Color::DarkGray);
    let labels = |from: f64, to: f64| [from, (from + to) / 2.0, to].map(short);
    let x = Axis::default().style(faint).bounds([0.0, end]).labels(labels(0.0, end));
    let y = Axis::default().style(faint).bounds([low, high]).labels(labels(low, high));
    Chart::new(sets.collect())
        .block(Block::bordered().border_style(faint).title(Line::from(format!(" {title} "))))
        .x_axis(x)
        .y_axis(y)
}

/// The cells as text with colours; whoever writes it leaves them out where they do not belong.
fn text(buffer: &Buffer) -> String {
    let mut text = String::new();
    for row in buffer.content().chunks(usize::from(buffer.area.width).max(1)) {
        let mut color = Color::Reset;
        for cell in row {
            if cell.fg != color {
                color = cell.fg;
                // Cannot fail: a String takes everything.
                let _ = write!(text, "\x1b[{}m", code(color));
            }
            text.push_str(cell.symbol());
        }
        text.push_str("\x1b[0m\n");
    }
    text
}

const fn code(color: Color) -> u8 {
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
