//! The digits under all four handlers, their power cut in every operation of their flash or their directory, and in a
//! longer run again and again: resumed, the run ends with the same bits as one that was left alone.
//!
//! `CUT_SEED=n cargo test -p training-monitor-firmware-example --test power_cut` replays the long runs of one seed.

use digits_workload::boards::{BEST_SLOTS, LATEST_SLOTS};
use digits_workload::monitored::{self, Plan, Summary};
use digits_workload::train::{Hyper, Metrics, Trainee};
use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
use std::cell::{RefCell, RefMut};
use training_monitor::embedded_io::Read;
use training_monitor::event::{EpochCompleted, IterationCompleted};
use training_monitor::handlers::keep::KeepOutput;
use training_monitor::handlers::model_checkpoint::OnError;
use training_monitor::handlers::saving::Saving;
use training_monitor::store::Store;
use training_monitor::store::slots::Slots;
use training_monitor::{EarlyStopping, Engine, ModelCheckpoint, Outcome, State, TerminateOnNan};
use training_monitor_std::Directory;
use training_monitor_std::test_support::disk::{Disk, Image};
use training_monitor_std::test_support::flash::{Flash, Outcome as Cut};
use training_monitor_std::test_support::random::Random;

/// One flash for two stores.
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

/// Step and stream of what a handler with this ranking finds in its store; of several streams the first.
type Kept = Vec<(u32, Vec<u8>)>;

fn list<W, S: Store, F>(mut saving: Saving<2, W, S, F>) -> Option<Kept> {
    let steps: Vec<u32> = saving.machine().kept().iter().map(|entry| entry.step).collect();
    let stream = |step: u32| {
        let mut reader = saving.store_mut().open(step, 0).ok()?;
        let (mut bytes, mut piece) = (Vec::new(), [0; 256]);
        loop {
            match reader.read(&mut piece).ok()? {
                0 => return Some((step, bytes)),
                read => bytes.extend_from_slice(&piece[..read]),
            }
        }
    };
    steps.into_iter().map(stream).collect()
}

fn kept(latest: impl Store, best: impl Store) -> Option<(Kept, Kept)> {
    let machine = ModelCheckpoint::<2>::builder().save_interval(1).build().unwrap();
    let latest = machine.attach::<_, _>(EpochCompleted, latest).ok()?;
    let score = |state: &State<f32, Metrics>| -state.metrics.loss;
    let machine = ModelCheckpoint::<2>::builder().score_function(score).n_saved(2).build().unwrap();
    let best = machine.attach::<_, _>(EpochCompleted, best).ok()?;
    Some((list(latest)?, list(best)?))
}

/// How a run ends: the summary, the weights it leaves, and the latest and the best in its stores.
type End = (Summary, u64, (Kept, Kept));

/// A board whose flash has two regions, as `digits_workload::boards` lays them out, with places of `slot` bytes.
struct Board<const W: usize, const E: usize> {
    slot: u32,
    plan: Plan,
}

impl<const W: usize, const E: usize> Board<W, E> {
    fn flash(&self) -> Flash<W, E> {
        Flash::new((LATEST_SLOTS + BEST_SLOTS) * self.slot as usize, 0xFF)
    }

    /// From power on to the end of the run. `None` when the power went before.
    fn session<const HIDDEN: usize, const BATCH: usize>(&self, flash: &RefCell<Flash<W, E>>) -> Option<End> {
        let end = self.attempt::<HIDDEN, BATCH>(flash);
        // What was still to be done at the end, an erase ahead, is no error of the run.
        end.filter(|_| !flash.borrow().is_off())
    }

    fn attempt<const HIDDEN: usize, const BATCH: usize>(&self, flash: &RefCell<Flash<W, E>>) -> Option<End> {
        let middle = LATEST_SLOTS as u32 * self.slot;
        let end = middle + BEST_SLOTS as u32 * self.slot;
        let latest = || Slots::<_, LATEST_SLOTS>::open(Shared(flash), 0..middle).ok();
        let best = || Slots::<_, BEST_SLOTS>::open(Shared(flash), middle..end).ok();
        let mut trainee = Trainee::<HIDDEN, BATCH>::new();
        let summary = monitored::run(&mut trainee, self.plan, latest()?, best()?, &()).ok()?;
        Some((summary, trainee.checksum(), kept(latest()?, best()?)?))
    }
}

