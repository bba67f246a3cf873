//! Simulates power failures of the training run with all four handlers. A short run is interrupted in every operation
//! of its flash or directory; a longer run is interrupted many times at random. The resumed run must end with the same
//! bits as an uninterrupted run.
//!
//! `FAILURE_SEED=n cargo test -p training-monitor-firmware-example --test power_failure` replays the random failures of
//! one seed.

use digits_workload::boards::{BEST_SLOTS, LATEST_SLOTS};
use digits_workload::monitored::{self, Plan, Summary};
use digits_workload::quantized::QuantizedTrainee;
use digits_workload::train::{Hyper, Metrics, Trainee, Training};
use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
use std::cell::{RefCell, RefMut};
use training_monitor::embedded_io::Read;
use training_monitor::event::{EpochCompleted, IterationCompleted};
use training_monitor::handlers::keep::KeepOutput;
use training_monitor::handlers::model_checkpoint::CheckpointHandler;
use training_monitor::handlers::model_checkpoint::OnError;
use training_monitor::store::Store;
use training_monitor::store::flash::Slots;
use training_monitor::{EarlyStopping, Engine, ModelCheckpoint, Outcome, State, TerminateOnNan};
use training_monitor_std::Directory;
use training_monitor_std::test_support::disk::{Disk, Image};
use training_monitor_std::test_support::flash::{Flash, Interruption};
use training_monitor_std::test_support::random::Random;

/// A flash that two stores share. Each operation borrows the flash for its duration.
struct Shared<'a, const W: usize, const E: usize>(&'a RefCell<Flash<W, E>>);

impl<const W: usize, const E: usize> Shared<'_, W, E> {
    fn flash(&self) -> RefMut<'_, Flash<W, E>> {
        self.0.borrow_mut()
    }
}

impl<const W: usize, const E: usize> ErrorType for Shared<'_, W, E> {
    type Error = <Flash<W, E> as ErrorType>::Error;
}

impl<const W: usize, const E: usize> ReadNorFlash for Shared<'_, W, E> {
    const READ_SIZE: usize = Flash::<W, E>::READ_SIZE;
    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        ReadNorFlash::read(&mut *self.flash(), offset, bytes)
    }
    fn capacity(&self) -> usize {
        self.flash().capacity()
    }
}

impl<const W: usize, const E: usize> NorFlash for Shared<'_, W, E> {
    const WRITE_SIZE: usize = W;
    const ERASE_SIZE: usize = E;
    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        NorFlash::erase(&mut *self.flash(), from, to)
    }
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        NorFlash::write(&mut *self.flash(), offset, bytes)
    }
}

/// The checkpoints of one handler in a store: the step number and the stream (the encoded bytes) of each one. If a
/// checkpoint has several streams, only the first is read.
type Checkpoints = Vec<(u32, Vec<u8>)>;

fn read_checkpoints<const N: usize, W, S: Store, F>(mut handler: CheckpointHandler<N, W, S, F>) -> Option<Checkpoints> {
    let steps: Vec<u32> = handler.policy().kept().iter().map(|entry| entry.step).collect();
    let stream = |step: u32| {
        let series = handler.series();
        let mut listed = (0..).map_while(|index| handler.store_mut().checkpoint(index).ok().flatten());
        let sequence = listed.find(|meta| meta.step == step && meta.series == series)?.sequence;
        drop(listed);
        let mut reader = handler.store_mut().open(sequence, 0).ok()?;
        let (mut bytes, mut buffer) = (Vec::new(), [0; 256]);
        loop {
            match reader.read(&mut buffer).ok()? {
                0 => return Some((step, bytes)),
                read => bytes.extend_from_slice(&buffer[..read]),
            }
        }
    };
    steps.into_iter().map(stream).collect()
}

