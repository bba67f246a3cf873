//! The command `export`. It writes the tensors of a checkpoint to a file.

use super::{Format, TensorFile, commit};
use crate::tool::EXIT_SUCCESS;
use crate::tool::error::{CliError, Result};
use crate::tool::files::{OutputFile, is_standard_stream};
use crate::tool::inventory::flash_dump::Geometry;
use crate::tool::inventory::{Inventory, Selection};
use crate::tool::numbers::count;
use crate::tool::output::print_line;
use std::path::PathBuf;

/// Writes the tensors of a checkpoint to a file for Python or other programs.
///
/// In the file, a tensor has the name OBJECT.TENSOR. The file preserves the types, the shapes and all bits of all
/// elements. In an npz file, a tensor of bf16 has NumPy's type V2, because NumPy has no bf16. Every format except CSV
/// also contains the state of the run, so that `import` can restore the whole checkpoint. From a directory or a flash
/// dump, the command exports the newest checkpoint unless an option selects another one.
#[derive(clap::Args, Debug)]
pub struct Export {
    /// The path of the checkpoint: a file, a directory of checkpoints, or a flash dump; `-` for standard input
    pub path: PathBuf,
    /// The format of the file. By default, the ending of FILE selects it.
    #[arg(long, value_name = "FORMAT")]
    pub to: Option<Format>,
    /// The file to write, or `-` for standard output. By default, the name consists of PATH and the step number, and
    /// the file is in the current directory.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Replace an existing file
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub selection: Selection,
    #[command(flatten)]
    pub geometry: Geometry,
}

/// Runs the command `export`.
pub fn export(arguments: &Export) -> Result<u8> {
    let Export { path, output, force, .. } = arguments;
    let format = arguments.to.or_else(|| Format::from_extension(output.as_ref()?)).ok_or_else(|| {
        CliError::usage("the format is unknown: use --to, or a file with the ending .safetensors, .npz, .json or .csv")
    })?;
    let inventory = Inventory::new(path, &arguments.geometry)?;
    let stream = inventory.select(&arguments.selection)?.merged_stream();
    let step = stream.header.step;
    let file = output.clone().unwrap_or_else(|| {
        let stem = path.file_stem().filter(|_| !is_standard_stream(path));
        let stem = stem.unwrap_or("checkpoint".as_ref()).to_string_lossy();
        PathBuf::from(format!("{stem}_{step}.{}", format.extension()))
    });
    let mut output = OutputFile::create(&file, &[path], *force)?;
    let is_regular_file = output.is_regular_file();
    let written = TensorFile::from_stream(path, &stream)?.write(format, &mut output);
    commit(output, written)?;
    if is_regular_file {
        let (tensors, elements) = stream.tensors().fold((0, 0), |(n, sum), (_, tensor)| (n + 1, sum + tensor.len()));
        let (tensors, elements) = (count(tensors, "tensor"), count(elements as usize, "element"));
        print_line(format_args!("wrote step {step} ({tensors}, {elements}) to {}", file.display()))?;
    }
    Ok(EXIT_SUCCESS)
}
