//! The host simulation: trains the digits network with the handlers that a study on a host uses, and stores the
//! checkpoints in a directory.
//!
//! If the process is killed and started again with `--resume`, the run ends with the same weights, bit for bit. The
//! program prints a checksum of the final weights, so that two runs can be compared. The run is in the module
//! [`host`](digits_workload::host) of the library.
//!
//! The network, the data and the steps are those of the boards. The boards train with other settings, so that their
//! committed results stay valid: see [`monitored`](digits_workload::monitored).

mod observer;
mod output;
mod summary;

use clap::Parser;
use digits_workload::host::arguments::Arguments;
use digits_workload::host::directory::{find_directory, rename_existing};
use digits_workload::host::network::Study;
use digits_workload::host::settings::{Settings, UsageError};
use digits_workload::host::{recorder, run};
use observer::TerminalObserver;
use output::{print_error_line, print_line};
use std::error::Error;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use training_monitor::StopReason;
use training_monitor_std::{Directory, History};

/// The exit code of an invalid option. clap exits with the same code.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    if let Err(error) = run(&Arguments::parse()) {
        print_error_line(format_args!("error: {error}"));
        let mut cause = error.source();
        while let Some(error) = cause {
            print_error_line(format_args!("  caused by: {error}"));
            cause = error.source();
        }
        return if error.is::<UsageError>() { ExitCode::from(USAGE) } else { ExitCode::FAILURE };
    }
    match output::error() {
        None => ExitCode::SUCCESS,
        Some(error) => {
            print_error_line(format_args!("error: cannot write to standard output: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    // The checks come first. They change no file.
    let directory = &find_directory(arguments)?;
    let earlier = if arguments.resume { Settings::read(directory)? } else { None };
    let (settings, notes) = arguments.settings(earlier)?;
    let mut study = Study::new(&settings)?;

    if arguments.resume {
        notes.iter().for_each(|note| print_error_line(format_args!("note: {note}")));
        if earlier.is_none() {
            print_line(format_args!("no checkpoint to resume from in {}; a new run starts", directory.display()));
        }
    } else if let Some(renamed) = rename_existing(directory)? {
        print_line(format_args!("renamed the directory of the earlier run to {}", renamed.display()));
    }
    let best = Directory::builder(directory, "best").require_empty(false).open()?;
    let latest = Directory::builder(directory, "latest").require_empty(false).open()?;
    let history = History::open(directory.join(recorder::FILE))?;
    if arguments.resume {
        for (prefix, store) in [("best", &best), ("latest", &latest)] {
            for file in store.incomplete().chain(store.foreign()) {
                print_error_line(format_args!("warning: {prefix}: skipped {file}"));
            }
        }
    }
    let observer = TerminalObserver::new(&settings, arguments.quiet);
    let stop = observer.stop_flag();
    ctrlc::set_handler(move || stop.store(true, Ordering::Relaxed))?;

    let result = run::run(&mut study, &settings, arguments.nan_at, latest, best, &history, &observer);
    observer.finish();
    let summary = result?;
    let reason = summary.outcome.reason;
    let chart = recorder::finish(&history, directory, &summary.outcome)?;
    summary::print_text(&summary, directory, &chart);
    if arguments.json {
        summary::print_json(&summary, &settings);
    }
    if reason == StopReason::NonFinite {
        let iteration = summary.outcome.iteration;
        return Err(format!("the loss or a weight was NaN or infinite at iteration {iteration}").into());
    }
    Ok(())
}
