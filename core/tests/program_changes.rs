//! The next start of a device can run another program: another rule, metric, model or set of handlers. No change of the
//! program may remove a checkpoint before a new one is committed, or keep the device from making progress.

use std::cell::Cell;
use training_monitor::checkpoint::{Named, SeriesId};
use training_monitor::engine::Evaluator;
use training_monitor::event::{Completed, EpochCompleted};
use training_monitor::handlers::model_checkpoint::{CheckpointEvent, StepSource};
use training_monitor::run_record::RestoreError;
use training_monitor::store::ram::Ram;
use training_monitor::store::{CheckpointMeta, Store};
use training_monitor::{
    EarlyStopping, Engine, Event, EventFilter, Handler, ModelCheckpoint, Outcome, State, StopReason, Timer,
};
use training_monitor_std::test_support::store::{FaultyStore, StoreFault, StoreOperation};

type Model<'a> = Named<'a, [f32; 4]>;
type Place = Ram<4, 512>;

fn model() -> Model<'static> {
    Named::new("m", [0.0; 4])
}

fn list<S: Store>(store: &mut S) -> Vec<CheckpointMeta> {
    (0..).map_while(|index| store.checkpoint(index).expect("the store lists")).collect()
}

fn steps<S: Store>(store: &mut S) -> Vec<u32> {
    list(store).iter().map(|meta| meta.step).collect()
}

/// A program that saves after each epoch.
fn interval_program(place: &mut Place, epochs: u32) -> Outcome {
    let mut checkpoint = ModelCheckpoint::<3>::every(1).unwrap().attach(EpochCompleted, place).unwrap();
    let mut engine = Engine::new(epochs);
    engine.resume(&mut model(), &mut checkpoint).unwrap();
    engine.run(&mut model(), 0..2, &mut checkpoint, |_, _, _| ()).unwrap()
}

#[test]
fn another_rule_in_the_same_place_removes_nothing_before_its_own_commits() {
    let mut place = Place::new();
    interval_program(&mut place, 3);
    let saved = list(&mut place);
    assert_eq!(saved.len(), 3);

    let policy = ModelCheckpoint::<2>::best_by(|state: &State<()>| state.epoch() as f32);
    let mut checkpoint = policy.attach(EpochCompleted, &mut place).unwrap();
    let mut loaded = model();
    let mut engine = Engine::new(5);
    let resumed = engine.resume(&mut loaded, &mut checkpoint).unwrap().unwrap();
    assert_eq!(
        (resumed.epoch, resumed.changed_settings.map(|kind| kind.to_string())),
        (3, Some("ModelCheckpoint".into()))
    );
    assert_eq!(list(checkpoint.store_mut()), saved);
    assert_eq!(checkpoint.policy().kept(), []);
    assert!(checkpoint.load_step(2, &mut loaded).is_ok());

    engine.run(&mut loaded, 0..2, &mut checkpoint, |_, _, _| ()).unwrap();
    // The store has four places. The second save of the new series has evicted the oldest checkpoint of the other one.
    assert_eq!(steps(checkpoint.store_mut()), [2, 3, 4, 5]);
    assert_eq!(checkpoint.policy().kept().iter().map(|kept| kept.step).collect::<Vec<_>>(), [4, 5]);
}

#[test]
fn a_failing_first_save_of_another_rule_leaves_the_older_checkpoints() {
    let mut place = Place::new();
    interval_program(&mut place, 3);
    let saved = list(&mut place);
    let decide = |operation| if operation == StoreOperation::Commit { StoreFault::Before } else { StoreFault::None };
    let policy = ModelCheckpoint::<2>::best_by(|_: &State<()>| 1.0);
    let mut checkpoint = policy.attach(EpochCompleted, FaultyStore::new(&mut place, decide)).unwrap();
    let mut engine = Engine::new(1);
    assert!(engine.run(&mut model(), 0..2, &mut checkpoint, |_, _, _| ()).is_err());
    drop(checkpoint);
    assert_eq!(list(&mut place), saved);
}

