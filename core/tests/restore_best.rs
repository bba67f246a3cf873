//! The best checkpoint is restored at the end of the run, regardless of what ended it, and the last checkpoint keeps the last
//! weights.

use std::cell::{Cell, RefCell};
use training_monitor::checkpoint::Named;
use training_monitor::engine::Evaluator;
use training_monitor::event::{Completed, EpochCompleted};
use training_monitor::handlers::model_checkpoint::{
    CheckpointEvent, CheckpointHandler, NoScore, RestoreBest, ScoreFunction,
};
use training_monitor::store::ram::Ram;
use training_monitor::{EarlyStopping, Engine, EventFilter, Handler, ModelCheckpoint, RunError, State, StopReason, on};
use training_monitor_std::test_support::store::{FaultyStore, StoreFault, StoreOperation};

type Model = Named<'static, [f32; 1]>;
type Store<'a> = &'a mut Ram<4, 512>;
type Score = ScoreFunction<fn(&State<f32>) -> f32>;

/// The scores of the epochs 1 to 4. The weight of the model is the score of its epoch.
const SCORES: [f32; 4] = [0.25, 0.75, 0.5, 0.125];

fn model() -> Model {
    Named::new("model", [0.0])
}

fn score(state: &State<f32>) -> f32 {
    state.output.unwrap_or(f32::NAN)
}

