//! Draws charts as text. The command `plot` prints them, and the live view of `watch` shows them.

use super::run::Run;
use super::series::{last_iteration, vertical_bounds};
use crate::error::Result;
use crate::numbers::rounded;
use crate::output;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
use ratatui::symbols::Marker;
use ratatui::text::Line;
use ratatui::widgets::{Axis, Block, Chart, Dataset, GraphType, Widget};
use std::fmt::Write as _;
use std::io::Write;
use training_monitor_std::chart::{self, NamedRun, Panel};

/// The colors of the curves. Each run has its own color.
const COLORS: [Color; 6] = [Color::Cyan, Color::Yellow, Color::Green, Color::Magenta, Color::Red, Color::Blue];
/// The height of a chart in lines.
const HEIGHT: u16 = 14;

/// Prints one chart for the loss and one chart for each metric.
pub fn print(runs: &[Run]) -> Result<()> {
    let (width, _) = ratatui::crossterm::terminal::size().unwrap_or((80, 24));
    let width = width.clamp(40, 160);
    let mut out = anstream::stdout().lock();
    for (index, run) in runs.iter().enumerate() {
        let color = ansi_code(color(index));
        output::check_write(writeln!(out, "\x1b[{color}m──\x1b[0m {}", run.name))?;
    }
    let named: Vec<NamedRun<'_>> = runs.iter().map(Run::as_named).collect();
    for panel in &chart::panels(&named) {
        let area = Rect::new(0, 0, width, HEIGHT);
        let mut buffer = Buffer::empty(area);
        let legend = if runs.len() > 1 { named.as_slice() } else { &[] };
        chart(panel, legend).render(area, &mut buffer);
        output::check_write(out.write_all(to_ansi_text(&buffer).as_bytes()))?;
    }
    Ok(())
}

/// Returns the ratatui widget that draws a panel. The legend shows the names of the runs in `legend`. If the list is
/// empty, the chart has no legend.
pub fn chart<'a>(panel: &'a Panel, legend: &[NamedRun<'a>]) -> Chart<'a> {
    let end = last_iteration(panel).max(1.0);
    let [low, high] = vertical_bounds(panel);
    let datasets = panel.curves.iter().map(|curve| {
        let dataset = Dataset::default().marker(Marker::Braille).graph_type(GraphType::Line);
        let dataset = dataset.style(Style::default().fg(color(curve.run))).data(&curve.points);
        match legend.get(curve.run) {
            Some(run) => dataset.name(run.name),
            None => dataset,
        }
    });
    let faint = Style::default().fg(Color::DarkGray);
    let labels = |low: f64, high: f64| [low, (low + high) / 2.0, high].map(rounded);
    let x = Axis::default().style(faint).bounds([0.0, end]).labels(labels(0.0, end));
    let y = Axis::default().style(faint).bounds([low, high]).labels(labels(low, high));
    Chart::new(datasets.collect())
        .block(Block::bordered().border_style(faint).title(Line::from(format!(" {} ", panel.title))))
        .x_axis(x)
        .y_axis(y)
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
