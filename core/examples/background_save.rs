//! Measures the pauses that saves to flash cause, and the RAM that they need: with blocking saves, with saves in the
//! background (a copy of the model; the training continues), and with saves in pieces (no copy; the training waits).
//!
//! The flash is simulated with the times of the data sheet of the nRF52840: 85 ms for the erase of a page of 4 KiB, and
//! 41 µs for the write of a word of 4 bytes. Reads and computations take no time here.
//!
//! Run it with `cargo run -p training-monitor --example background_save --features derive,nor-flash`.

use core::cell::Cell;
use core::error::Error;
use training_monitor::checkpoint::Named;
use training_monitor::embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
use training_monitor::event::IterationCompleted;
use training_monitor::handlers::model_checkpoint::{BackgroundCheckpoint, CheckpointHandler, NoScore, SaveDecision};
use training_monitor::store::flash::{Slots, YieldingNorFlash};
use training_monitor::{Engine, Handler, ModelCheckpoint, RunError};
use training_monitor_std::test_support::flash::{ChipError, Counts, Flash};

/// A page of the nRF52840 has 4 KiB, and a word has 4 bytes.
type Nrf52840 = Flash<4, 4096>;

const ERASE_US: u64 = 85_000;
const WRITE_US: u64 = 41;
/// A 64-32-10 network with momentum has 4 823 numbers.
const NUMBERS: usize = 4823;
const SLOT: usize = 5 * 4096;
/// The policy saves every 100 iterations, so a run saves once.
const ITERATIONS: u32 = 199;
/// The size of the copy of a checkpoint, in bytes.
const COPY: usize = 19_712;
/// The bytes of a piece: 64 words, which take 2.6 ms.
const PIECE: usize = 256;

/// Returns the time that the flash was busy since `before`, in microseconds.
fn busy(before: Counts, now: Counts) -> u64 {
    (now.erased - before.erased) * ERASE_US + (now.programmed - before.programmed) / 4 * WRITE_US
}

/// The pauses of one save.
#[derive(Default, Debug)]
struct Pauses {
    count: u64,
    longest: u64,
    total: u64,
}

impl Pauses {
    fn add(&mut self, before: Counts, now: Counts) {
        let pause = busy(before, now);
        self.count += u64::from(pause > 0);
        self.longest = self.longest.max(pause);
        self.total += pause;
    }

    fn print(&self, name: &str, ram: usize) {
        let ms = |us: u64| us as f64 / 1000.0;
        println!(
            "{name:<22} {:>6} pauses, longest {:>6.1} ms, total {:>6.1} ms, {ram:>6} bytes of RAM",
            self.count,
            ms(self.longest),
            ms(self.total)
        );
    }
}

type Model<'a> = Named<'a, &'a mut [f32; NUMBERS]>;
type Checkpoints<F> = CheckpointHandler<1, IterationCompleted, Slots<F, 2>, NoScore>;

/// Runs a custom loop of 199 iterations with one save in iteration 100, and measures the flash operations of each
/// iteration. `counts` returns the operations of the chip so far.
fn run<H: for<'a> Handler<Model<'a>, ()>>(handler: &mut H, counts: impl Fn(&H) -> Counts) -> Result<Pauses, RunError> {
    let mut weights = [0.5_f32; NUMBERS];
    let mut model = Named::new("model", &mut weights);
    let mut engine = Engine::new(1).with_epoch_length(ITERATIONS);
    let mut pauses = Pauses::default();
    loop {
        let before = counts(handler);
        if !engine.begin_iteration(&mut model, handler)? {
            break;
        }
        model[engine.state().iteration() as usize] += 1.0;
        engine.end_iteration((), &mut model, handler);
        pauses.add(before, counts(handler));
    }
    assert_eq!(engine.outcome().map(|outcome| outcome.iteration), Some(ITERATIONS));
    Ok(pauses)
}

