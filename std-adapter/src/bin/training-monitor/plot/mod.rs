//! `plot`: the history of a run as a picture, several runs on one, or a chart in the terminal.
//!
//! One run is drawn by the library's own chart; PNG is the same SVG, rendered. Nothing but histories is read.

mod compare;
mod png;
mod tensorboard;
pub mod terminal;

use crate::failure::{self, Failure, Result};
use crate::output;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use training_monitor_std::History;
use training_monitor_std::chart;
use training_monitor_std::history::{Entry, HistoryError};

/// Draws the history of a run: loss, metrics, every save and removal, where it was resumed, why it stopped
///
/// With --compare several runs are drawn on one picture. Without a file, or with --terminal, the chart is drawn as text.
/// With --tensorboard the numbers go to event files, for `tensorboard --logdir DIR`.
#[derive(clap::Args, Debug)]
pub struct Plot {
    /// A history, or a directory with a history.jsonl
    pub run: PathBuf,
    /// Further runs for the same picture
    #[arg(long, value_name = "RUN", num_args = 1..)]
    pub compare: Vec<PathBuf>,
    /// The picture: .svg or .png
    #[arg(short, long, value_name = "FILE", conflicts_with = "terminal")]
    pub output: Option<PathBuf>,
    /// Also writes what was measured as event files of TensorBoard, a directory in DIR for each run
    #[arg(long, value_name = "DIR", conflicts_with = "terminal")]
    pub tensorboard: Option<PathBuf>,
    /// Pixels from left to right, of a PNG
    #[arg(long, default_value_t = 1600, value_parser = clap::value_parser!(u32).range(100..=10000))]
    pub width: u32,
    /// What stands above it; the name of the run, if not given
    #[arg(long)]
    pub title: Option<String>,
    /// A chart of text, as wide as the terminal
    #[arg(long)]
    pub terminal: bool,
}

/// A run and what it is called.
pub struct Run {
    pub name: String,
    pub entries: Vec<Entry>,
}

impl Run {
    pub fn read(path: &Path) -> Result<Run> {
        let file = history(path);
        let entries = History::read(&file).map_err(|error| wrong(path, &file, error))?;
        Ok(Run { name: name(path), entries })
    }

    /// Iteration and loss.
    pub fn losses(&self) -> Vec<(f64, f64)> {
        let loss = |entry: &Entry| match entry {
            Entry::Iteration { iteration, loss, .. } => Some((f64::from(*iteration), f64::from((*loss)?))),
            _ => None,
        };
        self.entries.iter().filter_map(loss).collect()
    }

    /// Iteration and how long it took.
    pub fn seconds(&self) -> Vec<(f64, f64)> {
        let took = |entry: &Entry| match entry {
            Entry::Iteration { iteration, seconds, .. } => Some((f64::from(*iteration), (*seconds)?)),
            _ => None,
        };
        self.entries.iter().filter_map(took).collect()
    }

    /// The metrics of its epochs, in the order in which they first came.
    pub fn metrics(&self) -> Vec<(String, Vec<(f64, f64)>)> {
        let mut all = Vec::<(String, Vec<(f64, f64)>)>::new();
        for entry in &self.entries {
            let Entry::Epoch { iteration, metrics, .. } = entry else { continue };
            for (name, value) in metrics {
                let Some(value) = value else { continue };
                let point = (f64::from(*iteration), *value);
                match all.iter_mut().find(|(known, _)| known == name) {
                    Some((_, points)) => points.push(point),
                    None => all.push((name.clone(), vec![point])),
                }
            }
        }
        all
    }

    /// Where and why it stopped.
    pub fn stop(&self) -> Option<(f64, &str)> {
        self.entries.iter().rev().find_map(|entry| match entry {
            Entry::Stopped { reason, iteration, .. } => Some((f64::from(*iteration), reason.as_str())),
            _ => None,
        })
    }
}

