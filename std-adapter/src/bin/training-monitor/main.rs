//! `training-monitor`: looks into devices and directories, takes weights to Python and back, shows runs.
//!
//! Each command is a module; this file only knows their names and what the exit codes mean:
//!
//! | code | meaning |
//! | --- | --- |
//! | 0 | done; for `verify`: all is whole; for `diff`: no difference |
//! | 1 | the answer is no: `verify` found damage, `diff` a difference |
//! | 2 | there is no answer: wrong arguments, a wrong file, an I/O error |

#![forbid(unsafe_code)]

mod diff;
mod exchange;
mod failure;
mod inspect;
mod output;
mod plot;
mod states;
mod stats;
mod stream;
mod survey;
mod watch;

use clap::{CommandFactory, Parser, Subcommand};
use failure::{Failure, Result};
use owo_colors::OwoColorize;
use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

/// The exit code of a negative answer.
const NO: u8 = 1;
/// The exit code where there is no answer.
const TROUBLE: u8 = 2;

/// Looks into training runs of small devices: checkpoints, flash dumps, histories
///
/// Exit codes: 0 done; 1 the answer is no (`verify` found damage, `diff` a difference); 2 there is no answer (wrong
/// arguments, a wrong file, an I/O error). Colours go where a terminal is, unless NO_COLOR is set.
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
    /// Prints the completions for a shell, to be put where it looks for them
    Completions {
        /// Which shell
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
            // By way of memory, since it panics where it cannot write.
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut command, "training-monitor", &mut script);
            output::bytes(&script).map(|()| ExitCode::SUCCESS)
        }
    }
}

/// Says what went wrong. Whether anybody can be told is not asked.
fn tell(failure: &Failure) {
    let mut to = anstream::stderr().lock();
    let _ = writeln!(to, "{} {failure}", "error:".red().bold());
    let mut cause = failure.source();
    while let Some(error) = cause {
        let _ = writeln!(to, "  because {error}");
        cause = error.source();
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse().command) {
        Ok(code) => code,
        Err(failure) if failure.is_broken_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            tell(&failure);
            ExitCode::from(TROUBLE)
        }
    }
}
