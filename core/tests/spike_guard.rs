//! Tests of the rule, the mean and the settings of `SpikeGuard`.

use std::collections::VecDeque;
use training_monitor::handlers::early_stopping::Mode;
use training_monitor::handlers::spike_guard::SpikeVerdict::{self, NonFinite, Normal, Spike};
use training_monitor::{ConfigError, SpikeGuard};

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
