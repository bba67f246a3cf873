//! `model_checkpoint` traces in a real directory: the handler attached to an engine, its files written by the std
//! adapter, the names on the disk after each call.
//!
//! Nothing of the library is left out on this way, so a trace judges what a user's program would leave behind. Files are
//! not synced: what a trace can see does not depend on it, and thousands of traces are judged in seconds.

use super::checkpoints::{Files, Listed, PLACES};
use super::wire::Number;
use super::{Failure, refused, same};
use std::collections::BTreeSet;
use std::path::Path;
use tempfile::TempDir;
use training_monitor::checkpoint::{Objects, Visit, VisitMut};
use training_monitor::event::IterationCompleted;
use training_monitor::handlers::model_checkpoint::{Builder, ScoreFunction};
use training_monitor::{Engine, State};
use training_monitor_std::Directory;

/// The objects of a trace: their names are all that it knows of them, so each is one number.
struct Named<'a> {
    names: &'a [String],
    contents: [f32; 1],
}

impl Objects for Named<'_> {
    fn objects<V: Visit>(&self, visitor: &mut V) -> Result<(), V::Error> {
        self.names.iter().try_for_each(|name| visitor.state_dict(name, &self.contents))
    }
    fn objects_mut<V: VisitMut>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        self.names.iter().try_for_each(|name| visitor.state_dict(name, &mut self.contents))
    }
}

/// Plays a trace whose settings the handler has accepted.
pub fn replay(trace: &Files) -> Result<(), Failure> {
    let builder = trace.config.builder();
    match trace.config.save_interval {
        Some(calls) => play(trace, builder.save_interval(calls)),
        None => play(trace, builder.score_function(|state: &State<f32>| state.output.unwrap_or(f32::NAN))),
    }
}

fn play<F: ScoreFunction<State<f32>>>(trace: &Files, builder: Builder<PLACES, F>) -> Result<(), Failure> {
    let config = &trace.config;
    let directory = TempDir::new().map_err(refused)?;
    let files = Directory::builder(directory.path(), &config.filename_prefix)
        .extension(&config.extension)
        .durable(false)
        .open()
        .map_err(refused)?;
    let machine = builder.build().map_err(refused)?;
    let mut checkpoint = machine.attach(IterationCompleted, files).map_err(refused)?;
    let mut model = Named { names: &config.names, contents: [0.5] };
    let mut engine = Engine::new(u32::MAX);
    for (at, call) in trace.calls.iter().enumerate() {
        engine.begin_iteration(&mut model, &mut checkpoint);
        // The output of the iteration is its score.
        engine.end_iteration(call.score.map_or(0.0, Number::narrow), &mut model, &mut checkpoint);
        if let Some(error) = checkpoint.last_error() {
            return Err(refused(error));
        }
        compare(at, call, directory.path())?;
    }
    Ok(())
}

fn compare(at: usize, call: &Listed, directory: &Path) -> Result<(), Failure> {
    let mut found = BTreeSet::new();
    for entry in directory.read_dir().map_err(refused)? {
        found.insert(entry.map_err(refused)?.file_name().to_string_lossy().into_owned());
    }
    let expected: BTreeSet<String> = call.files.iter().cloned().collect();
    same(at, "files in the directory", &expected, &found)
}
