//! The file operations that a directory needs, as a trait.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::Path;

/// The file operations that a [`Directory`](super::Directory) needs.
///
/// [`RealFs`] implements the operations with `std::fs`. Tests use other implementations, which simulate a full disk, a
/// read-only directory or a power failure. An implementation only performs operations; the directory decides on their
/// order, and the order is what makes checkpoints survive a power failure.
///
/// ```
/// use std::io::Write;
/// use training_monitor_std::directory::{FileSystem, RealFs};
///
/// let dir = tempfile::tempdir()?;
/// let (temp, name) = (dir.path().join("temp"), dir.path().join("name"));
/// let mut file = RealFs.create(&temp)?;
/// file.write_all(b"bytes")?;
/// RealFs.sync(&mut file)?;
/// RealFs.rename(&temp, &name)?;
/// RealFs.sync_dir(dir.path())?;
/// assert_eq!(RealFs.names(dir.path())?, ["name"]);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// The methods take `&self`, because several programs can use a file system at once.
pub trait FileSystem {
    /// A file that is open for writing.
    type Writer: io::Write;
    /// A file that is open for reading.
    type Reader: io::Read;

    /// Creates an empty file. Truncates an existing file of the same name.
    ///
    /// # Errors
    /// The error of the operating system.
    fn create(&self, path: &Path) -> io::Result<Self::Writer>;

    /// Synchronizes the content of a file: after the return, the content survives a power failure. The directory never
    /// repeats a failed synchronization of a file, because after a failed `fsync` Linux marks the lost pages as clean,
    /// so that a second `fsync` succeeds although the data is lost.
    ///
    /// # Errors
    /// The error of the operating system.
    fn sync(&self, file: &mut Self::Writer) -> io::Result<()>;

    /// Opens a file for reading.
    ///
    /// # Errors
    /// The error of the operating system.
    fn open(&self, path: &Path) -> io::Result<Self::Reader>;

    /// Renames a file. Atomically replaces an existing file that has the new name.
    ///
    /// # Errors
    /// The error of the operating system.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// The error of the operating system.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Synchronizes a directory: after the return, all files created, renamed and removed in `dir` before the call
    /// remain so after a power failure.
    ///
    /// # Errors
    /// The error of the operating system.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Lists the names of all entries of `dir`, in any order.
    ///
    /// # Errors
    /// The error of the operating system.
    fn names(&self, dir: &Path) -> io::Result<Vec<OsString>>;

    /// Whether a file, a directory or a symbolic link exists at `path`.
    ///
    /// # Errors
    /// The error of the operating system, if the existence cannot be determined.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Whether `path` is a directory.
    fn is_dir(&self, path: &Path) -> bool;

    /// Creates a directory and all missing parent directories.
    ///
    /// # Errors
    /// The error of the operating system.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
}

/// The file system of the operating system.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RealFs;

impl FileSystem for RealFs {
    type Writer = File;
    type Reader = File;

    fn create(&self, path: &Path) -> io::Result<File> {
        File::create(path)
    }

    fn sync(&self, file: &mut File) -> io::Result<()> {
        // The standard library calls `F_FULLFSYNC` on Apple's systems and `FlushFileBuffers` on Windows.
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
        ignore_unsupported(File::open(dir)?.sync_all())
    }

    /// Does nothing: systems other than Unix document no way to synchronize a directory. After a power failure,
    /// recovery relies on the checksums of the files.
    #[cfg(not(unix))]
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn names(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        // `symlink_metadata` also finds a symbolic link whose target does not exist. Creating a file would follow it.
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

/// Ignores the error of a file system that cannot synchronize directories, such as some network file systems. There is
/// no other system call that the directory could use instead.
#[cfg(unix)]
fn ignore_unsupported(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        result => result,
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn only_unsupported_synchronization_is_ignored() {
        for kind in [io::ErrorKind::InvalidInput, io::ErrorKind::Unsupported] {
            assert!(ignore_unsupported(Err(kind.into())).is_ok(), "{kind}");
        }
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::PermissionDenied, io::ErrorKind::Other] {
            assert_eq!(ignore_unsupported(Err(kind.into())).unwrap_err().kind(), kind);
        }
    }
}
