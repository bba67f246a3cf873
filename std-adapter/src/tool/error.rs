//! The error type of the tool. Each message names the file that caused the error. If the tool knows a remedy, the
//! message also states the remedy.
//!
//! An error contains no exit code. The function `main` chooses the exit code.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The reason why a command of the tool failed.
#[derive(Debug)]
pub enum CliError {
    /// The operating system reported an error.
    Io {
        /// The failed operation as a verb, for example "read" or "write".
        action: &'static str,
        path: PathBuf,
        cause: io::Error,
    },
    /// A write to standard output failed.
    StandardOutput(io::Error),
    /// The output file exists, and the user did not allow to replace it.
    OutputExists { path: PathBuf },
    /// The output file is also an input of the command.
    OutputIsInput { path: PathBuf },
    /// The kind of the file is not the kind that the command expects. For example, the file is no checkpoint.
    WrongFile { path: PathBuf, expected: &'static str, found: String },
    /// The file has the expected kind, but the command cannot use its content.
    Content { path: PathBuf, reason: String },
    /// The command line arguments contradict each other, or they contradict the content of the files.
    Usage(String),
    /// A library or the terminal reported an error that does not belong to a file.
    Other(Box<dyn Error + Send + Sync>),
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

    pub fn other(error: impl Error + Send + Sync + 'static) -> CliError {
        CliError::Other(Box::new(error))
    }

    /// Returns whether a file does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, CliError::Io { cause, .. } if cause.kind() == io::ErrorKind::NotFound)
    }

    /// Returns whether a write failed because another program closed the pipe of standard output. In `training-monitor
    /// inspect … | head -1`, the program `head` closes the pipe after one line.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, CliError::StandardOutput(cause) if cause.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CliError::Io { action, path, cause } => write!(f, "cannot {action} {}: {cause}", path.display()),
            CliError::StandardOutput(cause) => write!(f, "cannot write standard output: {cause}"),
            CliError::OutputExists { path } => {
                write!(f, "{} exists; use --force to replace it", path.display())
            }
            CliError::OutputIsInput { path } => {
                write!(f, "{} is also an input of the command; choose another output", path.display())
            }
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
            // Return no source. The message (`Display`) already includes the cause of an I/O error, so a source would
            // repeat the cause.
            _ => None,
        }
    }
}
