//! Checkpoints as files. Each object has its own file with the file name that Ignite would use. Committed checkpoints
//! survive a power failure.
//!
//! A [`Directory`] guarantees, also after a power failure at any time:
//!
//! * A checkpoint whose save returned `Ok` is complete and readable until the directory removes it.
//! * A checkpoint whose save was interrupted is either complete or absent.
//! * Opening the directory needs no manual repair.
//! * Files that do not belong to this series of checkpoints are never changed.
//!
//! A save performs these steps:
//!
//! 1. Write a temporary file for each object, and synchronize the file (`fsync`).
//! 2. If the checkpoint has several objects, synchronize the directory. All temporary files then survive a power
//!    failure.
//! 3. Rename each temporary file to its final name.
//! 4. Synchronize the directory. The save has succeeded.
//!
//! The checkpoint handler removes an evicted checkpoint only after a successful save. Therefore the files contain the
//! old or the new checkpoint at any time. If power fails during step 3, the next opening renames the remaining
//! temporary files.
//!
//! The removal of a checkpoint of several files begins with the rename of one file to a tombstone. The tombstone tells
//! the next opening to finish an interrupted removal. The function [`plan`] describes the rules of recovery and returns
//! them as data.
//!
//! The files contain all information: names, scores, the order of the checkpoints, and the objects of each checkpoint.
//! There is no index file and no lock file, so two programs must not write the same prefix of a directory at the same
//! time. With `atomic(false)`, a save writes the final names directly, as Ignite does; a failed save then destroys the
//! older files of these names. With `durable(false)`, the directory synchronizes nothing; the guarantees then hold if
//! the program is killed, but not after a power failure.
//!
//! This example corresponds to the example in Ignite's documentation. Every second of six calls saves a checkpoint, and
//! the directory keeps two.
//!
//! ```
//! use training_monitor::{Engine, ModelCheckpoint, checkpoint::Named, engine::Evaluator, event::EpochCompleted};
//! use training_monitor_std::Directory;
//!
//! let dir = tempfile::tempdir()?;
//! let mut model = Named::new("mymodel", [0.0_f32; 8]);
//! let files = Directory::builder(dir.path(), "myprefix").open()?;
//!
//! // The checkpoint handler is attached to an evaluator, which the trainer runs after each of its epochs.
//! let checkpoint = ModelCheckpoint::<2>::every(2)?.attach(EpochCompleted, files)?;
//! let evaluate = Evaluator::new(Engine::<f32>::new(1), checkpoint).run_at(
//!     EpochCompleted,
//!     |model, _, evaluator, handlers| {
//!         evaluator.run(model, 0..2, handlers, |_, _, _| 0.0).expect("an evaluation");
//!     },
//! );
//! Engine::new(6).run(&mut model, 0..3, &mut { evaluate }, |model, batch, _| model[batch as usize] += 1.0)?;
//!
//! let mut names: Vec<_> = std::fs::read_dir(dir.path())?.map(|entry| entry.unwrap().file_name()).collect();
//! names.sort();
//! assert_eq!(names, ["myprefix_mymodel_4.ckpt", "myprefix_mymodel_6.ckpt"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod builder;
mod error;
mod file_name;
mod file_system;
mod location;
mod naming;
mod plan;
mod save;
mod summary;

pub use builder::Builder;
pub use error::{DirectoryError, OpenError, Operation};
pub use file_name::{FileName, ScoreText};
pub use file_system::{FileSystem, RealFs};
pub use naming::{NameKind, Naming};
pub use plan::{Action, CheckpointFiles, FileEntry, IgnoreReason, IgnoredFile, Plan, RemoveReason, plan};
pub use save::Writer;
pub use summary::StreamSummary;

use crate::Crc32Fast;
use location::Location;
use save::PendingSave;
use std::fmt;
use std::path::{Path, PathBuf};
use summary::BufferedReader;
use training_monitor::checkpoint::{Encoded, Header};
use training_monitor::embedded_io::{ErrorType, Read};
use training_monitor::store::{CheckpointMeta, Store, StreamSpec};

