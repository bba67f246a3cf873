//! Cortex-M4F as mps2-an386, Cortex-M0 as micro:bit.
//!
//! Neither machine has a flash that can be written in the emulator: a file stands in.

use super::file::{FileError, FileFlash};
use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use digits_workload::boards::{self, Board, Region};
use digits_workload::flash::WriteOnce;

const M0: bool = cfg!(target_abi = "eabi");

/// This board.
pub const BOARD: Board = if M0 { boards::M0 } else { boards::M4F };

/// The flash of this board.
pub type Flash = WriteOnce<FileFlash<{ BOARD.block }, { BOARD.granule }>>;

/// Opens a region of the flash.
///
/// # Errors
/// When the host does not let the emulator write its file.
pub fn flash(region: Region) -> Result<Flash, FileError> {
    FileFlash::open(c"flash.img", BOARD.range(region)).map(WriteOnce::new)
}

/// Instructions a tick of the SysTick timer stands for, where virtual time is one nanosecond an instruction
/// (`-icount shift=0`): mps2-an386 runs it at 25 MHz, micro:bit at 16.
const PER_TICK: (u32, u32) = if M0 { (125, 2) } else { (40, 1) };

/// Starts what [`instructions`] reads.
pub fn start_counter(mut systick: SYST) {
    systick.set_clock_source(SystClkSource::Core);
    systick.set_reload(0x00FF_FFFF);
    systick.clear_current();
    systick.enable_counter();
}

/// Instructions until now, to be subtracted from a later reading with [`elapsed`].
pub fn instructions() -> u32 {
    0x00FF_FFFF - SYST::get_current()
}
