//! The profile of a run as text.

use super::run::Run;
use crate::history::{HistoryEvent, ProfiledPart};
use crate::tool::numbers::duration;
use std::fmt::Write as _;

/// The columns after the name, from the most important one. A narrow terminal shows only the first ones.
const COLUMNS: [&str; 6] = ["total", "mean", "max", "count", "min", "deviation"];
/// The width of a column and of the name in characters.
const WIDTH: usize = 12;
const NAME_WIDTH: usize = 18;

/// Returns a table of the last profile in the history: a title, a heading and a row for each part. The text is empty if
/// the history contains no profile.
pub fn profile(run: &Run, width: usize) -> String {
    let parts = run.events.iter().rev().find_map(|event| match event {
        HistoryEvent::Profile { parts, .. } => Some(parts),
        _ => None,
    });
    let Some(parts) = parts else { return String::new() };
    let columns = (width.saturating_sub(NAME_WIDTH) / WIDTH).clamp(1, COLUMNS.len());
    let mut text = format!("profile since the last start of {}\n{:<NAME_WIDTH$}", run.name, "");
    // Writing to a `String` never fails.
    let _ = COLUMNS[..columns].iter().try_for_each(|column| write!(text, "{column:>WIDTH$}"));
    for part in parts {
        let ProfiledPart { name, count, total, min, max, mean, deviation, .. } = part;
        let [total, mean, max, min, deviation] = [total, mean, max, min, deviation].map(|seconds| duration(*seconds));
        let name: String = name.chars().take(NAME_WIDTH - 1).collect();
        let _ = write!(text, "\n{name:<NAME_WIDTH$}");
        let cells = [total, mean, max, count.to_string(), min, deviation];
        let _ = cells[..columns].iter().try_for_each(|cell| write!(text, "{cell:>WIDTH$}"));
    }
    text.push('\n');
    text.chars().map(|c| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
