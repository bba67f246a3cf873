//! Tests of a resumed run whose program has another epoch length, of the numbers of runs, of the series in a store, and
//! of the limits that are checked before a run starts.

use std::cell::RefCell;
use training_monitor::checkpoint::{DecodeError, EncodeError, Named, Objects};
use training_monitor::embedded_io::{ErrorKind, Read};
use training_monitor::event::{EpochCompleted, IterationCompleted};
use training_monitor::handlers::model_checkpoint::{CheckpointEvent, CheckpointHandler, NoScore, SaveDecision};
use training_monitor::run_record::RestoreError;
use training_monitor::store::ram::{Ram, RamError};
use training_monitor::store::{CheckpointMeta, Store};
use training_monitor::{Engine, Event, Handler, ModelCheckpoint, Outcome, RunError, State, StopReason};

type Model = Named<'static, [f32; 4]>;
type Place = Ram<5, 512>;

fn model() -> Model {
    Named::new("m", [0.0; 4])
}

fn list<S: Store>(store: &mut S) -> Vec<CheckpointMeta> {
    (0..).map_while(|index| store.checkpoint(index).expect("the store lists")).collect()
}

fn attach<S: Store, const N: usize>(store: S) -> CheckpointHandler<N, IterationCompleted, S, NoScore> {
    ModelCheckpoint::every(1).unwrap().attach(IterationCompleted, store).expect("the store lists")
}

/// Collects the epoch, the iteration and the batch of each step.
type Steps = Vec<(u32, u32, u32)>;

/// Runs two epochs of `data` with the setting `epoch_length`. If `power_off` is given, the run ends in that iteration.
/// Returns the steps, and the changed epoch length after the resume.
fn start(place: &mut Place, epoch_length: u32, data: u32, power_off: Option<u32>) -> (Steps, Option<Option<u32>>) {
    let mut checkpoint = attach::<_, 2>(place);
    let mut engine = Engine::new(2).with_epoch_length(epoch_length);
    let mut model = model();
    let resumed = engine.resume(&mut model, &mut checkpoint).unwrap().map(|resumed| resumed.changed_epoch_length);
    let mut steps = Steps::new();
    let result = engine.try_run(&mut model, 0..data, &mut checkpoint, |_, batch, state| {
        if power_off == Some(state.iteration()) {
            return Err("power");
        }
        steps.push((state.epoch(), state.iteration(), batch));
        Ok(())
    });
    assert_eq!(result.is_err(), power_off.is_some());
    (steps, resumed)
}

/// A run with an epoch of 4 iterations, interrupted in iteration 4.
fn interrupted(epoch_length: u32) -> Place {
    let mut place = Place::new();
    let (steps, resumed) = start(&mut place, epoch_length, 4, Some(4));
    assert_eq!((steps, resumed), (vec![(1, 1, 0), (1, 2, 1), (1, 3, 2)], None));
    place
}

#[test]
fn a_resumed_run_without_a_change_reports_none() {
    let (steps, resumed) = start(&mut interrupted(4), 4, 4, None);
    assert_eq!(steps, [(1, 4, 3), (2, 5, 0), (2, 6, 1), (2, 7, 2), (2, 8, 3)]);
    assert_eq!(resumed, Some(None));
    // Without a setting, the data has the recorded length.
    let (same, resumed) = start(&mut interrupted(0), 0, 4, None);
    assert_eq!((same, resumed), (steps, Some(None)));
}

#[test]
fn the_setting_of_the_program_wins_over_the_record() {
    let (steps, resumed) = start(&mut interrupted(4), 5, 4, None);
    let expected = [(1, 4, 3), (1, 5, 0), (2, 6, 1), (2, 7, 2), (2, 8, 3), (2, 9, 0), (2, 10, 1)];
    assert_eq!((&steps[..], resumed), (&expected[..], Some(Some(4))));
    // The epoch already has more iterations than the new setting, so it ends at once.
    let (steps, resumed) = start(&mut interrupted(4), 2, 4, None);
    assert_eq!((steps, resumed), (vec![(2, 4, 3), (2, 5, 0)], Some(Some(4))));
}

