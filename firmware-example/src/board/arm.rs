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
const PER_TICK: (u64, u64) = if M0 { (125, 2) } else { (40, 1) };

/// Starts what [`instructions`] reads.
pub fn start_counter() {
    if let Some(cortex_m::Peripherals { mut SYST, .. }) = cortex_m::Peripherals::take() {
        SYST.set_clock_source(SystClkSource::Core);
        SYST.set_reload(RELOAD);
        SYST.clear_current();
        SYST.enable_counter();
    }
}

/// The timer has 24 bits.
const RELOAD: u32 = 0x00FF_FFFF;

/// A reading, for [`elapsed`]. In ticks of the timer.
pub fn instructions() -> u32 {
    RELOAD - SYST::get_current()
}

/// Instructions since `before`, at most 2^24 ticks of them.
pub fn elapsed(before: u32) -> u32 {
    let ticks = instructions().wrapping_sub(before) & RELOAD;
    let (instructions, per) = PER_TICK;
    (u64::from(ticks) * instructions / per) as u32
}
