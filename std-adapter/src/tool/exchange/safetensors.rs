//! Reads and writes the safetensors format: the length of a header (u64), the header as JSON, and the elements of all
//! tensors. The file contains a single metadata entry with the state of the run.

use super::TensorFile;
use super::importer::{ElementCheck, Importer, Layout};
use super::metadata::{NAME, RunMetadata};
use crate::tool::error::{CliError, Result};
use crate::tool::stream::{Payload, WriteError};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value, json};
use std::fmt;
use std::io::Write;
use training_monitor::checkpoint::ElementType;

/// The maximum length of a header in bytes. A header of this length describes more than a hundred thousand tensors.
const MAX_HEADER: u64 = 16 << 20;

/// Returns the name of an element type in the file.
const fn dtype(element_type: ElementType) -> &'static str {
    match element_type {
        ElementType::F32 => "F32",
        ElementType::F64 => "F64",
        ElementType::F16 => "F16",
        ElementType::Bf16 => "BF16",
        ElementType::I8 => "I8",
        ElementType::U8 => "U8",
        ElementType::I16 => "I16",
        ElementType::U16 => "U16",
        ElementType::I32 => "I32",
        ElementType::U32 => "U32",
        ElementType::I64 => "I64",
        ElementType::U64 => "U64",
        ElementType::Bool => "BOOL",
    }
}

pub fn write(file: &TensorFile, output: &mut dyn Write) -> std::result::Result<(), WriteError> {
    // Tensors with large elements come first, so that all elements are aligned.
    let mut tensors: Vec<_> = file.tensors.iter().collect();
    tensors.sort_by(|a, b| b.element_type.size().cmp(&a.element_type.size()).then_with(|| a.name.cmp(&b.name)));
    let (mut entries, mut start) = (Vec::new(), 0);
    let mut entry = |name: &str, value: Value| entries.push(format!("{}:{value}", Value::from(name)));
    if let Some(metadata) = &file.metadata {
        entry("__metadata__", json!({ NAME: metadata.to_json()? }));
    }
    for tensor in &tensors {
        let end = start + tensor.payload.len();
        let dtype = dtype(tensor.element_type);
        entry(&tensor.name, json!({ "dtype": dtype, "shape": tensor.shape, "data_offsets": [start, end] }));
        start = end;
    }
    let mut header = format!("{{{}}}", entries.join(",")).into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    output.write_all(&(header.len() as u64).to_le_bytes())?;
    output.write_all(&header)?;
    for tensor in tensors {
        tensor.payload.for_each_chunk(|chunk| output.write_all(chunk).map_err(WriteError::Output))?;
    }
    Ok(())
}

/// The entries of a JSON object in their order. In contrast to a map, the list also contains duplicates.
struct Entries(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct EntriesVisitor;
        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = Entries;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(EntriesVisitor)
    }
}

/// The description of a tensor in the header.
struct Entry {
    layout: Layout,
    /// The offsets of the start and the end of its elements, from the end of the header.
    start: u64,
    end: u64,
}

pub fn read(mut importer: Importer<'_>) -> Result<TensorFile> {
    let (path, source) = (importer.path(), importer.source().clone());
    let invalid =
        |reason: &dyn fmt::Display| CliError::content(path, format!("invalid or truncated safetensors file: {reason}"));
    let len = source.bytes_at(0, 8)?.try_into().map(u64::from_le_bytes).unwrap_or(u64::MAX);
    let data = len.saturating_add(8);
    if data > source.len() || len > MAX_HEADER {
        return Err(invalid(&format_args!(
            "the header has {len} bytes; the file has {} bytes, and at most {MAX_HEADER} bytes are supported",
            source.len()
        )));
    }
    let Entries(entries) =
        serde_json::from_slice(&source.bytes_at(8, len as usize)?).map_err(|error| invalid(&error))?;
    let (mut metadata, mut tensors) = (None, Vec::new());
    for (name, value) in entries {
        if name == "__metadata__" {
            let json = value.get(NAME).and_then(Value::as_str);
            metadata = json.map(|json| RunMetadata::parse(path, json)).transpose()?;
            continue;
        }
        let Some((dtype, shape, [start, end])) = value.as_object().and_then(parse_entry) else {
            return Err(invalid(&format_args!("tensor {name} has the description {value}")));
        };
        let Some(element_type) = ElementType::ALL.into_iter().find(|known| self::dtype(*known) == dtype) else {
            return importer
                .error(format_args!("tensor {name} has the type {dtype}, which a checkpoint does not have"));
        };
        let layout = Layout::new(path, &name, element_type, &shape)?;
        if start > end || layout.len() != end - start {
            let found = end.saturating_sub(start) / u64::from(element_type.size());
            layout.check_count(path, found)?;
            return Err(invalid(&format_args!("tensor {name} has the offsets {start} and {end}")));
        }
        tensors.push(Entry { layout, start, end });
    }
    tensors.sort_by_key(|tensor| (tensor.start, tensor.end));
    let mut expected = 0;
    for Entry { layout, start, end } in tensors {
        if start != expected {
            return Err(invalid(&format_args!("tensor {} starts at {start}, not at {expected}", layout.name)));
        }
        expected = end;
        if end > source.len() - data {
            return Err(invalid(&format_args!("the file ends before the elements of tensor {}", layout.name)));
        }
        let payload = Payload::new(&source, data + start, end - start);
        let mut check = ElementCheck::new(layout.element_type);
        payload.for_each_chunk(|chunk| -> Result<()> {
            check.add(chunk);
            Ok(())
        })?;
        importer.add_in_file(layout, payload, check)?;
    }
    if expected != source.len() - data {
        return Err(invalid(&format_args!("{} bytes follow the last tensor", source.len() - data - expected)));
    }
    Ok(TensorFile { tensors: importer.finish()?, metadata })
}

/// Returns the type, the shape and the offsets of a tensor.
fn parse_entry(entry: &Map<String, Value>) -> Option<(&str, Vec<u64>, [u64; 2])> {
    let numbers = |name: &str| entry.get(name)?.as_array()?.iter().map(Value::as_u64).collect::<Option<Vec<u64>>>();
    Some((entry.get("dtype")?.as_str()?, numbers("shape")?, numbers("data_offsets")?.try_into().ok()?))
}
