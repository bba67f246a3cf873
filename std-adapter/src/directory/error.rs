//! What can go wrong with a directory of checkpoints: when it is opened, and later. I/O errors keep their cause.

use std::fmt;
use std::io;
use std::path::PathBuf;
use training_monitor::embedded_io;

/// What was being done when the system reported an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Operation {
    /// Making a directory.
    CreateDir,
    /// Listing a directory.
    List,
    /// Making a file.
    Create,
    /// Writing to it.
    Write,
    /// Bringing its content to the medium.
    Sync,
    /// Giving it its final name.
    Rename,
    /// Bringing names to the medium.
    SyncDir,
    /// StreamSpec a file for reading.
    Open,
    /// Reading from it.
    Read,
    /// Removing it.
    Remove,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Operation::CreateDir => "make the directory",
            Operation::List => "list the directory",
            Operation::Create => "create",
            Operation::Write => "write",
            Operation::Sync => "sync",
            Operation::Rename => "rename",
            Operation::SyncDir => "sync the directory",
            Operation::Open => "open",
            Operation::Read => "read",
            Operation::Remove => "remove",
        })
    }
}

/// Why a checkpoint could not be saved, read or removed. Nothing that was committed is lost by any of these.
#[derive(Debug)]
#[non_exhaustive]
pub enum DirectoryError {
    /// The system's error.
    Io {
        /// What was being done.
        operation: Operation,
        /// With which file or directory.
        path: PathBuf,
        /// Why it failed.
        cause: io::Error,
    },
    /// A file that is not of this prefix has the name that a checkpoint would get. It is left alone.
    InTheWay {
        /// That file.
        path: PathBuf,
    },
    /// An object or score name that cannot be part of a file name: it has a path separator or a NUL.
    Name {
        /// The file name that it would make.
        name: String,
    },
    /// No such checkpoint.
    NotStored {
        /// What was asked for.
        step: u32,
    },
    /// There is nothing to commit: not all streams of the checkpoint were written, or one of them failed.
    NothingWritten,
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
            DirectoryError::InTheWay { path } => write!(f, "{} is there already and not ours", path.display()),
            DirectoryError::Name { name } => write!(f, "{name:?} cannot be a file name"),
            DirectoryError::NotStored { step } => write!(f, "there is no checkpoint of step {step}"),
            DirectoryError::NothingWritten => f.write_str("the checkpoint was not written as a whole"),
        }
    }
}

impl std::error::Error for DirectoryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            DirectoryError::Io { cause, .. } => Some(cause),
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
            DirectoryError::InTheWay { .. } => Kind::AlreadyExists,
            DirectoryError::Name { .. } => Kind::InvalidInput,
            DirectoryError::NotStored { .. } => Kind::NotFound,
            DirectoryError::NothingWritten => Kind::InvalidData,
        }
    }
}

/// Why a directory cannot be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The prefix has a path separator or a NUL.
    Prefix,
    /// The extension is empty, or has a dot, a path separator or a NUL.
    Extension,
    /// The directory begins with `~`, and it is not known where home is.
    NoHome,
    /// There is no such directory, and `create_dir` is off.
    NotFound {
        /// What was asked for.
        path: PathBuf,
    },
    /// Something with this prefix is in the directory already, and `require_empty` is on.
    NotEmpty {
        /// The directory.
        path: PathBuf,
        /// The prefix.
        prefix: String,
        /// One of the entries that have it.
        found: String,
    },
    /// The directory could not be made, listed, or brought in order.
    Directory(DirectoryError),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Prefix => f.write_str("the prefix cannot be part of a file name"),
            OpenError::Extension => f.write_str("the extension cannot be one"),
            OpenError::NoHome => f.write_str("the directory begins with `~`, but no home directory is known"),
            OpenError::NotFound { path } => write!(f, "directory {} is not found", path.display()),
            OpenError::NotEmpty { path, prefix, found } => {
                let path = path.display();
                write!(f, "files prefixed with {prefix:?} are already present in the directory {path}: {found}")
            }
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
