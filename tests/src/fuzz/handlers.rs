//! Compares the handlers with their models after every operation. One of the operations is a restart: the target saves
//! the state of the handler in a checkpoint, decodes the checkpoint, and restores the state into a new handler.

use super::decode;
use super::state::{bits, transfer_state};
use crate::models::early_stopping::EarlyStopping as EarlyStoppingModel;
use crate::models::guard::Guard;
use crate::models::number::{Counter, Number};
use crate::models::ranking::{self, Entry, ModelCheckpoint as RankingModel};
use crate::models::timer::Timer as TimerModel;
use arbitrary::Arbitrary;
use training_monitor::event::{Any, Counters, User};
use training_monitor::handlers::early_stopping::{Mode, ThresholdMode};
use training_monitor::handlers::model_checkpoint::{SaveDecision, StepSource};
use training_monitor::handlers::terminate_on_nan::EveryNthCall;
use training_monitor::time::{Clock, WrappingClock};
use training_monitor::{
    ConfigError, EarlyStopping, Engine, Event, Handler, ModelCheckpoint, State, TerminateOnNan, Timer, UserEvent,
};
use training_monitor_std::test_support::ticks::TickSource;

#[derive(Arbitrary, Debug)]
struct EarlyStoppingInput {
    patience: Counter,
    threshold: Number,
    relative: bool,
    lower: bool,
    cumulative: bool,
    operations: Vec<EarlyStoppingOperation>,
}

#[derive(Arbitrary, Debug)]
enum EarlyStoppingOperation {
    Update(Number),
    /// Several updates with the same score. The test makes them through a handler that is attached to an engine.
    RepeatedUpdate(Number, u8),
    Reset,
    Restart,
}

/// The fuzz target that compares the handler `EarlyStopping` with a simple model.
pub fn early_stopping(data: &[u8]) {
    let Some(input) = decode::<EarlyStoppingInput>(data) else { return };
    let EarlyStoppingInput { patience: Counter(patience), threshold: Number(threshold), .. } = input;
    let threshold_mode = if input.relative { ThresholdMode::Rel } else { ThresholdMode::Abs };
    let mode = if input.lower { Mode::Min } else { Mode::Max };
    let built = EarlyStopping::new(patience).and_then(|stopping| stopping.with_threshold(threshold, threshold_mode));
    assert_eq!(built.is_ok(), patience > 0 && threshold >= 0.0 && threshold.is_finite(), "{input:?}");
    let Ok(stopping) = built else { return };
    let configured = stopping.with_mode(mode).with_cumulative(input.cumulative);
    let attach = |stopping: EarlyStopping| stopping.attach(Any, |state: &State<f32>| state.output.unwrap_or(0.0));
    let mut handler = attach(configured);
    let mut model = EarlyStoppingModel {
        patience,
        threshold,
        relative: input.relative,
        lower: input.lower,
        cumulative: input.cumulative,
        ..EarlyStoppingModel::default()
    };
    for operation in &input.operations {
        match operation {
            EarlyStoppingOperation::Update(Number(score)) => {
                let should_stop = model.update(*score);
                assert_eq!(handler.early_stopping.update(*score), should_stop, "{score} in {input:?}");
            }
            EarlyStoppingOperation::RepeatedUpdate(Number(score), times) => {
                for _ in 0..*times % 8 {
                    let mut engine = Engine::<f32>::new(1);
                    engine.state_mut().output = Some(*score);
                    handler.on_event(Event::Completed, &mut (), engine.state_mut());
                    let has_stopped = engine.state().stop_reason().is_some();
                    assert_eq!(has_stopped, model.update(*score), "{score} in {input:?}");
                }
            }
            EarlyStoppingOperation::Reset => {
                handler.early_stopping.reset();
                model.reset();
            }
            EarlyStoppingOperation::Restart => {
                let mut restored = attach(configured);
                transfer_state::<(), _, _>(&mut handler, &mut restored);
                handler = restored;
            }
        }
        let best = model.best.map(|best| best as f32);
        let stopping = handler.early_stopping;
        assert_eq!(stopping.counter() as usize, model.counter(), "{input:?}");
        assert_eq!(bits(stopping.best_score()), bits(best), "{input:?}");
    }
}

