//! The commands `inspect` and `verify`. `inspect` shows all checkpoints at a path, as tables or as JSON. `verify`
//! checks that all committed checkpoints are intact. Neither command changes a file.

pub mod json;
pub mod table;

use crate::tool::EXIT_SUCCESS;
use crate::tool::error::Result;
use crate::tool::inventory::flash_dump::Geometry;
use crate::tool::inventory::{Inventory, Selection};
use crate::tool::output;
use std::path::PathBuf;

/// Shows the content of a checkpoint, a directory of checkpoints or a flash dump.
///
/// The command lists the step, the score, the rank and the size of each checkpoint. It shows one checkpoint in detail:
/// the state of the run and of its handlers, and statistics of each tensor. A separate list shows damaged files and
/// slots, interrupted saves and interrupted removals.
#[derive(clap::Args, Debug)]
pub struct Inspect {
    /// The path to show: a checkpoint file, a directory of checkpoints, or a flash dump.
    pub path: PathBuf,
    /// Print one JSON object with the details of all checkpoints, or of the selected one
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub selection: Selection,
    #[command(flatten)]
    pub geometry: Geometry,
}

/// Checks that all committed checkpoints are intact.
///
/// The command reads every byte and verifies every checksum. The exit code is 0 if all committed checkpoints are
/// intact, 1 if at least one is damaged, and 2 if a path cannot be read. An interrupted save is not damage, because the
/// checkpoint was never committed.
#[derive(clap::Args, Debug)]
pub struct Verify {
    /// The paths to check: checkpoint files, directories of checkpoints, or flash dumps.
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

/// Runs the command `inspect`.
pub fn inspect(arguments: &Inspect) -> Result<u8> {
    let inventory = Inventory::with_statistics(&arguments.path, &arguments.geometry)?;
    if arguments.json {
        return output::print_json(&json::inventory(&inventory, &arguments.selection)?).map(|()| EXIT_SUCCESS);
    }
    table::print(&inventory, &arguments.selection)?;
    Ok(EXIT_SUCCESS)
}

/// Runs the command `verify`. If one path cannot be read, the command still checks the other paths.
pub fn verify(arguments: &Verify) -> Result<u8> {
    let (mut is_intact, mut last_error, mut results, mut printed) = (true, None, Vec::new(), Ok(()));
    for path in &arguments.paths {
        let inventory = match Inventory::new(path, &arguments.geometry) {
            Ok(inventory) => inventory,
            Err(error) => {
                results.push(json::unreadable(path, &error));
                // The function returns only the last error, and `main` reports it. Therefore all earlier errors are
                // reported here.
                last_error.replace(error).iter().for_each(crate::tool::report);
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
