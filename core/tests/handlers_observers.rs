//! Tests of the observers (callbacks) of `EarlyStopping` and `Timer`: when they are called, and which state they see.

use std::cell::{Cell, RefCell};
use training_monitor::event::{
    EpochCompleted, EpochStarted, IterationCompleted, IterationStarted, Never, SavedCheckpoint,
};
use training_monitor::{EarlyStopping, Engine, EventFilter, State, StopReason, Timer};

#[test]
fn the_observer_of_early_stopping_is_called_after_each_score() {
    let mut seen = Vec::new();
    let scores = [1.0, 3.0, f32::NAN, 2.0, 5.0, 0.0];
    let mut stopping = EarlyStopping::new(3)
        .unwrap()
        .attach(IterationCompleted, |state| state.output.unwrap())
        .observe(|stopping: &EarlyStopping, state: &State<f32>| {
            let progress = (stopping.counter(), stopping.remaining_patience(), stopping.best_score());
            seen.push((state.iteration(), progress, state.stop_reason()));
        });
    Engine::new(1).run(&mut (), &scores[..], &mut stopping, |(), score, _| *score).unwrap();
    let expected = [
        (1, (0, 3, Some(1.0)), None),
        (2, (0, 3, Some(3.0)), None),
        (3, (1, 2, Some(3.0)), None),
        (4, (2, 1, Some(3.0)), None),
        (5, (0, 3, Some(5.0)), None),
        (6, (1, 2, Some(5.0)), None),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn the_observer_of_early_stopping_sees_the_score_that_stops_the_run() {
    let mut seen = Vec::new();
    let mut stopping = EarlyStopping::new(2).unwrap().attach(EpochCompleted, |_: &State<u32>| 1.0).observe(
        |stopping: &EarlyStopping, state: &State<u32>| {
            seen.push((state.epoch(), stopping.remaining_patience(), state.stop_reason()));
        },
    );
    let outcome = Engine::new(9).run(&mut (), 0..2, &mut stopping, |(), batch, _| batch).unwrap();
    assert_eq!((outcome.reason, outcome.epoch), (StopReason::EarlyStopping, 3));
    // The stop reason is always `None`, because the observer is called before the run is terminated.
    assert_eq!(seen, [(1, 2, None), (2, 1, None), (3, 0, None)]);
}

#[test]
fn the_observer_of_early_stopping_is_called_only_at_its_filter() {
    let calls = Cell::new(0);
    let filter = EpochCompleted.every(2).unwrap();
    let stopping = || {
        EarlyStopping::new(9)
            .unwrap()
            .attach(filter, |_| 1.0)
            .observe(|_: &EarlyStopping, _: &State<u32>| calls.set(calls.get() + 1))
    };
    let mut original = stopping();
    let mut engine = Engine::new(5);
    engine.run(&mut (), 0..3, &mut original, |(), batch, _| batch).unwrap();
    assert_eq!((calls.get(), original.early_stopping.counter()), (2, 1));
    // Saving and restoring the handler state must not call the observer (the callback of the handler). So the number of
    // calls stays 2.
    let record = engine.record::<(), _>(&mut original).unwrap();
    let mut resumed = stopping();
    engine.restore::<(), _>(&record, &mut resumed).unwrap();
    assert_eq!((calls.get(), resumed.early_stopping.counter()), (2, 1));
}

/// A clock that the step function advances.
#[derive(Default)]
struct Ticks(Cell<u64>);

impl Ticks {
    fn now(&self) -> u64 {
        self.0.get()
    }
    fn advance(&self, ticks: u64) {
        self.0.set(self.now() + ticks);
    }
}

#[test]
fn the_observer_of_a_timer_is_called_after_the_other_operations_of_an_event() {
    let ticks = Ticks::default();
    let readings = RefCell::new(Vec::new());
    // At the end of iteration 2, the timer is started and paused, counts a step, and calls its observer, in this order.
    let mut timer = Timer::new(0)
        .attach(|| ticks.now())
        .start(IterationCompleted.once(2).unwrap())
        .pause(IterationCompleted)
        .resume(IterationStarted)
        .step(IterationCompleted)
        .observe(IterationCompleted, |timer: &Timer, now| {
            let (total, steps) = (timer.total(), timer.step_count());
            readings.borrow_mut().push((now, total, steps, timer.value(now), timer.is_running()));
        });
    Engine::new(1).run(&mut (), 0..4, &mut timer, |(), batch, _| ticks.advance(u64::from(batch) + 10)).unwrap();
    let expected = [
        // The steps take 10, 11, 12 and 13 ticks. In iteration 2 the timer is reset before it counts the step, so the
        // total is 0 but the step count is 1.
        (10, 10, 1, 10, false),
        (21, 0, 1, 0, false),
        (33, 12, 2, 6, false),
        (46, 25, 3, 8, false),
    ];
    assert_eq!(*readings.borrow(), expected);
}

#[test]
fn the_observer_of_a_timer_is_called_only_at_its_filter() {
    let ticks = Ticks::default();
    let mut readings = Vec::new();
    let mut timer = Timer::new(0)
        .attach(|| ticks.now())
        .start(EpochStarted)
        .observe(EpochCompleted, |timer: &Timer, now| readings.push((now, timer.elapsed(now))));
    Engine::new(3).run(&mut (), 0..2, &mut timer, |(), _, _| ticks.advance(5)).unwrap();
    assert_eq!(readings, [(10, 10), (20, 10), (30, 10)]);
}

#[test]
fn the_last_observer_and_the_last_filters_of_a_timer_count() {
    let ticks = Ticks::default();
    let (first, second) = (Cell::new(0), Cell::new(0));
    let mut timer = Timer::new(0)
        .attach(|| ticks.now())
        .observe(IterationCompleted, |_: &Timer, _| first.set(first.get() + 1))
        .observe(EpochCompleted, |_: &Timer, _| second.set(second.get() + 1))
        .step(IterationCompleted)
        .step(SavedCheckpoint)
        .pause(IterationCompleted)
        .pause(Never);
    Engine::new(3).run(&mut (), 0..2, &mut timer, |(), _, _| ticks.advance(5)).unwrap();
    assert_eq!((first.get(), second.get()), (0, 3));
    assert_eq!((timer.timer.step_count(), timer.timer.is_running()), (0, true));
}

#[test]
fn an_attached_timer_reads_its_clock() {
    let ticks = Ticks::default();
    let mut timer = Timer::new(0).attach(|| ticks.now()).pause(Never).step(IterationCompleted);
    Engine::new(1).run(&mut (), 0..2, &mut timer, |(), _, _| ticks.advance(5)).unwrap();
    ticks.advance(10);
    assert_eq!((timer.value(), timer.seconds(5)), (10, 2.0));
}
