//! Settings and records that cannot be used: each is refused with its own error, and nothing has changed.

use training_monitor::checkpoint::{MAX_NAME, One};
use training_monitor::event::{EpochCompleted, IterationCompleted};
use training_monitor::handlers::early_stopping::{self, ThresholdMode};
use training_monitor::handlers::model_checkpoint::{self, OnError};
use training_monitor::ranking::{Entry, Order, Ranking};
use training_monitor::record::{RECORD_SIZE, Record, RecordFull, RecordReader, RecordWriter, RestoreError, kind};
use training_monitor::store::{Store, ram::Ram};
use training_monitor::{
    EarlyStopping, Engine, Event, Handler, ModelCheckpoint, Outcome, RunError, State, StopReason, TerminateOnNan, Timer,
};

#[test]
fn early_stopping_refuses_what_is_no_patience_or_threshold() {
    assert_eq!(EarlyStopping::new(0), Err(early_stopping::ConfigError::Patience));
    let stopping = EarlyStopping::new(1).expect("1 is a patience");
    for threshold in [-0.5, -1e-45, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for mode in [ThresholdMode::Abs, ThresholdMode::Rel] {
            let refused = stopping.with_threshold(threshold, mode);
            assert_eq!(refused, Err(early_stopping::ConfigError::Threshold), "{threshold}");
        }
    }
    assert!(stopping.with_threshold(-0.0, ThresholdMode::Abs).is_ok());
    assert!(early_stopping::ConfigError::Patience.to_string().contains("positive"));
}

/// Why a checkpoint handler with these settings cannot be built.
macro_rules! refused {
    ($places:literal $(. $setting:ident ( $($value:expr),* ))*) => {
        ModelCheckpoint::<$places>::builder()$(.$setting($($value),*))*.build().err()
    };
}

#[test]
fn a_model_checkpoint_refuses_contradictory_settings() {
    use model_checkpoint::ConfigError;
    // Exactly one of the two.
    assert_eq!(refused!(2.n_saved(2)), Some(ConfigError::IntervalOrScore));
    assert_eq!(refused!(2.save_interval(1).scored()), Some(ConfigError::IntervalOrScore));
    assert_eq!(refused!(2.scored().save_interval(1)), Some(ConfigError::IntervalOrScore));
    assert_eq!(refused!(2.save_interval(0)), Some(ConfigError::SaveInterval));
    assert_eq!(refused!(2.save_interval(1).score_name("loss")), Some(ConfigError::ScoreNameWithoutScore));
    assert_eq!(refused!(2.scored().score_name("")), Some(ConfigError::ScoreName));
    const LONG: &str = "a_name_of_thirty_three_bytes_long";
    assert_eq!(LONG.len(), MAX_NAME + 1);
    assert_eq!(refused!(2.scored().score_name(LONG)), Some(ConfigError::ScoreName));
    assert_eq!(refused!(2.scored().n_saved(0)), Some(ConfigError::NSaved));
    assert_eq!(refused!(2.scored().n_saved(3)), Some(ConfigError::Table { n_saved: 3, places: 2 }));
    assert_eq!(refused!(0.scored()), Some(ConfigError::Table { n_saved: 1, places: 0 }));
    // And what is no contradiction is not refused.
    assert_eq!(refused!(2.scored().n_saved(2).score_name("loss")), None);
    assert_eq!(refused!(2.save_interval(7).keep_all()), None);
}

#[test]
fn a_score_that_is_no_number_changes_no_ranking() {
    let mut ranking = Ranking::<2>::new(2, Order::Score, true);
    ranking.insert(Entry::new(1, Some(0.5)));
    let nan = Entry::new(2, Some(f32::NAN));
    assert!(!ranking.accepts(&nan));
    assert_eq!(ranking.insert(nan).map(|entry| entry.step), Some(2));
    // Not even in place of the same step.
    assert_eq!(ranking.insert(Entry::new(1, Some(f32::NAN))).map(|entry| entry.step), Some(1));
    assert_eq!(ranking.entries(), [Entry::new(1, Some(0.5))]);

    let mut checkpoint = ModelCheckpoint::<2>::builder().scored().build().expect("settings");
    assert_eq!(checkpoint.update(Some(f32::NAN)), None);
    assert_eq!(checkpoint.update(None), None);
    assert_eq!((checkpoint.kept(), checkpoint.latest()), (&[][..], None));
    // The number is used up.
    assert_eq!(checkpoint.update(Some(0.0)).map(|save| save.step), Some(3));
}