/// As in Ignite, the length of the data matters only for the first run.
#[test]
fn without_a_setting_the_number_in_the_record_applies() {
    for data in [3, 6] {
        let (steps, resumed) = start(&mut interrupted(0), 0, data, None);
        let epochs: Vec<_> = steps.iter().map(|(epoch, iteration, _)| (*epoch, *iteration)).collect();
        assert_eq!((epochs, resumed), (vec![(1, 4), (2, 5), (2, 6), (2, 7), (2, 8)], Some(None)), "{data}");
    }
}

/// After a finished run of six epochs, a second run in the same program is interrupted in its first epoch. Its
/// checkpoint has a lower iteration, but is newer.
#[test]
fn the_checkpoint_of_the_newest_run_is_resumed() {
    let mut place = Place::new();
    let mut engine = Engine::<u32>::new(6).with_epoch_length(2);
    let (mut trained, mut checkpoint) = (model(), attach::<_, 3>(&mut place));
    engine.run(&mut trained, 0..2, &mut checkpoint, |_, batch, _| batch).unwrap();
    assert_eq!(engine.state().run(), 1);
    engine.restart();
    assert_eq!(engine.begin_iteration(&mut trained, &mut checkpoint), Ok(true));
    trained[0] = 7.0;
    assert!(engine.end_iteration(0, &mut trained, &mut checkpoint));
    let runs: Vec<_> = list(checkpoint.store_mut()).iter().map(|meta| (meta.run, meta.iteration, meta.step)).collect();
    assert_eq!(runs, [(1, 11, 11), (1, 12, 12), (2, 1, 13)]);

    for _ in 0..2 {
        let (mut loaded, mut checkpoint) = (model(), attach::<_, 3>(&mut place));
        let mut engine = Engine::<u32>::new(6).with_epoch_length(2);
        let resumed = engine.resume(&mut loaded, &mut checkpoint).unwrap().unwrap();
        assert_eq!((resumed.epoch, resumed.iteration, resumed.skipped, loaded[0]), (1, 1, 0, 7.0));
        assert_eq!((engine.state().run(), engine.engine_state().run), (2, 2));
        assert_eq!(list(checkpoint.store_mut()).len(), 3);
    }
    // A program that does not resume starts a third run.
    let (mut trained, mut checkpoint) = (model(), attach::<_, 3>(&mut place));
    let mut engine = Engine::<u32>::new(1);
    engine.run(&mut trained, 0..1, &mut checkpoint, |_, batch, _| batch).unwrap();
    let newest = *list(checkpoint.store_mut()).last().unwrap();
    assert_eq!((engine.state().run(), newest.run, newest.iteration, newest.step), (3, 3, 1, 14));
}

/// Two handlers with the same rule and different names keep their checkpoints apart in one store.
#[test]
fn a_name_makes_another_series() {
    let mut place = Place::new();
    for (round, name) in ["", "nightly", "", "nightly"].into_iter().enumerate() {
        let policy = ModelCheckpoint::<2>::every(1).unwrap().with_series_name(name).unwrap();
        let mut handler = policy.attach(EpochCompleted, &mut place).unwrap();
        for _ in 0..2 {
            let step = list(handler.store_mut()).last().map_or(0, |meta| meta.step) + 1;
            let mut model = Named::new("m", [step as f32; 4]);
            handler.save(SaveDecision { step, score: None }, step, None, &mut model).unwrap();
        }
        let first = 2 * round as u32 + 1;
        assert_eq!(handler.policy().kept().iter().map(|kept| kept.step).collect::<Vec<_>>(), [first, first + 1]);
        let mut loaded = model();
        assert_eq!(handler.load_best(&mut loaded).unwrap().map(|info| info.step), Some(first + 1));
    }
    // Both series have their latest two checkpoints.
    assert_eq!(list(&mut place).iter().map(|meta| meta.step).collect::<Vec<_>>(), [5, 6, 7, 8]);
}

