//! Tests of `SpikeGuard`: its rule, its mean, its settings, its state in a checkpoint, and interrupted runs.

use std::collections::VecDeque;
use training_monitor::checkpoint::Named;
use training_monitor::event::{EpochCompleted, IterationCompleted, Never};
use training_monitor::handlers::early_stopping::Mode;
use training_monitor::handlers::spike_guard::SpikeVerdict::{self, NonFinite, Normal, Spike};
use training_monitor::handlers::spike_guard::stop_run;
use training_monitor::run_record::{HandlerKind, HandlerStates, Persist, RestoreError, RunRecord};
use training_monitor::store::ram::Ram;
use training_monitor::{
    ConfigError, Engine, Event, EventFilter, Handler, ModelCheckpoint, SpikeGuard, State, StopReason, on,
};

fn verdicts(mut guard: SpikeGuard, values: &[f32]) -> Vec<SpikeVerdict> {
    values.iter().map(|value| guard.update(*value)).collect()
}

/// Returns the indices of the spikes.
fn spikes(guard: SpikeGuard, values: &[f32]) -> Vec<usize> {
    let verdicts = verdicts(guard, values);
    verdicts.iter().enumerate().filter(|(_, verdict)| **verdict != Normal).map(|(index, _)| index).collect()
}

#[test]
fn a_wrong_setting_is_an_error() {
    let guard = SpikeGuard::default();
    assert_eq!(guard, SpikeGuard::new());
    assert_eq!(guard.with_window(0), Err(ConfigError::SpikeWindow));
    for tolerance in [-1.0, -1e-45, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert_eq!(guard.with_absolute_tolerance(tolerance), Err(ConfigError::SpikeTolerance));
        assert_eq!(guard.with_relative_tolerance(tolerance), Err(ConfigError::SpikeTolerance));
    }
    assert!(guard.with_window(u32::MAX).and_then(|guard| guard.with_absolute_tolerance(-0.0)).is_ok());
}

#[test]
fn a_spike_reaches_both_tolerances() {
    let guard = SpikeGuard::new();
    assert_eq!(spikes(guard, &[1.0, 1.0, 1.0, 3.1]), [3]);
    assert_eq!(spikes(guard, &[1.0, 1.0, 1.0, 2.9]), []);
    let absolute = |tolerance| guard.with_absolute_tolerance(tolerance).unwrap();
    let relative = |tolerance| guard.with_relative_tolerance(tolerance).unwrap();
    for (guard, value, is_spike) in [
        // A distance that is equal to the tolerance is enough.
        (guard, 3.0, true),
        (guard, 3.0_f32.next_down(), false),
        (absolute(4.0), 5.0, true),
        (absolute(4.0), 5.0_f32.next_down(), false),
        (absolute(0.5), 1.5, false),
        (relative(0.5), 1.5, true),
        (relative(0.5), 1.5_f32.next_down(), false),
        // Without a tolerance, each worse value is a spike.
        (relative(0.0), 1.0_f32.next_up(), true),
        (relative(0.0), 1.0, false),
        (relative(0.0).with_absolute_tolerance(1.0).unwrap(), 2.0, true),
        (relative(0.0).with_absolute_tolerance(1.0).unwrap(), 1.75, false),
    ] {
        let expected = if is_spike { Spike } else { Normal };
        assert_eq!(verdicts(guard, &[1.0, 1.0, value]), [Normal, Normal, expected], "{guard:?} {value}");
        // With the opposite signs, the decisions of the other mode are the same.
        let opposite = verdicts(guard.with_mode(Mode::Max), &[-1.0, -1.0, -value]);
        assert_eq!(opposite, [Normal, Normal, expected], "{guard:?} {value}");
    }
}

#[test]
fn a_negative_mean_and_the_mean_zero() {
    // The mean is -1, so a spike is at least 2 above it.
    let guard = SpikeGuard::new();
    assert_eq!(spikes(guard, &[-1.0, 1.0]), [1]);
    assert_eq!(spikes(guard, &[-1.0, 0.99]), []);
    assert_eq!(spikes(guard.with_mode(Mode::Max), &[1.0, -1.0]), [1]);
    // The mean is 0, so only the absolute tolerance limits the spikes.
    assert_eq!(spikes(guard, &[0.0, 1e-45]), [1]);
    assert_eq!(spikes(guard, &[0.0, 0.0, -0.0]), []);
    assert_eq!(spikes(guard.with_absolute_tolerance(0.5).unwrap(), &[0.0, 0.25]), []);
}

