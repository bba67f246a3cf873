//! Edge cases of the engine. Mutation testing (automatic changes of single lines) showed that no other test covers
//! them. Examples are requests from outside a run, and handlers that request no action.

#[path = "common/record_fixtures.rs"]
mod record_fixtures;

use record_fixtures::record_fixture;
use training_monitor::engine::Phase;
use training_monitor::event::IterationCompleted;
use training_monitor::run_record::{HandlerKind, HandlerStates, Persist, RestoreError, ResumePoint, RunRecord};
use training_monitor::{EarlyStopping, Engine, Event, Handler, State, StopReason, Timer, UserEvent, on};

type Log = Vec<Event>;

/// A handler that appends every event to the log.
struct Recorder;

impl Handler<Log, u32> for Recorder {
    fn on_event(&mut self, event: Event, log: &mut Log, _: &mut State<u32>) {
        log.push(event);
    }
}

const USER: UserEvent = UserEvent { id: 7, value: 0 };

fn restored(record: &RunRecord) -> Engine<u32> {
    let mut engine = Engine::new(2);
    engine.restore::<Log, _>(record, &mut ()).unwrap();
    engine
}

#[test]
fn end_data_ends_an_epoch_only_between_iterations() {
    let mut log = Log::new();
    let mut engine = Engine::new(2);
    assert_eq!(engine.begin_iteration(&mut log, &mut Recorder), Ok(true));
    assert!(engine.end_iteration(0, &mut log, &mut Recorder));
    // `end_data` does nothing here, because the second iteration has started and is not complete.
    assert_eq!(engine.begin_iteration(&mut log, &mut Recorder), Ok(true));
    let before = log.len();
    engine.end_data(&mut log, &mut Recorder);
    assert_eq!((log.len(), engine.state().epoch_length()), (before, None));
    // `end_data` also does nothing before the first iteration of an epoch. The known epoch length does not change.
    let mut engine = restored(&record_fixture(Phase::BetweenIterations, 0, 0, 3));
    engine.end_data(&mut Log::new(), &mut ());
    assert_eq!(engine.state().epoch_length(), Some(3));
}

/// A run record can describe the moment after the last iteration of an epoch. The resumed run then begins with
/// EpochCompleted.
#[test]
fn a_run_restored_at_the_end_of_an_epoch_completes_it() {
    let mut log = Log::new();
    let mut engine = restored(&record_fixture(Phase::BetweenIterations, 3, 3, 3));
    assert_eq!(engine.begin_iteration(&mut log, &mut Recorder), Ok(true));
    assert_eq!(log, [Event::EpochCompleted, Event::EpochStarted, Event::IterationStarted]);
    for (offset, epoch_length) in [(4, 3), (3, 1)] {
        let record = record_fixture(Phase::BetweenIterations, offset, offset, epoch_length);
        let refused = Engine::<u32>::new(2).restore::<Log, _>(&record, &mut ());
        assert_eq!(refused, Err(RestoreError::Engine));
    }
    let mut record = record_fixture(Phase::BetweenIterations, 3, 3, 3);
    record.engine.iteration = 2;
    assert_eq!(Engine::<u32>::new(2).restore::<Log, _>(&record, &mut ()), Err(RestoreError::Engine));
}

#[test]
fn a_completed_run_continues_only_if_the_engine_has_more_epochs() {
    for (max_epochs, continues) in [(1, false), (2, false), (3, true)] {
        let mut record = record_fixture(Phase::Completed, 3, 3, 3);
        record.engine.epoch = 2;
        record.engine.iteration = 6;
        let mut engine = Engine::<u32>::new(max_epochs);
        engine.restore::<Log, _>(&record, &mut ()).unwrap();
        assert_eq!(engine.begin_iteration(&mut Log::new(), &mut ()), Ok(continues), "{max_epochs}");
    }
}

#[test]
fn restore_clears_the_queue_of_user_events() {
    let mut log = Log::new();
    let mut engine = Engine::new(2).with_epoch_length(2);
    assert_eq!(engine.begin_iteration(&mut log, &mut ()), Ok(true));
    engine.state_mut().fire(USER).unwrap();
    engine.restore::<Log, _>(&record_fixture(Phase::BetweenIterations, 1, 1, 2), &mut ()).unwrap();
    // `restore` has emptied the queue of user events. The engine therefore dispatches only the event 8 that is fired
    // here.
    engine.state_mut().fire(UserEvent { id: 8, value: 0 }).unwrap();
    assert_eq!(engine.begin_iteration(&mut log, &mut Recorder), Ok(true));
    assert_eq!(log, [Event::User(UserEvent { id: 8, value: 0 }), Event::IterationStarted]);
}

