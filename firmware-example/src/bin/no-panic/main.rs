//! A program in which every public function of the monitor is reachable, and whose panic handler does not exist.
//!
//! If it links, no path through the monitor ends in a panic: the handler calls a function that nobody defines, and it
//! stays out of the program only when no panic is left. It is linked and never run. Inputs come out of
//! [`black_box`], so that the compiler can take nothing for granted.

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod machines;
#[cfg(target_os = "none")]
mod storage;
#[cfg(target_os = "none")]
mod tell;

#[cfg(target_os = "none")]
mod firmware {
    use super::{machines, storage};

    #[cfg_attr(target_arch = "arm", cortex_m_rt::entry)]
    #[cfg_attr(target_arch = "riscv32", riscv_rt::entry)]
    fn main() -> ! {
        machines::all();
        storage::all();
        loop {
            core::hint::spin_loop();
        }
    }

    unsafe extern "C" {
        /// Nobody defines this.
        safe fn the_monitor_can_panic() -> !;
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        the_monitor_can_panic()
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("This program is for a board: `firmware-example/check` links it for three of them.");
}
