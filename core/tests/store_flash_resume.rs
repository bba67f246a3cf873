//! Tests that a run with power failures ends with the same bits as an uninterrupted run. The run saves to a simulated
//! flash, and the power fails at every flash operation.

#[path = "common/store_access.rs"]
mod store_access;

use store_access::read_stream;
use training_monitor::checkpoint::EncodeError;
use training_monitor::event::{EpochCompleted, IterationCompleted};
use training_monitor::handlers::keep::KeepOutput;
use training_monitor::handlers::model_checkpoint::CheckpointHandler;
use training_monitor::store::Store;
use training_monitor::store::flash::Slots;
use training_monitor::{
    EarlyStopping, Engine, Handler, ModelCheckpoint, Objects, Outcome, RunError, State, StateDict, TerminateOnNan,
};
use training_monitor_std::test_support::flash::{self, Flash};
use training_monitor_std::test_support::random::Random;

const BATCHES: u32 = 5;
const EPOCHS: u32 = 6;

/// The saved objects: a network, and the state of a random generator.
#[derive(Objects, Clone, PartialEq, Debug)]
struct Training {
    net: Net,
    #[objects(value)]
    noise: u64,
}

/// A network: its weights, and the momentum of each weight.
#[derive(StateDict, Clone, PartialEq, Debug)]
struct Net {
    weights: [[f32; 5]; 4],
    momentum: [f32; 20],
}

impl Training {
    fn new() -> Self {
        let mut random = Random::new(11);
        let mut weights = [[0.0; 5]; 4];
        weights.as_flattened_mut().fill_with(|| f32::from(random.byte()) / 256.0 - 0.5);
        Training { net: Net { weights, momentum: [0.0; 20] }, noise: 1 }
    }

    /// Moves the weights towards a target that depends on the batch, and returns the loss.
    fn step(&mut self, batch: u32) -> f32 {
        let mut loss = 0.0;
        let weights = self.net.weights.as_flattened_mut().iter_mut();
        for (index, (weight, momentum)) in weights.zip(&mut self.net.momentum).enumerate() {
            self.noise = self.noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let noise = (self.noise >> 40) as f32 / 16_777_216.0 - 0.5;
            let error = *weight - ((batch as f32 + index as f32).sin() + 0.1 * noise);
            *momentum = 0.9 * *momentum + error;
            *weight -= 0.02 * *momentum;
            loss += error * error;
        }
        loss
    }
}

/// The result of a run: its outcome, the model, the counter of early stopping, and the bytes of the kept checkpoints.
type RunResult = (Outcome, Training, u32, Vec<Vec<u8>>);

/// Resumes the run from the flash and continues until the run ends or the power fails.
fn session<const W: usize, const E: usize>(flash: &mut Flash<W, E>, scored: bool) -> Result<RunResult, RunError> {
    let size = flash.image().len() as u32;
    let store = Slots::<_, 3>::open(flash, 0..size).unwrap();
    let loss = |state: &State<f32>| -state.output.unwrap_or(f32::INFINITY);
    // A run that resumes at the end of an epoch fires EpochCompleted before it calls the step function. Early stopping
    // then needs the last output before the power failure, so `KeepOutput` saves the output.
    let stopping = (EarlyStopping::new(3).unwrap().attach(EpochCompleted, loss), KeepOutput);
    let nan = TerminateOnNan::new().attach(IterationCompleted, |_, state| &state.output);
    if scored {
        let policy = ModelCheckpoint::<2>::best_by(loss);
        let checkpoints = policy.attach(IterationCompleted, store).unwrap().min_interval(3);
        run((checkpoints, stopping, nan), |handlers| {
            (handlers.1.0.early_stopping.counter(), kept_streams(&mut handlers.0))
        })
    } else {
        let policy = ModelCheckpoint::<2>::every(4).unwrap();
        let checkpoints = policy.attach(IterationCompleted, store).unwrap();
        run((stopping, checkpoints, nan), |handlers| {
            (handlers.0.0.early_stopping.counter(), kept_streams(&mut handlers.1))
        })
    }
}

