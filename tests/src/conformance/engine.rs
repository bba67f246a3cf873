//! Replays `engine` traces: a run with a recorder of all events, recorders behind filters, and a handler that stops the
//! run.
//!
//! The model of the run is the log, so the comparison includes the order in which the engine calls the handlers.

use super::trace_values::{NamedEvent, name_of};
use super::{Failure, expect_equal, rejected};
use serde::Deserialize;
use training_monitor::{ConfigError, Engine, Event, EventFilter, Handler, State, StopReason, on};

#[derive(Deserialize)]
pub struct Trace {
    config: Config,
    log: Vec<Entry>,
}

#[derive(Deserialize)]
struct Config {
    batches: u32,
    max_epochs: u32,
    epoch_length: Option<u32>,
    resume_at: Option<ResumeAt>,
    action: Option<Action>,
    filtered: Vec<Filter>,
    /// Whether the recorder includes the batch events and TerminateSingleEpoch.
    #[serde(default)]
    all_events: bool,
    /// Whether the log entry of a step contains its batch.
    #[serde(default)]
    items: bool,
    /// The number of batches of each further run of the same engine.
    #[serde(default)]
    runs: Vec<u32>,
}

#[derive(Deserialize)]
struct ResumeAt {
    epoch: u32,
}

#[derive(Deserialize)]
struct Action {
    kind: Request,
    #[serde(rename = "on")]
    event: NamedEvent,
    #[serde(rename = "at")]
    value: u32,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Request {
    Terminate,
    TerminateEpoch,
}

#[derive(Deserialize)]
struct Filter {
    #[serde(rename = "on")]
    event: NamedEvent,
    every: Option<u32>,
    once: Option<u32>,
    before: Option<u32>,
    after: Option<u32>,
}

impl Filter {
    /// Builds the event filter of the library that corresponds to the filter in the trace.
    fn build(&self) -> Result<Box<dyn EventFilter>, ConfigError> {
        let NamedEvent(event) = self.event;
        if let Some(once) = self.once {
            return Ok(Box::new(event.once(once)?));
        }
        // A filter without the setting `every` uses `every(1)`, which matches every event.
        let mut filter = event.every(self.every.unwrap_or(1))?;
        if let Some(after) = self.after {
            filter = filter.after(after);
        }
        if let Some(before) = self.before {
            filter = filter.before(before);
        }
        Ok(Box::new(filter))
    }
}

/// A log entry: the name of a handler, event or step, the epoch, and the iteration.
#[derive(Clone, PartialEq, Debug, Deserialize)]
struct Entry(String, u32, u32);

impl Entry {
    fn new(name: String, state: &State<()>) -> Self {
        Entry(name, state.epoch(), state.iteration())
    }
}

type Log = Vec<Entry>;

/// A handler that adds the event, the epoch and the iteration to the log. It logs only events that the traces contain.
struct Recorder {
    all_events: bool,
}

impl Handler<Log, ()> for Recorder {
    fn on_event(&mut self, event: Event, log: &mut Log, state: &mut State<()>) {
        let is_optional =
            matches!(event, Event::GetBatchStarted | Event::GetBatchCompleted | Event::TerminateSingleEpoch);
        if self.all_events || !is_optional {
            log.extend(name_of(event).map(|name| Entry::new(name.into(), state)));
        }
    }
}

/// Recorders behind the filters of a trace, in order. A program would use a tuple of handlers.
struct FilteredRecorders(Vec<Box<dyn EventFilter>>);

impl Handler<Log, ()> for FilteredRecorders {
    fn on_event(&mut self, event: Event, log: &mut Log, state: &mut State<()>) {
        for (index, filter) in self.0.iter_mut().enumerate() {
            if filter.matches(event, state.counters()) {
                log.push(Entry::new(format!("filtered {index}"), state));
            }
        }
    }
}

impl Action {
    fn handler(&self) -> impl Handler<Log, ()> + use<> {
        let (NamedEvent(event), expected, kind) = (self.event, self.value, self.kind);
        on(event.filter(move |value| value == expected), move |_, state| match kind {
            Request::Terminate => state.terminate(StopReason::User(0)),
            Request::TerminateEpoch => state.terminate_epoch(),
        })
    }
}

pub fn replay(trace: &Trace) -> Result<(), Failure> {
    let config = &trace.config;
    let filtered: Result<Vec<_>, _> = config.filtered.iter().map(Filter::build).collect();
    let mut handlers = (
        Recorder { all_events: config.all_events },
        FilteredRecorders(filtered.map_err(rejected)?),
        config.action.as_ref().map(Action::handler),
    );
    let mut engine = Engine::new(config.max_epochs);
    if let Some(resume_at) = &config.resume_at {
        engine.start_after_epoch(resume_at.epoch, config.epoch_length.unwrap_or(config.batches));
    } else if let Some(epoch_length) = config.epoch_length {
        engine = engine.with_epoch_length(epoch_length);
    }
    let mut log = Log::new();
    for &batches in [&config.batches].into_iter().chain(&config.runs) {
        let process = |log: &mut Log, item, state: &mut State<()>| {
            let name = if config.items { format!("process {item}") } else { "process".into() };
            log.push(Entry::new(name, state));
        };
        engine.run(&mut log, 0..batches, &mut handlers, process).map_err(rejected)?;
    }
    for (index, (expected, found)) in trace.log.iter().zip(&log).enumerate() {
        expect_equal(index, "log entry", expected, found)?;
    }
    // If one log is longer than the other, the first additional entry is the difference.
    let shorter = trace.log.len().min(log.len());
    expect_equal(shorter, "log entry", &trace.log.get(shorter), &log.get(shorter))
}
