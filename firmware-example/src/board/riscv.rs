//! RV32IMC as QEMU's virt, with its second emulated NOR flash: 32 MiB at 0x2200_0000.

use super::cfi::{CfiError, CfiFlash};
use digits_workload::boards::{self, Board, Region};
use digits_workload::flash::WriteOnce;

/// This board.
pub const BOARD: Board = boards::RV32;

/// Where the flash is.
const BASE: usize = 0x2200_0000;

/// The flash of this board.
pub type Flash = WriteOnce<CfiFlash>;

/// Opens a region of the flash.
///
/// # Errors
/// [`CfiError::NoFlash`] when the machine was started without one.
pub fn flash(region: Region) -> Result<Flash, CfiError> {
    // SAFETY: BASE is the flash of this machine, in which nothing else lies. The two regions share no block, and they
    // are used one after the other: there is one core, and no interrupt saves checkpoints.
    unsafe { CfiFlash::new(BASE, BOARD.range(region)) }.map(WriteOnce::new)
}

/// Nothing to start: the core counts by itself.
pub fn start_counter() {}

/// A reading, for [`elapsed`].
pub fn instructions() -> u32 {
    riscv::register::minstret::read() as u32
}

/// Instructions since `before`, at most 2^32 of them.
pub fn elapsed(before: u32) -> u32 {
    instructions().wrapping_sub(before)
}
