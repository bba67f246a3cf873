//! The profiler, compared with a model that stores every event.

#[path = "common/slow_run.rs"]
mod slow_run;

use slow_run::{Model, Recorder, SlowData, Time, data, engine, model, parts, step};
use std::cell::Cell;
use training_monitor::event::Any;
use training_monitor::handlers::profiler::TickStatistics;
use training_monitor::time::{Clock, WrappingClock};
use training_monitor::{Event, Profiler, RunError, State, StopReason, UserEvent, on};

/// The durations of all parts, in the order fetch, step, other, epoch.
type Durations = [Vec<u64>; 4];

/// Returns the durations in the log of an uninterrupted run.
fn durations(log: &[(Event, u64)]) -> Durations {
    let parts = |start: &[Event], end: &[Event]| {
        let mut durations = Vec::new();
        let mut started = None;
        for (event, now) in log {
            if end.contains(event) {
                durations.extend(started.take().map(|start: u64| start..*now));
            }
            if start.contains(event) {
                started = Some(*now);
            }
        }
        durations
    };
    let fetches = parts(&[Event::GetBatchStarted], &[Event::GetBatchCompleted]);
    let steps = parts(&[Event::IterationStarted], &[Event::IterationCompleted]);
    let epochs = parts(&[Event::EpochStarted], &[Event::EpochCompleted]);
    // Between two steps, without the fetches.
    let last = [Event::IterationStarted, Event::Completed, Event::ExceptionRaised];
    let others = parts(&[Event::Started, Event::IterationCompleted], &last);
    let other = |span: &std::ops::Range<u64>| {
        let inside = fetches.iter().filter(|fetch| span.start <= fetch.start && fetch.end <= span.end);
        span.end - span.start - inside.map(|fetch| fetch.end - fetch.start).sum::<u64>()
    };
    let others = others.iter().map(other).collect();
    let [fetches, steps, epochs] =
        [fetches, steps, epochs].map(|spans| spans.iter().map(|span| span.end - span.start).collect());
    [fetches, steps, others, epochs]
}

/// Compares the statistics with the statistics of the durations.
fn assert_matches(statistics: &TickStatistics, durations: &[u64]) {
    let mut expected = TickStatistics::new();
    durations.iter().for_each(|ticks| expected.update(*ticks));
    assert_eq!(*statistics, expected);
}

fn assert_run_matches(profiler: &Profiler, log: &[(Event, u64)]) {
    for (statistics, durations) in parts(profiler).iter().zip(durations(log)) {
        assert_matches(statistics, &durations);
    }
}

/// The three parts of the iterations share all the time of the run.
fn assert_complete(profiler: &Profiler, log: &[(Event, u64)]) {
    let total = profiler.fetch().total() + profiler.step().total() + profiler.other().total();
    assert_eq!(total, log.last().unwrap().1 - log[0].1);
}

#[test]
fn a_run_has_the_statistics_of_its_events() {
    for is_len_known in [true, false] {
        let (time, mut log) = (Time::new(5000), Vec::new());
        let mut handlers = (Profiler::new().attach(time.clock()), Recorder { time: &time, log: &mut log });
        let data = SlowData { is_len_known, ..data(&time) };
        engine(3).run(&mut model(), data, &mut handlers, step(&time)).unwrap();
        let profiler = handlers.0.profiler;
        assert_run_matches(&profiler, &log);
        assert_complete(&profiler, &log);
        assert_eq!(parts(&profiler).map(|part| part.count()), [12, 12, 13, 3]);
    }
}

#[test]
fn a_counter_that_wraps_gives_the_same_statistics() {
    let run = |clock: &mut dyn FnMut(&Time) -> u64| {
        let time = Time::new(u64::from(u32::MAX) - 700);
        let mut handlers = (Profiler::new().attach(|| clock(&time)), Recorder { time: &time, log: &mut Vec::new() });
        engine(2).run(&mut model(), data(&time), &mut handlers, step(&time)).unwrap();
        assert!(time.now.get() > u64::from(u32::MAX));
        handlers.0.profiler
    };
    let counter = Cell::new(0);
    let mut wrapping = WrappingClock::new(|| counter.get());
    let extended = run(&mut |time| {
        counter.set(time.now.get() as u32);
        wrapping.now()
    });
    assert_eq!(parts(&extended), parts(&run(&mut |time| time.now.get())));
}

