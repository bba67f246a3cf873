//! Standard output, to which writing may fail: a reader that has seen enough, a full disk. `println!` would panic.

use crate::failure::{Failure, Result};
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

/// Prints a line. Colours are left out where they do not belong.
pub fn line(text: impl fmt::Display) -> Result<()> {
    written(writeln!(anstream::stdout().lock(), "{text}"))
}

/// Writes bytes as they are.
pub fn bytes(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    written(out.write_all(bytes).and_then(|()| out.flush()))
}

/// Prints JSON, indented.
pub fn json(value: &serde_json::Value) -> Result<()> {
    line(serde_json::to_string_pretty(value).map_err(Failure::other)?)
}

/// The failure of whoever writes there by itself.
pub fn written(result: io::Result<()>) -> Result<()> {
    result.map_err(Failure::io("write", "standard output".as_ref()))
}

/// The exit code of an answer, which is the same where nobody reads it.
pub fn answered(printed: Result<()>, yes: bool) -> Result<ExitCode> {
    match printed {
        Err(failure) if !failure.is_broken_pipe() => Err(failure),
        _ if yes => Ok(ExitCode::SUCCESS),
        _ => Ok(ExitCode::from(crate::NO)),
    }
}