#[test]
fn cut_in_every_operation_of_the_flash_it_ends_with_the_same_bits() {
    let board = Board::<32, 512> { slot: 3072, plan: Plan { max_epochs: 3, ..Plan::DEFAULT } };
    let mut flash = board.flash();
    flash.log = Some(Vec::new());
    let flash = RefCell::new(flash);
    let expected = board.session::<2, 64>(&flash).unwrap();
    assert_eq!((expected.0.outcome.epoch, expected.2.0.len(), expected.2.1.len()), (3, 1, 2));
    let operations = flash.into_inner().log.take().unwrap();

    let mut cases = 0;
    for (at, erase) in operations.iter().enumerate() {
        let outcomes = Cut::all(*erase, 32);
        // All outcomes of an erase, and one in five of those of a write, others from write to write.
        let stride = if *erase { 1 } else { 5 };
        for outcome in outcomes.iter().skip(at % stride).step_by(stride) {
            let flash = RefCell::new(board.flash());
            flash.borrow_mut().cut_at(at as u64, *outcome, at as u64);
            assert_eq!(board.session::<2, 64>(&flash), None, "cut at {at}");
            flash.borrow_mut().power_on();
            let end = board.session::<2, 64>(&flash);
            assert_eq!(end.as_ref(), Some(&expected), "cut at {at}: {outcome}");
            assert_eq!(flash.borrow().violations(), []);
            cases += 1;
        }
    }
    println!("{cases} cuts in {} operations", operations.len());
    assert!(operations.len() > 150 && cases > 500, "{cases} cuts in {} operations", operations.len());
}

/// Where the random runs begin.
fn seeds(count: u64) -> std::ops::Range<u64> {
    let one = std::env::var("CUT_SEED").ok().map(|seed| seed.parse().expect("a number"));
    one.map_or(0..count, |seed: u64| seed..seed + 1)
}

#[test]
fn the_run_of_a_board_that_is_cut_again_and_again_ends_with_the_same_bits() {
    let board = Board::<8, 2048> { slot: 24 * 1024, plan: Plan { max_epochs: 14, ..Plan::DEFAULT } };
    let expected = board.session::<32, 16>(&RefCell::new(board.flash())).unwrap();
    for seed in seeds(3) {
        let mut random = Random::new(seed);
        let flash = RefCell::new(board.flash());
        let mut cuts = 0;
        let end = loop {
            let outcome = *random.pick(Cut::all(random.clone().once_in(8), 8));
            flash.borrow_mut().cut_at(random.below(9_000) as u64, outcome, random.bits());
            if let Some(end) = board.session::<32, 16>(&flash) {
                break end;
            }
            assert!(flash.borrow().is_off(), "CUT_SEED={seed}, {cuts} cuts");
            flash.borrow_mut().power_on();
            cuts += 1;
        };
        println!("CUT_SEED={seed}: {cuts} cuts");
        assert_eq!(end, expected, "CUT_SEED={seed}, {cuts} cuts");
    }
}

/// How a run ends that saves within its epochs: the outcome, the trainee's bits, the counter of early stopping.
type Within = (Outcome, u64, u32);

