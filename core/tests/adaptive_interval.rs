//! Tests of [`AdaptiveInterval`] as a state machine: a simulated device trains, saves and loses its power. The clock counts
//! milliseconds.

use training_monitor::handlers::adaptive_interval::{AdaptiveIntervalState, IntervalLimit, WearBudget};
use training_monitor::store::Wear;
use training_monitor::{AdaptiveInterval, ConfigError};
use training_monitor_std::test_support::random::Random;

const SECOND: u64 = 1000;
const HOUR: u64 = 3600 * SECOND;
const DAY: u64 = 24 * HOUR;

/// A device whose flash endures 160 000 erases, which shall last for one year: one erase per 197.1 s.
const BUDGET: WearBudget = WearBudget { erases: 160_000, lifetime: 365 * DAY, borrow: DAY };

/// The debt of one erase in ticks.
const PRICE: u64 = 197_100;

/// A device that trains. The time between two checks is `step`.
struct Device {
    interval: AdaptiveInterval,
    step: u64,
    save: u64,
    /// The debt of one erase in ticks.
    price: u64,
    now: u64,
    /// The state in the newest checkpoint.
    stored: Option<AdaptiveIntervalState>,
    /// Whether the power failed in a save since then, and left remains.
    interrupted: bool,
    /// How many of seven interrupted saves leave no remains, and the choice of these.
    hidden: (usize, Random),
    /// The erases, also of interrupted saves.
    erases: u32,
    useful: u64,
    powered: u64,
    saving: u64,
    saves: u32,
    /// The highest value of `erases * price - elapsed`.
    highest_debt: u64,
}

impl Device {
    fn new(interval: AdaptiveInterval, save: u64) -> Self {
        Device {
            interval,
            step: SECOND,
            save,
            price: PRICE,
            now: 0,
            stored: None,
            interrupted: false,
            hidden: (0, Random::new(0)),
            erases: 0,
            useful: 0,
            powered: 0,
            saving: 0,
            saves: 0,
            highest_debt: 0,
        }
    }

    /// Starts the program. Its power fails after `len` ticks.
    fn boot(&mut self, settings: AdaptiveInterval, len: u64) {
        self.interval = settings;
        match self.stored {
            None => self.interval.start(self.now),
            Some(state) => {
                let wear = Wear { erases: self.erases, interrupted: u32::from(self.interrupted) };
                self.interval.restart(state, self.now, wear);
            }
        }
        let (end, mut last) = (self.now + len, self.now);
        self.powered += len;
        loop {
            if self.now + self.step > end {
                break;
            }
            self.now += self.step;
            if !self.interval.update(self.now) {
                continue;
            }
            self.erases += 1;
            self.highest_debt = self.highest_debt.max((u64::from(self.erases) * self.price).saturating_sub(self.now));
            self.interval.begin_save();
            let state = *self.interval.state();
            if self.now + self.save > end {
                let (hidden, random) = &mut self.hidden;
                self.interrupted |= random.below(7) >= *hidden;
                break;
            }
            self.useful += self.now - last;
            self.now += self.save;
            self.saving += self.save;
            self.saves += 1;
            last = self.now;
            (self.stored, self.interrupted) = (Some(state), false);
            self.interval.end_save(self.now, true, 1, Wear { erases: self.erases, interrupted: 0 });
        }
        self.now = end;
    }

    fn share(&self) -> f64 {
        self.useful as f64 / self.powered as f64
    }
}

/// The useful share of a fixed interval if failures are equally likely at every moment.
fn exponential_share(interval: f64, save: f64, mtbf: f64) -> f64 {
    interval / (mtbf * (((interval + save) / mtbf).exp() - 1.0))
}

