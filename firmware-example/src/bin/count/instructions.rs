//! Instructions per element: scan, checksum, encoder, a log line, a training step.

use crate::board::{self, Console};
use crate::firmware::HIDDEN;
use core::cell::RefCell;
use core::convert::Infallible;
use core::fmt::Write;
use core::hint::black_box;
use critical_section::Mutex;
use digits_workload::data;
use digits_workload::train::Trainee;
use training_monitor::checkpoint::{self, Checksum, Contents, Crc32, Header, One};
use training_monitor::embedded_io;
use training_monitor::finite::all_finite;

/// Prints a line of the table, with two decimals.
pub fn print(name: &str, hundredths: u32) {
    let _ = writeln!(Console, "{}/{name} {}.{:02}", board::BOARD.name, hundredths / 100, hundredths % 100);
}

/// Instructions that `work` takes.
pub fn count(work: impl FnOnce()) -> u32 {
    let before = board::instructions();
    work();
    board::elapsed(before)
}

/// Hundredths of an instruction per element: `work` is given `few` elements, then twice as many, `times` times each.
fn slope(few: usize, times: u32, mut work: impl FnMut(usize)) -> u32 {
    let mut run = |len| count(|| (0..times).for_each(|_| work(len)));
    let (short, long) = (run(few), run(2 * few));
    let elements = u64::from(times) * few as u64;
    (u64::from(long - short) * 100 / elements) as u32
}

/// What a step needs, beside the batch: all of it.
pub fn all(trainee: &mut Trainee<HIDDEN, 16>) {
    let weights = trainee.net.parameters.w1.as_flattened_mut();
    print("scan-per-f32", slope(256, 200, |len| _ = black_box(all_finite(black_box(first(weights, len))))));

    let pixels = data::image(0).map(|image| image.pixels().as_slice()).unwrap_or_default();
    let sum = |len| {
        let mut crc = Crc32::default();
        crc.update(black_box(pixels.get(..len).unwrap_or_default()));
        black_box(crc.value());
    };
    print("crc-per-byte", slope(32, 1000, sum));

    let contents = Contents { header: Header::default(), record: None, only: None, allow_non_finite: false };
    let encode = |len: usize| {
        let Some(weights) = weights.get_mut(..len) else { return };
        let written = checkpoint::encode::<Crc32, _, _>(&mut Nowhere, &contents, &One("model", weights));
        let _ = black_box(written.map(|written| written.crc));
    };
    print("encode-per-f32", slope(256, 100, encode));

    print("defmt-u32", line(|| defmt::info!("epoch {=u32}", black_box(7))));
    print("defmt-u32-f32", line(|| defmt::info!("epoch {=u32}: loss {=f32}", black_box(7), black_box(0.5))));
}

fn first(weights: &[f32], len: usize) -> &[f32] {
    weights.get(..len).unwrap_or_default()
}

fn line(log: impl Fn()) -> u32 {
    (u64::from(count(|| (0..1000).for_each(|_| log()))) * 100 / 1000) as u32
}

/// A training step, and what share of it the monitor's work is, in per cent. `engine` is what an iteration with four
/// handlers costs, in hundredths.
pub fn shares(trainee: &mut Trainee<HIDDEN, 16>, engine: u32) {
    for (batch, name) in [(1, "batch-1"), (16, "batch-16")] {
        let step = count(|| {
            trainee.net.zero_gradients();
            for image in data::batch(1, 1, 3, batch) {
                trainee.net.accumulate(&image.scaled(), image.label());
            }
            trainee.sgd.step(&mut trainee.net, batch);
        });
        let scan = count(|| {
            let all = trainee.net.parameters.slices().into_iter().chain(trainee.net.gradients.slices());
            black_box(all.map(all_finite).fold(true, |all, finite| all & finite));
        });
        let _ = writeln!(Console, "{}/step-{name} {step}", board::BOARD.name);
        print_share(name, "four-handlers", engine, step);
        print_share(name, "and-scan-of-all", engine + scan * 100, step);
    }
}

/// What share `part`, in hundredths of an instruction, is of `step`: per cent, with four decimals.
fn print_share(batch: &str, what: &str, part: u32, step: u32) {
    let share = u64::from(part) * 10_000 / u64::from(step);
    let _ = writeln!(Console, "{}/share-{batch}-{what} {}.{:04}", board::BOARD.name, share / 10_000, share % 10_000);
}

/// Takes everything, keeps nothing; not known to the compiler.
pub struct Nowhere;

impl embedded_io::ErrorType for Nowhere {
    type Error = Infallible;
}

impl embedded_io::Write for Nowhere {
    #[inline(never)]
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        black_box(bytes.as_ptr());
        Ok(bytes.len())
    }
    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Log frames into a ring in RAM, as a debug probe reads them (RTT).
struct Ring {
    encoder: defmt::Encoder,
    bytes: [u8; 128],
    at: usize,
}

static RING: Mutex<RefCell<Ring>> =
    Mutex::new(RefCell::new(Ring { encoder: defmt::Encoder::new(), bytes: [0; 128], at: 0 }));

fn with(change: impl FnOnce(&mut defmt::Encoder, &mut dyn FnMut(&[u8]))) {
    critical_section::with(|cs| {
        if let Ok(mut ring) = RING.borrow(cs).try_borrow_mut() {
            let Ring { encoder, bytes, at } = &mut *ring;
            change(encoder, &mut |encoded| {
                for byte in encoded {
                    if let Some(place) = bytes.get_mut(*at % 128) {
                        *place = *byte;
                    }
                    *at = at.wrapping_add(1);
                }
            });
        }
    });
}

#[defmt::global_logger]
struct Logger;

// SAFETY: this program has one context, so nothing is logged while something is logged.
unsafe impl defmt::Logger for Logger {
    fn acquire() {
        with(|encoder, write| encoder.start_frame(write));
    }
    unsafe fn flush() {}
    unsafe fn release() {
        with(|encoder, write| encoder.end_frame(write));
    }
    unsafe fn write(bytes: &[u8]) {
        with(|encoder, write| encoder.write(bytes, write));
    }
}
