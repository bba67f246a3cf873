//! The file operations that a directory needs, as a trait.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
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
    type Reader: io::Read + io::Seek;
    /// The lock of a file. Dropping the value releases the lock. The end of the process also releases it.
    type Lock;

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

    /// Opens a file for reading. Other programs can rename and remove the file while it is open.
    ///
    /// # Errors
    /// Returns an I/O error if the file cannot be opened.
    fn open(&self, path: &Path) -> io::Result<Self::Reader>;

    /// Returns whether `path` is a regular file or a symbolic link to one. Everything else, for example a directory or
    /// a named pipe, is not opened. The default returns true.
    ///
    /// # Errors
    /// Returns an I/O error if the type of the file cannot be determined.
    fn is_file(&self, path: &Path) -> io::Result<bool> {
        let _ = path;
        Ok(true)
    }

    /// Locks the file `path` exclusively, and does not wait. Creates the file if it does not exist. Writes the text
    /// `owner` to the file, so that other programs can read who owns the lock.
    ///
    /// # Errors
    /// Returns [`LockError::Held`] if the file is already locked, by this process or by another one. Returns an I/O
    /// error of the kind `Unsupported` if the file system has no locks.
    fn lock(&self, path: &Path, owner: &str) -> Result<Self::Lock, LockError>;

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

/// Why a file could not be locked.
#[derive(Debug)]
pub enum LockError {
    /// Another process, or another part of this process, owns the lock.
    Held {
        /// The text that the owner of the lock wrote to the file. It is empty if it cannot be read.
        owner: String,
    },
    /// The operating system reported an error.
    Io(io::Error),
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockError::Held { owner } => write!(f, "the file is locked by {owner:?}"),
            LockError::Io(cause) => cause.fmt(f),
        }
    }
}

impl std::error::Error for LockError {}

/// The file system of the operating system.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RealFs;

impl FileSystem for RealFs {
    type Writer = File;
    type Reader = File;
    type Lock = File;

    fn create(&self, path: &Path) -> io::Result<File> {
        without_blocking(File::options().write(true).create(true).truncate(true)).open(path)
    }

    fn sync(&self, file: &mut File) -> io::Result<()> {
        // `sync_all` calls `fsync` on Linux, `F_FULLFSYNC` on Apple systems and `FlushFileBuffers` on Windows.
        file.sync_all()
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        let file = without_blocking(File::options().read(true)).open(path)?;
        // Reading a pipe or a device can block, or can have an effect. The check of the open file is certain: another
        // program can replace the file between an earlier check and the opening.
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }

    fn is_file(&self, path: &Path) -> io::Result<bool> {
        fs::metadata(path).map(|metadata| metadata.is_file())
    }

    fn lock(&self, path: &Path, owner: &str) -> Result<File, LockError> {
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut file = without_blocking(options).open(path).map_err(LockError::Io)?;
        match file.try_lock() {
            Ok(()) => {
                // A full disk must not prevent the opening of the directory, so an error is ignored. The file is not
                // truncated first: another process that reads it meanwhile would find no owner.
                let written = file.write_all(owner.as_bytes());
                let _ = written.and_then(|()| file.set_len(owner.len() as u64));
                Ok(file)
            }
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                // Some operating systems do not allow to read a locked file. The owner is then unknown.
                let _ = file.read_to_string(&mut owner);
                Err(LockError::Held { owner })
            }
            Err(TryLockError::Error(cause)) if is_unsupported_lock(&cause) => {
                Err(LockError::Io(io::Error::new(io::ErrorKind::Unsupported, cause)))
            }
            Err(TryLockError::Error(cause)) => Err(LockError::Io(cause)),
        }
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

/// Makes opening a file return at once. Without this flag, opening a named pipe waits for another program.
#[cfg(unix)]
fn without_blocking(options: &mut OpenOptions) -> &OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;

    // The standard library does not export the flag. Its value is known for these systems. On other systems, only the
    // check before the opening protects from a pipe.
    const O_NONBLOCK: i32 = if cfg!(any(
        target_vendor = "apple",
        target_os = "freebsd",
        target_os = "netbsd",
        target_os = "openbsd",
        target_os = "dragonfly"
    )) {
        4
    } else if cfg!(all(
        any(target_os = "linux", target_os = "android"),
        any(
            target_arch = "x86",
            target_arch = "x86_64",
            target_arch = "arm",
            target_arch = "aarch64",
            target_arch = "riscv32",
            target_arch = "riscv64",
            target_arch = "powerpc64",
            target_arch = "s390x",
            target_arch = "loongarch64"
        )
    )) {
        0o4000
    } else {
        0
    };
    options.custom_flags(O_NONBLOCK)
}

#[cfg(not(unix))]
fn without_blocking(options: &mut OpenOptions) -> &OpenOptions {
    options
}

/// Returns whether the error means that the file system has no locks. Some network file systems report "no locks
/// available" if their lock service is not configured.
fn is_unsupported_lock(cause: &io::Error) -> bool {
    const ENOLCK: Option<i32> = if cfg!(target_os = "linux") { Some(37) } else { None };
    matches!(cause.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput)
        || (ENOLCK.is_some() && cause.raw_os_error() == ENOLCK)
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
