//! Compares the wear ledger of `AdaptiveInterval` with a model of exact numbers, and checks each interval against the rule
//! that determines it.

use super::decode;
use super::state::transfer_state;
use crate::models::number::Number;
use arbitrary::Arbitrary;
use std::cell::Cell;
use training_monitor::event::Never;
use training_monitor::handlers::adaptive_interval::{IntervalLimit, WearBudget};
use training_monitor::store::Wear;
use training_monitor::{AdaptiveInterval, ConfigError};

#[derive(Arbitrary, Debug)]
struct Input {
    max_overhead: Option<Number>,
    budget: Option<(u32, u64, u64)>,
    /// A budget that permits about one save per 100 ticks. It replaces `budget`.
    is_small: bool,
    is_clock_continuous: bool,
    operations: Vec<Operation>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Operation {
    /// Trains for some ticks, and saves if it is time.
    Train(u8),
    TrainLong(u32),
    /// The clock shows any time.
    SetClock(u64),
    /// Saves, although it may not be time. The numbers are the ticks and the erased slots.
    Save {
        ticks: u16,
        erases: u8,
        is_saved: bool,
    },
    Pause,
    /// The power fails and returns after some ticks. The program continues from the last save.
    Restart {
        off: u16,
        interrupted: bool,
    },
}

/// The fuzz target for the adaptive interval.
pub fn adaptive_interval(data: &[u8]) {
    let Some(input) = decode::<Input>(data) else { return };
    if let Some(settings) = build(&input) {
        run(settings, &input);
    }
}

fn budget(input: &Input) -> Option<WearBudget> {
    let small = WearBudget { erases: 1000, lifetime: 100_000, borrow: 1000 };
    let any = |(erases, lifetime, borrow)| WearBudget { erases, lifetime, borrow };
    if input.is_small { Some(small) } else { input.budget.map(any) }
}

/// The ticks of debt for one erase, rounded up.
fn price(budget: WearBudget) -> u128 {
    u128::from(budget.lifetime).div_ceil(u128::from(budget.erases))
}

/// The limit of the debt: three quarters of what can be borrowed, rounded up.
fn max_debt(budget: WearBudget) -> u128 {
    (3 * u128::from(budget.borrow)).div_ceil(4)
}

/// Builds the state machine, and checks that it is built only if all settings are valid.
fn build(input: &Input) -> Option<AdaptiveInterval> {
    let mut interval = AdaptiveInterval::new();
    if let Some(Number(share)) = input.max_overhead {
        let built = interval.with_max_overhead(share);
        let expected = (!(share > 0.0 && share < 1.0)).then_some(ConfigError::MaxOverhead);
        assert_eq!(built.err(), expected, "{share}");
        interval = built.ok()?;
    }
    if let Some(budget) = budget(input) {
        let built = interval.with_wear_budget(budget);
        let is_valid = budget.erases > 0 && budget.lifetime > 0 && 4 * price(budget) <= max_debt(budget);
        assert_eq!(built.err(), (!is_valid).then_some(ConfigError::WearBudget), "{budget:?}");
        interval = built.ok()?;
    }
    if input.is_clock_continuous {
        interval = interval.with_continuous_clock();
    }
    Some(interval.with_name("fuzz"))
}

/// The wear that must be paid back, and the last reading of the clock.
#[derive(Clone, Copy)]
struct Ledger {
    debt: u128,
    reading: u64,
    is_counting: bool,
}

impl Ledger {
    fn count(&mut self, now: u64) {
        if self.is_counting {
            self.debt = self.debt.saturating_sub(u128::from(now.saturating_sub(self.reading)));
        }
        (self.reading, self.is_counting) = (now, true);
    }

    fn can_borrow(&self, budget: Option<WearBudget>) -> bool {
        budget.is_none_or(|budget| (self.debt + price(budget)).min(u128::from(u64::MAX)) <= max_debt(budget))
    }

