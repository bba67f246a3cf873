//! Tests of the data of a run: data that is longer or shorter than an epoch, data that reports a wrong length, and the
//! position in the data after a restart.

#[path = "common/record_fixtures.rs"]
mod record_fixtures;

use record_fixtures::record_fixture;
use training_monitor::engine::{Batches, IterBatches, Phase, Position};
use training_monitor::run_record::{RestoreError, RunRecord};
use training_monitor::{Engine, Event, Handler, Outcome, RunError, State, StopReason};

type Log = Vec<Event>;

/// A handler that appends every event to the log.
struct Recorder;

impl Handler<Log, u32> for Recorder {
    fn on_event(&mut self, event: Event, log: &mut Log, _: &mut State<u32>) {
        log.push(event);
    }
}

fn restored(record: &RunRecord) -> Engine<u32> {
    let mut engine = Engine::new(2);
    engine.restore::<Log, _>(record, &mut ()).unwrap();
    engine
}

#[test]
fn a_mutable_reference_to_data_is_data() {
    let mut data = 0..3;
    let mut reference = &mut data;
    assert_eq!(Batches::len(&reference), Some(3));
    let position = |offset| Position { epoch: 1, offset, data_offset: offset };
    assert_eq!(Batches::get(&mut reference, position(0)), Some(0));
    assert_eq!(Batches::get(&mut reference, position(2)), Some(2));
    let outcome = Engine::new(2).run(&mut (), &mut data, &mut (), |(), batch, _| batch).unwrap();
    assert_eq!(outcome, Outcome { reason: StopReason::MaxEpochs, epoch: 2, iteration: 6 });
    assert_eq!(Batches::len(&&mut IterBatches([1].iter())), None);
}

#[test]
fn data_shorter_than_the_epoch_restarts_even_if_its_length_is_wrong() {
    /// Data that consists of three batches. The field is the length that the data reports, which may be wrong.
    struct Three(Option<u32>);
    impl Batches for Three {
        type Batch = u32;
        fn len(&self) -> Option<u32> {
            self.0
        }
        fn get(&mut self, position: Position) -> Option<u32> {
            (position.data_offset < 3).then_some(position.data_offset)
        }
    }
    for reported in [Some(3), Some(4), Some(9), None] {
        let mut batches = Vec::new();
        let mut engine = Engine::new(2).with_epoch_length(5);
        engine.run(&mut (), Three(reported), &mut (), |(), batch, _| batches.push(batch)).unwrap();
        assert_eq!(batches, [0, 1, 2, 0, 1, 2, 0, 1, 2, 0], "{reported:?}");
    }
}

/// The data offset (position in the data) of a run record can be larger than the number of batches. The earlier run may
/// have had more data.
#[test]
fn a_data_offset_beyond_the_end_of_the_data_wraps() {
    for phase in [Phase::BetweenIterations, Phase::GetBatchCompleted, Phase::IterationStarted] {
        let mut record = record_fixture(phase, 2, 17, 5);
        record.engine.data_offset = 14;
        let mut batches = Vec::new();
        let mut engine = Engine::<u32>::new(2).with_epoch_length(5);
        engine.restore::<(), _>(&record, &mut ()).unwrap();
        engine.run(&mut (), 10..13, &mut (), |(), batch, _| (batches.push(batch), batch).1).unwrap();
        assert_eq!(batches, [12, 10, 11, 12, 10, 11, 12, 10], "{phase:?}");
        // A second run with the same engine gets more batches. It must use all of them.
        batches.clear();
        engine.run(&mut (), 10..16, &mut (), |(), batch, _| (batches.push(batch), batch).1).unwrap();
        assert_eq!(batches[..7], [10, 11, 12, 13, 14, 15, 10], "{phase:?}");
    }
}

#[test]
fn a_manual_loop_ignores_the_data_length_of_an_earlier_run() {
    for start in 0..3 {
        let mut engine = Engine::new(1).with_epoch_length(5);
        engine.run(&mut Log::new(), 0..3, &mut (), |_, batch, _| batch).unwrap();
        match start {
            0 => engine.restart(),
            1 => engine.start_after_epoch(0, 5),
            _ => engine.restore::<Log, _>(&record_fixture(Phase::BetweenIterations, 0, 0, 5), &mut ()).unwrap(),
        }
        let mut data_offsets = Vec::new();
        while engine.begin_iteration(&mut Log::new(), &mut ()).unwrap() {
            data_offsets.push(engine.engine_state().data_offset);
            engine.end_iteration(0, &mut Log::new(), &mut ());
        }
        assert_eq!(data_offsets, [0, 1, 2, 3, 4], "{start}");
    }
}