/// Returns the checkpoints in the two stores that a restarted program would keep: the latest one and the two best ones.
/// Returns `None` if a store fails.
fn stored_checkpoints(latest: impl Store, best: impl Store) -> Option<(Checkpoints, Checkpoints)> {
    let policy = ModelCheckpoint::<1>::every(1).unwrap();
    let latest = policy.attach(EpochCompleted, latest).ok()?;
    let score = |state: &State<f32, Metrics>| -state.metrics.loss;
    let policy = ModelCheckpoint::<2>::best_by(score).with_score_name("val_loss").unwrap();
    let best = policy.attach(EpochCompleted, best).ok()?;
    Some((read_checkpoints(latest)?, read_checkpoints(best)?))
}

/// The result of a run: the summary, the checksum of the weights, and the latest and best checkpoints in the stores.
type RunResult = (Summary, u64, (Checkpoints, Checkpoints));

/// A board whose flash has the two regions of `digits_workload::boards`, with slots of `slot_size` bytes.
struct Board<const W: usize, const E: usize> {
    slot_size: u32,
    plan: Plan,
}

impl<const W: usize, const E: usize> Board<W, E> {
    fn flash(&self) -> Flash<W, E> {
        Flash::new((LATEST_SLOTS + BEST_SLOTS) * self.slot_size as usize, 0xFF)
    }

    /// Executes the run from power-on to its completion. Returns `None` if the power failed before.
    fn session<T: Training + Default>(&self, flash: &RefCell<Flash<W, E>>) -> Option<RunResult> {
        let result = self.run::<T>(flash);
        // If the power fails in the last operation of the run, for example in an eviction, the run still returns `Ok`.
        // A session therefore counts as completed only if the power is still on.
        result.filter(|_| !flash.borrow().is_off())
    }

    fn run<T: Training + Default>(&self, flash: &RefCell<Flash<W, E>>) -> Option<RunResult> {
        let middle = LATEST_SLOTS as u32 * self.slot_size;
        let end = middle + BEST_SLOTS as u32 * self.slot_size;
        let latest = || Slots::<_, LATEST_SLOTS>::open(Shared(flash), 0..middle).ok();
        let best = || Slots::<_, BEST_SLOTS>::open(Shared(flash), middle..end).ok();
        let mut trainee = T::default();
        let summary = monitored::run(&mut trainee, self.plan, latest()?, best()?, &()).ok()?;
        Some((summary, trainee.checksum(), stored_checkpoints(latest()?, best()?)?))
    }
}

#[test]
fn a_run_interrupted_in_any_flash_operation_ends_with_the_same_bits() {
    interrupt_every_flash_operation::<Trainee<2, 64>>();
}

#[test]
fn a_quantized_run_interrupted_in_any_flash_operation_ends_with_the_same_bits() {
    interrupt_every_flash_operation::<QuantizedTrainee<4, 64>>();
}

/// Interrupts a short run of `T` in every flash operation, and compares the resumed run with an uninterrupted one.
fn interrupt_every_flash_operation<T: Training + Default>() {
    let board = Board::<32, 512> { slot_size: 3072, plan: Plan { max_epochs: 3, ..Plan::DEFAULT } };
    let mut flash = board.flash();
    flash.log = Some(Vec::new());
    let flash = RefCell::new(flash);
    let expected = board.session::<T>(&flash).unwrap();
    assert_eq!((expected.0.outcome.epoch, expected.2.0.len(), expected.2.1.len()), (3, 1, 2));
    let operations = flash.into_inner().log.take().unwrap();

    let mut cases = 0;
    for (operation, erase) in operations.iter().enumerate() {
        let states = Interruption::all(*erase, 32);
        // The test tries all flash states that an interrupted erase can leave. For an interrupted write, it tries one
        // of five states, and different ones for consecutive writes.
        let stride = if *erase { 1 } else { 5 };
        for state in states.iter().skip(operation % stride).step_by(stride) {
            let flash = RefCell::new(board.flash());
            flash.borrow_mut().cut_power_at(operation as u64, *state, operation as u64);
            assert_eq!(board.session::<T>(&flash), None, "failure in operation {operation}");
            flash.borrow_mut().power_on();
            let result = board.session::<T>(&flash);
            assert_eq!(result.as_ref(), Some(&expected), "failure in operation {operation}: {state}");
            assert_eq!(flash.borrow().violations(), []);
            cases += 1;
        }
    }
    println!("{cases} power failures in {} operations", operations.len());
    assert!(operations.len() > 150 && cases > 500, "{cases} power failures in {} operations", operations.len());
}

