//! Compares `TickStatistics` and `Profiler` with models that store every duration and every event.

use super::decode;
use crate::models::profiler::{Entry, Profiler as Model, Statistics};
use arbitrary::Arbitrary;
use std::cell::{Cell, RefCell};
use training_monitor::handlers::profiler::{ProfilerHandler, TickStatistics};
use training_monitor::{Engine, Event, Handler, Profiler, State, StopReason};

#[derive(Arbitrary, Debug)]
enum Input {
    Statistics { ticks: Vec<Ticks> },
    Run(RunInput),
}

/// A number of ticks: a small one, a large one, or one close to `u64::MAX`.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Ticks {
    Few(u8),
    Many(u64),
    Most(u8),
}

#[derive(Arbitrary, Debug)]
struct RunInput {
    max_epochs: u8,
    epoch_length: u8,
    batches: u8,
    is_custom_loop: bool,
    /// The changes of the clock between two readings, again and again.
    changes: Vec<Change>,
    /// What happens at the event or the step with this number.
    actions: Vec<(u8, Action)>,
    /// The bit of a start tells whether it is a new program.
    restarts: u8,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Change {
    Little(u8),
    Much(u32),
    Back(u8),
}

#[derive(Arbitrary, Clone, Copy, PartialEq, Eq, Debug)]
enum Action {
    Interrupt,
    Terminate,
    TerminateEpoch,
    /// The step fails. The event after the previous step has the number.
    Fail,
    /// The power fails after a save between two iterations of a custom loop.
    Restart,
}

/// The fuzz target for the statistics of durations and for the profiler.
pub fn profiler(data: &[u8]) {
    match decode::<Input>(data) {
        Some(Input::Statistics { ticks }) => {
            let (mut statistics, mut model) = (TickStatistics::new(), Statistics::default());
            for ticks in ticks {
                let ticks = match ticks {
                    Ticks::Few(ticks) => ticks.into(),
                    Ticks::Many(ticks) => ticks,
                    Ticks::Most(distance) => u64::MAX - u64::from(distance),
                };
                statistics.update(ticks);
                model.durations.push(ticks);
                check_statistics(&statistics, &model, &model);
            }
        }
        Some(Input::Run(input)) => run(&input),
        None => (),
    }
}

/// Compares the statistics with those of all durations.
fn check_statistics(statistics: &TickStatistics, model: &Statistics, case: &dyn std::fmt::Debug) {
    let total = u64::try_from(model.total()).unwrap_or(u64::MAX);
    let numbers = (statistics.count() as usize, statistics.total(), statistics.min(), statistics.max());
    assert_eq!(numbers, (model.durations.len(), total, model.min(), model.max()), "{case:?}");
    let (mean, deviation) = (f64::from(statistics.mean()), f64::from(statistics.deviation()));
    assert!(mean.is_finite() && deviation.is_finite(), "{statistics:?}: {case:?}");
    let row: Vec<u64> = statistics.to_string().split_whitespace().map(|cell| cell.parse().expect("a number")).collect();
    let [count, row_total, min, max, rounded_mean, rounded_deviation] = row[..] else { panic!("{row:?}: {case:?}") };
    assert_eq!((count, row_total, min, max), (numbers.0 as u64, total, model.min(), model.max()), "{case:?}");
    if model.total() > u64::MAX.into() {
        return;
    }
    let is_close = |value: f64, expected: f64| (value - expected).abs() <= expected * 5e-7;
    assert!(is_close(mean, model.mean()), "mean {mean}, expected {}: {case:?}", model.mean());
    let expected = model.deviation();
    assert!(is_close(deviation, expected), "deviation {deviation}, expected {expected}: {case:?}");
    // A total close to `u64::MAX` is not rounded up.
    let rounded = total.saturating_add(count / 2) / count.max(1);
    assert_eq!(rounded_mean, rounded, "{case:?}");
    let difference = (rounded_deviation as f64 - expected).abs();
    assert!(difference <= 0.5 + expected * 5e-7, "deviation {rounded_deviation}, expected {expected}: {case:?}");
}

/// What the handlers and the program of a run share.
struct Shared<'a> {
    input: &'a RunInput,
    now: Cell<u64>,
    readings: Cell<usize>,
    /// The number of events so far.
    events: Cell<u32>,
    must_restart: Cell<bool>,
    model: RefCell<Model>,
}

