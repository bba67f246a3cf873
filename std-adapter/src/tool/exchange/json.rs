//! Reads and writes tensors as JSON: `{"tensors": {"model.bias": {"type": "f32", "shape": [2], "data": [0.5, "NaN"]}},
//! "training_monitor": {…}}`.
//!
//! Each element is written as a decimal number with the exact value. A JSON parser that reads all digits of integers,
//! and floats as doubles, therefore reads the same bits.
//!
//! The elements are converted while the file is parsed. If the elements of a tensor precede its type, their conversion is
//! not possible. Then the file is parsed a second time, with the types that are known by then.

mod tokens;

use super::importer::{Elements, Importer, Layout};
use super::metadata::RunMetadata;
use super::{TEXT_BLOCK, TensorFile};
use crate::tool::elements::parse_type;
use crate::tool::elements::text::{JsonElement, parse_json, write_json};
use crate::tool::error::{CliError, Result};
use crate::tool::files::describe_content;
use crate::tool::inventory::complete_text;
use crate::tool::stream::WriteError;
use std::collections::HashMap;
use std::fmt::Display;
use std::io::Write;
use tokens::{Token, Tokens};
use training_monitor::checkpoint::ElementType;

pub fn write(file: &TensorFile, output: &mut dyn Write) -> std::result::Result<(), WriteError> {
    let mut json = b"{\"tensors\":{".to_vec();
    for (index, tensor) in file.tensors.iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        let (name, shape) = (serde_json::Value::from(tensor.name.as_str()), serde_json::json!(tensor.shape));
        write!(json, "{name}:{{\"type\":\"{}\",\"shape\":{shape},\"data\":[", tensor.element_type)?;
        let (mut is_first, size) = (true, tensor.element_type.size() as usize);
        tensor.payload.for_each_chunk(|chunk| -> std::result::Result<(), WriteError> {
            for block in chunk.chunks(TEXT_BLOCK * size) {
                for element in block.chunks_exact(size) {
                    if !std::mem::take(&mut is_first) {
                        json.push(b',');
                    }
                    write_json(tensor.element_type, element, &mut json);
                }
                output.write_all(&json)?;
                json.clear();
            }
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
    tokens: Tokens<'a>,
    /// The types of the tensors whose type is known.
    types: HashMap<String, ElementType>,
    /// Whether the elements of a tensor preceded its type, so that they were skipped.
    is_incomplete: bool,
    metadata: Option<RunMetadata>,
}

impl<'a> Pass<'a> {
    fn new(importer: Importer<'a>, types: HashMap<String, ElementType>) -> Pass<'a> {
        let tokens = Tokens::new(importer.path(), importer.source());
        Pass { importer, tokens, types, is_incomplete: false, metadata: None }
    }

    /// Returns an error about the tensor `name`.
    fn error<T>(&self, name: &str, reason: impl Display) -> Result<T> {
        self.importer.error(format_args!("tensor {name}: {reason}"))
    }

    /// Reads the whole file.
    fn run(&mut self) -> Result<()> {
        self.tokens.expect(Token::StartObject, "an object with the field `tensors`")?;
        let mut has_tensors = false;
        while let Some(key) = self.tokens.next_key()? {
            match key.as_str() {
                "tensors" => {
                    self.read_tensors()?;
                    has_tensors = true;
                }
                "training_monitor" => self.metadata = Some(self.tokens.value()?),
                _ => self.tokens.skip_value()?,
            }
        }
        self.tokens.expect(Token::End, "the end of the file")?;
        if has_tensors { Ok(()) } else { self.tokens.error("missing field `tensors`") }
    }

    fn read_tensors(&mut self) -> Result<()> {
        self.tokens.expect(Token::StartObject, "an object with a field for each tensor")?;
        while let Some(name) = self.tokens.next_key()? {
            self.tokens.tensor = Some(name.clone());
            self.read_tensor(&name)?;
            self.tokens.tensor = None;
        }
        Ok(())
    }

    fn read_tensor(&mut self, name: &str) -> Result<()> {
        self.tokens.expect(Token::StartObject, "an object with the fields `type`, `shape` and `data`")?;
        let (mut stated_type, mut shape, mut elements, mut has_data) = (None, None, None, false);
        while let Some(key) = self.tokens.next_key()? {
            match key.as_str() {
                "type" => {
                    let found: String = self.tokens.value()?;
                    let Some(element_type) = parse_type(&found) else {
                        return self.importer.error(format_args!(
                            "tensor {name} has the type {found:?}, which a checkpoint does not have"
                        ));
                    };
                    stated_type = Some(element_type);
                }
                "shape" => shape = Some(self.tokens.value::<Vec<u64>>()?),
                "data" if has_data => {
                    return self.importer.error(format_args!("tensor {name} has two fields `data`"));
                }
                "data" => {
                    has_data = true;
                    match stated_type.or_else(|| self.types.get(name).copied()) {
                        Some(element_type) => {
                            let mut target = self.importer.start(element_type)?;
                            self.read_data(name, &mut target)?;
                            elements = Some(target);
                        }
                        None => {
                            self.tokens.skip_value()?;
                            self.is_incomplete = true;
                        }
                    }
                }
                _ => self.tokens.skip_value()?,
            }
        }
        // The type can be omitted for f32.
        let element_type = stated_type.unwrap_or(ElementType::F32);
        self.types.insert(name.to_owned(), element_type);
        let Some(shape) = shape else { return self.error(name, "missing field `shape`") };
        if !has_data {
            return self.error(name, "missing field `data`");
        }
        let layout = Layout::new(self.importer.path(), name, element_type, &shape)?;
        if let Some(elements) = elements {
            if elements.element_type() != element_type {
                return self.importer.error(format_args!("the file contains tensor {name} twice"));
            }
            self.importer.finish_elements(layout, elements)?;
        }
        Ok(())
    }

    /// Reads the elements of a tensor.
    fn read_data(&mut self, name: &str, elements: &mut Elements) -> Result<()> {
        let element_type = elements.element_type();
        self.tokens.expect(Token::StartArray, "a list of elements")?;
        loop {
            let token = self.tokens.next()?;
            let element = match token {
                Token::EndArray => return Ok(()),
                Token::Bool(value) => JsonElement::Bool(value),
                Token::Number => JsonElement::Number(self.tokens.text()),
                Token::String => JsonElement::Text(self.tokens.text()),
                _ => {
                    let expected = "a number, a bool or the name of a special value";
                    return self.error(name, format_args!("element {}: expected {expected}", elements.count()));
                }
            };
            let Some(bits) = parse_json(element_type, element) else {
                let index = elements.count();
                return self.error(name, format_args!("element {index} is {element}, not a {element_type}"));
            };
            elements.push_bits(bits)?;
            if token == Token::Number {
                self.tokens.following_numbers(|number| {
                    match parse_json(element_type, JsonElement::Number(number)) {
                        Some(bits) => elements.push_bits(bits).map(|()| true),
                        None => Ok(false),
                    }
                })?;
            }
        }
    }
}