#[derive(Arbitrary, Debug)]
struct TimerInput {
    /// The number of ticks until the tick counter wraps.
    before_wrap: Counter,
    average: bool,
    /// The user events for start, pause, resume and step. Several of them can be equal.
    events: [u8; 4],
    operations: Vec<TimerOperation>,
}

#[derive(Arbitrary, Debug)]
enum TimerOperation {
    Advance(u32),
    AdvanceLittle(u8),
    Fire(u8),
    /// A restart, and the number of ticks until the new tick counter wraps.
    Restart(Counter),
}

/// The target for `Timer` and for the clock that extends wrapping ticks to 64 bits.
pub fn timer(data: &[u8]) {
    let Some(input) = decode::<TimerInput>(data) else { return };
    let [start, pause, resume, step] = input.events.map(|event| event % 4);
    let attach = |ticks: &TickSource| {
        let mut clock = WrappingClock::new(ticks.reader());
        let timer = Timer::new(clock.now());
        let timer = if input.average { timer } else { timer.without_average() };
        timer.attach(clock).start(User(start)).pause(User(pause)).resume(User(resume)).step(User(step))
    };
    let mut ticks = TickSource::with_ticks_until_wrap(input.before_wrap.0);
    let mut handler = attach(&ticks);
    // The time at which the clock of the handler started.
    let mut zero = ticks.unwrapped_count();
    let mut model = TimerModel::new(zero, input.average);
    let mut engine = Engine::<f32>::new(1);
    for operation in &input.operations {
        match operation {
            TimerOperation::Advance(elapsed) => ticks.advance(u64::from(*elapsed)),
            TimerOperation::AdvanceLittle(elapsed) => ticks.advance(u64::from(*elapsed)),
            TimerOperation::Fire(id) => {
                let (id, now) = (id % 4, ticks.unwrapped_count());
                handler.on_event(Event::User(UserEvent { id, value: 0 }), &mut (), engine.state_mut());
                if id == start {
                    model.reset(now);
                }
                if id == pause {
                    model.pause(now);
                }
                if id == resume {
                    model.resume(now);
                }
                if id == step {
                    model.steps = model.steps.saturating_add(1);
                }
            }
            TimerOperation::Restart(Counter(before_wrap)) => {
                let saved = ticks.unwrapped_count();
                ticks = TickSource::with_ticks_until_wrap(*before_wrap);
                zero = ticks.unwrapped_count();
                let mut restored = attach(&ticks);
                transfer_state::<(), _, _>(&mut handler, &mut restored);
                handler = restored;
                model.restart(saved, zero);
            }
        }
        let (now, real) = (handler.clock.now(), ticks.unwrapped_count());
        let timer = &handler.timer;
        assert_eq!(now, real - zero, "{input:?}");
        assert_eq!((timer.total(), timer.elapsed(now)), (model.total(), model.elapsed(real)), "{input:?}");
        assert_eq!((timer.is_running(), timer.step_count()), (model.since.is_some(), model.steps), "{input:?}");
        assert_eq!(timer.value(now), model.value(real).floor() as u64, "{input:?}");
        let seconds = model.value(real) / 1e6;
        assert!((f64::from(timer.seconds(now, 1_000_000)) - seconds).abs() <= seconds * 1e-6, "{input:?}");
    }
}

#[derive(Arbitrary, Debug)]
struct GuardInput {
    every: Counter,
    operations: Vec<GuardOperation>,
}

#[derive(Arbitrary, Debug)]
enum GuardOperation {
    Check(Vec<Number>),
    Stripe(Vec<Number>),
    /// A slice of 100 and more numbers, which the library scans in blocks. One of them has the given index and value.
    Long(u8, Number),
    Restart,
}