/// What a history that cannot be read is, for who asked for `path`.
fn wrong(path: &Path, file: &Path, error: HistoryError) -> Failure {
    match error {
        HistoryError::Io { cause, .. } if cause.kind() == io::ErrorKind::NotFound && path.is_dir() => {
            let found = "it is a directory without a history.jsonl".to_owned();
            Failure::WrongFile { path: path.to_owned(), wanted: "a run", found }
        }
        HistoryError::Io { cause, .. } => Failure::io("read", file)(cause),
        HistoryError::NotAHistory { .. } => {
            let found = failure::read(file).map_or_else(|error| error.to_string(), |bytes| failure::looks_like(&bytes));
            Failure::WrongFile { path: file.to_owned(), wanted: "the history of a run", found }
        }
        other => Failure::Content { path: file.to_owned(), why: other.to_string() },
    }
}

/// The history's own file.
pub fn history(path: &Path) -> PathBuf {
    if path.is_dir() { path.join("history.jsonl") } else { path.to_owned() }
}

/// What a run is called: its directory.
fn name(path: &Path) -> String {
    let directory = if path.is_dir() { Some(path) } else { path.parent() };
    let name = directory.and_then(Path::file_name).or(path.file_stem());
    name.unwrap_or("run".as_ref()).to_string_lossy().into_owned()
}

/// Runs `plot`.
pub fn plot(arguments: &Plot) -> Result<ExitCode> {
    let mut runs = paths(arguments).map(Run::read).collect::<Result<Vec<_>>>()?;
    tell_apart(&mut runs, arguments);
    // Said when everything is done: nobody may be listening.
    let mut done = Vec::new();
    if let Some(directory) = &arguments.tensorboard {
        let paths: Vec<&Path> = paths(arguments).collect();
        let files = tensorboard::write(&runs, &paths, directory)?;
        done.extend(files.iter().map(|file| file.display().to_string()));
    }
    match &arguments.output {
        Some(file) => {
            failure::write(file, &picture(&runs, arguments, file)?)?;
            done.push(format!("{} to {}", crate::inspect::table::counted(runs.len(), "run"), file.display()));
        }
        None if arguments.tensorboard.is_none() => terminal::print(&runs)?,
        None => (),
    }
    done.iter().try_for_each(output::line)?;
    Ok(ExitCode::SUCCESS)
}

/// The picture in the format that `file` is called after.
fn picture(runs: &[Run], arguments: &Plot, file: &Path) -> Result<Vec<u8>> {
    let extension = file.extension().map(|extension| extension.to_ascii_lowercase());
    let png = match extension.as_ref().and_then(|extension| extension.to_str()) {
        Some("svg") => false,
        Some("png") => true,
        _ => return Err(Failure::usage(format!("{}: a picture is .svg or .png", file.display()))),
    };
    let title = arguments.title.clone();
    let svg = match runs {
        [run] => chart::draw(&run.entries, title.as_ref().unwrap_or(&run.name)),
        runs => {
            let names = runs.iter().map(|run| run.name.as_str()).collect::<Vec<_>>().join(", ");
            // The names are in the legend, too: where they have no room, their number says enough.
            let names = if names.len() > 80 { format!("{} runs", runs.len()) } else { names };
            compare::draw(runs, &title.unwrap_or(names))?
        }
    };
    if png { png::render(&svg, arguments.width) } else { Ok(svg.into_bytes()) }
}

fn paths(arguments: &Plot) -> impl Iterator<Item = &Path> {
    std::iter::once(&arguments.run).chain(&arguments.compare).map(PathBuf::as_path)
}

/// Runs of one name get their paths.
fn tell_apart(runs: &mut [Run], arguments: &Plot) {
    let names: Vec<String> = runs.iter().map(|run| run.name.clone()).collect();
    for (run, path) in runs.iter_mut().zip(paths(arguments)) {
        if names.iter().filter(|name| **name == run.name).count() > 1 {
            run.name = path.display().to_string();
        }
    }
}

/// Exponentially smoothed over about a fortieth of `length` points, without the pull of a first value.
pub fn smoothed(points: &[(f64, f64)], length: usize) -> Vec<(f64, f64)> {
    let keep = 1.0 - 1.0 / (length as f64 / 40.0).max(3.0);
    let (mut sum, mut weight) = (0.0, 0.0);
    let smooth = |(at, value): &(f64, f64)| {
        sum = keep * sum + value;
        weight = keep * weight + 1.0;
        (*at, sum / weight)
    };
    points.iter().map(smooth).collect()
}
