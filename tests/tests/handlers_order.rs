//! All handlers decide before any checkpoint is written: what a checkpoint holds of the run does not depend on the order
//! of the tuple, and an evaluator's handlers are part of it.

use training_monitor::checkpoint::One;
use training_monitor::event::{Completed, EpochCompleted, EpochStarted, IterationCompleted, IterationStarted};
use training_monitor::record::{Record, kind};
use training_monitor::store::ram::Ram;
use training_monitor::{EarlyStopping, Engine, Handler, ModelCheckpoint, State, StopReason, TerminateOnNan, Timer, on};

type Model = One<'static, [f32; 2]>;

const SCORES: [f32; 5] = [3.0, 2.0, 4.0, 1.0, 1.0];

fn checkpoint() -> impl Handler<Model, f32> {
    let machine = ModelCheckpoint::<1>::builder().save_interval(1).build().expect("settings");
    machine.attach(IterationCompleted, Ram::<2, 512>::new()).expect("RAM")
}

fn stopping() -> impl Handler<Model, f32> {
    let score = |state: &State<f32>| state.output.unwrap_or(0.0);
    EarlyStopping::new(10).expect("a patience").attach(IterationCompleted, score)
}

fn timer() -> impl Handler<Model, f32> {
    let mut ticks = 0;
    let clock = move || {
        ticks += 1;
        ticks
    };
    Timer::new(0).attach(clock, EpochStarted, IterationCompleted, IterationStarted, IterationCompleted)
}

fn guard() -> impl Handler<Model, f32> {
    let weights = |model: &Model, _: &State<f32>| model.1;
    TerminateOnNan::new().with_cadence(3.try_into().expect("not 0")).attach(IterationCompleted, weights)
}

/// The states of a run's handlers, by kind.
type States = Vec<(u8, Vec<u8>)>;

fn states(record: &Record) -> States {
    let mut states: States = record.handlers().map(|(kind, state)| (kind, state.to_vec())).collect();
    states.sort();
    states
}

/// What the newest checkpoint of a run with `handlers` has of each of them; held against the handlers themselves.
fn saved_by(mut handlers: impl Handler<Model, f32>) -> States {
    let mut model = One("model", [0.0; 2]);
    let mut engine = Engine::new(1).with_epoch_length(10);
    // Left in the middle of the epoch, after an iteration that was saved: nothing has happened since.
    for score in SCORES {
        assert!(engine.begin_iteration(&mut model, &mut handlers));
        model.1[0] += 1.0;
        engine.end_iteration(score, &mut model, &mut handlers);
    }
    let now = engine.record(&mut handlers).expect("it fits");
    let mut saved = Record::new();
    assert!(handlers.verify(5, &mut model, &mut saved), "a checkpoint of iteration 5");
    assert_eq!(saved.engine, now.engine);
    // But for the checkpoint handler, which has something pending only until it is written.
    let others =
        |record| states(record).into_iter().filter(|(of, _)| *of != kind::MODEL_CHECKPOINT).collect::<States>();
    assert_eq!(others(&saved), others(&now));
    states(&saved)
}

#[test]
fn a_checkpoint_holds_the_state_of_handlers_behind_it() {
    let first = saved_by((checkpoint(), stopping(), guard(), timer()));
    assert_eq!(first, saved_by((timer(), stopping(), guard(), checkpoint())));
    assert_eq!(first, saved_by((guard(), (checkpoint(), Some(timer())), [stopping()])));
    // Two scores in a row were no improvement when iteration 5 was saved; a checkpoint that was written before early
    // stopping saw the event would say one.
    let kinds: Vec<u8> = first.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [kind::EARLY_STOPPING, kind::TIMER, kind::MODEL_CHECKPOINT, kind::TERMINATE_ON_NAN]);
    assert_eq!(first[0].1[0], 2);
}

/// Early stopping on an evaluator: its counter is in the trainer's record, and a trainer that goes on is stopped where
/// it would have been.
#[test]
fn an_evaluators_early_stopping_survives_a_cut() {
    let losses = [0.9_f32, 0.5, 0.6, 0.7, 0.8, 0.1];
    let evaluator = || {
        let stopping = EarlyStopping::new(3)
            .expect("a patience")
            .attach(Completed, |state: &State<f32>| -state.output.unwrap_or(f32::INFINITY));
        on(EpochCompleted, |_: &mut (), trainer: &mut State<f32>, evaluator: &mut Engine<f32>, handlers: &mut _| {
            let loss = losses[trainer.epoch() as usize - 1];
            let outcome = evaluator.run(&mut (), 0..1, handlers, |(), _, _| loss).expect("there is data");
            trainer.follow(&outcome);
        })
        .with(Engine::new(1), stopping)
    };
    for cut_after in 1..=4 {
        let mut before = evaluator();
        let mut engine = Engine::new(cut_after);
        engine.run(&mut (), 0..2, &mut before, |(), _, _| 0.0).expect("there is data");
        let record = engine.record::<(), _>(&mut before).expect("it fits");

        let mut after = evaluator();
        let mut engine = Engine::new(6);
        engine.restore::<(), _>(&record, &mut after).expect("its own record");
        assert_eq!(after.handlers.early_stopping.best_score(), before.handlers.early_stopping.best_score());
        let outcome = engine.run(&mut (), 0..2, &mut after, |(), _, _| 0.0).expect("there is data");
        assert_eq!((outcome.reason, outcome.epoch), (StopReason::EarlyStopping, 5), "cut after epoch {cut_after}");
    }
}
