//! An event at regular times of the training, which are the same in a run that is interrupted and resumed.

use std::cell::Cell;
use training_monitor::checkpoint::Named;
use training_monitor::event::{IterationCompleted, User};
use training_monitor::handlers::every_ticks::EveryTicks;
use training_monitor::store::ram::Ram;
use training_monitor::{ConfigError, Engine, EventFilter, ModelCheckpoint, State, on};

#[test]
fn the_interval_is_over_at_the_first_check_after_its_ticks() {
    assert_eq!(EveryTicks::new(0), Err(ConfigError::TickInterval));
    let mut every = EveryTicks::new(10).unwrap();
    // The first reading starts the interval. After each event, the next interval starts at its check.
    let due = [100, 109, 110, 119, 121, 130, 131, 1000, 1009, 1010].map(|now| every.update(now));
    assert_eq!(due, [false, false, true, false, true, false, true, true, false, true]);
    // A clock that runs backwards adds nothing, and the largest readings do not overflow.
    assert!(!every.update(0));
    assert_eq!(every.elapsed(), 0);
    assert!(every.update(u64::MAX));
    assert!(!every.update(u64::MAX));
}

/// Returns the iterations of a run of eight iterations at which the event fired. The run is interrupted after each
/// iteration in `interruptions`, and the clock of the next start begins at another tick.
fn event_iterations(interruptions: &[u32]) -> Vec<u32> {
    let mut store = Ram::<3, 512>::new();
    let mut fired = Vec::new();
    for (start, interruption) in interruptions.iter().chain(&[u32::MAX]).enumerate() {
        let ticks = Cell::new(start as u64 * 12_345);
        let mut handlers = (
            EveryTicks::new(25).unwrap().attach(IterationCompleted, || ticks.get(), 7),
            on(User(7), |_, state: &mut State<f32>| fired.push(state.iteration())),
            ModelCheckpoint::<2>::every(1).unwrap().attach(IterationCompleted, &mut store).unwrap(),
            on(IterationCompleted.filter(|value| value == *interruption), |_, state| state.interrupt()),
        );
        let (mut engine, mut model) = (Engine::new(1), Named::new("model", [0.0_f32]));
        engine.resume(&mut model, &mut handlers).unwrap();
        let step = |_: &mut Named<'_, [f32; 1]>, _, _: &mut State<f32>| {
            ticks.set(ticks.get() + 10);
            0.0
        };
        engine.run(&mut model, 0..8, &mut handlers, step).unwrap();
    }
    fired
}

#[test]
fn an_interrupted_run_fires_at_the_same_iterations() {
    assert_eq!(event_iterations(&[]), [3, 6]);
    for iteration in 1..8 {
        assert_eq!(event_iterations(&[iteration]), [3, 6], "interrupted after iteration {iteration}");
    }
    assert_eq!(event_iterations(&[1, 2, 3, 4, 5, 6, 7]), [3, 6]);
}

#[test]
fn the_elapsed_ticks_are_those_since_the_last_event() {
    let mut every = EveryTicks::new(10).unwrap();
    let elapsed = [100, 104, 110, 113].map(|now| {
        every.update(now);
        every.elapsed()
    });
    assert_eq!(elapsed, [0, 4, 0, 3]);
}