/// Returns the times between failures, of an exponential distribution with the mean `mtbf`.
fn exponential(mtbf: u64, seed: u64) -> impl FnMut() -> u64 {
    let mut random = Random::new(seed);
    move || {
        let uniform = ((random.bits() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        (-(mtbf as f64) * uniform.ln()) as u64
    }
}

#[test]
fn settings_are_checked() {
    for share in [0.0, 1.0, -0.5, f32::NAN, f32::INFINITY] {
        assert_eq!(AdaptiveInterval::new().with_max_overhead(share), Err(ConfigError::MaxOverhead));
    }
    for budget in [
        WearBudget { erases: 0, ..BUDGET },
        WearBudget { lifetime: 0, ..BUDGET },
        WearBudget { borrow: 0, ..BUDGET },
        WearBudget { borrow: 5 * PRICE, ..BUDGET },
    ] {
        assert_eq!(AdaptiveInterval::new().with_wear_budget(budget), Err(ConfigError::WearBudget), "{budget:?}");
    }
    assert!(AdaptiveInterval::new().with_wear_budget(WearBudget { borrow: 6 * PRICE, ..BUDGET }).is_ok());
    assert!(AdaptiveInterval::new().with_wear_budget(WearBudget { erases: u32::MAX, lifetime: 1, borrow: 8 }).is_ok());
}

/// The interval doubles after the start, and then stays at √(2 · duration of a save · observed time).
#[test]
fn the_interval_grows_to_the_optimum() {
    let mut device = Device::new(AdaptiveInterval::new(), 2 * SECOND);
    device.step = 100;
    device.boot(AdaptiveInterval::new(), 10 * HOUR);
    let saves = device.saves;
    device.boot(AdaptiveInterval::new(), 40 * SECOND);
    assert_eq!((device.saves - saves, device.interval.limit()), (4, IntervalLimit::Start)); // after 2, 4, 8 and 16 s
    device.boot(AdaptiveInterval::new(), 10 * HOUR);
    assert_eq!(device.interval.limit(), IntervalLimit::Optimum);
    let optimum = (2.0 * 2.0 * f64::from(device.interval.mean_time_between_failures()) / 1000.0).sqrt();
    assert!((device.interval.interval() as f64 / 1000.0 / optimum - 1.0).abs() < 0.01);
    assert_eq!(device.interval.state().starts(), 3);
    assert!((device.interval.state().save_duration() - 2000.0).abs() < 1.0);
}

/// With an unknown rate of failures, the useful share is within 2 % of the best fixed interval.
#[test]
fn the_useful_share_is_near_the_best_fixed_interval() {
    for (mtbf, save) in [(600, 354), (3600, 354), (600, 1500), (24 * 3600, 1500)] {
        for seed in 1..4 {
            let mut device = Device::new(AdaptiveInterval::new(), save);
            let mut next = exponential(mtbf * SECOND, seed);
            for failure in 0..405 {
                if failure == 5 {
                    (device.useful, device.powered) = (0, 0);
                }
                device.boot(AdaptiveInterval::new(), next());
            }
            let (mtbf, save) = (mtbf as f64, save as f64 / 1000.0);
            let best =
                (1..10_000).map(|interval| exponential_share(f64::from(interval), save, mtbf)).fold(0.0, f64::max);
            let share = device.share();
            assert!(share > 0.98 * best, "seed {seed}: {share} of {best} at {mtbf} s, {save} s per save");
        }
    }
}

/// At most `(elapsed + borrow) / price` erases happen, for any rate of failures. The budget is used.
#[test]
fn the_wear_budget_bounds_the_erases() {
    let settings = AdaptiveInterval::new().with_wear_budget(BUDGET).unwrap().with_continuous_clock();
    for (mtbf, least_share) in [(60, 0.26), (600, 0.80), (3600, 0.96), (24 * 3600, 0.99)] {
        let mut device = Device::new(settings, 354);
        let mut next = exponential(mtbf * SECOND, 7);
        let mut checked = false;
        while device.now < 40 * DAY {
            device.boot(settings, next());
            if !checked && device.now > 20 * DAY {
                (device.useful, device.powered, checked) = (0, 0, true);
            }
        }
        assert!(device.highest_debt <= BUDGET.borrow, "{} at {mtbf} s", device.highest_debt);
        let permitted = (device.now + BUDGET.borrow) / PRICE;
        if mtbf <= 3600 {
            assert!(f64::from(device.erases) > 0.95 * permitted as f64, "{} of {permitted} at {mtbf} s", device.erases);
        }
        assert!(device.share() > least_share, "{} at {mtbf} s", device.share());
    }
}

/// If power always fails at the same time after the start, the erases of interrupted saves are charged.
#[test]
fn failures_in_the_first_save_do_not_wear_out_the_memory() {
    let settings = AdaptiveInterval::new().with_wear_budget(BUDGET).unwrap().with_continuous_clock();
    for seconds in 7..120 {
        let mut device = Device::new(settings, 3 * SECOND);
        device.boot(settings, HOUR);
        while device.now < 10 * DAY {
            device.boot(settings, seconds * SECOND);
        }
        let permitted = (device.now + BUDGET.borrow) / PRICE;
        assert!(u64::from(device.erases) <= permitted + 1, "{} of {permitted} at {seconds} s", device.erases);
        assert!(device.saves > 100, "{} saves at {seconds} s", device.saves);
    }
}

/// If the power always fails at the same time after the start, and three of seven interrupted saves leave no trace, the
/// budget is held nevertheless. The reserve is for these saves.
#[test]
fn interrupted_saves_without_a_trace_do_not_exceed_the_budget() {
    // One erase per 65.7 minutes, so a day permits 21 erases.
    let budget = WearBudget { erases: 40_000, lifetime: 5 * 365 * DAY, borrow: DAY };
    let settings = AdaptiveInterval::new().with_wear_budget(budget).unwrap().with_continuous_clock();
    for seed in 0..20 {
        let mut device = Device::new(settings, 3 * SECOND);
        (device.price, device.hidden) = (3_942 * SECOND, (3, Random::new(seed)));
        while device.now < 40 * DAY {
            device.boot(settings, 600 * SECOND);
        }
        let debt = device.highest_debt / device.price;
        assert!(device.highest_debt <= DAY, "seed {seed}: a debt of {debt} erases");
        assert!(device.saves > 400, "seed {seed}: {} saves", device.saves);
    }
}

/// If the store contains the remains of an interrupted save and the budget is used up, the first save of the start waits for
/// at least the time of one erase.
#[test]
fn a_start_pays_for_its_save_if_the_budget_is_used_up() {
    let settings = AdaptiveInterval::new().with_wear_budget(BUDGET).unwrap().with_continuous_clock();
    let mut interval = settings;
    interval.start(0);
    while interval.state().debt() + PRICE <= DAY / 4 * 3 {
        interval.begin_save();
    }
    let state = *interval.state();
    let interrupted = Wear { erases: 0, interrupted: 1 };
    // The time without power has paid for the interrupted save and for less than one further erase.
    for off in [0, 3 * PRICE, 4 * PRICE - 1 - (DAY / 4 * 3 - state.debt())] {
        let mut interval = settings;
        interval.restart(state, off, interrupted);
        assert!(!interval.update(off + PRICE - 1), "{off}");
        let owed = (state.debt() + 3 * PRICE).saturating_sub(off).max(DAY / 4 * 3) + PRICE - DAY / 4 * 3;
        assert!(!interval.update(off + owed - 1) && interval.update(off + owed), "{off}");
    }
    let mut interval = settings;
    interval.restart(state, 4 * PRICE, interrupted);
    assert!(interval.update(4 * PRICE), "the time without power has paid for the save");
}

/// With the smallest budget, a device makes progress after an interrupted save, although each on-time is shorter than the
/// time of one erase.
#[test]
fn a_device_with_the_smallest_budget_makes_progress() {
    let smallest = |borrow| AdaptiveInterval::new().with_wear_budget(WearBudget { borrow, ..BUDGET });
    let borrow = (5 * PRICE..).find(|borrow| smallest(*borrow).is_ok()).unwrap();
    assert!(borrow <= 6 * PRICE);
    let settings = smallest(borrow).unwrap().with_continuous_clock();
    let mut device = Device::new(settings, 3 * SECOND);
    device.boot(settings, HOUR);
    device.interrupted = true;
    for start in 0..1000 {
        let saves = device.saves;
        // The first save of each start comes at once if the budget permits it.
        device.boot(settings, PRICE / 2);
        assert!(start < 20 || device.saves > 10, "no save in start {start}");
        device.interrupted |= device.saves > saves && start % 10 == 0;
    }
    assert!(device.saves > 100, "{} saves", device.saves);
    assert!(device.highest_debt <= borrow, "{}", device.highest_debt);
}

#[test]
fn the_maximum_overhead_bounds_the_saves() {
    let settings = AdaptiveInterval::new().with_max_overhead(0.005).unwrap();
    let mut device = Device::new(settings, 2 * SECOND);
    let mut next = exponential(8 * HOUR, 3);
    for _ in 0..100 {
        device.boot(settings, next());
    }
    assert_eq!(device.interval.limit(), IntervalLimit::Overhead);
    assert_eq!(device.interval.interval(), 398 * SECOND);
    let overhead = device.saving as f64 / device.powered as f64;
    assert!(overhead < 0.006, "{overhead}");
    // While the interval grows from 2 s to 398 s, each start saves eight times more often.
    assert!(device.saving <= device.powered / 200 + 100 * 8 * 2 * SECOND, "{overhead}");
}

/// A planned stop is not a failure, and loses nothing.
#[test]
fn a_planned_stop_is_not_a_failure() {
    let mut interval = AdaptiveInterval::new();
    interval.start(0);
    interval.begin_save();
    interval.end_save(100, true, 1, Wear::default());
    assert!(interval.update(1000));
    interval.pause(1000);
    interval.begin_save();
    let state = *interval.state();
    let mut next = AdaptiveInterval::new();
    next.restart(state, 0, Wear::default());
    assert_eq!((next.state().lost(), next.state().starts()), (0.0, 2));
    assert_eq!(next.mean_time_between_failures(), interval.mean_time_between_failures());
}

/// The time without power pays back debt once, also if the first save of a start comes at once.
#[test]
fn time_without_power_is_not_counted_twice() {
    let settings = AdaptiveInterval::new().with_wear_budget(BUDGET).unwrap().with_continuous_clock();
    let mut interval = settings;
    interval.start(0);
    (0..9).for_each(|_| interval.begin_save());
    let debt = interval.state().debt();
    for start in 1..=3 {
        let state = *interval.state();
        interval = settings;
        interval.restart(state, start * 1000, Wear::default());
        assert_eq!(interval.state().debt(), debt - start * 1000);
    }
}

/// Only a committed save whose time was measured changes the mean duration: not one that failed, and not the last one of a
/// run, which comes after the pause.
#[test]
fn the_duration_is_that_of_committed_saves() {
    let mut interval = AdaptiveInterval::new();
    interval.start(0);
    interval.begin_save();
    interval.end_save(100, true, 1, Wear::default());
    assert_eq!(interval.state().save_duration(), 100.0);
    interval.begin_save();
    interval.end_save(103, false, 0, Wear::default());
    interval.pause(200);
    interval.begin_save();
    interval.end_save(350, true, 1, Wear::default());
    assert_eq!(interval.state().save_duration(), 100.0);
    interval.begin_save();
    interval.end_save(550, true, 1, Wear::default());
    assert_eq!(interval.state().save_duration(), 125.0);
}

/// The state of a checkpoint says what determined its interval, also in a custom loop.
#[test]
fn the_state_contains_the_limit() {
    let mut interval = AdaptiveInterval::new();
    interval.start(0);
    interval.begin_save();
    interval.end_save(10, true, 1, Wear::default());
    let mut now = 10;
    for _ in 0..10_000 {
        now += 10;
        if interval.update(now) {
            interval.begin_save();
            now += 10;
            interval.end_save(now, true, 1, Wear::default());
        }
    }
    assert_eq!((interval.limit(), interval.state().limit()), (IntervalLimit::Optimum, IntervalLimit::Optimum));
}

/// The erases of a save that failed are charged, and a save that erased nothing costs nothing.
#[test]
fn each_erase_is_charged() {
    let mut interval = AdaptiveInterval::new().with_wear_budget(BUDGET).unwrap();
    interval.start(0);
    for (is_saved, erases, charged) in [(true, 1, 1), (true, 0, 1), (false, 3, 3), (false, 0, 0)] {
        let before = interval.state().debt();
        interval.begin_save();
        interval.end_save(0, is_saved, erases, Wear::default());
        assert_eq!(interval.state().debt() - before, charged * PRICE);
    }
    interval.begin_save();
    interval.end_save(0, true, 1, Wear { erases: 60_000, interrupted: 0 });
    let life = interval.state().remaining_life().unwrap();
    assert!((life / (100_000.0 * interval.interval() as f32) - 1.0).abs() < 0.01);
}
