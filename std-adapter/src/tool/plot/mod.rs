//! The command `plot`. It draws the histories of one or several runs as a picture, as text in the terminal, or as
//! TensorBoard event files.
//!
//! The module `crate::chart` draws the pictures as SVG images, and the module `png` converts them to
//! PNG.

mod png;
mod run;
pub mod series;
mod table;
mod tensorboard;
pub mod terminal;

pub use run::history_file;

use crate::chart;
use crate::tool::EXIT_SUCCESS;
use crate::tool::error::{CliError, Result};
use crate::tool::files::OutputFile;
use crate::tool::numbers::count;
use crate::tool::{files, output};
use run::{Run, make_names_unique, title};
use std::path::{Path, PathBuf};

/// Draws the history of a run.
///
/// The chart shows the loss, the metrics, the saves and removals of checkpoints, each resume of the run, and the reason
/// of its stop. With --compare, one picture shows the losses and the metrics of several runs. If a history contains several
/// runs, all of them are drawn. Without --output and --tensorboard, or with --terminal, the command prints the chart as
/// text. With --tensorboard, the command writes event files for `tensorboard --logdir DIR`.
#[derive(clap::Args, Debug)]
pub struct Plot {
    /// A history file, a directory with a history.jsonl, or `-` for standard input
    pub run: PathBuf,
    /// More runs for the same picture
    #[arg(long, value_name = "RUN", num_args = 1..)]
    pub compare: Vec<PathBuf>,
    /// The picture to write, or `-` for standard output
    #[arg(short, long, value_name = "FILE", conflicts_with = "terminal")]
    pub output: Option<PathBuf>,
    /// The format of the picture. By default, the ending of FILE selects it.
    #[arg(long, value_name = "FORMAT", requires = "output")]
    pub to: Option<Format>,
    /// Replace an existing picture
    #[arg(long)]
    pub force: bool,
    /// Write TensorBoard event files. Each run has its own directory in DIR. Existing files are continued.
    #[arg(long, value_name = "DIR", conflicts_with = "terminal")]
    pub tensorboard: Option<PathBuf>,
    /// Append new events to the TensorBoard files until the runs have stopped
    #[arg(long, requires = "tensorboard", conflicts_with = "output")]
    pub follow: bool,
    /// The width of a PNG in pixels
    #[arg(long, default_value_t = 1600, value_parser = clap::value_parser!(u32).range(100..=10000))]
    pub width: u32,
    /// The title of the picture; by default the name of the run
    #[arg(long)]
    pub title: Option<String>,
    /// Print a chart as text, as wide as the terminal
    #[arg(long)]
    pub terminal: bool,
}

/// The format of a picture.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Format {
    /// Scalable vector graphics
    Svg,
    /// Pixels
    Png,
}

impl Format {
    /// Returns the format that the ending of a file's name selects.
    fn from_extension(path: &Path) -> Result<Format> {
        match files::extension(path).as_deref() {
            Some("svg") => Ok(Format::Svg),
            Some("png") => Ok(Format::Png),
            _ => Err(CliError::usage("the format is unknown: use --to, or a file with the ending .svg or .png")),
        }
    }
}

/// Runs the command `plot`.
pub fn plot(arguments: &Plot) -> Result<u8> {
    let output = match &arguments.output {
        Some(file) => Some((file, arguments.to.map_or_else(|| Format::from_extension(file), Ok)?)),
        None => None,
    };
    let mut runs = Vec::new();
    for path in paths(arguments) {
        runs.extend(Run::read(path)?);
    }
    make_names_unique(&mut runs);
    if let (Some(directory), true) = (&arguments.tensorboard, arguments.follow) {
        tensorboard::follow_runs(runs, directory)?;
        return Ok(EXIT_SUCCESS);
    }
    // The messages are printed after all files are written. Printing fails if the pipe is closed, but then the files
    // are already complete.
    let mut messages = Vec::new();
    if let Some(directory) = &arguments.tensorboard {
        let files = tensorboard::write(&runs, directory)?;
        messages.extend(files.iter().map(|file| format!("wrote {}", file.display())));
    }
    match output {
        Some((file, format)) => {
            let picture = picture(&runs, arguments, format)?;
            let inputs: Vec<PathBuf> = paths(arguments).map(history_file).collect();
            let inputs: Vec<&Path> = inputs.iter().map(PathBuf::as_path).collect();
            let output = OutputFile::create(file, &inputs, arguments.force)?;
            if output.is_regular_file() {
                messages.push(format!("wrote {} to {}", count(runs.len(), "run"), file.display()));
            }
            output.write_whole(&picture)?;
        }
        None if arguments.tensorboard.is_none() => terminal::print(&runs)?,
        None => (),
    }
    messages.iter().try_for_each(output::print_line)?;
    Ok(EXIT_SUCCESS)
}

/// Returns the picture as SVG or PNG.
fn picture(runs: &[Run], arguments: &Plot, format: Format) -> Result<Vec<u8>> {
    let title = arguments.title.clone().unwrap_or_else(|| title(runs));
    let named: Vec<chart::NamedRun<'_>> = runs.iter().map(Run::as_named).collect();
    let svg = chart::compare(&named, &title);
    match format {
        Format::Svg => Ok(svg.into_bytes()),
        Format::Png => {
            let png = png::render(&svg, arguments.width)?;
            if !png.missing.is_empty() {
                let missing: String = png.missing.iter().collect();
                output::print_note(format_args!(
                    "no installed font has the characters {missing}, so the picture shows question marks; install a font \
                     that has them, for example Noto Sans CJK, or write an SVG"
                ));
            }
            Ok(png.bytes)
        }
    }
}

fn paths(arguments: &Plot) -> impl Iterator<Item = &Path> {
    std::iter::once(&arguments.run).chain(&arguments.compare).map(PathBuf::as_path)
}
