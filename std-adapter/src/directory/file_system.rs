//! The few file operations that a [`Directory`](super::Directory) needs, behind a seam.
//!
//! [`RealFs`] does them with `std::fs`. Tests put something else there: a disk that is full, a directory that became
//! read-only, a model of what a power cut may leave. Nothing here decides anything; the order of the operations, which
//! is what survives a power cut, is the directory's.
//!
//! ```
//! use std::io::Write;
//! use training_monitor_std::directory::{FileSystem, RealFs};
//!
//! let dir = tempfile::tempdir()?;
//! let (temp, name) = (dir.path().join("temp"), dir.path().join("name"));
//! let mut file = RealFs.create(&temp)?;
//! file.write_all(b"bytes")?;
//! RealFs.sync(&mut file)?;
//! RealFs.rename(&temp, &name)?;
//! RealFs.sync_dir(dir.path())?;
//! assert_eq!(RealFs.names(dir.path())?, ["name"]);
//! # Ok::<(), std::io::Error>(())
//! ```

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::Path;

/// File operations. They take `&self`: a file system is shared by nature.
pub trait FileSystem {
    /// A file that is being written.
    type Writer: io::Write;
    /// A file that is being read.
    type Reader: io::Read;

    /// Makes an empty file, in place of one of that name.
    ///
    /// # Errors
    /// The system's.
    fn create(&self, path: &Path) -> io::Result<Self::Writer>;

    /// Returns when the file's content would survive a power cut. Never called again for a file that it failed for:
    /// after a failed `fsync` Linux marks the lost pages clean, and a second one succeeds without them.
    ///
    /// # Errors
    /// The system's.
    fn sync(&self, file: &mut Self::Writer) -> io::Result<()>;

    /// Opens a file for reading.
    ///
    /// # Errors
    /// The system's.
    fn open(&self, path: &Path) -> io::Result<Self::Reader>;

    /// Gives a file another name, atomically in place of one that has it.
    ///
    /// # Errors
    /// The system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// The system's.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Returns when creations, renames and removals in `dir` would survive a power cut.
    ///
    /// # Errors
    /// The system's.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// The names of all entries of `dir`, in any order.
    ///
    /// # Errors
    /// The system's.
    fn names(&self, dir: &Path) -> io::Result<Vec<OsString>>;

    /// Whether there is anything at `path`.
    ///
    /// # Errors
    /// The system's, when it cannot tell.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Whether `path` is a directory.
    fn is_dir(&self, path: &Path) -> bool;

    /// Makes a directory and those it is in.
    ///
    /// # Errors
    /// The system's.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
}

/// The computer's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RealFs;

impl FileSystem for RealFs {
    type Writer = File;
    type Reader = File;

    fn create(&self, path: &Path) -> io::Result<File> {
        File::create(path)
    }

    fn sync(&self, file: &mut File) -> io::Result<()> {
        // Also `F_FULLFSYNC` on Apple's systems and `FlushFileBuffers` on Windows.
        file.sync_all()
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        File::open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    #[cfg(unix)]
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        or_unsupported(File::open(dir)?.sync_all())
    }

    /// Other systems document no way to do this; what a power cut leaves is then told from the files' checksums.
    #[cfg(not(unix))]
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn names(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        // A dangling symbolic link is something, too.
        match fs::symlink_metadata(path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }
}

/// Some network file systems have no such operation on directories; there is nothing else to call.
#[cfg(unix)]
fn or_unsupported(synced: io::Result<()>) -> io::Result<()> {
    match synced {
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        result => result,
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn only_a_sync_that_there_is_not_is_none_that_failed() {
        for kind in [io::ErrorKind::InvalidInput, io::ErrorKind::Unsupported] {
            assert!(or_unsupported(Err(kind.into())).is_ok(), "{kind}");
        }
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::PermissionDenied, io::ErrorKind::Other] {
            assert_eq!(or_unsupported(Err(kind.into())).unwrap_err().kind(), kind);
        }
    }
}
