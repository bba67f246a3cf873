//! The settings of a checkpoint directory, and their validation. Ignite's `ModelCheckpoint` has the same settings.

use super::Directory;
use super::error::{DirectoryError, OpenError, Operation};
use super::file_system::{FileSystem, RealFs};
use super::location::Location;
use super::lock::{Access, lock};
use super::naming::{MAX_FILE_NAME, NameKind, Naming};
use super::scan::HeldFiles;
use std::env;
use std::path::{Path, PathBuf};

/// A builder for a [`Directory`]. By default, the file extension is `ckpt`, and saves are atomic and durable. Opening
/// creates a missing directory, but fails if the directory contains a file whose name begins with the filename prefix.
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    dirname: PathBuf,
    prefix: String,
    extension: String,
    atomic: bool,
    durable: bool,
    single_file: bool,
    require_empty: bool,
    create_dir: bool,
}

impl Builder {
    pub(super) fn new(dirname: PathBuf, prefix: String) -> Self {
        let extension = "ckpt".to_owned();
        let (atomic, durable, single_file, require_empty, create_dir) = (true, true, false, true, true);
        Builder { dirname, prefix, extension, atomic, durable, single_file, require_empty, create_dir }
    }

    /// Sets the file extension, without the dot.
    pub fn extension(mut self, extension: impl Into<String>) -> Self {
        self.extension = extension.into();
        self
    }

    /// Sets whether a save writes temporary files first and renames them at the end. If `false`, a save writes the
    /// final files directly, so a failed save destroys older files of the same names.
    pub fn atomic(mut self, atomic: bool) -> Self {
        self.atomic = atomic;
        self
    }

    /// Sets whether a save waits until its files are on the medium (`fsync`). If `false`, a checkpoint survives the end
    /// of the program, but may not survive a power failure.
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// Sets whether a save writes all objects of a checkpoint to one file, with the name `checkpoint` in place of the
    /// name of an object, as later versions of Ignite do. By default, each object has its own file, as in Ignite 0.2.
    ///
    /// A save to one file synchronizes twice: the file, and the directory. A save to n files synchronizes n + 2 times:
    /// each file, the directory before the first rename so that an interrupted commit can be completed, and the directory
    /// after the last rename. The removal of an older checkpoint of several files synchronizes twice more: after the
    /// first file has become the mark of the removal, and before this mark is removed. The second of them could wait for
    /// the next save, but the mark would then occupy the disk and appear in every list of files until that save.
    ///
    /// The setting does not affect the checkpoints that the directory already contains.
    ///
    /// ```
    /// use training_monitor::{Engine, ModelCheckpoint, event::EpochCompleted};
    /// use training_monitor::checkpoint::Objects;
    /// use training_monitor_std::Directory;
    ///
    /// #[derive(Objects)]
    /// struct Training {
    ///     net: [f32; 8],
    ///     momentum: [f32; 8],
    /// }
    ///
    /// let dir = tempfile::tempdir()?;
    /// let files = Directory::builder(dir.path(), "best").single_file(true).open()?;
    /// let mut checkpoint = ModelCheckpoint::<1>::every(1)?.attach(EpochCompleted, files)?;
    /// let mut training = Training { net: [0.5; 8], momentum: [0.0; 8] };
    /// Engine::<()>::new(2).run(&mut training, 0..3, &mut checkpoint, |_, _, _| ())?;
    /// assert!(dir.path().join("best_checkpoint_2.ckpt").exists());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn single_file(mut self, single_file: bool) -> Self {
        self.single_file = single_file;
        self
    }

    /// Sets whether opening fails if the directory contains a file whose name begins with the prefix. Set `false` to
    /// resume a run.
    pub fn require_empty(mut self, require_empty: bool) -> Self {
        self.require_empty = require_empty;
        self
    }

    /// Sets whether opening creates the directory if it does not exist.
    pub fn create_dir(mut self, create_dir: bool) -> Self {
        self.create_dir = create_dir;
        self
    }

    /// Opens the directory for reading and writing, and reads and verifies its checkpoints. Also finishes saves and
    /// removals that a power failure interrupted.
    ///
    /// The directory locks its prefix until it is dropped, so that no other program writes the same files. The lock
    /// file `.{prefix}.lock` remains in the directory.
    ///
    /// # Errors
    /// Returns an [`OpenError`] if a setting is invalid, the prefix is locked, the directory is missing or not empty,
    /// or a file operation fails.
    pub fn open(self) -> Result<Directory, OpenError> {
        self.open_on(RealFs)
    }

    /// Opens the directory like [`open`](Self::open), but performs all file operations with `fs`.
    ///
    /// # Errors
    /// Returns the same errors as [`open`](Self::open).
    pub fn open_on<F: FileSystem>(self, fs: F) -> Result<Directory<F>, OpenError> {
        let (require_empty, create_dir) = (self.require_empty, self.create_dir);
        let location = self.locate(fs)?;
        let Location { fs, dir, .. } = &location;
        if !fs.is_dir(dir) {
            if !create_dir {
                return Err(OpenError::NotFound { path: location.dir });
            }
            fs.create_dir(dir).map_err(DirectoryError::io(Operation::CreateDir, dir)).map_err(OpenError::Directory)?;
        }
        let lock = lock(&location)?;
        if require_empty {
            check_empty(&location)?;
        }
        let mut directory = Directory::new(location, Access::Write(lock));
        directory.recover().map_err(OpenError::Directory)?;
        Ok(directory)
    }

    /// Opens the directory for reading only, and reads and verifies its checkpoints. Changes nothing and takes no lock,
    /// so it also works while another program writes checkpoints. A checkpoint whose commit was interrupted is listed
    /// if all its files exist. The settings for writing have no effect.
    ///
    /// The directory keeps the files of the listed checkpoints open, up to a limit of 64 files. Therefore they stay
    /// readable when the other program replaces or removes them. Call [`Directory::refresh`] to list the newest
    /// checkpoints.
    ///
    /// # Errors
    /// Returns an [`OpenError`] if a setting is invalid, the directory is missing, or a file operation fails.
    pub fn open_read_only(self) -> Result<Directory, OpenError> {
        self.open_read_only_on(RealFs)
    }

    /// Opens the directory like [`open_read_only`](Self::open_read_only), but performs all file operations with `fs`.
    ///
    /// # Errors
    /// Returns the same errors as [`open_read_only`](Self::open_read_only).
    pub fn open_read_only_on<F: FileSystem>(self, fs: F) -> Result<Directory<F>, OpenError> {
        let location = self.locate(fs)?;
        if !location.fs.is_dir(&location.dir) {
            return Err(OpenError::NotFound { path: location.dir });
        }
        let mut directory = Directory::new(location, Access::ReadOnly(HeldFiles::<F>::new()));
        directory.refresh().map_err(OpenError::Directory)?;
        Ok(directory)
    }

    /// Validates the settings, and finds the directory.
    fn locate<F>(self, fs: F) -> Result<Location<F>, OpenError> {
        let Builder { dirname, prefix, extension, atomic, durable, single_file, .. } = self;
        if dirname.as_os_str().is_empty() {
            return Err(OpenError::EmptyPath);
        }
        if prefix.contains(['/', '\\', '\0']) {
            return Err(OpenError::InvalidPrefix { prefix });
        }
        if !Naming::is_valid_extension(&extension) {
            return Err(OpenError::InvalidExtension { extension });
        }
        let naming = Naming { prefix, extension };
        let (len, limit) = (naming.min_required_len(), MAX_FILE_NAME);
        if len > limit {
            let Naming { prefix, extension } = naming;
            return Err(OpenError::NamesTooLong { prefix, extension, len, limit });
        }
        let Some(dir) = expand_home(&dirname, home_directory().as_deref()) else {
            return Err(OpenError::NoHomeDirectory { path: dirname });
        };
        Ok(Location { fs, dir, naming, atomic, durable, single_file })
    }
}

