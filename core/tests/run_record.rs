//! Tests of run records that do not match the program, contradict themselves or are too large. `restore` returns a
//! specific error, and changes neither the engine nor the handlers.

use training_monitor::checkpoint::{self, Contents, Header, Named};
use training_monitor::engine::Phase;
use training_monitor::event::{EpochCompleted, IterationCompleted};
use training_monitor::handlers::early_stopping::EarlyStoppingHandler;
use training_monitor::handlers::terminate_on_nan::NanGuard;
use training_monitor::run_record::{
    CAPACITY, HandlerKind, HandlerStates, Persist, RestoreError, RunRecord, RunRecordFull,
};
use training_monitor::{EarlyStopping, Engine, Event, Handler, State, TerminateOnNan};

/// Two handlers that save state in the run record.
type Handlers = (
    EarlyStoppingHandler<IterationCompleted, fn(&State<f32>) -> f32>,
    NanGuard<EpochCompleted, for<'a> fn(&'a (), &'a State<f32>) -> &'a Option<f32>>,
);

fn handlers() -> Handlers {
    (
        EarlyStopping::new(5).expect("a patience").attach(IterationCompleted, |state| state.output.unwrap_or(0.0)),
        TerminateOnNan::new().attach(EpochCompleted, |_, state| &state.output),
    )
}

/// Returns an engine and its handlers after a run of two iterations.
fn completed_run() -> (Engine<f32>, Handlers) {
    let mut handlers = handlers();
    let mut engine = Engine::new(1);
    engine.run(&mut (), &[1.0, 0.5][..], &mut handlers, |(), score, _| *score).expect("there is data");
    (engine, handlers)
}

/// Checks that `restore` returns the expected error and changes neither the engine nor the handlers.
fn assert_rejected<H: Handler<(), f32>>(record: &RunRecord, mut handlers: H, expected: RestoreError) {
    let mut engine = Engine::<f32>::new(3);
    let before = engine.engine_state();
    let states = engine.record::<(), _>(&mut handlers).expect("the record is large enough");
    assert_eq!(engine.restore::<(), _>(record, &mut handlers), Err(expected));
    assert_eq!(engine.engine_state(), before);
    assert_eq!(engine.record::<(), _>(&mut handlers), Ok(states));
}

/// A user-defined handler with the kind number `NUMBER`. Its state is a list of `SIZE` equal bytes.
#[derive(Clone, Copy)]
struct UserHandler<const NUMBER: u8, const SIZE: usize> {
    byte: u8,
}

/// A handler of the same kind as [`EarlyStopping`], but with a list of `SIZE` zeros as its state.
struct FakeEarlyStopping<const SIZE: usize>;

impl<const NUMBER: u8, const SIZE: usize> Persist for UserHandler<NUMBER, SIZE> {
    const KIND: HandlerKind = HandlerKind::user(NUMBER);
    type State = Vec<u8>;
    fn save(&mut self) -> Vec<u8> {
        vec![self.byte; SIZE]
    }
    fn restore(&mut self, state: Vec<u8>) {
        assert_eq!(state.len(), SIZE);
        self.byte = state[0];
    }
}

impl<const SIZE: usize> Persist for FakeEarlyStopping<SIZE> {
    const KIND: HandlerKind = HandlerKind::EARLY_STOPPING;
    type State = Vec<u8>;
    fn save(&mut self) -> Vec<u8> {
        vec![0; SIZE]
    }
    fn restore(&mut self, _: Vec<u8>) {}
}

/// A handler that does nothing at events. It only saves and restores its state of type `P`.
struct Stateful<P>(P);

impl<P: Persist> Handler<(), f32> for Stateful<P> {
    fn on_event(&mut self, _: Event, (): &mut (), _: &mut State<f32>) {}
    fn persist(&mut self, _: &mut State<f32>, states: &mut HandlerStates<'_>) {
        states.visit(&mut self.0);
    }
}

const USER: HandlerKind = HandlerKind::user(0);

/// Returns a user-defined handler with a state of `SIZE` equal bytes.
fn user<const SIZE: usize>(byte: u8) -> Stateful<UserHandler<0, SIZE>> {
    Stateful(UserHandler { byte })
}

