//! Lines on standard output and standard error. Unlike `println`, they do not panic if the other end is closed or full.
//!
//! A closed pipe, for example of `digits | head -1`, is no error: the reader has seen enough, and the run continues to
//! its end. Any other error of standard output is reported at the end of the program.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};
use std::sync::OnceLock;

/// The first error of standard output that is not a closed pipe.
static ERROR: OnceLock<io::Error> = OnceLock::new();

/// Prints a line to standard output.
pub fn print_line(line: Arguments<'_>) {
    let mut stdout = io::stdout().lock();
    if let Err(error) = stdout.write_fmt(format_args!("{line}\n")).and_then(|()| stdout.flush())
        && error.kind() != ErrorKind::BrokenPipe
    {
        // A later error has the same cause.
        let _ = ERROR.set(error);
    }
}

/// Prints a line to standard error. If this fails, there is no place to report it.
pub fn print_error_line(line: Arguments<'_>) {
    let _ = io::stderr().lock().write_fmt(format_args!("{line}\n"));
}

/// Returns the first error of [`print_line`].
pub fn error() -> Option<&'static io::Error> {
    ERROR.get()
}
