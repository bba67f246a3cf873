//! Random test programs for the engine. A program consists of the settings of a run, its data, and requests that it
//! makes at certain events.
//!
//! A [`Script`] is generated from a seed, so it is the same in every test run. Each event and each call of the step
//! function appends an entry to a [`Log`]. A test can then compare the logs of two executions of one script. The log
//! also serves as the model of the run.
//!
//! The requests of a script depend only on the event and on the counters. A resumed run therefore makes the same
//! requests as an uninterrupted one. This module does not contain the expected behaviour of the engine.

#![allow(dead_code, reason = "each test program uses a part of this module")]

use training_monitor::{Event, Handler, State, StopReason, UserEvent};

/// The random generator SplitMix64. Its quality is sufficient for test scripts. The field is its internal state.
#[derive(Clone, Copy, Debug)]
pub struct Random(pub u64);

impl Random {
    /// Returns a number below `bound`, which must not be 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        u32::try_from((mixed ^ (mixed >> 31)) % u64::from(bound)).unwrap_or(0)
    }

    /// Returns true with a probability of one in `n`.
    pub fn one_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }
}

/// A request to the engine, made by a handler or by the step function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// Stop the run.
    Terminate,
    /// Terminate the current epoch.
    TerminateEpoch,
    /// Fire this user event.
    Fire(UserEvent),
    /// Set the maximum number of epochs.
    MaxEpochs(u32),
}

impl Request {
    /// Makes the request on `state`.
    pub fn apply(self, state: &mut State<u32>) {
        match self {
            Request::Terminate => state.terminate(StopReason::User(1)),
            Request::TerminateEpoch => state.terminate_epoch(),
            Request::Fire(event) => state.fire(event).expect("a script fires fewer events than the queue holds"),
            Request::MaxEpochs(epochs) => state.set_max_epochs(epochs),
        }
    }
}

/// A request, and the time at which the script makes it.
#[derive(Clone, Copy, Debug)]
pub struct Action {
    /// The event at which the request is made. `None` means that the step function makes it.
    pub event: Option<Event>,
    /// The epoch or the iteration in which the request is made. The kind of the event decides which of the two is
    /// compared.
    pub value: u32,
    /// The request.
    pub request: Request,
}

/// The settings of a run and all requests made in it.
#[derive(Clone, Debug)]
pub struct Script {
    /// Maximum number of epochs.
    pub max_epochs: u32,
    /// Iterations per epoch.
    pub epoch_length: u32,
    /// Number of batches in the data.
    pub batches: u32,
    /// All requests of the script. At most one of them fires a user event, so the event queue does not overflow.
    pub actions: Vec<Action>,
}

/// The events at which a script can make requests. Both `run` and a manual loop fire them.
const EVENTS: [Event; 8] = [
    Event::Started,
    Event::EpochStarted,
    Event::IterationStarted,
    Event::IterationCompleted,
    Event::EpochCompleted,
    Event::TerminateSingleEpoch,
    Event::Terminate,
    Event::Completed,
];

/// The additional events of [`Script::with_batch_events`].
const BATCH_EVENTS: [Event; 2] = [Event::GetBatchStarted, Event::GetBatchCompleted];

impl Script {
    /// Generates the script of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::generate(seed, &EVENTS)
    }

    /// Generates the script of this seed. Unlike with `new`, the script can also make requests at batch events, which
    /// only `run` fires.
    #[must_use]
    pub fn with_batch_events(seed: u64) -> Self {
        Self::generate(seed, &[&EVENTS[..], &BATCH_EVENTS].concat())
    }

    fn generate(seed: u64, events: &[Event]) -> Self {
        let mut random = Random(seed);
        let batches = 1 + random.below(5);
        let epoch_length = if random.one_in(2) { batches } else { 1 + random.below(7) };
        let max_epochs = random.below(5);
        let mut actions = Vec::new();
        for index in 0..random.below(4) {
            let event = events[random.below(u32::try_from(events.len()).unwrap_or(1)) as usize];
            let event = if random.one_in(6) { None } else { Some(event) };
            let request = match random.below(6) {
                0 | 1 => Request::Terminate,
                2 | 3 => Request::TerminateEpoch,
                // Only the first request may fire a user event. With two of them, the result would depend on the order
                // of the event queue.
                4 if index == 0 => Request::Fire(UserEvent { id: 3, value: random.below(9) }),
                _ => Request::MaxEpochs(random.below(6)),
            };
            actions.push(Action { event, value: random.below(epoch_length * max_epochs.max(1) + 1), request });
        }
        Script { max_epochs, epoch_length, batches, actions }
    }

    /// Makes the requests of the step function.
    pub fn step(&self, state: &mut State<u32>) {
        let iteration = state.iteration();
        let is_due = |action: &&Action| action.event.is_none() && action.value == iteration;
        self.actions.iter().filter(is_due).for_each(|action| action.request.apply(state));
    }
}

/// A log entry: an event, or a call of the step function.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Entry {
    /// The event, or `None` for a call of the step function.
    pub event: Option<Event>,
    /// The number of the batch that the step function received. It is 0 for an event.
    pub batch: u32,
    /// Epoch, iteration and offset (completed iterations in the epoch) when the entry was written.
    pub counters: (u32, u32, u32),
}

impl Entry {
    /// Returns the log entry of `event`, with the current counters.
    #[must_use]
    pub fn event(event: Event, state: &State<u32>) -> Self {
        Entry { event: Some(event), batch: 0, counters: (state.epoch(), state.iteration(), state.offset()) }
    }

    /// Returns the log entry of a call of the step function with `batch`.
    #[must_use]
    pub fn step(batch: u32, state: &State<u32>) -> Self {
        Entry { event: None, batch, counters: (state.epoch(), state.iteration(), state.offset()) }
    }
}

/// All log entries of a run, in the order of their occurrence.
pub type Log = Vec<Entry>;

/// A handler that appends every event to the log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Recorder;

impl Handler<Log, u32> for Recorder {
    fn on_event(&mut self, event: Event, log: &mut Log, state: &mut State<u32>) {
        log.push(Entry::event(event, state));
    }
}

/// A handler that makes the requests of a script (a random test program), each at its event.
#[derive(Clone, Copy, Debug)]
pub struct ScriptHandler<'a>(pub &'a Script);

impl<T: ?Sized> Handler<T, u32> for ScriptHandler<'_> {
    fn on_event(&mut self, event: Event, _: &mut T, state: &mut State<u32>) {
        let value = event.value(state.counters());
        for action in &self.0.actions {
            if action.event == Some(event) && action.value == value {
                action.request.apply(state);
            }
        }
    }
}
