//! Tests of `ReduceOnPlateau`: its rule, its settings, its state in a checkpoint, and interrupted runs. The package
//! `training-monitor-tests` compares its decisions with torch.

use training_monitor::checkpoint::{Named, ObjectVisitor};
use training_monitor::event::{EpochCompleted, Interrupt, IterationCompleted, SavedCheckpoint};
use training_monitor::handler::RunTypes;
use training_monitor::handlers::early_stopping::{Mode, ThresholdMode};
use training_monitor::handlers::model_checkpoint::{CheckpointHandler, NoScore};
use training_monitor::run_record::{HandlerKind, HandlerStates, Persist, RestoreError, RunRecord};
use training_monitor::store::ram::Ram;
use training_monitor::{
    ConfigError, Engine, Event, Handler, ModelCheckpoint, Objects, ReduceOnPlateau, State, StopReason, on,
};

fn plateau() -> ReduceOnPlateau {
    ReduceOnPlateau::new(1.0).unwrap().with_factor(0.5).unwrap()
}

#[test]
fn the_value_is_reduced_after_more_bad_metrics_than_the_patience() {
    for patience in 0..4 {
        let mut plateau = plateau().with_patience(patience);
        assert_eq!(plateau.update(2.0), 1.0);
        for bad in 1..=patience {
            assert_eq!((plateau.update(2.0), plateau.bad_count()), (1.0, bad));
        }
        assert_eq!((plateau.update(2.0), plateau.bad_count()), (0.5, 0));
    }
}

#[test]
fn an_improvement_restarts_the_count_but_no_cooldown() {
    let mut plateau = plateau().with_patience(0).with_cooldown(2);
    assert_eq!((plateau.update(2.0), plateau.update(2.0), plateau.cooldown_left()), (1.0, 0.5, 2));
    assert_eq!((plateau.update(1.0), plateau.best(), plateau.cooldown_left()), (0.5, Some(1.0), 1));
    // The last metric of the cooldown is bad and not counted.
    assert_eq!((plateau.update(1.0), plateau.bad_count(), plateau.cooldown_left()), (0.5, 0, 0));
    assert_eq!(plateau.update(1.0), 0.25);
}

#[test]
fn a_nan_is_a_bad_metric_and_never_the_best() {
    for mode in [Mode::Min, Mode::Max] {
        let mut plateau = plateau().with_patience(1).with_mode(mode);
        assert_eq!((plateau.update(f32::NAN), plateau.best(), plateau.bad_count()), (1.0, None, 1));
        assert_eq!((plateau.update(f32::NAN), plateau.best()), (0.5, None));
        assert_eq!((plateau.update(3.0), plateau.best()), (0.5, Some(3.0)));
        plateau.update(f32::NAN);
        assert_eq!((plateau.best(), plateau.bad_count()), (Some(3.0), 1));
    }
    // The worst possible number is no improvement on the start.
    let mut plateau = plateau();
    plateau.update(f32::INFINITY);
    assert_eq!((plateau.best(), plateau.bad_count()), (None, 1));
}

#[test]
fn the_minimum_applies_and_small_reductions_are_skipped() {
    let mut plateau = plateau().with_patience(0).with_min_value(0.3).unwrap();
    let values: Vec<f32> = (0..4).map(|_| plateau.update(1.0)).collect();
    assert_eq!(values, [1.0, 0.5, 0.3, 0.3]);
    // A minimum above the value does not raise it.
    let mut plateau = self::plateau().with_patience(0).with_min_value(2.0).unwrap();
    assert_eq!((plateau.update(1.0), plateau.update(1.0)), (1.0, 1.0));
    let mut plateau = self::plateau().with_patience(0).with_eps(0.25).unwrap().with_cooldown(3);
    let values: Vec<f32> = (0..10).map(|_| plateau.update(1.0)).collect();
    assert_eq!(values, [1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]);
    assert_eq!(plateau.cooldown_left(), 3); // the skipped reduction starts a cooldown, too
}