/// The fuzz target for the handler `TerminateOnNan` and for the function that scans slices for NaN and infinite values.
pub fn guard(data: &[u8]) {
    let Some(input) = decode::<GuardInput>(data) else { return };
    let Counter(every) = input.every;
    let new_guard = TerminateOnNan::new().with_schedule(every);
    assert_eq!(new_guard.is_ok(), every > 0, "{input:?}");
    let Ok(new_guard) = new_guard else { return };
    let attach = |guard: TerminateOnNan<EveryNthCall>| guard.attach(Any, |_: &(), state: &State<f32>| &state.output);
    let mut handler = attach(new_guard);
    let mut model = Guard { every, calls: 0 };
    let numbers = |values: &[Number]| values.iter().map(|number| number.0).collect::<Vec<f32>>();
    for operation in &input.operations {
        match operation {
            GuardOperation::Check(values) => {
                let values = numbers(values);
                assert_eq!(handler.terminate_on_nan.check(&values[..]), model.check(&values), "{input:?}");
            }
            GuardOperation::Stripe(values) => {
                let values = numbers(values);
                let found = handler.terminate_on_nan.check_stripe(&values);
                assert_eq!(found, model.check_stripe(&values).is_some(), "{input:?}");
            }
            GuardOperation::Long(index, Number(value)) => {
                let mut values = vec![f32::MAX; 100 + usize::from(*index)];
                values[usize::from(*index)] = *value;
                // The handler for slices also reports the index.
                let mut slice_guard =
                    handler.terminate_on_nan.attach_slices(Any, |values: &Vec<f32>, check| check(values));
                let mut engine = Engine::<f32>::new(1);
                slice_guard.on_event(Event::Completed, &mut values, engine.state_mut());
                handler.terminate_on_nan = slice_guard.terminate_on_nan;
                let found = model.check_stripe(&values);
                assert_eq!(slice_guard.first_non_finite().map(|found| found.index as usize), found, "{input:?}");
                assert_eq!(engine.state().stop_reason().is_some(), found.is_some(), "{input:?}");
            }
            GuardOperation::Restart => {
                let mut restored = attach(new_guard);
                transfer_state::<(), _, _>(&mut handler, &mut restored);
                handler = restored;
            }
        }
    }
}

#[derive(Arbitrary, Debug)]
struct RankingInput {
    interval: Option<Counter>,
    /// The source of the score for a policy without an interval. True: the caller passes the score to the policy.
    /// False: the policy has a score function.
    passes_score: bool,
    n_saved: Option<u8>,
    or_equal: bool,
    step_source: ranking::StepSource,
    operations: Vec<RankingOperation>,
}

#[derive(Arbitrary, Debug)]
enum RankingOperation {
    Call {
        epoch: Counter,
        iteration: Counter,
        score: Number,
        /// Whether the save fails, if the policy decides to save.
        fails: bool,
    },
    RestoreEntry(Counter, Option<Number>),
    Reset,
}

/// The maximum number of checkpoints in the ranking (the table of kept checkpoints).
const TABLE: usize = 4;

/// The fuzz target for the decisions of `ModelCheckpoint`: which checkpoints are saved, kept and evicted.
pub fn model_checkpoint(data: &[u8]) {
    let Some(input) = decode::<RankingInput>(data) else { return };
    let interval = input.interval.map(|interval| interval.0);
    match (interval, input.passes_score) {
        (Some(interval), _) => {
            let policy = ModelCheckpoint::every(interval);
            assert_eq!(policy.as_ref().err(), Some(&ConfigError::SaveInterval).filter(|_| interval == 0), "{input:?}");
            policy.into_iter().for_each(|policy| configure(policy, &input));
        }
        (None, true) => configure(ModelCheckpoint::by_score().with_greater_or_equal(input.or_equal), &input),
        (None, false) => {
            // The score function returns NaN, because it is never called: only a handler that is attached to an engine
            // calls it.
            let policy = ModelCheckpoint::best_by(|_: &State<f32>| f32::NAN);
            configure(policy.with_greater_or_equal(input.or_equal), &input);
        }
    }
}

