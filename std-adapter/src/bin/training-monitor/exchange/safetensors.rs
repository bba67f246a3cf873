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
use training_monitor::checkpoint::ElementType;

/// The type that safetensors has for each element type.
const fn dtype(element_type: ElementType) -> Dtype {
    match element_type {
        ElementType::F32 => Dtype::F32,
        ElementType::F64 => Dtype::F64,
        ElementType::F16 => Dtype::F16,
        ElementType::Bf16 => Dtype::BF16,
        ElementType::I8 => Dtype::I8,
        ElementType::U8 => Dtype::U8,
        ElementType::I16 => Dtype::I16,
        ElementType::U16 => Dtype::U16,
        ElementType::I32 => Dtype::I32,
        ElementType::U32 => Dtype::U32,
        ElementType::I64 => Dtype::I64,
        ElementType::U64 => Dtype::U64,
        ElementType::Bool => Dtype::BOOL,
    }
}

pub fn write(file: &TensorFile) -> Result<Vec<u8>> {
    let views = file.tensors.iter().map(|tensor| {
        let view = TensorView::new(dtype(tensor.element_type), tensor.sides(), &tensor.bytes);
        Ok((tensor.name.as_str(), view.map_err(CliError::other)?))
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
        let Some(element_type) = ElementType::ALL.into_iter().find(|known| dtype(*known) == view.dtype()) else {
            let reason = format!("tensor {name} has the type {}, which a checkpoint does not have", view.dtype());
            return Err(CliError::content(path, reason));
        };
        tensors.push(NamedTensor::new(path, name, element_type, view.shape(), view.data().to_vec())?);
    }
    Ok(TensorFile { tensors, metadata })
}
