//! `export`: a checkpoint as a file of tensors.

use super::{Bundle, Format};
use crate::failure::{self, Result};
use crate::output;
use crate::survey::image::Geometry;
use crate::survey::{Choice, Survey};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Writes a checkpoint's tensors to a file for Python, a spreadsheet, or anything else
///
/// Tensors are called object.tensor there; shapes and every bit of every value are kept. Run, handlers and whole values
/// travel in a note that `import` reads (not in CSV). From a directory or a flash dump the newest checkpoint is taken.
#[derive(clap::Args, Debug)]
pub struct Export {
    /// A checkpoint, a directory of checkpoints, or a flash dump
    pub path: PathBuf,
    /// The format of the file
    #[arg(long, value_name = "FORMAT")]
    pub to: Format,
    /// The file, `-` for standard output; if not given, named after PATH, in the current directory
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub choice: Choice,
    #[command(flatten)]
    pub geometry: Geometry,
}

/// Runs `export`.
pub fn export(arguments: &Export) -> Result<ExitCode> {
    let Export { path, to, .. } = arguments;
    let survey = Survey::new(path, &arguments.geometry)?;
    let stream = survey.choose(&arguments.choice)?.stream();
    let bytes = Bundle::of(path, &stream)?.write(*to)?;
    if arguments.output.as_deref() == Some(Path::new("-")) {
        return output::bytes(&bytes).map(|()| ExitCode::SUCCESS);
    }
    let file = arguments.output.clone().unwrap_or_else(|| {
        let stem = path.file_stem().unwrap_or("checkpoint".as_ref()).to_string_lossy();
        PathBuf::from(format!("{stem}_{}.{}", stream.head.step, to.extension()))
    });
    failure::write(&file, &bytes)?;
    let (count, elements) = stream.tensors().fold((0, 0), |(n, sum), (_, tensor)| (n + 1, sum + tensor.elements.len()));
    output::line(format_args!("step {}: {count} tensors, {elements} values, to {}", stream.head.step, file.display()))?;
    Ok(ExitCode::SUCCESS)
}
