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
//! 1. Write a temporary file for each object, or [one file for all objects](Builder::single_file), and synchronize the
//!    file (`fsync`).
//! 2. If the checkpoint has several files, synchronize the directory. All temporary files then survive a power
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
//! The files contain all information: names, scores, the order of the checkpoints, the objects of each checkpoint, and
//! the series and the save to which each file belongs. There is no index file.
//!
//! A directory that is open for writing locks the file `.{prefix}.lock`. A second program, or a second `Directory` in
//! the same program, gets the error [`OpenError::Locked`], which names the owner of the lock. The operating system
//! releases the lock when the `Directory` is dropped or the program ends, also after a crash. The lock file itself
//! remains in the directory. On a file system without locks, [`Directory::is_locked`] returns `false`; two programs
//! must then not write the same prefix of a directory at the same time. The [read-only](Builder::open_read_only) mode
//! changes nothing and needs no lock, so it also works while another program saves.
//!
//! If another file already has the name of a new file, for example a checkpoint of another series, the new file gets a
//! variant of the name: `p_model_5~17.ckpt` with the sequence number 17 instead of `p_model_5.ckpt`.
//!
//! With `atomic(false)`, a save writes the final names directly, as Ignite does; a failed save then destroys the
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
//! assert_eq!(names, [".myprefix.lock", "myprefix_mymodel_4.ckpt", "myprefix_mymodel_6.ckpt"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod builder;
mod error;
mod file_name;
mod file_system;
mod location;
mod lock;
mod naming;
mod plan;
mod reader;
mod remove;
mod save;
mod scan;
mod summary;

pub use builder::Builder;
pub use error::{DirectoryError, OpenError, Operation};
pub use file_name::{FileName, ScoreText};
pub use file_system::{FileSystem, LockError, RealFs, RealLock};
pub use naming::{NameKind, Naming};
pub use plan::{Action, CheckpointFiles, FileEntry, IgnoreReason, IgnoredFile, Plan, RemoveReason, plan};
pub use reader::Reader;
pub use save::Writer;
pub use summary::StreamSummary;

use crate::Crc32Fast;
use location::Location;
use lock::Access;
use remove::PendingRemoval;
use save::PendingSave;
use scan::{MAX_HELD_FILES, Scan};
use std::fmt;
use std::path::{Path, PathBuf};
use training_monitor::checkpoint::{Encoded, Header};
use training_monitor::store::{CheckpointMeta, Store, StreamSpec};

/// A directory that stores the checkpoints of one training run as files. All files have the same filename prefix and
/// extension.
pub struct Directory<F: FileSystem = RealFs> {
    location: Location<F>,
    access: Access<F>,
    /// The committed checkpoints, from the oldest to the newest. In a read-only directory, a file of an interrupted
    /// commit has its temporary name.
    checkpoints: Vec<CheckpointFiles>,
    /// Removals of checkpoints that have begun but are not finished.
    pending_removals: Vec<PendingRemoval>,
    ignored: Vec<IgnoredFile>,
    pending_save: Option<PendingSave<F::Writer>>,
    /// `true` if a commit failed after some of its renames. A temporary file can then be the only copy of an object.
    /// Therefore the next save runs the recovery before it writes a file.
    needs_recovery: bool,
}

impl Directory {
    /// Creates a builder for the checkpoint directory `dirname`. The names of the checkpoint files have the form
    /// `{filename_prefix}_{object}_{step}[_{score_name}={score}].{extension}`.
    pub fn builder(dirname: impl Into<PathBuf>, filename_prefix: impl Into<String>) -> Builder {
        Builder::new(dirname.into(), filename_prefix.into())
    }
}

impl<F: FileSystem> Directory<F> {
    /// Creates a directory that lists no checkpoints.
    const fn new(location: Location<F>, access: Access<F>) -> Self {
        Directory {
            location,
            access,
            checkpoints: Vec::new(),
            pending_removals: Vec::new(),
            ignored: Vec::new(),
            pending_save: None,
            needs_recovery: false,
        }
    }