#[test]
fn a_value_that_is_no_worse_than_the_last_one_or_than_the_mean_is_no_spike() {
    let guard = SpikeGuard::new().with_relative_tolerance(0.5).unwrap().with_warmup(2);
    // The second value of the warm-up is far above the mean. The third one is equal to it.
    assert_eq!(spikes(guard, &[1.0, 100.0, 100.0]), []);
    // The last value is worse than the one before, and far better than the mean.
    assert_eq!(spikes(guard, &[8.0, 4.0, 2.0, 1.0, 1.25]), []);
    assert_eq!(spikes(guard.with_mode(Mode::Max), &[1.0, 2.0, 4.0, 8.0, 7.0]), []);
    // The last value is much worse than the mean.
    assert_eq!(spikes(guard.with_mode(Mode::Max), &[4.0, 4.0, 5.0, 1.0]), [3]);
}

#[test]
fn the_warm_up_counts_finite_values() {
    for (warmup, expected) in [(0, 1), (1, 1), (2, 2), (5, 5)] {
        let guard = SpikeGuard::new().with_warmup(warmup);
        let rising: Vec<f32> = (0..8).map(|n| 10.0_f32.powi(n)).collect();
        assert_eq!(spikes(guard, &rising)[0], expected, "{warmup}");
        let mut with_nan = vec![f32::NAN; 3];
        with_nan.extend(&rising);
        assert_eq!(spikes(guard, &with_nan)[..4], [0, 1, 2, 3 + expected], "{warmup}");
    }
    assert_eq!(spikes(SpikeGuard::new().with_warmup(u32::MAX), &[1.0, 100.0, f32::MAX]), []);
}

#[test]
fn a_spike_and_a_value_that_is_not_finite_never_enter_the_mean() {
    let mut guard = SpikeGuard::new().with_warmup(2);
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert_eq!((guard.update(value), guard.mean(), guard.last()), (NonFinite, None, None));
    }
    guard.update(1.0);
    assert_eq!((guard.update(f32::NAN), guard.mean()), (NonFinite, Some(1.0)));
    guard.update(2.0);
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
        assert_eq!((guard.update(value), guard.mean(), guard.last()), (NonFinite, Some(1.5), Some(2.0)));
    }
    for count in 9..12 {
        assert_eq!((guard.update(50.0), guard.mean(), guard.last()), (Spike, Some(1.5), Some(2.0)));
        assert_eq!(guard.spike_count(), count);
    }
    assert_eq!((guard.update(3.0), guard.last()), (Normal, Some(3.0)));
    guard.reset();
    assert_eq!((guard.spike_count(), guard.mean(), guard.last()), (0, None, None));
    assert_eq!(guard, SpikeGuard::new().with_warmup(2));
}

/// The last value that was not a spike decides whether a value is worse, as in Lightning.
#[test]
fn a_value_that_is_better_than_a_spike_can_be_a_spike() {
    assert_eq!(spikes(SpikeGuard::new(), &[1.0, 1.0, 9.0, 8.0, 7.0, 1.0]), [2, 3, 4]);
}

#[test]
fn the_mean_is_exact_for_the_window_and_then_has_its_average_age() {
    let mean = |window, values: &[f32]| {
        let mut guard = SpikeGuard::new().with_warmup(u32::MAX).with_window(window).unwrap();
        values.iter().for_each(|value| _ = guard.update(*value));
        guard.mean().unwrap()
    };
    assert_eq!([1, 2, 3, 4].map(|len| mean(4, &[4.0, 8.0, 0.0, 12.0][..len])), [4.0, 6.0, 4.0, 6.0]);
    assert_eq!(mean(3, &[1.0, 2.0, 3.0, 6.0]), 4.0); // 2 + 2 / (3 + 1) · (6 − 2)
    assert_eq!(mean(1, &[4.0, 8.0, -3.0]), -3.0); // the last value
    assert_eq!(mean(2, &[2.0, 4.0, 9.0]), 7.0); // 3 + 2 / 3 · (9 − 3)
    // For a value with a constant rate of change, the mean is that of the last `window` values.
    for window in [1, 2, 5, 10, 100_u16] {
        let line: Vec<f32> = (0..500_u16).map(f32::from).collect();
        let exact = 499.0 - f32::from(window - 1) / 2.0;
        let difference = mean(window.into(), &line) - exact;
        assert!(difference.abs() < 1e-3, "{window}: {difference}");
    }
    // Equal values have this mean, without a rounding error.
    for window in [1, 3, 7, u32::MAX] {
        for value in [0.1, f32::MAX, f32::MIN, 1e-45] {
            assert_eq!(mean(window, &[value; 50]), value);
        }
    }
}

