//! What can go wrong with a chart's file.

use crate::history::HistoryError;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a chart could not be written.
#[derive(Debug)]
#[non_exhaustive]
pub enum ChartError {
    /// The history could not be read.
    History(HistoryError),
    /// The picture could not be written.
    Io {
        /// Where.
        path: PathBuf,
        /// The system's error.
        cause: io::Error,
    },
}

impl fmt::Display for ChartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChartError::History(error) => error.fmt(f),
            ChartError::Io { path, cause } => write!(f, "chart {}: {cause}", path.display()),
        }
    }
}

impl std::error::Error for ChartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ChartError::History(error) => std::error::Error::source(error),
            ChartError::Io { cause, .. } => Some(cause),
        }
    }
}
