//! `inspect` shows all checkpoints and leftovers at a path, as tables or as JSON. `verify` checks that all committed
//! checkpoints are intact. Neither command changes a file.

mod json;
pub mod table;

use crate::error::Result;
use crate::inventory::flash_dump::Geometry;
use crate::inventory::{Inventory, Selection};
use crate::output;
use std::path::PathBuf;
use std::process::ExitCode;

/// Shows the content of a checkpoint, a directory of checkpoints or a flash dump
///
/// Lists step, score, rank and size of each checkpoint. Shows one checkpoint in detail: the state of the run and of its
/// handlers, and statistics of each tensor. Damaged files and slots, interrupted saves and interrupted removals are listed
/// separately.
#[derive(clap::Args, Debug)]
pub struct Inspect {
    /// A checkpoint file, a directory of checkpoints, or a flash dump
    pub path: PathBuf,
    /// Print one JSON object with the details of all checkpoints
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub selection: Selection,
    #[command(flatten)]
    pub geometry: Geometry,
}

/// Checks that all committed checkpoints are intact
///
/// Reads every byte and verifies every checksum. Exit code 0: all committed checkpoints are intact; 1: at least one is
/// damaged; 2: a path cannot be read. An interrupted save is not damage, because it was never committed.
#[derive(clap::Args, Debug)]
pub struct Verify {
    /// Checkpoint files, directories of checkpoints, or flash dumps
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    /// Print nothing; only set the exit code
    #[arg(short, long)]
    pub quiet: bool,
    /// Print a JSON array with one result for each path
    #[arg(long, conflicts_with = "quiet")]
    pub json: bool,
    #[command(flatten)]
    pub geometry: Geometry,
}

/// Runs `inspect`.
pub fn inspect(arguments: &Inspect) -> Result<ExitCode> {
    let inventory = Inventory::new(&arguments.path, &arguments.geometry)?;
    if arguments.json {
        return output::print_json(&json::inventory(&inventory)).map(|()| ExitCode::SUCCESS);
    }
    table::print(&inventory, &arguments.selection)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs `verify`. An unreadable path does not stop the others from being checked.
pub fn verify(arguments: &Verify) -> Result<ExitCode> {
    let (mut is_intact, mut last_error, mut results, mut printed) = (true, None, Vec::new(), Ok(()));
    for path in &arguments.paths {
        let inventory = match Inventory::new(path, &arguments.geometry) {
            Ok(inventory) => inventory,
            Err(error) => {
                results.push(json::unreadable(path, &error));
                // `main` reports the error that this function returns: the last one. The others are reported now.
                last_error.replace(error).iter().for_each(crate::report);
                continue;
            }
        };
        is_intact &= inventory.is_intact();
        if arguments.json {
            results.push(json::verdict(path, &inventory));
        } else if !arguments.quiet {
            printed = printed.and_then(|()| table::print_verdict(path, &inventory));
        }
    }
    if arguments.json {
        printed = output::print_json(&results.into());
    }
    match (last_error, output::exit_code(printed, is_intact)) {
        (Some(error), Ok(_)) => Err(error),
        (_, result) => result,
    }
}
