//! Reads and writes tensors as JSON: `{"tensors": {"model.bias": {"type": "f32", "shape": [2], "data": [0.5, "NaN"]}},
//! "training_monitor": {…}}`.
//!
//! Each element is written as a decimal number with the exact value. A JSON parser that reads all digits of integers,
//! and floats as doubles, therefore reads the same bits.
//!
//! The elements are converted while the file is parsed. If the elements of a tensor precede its type, their conversion is
//! not possible. Then the file is parsed a second time, with the types that are known by then.

use super::TensorFile;
use super::importer::{Elements, Importer, Layout};
use super::metadata::RunMetadata;
use crate::elements::{JsonElement, Number, parse_json, parse_type, write_json};
use crate::error::{CliError, Result};
use crate::files::describe_content;
use crate::inventory::complete_text;
use crate::stream::{SourceReader, WriteError};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::collections::HashMap;
use std::fmt;
use std::io::{BufReader, Write};
use std::result::Result as StdResult;
use training_monitor::checkpoint::ElementType;

pub fn write(file: &TensorFile, output: &mut dyn Write) -> StdResult<(), WriteError> {
    let mut json = b"{\"tensors\":{".to_vec();
    for (index, tensor) in file.tensors.iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        let (name, shape) = (serde_json::Value::from(tensor.name.as_str()), serde_json::json!(tensor.shape));
        write!(json, "{name}:{{\"type\":\"{}\",\"shape\":{shape},\"data\":[", tensor.element_type)?;
        let mut is_first = true;
        tensor.payload.for_each_chunk(|chunk| -> StdResult<(), WriteError> {
            for element in chunk.chunks_exact(tensor.element_type.size() as usize) {
                if !std::mem::take(&mut is_first) {
                    json.push(b',');
                }
                write_json(tensor.element_type, element, &mut json)
                    .map_err(|error| WriteError::Output(error.into()))?;
            }
            output.write_all(&json)?;
            json.clear();
            Ok(())
        })?;
        json.extend_from_slice(b"]}");
    }
    json.push(b'}');
    if let Some(metadata) = &file.metadata {
        write!(json, ",\"training_monitor\":{}", metadata.to_json()?)?;
    }
    json.extend_from_slice(b"}\n");
    Ok(output.write_all(&json)?)
}

pub fn read(importer: Importer<'_>) -> Result<TensorFile> {
    let (path, source) = (importer.path(), importer.source().clone());
    let start = source.start()?;
    if start.starts_with(br#"{"schema":"training-monitor-history""#) {
        let (expected, found) = ("a file of tensors", describe_content(complete_text(&start)));
        return Err(CliError::WrongFile { path: path.to_owned(), expected, found });
    }
    let mut pass = Pass::new(importer, HashMap::new());
    pass.run()?;
    if pass.is_incomplete {
        let types = std::mem::take(&mut pass.types);
        drop(pass);
        pass = Pass::new(Importer::new(path, &source), types);
        pass.run()?;
    }
    Ok(TensorFile { tensors: pass.importer.finish()?, metadata: pass.metadata })
}

/// One pass over the file.
struct Pass<'a> {
    importer: Importer<'a>,
    /// The types of the tensors whose type is known.
    types: HashMap<String, ElementType>,
    /// Whether the elements of a tensor preceded its type, so that they were skipped.
    is_incomplete: bool,
    metadata: Option<RunMetadata>,
    /// The error that ended the pass. The parser only knows that there is one.
    error: Option<CliError>,
}

impl<'a> Pass<'a> {
    const fn new(importer: Importer<'a>, types: HashMap<String, ElementType>) -> Pass<'a> {
        Pass { importer, types, is_incomplete: false, metadata: None, error: None }
    }

    fn run(&mut self) -> Result<()> {
        let reader = BufReader::with_capacity(64 * 1024, SourceReader::new(self.importer.source()));
        let mut json = serde_json::Deserializer::from_reader(reader);
        let parsed = FileSeed(self).deserialize(&mut json).and_then(|()| json.end());
        match (parsed, self.error.take()) {
            (_, Some(error)) => Err(error),
            (Err(error), None) => self.importer.error(format_args!("not a JSON file of tensors: {error}")),
            (Ok(()), None) => Ok(()),
        }
    }

    /// Keeps the error of a function, and returns an error of the parser.
    fn keep<T, E: Error>(&mut self, result: Result<T>) -> StdResult<T, E> {
        result.map_err(|error| {
            let message = E::custom(&error);
            self.error.get_or_insert(error);
            message
        })
    }

    fn fail<T, E: Error>(&mut self, reason: impl fmt::Display) -> StdResult<T, E> {
        let error = self.importer.error(reason);
        self.keep(error)
    }
}

/// Implements the visitor of a JSON object for a seed. `$body` is the method `visit_map`.
macro_rules! object_seed {
    ($seed:ident<$($lifetime:lifetime),*>, $expecting:literal) => {
        impl<'de> DeserializeSeed<'de> for $seed<$($lifetime),*> {
            type Value = ();
            fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> StdResult<(), D::Error> {
                deserializer.deserialize_map(self)
            }
        }

        impl<'de> Visitor<'de> for $seed<$($lifetime),*> {
            type Value = ();
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($expecting)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> StdResult<(), A::Error> {
                self.read(map)
            }
        }
    };
}

/// The whole file.
struct FileSeed<'a, 'p>(&'a mut Pass<'p>);

object_seed!(FileSeed<'_, '_>, "an object with the field `tensors`");

impl FileSeed<'_, '_> {
    fn read<'de, A: MapAccess<'de>>(self, mut map: A) -> StdResult<(), A::Error> {
        let mut has_tensors = false;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "tensors" => {
                    map.next_value_seed(TensorsSeed(self.0))?;
                    has_tensors = true;
                }
                "training_monitor" => self.0.metadata = map.next_value()?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        if has_tensors { Ok(()) } else { Err(A::Error::missing_field("tensors")) }
    }
}

/// The tensors by their names.
struct TensorsSeed<'a, 'p>(&'a mut Pass<'p>);

object_seed!(TensorsSeed<'_, '_>, "an object with a field for each tensor");

impl TensorsSeed<'_, '_> {
    fn read<'de, A: MapAccess<'de>>(self, mut map: A) -> StdResult<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            let result = map.next_value_seed(TensorSeed { pass: &mut *self.0, name: &name });
            if let Err(error) = result {
                return self.0.fail(format_args!("tensor {name}: {error}"));
            }
        }
        Ok(())
    }
}

