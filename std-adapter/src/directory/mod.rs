//! Checkpoints as files: Ignite's names, one file an object, and what Ignite does not have, a promise at a power cut.
//!
//! *If a save returned Ok, that checkpoint is whole and readable after any power cut until it is removed; an interrupted
//! save is there whole or not at all; opening needs no repair by hand, and never touches a file that is not ours.*
//!
//! One save, in order: each object goes to a temp file in the same directory, which is synced; for several objects the
//! directory is synced, so that all temp files are known to be there; each gets its final name; the directory is synced;
//! the save has succeeded. Only then is the checkpoint removed that goes. So at every instant the old set or the new
//! one can be had from the files; opening brings a set that a cut left between its temp and its final names to its end.
//! Removing a set of several files begins with a mark, the same way.
//!
//! Everything is told from the files: names, scores, order, what belongs together, by the header that is in each. There
//! is no index and no lock file; two runs must not write the same prefix of one directory at the same time.
//! With `atomic(false)` files are written under their final names, as in Ignite, and a save that fails destroys what
//! had its names; with `durable(false)` nothing is synced, which holds if the program is killed but not if power goes.
//!
//! Ignite's own example: every second of six calls is saved, two are kept.
//!
//! ```
//! use training_monitor::{Engine, ModelCheckpoint, State, checkpoint::Named, event::{EpochCompleted, IterationCompleted}, on};
//! use training_monitor_std::Directory;
//!
//! let dir = tempfile::tempdir()?;
//! let mut model = Named::new("mymodel", [0.0_f32; 8]);
//!
//! let files = Directory::builder(dir.path(), "myprefix").open()?;
//! let checkpoint = ModelCheckpoint::<2>::every(2)?.n_saved(2).build()?;
//!
//! // The handler is attached to an evaluator, which the trainer runs after each of its epochs.
//! let evaluate = on(EpochCompleted, |model: &mut Named<[f32; 8]>, _: &mut State<f32>, evaluator: &mut Engine<f32>, handlers: &mut _| {
//!     evaluator.run(model, 0..2, handlers, |_, _, _| 0.0).expect("an evaluation");
//! })
//! .with(Engine::new(1), checkpoint.attach(EpochCompleted, files)?);
//! Engine::new(6).run(&mut model, 0..3, &mut { evaluate }, |model, batch, _| {
//!     model.1[batch as usize] += 1.0;
//!     0.5
//! })?;
//!
//! let mut names: Vec<_> = std::fs::read_dir(dir.path())?.map(|entry| entry.unwrap().file_name()).collect();
//! names.sort();
//! assert_eq!(names, ["myprefix_mymodel_4.ckpt", "myprefix_mymodel_6.ckpt"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod builder;
mod error;
mod file_system;
mod file_name;
mod naming;
mod save;
mod scan;

pub use builder::Builder;
pub use error::{DirectoryError, OpenError, Operation};
pub use file_system::{FileSystem, RealFs};
pub use save::Writer;
pub use scan::{Ignored, Reason};

use crate::Crc32Fast;
use naming::Naming;
use save::Pending;
use scan::Buffered;
use std::fmt;
use std::path::{Path, PathBuf};
use training_monitor::checkpoint::{Encoded, Header};
use training_monitor::embedded_io::{ErrorType, Read};
use training_monitor::store::{StreamSpec, Store, CheckpointMeta};

/// A directory of checkpoints.
pub struct Directory<F: FileSystem = RealFs> {
    fs: F,
    place: Place,
    /// What counts, from the oldest to the newest.
    sets: Vec<Set>,
    /// Removals that have begun, and are not known to be done.
    going: Vec<Going>,
    ignored: Vec<Ignored>,
    pending: Option<Pending<F::Writer>>,
    /// A commit failed among its renames. Until [`scan`](scan::scan) has settled what is whole, nothing is written:
    /// it might destroy the last copy of something.
    unsettled: bool,
}

/// Where the files are, and how they are written.
#[derive(Clone, Debug)]
struct Place {
    dir: PathBuf,
    naming: Naming,
    atomic: bool,
    durable: bool,
}

/// The files of one checkpoint, in the order of its objects.
#[derive(Clone, Debug)]
struct Set {
    stored: CheckpointMeta,
    files: Vec<String>,
}

/// A set of several files that is being removed.
#[derive(Debug)]
struct Going {
    step: u32,
    /// The final name of the file that is now the mark.
    mark: String,
    rest: Vec<String>,
}

impl Place {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn rename<F: FileSystem>(&self, fs: &F, from: &str, to: &str) -> Result<(), DirectoryError> {
        let from = self.path(from);
        fs.rename(&from, &self.path(to)).map_err(DirectoryError::io(Operation::Rename, from))
    }

    /// A file that is not there is removed already.
    fn remove<F: FileSystem>(&self, fs: &F, name: &str) -> Result<(), DirectoryError> {
        let path = self.path(name);
        match fs.remove(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(DirectoryError::io(Operation::Remove, path)(error))
            }
            _ => Ok(()),
        }
    }

    fn sync_dir<F: FileSystem>(&self, fs: &F) -> Result<(), DirectoryError> {
        if self.durable {
            fs.sync_dir(&self.dir).map_err(DirectoryError::io(Operation::SyncDir, &self.dir))
        } else {
            Ok(())
        }
    }
}

impl Directory {
    /// Checkpoints `{filename_prefix}_{object}_{step}[_{score_name}={score}].{extension}` in `dirname`.
    pub fn builder(dirname: impl Into<PathBuf>, filename_prefix: impl Into<String>) -> Builder {
        Builder::new(dirname.into(), filename_prefix.into())
    }
}

