//! Reads and writes tensors as CSV. Each element has one line: `tensor,type,shape,index,value`. A shape has the form
//! `32x64`. The index counts the elements in row-major order. A tensor without elements has one line without index and
//! value.
//!
//! A CSV file does not contain the state of the run.

use super::importer::{Elements, Importer, Layout};
use super::window::Window;
use super::{TEXT_BLOCK, TensorFile};
use crate::tool::elements::parse_type;
use crate::tool::elements::text::{parse_text, write_text};
use crate::tool::error::{CliError, Result};
use crate::tool::numbers::join;
use crate::tool::stream::WriteError;
use csv_core::ReadRecordResult;
use std::fmt::Display;
use std::io::Write;
use std::path::Path;

/// The first line of a CSV file of tensors. It names the columns.
pub const HEADER: &str = "tensor,type,shape,index,value";

/// The maximum length of a line in bytes. A name has at most 255 bytes.
const MAX_LINE: usize = 4096;

/// The number of fields of a line.
const FIELDS: usize = 5;

pub fn write(file: &TensorFile, output: &mut dyn Write) -> std::result::Result<(), WriteError> {
    writeln!(output, "{HEADER}")?;
    for tensor in &file.tensors {
        let start = line_start([&tensor.name, tensor.element_type.name(), &join(&tensor.shape, "x")])?;
        if tensor.payload.len() == 0 {
            output.write_all(&start)?;
            writeln!(output, ",")?;
        }
        let (mut index, mut lines) = (0_u64, Vec::new());
        let size = tensor.element_type.size() as usize;
        tensor.payload.for_each_chunk(|chunk| -> std::result::Result<(), WriteError> {
            for block in chunk.chunks(TEXT_BLOCK * size) {
                lines.clear();
                for element in block.chunks_exact(size) {
                    lines.extend_from_slice(&start);
                    lines.extend_from_slice(itoa::Buffer::new().format(index).as_bytes());
                    lines.push(b',');
                    write_text(tensor.element_type, element, &mut lines);
                    lines.push(b'\n');
                    index += 1;
                }
                output.write_all(&lines)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Returns the fields that are the same in all lines of a tensor, each followed by a comma.
fn line_start(fields: [&str; 3]) -> Result<Vec<u8>> {
    let mut csv = csv::WriterBuilder::new().terminator(csv::Terminator::Any(b',')).from_writer(Vec::new());
    csv.write_record(fields).map_err(CliError::other)?;
    csv.into_inner().map_err(|error| CliError::other(error.into_error()))
}

/// Reads the lines of a file.
struct Lines<'a> {
    path: &'a Path,
    window: Window,
    parser: csv_core::Reader,
    /// The fields of the last line, one after the other, and their ends.
    fields: Vec<u8>,
    ends: [usize; FIELDS],
    /// The number of the last line.
    line: u64,
}

impl Lines<'_> {
    fn invalid(&self, reason: impl Display) -> CliError {
        CliError::content(self.path, format!("line {}: {reason}", self.line))
    }

    /// Reads the next line, which can have any form of CSV. Returns false at the end of the file.
    fn next(&mut self) -> Result<bool> {
        let (mut len, mut count) = (0, 0);
        self.line = self.parser.line();
        loop {
            // For the parser, an empty input is the end of the file.
            if self.window.bytes().is_empty() {
                self.window.fill()?;
            }
            let (fields, ends) = (&mut self.fields[len..], &mut self.ends[count..]);
            let (result, read, written, ended) = self.parser.read_record(self.window.bytes(), fields, ends);
            let is_carriage_return = self.window.bytes()[..read].ends_with(b"\r");
            self.window.consume(read);
            (len, count) = (len + written, count + ended);
            match result {
                ReadRecordResult::InputEmpty => (),
                ReadRecordResult::OutputFull => {
                    return Err(self.invalid(format_args!("a line has more than {MAX_LINE} bytes")));
                }
                ReadRecordResult::OutputEndsFull => {
                    return Err(self.invalid(format_args!("expected the five fields {HEADER}, found more")));
                }
                ReadRecordResult::End => return Ok(false),
                // The other results are a complete line.
                _ if count < FIELDS => {
                    return Err(self.invalid(format_args!("expected the five fields {HEADER}, found {count}")));
                }
                _ => {
                    // The parser leaves the second character of a line break in the window.
                    if is_carriage_return && self.window.bytes().starts_with(b"\n") {
                        self.window.consume(1);
                        self.parser.set_line(self.parser.line() + 1);
                    }
                    return Ok(true);
                }
            }
        }
    }

    /// Returns a field of the last line.
    fn field(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.fields[start..self.ends[index]]
    }

    fn text(&self, index: usize) -> Result<&str> {
        let invalid = |_| self.invalid(format_args!("field {} is not UTF-8", index + 1));
        std::str::from_utf8(self.field(index)).map_err(invalid)
    }

    /// Reads the lines of a tensor that have the form that [`write`] gives them. Stops at a line of another form, at an
    /// invalid line, and at a line that is not complete in the window.
    fn read_elements(&mut self, tensor: &mut PartialTensor) -> Result<()> {
        let PartialTensor { layout, line_start, elements, .. } = tensor;
        let (mut index, mut lines) = (elements.count(), 0);
        while let Some(rest) = self.window.bytes().strip_prefix(&**line_start)
            && let Some(len) = rest.iter().take(MAX_LINE).position(|byte| *byte == b'\n')
            && let Ok(line) = std::str::from_utf8(&rest[..len])
            && let Some((found, value)) = line.split_once(',')
            && found.parse() == Ok(index)
            && let Some(bits) = parse_text(layout.element_type, value)
        {
            elements.push_bits(bits)?;
            self.window.consume(line_start.len() + len + 1);
            (index, lines) = (index + 1, lines + 1);
        }
        self.parser.set_line(self.parser.line() + lines);
        Ok(())
    }
}

/// The tensor whose lines are being read.
struct PartialTensor {
    layout: Layout,
    /// The fields of its first line.
    type_field: Vec<u8>,
    shape_field: Vec<u8>,
    /// The start of its lines in the form that [`write`] gives them.
    line_start: Vec<u8>,
    elements: Elements,
}

pub fn read(mut importer: Importer<'_>) -> Result<TensorFile> {
    let path = importer.path();
    let (window, fields) = (Window::new(importer.source()), vec![0; MAX_LINE]);
    let mut lines = Lines { path, window, parser: csv_core::Reader::new(), fields, ends: [0; FIELDS], line: 1 };
    // The names of the columns.
    lines.next()?;
    let mut tensor: Option<PartialTensor> = None;
    loop {
        if let Some(tensor) = &mut tensor {
            lines.read_elements(tensor)?;
        }
        if !lines.next()? {
            break;
        }
        if tensor.as_ref().is_none_or(|tensor| tensor.layout.name.as_bytes() != lines.field(0)) {
            if let Some(PartialTensor { layout, elements, .. }) = tensor.take() {
                importer.finish_elements(layout, elements)?;
            }
            let (name, found, shape) = (lines.text(0)?, lines.text(1)?, lines.text(2)?);
            let Some(element_type) = parse_type(found) else {
                let reason = format!("tensor {name} has the type {found:?}, which a checkpoint does not have");
                return Err(lines.invalid(reason));
            };
            let sides: std::result::Result<Vec<u64>, _> =
                shape.split('x').filter(|side| !side.is_empty()).map(str::parse).collect();
            let sides = sides.map_err(|_| {
                lines.invalid(format_args!("tensor {name} has the shape {shape:?}, not of the form 32x64"))
            })?;
            let layout = Layout::new(path, name, element_type, &sides)?;
            let (type_field, shape_field) = (found.into(), shape.into());
            let line_start = line_start([name, found, shape])?;
            let elements = importer.start(element_type)?;
            tensor = Some(PartialTensor { layout, type_field, shape_field, line_start, elements });
        }
        let Some(PartialTensor { layout, type_field, shape_field, elements, .. }) = &mut tensor else { continue };
        let (name, element_type) = (&layout.name, layout.element_type);
        if lines.field(1) != type_field {
            let found = lines.text(1)?;
            return Err(lines.invalid(format_args!("tensor {name} has the types {element_type} and {found}")));
        }
        if lines.field(2) != shape_field {
            let (first, found) = (String::from_utf8_lossy(shape_field), lines.text(2)?);
            return Err(lines.invalid(format_args!("tensor {name} has the shapes {first} and {found}")));
        }
        if lines.field(3).is_empty() && lines.field(4).is_empty() && layout.elements == 0 {
            continue;
        }
        let (index, value, expected) = (lines.text(3)?, lines.text(4)?, elements.count());
        if index.parse() != Ok(expected) {
            return Err(lines.invalid(format_args!(
                "expected index {expected} of tensor {name}, found {index}; the elements must be in order"
            )));
        }
        let Some(bits) = parse_text(element_type, value) else {
            let reason = format_args!("element {index} of tensor {name} is {value:?}, not a {element_type}");
            return Err(lines.invalid(reason));
        };
        elements.push_bits(bits)?;
    }
    if let Some(PartialTensor { layout, elements, .. }) = tensor {
        importer.finish_elements(layout, elements)?;
    }
    Ok(TensorFile { tensors: importer.finish()?, metadata: None })
}
