//! Tests of training runs that save to a directory and are interrupted by power failures. In some tests, power fails
//! once in each operation, and the run resumes from each possible state of the medium. In another test, power fails
//! many times in a longer run. The result must always equal the result of an uninterrupted run, bit by bit.

use crate::training::Tensor;
use std::cell::RefCell;
use std::collections::HashSet;
use std::fs;
use training_monitor::checkpoint::{ObjectVisitor, Objects};
use training_monitor::event::{EpochCompleted, IterationCompleted};
use training_monitor::handlers::model_checkpoint::ranking::RankedCheckpoint;
use training_monitor::handlers::model_checkpoint::{CheckpointEvent, OnError};
use training_monitor::{EarlyStopping, Engine, ModelCheckpoint, Outcome, State, on};
use training_monitor_std::Directory;
use training_monitor_std::test_support::disk::{Disk, Image};
use training_monitor_std::test_support::random::Random;

/// A model with momentum, a random number generator and the last loss. A checkpoint consists of three files.
///
/// The checkpoint must contain the last loss, because the engine does not save the output of the step function. A
/// checkpoint that is saved after the last iteration of an epoch resumes before the end of the epoch, where early
/// stopping needs the loss.
#[derive(Clone, PartialEq, Debug)]
struct Learner {
    weights: Vec<f32>,
    momentum: Vec<f32>,
    rest: (u64, f32),
}

impl Objects for Learner {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.state_dict("net", &mut Tensor(&mut self.weights))?;
        visitor.state_dict("optimizer", &mut Tensor(&mut self.momentum))?;
        visitor.value("rest", &mut self.rest)
    }
}

impl Learner {
    fn new() -> Self {
        Learner { weights: vec![0.25; 6], momentum: vec![0.0; 6], rest: (1, 0.0) }
    }

    fn step(&mut self, batch: u32) -> f32 {
        let mut loss = 0.0;
        for (index, (weight, momentum)) in self.weights.iter_mut().zip(&mut self.momentum).enumerate() {
            self.rest.0 = self.rest.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let noise = (self.rest.0 >> 40) as f32 / 16_777_216.0 - 0.5;
            let error = *weight - ((batch as f32 + index as f32).sin() + 0.1 * noise);
            *momentum = 0.9 * *momentum + error;
            *weight -= 0.02 * *momentum;
            loss += error * error;
        }
        self.rest.1 = loss;
        loss
    }
}

/// The result of a run: the outcome of the engine, the model, the counter of early stopping and the kept checkpoints.
type RunResult = (Outcome, Learner, u32, Vec<u32>);

/// Opens the directory, resumes the training and runs it to the end. Returns `None` if power fails.
fn run_program(disk: &Disk, epochs: u32, by_score: bool) -> Option<RunResult> {
    // A failed removal of a checkpoint does not stop the run, so the run can end normally although power has failed.
    resume_and_run(disk, epochs, by_score).filter(|_| !disk.is_off())
}

fn resume_and_run(disk: &Disk, epochs: u32, by_score: bool) -> Option<RunResult> {
    let files = Directory::builder("dir", "run").require_empty(false).open_on(disk.clone()).ok()?;
    let loss = |state: &State<f32, f32>| -state.output.unwrap_or(f32::INFINITY);
    let copy_loss =
        on(EpochCompleted, |learner: &mut Learner, state: &mut State<f32, f32>| state.metrics = learner.rest.1);
    let stopping = EarlyStopping::new(3).unwrap().attach(EpochCompleted, |state: &State<f32, f32>| -state.metrics);
    let (mut learner, mut engine) = (Learner::new(), Engine::with_metrics(epochs, 0.0));
    let step = |learner: &mut Learner, batch: u32, _: &mut State<f32, f32>| learner.step(batch);
    let steps = |kept: &[RankedCheckpoint]| kept.iter().map(|checkpoint| checkpoint.step).collect();
    if by_score {
        let policy = ModelCheckpoint::<2>::best_by(loss).with_on_error(OnError::Stop);
        let mut handlers = (policy.attach(IterationCompleted, files).unwrap(), copy_loss, stopping);
        engine.resume(&mut learner, &mut handlers).unwrap();
        let outcome = engine.run(&mut learner, 0..3, &mut handlers, step).ok()?;
        Some((outcome, learner, handlers.2.early_stopping.counter(), steps(handlers.0.policy().kept())))
    } else {
        let policy = ModelCheckpoint::<2>::every(2).unwrap().with_on_error(OnError::Stop);
        let mut handlers = (copy_loss, stopping, policy.attach(IterationCompleted, files).unwrap());
        engine.resume(&mut learner, &mut handlers).unwrap();
        let outcome = engine.run(&mut learner, 0..3, &mut handlers, step).ok()?;
        Some((outcome, learner, handlers.1.early_stopping.counter(), steps(handlers.2.policy().kept())))
    }
}

