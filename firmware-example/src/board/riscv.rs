//! RV32IMC as QEMU's virt, with its second emulated NOR flash: 32 MiB at 0x2200_0000.

use super::Region;
use super::cfi::{BLOCK, CfiError, CfiFlash};
use digits_workload::flash::{Violation, WriteOnce};

/// What this board is called.
pub const NAME: &str = "rv32";

/// Where the flash is.
const BASE: usize = 0x2200_0000;

/// The flash of this board.
pub type Flash = WriteOnce<CfiFlash>;

/// Opens a region of the flash: a block, 256 KiB, is a place.
///
/// # Errors
/// [`CfiError::NoFlash`] when the machine was started without one.
pub fn flash(region: Region) -> Result<Flash, Violation<CfiError>> {
    let (start, slots) = match region {
        Region::Latest => (0, 2),
        Region::Best => (2, 3),
    };
    // SAFETY: BASE is the flash of this machine, in which nothing else lies. The two regions share no block; that they
    // share the command register is dealt with in `CfiFlash`, which leaves it in the reading state.
    unsafe { CfiFlash::new(BASE + start * BLOCK as usize, slots * BLOCK) }.map(WriteOnce::new).map_err(Violation::Flash)
}

/// Nothing to start: the core counts by itself.
pub fn start_counter() {}

/// Instructions until now.
pub fn instructions() -> u32 {
    riscv::register::minstret::read()  as u32
}