/// The seeds of the random tests: `0..count`, or only the seed in the environment variable `FAILURE_SEED`.
fn seeds(count: u64) -> std::ops::Range<u64> {
    let seed = std::env::var("FAILURE_SEED").ok().map(|seed| seed.parse().expect("FAILURE_SEED is not a number"));
    seed.map_or(0..count, |seed: u64| seed..seed + 1)
}

#[test]
fn a_board_run_with_repeated_power_failures_ends_with_the_same_bits() {
    let board = Board::<8, 2048> { slot_size: 24 * 1024, plan: Plan { max_epochs: 14, ..Plan::DEFAULT } };
    let expected = board.session::<Trainee<32, 16>>(&RefCell::new(board.flash())).unwrap();
    for seed in seeds(3) {
        let mut random = Random::new(seed);
        let flash = RefCell::new(board.flash());
        let mut failures = 0;
        let result = loop {
            let state = *random.pick(Interruption::all(random.clone().once_in(8), 8));
            flash.borrow_mut().cut_power_at(random.below(9_000) as u64, state, random.bits());
            if let Some(result) = board.session::<Trainee<32, 16>>(&flash) {
                break result;
            }
            assert!(flash.borrow().is_off(), "FAILURE_SEED={seed}, {failures} power failures");
            flash.borrow_mut().power_on();
            failures += 1;
        };
        println!("FAILURE_SEED={seed}: {failures} power failures");
        assert_eq!(result, expected, "FAILURE_SEED={seed}, {failures} power failures");
    }
}

/// The result of a run that saves within its epochs: the outcome, the checksum of the weights, and the counter of early
/// stopping.
type IterationSaveResult = (Outcome, u64, u32);

/// Executes a run that saves after every `interval` iterations, including the last iteration of an epoch.
///
/// Early stopping uses the last loss of an epoch. If the run resumes after that iteration, only [`KeepOutput`] provides
/// the loss.
fn run_with_iteration_saves<S: Store, const HIDDEN: usize, const BATCH: usize>(
    store: S,
    epochs: u32,
    interval: u32,
) -> Option<IterationSaveResult> {
    let checkpoint = ModelCheckpoint::<2>::every(interval).unwrap().with_on_error(OnError::Stop);
    let loss = |state: &State<f32>| -state.output.unwrap();
    let nan = TerminateOnNan::new().attach(IterationCompleted, |_, state| &state.output);
    let stopping = EarlyStopping::new(4).unwrap().attach(EpochCompleted, loss);
    let mut handlers = (stopping, KeepOutput, nan, checkpoint.attach(IterationCompleted, store).ok()?);
    let mut trainee = Trainee::<HIDDEN, BATCH>::new();
    trainee.init(3, Hyper::default());
    let mut engine = Engine::new(epochs);
    engine.resume(&mut trainee, &mut handlers).unwrap();
    let step =
        |trainee: &mut Trainee<HIDDEN, BATCH>, _, state: &mut State<f32>| trainee.step(state.epoch(), state.offset());
    let outcome = engine.run(&mut trainee, 0..Trainee::<HIDDEN, BATCH>::BATCHES, &mut handlers, step).ok()?;
    Some((outcome, trainee.checksum(), handlers.0.early_stopping.counter()))
}

