//! NumPy's `.npz`: a zip archive of arrays. The note is an array of bytes among them; `numpy.savez` keeps what it is given.

use super::note::{NAME, Note};
use super::{Bundle, Named};
use crate::failure::{Failure, Result};
use ndarray::{Array1, ArrayD, ArrayViewD, IxDyn};
use ndarray_npy::{NpzReader, NpzWriter, ReadNpyError, ReadNpzError};
use std::io::Cursor;
use std::path::Path;

pub fn write(bundle: &Bundle) -> Result<Vec<u8>> {
    let mut npz = NpzWriter::new(Cursor::new(Vec::new()));
    for tensor in &bundle.tensors {
        let array = ArrayViewD::from_shape(IxDyn(&tensor.shape), &tensor.elements).map_err(Failure::other)?;
        npz.add_array(tensor.key.as_str(), &array).map_err(Failure::other)?;
    }
    if let Some(note) = &bundle.note {
        npz.add_array(NAME, &Array1::from(note.text()?.into_bytes())).map_err(Failure::other)?;
    }
    npz.finish().map(Cursor::into_inner).map_err(Failure::other)
}

pub fn read(path: &Path, bytes: &[u8]) -> Result<Bundle> {
    let wrong = |error: ReadNpzError| Failure::content(path, format!("not a whole npz file: {error}"));
    let mut npz = NpzReader::new(Cursor::new(bytes)).map_err(wrong)?;
    let mut bundle = Bundle { tensors: vec![], note: None };
    for (index, key) in npz.names().map_err(wrong)?.into_iter().enumerate() {
        if key == NAME {
            let note: Array1<u8> = npz.by_index(index).map_err(wrong)?;
            let text = String::from_utf8(note.to_vec()).map_err(|error| Failure::content(path, error))?;
            bundle.note = Some(Note::parse(path, &text)?);
            continue;
        }
        let array: ArrayD<f32> = npz.by_index(index).map_err(|error| match error {
            ReadNpzError::Npy(ReadNpyError::WrongDescriptor(found)) => {
                let why = format!("{key} is {found}; checkpoints hold float32: `{key}.astype(\"<f4\")`");
                Failure::content(path, why)
            }
            error => Failure::content(path, format!("{key}: {error}")),
        })?;
        // In the order of the indices, whatever the order in memory.
        let (shape, elements) = (array.shape().to_vec(), array.iter().copied().collect());
        bundle.tensors.push(Named::new(path, key, shape, elements)?);
    }
    Ok(bundle)
}
