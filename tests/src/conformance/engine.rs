//! `engine` traces: a run with recorders on every event, recorders behind filters, and a handler that ends it.
//!
//! The log is the model, so what is compared is the order in which the library itself called everyone.

use super::wire::{Named, name_of};
use super::{Failure, refused, same};
use serde::Deserialize;
use training_monitor::event::FilterError;
use training_monitor::{Engine, Event, Handler, State, StopReason, When, on};

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
    /// Whether the batch events and the end of a cut epoch are recorded, too.
    #[serde(default)]
    all_events: bool,
    /// Whether a step is logged with the item that it was given.
    #[serde(default)]
    items: bool,
    /// Further runs of the same engine, by their number of items.
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
    on: Named,
    at: u32,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Request {
    Terminate,
    TerminateEpoch,
}

#[derive(Deserialize)]
struct Filter {
    on: Named,
    every: Option<u32>,
    once: Option<u32>,
    before: Option<u32>,
    after: Option<u32>,
}

impl Filter {
    /// The filter as the library has it.
    fn build(&self) -> Result<Box<dyn When>, FilterError> {
        let Named(event) = self.on;
        if let Some(once) = self.once {
            return Ok(Box::new(event.once(once)?));
        }
        // Every time: no filter.
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

/// Who was called, in which epoch and iteration.
#[derive(Clone, PartialEq, Debug, Deserialize)]
struct Entry(String, u32, u32);

impl Entry {
    fn new(who: String, state: &State<()>) -> Self {
        Entry(who, state.epoch(), state.iteration())
    }
}

type Log = Vec<Entry>;

/// Logs the events that traces speak of.
struct Recorder {
    all_events: bool,
}

impl Handler<Log, ()> for Recorder {
    fn on_event(&mut self, event: Event, log: &mut Log, state: &mut State<()>) {
        let rare = matches!(event, Event::GetBatchStarted | Event::GetBatchCompleted | Event::TerminateSingleEpoch);
        if self.all_events || !rare {
            log.extend(name_of(event).map(|name| Entry::new(name.into(), state)));
        }
    }
}

/// Recorders behind filters, in their order: as many as the trace has, where a program would have a tuple.
struct Filtered(Vec<Box<dyn When>>);

impl Handler<Log, ()> for Filtered {
    fn on_event(&mut self, event: Event, log: &mut Log, state: &mut State<()>) {
        for (index, when) in self.0.iter_mut().enumerate() {
            if when.fires(event, state.counters()) {
                log.push(Entry::new(format!("filtered {index}"), state));
            }
        }
    }
}

impl Action {
    fn handler(&self) -> impl Handler<Log, ()> + use<> {
        let (Named(event), at, kind) = (self.on, self.at, self.kind);
        on(event.filter(move |value| value == at), move |_: &mut Log, state: &mut State<()>| match kind {
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
        Filtered(filtered.map_err(refused)?),
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
            let who = if config.items { format!("process {item}") } else { "process".into() };
            log.push(Entry::new(who, state));
        };
        engine.run(&mut log, 0..batches, &mut handlers, process).map_err(refused)?;
    }
    for (at, (expected, found)) in trace.log.iter().zip(&log).enumerate() {
        same(at, "log entry", expected, found)?;
    }
    // One is longer: what it has next is the difference.
    let shorter = trace.log.len().min(log.len());
    same(shorter, "log entry", &trace.log.get(shorter), &log.get(shorter))
}
