//! Compares the engine with its model: random scripts over data of known and of unknown length, failing step functions,
//! several runs of one engine, and a run that is resumed from the record of any moment.

use super::decode;
use crate::models::engine::{Data, Engine as Model, RunResult};
use crate::models::number::Counter;
use crate::script::{Action, Entry, Log, Recorder, Request, Script, ScriptHandler};
use arbitrary::Arbitrary;
use training_monitor::checkpoint::{self, Contents, Header, Named};
use training_monitor::engine::IterBatches;
use training_monitor::run_record::RunRecord;
use training_monitor::{Engine, Event, Handler, RunError, State, UserEvent};

#[derive(Arbitrary, Debug)]
struct Input {
    max_epochs: u8,
    configured_length: Option<u8>,
    fails_at: Option<u8>,
    /// The data of up to three runs of one engine.
    runs: [Option<Data>; 3],
    /// The event of the first run after which the target takes the record and resumes from it.
    record_after: Option<u8>,
    actions: Vec<ActionInput>,
}

#[derive(Arbitrary, Debug)]
struct ActionInput {
    event: u8,
    value: u8,
    request: RequestInput,
}

#[derive(Arbitrary, Debug)]
enum RequestInput {
    Terminate,
    TerminateEpoch,
    Fire(u8),
    MaxEpochs(u8),
}

const EVENTS: [Event; 12] = [
    Event::Started,
    Event::EpochStarted,
    Event::GetBatchStarted,
    Event::GetBatchCompleted,
    Event::IterationStarted,
    Event::IterationCompleted,
    Event::EpochCompleted,
    Event::TerminateSingleEpoch,
    Event::Terminate,
    Event::Completed,
    Event::ExceptionRaised,
    // An event that the user defines. The random scripts of the test fire it.
    Event::User(UserEvent { id: 3, value: 1 }),
];

fn build_script(input: &Input) -> Script {
    let mut fires = 0;
    let actions = input.actions.iter().take(6).filter_map(|action| {
        let request = match action.request {
            RequestInput::Terminate => Request::Terminate,
            RequestInput::TerminateEpoch => Request::TerminateEpoch,
            RequestInput::Fire(value) => {
                fires += 1;
                Request::Fire(UserEvent { id: 3, value: u32::from(value % 4) })
            }
            RequestInput::MaxEpochs(epochs) => Request::MaxEpochs(u32::from(epochs % 6)),
        };
        let event = EVENTS.get(usize::from(action.event) % (EVENTS.len() + 1)).copied();
        // Whether the action fires a user event in response to a user event. Such a script would never end, so the test
        // removes the action.
        let is_endless = matches!((event, request), (Some(Event::User(_)), Request::Fire(_)));
        // Whether the script fires more than two user events, which can exceed the event queue of three entries. The
        // queue can contain events of the step function and of the following event together.
        let exceeds_queue = fires > 2 && matches!(request, Request::Fire(_));
        (!is_endless && !exceeds_queue).then_some(Action { event, value: u32::from(action.value % 14), request })
    });
    Script { max_epochs: u32::from(input.max_epochs % 5), epoch_length: 0, batches: 0, actions: actions.collect() }
}

/// Takes the run record (the saved state of the engine and the handlers) after one event of the run.
struct RecordTaker {
    /// The number of events that remain before the event at which the record is taken.
    events_left: Option<u8>,
    is_pending: bool,
    /// The length of the event log when the record was taken, and the record itself.
    record: Option<(usize, RunRecord)>,
}

impl Handler<Log, u32> for RecordTaker {
    fn on_event(&mut self, event: Event, _: &mut Log, state: &mut State<u32>) {
        // The engine takes no record between an event and the user events that handlers fired at it.
        if matches!(event, Event::User(_)) {
            return;
        }
        if self.events_left == Some(0) {
            self.is_pending = true;
            state.request_action();
        }
        self.events_left = self.events_left.and_then(|left| left.checked_sub(1));
    }
    fn perform(&mut self, log: &mut Log, _: &mut State<u32>, record: &RunRecord<[u8]>) -> bool {
        if core::mem::take(&mut self.is_pending) {
            self.record = Some((log.len(), copy(record)));
        }
        false
    }
}

