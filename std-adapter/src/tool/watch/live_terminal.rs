//! The terminal of the live view: raw mode and the alternate screen, from its start to its end, also across a stop of
//! the process.
//!
//! A shell stops a program with Ctrl-Z (SIGTSTP) and continues it with `fg` (SIGCONT). The terminal must be in its normal
//! state while the shell uses it, and be redrawn afterwards. SIGTERM, SIGINT and SIGHUP end the live view in order.

use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{Clear, ClearType, EnterAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::prelude::CrosstermBackend;
use ratatui::{DefaultTerminal, Frame};
use signals::Signals;
use std::io;

/// The terminal while the live view uses it. The library ratatui restores it at the end, even after a panic.
pub struct LiveTerminal {
    terminal: DefaultTerminal,
    signals: Signals,
}

/// What a signal requests from the live view.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// Draw everything again.
    Redraw,
    Quit,
}

impl LiveTerminal {
    pub fn open() -> io::Result<LiveTerminal> {
        let signals = Signals::register()?;
        Ok(LiveTerminal { terminal: ratatui::try_init()?, signals })
    }

    pub fn draw(&mut self, render: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(render).map(drop)
    }

    /// Handles the signals since the last call.
    pub fn handle_signals(&mut self) -> io::Result<Option<Request>> {
        if self.signals.has_ended() {
            return Ok(Some(Request::Quit));
        }
        if self.signals.has_stopped() {
            return self.stop().map(Some);
        }
        if self.signals.has_continued() {
            // SIGSTOP cannot be handled. The shell has restored the terminal meanwhile.
            self.enter()?;
            return Ok(Some(Request::Redraw));
        }
        Ok(None)
    }

    /// Gives the terminal back to the shell and stops the process until it is continued. Does nothing on systems without
    /// job control.
    pub fn stop(&mut self) -> io::Result<Request> {
        if Signals::CAN_STOP {
            ratatui::restore();
            self.signals.stop_process()?;
            self.enter()?;
        }
        Ok(Request::Redraw)
    }

    fn enter(&mut self) -> io::Result<()> {
        // The library sets the raw mode only if it has left it before.
        disable_raw_mode()?;
        enable_raw_mode()?;
        execute!(io::stdout(), EnterAlternateScreen, Clear(ClearType::All))?;
        // A new terminal knows that the screen is empty, so the next draw writes all cells.
        self.terminal = DefaultTerminal::new(CrosstermBackend::new(io::stdout()))?;
        Ok(())
    }
}

impl Drop for LiveTerminal {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

#[cfg(unix)]
mod signals {
    use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGTSTP};
    use signal_hook::flag;
    use signal_hook::low_level::emulate_default_handler;
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// The signals that have arrived and are not handled yet.
    #[derive(Default)]
    pub struct Signals {
        stop: Arc<AtomicBool>,
        resume: Arc<AtomicBool>,
        end: Arc<AtomicBool>,
    }

    impl Signals {
        pub const CAN_STOP: bool = true;

        pub fn register() -> io::Result<Signals> {
            let signals = Signals::default();
            flag::register(SIGTSTP, Arc::clone(&signals.stop))?;
            flag::register(SIGCONT, Arc::clone(&signals.resume))?;
            for signal in [SIGTERM, SIGINT, SIGHUP] {
                flag::register(signal, Arc::clone(&signals.end))?;
            }
            Ok(signals)
        }

        pub fn has_stopped(&self) -> bool {
            self.stop.swap(false, Ordering::Relaxed)
        }

        pub fn has_continued(&self) -> bool {
            self.resume.swap(false, Ordering::Relaxed)
        }

        pub fn has_ended(&self) -> bool {
            self.end.load(Ordering::Relaxed)
        }

        /// Stops the process. Returns after it was continued.
        pub fn stop_process(&self) -> io::Result<()> {
            emulate_default_handler(SIGTSTP)?;
            self.has_continued();
            Ok(())
        }
    }
}

#[cfg(not(unix))]
mod signals {
    use std::io;

    /// Systems without job control send no such signals.
    pub struct Signals;

    impl Signals {
        pub const CAN_STOP: bool = false;

        pub fn register() -> io::Result<Signals> {
            Ok(Signals)
        }

        pub fn has_stopped(&self) -> bool {
            false
        }

        pub fn has_continued(&self) -> bool {
            false
        }

        pub fn has_ended(&self) -> bool {
            false
        }

        pub fn stop_process(&self) -> io::Result<()> {
            Ok(())
        }
    }
}
