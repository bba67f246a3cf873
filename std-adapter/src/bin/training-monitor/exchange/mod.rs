//! Converts checkpoints to and from the file formats of other programs. The conversion preserves the names, the shapes
//! and all bits of all elements.
//!
//! In a file of tensors, a tensor has the name `object.tensor`. Such a file cannot express the run, the handlers, the
//! serde values and the score. Therefore `export` stores them beside the tensors as [`RunMetadata`]. The metadata
//! contain a *template*, which is the checkpoint without its elements. If a checkpoint is exported and imported with
//! this metadata, the result has the same bytes. CSV cannot hold the metadata, and other programs can drop them. In
//! both cases,
//! `import --template` takes the template from a checkpoint.

mod csv;
pub mod export;
pub mod import;
mod json;
mod metadata;
mod npz;
mod safetensors;

use crate::error::{CliError, Result};
use crate::files::describe_content;
use crate::stream::{Stream, Tensor};
use metadata::RunMetadata;
use std::path::Path;

/// The format of a file of tensors.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Format {
    /// Hugging Face safetensors, for `safetensors.numpy.load_file`
    Safetensors,
    /// NumPy archive, for `numpy.load`
    Npz,
    /// One JSON object; NaN and infinities are strings
    Json,
    /// One line for each element: tensor, shape, index, value
    Csv,
}

impl Format {
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
    shape: Vec<usize>,
    elements: Vec<f32>,
}

impl NamedTensor {
    /// Creates a tensor. Returns an error if the shape does not match the number of elements.
    fn new(path: &Path, name: String, shape: Vec<usize>, elements: Vec<f32>) -> Result<NamedTensor> {
        let expected = shape.iter().try_fold(1_usize, |product, side| product.checked_mul(*side));
        if expected != Some(elements.len()) {
            let reason =
                format!("{name} has the shape {shape:?}, which does not match its {} elements", elements.len());
            return Err(CliError::content(path, reason));
        }
        Ok(NamedTensor { name, shape, elements })
    }

    /// Returns the bytes of the elements in little-endian order.
    fn to_bytes(&self) -> Vec<u8> {
        self.elements.iter().flat_map(|element| element.to_le_bytes()).collect()
    }
}

/// Returns the name of a tensor in a file of tensors.
fn file_name_of(object: &str, tensor: &Tensor) -> String {
    format!("{object}.{}", tensor.name)
}

impl TensorFile {
    fn from_stream(path: &Path, stream: &Stream) -> Result<TensorFile> {
        let mut tensors = Vec::<NamedTensor>::new();
        for (object, tensor) in stream.tensors() {
            let name = file_name_of(object, tensor);
            if tensors.iter().any(|other| other.name == name) {
                return Err(CliError::content(path, format!("two tensors would have the name {name} in the file")));
            }
            let shape = tensor.shape.iter().map(|side| *side as usize).collect();
            tensors.push(NamedTensor { name, shape, elements: tensor.elements.clone() });
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
mod tests {
    use super::*;
    use crate::stream::{Content, Object, StreamHeader};

    fn stream() -> Stream {
        // A linear congruential generator yields random bits. The bits form f32 values of all kinds: normal and
        // subnormal numbers, infinities and NaN values.
        let mut seed = 1_u32;
        let mut next = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from_bits(seed)
        };
        let special = vec![0.0, -0.0, f32::NAN, f32::from_bits(0xFFC0_1234), f32::INFINITY, f32::NEG_INFINITY];
        let tensor =
            |name: &str, shape: &[u32], elements| Tensor { name: name.to_owned(), shape: shape.to_vec(), elements };
        let net = vec![
            tensor("z.weight", &[100, 20], (0..2000).map(|_| next()).collect()),
            tensor("a.bias", &[2, 3], special),
            tensor("scalar", &[], vec![f32::MIN_POSITIVE / 4.0]),
            tensor("empty", &[0, 4], vec![]),
        ];
        let objects = vec![
            Object { name: "net.2".to_owned(), content: Content::Tensors(net) },
            Object { name: "seed".to_owned(), content: Content::Value(vec![1, 2, 3]) },
        ];
        let header = StreamHeader {
            step: 7,
            sequence: 3,
            score: Some(-0.5),
            score_name: Some("loss".to_owned()),
            ..StreamHeader::default()
        };
        Stream { header, object_names: vec![], objects }
    }

    #[test]
    fn each_format_preserves_all_bits() {
        let path = Path::new("test");
        let stream = stream();
        for format in [Format::Safetensors, Format::Npz, Format::Json] {
            let bytes = TensorFile::from_stream(path, &stream).unwrap().write(format).unwrap();
            let file = TensorFile::read(path, &bytes).unwrap();
            let imported = import::to_stream(path, file, None, "model").unwrap();
            assert_eq!(imported.write().unwrap(), stream.write().unwrap(), "{format:?}");
        }
        let bytes = TensorFile::from_stream(path, &stream).unwrap().write(Format::Csv).unwrap();
        let file = TensorFile::read(path, &bytes).unwrap();
        // CSV has no line for a tensor without elements. Therefore this tensor must come from the template.
        let imported = import::to_stream(path, file, Some(stream.clone()), "model").unwrap();
        assert_eq!(imported.write().unwrap(), stream.write().unwrap());
    }

    #[test]
    fn without_metadata_the_first_dot_ends_the_object_name() {
        let path = Path::new("test");
        let tensor = |name: &str| NamedTensor { name: name.to_owned(), shape: vec![1], elements: vec![1.5] };
        let tensors = vec![tensor("net.fc.weight"), tensor("bias"), tensor("net.fc.bias")];
        let imported = import::to_stream(path, TensorFile { tensors, metadata: None }, None, "model").unwrap();
        let names: Vec<(&str, &str)> =
            imported.tensors().map(|(object, tensor)| (object, tensor.name.as_str())).collect();
        assert_eq!(names, [("net", "fc.weight"), ("net", "fc.bias"), ("model", "bias")]);
    }
}
