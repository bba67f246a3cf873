//! Tests of handlers of the same kind in a resumed run. A handler finds its own state by its tag, a hash of its
//! settings and its name, at any position of the tuple.

use training_monitor::checkpoint::Named;
use training_monitor::event::IterationCompleted;
use training_monitor::handlers::early_stopping::EarlyStoppingHandler;
use training_monitor::handlers::every_ticks::EveryTicks;
use training_monitor::run_record::{HandlerKind, Persist, RestoreError};
use training_monitor::store::ram::Ram;
use training_monitor::{
    EarlyStopping, Engine, ModelCheckpoint, ReduceOnPlateau, RollBack, RunningAverage, SpikeGuard, State, TimeLimit,
    WeightAverage,
};

type Score = fn(&State<f32>) -> f32;
type Stopping = EarlyStoppingHandler<IterationCompleted, Score>;

fn attach(policy: EarlyStopping, score: Score) -> Stopping {
    policy.attach(IterationCompleted, score)
}

fn output(state: &State<f32>) -> f32 {
    state.output.unwrap_or(0.0)
}

/// Early stopping for a score that always improves.
fn rising(patience: u32) -> Stopping {
    attach(EarlyStopping::new(patience).unwrap(), output)
}

/// Early stopping for a score that never improves.
fn falling(patience: u32) -> Stopping {
    attach(EarlyStopping::new(patience).unwrap(), |state| -output(state))
}

/// Returns the counter and the best score.
fn progress(stopping: &Stopping) -> (u32, Option<f32>) {
    (stopping.early_stopping.counter(), stopping.early_stopping.best_score())
}

/// Runs the outputs 1, 2, 3, 4 with two handlers, and returns the record.
macro_rules! record_of {
    ($handlers:expr) => {{
        let mut engine = Engine::<f32>::new(1);
        let mut handlers = $handlers;
        engine.run(&mut (), &[1.0, 2.0, 3.0, 4.0][..], &mut handlers, |(), output, _| *output).unwrap();
        engine.record::<(), _>(&mut handlers).unwrap()
    }};
}

#[test]
fn two_exchanged_early_stoppings_keep_their_own_states() {
    let record = record_of!((rising(10), falling(20)));
    let mut exchanged = (falling(20), rising(10));
    Engine::<f32>::new(2).restore::<(), _>(&record, &mut exchanged).unwrap();
    assert_eq!((progress(&exchanged.1), progress(&exchanged.0)), ((0, Some(4.0)), (3, Some(-1.0))));
}

/// Two handlers with the same settings have the same tag. They keep the order of the tuple.
#[test]
fn handlers_of_the_same_settings_are_matched_by_position() {
    let record = record_of!((rising(10), falling(10)));
    let mut resumed = (rising(10), falling(10));
    Engine::<f32>::new(2).restore::<(), _>(&record, &mut resumed).unwrap();
    assert_eq!((progress(&resumed.0), progress(&resumed.1)), ((0, Some(4.0)), (3, Some(-1.0))));
    let tags: Vec<u16> = record.handlers().map(|(_, tag, _)| tag).collect();
    assert_eq!(tags[0], tags[1]);
}

#[test]
fn a_name_distinguishes_handlers_of_the_same_settings() {
    let named = |name, score: Score| attach(EarlyStopping::new(10).unwrap().with_name(name), score);
    let up = || named("up", output);
    let down = || named("down", |state| -output(state));
    let record = record_of!((up(), down()));
    let mut exchanged = (down(), up());
    Engine::<f32>::new(2).restore::<(), _>(&record, &mut exchanged).unwrap();
    assert_eq!((progress(&exchanged.1), progress(&exchanged.0)), ((0, Some(4.0)), (3, Some(-1.0))));
}

/// Each setting of early stopping changes its tag.
#[test]
fn the_tag_depends_on_every_setting() {
    use training_monitor::handlers::early_stopping::{Mode, ThresholdMode};
    let policy = || EarlyStopping::new(3).unwrap();
    let policies = [
        policy(),
        EarlyStopping::new(4).unwrap(),
        policy().with_threshold(0.5, ThresholdMode::Abs).unwrap(),
        policy().with_mode(Mode::Min),
        policy().with_threshold(0.0, ThresholdMode::Rel).unwrap(),
        policy().with_cumulative(true),
        policy().with_name("name"),
        policy().with_baseline(0.0).unwrap(),
        policy().with_baseline(1.0).unwrap(),
    ];
    let tag = |policy: EarlyStopping| {
        let record = Engine::<f32>::new(1).record::<(), _>(&mut attach(policy, output)).unwrap();
        record.handlers().map(|(_, tag, _)| tag).next().unwrap()
    };
    let mut tags = policies.map(tag);
    assert_eq!(tag(policy()), tags[0]);
    tags.sort_unstable();
    assert!(tags.windows(2).all(|pair| pair[0] != pair[1]), "{tags:x?}");
}

