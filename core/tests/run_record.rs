//! Run records that do not match the program, contradict themselves or overflow. `restore` returns a specific error for each
//! of them, and leaves engine and handlers unchanged.

use training_monitor::event::{EpochCompleted, IterationCompleted};
use training_monitor::handlers::{early_stopping, terminate_on_nan};
use training_monitor::run_record::{
    CAPACITY, RecordReader, RecordWriter, RestoreError, RunRecord, RunRecordFull, kind,
};
use training_monitor::{EarlyStopping, Engine, Event, Handler, State, TerminateOnNan};

/// Two handlers that save state in the run record.
type Handlers = (
    early_stopping::Attached<IterationCompleted, fn(&State<f32>) -> f32>,
    terminate_on_nan::Attached<EpochCompleted, fn(&(), &State<f32>) -> f32>,
);

fn handlers() -> Handlers {
    let score: fn(&State<f32>) -> f32 = |state| state.output.unwrap_or(0.0);
    let output: fn(&(), &State<f32>) -> f32 = |_, state| state.output.unwrap_or(0.0);
    (
        EarlyStopping::new(5).expect("a patience").attach(IterationCompleted, score),
        TerminateOnNan::new().attach(EpochCompleted, output),
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

/// A user-defined handler. Its state has `SIZE` equal bytes.
#[derive(Clone, Copy)]
struct UserHandler<const SIZE: usize> {
    kind: u8,
    state: u8,
}

impl<const SIZE: usize> Handler<(), f32> for UserHandler<SIZE> {
    fn on_event(&mut self, _: Event, (): &mut (), _: &mut State<f32>) {}
    fn save_state(&mut self, _: &State<f32>, record: &mut RecordWriter<'_>) {
        record.push(self.kind, &[self.state; SIZE].as_slice());
    }
    fn restore_state(&mut self, _: &mut State<f32>, record: &mut RecordReader<'_>) {
        // The state is a length and then the equal bytes, of which this reads the first.
        if let Some((len, state)) = record.take::<(u8, u8)>(self.kind) {
            assert_eq!(usize::from(len), SIZE);
            self.state = state;
        }
    }
}

#[test]
fn a_record_of_other_handlers_is_rejected() {
    let (engine, mut original) = completed_run();
    let record = engine.record::<(), _>(&mut original).expect("the record is large enough");
    assert_eq!(original.0.early_stopping.counter(), 1);
    let (stopping, guard) = handlers();
    let (early_stopping, terminate_on_nan) = (kind::EARLY_STOPPING, kind::TERMINATE_ON_NAN);
    let user = UserHandler::<1> { kind: kind::USER, state: 3 };
    assert_rejected(&record, (), RestoreError::Unclaimed { kind: early_stopping });
    assert_rejected(&record, stopping, RestoreError::Unclaimed { kind: terminate_on_nan });
    // The state of the first handler matches, but it must not be restored alone.
    let other_handler = RestoreError::OtherHandler { expected: kind::USER, found: terminate_on_nan };
    assert_rejected(&record, (stopping, user), other_handler);
    let other_order = RestoreError::OtherHandler { expected: terminate_on_nan, found: early_stopping };
    assert_rejected(&record, (guard, stopping), other_order);
    assert_rejected(&record, (stopping, guard, user), RestoreError::Missing { kind: kind::USER });
    // The same handlers restore the record.
    let (mut resumed, mut handlers) = (Engine::<f32>::new(1), handlers());
    resumed.restore::<(), _>(&record, &mut handlers).expect("a record of these handlers");
    assert_eq!((resumed.engine_state(), handlers.0.early_stopping.counter()), (engine.engine_state(), 1));
}

#[test]
fn a_state_of_another_length_is_rejected() {
    let engine = Engine::<f32>::new(1);
    let kind = kind::EARLY_STOPPING;
    // The first state is too short for a counter and a score, and the second is too long.
    for record in [
        engine.record::<(), _>(&mut UserHandler::<0> { kind, state: 0 }),
        engine.record::<(), _>(&mut UserHandler::<9> { kind, state: 0 }),
    ] {
        let record = record.expect("the record is large enough");
        assert_rejected(&record, handlers().0, RestoreError::Malformed { kind });
    }
}

#[test]
fn a_record_with_contradictory_counters_is_rejected() {
    let (engine, mut original) = completed_run();
    let record = engine.record::<(), _>(&mut original).expect("the record is large enough");
    let mut offset_above_iteration = record.clone();
    offset_above_iteration.engine.offset = record.engine.iteration + 1;
    let mut offset_above_epoch_length = record.clone();
    offset_above_epoch_length.engine.epoch_length = record.engine.offset - 1;
    for record in [offset_above_iteration, offset_above_epoch_length] {
        assert_rejected(&record, handlers(), RestoreError::Engine);
    }
}

#[test]
fn states_above_the_capacity_of_the_record_are_an_error() {
    let engine = Engine::<f32>::new(1);
    let user = |state| UserHandler::<100> { kind: kind::USER, state };
    assert!(engine.record::<(), _>(&mut user(0)).is_ok());
    assert_eq!(engine.record::<(), _>(&mut (user(0), user(1))), Err(RunRecordFull));
    // Kind and length need space too, so a state of the full capacity does not fit.
    assert_eq!(engine.record::<(), _>(&mut UserHandler::<CAPACITY> { kind: kind::USER, state: 0 }), Err(RunRecordFull));
}

/// A state whose serialization fails.
struct FailingState;

impl serde::Serialize for FailingState {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("no"))
    }
}

impl Handler<(), f32> for FailingState {
    fn on_event(&mut self, _: Event, (): &mut (), _: &mut State<f32>) {}
    fn save_state(&mut self, _: &State<f32>, record: &mut RecordWriter<'_>) {
        record.push(kind::USER, self);
    }
}

#[test]
fn a_state_whose_serialization_fails_is_an_error() {
    let engine = Engine::<f32>::new(1);
    let user = UserHandler::<8> { kind: kind::USER + 1, state: 3 };
    assert_eq!(engine.record::<(), _>(&mut (user, FailingState)), Err(RunRecordFull));
    assert_eq!(engine.record::<(), _>(&mut (FailingState, user)), Err(RunRecordFull));
}

#[test]
fn the_default_record_describes_a_run_that_has_not_started() {
    assert_eq!(RunRecord::default(), RunRecord::new());
    let mut engine = Engine::<f32>::new(2);
    engine.restore::<(), _>(&RunRecord::default(), &mut ()).expect("a valid record");
    assert_eq!((engine.state().epoch(), engine.state().iteration()), (0, 0));
}
