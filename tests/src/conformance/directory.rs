//! Replays `model_checkpoint` traces in a real directory: the handler is attached to an engine, the std adapter writes
//! the files, and the replay compares the file names after each call.
//!
//! The replay uses all parts of the library that a program would use. It does not sync the files, because a trace
//! cannot observe that, and thousands of traces then take seconds.

use super::checkpoints::{FilesCall, FilesTrace, TABLE_SIZE};
use super::trace_values::Number;
use super::{Failure, expect_equal, rejected};
use std::collections::BTreeSet;
use std::path::Path;
use tempfile::TempDir;
use training_monitor::checkpoint::ObjectVisitor;
use training_monitor::event::IterationCompleted;
use training_monitor::handlers::model_checkpoint::GetScore;
use training_monitor::{Engine, ModelCheckpoint, Objects};
use training_monitor_std::Directory;

/// The objects that the checkpoints of a trace contain. A trace contains only the names of the objects, so the replay
/// saves one number for each object.
struct NamedObjects<'a> {
    names: &'a [String],
    contents: [f32; 1],
}

impl Objects for NamedObjects<'_> {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        self.names.iter().try_for_each(|name| visitor.state_dict(name, &mut self.contents))
    }
}

/// Replays a trace in a temporary directory. The policy decides which checkpoints are kept. If the policy ranks by
/// score, the score is the output of the iteration.
pub fn replay<F: GetScore<f32, ()>>(trace: &FilesTrace, policy: ModelCheckpoint<TABLE_SIZE, F>) -> Result<(), Failure> {
    let config = &trace.config;
    let directory = TempDir::new().map_err(rejected)?;
    let files = Directory::builder(directory.path(), &config.filename_prefix)
        .extension(&config.extension)
        .durable(false)
        .open()
        .map_err(rejected)?;
    let mut handler = policy.attach(IterationCompleted, files).map_err(rejected)?;
    let mut model = NamedObjects { names: &config.names, contents: [0.5] };
    let mut engine = Engine::new(u32::MAX);
    for (index, call) in trace.calls.iter().enumerate() {
        engine.begin_iteration(&mut model, &mut handler).map_err(rejected)?;
        engine.end_iteration(call.score.map_or(0.0, Number::as_f32), &mut model, &mut handler);
        if let Some(error) = handler.last_error() {
            return Err(rejected(error));
        }
        compare(index, call, directory.path())?;
    }
    Ok(())
}

fn compare(index: usize, call: &FilesCall, directory: &Path) -> Result<(), Failure> {
    let mut found = BTreeSet::new();
    for entry in directory.read_dir().map_err(rejected)? {
        let name = entry.map_err(rejected)?.file_name().to_string_lossy().into_owned();
        // Ignite has no lock files.
        if !name.ends_with(".lock") {
            found.insert(name);
        }
    }
    let expected: BTreeSet<String> = call.files.iter().cloned().collect();
    expect_equal(index, "files in the directory", &expected, &found)
}
