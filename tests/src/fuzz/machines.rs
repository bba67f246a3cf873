//! The state machines of the handlers against their models, operation by operation. Each takes trips through a
//! checkpoint at any moment: its state is saved, encoded, decoded and restored into a fresh machine.

use super::input;
use crate::models::early_stopping::EarlyStopping as EarlyStoppingModel;
use crate::models::guard::Guard;
use crate::models::number::{Counter, Number};
use crate::models::ranking::{Count, Kept, ModelCheckpoint as RankingModel};
use crate::models::timer::Timer as TimerModel;
use arbitrary::Arbitrary;
use std::num::NonZeroU32;
use training_monitor::checkpoint::{self, Contents, Crc32, Header, One};
use training_monitor::event::{Any, Counters, User};
use training_monitor::handlers::early_stopping::{Mode, ThresholdMode};
use training_monitor::handlers::model_checkpoint::{ConfigError, Save, Step};
use training_monitor::handlers::terminate_on_nan::EveryNth;
use training_monitor::record::Record;
use training_monitor::time::{Clock, Extend};
use training_monitor::{
    EarlyStopping, Engine, Event, Handler, ModelCheckpoint, State, TerminateOnNan, Timer, UserEvent,
};
use training_monitor_std::test_support::ticks::TickSource;

/// Saves the state of `from` as a checkpoint does, and restores it to `to`.
fn through_a_checkpoint<A: Handler<(), f32>, B: Handler<(), f32>>(from: &mut A, to: &mut B) {
    let mut engine = Engine::<f32>::new(1);
    let record = engine.record::<(), _>(from).expect("one handler fits");
    let contents = Contents { header: Header::default(), record: Some(&record), only: None, allow_non_finite: false };
    let mut bytes = Vec::new();
    checkpoint::encode::<Crc32, _, _>(&mut bytes, &contents, &One("m", [0.0; 0])).expect("a Vec takes anything");
    let mut read = Record::new();
    let loaded = checkpoint::load::<Crc32, _>(&bytes, &mut One("m", [0.0; 0]), Some(&mut read));
    assert!(loaded.expect("what was just written").run);
    assert_eq!(read, record);
    engine.restore::<(), _>(&record, to).expect("its own state");
}

/// Bits, with all NaNs the same: what `==` cannot tell of zeros and NaNs.
fn bits(value: Option<f32>) -> Option<u32> {
    value.map(|value| if value.is_nan() { f32::NAN.to_bits() } else { value.to_bits() })
}

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
    Score(Number),
    Again(Number, u8),
    Reset,
    Restart,
}

/// Early stopping.
pub fn early_stopping(data: &[u8]) {
    let Some(input) = input::<EarlyStoppingInput>(data) else { return };
    let EarlyStoppingInput { patience: Counter(patience), threshold: Number(threshold), .. } = input;
    let threshold_mode = if input.relative { ThresholdMode::Rel } else { ThresholdMode::Abs };
    let mode = if input.lower { Mode::Min } else { Mode::Max };
    let built = EarlyStopping::new(patience).and_then(|stopping| stopping.with_threshold(threshold, threshold_mode));
    assert_eq!(built.is_ok(), patience > 0 && threshold >= 0.0 && threshold.is_finite(), "{input:?}");
    let Ok(machine) = built else { return };
    let fresh = machine.with_mode(mode).with_cumulative(input.cumulative);
    let attach = |machine: EarlyStopping| machine.attach(Any, |state: &State<f32>| state.output.unwrap_or(0.0));
    let mut machine = attach(fresh);
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
            EarlyStoppingOperation::Score(Number(score)) => {
                let stops = model.update(*score);
                assert_eq!(machine.early_stopping.update(*score), stops, "{score} in {input:?}");
            }
            EarlyStoppingOperation::Again(Number(score), times) => {
                for _ in 0..*times % 8 {
                    let mut engine = Engine::<f32>::new(1);
                    engine.state_mut().output = Some(*score);
                    machine.on_event(Event::Completed, &mut (), engine.state_mut());
                    let stops = engine.state().stop_reason().is_some();
                    assert_eq!(stops, model.update(*score), "{score} in {input:?}");
                }
            }
            EarlyStoppingOperation::Reset => {
                machine.early_stopping.reset();
                model.reset();
            }
            EarlyStoppingOperation::Restart => {
                let mut restored = attach(fresh);
                through_a_checkpoint(&mut machine, &mut restored);
                machine = restored;
            }
        }
        let best = model.best.map(|best| best as f32);
        let seen = machine.early_stopping;
        assert_eq!(seen.counter() as usize, model.counter(), "{input:?}");
        assert_eq!(bits(seen.best_score()), bits(best), "{input:?}");
    }
}

