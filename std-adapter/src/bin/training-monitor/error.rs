//! The error type of the tool. Each error names the file it is about and says what to do, if that is known.
//!
//! Errors do not choose the exit code: `main` does.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a command failed.
#[derive(Debug)]
pub enum CliError {
    /// The operating system reported an error.
    Io {
        /// The operation as a verb: "read", "write".
        action: &'static str,
        path: PathBuf,
        cause: io::Error,
    },
    /// The file is of another kind than the command expects.
    WrongFile { path: PathBuf, expected: &'static str, found: String },
    /// The file is of the expected kind, but its content cannot be used.
    Content { path: PathBuf, reason: String },
    /// The arguments contradict each other or the content of the files.
    Usage(String),
    /// An error of a library or of the terminal that belongs to no file.
    Other(Box<dyn Error>),
}

/// The result type of all commands.
pub type Result<T> = std::result::Result<T, CliError>;

impl CliError {
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CliError + use<> {
        let path = path.to_owned();
        move |cause| CliError::Io { action, path, cause }
    }

    pub fn content(path: &Path, reason: impl fmt::Display) -> CliError {
        CliError::Content { path: path.to_owned(), reason: reason.to_string() }
    }

    pub fn usage(reason: impl Into<String>) -> CliError {
        CliError::Usage(reason.into())
    }

    pub fn other(error: impl Error + 'static) -> CliError {
        CliError::Other(Box::new(error))
    }

    /// Whether the reader closed the pipe that the tool writes to, as in `training-monitor inspect … | head -1`.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, CliError::Io { cause, .. } if cause.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CliError::Io { action, path, cause } => write!(f, "cannot {action} {}: {cause}", path.display()),
            CliError::WrongFile { path, expected, found } => {
                write!(f, "{} is not {expected}: {found}", path.display())
            }
            CliError::Content { path, reason } => write!(f, "{}: {reason}", path.display()),
            CliError::Usage(reason) => f.write_str(reason),
            CliError::Other(error) => error.fmt(f),
        }
    }
}

impl Error for CliError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            CliError::Other(error) => error.source(),
            // `Display` already includes the cause of an I/O error.
            _ => None,
        }
    }
}