#[test]
fn the_largest_numbers_do_not_overflow() {
    let (max, min) = (f32::MAX, f32::MIN);
    for window in [1, 2, 3, 10] {
        let mut guard = SpikeGuard::new().with_warmup(u32::MAX).with_window(window).unwrap();
        for value in [max, min, min, max, 0.0, max, max, min, max, min, max, 1.0, min] {
            assert_eq!(guard.update(value), Normal);
            assert!(guard.mean().is_some_and(f32::is_finite));
        }
    }
    // The distance is infinite, so it reaches each tolerance.
    let guard = SpikeGuard::new().with_absolute_tolerance(max).unwrap();
    assert_eq!(spikes(guard.with_relative_tolerance(max).unwrap(), &[min, max]), [1]);
    assert_eq!(spikes(guard.with_mode(Mode::Max), &[max, min]), [1]);
    // The tolerance is infinite, and the distance is not.
    let guard = SpikeGuard::new().with_relative_tolerance(max).unwrap();
    assert_eq!(spikes(guard, &[2.0, max]), []);
    assert_eq!(spikes(guard, &[1e-45, 1.0]), [1]);
}

/// Lightning's rule, with the exact mean of the last `window` values.
struct Lightning {
    window: usize,
    warmup: usize,
    rtol: f32,
    last: f32,
    values: VecDeque<f32>,
    batch: usize,
}

impl Lightning {
    fn is_spike(&mut self, value: f32) -> bool {
        let mean = self.values.iter().sum::<f32>() / self.values.len() as f32;
        let is_spike = self.batch >= self.warmup
            && (value - self.last > 0.0 || !value.is_finite())
            && ((value - mean).abs() >= (self.rtol * mean).abs() || !value.is_finite());
        self.batch += 1;
        if !is_spike {
            self.last = value;
            self.values.push_back(value);
            if self.values.len() > self.window {
                self.values.pop_front();
            }
        }
        is_spike
    }
}

/// For positive values and a relative tolerance of at least 1, a spike is above the mean in both rules. While the window
/// is not full, both means are equal. The values are small multiples of 1/4, so there is no rounding error at a limit.
#[test]
fn the_decisions_are_those_of_lightning_while_the_window_is_not_full() {
    let mut random = 1_u32;
    let mut found = 0;
    for case in 0..5000 {
        let (warmup, rtol) = (1 + case % 3, [1.0, 2.0, 3.0][case as usize / 3 % 3]);
        let mut guard = SpikeGuard::new().with_warmup(warmup).with_relative_tolerance(rtol).unwrap();
        let values = VecDeque::new();
        let mut lightning = Lightning { window: 10, warmup: warmup as usize, rtol, last: 0.0, values, batch: 0 };
        for _ in 0..10 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let value = if random >> 29 == 0 && lightning.batch >= lightning.warmup {
                f32::NAN
            } else {
                [1.0, 1.25, 0.75, 2.0, 4.0, 9.0, 0.5, 3.0][random as usize >> 25 & 7]
            };
            let mean = lightning.values.iter().sum::<f32>() / lightning.values.len() as f32;
            // Both means are rounded. A value whose distance is nearly equal to the tolerance may differ.
            if ((value - mean).abs() - rtol * mean).abs() < 1e-5 {
                continue;
            }
            let is_spike = lightning.is_spike(value);
            assert_eq!(guard.update(value) != Normal, is_spike, "{guard:?} {value}");
            found += u32::from(is_spike);
        }
    }
    assert!(found > 1000, "{found}");
}

fn output(state: &State<f32>) -> f32 {
    state.output.unwrap_or(0.0)
}

