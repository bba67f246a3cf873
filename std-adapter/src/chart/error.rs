//! Errors of writing a chart.

use crate::history::HistoryError;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why the file of a chart could not be written.
#[derive(Debug)]
#[non_exhaustive]
pub enum ChartError {
    /// The history could not be read.
    History(HistoryError),
    /// The SVG file could not be written.
    Io {
        /// The path of the SVG file.
        path: PathBuf,
        /// The error of the operating system.
        cause: io::Error,
    },
}

impl fmt::Display for ChartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChartError::History(error) => error.fmt(f),
            ChartError::Io { path, cause } => write!(f, "cannot write the chart {}: {cause}", path.display()),
        }
    }
}

impl std::error::Error for ChartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ChartError::History(error) => std::error::Error::source(error),
            ChartError::Io { cause, .. } => std::error::Error::source(cause),
        }
    }
}
