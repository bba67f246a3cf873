//! Tests of the handler states in a checkpoint. The engine dispatches an event to all handlers before it saves. The
//! saved states therefore do not depend on the order of the handlers.

use training_monitor::checkpoint::Named;
use training_monitor::engine::Evaluator;
use training_monitor::event::{Completed, EpochCompleted, EpochStarted, IterationCompleted, IterationStarted};
use training_monitor::run_record::{HandlerKind, RunRecord};
use training_monitor::store::ram::Ram;
use training_monitor::{EarlyStopping, Engine, Handler, ModelCheckpoint, State, StopReason, TerminateOnNan, Timer};

type Model = Named<'static, [f32; 2]>;

const SCORES: [f32; 5] = [3.0, 2.0, 4.0, 1.0, 1.0];

fn checkpoint() -> impl Handler<Model, f32> {
    let policy = ModelCheckpoint::<1>::every(1).expect("not 0");
    policy.attach(IterationCompleted, Ram::<2, 512>::new()).expect("RAM does not fail")
}

fn stopping() -> impl Handler<Model, f32> {
    EarlyStopping::new(10).expect("a patience").attach(IterationCompleted, |state| state.output.unwrap_or(0.0))
}

fn timer() -> impl Handler<Model, f32> {
    let mut ticks = 0;
    let clock = move || {
        ticks += 1;
        ticks
    };
    Timer::new(0)
        .attach(clock)
        .start(EpochStarted)
        .pause(IterationCompleted)
        .resume(IterationStarted)
        .step(IterationCompleted)
}

fn guard() -> impl Handler<Model, f32> {
    let guard = TerminateOnNan::new().with_schedule(3).expect("not 0");
    guard.attach(IterationCompleted, |model: &Model, _| &model.object)
}

/// The kind number, the tag and the state of each handler in a run record, sorted by kind.
type States = Vec<(u8, u16, Vec<u8>)>;

fn states(record: &RunRecord) -> States {
    let mut states: States = record.handlers().map(|(kind, tag, state)| (kind.code(), tag, state.to_vec())).collect();
    states.sort();
    states
}

/// Runs five iterations with `handlers`. Returns the handler states in the newest checkpoint, and checks that they
/// equal the current states of the handlers.
fn states_in_checkpoint(mut handlers: impl Handler<Model, f32>) -> States {
    let mut model = Named::new("model", [0.0; 2]);
    let mut engine = Engine::new(1).with_epoch_length(10);
    // The last of these iterations saves a checkpoint. The newest checkpoint therefore describes the end of the run.
    for score in SCORES {
        assert_eq!(engine.begin_iteration(&mut model, &mut handlers), Ok(true));
        model[0] += 1.0;
        engine.end_iteration(score, &mut model, &mut handlers);
    }
    let current = engine.record(&mut handlers).expect("the record is large enough");
    let mut saved = RunRecord::new();
    let point = handlers.newest_checkpoint(None).unwrap().expect("a checkpoint");
    assert_eq!(point.iteration, 5);
    assert_eq!(handlers.verify_checkpoint(point, &mut model, &mut saved), Ok(true), "a checkpoint of iteration 5");
    assert_eq!(saved.engine, current.engine);
    // The comparison of saved and current states leaves out the checkpoint handler. Its saved state differs, because it
    // was written while the save was pending.
    let others = |record| {
        states(record).into_iter().filter(|(id, ..)| *id != HandlerKind::MODEL_CHECKPOINT.code()).collect::<States>()
    };
    assert_eq!(others(&saved), others(&current));
    states(&saved)
}

#[test]
fn a_checkpoint_contains_the_state_of_handlers_after_it() {
    let first = states_in_checkpoint((checkpoint(), stopping(), guard(), timer()));
    assert_eq!(first, states_in_checkpoint((timer(), stopping(), guard(), checkpoint())));
    assert_eq!(first, states_in_checkpoint((guard(), (checkpoint(), Some(timer())), [stopping()])));
    let kinds: Vec<u8> = first.iter().map(|(kind, ..)| *kind).collect();
    let (stopping, timer) = (HandlerKind::EARLY_STOPPING, HandlerKind::TIMER);
    let (checkpoint, guard) = (HandlerKind::MODEL_CHECKPOINT, HandlerKind::TERMINATE_ON_NAN);
    assert_eq!(kinds, [stopping, timer, checkpoint, guard].map(HandlerKind::code));
    // The last two scores are no improvement, so the counter is 2. If the engine saved before it dispatched the event
    // to early stopping, the counter would be 1.
    assert_eq!(first[0].2[0], 2);
}

/// The run record of the trainer contains the state of the evaluator's early stopping. A resumed trainer therefore
/// stops in the same epoch as an uninterrupted one.
#[test]
fn early_stopping_of_an_evaluator_is_restored() {
    let losses = [0.9_f32, 0.5, 0.6, 0.7, 0.8, 0.1];
    let evaluator = || {
        let stopping = EarlyStopping::new(3).expect("a patience");
        let stopping = stopping.attach(Completed, |state| -state.output.unwrap_or(f32::INFINITY));
        let evaluator = Evaluator::new(Engine::<f32>::new(1), stopping);
        evaluator.run_at(EpochCompleted, |(): &mut (), trainer: &mut State<f32>, engine, handlers| {
            let loss = losses[trainer.epoch() as usize - 1];
            let outcome = engine.run(&mut (), 0..1, handlers, |(), _, _| loss).expect("there is data");
            trainer.terminate_if_stopped(&outcome);
        })
    };
    for epochs in 1..=4 {
        let mut original = evaluator();
        let mut engine = Engine::new(epochs);
        engine.run(&mut (), 0..2, &mut original, |(), _, _| 0.0).expect("there is data");
        let record = engine.record::<(), _>(&mut original).expect("the record is large enough");

        let mut resumed = evaluator();
        let mut engine = Engine::new(6);
        engine.restore::<(), _>(&record, &mut resumed).expect("a record of this program");
        assert_eq!(resumed.handlers.early_stopping.best_score(), original.handlers.early_stopping.best_score());
        let outcome = engine.run(&mut (), 0..2, &mut resumed, |(), _, _| 0.0).expect("there is data");
        assert_eq!((outcome.reason, outcome.epoch), (StopReason::EarlyStopping, 5), "resumed after epoch {epochs}");
    }
}