/// One tensor.
struct TensorSeed<'a, 'p> {
    pass: &'a mut Pass<'p>,
    name: &'a str,
}

object_seed!(TensorSeed<'_, '_>, "an object with the fields `type`, `shape` and `data`");

impl TensorSeed<'_, '_> {
    fn read<'de, A: MapAccess<'de>>(self, mut map: A) -> StdResult<(), A::Error> {
        let TensorSeed { pass, name } = self;
        let (mut stated_type, mut shape, mut elements, mut has_data) = (None, None, None, false);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "type" => {
                    let found: String = map.next_value()?;
                    let Some(element_type) = parse_type(&found) else {
                        return pass.fail(format_args!(
                            "tensor {name} has the type {found:?}, which a checkpoint does not have"
                        ));
                    };
                    stated_type = Some(element_type);
                }
                "shape" => shape = Some(map.next_value::<Vec<u64>>()?),
                "data" if has_data => return pass.fail(format_args!("tensor {name} has two fields `data`")),
                "data" => {
                    has_data = true;
                    match stated_type.or_else(|| pass.types.get(name).copied()) {
                        Some(element_type) => {
                            let mut target = pass.importer.start(element_type);
                            if let Ok(elements) = &mut target {
                                map.next_value_seed(DataSeed { pass: &mut *pass, name, elements })?;
                            }
                            elements = Some(pass.keep(target)?);
                        }
                        None => {
                            map.next_value::<IgnoredAny>()?;
                            pass.is_incomplete = true;
                        }
                    }
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        // The type can be omitted for f32.
        let element_type = stated_type.unwrap_or(ElementType::F32);
        pass.types.insert(name.to_owned(), element_type);
        let Some(shape) = shape else { return Err(A::Error::missing_field("shape")) };
        if !has_data {
            return Err(A::Error::missing_field("data"));
        }
        let layout = Layout::new(pass.importer.path(), name, element_type, &shape);
        let layout = pass.keep(layout)?;
        if let Some(elements) = elements {
            if elements.element_type() != element_type {
                return pass.fail(format_args!("the file contains tensor {name} twice"));
            }
            let finished = pass.importer.finish_elements(layout, elements);
            pass.keep(finished)?;
        }
        Ok(())
    }
}

/// The elements of a tensor.
struct DataSeed<'a, 'p> {
    pass: &'a mut Pass<'p>,
    name: &'a str,
    elements: &'a mut Elements,
}

impl<'de> DeserializeSeed<'de> for DataSeed<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> StdResult<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for DataSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> StdResult<(), A::Error> {
        let DataSeed { pass, name, elements } = self;
        let element_type = elements.element_type();
        loop {
            let element = match sequence.next_element_seed(ElementSeed) {
                Ok(Some(element)) => element,
                Ok(None) => return Ok(()),
                Err(error) => {
                    let index = elements.count();
                    return pass.fail(format_args!("tensor {name}: element {index}: {error}"));
                }
            };
            let Some(bits) = parse_json(element_type, &element) else {
                let index = elements.count();
                return pass.fail(format_args!("tensor {name}: element {index} is {element}, not a {element_type}"));
            };
            let pushed = elements.push_bits(bits);
            pass.keep(pushed)?;
        }
    }
}

/// One element: a number, a bool, or a string for a special value such as NaN.
struct ElementSeed;

impl<'de> DeserializeSeed<'de> for ElementSeed {
    type Value = JsonElement;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> StdResult<JsonElement, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ElementSeed {
    type Value = JsonElement;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, a bool or the name of a special value")
    }
    fn visit_bool<E>(self, value: bool) -> StdResult<JsonElement, E> {
        Ok(JsonElement::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> StdResult<JsonElement, E> {
        Ok(JsonElement::Number(Number::Integer(value.into())))
    }
    fn visit_u64<E>(self, value: u64) -> StdResult<JsonElement, E> {
        Ok(JsonElement::Number(Number::Integer(value.into())))
    }
    fn visit_f64<E>(self, value: f64) -> StdResult<JsonElement, E> {
        Ok(JsonElement::Number(Number::Float(value)))
    }
    fn visit_str<E>(self, value: &str) -> StdResult<JsonElement, E> {
        Ok(JsonElement::Text(value.to_owned()))
    }
    /// With the feature `arbitrary_precision` of `serde_json`, which a dependency can enable, a number is passed as a map.
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> StdResult<JsonElement, A::Error> {
        let number = serde_json::Number::deserialize(MapAccessDeserializer::new(map))?;
        let integer = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
        // A number that is too large for f64 is infinite, which no type can contain.
        let float = || Number::Float(number.as_f64().unwrap_or(f64::INFINITY));
        Ok(JsonElement::Number(integer.map_or_else(float, Number::Integer)))
    }
}
