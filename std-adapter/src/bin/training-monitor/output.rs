//! Writes to standard output and returns errors. The macro `println!` would panic if the pipe is closed or the disk is
//! full.

use crate::error::{CliError, Result};
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

/// Prints a line. If standard output is not a terminal with colors, the color codes are removed.
pub fn print_line(text: impl fmt::Display) -> Result<()> {
    check_write(writeln!(anstream::stdout().lock(), "{text}"))
}

/// Writes bytes unchanged to standard output, for example an exported file.
pub fn write_bytes(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    check_write(out.write_all(bytes).and_then(|()| out.flush()))
}

/// Prints a JSON value with indentation to standard output.
pub fn print_json(value: &serde_json::Value) -> Result<()> {
    print_line(serde_json::to_string_pretty(value).map_err(CliError::other)?)
}

/// Adds the place, standard output, to a write error. Commands that write to standard output directly call this function.
pub fn check_write(result: io::Result<()>) -> Result<()> {
    result.map_err(CliError::StandardOutput)
}

/// Prints a note to standard error. An error of this output is ignored, because the note is not the result of the command.
pub fn print_note(text: impl fmt::Display) {
    let _ = writeln!(anstream::stderr().lock(), "note: {text}");
}

/// Returns the exit code of `verify` or `diff`. `is_positive` is the result of the command. If another program closed
/// the pipe during the output, the exit code still states this result.
pub fn exit_code(printed: Result<()>, is_positive: bool) -> Result<ExitCode> {
    match printed {
        Err(error) if !error.is_broken_pipe() => Err(error),
        _ if is_positive => Ok(ExitCode::SUCCESS),
        _ => Ok(ExitCode::from(crate::EXIT_NEGATIVE)),
    }
}
