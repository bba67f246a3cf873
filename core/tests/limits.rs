//! Tests of `TimeLimit`, `ScoreLimits`, and the warm-ups of `EarlyStopping`.

use std::cell::Cell;
use training_monitor::checkpoint::Named;
use training_monitor::event::{EpochCompleted, Interrupt, IterationCompleted};
use training_monitor::handlers::early_stopping::Mode;
use training_monitor::run_record::{Persist, RunRecord};
use training_monitor::store::ram::Ram;
use training_monitor::{
    ConfigError, EarlyStopping, Engine, Event, EventFilter, Handler, ModelCheckpoint, Outcome, ScoreLimits, State,
    StopReason, TimeLimit, on,
};

// ---------------------------------------------------------------- TimeLimit

#[test]
fn a_limit_of_no_ticks_is_refused() {
    assert_eq!(TimeLimit::new(0), Err(ConfigError::TimeLimit));
    assert_eq!(TimeLimit::new(u64::MAX).map(|limit| limit.limit()), Ok(u64::MAX));
}

#[test]
fn the_time_counts_from_the_first_call() {
    let mut limit = TimeLimit::new(10).unwrap();
    assert!(!limit.update(1_000_000));
    assert_eq!((limit.elapsed(), limit.remaining()), (0, 10));
    assert!(!limit.update(1_000_010));
    assert_eq!((limit.elapsed(), limit.remaining()), (10, 0));
    assert!(limit.update(1_000_011) && limit.update(1_000_011));
    assert_eq!((limit.elapsed(), limit.remaining()), (11, 0));
}

#[test]
fn a_pause_does_not_count() {
    let mut limit = TimeLimit::new(10).unwrap();
    limit.pause(5); // not started: has no effect
    limit.start(10);
    limit.pause(14);
    limit.pause(100);
    assert!(!limit.update(1000));
    assert_eq!(limit.elapsed(), 4);
    limit.start(1000);
    assert_eq!(limit.elapsed(), 0);
}

#[test]
fn a_clock_that_runs_backwards_adds_nothing_and_the_time_saturates() {
    let mut limit = TimeLimit::new(u64::MAX).unwrap();
    limit.start(100);
    assert!(!limit.update(50));
    assert_eq!(limit.elapsed(), 0);
    assert!(!limit.update(60)); // the clock continues from its new value
    assert_eq!(limit.elapsed(), 10);
    for _ in 0..3 {
        assert!(!limit.update(u64::MAX));
        assert!(!limit.update(0));
    }
    assert_eq!(limit.elapsed(), u64::MAX);
    let mut limit = TimeLimit::new(u64::MAX - 1).unwrap();
    limit.start(0);
    assert!(limit.update(u64::MAX));
}

/// Saves the record of every event.
#[derive(Default)]
struct SaveEverything(Vec<RunRecord>);

impl Handler<(), ()> for SaveEverything {
    fn on_event(&mut self, _: Event, (): &mut (), state: &mut State<()>) {
        state.request_action();
    }
    fn perform(&mut self, (): &mut (), _: &mut State<()>, record: &RunRecord<[u8]>) -> bool {
        let mut copy = RunRecord::new();
        (&mut copy as &mut RunRecord<[u8]>).copy_from(record);
        self.0.push(copy);
        false
    }
}

/// Runs two epochs of ten iterations of 7 ticks, with a limit of 50 ticks. The clock starts at `start`, and another
/// program uses 1000 ticks before the run. Returns the outcome, the elapsed ticks and the records.
fn run(start: u64, from: Option<&RunRecord>) -> (Outcome, u64, Vec<RunRecord>) {
    let clock = Cell::new(start);
    let limit = TimeLimit::new(50).unwrap().attach(IterationCompleted, || clock.get());
    let mut handlers = (SaveEverything::default(), limit);
    clock.set(clock.get() + 1000);
    let mut engine = Engine::new(2);
    if let Some(record) = from {
        engine.restore::<(), _>(record, &mut handlers).unwrap();
    }
    let step = |(): &mut (), _, _: &mut _| clock.set(clock.get() + 7);
    let outcome = engine.run(&mut (), 0..10, &mut handlers, step).unwrap();
    clock.set(clock.get() + 1000); // after the run, the time does not count
    let record = engine.record::<(), _>(&mut handlers).unwrap();
    // A resumed run that is finished has no further events.
    assert_eq!(&record, handlers.0.0.last().or(from).unwrap());
    (outcome, handlers.1.time_limit.elapsed(), handlers.0.0)
}

