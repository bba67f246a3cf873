//! Errors of a history file.

use super::format::{SCHEMA, VERSION};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a history cannot be read or written.
#[derive(Debug)]
#[non_exhaustive]
pub enum HistoryError {
    /// The operating system reported an error.
    Io {
        /// The path of the file.
        path: PathBuf,
        /// The error of the operating system.
        cause: io::Error,
    },
    /// The file is no history file: its first line is not the header of a history.
    NotAHistory {
        /// The path of the file.
        path: PathBuf,
    },
    /// The history has a format version that this crate does not support.
    Version {
        /// The path of the file.
        path: PathBuf,
        /// The version of the file.
        found: u32,
    },
    /// A line of the file is no valid event. An invalid last line is no error, because a power failure can leave an
    /// incomplete last line.
    Line {
        /// The path of the file.
        path: PathBuf,
        /// The number of the line, from 1.
        line: usize,
        /// The syntax error in the line.
        cause: serde_json::Error,
    },
}

impl HistoryError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> HistoryError + use<> {
        let path = path.to_owned();
        |cause| HistoryError::Io { path, cause }
    }
}

impl fmt::Display for HistoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HistoryError::Io { path, cause } => {
                write!(f, "cannot read or write the history file {}: {cause}", path.display())
            }
            HistoryError::NotAHistory { path } => {
                write!(f, "{} is not a history file: its first line must contain the schema {SCHEMA:?}", path.display())
            }
            HistoryError::Version { path, found } => write!(
                f,
                "history file {} has format version {found}, but this program supports version {VERSION}; update the \
                 program",
                path.display()
            ),
            HistoryError::Line { path, line, cause } => {
                write!(f, "line {line} of the history file {} is not a valid event: {cause}", path.display())
            }
        }
    }
}

impl std::error::Error for HistoryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            HistoryError::Io { cause, .. } => cause.source(),
            HistoryError::Line { cause, .. } => cause.source(),
            _ => None,
        }
    }
}