/// A handler for the two best checkpoints of `store`, which restores the best one.
fn best<W: EventFilter>(filter: W, store: Store<'_>) -> RestoreBest<2, W, Store<'_>, Score, ()> {
    let best = ModelCheckpoint::<2>::best_by(score as fn(&State<f32>) -> f32).with_n_saved(2).unwrap();
    best.attach(filter, store).unwrap().restore_best()
}

/// A handler for the latest checkpoint of `store`.
fn latest(store: Store<'_>) -> CheckpointHandler<1, EpochCompleted, Store<'_>, NoScore> {
    ModelCheckpoint::<1>::every(1).unwrap().attach(EpochCompleted, store).unwrap()
}

fn step(model: &mut Model, state: &State<f32>) -> f32 {
    model[0] = SCORES[state.epoch() as usize - 1];
    model[0]
}

fn run<H: Handler<Model, f32>>(epochs: u32, model: &mut Model, handlers: &mut H) -> StopReason {
    Engine::new(epochs).run(model, &[()][..], handlers, |model, _, state| step(model, state)).unwrap().reason
}

#[test]
fn the_best_checkpoint_is_restored_however_the_run_ends() {
    let mut store = Ram::new();
    let mut restored = model();
    assert_eq!(run(4, &mut restored, &mut best(EpochCompleted, &mut store)), StopReason::MaxEpochs);
    assert_eq!(restored[0], 0.75);

    let mut store = Ram::new();
    let stopping = EarlyStopping::new(1).unwrap().attach(EpochCompleted, score);
    let mut restored = model();
    let reason = run(4, &mut restored, &mut (best(EpochCompleted, &mut store), stopping));
    assert_eq!((reason, restored[0]), (StopReason::EarlyStopping, 0.75));

    let mut store = Ram::new();
    let mut handlers = best(EpochCompleted, &mut store);
    let mut restored = model();
    let failed = Engine::new(4).try_run(&mut restored, &[()][..], &mut handlers, |model, _, state| {
        if state.epoch() == 4 { Err("broken sensor") } else { Ok(step(model, state)) }
    });
    assert_eq!((failed, restored[0]), (Err(RunError::Step("broken sensor")), 0.75));
}

#[test]
fn a_custom_loop_restores_once() {
    let mut store = Ram::new();
    let mut handlers = best(EpochCompleted, &mut store);
    let mut engine = Engine::new(4).with_epoch_length(1);
    let mut restored = model();
    while engine.begin_iteration(&mut restored, &mut handlers).unwrap() {
        let output = step(&mut restored, engine.state());
        engine.end_iteration(output, &mut restored, &mut handlers);
    }
    assert_eq!(restored[0], 0.75);
    // The run is over for a second time, but the user's change of the model stays.
    restored[0] = 9.0;
    assert!(!engine.begin_iteration(&mut restored, &mut handlers).unwrap());
    assert_eq!(restored[0], 9.0);
}

#[test]
fn the_last_checkpoint_contains_the_last_weights_and_a_resumed_finished_run_restores_again() {
    let (mut best_store, mut latest_store) = (Ram::new(), Ram::new());
    let mut first = model();
    run(4, &mut first, &mut (best(EpochCompleted, &mut best_store), latest(&mut latest_store)));
    assert_eq!(first[0], 0.75);
    let mut last = model();
    latest(&mut latest_store).load_best(&mut last).unwrap();
    assert_eq!(last[0], 0.125);

    let mut handlers = (best(EpochCompleted, &mut best_store), latest(&mut latest_store));
    let (mut engine, mut resumed) = (Engine::new(4), model());
    engine.resume(&mut resumed, &mut handlers).unwrap().unwrap();
    assert_eq!(resumed[0], 0.125);
    let outcome = engine.run(&mut resumed, &[()][..], &mut handlers, |_, _, _| unreachable!()).unwrap();
    assert_eq!((outcome.epoch, resumed[0]), (4, 0.75));
}

#[test]
fn an_evaluation_restores_only_at_the_end_of_the_training_run() {
    let mut store = Ram::new();
    let evaluator = Evaluator::new(Engine::<f32>::new(1), best(Completed, &mut store));
    let weights = RefCell::new(Vec::new());
    let mut handlers = (
        evaluator.run_at(EpochCompleted, |model: &mut Model, _: &mut State<f32>, engine, handlers| {
            engine.run(model, &[()][..], handlers, |model, _, _| model[0]).unwrap();
        }),
        on(EpochCompleted, |model: &mut Model, _: &mut State<f32>| weights.borrow_mut().push(model[0])),
    );
    let mut restored = model();
    run(4, &mut restored, &mut handlers);
    assert_eq!((&weights.borrow()[..], restored[0]), (&SCORES[..], 0.75));
}

#[test]
fn without_a_loadable_checkpoint_the_model_keeps_the_last_weights() {
    let mut store = Ram::<4, 512>::new();
    let no_score = ModelCheckpoint::<2>::best_by(|_: &State<f32>| f32::NAN).attach(EpochCompleted, &mut store);
    let mut handlers = no_score.unwrap().restore_best();
    let mut last = model();
    run(4, &mut last, &mut handlers);
    assert_eq!(last[0], 0.125);
    assert!(matches!(handlers.restored(), Ok(None)));
}

#[test]
fn an_unreadable_best_checkpoint_is_reported_and_the_next_best_is_restored() {
    let reads = Cell::new(0);
    let store = FaultyStore::new(Ram::<4, 512>::new(), |operation| match operation {
        // The first read after the run is that of the best checkpoint.
        StoreOperation::Open if reads.replace(reads.get() + 1) == 0 => StoreFault::Before,
        _ => StoreFault::None,
    });
    let failed = Cell::new(0);
    let mut handlers = ModelCheckpoint::<2>::best_by(score as fn(&State<f32>) -> f32)
        .with_n_saved(2)
        .unwrap()
        .attach(EpochCompleted, store)
        .unwrap()
        .observe(|event: &CheckpointEvent<'_, _>| {
            failed.set(failed.get() + u32::from(matches!(event, CheckpointEvent::LoadFailed { step: 2, .. })));
        })
        .restore_best();
    let mut restored = model();
    run(4, &mut restored, &mut handlers);
    assert_eq!((restored[0], failed.get()), (0.5, 1));
    assert!(matches!(handlers.restored(), Ok(Some(info)) if info.step == 3));
}

/// The run resumes from the checkpoints of the handler that restores the best one, without another handler.
#[test]
fn a_run_resumes_from_the_handler_that_restores() {
    let mut store = Ram::new();
    let mut interrupted = model();
    let result = Engine::new(4).try_run(
        &mut interrupted,
        &[()][..],
        &mut best(EpochCompleted, &mut store),
        |model, _, state| {
            if state.epoch() == 3 { Err(()) } else { Ok(step(model, state)) }
        },
    );
    assert_eq!(result, Err(RunError::Step(())));

    let mut handler = best(EpochCompleted, &mut store);
    let (mut engine, mut resumed) = (Engine::new(4), model());
    let found = engine.resume(&mut resumed, &mut handler).unwrap().unwrap();
    assert_eq!((found.epoch, found.skipped, resumed[0], engine.state().run()), (2, 0, 0.75, 1));
    let outcome = engine.run(&mut resumed, &[()][..], &mut handler, |model, _, state| step(model, state)).unwrap();
    assert_eq!((outcome.epoch, resumed[0]), (4, 0.75));
    // The calls continue from those of the first start.
    assert_eq!(handler.policy().calls(), 4);
}

#[test]
fn a_store_that_is_too_small_is_refused_at_the_start() {
    let policy = ModelCheckpoint::<2>::best_by(score as fn(&State<f32>) -> f32);
    let mut handler = policy.attach(EpochCompleted, Ram::<4, 16>::new()).unwrap().restore_best();
    let error = Engine::new(1).run(&mut model(), &[()][..], &mut handler, |_, _, _| 0.0).unwrap_err();
    assert!(matches!(error, RunError::Start(_)), "{error}");
}
