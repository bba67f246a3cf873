//! Renders the progress line in a virtual terminal.

use super::Progress;
use super::line::StatusLine;
use super::status::Status;
use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};
use training_monitor::{Outcome, StopReason};
use vt100::Parser;

const ROWS: u16 = 8;

/// A virtual terminal. Like a terminal device, it moves the cursor to the start of the next line at a line end.
#[derive(Clone)]
struct Terminal {
    parser: Rc<RefCell<Parser>>,
    width: Rc<Cell<u16>>,
}

impl Write for Terminal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8(bytes.to_vec()).unwrap().replace('\n', "\r\n");
        self.parser.borrow_mut().process(text.as_bytes());
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Terminal {
    fn new(width: u16) -> Terminal {
        let mut parser = Parser::new(ROWS, width, 0);
        parser.process(b"$ digits\r\n");
        Terminal { parser: Rc::new(RefCell::new(parser)), width: Rc::new(Cell::new(width)) }
    }

    fn progress(&self) -> Progress {
        let width = Rc::clone(&self.width);
        let line = StatusLine::new(Box::new(self.clone()), Box::new(move || usize::from(width.get())));
        Progress::with_line(Some(line))
    }

    /// Returns the rows that are not empty.
    fn rows(&self) -> Vec<String> {
        let parser = self.parser.borrow();
        let rows = parser.screen().rows(0, self.width.get()).map(|row| row.trim_end().to_owned());
        rows.filter(|row| !row.is_empty()).collect()
    }

    /// Changes the width like xterm: longer rows are truncated.
    fn truncate(&self, width: u16) {
        self.width.set(width);
        self.parser.borrow_mut().screen_mut().set_size(ROWS, width);
    }

    /// Changes the width like most terminals: longer rows are wrapped, and the cursor stays with its character.
    fn rewrap(&self, width: u16) {
        let rows = self.rows();
        let (row, column) = self.parser.borrow().screen().cursor_position();
        assert_eq!(column, 0, "the cursor is at the start of the progress line");
        let mut parser = Parser::new(ROWS, width, 0);
        let mut cursor = None;
        for (index, text) in rows.iter().enumerate() {
            if index == usize::from(row) {
                cursor = Some(parser.screen().cursor_position());
            }
            parser.process(text.as_bytes());
            parser.process(b"\r\n");
        }
        let (row, _) = cursor.unwrap_or(parser.screen().cursor_position());
        parser.process(format!("\x1b[{};1H", row + 1).as_bytes());
        self.width.set(width);
        *self.parser.borrow_mut() = parser;
    }
}

/// Draws one batch in the middle of a run. The limit for the rate of draws does not apply to it.
fn draw(progress: &Progress, iteration: u32) {
    progress.start(30, Some(75));
    progress.set_loss_name("smoothed loss");
    progress.set_score("val_loss", 0.0801);
    let mut shared = progress.shared.borrow_mut();
    let start = Instant::now();
    // The first batch of the resumed run, so that the rate is known.
    shared.last_redraw = Some(start);
    shared.status.begin_batch(start);
    shared.set_batch(start + Duration::from_micros(1500), (12, 29, 854), 0.12345);
    shared.last_redraw = None;
    shared.status.begin_batch(start + Duration::from_secs(1));
    let now = start + Duration::from_secs(1) + Duration::from_micros(1500);
    shared.set_batch(now, (12, 30, iteration), 0.12345);
}

