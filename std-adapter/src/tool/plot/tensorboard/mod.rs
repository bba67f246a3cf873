//! Writes histories as TensorBoard event files, for `tensorboard --logdir DIR`.
//!
//! Each run has its own directory with one event file. The module `record` defines the format of the file.
//!
//! If the event file of a run exists and is the beginning of the new content, only the rest is appended. TensorBoard reads
//! a growing file, but it does not notice that another file replaces it. Otherwise the file is replaced.

mod follow;
mod record;

pub use follow::follow_runs;

use super::run::Run;
use crate::history::HistoryEvent;
use crate::tool::error::{CliError, Result};
use crate::tool::files::OutputFile;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// The name of the event file. TensorBoard reads each file whose name contains "tfevents". The name is constant, so that
/// a second export of a run continues the first one.
const FILE: &str = "events.out.tfevents.training-monitor";

/// Writes the event file of each run. Each run has its own directory inside `directory`. Returns the paths of the
/// files.
pub fn write(runs: &[Run], directory: &Path) -> Result<Vec<PathBuf>> {
    let write_run = |run: &Run| {
        let file = event_file(run, directory)?;
        append_or_replace(&file, run, &encode(run, start_time(run)?))?;
        Ok(file)
    };
    runs.iter().map(write_run).collect()
}

/// Returns the path of the event file of a run, and creates its directory.
fn event_file(run: &Run, directory: &Path) -> Result<PathBuf> {
    // The name of a run can be a path. A path contains characters that are not allowed in the name of a directory.
    let name: String = run.name.chars().map(|c| if "/\\:".contains(c) || c.is_control() { '_' } else { c }).collect();
    let name = if name.trim_matches('.').is_empty() { "run" } else { &name };
    let directory = directory.join(name);
    fs::create_dir_all(&directory).map_err(CliError::io("create", &directory))?;
    Ok(directory.join(FILE))
}

/// Writes `content` to `file`, or only its end if `file` already contains the beginning.
fn append_or_replace(file: &Path, run: &Run, content: &[u8]) -> Result<()> {
    match fs::read(file) {
        Ok(existing) if file.is_file() && content.starts_with(&existing) => append(file, &content[existing.len()..]),
        // Only this tool writes files with this name, so an older one can be replaced.
        _ => OutputFile::create(file, &[&run.file], true)?.write_whole(content),
    }
}

fn append(file: &Path, bytes: &[u8]) -> Result<()> {
    let result = File::options().append(true).open(file).and_then(|mut file| file.write_all(bytes));
    result.map_err(CliError::io("write", file))
}

/// Returns the content of the event file of a run that started at the time `start`.
fn encode(run: &Run, start: f64) -> Vec<u8> {
    let mut file = Vec::new();
    record::push_version(&mut file, start);
    push_values(&mut file, run, start);
    file
}

/// Appends the values of a run. An event without a time has the time of the previous one, plus its own duration.
fn push_values(file: &mut Vec<u8>, run: &Run, start: f64) {
    let mut time = start;
    for (event, recorded) in run.events.iter().zip(&run.times) {
        time = recorded.unwrap_or(time + duration(event));
        for (step, tag, value) in scalars(event) {
            record::push_scalar(file, time, step, &tag, value);
        }
    }
}

/// Returns the time at which a run started, in seconds since 1970. If the history contains no times, the run ended when its
/// history file was last modified.
fn start_time(run: &Run) -> Result<f64> {
    match run.times.iter().flatten().next() {
        Some(first) => Ok(*first),
        None => Ok(modification_time(&run.file)? - run.events.iter().map(duration).sum::<f64>()),
    }
}

fn duration(event: &HistoryEvent) -> f64 {
    match event {
        HistoryEvent::Iteration { seconds, .. } => seconds.unwrap_or(0.0),
        _ => 0.0,
    }
}

/// Returns the values of an event: step, tag and value. A value that is not finite is `null` in the history. The event
/// file contains NaN instead, which TensorBoard marks in its charts.
fn scalars(event: &HistoryEvent) -> Vec<(u32, String, f32)> {
    let named = |group: &str, iteration: u32, values: &[(String, Option<f64>)]| {
        let scalar = |(name, value): &(String, Option<f64>)| {
            (iteration, format!("{group}/{name}"), value.map_or(f32::NAN, |value| value as f32))
        };
        values.iter().map(scalar).collect()
    };
    match event {
        HistoryEvent::Iteration { iteration, loss, seconds } => {
            let loss = (*iteration, "train/loss".to_owned(), loss.unwrap_or(f32::NAN));
            let seconds = seconds.map(|seconds| (*iteration, "train/seconds".to_owned(), seconds as f32));
            std::iter::once(loss).chain(seconds).collect()
        }
        HistoryEvent::Scalars { iteration, values } => named("train", *iteration, values),
        HistoryEvent::Epoch { iteration, metrics, .. } => named("metrics", *iteration, metrics),
        HistoryEvent::Saved { store, iteration, score: Some(score), .. } => {
            vec![(*iteration, format!("checkpoints/{store}_score"), *score)]
        }
        _ => Vec::new(),
    }
}

/// Returns the time of the last modification of a file, in seconds since 1970. Standard input has none.
fn modification_time(path: &Path) -> Result<f64> {
    if crate::tool::files::is_standard_stream(path) {
        return Ok(0.0);
    }
    let modified = path.metadata().and_then(|meta| meta.modified()).map_err(CliError::io("read", path))?;
    Ok(modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64())
}
