//! What the programs that measure code sizes share. They are never executed. Each one is a program with one part of the
//! monitor, which the environment variable `PART` selects at compile time.
#![allow(dead_code, reason = "no program uses all items")]

use core::hint::black_box;
use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use training_monitor::State;

/// Returns whether two names are equal, at compile time.
pub const fn is_same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut index = 0;
    while index < a.len() && index < b.len() && a[index] == b[index] {
        index += 1;
    }
    index == a.len() && index == b.len()
}

/// Returns a value that the compiler cannot predict, so that the compiler cannot remove code for particular values.
pub fn any<T: Default>() -> T {
    black_box(T::default())
}

pub fn loss(state: &State<f32>) -> f32 {
    state.output.unwrap_or(f32::NAN)
}

#[inline(never)]
pub fn step(weights: &mut [f32; 64], batch: u32) -> f32 {
    let mut loss = 0.0;
    for weight in weights {
        *weight = black_box(f32::from_bits(0x3F00_0000 | batch));
        loss += *weight;
    }
    loss
}

/// A user-defined flash driver. `black_box` hides its results from the compiler.
pub struct Flash;

impl ErrorType for Flash {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;

    #[inline(never)]
    fn read(&mut self, _: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        black_box(bytes.as_ptr());
        any_result()
    }
    fn capacity(&self) -> usize {
        any()
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 1024;

    #[inline(never)]
    fn erase(&mut self, _: u32, _: u32) -> Result<(), NorFlashErrorKind> {
        any_result()
    }
    #[inline(never)]
    fn write(&mut self, _: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        black_box(bytes.as_ptr());
        any_result()
    }
}

fn any_result() -> Result<(), NorFlashErrorKind> {
    if any() { Err(NorFlashErrorKind::Other) } else { Ok(()) }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
