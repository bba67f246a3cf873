//! `watch`: a run while it goes on, from its history or from the log of a device.
//!
//! Lines come from a thread of their own ([`feed`]), put together from text or from defmt's frames ([`frames`]), become what is known of the run ([`live`]), and are shown, in a terminal
//! as a view that is redrawn, elsewhere as plain lines. Nothing is ever sent to the run.

mod feed;
mod frames;
mod live;
mod log;
mod plain;
mod view;

use crate::failure::{Failure, Result};
use crate::states::State;
use crate::survey::image::Geometry;
use crate::survey::{Choice, Survey};
use feed::{Feed, News};
use frames::Format;
use live::Live;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Follows a run: loss, metrics, checkpoints, handlers, flash wear
///
/// PATH is a run's directory or history, or a device's log: a file that grows, a pipe, a serial port, or `-` for standard
/// input. The log is lines of text (`probe-rs run … | training-monitor watch -`) or, with --elf, defmt's frames as the
/// device sends them. In a terminal: q quits, l switches the loss to a logarithm. Elsewhere, and with --plain, a line for
/// each thing that happens.
#[derive(clap::Args, Debug)]
pub struct Watch {
    /// A run's directory, its history, a device's log, or `-`
    pub path: PathBuf,
    /// The log is raw defmt frames of this program
    #[arg(long, value_name = "PROGRAM")]
    pub elf: Option<PathBuf>,
    /// Bits a second, if PATH is a serial port
    #[arg(long, value_name = "NUMBER", default_value_t = 115_200)]
    pub baud: u32,
    /// Lines instead of a view
    #[arg(long)]
    pub plain: bool,
    /// Only what is there already; do not wait for more
    #[arg(long)]
    pub once: bool,
    /// The patience of the run's EarlyStopping, to show what is left of it
    #[arg(long, value_name = "NUMBER")]
    pub patience: Option<u32>,
    /// Where the run's checkpoints are, a directory or a flash dump, for handler states and wear; if not given, the
    /// history's directory
    #[arg(long, value_name = "PATH")]
    pub checkpoints: Option<PathBuf>,
}

/// How often a file is looked at.
const TICK: Duration = Duration::from_millis(200);

/// Runs `watch`.
pub fn watch(arguments: &Watch) -> Result<ExitCode> {
    let path = crate::plot::history(&arguments.path);
    let feed = Feed::start(&path, !arguments.once, Format::of(arguments.elf.as_deref())?, arguments.baud)?;
    let mut live = Live::new(&path, arguments.patience);
    if arguments.plain || !std::io::stdout().is_terminal() {
        plain::run(&feed, &mut live)?;
    } else {
        let directory = path.parent().filter(|_| path.extension().is_some_and(|ext| ext == "jsonl"));
        let checkpoints = arguments.checkpoints.as_deref().or(directory);
        view::run(&feed, &mut live, checkpoints.map(Medium::new))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The checkpoints of the run, looked at again after a save.
struct Medium {
    path: PathBuf,
    /// Saves that were known when it was looked at, and when that was.
    looked: Option<(usize, Instant)>,
}

/// What they say.
#[derive(Default)]
struct Peek {
    handlers: Vec<State>,
    /// Erases of all slots of each region.
    wear: Vec<(String, u32)>,
    damaged: usize,
}

impl Medium {
    fn new(path: &Path) -> Medium {
        Medium { path: path.to_owned(), looked: None }
    }

    /// Looks again if there was a save, but not all the time: everything is read.
    fn peek(&mut self, saves: usize) -> Option<Peek> {
        let due = self.looked.is_none_or(|(known, when)| known != saves && when.elapsed() > Duration::from_secs(1));
        if !due {
            return None;
        }
        self.looked = Some((saves, Instant::now()));
        // In the middle of a save there may be nothing to see; that is told after the next.
        let survey = Survey::new(&self.path, &Geometry::default()).ok()?;
        let newest = survey.choose(&Choice::default()).ok();
        let record = newest.and_then(|found| found.head.record.as_ref());
        let regions = survey.series.iter().filter_map(|series| Some((series.name.clone(), series.region?.erases)));
        Some(Peek {
            handlers: record.map(State::all).unwrap_or_default(),
            wear: regions.collect(),
            damaged: survey.others.iter().filter(|other| other.verdict.is_loss()).count(),
        })
    }
}

/// The next news within a tick; `None` when there are none yet.
fn next(feed: &Feed) -> Option<Result<News>> {
    feed.next(TICK).map(|news| news.map_err(Failure::io("read", feed.path())))
}