/// A directory that stores the checkpoints of one training run as files. All files have the same filename prefix and
/// extension.
pub struct Directory<F: FileSystem = RealFs> {
    location: Location<F>,
    /// The committed checkpoints, from the oldest to the newest.
    checkpoints: Vec<CheckpointFiles>,
    /// Removals of checkpoints that have begun but are not finished.
    pending_removals: Vec<PendingRemoval>,
    ignored: Vec<IgnoredFile>,
    pending_save: Option<PendingSave<F::Writer>>,
    /// `true` if a commit failed after some of its renames. A temporary file can then be the only copy of an object.
    /// Therefore the next save runs the recovery before it writes a file.
    needs_recovery: bool,
}

/// The unfinished removal of a checkpoint that consists of several files.
#[derive(Debug)]
struct PendingRemoval {
    step: u32,
    /// The original name of the file that was renamed to a tombstone. The tombstone marks the removal as unfinished.
    tombstone_of: String,
    /// The names of the other files of the checkpoint, which must be removed before the tombstone (the marker file).
    files: Vec<String>,
}

impl Directory {
    /// Creates a builder for the checkpoint directory `dirname`. The names of the checkpoint files have the form
    /// `{filename_prefix}_{object}_{step}[_{score_name}={score}].{extension}`.
    pub fn builder(dirname: impl Into<PathBuf>, filename_prefix: impl Into<String>) -> Builder {
        Builder::new(dirname.into(), filename_prefix.into())
    }
}

impl<F: FileSystem> Directory<F> {
    /// Returns the path of the directory. A leading `~` is already replaced by the home directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.location.dir
    }

    /// Returns the paths of all files of the checkpoint with the step number `step`, in the order of its objects.
    /// Yields nothing if there is no such checkpoint.
    pub fn files(&self, step: u32) -> impl Iterator<Item = PathBuf> {
        let checkpoint = self.checkpoints.iter().find(move |checkpoint| checkpoint.meta.step == step);
        checkpoint.into_iter().flat_map(|checkpoint| &checkpoint.files).map(|name| self.location.path(name))
    }

    /// Returns the unusable checkpoint files with this prefix: damaged files, and files of incomplete checkpoints. A
    /// failed save or a power failure leaves such files. They are never removed, but a save may replace them.
    pub fn incomplete(&self) -> impl Iterator<Item = &IgnoredFile> {
        self.ignored.iter().filter(|file| file.reason.is_replaceable())
    }

    /// Returns the files that have a name like a checkpoint file of this directory, but cannot be used. They belong to
    /// another prefix or program, have a newer format version, or are unreadable. They are never changed.
    pub fn foreign(&self) -> impl Iterator<Item = &IgnoredFile> {
        self.ignored.iter().filter(|file| !file.reason.is_replaceable())
    }

    fn files_of(&self, step: u32) -> Result<&CheckpointFiles, DirectoryError> {
        let found = self.checkpoints.iter().find(|checkpoint| checkpoint.meta.step == step);
        found.ok_or_else(|| DirectoryError::NoCheckpoint { path: self.location.dir.clone(), step })
    }

    /// Reads all checkpoint files, finishes interrupted saves and removals, and lists the checkpoints.
    fn recover(&mut self) -> Result<(), DirectoryError> {
        // Synchronize earlier renames first. A power failure could still revert the renames of a killed program or of a
        // failed commit, but the recovery plan relies on these renames.
        self.location.sync_dir()?;
        let plan = plan(&self.location.naming, self.location.read_files()?);
        self.location.apply(&plan.actions)?;
        self.checkpoints = plan.checkpoints;
        self.ignored = plan.ignored;
        self.pending_removals.clear();
        self.needs_recovery = false;
        Ok(())
    }

    /// Finishes all pending removals (begun but not finished) of checkpoints with the step number `step`.
    fn finish_removals(&mut self, step: u32) -> Result<(), DirectoryError> {
        let is_of_step = |removal: &PendingRemoval| removal.step == step;
        while let Some(index) = self.pending_removals.iter().position(is_of_step) {
            let Some(PendingRemoval { tombstone_of, files, .. }) = self.pending_removals.get(index) else { break };
            // The tombstone is a renamed file that marks the unfinished removal. Synchronize the tombstone before the
            // first of the other files is removed. Remove the tombstone only after the removal of the other files is
            // synchronized. Otherwise a power failure could leave some files without a tombstone.
            self.location.sync_dir()?;
            files.iter().try_for_each(|name| self.location.remove(name))?;
            self.location.sync_dir()?;
            self.location.remove(&self.location.naming.tombstone_name(tombstone_of))?;
            self.pending_removals.remove(index);
        }
        Ok(())
    }
}

