//! The directory of the checkpoint files, and the file operations in this directory.

use super::error::{DirectoryError, Operation};
use super::file_system::FileSystem;
use super::naming::Naming;
use super::plan::Action;
use super::summary::BufferedReader;
use std::io::ErrorKind;
use std::path::PathBuf;

/// The path of a checkpoint directory, the rules for its file names and the settings for writing.
pub(super) struct Location<F> {
    pub fs: F,
    pub dir: PathBuf,
    pub naming: Naming,
    /// Whether a save first writes temporary files and then renames them, so that a failed save destroys no older file.
    pub atomic: bool,
    /// Whether a save synchronizes files and the directory (`fsync`), so that a checkpoint survives a power failure.
    pub durable: bool,
    /// Whether a save writes all objects to one file.
    pub single_file: bool,
}

impl<F: FileSystem> Location<F> {
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn open(&self, name: &str) -> Result<BufferedReader<F::Reader>, DirectoryError> {
        let path = self.path(name);
        let file = self.fs.open(&path).map_err(DirectoryError::io(Operation::Open, &path))?;
        Ok(BufferedReader::new(file, path))
    }

    pub fn rename(&self, from: &str, to: &str) -> Result<(), DirectoryError> {
        let from = self.path(from);
        self.fs.rename(&from, &self.path(to)).map_err(DirectoryError::io(Operation::Rename, from))
    }

    /// Renames a file from its final name `name` to its temporary name.
    pub fn rename_to_temporary(&self, name: &str) -> Result<(), DirectoryError> {
        self.rename(name, &self.naming.temporary_name(name))
    }

    /// Renames a file from its temporary name to its final name `name`.
    pub fn rename_to_final(&self, name: &str) -> Result<(), DirectoryError> {
        self.rename(&self.naming.temporary_name(name), name)
    }

    /// Renames one file of a checkpoint to a tombstone name, which marks the checkpoint as removed. Chooses the first
    /// of `files` that exists. Returns the previous name of this file, or `None` if none of the files exists.
    pub fn rename_to_tombstone(&self, files: &[String]) -> Result<Option<String>, DirectoryError> {
        for name in files {
            match self.rename(name, &self.naming.tombstone_name(name)) {
                Ok(()) => return Ok(Some(name.clone())),
                Err(DirectoryError::Io { cause, .. }) if cause.kind() == ErrorKind::NotFound => (),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Removes a file. Succeeds even if the file does not exist.
    pub fn remove(&self, name: &str) -> Result<(), DirectoryError> {
        let path = self.path(name);
        match self.fs.remove(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(DirectoryError::io(Operation::Remove, path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Synchronizes the directory, so that its file names survive a power failure. Does nothing if the setting
    /// `durable` is `false`.
    pub fn sync_dir(&self) -> Result<(), DirectoryError> {
        if self.durable {
            self.fs.sync_dir(&self.dir).map_err(DirectoryError::io(Operation::SyncDir, &self.dir))
        } else {
            Ok(())
        }
    }

    /// Performs the actions of a recovery plan and stops at the first error. A later recovery plan can finish the
    /// remaining work, as after a power failure.
    pub fn apply(&self, actions: &[Action]) -> Result<(), DirectoryError> {
        actions.iter().try_for_each(|action| match action {
            Action::Rename { from, to, .. } => self.rename(from, to),
            Action::Remove { file, .. } => self.remove(file),
            Action::SyncDirectory => self.sync_dir(),
        })
    }
}
