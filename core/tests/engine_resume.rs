//! Tests that a resumed run behaves like an uninterrupted run. Each random script is stopped after each of its events,
//! and resumed from the run record of that moment. The log of the resumed run must be the rest of the uninterrupted
//! log.

#[path = "common/record_fixtures.rs"]
mod record_fixtures;
#[path = "common/script.rs"]
mod script;

use record_fixtures::copy_record;
use script::{Entry, Log, Recorder, Script, ScriptHandler};
use training_monitor::event::{Completed, EpochCompleted, EpochStarted, IterationCompleted, IterationStarted};
use training_monitor::run_record::RunRecord;
use training_monitor::{EarlyStopping, Engine, Event, Handler, State, StopReason, TerminateOnNan, Timer};

const SCRIPTS: u64 = 600;

/// A handler that keeps the run record of every event. A checkpoint at that event would contain the same record.
#[derive(Default)]
struct RecordTaker {
    /// For each event: the length of the log, and the run record (the saved state of engine and handlers).
    records: Vec<(usize, RunRecord)>,
}

impl Handler<Log, u32> for RecordTaker {
    fn on_event(&mut self, _: Event, _: &mut Log, state: &mut State<u32>) {
        state.request_action();
    }
    fn perform(&mut self, log: &mut Log, _: &mut State<u32>, record: &RunRecord<[u8]>) -> bool {
        self.records.push((log.len(), copy_record(record)));
        // The result is false because no checkpoint is saved. The engine then does not fire SavedCheckpoint.
        false
    }
}

/// Runs the script (a random test program) from the current state of `engine` to the end. Returns the log.
fn run<H: Handler<Log, u32>>(script: &Script, engine: &mut Engine<u32>, handlers: &mut H) -> Log {
    let mut log = Log::new();
    let step = |log: &mut Log, batch, state: &mut State<u32>| {
        log.push(Entry::step(batch, state));
        script.step(state);
        batch
    };
    engine.run(&mut log, 0..script.batches, handlers, step).expect("a script has data");
    log
}

fn new_engine(script: &Script) -> Engine<u32> {
    Engine::new(script.max_epochs).with_epoch_length(script.epoch_length)
}

#[test]
fn a_run_resumed_after_any_event_produces_the_uninterrupted_log() {
    let mut resumed = 0;
    for seed in 0..SCRIPTS {
        let script = Script::with_batch_events(seed);
        let mut handlers = (Recorder, ScriptHandler(&script), RecordTaker::default());
        let mut engine = new_engine(&script);
        let expected = run(&script, &mut engine, &mut handlers);
        let outcome = engine.outcome();
        for (length, record) in handlers.2.records {
            // After the last event the run is complete. It cannot be resumed: `run` would start a new run.
            if length == expected.len() {
                continue;
            }
            let mut engine = new_engine(&script);
            engine.restore(&record, &mut (Recorder, ScriptHandler(&script))).expect("a record of this program");
            let rest = run(&script, &mut engine, &mut (Recorder, ScriptHandler(&script)));
            assert_eq!(rest, expected[length..], "script {seed} stopped after {length}: {script:?}\n{record:?}");
            assert_eq!(engine.outcome(), outcome, "script {seed} stopped after {length}");
            resumed += 1;
        }
    }
    assert!(resumed > 10_000, "{resumed}");
}

/// The simulated time of each call of the step function, in clock ticks.
const WORK: u64 = 7;

/// The outcome of a run, and the state of its handlers at the end.
#[derive(PartialEq, Debug)]
struct FinalState {
    counter: u32,
    best: Option<f32>,
    total: u64,
    steps: u32,
    outcome: Option<training_monitor::Outcome>,
}

/// Runs a training with handlers that have state, from the beginning or from a run record. Returns the final state, and
/// the run record of each event.
fn run_with_handlers(from: Option<&RunRecord>) -> (FinalState, Vec<(usize, RunRecord)>) {
    let clock = std::cell::Cell::new(0_u64);
    let scores = [1, 5, 4, 3, 6, 2, 2, 1, 1, 1, 1, 1];
    let timer = Timer::new(0)
        .attach(|| clock.get())
        .start(EpochStarted)
        .pause(EpochCompleted)
        .resume(IterationStarted)
        .step(IterationCompleted);
    let stopping = EarlyStopping::new(4)
        .expect("a patience")
        .attach(IterationCompleted, |state| f32::from(u8::try_from(state.output.unwrap_or(0)).unwrap_or(0)));
    let guard = TerminateOnNan::new().attach(Completed, |_, _| &0.0_f32);
    let mut handlers = (timer, stopping, Recorder, guard, RecordTaker::default());
    let mut engine = Engine::new(4);
    if let Some(record) = from {
        engine.restore(record, &mut handlers).expect("a record of this program");
    }
    let mut log = Log::new();
    let step = |_: &mut Log, score: &u32, _: &mut State<u32>| {
        clock.set(clock.get() + WORK);
        *score
    };
    engine.run(&mut log, &scores[..], &mut handlers, step).expect("there is data");
    let (timer, stopping) = (handlers.0.timer, handlers.1.early_stopping);
    let final_state = FinalState {
        counter: stopping.counter(),
        best: stopping.best_score(),
        total: timer.elapsed(clock.get()),
        steps: timer.step_count(),
        outcome: engine.outcome(),
    };
    (final_state, handlers.4.records)
}

#[test]
fn the_state_of_handlers_is_restored_after_any_event() {
    let (final_state, records) = run_with_handlers(None);
    let expected = FinalState {
        counter: 4,
        best: Some(6.0),
        total: 9 * WORK,
        steps: 9,
        outcome: Some(training_monitor::Outcome { reason: StopReason::EarlyStopping, epoch: 1, iteration: 9 }),
    };
    assert_eq!(final_state, expected);
    let last = records.len() - 1;
    for (length, record) in &records[..last] {
        assert_eq!(run_with_handlers(Some(record)).0, expected, "stopped after {length}");
    }
}
