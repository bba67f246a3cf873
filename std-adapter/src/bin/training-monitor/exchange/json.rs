//! `{"tensors": {"model.bias": {"shape": [2], "data": [0.5, "NaN"]}}, "training_monitor": {…}}`.
//!
//! Each number is the exact value, as a double: any parser that rounds correctly gives the same bits back.

use super::note::Note;
use super::{Bundle, Named, from_word, word};
use crate::failure::{self, Failure, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;

#[derive(Serialize, Deserialize)]
struct File {
    tensors: serde_json::Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    training_monitor: Option<Note>,
}

#[derive(Serialize, Deserialize)]
struct Array {
    shape: Vec<usize>,
    /// Each a number, or a word for one that JSON has none for. Not an untagged enum: with serde_json's
    /// `arbitrary_precision`, which a dependency may turn on, that refuses numbers.
    data: Vec<Value>,
}

fn of(value: f32) -> Value {
    word(value).map_or_else(|| Value::from(f64::from(value)), Value::String)
}

fn value(of: &Value) -> Option<f32> {
    match of {
        Value::Number(number) => number.as_f64().map(|value| value as f32),
        Value::String(word) => from_word(word),
        _ => None,
    }
}

pub fn write(bundle: &Bundle) -> Result<Vec<u8>> {
    let mut tensors = serde_json::Map::new();
    for tensor in &bundle.tensors {
        let data = tensor.elements.iter().map(|element| of(*element)).collect();
        let array = Array { shape: tensor.shape.clone(), data };
        tensors.insert(tensor.key.clone(), serde_json::to_value(array).map_err(Failure::other)?);
    }
    let note = bundle.note.as_ref().map(Note::text).transpose()?;
    let training_monitor = note.map(|text| serde_json::from_str(&text)).transpose().map_err(Failure::other)?;
    let mut bytes = serde_json::to_vec(&File { tensors, training_monitor }).map_err(Failure::other)?;
    bytes.push(b'\n');
    Ok(bytes)
}

pub fn read(path: &Path, bytes: &[u8]) -> Result<Bundle> {
    let wrong = |error: serde_json::Error| Failure::content(path, format!("not a JSON file of tensors: {error}"));
    if bytes.starts_with(br#"{"schema":"training-monitor-history""#) {
        let (wanted, found) = ("a file of tensors", failure::looks_like(bytes));
        return Err(Failure::WrongFile { path: path.to_owned(), wanted, found });
    }
    let file: File = serde_json::from_slice(bytes).map_err(wrong)?;
    let mut tensors = Vec::new();
    for (key, array) in file.tensors {
        let Array { shape, data } =
            serde_json::from_value(array).map_err(|error| Failure::content(path, format!("{key}: {error}")))?;
        let elements: Option<Vec<f32>> = data.iter().map(value).collect();
        let elements =
            elements.ok_or_else(|| Failure::content(path, format!("{key} has an element that is no number")))?;
        tensors.push(Named::new(path, key, shape, elements)?);
    }
    Ok(Bundle { tensors, note: file.training_monitor })
}