#[test]
fn the_threshold_is_a_difference_or_a_fraction() {
    let improves = |mode, threshold_mode, best: f32, metric: f32| {
        let mut plateau = plateau().with_mode(mode).with_threshold(0.125, threshold_mode).unwrap();
        plateau.update(best);
        plateau.update(metric);
        plateau.bad_count() == 0
    };
    use ThresholdMode::{Abs, Rel};
    assert!(!improves(Mode::Min, Abs, 4.0, 3.875) && improves(Mode::Min, Abs, 4.0, 3.75));
    assert!(!improves(Mode::Max, Abs, 4.0, 4.125) && improves(Mode::Max, Abs, 4.0, 4.25));
    assert!(!improves(Mode::Min, Rel, 4.0, 3.5) && improves(Mode::Min, Rel, 4.0, 3.25));
    assert!(!improves(Mode::Max, Rel, 4.0, 4.5) && improves(Mode::Max, Rel, 4.0, 4.75));
}

#[test]
fn reset_restores_the_initial_value() {
    let mut plateau = plateau().with_patience(0).with_cooldown(5);
    plateau.update(1.0);
    plateau.update(1.0);
    plateau.reset();
    assert_eq!((plateau.value(), plateau.best(), plateau.bad_count(), plateau.cooldown_left()), (1.0, None, 0, 0));
}

#[test]
fn invalid_settings_are_rejected() {
    let valid = plateau();
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert_eq!(ReduceOnPlateau::new(bad), Err(ConfigError::PlateauValue));
        assert_eq!(valid.with_min_value(bad), Err(ConfigError::PlateauValue));
    }
    for bad in [f32::NAN, f32::INFINITY, -0.5, 1.0, 1.5] {
        assert_eq!(valid.with_factor(bad), Err(ConfigError::PlateauFactor));
    }
    for bad in [f32::NAN, f32::INFINITY, -0.5] {
        for mode in [ThresholdMode::Abs, ThresholdMode::Rel] {
            assert_eq!(valid.with_threshold(bad, mode), Err(ConfigError::PlateauThreshold));
        }
        assert_eq!(valid.with_eps(bad), Err(ConfigError::PlateauThreshold));
    }
    assert!(valid.with_factor(0.0).is_ok() && valid.with_min_value(-1.0).is_ok());
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

const EPOCHS: u32 = 12;

/// The result of a run: the weight, the learning rate, and the state of the plateau handler.
type Final = (f32, f32, f32, Option<f32>, u32, u32);

/// Trains until the end, or until the first checkpoint if `interrupt` is set. Returns the result if the run ended.
fn start(store: &mut Ram<2, 512>, interrupt: bool) -> Option<Final> {
    let types = RunTypes::<Net, f32>::new();
    let handler = plateau().with_patience(1).with_cooldown(2).attach(
        EpochCompleted,
        types.score(|state| state.output.unwrap_or(f32::NAN)),
        types.parameter(|net, rate| net.rate = rate),
    );
    let checkpoint = ModelCheckpoint::<1>::every(1).unwrap().attach(IterationCompleted, store).unwrap();
    let stop = on(SavedCheckpoint, |_: &mut Net, state: &mut State<f32>| {
        if interrupt {
            state.terminate(StopReason::User(9));
        }
    });
    let keep = training_monitor::handlers::keep::KeepOutput;
    let mut handlers = (handler, checkpoint, stop, keep);
    let mut net = Net { weight: Named::new("m", [1.0]), rate: f32::NAN };
    let mut engine = Engine::new(EPOCHS);
    engine.resume(&mut net, &mut handlers).unwrap();
    // The loss falls and then oscillates around a plateau.
    let outcome = engine.run(&mut net, 0..3, &mut handlers, |net, batch, state| {
        net.weight[0] -= net.rate * (net.weight[0] - 0.25 * batch as f32);
        if state.epoch() < 3 { 1.0 / state.iteration() as f32 } else { 0.3 + net.weight[0].abs() }
    });
    let plateau = handlers.0.plateau;
    let state = (plateau.value(), plateau.best(), plateau.bad_count(), plateau.cooldown_left());
    (outcome.unwrap().reason == StopReason::MaxEpochs).then_some((
        net.weight[0],
        net.rate,
        state.0,
        state.1,
        state.2,
        state.3,
    ))
}

