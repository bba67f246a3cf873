//! What of the run's own state comes back after a restart: the output and the metrics, where a handler keeps them.

use training_monitor::event::EpochCompleted;
use training_monitor::handlers::keep::{KeepMetrics, KeepOutput};
use training_monitor::record::{Record, RecordFull, RestoreError, kind};
use training_monitor::{Engine, Event, Handler, State, on};

/// The metrics: the last epoch that is over, and the output there.
type Metrics = (u32, Option<f32>);
/// What every event finds.
type Log = Vec<(Event, u32, Option<f32>, Metrics)>;

/// Writes down what every event finds, and takes the record of that moment with the length of the log.
#[derive(Default)]
struct Cutter {
    wants: bool,
    cuts: Vec<(usize, Record)>,
}

impl Handler<Log, f32, Metrics> for Cutter {
    fn on_event(&mut self, event: Event, log: &mut Log, state: &mut State<f32, Metrics>) {
        log.push((event, state.iteration(), state.output, state.metrics));
        self.wants = true;
        state.request_act();
    }
    fn pending(&self) -> bool {
        self.wants
    }
    fn act(&mut self, log: &mut Log, _: &mut State<f32, Metrics>, record: &Record) -> bool {
        self.wants = false;
        self.cuts.push((log.len(), record.clone()));
        false
    }
}

/// Four epochs of three iterations, from the beginning or from a record.
fn run<K: Handler<Log, f32, Metrics>>(from: Option<&Record>, keep: K) -> (Log, Vec<(usize, Record)>) {
    let measure = on(EpochCompleted, |_: &mut Log, state: &mut State<f32, Metrics>| {
        state.metrics = (state.epoch(), state.output);
    });
    let mut handlers = (Cutter::default(), measure, keep);
    let mut log = Log::new();
    let mut engine = Engine::with_metrics(4, (0, None));
    if let Some(record) = from {
        engine.restore::<Log, _>(record, &mut handlers).unwrap();
    }
    engine.run(&mut log, 0..3, &mut handlers, |_, batch, state| (state.epoch() * 10 + batch) as f32).unwrap();
    (log, handlers.0.cuts)
}

/// At how many of the events a run that is cut there goes on otherwise than the one that was not.
fn wrong<K: Handler<Log, f32, Metrics>>(keep: impl Fn() -> K) -> usize {
    let (whole, cuts) = run(None, keep());
    assert_eq!(cuts.len(), 2 + 4 * (2 + 3 * 4));
    // After the last event there is nothing to go on with.
    cuts.iter()
        .filter(|(len, _)| *len < whole.len())
        .filter(|(len, record)| run(Some(record), keep()).0 != whole[*len..])
        .count()
}

#[test]
fn a_run_that_is_cut_after_any_event_finds_the_output_and_the_metrics_of_one_that_was_not() {
    assert_eq!(wrong(|| (KeepOutput, KeepMetrics)), 0);
    // The order makes no difference.
    assert_eq!(wrong(|| (KeepMetrics, KeepOutput)), 0);
}

#[test]
fn without_them_it_does_not() {
    assert!(wrong(|| ()) > 0);
    // The output is asked for between a step and the next; the metrics everywhere from the second epoch.
    assert!(wrong(|| KeepMetrics) >= 4);
    assert!(wrong(|| KeepOutput) > 3 * 10);
}

#[test]
fn what_does_not_fit_and_what_is_something_else_is_refused() {
    let mut large = Engine::<u8, ([u64; 16], [u64; 16])>::with_metrics(1, ([u64::MAX; 16], [0; 16]));
    assert_eq!(large.record::<(), _>(&mut KeepMetrics).err(), Some(RecordFull));
    large.state_mut().metrics = ([0; 16], [0; 16]);
    let record = large.record::<(), _>(&mut KeepMetrics).unwrap();

    let mut other = Engine::<u8, bool>::with_metrics(1, true);
    let malformed = Err(RestoreError::Malformed { kind: kind::METRICS });
    assert_eq!(other.restore::<(), _>(&record, &mut KeepMetrics), malformed);
    let instead = RestoreError::OtherHandler { expected: kind::OUTPUT, found: kind::METRICS };
    assert_eq!(other.restore::<(), _>(&record, &mut KeepOutput), Err(instead));
    assert!(other.state().metrics && other.state().output.is_none());
}
