//! A board as a node of a fleet: it receives the weights of a round over its serial port, trains, and replies. The module
//! `digits_workload::node` describes the requests.
//!
//! The board saves its state in flash after each epoch of a round. After a power failure, it continues the round when it
//! gets the same request again.
//!
//! The program needs about 17 KiB of RAM for the network 64-10-10, so it does not run on the Cortex-M0 with 16 KiB.
//!
//! On a host, the program is a simulated board: its serial port is the standard input and output, and its flash the
//! directory that the argument names.

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
#[path = "../board/mod.rs"]
mod board;
#[cfg(target_os = "none")]
#[path = "../board/uart.rs"]
mod uart;

#[cfg(target_os = "none")]
mod firmware {
    use crate::board::{self, BOARD};
    use crate::uart::Uart;
    use digits_workload::boards::{LATEST_SLOTS, Region};
    use digits_workload::node::round::Node;
    use digits_workload::node::{buffer_size, serve};
    use embedded_storage::nor_flash::ReadNorFlash;
    use static_cell::ConstStaticCell;
    use training_monitor::store::flash::Slots;

    #[cfg(all(target_arch = "arm", target_abi = "eabi"))]
    compile_error!("the Cortex-M0 board has not enough RAM for the program `node`");

    /// Number of hidden units: 10 with the feature `small-network`.
    const HIDDEN: usize = if cfg!(feature = "small-network") { 10 } else { 32 };

    static NODE: ConstStaticCell<Node<HIDDEN, 16>> = ConstStaticCell::new(Node::new());
    static BUFFER: ConstStaticCell<[u8; buffer_size::<HIDDEN>()]> = ConstStaticCell::new([0; buffer_size::<HIDDEN>()]);

    #[cfg_attr(target_arch = "arm", cortex_m_rt::entry)]
    #[cfg_attr(target_arch = "riscv32", riscv_rt::entry)]
    fn main() -> ! {
        let Ok(flash) = board::flash(Region::Latest) else { board::exit(1) };
        let end = u32::try_from(flash.capacity()).unwrap_or(u32::MAX);
        let Ok(mut store) = Slots::<_, LATEST_SLOTS>::open(flash, 0..end) else { board::exit(2) };
        let (Some(node), Some(buffer)) = (NODE.try_take(), BUFFER.try_take()) else { board::exit(3) };
        let Ok(()) = serve(BOARD.name, &mut Uart::start(), node, &mut store, buffer);
        board::exit(0)
    }

    /// On the Arm boards, only the emulator's file in place of the flash can panic. The program for RISC-V, with a flash
    /// driver, contains no panic: this handler calls a function that does not exist, so the program would not link.
    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        #[cfg(target_arch = "arm")]
        board::exit(101);
        #[cfg(target_arch = "riscv32")]
        {
            unsafe extern "C" {
                fn node_can_panic() -> !;
            }
            // SAFETY: a program with this call does not exist.
            unsafe { node_can_panic() }
        }
    }
}

#[cfg(not(target_os = "none"))]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use digits_workload::node::round::Node;
    use digits_workload::node::{buffer_size, serve};

    let directory = std::env::args_os().nth(1).ok_or("usage: node DIRECTORY")?;
    let mut store = training_monitor_std::Directory::builder(directory, "node").require_empty(false).open()?;
    serve("host", &mut host::Console, &mut Node::<32, 16>::new(), &mut store, &mut [0; buffer_size::<32>()])?;
    Ok(())
}

#[cfg(not(target_os = "none"))]
mod host {
    use std::io::{self, Read as _, Write as _};
    use training_monitor::embedded_io::{ErrorType, Read, Write};

    /// The standard input and output.
    pub struct Console;

    impl ErrorType for Console {
        type Error = io::Error;
    }

    impl Read for Console {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            io::stdin().lock().read(bytes)
        }
    }

    impl Write for Console {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            io::stdout().lock().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            io::stdout().lock().flush()
        }
    }
}
