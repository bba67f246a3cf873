//! The file operations that a directory needs, as a trait.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::Path;

/// The file operations that a [`Directory`](super::Directory) needs.
///
/// The implementation [`RealFs`] uses `std::fs`. Tests use other implementations, which simulate a full disk, a
/// read-only directory or a power failure. An implementation only performs single operations. The `Directory` chooses
/// their order, and this order makes checkpoints survive a power failure.
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

    /// Creates an empty file and opens it for writing. If the file exists, its content is deleted.
    ///
    /// # Errors
    /// Returns an I/O error if the file cannot be created.
    fn create(&self, path: &Path) -> io::Result<Self::Writer>;

    /// Writes the content of a file to the medium (`fsync`), so that it survives a power failure.
    ///
    /// A `Directory` never repeats a failed synchronization. After a failed `fsync`, Linux can drop the data and report
    /// success for the next `fsync`.
    ///
    /// # Errors
    /// Returns an I/O error if the content cannot be written to the medium.
    fn sync(&self, file: &mut Self::Writer) -> io::Result<()>;

    /// Opens a file for reading.
    ///
    /// # Errors
    /// Returns an I/O error if the file cannot be opened.
    fn open(&self, path: &Path) -> io::Result<Self::Reader>;

    /// Renames a file from `from` to `to`. Atomically replaces an existing file called `to`.
    ///
    /// # Errors
    /// Returns an I/O error if the file cannot be renamed.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// Returns an I/O error if the file cannot be removed.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Writes the file names in the directory `dir` to the medium (`fsync`). All earlier creations, renames and
    /// removals of files in `dir` then survive a power failure.
    ///
    /// # Errors
    /// Returns an I/O error if the names cannot be written to the medium.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Returns the names of all entries of the directory `dir`, in any order.
    ///
    /// # Errors
    /// Returns an I/O error if the directory cannot be read.
    fn names(&self, dir: &Path) -> io::Result<Vec<OsString>>;

    /// Returns whether a file, a directory or a symbolic link exists at `path`.
    ///
    /// # Errors
    /// Returns an I/O error if the existence of the file cannot be determined.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Returns whether `path` is a directory.
    fn is_dir(&self, path: &Path) -> bool;

    /// Creates a directory and all missing parent directories.
    ///
    /// # Errors
    /// Returns an I/O error if a directory cannot be created.
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
        // `sync_all` calls `fsync` on Linux, `F_FULLFSYNC` on Apple systems and `FlushFileBuffers` on Windows.
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

    /// Does nothing, because systems other than Unix document no way to synchronize a directory. After a power failure,
    /// recovery detects damaged files by their checksums.
    #[cfg(not(unix))]
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn names(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        // `symlink_metadata` also finds a symbolic link whose target is missing. Such a link must count as an existing
        // file, because creating a file would follow the link.
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

/// Ignores the error "not supported". Some network file systems cannot synchronize directories, and there is no other
/// system call for this purpose.
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
