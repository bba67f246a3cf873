//! `inspect`: what there is, shown to people or as JSON. `verify`: whether all of it is whole.
//!
//! Whatever is damaged is shown, first of all to people; neither command ever changes anything.

mod json;
pub mod table;

use crate::failure::Result;
use crate::output;
use crate::survey::image::Geometry;
use crate::survey::{Choice, Survey};
use std::path::PathBuf;
use std::process::ExitCode;

/// Shows what a checkpoint, a directory of them or a flash dump holds
///
/// Steps, scores, ranking and sizes of all; of one of them (the newest, if not chosen) also the run, the handlers' states
/// and every tensor. Files and slots that are damaged, and saves that were cut, are listed as such.
#[derive(clap::Args, Debug)]
pub struct Inspect {
    /// A checkpoint, a directory of checkpoints, or a flash dump
    pub path: PathBuf,
    /// Everything as one JSON object, the tensors of all checkpoints included
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub choice: Choice,
    #[command(flatten)]
    pub geometry: Geometry,
}

/// Exit code 0 only if everything that claims to be committed is whole
///
/// Reads every byte and checks every checksum. A save that was cut before its commit is no damage: it never counted.
#[derive(clap::Args, Debug)]
pub struct Verify {
    /// Checkpoints, directories of checkpoints, flash dumps
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    /// Only the exit code
    #[arg(short, long)]
    pub quiet: bool,
    /// The verdicts as a JSON array, one for each path
    #[arg(long, conflicts_with = "quiet")]
    pub json: bool,
    #[command(flatten)]
    pub geometry: Geometry,
}

/// Runs `inspect`.
pub fn inspect(arguments: &Inspect) -> Result<ExitCode> {
    let survey = Survey::new(&arguments.path, &arguments.geometry)?;
    if arguments.json {
        return output::json(&json::value(&survey)).map(|()| ExitCode::SUCCESS);
    }
    table::print(&survey, &arguments.choice)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs `verify`. What cannot be looked at does not keep it from the rest.
pub fn verify(arguments: &Verify) -> Result<ExitCode> {
    let (mut whole, mut trouble, mut verdicts, mut printed) = (true, None, Vec::new(), Ok(()));
    for path in &arguments.paths {
        let survey = match Survey::new(path, &arguments.geometry) {
            Ok(survey) => survey,
            Err(failure) => {
                verdicts.push(json::no_verdict(path, &failure));
                // All but the last are told here; that one `main` tells.
                trouble.replace(failure).iter().for_each(crate::tell);
                continue;
            }
        };
        whole &= survey.is_whole();
        if arguments.json {
            verdicts.push(json::verdict(path, &survey));
        } else if !arguments.quiet {
            printed = printed.and_then(|()| table::verdict(path, &survey));
        }
    }
    if arguments.json {
        printed = output::json(&verdicts.into());
    }
    match (trouble, output::answered(printed, whole)) {
        (Some(trouble), Ok(_)) => Err(trouble),
        (_, answered) => answered,
    }
}
