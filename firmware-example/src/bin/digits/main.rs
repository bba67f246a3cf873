//! The host simulation: trains the digits network with the handlers that a study on a host uses, and stores the
//! checkpoints in a directory.
//!
//! If the process is killed and started again with `--resume`, the run ends with the same weights, bit for bit. The
//! program prints a checksum of the final weights, so that two runs can be compared.
//!
//! The network, the data and the steps are those of the boards. The boards train with other settings, so that their
//! committed results stay valid: see [`monitored`](digits_workload::monitored).

mod arguments;
mod network;
mod observer;
mod output;
mod run;
mod settings;
mod summary;
mod time_limit;

use arguments::Arguments;
use clap::Parser;
use network::Study;
use observer::TerminalObserver;
use output::{print_error_line, print_line};
use settings::{Settings, UsageError};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::{env, fs, io};
use training_monitor::StopReason;
use training_monitor_std::{Directory, History, chart};

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
    } else {
        rename_existing(directory)?;
    }
    let best = Directory::builder(directory, "best").require_empty(false).open()?;
    let latest = Directory::builder(directory, "latest").require_empty(false).open()?;
    let history = History::open(directory.join("history.jsonl"))?;
    if arguments.resume {
        for (prefix, store) in [("best", &best), ("latest", &latest)] {
            for file in store.incomplete().chain(store.foreign()) {
                print_error_line(format_args!("warning: {prefix}: skipped {file}"));
            }
        }
    }
    let observer = TerminalObserver::new(&history, &settings, arguments.quiet);
    let stop = observer.stop_flag();
    ctrlc::set_handler(move || stop.store(true, Ordering::Relaxed))?;

    let result = run::run(&mut study, &settings, arguments.nan_at, latest, best, &observer);
    observer.finish();
    let summary = result?;
    let reason = summary.outcome.reason;
    // A run that a signal has interrupted is not over, so its history has no end.
    if reason != StopReason::Interrupted {
        history.record_stop(&summary.outcome);
    }
    history.flush()?;
    let chart = directory.join("run.svg");
    chart::write(directory.join("history.jsonl"), &chart, "Handwritten digits")?;
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

/// Returns the path of the output directory in a form that can be renamed: without a trailing separator, and as an
/// absolute path if its last part is `.` or `..`.
fn find_directory(arguments: &Arguments) -> Result<PathBuf, Box<dyn Error>> {
    let mut directory: PathBuf = arguments.directory.components().collect();
    if !directory.exists() {
        return Ok(directory);
    }
    let refuse = |text: &str| Err(UsageError(format!("--directory {}: {text}", arguments.directory.display())).into());
    if !directory.is_dir() {
        return refuse("this is not a directory");
    }
    let absolute = directory.canonicalize()?;
    if !arguments.resume
        && is_used(&directory)
        && env::current_dir().is_ok_and(|current| current.starts_with(&absolute))
    {
        return refuse(
            "a new run renames a directory that is not empty, but this one contains the current directory; use another \
             directory, or --resume",
        );
    }
    if directory.file_name().is_none() {
        directory = absolute;
    }
    Ok(directory)
}

fn is_used(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some())
}

/// Renames `directory` if it is not empty, so that a new run does not overwrite the files of an earlier run. The new
/// name is the old one with the first unused number appended, for example `digits.1`.
fn rename_existing(directory: &Path) -> io::Result<()> {
    if !is_used(directory) {
        return Ok(());
    }
    let numbered = |number: u32| {
        let mut name = directory.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    let free = (1..).map(numbered).find(|path| !path.exists()).unwrap_or_else(|| numbered(u32::MAX));
    fs::rename(directory, &free)?;
    print_line(format_args!("renamed the directory of the earlier run to {}", free.display()));
    Ok(())
}