/// Adds the settings that every policy has, and performs the operations if the library accepts the settings.
fn configure<F>(policy: ModelCheckpoint<TABLE, F>, input: &RankingInput) {
    let policy = policy.with_step_source(match input.step_source {
        ranking::StepSource::Calls => StepSource::Calls,
        ranking::StepSource::Iteration => StepSource::Iteration,
        ranking::StepSource::Epoch => StepSource::Epoch,
    });
    let Some(n_saved) = input.n_saved.map(u32::from) else { return run_operations(policy.keep_all(), input) };
    let is_valid = (1..=TABLE as u32).contains(&n_saved);
    let expected = Some(ConfigError::NSaved { n_saved, table: TABLE }).filter(|_| !is_valid);
    let policy = policy.with_n_saved(n_saved);
    assert_eq!(policy.as_ref().err(), expected.as_ref(), "{input:?}");
    policy.into_iter().for_each(|policy| run_operations(policy, input));
}

fn run_operations<F>(mut policy: ModelCheckpoint<TABLE, F>, input: &RankingInput) {
    let mut model = RankingModel {
        interval: input.interval.map(|interval| interval.0),
        n_saved: input.n_saved.map(usize::from),
        capacity: TABLE,
        // Only a policy that ranks checkpoints by score has the setting `or_equal` (equal scores may enter the
        // ranking).
        or_equal: input.or_equal && input.interval.is_none(),
        step_source: input.step_source,
        calls: 0,
        kept: Vec::new(),
        committed: Vec::new(),
    };
    for operation in &input.operations {
        match operation {
            RankingOperation::Call { epoch, iteration, score, fails } => {
                let counters = Counters { epoch: epoch.0, iteration: iteration.0 };
                let decision = policy.update_at(&counters, Some(score.0));
                let expected = model.update(counters.epoch, counters.iteration, Some(score.0));
                let is_equal = |decision: SaveDecision, entry: Entry| {
                    decision.step == entry.step && bits(decision.score) == bits(entry.score)
                };
                match (decision, expected) {
                    (None, None) => (),
                    (Some(decision), Some(entry)) if is_equal(decision, entry) => {
                        if !fails {
                            let evicted = policy.record_commit(decision).map(|evicted| evicted.step);
                            assert_eq!(evicted, model.record_commit(entry), "{input:?}");
                        }
                    }
                    (decision, expected) => panic!("{decision:?}, expected {expected:?} in {input:?}"),
                }
            }
            RankingOperation::RestoreEntry(Counter(step), score) => {
                let score = score.map(|score| score.0);
                // Skips a step that the ranking already contains, because a store lists at most one checkpoint of each
                // step.
                if model.kept.iter().any(|kept| kept.step == *step) {
                    continue;
                }
                let evicted = policy.restore_entry(SaveDecision { step: *step, score }).map(|evicted| evicted.step);
                assert_eq!(evicted, model.restore_entry(*step, score), "{input:?}");
            }
            RankingOperation::Reset => {
                policy.reset();
                model.reset();
            }
        }
        let kept: Vec<_> = policy.kept().iter().map(|kept| (kept.step, bits(kept.score()))).collect();
        let expected: Vec<_> = model.kept.iter().map(|kept| (kept.step, bits(kept.score))).collect();
        assert_eq!(kept, expected, "{input:?}");
        assert_eq!(policy.calls(), model.calls, "{input:?}");
        assert_eq!(policy.best().map(|best| best.step), expected.last().map(|best| best.0), "{input:?}");
        assert_eq!(policy.latest().map(|latest| latest.step), model.latest(), "{input:?}");
    }
}
