//! A training run that saves to a simulated flash, with blocking or with background saves.

#![allow(dead_code, reason = "each test program uses a part of this module")]

use super::store_access::read_stream;
use training_monitor::event::IterationCompleted;
use training_monitor::handlers::model_checkpoint::{CheckpointEvent, CheckpointHandler, GetScore};
use training_monitor::run_record::RestoreError;
use training_monitor::store::flash::Slots;
use training_monitor::{Engine, Event, Handler, ModelCheckpoint, Objects, Outcome, RunError, State, StateDict};
use training_monitor_std::test_support::flash::Flash;

pub const BATCHES: u32 = 20;
pub const EPOCHS: u32 = 4;

/// The saved objects: a network, and the state of a random generator.
#[derive(Objects, Clone, PartialEq, Debug)]
pub struct Training {
    pub net: Net,
    #[objects(value)]
    pub noise: u64,
}

#[derive(StateDict, Clone, PartialEq, Debug)]
pub struct Net {
    pub weights: [f32; 24],
    momentum: [f32; 24],
}

impl Training {
    pub fn new() -> Self {
        Training { net: Net { weights: core::array::from_fn(|index| index as f32), momentum: [0.0; 24] }, noise: 1 }
    }

    /// Changes all objects, and returns the loss, which does not decrease in each step.
    pub fn step(&mut self, batch: u32) -> f32 {
        let mut loss = 0.0;
        for (weight, momentum) in self.net.weights.iter_mut().zip(&mut self.net.momentum) {
            self.noise = self.noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let error = *weight - (batch as f32).sin() - (self.noise >> 40) as f32 / 16_777_216.0;
            *momentum = 0.9 * *momentum + error;
            *weight -= 0.05 * *momentum;
            loss += error * error;
        }
        loss
    }
}

/// How a run saves.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Saves {
    Blocking,
    /// In the background, with pieces of this number of bytes.
    Background(usize),
}

/// When a run saves.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Policy {
    /// At each call with a multiple of this number.
    Every(u32),
    /// If the loss is one of the two lowest, with this minimum interval.
    Best(u32),
}

/// The result of a run: its outcome, the model, the bytes of the kept checkpoints, and the iterations of
/// the `SavedCheckpoint` events.
#[derive(PartialEq, Debug)]
pub struct RunResult {
    pub outcome: Outcome,
    pub training: Training,
    pub streams: Vec<Vec<u8>>,
    pub saved_at: Vec<u32>,
}

/// Records the iterations in which a checkpoint was saved.
#[derive(Default)]
pub struct SavedAt(pub Vec<u32>);

impl<T: ?Sized, O, X> Handler<T, O, X> for SavedAt {
    fn on_event(&mut self, event: Event, _: &mut T, state: &mut State<O, X>) {
        if event == Event::SavedCheckpoint {
            self.0.push(state.iteration());
        }
    }
}

/// Resumes the run from the flash, and continues until the run ends or the power fails. `acknowledged` is the step of
/// the last save that was reported as successful, in this and in all previous sessions. The run must not resume from an
/// older checkpoint.
pub fn session<const W: usize, const E: usize>(
    flash: &mut Flash<W, E>,
    policy: Policy,
    saves: Saves,
    acknowledged: &mut u32,
) -> Result<RunResult, RunError> {
    match policy {
        Policy::Every(interval) => attach(flash, ModelCheckpoint::every(interval).unwrap(), 0, saves, acknowledged),
        Policy::Best(interval) => {
            let score = |state: &State<f32>| -state.output.unwrap_or(f32::INFINITY);
            attach(flash, ModelCheckpoint::best_by(score), interval, saves, acknowledged)
        }
    }
}

fn attach<const W: usize, const E: usize, F: GetScore<f32, ()>>(
    flash: &mut Flash<W, E>,
    policy: ModelCheckpoint<2, F>,
    min_interval: u32,
    saves: Saves,
    acknowledged: &mut u32,
) -> Result<RunResult, RunError> {
    let required = *acknowledged;
    let observer = |event: &CheckpointEvent<'_, _>| {
        if let CheckpointEvent::Saved { decision, .. } = event {
            *acknowledged = decision.step;
        }
    };
    let size = flash.image().len() as u32;
    let store = Slots::<_, 3>::open(flash, 0..size).unwrap();
    let handler = policy.attach(IterationCompleted, store).unwrap().min_interval(min_interval).observe(observer);
    let mut training = Training::new();
    match saves {
        Saves::Blocking => {
            let mut handlers = (handler, SavedAt::default());
            let outcome = run(&mut training, &mut handlers, required)?;
            Ok(result(outcome, training, handlers.0, handlers.1))
        }
        Saves::Background(piece_len) => {
            let mut handlers = (handler.in_background([0; 512]).with_piece_len(piece_len), SavedAt::default());
            let outcome = run(&mut training, &mut handlers, required)?;
            assert!(!handlers.0.is_saving(), "the end of a run completes the save in progress");
            Ok(result(outcome, training, handlers.0.into_handler(), handlers.1))
        }
    }
}

fn run<H: Handler<Training, f32>>(
    training: &mut Training,
    handlers: &mut H,
    required: u32,
) -> Result<Outcome, RunError> {
    let mut engine = Engine::new(EPOCHS);
    let resumed = match engine.resume(training, handlers) {
        // A first checkpoint whose commit was interrupted can have unstable bits. The program starts over.
        Err(RestoreError::NoneLoadable { .. }) => None,
        resumed => resumed.unwrap(),
    };
    let iteration = resumed.map_or(0, |resumed| resumed.iteration);
    assert!(iteration >= required, "step {required} was saved, but the run resumes from iteration {iteration}");
    engine.run(training, 0..BATCHES, handlers, |training, batch, _| training.step(batch))
}

fn result<const W: usize, const E: usize, F, B>(
    outcome: Outcome,
    training: Training,
    mut handler: CheckpointHandler<2, IterationCompleted, Slots<&mut Flash<W, E>, 3>, F, B>,
    saved_at: SavedAt,
) -> RunResult {
    let steps: Vec<u32> = handler.policy().kept().iter().map(|entry| entry.step).collect();
    let streams = steps.into_iter().map(|step| read_stream(handler.store_mut(), step).unwrap()).collect();
    RunResult { outcome, training, streams, saved_at: saved_at.0 }
}
