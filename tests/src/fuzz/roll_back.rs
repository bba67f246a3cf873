//! Compares a run that is rolled back with a model of the whole run, and with the same run after interruptions.
//!
//! Requests to terminate the run depend on the iteration and on the weights, which every checkpoint contains. The target
//! compares the log of all events, the outcome, the bits of the weights and the number of roll-backs. The interrupted
//! run loses everything but the store, or continues from the record of an engine that was interrupted.

use super::decode;
use crate::models::number::Counter;
use crate::models::roll_back::{Entry, Moment, Net, Request, RollBack as Model, Settings, USER_EVENT};
use arbitrary::Arbitrary;
use std::cell::Cell;
use training_monitor::run_record::RunRecord;
use training_monitor::store::ram::Ram;
use training_monitor::{
    ConfigError, Engine, Event, EventFilter, Handler, ModelCheckpoint, Objects, Outcome, RollBack, RunError, State,
    StateDict, StopReason,
};
use training_monitor_std::test_support::store::{FaultyStore, StoreFault, StoreOperation};

#[derive(Arbitrary, Debug)]
struct Input {
    max_epochs: u8,
    epoch_length: u8,
    batches: u8,
    save_at: u8,
    interval: u8,
    /// The event at which a handler fires a user-defined event.
    fires_at: Option<u8>,
    n_saved: u8,
    max_roll_backs: Counter,
    requests: Vec<RequestInput>,
    interruptions: Vec<Interruption>,
}

#[derive(Arbitrary, Debug)]
struct RequestInput {
    moment: u8,
    iteration: u8,
    below_level: u8,
    reason: u8,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Interruption {
    /// Power fails after the handlers have received an event, before its save.
    AtEvent(u8),
    /// Power fails at an operation of the store, which is performed or not.
    AtOperation(u8, bool),
    /// A handler interrupts the run at an event. The same engine continues, or a new one with its record.
    Requested(u8, bool),
}

/// The events at which a request can be made. The first ones are those at which checkpoints are usually saved.
const EVENTS: [Event; 10] = [
    Event::IterationCompleted,
    Event::EpochCompleted,
    Event::IterationStarted,
    Event::EpochStarted,
    Event::Started,
    Event::GetBatchStarted,
    Event::GetBatchCompleted,
    USER_EVENT,
    Event::Terminate,
    Event::Completed,
];

/// The weights as tensors, so that a checkpoint contains them.
#[derive(Objects, Clone, PartialEq, Debug)]
struct Weights {
    net: Tensors,
}

#[derive(StateDict, Clone, PartialEq, Debug)]
struct Tensors {
    weight: [f32; 1],
    level: [f32; 1],
}

impl Weights {
    const NEW: Self = Weights { net: Tensors { weight: [0.0], level: [0.0] } };

    fn get(&self) -> Net {
        Net { weight: self.net.weight[0], level: self.net.level[0] }
    }

    fn update(&mut self, change: impl FnOnce(&mut Net)) {
        let mut net = self.get();
        change(&mut net);
        self.net = Tensors { weight: [net.weight], level: [net.level] };
    }
}

/// Makes the requests at events, and writes the log.
struct Requester<'a> {
    settings: &'a Settings,
    log: Vec<Entry>,
}

fn request(settings: &Settings, moment: Moment, net: &Net, state: &mut State<f32>) {
    let found = settings.requests.iter().find(|request| request.applies(moment, state.iteration(), net));
    if let Some(request) = found {
        state.terminate(request.reason);
    }
}

impl Handler<Weights, f32> for Requester<'_> {
    fn on_event(&mut self, event: Event, weights: &mut Weights, state: &mut State<f32>) {
        if event != Event::Interrupt {
            self.log.push((event, state.iteration(), weights.get()));
            request(self.settings, Moment::Event(event), &weights.get(), state);
            if Some(event) == self.settings.fires_at
                && let Event::User(event) = USER_EVENT
            {
                state.fire(event).expect("the queue has room for one event");
            }
        }
    }
}

