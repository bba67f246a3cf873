//! An async training task. It awaits samples between iterations and saves to an async flash driver.
//!
//! Handlers and stores are not async, so the task awaits only outside the engine. In the last iteration of each epoch,
//! the task does slow work in advance: it awaits the validation samples and erases the flash for the next save. During
//! the save itself, `BlockingNorFlash` waits for the flash driver. A second task runs whenever the training task
//! awaits.
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

/// The flash region: three slots of two erase blocks (256 bytes each). Two slots hold the best two checkpoints, and the
/// third one receives the next checkpoint.
const REGION: core::ops::Range<u32> = 0..3 * 2 * 256;

/// A simulated async flash driver. A device uses the driver of its hardware abstraction layer, which waits for
/// interrupts.
struct Chip {
    bytes: [u8; REGION.end as usize],
    /// The number of write and erase operations before the simulated power failure.
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

/// Simulates a sensor that delivers a sample after some time. Returns the input and the expected output.
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

/// Runs the training task of the device from a reset to the end of the run. Returns an error if the power fails.
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
            // Computes the validation loss before `end_iteration` fires `EpochCompleted`, because the handlers read the
            // loss at that event.
            let mut validation_loss = 0.0_f32;
            for number in 0..4 {
                let (input, expected) = sample(number).await;
                validation_loss = validation_loss.max((net.slope * input + net.offset - expected).abs());
            }
            engine.state_mut().metrics.validation_loss = validation_loss;
            // Frees the slot of an evicted checkpoint and erases it for the next save. Each call of `erase_ahead`
            // erases one block, so that other tasks can run between two calls.
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

/// A second task of the same executor, which counts how often it runs. It never ends.
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

    // Repeats the run with a power failure after 0, 7, 14, … flash operations, until a run completes without one.
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