/// Between two iterations, the program fires a user event and terminates the epoch. The engine dispatches the user
/// event directly after TerminateSingleEpoch.
#[test]
fn a_user_event_fired_before_terminate_epoch_is_dispatched() {
    let mut log = Log::new();
    let mut engine = Engine::new(1).with_epoch_length(3);
    assert_eq!(engine.begin_iteration(&mut log, &mut ()), Ok(true));
    assert!(engine.end_iteration(0, &mut log, &mut ()));
    engine.state_mut().fire(USER).unwrap();
    engine.state_mut().terminate_epoch();
    assert_eq!(engine.begin_iteration(&mut log, &mut Recorder), Ok(false));
    let expected = [Event::TerminateSingleEpoch, Event::User(USER), Event::EpochCompleted, Event::Completed];
    assert_eq!(log, expected);
}

#[test]
fn a_user_event_fired_between_two_iterations_precedes_the_next_one() {
    let mut log = Log::new();
    let mut engine = Engine::new(1).with_epoch_length(3);
    assert_eq!(engine.begin_iteration(&mut log, &mut ()), Ok(true));
    assert!(engine.end_iteration(0, &mut log, &mut ()));
    engine.state_mut().fire(USER).unwrap();
    assert_eq!(engine.begin_iteration(&mut log, &mut Recorder), Ok(true));
    assert_eq!(log, [Event::User(USER), Event::IterationStarted]);
}

/// A handler that counts its calls of `perform`. If `requests` is true, it requests such a call at each event.
#[derive(Default)]
struct ActionCounter {
    requests: bool,
    actions: u32,
}

impl Handler<Log, u32> for ActionCounter {
    fn on_event(&mut self, _: Event, _: &mut Log, state: &mut State<u32>) {
        if self.requests {
            state.request_action();
        }
    }
    fn perform(&mut self, _: &mut Log, _: &mut State<u32>, _: &RunRecord<[u8]>) -> bool {
        self.actions += 1;
        false
    }
}

#[test]
fn a_handler_acts_only_after_a_request() {
    let mut handler = ActionCounter::default();
    let stop = on(IterationCompleted, |_, state| state.terminate(StopReason::User(1)));
    Engine::new(2).run(&mut Log::new(), 0..3, &mut (&mut handler, stop), |_, batch, _| batch).unwrap();
    assert_eq!(handler.actions, 0);
    handler.requests = true;
    Engine::new(2).run(&mut Log::new(), 0..3, &mut handler, |_, batch, _| batch).unwrap();
    assert!(handler.actions > 0);
    // A program can also request an action between two iterations, from outside the handlers.
    let mut handler = ActionCounter::default();
    let mut engine = Engine::new(1).with_epoch_length(9);
    for actions in 0..2 {
        let log = &mut Log::new();
        assert_eq!(engine.begin_iteration(log, &mut handler), Ok(true));
        assert!(engine.end_iteration(0, log, &mut handler));
        assert_eq!(handler.actions, actions);
        engine.state_mut().request_action();
    }
}

#[test]
fn a_request_of_one_handler_calls_every_handler() {
    let request = on(IterationCompleted, |_, state| state.request_action());
    let mut handlers = (ActionCounter::default(), request, [ActionCounter::default()]);
    Engine::new(2).run(&mut Log::new(), 0..3, &mut handlers, |_, batch, _| batch).unwrap();
    assert_eq!((handlers.0.actions, handlers.2[0].actions), (6, 6));
}

/// A handler needs to implement only `on_event`. The other methods of the trait then save nothing and load nothing.
#[test]
fn the_provided_methods_of_a_handler_save_and_load_nothing() {
    struct Minimal;
    impl Handler<Log, u32> for Minimal {
        fn on_event(&mut self, event: Event, log: &mut Log, state: &mut State<u32>) {
            log.push(event);
            state.request_action();
        }
    }
    let mut log = Log::new();
    let mut engine = Engine::new(1);
    engine.run(&mut log, 0..1, &mut Minimal, |_, batch, _| batch).unwrap();
    assert!(!log.contains(&Event::SavedCheckpoint));
    assert_eq!(engine.record::<Log, _>(&mut Minimal).unwrap().handlers().count(), 0);
    let (minimal, mut record): (&mut dyn Handler<Log, u32>, _) = (&mut Minimal, RunRecord::new());
    let point = ResumePoint { run: 1, iteration: 1, sequence: 1 };
    assert_eq!(minimal.load_checkpoint(point, &mut log), Ok(false));
    assert_eq!(minimal.verify_checkpoint(point, &mut log, &mut record), Ok(false));
    assert_eq!(minimal.newest_checkpoint(None), Ok(None));
    assert_eq!((minimal.damaged_checkpoints(), minimal.save_error()), (0, None));
}

