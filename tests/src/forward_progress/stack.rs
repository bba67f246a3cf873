//! One start of the device: the real store, engine, run record and checkpoint handler on the simulated memory.

use super::device::{Device, FlashDriver, MemoryDriver, RealTimeClock};
use super::model::MAX_OVERHEAD;
use super::parts::{Budget, Kind, Part};
use super::time::{MICROSECOND, Nanos};
use super::workload::Workload;
use std::cell::Cell;
use std::fmt::Debug;
use training_monitor::event::{IterationCompleted, User};
use training_monitor::handler::Handler;
use training_monitor::handlers::adaptive_interval::WearBudget;
use training_monitor::handlers::every_ticks::EveryTicks;
use training_monitor::handlers::model_checkpoint::CheckpointEvent;
use training_monitor::run_record::RestoreError;
use training_monitor::store::Store;
use training_monitor::store::byte_addressable::ByteSlots;
use training_monitor::store::flash::Slots;
use training_monitor::{AdaptiveInterval, Engine, ModelCheckpoint, Outcome, State, StopReason};
use training_monitor_std::Crc32Fast;

/// When the device saves.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Rule {
    /// At a fixed interval from the start of one save to the start of the next.
    Fixed(Nanos),
    /// The adaptive interval of the library, with a wear budget and the [maximum overhead](super::model::MAX_OVERHEAD). It
    /// does not know how often the power fails.
    Adaptive(Option<Budget>),
}

/// What a start is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Training until the run ends or the power fails.
    Train,
    /// To find the last checkpoint, without an iteration.
    Inspect,
}

/// What a start has done.
#[derive(Clone, Copy, Default, Debug)]
pub struct Start {
    /// The iteration from which the run resumed; 0 if there was no checkpoint. `None` if the power failed before.
    pub resumed_at: Option<u32>,
    /// The iterations that were completed.
    pub iterations: u32,
    /// The saves that were committed.
    pub saves: u32,
    /// The time until the first iteration could start.
    pub recovery: Nanos,
    /// The time of saves, complete or interrupted.
    pub saving: Nanos,
    /// The longest time between two iterations.
    pub longest_pause: Nanos,
    /// How the run ended. `None` if the power failed.
    pub outcome: Option<Outcome>,
}

/// The event at which a rule saves.
const SAVE: u8 = 1;

/// Starts the program: opens the store, resumes and trains until the run ends or the power fails.
///
/// # Panics
/// Panics if a call fails although the device has power. The simulated memory has no other faults.
pub fn start<W: Workload>(part: &Part, device: &Device, rule: &Rule, model: &mut W, purpose: Purpose) -> Start {
    match part.kind {
        Kind::Nrf52840 => start_on_flash::<W, 4, 4096, 16>(part, device, rule, model, purpose),
        Kind::Stm32L4 => start_on_flash::<W, 8, 2048, 16>(part, device, rule, model, purpose),
        Kind::Stm32F4 => start_on_flash::<W, 4, 131_072, 4>(part, device, rule, model, purpose),
        Kind::Rp2040 => start_on_flash::<W, 32, 4096, 4>(part, device, rule, model, purpose),
        Kind::SpiNor => start_on_flash::<W, 32, 4096, 16>(part, device, rule, model, purpose),
        Kind::Fram => {
            let begin = device.now();
            let store = ByteSlots::<_, 2, 32, Crc32Fast>::open(MemoryDriver(device), 0..part.region() as u32);
            train(device, rule, (model, purpose), store.expect("the region has no other layout"), begin)
        }
    }
}

fn start_on_flash<W: Workload, const WRITE: usize, const ERASE: usize, const SLOTS: usize>(
    part: &Part,
    device: &Device,
    rule: &Rule,
    model: &mut W,
    purpose: Purpose,
) -> Start {
    assert_eq!((part.geometry, part.slots), ((WRITE, ERASE), SLOTS), "the table of parts differs from this function");
    let begin = device.now();
    let store = Slots::<_, SLOTS, Crc32Fast>::open(FlashDriver::<WRITE, ERASE>(device), 0..part.region() as u32);
    train(device, rule, (model, purpose), store.expect("the region has no other layout"), begin)
}

fn train<W: Workload, S: Store<Error: Debug>>(
    device: &Device,
    rule: &Rule,
    model: (&mut W, Purpose),
    store: S,
    begin: Nanos,
) -> Start {
    let saves = Cell::new(0);
    let count = |event: &CheckpointEvent<'_, S::Error>| {
        saves.set(saves.get() + u32::from(matches!(event, CheckpointEvent::Saved { .. })));
    };
    let checkpoint = ModelCheckpoint::<1>::every(1).expect("1 is a valid interval");
    let mut start = match *rule {
        Rule::Fixed(interval) => {
            let Ok(checkpoint) = checkpoint.attach(User(SAVE), store) else { return Start::default() };
            let every_ticks = EveryTicks::new((interval / MICROSECOND).max(1)).expect("the interval is not 0");
            let every_ticks = every_ticks.attach(IterationCompleted, RealTimeClock(device), SAVE);
            run(device, model, &mut (every_ticks, checkpoint.observe(count)), begin)
        }
        Rule::Adaptive(budget) => {
            let Ok(checkpoint) = checkpoint.attach(IterationCompleted, store) else { return Start::default() };
            let clock = RealTimeClock(device);
            let mut handler = adaptive_interval(budget).attach(IterationCompleted, clock, checkpoint.observe(count));
            run(device, model, &mut handler, begin)
        }
    };
    start.saves = saves.get();
    start
}

/// Returns the policy with the bounds of the benchmark. Its ticks are microseconds.
fn adaptive_interval(budget: Option<Budget>) -> AdaptiveInterval {
    let interval = AdaptiveInterval::new().with_continuous_clock();
    let interval = interval.with_max_overhead(MAX_OVERHEAD as f32).expect("a valid share");
    match budget {
        Some(Budget { erases, lifetime, burst }) => {
            let (lifetime, borrow) = (lifetime / MICROSECOND, burst / MICROSECOND);
            interval.with_wear_budget(WearBudget { erases, lifetime, borrow }).expect("a valid budget")
        }
        None => interval,
    }
}

fn run<W: Workload, H: Handler<W, ()>>(
    device: &Device,
    (model, purpose): (&mut W, Purpose),
    handlers: &mut H,
    begin: Nanos,
) -> Start {
    let mut start = Start::default();
    let mut engine = Engine::new(W::EPOCHS);
    let resumed = engine.resume(model, handlers);
    if !device.is_on() {
        return start;
    }
    match resumed {
        // The first save was interrupted and left memory that cannot be read, so there is nothing to resume from.
        Err(RestoreError::NoneLoadable { .. }) => (),
        resumed => _ = resumed.expect("the device has power"),
    }
    start.resumed_at = Some(engine.state().iteration());
    start.recovery = device.now() - begin;
    if purpose == Purpose::Inspect {
        return start;
    }
    let busy_before = device.busy.get();
    let mut last_end = device.now();
    let step = |model: &mut W, _: u32, state: &mut State<()>| {
        if start.iterations > 0 {
            start.longest_pause = start.longest_pause.max(device.now() - last_end);
        }
        if !device.work(W::ITERATION) {
            state.terminate(StopReason::User(0));
            return;
        }
        model.step(state);
        start.iterations += 1;
        last_end = device.now();
    };
    let outcome = engine.run(model, 0..W::EPOCH, handlers, step);
    start.saving = device.busy.get() - busy_before;
    if device.is_on() {
        start.outcome = Some(outcome.expect("the device has power"));
    }
    start
}
