//! Reads and writes tensors as CSV. Each element has one line: `tensor,shape,index,value`. A shape has the form
//! `32x64`. The index counts the elements in row-major order.
//!
//! A CSV file does not contain the state of the run. A tensor without elements has no line.

use super::{NamedTensor, TensorFile};
use crate::error::{CliError, Result};
use crate::numbers::{exact, join, parse_f32};
use std::path::Path;

/// The first line of a CSV file of tensors. It names the columns.
pub const HEADER: &str = "tensor,shape,index,value";

pub fn write(file: &TensorFile) -> Result<Vec<u8>> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(HEADER.split(',')).map_err(CliError::other)?;
    for tensor in &file.tensors {
        let shape = join(&tensor.shape, "x");
        for (index, element) in tensor.elements.iter().enumerate() {
            let fields = [&tensor.name, &shape, &index.to_string(), &exact(*element)];
            csv.write_record(fields).map_err(CliError::other)?;
        }
    }
    csv.into_inner().map_err(|error| CliError::other(error.into_error()))
}

pub fn read(path: &Path, bytes: &[u8]) -> Result<TensorFile> {
    let mut tensors = Vec::<NamedTensor>::new();
    for record in csv::Reader::from_reader(bytes).into_records() {
        let record = record.map_err(|error| CliError::content(path, error))?;
        let line = record.position().map_or(0, csv::Position::line);
        let invalid = |reason: String| CliError::content(path, format!("line {line}: {reason}"));
        let (Some(name), Some(shape), Some(index), Some(value)) =
            (record.get(0), record.get(1), record.get(2), record.get(3))
        else {
            return Err(invalid(format!("expected the four fields {HEADER}, found {}", record.len())));
        };
        let value = parse_f32(value).ok_or_else(|| invalid(format!("the value {value:?} is not a number")))?;
        if tensors.last().is_none_or(|tensor| tensor.name != name) {
            let sides: std::result::Result<Vec<usize>, _> =
                shape.split('x').filter(|side| !side.is_empty()).map(str::parse).collect();
            let shape = sides.map_err(|_| invalid(format!("the shape {shape:?} does not have the form 32x64")))?;
            tensors.push(NamedTensor { name: name.to_owned(), shape, elements: vec![] });
        }
        if let Some(tensor) = tensors.last_mut() {
            let expected = tensor.elements.len();
            if index.parse() != Ok(expected) {
                let reason =
                    format!("expected index {expected} of {name}, found {index}; the elements must be in order");
                return Err(invalid(reason));
            }
            tensor.elements.push(value);
        }
    }
    let checked = tensors.into_iter().map(|tensor| NamedTensor::new(path, tensor.name, tensor.shape, tensor.elements));
    Ok(TensorFile { tensors: checked.collect::<Result<_>>()?, metadata: None })
}