/// The own series has no checkpoint, or only damaged ones. `load_best` then loads the newest one of another series that
/// fits the model.
#[test]
fn load_best_falls_back_to_another_series() {
    let mut place = Place::new();
    let mut handler = ModelCheckpoint::<2>::every(1).unwrap().attach(EpochCompleted, &mut place).unwrap();
    let decision = |step| SaveDecision { step, score: None };
    handler.save(decision(1), 1, None, &mut Named::new("m", [1.0_f32; 4])).unwrap();
    handler.save(decision(2), 2, None, &mut Named::new("m", [2.0_f32; 4])).unwrap();
    handler.save(decision(3), 3, None, &mut Named::new("m", [3.0_f32; 5])).unwrap();
    let saved = list(handler.store_mut());
    drop(handler);

    let events = RefCell::new(Vec::new());
    let policy = ModelCheckpoint::<2>::best_by(|_: &State<f32>| 0.0);
    let mut handler = policy.attach(EpochCompleted, &mut place).unwrap().observe(|event: &CheckpointEvent<'_, _>| {
        if let CheckpointEvent::LoadFailed { step, error } = event {
            events.borrow_mut().push((*step, matches!(error, DecodeError::Shape { .. })));
        }
    });
    let mut loaded = model();
    assert_eq!(handler.load_best(&mut loaded).unwrap().map(|info| info.step), Some(2));
    assert_eq!((loaded.object, handler.policy().best()), ([2.0; 4], None));
    assert_eq!(events.take(), [(3, true)]);
    assert_eq!(list(handler.store_mut()), saved, "loading removes nothing");
    // No checkpoint fits this model.
    let mut other = Named::new("m", [0.0_f32; 6]);
    assert!(matches!(handler.load_best(&mut other), Err(DecodeError::Shape { expected: 6, .. })));
    assert_eq!(events.take(), [(3, true), (2, true), (1, true)]);
    // A step number that another series has can be loaded, too.
    assert_eq!(handler.load_step(1, &mut loaded).map(|info| (info.step, info.iteration)), Ok((1, 1)));
    // With an own checkpoint, the others are not used.
    handler.save(SaveDecision { step: 4, score: Some(-5.0) }, 4, None, &mut Named::new("m", [4.0_f32; 4])).unwrap();
    assert_eq!(handler.load_best(&mut loaded).unwrap().map(|info| info.step), Some(4));
    assert_eq!(handler.policy().best().map(|best| best.step), Some(4));
}