/// Interrupts the run or switches the power off, after a number of events.
struct Interrupter<'a> {
    interruption: Option<Interruption>,
    events: u32,
    is_off: &'a Cell<bool>,
    is_requested: bool,
}

impl Handler<Weights, f32> for Interrupter<'_> {
    fn on_event(&mut self, event: Event, _: &mut Weights, state: &mut State<f32>) {
        // A requested interruption takes effect after the event, unless the run ends.
        let is_in_time = match event {
            Event::Interrupt => core::mem::take(&mut self.is_requested),
            Event::Terminate | Event::Completed | Event::SavedCheckpoint | Event::RolledBack | Event::User(_) => true,
            _ => !self.is_requested,
        };
        assert!(is_in_time, "{event:?} follows a request to interrupt the run");
        self.events += 1;
        match self.interruption {
            Some(Interruption::AtEvent(number)) if self.events > u32::from(number) => self.is_off.set(true),
            Some(Interruption::Requested(number, _)) if self.events == u32::from(number) + 1 => {
                state.interrupt();
                self.is_requested = true;
            }
            _ => (),
        }
    }
}

/// Selects one event.
#[derive(Clone, Copy, Debug)]
struct At(Event);

impl EventFilter for At {
    fn matches(&mut self, event: Event, _: &training_monitor::event::Counters) -> bool {
        event == self.0
    }
}

type Medium = Ram<4, 256>;

/// How a session ended. The store remains.
enum End {
    Ended {
        outcome: Outcome,
        weights: Weights,
        count: u32,
        log: Vec<Entry>,
    },
    PowerOff,
    /// The record of the interrupted engine, and the weights.
    Interrupted(Box<RunRecord>, Weights),
}

/// How a session starts.
enum Start {
    /// With the newest checkpoint, or at the beginning of the run.
    Store,
    Continue(Box<RunRecord>, Weights),
}

/// Runs until the run ends or is interrupted.
fn session(
    settings: &Settings,
    n_saved: u32,
    medium: Medium,
    start: Start,
    interruption: Option<Interruption>,
) -> (End, Medium) {
    let (is_off, operations) = (Cell::new(false), Cell::new(0_u32));
    let decide = |operation: StoreOperation| {
        if operation == StoreOperation::List {
            return StoreFault::None;
        }
        if is_off.get() {
            return StoreFault::Before;
        }
        operations.set(operations.get() + 1);
        match interruption {
            Some(Interruption::AtOperation(number, is_performed)) if operations.get() > u32::from(number) => {
                is_off.set(true);
                if is_performed { StoreFault::After } else { StoreFault::Before }
            }
            _ => StoreFault::None,
        }
    };
    let policy = ModelCheckpoint::<3>::every(settings.interval).expect("an interval above 0");
    let policy = policy.with_n_saved(n_saved).expect("a number of places");
    let mut handlers = (
        Requester { settings, log: Vec::new() },
        policy.attach(At(settings.save_at), FaultyStore::new(medium, decide)).expect("RAM lists its checkpoints"),
        RollBack::new(settings.max_roll_backs)
            .expect("a limit above 0")
            .attach(|weights: &mut Weights, _: &mut State<f32>| weights.update(Net::change)),
        Interrupter { interruption, events: 0, is_off: &is_off, is_requested: false },
    );
    let mut engine = Engine::new(settings.max_epochs).with_epoch_length(settings.epoch_length);
    let mut weights = Weights::NEW;
    match start {
        Start::Store => match engine.resume(&mut weights, &mut handlers) {
            Ok(_) => (),
            Err(_) if is_off.get() => return (End::PowerOff, handlers.1.into_store().into_inner()),
            Err(error) => panic!("{error:?} in {settings:?}"),
        },
        Start::Continue(record, old) => {
            weights = old;
            engine.restore(&*record, &mut handlers).expect("a record of this program");
        }
    }
    let step = |weights: &mut Weights, batch: u32, state: &mut State<f32>| {
        weights.update(|net| net.step(batch));
        request(settings, Moment::Step, &weights.get(), state);
        weights.net.weight[0]
    };
    let end = loop {
        let result = engine.run(&mut weights, 0..settings.batches, &mut handlers, step);
        if is_off.get() {
            break End::PowerOff;
        }
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(RunError::SaveFailed(error) | RunError::Start(error)) => panic!("{error:?} in {settings:?}"),
            Err(error) => panic!("{error:?} in {settings:?}"),
        };
        if outcome.reason != StopReason::Interrupted {
            let log = core::mem::take(&mut handlers.0.log);
            break End::Ended { outcome, weights: weights.clone(), count: handlers.2.roll_back.count(), log };
        }
        if let Some(Interruption::Requested(_, true)) = interruption {
            continue;
        }
        let record = engine.record(&mut handlers).expect("the record is large enough");
        break End::Interrupted(Box::new(record), weights.clone());
    };
    (end, handlers.1.into_store().into_inner())
}