#[test]
fn the_action_decides_what_happens() {
    let spiky = [1.0, 1.0, 9.0, 1.0, f32::NAN, 1.0, 9.0, 1.0];
    for (values, reason, iteration) in [
        (&spiky[..], StopReason::Spike, 3),
        (&spiky[3..], StopReason::NonFinite, 2),
        (&[1.0, 2.0][..], StopReason::MaxEpochs, 2),
    ] {
        let mut guard = SpikeGuard::new().attach(IterationCompleted, output, stop_run);
        let outcome = Engine::new(1).run(&mut (), values, &mut guard, |(), value, _| *value).unwrap();
        assert_eq!((outcome.reason, outcome.iteration), (reason, iteration), "{values:?}");
    }
    // The guard counts, and the action records the iterations.
    let mut found = Vec::new();
    let mut guard =
        SpikeGuard::new().attach(IterationCompleted, output, |guard: &SpikeGuard, verdict, state: &mut State<f32>| {
            found.push((state.iteration(), guard.spike_count(), verdict));
        });
    let outcome = Engine::new(1).run(&mut (), &spiky[..], &mut guard, |(), value, _| *value).unwrap();
    assert_eq!((outcome.reason, guard.spike_guard.spike_count()), (StopReason::MaxEpochs, 3));
    assert_eq!(found, [(3, 1, Spike), (5, 2, NonFinite), (7, 3, Spike)]);
    assert_eq!(Normal.stop_reason(), None);
}

#[test]
fn a_new_run_starts_with_a_new_guard() {
    let mut guard = SpikeGuard::new().attach(IterationCompleted, output, |_, _, _| ());
    let mut engine = Engine::new(1);
    for _ in 0..2 {
        engine.run(&mut (), &[1.0, 9.0, 1.0][..], &mut guard, |(), value, _| *value).unwrap();
        assert_eq!((guard.spike_guard.spike_count(), guard.spike_guard.mean()), (1, Some(1.0)));
        engine.restart();
    }
}

/// A loss that falls, with two spikes and a NaN.
fn loss(iteration: u32) -> f32 {
    match iteration {
        5 | 14 => 20.0,
        9 => f32::NAN,
        _ => 4.0 / iteration as f32,
    }
}

/// Runs twenty iterations. The run is interrupted after each iteration in `interruptions`. Returns the spikes, with the
/// number of each, and the final guard.
fn run(interruptions: &[u32]) -> (Vec<(u32, u32)>, SpikeGuard) {
    let mut store = Ram::<3, 512>::new();
    let mut found = Vec::new();
    let mut last = SpikeGuard::new();
    for interruption in interruptions.iter().chain(&[u32::MAX]) {
        let guard = SpikeGuard::new().with_warmup(2).with_window(4).unwrap();
        let mut handlers = (
            guard.attach(IterationCompleted, output, |guard, _, state| {
                found.push((state.iteration(), guard.spike_count()));
            }),
            ModelCheckpoint::<2>::every(1).unwrap().attach(IterationCompleted, &mut store).unwrap(),
            on(IterationCompleted.filter(|value| value == *interruption), |_, state| state.interrupt()),
        );
        let (mut engine, mut model) = (Engine::new(1), Named::new("model", [0.0_f32]));
        engine.resume(&mut model, &mut handlers).unwrap();
        engine.run(&mut model, 0..20, &mut handlers, |_, _, state: &mut State<f32>| loss(state.iteration())).unwrap();
        last = handlers.0.spike_guard;
    }
    (found, last)
}

#[test]
fn an_interrupted_run_finds_the_same_spikes() {
    let expected = run(&[]);
    assert_eq!(expected.0, [(5, 1), (9, 2), (14, 3)]);
    for iteration in 1..20 {
        assert_eq!(run(&[iteration]), expected, "interrupted after iteration {iteration}");
    }
    let all: Vec<u32> = (1..20).collect();
    assert_eq!(run(&all), expected);
}

/// A handler whose state has the given bytes.
struct Fixture((u32, u32, Option<f32>, Option<f32>));

impl Persist for Fixture {
    const KIND: HandlerKind = HandlerKind::SPIKE_GUARD;
    type State = (u32, u32, Option<f32>, Option<f32>);
    fn save(&mut self) -> Self::State {
        self.0
    }
    fn restore(&mut self, _: Self::State) {}
}

