//! The engine where only a reader of its code looks: requests from outside a run, records of another length of the epoch,
//! handlers that claim more than they asked for. Each was found by a change of the code that no other test noticed.

use training_monitor::engine::After;
use training_monitor::event::{Completed, IterationCompleted};
use training_monitor::record::{Record, RecordReader, RecordWriter, RestoreError};
use training_monitor::{
    EarlyStopping, Engine, Event, Handler, State, StopReason, TerminateOnNan, Timer, UserEvent, on,
};
use training_monitor_tests::standing::standing;

use std::num::NonZeroU32;

type Log = Vec<Event>;

fn log() -> impl Handler<Log, u32> {
    struct All;
    impl Handler<Log, u32> for All {
        fn on_event(&mut self, event: Event, log: &mut Log, _: &mut State<u32>) {
            log.push(event);
        }
    }
    All
}

const USER: UserEvent = UserEvent { id: 7, value: 0 };

fn restored(record: &Record) -> Engine<u32> {
    let mut engine = Engine::new(2);
    engine.restore::<Log, _>(record, &mut ()).unwrap();
    engine
}

#[test]
fn the_end_of_the_data_counts_between_iterations_only() {
    let mut seen = Log::new();
    let mut engine = Engine::new(2);
    assert!(engine.begin_iteration(&mut seen, &mut log()));
    assert!(engine.end_iteration(0, &mut seen, &mut log()));
    // One iteration is done, the second has begun.
    assert!(engine.begin_iteration(&mut seen, &mut log()));
    let before = seen.len();
    engine.end_data(&mut seen, &mut log());
    assert_eq!((seen.len(), engine.state().epoch_length()), (before, None));
    // And an epoch without an iteration has no end: its length stays what it was.
    let mut engine = restored(&standing(After::Iteration, 0, 0, 3));
    engine.end_data(&mut Log::new(), &mut ());
    assert_eq!(engine.state().epoch_length(), Some(3));
}

/// A run goes on with the length that it was begun with, whatever a later program says.
#[test]
fn an_epoch_at_its_end_is_over_after_a_restart() {
    let mut seen = Log::new();
    let mut engine = restored(&standing(After::Iteration, 3, 3, 3));
    assert!(engine.begin_iteration(&mut seen, &mut log()));
    assert_eq!(seen, [Event::EpochCompleted, Event::EpochStarted, Event::IterationStarted]);
    for (offset, epoch_length) in [(4, 3), (3, 1)] {
        let record = standing(After::Iteration, offset, offset, epoch_length);
        let refused = Engine::<u32>::new(2).restore::<Log, _>(&record, &mut ());
        assert_eq!(refused, Err(RestoreError::Engine));
    }
    let mut record = standing(After::Iteration, 3, 3, 3);
    record.engine.iteration = 2;
    assert_eq!(Engine::<u32>::new(2).restore::<Log, _>(&record, &mut ()), Err(RestoreError::Engine));
}

/// A run of two epochs that was done goes on where the engine has more, and only there.
#[test]
fn a_run_that_was_done_goes_on_with_more_epochs_only() {
    for (max_epochs, goes_on) in [(1, false), (2, false), (3, true)] {
        let mut record = standing(After::Completed, 3, 3, 3);
        record.engine.epoch = 2;
        record.engine.iteration = 6;
        let mut engine = Engine::<u32>::new(max_epochs);
        engine.restore::<Log, _>(&record, &mut ()).unwrap();
        assert_eq!(engine.begin_iteration(&mut Log::new(), &mut ()), goes_on, "{max_epochs}");
    }
}

#[test]
fn what_waits_to_be_fired_belongs_to_the_run_that_was_left() {
    let mut seen = Log::new();
    let mut engine = Engine::new(2).with_epoch_length(2);
    assert!(engine.begin_iteration(&mut seen, &mut ()));
    engine.state_mut().fire(USER).unwrap();
    engine.restore::<Log, _>(&standing(After::Iteration, 1, 1, 2), &mut ()).unwrap();
    // One event of the run that goes on, not two.
    engine.state_mut().fire(UserEvent { id: 8, value: 0 }).unwrap();
    assert!(engine.begin_iteration(&mut seen, &mut log()));
    assert_eq!(seen, [Event::User(UserEvent { id: 8, value: 0 }), Event::IterationStarted]);
}

