//! Proves at link time that no public function of the monitor can panic.
//!
//! The program calls every public function of the monitor. Its panic handler calls an undefined function. The program
//! links only if the compiler has removed every call of the panic handler. The program is never executed. Its inputs
//! come from `black_box`, so the compiler cannot remove a panic because of a known input.

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod averages;
#[cfg(target_os = "none")]
mod background;
#[cfg(target_os = "none")]
mod codec;
#[cfg(target_os = "none")]
mod format;
#[cfg(target_os = "none")]
mod memories;
#[cfg(target_os = "none")]
mod policies;
#[cfg(target_os = "none")]
mod schedules;
#[cfg(target_os = "none")]
mod storage;

#[cfg(target_os = "none")]
mod firmware {
    use super::{averages, background, policies, schedules, storage};

    #[cfg_attr(target_arch = "arm", cortex_m_rt::entry)]
    #[cfg_attr(target_arch = "riscv32", riscv_rt::entry)]
    fn main() -> ! {
        averages::call_all();
        policies::call_all();
        schedules::call_all();
        storage::call_all();
        background::call_all();
        loop {
            core::hint::spin_loop();
        }
    }

    unsafe extern "C" {
        /// An undefined function. The linker reports its name if a panic remains in the program.
        safe fn the_monitor_can_panic() -> !;
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        the_monitor_can_panic()
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("This program runs on a board. `firmware-example/check` links it for three boards.");
}