#[test]
fn an_interrupted_run_ends_with_the_bits_of_an_uninterrupted_run() {
    let expected = start(&mut Ram::new(), false).unwrap();
    assert!(expected.2 < 0.5, "the value was reduced more than once: {expected:?}");
    let mut store = Ram::new();
    let mut starts = 1;
    let found = loop {
        if let Some(found) = start(&mut store, true) {
            break found;
        }
        starts += 1;
    };
    assert_eq!((found, starts), (expected, EPOCHS * 3 + 1));
}

fn attach(plateau: ReduceOnPlateau) -> impl training_monitor::Handler<f32, f32> {
    plateau.attach(
        IterationCompleted,
        |state: &State<f32>| state.output.unwrap(),
        |rate: &mut f32, value| *rate = value,
    )
}

#[test]
fn the_value_is_applied_at_the_start_of_a_run() {
    let mut rate = 0.0;
    let mut rates = Vec::new();
    let mut handler = attach(plateau().with_patience(0));
    let result = Engine::new(1).run(&mut rate, 0..3, &mut handler, |rate, _, _| {
        rates.push(*rate);
        5.0
    });
    assert!(result.is_ok());
    assert_eq!((rates, rate), (vec![1.0, 1.0, 0.5], 0.25));
}

#[test]
fn the_tag_depends_on_every_setting() {
    let policies = [
        plateau(),
        ReduceOnPlateau::new(2.0).unwrap().with_factor(0.5).unwrap(),
        plateau().with_mode(Mode::Max),
        plateau().with_factor(0.25).unwrap(),
        plateau().with_patience(3),
        plateau().with_threshold(0.5, ThresholdMode::Rel).unwrap(),
        plateau().with_threshold(1e-4, ThresholdMode::Abs).unwrap(),
        plateau().with_cooldown(1),
        plateau().with_min_value(0.5).unwrap(),
        plateau().with_eps(0.5).unwrap(),
        plateau().with_name("name"),
    ];
    let tag = |policy| {
        let record = Engine::<f32>::new(1).record::<f32, _>(&mut attach(policy)).unwrap();
        let (kind, tag, state) = record.handlers().next().unwrap();
        assert_eq!((kind, state.len()), (HandlerKind::REDUCE_ON_PLATEAU, 7));
        tag
    };
    let mut tags = policies.map(tag);
    assert_eq!(tag(plateau()), tags[0]);
    tags.sort_unstable();
    assert!(tags.windows(2).all(|pair| pair[0] != pair[1]), "{tags:x?}");
}

/// FORMAT.md: bad metrics, cooldown, best metric, value.
#[test]
fn the_state_is_encoded_as_the_format_states() {
    let mut plateau = plateau().with_patience(1).with_cooldown(300);
    assert_eq!([2.0, 2.0, 2.0].map(|metric| plateau.update(metric)), [1.0, 1.0, 0.5]);
    let record = Engine::<f32>::new(1).record::<f32, _>(&mut attach(plateau)).unwrap();
    let bytes = [&[0, 0xAC, 0x02, 1][..], &2.0_f32.to_le_bytes(), &0.5_f32.to_le_bytes()].concat();
    assert_eq!(record.handlers().next().unwrap().2, bytes);
}

#[test]
fn a_record_without_the_state_is_refused() {
    let record = Engine::<f32>::new(1).record::<f32, _>(&mut ()).unwrap();
    let error = Engine::<f32>::new(1).restore::<f32, _>(&record, &mut attach(plateau()));
    assert_eq!(error, Err(RestoreError::Missing { kind: HandlerKind::REDUCE_ON_PLATEAU }));
}

#[test]
fn the_worst_possible_metric_is_no_improvement() {
    for (mode, worst) in [(Mode::Min, f32::INFINITY), (Mode::Max, f32::NEG_INFINITY)] {
        let mut plateau = plateau().with_mode(mode);
        plateau.update(worst);
        assert_eq!((plateau.best(), plateau.bad_count()), (None, 1));
    }
}