/// A listing error at any call neither removes a checkpoint nor makes the resume choose another one.
#[test]
fn a_listing_error_is_not_the_end_of_the_list() {
    for fails_at in 0..60 {
        let mut place = Place::new();
        interval_program(&mut place, 3);
        let saved = list(&mut place);
        let calls = Cell::new(0);
        let decide = |operation| {
            let call = calls.get();
            calls.set(call + u32::from(operation == StoreOperation::List));
            if operation == StoreOperation::List && call == fails_at { StoreFault::Before } else { StoreFault::None }
        };
        let attached =
            ModelCheckpoint::<3>::every(1).unwrap().attach(EpochCompleted, FaultyStore::new(&mut place, decide));
        if let Ok(mut checkpoint) = attached {
            let mut engine = Engine::new(4);
            let resumed = engine.resume(&mut model(), &mut checkpoint);
            match resumed {
                Ok(resumed) => assert_eq!(resumed.unwrap().epoch, 3, "call {fails_at}"),
                Err(error) => assert_eq!(error, RestoreError::ListFailed, "call {fails_at}"),
            }
            if resumed.is_ok() {
                let _ = engine.run(&mut model(), 0..2, &mut checkpoint, |_, _, _| ());
            }
        }
        // A save that is repeated because its first commit was not found has another sequence number.
        let point = |meta: &CheckpointMeta| (meta.step, meta.run, meta.iteration);
        let left: Vec<_> = list(&mut place).iter().map(point).collect();
        assert!(saved[1..].iter().all(|meta| left.contains(&point(meta))), "call {fails_at}: {left:?}");
    }
}

#[test]
fn a_worse_score_never_replaces_a_better_one_of_the_same_step() {
    let scores = [0.9, 0.5, 0.7, 0.95, 0.2, 0.1];
    let mut place = Place::new();
    let policy = ModelCheckpoint::<3>::best_by(|state: &State<usize>| scores[state.output.unwrap()]);
    let policy = policy.with_step_source(StepSource::Epoch);
    let mut checkpoint = policy.attach(training_monitor::event::IterationCompleted, &mut place).unwrap();
    Engine::new(1).run(&mut model(), 0..6, &mut checkpoint, |_, batch, _| batch as usize).unwrap();
    let listed = list(checkpoint.store_mut());
    assert_eq!(listed.iter().map(|meta| (meta.step, meta.score)).collect::<Vec<_>>(), [(1, Some(0.95))]);
}

/// The epoch of an evaluator is always 1.
#[test]
fn an_evaluator_with_steps_by_epoch_keeps_its_best_checkpoint() {
    let scores = [0.3, 0.9, 0.5, 0.6, 0.2, 0.1];
    let mut place = Place::new();
    let policy = ModelCheckpoint::<3>::best_by(|state: &State<f32>| state.output.unwrap());
    let checkpoint = policy.with_step_source(StepSource::Epoch).attach(Completed, &mut place).unwrap();
    let mut evaluate = Evaluator::new(Engine::<f32>::new(1), checkpoint).run_at(
        EpochCompleted,
        |model: &mut Model<'_>, state: &mut State<()>, engine, handlers| {
            let score = scores[state.epoch() as usize - 1];
            engine.run(model, 0..1, handlers, |_, _, _| score).unwrap();
        },
    );
    Engine::new(6).run(&mut model(), 0..2, &mut evaluate, |_, _, _| ()).unwrap();
    let listed = list(evaluate.handlers.store_mut());
    assert_eq!(listed.iter().map(|meta| meta.score).collect::<Vec<_>>(), [Some(0.9)]);
}

#[test]
fn a_run_resumes_from_the_checkpoint_handler_of_its_evaluator() {
    let mut place = Place::new();
    let start = |place: &mut Place, epochs: u32| {
        let checkpoint = ModelCheckpoint::<2>::every(2).unwrap().attach(EpochCompleted, place).unwrap();
        let mut evaluate = Evaluator::new(Engine::<f32>::new(1), checkpoint).run_at(
            EpochCompleted,
            |model: &mut Model<'_>, _: &mut State<()>, engine, handlers| {
                engine.run(model, 0..3, handlers, |model, _, _| model[0]).unwrap();
            },
        );
        let mut model = model();
        let mut engine = Engine::new(epochs);
        let resumed = engine.resume(&mut model, &mut evaluate).unwrap();
        engine.run(&mut model, 0..2, &mut evaluate, |model, _, _| model[0] += 1.0).unwrap();
        (resumed.map(|resumed| (resumed.epoch, resumed.iteration)), model[0])
    };
    assert_eq!(start(&mut place, 5), (None, 10.0));
    assert_eq!(start(&mut place, 6), (Some((4, 8)), 12.0));
    assert_eq!(steps(&mut place), [4, 6]);
}

#[test]
fn the_newest_checkpoint_is_the_newest_commit_of_the_newest_run() {
    let mut place = Place::new();
    let mut checkpoint = ModelCheckpoint::<3>::every(1).unwrap().attach(EpochCompleted, &mut place).unwrap();
    let mut engine = Engine::new(3);
    engine.run(&mut model(), 0..2, &mut checkpoint, |_, _, _| ()).unwrap();
    // A finished engine starts a second run, which is interrupted in its second epoch.
    let mut trained = model();
    let stop = engine.try_run(&mut trained, 0..2, &mut checkpoint, |model, _, state| {
        model[0] += 1.0;
        if state.epoch() == 2 { Err("power") } else { Ok(()) }
    });
    assert!(stop.is_err());
    drop(checkpoint);

    let mut checkpoint = ModelCheckpoint::<3>::every(1).unwrap().attach(EpochCompleted, &mut place).unwrap();
    let mut loaded = model();
    let mut engine = Engine::<()>::new(3);
    let resumed = engine.resume(&mut loaded, &mut checkpoint).unwrap().unwrap();
    assert_eq!((resumed.epoch, resumed.iteration, engine.state().run(), loaded[0]), (1, 2, 2, 2.0));
}

