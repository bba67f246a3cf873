//! Settings of a directory, as Ignite's `ModelCheckpoint` has them, and their check.

use super::error::{DirectoryError, OpenError, Operation};
use super::file_system::{FileSystem, RealFs};
use super::naming::{Kind, Naming};
use super::{Directory, Place};
use std::env;
use std::path::{Path, PathBuf};

/// Settings of a [`Directory`]. Without further ones: extension `ckpt`, atomic, durable, the directory made if it is not
/// there, and no files of this prefix in it yet.
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

    /// What file names end with, without the dot.
    pub fn extension(mut self, extension: impl Into<String>) -> Self {
        self.extension = extension.into();
        self
    }

    /// Whether files are written under temp names first. Without, a save that fails leaves a partial file, and has
    /// destroyed what had its name.
    pub fn atomic(mut self, atomic: bool) -> Self {
        self.atomic = atomic;
        self
    }

    /// Whether files and directory are synced. Without, a checkpoint survives the end of the program, but not that of
    /// the power.
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// Whether it is an error if the directory has an entry whose name begins with the prefix. To go on with a run this
    /// must be off.
    pub fn require_empty(mut self, require_empty: bool) -> Self {
        self.require_empty = require_empty;
        self
    }

    /// Whether the directory is made when it is not there.
    pub fn create_dir(mut self, create_dir: bool) -> Self {
        self.create_dir = create_dir;
        self
    }

    /// Opens the directory: reads and verifies every checkpoint of this prefix, and finishes what a power cut
    /// interrupted.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(self) -> Result<Directory, OpenError> {
        self.open_on(RealFs)
    }

    /// As [`open`](Self::open), on another file system.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_on<F: FileSystem>(self, fs: F) -> Result<Directory<F>, OpenError> {
        if self.prefix.contains(['/', '\\', '\0']) {
            return Err(OpenError::Prefix);
        }
        let hidden = ["tmp", "gone"].contains(&self.extension.as_str());
        if self.extension.is_empty() || hidden || self.extension.contains(['.', '/', '\\', '\0']) {
            return Err(OpenError::Extension);
        }
        let dir = expand(&self.dirname, home().as_deref()).ok_or(OpenError::NoHome)?;
        if !fs.is_dir(&dir) {
            if !self.create_dir {
                return Err(OpenError::NotFound { path: dir });
            }
            fs.create_dir(&dir)
                .map_err(DirectoryError::io(Operation::CreateDir, &dir))
                .map_err(OpenError::Directory)?;
        }
        let naming = Naming { prefix: self.prefix, extension: self.extension };
        let place = Place { dir, naming, atomic: self.atomic, durable: self.durable };
        if self.require_empty {
            require_empty(&fs, &place)?;
        }
        let mut directory = Directory {
            fs,
            place,
            sets: Vec::new(),
            going: Vec::new(),
            ignored: Vec::new(),
            pending: None,
            unsettled: false,
        };
        directory.settle().map_err(OpenError::Directory)?;
        Ok(directory)
    }
}

/// Ignite's rule: no entry whose name begins with the prefix, whatever it is. What a cut left of the very first save is
/// ours to remove, and no reason to refuse.
fn require_empty<F: FileSystem>(fs: &F, place: &Place) -> Result<(), OpenError> {
    let names = fs.names(&place.dir).map_err(DirectoryError::io(Operation::List, &place.dir));
    for name in names.map_err(OpenError::Directory)? {
        let name = name.to_string_lossy();
        let temp = place.naming.classify(&name).is_some_and(|(kind, _)| kind == Kind::Temp);
        if name.starts_with(&place.naming.prefix) && !temp {
            let (path, prefix) = (place.dir.clone(), place.naming.prefix.clone());
            return Err(OpenError::NotEmpty { path, prefix, found: name.into_owned() });
        }
    }
    Ok(())
}

fn home() -> Option<PathBuf> {
    env::home_dir().filter(|home| !home.as_os_str().is_empty())
}

/// `~` and `~/…` begin at home; everything else, `~user` too, is taken as it stands. `None` without a home.
fn expand(path: &Path, home: Option<&Path>) -> Option<PathBuf> {
    match path.strip_prefix("~") {
        Ok(rest) => home.map(|home| home.join(rest)),
        Err(_) => Some(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_is_expanded_once() {
        let home = Some(Path::new("/home/~/me"));
        assert_eq!(expand(Path::new("~"), home).unwrap(), Path::new("/home/~/me"));
        assert_eq!(expand(Path::new("~/ck"), home).unwrap(), Path::new("/home/~/me/ck"));
        assert_eq!(expand(Path::new("~you/ck"), home).unwrap(), Path::new("~you/ck"));
        assert_eq!(expand(Path::new("/a/~"), home).unwrap(), Path::new("/a/~"));
        assert_eq!(expand(Path::new("~/ck"), None), None);
    }
}
