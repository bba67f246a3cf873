//! Writing to standard output with error handling. `println!` would panic on a closed pipe or a full disk.

use crate::error::{CliError, Result};
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

/// Prints a line. Colour codes are removed if standard output is not a terminal with colours.
pub fn print_line(text: impl fmt::Display) -> Result<()> {
    check_write(writeln!(anstream::stdout().lock(), "{text}"))
}

/// Writes bytes unchanged.
pub fn write_bytes(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    check_write(out.write_all(bytes).and_then(|()| out.flush()))
}

/// Prints JSON with indentation.
pub fn print_json(value: &serde_json::Value) -> Result<()> {
    print_line(serde_json::to_string_pretty(value).map_err(CliError::other)?)
}

/// Converts the result of a write to standard output that a command makes itself.
pub fn check_write(result: io::Result<()>) -> Result<()> {
    result.map_err(CliError::io("write", "standard output".as_ref()))
}

/// The exit code of a command that answers a question. A closed pipe does not change the answer.
pub fn exit_code(printed: Result<()>, is_positive: bool) -> Result<ExitCode> {
    match printed {
        Err(error) if !error.is_broken_pipe() => Err(error),
        _ if is_positive => Ok(ExitCode::SUCCESS),
        _ => Ok(ExitCode::from(crate::EXIT_NEGATIVE)),
    }
}
