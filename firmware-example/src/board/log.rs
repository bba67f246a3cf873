//! defmt's frames to the console, and what a program does when it cannot go on.

use crate::board::write_console;
use core::cell::{Cell, RefCell};
use critical_section::{Mutex, RestoreState};
use defmt::Encoder;

/// Frames are put together here, so that a log line is one call of the emulator, or two.
const BUFFER: usize = 64;

struct Frames {
    encoder: Encoder,
    bytes: [u8; BUFFER],
    used: usize,
}

impl Frames {
    fn flush(&mut self) {
        write_console(self.bytes.get(..self.used).unwrap_or_default());
        self.used = 0;
    }

    fn put(bytes: &mut [u8; BUFFER], used: &mut usize, encoded: &[u8]) {
        for byte in encoded {
            if *used == BUFFER {
                write_console(bytes);
                *used = 0;
            }
            if let Some(place) = bytes.get_mut(*used) {
                *place = *byte;
                *used += 1;
            }
        }
    }
}

static FRAMES: Mutex<RefCell<Frames>> =
    Mutex::new(RefCell::new(Frames { encoder: Encoder::new(), bytes: [0; BUFFER], used: 0 }));

/// What `acquire` keeps for `release`.
static RESTORE: Mutex<Cell<Option<RestoreState>>> = Mutex::new(Cell::new(None));

fn with(change: impl FnOnce(&mut Encoder, &mut dyn FnMut(&[u8]))) {
    critical_section::with(|cs| {
        // Never borrowed twice: nothing below logs.
        if let Ok(mut frames) = FRAMES.borrow(cs).try_borrow_mut() {
            let Frames { encoder, bytes, used } = &mut *frames;
            change(encoder, &mut |encoded| Frames::put(bytes, used, encoded));
        }
    });
}

#[defmt::global_logger]
struct Logger;

// SAFETY: from `acquire` to `release` interrupts are off, so frames of two contexts are never mixed; there is one core.
unsafe impl defmt::Logger for Logger {
    fn acquire() {
        // SAFETY: released in `release`, which defmt calls once for every `acquire`.
        let restore = unsafe { critical_section::acquire() };
        critical_section::with(|cs| RESTORE.borrow(cs).set(Some(restore)));
        with(|encoder, write| encoder.start_frame(write));
    }
    unsafe fn flush() {
        critical_section::with(|cs| {
            if let Ok(mut frames) = FRAMES.borrow(cs).try_borrow_mut() {
                frames.flush();
            }
        });
    }
    unsafe fn release() {
        with(|encoder, write| encoder.end_frame(write));
        // SAFETY: still between `acquire` and here.
        unsafe { Self::flush() };
        if let Some(restore) = critical_section::with(|cs| RESTORE.borrow(cs).take()) {
            // SAFETY: it is what `acquire` was given.
            unsafe { critical_section::release(restore) };
        }
    }
    unsafe fn write(bytes: &[u8]) {
        with(|encoder, write| encoder.write(bytes, write));
    }
}
