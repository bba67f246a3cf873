//! The defmt logger of the firmware programs: writes encoded frames to the console of the emulator.

use crate::board::write_console;
use core::cell::{Cell, RefCell};
use critical_section::{Mutex, RestoreState};
use defmt::Encoder;

/// Size of the frame buffer in bytes. A typical frame fits, so most log lines need one call of the emulator.
const BUFFER_SIZE: usize = 64;

/// Encodes frames into a buffer and writes the buffer to the console.
struct FrameWriter {
    encoder: Encoder,
    bytes: [u8; BUFFER_SIZE],
    used: usize,
}

impl FrameWriter {
    fn flush(&mut self) {
        write_console(self.bytes.get(..self.used).unwrap_or_default());
        self.used = 0;
    }

    fn append(bytes: &mut [u8; BUFFER_SIZE], used: &mut usize, encoded: &[u8]) {
        for byte in encoded {
            if *used == BUFFER_SIZE {
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

static WRITER: Mutex<RefCell<FrameWriter>> =
    Mutex::new(RefCell::new(FrameWriter { encoder: Encoder::new(), bytes: [0; BUFFER_SIZE], used: 0 }));

/// The interrupt state that `acquire` stores and `release` restores.
static RESTORE: Mutex<Cell<Option<RestoreState>>> = Mutex::new(Cell::new(None));

fn with_writer(encode: impl FnOnce(&mut Encoder, &mut dyn FnMut(&[u8]))) {
    critical_section::with(|cs| {
        // The borrow succeeds, because no code in this module logs while it holds the borrow.
        if let Ok(mut writer) = WRITER.borrow(cs).try_borrow_mut() {
            let FrameWriter { encoder, bytes, used } = &mut *writer;
            encode(encoder, &mut |encoded| FrameWriter::append(bytes, used, encoded));
        }
    });
}

#[defmt::global_logger]
struct Logger;

// SAFETY: interrupts are disabled from `acquire` to `release` and there is one core, so two contexts never interleave
// their frames.
unsafe impl defmt::Logger for Logger {
    fn acquire() {
        // SAFETY: `release` ends this critical section. defmt calls `release` exactly once after each `acquire`.
        let restore = unsafe { critical_section::acquire() };
        critical_section::with(|cs| RESTORE.borrow(cs).set(Some(restore)));
        with_writer(|encoder, write| encoder.start_frame(write));
    }
    unsafe fn flush() {
        critical_section::with(|cs| {
            if let Ok(mut writer) = WRITER.borrow(cs).try_borrow_mut() {
                writer.flush();
            }
        });
    }
    unsafe fn release() {
        with_writer(|encoder, write| encoder.end_frame(write));
        // SAFETY: the critical section that `acquire` started is still active.
        unsafe { Self::flush() };
        if let Some(restore) = critical_section::with(|cs| RESTORE.borrow(cs).take()) {
            // SAFETY: `restore` is the value that `acquire` returned when it started this critical section.
            unsafe { critical_section::release(restore) };
        }
    }
    unsafe fn write(bytes: &[u8]) {
        with_writer(|encoder, write| encoder.write(bytes, write));
    }
}
