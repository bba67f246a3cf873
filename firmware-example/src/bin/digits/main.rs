//! The host simulation, and the main job of this repository: a network learns to read handwritten digits under all four
//! handlers, in the very run that the boards make, with its checkpoints in a directory.
//!
//! Killed at any moment and started again with `--resume`, it ends with the same weights, bit for bit; the checksum at
//! the end is there to be compared.

mod arguments;
mod show;

use arguments::Arguments;
use clap::Parser;
use digits_workload::monitored::{self, Plan};
use digits_workload::train::Trainee;
use show::Show;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};
use training_monitor_std::{Directory, History, chart};

/// The network and the batches of the host's run.
type Host = Trainee<32, 16>;

/// Room for so many best checkpoints.
const TABLE: usize = 64;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let directory = &arguments.directory;
    if !arguments.resume {
        set_aside(directory)?;
    }
    let best = Directory::builder(directory, "best").require_empty(false).open()?;
    let latest = Directory::builder(directory, "latest").require_empty(false).open()?;
    let history = History::open(directory.join("history.jsonl"))?;
    let show = Show::new(&history, arguments);

    let plan = Plan::<TABLE> {
        seed: arguments.seed,
        max_epochs: arguments.epochs,
        patience: arguments.patience,
        best: arguments.n_saved,
        latest: 2,
        nan_at: arguments.nan_at,
    };
    let mut trainee = Box::new(Host::new());
    let result = monitored::run(&mut trainee, plan, latest, best, &show);
    show.finish();
    let summary = result?;
    history.stopped(&summary.outcome);
    history.flush()?;
    let chart = directory.join("run.svg");
    fs::write(&chart, chart::draw(&History::read(directory.join("history.jsonl"))?, "Handwritten digits"))?;
    show::summary(&summary, directory, &chart);
    Ok(())
}

/// Moves what an earlier run left out of the way: a new run neither mixes with it nor destroys it.
fn set_aside(directory: &Path) -> io::Result<()> {
    let is_used = fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some());
    if !is_used {
        return Ok(());
    }
    let numbered = |number: u32| {
        let mut name = directory.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    let free = (1..).map(numbered).find(|path| !path.exists()).unwrap_or_else(|| numbered(u32::MAX));
    fs::rename(directory, &free)?;
    println!("the earlier run is now in {}", free.display());
    Ok(())
}
