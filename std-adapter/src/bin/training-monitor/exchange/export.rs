//! The command `export`. It writes the tensors of a checkpoint to a file.

use super::{Format, TensorFile};
use crate::error::Result;
use crate::files;
use crate::inventory::flash_dump::Geometry;
use crate::inventory::{Inventory, Selection};
use crate::numbers::count;
use crate::output;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Writes the tensors of a checkpoint to a file for Python or other programs.
///
/// In the file, a tensor has the name OBJECT.TENSOR. The file preserves the types, the shapes and all bits of all
/// elements. In an npz file, a tensor of bf16 has NumPy's type V2, because NumPy has no bf16. Every format except CSV
/// also contains the state of the run, so that `import` can restore the whole checkpoint. From a directory or a flash
/// dump, the command exports the newest checkpoint unless an option selects another one.
#[derive(clap::Args, Debug)]
pub struct Export {
    /// The path of the checkpoint: a file, a directory of checkpoints, or a flash dump.
    pub path: PathBuf,
    /// The format of the file
    #[arg(long, value_name = "FORMAT")]
    pub to: Format,
    /// The file to write, or `-` for standard output. By default, the name consists of PATH and the step number, and
    /// the file is in the current directory.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub selection: Selection,
    #[command(flatten)]
    pub geometry: Geometry,
}

/// Runs the command `export`.
pub fn export(arguments: &Export) -> Result<ExitCode> {
    let Export { path, to, .. } = arguments;
    let inventory = Inventory::new(path, &arguments.geometry)?;
    let stream = inventory.select(&arguments.selection)?.merged_stream();
    let bytes = TensorFile::from_stream(path, &stream)?.write(*to)?;
    if arguments.output.as_deref() == Some(Path::new("-")) {
        return output::write_bytes(&bytes).map(|()| ExitCode::SUCCESS);
    }
    let step = stream.header.step;
    let file = arguments.output.clone().unwrap_or_else(|| {
        let stem = path.file_stem().unwrap_or("checkpoint".as_ref()).to_string_lossy();
        PathBuf::from(format!("{stem}_{step}.{}", to.extension()))
    });
    files::write(&file, &bytes)?;
    let (tensors, elements) = stream.tensors().fold((0, 0), |(n, sum), (_, tensor)| (n + 1, sum + tensor.len()));
    let (tensors, elements) = (count(tensors, "tensor"), count(elements, "element"));
    output::print_line(format_args!("wrote step {step} ({tensors}, {elements}) to {}", file.display()))?;
    Ok(ExitCode::SUCCESS)
}