#[test]
fn the_elapsed_time_continues_after_a_restart() {
    let (expected, elapsed, records) = run(500, None);
    assert_eq!((expected.reason, expected.iteration, elapsed), (StopReason::TimeLimit, 8, 56));
    for (index, record) in records.iter().enumerate() {
        // The clock of the next start is behind or ahead.
        for start in [0, 1_000_000] {
            let (outcome, elapsed, _) = run(start, Some(record));
            assert_eq!((outcome, elapsed), (expected, 56), "{index}");
        }
    }
    let (kind, tag, bytes) = records.last().unwrap().handlers().next().unwrap();
    assert_eq!((kind.code(), bytes), (10, &[56, 0][..]));
    let mut other = TimeLimit::new(51).unwrap().attach(IterationCompleted, || 0);
    assert_ne!(tag, other.tag());
    assert_eq!(Engine::<()>::new(2).restore::<(), _>(records.last().unwrap(), &mut other), Ok(()));
    assert_eq!(other.time_limit.elapsed(), 56);
    let named = TimeLimit::new(50).unwrap().with_name("night").attach(IterationCompleted, || 0);
    assert_ne!(tag, named.tag());
}

/// A finished run continues with more epochs. The time continues from its end.
#[test]
fn the_time_of_an_extended_run_counts_again() {
    let clock = Cell::new(0);
    let limit = || TimeLimit::new(50).unwrap().attach(IterationCompleted, || clock.get());
    let step = |(): &mut (), _, _: &mut _| clock.set(clock.get() + 7);
    let mut first = limit();
    let mut engine = Engine::<()>::new(1);
    let outcome = engine.run(&mut (), 0..4, &mut first, step).unwrap();
    assert_eq!((outcome.reason, first.time_limit.elapsed()), (StopReason::MaxEpochs, 28));
    let record = engine.record::<(), _>(&mut first).unwrap();
    clock.set(1_000_000);
    let mut second = limit();
    let mut engine = Engine::<()>::new(9);
    engine.restore::<(), _>(&record, &mut second).unwrap();
    let outcome = engine.run(&mut (), 0..4, &mut second, step).unwrap();
    assert_eq!((outcome.reason, outcome.iteration, second.time_limit.elapsed()), (StopReason::TimeLimit, 8, 56));
}

/// A checkpoint that is saved at an interruption continues the time at the next start of the program.
#[test]
fn the_elapsed_time_continues_after_interruptions_and_restarts() {
    let clock = Cell::new(0);
    let mut store = Ram::<2, 256>::new();
    let mut elapsed = Vec::new();
    for interrupt_at in [1, 2, 4, u32::MAX] {
        let mut handlers = (
            TimeLimit::new(50).unwrap().attach(IterationCompleted, || clock.get()),
            on(IterationCompleted, |_: &mut Named<'_, f32>, state: &mut State<()>| {
                if state.iteration() == interrupt_at {
                    state.interrupt()
                }
            }),
            ModelCheckpoint::<1>::every(1).unwrap().attach(Interrupt, &mut store).unwrap(),
        );
        let (mut engine, mut model) = (Engine::<()>::new(1), Named::new("model", 0.0));
        clock.set(clock.get() + 1000);
        engine.resume(&mut model, &mut handlers).unwrap();
        let outcome = engine.run(&mut model, 0..9, &mut handlers, |_, _, _| clock.set(clock.get() + 10)).unwrap();
        elapsed.push((outcome.reason, outcome.iteration, handlers.0.time_limit.elapsed()));
    }
    let interrupted = |iteration| (StopReason::Interrupted, iteration, 10 * u64::from(iteration));
    assert_eq!(elapsed, [interrupted(1), interrupted(2), interrupted(4), (StopReason::TimeLimit, 6, 60)]);
}