impl Handler<(), f32> for Fixture {
    fn on_event(&mut self, _: Event, (): &mut (), _: &mut State<f32>) {}
    fn persist(&mut self, _: &mut State<f32>, states: &mut HandlerStates<'_>) {
        states.visit(self);
    }
}

fn restore(state: (u32, u32, Option<f32>, Option<f32>)) -> Result<SpikeGuard, RestoreError> {
    let record = Engine::<f32>::new(1).record(&mut Fixture(state)).unwrap();
    let mut handler = SpikeGuard::new().attach(Never, output, stop_run);
    Engine::<f32>::new(1).restore::<(), _>(&record, &mut handler).map(|()| handler.spike_guard)
}

#[test]
fn an_impossible_state_is_malformed() {
    let error = RestoreError::Malformed { kind: HandlerKind::SPIKE_GUARD };
    for (values, mean, last) in [
        (1, Some(f32::NAN), Some(1.0)),
        (1, Some(1.0), Some(f32::INFINITY)),
        (1, None, Some(1.0)),
        (1, Some(1.0), None),
        (1, None, None),
        (0, Some(1.0), Some(1.0)),
    ] {
        assert_eq!(restore((values, 0, mean, last)), Err(error), "{values} {mean:?} {last:?}");
    }
    let guard = restore((3, 2, Some(1.0), Some(0.5))).unwrap();
    assert_eq!((guard.spike_count(), guard.mean(), guard.last()), (2, Some(1.0), Some(0.5)));
    assert_eq!(restore((0, 7, None, None)).map(|guard| guard.spike_count()), Ok(7));
}

#[test]
fn the_counts_stop_at_their_maximum() {
    let mut guard = restore((u32::MAX, u32::MAX, Some(1.0), Some(1.0))).unwrap();
    assert_eq!((guard.update(f32::NAN), guard.spike_count()), (NonFinite, u32::MAX));
    assert_eq!((guard.update(1.0), guard.update(9.0), guard.mean()), (Normal, Spike, Some(1.0)));
}

/// The encoding that FORMAT.md specifies.
#[test]
fn the_state_has_the_documented_bytes() {
    let state = |record: &RunRecord| {
        let states: Vec<_> = record.handlers().map(|(kind, _, bytes)| (kind.code(), bytes.to_vec())).collect();
        states[0].clone()
    };
    let mut guard = SpikeGuard::new().attach(IterationCompleted, output, |_, _, _| ());
    let mut engine = Engine::new(1);
    assert_eq!(state(&engine.record::<(), _>(&mut guard).unwrap()), (12, vec![0, 0, 0, 0]));
    engine.run(&mut (), &[1.0, 2.0, 9.0][..], &mut guard, |(), value, _| *value).unwrap();
    let bytes = [&[2, 1, 1][..], &1.5_f32.to_le_bytes(), &[1], &2.0_f32.to_le_bytes()].concat();
    assert_eq!(state(&engine.record::<(), _>(&mut guard).unwrap()), (12, bytes));
    assert_eq!(HandlerKind::SPIKE_GUARD.to_string(), "SpikeGuard");
    // The longest state.
    let longest = restore((u32::MAX, u32::MAX, Some(1.0), Some(1.0))).unwrap();
    let mut handler = longest.attach(EpochCompleted, output, stop_run);
    let record = Engine::<f32>::new(1).record::<(), _>(&mut handler).unwrap();
    assert_eq!(record.handlers().next().unwrap().2.len(), SpikeGuard::MAX_LEN);
}

#[test]
fn the_tag_depends_on_every_setting() {
    let guard = SpikeGuard::new();
    let mut tags = [
        guard,
        guard.with_mode(Mode::Max),
        guard.with_window(11).unwrap(),
        guard.with_warmup(2),
        guard.with_absolute_tolerance(1.0).unwrap(),
        guard.with_relative_tolerance(1.0).unwrap(),
        guard.with_name("loss"),
    ]
    .map(|guard| guard.tag());
    let mut updated = guard;
    updated.update(1.0);
    assert_eq!(updated.tag(), tags[0]);
    tags.sort_unstable();
    assert!(tags.windows(2).all(|pair| pair[0] != pair[1]), "{tags:x?}");
}
