//! The command line tool `training-monitor` for checkpoints, flash dumps, run histories and device logs.
//!
//! Each command has its own module. This file contains the list of the commands, and the exit codes:
//!
//! | code | meaning |
//! | --- | --- |
//! | 0 | success; `verify`: no damage; `diff`: no difference |
//! | 1 | `verify` found damage, or `diff` found a difference |
//! | 2 | error: invalid arguments, a file of the wrong kind, or an I/O error |

#![forbid(unsafe_code)]

mod diff;
mod elements;
mod error;
mod exchange;
mod files;
mod handler_state;
mod inspect;
mod inventory;
mod numbers;
mod output;
mod plot;
mod stats;
mod stream;
mod watch;

use clap::{CommandFactory, Parser, Subcommand};
use error::{CliError, Result};
use output::text::{Span, Style, plain};
use std::error::Error;
use std::process::ExitCode;

/// The exit code if `verify` has found damage, or if `diff` has found a difference.
const EXIT_NEGATIVE: u8 = 1;
/// The exit code for all errors.
const EXIT_ERROR: u8 = 2;

/// Inspects and converts training runs of small devices: checkpoints, flash dumps, histories, logs.
///
/// Exit codes: 0 means success. 1 means that `verify` found damage, or that `diff` found a difference. 2 means a usage
/// or I/O error. The output has colors only on a terminal, and only if NO_COLOR is not set.
#[derive(Parser, Debug)]
#[command(name = "training-monitor", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Inspect(inspect::Inspect),
    Verify(inspect::Verify),
    Export(exchange::export::Export),
    Import(exchange::import::Import),
    Diff(diff::Diff),
    Plot(plot::Plot),
    Watch(watch::Watch),
    /// Prints a completion script for a shell.
    ///
    /// Save the script in the directory from which your shell loads completions.
    Completions {
        /// The shell that will run the script
        shell: clap_complete::Shell,
    },
}

fn run(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Inspect(arguments) => inspect::inspect(arguments),
        Command::Verify(arguments) => inspect::verify(arguments),
        Command::Export(arguments) => exchange::export::export(arguments),
        Command::Import(arguments) => exchange::import::import(arguments),
        Command::Diff(arguments) => diff::diff(arguments),
        Command::Plot(arguments) => plot::plot(arguments),
        Command::Watch(arguments) => watch::watch(arguments),
        Command::Completions { shell } => {
            let mut command = Arguments::command();
            // The function `generate` panics if a write fails. A write to memory cannot fail, so the script is first
            // written to memory.
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut command, "training-monitor", &mut script);
            output::write_bytes(&script).map(|()| ExitCode::SUCCESS)
        }
    }
}

/// Prints an error and its causes to standard error.
fn report(error: &CliError) {
    output::print_error(&[Span::new("error:", Style::Red), plain(format_args!(" {error}"))]);
    let mut cause = error.source();
    while let Some(error) = cause {
        output::print_error(&[plain(format_args!("  caused by: {error}"))]);
        cause = error.source();
    }
}

/// Prints a warning to standard error. The command continues.
fn warn(text: impl std::fmt::Display) {
    output::print_error(&[Span::new("warning:", Style::Yellow), plain(format_args!(" {text}"))]);
}

fn main() -> ExitCode {
    match run(&Arguments::parse().command) {
        Ok(code) => code,
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::from(EXIT_ERROR)
        }
    }
}
