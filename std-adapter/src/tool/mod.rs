//! The command line tool `training-monitor` for checkpoints, flash dumps, run histories and device logs.
//!
//! Each command has its own module. This file contains the list of the commands, and the exit codes:
//!
//! | code | meaning |
//! | --- | --- |
//! | 0 | success; `verify`: no damage; `diff`: no difference |
//! | 1 | `verify` found damage, or `diff` found a difference |
//! | 2 | error: invalid arguments, a file of the wrong kind, or an I/O error |
//!
//! The tool is a module of the library because two programs contain it: the binary `training-monitor` and the Python
//! package. The public modules are for the Python package only. They are no part of the public interface.

#![allow(clippy::len_without_is_empty, reason = "no command asks whether a file or a tensor is empty")]

mod diff;
pub mod elements;
pub mod error;
pub mod exchange;
pub mod files;
pub mod handler_state;
pub mod inspect;
pub mod inventory;
mod numbers;
mod output;
mod plot;
mod stats;
pub mod stream;
mod watch;

use clap::{CommandFactory, Parser, Subcommand};
use error::{CliError, Result};
use output::text::{Span, Style, plain};
use std::error::Error;
use std::ffi::OsString;

/// The exit code of a command that succeeded.
const EXIT_SUCCESS: u8 = 0;
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

fn run_command(command: &Command) -> Result<u8> {
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
            output::write_bytes(&script).map(|()| EXIT_SUCCESS)
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

/// Runs the tool and returns its exit code. The first argument is the name of the program.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(message) => {
            // The message can also be the help text. If it cannot be printed, the exit code is the only result.
            let _ = message.print();
            return u8::try_from(message.exit_code()).unwrap_or(EXIT_ERROR);
        }
    };
    match run_command(&arguments.command) {
        Ok(code) => code,
        Err(error) if error.is_broken_pipe() => EXIT_SUCCESS,
        Err(error) => {
            report(&error);
            EXIT_ERROR
        }
    }
}