impl<F: FileSystem> Store for Directory<F> {
    type Error = DirectoryError;
    type Writer<'a>
        = Writer<'a, F>
    where
        Self: 'a;
    type Reader<'a>
        = Reader<F>
    where
        Self: 'a;
    type Checksum = Crc32Fast;

    const STREAM_PER_OBJECT: bool = true;
    const LARGE_BUFFER: bool = true;

    fn create(&mut self, spec: &StreamSpec<'_>) -> Result<Writer<'_, F>, DirectoryError> {
        self.create_stream(spec)
    }

    fn commit(&mut self, header: &Header<'_>, _: &Encoded) -> Result<(), DirectoryError> {
        self.commit_save(header)
    }

    fn checkpoint(&mut self, index: u32) -> Result<Option<CheckpointMeta>, DirectoryError> {
        Ok(self.checkpoints.get(index as usize).map(|checkpoint| checkpoint.meta))
    }

    fn stream_count(&mut self, step: u32) -> Result<u32, DirectoryError> {
        Ok(self.files_of(step).map_or(0, |checkpoint| checkpoint.files.len() as u32))
    }

    fn open(&mut self, step: u32, stream_index: u32) -> Result<Reader<F>, DirectoryError> {
        let file = self.files_of(step)?.files.get(stream_index as usize);
        let file = file.ok_or_else(|| DirectoryError::NoCheckpoint { path: self.location.dir.clone(), step })?;
        self.location.open(file).map(Reader)
    }

    fn remove(&mut self, step: u32) -> Result<(), DirectoryError> {
        self.finish_removals(step)?;
        let Some(index) = self.checkpoints.iter().position(|checkpoint| checkpoint.meta.step == step) else {
            return Ok(());
        };
        let Some(mut files) = self.checkpoints.get(index).map(|checkpoint| checkpoint.files.clone()) else {
            return Ok(());
        };
        if let [name] = &files[..] {
            // The removal of a single file is atomic, so no tombstone (marker file) is needed. No synchronization is
            // needed either: if a power failure restores the file, the checkpoint handler removes the file again.
            self.location.remove(name)?;
            self.checkpoints.remove(index);
            return Ok(());
        }
        let tombstone_of = self.location.rename_to_tombstone(&files)?;
        self.checkpoints.remove(index);
        if let Some(tombstone_of) = tombstone_of {
            files.retain(|name| *name != tombstone_of);
            self.pending_removals.push(PendingRemoval { step, tombstone_of, files });
        }
        self.finish_removals(step)
    }
}

impl<F: FileSystem> fmt::Debug for Directory<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Location { dir, naming, atomic, durable, .. } = &self.location;
        let mut debug = f.debug_struct("Directory");
        debug.field("dir", dir).field("naming", naming).field("atomic", atomic).field("durable", durable);
        debug.field("checkpoints", &self.checkpoints).field("pending_removals", &self.pending_removals);
        debug.field("ignored", &self.ignored).field("pending_save", &self.pending_save).finish_non_exhaustive()
    }
}

impl<F: FileSystem> Drop for Directory<F> {
    fn drop(&mut self) {
        self.abort_save();
    }
}

/// A reader for one file of a checkpoint.
pub struct Reader<F: FileSystem>(BufferedReader<F::Reader>);

impl<F: FileSystem> ErrorType for Reader<F> {
    type Error = DirectoryError;
}

impl<F: FileSystem> Read for Reader<F> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, DirectoryError> {
        self.0.read(into)
    }
}
