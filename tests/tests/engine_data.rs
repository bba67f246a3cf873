//! Data as the engine sees it: longer or shorter than an epoch or than it says, and gone on with from a record.

use training_monitor::engine::{After, Batches, Position, Stream};
use training_monitor::record::{Record, RestoreError};
use training_monitor::{Engine, Event, Handler, Outcome, RunError, State, StopReason};
use training_monitor_tests::standing::standing;

type Log = Vec<Event>;

/// Writes down what fires.
struct All;

impl Handler<Log, u32> for All {
    fn on_event(&mut self, event: Event, log: &mut Log, _: &mut State<u32>) {
        log.push(event);
    }
}

fn restored(record: &Record) -> Engine<u32> {
    let mut engine = Engine::new(2);
    engine.restore::<Log, _>(record, &mut ()).unwrap();
    engine
}

#[test]
fn lent_data_is_data() {
    let mut data = 0..3;
    let mut lent = &mut data;
    assert_eq!(Batches::len(&lent), Some(3));
    let at = |drawn| Position { epoch: 1, offset: drawn, drawn };
    assert_eq!((Batches::get(&mut lent, at(0)), Batches::get(&mut lent, at(2))), (Some(0), Some(2)));
    let outcome = Engine::new(2).run(&mut (), &mut data, &mut (), |(), batch, _| batch).unwrap();
    assert_eq!(outcome, Outcome { reason: StopReason::MaxEpochs, epoch: 2, iteration: 6 });
    assert_eq!(Batches::len(&&mut Stream([1].iter())), None);
}

/// Data that is shorter than the epoch begins again, also where it is shorter than it says.
#[test]
fn data_shorter_than_its_epoch_begins_again() {
    struct Three(Option<u32>);
    impl Batches for Three {
        type Batch = u32;
        fn len(&self) -> Option<u32> {
            self.0
        }
        fn get(&mut self, at: Position) -> Option<u32> {
            (at.drawn < 3).then_some(at.drawn)
        }
    }
    for says in [Some(3), Some(4), Some(9), None] {
        let mut drawn = Vec::new();
        let mut engine = Engine::new(2).with_epoch_length(5);
        engine.run(&mut (), Three(says), &mut (), |(), batch, _| drawn.push(batch)).unwrap();
        assert_eq!(drawn, [0, 1, 2, 0, 1, 2, 0, 1, 2, 0], "{says:?}");
    }
}

/// A record may stand further on in the data than the data is long: that of a run over more of it, or of one that counted
/// on from epoch to epoch.
#[test]
fn a_record_further_on_than_the_data_is_long() {
    for after in [After::Iteration, After::GetBatchCompleted, After::IterationStarted] {
        let mut record = standing(after, 2, 17, 5);
        record.engine.drawn = 14;
        let mut drawn = Vec::new();
        let mut engine = Engine::<u32>::new(2);
        engine.restore::<(), _>(&record, &mut ()).unwrap();
        engine.run(&mut (), 10..13, &mut (), |(), batch, _| (drawn.push(batch), batch).1).unwrap();
        assert_eq!(drawn, [12, 10, 11, 12, 10, 11, 12, 10], "{after:?}");
        // The next run over more of it sees all of it.
        drawn.clear();
        engine.run(&mut (), 10..16, &mut (), |(), batch, _| (drawn.push(batch), batch).1).unwrap();
        assert_eq!(drawn[..7], [10, 11, 12, 13, 14, 15, 10], "{after:?}");
    }
}

/// How long the data of an earlier run was is of no matter to a loop over other data.
#[test]
fn a_loop_after_a_run_counts_its_own_data() {
    for way in 0..3 {
        let mut engine = Engine::new(1).with_epoch_length(5);
        engine.run(&mut Log::new(), 0..3, &mut (), |_, batch, _| batch).unwrap();
        match way {
            0 => engine.restart(),
            1 => engine.start_after_epoch(0, 5),
            _ => engine.restore::<Log, _>(&standing(After::Iteration, 0, 0, 5), &mut ()).unwrap(),
        }
        let mut drawn = Vec::new();
        while engine.begin_iteration(&mut Log::new(), &mut ()) {
            drawn.push(engine.engine_state().drawn);
            engine.end_iteration(0, &mut Log::new(), &mut ());
        }
        assert_eq!(drawn, [0, 1, 2, 3, 4], "{way}");
    }
}

