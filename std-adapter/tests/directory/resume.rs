//! A whole training run into a directory, cut in every operation with every state of the medium that may follow, and a
//! longer one that is cut again and again: resumed, it ends with the bits of the run that was never cut.

use crate::model::{Disk, Image};
use crate::training::Tensor;
use std::collections::HashSet;
use training_monitor::checkpoint::{Objects, Visit, VisitMut};
use training_monitor::event::{EpochCompleted, IterationCompleted};
use training_monitor::handlers::model_checkpoint::OnError;
use training_monitor::{EarlyStopping, Engine, ModelCheckpoint, Outcome, State, on};
use training_monitor_std::Directory;
use training_monitor_std::test_support::random::Random;

/// Weights with momentum, and a generator for noise and the last loss: three files a checkpoint.
///
/// The loss is among them because what the step function returned is in no checkpoint: one that is taken after the last
/// iteration of an epoch is resumed before the end of the epoch, where early stopping asks for it.
#[derive(Clone, PartialEq, Debug)]
struct Learner {
    weights: Vec<f32>,
    momentum: Vec<f32>,
    rest: (u64, f32),
}

impl Objects for Learner {
    fn objects<V: Visit>(&self, v: &mut V) -> Result<(), V::Error> {
        v.state_dict("net", &Tensor(&self.weights))?;
        v.state_dict("optimizer", &Tensor(&self.momentum))?;
        v.value("rest", &self.rest)
    }
    fn objects_mut<V: VisitMut>(&mut self, v: &mut V) -> Result<(), V::Error> {
        v.state_dict("net", &mut Tensor(&mut self.weights))?;
        v.state_dict("optimizer", &mut Tensor(&mut self.momentum))?;
        v.value("rest", &mut self.rest)
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

/// How a run ends: how the engine does, the model, what early stopping has counted, which checkpoints stay.
type End = (Outcome, Learner, u32, Vec<u32>);

/// From the start of the program to the end of the run. `None` when the power went.
fn session(disk: &Disk, epochs: u32, scored: bool) -> Option<End> {
    // A removal that was cut is no error of the run, which may have been at its end.
    attempt(disk, epochs, scored).filter(|_| !disk.is_off())
}

fn attempt(disk: &Disk, epochs: u32, scored: bool) -> Option<End> {
    let files = Directory::builder("dir", "run").require_empty(false).open_on(disk.clone()).ok()?;
    let loss = |state: &State<f32, f32>| -state.output.unwrap_or(f32::INFINITY);
    let tell = on(EpochCompleted, |learner: &mut Learner, state: &mut State<f32, f32>| state.metrics = learner.rest.1);
    let builder = ModelCheckpoint::<2>::builder().n_saved(2).on_error(OnError::Stop);
    let stopping = EarlyStopping::new(3).unwrap().attach(EpochCompleted, |state: &State<f32, f32>| -state.metrics);
    let (mut learner, mut engine) = (Learner::new(), Engine::with_metrics(epochs, 0.0));
    let step = |learner: &mut Learner, batch: u32, _: &mut State<f32, f32>| learner.step(batch);
    let kept = |kept: &[training_monitor::ranking::Entry]| kept.iter().map(|entry| entry.step).collect();
    if scored {
        let saving = builder.score_function(loss).build().unwrap().attach(IterationCompleted, files).unwrap();
        let mut handlers = (saving, tell, stopping);
        engine.resume(&mut learner, &mut handlers).unwrap();
        let outcome = engine.run(&mut learner, 0..3, &mut handlers, step).ok()?;
        Some((outcome, learner, handlers.2.early_stopping.counter(), kept(handlers.0.machine().kept())))
    } else {
        let saving = builder.save_interval(2).build().unwrap().attach(IterationCompleted, files).unwrap();
        let mut handlers = (tell, stopping, saving);
        engine.resume(&mut learner, &mut handlers).unwrap();
        let outcome = engine.run(&mut learner, 0..3, &mut handlers, step).ok()?;
        Some((outcome, learner, handlers.1.early_stopping.counter(), kept(handlers.2.machine().kept())))
    }
}

fn every_operation(scored: bool) {
    const EPOCHS: u32 = 4;
    let expected = session(&Disk::default(), EPOCHS, scored).unwrap();
    assert_eq!(expected.3.len(), 2);
    let mut seen: HashSet<Image> = HashSet::new();
    let mut cases = 0;
    for cut in 0.. {
        let disk = Disk::default();
        disk.cut_at(cut);
        let end = session(&disk, EPOCHS, scored);
        if !disk.is_off() {
            assert_eq!(end.as_ref(), Some(&expected));
            break;
        }
        assert_eq!(end, None, "cut in {cut}");
        let (images, capped) = disk.images(4096);
        assert!(!capped, "cut in {cut}");
        for (state, image) in images.into_iter().enumerate() {
            if seen.insert(image.clone()) {
                cases += 1;
                let end = session(&Disk::new(&image), EPOCHS, scored);
                assert_eq!(end.as_ref(), Some(&expected), "cut in {cut}, state {state}");
            }
        }
    }
    println!("{cases} states of the medium");
    assert!(cases > 400, "{cases}");
}

#[test]
fn a_run_that_is_cut_anywhere_ends_with_the_same_bits() {
    every_operation(false);
}

#[test]
fn also_one_that_keeps_the_best() {
    every_operation(true);
}

/// Power fails again and again, each time after a little progress, and leaves any state.
#[test]
fn also_a_long_one_that_is_cut_all_the_time() {
    const EPOCHS: u32 = 12;
    for scored in [false, true] {
        let expected = session(&Disk::default(), EPOCHS, scored).unwrap();
        let mut all = 0;
        for seed in 0..40 {
            let mut random = Random::new(seed);
            let (mut image, mut cuts) = (Image::new(), 0);
            let end = loop {
                let disk = Disk::new(&image);
                disk.cut_at(random.below(150));
                if let Some(end) = session(&disk, EPOCHS, scored) {
                    break end;
                }
                assert!(disk.is_off(), "seed {seed}, {cuts} cuts");
                image = random.pick(&disk.images(64).0).clone();
                cuts += 1;
            };
            assert_eq!(end, expected, "seed {seed}, {cuts} cuts");
            all += cuts;
        }
        assert!(all > 40, "{all} cuts");
    }
}