    /// Returns the path of the directory. A leading `~` is already replaced by the home directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.location.dir
    }

    /// Returns the file system that the directory uses.
    #[must_use]
    pub const fn file_system(&self) -> &F {
        &self.location.fs
    }

    /// Returns the paths of all files of the checkpoint with this sequence number, in the order of its objects. Yields
    /// nothing if there is no such checkpoint.
    pub fn files(&self, sequence: u32) -> impl Iterator<Item = PathBuf> {
        let files = self.position(sequence).and_then(|index| self.checkpoints.get(index));
        files.into_iter().flat_map(|checkpoint| &checkpoint.files).map(|name| self.location.path(name))
    }

    /// Returns the unusable checkpoint files with this prefix: damaged files, and files of incomplete checkpoints. A
    /// failed save or a power failure leaves such files. They are never removed, but a save may replace them.
    pub fn incomplete(&self) -> impl Iterator<Item = &IgnoredFile> {
        self.ignored.iter().filter(|file| file.reason.is_replaceable())
    }

    /// Returns the files that have a name like a checkpoint file of this directory, but cannot be used. They belong to
    /// another prefix or program, have a newer format version, are copies, are unreadable, or are no regular files.
    /// They are never changed.
    pub fn foreign(&self) -> impl Iterator<Item = &IgnoredFile> {
        self.ignored.iter().filter(|file| !file.reason.is_replaceable())
    }

    /// Returns whether the directory has locked its prefix. The result is `false` if the directory is read-only, or if
    /// its file system has no locks.
    #[must_use]
    pub const fn is_locked(&self) -> bool {
        matches!(self.access, Access::Write(Some(_)))
    }

    /// Returns whether the directory is open for reading only.
    #[must_use]
    pub const fn is_read_only(&self) -> bool {
        matches!(self.access, Access::ReadOnly(_))
    }

    /// Lists the checkpoints of a read-only directory again, to find those that another program saved meanwhile. A
    /// directory that is open for writing knows its own saves, so the method does nothing.
    ///
    /// # Errors
    /// Returns an error if the directory cannot be listed. The list is unchanged in this case.
    pub fn refresh(&mut self) -> Result<(), DirectoryError> {
        if !self.is_read_only() {
            return Ok(());
        }
        let Scan { files, mut held, .. } = self.location.scan(MAX_HELD_FILES)?;
        let mut plan = plan(&self.location.naming, files);
        let mut checkpoints = std::mem::take(&mut plan.checkpoints);
        for file in checkpoints.iter_mut().flat_map(|checkpoint| &mut checkpoint.files) {
            *file = plan.current_name(file).to_owned();
        }
        held.retain(|name, _| checkpoints.iter().any(|checkpoint| checkpoint.files.contains(name)));
        self.access = Access::ReadOnly(held);
        (self.checkpoints, self.ignored) = (checkpoints, plan.ignored);
        Ok(())
    }

    /// Returns the index of the checkpoint in the list.
    fn position(&self, sequence: u32) -> Option<usize> {
        self.checkpoints.iter().position(|checkpoint| checkpoint.meta.sequence == sequence)
    }

    /// Returns an error if the directory is read-only.
    fn check_writable(&self) -> Result<(), DirectoryError> {
        if self.is_read_only() { Err(DirectoryError::ReadOnly { path: self.location.dir.clone() }) } else { Ok(()) }
    }

    /// Reads all checkpoint files, finishes interrupted saves and removals, and lists the checkpoints.
    fn recover(&mut self) -> Result<(), DirectoryError> {
        // Synchronize earlier renames first. A power failure could still revert the renames of a killed program or of a
        // failed commit, but the recovery plan relies on these renames.
        self.location.sync_dir()?;
        let plan = plan(&self.location.naming, self.location.scan(0)?.files);
        self.location.apply(&plan.actions)?;
        self.checkpoints = plan.checkpoints;
        self.ignored = plan.ignored;
        self.pending_removals.clear();
        self.needs_recovery = false;
        Ok(())
    }

    /// Returns the names of the objects of a checkpoint whose files no longer exist.
    fn missing_objects(&self, checkpoint: &CheckpointFiles) -> Result<Vec<String>, DirectoryError> {
        let mut missing = Vec::new();
        for (name, object) in checkpoint.files.iter().zip(&checkpoint.objects) {
            let path = self.location.path(name);
            let is_held = matches!(&self.access, Access::ReadOnly(held) if held.contains_key(name));
            if !is_held && !self.location.fs.exists(&path).map_err(DirectoryError::io(Operation::Open, &path))? {
                missing.push(object.clone());
            }
        }
        Ok(missing)
    }

    /// Removes a checkpoint from the list. Its files become ignored files, except those of the objects `missing`.
    fn unlist(&mut self, index: usize, missing: Vec<String>) {
        let CheckpointFiles { meta, files, objects } = self.checkpoints.remove(index);
        let existing: Vec<String> = (files.into_iter().zip(&objects))
            .filter_map(|(name, object)| (!missing.contains(object)).then_some(name))
            .collect();
        let reason = IgnoreReason::Incomplete { step: meta.step, sequence: meta.sequence, missing };
        self.ignored.extend(existing.into_iter().map(|name| IgnoredFile { name, reason: reason.clone() }));
    }
}

