//! `{"tensors": {"model.bias": {"shape": [2], "data": [0.5, "NaN"]}}, "training_monitor": {…}}`.
//!
//! Each number is the exact value, as a double: any parser that rounds correctly gives the same bits back.

use super::note::Note;
use super::{Bundle, Named, from_word, word};
use crate::failure::{Failure, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

#[derive(Serialize, Deserialize)]
struct File {
    tensors: serde_json::Map<String, serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    training_monitor: Option<Note>,
}

#[derive(Serialize, Deserialize)]
struct Array {
    shape: Vec<usize>,
    data: Vec<Number>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Number {
    Finite(f64),
    Word(String),
}

impl Number {
    fn of(value: f32) -> Number {
        word(value).map_or(Number::Finite(f64::from(value)), Number::Word)
    }

    fn value(&self) -> Option<f32> {
        match self {
            Number::Finite(value) => Some(*value as f32),
            Number::Word(word) => from_word(word),
        }
    }
}

pub fn write(bundle: &Bundle) -> Result<Vec<u8>> {
    let mut tensors = serde_json::Map::new();
    for tensor in &bundle.tensors {
        let data = tensor.elements.iter().map(|element| Number::of(*element)).collect();
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
    let file: File = serde_json::from_slice(bytes).map_err(wrong)?;
    let mut tensors = Vec::new();
    for (key, array) in file.tensors {
        let Array { shape, data } =
            serde_json::from_value(array).map_err(|error| Failure::content(path, format!("{key}: {error}")))?;
        let elements: Option<Vec<f32>> = data.iter().map(Number::value).collect();
        let elements =
            elements.ok_or_else(|| Failure::content(path, format!("{key} has a string that is no number")))?;
        tensors.push(Named::new(path, key, shape, elements)?);
    }
    Ok(Bundle { tensors, note: file.training_monitor })
}
