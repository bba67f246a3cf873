//! Two series of checkpoints on one flash driver: the best two epochs by score, and the latest iteration.
//!
//! Each series has its own `Slots` in its own region of the flash. `Slots` owns its driver, so both series share one
//! driver through `SharedNorFlash`. The program simulates a power failure at each flash operation of the run. After
//! each failure, the program finds both series again. The run resumes from the newest checkpoint and ends with the same
//! result.
//!
//! Run it with `cargo run -p training-monitor --example two_series --features derive,nor-flash`.

use core::cell::RefCell;
use core::ops::Range;
use training_monitor::checkpoint::Named;
use training_monitor::embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use training_monitor::event::{EpochCompleted, IterationCompleted};
use training_monitor::handlers::keep::KeepOutput;
use training_monitor::store::flash::{SharedNorFlash, Slots};
use training_monitor::{Engine, ModelCheckpoint, StateDict};

const ERASE_BLOCK: usize = 512;
/// The flash region for the best two checkpoints: three slots of one erase block each.
const BEST: Range<u32> = 0..3 * ERASE_BLOCK as u32;
/// The flash region for the latest checkpoint: two slots.
const LATEST: Range<u32> = BEST.end..BEST.end + 2 * ERASE_BLOCK as u32;

/// A simulated flash driver. A device uses the driver of its hardware abstraction layer instead.
struct Chip {
    bytes: [u8; LATEST.end as usize],
    /// The number of write and erase operations before the simulated power failure.
    operations_left: u32,
}

impl ErrorType for Chip {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Chip {
    const READ_SIZE: usize = 1;
    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        bytes.copy_from_slice(&self.bytes[offset as usize..][..bytes.len()]);
        Ok(())
    }
    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl NorFlash for Chip {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = ERASE_BLOCK;
    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        self.operations_left = self.operations_left.checked_sub(1).ok_or(NorFlashErrorKind::Other)?;
        self.bytes[from as usize..to as usize].fill(0xFF);
        Ok(())
    }
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        self.operations_left = self.operations_left.checked_sub(1).ok_or(NorFlashErrorKind::Other)?;
        // As on a real NOR flash, a write changes ones to zeros and never zeros to ones.
        self.bytes[offset as usize..].iter_mut().zip(bytes).for_each(|(cell, byte)| *cell &= byte);
        Ok(())
    }
}

#[derive(StateDict)]
struct Net {
    weight: [f32; 8],
}

/// The results of a run.
#[derive(PartialEq, Debug)]
struct End {
    weight: [f32; 8],
    /// The step numbers of the best two checkpoints, from the worse to the better one.
    best: [Option<u32>; 2],
    /// The step number of the latest checkpoint.
    latest: Option<u32>,
}

/// Runs the training as a device does from a reset to the end. Returns an error if the simulated power fails. (`Box`
/// allocates memory for an error only. The example `quick_start` has an error type without it.)
fn run(flash: &RefCell<Chip>) -> Result<End, Box<dyn core::error::Error>> {
    let mut handlers = (
        // `KeepOutput` saves the output of the last iteration of an epoch. A run that resumes between this iteration
        // and `EpochCompleted` needs the output for the score.
        KeepOutput,
        ModelCheckpoint::<2>::best_by(|state| -state.output.unwrap_or(f32::INFINITY))
            .attach(EpochCompleted, Slots::<_, 3>::open(SharedNorFlash(flash), BEST)?)?,
        ModelCheckpoint::<1>::every(2)?
            .attach(IterationCompleted, Slots::<_, 2>::open(SharedNorFlash(flash), LATEST)?)?,
    );
    let mut net = Named::new("net", Net { weight: [0.0; 8] });
    let mut engine = Engine::new(3).with_epoch_length(4);
    engine.resume(&mut net, &mut handlers)?;
    while engine.begin_iteration(&mut net, &mut handlers)? {
        let iteration = engine.state().iteration() as f32;
        net.weight[iteration as usize % 8] += 1.0 / (iteration + net.weight[0]);
        engine.end_iteration((iteration - 9.0).abs(), &mut net, &mut handlers);
    }
    let (_, best, latest) = &handlers;
    Ok(End {
        weight: net.object.weight,
        best: [0, 1].map(|index| best.policy().kept().get(index).map(|kept| kept.step)),
        latest: latest.policy().latest().map(|latest| latest.step),
    })
}

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let erased = || Chip { bytes: [0xFF; LATEST.end as usize], operations_left: u32::MAX };
    let expected = run(&RefCell::new(erased()))?;
    // The three epochs end with the losses 5, 1 and 3. So epoch 2 is the best one, and epoch 3 is the second best.
    assert_eq!((expected.best, expected.latest), ([Some(3), Some(2)], Some(12)));

    for operations_left in 0.. {
        let flash = RefCell::new(Chip { operations_left, ..erased() });
        let end = run(&flash);
        if flash.borrow().operations_left > 0 {
            assert_eq!(end?, expected);
            println!("{expected:?} with a power failure at each of {operations_left} flash operations");
            return Ok(());
        }
        flash.borrow_mut().operations_left = u32::MAX;
        assert_eq!(run(&flash)?, expected);
    }
    Ok(())
}