#[test]
fn an_interrupted_run_that_saves_within_its_epochs_ends_with_the_same_bits() {
    const SLOT_SIZE: u32 = 3072;
    // The run saves in the middle and at the end of each epoch.
    const INTERVAL: u32 = Trainee::<2, 32>::BATCHES / 2;
    const { assert!(Trainee::<2, 32>::BATCHES.is_multiple_of(INTERVAL)) };
    let session = |flash: &mut Flash<32, 1024>| {
        let store = Slots::<_, 3>::open(&mut *flash, 0..3 * SLOT_SIZE).unwrap();
        run_with_iteration_saves::<_, 2, 32>(store, 5, INTERVAL).filter(|_| !flash.is_off())
    };
    let new_flash = || Flash::<32, 1024>::new(3 * SLOT_SIZE as usize, 0xFF);
    let mut flash = new_flash();
    flash.log = Some(Vec::new());
    let expected = session(&mut flash).unwrap();
    let operations = flash.log.take().unwrap();
    for (operation, erase) in operations.iter().enumerate() {
        let states = Interruption::all(*erase, 32);
        let mut flash = new_flash();
        flash.cut_power_at(operation as u64, states[operation % states.len()], operation as u64);
        assert_eq!(session(&mut flash), None, "failure in operation {operation}");
        flash.power_on();
        assert_eq!(session(&mut flash), Some(expected), "failure in operation {operation}");
    }
    println!("{} power failures", operations.len());
}

/// Executes the run with both checkpoint series in one directory on `disk`. Returns `None` if the power failed before
/// the run completed.
fn run_in_directory(disk: &Disk, epochs: u32) -> Option<RunResult> {
    let open = |prefix| Directory::builder("dir", prefix).require_empty(false).open_on(disk.clone()).ok();
    let plan = Plan { max_epochs: epochs, ..Plan::DEFAULT };
    let mut trainee = Trainee::<2, 64>::new();
    let summary = monitored::run(&mut trainee, plan, open("latest")?, open("best")?, &()).ok()?;
    let result = (summary, trainee.checksum(), stored_checkpoints(open("latest")?, open("best")?)?);
    Some(result).filter(|_| !disk.is_off())
}

#[test]
fn a_run_interrupted_in_any_directory_operation_ends_with_the_same_bits() {
    const EPOCHS: u32 = 3;
    let expected = run_in_directory(&Disk::default(), EPOCHS).unwrap();
    assert_eq!((expected.0.outcome.epoch, expected.2.0.len(), expected.2.1.len()), (EPOCHS, 1, 2));
    let mut seen = std::collections::HashSet::<Image>::new();
    let (mut operations, mut cases) = (0, 0);
    loop {
        let disk = Disk::default();
        disk.cut_power_at(operations);
        let result = run_in_directory(&disk, EPOCHS);
        if !disk.is_off() {
            assert_eq!(result.as_ref(), Some(&expected));
            break;
        }
        assert_eq!(result, None, "failure in operation {operations}");
        for (number, image) in disk.images(64).0.into_iter().enumerate() {
            if seen.insert(image.clone()) {
                let result = run_in_directory(&Disk::new(&image), EPOCHS);
                assert_eq!(result.as_ref(), Some(&expected), "failure in operation {operations}, state {number}");
                cases += 1;
            }
        }
        operations += 1;
    }
    println!("{cases} states of the disk after power failures in {operations} operations");
    assert!(operations > 60 && cases > 200, "{cases} states, {operations} operations");
}

#[test]
fn a_long_directory_run_with_repeated_power_failures_ends_with_the_same_bits() {
    const EPOCHS: u32 = 12;
    let expected = run_in_directory(&Disk::default(), EPOCHS).unwrap();
    for seed in seeds(20) {
        let mut random = Random::new(seed);
        let (mut image, mut failures) = (Image::new(), 0);
        let result = loop {
            let disk = Disk::new(&image);
            disk.cut_power_at(random.below(300));
            if let Some(result) = run_in_directory(&disk, EPOCHS) {
                break result;
            }
            assert!(disk.is_off(), "FAILURE_SEED={seed}, {failures} power failures");
            image = random.pick(&disk.images(64).0).clone();
            failures += 1;
        };
        println!("FAILURE_SEED={seed}: {failures} power failures");
        assert_eq!(result, expected, "FAILURE_SEED={seed}, {failures} power failures");
    }
}
