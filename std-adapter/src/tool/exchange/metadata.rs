//! The metadata of an exported checkpoint: all parts that are not tensors, as text. The exported file contains the
//! metadata beside the tensors.
//!
//! The step, the iteration, the score and the metadata of the program are for people and for other programs. `import`
//! reads only the template, which is the whole checkpoint with empty tensors, and the shapes of the tensors.

use super::file_name_of;
use crate::tool::error::{CliError, Result};
use crate::tool::numbers::{hex, json_f32, parse_hex, text_or_hex};
use crate::tool::stream::{Content, Payload, Purpose, ReadError, Stream, Tensor, WriteError};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// The name of the metadata entry in an exported file, for example the key of a JSON object.
pub const NAME: &str = "training_monitor";

#[derive(Clone, Serialize, Deserialize)]
pub struct RunMetadata {
    step: u32,
    iteration: u32,
    /// The score of the checkpoint, as a JSON number, or as a string if the score is NaN or infinite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    score: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    score_name: Option<String>,
    /// The metadata that the program added: each value as text, or as hexadecimal digits if it is not text.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    metadata: serde_json::Map<String, Value>,
    /// The shape of each tensor, by the name of the tensor in the file.
    shapes: BTreeMap<String, Vec<u32>>,
    /// The checkpoint with empty tensors, as hexadecimal digits.
    template: String,
}

impl RunMetadata {
    pub fn new(path: &Path, stream: &Stream) -> Result<RunMetadata> {
        let header = &stream.header;
        let mut template = Vec::new();
        stream.template().write(path, &mut template).map_err(|error| match error {
            WriteError::Output(cause) => CliError::other(cause),
            WriteError::Input(error) => error,
        })?;
        let shape = |(object, tensor): (&str, &Tensor)| (file_name_of(object, tensor), tensor.shape.clone());
        Ok(RunMetadata {
            step: header.step,
            iteration: header.iteration,
            score: header.score.map(json_f32),
            score_name: header.score_name.clone(),
            metadata: header.metadata.iter().map(|(name, value)| (name.clone(), text_or_hex(value).into())).collect(),
            shapes: stream.tensors().map(shape).collect(),
            template: hex(&template),
        })
    }

    /// Decodes the template. Its tensors have the shapes of the checkpoint, but no elements. The error message contains
    /// `path`.
    pub fn template(&self, path: &Path) -> Result<Stream> {
        let damaged =
            || CliError::content(path, "the run metadata is damaged; use --template to replace it with a checkpoint");
        let bytes = parse_hex(&self.template).ok_or_else(damaged)?;
        let (mut template, _) = Stream::read(&Payload::from(bytes), Purpose::Read).map_err(|_: ReadError| damaged())?;
        for object in &mut template.objects {
            let Content::Tensors(tensors) = &mut object.content else { continue };
            for tensor in tensors {
                let shape = self.shapes.get(&file_name_of(&object.name, tensor)).ok_or_else(damaged)?;
                tensor.shape.clone_from(shape);
            }
        }
        Ok(template)
    }

    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(CliError::other)
    }

    pub fn parse(path: &Path, json: &str) -> Result<RunMetadata> {
        serde_json::from_str(json)
            .map_err(|error| CliError::content(path, format!("the run metadata is not readable: {error}")))
    }
}