/// The value is applied at the start of a run and after each metric, and not at other events.
#[test]
fn the_value_is_applied_once_per_metric() {
    let mut values = Vec::new();
    let apply = |_: &mut (), value| values.push(value);
    let metric = |state: &State<f32>| state.output.unwrap();
    let mut handler = plateau().with_patience(0).attach(IterationCompleted, metric, apply);
    Engine::new(1).run(&mut (), 0..3, &mut handler, |_, _, _| 5.0).unwrap();
    assert_eq!(values, [1.0, 1.0, 0.5, 0.25]);
}

/// Runs until the value was reduced, and interrupts the run.
fn interrupted(store: &mut Ram<2, 512>) -> RunRecord {
    let interrupt = on(IterationCompleted, |_: &mut Net, state: &mut State<f32>| {
        if state.iteration() == 2 {
            state.interrupt()
        }
    });
    let mut handlers = (reducing(), interrupt, latest(store));
    let mut net = Net { weight: Named::new("m", [1.0]), rate: f32::NAN };
    let mut engine = Engine::new(1);
    let outcome = engine.run(&mut net, 0..4, &mut handlers, |_, _, _| 1.0).unwrap();
    assert_eq!((outcome.reason, net.rate), (StopReason::Interrupted, 0.5));
    engine.record::<Net, _>(&mut handlers).unwrap()
}

fn latest(store: &mut Ram<2, 512>) -> CheckpointHandler<1, Interrupt, &mut Ram<2, 512>, NoScore> {
    ModelCheckpoint::<1>::every(1).unwrap().attach(Interrupt, store).unwrap()
}

fn reducing() -> impl Handler<Net, f32> {
    let types = RunTypes::<Net, f32>::new();
    let metric = types.score(|state| state.output.unwrap_or(f32::NAN));
    plateau().with_patience(0).attach(IterationCompleted, metric, types.parameter(|net, rate| net.rate = rate))
}

#[test]
fn a_restored_value_is_applied_before_the_first_event() {
    let mut store = Ram::new();
    let record = interrupted(&mut store);
    let net = || Net { weight: Named::new("m", [1.0]), rate: f32::NAN };
    // `resume` applies the value before it returns.
    let mut resumed = net();
    let handlers = &mut (reducing(), latest(&mut store));
    assert!(Engine::<f32>::new(1).resume(&mut resumed, handlers).unwrap().is_some());
    assert_eq!(resumed.rate, 0.5);
    // `restore` does not know the model, so the value is applied at the start of the run.
    let (mut restored, mut engine, mut rates) = (net(), Engine::<f32>::new(1), Vec::new());
    let handlers = &mut (reducing(), latest(&mut store));
    engine.restore::<Net, _>(&record, handlers).unwrap();
    let result = engine.run(&mut restored, 0..4, handlers, |net, _, _| {
        rates.push(net.rate);
        0.0
    });
    assert!(result.is_ok());
    assert_eq!(rates, [0.5, 0.5]);
}

/// A handler whose state has the given numbers: bad metrics, cooldown, best metric, value.
struct Fixture((u32, u32, Option<f32>, f32));

impl Persist for Fixture {
    const KIND: HandlerKind = HandlerKind::REDUCE_ON_PLATEAU;
    type State = (u32, u32, Option<f32>, f32);
    fn save(&mut self) -> Self::State {
        self.0
    }
    fn restore(&mut self, _: Self::State) {}
}

impl Handler<f32, f32> for Fixture {
    fn on_event(&mut self, _: Event, _: &mut f32, _: &mut State<f32>) {}
    fn persist(&mut self, _: &mut State<f32>, states: &mut HandlerStates<'_>) {
        states.visit(self);
    }
}

#[test]
fn an_impossible_state_is_malformed() {
    let restore = |best, value| {
        let record = Engine::<f32>::new(1).record(&mut Fixture((1, 0, best, value))).unwrap();
        Engine::<f32>::new(1).restore::<f32, _>(&record, &mut attach(plateau()))
    };
    let error = Err(RestoreError::Malformed { kind: HandlerKind::REDUCE_ON_PLATEAU });
    assert_eq!(restore(Some(f32::NAN), 0.5), error);
    assert_eq!(restore(Some(1.0), f32::NAN), error);
    assert_eq!(restore(None, f32::INFINITY), error);
    assert_eq!(restore(Some(1.0), 0.5), Ok(()));
}
