//! The engine against the model of it: random scripts over data of known and of unknown length, steps that fail, several
//! runs of one engine, and a restart from the record of any moment.

use super::input;
use crate::models::engine::{Data, End, Engine as Model};
use crate::models::number::Counter;
use crate::script::{Action, Actor, Entry, Log, Recorder, Request, Script};
use arbitrary::Arbitrary;
use training_monitor::engine::Stream;
use training_monitor::record::Record;
use training_monitor::{Engine, Event, Handler, RunError, State, UserEvent};

#[derive(Arbitrary, Debug)]
struct Input {
    max_epochs: u8,
    fixed_length: Option<u8>,
    fails_at: Option<u8>,
    /// At most three runs of one engine.
    runs: [Option<Data>; 3],
    /// After which event of the first run it is cut, and goes on from its record.
    cut: Option<u8>,
    actions: Vec<Asked>,
}

#[derive(Arbitrary, Debug)]
struct Asked {
    on: u8,
    at: u8,
    request: Wanted,
}

#[derive(Arbitrary, Debug)]
enum Wanted {
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
    // Asked for while it is told: fires once more, and then stops.
    Event::User(UserEvent { id: 3, value: 1 }),
];

fn script(input: &Input) -> Script {
    let mut fires = 0;
    let actions = input.actions.iter().take(6).filter_map(|asked| {
        let request = match asked.request {
            Wanted::Terminate => Request::Terminate,
            Wanted::TerminateEpoch => Request::TerminateEpoch,
            Wanted::Fire(value) => {
                fires += 1;
                Request::Fire(UserEvent { id: 3, value: u32::from(value % 4) })
            }
            Wanted::MaxEpochs(epochs) => Request::MaxEpochs(u32::from(epochs % 6)),
        };
        let on = EVENTS.get(usize::from(asked.on) % (EVENTS.len() + 1)).copied();
        // An event of the user's own that asks for itself would have no end.
        let endless = matches!((on, request), (Some(Event::User(_)), Request::Fire(_)));
        // The queue holds four, and the step may add to those of the event before.
        let full = fires > 2 && matches!(request, Request::Fire(_));
        (!endless && !full).then_some(Action { on, at: u32::from(asked.at % 14), request })
    });
    Script { max_epochs: u32::from(input.max_epochs % 5), epoch_length: 0, batches: 0, actions: actions.collect() }
}

/// Takes the record after the event of this number.
struct Cutter {
    left: Option<u8>,
    wants: bool,
    taken: Option<(usize, Record)>,
}

impl Handler<Log, u32> for Cutter {
    fn on_event(&mut self, event: Event, _: &mut Log, state: &mut State<u32>) {
        // Between an event and those that were fired at it nothing is ever written.
        if matches!(event, Event::User(_)) {
            return;
        }
        if self.left == Some(0) {
            self.wants = true;
            state.request_act();
        }
        self.left = self.left.and_then(|left| left.checked_sub(1));
    }
    fn pending(&self) -> bool {
        self.wants
    }
    fn act(&mut self, log: &mut Log, _: &mut State<u32>, record: &Record) -> bool {
        self.wants = false;
        self.taken = Some((log.len(), record.clone()));
        false
    }
}

#[derive(Debug)]
struct Failure;

fn run(
    engine: &mut Engine<u32>,
    data: Data,
    input: &Input,
    script: &Script,
    log: &mut Log,
    cutter: &mut Cutter,
) -> Result<End, RunError<Failure>> {
    let fails_at = input.fails_at.map(u32::from);
    let step = |log: &mut Log, batch: u32, state: &mut State<u32>| {
        log.push(Entry::step(batch, state));
        script.step(state);
        if fails_at == Some(state.iteration()) { Err(Failure) } else { Ok(batch) }
    };
    let mut handlers = (Recorder, Actor(script), cutter);
    let outcome = match data {
        Data::Range(batches) => engine.try_run(log, 0..u32::from(batches), &mut handlers, step),
        Data::Stream(batches) => engine.try_run(log, Stream(0..u32::from(batches)), &mut handlers, step),
    };
    outcome.map(|outcome| End::Done(outcome.reason))
}

fn fresh(input: &Input, script: &Script) -> Engine<u32> {
    let engine = Engine::new(script.max_epochs);
    match input.fixed_length {
        Some(length) => engine.with_epoch_length(u32::from(length % 8)),
        None => engine,
    }
}

fn limited(data: Data) -> Data {
    match data {
        Data::Range(batches) => Data::Range(batches % 8),
        Data::Stream(batches) => Data::Stream(batches % 24),
    }
}