/// A program with one more handler cannot resume. It keeps the weights only, and its own checkpoints are used next.
#[test]
fn a_program_with_one_more_handler_makes_progress() {
    let mut place = Place::new();
    interval_program(&mut place, 3);
    let mut epochs = Vec::new();
    for _ in 0..12 {
        let mut handlers = (
            EarlyStopping::new(50).unwrap().attach(EpochCompleted, |_: &State<()>| 0.0),
            ModelCheckpoint::<3>::every(1).unwrap().attach(EpochCompleted, &mut place).unwrap(),
        );
        let mut model = model();
        let mut engine = Engine::new(4);
        match engine.resume(&mut model, &mut handlers) {
            Ok(resumed) => epochs.push(resumed.unwrap().epoch),
            Err(RestoreError::Missing { .. }) => {
                assert!(handlers.1.load_best(&mut model).unwrap().is_some());
                epochs.push(0);
            }
            Err(error) => panic!("{error}"),
        }
        // Power fails after the first commit of this start.
        let first = engine.state().epoch() + 1;
        let result =
            engine.try_run(
                &mut model,
                0..2,
                &mut handlers,
                |_, _, state| {
                    if state.epoch() > first { Err("power") } else { Ok(()) }
                },
            );
        if result.is_ok() {
            break;
        }
    }
    assert_eq!(epochs, [0, 1, 2, 3]);
}

#[test]
fn the_scores_of_another_model_or_metric_do_not_rank() {
    fn start<const L: usize>(
        place: &mut Place,
        metric: &'static str,
        score: f32,
        epochs: u32,
    ) -> (Vec<Option<f32>>, bool) {
        let policy = ModelCheckpoint::<2>::best_by(move |state: &State<()>| score + state.epoch() as f32 / 8.0);
        let policy = policy.with_score_name(metric).unwrap();
        let mut checkpoint = policy.attach(EpochCompleted, place).unwrap();
        let mut model = Named::new("m", [0.0_f32; L]);
        let mut engine = Engine::new(epochs);
        let fits = !matches!(engine.resume(&mut model, &mut checkpoint), Err(RestoreError::NoneLoadable { .. }));
        engine.run(&mut model, 0..2, &mut checkpoint, |_, _, _| ()).unwrap();
        (checkpoint.policy().kept().iter().map(|kept| kept.score()).collect(), fits)
    }
    let mut place = Place::new();
    assert_eq!(start::<4>(&mut place, "accuracy", 2.0, 4), (vec![Some(2.375), Some(2.5)], true));
    // Another model: the old scores are higher, but belong to another series.
    assert_eq!(start::<5>(&mut place, "accuracy", 0.0, 4), (vec![Some(0.375), Some(0.5)], false));
    // Another metric of the same model.
    let series: Vec<SeriesId> = list(&mut place).iter().map(|meta| meta.series).collect();
    assert!(series.iter().all(|id| id.rule == series[0].rule) && series[0].model != series[2].model);
    let (kept, _) = start::<5>(&mut place, "loss", -2.0, 6);
    assert!(!kept.is_empty() && kept.iter().all(|score| score.unwrap() < -1.0), "{kept:?}");
}

/// Counts the events of a run.
#[derive(Default)]
struct Events(u32);

impl<T: ?Sized, O> Handler<T, O> for Events {
    fn on_event(&mut self, _: Event, _: &mut T, _: &mut State<O>) {
        self.0 += 1;
    }
}

