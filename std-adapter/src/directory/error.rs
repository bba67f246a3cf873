//! The error types of a checkpoint directory. An I/O error contains the error of the operating system.

use std::fmt;
use std::io;
use std::path::PathBuf;
use training_monitor::embedded_io;

/// The file operation that failed in a checkpoint directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Operation {
    /// Creating the directory.
    CreateDir,
    /// Listing the directory.
    List,
    /// Creating a file.
    Create,
    /// Writing to a file.
    Write,
    /// Synchronizing the content of a file.
    Sync,
    /// Renaming a file.
    Rename,
    /// Synchronizing the names in the directory.
    SyncDir,
    /// Opening a file for reading.
    Open,
    /// Reading from a file.
    Read,
    /// Removing a file.
    Remove,
    /// Locking the lock file.
    Lock,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Operation::CreateDir => "create the directory",
            Operation::List => "list the directory",
            Operation::Create => "create",
            Operation::Write => "write",
            Operation::Sync => "sync",
            Operation::Rename => "rename",
            Operation::SyncDir => "sync the directory",
            Operation::Open => "open",
            Operation::Read => "read",
            Operation::Remove => "remove",
            Operation::Lock => "lock",
        })
    }
}

/// The reason why a checkpoint could not be saved, read or removed. No error destroys a committed checkpoint, with one
/// exception: a save with `atomic(false)` destroys the files that it overwrites.
#[derive(Debug)]
#[non_exhaustive]
pub enum DirectoryError {
    /// The operating system reported an error.
    Io {
        /// The operation that failed.
        operation: Operation,
        /// The path of the file or the directory on which the operation failed.
        path: PathBuf,
        /// The error of the operating system.
        cause: io::Error,
    },
    /// A save must create a file, but files with its name and with the variant of its name already exist. The existing
    /// files belong to other checkpoints or to another program, so the save does not overwrite them.
    FileExists {
        /// The path of the existing file.
        path: PathBuf,
    },
    /// The name of an object or of a score contains a path separator or a NUL character. A file name cannot contain
    /// these characters.
    InvalidFileName {
        /// The invalid file name, which contains the name of the object and of the score.
        name: String,
    },
    /// The name of a file would be longer than file systems allow.
    NameTooLong {
        /// The file name.
        name: String,
        /// The length in bytes of the longest name that the file gets while it is written or removed.
        len: usize,
        /// The maximum length in bytes.
        limit: usize,
    },
    /// There is no committed checkpoint with the requested sequence number, or the checkpoint has no file with the
    /// requested index.
    NoCheckpoint {
        /// The path of the directory.
        path: PathBuf,
        /// The requested sequence number.
        sequence: u32,
    },
    /// The directory is open for reading only.
    ReadOnly {
        /// The path of the directory.
        path: PathBuf,
    },
    /// The checkpoint was not committed, because not all of its files were written successfully.
    IncompleteSave,
}

impl DirectoryError {
    pub(super) fn io(operation: Operation, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> DirectoryError {
        let path = path.into();
        move |cause| DirectoryError::Io { operation, path, cause }
    }
}

impl fmt::Display for DirectoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DirectoryError::Io { operation, path, cause } => {
                write!(f, "cannot {operation} {}: {cause}", path.display())
            }
            DirectoryError::FileExists { path } => write!(
                f,
                "{} exists and does not belong to an older version of this checkpoint; refusing to overwrite it: move \
                 the file away or use another filename prefix",
                path.display()
            ),
            DirectoryError::NameTooLong { name, len, limit } => write!(
                f,
                "cannot create a file named {name:?}: its longest temporary name would have {len} bytes, but the limit \
                 is {limit}; use shorter names of objects and scores, or a shorter filename prefix"
            ),
            DirectoryError::InvalidFileName { name } => write!(
                f,
                "cannot create a file named {name:?}: the names of objects and scores must not contain '/', '\\' or NUL"
            ),
            DirectoryError::NoCheckpoint { path, sequence } => {
                write!(f, "directory {} contains no committed checkpoint with sequence {sequence}", path.display())
            }
            DirectoryError::ReadOnly { path } => write!(
                f,
                "directory {} is open for reading only; open it with `open` to save or remove checkpoints",
                path.display()
            ),
            DirectoryError::IncompleteSave => f.write_str(
                "cannot commit the checkpoint: not all of its streams were written successfully; save it again",
            ),
        }
    }
}

impl std::error::Error for DirectoryError {
    /// The message includes that of the cause, so the source is the cause of the cause.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            DirectoryError::Io { cause, .. } => cause.source(),
            _ => None,
        }
    }
}