#[test]
fn an_epoch_of_unknown_length_ends_after_u32_max_iterations() {
    let mut engine = restored(&record_fixture(Phase::BetweenIterations, u32::MAX - 2, u32::MAX - 1, 0));
    let mut log = Log::new();
    for offset in [u32::MAX - 2, u32::MAX - 1] {
        assert_eq!(engine.begin_iteration(&mut log, &mut Recorder), Ok(true));
        assert_eq!((engine.state().offset(), engine.state().iteration()), (offset, u32::MAX));
        assert!(engine.end_iteration(0, &mut log, &mut Recorder));
    }
    assert_eq!(log.last(), Some(&Event::EpochCompleted));
    assert_eq!(engine.state().epoch_length(), Some(u32::MAX));
    assert_eq!(engine.begin_iteration(&mut log, &mut Recorder), Ok(true));
    assert_eq!((engine.state().epoch(), engine.state().offset()), (2, 0));
}

#[test]
fn a_shorter_epoch_length_set_between_iterations_ends_the_epoch() {
    let mut log = Log::new();
    let mut engine = Engine::<u32>::new(1).with_epoch_length(9);
    for _ in 0..3 {
        assert_eq!(engine.begin_iteration(&mut log, &mut Recorder), Ok(true));
        assert!(engine.end_iteration(0, &mut log, &mut Recorder));
    }
    let mut engine = engine.with_epoch_length(3);
    assert_eq!(engine.begin_iteration(&mut log, &mut Recorder), Ok(false));
    assert_eq!(engine.outcome().map(|outcome| outcome.iteration), Some(3));
}

/// An iteration that has started is already counted and belongs to the current epoch. A run record that contradicts
/// this is rejected.
#[test]
fn a_record_with_a_started_iteration_beyond_its_counters_is_rejected() {
    let is_rejected = |offset, iteration, epoch_length| {
        let record = record_fixture(Phase::IterationStarted, offset, iteration, epoch_length);
        Engine::<u32>::new(2).restore::<(), _>(&record, &mut ()) == Err(RestoreError::Engine)
    };
    assert!(!is_rejected(3, 4, 4) && !is_rejected(3, 4, 0) && !is_rejected(u32::MAX - 1, u32::MAX, 0));
    assert!(is_rejected(3, 3, 4) && is_rejected(4, 5, 4) && is_rejected(u32::MAX, u32::MAX, 0));
}

#[test]
fn data_missing_after_resume_reports_the_resumed_iteration() {
    for (epoch_length, phase) in
        [(0, Phase::IterationStarted), (9, Phase::IterationStarted), (9, Phase::BetweenIterations)]
    {
        let mut engine = restored(&record_fixture(phase, 4, 5, epoch_length));
        let error = engine.run(&mut Log::new(), IterBatches([0_u32; 0].iter()), &mut (), |_, batch, _| *batch);
        assert_eq!(error, Err(RunError::DataExhausted { epoch: 1, iteration: 5 }), "{epoch_length} {phase:?}");
    }
}

#[test]
fn exhausted_data_stops_the_run_with_an_outcome() {
    let mut engine = Engine::new(2).with_epoch_length(4);
    let result = engine.run(&mut (), IterBatches(0..2_u32), &mut (), |(), batch, _| batch);
    assert_eq!(result, Err(RunError::DataExhausted { epoch: 1, iteration: 2 }));
    assert_eq!(engine.outcome().map(|outcome| outcome.iteration), Some(2));
}

/// If the epoch length is unknown, an epoch ends when the data ends. This also holds for a run that was resumed inside
/// an iteration.
#[test]
fn an_epoch_resumed_within_an_iteration_ends_with_the_data() {
    let mut engine = restored(&record_fixture(Phase::IterationStarted, 4, 5, 0));
    let mut log = Log::new();
    let error = engine.run(&mut log, IterBatches([7, 8].iter()), &mut Recorder, |_, batch, _| *batch);
    assert_eq!(error, Err(RunError::DataExhausted { epoch: 2, iteration: 6 }));
    assert_eq!(log.iter().filter(|event| **event == Event::EpochCompleted).count(), 1);
    assert_eq!(engine.state().epoch_length(), Some(6));
}

#[test]
fn restore_during_a_run_replaces_the_whole_engine_state() {
    for stop in [None, Some(StopReason::User(1))] {
        let mut log = Log::new();
        let mut engine = Engine::<u32>::new(1);
        assert_eq!(engine.begin_iteration(&mut log, &mut Recorder), Ok(true));
        assert!(engine.end_iteration(0, &mut log, &mut Recorder));
        let mut record = record_fixture(Phase::BetweenIterations, 3, 3, if stop.is_some() { 9 } else { 3 });
        record.engine.stop = stop;
        engine.restore::<Log, _>(&record, &mut Recorder).unwrap();
        assert_eq!(engine.begin_iteration(&mut log, &mut Recorder), Ok(false), "{stop:?}");
    }
}
