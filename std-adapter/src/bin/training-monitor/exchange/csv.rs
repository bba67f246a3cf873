//! A line an element: `tensor,shape,index,value`, row-major, the shape as `32x64`. For spreadsheets and eyes.
//!
//! There is no place for the note, and a tensor without elements has no line.

use super::{Bundle, Named, from_word, word};
use crate::failure::{Failure, Result};
use std::path::Path;

/// The first line.
pub const HEADER: &str = "tensor,shape,index,value";

pub fn write(bundle: &Bundle) -> Result<Vec<u8>> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(HEADER.split(',')).map_err(Failure::other)?;
    for tensor in &bundle.tensors {
        let shape: Vec<String> = tensor.shape.iter().map(usize::to_string).collect();
        let shape = shape.join("x");
        for (index, element) in tensor.elements.iter().enumerate() {
            // The shortest text that is read as the same f32.
            let value = word(*element).unwrap_or_else(|| format!("{element:?}"));
            csv.write_record([&tensor.key, &shape, &index.to_string(), &value]).map_err(Failure::other)?;
        }
    }
    csv.into_inner().map_err(|error| Failure::other(error.into_error()))
}

pub fn read(path: &Path, bytes: &[u8]) -> Result<Bundle> {
    let mut tensors = Vec::<Named>::new();
    for record in csv::Reader::from_reader(bytes).into_records() {
        let record = record.map_err(|error| Failure::content(path, error))?;
        let line = record.position().map_or(0, csv::Position::line);
        let wrong = |what: &str| Failure::content(path, format!("line {line}: {what}"));
        let (Some(key), Some(shape), Some(index), Some(value)) =
            (record.get(0), record.get(1), record.get(2), record.get(3))
        else {
            return Err(wrong("not four fields"));
        };
        let value =
            from_word(value).or_else(|| value.trim().parse().ok()).ok_or_else(|| wrong("the value is no number"))?;
        if tensors.last().is_none_or(|tensor| tensor.key != key) {
            let sides: std::result::Result<Vec<usize>, _> =
                shape.split('x').filter(|side| !side.is_empty()).map(str::parse).collect();
            let shape = sides.map_err(|_| wrong("the shape is not like 32x64"))?;
            tensors.push(Named { key: key.to_owned(), shape, elements: vec![] });
        }
        if let Some(tensor) = tensors.last_mut() {
            if index.parse() != Ok(tensor.elements.len()) {
                return Err(wrong("the elements of a tensor are not in the order of their indices"));
            }
            tensor.elements.push(value);
        }
    }
    let whole = tensors.into_iter().map(|Named { key, shape, elements }| Named::new(path, key, shape, elements));
    Ok(Bundle { tensors: whole.collect::<Result<_>>()?, note: None })
}
