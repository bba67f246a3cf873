//! What a checkpoint has beside its tensors, as text that travels with them.
//!
//! For people and other programs the numbers that one would look for; for the way back the skeleton, the stream of the
//! same checkpoint with all tensors empty. The skeleton decides, the numbers are only read by others.

use crate::failure::{Failure, Result};
use crate::states::{hex, unhex};
use crate::stream::Stream;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The name of the note in every format.
pub const NAME: &str = "training_monitor";

#[derive(Serialize, Deserialize)]
pub struct Note {
    step: u32,
    iteration: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    score_name: Option<String>,
    /// In hexadecimal digits.
    skeleton: String,
}

impl Note {
    pub fn of(path: &Path, stream: &Stream) -> Result<Note> {
        let head = &stream.head;
        let skeleton = stream.skeleton().write().map_err(|error| Failure::content(path, error))?;
        Ok(Note {
            step: head.step,
            iteration: head.iteration,
            score: head.score,
            score_name: head.score_name.clone(),
            skeleton: hex(&skeleton),
        })
    }

    pub fn skeleton(&self, path: &Path) -> Result<Stream> {
        let damaged = || Failure::content(path, "the note about the checkpoint is damaged; --template takes its place");
        let bytes = unhex(&self.skeleton).ok_or_else(damaged)?;
        Stream::read_all(&bytes).map_err(|_| damaged())
    }

    pub fn text(&self) -> Result<String> {
        serde_json::to_string(self).map_err(Failure::other)
    }

    pub fn parse(path: &Path, text: &str) -> Result<Note> {
        serde_json::from_str(text)
            .map_err(|error| Failure::content(path, format!("the note about the checkpoint: {error}")))
    }
}
