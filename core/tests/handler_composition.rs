//! Tests of composed handlers: references, `Option`, arrays and tuples. A composition must behave like its handlers,
//! also after a restart.

use training_monitor::checkpoint::Named;
use training_monitor::event::IterationCompleted;
use training_monitor::handlers::model_checkpoint::{CheckpointHandler, NoScore, StepSource};
use training_monitor::run_record::{HandlerKind, HandlerStates, Persist, ResumePoint, RunRecord};
use training_monitor::store::ram::Ram;
use training_monitor::{Engine, Event, Handler, ModelCheckpoint, State};

type Model = Named<'static, [f32; 2]>;
type Checkpoints = Ram<3, 512>;
type Handlers = (EventCounter, CheckpointHandler<2, IterationCompleted, Checkpoints, NoScore>);
type Composition<'a> = Box<dyn Handler<Model, u32> + 'a>;

/// A handler that counts two kinds of events. The run record (the saved state of engine and handlers) contains both
/// counts.
#[derive(Clone, Copy, Debug, PartialEq)]
struct EventCounter {
    iterations: u32,
    saves: u32,
}

impl Handler<Model, u32> for EventCounter {
    fn on_event(&mut self, event: Event, _: &mut Model, _: &mut State<u32>) {
        self.iterations += u32::from(event == Event::IterationCompleted);
        self.saves += u32::from(event == Event::SavedCheckpoint);
    }
    fn persist(&mut self, _: &mut State<u32>, states: &mut HandlerStates<'_>) {
        states.visit(self);
    }
}

impl Persist for EventCounter {
    const KIND: HandlerKind = HandlerKind::user(72);
    type State = (u32, u32);
    fn save(&mut self) -> (u32, u32) {
        // This state is part of a save that is not complete yet. The count includes this save, because a resumed run
        // does not fire SavedCheckpoint for it.
        (self.iterations, self.saves + 1)
    }
    fn restore(&mut self, (iterations, saves): (u32, u32)) {
        *self = EventCounter { iterations, saves };
    }
}

fn handlers(store: Checkpoints) -> Handlers {
    let policy = ModelCheckpoint::every(1).unwrap().with_step_source(StepSource::Iteration);
    (EventCounter { iterations: 0, saves: 0 }, policy.attach(IterationCompleted, store).unwrap())
}

/// Trains until `iterations` iterations are complete or the run ends.
fn train(engine: &mut Engine<u32>, model: &mut Model, handlers: &mut Composition<'_>, iterations: u32) {
    let mut handlers = &mut **handlers;
    while engine.state().iteration() < iterations && engine.begin_iteration(model, &mut handlers).unwrap() {
        model[0] += 0.5;
        model[1] *= -3.0;
        engine.end_iteration(0, model, &mut handlers);
    }
}

/// Trains four epochs of three iterations with the handlers that `compose` combines. After `interruption` iterations,
/// the run is interrupted and resumed. Returns the event counts, the weights, and the steps of the kept checkpoints.
fn train_with_restart(
    compose: for<'a> fn(&'a mut Handlers) -> Composition<'a>,
    interruption: u32,
) -> (EventCounter, [f32; 2], Vec<u32>) {
    let new_run = || (Engine::<u32>::new(4).with_epoch_length(3), Named::new("m", [1.0, 2.0]));
    let (mut engine, mut model) = new_run();
    let mut all = handlers(Ram::new());
    train(&mut engine, &mut model, &mut compose(&mut all), interruption);

    let (mut engine, mut model) = new_run();
    let mut all = handlers(all.1.into_store());
    let mut composition = compose(&mut all);
    let resumed = engine.resume(&mut model, &mut &mut *composition).unwrap();
    assert_eq!(resumed.map_or(0, |resumed| resumed.iteration), interruption);
    train(&mut engine, &mut model, &mut composition, u32::MAX);
    drop(composition);
    (all.0, model.object, all.1.policy().kept().iter().map(|entry| entry.step).collect())
}

#[test]
fn all_compositions_of_handlers_behave_alike() {
    let expected = train_with_restart(|all| Box::new((&mut all.0, &mut all.1)), 0);
    assert_eq!(expected.0, EventCounter { iterations: 12, saves: 12 });
    assert_eq!(expected.2, [11, 12]);
    let compositions: [for<'a> fn(&'a mut Handlers) -> Composition<'a>; 9] = [
        |all| Box::new(all),
        |all| Box::new(Some(all)),
        |all| Box::new((None::<&mut Handlers>, Some(all))),
        |all| Box::new([all]),
        |all| Box::new([None, Some(all)]),
        |all| Box::new((all,)),
        |all| Box::new(((), &mut all.0, (), &mut all.1)),
        |all| Box::new((&mut all.1, &mut all.0)),
        |all| Box::new([&mut all.0 as &mut dyn Handler<Model, u32>, &mut all.1]),
    ];
    for (index, compose) in compositions.into_iter().enumerate() {
        for interruption in [0, 1, 3, 7, 12] {
            let result = train_with_restart(compose, interruption);
            assert_eq!(result, expected, "composition {index}, interrupted after {interruption}");
        }
    }
}

#[test]
fn several_checkpoint_handlers_return_the_newest_checkpoint_of_all() {
    for first in [true, false] {
        let (mut one, mut other) = (handlers(Ram::new()), handlers(Ram::new()));
        let mut model = Named::new("m", [1.0, 2.0]);
        let mut engine = Engine::<u32>::new(1).with_epoch_length(3);
        // Both handlers save two checkpoints. Then only one handler saves a third one, so this handler has the newest
        // checkpoint.
        train(&mut engine, &mut model, &mut (Box::new([&mut one, &mut other]) as Composition<'_>), 2);
        let (mut newer, older) = if first { (one, other) } else { (other, one) };
        train(&mut engine, &mut model, &mut (Box::new(&mut newer) as Composition<'_>), 3);
        let trained = model.object;
        let (mut newer, mut older) = (handlers(newer.1.into_store()), handlers(older.1.into_store()));

        let mut array = if first { [&mut newer, &mut older] } else { [&mut older, &mut newer] };
        let point = |iteration| ResumePoint { run: 1, iteration, sequence: iteration };
        let newest = |below: Option<u32>| array.newest_checkpoint(below.map(point)).unwrap();
        assert_eq!(
            [None, Some(3), Some(2), Some(1)].map(newest).map(|newest| newest.map(|newest| newest.iteration)),
            [Some(3), Some(2), Some(1), None]
        );
        let mut model = Named::new("m", [0.0; 2]);
        // A handler loads only a checkpoint that it has verified.
        let newest = array.newest_checkpoint(None).unwrap().unwrap();
        assert_eq!(array.load_checkpoint(newest, &mut model), Ok(false));
        assert_eq!(array.verify_checkpoint(newest, &mut model, &mut RunRecord::new()), Ok(true));
        assert_eq!(array.load_checkpoint(newest, &mut model), Ok(true));
        assert_eq!(model.object, trained);
        assert_eq!(array.load_checkpoint(point(4), &mut model), Ok(false));
        assert_eq!(model.object, trained);
    }
}
