//! A training run on flash, cut in every operation, ends with the bits of the run that was never cut.

use training_monitor::checkpoint::{Objects, StateDict, Visit, VisitMut, VisitTensors, VisitTensorsMut};
use training_monitor::event::{EpochCompleted, IterationCompleted};
use training_monitor::handlers::keep::KeepOutput;
use training_monitor::handlers::model_checkpoint::OnError;
use training_monitor::handlers::saving::Saving;
use training_monitor::store::Store;
use training_monitor::store::slots::Slots;
use training_monitor::{EarlyStopping, Engine, Handler, ModelCheckpoint, Outcome, RunError, State, TerminateOnNan};
use training_monitor_tests::flash::{self, Flash};
use training_monitor_tests::power_cut::read;
use training_monitor_tests::random::Random;

const BATCHES: u32 = 5;
const EPOCHS: u32 = 6;

/// Two layers of weights with momentum, and a generator for noise.
#[derive(Clone, PartialEq, Debug)]
struct Training {
    weights: [f32; 20],
    momentum: [f32; 20],
    noise: u64,
}

struct Net<'a>(&'a mut [f32; 20], &'a mut [f32; 20]);

impl StateDict for Net<'_> {
    fn tensors<V: VisitTensors>(&self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.tensor("weights", &[4, 5], &*self.0)?;
        visitor.tensor("momentum", &[20], &*self.1)
    }
    fn tensors_mut<V: VisitTensorsMut>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.tensor("weights", self.0)?;
        visitor.tensor("momentum", self.1)
    }
}

impl Objects for Training {
    fn objects<V: Visit>(&self, visitor: &mut V) -> Result<(), V::Error> {
        let mut copy = self.clone();
        visitor.state_dict("net", &Net(&mut copy.weights, &mut copy.momentum))?;
        visitor.value("noise", &self.noise)
    }
    fn objects_mut<V: VisitMut>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.state_dict("net", &mut Net(&mut self.weights, &mut self.momentum))?;
        visitor.value("noise", &mut self.noise)
    }
}

impl Training {
    fn new() -> Self {
        let mut random = Random::new(11);
        let mut weights = [0.0; 20];
        weights.fill_with(|| f32::from(random.byte()) / 256.0 - 0.5);
        Training { weights, momentum: [0.0; 20], noise: 1 }
    }

    /// One step towards a target that depends on the batch. Returns the loss.
    fn step(&mut self, batch: u32) -> f32 {
        let mut loss = 0.0;
        for (index, (weight, momentum)) in self.weights.iter_mut().zip(&mut self.momentum).enumerate() {
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

/// How a run ends: how the engine does, the model, what early stopping has counted, and the bytes of what is kept.
type End = (Outcome, Training, u32, Vec<Vec<u8>>);

/// One session: from power on to the end or the cut.
fn session<const W: usize, const E: usize>(flash: &mut Flash<W, E>, scored: bool) -> Result<End, RunError> {
    let size = flash.image().len() as u32;
    let store = Slots::<_, 3>::open(flash, 0..size).unwrap();
    let builder = ModelCheckpoint::<2>::builder().n_saved(2).on_error(OnError::Stop);
    let loss = |state: &State<f32>| -state.output.unwrap_or(f32::INFINITY);
    // A checkpoint of an epoch's last iteration is resumed before the end of the epoch, where this asks for the output.
    let stopping = (EarlyStopping::new(3).unwrap().attach(EpochCompleted, loss), KeepOutput);
    let nan = TerminateOnNan::new().attach(IterationCompleted, |_: &Training, state: &State<f32>| state.output);
    if scored {
        let machine = builder.score_function(loss).build().unwrap();
        let saving = machine.attach(IterationCompleted, store).unwrap().min_interval(3);
        run((saving, stopping, nan), |handlers| (handlers.1.0.early_stopping.counter(), kept(&mut handlers.0)))
    } else {
        let machine = builder.save_interval(4).build().unwrap();
        let saving = machine.attach(IterationCompleted, store).unwrap();
        run((stopping, saving, nan), |handlers| (handlers.0.0.early_stopping.counter(), kept(&mut handlers.1)))
    }
}

/// The streams of what is kept, in the order of the ranking: their numbers are those of the run that was not cut, too.
fn kept<W, S: Store, F>(saving: &mut Saving<2, W, S, F>) -> Vec<Vec<u8>> {
    let steps: Vec<u32> = saving.machine().kept().iter().map(|entry| entry.step).collect();
    steps.into_iter().map(|step| read(saving.store_mut(), step).unwrap()).collect()
}

fn run<H: Handler<Training, f32, ()>>(
    mut handlers: H,
    look: impl Fn(&mut H) -> (u32, Vec<Vec<u8>>),
) -> Result<End, RunError> {
    let mut training = Training::new();
    let mut engine = Engine::new(EPOCHS);
    engine.resume(&mut training, &mut handlers).unwrap();
    let outcome = engine.run(&mut training, 0..BATCHES, &mut handlers, |training, batch, _| training.step(batch))?;
    let (counter, kept) = look(&mut handlers);
    Ok((outcome, training, counter, kept))
}

fn every_operation<const W: usize, const E: usize>(erased: u8, scored: bool) {
    let fresh = || Flash::<W, E>::new(3 * 2 * E.max(512), erased);
    let mut flash = fresh();
    flash.log = Some(Vec::new());
    let expected = session(&mut flash, scored).unwrap();
    let operations = flash.log.take().unwrap();
    assert!(operations.iter().filter(|erase| **erase).count() >= 4, "several saves");

    for (at, erase) in operations.iter().enumerate() {
        // Each outcome comes by somewhere; a prime number of steps keeps them from meeting the same operation again.
        for turn in 0..3 {
            let outcomes = flash::Outcome::all(*erase, W);
            let outcome = outcomes[(at * 7 + turn * 5) % outcomes.len()];
            let mut flash = fresh();
            flash.cut_at(at as u64, outcome, at as u64);
            let mut sessions = 0;
            let end = loop {
                sessions += 1;
                let end = session(&mut flash, scored);
                if !flash.is_off() {
                    break end.unwrap();
                }
                assert_eq!(end, Err(RunError::SaveFailed));
                flash.power_on();
                // Once more, soon after.
                if turn == 2 && sessions == 1 {
                    flash.cut_at((at % 40) as u64, outcome, 3);
                }
            };
            assert_eq!(end, expected, "cut at {at}: {outcome}");
            assert_eq!(flash.violations(), []);
        }
    }
}

#[test]
fn a_run_that_is_cut_anywhere_ends_with_the_same_bits() {
    every_operation::<8, 512>(0xFF, false);
}

#[test]
fn also_one_that_keeps_the_best() {
    every_operation::<32, 1024>(0x00, true);
}

/// Power fails again and again, each time after a little progress.
#[test]
fn also_one_that_is_cut_all_the_time() {
    for seed in 0..20 {
        let mut random = Random::new(seed);
        let mut flash = Flash::<4, 512>::with_image((0..6 * 512).map(|_| random.byte()).collect(), 0xFF);
        let expected = session(&mut Flash::<4, 512>::new(6 * 512, 0xFF), false).unwrap();
        let mut cuts = 0;
        let end = loop {
            let erase = random.once_in(5);
            let outcome = *random.pick(flash::Outcome::all(erase, 4));
            flash.cut_at(random.below(400) as u64, outcome, random.bits());
            let end = session(&mut flash, false);
            if !flash.is_off() {
                break end.unwrap();
            }
            flash.power_on();
            cuts += 1;
        };
        assert_eq!(end, expected, "seed {seed}, {cuts} cuts");
    }
}
