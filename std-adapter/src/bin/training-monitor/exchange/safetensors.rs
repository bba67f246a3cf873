//! Reads and writes the safetensors format with the crate `safetensors`. The file contains a single metadata entry with
//! the state of the run. With several entries, the crate would write them in a random order, and equal checkpoints
//! would yield different files.

use super::metadata::{NAME, RunMetadata};
use super::{NamedTensor, TensorFile};
use crate::error::{CliError, Result};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::collections::HashMap;
use std::path::Path;

pub fn write(file: &TensorFile) -> Result<Vec<u8>> {
    let payloads: Vec<Vec<u8>> = file.tensors.iter().map(NamedTensor::to_bytes).collect();
    let views = file.tensors.iter().zip(&payloads).map(|(tensor, bytes)| {
        let view = TensorView::new(Dtype::F32, tensor.shape.clone(), bytes).map_err(CliError::other)?;
        Ok((tensor.name.as_str(), view))
    });
    let views = views.collect::<Result<Vec<_>>>()?;
    let metadata = file.metadata.as_ref().map(RunMetadata::to_json).transpose()?;
    let metadata = metadata.map(|json| HashMap::from([(NAME.to_owned(), json)]));
    safetensors::serialize(views, metadata).map_err(CliError::other)
}

pub fn read(path: &Path, bytes: &[u8]) -> Result<TensorFile> {
    let invalid = |error| CliError::content(path, format!("invalid or truncated safetensors file: {error}"));
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(invalid)?;
    let metadata = header.metadata().as_ref().and_then(|entries| entries.get(NAME));
    let metadata = metadata.map(|json| RunMetadata::parse(path, json)).transpose()?;
    let file = SafeTensors::deserialize(bytes).map_err(invalid)?;
    let mut tensors = Vec::new();
    for name in header.offset_keys() {
        let view = file.tensor(&name).map_err(invalid)?;
        if view.dtype() != Dtype::F32 {
            let reason = format!("{name} has the type {:?}, but checkpoints hold float32", view.dtype());
            return Err(CliError::content(path, reason));
        }
        let (words, _) = view.data().as_chunks::<4>();
        let elements = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
        tensors.push(NamedTensor::new(path, name, view.shape().to_vec(), elements)?);
    }
    Ok(TensorFile { tensors, metadata })
}
