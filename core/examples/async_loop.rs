//! An async training task: it awaits samples between iterations and saves to an async flash driver.
//!
//! Handlers and stores are ordinary functions, so the task awaits only outside the engine. In the last iteration of each
//! epoch the task does the slow work in advance: it awaits the validation samples and erases the flash for the next save.
//! `BlockingNorFlash` waits for the flash driver inside a save. A second task runs whenever the training task awaits.
//!
//! Run it with `cargo run -p training-monitor --example async_loop --features derive,nor-flash-async`.

use core::cell::Cell;
use embassy_futures::select::{Either, select};
use embassy_futures::{block_on, yield_now};
use embedded_storage_async::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use training_monitor::checkpoint::Named;
use training_monitor::event::EpochCompleted;
use training_monitor::store::flash::{BlockingNorFlash, Slots};
use training_monitor::{EarlyStopping, Engine, ModelCheckpoint, Outcome, State, StateDict, StopReason};

/// Three slots of two erase blocks each, for the best two checkpoints.
const REGION: core::ops::Range<u32> = 0..3 * 2 * 256;

/// An async flash driver. A device uses the driver of its hardware abstraction layer, whose futures wait for interrupts.
struct Chip {
    bytes: [u8; REGION.end as usize],
    /// The number of write and erase operations until the power fails.
    operations_left: u32,
}

impl ErrorType for Chip {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Chip {
    const READ_SIZE: usize = 4;
    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        bytes.copy_from_slice(&self.bytes[offset as usize..][..bytes.len()]);
        Ok(())
    }
    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl NorFlash for Chip {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 256;
    async fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        self.operations_left = self.operations_left.checked_sub(1).ok_or(NorFlashErrorKind::Other)?;
        yield_now().await; // The future is not ready at its first poll.
        self.bytes[from as usize..to as usize].fill(0xFF);
        Ok(())
    }
    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        self.operations_left = self.operations_left.checked_sub(1).ok_or(NorFlashErrorKind::Other)?;
        yield_now().await;
        self.bytes[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
}

/// Stands in for a sensor that delivers a sample after some time: the input and the expected output.
async fn sample(number: u32) -> (f32, f32) {
    yield_now().await;
    let input = (number * 7 % 16) as f32 / 8.0 - 1.0;
    (input, 3.0 * input + 1.0)
}

#[derive(StateDict, Clone, Copy, PartialEq, Debug)]
struct Net {
    slope: f32,
    offset: f32,
}

struct Metrics {
    validation_loss: f32,
}

/// The training task, from a reset to the end of the run. Returns an error if the power fails.
async fn train(chip: &mut Chip) -> Result<(Net, Outcome), Box<dyn core::error::Error>> {
    let score = |state: &State<f32, Metrics>| -state.metrics.validation_loss;
    let mut handlers = (
        EarlyStopping::new(3)?.attach(EpochCompleted, score),
        ModelCheckpoint::<2>::best_by(score)
            .attach(EpochCompleted, Slots::<_, 3>::open(BlockingNorFlash::new(chip), REGION)?)?,
    );
    let mut net = Named::new("net", Net { slope: 0.0, offset: 0.0 });
    let mut engine = Engine::with_metrics(100, Metrics { validation_loss: f32::INFINITY }).with_epoch_length(8);
    engine.resume(&mut net, &mut handlers)?;
    while engine.begin_iteration(&mut net, &mut handlers)? {
        let (input, expected) = sample(engine.state().iteration()).await;
        let error = net.slope * input + net.offset - expected;
        net.slope -= 0.2 * error * input;
        net.offset -= 0.2 * error;
        if engine.state().is_last_in_epoch() {
            // `end_iteration` will fire `EpochCompleted`, where the handlers read the validation loss and save.
            let mut validation_loss = 0.0_f32;
            for number in 0..4 {
                let (input, expected) = sample(number).await;
                validation_loss = validation_loss.max((net.slope * input + net.offset - expected).abs());
            }
            engine.state_mut().metrics.validation_loss = validation_loss;
            // A removed checkpoint frees its slot. Each call then erases one block, and other tasks run between two calls.
            let (_, checkpoint) = &mut handlers;
            checkpoint.evict_unranked();
            let len = checkpoint.store().max_stream_len();
            while !checkpoint.store_mut().erase_ahead(len)? {
                yield_now().await;
            }
        }
        engine.end_iteration(error * error, &mut net, &mut handlers);
    }
    Ok((net.object, engine.outcome().ok_or("the run has not ended")?))
}

/// A second task of the same executor. It never ends.
async fn count_polls(polls: &Cell<u32>) {
    loop {
        polls.set(polls.get() + 1);
        yield_now().await;
    }
}

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let execute = |chip: &mut Chip, polls: &Cell<u32>| match block_on(select(train(chip), count_polls(polls))) {
        Either::First(end) => end,
        Either::Second(()) => Err("the second task ended".into()),
    };
    let (mut chip, polls) = (Chip { bytes: [0; REGION.end as usize], operations_left: u32::MAX }, Cell::new(0));
    let (expected, outcome) = execute(&mut chip, &polls)?;
    println!("{expected:?}, {outcome:?}, the second task ran {} times", polls.get());
    assert_eq!(outcome.reason, StopReason::EarlyStopping);
    assert!((expected.slope - 3.0).abs() < 1e-3 && polls.get() > outcome.iteration);

    // The program simulates a power failure at every seventh flash operation of the run.
    for operations_left in (0..).step_by(7) {
        let mut chip = Chip { bytes: [0; REGION.end as usize], operations_left };
        let end = execute(&mut chip, &polls);
        if chip.operations_left > 0 {
            assert_eq!(end?, (expected, outcome));
            break;
        }
        chip.operations_left = u32::MAX;
        assert_eq!(execute(&mut chip, &polls)?, (expected, outcome), "power failure at operation {operations_left}");
    }
    Ok(())
}