/// An epoch of unknown length is over where it has as many iterations as there can be.
#[test]
fn the_longest_epoch_there_can_be() {
    let mut engine = restored(&standing(After::Iteration, u32::MAX - 2, u32::MAX - 1, 0));
    let mut seen = Log::new();
    for at in [u32::MAX - 2, u32::MAX - 1] {
        assert!(engine.begin_iteration(&mut seen, &mut All));
        assert_eq!((engine.state().offset(), engine.state().iteration()), (at, u32::MAX));
        assert!(engine.end_iteration(0, &mut seen, &mut All));
    }
    assert_eq!(seen.last(), Some(&Event::EpochCompleted));
    assert_eq!(engine.state().epoch_length(), Some(u32::MAX));
    assert!(engine.begin_iteration(&mut seen, &mut All));
    assert_eq!((engine.state().epoch(), engine.state().offset()), (2, 0));
}

#[test]
fn an_epoch_that_is_made_shorter_under_way() {
    let mut seen = Log::new();
    let mut engine = Engine::<u32>::new(1).with_epoch_length(9);
    for _ in 0..3 {
        assert!(engine.begin_iteration(&mut seen, &mut All) && engine.end_iteration(0, &mut seen, &mut All));
    }
    let mut engine = engine.with_epoch_length(3);
    assert!(!engine.begin_iteration(&mut seen, &mut All));
    assert_eq!(engine.outcome().map(|outcome| outcome.iteration), Some(3));
}

/// An iteration that has been started is one of its epoch, and is counted.
#[test]
fn a_record_with_an_iteration_too_many_is_refused() {
    let refused = |offset, iteration, epoch_length| {
        let record = standing(After::IterationStarted, offset, iteration, epoch_length);
        Engine::<u32>::new(2).restore::<(), _>(&record, &mut ()) == Err(RestoreError::Engine)
    };
    assert!(!refused(3, 4, 4) && !refused(3, 4, 0) && !refused(u32::MAX - 1, u32::MAX, 0));
    assert!(refused(3, 3, 4) && refused(4, 5, 4) && refused(u32::MAX, u32::MAX, 0));
}

/// Where data is missing for an iteration that had been started, it is the one that is told of.
#[test]
fn data_that_is_gone_after_a_restart() {
    for (epoch_length, after) in [(0, After::IterationStarted), (9, After::IterationStarted), (9, After::Iteration)] {
        let mut engine = restored(&standing(after, 4, 5, epoch_length));
        let error = engine.run(&mut Log::new(), Stream([0_u32; 0].iter()), &mut (), |_, batch, _| *batch);
        assert_eq!(error, Err(RunError::DataExhausted { epoch: 1, iteration: 5 }), "{epoch_length} {after:?}");
    }
}

/// Data that ends for good ends the run.
#[test]
fn data_that_ended_ends_the_run() {
    let mut engine = Engine::new(2).with_epoch_length(4);
    let ended = engine.run(&mut (), Stream(0..2_u32), &mut (), |(), batch, _| batch);
    assert_eq!(ended, Err(RunError::DataExhausted { epoch: 1, iteration: 2 }));
    assert_eq!(engine.outcome().map(|outcome| outcome.iteration), Some(2));
}

/// The end of the data ends an epoch of unknown length, also in a run that went on within an iteration.
#[test]
fn an_iteration_gone_on_with_is_not_the_last() {
    let mut engine = restored(&standing(After::IterationStarted, 4, 5, 0));
    let mut seen = Log::new();
    let error = engine.run(&mut seen, Stream([7, 8].iter()), &mut All, |_, batch, _| *batch);
    assert_eq!(error, Err(RunError::DataExhausted { epoch: 2, iteration: 6 }));
    assert_eq!(seen.iter().filter(|event| **event == Event::EpochCompleted).count(), 1);
    assert_eq!(engine.state().epoch_length(), Some(6));
}

/// Nothing of what an engine was at is left where a record puts it elsewhere.
#[test]
fn an_engine_put_elsewhere_under_way() {
    for stop in [None, Some(StopReason::User(1))] {
        let mut seen = Log::new();
        let mut engine = Engine::<u32>::new(1).with_epoch_length(9);
        assert!(engine.begin_iteration(&mut seen, &mut All) && engine.end_iteration(0, &mut seen, &mut All));
        let mut record = standing(After::Iteration, 3, 3, if stop.is_some() { 9 } else { 3 });
        record.engine.stop = stop;
        engine.restore::<Log, _>(&record, &mut All).unwrap();
        assert!(!engine.begin_iteration(&mut seen, &mut All), "{stop:?}");
    }
}
