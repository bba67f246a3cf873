//! Measures the cost of the monitor: instructions, stack and RAM. Prints one number per line as `board/name value`.
//! Every run prints the same numbers.
//!
//! The emulator option `-icount shift=0` makes one instruction last one nanosecond of virtual time, so a timer counts
//! instructions. Instructions are not cycles. A number per element is the slope between two lengths, so it excludes the
//! fixed cost of a call.

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

    /// Number of hidden units of the measured network.
    pub const HIDDEN: usize = if cfg!(target_abi = "eabi") { 10 } else { 32 };

    static TRAINEE: ConstStaticCell<Trainee<HIDDEN, 16>> = ConstStaticCell::new(Trainee::new());

    #[cfg_attr(target_arch = "arm", cortex_m_rt::entry)]
    #[cfg_attr(target_arch = "riscv32", riscv_rt::entry)]
    fn main() -> ! {
        board::start_counter();
        let trainee = TRAINEE.take();
        trainee.init(1, Hyper::default());
        let painted = board::stack::paint();
        instructions::measure_per_element(trainee);
        let engine = iteration::measure();
        instructions::measure_shares(trainee, engine);
        painted.depth(); // checks that the stack was large enough
        memory::measure(trainee);
        board::exit(0)
    }

    #[panic_handler]
    fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
        let _ = core::fmt::Write::write_fmt(&mut board::Console, format_args!("{info}\n"));
        board::exit(101)
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("This program runs on a board. `firmware-example/check` builds it and runs it in emulators.");
}