/// Returns an error if a name in the directory begins with the prefix. Ignite performs the same check. Temporary files
/// are allowed: an interrupted first save leaves such files, and recovery removes them. Lock files are allowed, because
/// opening creates one.
fn check_empty<F: FileSystem>(location: &Location<F>) -> Result<(), OpenError> {
    let Location { fs, dir, naming, .. } = location;
    let names = fs.names(dir).map_err(DirectoryError::io(Operation::List, dir)).map_err(OpenError::Directory)?;
    for name in names {
        let name = name.to_string_lossy();
        let is_temporary = naming.classify(&name).is_some_and(|(kind, _)| kind == NameKind::Temporary);
        if name.starts_with(&naming.prefix) && !is_temporary && !Naming::is_lock_name(&name) {
            let (path, prefix) = (dir.clone(), naming.prefix.clone());
            return Err(OpenError::NotEmpty { path, prefix, found: name.into_owned() });
        }
    }
    Ok(())
}

fn home_directory() -> Option<PathBuf> {
    env::home_dir().filter(|home| !home.as_os_str().is_empty())
}

/// Replaces a leading `~` in `path` by the directory `home`. Returns `None` if `path` begins with `~` but `home` is
/// `None`. Returns all other paths, including `~user`, unchanged.
fn expand_home(path: &Path, home: Option<&Path>) -> Option<PathBuf> {
    match path.strip_prefix("~") {
        Ok(rest) => home.map(|home| home.join(rest)),
        Err(_) => Some(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_leading_tilde_is_expanded() {
        let home = Some(Path::new("/home/~/me"));
        assert_eq!(expand_home(Path::new("~"), home).unwrap(), Path::new("/home/~/me"));
        assert_eq!(expand_home(Path::new("~/ck"), home).unwrap(), Path::new("/home/~/me/ck"));
        assert_eq!(expand_home(Path::new("~you/ck"), home).unwrap(), Path::new("~you/ck"));
        assert_eq!(expand_home(Path::new("/a/~"), home).unwrap(), Path::new("/a/~"));
        assert_eq!(expand_home(Path::new("~/ck"), None), None);
    }
}