/// Copies a record with a stream: a handler receives a record of unknown capacity.
fn copy(record: &RunRecord<[u8]>) -> RunRecord {
    let header = Header { run: record.engine.run, ..Header::default() };
    let contents =
        Contents { header, record: Some(record), single_object: None, allow_non_finite: false, metadata: &[] };
    let (mut bytes, mut copy) = (Vec::new(), RunRecord::new());
    checkpoint::encode(&mut bytes, &contents, &mut Named::new("m", 0.0_f32)).expect("writing to a Vec does not fail");
    checkpoint::load(&bytes, &mut Named::new("m", 0.0_f32), Some(&mut copy)).expect("a saved stream can be loaded");
    copy
}

#[derive(Debug)]
struct Failure;

fn run(
    engine: &mut Engine<u32>,
    data: Data,
    input: &Input,
    script: &Script,
    log: &mut Log,
    record_taker: &mut RecordTaker,
) -> Result<RunResult, RunError<Failure>> {
    let fails_at = input.fails_at.map(u32::from);
    let step = |log: &mut Log, batch: u32, state: &mut State<u32>| {
        log.push(Entry::step(batch, state));
        script.step(state);
        if fails_at == Some(state.iteration()) { Err(Failure) } else { Ok(batch) }
    };
    let mut handlers = (Recorder, ScriptHandler(script), record_taker);
    let outcome = match data {
        Data::Range(batches) => engine.try_run(log, 0..u32::from(batches), &mut handlers, step),
        Data::Iterator(batches) => engine.try_run(log, IterBatches(0..u32::from(batches)), &mut handlers, step),
    };
    outcome.map(|outcome| RunResult::Done(outcome.reason))
}

fn new_engine(input: &Input, script: &Script) -> Engine<u32> {
    let engine = Engine::new(script.max_epochs);
    match input.configured_length {
        Some(length) => engine.with_epoch_length(u32::from(length % 8)),
        None => engine,
    }
}

/// Limits the number of batches in `data`, so that a run is short.
fn limit(data: Data) -> Data {
    match data {
        Data::Range(batches) => Data::Range(batches % 8),
        Data::Iterator(batches) => Data::Iterator(batches % 24),
    }
}

/// The fuzz target for the engine: runs a random script with the engine and with its model, and compares the logs.
pub fn engine(data: &[u8]) {
    let Some(input) = decode::<Input>(data) else { return };
    let script = build_script(&input);
    let configured_length = u32::from(input.configured_length.map_or(0, |length| length % 8));
    let mut model = Model::new(&script, configured_length, input.fails_at.map(u32::from));
    let mut engine = new_engine(&input, &script);
    let mut log = Log::new();
    let mut record_taker = RecordTaker { events_left: input.record_after, is_pending: false, record: None };
    for (number, data) in input.runs.iter().flatten().copied().map(limit).enumerate() {
        let start = log.len();
        let result = match run(&mut engine, data, &input, &script, &mut log, &mut record_taker) {
            Ok(result) => result,
            Err(RunError::Step(Failure)) => RunResult::StepFailed,
            Err(RunError::NoData) => RunResult::NoData,
            Err(RunError::DataExhausted { epoch, iteration }) => {
                assert_eq!((epoch, iteration), (engine.state().epoch(), engine.state().iteration()), "{input:?}");
                RunResult::DataExhausted
            }
            Err(error) => panic!("{error:?} in {input:?}"),
        };
        let expected = model.run(data);
        assert_eq!(log, model.log, "run {number} over {data:?} in {input:?}");
        assert_eq!(result, expected, "run {number} over {data:?} in {input:?}");
        let state = engine.state();
        assert_eq!(state.epoch_length().unwrap_or(0), model.epoch_length, "run {number} in {input:?}");
        assert_eq!(state.max_epochs(), model.max_epochs, "run {number} in {input:?}");
        let counters = (state.epoch(), state.iteration());
        assert_eq!(counters, (model.epoch, model.iteration), "run {number} in {input:?}");
        // An iterator cannot be rewound, so only runs over a range can be resumed.
        if let (0, Data::Range(_), Some((length, record))) = (number, data, record_taker.record.take()) {
            // Resumes only from a record that was taken before the last event. A later record belongs to a complete
            // run, from which `run` would start a new run.
            if length < log.len() {
                check_resumed_run(&record, &input, &script, data, &log[start + length..], engine.outcome());
            }
        }
    }
}

