//! Reads and writes tensors as CSV. Each element has one line: `tensor,type,shape,index,value`. A shape has the form
//! `32x64`. The index counts the elements in row-major order. A tensor without elements has one line without index and
//! value.
//!
//! A CSV file does not contain the state of the run.

use super::{NamedTensor, TensorFile};
use crate::elements::{parse_type, push_text, to_text};
use crate::error::{CliError, Result};
use crate::numbers::join;
use std::path::Path;
use training_monitor::checkpoint::ElementType;

/// The first line of a CSV file of tensors. It names the columns.
pub const HEADER: &str = "tensor,type,shape,index,value";

pub fn write(file: &TensorFile) -> Result<Vec<u8>> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(HEADER.split(',')).map_err(CliError::other)?;
    for tensor in &file.tensors {
        let (element_type, shape) = (tensor.element_type.name(), join(&tensor.shape, "x"));
        let mut write = |index: &str, value: &str| {
            csv.write_record([&tensor.name, element_type, &shape, index, value]).map_err(CliError::other)
        };
        if tensor.bytes.is_empty() {
            write("", "")?;
        }
        for (index, element) in tensor.elements().enumerate() {
            write(&index.to_string(), &to_text(tensor.element_type, element))?;
        }
    }
    csv.into_inner().map_err(|error| CliError::other(error.into_error()))
}

/// A tensor whose lines are being read.
struct PartialTensor {
    name: String,
    element_type: ElementType,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

pub fn read(path: &Path, bytes: &[u8]) -> Result<TensorFile> {
    let mut tensors = Vec::<PartialTensor>::new();
    for record in csv::Reader::from_reader(bytes).into_records() {
        let record = record.map_err(|error| CliError::content(path, error))?;
        let line = record.position().map_or(0, csv::Position::line);
        let invalid = |reason: String| CliError::content(path, format!("line {line}: {reason}"));
        let fields: Vec<&str> = record.iter().collect();
        let [name, element_type, shape, index, value] = fields[..] else {
            return Err(invalid(format!("expected the five fields {HEADER}, found {}", record.len())));
        };
        let Some(element_type) = parse_type(element_type) else {
            return Err(invalid(format!(
                "tensor {name} has the type {element_type:?}, which a checkpoint does not have"
            )));
        };
        if tensors.last().is_none_or(|tensor| tensor.name != name) {
            let sides: std::result::Result<Vec<usize>, _> =
                shape.split('x').filter(|side| !side.is_empty()).map(str::parse).collect();
            let shape = sides.map_err(|_| invalid(format!("the shape {shape:?} does not have the form 32x64")))?;
            tensors.push(PartialTensor { name: name.to_owned(), element_type, shape, bytes: vec![] });
        }
        let Some(tensor) = tensors.last_mut() else { continue };
        if tensor.element_type != element_type {
            return Err(invalid(format!("tensor {name} has the types {} and {element_type}", tensor.element_type)));
        }
        if index.is_empty() && value.is_empty() && tensor.shape.contains(&0) {
            continue;
        }
        let expected = tensor.bytes.len() / element_type.size() as usize;
        if index.parse() != Ok(expected) {
            let reason =
                format!("expected index {expected} of tensor {name}, found {index}; the elements must be in order");
            return Err(invalid(reason));
        }
        push_text(element_type, value, &mut tensor.bytes)
            .ok_or_else(|| invalid(format!("element {index} of tensor {name} is {value:?}, not a {element_type}")))?;
    }
    let check =
        |tensor: PartialTensor| NamedTensor::new(path, tensor.name, tensor.element_type, &tensor.shape, tensor.bytes);
    Ok(TensorFile { tensors: tensors.into_iter().map(check).collect::<Result<_>>()?, metadata: None })
}
