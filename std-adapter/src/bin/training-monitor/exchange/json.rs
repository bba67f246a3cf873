//! Reads and writes tensors as JSON: `{"tensors": {"model.bias": {"type": "f32", "shape": [2], "data": [0.5, "NaN"]}},
//! "training_monitor": {…}}`.
//!
//! Each element is written as a decimal number with the exact value. A JSON parser that reads all digits of integers,
//! and floats as doubles, therefore reads the same bits.

use super::metadata::RunMetadata;
use super::{NamedTensor, TensorFile};
use crate::elements::{parse_type, push_json, to_json};
use crate::error::{CliError, Result};
use crate::files::describe_content;
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
    /// The name of the element type. It can be omitted for f32.
    #[serde(rename = "type", default = "f32_name")]
    element_type: String,
    shape: Vec<usize>,
    /// The elements. Each element is a number, a bool, or a string for a special value such as NaN. The type is `Value`
    /// and not an untagged enum. In an untagged enum, serde rejects numbers if a dependency enables the feature
    /// `arbitrary_precision` of `serde_json`.
    data: Vec<Value>,
}

fn f32_name() -> String {
    "f32".to_owned()
}

pub fn write(file: &TensorFile) -> Result<Vec<u8>> {
    let mut tensors = serde_json::Map::new();
    for tensor in &file.tensors {
        let data = tensor.elements().map(|element| to_json(tensor.element_type, element)).collect();
        let array = Array { element_type: tensor.element_type.to_string(), shape: tensor.sides(), data };
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
        let invalid = |reason: String| CliError::content(path, format!("tensor {name}{reason}"));
        let array: Array = serde_json::from_value(array).map_err(|error| invalid(format!(": {error}")))?;
        let Some(element_type) = parse_type(&array.element_type) else {
            let found = &array.element_type;
            return Err(invalid(format!(" has the type {found:?}, which a checkpoint does not have")));
        };
        let mut bytes = Vec::new();
        for (index, value) in array.data.iter().enumerate() {
            let reason = || invalid(format!(": element {index} is {value}, not a {element_type}"));
            push_json(element_type, value, &mut bytes).ok_or_else(reason)?;
        }
        tensors.push(NamedTensor::new(path, name, element_type, &array.shape, bytes)?);
    }
    Ok(TensorFile { tensors, metadata: file.training_monitor })
}
