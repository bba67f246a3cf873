//! Writes to the terminal. No other module prints text, except the live view and the charts, whose library drops control
//! characters.
//!
//! * Each write returns its error. The macro `println!` would panic if the pipe is closed or the disk is full.
//! * Control characters are escaped here. Names from a file therefore never reach the terminal as control sequences.

pub mod table;
pub mod text;

use crate::tool::error::{CliError, Result};
use crate::tool::{EXIT_NEGATIVE, EXIT_SUCCESS};
use ratatui::crossterm::terminal;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use table::Table;
use text::Span;

/// Prints text without a style. The text can contain line ends and tabs.
pub fn print_line(text: impl fmt::Display) -> Result<()> {
    write_line(&text::escape_lines(&text.to_string()))
}

/// Prints one line that consists of parts with styles.
pub fn print_spans(spans: &[Span]) -> Result<()> {
    write_line(&spans.iter().map(Span::to_ansi).collect::<String>())
}

/// Prints a table that is as wide as the terminal at most.
pub fn print_table(table: &Table) -> Result<()> {
    table.lines(terminal_width().map(usize::from)).iter().try_for_each(|line| write_line(line.trim_end()))
}

/// Prints a JSON value with indentation to standard output.
pub fn print_json(value: &serde_json::Value) -> Result<()> {
    write_line(&text::escape_json(&serde_json::to_string_pretty(value).map_err(CliError::other)?))
}

/// Prints a line to standard error. If this write fails, the failure is ignored, because there is no other place to
/// report it.
pub fn print_error(spans: &[Span]) {
    let line: String = spans.iter().map(Span::to_ansi).collect();
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}

/// Writes a line that contains no control characters except color codes. If standard output is not a terminal with
/// colors, the color codes are removed.
fn write_line(line: &str) -> Result<()> {
    check_write(writeln!(anstream::stdout().lock(), "{line}"))
}

/// Returns the width of the terminal, or `None` if standard output is not a terminal.
pub fn terminal_width() -> Option<u16> {
    // Without a terminal, this function would start the program `tput` twice, which takes longer than a small command.
    let (width, _) = io::stdout().is_terminal().then(terminal::size)?.ok()?;
    Some(width).filter(|width| *width > 0)
}

/// Writes bytes unchanged to standard output, for example a completion script.
pub fn write_bytes(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    check_write(out.write_all(bytes).and_then(|()| out.flush()))
}

/// Adds the place, standard output, to a write error. Commands that write to standard output directly call this function.
pub fn check_write(result: io::Result<()>) -> Result<()> {
    result.map_err(CliError::StandardOutput)
}

/// Prints a note to standard error. An error of this output is ignored, because the note is not the result of the command.
pub fn print_note(text: impl fmt::Display) {
    let _ = writeln!(anstream::stderr().lock(), "note: {}", text::escape_lines(&text.to_string()));
}

/// Returns the exit code of `verify` or `diff`. `is_positive` is the result of the command. If another program closed
/// the pipe during the output, the exit code still states this result.
pub fn exit_code(printed: Result<()>, is_positive: bool) -> Result<u8> {
    match printed {
        Err(error) if !error.is_broken_pipe() => Err(error),
        _ if is_positive => Ok(EXIT_SUCCESS),
        _ => Ok(EXIT_NEGATIVE),
    }
}