/// Fired and cut from outside, between two iterations: the event is seen, at the first event that follows.
#[test]
fn an_event_fired_before_a_cut_is_not_lost() {
    let mut seen = Log::new();
    let mut engine = Engine::new(1).with_epoch_length(3);
    assert!(engine.begin_iteration(&mut seen, &mut ()));
    assert!(engine.end_iteration(0, &mut seen, &mut ()));
    engine.state_mut().fire(USER).unwrap();
    engine.state_mut().terminate_epoch();
    assert!(!engine.begin_iteration(&mut seen, &mut log()));
    let expected = [Event::TerminateSingleEpoch, Event::User(USER), Event::EpochCompleted, Event::Completed];
    assert_eq!(seen, expected);
}

#[test]
fn an_event_fired_between_two_iterations_comes_before_the_next() {
    let mut seen = Log::new();
    let mut engine = Engine::new(1).with_epoch_length(3);
    assert!(engine.begin_iteration(&mut seen, &mut ()));
    assert!(engine.end_iteration(0, &mut seen, &mut ()));
    engine.state_mut().fire(USER).unwrap();
    assert!(engine.begin_iteration(&mut seen, &mut log()));
    assert_eq!(seen, [Event::User(USER), Event::IterationStarted]);
}

/// Says that something is pending, always.
#[derive(Default)]
struct Eager {
    asks: bool,
    pending: bool,
    acted: u32,
}

impl Handler<Log, u32> for Eager {
    fn on_event(&mut self, _: Event, _: &mut Log, state: &mut State<u32>) {
        if self.asks {
            state.request_act();
        }
    }
    fn pending(&self) -> bool {
        self.pending
    }
    fn act(&mut self, _: &mut Log, _: &mut State<u32>, _: &Record) -> bool {
        self.acted += 1;
        false
    }
}

#[test]
fn who_does_not_ask_does_not_act() {
    let mut eager = Eager { pending: true, ..Eager::default() };
    let stop = on(IterationCompleted, |_: &mut Log, state: &mut State<u32>| state.terminate(StopReason::User(1)));
    Engine::new(2).run(&mut Log::new(), 0..3, &mut (&mut eager, stop), |_, batch, _| batch).unwrap();
    assert_eq!(eager.acted, 0);
    eager.asks = true;
    Engine::new(2).run(&mut Log::new(), 0..3, &mut eager, |_, batch, _| batch).unwrap();
    assert!(eager.acted > 0);
    // Asked for between two iterations, from outside.
    let (mut engine, mut eager) = (Engine::new(1).with_epoch_length(9), Eager { pending: true, ..Eager::default() });
    for acted in 0..2 {
        let seen = &mut Log::new();
        assert!(engine.begin_iteration(seen, &mut eager) && engine.end_iteration(0, seen, &mut eager));
        assert_eq!(eager.acted, acted);
        engine.state_mut().request_act();
    }
}

/// What a handler does that has only what must be written.
#[test]
fn the_least_of_handlers_saves_nothing() {
    struct Least;
    impl Handler<Log, u32> for Least {
        fn on_event(&mut self, event: Event, log: &mut Log, state: &mut State<u32>) {
            log.push(event);
            state.request_act();
        }
    }
    /// Pending, but without an action.
    struct Idle;
    impl Handler<Log, u32> for Idle {
        fn on_event(&mut self, event: Event, log: &mut Log, state: &mut State<u32>) {
            Least.on_event(event, log, state);
        }
        fn pending(&self) -> bool {
            true
        }
    }
    let mut seen = Log::new();
    Engine::new(1).run(&mut seen, 0..1, &mut Least, |_, batch, _| batch).unwrap();
    Engine::new(1).run(&mut seen, 0..1, &mut Idle, |_, batch, _| batch).unwrap();
    assert!(!seen.contains(&Event::SavedCheckpoint));
    let (least, mut record): (&mut dyn Handler<Log, u32>, _) = (&mut Least, Record::new());
    assert!(!least.pending() && !least.load(1, &mut seen) && !least.verify(1, &mut seen, &mut record));
    assert_eq!(least.newest(None), None);
}