/// The engine.
pub fn engine(data: &[u8]) {
    let Some(input) = input::<Input>(data) else { return };
    let script = script(&input);
    let fixed_length = u32::from(input.fixed_length.map_or(0, |length| length % 8));
    let mut model = Model::new(&script, fixed_length, input.fails_at.map(u32::from));
    let mut engine = fresh(&input, &script);
    let mut log = Log::new();
    let mut cutter = Cutter { left: input.cut, wants: false, taken: None };
    for (number, data) in input.runs.iter().flatten().copied().map(limited).enumerate() {
        let start = log.len();
        let end = match run(&mut engine, data, &input, &script, &mut log, &mut cutter) {
            Ok(end) => end,
            Err(RunError::Step(Failure)) => End::Failed,
            Err(RunError::NoData) => End::NoData,
            Err(RunError::DataExhausted { epoch, iteration }) => {
                assert_eq!((epoch, iteration), (engine.state().epoch(), engine.state().iteration()), "{input:?}");
                End::Exhausted
            }
            Err(error) => panic!("{error:?} in {input:?}"),
        };
        let expected = model.run(data);
        assert_eq!(log, model.log, "run {number} over {data:?} in {input:?}");
        assert_eq!(end, expected, "run {number} over {data:?} in {input:?}");
        let state = engine.state();
        assert_eq!(state.epoch_length().unwrap_or(0), model.epoch_length, "run {number} in {input:?}");
        assert_eq!(state.max_epochs(), model.max_epochs, "run {number} in {input:?}");
        let counters = (state.epoch(), state.iteration());
        assert_eq!(counters, (model.epoch, model.iteration), "run {number} in {input:?}");
        // A stream stands where it stood, so only data that can be addressed goes on.
        if let (0, Data::Range(_), Some((length, record))) = (number, data, cutter.taken.take()) {
            // After the last event the next run is another one.
            if length < log.len() {
                goes_on(&record, &input, &script, data, &log[start + length..], engine.outcome());
            }
        }
    }
}

/// From its record the run has the rest that it had without a cut.
fn goes_on(
    record: &Record,
    input: &Input,
    script: &Script,
    data: Data,
    rest: &[Entry],
    outcome: Option<training_monitor::Outcome>,
) {
    let mut engine = fresh(input, script);
    let mut cutter = Cutter { left: None, wants: false, taken: None };
    engine.restore(record, &mut (Recorder, Actor(script))).expect("its own record");
    let mut log = Log::new();
    let _ = run(&mut engine, data, input, script, &mut log, &mut cutter);
    assert_eq!(log, rest, "from {record:?} in {input:?}");
    assert_eq!(engine.outcome(), outcome, "from {record:?} in {input:?}");
}

#[derive(Arbitrary, Debug)]
struct RecordInput {
    max_epochs: Counter,
    length: Counter,
    /// Bytes of a stream with a run in it, changed.
    changes: Vec<(u8, u8)>,
    events: u8,
}

/// An engine that goes on from a record that no run can have left: a hostile one, with its checksum made right.
/// It must not panic, and not fire without end where nothing is left to do.
pub fn hostile_record(data: &[u8]) {
    use training_monitor::checkpoint::{self, Contents, Crc32, Header, One};
    use training_monitor::record::Record;
    let Some(input) = input::<RecordInput>(data) else { return };
    let engine = Engine::<u32>::new(3).with_epoch_length(4);
    let record = engine.record::<(), _>(&mut ()).expect("no handlers fit");
    let contents = Contents { header: Header::default(), record: Some(&record), only: None, allow_non_finite: false };
    let mut bytes = Vec::new();
    checkpoint::encode::<Crc32, _, _>(&mut bytes, &contents, &One("m", [0.0; 0])).expect("a Vec takes anything");
    // The record of an engine that has not begun lies here: a byte a field.
    const RUN: std::ops::Range<usize> = 12..22;
    let mut run = bytes[RUN].to_vec();
    for (at, value) in &input.changes {
        let at = usize::from(*at) % run.len();
        if value % 4 == 3 {
            run.splice(at..at + 1, [0xFF, 0xFF, 0xFF, 0xFF, 0x0F]);
        } else {
            run[at] = value % 12;
        }
    }
    bytes.splice(RUN, run);
    let end = bytes.len() - 4;
    let crc = crate::models::stream::crc32(&bytes[..end]);
    bytes[end..].copy_from_slice(&crc.to_le_bytes());
    let mut record = Record::new();
    let loaded = checkpoint::load::<Crc32, _>(&bytes, &mut One("m", [0.0; 0]), Some(&mut record));
    if !loaded.is_ok_and(|info| info.run) {
        return;
    }
    let mut engine = Engine::<u32>::new(input.max_epochs.0).with_epoch_length(input.length.0);
    let mut model = ();
    if engine.restore::<(), _>(&record, &mut ()).is_err() {
        return;
    }
    for _ in 0..input.events {
        if !engine.begin_iteration(&mut model, &mut ()) {
            assert!(engine.outcome().is_some(), "{input:?}");
            break;
        }
        engine.end_iteration(1, &mut model, &mut ());
    }
}
