//! Compares `TimeLimit`, `EveryTicks`, `ScoreLimits` and `GradientLimit` with their models.

use super::decode;
use super::state::transfer_state;
use crate::models::limits::{self, Elapsed, ScoreLimits as ScoreModel};
use crate::models::number::{Counter, Number};
use arbitrary::Arbitrary;
use std::cell::RefCell;
use training_monitor::event::User;
use training_monitor::gradient::{GradientLimit, l2_norm, largest_magnitude};
use training_monitor::handlers::early_stopping::Mode;
use training_monitor::handlers::every_ticks::EveryTicks;
use training_monitor::time::{Clock, WrappingClock};
use training_monitor::{ConfigError, Engine, Event, Handler, ScoreLimits, State, StopReason, TimeLimit, UserEvent, on};
use training_monitor_std::test_support::ticks::TickSource;

#[derive(Arbitrary, Debug)]
enum Input {
    /// The time limit and the time between two events, attached to a run with a tick counter that wraps.
    InRun {
        limit: Ticks,
        interval: Ticks,
        before_wrap: Counter,
        operations: Vec<TimeOperation>,
    },
    /// The same state machines with arbitrary readings of a clock, which can run backwards.
    Readings {
        limit: Ticks,
        interval: Ticks,
        readings: Vec<Reading>,
    },
    Score {
        lower: bool,
        check_finite: bool,
        target: Option<Number>,
        divergence_limit: Option<Number>,
        scores: Vec<Number>,
    },
    Gradient {
        limit: Number,
        rule: Rule,
        slices: Vec<Slice>,
    },
}

/// A number of ticks: a small or a large one.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Ticks {
    Few(u8),
    Many(u64),
}

impl Ticks {
    fn count(self) -> u64 {
        match self {
            Ticks::Few(count) => count.into(),
            Ticks::Many(count) => count,
        }
    }
}

#[derive(Arbitrary, Debug)]
enum TimeOperation {
    Advance(u32),
    AdvanceLittle(u8),
    /// An event: a check, or one of those at which the time starts or stops to count.
    Fire(u8),
    /// A restart, and the number of ticks until the new tick counter wraps.
    Restart(Counter),
}