/// The handlers that have a state, and a run of two iterations with them.
type Handlers = (
    early_stopping::Attached<IterationCompleted, fn(&State<f32>) -> f32>,
    training_monitor::handlers::terminate_on_nan::Attached<EpochCompleted, fn(&(), &State<f32>) -> f32>,
);

fn handlers() -> Handlers {
    let score: fn(&State<f32>) -> f32 = |state| state.output.unwrap_or(0.0);
    let output: fn(&(), &State<f32>) -> f32 = |_, state| state.output.unwrap_or(0.0);
    (
        EarlyStopping::new(5).expect("a patience").attach(IterationCompleted, score),
        TerminateOnNan::new().attach(EpochCompleted, output),
    )
}

fn ran() -> (Engine<f32>, Handlers) {
    let mut handlers = handlers();
    let mut engine = Engine::new(1);
    engine.run(&mut (), &[1.0, 0.5][..], &mut handlers, |(), score, _| *score).expect("there is data");
    (engine, handlers)
}

/// Expects `record` to be refused by a run that stands elsewhere, and that run to be untouched.
fn refuse<H: Handler<(), f32>>(record: &Record, mut program: H, expected: RestoreError) {
    let mut engine = Engine::<f32>::new(3);
    let before = engine.engine_state();
    let states = engine.record::<(), _>(&mut program).expect("it fits");
    assert_eq!(engine.restore::<(), _>(record, &mut program), Err(expected));
    assert_eq!(engine.engine_state(), before);
    assert_eq!(engine.record::<(), _>(&mut program), Ok(states));
}

/// A handler of the user's own with a state of `SIZE` bytes, all alike.
#[derive(Clone, Copy)]
struct Own<const SIZE: usize> {
    kind: u8,
    state: u8,
}

impl<const SIZE: usize> Handler<(), f32> for Own<SIZE> {
    fn on_event(&mut self, _: Event, (): &mut (), _: &mut State<f32>) {}
    fn save_state(&mut self, _: &State<f32>, record: &mut RecordWriter<'_>) {
        record.push(self.kind, &[self.state; SIZE].as_slice());
    }
    fn restore_state(&mut self, _: &mut State<f32>, record: &mut RecordReader<'_>) {
        // As long as its own.
        if let Some((len, state)) = record.take::<(u8, u8)>(self.kind) {
            assert_eq!(usize::from(len), SIZE);
            self.state = state;
        }
    }
}

#[test]
fn a_record_of_other_handlers_is_refused_and_changes_nothing() {
    let (engine, mut handlers_that_ran) = ran();
    let record = engine.record::<(), _>(&mut handlers_that_ran).expect("it fits");
    assert_eq!(handlers_that_ran.0.early_stopping.counter(), 1);
    let (stopping, guard) = handlers();
    let (early_stopping, terminate_on_nan) = (kind::EARLY_STOPPING, kind::TERMINATE_ON_NAN);
    let own = Own::<1> { kind: kind::USER, state: 3 };
    refuse(&record, (), RestoreError::Left { kind: early_stopping });
    refuse(&record, stopping, RestoreError::Left { kind: terminate_on_nan });
    // The first handler's state would fit; it must not be taken.
    refuse(&record, (stopping, own), RestoreError::OtherHandler { expected: kind::USER, found: terminate_on_nan });
    refuse(
        &record,
        (guard, stopping),
        RestoreError::OtherHandler { expected: terminate_on_nan, found: early_stopping },
    );
    refuse(&record, (stopping, guard, own), RestoreError::Missing { kind: kind::USER });
    // And that of the same handlers is taken.
    let (mut other, mut program) = (Engine::<f32>::new(1), handlers());
    other.restore::<(), _>(&record, &mut program).expect("its own record");
    assert_eq!((other.engine_state(), program.0.early_stopping.counter()), (engine.engine_state(), 1));
}

#[test]
fn a_state_of_another_shape_is_refused() {
    let engine = Engine::<f32>::new(1);
    let kind = kind::EARLY_STOPPING;
    // Too short for a counter and a score, and too long.
    for record in [
        engine.record::<(), _>(&mut Own::<0> { kind, state: 0 }),
        engine.record::<(), _>(&mut Own::<9> { kind, state: 0 }),
    ] {
        refuse(&record.expect("it fits"), handlers().0, RestoreError::Malformed { kind });
    }
}

