//! Cortex-M4F as mps2-an386, Cortex-M0 as micro:bit.
//!
//! Neither machine has a flash that can be written in the emulator: a file stands in, with the geometry of a flash
//! that such a chip would have (STM32L4: pages of 2 KiB, granules of 8 bytes; nRF51: 1 KiB, 4 bytes).

use super::Region;
use super::file::{FileError, FileFlash};
use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use digits_workload::flash::{Violation, WriteOnce};

const M0: bool = cfg!(target_abi = "eabi");

/// What this board is called.
pub const NAME: &str = if M0 { "m0" } else { "m4f" };

/// Page and granule of the flash.
const PAGE: usize = if M0 { 1024 } else { 2048 };
const GRANULE: usize = if M0 { 4 } else { 8 };
/// A place for a checkpoint: 7 KiB are enough for the 64-10-10 network, 20 KiB for 64-32-10.
const SLOT: u32 = if M0 { 8 * 1024 } else { 24 * 1024 };

/// The flash of this board.
pub type Flash = WriteOnce<FileFlash<PAGE, GRANULE>>;

/// Opens a region of the flash.
///
/// # Errors
/// When the host does not let the emulator write its file.
pub fn flash(region: Region) -> Result<Flash, Violation<FileError>> {
    let (start, slots) = match region {
        Region::Latest => (0, 2),
        Region::Best => (2 * SLOT, 3),
    };
    FileFlash::open(c"flash.img", start, slots * SLOT).map(WriteOnce::new).map_err(Violation::Flash)
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