#[test]
fn the_line_never_wraps() {
    let expected = [
        (
            160,
            "━━━━━━━─────────────  38%  epoch 12/30, batch 30/75, smoothed loss 0.12345, val_loss 0.0801, 1.5ms per batch, \
               0:23:15 remaining",
        ),
        (100, "━━━━━━━─────────────  38%  epoch 12/30, smoothed loss 0.12345, val_loss 0.0801, 0:23:15 remaining"),
        (80, "━━━━━━━────────────  38%  epoch 12/30, smoothed loss 0.12345, 0:23:15 remaining"),
        (60, "38%  epoch 12/30, smoothed loss 0.12345, 0:23:15 remaining"),
        (30, "38%  epoch 12/30"),
        (20, "38%  epoch 12/30"),
        (12, "epoch 12/30"),
        (8, "epoch …"),
        (1, ""),
    ];
    for (width, line) in expected {
        let terminal = Terminal::new(width.max(8));
        terminal.width.set(width);
        let progress = terminal.progress();
        draw(&progress, 855);
        assert_eq!(terminal.rows()[1..].concat(), line, "width {width}");
    }
    // Each width between them.
    for width in 9..130 {
        let terminal = Terminal::new(width);
        let progress = terminal.progress();
        (1..=2250).step_by(749).for_each(|iteration| draw(&progress, iteration.max(855)));
        assert_eq!(terminal.rows().len(), 2, "width {width}: {:?}", terminal.rows());
        progress.println("warning");
        assert_eq!(terminal.rows()[..2], ["$ digits", "warning"], "width {width}");
        assert_eq!(terminal.rows().len(), 3, "width {width}: {:?}", terminal.rows());
    }
}

#[test]
fn no_fragment_remains_after_a_change_of_the_width() {
    for resize in [Terminal::truncate, Terminal::rewrap] {
        let terminal = Terminal::new(140);
        let progress = terminal.progress();
        for width in [140, 100, 60, 30, 20, 45, 140, 25] {
            resize(&terminal, width);
            draw(&progress, 855);
            let rows = terminal.rows();
            assert!(rows.len() == 2 && rows[0] == "$ digits" && rows[1].contains("epoch 12/30"), "{width}: {rows:?}");
        }
    }
}

#[test]
fn the_final_line_stays_and_the_cursor_is_below_it() {
    let outcome = Outcome { reason: StopReason::EarlyStopping, epoch: 12, iteration: 855 };
    let terminal = Terminal::new(100);
    let progress = terminal.progress();
    draw(&progress, 855);
    progress.finish(Some(&outcome));
    progress.finish(None);
    drop(progress);
    let line = "━━━━━━──────────  38%  epoch 12/30, smoothed loss 0.12345, val_loss 0.0801, stopped: early stopping";
    assert_eq!(terminal.rows(), ["$ digits", line]);
    assert_eq!(terminal.parser.borrow().screen().cursor_position(), (2, 0));
    // Without `finish`, for example after an error.
    let terminal = Terminal::new(100);
    draw(&terminal.progress(), 855);
    assert_eq!(terminal.parser.borrow().screen().cursor_position(), (2, 0));
}

#[test]
fn a_name_cannot_move_the_cursor() {
    let terminal = Terminal::new(100);
    let progress = terminal.progress();
    progress.set_score("a\r\x1b[2Jb", 0.5);
    progress.set_batch(1, 1, 1, 0.5);
    assert_eq!(terminal.rows(), ["$ digits", "epoch 1, batch 1, loss 0.50000, a??[2Jb 0.5000"]);
}

#[test]
fn the_time_per_batch_excludes_saves_and_the_remaining_time_includes_them() {
    let mut status = Status::default();
    (status.epochs, status.batches) = (2, Some(50));
    let (mut now, batch, save) = (Instant::now(), Duration::from_millis(2), Duration::from_millis(998));
    for iteration in 1..=40 {
        status.begin_batch(now);
        now += batch;
        status.iteration = iteration;
        status.complete_batch(now);
        now += save;
    }
    let line = status.line(200, None);
    assert!(line.ends_with(", 2.0ms per batch, 0:01:00 remaining"), "{line}");
    // A custom loop that does not report the start of its batches.
    let mut status = Status::default();
    (status.epochs, status.batches) = (2, Some(50));
    for iteration in 1..=3 {
        status.iteration = iteration;
        status.complete_batch(now);
        now += batch + save;
    }
    let line = status.line(200, None);
    assert!(line.ends_with(", 1.0s per batch with saves, 0:01:37 remaining"), "{line}");
}