#[derive(Arbitrary, Debug)]
enum Reading {
    Start(Ticks),
    Update(Ticks),
    Pause(Ticks),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Rule {
    Norm,
    Largest,
    Values,
}

#[derive(Arbitrary, Debug)]
enum Slice {
    Short(Vec<Number>),
    /// Many elements, which the library adds in blocks: the numbers again and again.
    Long(u16, [Number; 3]),
}

/// The fuzz target for the limits.
pub fn limits(data: &[u8]) {
    match decode::<Input>(data) {
        Some(Input::InRun { limit, interval, before_wrap, operations }) => {
            if let Some((limit, every_ticks)) = build(limit.count(), interval.count()) {
                attached(limit, (every_ticks, interval.count()), before_wrap.0, &operations);
            }
        }
        Some(Input::Readings { limit, interval, readings }) => {
            if let Some((limit, every_ticks)) = build(limit.count(), interval.count()) {
                unattached(limit, (every_ticks, interval.count()), &readings);
            }
        }
        Some(Input::Score { lower, check_finite, target, divergence_limit, scores }) => {
            let number = |limit: Option<Number>| limit.map(|limit| limit.0);
            let (target, divergence_limit) = (number(target), number(divergence_limit));
            score_limits(ScoreModel { lower, check_finite, target, divergence_limit }, &scores);
        }
        Some(Input::Gradient { limit, rule, slices }) => gradient(limit.0, rule, &slices),
        None => (),
    }
}

fn build(limit: u64, interval: u64) -> Option<(TimeLimit, EveryTicks)> {
    let (time_limit, every_ticks) = (TimeLimit::new(limit), EveryTicks::new(interval));
    assert_eq!(time_limit.err(), Some(ConfigError::TimeLimit).filter(|_| limit == 0));
    assert_eq!(every_ticks.err(), Some(ConfigError::TickInterval).filter(|_| interval == 0));
    time_limit.ok().zip(every_ticks.ok())
}

/// The event at which the handlers read the clock, and the identifier of the event that [`EveryTicks`] fires.
const CHECK: u8 = 1;
const FIRED: u8 = 2;

fn attached(
    limit: TimeLimit,
    (configured, interval): (EveryTicks, u64),
    before_wrap: u32,
    operations: &[TimeOperation],
) {
    let case = (limit, interval, before_wrap, operations);
    let attach_limit = |ticks: &TickSource| limit.attach(User(CHECK), WrappingClock::new(ticks.reader()));
    let attach_interval =
        |ticks: &TickSource| configured.attach(User(CHECK), WrappingClock::new(ticks.reader()), FIRED);
    let fired = RefCell::new(0);
    let mut ticks = TickSource::with_ticks_until_wrap(before_wrap);
    let (mut time_limit, mut every_ticks) = (attach_limit(&ticks), attach_interval(&ticks));
    let (mut total, mut since_event) = (Elapsed::default(), Elapsed::default());
    // Whether the last event that stopped the time was an interruption.
    let mut is_interrupted = false;
    for operation in operations {
        match operation {
            TimeOperation::Advance(elapsed) => ticks.advance(u64::from(*elapsed)),
            TimeOperation::AdvanceLittle(elapsed) => ticks.advance(u64::from(*elapsed)),
            TimeOperation::Fire(event) => {
                let now = ticks.unwrapped_count();
                let mut engine = Engine::<f32>::new(1);
                let event = match event % 8 {
                    0 => Event::Started,
                    1 => Event::Interrupt,
                    2 => Event::Completed,
                    3 => Event::ExceptionRaised,
                    _ => Event::User(UserEvent { id: CHECK, value: 0 }),
                };
                let (mut stops, mut fires) = (false, false);
                match event {
                    Event::Started => {
                        total.start(now);
                        since_event.start(now);
                    }
                    Event::User(_) => {
                        total.check(now);
                        stops = total.total() > limit.limit();
                        since_event.check(now);
                        fires = since_event.total() >= interval;
                        if fires {
                            since_event.start(now);
                        }
                    }
                    _ => {
                        if total.since.is_some() {
                            total.check(now);
                        }
                        total.since = None;
                        is_interrupted = event == Event::Interrupt;
                        if is_interrupted {
                            since_event.since = None;
                        }
                    }
                }
                fired.replace(0);
                let count = on(User(FIRED), |_: &mut (), _: &mut State<f32>| *fired.borrow_mut() += 1);
                if let Event::User(event) = event {
                    // The engine dispatches the event that the handler fires.
                    let handlers = (&mut time_limit, &mut every_ticks, count);
                    engine.fire(event, &mut (), &mut { handlers });
                } else {
                    time_limit.on_event(event, &mut (), engine.state_mut());
                    every_ticks.on_event(event, &mut (), engine.state_mut());
                }
                let expected = Some(StopReason::TimeLimit).filter(|_| stops);
                assert_eq!(engine.state().stop_reason(), expected, "{case:?}");
                assert_eq!(*fired.borrow(), u32::from(fires), "{case:?}");
            }
            TimeOperation::Restart(Counter(before_wrap)) => {
                if total.since.is_some() {
                    total.check(ticks.unwrapped_count());
                }
                ticks = TickSource::with_ticks_until_wrap(*before_wrap);
                let (mut old_limit, mut old_interval) = (time_limit, every_ticks);
                (time_limit, every_ticks) = (attach_limit(&ticks), attach_interval(&ticks));
                transfer_state::<(), _, _>(&mut old_limit, &mut time_limit);
                transfer_state::<(), _, _>(&mut old_interval, &mut every_ticks);
                let now = ticks.unwrapped_count();
                // An interrupted run continues. The new handlers know of no interruption.
                total.since = Some(now).filter(|_| total.since.is_some() || is_interrupted);
                is_interrupted = false;
                since_event.since = Some(now);
            }
        }
        // The clocks are read after each operation, so that they miss no wrap of the counter.
        time_limit.clock.now();
        every_ticks.clock.now();
        let elapsed = (time_limit.time_limit.elapsed(), every_ticks.every_ticks.elapsed());
        assert_eq!(elapsed, (total.total(), since_event.total()), "{case:?}");
        let remaining = limit.limit().saturating_sub(total.total());
        assert_eq!(time_limit.time_limit.remaining(), remaining, "{case:?}");
    }
}

fn unattached(mut limit: TimeLimit, (mut interval, ticks): (EveryTicks, u64), readings: &[Reading]) {
    let case = (limit, ticks, readings);
    let (mut total, mut since_event) = (Elapsed::default(), Elapsed::default());
    for reading in readings {
        match reading {
            Reading::Start(now) => {
                limit.start(now.count());
                interval.start(now.count());
                total.start(now.count());
                since_event.start(now.count());
            }
            Reading::Update(now) => {
                total.check(now.count());
                assert_eq!(limit.update(now.count()), total.total() > limit.limit(), "{case:?}");
                since_event.check(now.count());
                let is_over = since_event.total() >= ticks;
                assert_eq!(interval.update(now.count()), is_over, "{case:?}");
                if is_over {
                    since_event.start(now.count());
                }
            }
            Reading::Pause(now) => {
                limit.pause(now.count());
                if total.since.is_some() {
                    total.check(now.count());
                }
                total.since = None;
            }
        }
        assert_eq!((limit.elapsed(), interval.elapsed()), (total.total(), since_event.total()), "{case:?}");
    }
}

fn score_limits(model: ScoreModel, scores: &[Number]) {
    let limits = ScoreLimits::new()
        .with_mode(if model.lower { Mode::Min } else { Mode::Max })
        .with_check_finite(model.check_finite);
    let with_target = |limits: ScoreLimits| model.target.map_or(Ok(limits), |target| limits.with_target(target));
    let with_limit =
        |limits: ScoreLimits| model.divergence_limit.map_or(Ok(limits), |limit| limits.with_divergence_limit(limit));
    let built = with_target(limits).and_then(with_limit);
    let is_valid = model.target.into_iter().chain(model.divergence_limit).all(f32::is_finite);
    assert_eq!(built.err(), Some(ConfigError::ScoreLimit).filter(|_| !is_valid), "{model:?}");
    let Ok(limits) = built else { return };
    let mut handler = limits.attach(User(CHECK), |state: &State<f32>| state.output.unwrap_or(f32::NAN));
    for Number(score) in scores {
        let expected = model.update(*score);
        assert_eq!(limits.update(*score), expected, "{score}: {model:?}");
        let mut engine = Engine::<f32>::new(1);
        engine.state_mut().output = Some(*score);
        handler.on_event(Event::User(UserEvent { id: CHECK, value: 0 }), &mut (), engine.state_mut());
        assert_eq!(engine.state().stop_reason(), expected, "{score}: {model:?}");
    }
}

fn gradient(limit: f32, rule: Rule, slices: &[Slice]) {
    let built = GradientLimit::new(limit);
    let is_valid = limit > 0.0 && limit.is_finite();
    assert_eq!(built.as_ref().err(), Some(&ConfigError::GradientLimit).filter(|_| !is_valid), "{limit}");
    let Ok(built) = built else { return };
    let mut gradient: Vec<Vec<f32>> = slices
        .iter()
        .map(|slice| match slice {
            Slice::Short(numbers) => numbers.iter().map(|number| number.0).collect(),
            Slice::Long(len, numbers) => {
                numbers.iter().cycle().take(usize::from(*len % 6000)).map(|number| number.0).collect()
            }
        })
        .collect();
    let case = (limit, rule, slices);
    let before = gradient.concat();
    let (norm, largest) = (limits::norm(&before), limits::largest(&before));
    let mut each = |clip: &mut dyn FnMut(&mut [f32])| gradient.iter_mut().for_each(|slice| clip(slice));
    let measured = (l2_norm(&mut each), largest_magnitude(&mut each));
    check_norm(measured.0, norm, 1e-5, &case);
    check_norm(measured.1, largest, 0.0, &case);
    let returned = match rule {
        Rule::Norm => built.clip_norm(&mut each),
        Rule::Largest => built.clip_largest(&mut each),
        Rule::Values => {
            built.clip_values(&mut each);
            let expected =
                before.iter().map(|element| if element.is_nan() { *element } else { element.clamp(-limit, limit) });
            let same = expected
                .zip(gradient.concat())
                .all(|(expected, element)| expected == element || (expected.is_nan() && element.is_nan()));
            assert!(same, "{case:?}");
            return;
        }
    };
    let (expected, measured) = if matches!(rule, Rule::Norm) { (norm, measured.0) } else { (largest, measured.1) };
    assert_eq!(returned.to_bits(), measured.to_bits(), "{case:?}");
    let after = gradient.concat();
    if !expected.is_finite() {
        let bits = |elements: &[f32]| elements.iter().map(|element| element.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&after), bits(&before), "{case:?}");
        return;
    }
    let factor = limits::factor(limit, expected);
    for (element, before) in after.iter().zip(&before) {
        // The second term is for a product that is a subnormal number, the third for an element that is negligible beside
        // the norm.
        let expected = f64::from(*before) * factor;
        let tolerance = expected.abs() * 2e-5 + 3e-45 + f64::from(limit) * 1e-30;
        let is_near = (f64::from(*element) - expected).abs() <= tolerance;
        assert!(is_near, "{before} became {element} instead of {expected}: {case:?}");
    }
    let clipped = if matches!(rule, Rule::Norm) { limits::norm(&after) } else { limits::largest(&after) };
    let rounding = (after.len() as f64).sqrt() * 3e-45;
    assert!(clipped <= f64::from(limit) * (1.0 + 2e-5) + rounding, "the norm is {clipped}: {case:?}");
}

/// Checks a norm that the library has measured.
fn check_norm(norm: f32, expected: f64, tolerance: f64, case: &dyn std::fmt::Debug) {
    if expected.is_finite() {
        let expected = expected.min(f32::MAX.into());
        let difference = (f64::from(norm) - expected).abs();
        assert!(difference <= expected * tolerance + 1.5e-45, "{norm} instead of {expected}: {case:?}");
    } else {
        assert!(!norm.is_finite(), "{norm} instead of {expected}: {case:?}");
    }
}