/// Returns the bytes of the kept checkpoints, in the order of the ranking. These bytes include the step and the
/// sequence number.
fn kept_streams<W, S: Store, F>(handler: &mut CheckpointHandler<2, W, S, F>) -> Vec<Vec<u8>> {
    let steps: Vec<u32> = handler.policy().kept().iter().map(|entry| entry.step).collect();
    steps.into_iter().map(|step| read_stream(handler.store_mut(), step).unwrap()).collect()
}

fn run<H: Handler<Training, f32, ()>>(
    mut handlers: H,
    inspect: impl Fn(&mut H) -> (u32, Vec<Vec<u8>>),
) -> Result<RunResult, RunError> {
    let mut training = Training::new();
    let mut engine = Engine::new(EPOCHS);
    engine.resume(&mut training, &mut handlers).unwrap();
    let outcome = engine.run(&mut training, 0..BATCHES, &mut handlers, |training, batch, _| training.step(batch))?;
    let (counter, streams) = inspect(&mut handlers);
    Ok((outcome, training, counter, streams))
}

/// Interrupts the run at every flash operation. Each time, the resumed run must have the result of the uninterrupted
/// run.
fn interrupt_every_operation<const W: usize, const E: usize>(erased: u8, scored: bool) {
    let new_flash = || Flash::<W, E>::new(3 * 2 * E.max(512), erased);
    let mut flash = new_flash();
    flash.log = Some(Vec::new());
    let expected = session(&mut flash, scored).unwrap();
    let operations = flash.log.take().unwrap();
    assert!(operations.iter().filter(|is_erase| **is_erase).count() >= 4, "the run must save several times");

    for (operation, is_erase) in operations.iter().enumerate() {
        // An interrupted operation can leave the flash in several states. The test tries three of them for each
        // operation. The factor 7 selects different states for consecutive operations.
        for turn in 0..3 {
            let interruptions = flash::Interruption::all(*is_erase, W);
            let interruption = interruptions[(operation * 7 + turn * 5) % interruptions.len()];
            let mut flash = new_flash();
            flash.cut_power_at(operation as u64, interruption, operation as u64);
            let mut sessions = 0;
            let result = loop {
                sessions += 1;
                let result = session(&mut flash, scored);
                if !flash.is_off() {
                    break result.unwrap();
                }
                assert!(matches!(result, Err(RunError::SaveFailed(EncodeError::Io(_)))), "{result:?}");
                flash.power_on();
                // In the last of the three turns, the power fails a second time, soon after the restart.
                if turn == 2 && sessions == 1 {
                    flash.cut_power_at((operation % 40) as u64, interruption, 3);
                }
            };
            assert_eq!(result, expected, "power failure at operation {operation}: {interruption}");
            assert_eq!(flash.violations(), []);
        }
    }
}

#[test]
fn an_interrupted_run_that_saves_periodically_ends_with_the_same_bits() {
    interrupt_every_operation::<8, 512>(0xFF, false);
}

#[test]
fn an_interrupted_run_that_saves_by_score_ends_with_the_same_bits() {
    interrupt_every_operation::<32, 1024>(0x00, true);
}

/// The power fails again and again until the run ends. Each failure occurs at a random one of the next 400 flash
/// operations.
#[test]
fn a_run_with_many_power_failures_ends_with_the_same_bits() {
    for seed in 0..20 {
        let mut random = Random::new(seed);
        let mut flash = Flash::<4, 512>::with_image((0..6 * 512).map(|_| random.byte()).collect(), 0xFF);
        let expected = session(&mut Flash::<4, 512>::new(6 * 512, 0xFF), false).unwrap();
        let mut power_failures = 0;
        let result = loop {
            let is_erase = random.once_in(5);
            let interruption = *random.pick(flash::Interruption::all(is_erase, 4));
            flash.cut_power_at(random.below(400) as u64, interruption, random.bits());
            let result = session(&mut flash, false);
            if !flash.is_off() {
                break result.unwrap();
            }
            flash.power_on();
            power_failures += 1;
        };
        assert_eq!(result, expected, "seed {seed}, {power_failures} power failures");
    }
}