/// Saved after every `interval`-th iteration, the last of an epoch among them; early stopping goes by what the step
/// function returned last in an epoch, which only [`KeepOutput`] brings over such a cut.
fn within<S: Store, const HIDDEN: usize, const BATCH: usize>(store: S, epochs: u32, interval: u32) -> Option<Within> {
    let saving =
        ModelCheckpoint::<2>::builder().save_interval(interval).n_saved(2).on_error(OnError::Stop).build().unwrap();
    let loss = |state: &State<f32>| -state.output.unwrap();
    let nan = TerminateOnNan::new().attach(IterationCompleted, |_: &_, state: &State<f32>| state.output);
    let stopping = EarlyStopping::new(4).unwrap().attach(EpochCompleted, loss);
    let mut handlers = (stopping, KeepOutput, nan, saving.attach(IterationCompleted, store).ok()?);
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
fn also_one_that_is_saved_within_its_epochs() {
    const SLOT: u32 = 3072;
    // One in the middle, one at the end of an epoch.
    const INTERVAL: u32 = Trainee::<2, 32>::BATCHES / 2;
    const { assert!(Trainee::<2, 32>::BATCHES.is_multiple_of(INTERVAL)) };
    let session = |flash: &mut Flash<32, 1024>| {
        let store = Slots::<_, 3>::open(&mut *flash, 0..3 * SLOT).unwrap();
        within::<_, 2, 32>(store, 5, INTERVAL).filter(|_| !flash.is_off())
    };
    let fresh = || Flash::<32, 1024>::new(3 * SLOT as usize, 0xFF);
    let mut flash = fresh();
    flash.log = Some(Vec::new());
    let expected = session(&mut flash).unwrap();
    let operations = flash.log.take().unwrap();
    for (at, erase) in operations.iter().enumerate() {
        let outcomes = Cut::all(*erase, 32);
        let mut flash = fresh();
        flash.cut_at(at as u64, outcomes[at % outcomes.len()], at as u64);
        assert_eq!(session(&mut flash), None, "cut at {at}");
        flash.power_on();
        assert_eq!(session(&mut flash), Some(expected), "cut at {at}");
    }
    println!("{} cuts", operations.len());
}

/// The directory under the run: names the best by their score, and has the latest beside them.
fn in_a_directory(disk: &Disk, epochs: u32) -> Option<End> {
    let open = |prefix| Directory::builder("dir", prefix).require_empty(false).open_on(disk.clone()).ok();
    let plan = Plan { max_epochs: epochs, ..Plan::DEFAULT };
    let mut trainee = Trainee::<2, 64>::new();
    let summary = monitored::run(&mut trainee, plan, open("latest")?, open("best")?, &()).ok()?;
    let end = (summary, trainee.checksum(), kept(open("latest")?, open("best")?)?);
    Some(end).filter(|_| !disk.is_off())
}

#[test]
fn cut_in_every_operation_of_a_directory_it_ends_with_the_same_bits() {
    const EPOCHS: u32 = 3;
    let expected = in_a_directory(&Disk::default(), EPOCHS).unwrap();
    assert_eq!((expected.0.outcome.epoch, expected.2.0.len(), expected.2.1.len()), (EPOCHS, 1, 2));
    let mut seen = std::collections::HashSet::<Image>::new();
    let (mut operations, mut cases) = (0, 0);
    loop {
        let disk = Disk::default();
        disk.cut_at(operations);
        let end = in_a_directory(&disk, EPOCHS);
        if !disk.is_off() {
            assert_eq!(end.as_ref(), Some(&expected));
            break;
        }
        assert_eq!(end, None, "cut in {operations}");
        for (number, image) in disk.images(64).0.into_iter().enumerate() {
            if seen.insert(image.clone()) {
                let end = in_a_directory(&Disk::new(&image), EPOCHS);
                assert_eq!(end.as_ref(), Some(&expected), "cut in {operations}, state {number}");
                cases += 1;
            }
        }
        operations += 1;
    }
    println!("{cases} states of the medium after cuts in {operations} operations");
    assert!(operations > 60 && cases > 200, "{cases} states, {operations} operations");
}

#[test]
fn a_long_run_in_a_directory_that_is_cut_again_and_again_ends_with_the_same_bits() {
    const EPOCHS: u32 = 12;
    let expected = in_a_directory(&Disk::default(), EPOCHS).unwrap();
    for seed in seeds(20) {
        let mut random = Random::new(seed);
        let (mut image, mut cuts) = (Image::new(), 0);
        let end = loop {
            let disk = Disk::new(&image);
            disk.cut_at(random.below(300));
            if let Some(end) = in_a_directory(&disk, EPOCHS) {
                break end;
            }
            assert!(disk.is_off(), "CUT_SEED={seed}, {cuts} cuts");
            image = random.pick(&disk.images(64).0).clone();
            cuts += 1;
        };
        println!("CUT_SEED={seed}: {cuts} cuts");
        assert_eq!(end, expected, "CUT_SEED={seed}, {cuts} cuts");
    }
}
