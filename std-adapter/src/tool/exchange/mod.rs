//! Converts checkpoints to and from the file formats of other programs. The conversion preserves the names, the types,
//! the shapes and all bits of all elements.
//!
//! In a file of tensors, a tensor has the name `object.tensor`. Such a file cannot express the run, the handlers, the
//! serde values, the metadata of the program and the score. Therefore `export` stores them beside the tensors as
//! `RunMetadata`. The metadata contain a *template*, which is the checkpoint without its elements. If a checkpoint is
//! exported and imported with this metadata, the result has the same bytes. CSV cannot hold the metadata, and other
//! programs can drop them. In both cases, `import --template` takes the template from a checkpoint.

mod csv;
mod edit;
pub mod export;
pub mod import;
mod importer;
pub use importer::Layout;
mod json;
mod metadata;
mod npy;
mod npz;
mod safetensors;
mod transpose;
mod window;

use crate::tool::error::{CliError, Result};
use crate::tool::files::{self, OutputFile, describe_content};
use crate::tool::inventory::complete_text;
use crate::tool::stream::{Source, Stream, Tensor, WriteError};
use importer::Importer;
use metadata::RunMetadata;
use std::collections::HashSet;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// The number of elements whose text is written at once. The text stays in the cache of the processor.
const TEXT_BLOCK: usize = 1024;

/// The format of a file of tensors.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Format {
    /// Hugging Face safetensors, for `safetensors.numpy.load_file`
    Safetensors,
    /// NumPy archive, for `numpy.load`
    Npz,
    /// One JSON object; NaN and infinities are strings
    Json,
    /// One line for each element: tensor, type, shape, index, value
    Csv,
}

impl Format {
    /// Returns the format that the ending of a file's name selects.
    fn from_extension(path: &Path) -> Option<Format> {
        let extension = files::extension(path)?;
        <Format as clap::ValueEnum>::value_variants().iter().copied().find(|format| format.extension() == extension)
    }

    const fn extension(self) -> &'static str {
        match self {
            Format::Safetensors => "safetensors",
            Format::Npz => "npz",
            Format::Json => "json",
            Format::Csv => "csv",
        }
    }
}

/// The content of a file of tensors: the tensors and, in all formats except CSV, optional metadata. The name of a tensor
/// consists of the name of the object, a dot, and the name of the tensor.
struct TensorFile {
    tensors: Vec<Tensor>,
    metadata: Option<RunMetadata>,
}

/// Returns the name of a tensor in a file of tensors.
pub fn file_name_of(object: &str, tensor: &Tensor) -> String {
    format!("{object}.{}", tensor.name)
}

impl TensorFile {
    fn from_stream(path: &Path, stream: &Stream) -> Result<TensorFile> {
        let (mut tensors, mut names) = (Vec::new(), HashSet::new());
        for (object, tensor) in stream.tensors() {
            let name = file_name_of(object, tensor);
            if !names.insert(name.clone()) {
                return Err(CliError::content(path, format!("two tensors would have the name {name} in the file")));
            }
            tensors.push(Tensor { name, ..tensor.clone() });
        }
        Ok(TensorFile { tensors, metadata: Some(RunMetadata::new(path, stream)?) })
    }

    fn write(&self, format: Format, output: &mut dyn Write) -> std::result::Result<(), WriteError> {
        match format {
            Format::Safetensors => safetensors::write(self, output),
            Format::Npz => npz::write(self, output),
            Format::Json => json::write(self, output),
            Format::Csv => csv::write(self, output),
        }
    }

    /// Reads a file of tensors in any supported format. The function detects the format from the content. The elements of
    /// all tensors are read once, to check them and to compute their statistics.
    fn read(path: &Path, source: &Arc<Source>) -> Result<TensorFile> {
        let start = source.start()?;
        let importer = Importer::new(path, source);
        match FileKind::of(&start) {
            Some(FileKind::Npz) => npz::read(importer),
            Some(FileKind::Safetensors) => safetensors::read(importer),
            Some(FileKind::Json) => json::read(importer),
            Some(FileKind::Csv) => csv::read(importer),
            _ => {
                let expected = "a file of tensors (safetensors, npz, json or csv)";
                let found = describe_content(complete_text(&start));
                Err(CliError::WrongFile { path: path.to_owned(), expected, found })
            }
        }
    }
}

/// The kinds of files that contain one checkpoint or the tensors of one checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum FileKind {
    Checkpoint,
    Npz,
    Safetensors,
    Json,
    Csv,
}

impl FileKind {
    /// Recognises a file by its first bytes.
    fn of(start: &[u8]) -> Option<FileKind> {
        let first_visible = start.iter().find(|byte| !byte.is_ascii_whitespace());
        if start.starts_with(b"TMCK") {
            Some(FileKind::Checkpoint)
        } else if start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06") {
            // The second one is an archive without files.
            Some(FileKind::Npz)
        } else if start.get(8) == Some(&b'{') && first_visible != Some(&b'{') {
            Some(FileKind::Safetensors)
        } else if first_visible == Some(&b'{') {
            Some(FileKind::Json)
        } else if start.starts_with(csv::HEADER.as_bytes()) {
            Some(FileKind::Csv)
        } else {
            None
        }
    }
}

/// Reads a file of tensors in the form of a checkpoint. Returns `None` if the file is not a file of tensors, for example
/// because it is a checkpoint. The result also says whether the file has run metadata.
pub fn read_as_stream(path: &Path, source: &Arc<Source>) -> Result<Option<(Stream, bool)>> {
    if FileKind::of(&source.start()?).is_none_or(|kind| kind == FileKind::Checkpoint) {
        return Ok(None);
    }
    let file = TensorFile::read(path, source)?;
    let has_metadata = file.metadata.is_some();
    Ok(Some((import::to_stream(path, file, None, import::DEFAULT_OBJECT)?, has_metadata)))
}

/// Completes the output of a command, unless it was not written completely.
fn commit<T>(output: OutputFile, written: std::result::Result<T, WriteError>) -> Result<T> {
    match written {
        Ok(value) => output.commit().map(|()| value),
        Err(WriteError::Output(cause)) => output.check(Err(cause)),
        Err(WriteError::Input(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests;
