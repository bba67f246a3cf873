//! What can go wrong with a history.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a history cannot be read or written.
#[derive(Debug)]
#[non_exhaustive]
pub enum HistoryError {
    /// The system's error.
    Io {
        /// The file.
        path: PathBuf,
        /// What it was.
        cause: io::Error,
    },
    /// The file is something else.
    NotAHistory {
        /// The file.
        path: PathBuf,
    },
    /// It is of a version that this crate does not read.
    Version {
        /// The file.
        path: PathBuf,
        /// That version.
        found: u32,
    },
    /// A line, not the last, is not one of a history.
    Line {
        /// The file.
        path: PathBuf,
        /// Which, from 1.
        line: usize,
        /// What is wrong with it.
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
            HistoryError::Io { path, cause } => write!(f, "history {}: {cause}", path.display()),
            HistoryError::NotAHistory { path } => write!(f, "{} is not the history of a run", path.display()),
            HistoryError::Version { path, found } => {
                write!(f, "history {} is of version {found}, which this program does not read", path.display())
            }
            HistoryError::Line { path, line, cause } => {
                write!(f, "history {}, line {line}: {cause}", path.display())
            }
        }
    }
}

impl std::error::Error for HistoryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            HistoryError::Io { cause, .. } => Some(cause),
            HistoryError::Line { cause, .. } => Some(cause),
            _ => None,
        }
    }
}
