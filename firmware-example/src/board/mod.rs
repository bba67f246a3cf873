//! The board under a program: console, log, flash, clock, stack, exit.
//!
//! One of three machines, known from the target: `arm` (Cortex-M4F as mps2-an386, Cortex-M0 as micro:bit) or `riscv`
//! (RV32IMC as QEMU's virt). A program for a real board replaces this directory by its HAL, and nothing else
//! (BOARDS.md). What needs `unsafe` because hardware does is here, and only here.

#![allow(dead_code, unused_imports, reason = "each program takes what it needs")]

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

/// Ends the program and the emulator: 0 is success.
pub fn exit(code: i32) -> ! {
    semihosting::process::exit(code)
}
