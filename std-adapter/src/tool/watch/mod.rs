//! The command `watch`. It follows a run by its history or by the log of its device. The command never writes to the
//! run.
//!
//! The data passes the modules in this order:
//!
//! 1. `feed` reads bytes in a separate thread.
//! 2. `frames` decodes the bytes to lines of text.
//! 3. `log` converts each line to an event. `lines` contains the format strings of the lines.
//! 4. `run_status` updates the status of the run.
//! 5. `view` shows the status as a live view in `live_terminal`, or `plain` prints it as lines.

mod checkpoints;
mod feed;
mod frames;
mod lines;
mod live_terminal;
mod log;
mod pace;
mod pattern;
mod plain;
mod run_status;
mod view;

use crate::history::{HistoryError, check_header};
use crate::tool::EXIT_SUCCESS;
use crate::tool::error::{CliError, Result};
use checkpoints::CheckpointWatcher;
use feed::Feed;
use frames::LogFormat;
use run_status::RunStatus;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Follows a run: loss, metrics, checkpoints, handlers, flash wear.
///
/// PATH is the directory or the history of a run, or the log of a device. A log is a growing file, a pipe, a serial
/// port, or `-` for standard input. It consists of lines of text (`probe-rs run … | training-monitor watch -`) or, with
/// --elf, of defmt frames. If PATH does not exist yet, the command waits for it. In a terminal, the command shows a live
/// view. The key q quits, and the key l switches the loss to a logarithmic axis. Without a terminal, or with --plain, the
/// command prints one line for each event.
#[derive(clap::Args, Debug)]
pub struct Watch {
    /// The run to follow: its directory, its history file, the log of a device, or `-` for standard input.
    pub path: PathBuf,
    /// Decode the log as raw defmt frames of this program
    #[arg(long, value_name = "PROGRAM")]
    pub elf: Option<PathBuf>,
    /// The bit rate, if PATH is a serial port
    #[arg(long, value_name = "NUMBER", default_value_t = 115_200)]
    pub baud: u32,
    /// Print lines instead of a live view
    #[arg(long)]
    pub plain: bool,
    /// Stop at the end of the file instead of waiting for more. The file must exist.
    #[arg(long)]
    pub once: bool,
    /// The patience of `EarlyStopping` in this run. The live view needs the patience to show how much of it is left.
    #[arg(long, value_name = "NUMBER")]
    pub patience: Option<u32>,
    /// The number of epochs of this run. The default is the metadata `epochs` of its newest checkpoint. The command needs
    /// the number to show the remaining time.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub epochs: Option<u32>,
    /// Show handler states and flash wear from the checkpoints in this directory or flash dump. The default is the
    /// directory of the history.
    #[arg(long, value_name = "PATH")]
    pub checkpoints: Option<PathBuf>,
}

/// The time between two checks of a file for new data.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Runs the command `watch`.
pub fn watch(arguments: &Watch) -> Result<u8> {
    if let Some(path) = &arguments.checkpoints {
        path.metadata().map_err(CliError::io("read", path))?;
    }
    let format = LogFormat::new(arguments.elf.as_deref())?;
    let feed = Feed::start(&arguments.path, !arguments.once, format, arguments.baud)?;
    let mut status = RunStatus::new(&arguments.path, arguments.patience, arguments.epochs);
    if arguments.plain || !std::io::stdout().is_terminal() {
        plain::run(&feed, &arguments.path, &mut status)?;
    } else {
        let checkpoints = arguments.checkpoints.as_deref().or_else(|| run_directory(&arguments.path));
        view::run(&feed, &mut status, checkpoints.map(CheckpointWatcher::new))?;
    }
    Ok(EXIT_SUCCESS)
}

/// Returns the directory of a run, which contains its checkpoints. `path` is this directory, or the history in it. A run
/// that has not started has no directory yet. Returns `None` for the log of a device.
fn run_directory(path: &Path) -> Option<&Path> {
    match path.extension() {
        Some(extension) if extension == "jsonl" => path.parent(),
        None if path.is_dir() || !path.exists() => Some(path),
        _ => Some(path).filter(|path| path.is_dir()),
    }
}

/// Returns an error if `line` is the first line of a history with an unknown format version.
fn check_version(feed: &Feed, line: &str) -> Result<()> {
    match line.starts_with(r#"{"schema""#).then(|| check_header(&feed.path(), line.as_bytes())) {
        Some(Err(error @ HistoryError::Version { .. })) => Err(CliError::other(error)),
        _ => Ok(()),
    }
}