impl<F: FileSystem> Store for Directory<F> {
    type Error = DirectoryError;
    type Writer<'a>
        = Writer<'a, F>
    where
        Self: 'a;
    type Reader<'a>
        = Reader<'a, F>
    where
        Self: 'a;
    type Checksum = Crc32Fast;

    const LARGE_BUFFER: bool = true;
    const SHARED: bool = true;

    fn has_stream_per_object(&self) -> bool {
        !self.location.single_file
    }

    fn check(&mut self, spec: &StreamSpec<'_>) -> Result<(), DirectoryError> {
        self.check_writable()?;
        self.check_names(spec)
    }

    fn create(&mut self, spec: &StreamSpec<'_>) -> Result<Writer<'_, F>, DirectoryError> {
        self.check_writable()?;
        self.create_stream(spec)
    }

    fn commit(&mut self, header: &Header<'_>, last: &Encoded) -> Result<(), DirectoryError> {
        self.check_writable()?;
        self.commit_save(header, last)
    }

    fn checkpoint(&mut self, index: u32) -> Result<Option<CheckpointMeta>, DirectoryError> {
        Ok(self.checkpoints.get(index as usize).map(|checkpoint| checkpoint.meta))
    }

    /// Also checks that all files still exist. If a file is missing, the checkpoint is no longer listed.
    fn stream_count(&mut self, sequence: u32) -> Result<u32, DirectoryError> {
        let Some(index) = self.position(sequence) else { return Ok(0) };
        let Some(checkpoint) = self.checkpoints.get(index) else { return Ok(0) };
        let (count, missing) = (checkpoint.files.len() as u32, self.missing_objects(checkpoint)?);
        if missing.is_empty() {
            return Ok(count);
        }
        self.unlist(index, missing);
        Ok(0)
    }

    fn damaged(&mut self) -> u32 {
        plan::count_damaged(&self.location.naming, &self.ignored)
    }

    fn open(&mut self, sequence: u32, stream_index: u32) -> Result<Reader<'_, F>, DirectoryError> {
        self.open_stream(sequence, stream_index)
    }

    fn remove(&mut self, sequence: u32) -> Result<(), DirectoryError> {
        self.check_writable()?;
        self.remove_checkpoint(sequence)
    }

    fn erase(&mut self, sequence: u32) -> Result<(), DirectoryError> {
        self.remove(sequence)?;
        // The removal of a single file is not synchronized, so a power failure could restore the file.
        self.location.sync_dir()
    }
}

impl<F: FileSystem> fmt::Debug for Directory<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Location { dir, naming, atomic, durable, .. } = &self.location;
        let mut debug = f.debug_struct("Directory");
        debug.field("dir", dir).field("naming", naming).field("atomic", atomic).field("durable", durable);
        debug.field("is_read_only", &self.is_read_only()).field("is_locked", &self.is_locked());
        debug.field("checkpoints", &self.checkpoints).field("pending_removals", &self.pending_removals);
        debug.field("ignored", &self.ignored).field("pending_save", &self.pending_save).finish_non_exhaustive()
    }
}

impl<F: FileSystem> Drop for Directory<F> {
    fn drop(&mut self) {
        self.abort_save();
    }
}