impl<F: FileSystem> Directory<F> {
    /// The directory, with `~` expanded.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.place.dir
    }

    /// The files of the checkpoint of `step`, one an object; none when it is not committed.
    pub fn files(&self, step: u32) -> impl Iterator<Item = PathBuf> {
        let set = self.sets.iter().find(move |set| set.stored.step == step);
        set.into_iter().flat_map(|set| &set.files).map(|name| self.place.path(name))
    }

    /// Files of this prefix that do not count as a checkpoint: parts of one, or damaged. They were found at the opening
    /// or left by a failed save, and are never removed.
    pub fn incomplete(&self) -> impl Iterator<Item = &Ignored> {
        self.ignored.iter().filter(|file| file.reason.is_ours())
    }

    /// Files that are called like ours and are not: of another prefix, a newer format, another program; or unreadable.
    pub fn foreign(&self) -> impl Iterator<Item = &Ignored> {
        self.ignored.iter().filter(|file| !file.reason.is_ours())
    }

    fn set(&self, step: u32) -> Result<&Set, DirectoryError> {
        self.sets.iter().find(|set| set.stored.step == step).ok_or(DirectoryError::NotStored { step })
    }

    /// Reads everything; what an interrupted operation left is brought to its end.
    fn settle(&mut self) -> Result<(), DirectoryError> {
        // What a program that was killed, or a commit that failed, did to the names may be seen and still not be on the
        // medium. It must be before anything is written: a new temp file could take the place of one that is needed.
        self.place.sync_dir(&self.fs)?;
        let found = scan::scan(&self.fs, &self.place)?;
        self.sets = found.sets;
        self.ignored = found.ignored;
        self.going.clear();
        self.unsettled = false;
        Ok(())
    }

    /// Gives the first file of a set that is still there the name that marks the set as going.
    fn mark(&self, files: &[String]) -> Result<Option<String>, DirectoryError> {
        for name in files {
            match self.place.rename(&self.fs, name, &self.place.naming.gone(name)) {
                Ok(()) => return Ok(Some(name.clone())),
                // Somebody else removed it; the next one will do.
                Err(DirectoryError::Io { cause, .. }) if cause.kind() == std::io::ErrorKind::NotFound => (),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Brings removals of `step` that have begun to their end.
    fn finish_removals(&mut self, step: u32) -> Result<(), DirectoryError> {
        while let Some((index, going)) = self.going.iter().enumerate().find(|(_, going)| going.step == step) {
            // First the mark is on the medium, then the rest is gone from it, then the mark goes.
            self.place.sync_dir(&self.fs)?;
            going.rest.iter().try_for_each(|name| self.place.remove(&self.fs, name))?;
            self.place.sync_dir(&self.fs)?;
            self.place.remove(&self.fs, &self.place.naming.gone(&going.mark))?;
            self.going.remove(index);
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

    fn create(&mut self, opening: &StreamSpec<'_>) -> Result<Writer<'_, F>, DirectoryError> {
        self.begin(opening)
    }

    fn commit(&mut self, header: &Header<'_>, _: &Encoded) -> Result<(), DirectoryError> {
        self.finish(header)
    }

    fn checkpoint(&mut self, index: u32) -> Result<Option<CheckpointMeta>, DirectoryError> {
        Ok(self.sets.get(index as usize).map(|set| set.stored))
    }

    fn stream_count(&mut self, step: u32) -> Result<u32, DirectoryError> {
        Ok(self.set(step).map_or(0, |set| set.files.len() as u32))
    }

    fn open(&mut self, step: u32, part: u32) -> Result<Reader<F>, DirectoryError> {
        let name = self.set(step)?.files.get(part as usize).ok_or(DirectoryError::NotStored { step })?;
        let path = self.place.path(name);
        let file = self.fs.open(&path).map_err(DirectoryError::io(Operation::Open, &path))?;
        Ok(Reader(Buffered { reader: std::io::BufReader::new(file), path }))
    }

    fn remove(&mut self, step: u32) -> Result<(), DirectoryError> {
        self.finish_removals(step)?;
        let Some(index) = self.sets.iter().position(|set| set.stored.step == step) else { return Ok(()) };
        let Some(mut set) = self.sets.get(index).cloned() else { return Ok(()) };
        if let [name] = &set.files[..] {
            // One name is there or it is not. Not synced: should it come back, it is removed again.
            self.place.remove(&self.fs, name)?;
            self.sets.remove(index);
            return Ok(());
        }
        let mark = self.mark(&set.files)?;
        self.sets.remove(index);
        if let Some(mark) = mark {
            set.files.retain(|name| *name != mark);
            self.going.push(Going { step, mark, rest: set.files });
        }
        self.finish_removals(step)
    }
}

impl<F: FileSystem> fmt::Debug for Directory<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Directory { place, sets, going, ignored, pending, .. } = self;
        let mut debug = f.debug_struct("Directory");
        debug.field("place", place).field("sets", sets).field("going", going).field("ignored", ignored);
        debug.field("pending", pending).finish_non_exhaustive()
    }
}

impl<F: FileSystem> Drop for Directory<F> {
    fn drop(&mut self) {
        self.abandon();
    }
}

/// Reads a file of a checkpoint.
pub struct Reader<F: FileSystem>(Buffered<F::Reader>);

impl<F: FileSystem> ErrorType for Reader<F> {
    type Error = DirectoryError;
}

impl<F: FileSystem> Read for Reader<F> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, DirectoryError> {
        self.0.read(into)
    }
}