#[test]
fn a_new_run_has_the_full_time() {
    let clock = Cell::new(0);
    let mut handler = TimeLimit::new(50).unwrap().attach(IterationCompleted, || clock.get());
    let mut engine = Engine::<()>::new(1);
    for _ in 0..2 {
        let step = |(): &mut (), _, _: &mut _| clock.set(clock.get() + 20);
        let outcome = engine.run(&mut (), 0..9, &mut handler, step).unwrap();
        assert_eq!((outcome.reason, outcome.iteration), (StopReason::TimeLimit, 3));
        engine.restart();
    }
}

// ---------------------------------------------------------------- limit of iterations

/// Starts a program that stops after `limit` iterations and saves each of them. The power fails after `failure` iterations.
fn run_iterations(store: &mut Ram<3, 256>, limit: u32, failure: u32) -> Option<Outcome> {
    let stop = on(IterationCompleted.after(limit - 1), |_: &mut Named<'_, f32>, state: &mut State<f32>| {
        state.terminate(StopReason::User(1));
    });
    let mut handlers = (stop, ModelCheckpoint::<2>::every(1).unwrap().attach(IterationCompleted, store).unwrap());
    let (mut engine, mut model) = (Engine::new(u32::MAX), Named::new("model", 0.0));
    engine.resume(&mut model, &mut handlers).unwrap();
    let step = |_: &mut Named<'_, f32>, _, state: &mut State<f32>| {
        if state.iteration() > failure { Err(()) } else { Ok(0.0) }
    };
    engine.try_run(&mut model, 0..3, &mut handlers, step).ok()
}

#[test]
fn a_limit_of_iterations_continues_after_a_restart() {
    let mut store = Ram::new();
    let expected = Some(Outcome { reason: StopReason::User(1), epoch: 3, iteration: 8 });
    for failure in [2, 3, 7] {
        assert_eq!(run_iterations(&mut store, 8, failure), None);
    }
    assert_eq!(run_iterations(&mut store, 8, u32::MAX), expected);
    // A finished run stays finished, with the same limit and with a greater one.
    assert_eq!(run_iterations(&mut store, 8, 0), expected);
    assert_eq!(run_iterations(&mut store, 20, 0), expected);
}

#[test]
fn a_run_beyond_a_limit_of_iterations_ends_after_its_next_iteration() {
    let mut store = Ram::new();
    assert_eq!(run_iterations(&mut store, 100, 6), None);
    let outcome = run_iterations(&mut store, 5, u32::MAX).unwrap();
    assert_eq!((outcome.reason, outcome.iteration), (StopReason::User(1), 7));
}

// ---------------------------------------------------------------- ScoreLimits

#[test]
fn limits_must_be_finite() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert_eq!(ScoreLimits::new().with_target(value), Err(ConfigError::ScoreLimit));
        assert_eq!(ScoreLimits::new().with_divergence_limit(value), Err(ConfigError::ScoreLimit));
    }
}

#[test]
fn an_equal_score_does_not_stop_the_run() {
    let limits = ScoreLimits::new().with_target(1.0).unwrap().with_divergence_limit(-1.0).unwrap();
    let above = 1.0_f32.next_up();
    assert_eq!(
        [1.0, above, -1.0, -above, 0.0].map(|score| limits.update(score)),
        [None, Some(StopReason::TargetReached), None, Some(StopReason::Diverged), None]
    );
    let limits = ScoreLimits::new().with_mode(Mode::Min);
    let limits = limits.with_target(-1.0).unwrap().with_divergence_limit(1.0).unwrap();
    assert_eq!(
        [1.0, above, -1.0, -above].map(|score| limits.update(score)),
        [None, Some(StopReason::Diverged), None, Some(StopReason::TargetReached)]
    );
}

/// A score can be better than the target and worse than the divergence limit, if the limits contradict each other.
#[test]
fn the_order_of_the_checks_is_that_of_lightning() {
    let limits = ScoreLimits::new().with_target(-1.0).unwrap().with_divergence_limit(1.0).unwrap();
    assert_eq!(limits.update(0.0), Some(StopReason::TargetReached));
    assert_eq!(limits.update(f32::INFINITY), Some(StopReason::NonFinite));
    assert_eq!(limits.update(f32::NAN), Some(StopReason::NonFinite));
    let unchecked = limits.with_check_finite(false);
    assert_eq!(unchecked.update(f32::INFINITY), Some(StopReason::TargetReached));
    assert_eq!(unchecked.update(f32::NEG_INFINITY), Some(StopReason::Diverged));
    assert_eq!(unchecked.update(f32::NAN), None);
}

