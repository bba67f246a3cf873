//! Board support for the Cortex-M4F (QEMU machine mps2-an386) and the Cortex-M0 (micro:bit).
//!
//! The emulator cannot write the flash of these machines. A file on the host replaces the flash.

use super::file::{FileError, FileFlash};
use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use digits_workload::boards::{self, Board, Region};
use digits_workload::flash::WriteOnce;

const M0: bool = cfg!(target_abi = "eabi");

/// The board for which the program is compiled.
pub const BOARD: Board = if M0 { boards::M0 } else { boards::M4F };

/// The flash driver of this board.
pub type Flash = WriteOnce<FileFlash<{ BOARD.erase_size }, { BOARD.write_size }>>;

/// Opens one region of the flash. The returned flash starts at offset 0 of the region.
///
/// # Errors
/// Returns [`FileError`] if the emulator cannot open or extend the file on the host.
pub fn flash(region: Region) -> Result<Flash, FileError> {
    FileFlash::open(c"flash.img", BOARD.range(region)).map(WriteOnce::new)
}

/// Instructions per tick of the SysTick timer, as numerator and denominator. The emulator option `-icount shift=0`
/// makes one instruction last one nanosecond. The timer runs at 25 MHz on mps2-an386 and at 16 MHz on micro:bit.
const INSTRUCTIONS_PER_TICK: (u64, u64) = if M0 { (125, 2) } else { (40, 1) };

/// Starts the SysTick timer, which [`instructions`] reads.
pub fn start_counter() {
    if let Some(cortex_m::Peripherals { mut SYST, .. }) = cortex_m::Peripherals::take() {
        SYST.set_clock_source(SystClkSource::Core);
        SYST.set_reload(RELOAD);
        SYST.clear_current();
        SYST.enable_counter();
    }
}

/// Reload value of the SysTick timer: the largest value of its 24-bit counter.
const RELOAD: u32 = 0x00FF_FFFF;

/// Reads the timer, in ticks. The result is an argument of [`elapsed`].
pub fn instructions() -> u32 {
    RELOAD - SYST::get_current()
}

/// Number of instructions since the timer reading `before`. The result is valid for less than 2^24 ticks.
pub fn elapsed(before: u32) -> u32 {
    let ticks = instructions().wrapping_sub(before) & RELOAD;
    let (numerator, denominator) = INSTRUCTIONS_PER_TICK;
    (u64::from(ticks) * numerator / denominator) as u32
}
