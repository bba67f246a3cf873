//! Follows runs and appends their new events to their event files.

use super::{append, append_or_replace, encode, event_file, push_values, record, start_time, write};
use crate::history::HistoryEvent;
use crate::tool::error::{CliError, Result};
use crate::tool::files::is_standard_stream;
use crate::tool::output::print_line;
use crate::tool::plot::run::Run;
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

/// The time between two checks of the histories.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// A followed history.
struct Followed {
    /// The name of the run.
    name: String,
    history: PathBuf,
    /// The length and the time of the last modification of the history when it was last read.
    version: Option<(u64, Option<SystemTime>)>,
    /// The event file, and what it contains.
    written: Option<Written>,
    has_stopped: bool,
}

struct Written {
    file: PathBuf,
    /// The time at which the run started. It stays the same if the history contains no times and is modified.
    start: f64,
    /// The length of the run's encoding, and its checksum.
    len: usize,
    checksum: u32,
}

/// Writes the event file of each run. Then appends the new events of the last run in each file until all of them have
/// stopped.
pub fn follow_runs(mut runs: Vec<Run>, directory: &Path) -> Result<()> {
    if runs.iter().any(|run| is_standard_stream(&run.file)) {
        return Err(CliError::usage("--follow needs a history file, because standard input has an end"));
    }
    write(&runs, directory)?;
    runs.reverse();
    runs.dedup_by(|earlier, later| earlier.file == later.file);
    let follow = |run: &Run| Followed {
        name: run.name.clone(),
        history: run.file.clone(),
        version: None,
        written: None,
        has_stopped: false,
    };
    let mut histories: Vec<Followed> = runs.iter().rev().map(follow).collect();
    loop {
        let mut has_changed = false;
        for history in &mut histories {
            has_changed |= history.update(directory)?;
        }
        // A run can continue after its end, so the command waits once more after the last change.
        if !has_changed && histories.iter().all(|history| history.has_stopped) {
            return Ok(());
        }
        sleep(POLL_INTERVAL);
    }
}

impl Followed {
    /// Writes the new events. Returns whether the history has changed.
    fn update(&mut self, directory: &Path) -> Result<bool> {
        let meta = self.history.metadata().map_err(CliError::io("read", &self.history))?;
        let version = |meta: &Metadata| (meta.len(), meta.modified().ok());
        if self.version == Some(version(&meta)) {
            return Ok(false);
        }
        self.version = Some(version(&meta));
        let Some(mut run) = Run::read(&self.history)?.pop() else { return Ok(false) };
        run.name.clone_from(&self.name);
        match &mut self.written {
            None => {
                let (file, start) = (event_file(&run, directory)?, start_time(&run)?);
                let content = encode(&run, start);
                append_or_replace(&file, &run, &content)?;
                print_line(format_args!("wrote {}; following the run", file.display()))?;
                self.written = Some(Written { file, start, len: content.len(), checksum: crc32c::crc32c(&content) });
            }
            Some(written) => written.update(&run)?,
        }
        self.has_stopped = run.has_stopped();
        Ok(true)
    }
}

impl Written {
    /// Appends the values that are not in the file.
    fn update(&mut self, run: &Run) -> Result<()> {
        let content = encode(run, self.start);
        let begin = content.get(..self.len).filter(|begin| crc32c::crc32c(begin) == self.checksum);
        match begin {
            Some(_) => append(&self.file, &content[self.len..])?,
            None => append(&self.file, &restart(run, self.start))?,
        }
        (self.len, self.checksum) = (content.len(), crc32c::crc32c(&content));
        Ok(())
    }
}

/// Returns the records of a run whose history does not contain all values of the event file: a restart, and the values that
/// follow. The run was resumed, which removed the later events from its history, or another run has started.
fn restart(run: &Run, start: f64) -> Vec<u8> {
    let resumed = run.events.iter().rev().find_map(|event| match event {
        HistoryEvent::Resumed { iteration, .. } => Some(iteration.saturating_add(1)),
        _ => None,
    });
    let step = resumed.unwrap_or(0);
    let rest = run.filter(|event| event.iteration().is_some_and(|iteration| iteration >= step));
    let start = rest.times.iter().flatten().next().copied().unwrap_or(start);
    let mut records = Vec::new();
    record::push_restart(&mut records, start, step);
    push_values(&mut records, &rest, start);
    records
}