impl Shared<'_> {
    /// Changes the clock.
    fn pass(&self) {
        let changes = &self.input.changes;
        let Some(change) = changes.get(self.readings.get() % changes.len().max(1)) else { return };
        self.readings.set(self.readings.get() + 1);
        self.now.set(match change {
            Change::Little(ticks) => self.now.get() + u64::from(*ticks),
            Change::Much(ticks) => self.now.get() + u64::from(*ticks),
            Change::Back(ticks) => self.now.get().saturating_sub(u64::from(*ticks)),
        });
    }

    /// Returns whether the action happens at the current event.
    fn is_due(&self, action: Action) -> bool {
        let number = self.events.get();
        self.input.actions.iter().any(|(event, due)| u32::from(*event) == number && *due == action)
    }

    fn clock(&self) -> impl Fn() -> u64 + Copy {
        || self.now.get()
    }
}

/// A handler after the profiler. It writes the log, and performs the actions.
struct Recorder<'a>(&'a Shared<'a>);

impl Handler<(), f32> for Recorder<'_> {
    fn on_event(&mut self, event: Event, (): &mut (), state: &mut State<f32>) {
        let Shared { now, events, model, must_restart, .. } = self.0;
        if event == Event::Started {
            model.borrow_mut().log.clear();
        }
        // At other events, the profiler does not read the clock.
        if !matches!(event, Event::User(_) | Event::Terminate | Event::TerminateSingleEpoch | Event::SavedCheckpoint) {
            model.borrow_mut().log.push(Entry::Event(event, now.get()));
        }
        events.set(events.get() + 1);
        if self.0.is_due(Action::Interrupt) {
            state.interrupt();
        }
        if self.0.is_due(Action::Terminate) {
            state.terminate(StopReason::User(1));
        }
        if self.0.is_due(Action::TerminateEpoch) {
            state.terminate_epoch();
        }
        must_restart.set(must_restart.get() || self.0.is_due(Action::Restart));
        self.0.pass();
    }
}

type RunEngine = Engine<f32, (), 512>;

fn engine(input: &RunInput) -> RunEngine {
    let engine = RunEngine::with_record_capacity(u32::from(input.max_epochs % 4), ());
    match input.epoch_length % 5 {
        0 if !input.is_custom_loop => engine,
        length => engine.with_epoch_length(u32::from(length.max(1))),
    }
}

fn run(input: &RunInput) {
    let shared = Shared {
        input,
        now: Cell::new(1000),
        readings: Cell::new(0),
        events: Cell::new(0),
        must_restart: Cell::new(false),
        model: RefCell::default(),
    };
    let mut engine = engine(input);
    let mut profiler = Profiler::new().with_saved_statistics();
    for start in 0..4 {
        let mut handlers = (profiler.attach(shared.clock()), Recorder(&shared));
        if input.is_custom_loop {
            run_custom_loop(&mut engine, &mut handlers, &shared);
        } else {
            // An error ends a start like the end of the run.
            let _ = engine.try_run(&mut (), 0..u32::from(input.batches % 6), &mut handlers, |(), _, _| {
                shared.pass();
                if shared.is_due(Action::Fail) { Err(()) } else { Ok(0.0) }
            });
        }
        check_run(&handlers.0.profiler, &shared);
        if input.restarts >> start & 1 == 1 {
            restart(&mut engine, &mut handlers.0, &shared);
            check_run(&handlers.0.profiler, &shared);
        }
        profiler = handlers.0.profiler;
    }
}

fn run_custom_loop<C: FnMut() -> u64 + Copy>(
    engine: &mut RunEngine,
    handlers: &mut (ProfilerHandler<C>, Recorder<'_>),
    shared: &Shared<'_>,
) {
    while matches!(engine.begin_iteration(&mut (), handlers), Ok(true)) {
        shared.pass();
        engine.end_iteration(0.0, &mut (), handlers);
        check_run(&handlers.0.profiler, shared);
        if shared.must_restart.take() {
            restart(engine, &mut handlers.0, shared);
            check_run(&handlers.0.profiler, shared);
        }
    }
}

/// Saves the state of the run, and restores it in a new program. The time between them does not count.
fn restart<C: FnMut() -> u64 + Copy>(engine: &mut RunEngine, handler: &mut ProfilerHandler<C>, shared: &Shared<'_>) {
    let saved = shared.now.get();
    let record = engine.record::<(), _>(handler).expect("the record is large enough");
    shared.now.set(saved / 2 + 77);
    let mut restored = Profiler::new().with_saved_statistics().attach(handler.clock);
    *engine = self::engine(shared.input);
    engine.restore::<(), _>(&record, &mut restored).expect("the state of the same handler");
    *handler = restored;
    let mut model = shared.model.borrow_mut();
    model.log.push(Entry::Restart(saved, shared.now.get()));
}

fn check_run(profiler: &Profiler, shared: &Shared<'_>) {
    let model = shared.model.borrow();
    let parts = [profiler.fetch(), profiler.step(), profiler.other(), profiler.epoch()];
    for (statistics, expected) in parts.into_iter().zip(model.durations()) {
        check_statistics(statistics, &expected, &(shared.input, &model.log));
    }
}
