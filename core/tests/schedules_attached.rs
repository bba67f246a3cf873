//! Tests of attached schedules: the steps of the events, and runs that are interrupted and resumed.

#[path = "common/record_fixtures.rs"]
mod record_fixtures;

use record_fixtures::copy_record;
use std::cell::RefCell;
use training_monitor::checkpoint::{Named, ObjectVisitor};
use training_monitor::event::{
    EpochCompleted, EpochStarted, GetBatchStarted, IterationCompleted, IterationStarted, SavedCheckpoint, User,
};
use training_monitor::handler::RunTypes;
use training_monitor::handlers::schedules::{Cosine, Exponential, Lambda, StepDecay, Warmup};
use training_monitor::run_record::RunRecord;
use training_monitor::store::ram::Ram;
use training_monitor::{
    Engine, Event, EventFilter, Handler, ModelCheckpoint, Objects, Schedule, State, StopReason, UserEvent, on,
};

/// The step is that of the iteration or epoch to which the event belongs.
#[test]
fn each_event_applies_the_value_of_its_step() {
    let seen = RefCell::new(Vec::new());
    let record = |name: &'static str| {
        let seen = &seen;
        move |_: &mut (), value: f32| seen.borrow_mut().push((name, value))
    };
    let steps = Lambda(|step| step as f32);
    let mut handlers = (
        steps.attach(EpochStarted, record("epoch")),
        steps.attach(GetBatchStarted, record("batch")),
        steps.attach(IterationStarted, record("iteration")),
        steps.attach(IterationCompleted.every(2).unwrap(), record("second")),
        steps.attach(EpochCompleted, record("end")),
        steps.attach(User(7), record("user")),
        on(EpochCompleted, |_, state: &mut State<u32>| state.fire(UserEvent { id: 7, value: 10 }).unwrap()),
    );
    Engine::new(2).run(&mut (), 0..2, &mut handlers, |(), batch, _| batch).unwrap();
    let expected = [
        [("epoch", 0.0), ("batch", 0.0), ("iteration", 0.0), ("batch", 1.0), ("iteration", 1.0), ("second", 1.0)],
        [("end", 0.0), ("user", 9.0), ("epoch", 1.0), ("batch", 2.0), ("iteration", 2.0), ("batch", 3.0)],
    ];
    let seen = seen.into_inner();
    assert_eq!(seen[..12], expected.concat());
    assert_eq!(seen[12..], [("iteration", 3.0), ("second", 3.0), ("end", 1.0), ("user", 9.0)]);
}

#[test]
fn an_observer_sees_each_value() {
    let mut seen = Vec::new();
    let types = RunTypes::<f32, u32>::new();
    let schedule =
        StepDecay::new(1.0, 1, 0.5).unwrap().attach(EpochStarted, types.parameter(|rate, value| *rate = value));
    let mut handler = schedule.observe(|value, state: &State<u32>| seen.push((state.epoch(), value)));
    let mut rate = 0.0;
    Engine::new(3).run(&mut rate, 0..2, &mut handler, |_, batch, _| batch).unwrap();
    assert_eq!((rate, seen), (0.25, vec![(1, 1.0), (2, 0.5), (3, 0.25)]));
}

/// A model whose checkpoint contains the weight, but not the learning rate.
struct Net {
    weight: Named<'static, [f32; 1]>,
    rate: f32,
}

impl Objects for Net {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        self.weight.objects(visitor)
    }
}

impl Net {
    fn new() -> Self {
        Net { weight: Named::new("m", [1.0]), rate: f32::NAN }
    }

    fn step(&mut self, batch: u32) -> f32 {
        self.weight[0] += self.rate * (batch as f32 + 0.1 - self.weight[0]);
        self.weight[0]
    }
}

const BATCHES: u32 = 5;
const EPOCHS: u32 = 4;