/// The handler with the changed setting receives the state that no other handler claims, and the resume reports it.
#[test]
fn a_changed_setting_is_reported_and_keeps_the_state() {
    let start = |store: &mut Ram<2, 512>, stopping: (Stopping, Stopping), epochs: u32| {
        let checkpoint = ModelCheckpoint::<1>::every(1).unwrap().attach(IterationCompleted, store).unwrap();
        let mut handlers = (stopping, checkpoint);
        let mut model = Named::new("m", [0.0_f32; 2]);
        let mut engine = Engine::<f32>::new(epochs);
        let resumed = engine.resume(&mut model, &mut handlers).unwrap();
        let restored = (progress(&handlers.0.0), progress(&handlers.0.1));
        engine.run(&mut model, &[1.0, 2.0, 3.0, 4.0][..], &mut handlers, |_, output, _| *output).unwrap();
        (resumed.map(|resumed| resumed.changed_settings), restored)
    };
    let mut store = Ram::new();
    assert_eq!(start(&mut store, (rising(100), falling(200)), 1).0, None);
    let ranks = ((0, Some(4.0)), (3, Some(-1.0)));
    // Nothing has changed.
    assert_eq!(start(&mut store.clone(), (rising(100), falling(200)), 2), (Some(None), ranks));
    // The order of the handlers is no setting.
    let exchanged = start(&mut store.clone(), (falling(200), rising(100)), 2);
    assert_eq!(exchanged, (Some(None), (ranks.1, ranks.0)));
    // The patience of one handler has changed. With the new patience, it keeps its state, at any position.
    let stopping = Some(Some(HandlerKind::EARLY_STOPPING));
    assert_eq!(start(&mut store.clone(), (rising(100), falling(300)), 2), (stopping, ranks));
    assert_eq!(start(&mut store.clone(), (falling(300), rising(100)), 2), (stopping, (ranks.1, ranks.0)));
    // Both have changed, so the order of the record decides.
    assert_eq!(start(&mut store.clone(), (rising(400), falling(300)), 2), (stopping, ranks));
}

#[test]
fn a_state_without_a_handler_of_its_kind_is_an_error() {
    let record = record_of!((rising(10), falling(20)));
    let kind = HandlerKind::EARLY_STOPPING;
    let mut one = (falling(20),);
    let error = Engine::<f32>::new(2).restore::<(), _>(&record, &mut one);
    assert_eq!((error, progress(&one.0)), (Err(RestoreError::Unclaimed { kind }), (0, None)));
    let mut three = (falling(20), rising(10), rising(30));
    let error = Engine::<f32>::new(2).restore::<(), _>(&record, &mut three);
    assert_eq!((error, progress(&three.0)), (Err(RestoreError::Missing { kind }), (0, None)));
}

/// Checks that a name changes a tag by the same bits for any settings. `tag` returns the tag of a handler, with or without the
/// name, and with one or the other settings.
fn assert_name_is_independent(tag: impl Fn(bool, bool) -> u16) {
    let [plain, named, other, named_other] = [(false, false), (true, false), (false, true), (true, true)]
        .map(|(is_named, is_other)| tag(is_named, is_other));
    assert_ne!(plain, other);
    assert_ne!(plain, named);
    assert_eq!(plain ^ named, other ^ named_other);
}

#[test]
fn a_name_changes_the_tag_of_every_handler_by_the_same_bits() {
    const NAME: &str = "second";
    assert_name_is_independent(|is_named, is_other| {
        let average = RunningAverage::new(if is_other { 0.25 } else { 0.5 }).unwrap();
        if is_named { average.with_name(NAME).tag() } else { average.tag() }
    });
    assert_name_is_independent(|is_named, is_other| {
        let average = WeightAverage::exponential(if is_other { 0.25 } else { 0.5 }).unwrap();
        if is_named { average.with_name(NAME).tag() } else { average.tag() }
    });
    assert_name_is_independent(|is_named, is_other| {
        let guard = SpikeGuard::new().with_warmup(if is_other { 7 } else { 5 });
        if is_named { guard.with_name(NAME).tag() } else { guard.tag() }
    });
    assert_name_is_independent(|is_named, is_other| {
        let plateau = ReduceOnPlateau::new(1.0).unwrap().with_patience(if is_other { 7 } else { 5 });
        if is_named { plateau.with_name(NAME).tag() } else { plateau.tag() }
    });
    assert_name_is_independent(|is_named, is_other| {
        let limit = TimeLimit::new(if is_other { 70 } else { 50 }).unwrap();
        let limit = if is_named { limit.with_name(NAME) } else { limit };
        limit.attach(IterationCompleted, || 0).tag()
    });
    assert_name_is_independent(|is_named, is_other| {
        let every = EveryTicks::new(if is_other { 70 } else { 50 }).unwrap();
        let every = if is_named { every.with_name(NAME) } else { every };
        every.attach(IterationCompleted, || 0, 1).tag()
    });
    assert_ne!(RollBack::new(1).unwrap().tag(), RollBack::new(2).unwrap().tag());
}
