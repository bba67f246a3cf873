//! The host simulation: trains the digits network with all four handlers. It executes the same run as the boards, and
//! stores the checkpoints in a directory.
//!
//! If the process is killed and started again with `--resume`, the run ends with the same weights, bit for bit. The
//! program prints a checksum of the final weights, so that two runs can be compared.

mod arguments;
mod observer;

use arguments::Arguments;
use clap::Parser;
use digits_workload::monitored::{self, Plan};
use digits_workload::quantized::QuantizedTrainee;
use digits_workload::train::Trainee;
use observer::TerminalObserver;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::{fs, io};
use training_monitor_std::{Directory, History, chart};

/// The trainee of the host simulation: the network 64-32-10 with batches of 16 images.
type HostTrainee = Trainee<32, 16>;
/// The trainee of the host simulation with the option `--quantized`. It has the same number of batches.
type QuantizedHostTrainee = QuantizedTrainee<32, 16>;

/// Maximum number of best checkpoints.
const TABLE: usize = 64;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  caused by: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let directory = &arguments.directory;
    if !arguments.resume {
        rename_existing(directory)?;
    }
    let best = Directory::builder(directory, "best").require_empty(false).open()?;
    let latest = Directory::builder(directory, "latest").require_empty(false).open()?;
    let history = History::open(directory.join("history.jsonl"))?;
    let observer = TerminalObserver::new(&history, arguments);

    let plan = Plan::<TABLE> {
        seed: arguments.seed,
        max_epochs: arguments.epochs,
        patience: arguments.patience,
        n_best: arguments.n_saved,
        n_latest: 2,
        nan_at: arguments.nan_at,
    };
    let stop = observer.stop_flag();
    ctrlc::set_handler(move || stop.store(true, Ordering::Relaxed))?;
    let result = if arguments.quantized {
        monitored::run(&mut *Box::new(QuantizedHostTrainee::new()), plan, latest, best, &observer)
    } else {
        monitored::run(&mut *Box::new(HostTrainee::new()), plan, latest, best, &observer)
    };
    observer.finish();
    let summary = match result {
        Err(monitored::Error::Stopped) => {
            history.flush()?;
            println!("stopped by a signal; the state is saved, continue with --resume");
            return Ok(());
        }
        result => result?,
    };
    history.record_stop(&summary.outcome);
    history.flush()?;
    let chart = directory.join("run.svg");
    fs::write(&chart, chart::draw(&History::read(directory.join("history.jsonl"))?, "Handwritten digits"))?;
    observer::print_summary(&summary, directory, &chart);
    Ok(())
}

/// Renames `directory` if it is not empty, so that a new run does not overwrite the files of an earlier run. The new
/// name is the old one with the first unused number appended, for example `digits.1`.
fn rename_existing(directory: &Path) -> io::Result<()> {
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
    println!("renamed the directory of the earlier run to {}", free.display());
    Ok(())
}