/// A checkpoint that was saved without an engine has no run record. The reason for skipping it is not a damage.
#[test]
fn a_checkpoint_without_a_run_record_is_reported() {
    let mut place = Place::new();
    attach::<_, 2>(&mut place).save(SaveDecision { step: 7, score: None }, 7, None, &mut model()).unwrap();
    let events = RefCell::new(Vec::new());
    let mut handler = attach::<_, 2>(&mut place)
        .observe(|event: &CheckpointEvent<'_, RamError>| events.borrow_mut().push(event.to_string()));
    let result = Engine::<u32>::new(1).resume(&mut model(), &mut handler);
    assert_eq!(result, Err(RestoreError::NoneLoadable { skipped: 1 }));
    assert_eq!(events.take(), ["the run cannot resume from step 7, which contains no run record"]);
    // Its weights can be loaded.
    assert_eq!(handler.load_best(&mut model()).unwrap().map(|info| info.step), Some(7));
}

#[test]
fn an_empty_store_has_nothing_to_load() {
    let mut handler = attach::<_, 2>(Place::new());
    assert_eq!(handler.load_best(&mut model()), Ok(None));
}

#[test]
fn a_step_that_the_store_does_not_have_is_not_found() {
    let mut handler = attach::<_, 2>(Place::new());
    assert_eq!(handler.load_step(1, &mut model()), Err(DecodeError::Io(RamError::NotFound)));
}

#[test]
fn a_worse_checkpoint_of_the_same_step_is_refused() {
    let policy = ModelCheckpoint::<2>::by_score();
    let mut handler = policy.attach(EpochCompleted, Place::new()).unwrap();
    let mut save = |step, score, value: f32| {
        let decision = SaveDecision { step, score: Some(score) };
        handler.save(decision, step, None, &mut Named::new("m", [value; 4]))
    };
    assert_eq!(
        (save(1, 0.5, 1.0), save(1, 0.25, 2.0), save(1, 0.75, 3.0)),
        (Ok(()), Err(EncodeError::BetterExists), Ok(()))
    );
    let mut loaded = model();
    assert_eq!(handler.load_best(&mut loaded).unwrap().and_then(|info| info.score), Some(0.75));
    assert_eq!((loaded.object, list(handler.store_mut()).len()), ([3.0; 4], 1));
}

/// Counts the events of a run.
struct Events(u32);
impl<T: ?Sized> Handler<T, u32> for Events {
    fn on_event(&mut self, _: Event, _: &mut T, _: &mut State<u32>) {
        self.0 += 1;
    }
}

/// Checks that neither `run` nor a custom loop starts, and that both return `expected` before the first event.
fn assert_no_start<const SLOTS: usize, const SIZE: usize>(
    mut model: impl Objects,
    check: fn(&EncodeError<ErrorKind>) -> bool,
) {
    let attach = || ModelCheckpoint::<2>::every(1000).unwrap().attach(IterationCompleted, Ram::<SLOTS, SIZE>::new());
    let mut handlers = (Events(0), attach().unwrap());
    let mut engine = Engine::new(1);
    let result = engine.run(&mut model, 0..3, &mut handlers, |_, batch, _| batch);
    assert!(matches!(&result, Err(RunError::Start(error)) if check(error)), "{result:?}");
    assert_eq!((handlers.0.0, engine.outcome(), engine.state().run()), (0, None, 0));
    let result = engine.begin_iteration(&mut model, &mut handlers);
    assert!(matches!(&result, Err(RunError::Start(error)) if check(error)), "{result:?}");
    assert_eq!((handlers.0.0, handlers.1.last_error().is_some()), (0, true));
    // Without the handler, the run starts.
    let outcome = engine.run(&mut model, 0..3, &mut handlers.0, |_, batch, _| batch);
    assert_eq!(outcome, Ok(Outcome { reason: StopReason::MaxEpochs, epoch: 1, iteration: 3 }));
}

#[test]
fn a_limit_that_no_save_can_meet_is_an_error_before_the_first_event() {
    assert_no_start::<3, 64>(model(), |error| matches!(error, EncodeError::Io(ErrorKind::OutOfMemory)));
    assert_no_start::<2, 512>(model(), |error| matches!(error, EncodeError::TooFewPlaces { n_saved: 2, places: 2 }));
    assert_no_start::<3, 512>(
        Named::new("a/b", [0.0_f32]),
        |error| matches!(error, EncodeError::Name { name } if name.as_str() == "a/b"),
    );
}

/// The lengths of the checkpoint after 1 and after 300 iterations.
const SHORT: usize = 92;
const LONG: usize = 100;

/// A checkpoint that is saved late in the run is longer than one at the start, because its numbers take more bytes. The
/// check uses the greatest lengths, so a run does not fail at a later save.
#[test]
fn the_check_uses_the_greatest_lengths() {
    let length_after = |iterations: u32| {
        let mut handler = attach::<_, 1>(Ram::<2, 512>::new());
        Engine::new(1).run(&mut model(), 0..iterations, &mut handler, |_, batch, _| batch).unwrap();
        let mut store = handler.into_store();
        let sequence = list(&mut store)[0].sequence;
        store.open(sequence, 0).unwrap().read(&mut [0; 512]).unwrap()
    };
    assert_eq!((length_after(1), length_after(300)), (SHORT, LONG));
    let mut handler = attach::<_, 1>(Ram::<2, { LONG - 1 }>::new());
    let result = Engine::new(1).run(&mut model(), 0..1, &mut handler, |_, batch, _| batch);
    assert_eq!(result, Err(RunError::Start(EncodeError::Io(ErrorKind::OutOfMemory))));
}