/// A clock that runs backwards adds nothing.
#[test]
fn a_clock_that_runs_backwards_adds_nothing() {
    let mut readings = [50, 40, 90, 10, 70, 0, u64::MAX, 5].into_iter().cycle();
    let mut profiler = Profiler::new().attach(|| readings.next().unwrap());
    engine(2).run(&mut model(), 0..3, &mut profiler, |_, _, _| 0.0).unwrap();
    assert_eq!(profiler.profiler.step().count(), 6);
    assert_eq!(profiler.profiler.step().min(), 0);
}

#[test]
fn terminated_epochs_and_runs_and_failed_steps_belong_to_other() {
    for target in [
        Event::EpochStarted,
        Event::GetBatchStarted,
        Event::GetBatchCompleted,
        Event::IterationStarted,
        Event::IterationCompleted,
        Event::EpochCompleted,
    ] {
        for action in ["epoch", "run"] {
            let (time, mut log) = (Time::new(0), Vec::new());
            let mut handlers = (
                Profiler::new().attach(time.clock()),
                Recorder { time: &time, log: &mut log },
                on(target, |_: &mut Model, state: &mut State<f32>| match action {
                    "epoch" if state.iteration() == 5 => state.terminate_epoch(),
                    "run" if state.iteration() == 5 => state.terminate(StopReason::User(1)),
                    _ => {}
                }),
            );
            engine(3).run(&mut model(), data(&time), &mut handlers, step(&time)).unwrap();
            let profiler = handlers.0.profiler;
            assert_complete(&profiler, &log);
            let completed = |event| log.iter().filter(|(fired, _)| *fired == event).count() as u32;
            assert_eq!(profiler.step().count(), completed(Event::IterationCompleted), "{target:?} {action}");
            assert_eq!(profiler.fetch().count(), completed(Event::GetBatchCompleted), "{target:?} {action}");
            assert_eq!(profiler.epoch().count(), completed(Event::EpochCompleted), "{target:?} {action}");
        }
    }

    let (time, mut log) = (Time::new(0), Vec::new());
    let mut handlers = (Profiler::new().attach(time.clock()), Recorder { time: &time, log: &mut log });
    let fail_at_3 = |_: &mut Model, _: u32, state: &mut State<f32>| {
        time.take(state.iteration());
        if state.iteration() == 3 { Err("sensor") } else { Ok(0.0) }
    };
    let ended = engine(3).try_run(&mut model(), data(&time), &mut handlers, fail_at_3);
    assert_eq!(ended, Err(RunError::Step("sensor")));
    let profiler = handlers.0.profiler;
    assert_complete(&profiler, &log);
    assert_eq!(parts(&profiler).map(|part| part.count()), [3, 2, 4, 0]);
}

#[test]
fn a_new_run_starts_with_empty_statistics() {
    let (time, mut log) = (Time::new(0), Vec::new());
    let mut profiler = Profiler::new().attach(time.clock());
    let mut engine = engine(1);
    engine.run(&mut model(), data(&time), &mut profiler, step(&time)).unwrap();
    let mut handlers = (profiler, Recorder { time: &time, log: &mut log });
    engine.run(&mut model(), data(&time), &mut handlers, step(&time)).unwrap();
    assert_run_matches(&handlers.0.profiler, &log);
}

/// Reading a clock can take long, so the handler reads it only at the events that the profiler needs.
#[test]
fn the_clock_is_read_once_for_each_event_that_the_profiler_needs() {
    let (readings, mut events) = (Cell::new(0), 0);
    let clock = || {
        readings.set(readings.get() + 1);
        0
    };
    let fire = on(Event::EpochStarted, |_: &mut Model, state: &mut State<f32>| {
        assert!(state.fire(UserEvent { id: 1, value: 0 }).is_ok());
    });
    let count = on(Any, |_: &mut Model, _: &mut State<f32>| events += 1);
    engine(2).run(&mut model(), 0..3, &mut (Profiler::new().attach(clock), fire, count), |_, _, _| 0.0).unwrap();
    // The other events are the two that the user defined.
    assert_eq!((readings.get(), events), (30, 32));
}

#[test]
fn a_custom_loop_has_no_fetch() {
    let (time, mut log) = (Time::new(0), Vec::new());
    let mut handlers = (Profiler::new().attach(time.clock()), Recorder { time: &time, log: &mut log });
    let (mut engine, mut model) = (engine(2).with_epoch_length(4), model());
    while engine.begin_iteration(&mut model, &mut handlers).unwrap() {
        time.take(engine.state().iteration());
        engine.end_iteration(0.0, &mut model, &mut handlers);
    }
    let profiler = handlers.0.profiler;
    assert_run_matches(&profiler, &log);
    assert_complete(&profiler, &log);
    assert_eq!(parts(&profiler).map(|part| part.count()), [0, 8, 9, 2]);
}
