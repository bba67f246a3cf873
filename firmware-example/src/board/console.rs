//! The emulator's console, through semihosting: text for the programs that measure, bytes for the log.
//!
//! A real board has a debug probe here (RTT). Nothing is buffered, nothing fails: what the emulator does not take is
//! lost.

use core::fmt;
use semihosting::fd::AsFd;
use semihosting::sys::arm_compat::{OpenMode, sys_open, sys_write_orig};

/// Text, a write a call.
pub struct Console;

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write_console(text.as_bytes());
        Ok(())
    }
}

/// Writes `bytes` to the console, all at once.
pub fn write_console(bytes: &[u8]) {
    // Opened each time, so that there is no state to guard; ":tt" is semihosting's name for it.
    if let Ok(console) = sys_open(c":tt", OpenMode::WRONLY_TRUNC) {
        let _ = sys_write_orig(console.as_fd(), bytes);
    }
}
