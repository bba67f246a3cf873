//! Charts of runs as SVG images, drawn from their [histories](crate::history).
//!
//! An image is 800 pixels wide and readable at that size. It contains no scripts and no embedded fonts. It has a dark
//! variant for viewers that prefer dark colors, and a description for screen readers. In a browser, the values of an
//! iteration appear under the mouse pointer. The function [`draw`] draws a single run, and [`compare`] draws several runs
//! into the same panels. From top to bottom, a chart shows:
//!
//! * the training loss of each iteration, and the [smoothed](smooth()) loss;
//! * each metric of the epochs and each scalar of the iterations on its own axis, for example an accuracy, the learning
//!   rate and the norm of the gradient;
//! * the duration of each iteration;
//! * for a single run, a lane for each checkpoint handler, with a filled dot for a kept checkpoint and a hollow dot for a
//!   removed one, or with bars if there are too many checkpoints;
//! * the iterations and the epochs;
//! * for a single run, a table of the profile.
//!
//! Vertical lines through all panels mark the best checkpoint, each resume and the stop of a single run. Crosses mark values
//! that are NaN or infinite, and triangles mark durations that are too long for their panel. An axis is logarithmic if its
//! values are positive and span more than a factor of 50, except for accuracies and similar quantities.
//!
//! If a history contains [several runs](crate::history::split_runs), [`draw`] draws the last one.
//!
//! ```
//! use training_monitor_std::{chart, history::HistoryEvent};
//!
//! let loss = |iteration| HistoryEvent::Iteration { iteration, loss: Some(1.0 / iteration as f32), seconds: None };
//! let mut events: Vec<HistoryEvent> = (1..=40).map(loss).collect();
//! let (epoch, iteration, score) = (1, 40, Some(0.75));
//! events.push(HistoryEvent::Epoch { epoch, iteration, metrics: vec![("accuracy".into(), Some(0.75))] });
//! events.push(HistoryEvent::Saved { store: "best".into(), step: 1, iteration, score, bytes: 900, removed: None });
//! events.push(HistoryEvent::Stopped { reason: "EarlyStopping".into(), epoch, iteration });
//!
//! let svg = chart::draw(&events, "forty steps");
//! assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
//! assert!(svg.contains("forty steps") && svg.contains("accuracy") && svg.contains("early stopping"));
//! ```

mod annotations;
mod axis;
mod canvas;
mod checkpoints;
mod color;
mod error;
mod figure;
mod hover;
mod lanes;
mod legend;
mod panel;
mod run;
mod smooth;
mod table;
mod text;

pub use axis::ValueRange;
pub use error::ChartError;
pub use panel::{Curve, Panel, panels};
pub use smooth::smooth;

use crate::history::{History, HistoryEvent};
use std::path::Path;

/// A training run, with its name, for a chart that compares several runs.
#[derive(Clone, Copy, Debug)]
pub struct NamedRun<'a> {
    /// The name of the run in the legend.
    pub name: &'a str,
    /// The history of the run.
    pub events: &'a [HistoryEvent],
}

/// Draws the chart of one training run. `events` is the history of the run. Returns the SVG image as text.
#[must_use]
pub fn draw(events: &[HistoryEvent], title: &str) -> String {
    // Writing to a `String` cannot fail.
    figure::draw(&[NamedRun { name: title, events }], title).unwrap_or_default()
}

/// Draws several training runs into one chart. Each run has its own color. The panels show the smoothed losses, the
/// metrics, and the durations of iterations. A dot marks the end of a run that stopped. Returns the SVG image as text.
///
/// ```
/// use training_monitor_std::{chart, history::HistoryEvent};
///
/// let run = |rate: f32| -> Vec<HistoryEvent> {
///     let loss = |iteration| Some((-rate * iteration as f32).exp());
///     (1..=40).map(|iteration| HistoryEvent::Iteration { iteration, loss: loss(iteration), seconds: None }).collect()
/// };
/// let (slow, fast) = (run(0.05), run(0.1));
/// let runs = [chart::NamedRun { name: "slow", events: &slow }, chart::NamedRun { name: "fast", events: &fast }];
/// let svg = chart::compare(&runs, "two learning rates");
/// assert!(svg.contains("two learning rates") && svg.contains("slow") && svg.contains("fast"));
/// ```
#[must_use]
pub fn compare(runs: &[NamedRun<'_>], title: &str) -> String {
    // Writing to a `String` cannot fail.
    figure::draw(runs, title).unwrap_or_default()
}

/// Reads the history file `history`, draws its chart and writes the chart to the file `svg`.
///
/// # Errors
/// Returns a [`ChartError`] if the history cannot be read or the SVG file cannot be written.
pub fn write(history: impl AsRef<Path>, svg: impl AsRef<Path>, title: &str) -> Result<(), ChartError> {
    let events = History::read(history).map_err(ChartError::History)?;
    let path = svg.as_ref();
    std::fs::write(path, draw(&events, title)).map_err(|cause| ChartError::Io { path: path.to_owned(), cause })
}