#[test]
fn counters_that_contradict_each_other_are_refused() {
    let (engine, mut program) = ran();
    let good = engine.record::<(), _>(&mut program).expect("it fits");
    let mut more_in_the_epoch_than_in_the_run = good.clone();
    more_in_the_epoch_than_in_the_run.engine.offset = good.engine.iteration + 1;
    let mut beyond_the_epoch = good.clone();
    beyond_the_epoch.engine.epoch_length = good.engine.offset - 1;
    for record in [more_in_the_epoch_than_in_the_run, beyond_the_epoch] {
        refuse(&record, handlers(), RestoreError::Engine);
    }
}

#[test]
fn states_that_do_not_fit_the_record_are_an_error() {
    let engine = Engine::<f32>::new(1);
    let own = |state| Own::<100> { kind: kind::USER, state };
    assert!(engine.record::<(), _>(&mut own(0)).is_ok());
    assert_eq!(engine.record::<(), _>(&mut (own(0), own(1))), Err(RecordFull));
    // One state alone must tell its length in a byte.
    assert_eq!(engine.record::<(), _>(&mut Own::<RECORD_SIZE> { kind: kind::USER, state: 0 }), Err(RecordFull));
}

/// A state that cannot be put into bytes.
struct Refusing;

impl serde::Serialize for Refusing {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("no"))
    }
}

impl Handler<(), f32> for Refusing {
    fn on_event(&mut self, _: Event, (): &mut (), _: &mut State<f32>) {}
    fn save_state(&mut self, _: &State<f32>, record: &mut RecordWriter<'_>) {
        record.push(kind::USER, self);
    }
}

#[test]
fn a_state_that_cannot_be_written_is_an_error() {
    let engine = Engine::<f32>::new(1);
    let own = Own::<8> { kind: kind::USER + 1, state: 3 };
    assert_eq!(engine.record::<(), _>(&mut (own, Refusing)), Err(RecordFull));
    assert_eq!(engine.record::<(), _>(&mut (Refusing, own)), Err(RecordFull));
}

#[test]
fn a_record_of_no_run_is_the_default() {
    assert_eq!(Record::default(), Record::new());
    let mut engine = Engine::<f32>::new(2);
    engine.restore::<(), _>(&Record::default(), &mut ()).expect("nothing to go on with");
    assert_eq!((engine.state().epoch(), engine.state().iteration()), (0, 0));
}

/// Takes most of the record.
struct Hog;

impl<T: ?Sized> Handler<T, f32> for Hog {
    fn on_event(&mut self, _: Event, _: &mut T, _: &mut State<f32>) {}
    fn save_state(&mut self, _: &State<f32>, record: &mut RecordWriter<'_>) {
        record.push(kind::USER, &[0u8; 120].as_slice());
        record.push(kind::USER, &[0u8; 120].as_slice());
    }
}

#[test]
fn no_checkpoint_is_written_without_the_whole_run_in_it() {
    let mut weights = [1.0_f32; 2];
    let mut model = One("model", &mut weights);
    let mut store = Ram::<2, 256>::new();
    for (policy, ended) in [
        (OnError::Stop, Err(RunError::SaveFailed)),
        (OnError::Continue, Ok(Outcome { reason: StopReason::MaxEpochs, epoch: 1, iteration: 2 })),
    ] {
        let machine = ModelCheckpoint::<1>::builder().save_interval(1).on_error(policy).build().expect("settings");
        let mut handlers = (machine.attach(IterationCompleted, &mut store).expect("RAM"), Hog);
        let result = Engine::new(1).run(&mut model, 0..2, &mut handlers, |_, _, _| 0.0);
        assert_eq!(result, ended);
        assert!(handlers.0.last_error().is_some());
        assert!(handlers.0.machine().kept().is_empty());
    }
    assert_eq!(store.stored(0), Ok(None));
}

#[test]
fn a_clock_that_goes_back_measures_nothing() {
    let mut timer = Timer::new(100);
    timer.pause(50);
    assert_eq!((timer.total(), timer.elapsed(0)), (0, 0));
}

/// Found by mutation: no test here read the time of one.
#[test]
fn a_function_is_a_clock() {
    use training_monitor::time::Clock;
    let mut ticks = 40;
    let mut clock = || {
        ticks += 2;
        ticks
    };
    assert_eq!([Clock::now(&mut clock), Clock::now(&mut clock)], [42_u64, 44]);
}

#[test]
fn early_stopping_tells_its_patience() {
    assert_eq!(EarlyStopping::new(7).unwrap().patience(), 7);
}
