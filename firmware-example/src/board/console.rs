//! The console of the emulator, accessed through semihosting. The measuring programs print text, and the logger writes
//! the bytes of its frames.
//!
//! On a real board a debug probe with RTT replaces this module. Output is not buffered, and errors are ignored: the
//! emulator may discard bytes.

use core::fmt;
use semihosting::fd::AsFd;
use semihosting::sys::arm_compat::{OpenMode, sys_open, sys_write_orig};

/// Text output to the console. Every call of `write_str` is one semihosting write.
pub struct Console;

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write_console(text.as_bytes());
        Ok(())
    }
}

/// Writes `bytes` to the console in one semihosting call.
pub fn write_console(bytes: &[u8]) {
    // ":tt" is the semihosting name of the console. The console is opened for each write, so that no shared handle
    // needs protection against interrupts.
    if let Ok(console) = sys_open(c":tt", OpenMode::WRONLY_TRUNC) {
        let _ = sys_write_orig(console.as_fd(), bytes);
    }
}