#[test]
fn a_finished_run_stays_finished() {
    for stops in [false, true] {
        let mut place = Place::new();
        let start = |place: &mut Place, epochs: u32| {
            let patience = if stops { 2 } else { 100 };
            let mut handlers = (
                EarlyStopping::new(patience).unwrap().attach(EpochCompleted, |_: &State<()>| 0.0),
                ModelCheckpoint::<2>::every(1).unwrap().attach(EpochCompleted.or(Completed), place).unwrap(),
                Events::default(),
            );
            let (mut model, mut engine) = (model(), Engine::new(epochs));
            engine.resume(&mut model, &mut handlers).unwrap();
            let outcome = engine.run(&mut model, 0..4, &mut handlers, |model, _, _| model[0] += 1.0).unwrap();
            (outcome, model[0], handlers.2.0)
        };
        let first = start(&mut place, 5);
        let reason = if stops { StopReason::EarlyStopping } else { StopReason::MaxEpochs };
        assert_eq!((first.0.reason, first.0.epoch), (reason, if stops { 3 } else { 5 }));
        let saved = list(&mut place);
        for _ in 0..3 {
            assert_eq!(start(&mut place, 5), (first.0, first.1, 0));
            assert_eq!(list(&mut place), saved);
        }
        let extended = start(&mut place, 7);
        let (epoch, weight) = if stops { (3, 12.0) } else { (7, 28.0) };
        assert_eq!((extended.0.epoch, extended.1), (epoch, weight));
    }
}

#[test]
fn a_custom_loop_stays_finished_until_it_restarts() {
    let mut place = Place::new();
    for _ in 0..3 {
        let mut handlers =
            (ModelCheckpoint::<2>::every(1).unwrap().attach(Completed, &mut place).unwrap(), Events::default());
        let (mut model, mut engine) = (model(), Engine::new(2).with_epoch_length(3));
        let finished = engine.resume(&mut model, &mut handlers).unwrap().is_some();
        let mut iterations = 0;
        while engine.begin_iteration(&mut model, &mut handlers).unwrap() {
            iterations += 1;
            engine.end_iteration((), &mut model, &mut handlers);
        }
        assert_eq!((iterations, handlers.1.0 == 0), if finished { (0, true) } else { (6, false) });
        assert_eq!(engine.outcome().map(|outcome| outcome.iteration), Some(6));
    }
}

#[test]
fn the_timer_of_an_extended_run_continues() {
    let ticks = Cell::new(0);
    let mut place = Place::new();
    let start = |place: &mut Place, epochs: u32| {
        let clock = || {
            ticks.set(ticks.get() + 10);
            ticks.get()
        };
        let mut handlers =
            (Timer::new(0).attach(clock), ModelCheckpoint::<2>::every(1).unwrap().attach(Completed, place).unwrap());
        let mut engine = Engine::new(epochs);
        engine.resume(&mut model(), &mut handlers).unwrap();
        engine.run(&mut model(), 0..2, &mut handlers, |_, _, _| ticks.set(ticks.get() + 1000)).unwrap();
        handlers.0.timer.total()
    };
    assert_eq!(start(&mut place, 1), 2010);
    // The clock advances by 10 at each reading. The check before the start of the run reads the clock once.
    assert_eq!(start(&mut place, 2), 4030);
}

/// The newest checkpoint is damaged. The resume uses an older one and reports it.
#[test]
fn a_checkpoint_that_does_not_load_is_counted() {
    let mut place = Place::new();
    interval_program(&mut place, 3);
    let newest = list(&mut place)[2].sequence;
    let opened = Cell::new(0);
    let decide = |operation| {
        opened.set(opened.get() + u32::from(operation == StoreOperation::Open));
        let is_newest = operation == StoreOperation::Read && opened.get() == 1;
        if is_newest { StoreFault::Before } else { StoreFault::None }
    };
    let mut failed = Vec::new();
    let policy = ModelCheckpoint::<3>::every(1).unwrap();
    let mut checkpoint = policy.attach(EpochCompleted, FaultyStore::new(&mut place, decide)).unwrap().observe(
        |event: &CheckpointEvent<'_, _>| {
            if let CheckpointEvent::LoadFailed { step, .. } = event {
                failed.push(*step);
            }
        },
    );
    let resumed = Engine::<()>::new(4).resume(&mut model(), &mut checkpoint).unwrap().unwrap();
    assert_eq!((resumed.epoch, resumed.skipped), (2, 1));
    drop(checkpoint);
    assert_eq!((failed, newest), (vec![3], 3));
}

/// A program starts over: it erases its series, and the other series stay.
#[test]
fn an_erased_series_leaves_the_other_series() {
    let mut place = Place::new();
    interval_program(&mut place, 2);
    let policy = ModelCheckpoint::<2>::every(1).unwrap().with_series_name("other").unwrap();
    let mut checkpoint = policy.attach(EpochCompleted, &mut place).unwrap();
    Engine::new(1).run(&mut model(), 0..1, &mut checkpoint, |_, _, _| ()).unwrap();
    assert_eq!(steps(checkpoint.store_mut()), [1, 2, 3]);
    checkpoint.erase_series(&mut model()).unwrap();
    assert_eq!((steps(checkpoint.store_mut()), checkpoint.policy().kept().len()), (vec![1, 2], 0));
    checkpoint.erase_all().unwrap();
    assert!(steps(checkpoint.store_mut()).is_empty());
}