#[test]
fn new_limits_check_only_for_finite_scores() {
    let limits = ScoreLimits::default();
    assert_eq!(limits, ScoreLimits::new());
    assert_eq!([f32::MAX, f32::MIN].map(|score| limits.update(score)), [None; 2]);
    assert_eq!(limits.with_check_finite(false).update(f32::NAN), None);
}

#[test]
fn the_first_handler_of_the_tuple_determines_the_reason() {
    let score = |state: &State<f32>| state.output.unwrap_or(0.0);
    let limits = ScoreLimits::new().with_divergence_limit(0.0).unwrap().attach(EpochCompleted, score);
    let stopping = EarlyStopping::new(1).unwrap().attach(EpochCompleted, score);
    let step = |_: &mut (), _, state: &mut State<f32>| 1.5 - state.epoch() as f32;
    let outcome = Engine::new(5).run(&mut (), 0..1, &mut (limits, stopping), step).unwrap();
    assert_eq!((outcome.reason, outcome.epoch), (StopReason::Diverged, 2));
    let outcome = Engine::new(5).run(&mut (), 0..1, &mut (stopping, limits), step).unwrap();
    assert_eq!((outcome.reason, outcome.epoch), (StopReason::EarlyStopping, 2));
}

// ---------------------------------------------------------------- the warm-ups of EarlyStopping

/// Runs the scores, one per epoch, and returns the last epoch, the counter and the best score.
fn stop_epoch<H: Handler<(), f32>>(
    scores: &[f32],
    mut handler: H,
    read: impl Fn(&H) -> EarlyStopping,
) -> (u32, u32, Option<f32>) {
    let step = |_: &mut (), score: &f32, _: &mut State<f32>| *score;
    let outcome =
        Engine::new(scores.len() as u32).with_epoch_length(1).run(&mut (), scores, &mut handler, step).unwrap();
    let stopping = read(&handler);
    (outcome.epoch, stopping.counter(), stopping.best_score())
}

#[test]
fn the_two_warm_ups_differ() {
    let score = |state: &State<f32>| state.output.unwrap_or(0.0);
    let stopping = || EarlyStopping::new(2).unwrap();
    let scores = [9.0, 1.0, 1.0, 1.0, 2.0, 1.0, 1.0];
    // Without a warm-up.
    assert_eq!(stop_epoch(&scores, stopping().attach(EpochCompleted, score), |h| h.early_stopping), (3, 2, Some(9.0)));
    // burn: the score of the first epoch is the best one. The run stops as soon as the warm-up is over.
    let handler = stopping().attach(EpochCompleted, score).with_warmup(3);
    assert_eq!(stop_epoch(&scores, handler, |h| h.early_stopping), (4, 3, Some(9.0)));
    // Keras: the scores of the first three epochs do not count.
    let handler = stopping().attach(EpochCompleted.after(3), score);
    assert_eq!(stop_epoch(&scores, handler, |h| h.early_stopping), (7, 2, Some(2.0)));
    // An improvement in the epoch after the warm-up prevents the stop.
    let handler = stopping().attach(EpochCompleted, score).with_warmup(3);
    assert_eq!(stop_epoch(&[5.0, 1.0, 1.0, 6.0, 1.0, 1.0], handler, |h| h.early_stopping), (6, 2, Some(6.0)));
    // A warm-up of 0 epochs changes nothing, and the observer sees every score.
    let calls = Cell::new(0);
    let handler = stopping()
        .attach(EpochCompleted, score)
        .with_warmup(0)
        .observe(|_: &EarlyStopping, _: &State<f32>| calls.set(calls.get() + 1));
    assert_eq!(stop_epoch(&scores, handler, |h| h.early_stopping), (3, 2, Some(9.0)));
    assert_eq!(calls.get(), 3);
}

#[test]
fn a_handler_without_a_warm_up_has_no_room_for_it() {
    let score: fn(&State<f32>) -> f32 = |_| 0.0;
    let handler = EarlyStopping::new(2).unwrap().attach(EpochCompleted, score);
    let parts = size_of::<EarlyStopping>().next_multiple_of(size_of_val(&score)) + size_of_val(&score);
    assert_eq!(size_of_val(&handler), parts);
}
