//! Tests of the handlers `KeepOutput` and `KeepMetrics`, which restore the output and the metrics of `State` after a
//! restart.

#[path = "common/record_fixtures.rs"]
mod record_fixtures;

use record_fixtures::copy_record;
use training_monitor::event::EpochCompleted;
use training_monitor::handlers::keep::{KeepMetrics, KeepOutput};
use training_monitor::run_record::{CAPACITY, HandlerKind, RestoreError, RunRecord, RunRecordFull};
use training_monitor::{Engine, Event, Handler, State, on};

/// The metrics of the run: the last completed epoch, and the output of its last iteration.
type Metrics = (u32, Option<f32>);
/// For each event: the event, the iteration, the output and the metrics.
type Log = Vec<(Event, u32, Option<f32>, Metrics)>;

/// A handler that logs every event with the output and the metrics, and keeps the run record of every event.
#[derive(Default)]
struct RecordTaker {
    /// For each event: the length of the log, and the run record (the saved state of engine and handlers).
    records: Vec<(usize, RunRecord)>,
}

impl Handler<Log, f32, Metrics> for RecordTaker {
    fn on_event(&mut self, event: Event, log: &mut Log, state: &mut State<f32, Metrics>) {
        log.push((event, state.iteration(), state.output, state.metrics));
        state.request_action();
    }
    fn perform(&mut self, log: &mut Log, _: &mut State<f32, Metrics>, record: &RunRecord<[u8]>) -> bool {
        self.records.push((log.len(), copy_record(record)));
        false
    }
}

/// Runs four epochs of three iterations, from the beginning or from a run record. Returns the log, and the run record
/// of each event.
fn run<K: Handler<Log, f32, Metrics>>(from: Option<&RunRecord>, keep: K) -> (Log, Vec<(usize, RunRecord)>) {
    let measure = on(EpochCompleted, |_, state: &mut State<_, Metrics>| {
        state.metrics = (state.epoch(), state.output);
    });
    let mut handlers = (RecordTaker::default(), measure, keep);
    let mut log = Log::new();
    let mut engine = Engine::with_metrics(4, (0, None));
    if let Some(record) = from {
        engine.restore::<Log, _>(record, &mut handlers).unwrap();
    }
    engine.run(&mut log, 0..3, &mut handlers, |_, batch, state| (state.epoch() * 10 + batch) as f32).unwrap();
    (log, handlers.0.records)
}

/// Resumes a run after each of its events. Returns the number of resumed runs that differ from the uninterrupted run.
fn count_differences<K: Handler<Log, f32, Metrics>>(keep: impl Fn() -> K) -> usize {
    let (expected, records) = run(None, keep());
    assert_eq!(records.len(), 2 + 4 * (2 + 3 * 4));
    // The last event is left out: the run is then complete and cannot be resumed.
    records
        .iter()
        .filter(|(len, _)| *len < expected.len())
        .filter(|(len, record)| run(Some(record), keep()).0 != expected[*len..])
        .count()
}

#[test]
fn a_run_resumed_after_any_event_has_the_same_output_and_metrics() {
    assert_eq!(count_differences(|| (KeepOutput, KeepMetrics)), 0);
    // With both handlers, no resumed run differs. Here their order in the tuple is reversed, which must not matter.
    assert_eq!(count_differences(|| (KeepMetrics, KeepOutput)), 0);
}

#[test]
fn a_run_resumed_without_keep_handlers_differs() {
    assert!(count_differences(|| ()) > 0);
    // Without `KeepOutput`, a resumed run has no output until its next step. So at least one resumed run per epoch
    // differs, and the test has four epochs.
    assert!(count_differences(|| KeepMetrics) >= 4);
    // Without `KeepMetrics`, the metrics of the first epoch are lost when a run is resumed. So each of the more than 30
    // events after the first epoch at which the test interrupts a run gives a difference.
    assert!(count_differences(|| KeepOutput) > 3 * 10);
}

#[test]
fn metrics_that_are_too_large_or_of_another_type_are_rejected() {
    let mut large = Engine::<u8, ([u64; 16], [u64; 16])>::with_metrics(1, ([u64::MAX; 16], [0; 16]));
    assert_eq!(
        large.record::<(), _>(&mut KeepMetrics).err(),
        Some(RunRecordFull { required: 180, capacity: CAPACITY })
    );
    large.state_mut().metrics = ([0; 16], [0; 16]);
    let record = large.record::<(), _>(&mut KeepMetrics).unwrap();

    let mut other = Engine::<u8, bool>::with_metrics(1, true);
    let malformed = Err(RestoreError::Malformed { kind: HandlerKind::KEEP_METRICS });
    assert_eq!(other.restore::<(), _>(&record, &mut KeepMetrics), malformed);
    let missing = RestoreError::Missing { kind: HandlerKind::KEEP_OUTPUT };
    assert_eq!(other.restore::<(), _>(&record, &mut KeepOutput), Err(missing));
    assert!(other.state().metrics && other.state().output.is_none());
}