/// Lets power fail once in each operation of a run, and resumes the run from each possible state of the medium.
fn interrupt_every_operation(by_score: bool) {
    const EPOCHS: u32 = 4;
    let expected = run_program(&Disk::default(), EPOCHS, by_score).unwrap();
    assert_eq!(expected.3.len(), 2);
    let mut seen: HashSet<Image> = HashSet::new();
    let mut cases = 0;
    for operation in 0.. {
        let disk = Disk::default();
        disk.cut_power_at(operation);
        let result = run_program(&disk, EPOCHS, by_score);
        if !disk.is_off() {
            assert_eq!(result.as_ref(), Some(&expected));
            break;
        }
        assert_eq!(result, None, "power failure in operation {operation}");
        let (images, is_capped) = disk.images(4096);
        assert!(!is_capped, "power failure in operation {operation}");
        for (state, image) in images.into_iter().enumerate() {
            if seen.insert(image.clone()) {
                cases += 1;
                let result = run_program(&Disk::new(&image), EPOCHS, by_score);
                assert_eq!(result.as_ref(), Some(&expected), "power failure in operation {operation}, state {state}");
            }
        }
    }
    println!("{cases} states of the medium");
    assert!(cases > 400, "{cases}");
}

#[test]
fn interrupted_run_that_keeps_the_latest_has_the_same_result() {
    interrupt_every_operation(false);
}

#[test]
fn interrupted_run_that_keeps_the_best_has_the_same_result() {
    interrupt_every_operation(true);
}

/// Power fails many times in one run, each time after at most 150 operations. The next start gets a random one of the
/// possible states of the medium.
#[test]
fn run_with_many_power_failures_has_the_same_result() {
    const EPOCHS: u32 = 12;
    for by_score in [false, true] {
        let expected = run_program(&Disk::default(), EPOCHS, by_score).unwrap();
        let mut total = 0;
        for seed in 0..40 {
            let mut random = Random::new(seed);
            let (mut image, mut failures) = (Image::new(), 0);
            let result = loop {
                let disk = Disk::new(&image);
                disk.cut_power_at(random.below(150));
                if let Some(result) = run_program(&disk, EPOCHS, by_score) {
                    break result;
                }
                assert!(disk.is_off(), "seed {seed}, {failures} power failures");
                image = random.pick(&disk.images(64).0).clone();
                failures += 1;
            };
            assert_eq!(result, expected, "seed {seed}, {failures} power failures");
            total += failures;
        }
        assert!(total > 40, "{total} power failures");
    }
}

/// Another program removes a file of the best checkpoint during the run. The checkpoint no longer ranks, so a lower
/// score is saved, and the observer receives the removal.
#[test]
fn best_checkpoint_that_another_program_removed_no_longer_ranks() {
    let dir = tempfile::tempdir().unwrap();
    let files = Directory::builder(dir.path(), "p").open().unwrap();
    let disappeared = RefCell::new(Vec::new());
    let policy = ModelCheckpoint::<1>::best_by(|state: &State<f32>| state.output.unwrap());
    let mut checkpoint = policy.attach(EpochCompleted, files).unwrap().observe(|event: &CheckpointEvent<'_, _>| {
        if let CheckpointEvent::Disappeared { step } = event {
            disappeared.borrow_mut().push(*step);
        }
    });
    let scores = [0.9, 0.5, 0.4, 0.6, 0.55];
    let step = |_: &mut Learner, _, state: &mut State<f32>| {
        if state.epoch() == 2 {
            fs::remove_file(dir.path().join("p_net_1.ckpt")).unwrap();
        }
        scores[state.epoch() as usize - 1]
    };
    Engine::new(5).run(&mut Learner::new(), 0..1, &mut checkpoint, step).unwrap();
    assert_eq!(checkpoint.policy().kept(), [RankedCheckpoint::new(4, Some(0.6))]);
    assert_eq!(disappeared.take(), [1]);
}

/// Opening the directory does not list the damaged checkpoint. The resume uses an older one and counts the damaged one.
#[test]
fn damaged_newest_checkpoint_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let attach = || {
        let files = Directory::builder(dir.path(), "p").require_empty(false).open().unwrap();
        ModelCheckpoint::<3>::every(1).unwrap().attach(EpochCompleted, files).unwrap()
    };
    let mut checkpoint = attach();
    Engine::new(3).run(&mut Learner::new(), 0..2, &mut checkpoint, |_, _, _| 0.0_f32).unwrap();
    drop(checkpoint);
    let newest = dir.path().join("p_optimizer_3.ckpt");
    let mut bytes = fs::read(&newest).unwrap();
    bytes[40] ^= 1;
    fs::write(&newest, bytes).unwrap();
    let resumed = Engine::<f32>::new(4).resume(&mut Learner::new(), &mut attach()).unwrap().unwrap();
    assert_eq!((resumed.epoch, resumed.skipped), (2, 1));
}
