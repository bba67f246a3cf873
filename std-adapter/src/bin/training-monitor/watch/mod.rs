//! `watch`: follows a run by its history or by the log of its device. The command never writes to the run.
//!
//! Data flows through the modules in this order: a thread reads bytes (`feed`), which are decoded to lines of text (`frames`).
//! Each line is converted to an event (`log`, with the patterns in `lines`), which updates the status of the run
//! (`run_status`). The status is shown as a live view (`view`) or as plain lines (`plain`).

mod checkpoints;
mod feed;
mod frames;
mod lines;
mod log;
mod pattern;
mod plain;
mod run_status;
mod view;

use crate::error::{CliError, Result};
use checkpoints::CheckpointWatcher;
use feed::{Feed, FeedEvent};
use frames::LogFormat;
use run_status::RunStatus;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Follows a run: loss, metrics, checkpoints, handlers, flash wear
///
/// PATH is the directory or the history of a run, or the log of a device: a file that grows, a pipe, a serial port, or `-`
/// for standard input. A log consists of lines of text (`probe-rs run … | training-monitor watch -`) or, with --elf, of
/// defmt frames. In a terminal the command shows a live view; the key q quits, the key l switches the loss to a logarithmic
/// axis. Otherwise, and with --plain, it prints one line for each event.
#[derive(clap::Args, Debug)]
pub struct Watch {
    /// The directory of a run, its history, the log of a device, or `-`
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
    /// Stop at the end of the file instead of waiting for more
    #[arg(long)]
    pub once: bool,
    /// The patience of the run's EarlyStopping, to show the remaining patience
    #[arg(long, value_name = "NUMBER")]
    pub patience: Option<u32>,
    /// Show handler states and flash wear from the checkpoints in this directory or flash dump; by default the directory of
    /// the history
    #[arg(long, value_name = "PATH")]
    pub checkpoints: Option<PathBuf>,
}

/// The interval at which the command checks a file for new data.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Runs `watch`.
pub fn watch(arguments: &Watch) -> Result<ExitCode> {
    let path = crate::plot::history_file(&arguments.path);
    let format = LogFormat::new(arguments.elf.as_deref())?;
    let feed = Feed::start(&path, !arguments.once, format, arguments.baud)?;
    let mut status = RunStatus::new(&path, arguments.patience);
    if arguments.plain || !std::io::stdout().is_terminal() {
        plain::run(&feed, &mut status)?;
    } else {
        let directory = path.parent().filter(|_| path.extension().is_some_and(|extension| extension == "jsonl"));
        let checkpoints = arguments.checkpoints.as_deref().or(directory);
        view::run(&feed, &mut status, checkpoints.map(CheckpointWatcher::new))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits for the next event, but not longer than the poll interval. Returns `None` if no event arrived.
fn next_event(feed: &Feed) -> Option<Result<FeedEvent>> {
    feed.next(POLL_INTERVAL).map(|event| event.map_err(CliError::io("read", feed.path())))
}
