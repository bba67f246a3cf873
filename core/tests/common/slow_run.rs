//! A run whose parts take time on a simulated clock, for the tests of the profiler.

#![allow(dead_code, reason = "each test program uses a part of this module")]

use std::cell::Cell;
use training_monitor::checkpoint::Named;
use training_monitor::engine::Position;
use training_monitor::handlers::profiler::TickStatistics;
use training_monitor::time::Clock;
use training_monitor::{Batches, Engine, Event, Handler, Profiler, State};

pub type Model = Named<'static, [f32; 1]>;

/// Room for the states of a profiler and of a checkpoint handler.
pub const CAPACITY: usize = 512;

pub fn engine(max_epochs: u32) -> Engine<f32, (), CAPACITY> {
    Engine::with_record_capacity(max_epochs, ())
}

pub fn model() -> Model {
    Named::new("model", [0.0])
}

/// A time that the parts of the run advance.
pub struct Time {
    pub now: Cell<u64>,
    /// The number of the last batch. A batch that is fetched again takes no time.
    pub fetched: Cell<u32>,
}

impl Time {
    pub fn new(now: u64) -> Self {
        Time { now: Cell::new(now), fetched: Cell::new(0) }
    }
    pub fn clock(&self) -> impl Clock + Copy + '_ {
        || self.now.get()
    }
    /// Takes 0 to 255 ticks, which depend on `seed` only.
    pub fn take(&self, seed: u32) {
        let ticks = seed.wrapping_mul(2_654_435_769) >> 24;
        self.now.set(self.now.get() + u64::from(ticks));
    }
}

/// Batches whose fetch takes time.
pub struct SlowData<'a> {
    pub time: &'a Time,
    pub batches: u32,
    pub is_len_known: bool,
}

impl Batches for SlowData<'_> {
    type Batch = u32;
    fn len(&self) -> Option<u32> {
        self.is_len_known.then_some(self.batches)
    }
    fn get(&mut self, position: Position) -> Option<u32> {
        let number = position.epoch * self.batches + position.offset;
        if number > self.time.fetched.get() {
            self.time.fetched.set(number);
            self.time.take(number);
        }
        (position.data_offset < self.batches).then_some(number)
    }
}

pub fn data(time: &Time) -> SlowData<'_> {
    SlowData { time, batches: 4, is_len_known: true }
}

/// A step that takes time.
pub fn step(time: &Time) -> impl FnMut(&mut Model, u32, &mut State<f32>) -> f32 {
    |_, batch, _| {
        time.take(batch + 1000);
        0.0
    }
}

/// Records every event with its time, as the profiler sees it. Then takes time, as the handlers of the event do.
pub struct Recorder<'a> {
    pub time: &'a Time,
    pub log: &'a mut Vec<(Event, u64)>,
}

impl Handler<Model, f32> for Recorder<'_> {
    fn on_event(&mut self, event: Event, _: &mut Model, state: &mut State<f32>) {
        self.log.push((event, self.time.now.get()));
        if is_counted(event) {
            let name =
                format!("{event:?}").bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(7).wrapping_add(byte.into()));
            self.time.take(name.wrapping_add(state.iteration() * 100 + state.epoch()));
        }
    }
}

/// Returns whether the event also fires in an uninterrupted run.
pub fn is_counted(event: Event) -> bool {
    !matches!(event, Event::Interrupt | Event::SavedCheckpoint)
}

pub fn parts(profiler: &Profiler) -> [TickStatistics; 4] {
    [*profiler.fetch(), *profiler.step(), *profiler.other(), *profiler.epoch()]
}
