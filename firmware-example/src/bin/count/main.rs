//! What the monitor costs: instructions, stack, RAM. One line a number, `name value`, the same at each run.
//!
//! Instructions are counted by the emulator, which makes virtual time a nanosecond an instruction (`-icount shift=0`).
//! They are not cycles. What is given per element is the slope between two lengths, so that what a call costs once is
//! not in it.

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
#[path = "../../board/mod.rs"]
mod board;
#[cfg(target_os = "none")]
mod chip;
#[cfg(target_os = "none")]
mod instructions;
#[cfg(target_os = "none")]
mod iteration;
#[cfg(target_os = "none")]
mod memory;

#[cfg(target_os = "none")]
mod firmware {
    use super::{board, instructions, iteration, memory};
    use digits_workload::train::{Hyper, Trainee};
    use static_cell::ConstStaticCell;

    /// Hidden units of the network that is trained here.
    pub const HIDDEN: usize = if cfg!(target_abi = "eabi") { 10 } else { 32 };

    static TRAINEE: ConstStaticCell<Trainee<HIDDEN, 16>> = ConstStaticCell::new(Trainee::new());

    #[cfg_attr(target_arch = "arm", cortex_m_rt::entry)]
    #[cfg_attr(target_arch = "riscv32", riscv_rt::entry)]
    fn main() -> ! {
        board::start_counter();
        let trainee = TRAINEE.take();
        trainee.init(1, Hyper::default());
        instructions::all(trainee);
        let engine = iteration::all();
        instructions::shares(trainee, engine);
        memory::all(trainee);
        board::exit(0)
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        board::exit(101)
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("This program is for a board: `firmware-example/check` builds and runs it in emulators.");
}
