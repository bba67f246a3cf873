//! Reads the checkpoints of the run that the command `watch` displays. The checkpoints contain values that the log
//! lacks.

use crate::tool::handler_state::HandlerState;
use crate::tool::inventory::flash_dump::Geometry;
use crate::tool::inventory::{Inventory, Selection};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The minimum time between two reads of the checkpoints. Each read takes long, because it loads all checkpoints
/// completely.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// The checkpoints of a run in a directory or in a flash dump.
pub struct CheckpointWatcher {
    path: PathBuf,
    /// The number of saves when the checkpoints were last read, and the time of that read.
    last_read: Option<(usize, Instant)>,
}

/// The values that only the checkpoints contain: handler states, erase counts and damage.
#[derive(Default)]
pub struct CheckpointStatus {
    /// The handler states in the newest checkpoint.
    pub handlers: Vec<HandlerState>,
    /// The name and the total erase count of each flash region.
    pub erases: Vec<(String, u32)>,
    /// The number of damaged checkpoints.
    pub damaged: usize,
    /// The number of epochs of the run: the metadata `epochs` of the newest checkpoint.
    pub epochs: Option<u32>,
    /// The number of iterations of an epoch.
    pub epoch_length: Option<u32>,
}

impl CheckpointWatcher {
    pub fn new(path: &Path) -> CheckpointWatcher {
        CheckpointWatcher { path: path.to_owned(), last_read: None }
    }

    /// Reads the checkpoints if the run has saved again since the last read. `saves` is the number of saves so far.
    /// Returns `None` if the checkpoints were not read.
    pub fn read_after_save(&mut self, saves: usize) -> Option<CheckpointStatus> {
        let is_due = self.last_read.is_none_or(|(known, time)| known != saves && time.elapsed() > MIN_INTERVAL);
        if !is_due {
            return None;
        }
        self.last_read = Some((saves, Instant::now()));
        // The inventory can fail if a save is in progress. The next save then triggers a new read.
        let inventory = Inventory::new(&self.path, &Geometry::default()).ok()?;
        let newest = inventory.select(&Selection::default()).ok();
        let record = newest.and_then(|checkpoint| checkpoint.header.record());
        let metadata =
            newest.and_then(|checkpoint| checkpoint.header.metadata.iter().find(|(name, _)| name == "epochs"));
        let epochs = metadata.and_then(|(_, value)| std::str::from_utf8(value).ok()?.parse().ok());
        let erases = inventory.series.iter().filter_map(|series| Some((series.name.clone(), series.region?.erases)));
        Some(CheckpointStatus {
            handlers: record.map(HandlerState::all).unwrap_or_default(),
            erases: erases.collect(),
            damaged: inventory.losses().count(),
            epochs: epochs.filter(|epochs| *epochs > 0),
            epoch_length: record.map(|record| record.engine.epoch_length).filter(|length| *length > 0),
        })
    }
}
