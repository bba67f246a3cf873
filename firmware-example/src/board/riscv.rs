//! Board support for the RV32IMC (QEMU machine virt). Checkpoints are stored in the second emulated NOR flash of the
//! machine: 32 MiB at address 0x2200_0000.

use super::cfi::{CfiError, CfiFlash};
use digits_workload::boards::{self, Board, Region};
use digits_workload::flash::WriteOnce;

/// The board for which the program is compiled.
pub const BOARD: Board = boards::RV32;

/// Address of the flash.
const BASE: usize = 0x2200_0000;

/// The flash driver of this board.
pub type Flash = WriteOnce<CfiFlash>;

/// Opens one region of the flash. The returned flash starts at offset 0 of the region.
///
/// # Errors
/// Returns [`CfiError::NoFlash`] if the emulator was started without the flash.
pub fn flash(region: Region) -> Result<Flash, CfiError> {
    // SAFETY: `BASE` is the address of the machine's flash, which contains nothing but checkpoints. The two regions do
    // not share an erase block. They are never accessed at the same time: there is one core, and no interrupt handler
    // accesses the flash.
    unsafe { CfiFlash::new(BASE, BOARD.range(region)) }.map(WriteOnce::new)
}

/// Does nothing: the core always counts its instructions. The function exists because the Arm boards need it.
pub fn start_counter() {}

/// Reads the instruction counter. The result is an argument of [`elapsed`].
pub fn instructions() -> u32 {
    riscv::register::minstret::read() as u32
}

/// Number of instructions since the reading `before`. The result is valid for less than 2^32 instructions.
pub fn elapsed(before: u32) -> u32 {
    instructions().wrapping_sub(before)
}
