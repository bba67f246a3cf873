//! The settings of a directory and their validation. The settings correspond to those of Ignite's `ModelCheckpoint`.

use super::Directory;
use super::error::{DirectoryError, OpenError, Operation};
use super::file_system::{FileSystem, RealFs};
use super::location::Location;
use super::naming::{NameKind, Naming};
use std::env;
use std::path::{Path, PathBuf};

/// The settings of a [`Directory`]. By default, the extension is `ckpt`, saves are atomic and durable, opening creates
/// a missing directory, and opening fails if the directory contains a file with the prefix.
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    dirname: PathBuf,
    prefix: String,
    extension: String,
    atomic: bool,
    durable: bool,
    require_empty: bool,
    create_dir: bool,
}

impl Builder {
    pub(super) fn new(dirname: PathBuf, prefix: String) -> Self {
        let extension = "ckpt".to_owned();
        Builder { dirname, prefix, extension, atomic: true, durable: true, require_empty: true, create_dir: true }
    }

    /// Sets the file extension, without the dot.
    pub fn extension(mut self, extension: impl Into<String>) -> Self {
        self.extension = extension.into();
        self
    }

    /// Sets whether a save writes temporary files first and renames them at the commit. Otherwise a failed save leaves
    /// a partial file and has destroyed an older file of the same name.
    pub fn atomic(mut self, atomic: bool) -> Self {
        self.atomic = atomic;
        self
    }

    /// Sets whether a save synchronizes its files and the directory. Otherwise a checkpoint survives the end of the
    /// program, but may not survive a power failure.
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// Sets whether opening fails if the directory contains an entry whose name begins with the prefix. Set `false` to
    /// resume a run.
    pub fn require_empty(mut self, require_empty: bool) -> Self {
        self.require_empty = require_empty;
        self
    }

    /// Sets whether opening creates the directory if the directory does not exist.
    pub fn create_dir(mut self, create_dir: bool) -> Self {
        self.create_dir = create_dir;
        self
    }

    /// Opens the directory: reads and verifies every checkpoint of the prefix, and finishes the operations that a power
    /// failure interrupted.
    ///
    /// # Errors
    /// An [`OpenError`] if a setting is invalid, the directory is missing or not empty, or a file operation fails.
    pub fn open(self) -> Result<Directory, OpenError> {
        self.open_on(RealFs)
    }

    /// Opens the directory, as [`open`](Self::open) does, on the file system `fs`.
    ///
    /// # Errors
    /// The same errors as for [`open`](Self::open).
    pub fn open_on<F: FileSystem>(self, fs: F) -> Result<Directory<F>, OpenError> {
        let Builder { dirname, prefix, extension, atomic, durable, require_empty, create_dir } = self;
        if prefix.contains(['/', '\\', '\0']) {
            return Err(OpenError::InvalidPrefix { prefix });
        }
        if !Naming::is_valid_extension(&extension) {
            return Err(OpenError::InvalidExtension { extension });
        }
        let Some(dir) = expand_home(&dirname, home_directory().as_deref()) else {
            return Err(OpenError::NoHomeDirectory { path: dirname });
        };
        if !fs.is_dir(&dir) {
            if !create_dir {
                return Err(OpenError::NotFound { path: dir });
            }
            fs.create_dir(&dir)
                .map_err(DirectoryError::io(Operation::CreateDir, &dir))
                .map_err(OpenError::Directory)?;
        }
        let location = Location { fs, dir, naming: Naming { prefix, extension }, atomic, durable };
        if require_empty {
            check_empty(&location)?;
        }
        let mut directory = Directory {
            location,
            checkpoints: Vec::new(),
            pending_removals: Vec::new(),
            ignored: Vec::new(),
            pending_save: None,
            needs_recovery: false,
        };
        directory.recover().map_err(OpenError::Directory)?;
        Ok(directory)
    }
}

/// Applies Ignite's rule: no name in the directory may begin with the prefix. Temporary files are exempt, because an
/// interrupted first save leaves them and recovery removes them.
fn check_empty<F: FileSystem>(location: &Location<F>) -> Result<(), OpenError> {
    let Location { fs, dir, naming, .. } = location;
    let names = fs.names(dir).map_err(DirectoryError::io(Operation::List, dir)).map_err(OpenError::Directory)?;
    for name in names {
        let name = name.to_string_lossy();
        let is_temporary = naming.classify(&name).is_some_and(|(kind, _)| kind == NameKind::Temporary);
        if name.starts_with(&naming.prefix) && !is_temporary {
            let (path, prefix) = (dir.clone(), naming.prefix.clone());
            return Err(OpenError::NotEmpty { path, prefix, found: name.into_owned() });
        }
    }
    Ok(())
}

fn home_directory() -> Option<PathBuf> {
    env::home_dir().filter(|home| !home.as_os_str().is_empty())
}

/// Replaces a leading `~` component by `home`. Returns other paths, including `~user`, unchanged, and `None` if the
/// path needs a home directory and there is none.
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
