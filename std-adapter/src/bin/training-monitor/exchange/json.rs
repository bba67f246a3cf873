//! Reads and writes tensors as JSON: `{"tensors": {"model.bias": {"shape": [2], "data": [0.5, "NaN"]}},
//! "training_monitor": {…}}`.
//!
//! Each element is written as a decimal number with the exact value. A correct JSON parser therefore reads the same
//! bits.

use super::metadata::RunMetadata;
use super::{NamedTensor, TensorFile};
use crate::error::{CliError, Result};
use crate::files::describe_content;
use crate::numbers::{json_f32, parse_json_f32};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;

#[derive(Serialize, Deserialize)]
struct File {
    tensors: serde_json::Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    training_monitor: Option<RunMetadata>,
}

#[derive(Serialize, Deserialize)]
struct Array {
    shape: Vec<usize>,
    /// The elements. Each element is a number, or a string for a special value such as NaN. The type is `Value` and not
    /// an untagged enum. In an untagged enum, serde rejects numbers if a dependency enables the feature
    /// `arbitrary_precision` of `serde_json`.
    data: Vec<Value>,
}

pub fn write(file: &TensorFile) -> Result<Vec<u8>> {
    let mut tensors = serde_json::Map::new();
    for tensor in &file.tensors {
        let data = tensor.elements.iter().map(|element| json_f32(*element)).collect();
        let array = Array { shape: tensor.shape.clone(), data };
        tensors.insert(tensor.name.clone(), serde_json::to_value(array).map_err(CliError::other)?);
    }
    let file = File { tensors, training_monitor: file.metadata.clone() };
    let mut bytes = serde_json::to_vec(&file).map_err(CliError::other)?;
    bytes.push(b'\n');
    Ok(bytes)
}

pub fn read(path: &Path, bytes: &[u8]) -> Result<TensorFile> {
    if bytes.starts_with(br#"{"schema":"training-monitor-history""#) {
        let (expected, found) = ("a file of tensors", describe_content(bytes));
        return Err(CliError::WrongFile { path: path.to_owned(), expected, found });
    }
    let file: File = serde_json::from_slice(bytes)
        .map_err(|error| CliError::content(path, format!("not a JSON file of tensors: {error}")))?;
    let mut tensors = Vec::new();
    for (name, array) in file.tensors {
        let Array { shape, data } =
            serde_json::from_value(array).map_err(|error| CliError::content(path, format!("{name}: {error}")))?;
        let elements: Option<Vec<f32>> = data.iter().map(parse_json_f32).collect();
        let elements =
            elements.ok_or_else(|| CliError::content(path, format!("{name} has an element that is not a number")))?;
        tensors.push(NamedTensor::new(path, name, shape, elements)?);
    }
    Ok(TensorFile { tensors, metadata: file.training_monitor })
}
