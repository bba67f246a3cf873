//! Finds out which part of a training run takes the time: the fetch, the step, a handler or a save.
//!
//! The program trains for six epochs, is switched off, and continues. The table then covers both runs. A clock with one
//! tick per microsecond is simulated; on a device, the clock reads a timer. The table is in ticks.
//!
//! Run it with `cargo run -p training-monitor --example profile`.

use core::cell::Cell;
use training_monitor::checkpoint::Named;
use training_monitor::event::EpochCompleted;
use training_monitor::handlers::profiler::TickStatistics;
use training_monitor::store::ram::Ram;
use training_monitor::time::WrappingClock;
use training_monitor::{EarlyStopping, Engine, Event, ModelCheckpoint, Profiled, Profiler, State, on};

/// The simulated timer. It has 32 bits and wraps around during the training.
struct Ticks(Cell<u32>);

impl Ticks {
    fn take(&self, ticks: u32) {
        self.0.set(self.0.get().wrapping_add(ticks));
    }
}

/// A source of batches that waits for a sensor.
struct Sensor<'a>(&'a Ticks);

impl training_monitor::Batches for Sensor<'_> {
    type Batch = f32;
    fn len(&self) -> Option<u32> {
        Some(20)
    }
    fn get(&mut self, position: training_monitor::engine::Position) -> Option<f32> {
        self.0.take(150 + position.data_offset % 3 * 50);
        Some(position.data_offset as f32 * 0.1)
    }
}

fn train(store: &mut Ram<3, 1024>, ticks: &Ticks, max_epochs: u32) -> Result<Profiler, Box<dyn core::error::Error>> {
    let clock = || WrappingClock::new(|| ticks.0.get());
    let loss = |state: &State<f32>| -state.output.unwrap_or(f32::INFINITY);
    let stopping = EarlyStopping::new(4)?.attach(EpochCompleted, loss);
    let saving = ModelCheckpoint::<2>::every(2)?.attach(EpochCompleted, store)?;
    let mut handlers = (
        // The first of the handlers, so that a step ends before the other handlers start.
        Profiler::new().with_saved_statistics().attach(clock()),
        Profiled::new("early stopping", stopping, EpochCompleted, clock()),
        Profiled::new("evaluation", on(EpochCompleted, |_, _| ticks.take(4000)), EpochCompleted, clock()),
        Profiled::new("checkpoint", saving, EpochCompleted, clock()),
    );
    // The saved statistics need more room than the default run record has.
    let mut engine = Engine::<f32, (), 512>::with_record_capacity(max_epochs, ());
    let mut model = Named::new("model", [0.0_f32]);
    engine.resume(&mut model, &mut handlers)?;
    engine.run(&mut model, Sensor(ticks), &mut handlers, |model, batch, _| {
        ticks.take(900);
        let error = model[0] - batch;
        model[0] -= 0.1 * error;
        error * error
    })?;
    let (profiler, stopping, evaluation, checkpoint) = handlers;
    println!("{}\n{stopping}\n{evaluation}\n{checkpoint}\n", profiler.profiler);
    Ok(profiler.profiler)
}

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let mut store = Ram::new();
    let ticks = Ticks(Cell::new(u32::MAX - 10_000));
    let first = train(&mut store, &ticks, 6)?;
    assert_eq!((first.step().count(), first.step().mean()), (6 * 20, 900.0));
    assert_eq!(first.fetch().max(), 250);

    // After the reset, the statistics of the profiler continue. Those of the single handlers start anew.
    let both = train(&mut store, &ticks, 10)?;
    assert_eq!((both.step().count(), both.epoch().count()), (10 * 20, 10));
    // The time of the evaluations is not the time of a step. At one tick per microsecond, it is 4 ms.
    assert_eq!(both.other().max() as f32 / 1000.0, 4.0);

    // A section of the program, without an engine.
    let mut section = TickStatistics::new();
    for duration in [31, 29, 30] {
        section.update(duration);
    }
    println!("{}\n{:<16}{section}", TickStatistics::HEADER, "section");
    assert_eq!(section.mean(), 30.0);

    // The profiler also measures a loop of events that another program fires.
    let mut profiler = Profiler::new();
    profiler.update(Event::IterationStarted, 1000);
    profiler.update(Event::IterationCompleted, 1900);
    assert_eq!(profiler.step().total(), 900);
    Ok(())
}
