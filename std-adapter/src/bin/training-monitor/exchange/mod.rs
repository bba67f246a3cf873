//! Converts checkpoints to and from the file formats of other programs. The conversion preserves the names, the types,
//! the shapes and all bits of all elements.
//!
//! In a file of tensors, a tensor has the name `object.tensor`. Such a file cannot express the run, the handlers, the
//! serde values, the metadata of the program and the score. Therefore `export` stores them beside the tensors as
//! [`RunMetadata`]. The metadata contain a *template*, which is the checkpoint without its elements. If a checkpoint is
//! exported and imported with this metadata, the result has the same bytes. CSV cannot hold the metadata, and other
//! programs can drop them. In both cases, `import --template` takes the template from a checkpoint.

mod csv;
pub mod export;
pub mod import;
mod json;
mod metadata;
mod npz;
mod safetensors;

use crate::error::{CliError, Result};
use crate::files::{self, describe_content};
use crate::numbers::count;
use crate::stream::{Stream, Tensor};
use metadata::RunMetadata;
use std::collections::HashSet;
use std::path::Path;
use training_monitor::checkpoint::{ElementType, MAX_RANK};

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

/// The content of a file of tensors: the tensors and, in all formats except CSV, optional metadata.
struct TensorFile {
    tensors: Vec<NamedTensor>,
    metadata: Option<RunMetadata>,
}

/// A tensor with the name that it has in an exported file: the name of the object, a dot, and the name of the tensor.
struct NamedTensor {
    name: String,
    element_type: ElementType,
    shape: Vec<u32>,
    /// The elements in row-major order and in little-endian byte order.
    bytes: Vec<u8>,
}

impl NamedTensor {
    /// Creates a tensor from a file. Returns an error if a checkpoint cannot contain it.
    fn new(
        path: &Path,
        name: String,
        element_type: ElementType,
        shape: &[usize],
        bytes: Vec<u8>,
    ) -> Result<NamedTensor> {
        let error = |reason: String| Err(CliError::content(path, format!("tensor {name} {reason}")));
        if shape.len() > MAX_RANK {
            return error(format!("has {} dimensions; a checkpoint allows at most {MAX_RANK}", shape.len()));
        }
        let sides: std::result::Result<Vec<u32>, _> = shape.iter().map(|side| u32::try_from(*side)).collect();
        let Ok(sides) = sides else {
            return error(format!("has the shape {shape:?}; a dimension must be less than 2³²"));
        };
        let elements = shape.iter().try_fold(1_usize, |product, side| product.checked_mul(*side));
        let elements = if shape.contains(&0) { Some(0) } else { elements };
        let size = element_type.size() as usize;
        if elements.and_then(|elements| elements.checked_mul(size)) != Some(bytes.len()) {
            let found = bytes.len() / size;
            return error(format!("has the shape {shape:?}, which does not match its {}", count(found, "element")));
        }
        if element_type == ElementType::Bool && bytes.iter().any(|byte| *byte > 1) {
            return error("has the type bool, but an element is neither 0 nor 1".to_owned());
        }
        Ok(NamedTensor { name, element_type, shape: sides, bytes })
    }

    /// Returns the dimensions as the libraries of the file formats expect them.
    fn sides(&self) -> Vec<usize> {
        self.shape.iter().map(|side| *side as usize).collect()
    }

    /// Returns the bytes of each element.
    fn elements(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks_exact(self.element_type.size() as usize)
    }
}

/// Returns the name of a tensor in a file of tensors.
fn file_name_of(object: &str, tensor: &Tensor) -> String {
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
            let Tensor { element_type, shape, bytes, .. } = tensor.clone();
            tensors.push(NamedTensor { name, element_type, shape, bytes });
        }
        Ok(TensorFile { tensors, metadata: Some(RunMetadata::new(path, stream)?) })
    }

    fn write(&self, format: Format) -> Result<Vec<u8>> {
        match format {
            Format::Safetensors => safetensors::write(self),
            Format::Npz => npz::write(self),
            Format::Json => json::write(self),
            Format::Csv => csv::write(self),
        }
    }

    /// Reads a file of tensors in any supported format. The function detects the format from the content.
    fn read(path: &Path, bytes: &[u8]) -> Result<TensorFile> {
        let first_visible = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
        if bytes.starts_with(b"PK\x03\x04") {
            npz::read(path, bytes)
        } else if bytes.get(8) == Some(&b'{') && first_visible != Some(&b'{') {
            safetensors::read(path, bytes)
        } else if first_visible == Some(&b'{') {
            json::read(path, bytes)
        } else if bytes.starts_with(csv::HEADER.as_bytes()) {
            csv::read(path, bytes)
        } else {
            let expected = "a file of tensors (safetensors, npz, json or csv)";
            Err(CliError::WrongFile { path: path.to_owned(), expected, found: describe_content(bytes) })
        }
    }
}

#[cfg(test)]
mod tests;