fn settings(input: &Input) -> Settings {
    let requests = input.requests.iter().take(6).map(|request| Request {
        moment: EVENTS[..8].get(usize::from(request.moment) % 9).map_or(Moment::Step, |event| Moment::Event(*event)),
        iteration: u32::from(request.iteration % 24),
        below_level: u32::from(request.below_level % 5),
        reason: match request.reason % 4 {
            0 => StopReason::User(7),
            1 => StopReason::Diverged,
            _ => StopReason::NonFinite,
        },
    });
    Settings {
        max_epochs: u32::from(input.max_epochs % 4),
        epoch_length: 1 + u32::from(input.epoch_length % 8),
        batches: 1 + u32::from(input.batches % 8),
        save_at: EVENTS[usize::from(input.save_at) % EVENTS.len()],
        interval: 1 + u32::from(input.interval % 4),
        fires_at: input.fires_at.map(|event| EVENTS[usize::from(event) % 7]),
        max_roll_backs: input.max_roll_backs.0,
        requests: requests.collect(),
    }
}

/// The fuzz target for `RollBack` in a run.
pub fn roll_back(data: &[u8]) {
    let Some(input) = decode::<Input>(data) else { return };
    let settings = settings(&input);
    let limit = RollBack::new(settings.max_roll_backs);
    assert_eq!(limit.err(), Some(ConfigError::RollBacks).filter(|_| settings.max_roll_backs == 0), "{input:?}");
    if settings.max_roll_backs == 0 {
        return;
    }
    let n_saved = 1 + u32::from(input.n_saved % 3);
    let model = Model::run(settings.clone());
    let outcome = Outcome {
        reason: model.run.stop.unwrap_or(StopReason::MaxEpochs),
        epoch: model.run.epoch,
        iteration: model.run.iteration,
    };
    let check = |end: End, is_whole: bool| {
        let End::Ended { outcome: ended, weights, count, log } = end else { return false };
        if is_whole && log != model.log {
            let index = log.iter().zip(&model.log).take_while(|(entry, expected)| entry == expected).count();
            let (entry, expected) = (log.get(index), model.log.get(index));
            panic!("event {index} is {entry:?}, expected {expected:?}: {settings:?}");
        }
        assert_eq!((ended, count), (outcome, model.run.count), "{input:?} {settings:?}");
        let bits = |net: Net| [net.weight, net.level].map(f32::to_bits);
        assert_eq!(bits(weights.get()), bits(model.run.net), "{input:?} {settings:?}");
        true
    };
    let (end, _) = session(&settings, n_saved, Medium::new(), Start::Store, None);
    assert!(check(end, true), "the run did not end: {input:?}");
    let interruptions = input.interruptions.iter().copied().take(4).map(Some);
    let (mut medium, mut start) = (Medium::new(), Start::Store);
    for interruption in interruptions.chain([None]) {
        let end;
        (end, medium) = session(&settings, n_saved, medium, start, interruption);
        start = match end {
            End::Interrupted(record, weights) => Start::Continue(record, weights),
            End::PowerOff => Start::Store,
            ended @ End::Ended { .. } => {
                check(ended, false);
                return;
            }
        };
    }
    panic!("the last session was not interrupted and did not end: {input:?}");
}
