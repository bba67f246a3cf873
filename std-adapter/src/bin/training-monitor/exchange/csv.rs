//! Reads and writes tensors as CSV. Each element has one line: `tensor,type,shape,index,value`. A shape has the form
//! `32x64`. The index counts the elements in row-major order. A tensor without elements has one line without index and
//! value.
//!
//! A CSV file does not contain the state of the run.

use super::TensorFile;
use super::importer::{Elements, Importer, Layout};
use crate::elements::{parse_text, parse_type, write_text};
use crate::error::{CliError, Result};
use crate::numbers::join;
use crate::stream::{SourceReader, WriteError};
use std::fmt::{self, Display, Write as _};
use std::io::{self, Read, Write};

/// The first line of a CSV file of tensors. It names the columns.
pub const HEADER: &str = "tensor,type,shape,index,value";

/// The maximum length of a line in bytes. A name has at most 255 bytes, and each of them can be quoted.
const MAX_LINE: usize = 4096;

pub fn write(file: &TensorFile, output: &mut dyn Write) -> std::result::Result<(), WriteError> {
    writeln!(output, "{HEADER}")?;
    let formatted = |_: fmt::Error| WriteError::Output(io::ErrorKind::Other.into());
    for tensor in &file.tensors {
        let start = line_start(&[&tensor.name, tensor.element_type.name(), &join(&tensor.shape, "x")])?;
        if tensor.payload.len() == 0 {
            writeln!(output, "{start},")?;
        }
        let (mut index, mut lines) = (0_u64, String::new());
        tensor.payload.for_each_chunk(|chunk| {
            lines.clear();
            for element in chunk.chunks_exact(tensor.element_type.size() as usize) {
                write!(lines, "{start}{index},").map_err(formatted)?;
                write_text(tensor.element_type, element, &mut lines).map_err(formatted)?;
                lines.push('\n');
                index += 1;
            }
            output.write_all(lines.as_bytes()).map_err(WriteError::Output)
        })?;
    }
    Ok(())
}

/// Returns the fields that are the same in all lines of a tensor, each followed by a comma.
fn line_start(fields: &[&str]) -> Result<String> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(fields).map_err(CliError::other)?;
    let bytes = csv.into_inner().map_err(|error| CliError::other(error.into_error()))?;
    Ok(String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned() + ",")
}

/// Fails if a line is too long, so that a file without line breaks does not fill the memory.
struct LineLimit<R> {
    reader: R,
    /// The number of bytes since the last line break.
    len: usize,
}

impl<R: Read> Read for LineLimit<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(into)?;
        let bytes = &into[..count];
        match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(last) => self.len = count - last,
            None => self.len += count,
        }
        // The reader of CSV requests more bytes than a line has, so the limit needs not be exact.
        if self.len > MAX_LINE + into.len() {
            return Err(io::Error::other(format!("a line has more than {MAX_LINE} bytes")));
        }
        Ok(count)
    }
}

/// The tensor whose lines are being read.
struct PartialTensor {
    layout: Layout,
    /// The fields of its first line.
    type_field: Vec<u8>,
    shape_field: Vec<u8>,
    elements: Elements,
}

pub fn read(mut importer: Importer<'_>) -> Result<TensorFile> {
    let path = importer.path();
    let reader = LineLimit { reader: SourceReader::new(importer.source()), len: 0 };
    let mut csv = csv::ReaderBuilder::new().buffer_capacity(64 * 1024).from_reader(reader);
    let mut record = csv::ByteRecord::new();
    let mut tensor: Option<PartialTensor> = None;
    while csv.read_byte_record(&mut record).map_err(|error| CliError::content(path, error))? {
        let line = record.position().map_or(0, csv::Position::line);
        let invalid = |reason: &dyn Display| CliError::content(path, format!("line {line}: {reason}"));
        if record.len() != 5 {
            return Err(invalid(&format_args!("expected the five fields {HEADER}, found {}", record.len())));
        }
        let text = |field: usize| {
            std::str::from_utf8(&record[field]).map_err(|_| invalid(&format_args!("field {} is not UTF-8", field + 1)))
        };
        if tensor.as_ref().is_none_or(|tensor| tensor.layout.name.as_bytes() != &record[0]) {
            if let Some(PartialTensor { layout, elements, .. }) = tensor.take() {
                importer.finish_elements(layout, elements)?;
            }
            let name = text(0)?;
            let found = text(1)?;
            let Some(element_type) = parse_type(found) else {
                let reason = format_args!("tensor {name} has the type {found:?}, which a checkpoint does not have");
                return Err(invalid(&reason));
            };
            let shape = text(2)?;
            let sides: std::result::Result<Vec<u64>, _> =
                shape.split('x').filter(|side| !side.is_empty()).map(str::parse).collect();
            let sides =
                sides.map_err(|_| invalid(&format_args!("the shape {shape:?} does not have the form 32x64")))?;
            let layout = Layout::new(path, name, element_type, &sides)?;
            let (type_field, shape_field) = (record[1].to_vec(), record[2].to_vec());
            let elements = importer.start(element_type)?;
            tensor = Some(PartialTensor { layout, type_field, shape_field, elements });
        }
        let Some(PartialTensor { layout, type_field, shape_field, elements }) = &mut tensor else { continue };
        let name = &layout.name;
        if record[1] != **type_field {
            return Err(invalid(&format_args!("tensor {name} has the types {} and {}", layout.element_type, text(1)?)));
        }
        if record[2] != **shape_field {
            let first = String::from_utf8_lossy(shape_field);
            return Err(invalid(&format_args!("tensor {name} has the shapes {first} and {}", text(2)?)));
        }
        if record[3].is_empty() && record[4].is_empty() && layout.elements == 0 {
            continue;
        }
        let (index, value, expected) = (text(3)?, text(4)?, elements.count());
        if index.parse() != Ok(expected) {
            return Err(invalid(&format_args!(
                "expected index {expected} of tensor {name}, found {index}; the elements must be in order"
            )));
        }
        let element_type = layout.element_type;
        let Some(bits) = parse_text(element_type, value) else {
            let reason = format_args!("element {index} of tensor {name} is {value:?}, not a {element_type}");
            return Err(invalid(&reason));
        };
        elements.push_bits(bits)?;
    }
    if let Some(PartialTensor { layout, elements, .. }) = tensor {
        importer.finish_elements(layout, elements)?;
    }
    Ok(TensorFile { tensors: importer.finish()?, metadata: None })
}