    fn charge(&mut self, budget: Option<WearBudget>, erases: u32) {
        self.debt = (self.debt + budget.map_or(0, price) * u128::from(erases)).min(u128::from(u64::MAX));
    }
}

fn run(settings: AdaptiveInterval, input: &Input) {
    let budget = budget(input);
    let now = Cell::new(0_u64);
    let mut interval = settings;
    interval.start(0);
    let mut ledger = Ledger { debt: 0, reading: 0, is_counting: true };
    let mut stored = None;
    for operation in &input.operations {
        match *operation {
            Operation::Train(ticks) => train(&mut interval, &mut ledger, &now, u64::from(ticks), budget, &mut stored),
            Operation::TrainLong(ticks) => {
                train(&mut interval, &mut ledger, &now, u64::from(ticks), budget, &mut stored);
            }
            Operation::SetClock(reading) => now.set(reading),
            Operation::Save { ticks, erases, is_saved } => {
                let outcome = (u64::from(ticks), u32::from(erases), is_saved);
                save(&mut interval, &mut ledger, &now, outcome, budget, &mut stored);
            }
            Operation::Pause => {
                interval.pause(now.get());
                if ledger.is_counting {
                    ledger.count(now.get());
                    ledger.is_counting = false;
                }
            }
            Operation::Restart { off, interrupted } => {
                let Some((state, at_save)) = stored else { continue };
                now.set(now.get().saturating_add(u64::from(off)));
                let wear = Wear { erases: 0, interrupted: u32::from(interrupted) };
                interval = settings;
                interval.restart(state, now.get(), wear);
                ledger = at_save;
                if input.is_clock_continuous {
                    ledger.is_counting = true;
                    ledger.count(now.get());
                }
                (ledger.reading, ledger.is_counting) = (now.get(), true);
                if interrupted {
                    ledger.charge(budget, 3);
                    if !ledger.can_borrow(budget) {
                        ledger.debt = ledger.debt.max(budget.map_or(0, max_debt));
                    }
                }
                assert_eq!(interval.state().starts(), state.starts().saturating_add(1));
                assert!(interval.state().lost() >= state.lost());
            }
        }
        check(&interval, &ledger, operation);
    }
    // The state survives a checkpoint.
    let mut source = interval.attach(Never, || now.get(), ());
    let mut target = settings.attach(Never, || now.get(), ());
    let starts = interval.state().starts();
    transfer_state::<(), _, _>(&mut source, &mut target);
    assert_eq!(target.interval.state().starts(), starts.saturating_add(1));
    // The time until the next start pays back debt only with a clock that continues.
    assert!(target.interval.state().debt() <= interval.state().debt());
}

type LastSave = Option<(training_monitor::handlers::adaptive_interval::AdaptiveIntervalState, Ledger)>;

fn train(
    interval: &mut AdaptiveInterval,
    ledger: &mut Ledger,
    now: &Cell<u64>,
    ticks: u64,
    budget: Option<WearBudget>,
    stored: &mut LastSave,
) {
    now.set(now.get().saturating_add(ticks));
    let is_due = interval.update(now.get());
    ledger.count(now.get());
    assert!(!is_due || ledger.can_borrow(budget), "a save although the budget is used up");
    if is_due {
        save(interval, ledger, now, (ticks / 8, 1, true), budget, stored);
    }
}

fn save(
    interval: &mut AdaptiveInterval,
    ledger: &mut Ledger,
    now: &Cell<u64>,
    (ticks, erases, is_saved): (u64, u32, bool),
    budget: Option<WearBudget>,
    stored: &mut LastSave,
) {
    interval.begin_save();
    ledger.charge(budget, 1);
    if is_saved {
        *stored = Some((*interval.state(), *ledger));
    }
    now.set(now.get().saturating_add(ticks));
    interval.end_save(now.get(), is_saved, erases, Wear::default());
    ledger.count(now.get());
    match erases.max(u32::from(is_saved)).checked_sub(1) {
        Some(further) => ledger.charge(budget, further),
        None => ledger.debt = ledger.debt.saturating_sub(budget.map_or(0, price)),
    }
}

/// Compares the debt with the ledger, and the interval with its rule.
fn check(interval: &AdaptiveInterval, ledger: &Ledger, operation: &Operation) {
    let state = interval.state();
    assert_eq!(u128::from(state.debt()), ledger.debt, "{operation:?}: {interval:?}");
    let numbers = [state.lost(), state.save_duration(), interval.mean_time_between_failures()];
    assert!(numbers.iter().all(|number| number.is_finite() && *number >= 0.0), "{interval:?}");
    let (duration, mtbf) = (f64::from(state.save_duration()), f64::from(interval.mean_time_between_failures()));
    if interval.limit() == IntervalLimit::Optimum {
        let optimum = (2.0 * duration * mtbf.max(duration).max(1.0)).sqrt();
        // The interval was determined at the last save or start, with the numbers of that time.
        assert!(interval.interval() as f64 <= optimum * 1.001 + 1.0, "{operation:?}: {interval:?}");
    }
}
