//! Board support for the firmware programs: console, log, flash, instruction counter, stack measurement and exit.
//!
//! The compilation target selects one of three emulated machines. The module `arm` supports a Cortex-M4F (QEMU machine
//! mps2-an386) and a Cortex-M0 (micro:bit). The module `riscv` supports an RV32IMC (virt). A program for a real board
//! replaces this directory with a HAL, as BOARDS.md describes. All hardware access that requires `unsafe` is in this
//! directory.

#![allow(dead_code, unused_imports, reason = "each program uses a part of this module")]

#[cfg(target_arch = "arm")]
mod arm;
#[cfg(target_arch = "riscv32")]
mod cfi;
mod console;
#[cfg(target_arch = "arm")]
mod file;
#[cfg(target_arch = "riscv32")]
mod riscv;
pub mod stack;

#[cfg(target_arch = "arm")]
pub use arm::{BOARD, Flash, elapsed, flash, instructions, start_counter};
pub use console::{Console, write_console};
#[cfg(target_arch = "riscv32")]
pub use riscv::{BOARD, Flash, elapsed, flash, instructions, start_counter};

/// Ends the program and the emulator with the exit code `code`. The code 0 means success.
pub fn exit(code: i32) -> ! {
    semihosting::process::exit(code)
}