/// Checks that a run resumed from `record` (the saved state of the engine and the handlers) produces the rest of the
/// log and the same outcome as the uninterrupted run.
fn check_resumed_run(
    record: &RunRecord,
    input: &Input,
    script: &Script,
    data: Data,
    rest: &[Entry],
    outcome: Option<training_monitor::Outcome>,
) {
    let mut engine = new_engine(input, script);
    let mut record_taker = RecordTaker { events_left: None, is_pending: false, record: None };
    engine.restore(record, &mut (Recorder, ScriptHandler(script))).expect("a record of this program");
    let mut log = Log::new();
    let _ = run(&mut engine, data, input, script, &mut log, &mut record_taker);
    assert_eq!(log, rest, "from {record:?} in {input:?}");
    assert_eq!(engine.outcome(), outcome, "from {record:?} in {input:?}");
}

#[derive(Arbitrary, Debug)]
struct RecordInput {
    max_epochs: Counter,
    length: Counter,
    /// Modified bytes of the run record: index and new value.
    changes: Vec<(u8, u8)>,
    /// The number of iterations after the restore.
    iterations: u8,
}

/// The target for forged run records with a correct checksum. An engine that resumes from such a record must not panic,
/// and must not fire events without end.
pub fn hostile_record(data: &[u8]) {
    use training_monitor::checkpoint::{self, Contents, Named};
    let Some(input) = decode::<RecordInput>(data) else { return };
    let mut engine = Engine::<u32>::new(3).with_epoch_length(4);
    let record = engine.record::<(), _>(&mut ()).expect("an empty record is large enough");
    let contents = Contents { record: Some(&record), ..Contents::new(0) };
    let mut bytes = Vec::new();
    checkpoint::encode(&mut bytes, &contents, &mut Named::new("m", [0.0; 0])).expect("writing to a Vec does not fail");
    // The position of the run record. Each field of an engine that has not started takes one byte.
    const RUN: std::ops::Range<usize> = 12..22;
    let mut run = bytes[RUN].to_vec();
    for (index, value) in &input.changes {
        let index = usize::from(*index) % run.len();
        if value % 4 == 3 {
            run.splice(index..index + 1, [0xFF, 0xFF, 0xFF, 0xFF, 0x0F]);
        } else {
            run[index] = value % 12;
        }
    }
    bytes.splice(RUN, run);
    let end = bytes.len() - 4;
    let crc = crate::models::stream::crc32(&bytes[..end]);
    bytes[end..].copy_from_slice(&crc.to_le_bytes());
    let mut record = RunRecord::new();
    let loaded = checkpoint::load(&bytes, &mut Named::new("m", [0.0; 0]), Some(&mut record));
    if !loaded.is_ok_and(|info| info.has_run) {
        return;
    }
    let mut engine = Engine::<u32>::new(input.max_epochs.0).with_epoch_length(input.length.0);
    let mut model = ();
    if engine.restore::<(), _>(&record, &mut ()).is_err() {
        return;
    }
    for _ in 0..input.iterations {
        match engine.begin_iteration(&mut model, &mut ()) {
            Ok(true) => (),
            // The forged record can contain any reason for the end of the run, so the engine may report that the run
            // has ended or that a save failed.
            Ok(false) | Err(RunError::SaveFailed(_)) => {
                assert!(engine.outcome().is_some(), "{input:?}");
                break;
            }
            Err(error) => panic!("{error:?} in {input:?}"),
        }
        engine.end_iteration(1, &mut model, &mut ());
    }
}
