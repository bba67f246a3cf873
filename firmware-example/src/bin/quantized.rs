//! The firmware `train` with 8-bit weights: the same handlers and flash slots, and checkpoints of a quarter of the size.
//!
//! The program ignores the checkpoints of `train`, because their tensors have other element types. It starts a new run.

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
    use digits_workload::quantized::QuantizedTrainee;
    use static_cell::ConstStaticCell;

    /// The trainee is a static variable, because it is too large for the stack of the smallest board.
    static TRAINEE: ConstStaticCell<QuantizedTrainee<HIDDEN, BATCH>> = ConstStaticCell::new(QuantizedTrainee::new());

    #[cfg_attr(target_arch = "arm", cortex_m_rt::entry)]
    #[cfg_attr(target_arch = "riscv32", riscv_rt::entry)]
    fn main() -> ! {
        board::exit(training::program(TRAINEE.take(), || defmt::info!("network 64-{=usize}-10, 8-bit weights", HIDDEN)))
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
