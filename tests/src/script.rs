//! Random programs for the engine: a run, its data, and handlers that ask for things at events.
//!
//! A [`Script`] is made from a seed and is the same every time. Everything that happens goes into a [`Log`], which is
//! the model of the run, so two ways through one script can be held against each other. What a script asks for depends
//! on the event and the counters alone, never on what was asked before: a run that goes on after a cut asks for the
//! same. Nothing here knows what the engine should do.

use training_monitor::{Event, Handler, State, StopReason, UserEvent};

/// SplitMix64: small, and good enough to draw scripts.
#[derive(Clone, Copy, Debug)]
pub struct Random(pub u64);

impl Random {
    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        u32::try_from((mixed ^ (mixed >> 31)) % u64::from(bound)).unwrap_or(0)
    }

    /// True one time in `times`.
    pub fn one_in(&mut self, times: u32) -> bool {
        self.below(times) == 0
    }
}

/// What a handler asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// The end of the run.
    Terminate,
    /// The end of the epoch.
    TerminateEpoch,
    /// An event of the user's own.
    Fire(UserEvent),
    /// Another number of epochs.
    MaxEpochs(u32),
}

impl Request {
    /// Makes it.
    pub fn make(self, state: &mut State<u32>) {
        match self {
            Request::Terminate => state.terminate(StopReason::User(1)),
            Request::TerminateEpoch => state.terminate_epoch(),
            Request::Fire(event) => state.fire(event).expect("a script fires fewer events than the queue holds"),
            Request::MaxEpochs(epochs) => state.set_max_epochs(epochs),
        }
    }
}

/// A request at an event, when its value is `at`; `None` for the step function in place of an event.
#[derive(Clone, Copy, Debug)]
pub struct Action {
    /// At which event.
    pub on: Option<Event>,
    /// At which iteration or epoch, as for the event's filters.
    pub at: u32,
    /// What.
    pub request: Request,
}

/// A run and everything that happens in it.
#[derive(Clone, Debug)]
pub struct Script {
    /// How many epochs.
    pub max_epochs: u32,
    /// Iterations an epoch.
    pub epoch_length: u32,
    /// Length of the data.
    pub batches: u32,
    /// Who asks for what; at most one asks for an event of the user's own, so that the queue holds it.
    pub actions: Vec<Action>,
}

/// The events at which a script may ask for something in a run of any kind.
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

/// Where [`Script::with_batch_events`] may ask, too.
const BATCH_EVENTS: [Event; 2] = [Event::GetBatchStarted, Event::GetBatchCompleted];

impl Script {
    /// Script number `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::over(seed, &EVENTS)
    }

    /// Script number `seed`, with requests at batch events, too, which only `run` has.
    #[must_use]
    pub fn with_batch_events(seed: u64) -> Self {
        Self::over(seed, &[&EVENTS[..], &BATCH_EVENTS].concat())
    }

    fn over(seed: u64, events: &[Event]) -> Self {
        let mut random = Random(seed);
        let batches = 1 + random.below(5);
        let epoch_length = if random.one_in(2) { batches } else { 1 + random.below(7) };
        let max_epochs = random.below(5);
        let mut actions = Vec::new();
        for index in 0..random.below(4) {
            let event = events[random.below(u32::try_from(events.len()).unwrap_or(1)) as usize];
            let on = if random.one_in(6) { None } else { Some(event) };
            let request = match random.below(6) {
                0 | 1 => Request::Terminate,
                2 | 3 => Request::TerminateEpoch,
                // Requests at the same event must not depend on each other's order through the queue.
                4 if index == 0 => Request::Fire(UserEvent { id: 3, value: random.below(9) }),
                _ => Request::MaxEpochs(random.below(6)),
            };
            actions.push(Action { on, at: random.below(epoch_length * max_epochs.max(1) + 1), request });
        }
        Script { max_epochs, epoch_length, batches, actions }
    }

    /// Asks for what the step function asks for.
    pub fn step(&self, state: &mut State<u32>) {
        let iteration = state.iteration();
        let of_step = |action: &&Action| action.on.is_none() && action.at == iteration;
        self.actions.iter().filter(of_step).for_each(|action| action.request.make(state));
    }
}

/// One thing that happened.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Entry {
    /// The event; `None` for the step function.
    pub event: Option<Event>,
    /// The batch, for the step function; 0 for events.
    pub batch: u32,
    /// Epoch, iteration and offset.
    pub at: (u32, u32, u32),
}

impl Entry {
    /// An event, now.
    #[must_use]
    pub fn event(event: Event, state: &State<u32>) -> Self {
        Entry { event: Some(event), batch: 0, at: (state.epoch(), state.iteration(), state.offset()) }
    }

    /// The step function, now.
    #[must_use]
    pub fn step(batch: u32, state: &State<u32>) -> Self {
        Entry { event: None, batch, at: (state.epoch(), state.iteration(), state.offset()) }
    }
}

/// Everything that happened, in order.
pub type Log = Vec<Entry>;

/// Logs every event.
#[derive(Clone, Copy, Debug, Default)]
pub struct Recorder;

impl Handler<Log, u32> for Recorder {
    fn on_event(&mut self, event: Event, log: &mut Log, state: &mut State<u32>) {
        log.push(Entry::event(event, state));
    }
}

/// Asks for what the script asks for at events.
#[derive(Clone, Copy, Debug)]
pub struct Actor<'a>(pub &'a Script);

impl<T: ?Sized> Handler<T, u32> for Actor<'_> {
    fn on_event(&mut self, event: Event, _: &mut T, state: &mut State<u32>) {
        let value = event.value(state.counters());
        for action in &self.0.actions {
            if action.on == Some(event) && action.at == value {
                action.request.make(state);
            }
        }
    }
}
