//! The firmware that trains the network on a board, with all four handlers, checkpoints in flash, and a defmt log.
//!
//! After a reset or a power failure, the program resumes from the newest checkpoint. The network is 64-32-10 by
//! default. It is 64-10-10 on the Cortex-M0 and with the feature `small-network`.

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
#[path = "../board/mod.rs"]
mod board;
#[cfg(target_os = "none")]
#[path = "../board/log.rs"]
mod log;
#[cfg(target_os = "none")]
#[path = "../board/training.rs"]
mod training;

#[cfg(target_os = "none")]
mod firmware {
    use crate::board;
    use crate::training::{self, BATCH, HIDDEN};
    use digits_workload::train::Trainee;
    use static_cell::ConstStaticCell;

    /// The trainee is a static variable, because it is too large for the stack of the smallest board.
    static TRAINEE: ConstStaticCell<Trainee<HIDDEN, BATCH>> = ConstStaticCell::new(Trainee::new());

    #[cfg_attr(target_arch = "arm", cortex_m_rt::entry)]
    #[cfg_attr(target_arch = "riscv32", riscv_rt::entry)]
    fn main() -> ! {
        board::exit(training::program(TRAINEE.take(), || defmt::info!("network 64-{=usize}-10", HIDDEN)))
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        board::exit(101)
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("This program runs on a board. `firmware-example/check` builds it and runs it in emulators.");
}
