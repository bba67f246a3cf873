//! Reads and writes NumPy's `.npz` files, which are zip archives of arrays. The metadata is one more array of bytes.
//! NumPy's function `savez` preserves such an array.

use super::metadata::{NAME, RunMetadata};
use super::{NamedTensor, TensorFile};
use crate::error::{CliError, Result};
use ndarray::{Array1, ArrayD, ArrayViewD, IxDyn};
use ndarray_npy::{NpzReader, NpzWriter, ReadNpyError, ReadNpzError};
use std::io::Cursor;
use std::path::Path;

pub fn write(file: &TensorFile) -> Result<Vec<u8>> {
    let mut npz = NpzWriter::new(Cursor::new(Vec::new()));
    for tensor in &file.tensors {
        let array = ArrayViewD::from_shape(IxDyn(&tensor.shape), &tensor.elements).map_err(CliError::other)?;
        npz.add_array(tensor.name.as_str(), &array).map_err(CliError::other)?;
    }
    if let Some(metadata) = &file.metadata {
        npz.add_array(NAME, &Array1::from(metadata.to_json()?.into_bytes())).map_err(CliError::other)?;
    }
    npz.finish().map(Cursor::into_inner).map_err(CliError::other)
}

pub fn read(path: &Path, bytes: &[u8]) -> Result<TensorFile> {
    let invalid = |error: ReadNpzError| CliError::content(path, format!("invalid or truncated npz file: {error}"));
    let mut npz = NpzReader::new(Cursor::new(bytes)).map_err(invalid)?;
    let mut file = TensorFile { tensors: vec![], metadata: None };
    for (index, name) in npz.names().map_err(invalid)?.into_iter().enumerate() {
        if name == NAME {
            let metadata: Array1<u8> = npz.by_index(index).map_err(invalid)?;
            let json = String::from_utf8(metadata.to_vec()).map_err(|error| CliError::content(path, error))?;
            file.metadata = Some(RunMetadata::parse(path, &json)?);
            continue;
        }
        let array: ArrayD<f32> = npz.by_index(index).map_err(|error| match error {
            ReadNpzError::Npy(ReadNpyError::WrongDescriptor(found)) => {
                let reason = format!(
                    "{name} has the type {found}, but checkpoints hold float32; convert the array with `astype(\"<f4\")`"
                );
                CliError::content(path, reason)
            }
            error => CliError::content(path, format!("{name}: {error}")),
        })?;
        // The iterator visits the elements in row-major order, even if the file stores the elements in column-major
        // order.
        let (shape, elements) = (array.shape().to_vec(), array.iter().copied().collect());
        file.tensors.push(NamedTensor::new(path, name, shape, elements)?);
    }
    Ok(file)
}