#[test]
fn a_record_of_other_handlers_is_rejected() {
    let (mut engine, mut original) = completed_run();
    let record = engine.record::<(), _>(&mut original).expect("the record is large enough");
    assert_eq!(original.0.early_stopping.counter(), 1);
    let (stopping, guard) = handlers();
    let (early_stopping, terminate_on_nan) = (HandlerKind::EARLY_STOPPING, HandlerKind::TERMINATE_ON_NAN);
    assert_rejected(&record, (), RestoreError::Unclaimed { kind: early_stopping });
    assert_rejected(&record, stopping, RestoreError::Unclaimed { kind: terminate_on_nan });
    // The first handler is of the type in the record, but the second is of another type. Neither of them may be
    // restored.
    assert_rejected(&record, (stopping, user::<1>(3)), RestoreError::Missing { kind: USER });
    assert_rejected(&record, (stopping, guard, user::<1>(3)), RestoreError::Missing { kind: USER });
    // Handlers of the types that wrote the record restore it without an error.
    let (mut resumed, mut handlers) = (Engine::<f32>::new(1), handlers());
    resumed.restore::<(), _>(&record, &mut handlers).expect("a record of these handlers");
    assert_eq!((resumed.engine_state(), handlers.0.early_stopping.counter()), (engine.engine_state(), 1));
    // The order of the handlers does not matter.
    let (mut resumed, mut reordered) = (Engine::<f32>::new(1), (guard, stopping));
    resumed.restore::<(), _>(&record, &mut reordered).expect("a record of these handlers");
    assert_eq!((resumed.engine_state(), reordered.1.early_stopping.counter()), (engine.engine_state(), 1));
}

#[test]
fn a_state_of_another_length_is_rejected() {
    let mut engine = Engine::<f32>::new(1);
    // The state of early stopping is a counter and a score. The first of these states is too short, and the second is
    // too long.
    for record in [
        engine.record::<(), _>(&mut Stateful(FakeEarlyStopping::<0>)),
        engine.record::<(), _>(&mut Stateful(FakeEarlyStopping::<9>)),
    ] {
        let record = record.expect("the record is large enough");
        assert_rejected(&record, handlers().0, RestoreError::Malformed { kind: HandlerKind::EARLY_STOPPING });
    }
}

#[test]
fn a_record_with_contradictory_counters_is_rejected() {
    let (mut engine, mut original) = completed_run();
    let record = engine.record::<(), _>(&mut original).expect("the record is large enough");
    let mut offset_above_iteration = record.clone();
    offset_above_iteration.engine.offset = record.engine.iteration + 1;
    let mut offset_above_epoch_length = record.clone();
    offset_above_epoch_length.engine.epoch_length = record.engine.offset - 1;
    let mut started_above_iteration = record.clone();
    started_above_iteration.engine.phase = Phase::IterationStarted;
    for record in [offset_above_iteration, offset_above_epoch_length, started_above_iteration] {
        assert_rejected(&record, handlers(), RestoreError::Engine);
    }
}

/// Returns the error of a record with the default capacity, if the states need `required` bytes.
fn full(required: usize) -> RunRecordFull {
    RunRecordFull { required, capacity: CAPACITY }
}

#[test]
fn states_above_the_capacity_of_the_record_are_an_error() {
    let mut engine = Engine::<f32>::new(1);
    assert!(engine.record::<(), _>(&mut user::<100>(0)).is_ok());
    assert_eq!(engine.record::<(), _>(&mut (user::<100>(0), user::<100>(1))), Err(full(2 * 105)));
    // The kind, the tag and the length of a state need space too, so a state of the full capacity does not fit.
    assert_eq!(engine.record::<(), _>(&mut user::<CAPACITY>(0)), Err(full(CAPACITY + 6)));
}

/// A handler state whose serialization always fails, to test the error of a save.
#[derive(serde::Deserialize)]
struct FailingState;

impl serde::Serialize for FailingState {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("no"))
    }
}

/// A handler with a [`FailingState`].
struct FailingHandler;

impl Persist for FailingHandler {
    const KIND: HandlerKind = USER;
    type State = FailingState;
    fn save(&mut self) -> FailingState {
        FailingState
    }
    fn restore(&mut self, _: FailingState) {}
}

#[test]
fn a_state_whose_serialization_fails_is_an_error() {
    let mut engine = Engine::<f32>::new(1);
    let user = || Stateful(UserHandler::<1, 8> { byte: 3 });
    assert!(engine.record::<(), _>(&mut (user(), Stateful(FailingHandler))).is_err());
    assert!(engine.record::<(), _>(&mut (Stateful(FailingHandler), user())).is_err());
}

#[test]
fn loading_replaces_the_whole_content_of_a_record() {
    let (mut engine, mut handlers) = completed_run();
    let saved = engine.record::<(), _>(&mut handlers).expect("the record is large enough");
    let header = Header { run: saved.engine.run, ..Header::default() };
    let contents = Contents { header, record: Some(&saved), ..Contents::new(1) };
    let mut bytes = Vec::new();
    checkpoint::encode(&mut bytes, &contents, &mut Named::new("m", [1.0_f32])).expect("a writer without errors");
    let mut record = RunRecord::new();
    for _ in 0..2 {
        checkpoint::load(&bytes, &mut Named::new("m", [0.0_f32]), Some(&mut record)).expect("a valid checkpoint");
        assert_eq!(record, saved);
    }
}

#[test]
fn the_default_record_describes_a_run_that_has_not_started() {
    assert_eq!(RunRecord::default(), RunRecord::new());
    let mut engine = Engine::<f32>::new(2);
    engine.restore::<(), _>(&RunRecord::default(), &mut ()).expect("a valid record");
    assert_eq!((engine.state().epoch(), engine.state().iteration()), (0, 0));
}