#[test]
fn the_error_of_a_record_is_its_first() {
    let handlers = || {
        let stopping = EarlyStopping::new(2).unwrap().attach(IterationCompleted, |_: &State<u32>| 0.0);
        (stopping, Timer::new(0).attach(|| 0, Completed, Completed, Completed, Completed))
    };
    let nothing = Engine::<u32>::new(1).restore::<Log, _>(&Record::new(), &mut handlers());
    let missing = training_monitor::record::kind::EARLY_STOPPING;
    assert_eq!(nothing, Err(RestoreError::Missing { kind: missing }));
}

/// Which of two checkpoints a run goes on from, and what it tells of those that it passed over.
#[test]
fn a_resumed_run_tells_what_it_skipped() {
    struct Medium(u32);
    impl Handler<Log, u32> for Medium {
        fn on_event(&mut self, _: Event, _: &mut Log, _: &mut State<u32>) {}
        fn newest(&mut self, below: Option<u32>) -> Option<u32> {
            [9, 6, 3].into_iter().find(|iteration| below.is_none_or(|below| *iteration < below))
        }
        fn verify(&mut self, iteration: u32, _: &mut Log, record: &mut Record) -> bool {
            *record = standing(After::Iteration, 3, 3, 3);
            iteration <= self.0
        }
        fn load(&mut self, _: u32, _: &mut Log) -> bool {
            true
        }
    }
    let resume = |good| Engine::<u32>::new(2).resume(&mut Log::new(), &mut Medium(good));
    assert_eq!(resume(0), Err(RestoreError::NoneFits { skipped: 3 }));
    for (good, iteration, skipped) in [(9, 9, 0), (6, 6, 1), (3, 3, 2)] {
        let resumed = resume(good).unwrap().unwrap();
        assert_eq!((resumed.epoch, resumed.iteration, resumed.skipped), (1, iteration, skipped));
    }
    assert_eq!(Engine::<u32>::new(2).resume(&mut Log::new(), &mut ()), Ok(None));
}

/// `TerminateOnNan`'s place in a record, between those of its neighbours.
#[test]
fn a_guard_in_a_run_goes_on_with_its_phase() {
    let guard = || {
        TerminateOnNan::new().with_cadence(NonZeroU32::new(3).unwrap()).attach(
            IterationCompleted,
            |_: &Log, state: &State<u32>| {
                if state.iteration() == 4 { Some(f32::NAN) } else { Some(0.0) }
            },
        )
    };
    let mut handlers = guard();
    let mut engine = Engine::new(1).with_epoch_length(2);
    engine.run(&mut Log::new(), 0..2, &mut handlers, |_, batch, _| batch).unwrap();
    let record = engine.record::<Log, _>(&mut handlers).unwrap();
    assert_eq!(record.handlers().map(|(kind, _)| kind).collect::<Vec<_>>(), [4]);
    let mut again = guard();
    Engine::<u32>::new(1).restore::<Log, _>(&record, &mut again).unwrap();
    assert_eq!(again.terminate_on_nan, handlers.terminate_on_nan);
    assert_ne!(again.terminate_on_nan, guard().terminate_on_nan);
}

/// A state of the user's own in a record: what fits, to the last byte, and what does not.
#[test]
fn a_record_takes_what_fits() {
    struct Big(usize, Option<Vec<u8>>);
    impl Handler<Log, u32> for Big {
        fn on_event(&mut self, _: Event, _: &mut Log, _: &mut State<u32>) {}
        fn save_state(&mut self, _: &State<u32>, record: &mut RecordWriter<'_>) {
            record.push(200, &vec![5_u8; self.0]);
        }
        fn restore_state(&mut self, _: &mut State<u32>, record: &mut RecordReader<'_>) {
            self.1 = record.take(200);
        }
    }
    // Two bytes of kind and length, and one of the vector's own length.
    for (len, fits) in [(0, true), (100, true), (125, true), (126, false), (127, false), (300, false)] {
        let engine = Engine::<u32>::new(1);
        let record = engine.record::<Log, _>(&mut Big(len, None));
        assert_eq!(record.is_ok(), fits, "{len}");
        let Ok(record) = record else { continue };
        let mut read = Big(0, None);
        Engine::<u32>::new(1).restore::<Log, _>(&record, &mut read).unwrap();
        assert_eq!(read.1, Some(vec![5; len]));
        assert_eq!(Engine::<u32>::new(1).restore::<Log, _>(&record, &mut ()), Err(RestoreError::Left { kind: 200 }));
    }
}
