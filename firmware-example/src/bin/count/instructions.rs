//! Measures instructions per element (NaN scan, checksum, encoder), per log line and per training step.

use crate::board::{self, Console};
use crate::firmware::HIDDEN;
use core::cell::RefCell;
use core::convert::Infallible;
use core::fmt::Write;
use core::hint::black_box;
use critical_section::Mutex;
use digits_workload::data;
use digits_workload::train::Trainee;
use training_monitor::checkpoint::{self, Checksum, Contents, Crc32, Named};
use training_monitor::embedded_io;
use training_monitor::finite::all_finite;

/// Prints a number of the table, given in hundredths, with two decimal places.
pub fn print(name: &str, hundredths: u32) {
    let _ = writeln!(Console, "{}/{name} {}.{:02}", board::BOARD.name, hundredths / 100, hundredths % 100);
}

/// Number of instructions that `work` executes.
pub fn count(work: impl FnOnce()) -> u32 {
    let before = board::instructions();
    work();
    board::elapsed(before)
}

/// Cost per element, in hundredths of an instruction. Calls `work` with `len` elements and with twice as many, `times`
/// times each, and divides the difference by the number of additional elements.
fn slope(len: usize, times: u32, mut work: impl FnMut(usize)) -> u32 {
    let mut run = |len| count(|| (0..times).for_each(|_| work(len)));
    let (short, long) = (run(len), run(2 * len));
    let elements = u64::from(times) * len as u64;
    (u64::from(long - short) * 100 / elements) as u32
}

/// Measures and prints the costs per element and per log line.
pub fn measure_per_element(trainee: &mut Trainee<HIDDEN, 16>) {
    let weights = trainee.net.parameters.w1.as_flattened_mut();
    print("scan-per-f32", slope(256, 200, |len| _ = black_box(all_finite(black_box(prefix(weights, len))))));

    let pixels = data::image(0).map(|image| image.pixels().as_slice()).unwrap_or_default();
    let sum = |len| {
        let mut crc = Crc32::default();
        crc.update(black_box(pixels.get(..len).unwrap_or_default()));
        black_box(crc.value());
    };
    print("crc-per-byte", slope(32, 1000, sum));

    // The check for NaN is measured alone.
    let contents = Contents { allow_non_finite: true, ..Contents::new(0) };
    let encode = |len: usize| {
        let Some(weights) = weights.get_mut(..len) else { return };
        let written = checkpoint::encode(&mut NullWriter, &contents, &mut Named::new("model", weights));
        let _ = black_box(written.map(|written| written.crc));
    };
    print("encode-per-f32", slope(256, 100, encode));

    print("defmt-u32", per_log_line(|| defmt::info!("epoch {=u32}", black_box(7))));
    print("defmt-u32-f32", per_log_line(|| defmt::info!("epoch {=u32}: loss {=f32}", black_box(7), black_box(0.5))));
}

fn prefix(weights: &[f32], len: usize) -> &[f32] {
    weights.get(..len).unwrap_or_default()
}

fn per_log_line(log: impl Fn()) -> u32 {
    (u64::from(count(|| (0..1000).for_each(|_| log()))) * 100 / 1000) as u32
}

/// Measures a training step and prints the cost of the monitor as a percentage of it. `engine` is the cost of an
/// iteration with four handlers, in hundredths of an instruction.
pub fn measure_shares(trainee: &mut Trainee<HIDDEN, 16>, engine: u32) {
    for (batch, name) in [(1, "batch-1"), (16, "batch-16")] {
        let step = count(|| {
            trainee.net.zero_gradients();
            for image in data::batch(1, 1, 3, batch) {
                trainee.net.accumulate(&image.scaled(), image.label());
            }
            trainee.sgd.step(&mut trainee.net, batch);
        });
        let scan = count(|| {
            let slices = trainee.net.parameters.slices().into_iter().chain(trainee.net.gradients.slices());
            black_box(slices.map(all_finite).fold(true, |all, finite| all & finite));
        });
        let _ = writeln!(Console, "{}/step-{name} {step}", board::BOARD.name);
        print_share(name, "four-handlers", engine, step);
        print_share(name, "and-scan-of-all", engine + scan * 100, step);
    }
}

/// Prints `part`, in hundredths of an instruction, as a percentage of `step` instructions, with four decimal places.
fn print_share(batch: &str, name: &str, part: u32, step: u32) {
    let share = u64::from(part) * 10_000 / u64::from(step);
    let _ = writeln!(Console, "{}/share-{batch}-{name} {}.{:04}", board::BOARD.name, share / 10_000, share % 10_000);
}

/// A writer that discards all bytes, so that only the encoder is measured. `black_box` hides this fact from the
/// compiler, so that the compiler does not remove the encoder.
pub struct NullWriter;

impl embedded_io::ErrorType for NullWriter {
    type Error = Infallible;
}

impl embedded_io::Write for NullWriter {
    #[inline(never)]
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        black_box(bytes.as_ptr());
        Ok(bytes.len())
    }
    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Writes log frames to a ring buffer in RAM, as a logger for a debug probe (RTT) does.
struct RingLog {
    encoder: defmt::Encoder,
    bytes: [u8; 128],
    position: usize,
}

static RING: Mutex<RefCell<RingLog>> =
    Mutex::new(RefCell::new(RingLog { encoder: defmt::Encoder::new(), bytes: [0; 128], position: 0 }));

fn with_ring(encode: impl FnOnce(&mut defmt::Encoder, &mut dyn FnMut(&[u8]))) {
    critical_section::with(|cs| {
        if let Ok(mut ring) = RING.borrow(cs).try_borrow_mut() {
            let RingLog { encoder, bytes, position } = &mut *ring;
            encode(encoder, &mut |encoded| {
                for byte in encoded {
                    if let Some(place) = bytes.get_mut(*position % 128) {
                        *place = *byte;
                    }
                    *position = position.wrapping_add(1);
                }
            });
        }
    });
}

#[defmt::global_logger]
struct Logger;

// SAFETY: this program has one execution context and uses no interrupts, so a log call never interrupts another one.
unsafe impl defmt::Logger for Logger {
    fn acquire() {
        with_ring(|encoder, write| encoder.start_frame(write));
    }
    unsafe fn flush() {}
    unsafe fn release() {
        with_ring(|encoder, write| encoder.end_frame(write));
    }
    unsafe fn write(bytes: &[u8]) {
        with_ring(|encoder, write| encoder.write(bytes, write));
    }
}