#[derive(Arbitrary, Debug)]
struct TimerInput {
    before_wrap: Counter,
    average: bool,
    /// Which of four events does what; several may do one.
    wiring: [u8; 4],
    operations: Vec<TimerOperation>,
}

#[derive(Arbitrary, Debug)]
enum TimerOperation {
    Pass(u32),
    PassLittle(u8),
    Fire(u8),
    /// A restart, after which the tick counter wraps after so many.
    Restart(Counter),
}

/// The timer and the clock that widens wrapping ticks.
pub fn timer(data: &[u8]) {
    let Some(input) = input::<TimerInput>(data) else { return };
    let [start, pause, resume, step] = input.wiring.map(|event| event % 4);
    let attach = |ticks: &TickSource| {
        let mut clock = Extend::new(ticks.reader());
        let timer = Timer::new(clock.now());
        let timer = if input.average { timer } else { timer.without_average() };
        timer.attach(clock, User(start), User(pause), User(resume), User(step))
    };
    let mut ticks = TickSource::before_wrap(input.before_wrap.0);
    let mut machine = attach(&ticks);
    // Where the machine's clock began.
    let mut zero = ticks.real();
    let mut model = TimerModel::new(zero, input.average);
    let mut engine = Engine::<f32>::new(1);
    for operation in &input.operations {
        match operation {
            TimerOperation::Pass(passed) => ticks.advance(u64::from(*passed)),
            TimerOperation::PassLittle(passed) => ticks.advance(u64::from(*passed)),
            TimerOperation::Fire(id) => {
                let (id, now) = (id % 4, ticks.real());
                machine.on_event(Event::User(UserEvent { id, value: 0 }), &mut (), engine.state_mut());
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
                let saved = ticks.real();
                ticks = TickSource::before_wrap(*before_wrap);
                zero = ticks.real();
                let mut restored = attach(&ticks);
                through_a_checkpoint(&mut machine, &mut restored);
                machine = restored;
                model.restart(saved, zero);
            }
        }
        let (now, real) = (machine.clock.now(), ticks.real());
        let timer = &machine.timer;
        assert_eq!(now, real - zero, "{input:?}");
        assert_eq!((timer.total(), timer.elapsed(now)), (model.total(), model.elapsed(real)), "{input:?}");
        assert_eq!((timer.running(), timer.step_count()), (model.since.is_some(), model.steps), "{input:?}");
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
    /// Longer than what is scanned one by one.
    Long(u8, Number),
    Restart,
}

/// The NaN guard and the scan.
pub fn guard(data: &[u8]) {
    let Some(input) = input::<GuardInput>(data) else { return };
    let Some(every) = NonZeroU32::new(input.every.0) else { return };
    let fresh = || TerminateOnNan::new().with_cadence(every);
    let attach = |guard: TerminateOnNan<EveryNth>| guard.attach(Any, |_: &(), _: &State<f32>| 0.0_f32);
    let mut machine = attach(fresh());
    let mut model = Guard { every: every.get(), calls: 0 };
    let numbers = |of: &[Number]| of.iter().map(|number| number.0).collect::<Vec<f32>>();
    for operation in &input.operations {
        match operation {
            GuardOperation::Check(values) => {
                let values = numbers(values);
                assert_eq!(machine.terminate_on_nan.check(&values[..]), model.check(&values), "{input:?}");
            }
            GuardOperation::Stripe(values) => {
                let values = numbers(values);
                let found = machine.terminate_on_nan.check_stripe(&values);
                assert_eq!(found, model.stripe(&values).is_some(), "{input:?}");
            }
            GuardOperation::Long(at, Number(value)) => {
                let mut values = vec![f32::MAX; 100 + usize::from(*at)];
                values[usize::from(*at)] = *value;
                // Through the handler, which tells where it was.
                let mut watch =
                    machine.terminate_on_nan.watch(Any, |values: &Vec<f32>, see: &mut dyn FnMut(&[f32])| see(values));
                let mut engine = Engine::<f32>::new(1);
                watch.on_event(Event::Completed, &mut values, engine.state_mut());
                machine.terminate_on_nan = watch.terminate_on_nan;
                let found = model.stripe(&values);
                assert_eq!(watch.found().map(|found| found.index as usize), found, "{input:?}");
                assert_eq!(engine.state().stop_reason().is_some(), found.is_some(), "{input:?}");
            }
            GuardOperation::Restart => {
                let mut restored = attach(fresh());
                through_a_checkpoint(&mut machine, &mut restored);
                machine = restored;
            }
        }
    }
}

#[derive(Arbitrary, Debug)]
struct RankingInput {
    interval: Option<Counter>,
    scored: bool,
    n_saved: Option<u8>,
    or_equal: bool,
    count: Count,
    operations: Vec<RankingOperation>,
}

#[derive(Arbitrary, Debug)]
enum RankingOperation {
    Call {
        epoch: Counter,
        iteration: Counter,
        score: Number,
        /// Whether the save that may follow fails.
        fails: bool,
    },
    Found(Counter, Option<Number>),
    Reset,
}

/// Places in the table.
const TABLE: usize = 4;

/// What `ModelCheckpoint` decides.
pub fn model_checkpoint(data: &[u8]) {
    let Some(input) = input::<RankingInput>(data) else { return };
    let builder = ModelCheckpoint::<TABLE>::builder().greater_or_equal(input.or_equal).step(match input.count {
        Count::Calls => Step::Calls,
        Count::Iterations => Step::Iteration,
        Count::Epochs => Step::Epoch,
    });
    let interval = input.interval.map(|interval| interval.0);
    let builder = match interval {
        Some(interval) => builder.save_interval(interval),
        None => builder,
    };
    let builder = match input.n_saved {
        Some(n_saved) => builder.n_saved(u32::from(n_saved)),
        None => builder.keep_all(),
    };
    // Both kinds of builder come to one kind of closure, so that one body drives both.
    let expected = match (interval, input.scored, input.n_saved) {
        (Some(_), true, _) | (None, false, _) => Err(ConfigError::IntervalOrScore),
        (Some(0), ..) => Err(ConfigError::SaveInterval),
        (_, _, Some(0)) => Err(ConfigError::NSaved),
        (_, _, Some(n)) if usize::from(n) > TABLE => Err(ConfigError::Table { n_saved: u32::from(n), places: TABLE }),
        _ => Ok(()),
    };
    if input.scored {
        let built = builder.scored().build();
        assert_eq!(built.as_ref().map(|_| ()).map_err(|error| *error), expected, "{input:?}");
        built.into_iter().for_each(|machine| drive(machine, &input));
    } else {
        let built = builder.build();
        assert_eq!(built.as_ref().map(|_| ()).map_err(|error| *error), expected, "{input:?}");
        built.into_iter().for_each(|machine| drive(machine, &input));
    }
}

fn drive<F>(mut machine: ModelCheckpoint<TABLE, F>, input: &RankingInput) {
    let mut model = RankingModel {
        interval: input.interval.map(|interval| interval.0),
        n_saved: input.n_saved.map(usize::from),
        table: TABLE,
        or_equal: input.or_equal,
        count: input.count,
        calls: 0,
        kept: Vec::new(),
        committed: Vec::new(),
    };
    for operation in &input.operations {
        match operation {
            RankingOperation::Call { epoch, iteration, score, fails } => {
                let at = Counters { epoch: epoch.0, iteration: iteration.0 };
                let decided = machine.update_at(&at, Some(score.0));
                let expected = model.call(at.epoch, at.iteration, Some(score.0));
                let same = |save: Save, kept: Kept| save.step == kept.step && bits(save.score) == bits(kept.score);
                match (decided, expected) {
                    (None, None) => (),
                    (Some(save), Some(kept)) if same(save, kept) => {
                        if !fails {
                            let gone = machine.committed(save).map(|gone| gone.step);
                            assert_eq!(gone, model.commit(kept), "{input:?}");
                        }
                    }
                    (decided, expected) => panic!("{decided:?} for {expected:?} in {input:?}"),
                }
            }
            RankingOperation::Found(Counter(step), score) => {
                let score = score.map(|score| score.0);
                // No store lists two of one step.
                if model.kept.iter().any(|kept| kept.step == *step) {
                    continue;
                }
                let gone = machine.found(Save { step: *step, score }).map(|gone| gone.step);
                assert_eq!(gone, model.found(*step, score), "{input:?}");
            }
            RankingOperation::Reset => {
                machine.reset();
                model.reset();
            }
        }
        let kept: Vec<_> = machine.kept().iter().map(|kept| (kept.step, bits(kept.score()))).collect();
        let expected: Vec<_> = model.kept.iter().map(|kept| (kept.step, bits(kept.score))).collect();
        assert_eq!(kept, expected, "{input:?}");
        assert_eq!(machine.calls(), model.calls, "{input:?}");
        assert_eq!(machine.best().map(|best| best.step), expected.last().map(|best| best.0), "{input:?}");
        assert_eq!(machine.latest().map(|latest| latest.step), model.latest(), "{input:?}");
    }
}