#[test]
fn restore_returns_the_first_error() {
    let handlers = || {
        let stopping = EarlyStopping::new(2).unwrap().attach(IterationCompleted, |_| 0.0);
        (stopping, Timer::new(0).attach(|| 0))
    };
    let restored = Engine::<u32>::new(1).restore::<Log, _>(&RunRecord::new(), &mut handlers());
    assert_eq!(restored, Err(RestoreError::Missing { kind: HandlerKind::EARLY_STOPPING }));
}

#[test]
fn resume_takes_the_newest_readable_checkpoint_and_counts_the_skipped_ones() {
    /// A handler with checkpoints of the iterations 9, 6 and 3. Checkpoints of iterations above the given one are not
    /// readable.
    struct Medium(u32);
    impl Handler<Log, u32> for Medium {
        fn on_event(&mut self, _: Event, _: &mut Log, _: &mut State<u32>) {}
        fn newest_checkpoint(&mut self, below: Option<ResumePoint>) -> Result<Option<ResumePoint>, RestoreError> {
            let points = [9, 6, 3].map(|iteration| ResumePoint { run: 0, iteration, sequence: 0 });
            Ok(points.into_iter().find(|point| below.is_none_or(|below| *point < below)))
        }
        fn verify_checkpoint(
            &mut self,
            point: ResumePoint,
            _: &mut Log,
            record: &mut RunRecord<[u8]>,
        ) -> Result<bool, RestoreError> {
            record.engine = record_fixture(Phase::BetweenIterations, 3, point.iteration, 3).engine;
            Ok(point.iteration <= self.0)
        }
        fn load_checkpoint(&mut self, _: ResumePoint, _: &mut Log) -> Result<bool, RestoreError> {
            Ok(true)
        }
    }
    let resume = |newest_readable| Engine::<u32>::new(2).resume(&mut Log::new(), &mut Medium(newest_readable));
    assert_eq!(resume(0), Err(RestoreError::NoneLoadable { skipped: 3 }));
    for (newest_readable, iteration, skipped) in [(9, 9, 0), (6, 6, 1), (3, 3, 2)] {
        let resumed = resume(newest_readable).unwrap().unwrap();
        assert_eq!((resumed.epoch, resumed.iteration, resumed.skipped), (1, iteration, skipped));
    }
    assert_eq!(Engine::<u32>::new(2).resume(&mut Log::new(), &mut ()), Ok(None));
}

#[test]
fn a_record_accepts_a_state_up_to_the_last_byte_of_its_capacity() {
    /// A user-defined handler. The first field is the length of the state that it saves. The second field is the state
    /// that was restored.
    struct Stateful(usize, Option<Vec<u8>>);
    impl Handler<Log, u32> for Stateful {
        fn on_event(&mut self, _: Event, _: &mut Log, _: &mut State<u32>) {}
        fn persist(&mut self, _: &mut State<u32>, states: &mut HandlerStates<'_>) {
            states.visit(self);
        }
    }
    impl Persist for Stateful {
        const KIND: HandlerKind = HandlerKind::user(72);
        type State = Vec<u8>;
        fn save(&mut self) -> Vec<u8> {
            vec![5; self.0]
        }
        fn restore(&mut self, state: Vec<u8>) {
            self.1 = Some(state);
        }
    }
    // A run record can hold 128 bytes of handler states. Five of them store the kind of the handler, its tag, the
    // length of its state, and the length of the list.
    for (len, fits) in [(0, true), (100, true), (123, true), (124, false), (127, false), (300, false)] {
        let mut engine = Engine::<u32>::new(1);
        let record = engine.record::<Log, _>(&mut Stateful(len, None));
        assert_eq!(record.is_ok(), fits, "{len}");
        let Ok(record) = record else { continue };
        let mut handler = Stateful(0, None);
        Engine::<u32>::new(1).restore::<Log, _>(&record, &mut handler).unwrap();
        assert_eq!(handler.1, Some(vec![5; len]));
        let unclaimed = RestoreError::Unclaimed { kind: HandlerKind::user(72) };
        assert_eq!(Engine::<u32>::new(1).restore::<Log, _>(&record, &mut ()), Err(unclaimed));
    }
}