/// Starts the program again and again. Each start resumes from the checkpoint of the last one, and ends after one
/// checkpoint. Returns the final weight.
fn interrupted_run<W: EventFilter + Copy, V: EventFilter + Copy>(filter: W, save_at: V) -> (f32, u32) {
    let schedule = Warmup::new(Cosine::new(0.5, 17).unwrap().with_eta_min(0.01).unwrap(), 0.1, 3).unwrap();
    let mut store = Ram::<2, 512>::new();
    let types = RunTypes::<Net, f32>::new();
    for starts in 1.. {
        let mut net = Net::new();
        let checkpoint = ModelCheckpoint::<1>::every(1).unwrap().attach(save_at, &mut store).unwrap();
        let handler = schedule.attach(filter, types.parameter(|net, rate| net.rate = rate));
        let stop = on(SavedCheckpoint, |_, state: &mut State<f32>| {
            state.terminate(StopReason::User(9));
        });
        // The checkpoint is saved before the run ends, so the run record does not contain the request to stop.
        let mut handlers = (handler, checkpoint, stop);
        let mut engine = Engine::new(EPOCHS);
        engine.resume(&mut net, &mut handlers).unwrap();
        let outcome = engine.run(&mut net, 0..BATCHES, &mut handlers, |net, batch, _| net.step(batch)).unwrap();
        if outcome.reason == StopReason::MaxEpochs {
            return (net.weight[0], starts);
        }
    }
    unreachable!()
}

fn uninterrupted_run<W: EventFilter>(filter: W) -> f32 {
    let schedule = Warmup::new(Cosine::new(0.5, 17).unwrap().with_eta_min(0.01).unwrap(), 0.1, 3).unwrap();
    let mut handler = schedule.attach(filter, |net: &mut Net, rate| net.rate = rate);
    let mut net = Net::new();
    Engine::new(EPOCHS).run(&mut net, 0..BATCHES, &mut handler, |net, batch, _| net.step(batch)).unwrap();
    net.weight[0]
}

/// The learning rate is not part of the checkpoint, and `EpochStarted` does not fire again after a resume.
#[test]
fn an_interrupted_run_ends_with_the_bits_of_an_uninterrupted_run() {
    let by_epoch = uninterrupted_run(EpochStarted);
    let by_iteration = uninterrupted_run(IterationStarted);
    assert!(by_epoch.is_finite() && by_iteration.is_finite() && by_epoch != by_iteration);
    assert_eq!(interrupted_run(EpochStarted, IterationCompleted), (by_epoch, EPOCHS * BATCHES + 1));
    assert_eq!(interrupted_run(EpochStarted, IterationStarted), (by_epoch, EPOCHS * BATCHES + 1));
    assert_eq!(interrupted_run(EpochStarted, GetBatchStarted).0, by_epoch);
    assert_eq!(interrupted_run(IterationStarted, IterationCompleted), (by_iteration, EPOCHS * BATCHES + 1));
    assert_eq!(interrupted_run(IterationStarted, IterationStarted), (by_iteration, EPOCHS * BATCHES + 1));
    assert_eq!(interrupted_run(EpochStarted, EpochCompleted).0, by_epoch);
}

/// A run record without a checkpoint restores the engine only; the next run applies the value before its first step.
#[test]
fn a_restored_record_applies_the_value_before_the_first_step() {
    #[derive(Default)]
    struct Taker(Vec<RunRecord>);
    impl Handler<f32, f32> for Taker {
        fn on_event(&mut self, event: Event, _: &mut f32, state: &mut State<f32>) {
            if event == Event::IterationStarted {
                state.request_action();
            }
        }
        fn perform(&mut self, _: &mut f32, _: &mut State<f32>, record: &RunRecord<[u8]>) -> bool {
            self.0.push(copy_record(record));
            false
        }
    }
    let schedule = Exponential::new(1.0, 0.5).unwrap();
    let attached = || schedule.attach(EpochStarted, |rate: &mut f32, value| *rate = value);
    let run = |record: Option<&RunRecord>| {
        let mut handlers = (attached(), Taker::default());
        let mut engine = Engine::new(3);
        if let Some(record) = record {
            engine.restore::<f32, _>(record, &mut handlers).unwrap();
        }
        let (mut rates, mut rate) = (Vec::new(), f32::NAN);
        engine
            .run(&mut rate, 0..2, &mut handlers, |rate, _, _| {
                rates.push(*rate);
                *rate
            })
            .unwrap();
        (rates, handlers.1.0)
    };
    let (rates, records) = run(None);
    assert_eq!(rates, [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]);
    for (iteration, record) in records.iter().enumerate() {
        assert_eq!(run(Some(record)).0, rates[iteration..], "{iteration}");
    }
}