/// Opens the store, and attaches a handler that saves in iteration 100.
fn checkpoints<F: NorFlash>(flash: F) -> Result<Checkpoints<F>, Box<dyn Error>> {
    let store = Slots::<_, 2>::open(flash, 0..2 * SLOT as u32).map_err(|error| error.to_string())?;
    let policy = ModelCheckpoint::<1>::every(100)?;
    Ok(policy.attach(IterationCompleted, store).map_err(|error| error.to_string())?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let new_flash = || Nrf52840::new(2 * SLOT, 0xFF);
    println!("a save of {NUMBERS} numbers to the flash of an nRF52840:");

    let mut flash = new_flash();
    let mut handler = checkpoints(&mut flash)?;
    let blocking = run(&mut handler, |handler| handler.store().flash().counts)?;
    blocking.print("blocking", 0);

    let mut flash = new_flash();
    let mut handler = checkpoints(&mut flash)?.in_background([0; COPY]).with_piece_len(PIECE);
    let background = run(&mut handler, |handler| handler.store().flash().counts)?;
    type Background<'a> =
        BackgroundCheckpoint<1, IterationCompleted, Slots<&'a mut Nrf52840, 2>, NoScore, (), [u8; COPY]>;
    background.print("in the background", size_of::<Background<'_>>() - size_of::<Checkpoints<&mut Nrf52840>>());

    // Without the engine, the program decides when to save.
    let mut weights = [0.5_f32; NUMBERS];
    let mut model = Named::new("model", &mut weights);
    let decision = SaveDecision { step: 1, score: None };
    let mut flash = new_flash();
    let mut handler = checkpoints(&mut flash)?;
    let mut buffer = [0; PIECE];
    let mut pieces = Pauses::default();
    let mut before = Counts::default();
    let mut save = handler.save_in_pieces(decision, 1, None, &mut model, &mut buffer)?;
    let ram = size_of_val(&save) + PIECE;
    while !save.advance()? {
        let now = save.store().flash().counts;
        pieces.add(before, now);
        before = now;
    }
    pieces.print("in pieces", ram);

    // A blocking save through a driver that calls a function after each operation.
    let (clock, mut calls) = (Cell::new(Counts::default()), Pauses::default());
    let mut before = Counts::default();
    let observed = Observed { flash: new_flash(), counts: &clock };
    let mut handler = checkpoints(YieldingNorFlash::new(observed, PIECE, || {
        calls.add(before, clock.get());
        before = clock.get();
    }))?;
    let ram = size_of_val(&handler) - size_of::<Checkpoints<Observed<'_>>>();
    handler.save(decision, 1, None, &mut model)?;
    drop(handler);
    calls.print("with YieldingNorFlash", ram);

    // The flash operations are the same. The longest pause is one erase instead of all.
    assert_eq!((background.longest, pieces.longest, calls.longest), (ERASE_US, ERASE_US, ERASE_US));
    assert_eq!((background.total, pieces.total), (blocking.total, calls.total));
    assert!(blocking.longest == blocking.total && blocking.longest > 5 * ERASE_US);
    Ok(())
}

/// A flash driver that makes the counts of its operations visible during a save.
struct Observed<'a> {
    flash: Nrf52840,
    counts: &'a Cell<Counts>,
}

impl ErrorType for Observed<'_> {
    type Error = ChipError;
}

impl ReadNorFlash for Observed<'_> {
    const READ_SIZE: usize = 1;
    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), ChipError> {
        ReadNorFlash::read(&mut self.flash, offset, bytes)
    }
    fn capacity(&self) -> usize {
        self.flash.capacity()
    }
}

impl NorFlash for Observed<'_> {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 4096;
    fn erase(&mut self, from: u32, to: u32) -> Result<(), ChipError> {
        let result = NorFlash::erase(&mut self.flash, from, to);
        self.counts.set(self.flash.counts);
        result
    }
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), ChipError> {
        let result = self.flash.write(offset, bytes);
        self.counts.set(self.flash.counts);
        result
    }
}
