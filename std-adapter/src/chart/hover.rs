//! The values under the mouse pointer: invisible columns over all panels, each with the values of its iterations as a
//! title. A browser shows the title of the column under the pointer. No script is needed.

use super::canvas::Canvas;
use super::color::{INK, fill};
use super::panel::Panel;
use super::run::Run;
use super::text::{escape_xml, format_value};
use std::fmt::{self, Write};

/// The maximum number of columns, divided by the number of runs.
const MAX_COLUMNS: u32 = 120;

/// Draws the columns from the y-coordinate `top` to `bottom`. Elements that are drawn later cover the columns, so that their
/// own titles appear.
pub(super) fn draw(
    canvas: &mut Canvas,
    panels: &[Panel],
    runs: &[Run],
    names: &[&str],
    (top, bottom): (f64, f64),
) -> fmt::Result {
    let iterations = runs.iter().map(|run| run.iterations).max().unwrap_or(0);
    let columns = iterations.min((MAX_COLUMNS / runs.len().max(1) as u32).max(20));
    writeln!(canvas.svg, r#"<g class="hover" fill-opacity="0">"#)?;
    let edge = |column: u32| (u64::from(iterations) * u64::from(column) / u64::from(columns.max(1))) as u32;
    for column in 0..columns {
        let (first, last) = (edge(column), edge(column + 1));
        let x = canvas.x.position(f64::from(first) + 0.5);
        let width = canvas.x.position(f64::from(last) + 0.5) - x;
        let title = escape_xml(&describe(panels, runs, names, last));
        writeln!(
            canvas.svg,
            r#"<rect x="{x:.1}" y="{top:.1}" width="{width:.1}" height="{:.1}" {}><title>{title}</title></rect>"#,
            bottom - top,
            fill(INK)
        )?;
    }
    writeln!(canvas.svg, "</g>")
}

/// Returns the values of all panels at an iteration, one line for each value.
fn describe(panels: &[Panel], runs: &[Run], names: &[&str], iteration: u32) -> String {
    let mut text = format!("iteration {iteration}");
    if let [run] = runs
        && let Some((epoch, _)) = run.epoch_ends.iter().find(|(_, end)| **end >= iteration)
    {
        text += &format!(", epoch {epoch}");
    }
    for panel in panels {
        for curve in &panel.curves {
            let line = curve.line();
            let next = line.partition_point(|(at, _)| *at <= f64::from(iteration));
            let Some((_, value)) = next.checked_sub(1).map(|index| line[index]) else { continue };
            if iteration > runs[curve.run].iterations {
                continue;
            }
            let name = if runs.len() > 1 { format!("{}: ", names[curve.run]) } else { String::new() };
            text += &format!("\n{name}{} {}", panel.title, format_value(value));
        }
    }
    text
}
