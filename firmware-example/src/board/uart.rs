//! The serial port of a board, the mps2-an386 or the machine virt: a read waits for the next byte, and a write for a free place.
//!
//! The emulator transfers a byte only when the port has a place for it. A real port loses bytes while the program trains or
//! writes its flash. A node does not read then, and its gateway repeats a request that was damaged.

use core::convert::Infallible;
use core::ptr;
use training_monitor::embedded_io::{ErrorType, Read, Write};

/// The serial port. All values of this type are the same port.
pub struct Uart(());

impl Uart {
    /// Enables the port.
    pub fn start() -> Self {
        port::start();
        Self(())
    }
}

impl ErrorType for Uart {
    type Error = Infallible;
}

impl Read for Uart {
    /// Reads one byte.
    fn read(&mut self, bytes: &mut [u8]) -> Result<usize, Infallible> {
        let Some(first) = bytes.first_mut() else { return Ok(0) };
        *first = port::read();
        Ok(1)
    }
}

impl Write for Uart {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        bytes.iter().for_each(|byte| port::write(*byte));
        Ok(bytes.len())
    }
    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Reads the register of the port at `address`.
fn register<T>(address: usize) -> T {
    // SAFETY: all callers are in this file, and pass the address of a register of their machine's port that has the size
    // of `T`. A read takes at most a received byte, and only this module receives.
    unsafe { ptr::with_exposed_provenance::<T>(address).read_volatile() }
}

/// Writes the register of the port at `address`.
fn set_register<T>(address: usize, value: T) {
    // SAFETY: as in `register`. The port transfers bytes without access to the memory of the program.
    unsafe { ptr::with_exposed_provenance_mut::<T>(address).write_volatile(value) }
}

/// The CMSDK APB UART of the mps2-an386.
#[cfg(target_arch = "arm")]
mod port {
    use super::{register, set_register};
    use cortex_m::interrupt::InterruptNumber;
    use cortex_m::peripheral::NVIC;

    const DATA: usize = 0x4000_4000;
    const STATE: usize = DATA + 0x4;
    const CONTROL: usize = DATA + 0x8;
    const CLEAR_INTERRUPT: usize = DATA + 0xC;
    const BAUD_DIVIDER: usize = DATA + 0x10;

    /// The interrupt of a received byte.
    #[derive(Clone, Copy)]
    struct Received;

    // SAFETY: the number of the interrupt is constant.
    unsafe impl InterruptNumber for Received {
        fn number(self) -> u16 {
            0
        }
    }

    pub fn start() {
        // A byte that was received ends the sleep of `read`. No interrupt handler runs.
        cortex_m::interrupt::disable();
        // 25 MHz divided by 115 200 baud.
        set_register(BAUD_DIVIDER, 217_u32);
        // Transmitter, receiver, and interrupt of the receiver.
        set_register(CONTROL, 0b1011_u32);
        // SAFETY: interrupts are disabled, so the interrupt interrupts no code.
        unsafe { NVIC::unmask(Received) };
    }

    pub fn read() -> u8 {
        loop {
            set_register(CLEAR_INTERRUPT, 0b10_u32);
            NVIC::unpend(Received);
            if register::<u32>(STATE) & 0b10 != 0 {
                return register::<u32>(DATA) as u8;
            }
            cortex_m::asm::wfi();
        }
    }

    pub fn write(byte: u8) {
        while register::<u32>(STATE) & 0b01 != 0 {}
        set_register(DATA, u32::from(byte));
    }
}

/// The UART 16550 of the machine virt. The emulator needs no baud rate.
#[cfg(target_arch = "riscv32")]
mod port {
    use super::{register, set_register};

    const DATA: usize = 0x1000_0000;
    const LINE_STATUS: usize = DATA + 5;

    pub fn start() {}

    pub fn read() -> u8 {
        while register::<u8>(LINE_STATUS) & 0x01 == 0 {}
        register::<u8>(DATA)
    }

    pub fn write(byte: u8) {
        while register::<u8>(LINE_STATUS) & 0x20 == 0 {}
        set_register(DATA, byte);
    }
}
