//! safetensors, by its own library. The note is the metadata's one entry, so that the file has one form.

use super::note::{NAME, Note};
use super::{Bundle, Named};
use crate::failure::{Failure, Result};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::collections::HashMap;
use std::path::Path;

pub fn write(bundle: &Bundle) -> Result<Vec<u8>> {
    let payloads: Vec<Vec<u8>> = bundle.tensors.iter().map(Named::bytes).collect();
    let views = bundle.tensors.iter().zip(&payloads).map(|(tensor, bytes)| {
        let view = TensorView::new(Dtype::F32, tensor.shape.clone(), bytes).map_err(Failure::other)?;
        Ok((tensor.key.as_str(), view))
    });
    let views = views.collect::<Result<Vec<_>>>()?;
    let note = bundle.note.as_ref().map(Note::text).transpose()?;
    let metadata = note.map(|note| HashMap::from([(NAME.to_owned(), note)]));
    safetensors::serialize(views, metadata).map_err(Failure::other)
}

pub fn read(path: &Path, bytes: &[u8]) -> Result<Bundle> {
    let wrong = |error| Failure::content(path, format!("not a whole safetensors file: {error}"));
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(wrong)?;
    let note = metadata.metadata().as_ref().and_then(|metadata| metadata.get(NAME));
    let note = note.map(|note| Note::parse(path, note)).transpose()?;
    let file = SafeTensors::deserialize(bytes).map_err(wrong)?;
    let mut tensors = Vec::new();
    for key in metadata.offset_keys() {
        let view = file.tensor(&key).map_err(wrong)?;
        if view.dtype() != Dtype::F32 {
            let why = format!("{key} is {:?}; checkpoints hold float32", view.dtype());
            return Err(Failure::content(path, why));
        }
        let (words, _) = view.data().as_chunks::<4>();
        let elements = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
        tensors.push(Named::new(path, key, view.shape().to_vec(), elements)?);
    }
    Ok(Bundle { tensors, note })
}