impl embedded_io::Error for DirectoryError {
    fn kind(&self) -> embedded_io::ErrorKind {
        use embedded_io::ErrorKind as Kind;
        match self {
            DirectoryError::Io { cause, .. } => match cause.kind() {
                io::ErrorKind::NotFound => Kind::NotFound,
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Kind::PermissionDenied,
                io::ErrorKind::AlreadyExists => Kind::AlreadyExists,
                io::ErrorKind::InvalidInput => Kind::InvalidInput,
                io::ErrorKind::InvalidData => Kind::InvalidData,
                io::ErrorKind::TimedOut => Kind::TimedOut,
                io::ErrorKind::Interrupted => Kind::Interrupted,
                io::ErrorKind::Unsupported => Kind::Unsupported,
                io::ErrorKind::OutOfMemory => Kind::OutOfMemory,
                io::ErrorKind::WriteZero => Kind::WriteZero,
                _ => Kind::Other,
            },
            DirectoryError::FileExists { .. } => Kind::AlreadyExists,
            DirectoryError::InvalidFileName { .. } | DirectoryError::NameTooLong { .. } => Kind::InvalidInput,
            DirectoryError::NoCheckpoint { .. } => Kind::NotFound,
            DirectoryError::ReadOnly { .. } => Kind::PermissionDenied,
            DirectoryError::IncompleteSave => Kind::InvalidData,
        }
    }
}

/// Why a directory cannot be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The filename prefix contains a path separator or a NUL.
    InvalidPrefix {
        /// The prefix.
        prefix: String,
    },
    /// The extension is empty, is reserved (`tmp`, `deleted` or `lock`), or contains a dot, a path separator or a NUL
    /// character.
    InvalidExtension {
        /// The extension.
        extension: String,
    },
    /// The path of the directory is empty.
    EmptyPath,
    /// The prefix and the extension are so long that no file name has room for them.
    NamesTooLong {
        /// The prefix.
        prefix: String,
        /// The extension.
        extension: String,
        /// The length in bytes of the longest name of a file that stores an object with a name of one letter.
        len: usize,
        /// The maximum length in bytes.
        limit: usize,
    },
    /// Another program, or another part of this program, has the directory open for writing with the same prefix.
    Locked {
        /// The path of the lock file.
        path: PathBuf,
        /// The process and the host that own the lock.
        owner: String,
    },
    /// The path begins with `~`, but the home directory is unknown.
    NoHomeDirectory {
        /// The path.
        path: PathBuf,
    },
    /// The directory does not exist, and opening must not create it.
    NotFound {
        /// The path of the directory.
        path: PathBuf,
    },
    /// The directory contains a file whose name begins with the prefix, but `require_empty` is `true`.
    NotEmpty {
        /// The path of the directory.
        path: PathBuf,
        /// The prefix.
        prefix: String,
        /// The name of one file or directory whose name begins with the prefix.
        found: String,
    },
    /// A file operation failed while the directory was created, listed or recovered.
    Directory(DirectoryError),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::InvalidPrefix { prefix } => {
                write!(f, "filename prefix {prefix:?} must not contain '/', '\\' or NUL")
            }
            OpenError::InvalidExtension { extension } => write!(
                f,
                "file extension {extension:?} is invalid: it must not be empty, \"tmp\", \"deleted\" or \"lock\", and \
                 must not contain '.', '/', '\\' or NUL"
            ),
            OpenError::EmptyPath => f.write_str("the path of the checkpoint directory is empty; use \".\" or a name"),
            OpenError::NamesTooLong { prefix, extension, len, limit } => write!(
                f,
                "filename prefix {prefix:?} and extension {extension:?} are too long: a file name would have {len} \
                 bytes, but the limit is {limit}"
            ),
            OpenError::Locked { path, owner } => write!(
                f,
                "{owner} has the checkpoints open for writing (lock file {}); wait until it ends, use another \
                 directory or prefix, or open the directory for reading only",
                path.display()
            ),
            OpenError::NoHomeDirectory { path } => write!(
                f,
                "cannot expand `~` in {}: the home directory is unknown; set HOME or use an absolute path",
                path.display()
            ),
            OpenError::NotFound { path } => {
                write!(f, "directory {} does not exist; create it or open it with `create_dir(true)`", path.display())
            }
            OpenError::NotEmpty { path, prefix, found } => write!(
                f,
                "directory {} contains {found}, whose name begins with the prefix {prefix:?}; use another directory or \
                 prefix, or set `require_empty(false)` to resume the run",
                path.display()
            ),
            OpenError::Directory(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OpenError::Directory(error) => error.source(),
            _ => None,
        }
    }
}
