//! A line at the end of the terminal's output that is redrawn in place.
//!
//! After each draw, the cursor is at the start of the line. If the terminal becomes narrower and wraps the line, the
//! cursor stays with its character, in the first row. Therefore the next draw clears all rows of the line, without
//! knowing their number. A terminal that truncates the line instead behaves in the same way.

use std::io::{self, Write};

/// Clears from the start of the line to the end of the screen.
const CLEAR: &str = "\r\x1b[J";

/// A line that is redrawn in place. Write errors are ignored: the progress is not essential, and a run must not fail
/// because of it.
pub struct StatusLine {
    output: Box<dyn Write>,
    /// Returns the width of the terminal, which can change at any time.
    width: Box<dyn Fn() -> usize>,
    /// The text that the terminal shows. `None` if the cursor is on an empty line.
    shown: Option<String>,
}

impl StatusLine {
    pub fn new(output: Box<dyn Write>, width: Box<dyn Fn() -> usize>) -> Self {
        StatusLine { output, width, shown: None }
    }

    /// Returns the number of columns that the text can have. The last column stays empty, because some terminals wrap
    /// a line that fills it.
    pub fn max_width(&self) -> usize {
        (self.width)().saturating_sub(1)
    }

    /// Replaces the line by `text`, which has at most [`max_width`](Self::max_width) columns.
    pub fn draw(&mut self, text: String) {
        let _ = self.write(format_args!("{CLEAR}{text}\r"));
        self.shown = Some(text);
    }

    /// Prints a line of text above the line.
    pub fn print_above(&mut self, text: &str) {
        let shown = self.shown.as_deref().unwrap_or_default().to_owned();
        let _ = self.write(format_args!("{CLEAR}{text}\n{shown}\r"));
    }

    /// Draws the text for the last time. It stays in the terminal, and the next output follows below it.
    pub fn finish(&mut self, text: &str) {
        self.shown = None;
        let _ = self.write(format_args!("{CLEAR}{text}\n"));
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) -> io::Result<()> {
        // One write for each draw, so that the terminal never shows half of a line.
        self.output.write_all(text.to_string().as_bytes())?;
        self.output.flush()
    }
}

impl Drop for StatusLine {
    /// Moves the cursor below the line, so that the prompt of a shell does not overwrite it.
    fn drop(&mut self) {
        if self.shown.is_some() {
            let _ = self.write(format_args!("\n"));
        }
    }
}
