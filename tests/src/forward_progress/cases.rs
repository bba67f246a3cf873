//! The cases of the benchmark: each part with each supply, mean on-time and required lifetime.

use super::model::{Durations, FixedInterval, best_in_hindsight, calculated_optimum, predict};
use super::parts::{Budget, Kind, LIFETIMES, PARTS, Part};
use super::simulation::{LEARNING_FAILURES, Measured, simulate};
use super::stack::Rule;
use super::supply::Supply;
use super::time::{DAY, HOUR, MINUTE, Nanos, format};
use std::fmt;
use training_monitor_std::test_support::random::Random;

/// The minimum time with power in each case. It is long against the [burst](super::parts::BURST) of the wear budget.
const POWERED: Nanos = 20 * DAY;
/// The erases that the wear budget permits during a case. With few saves, the best fixed interval in hindsight would be
/// the one that by chance meets the most on-times.
const ERASES: u64 = 2000;
/// The number of failures after which a case without wear ends, because only wear needs a long time.
const FAILURES_WITHOUT_WEAR: u64 = 200;
/// The minimum number of failures in a case.
const MIN_FAILURES: usize = 25;

/// A part, its required lifetime, and a power supply.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The memory.
    pub part: &'static Part,
    /// The time for which the memory must last.
    pub lifetime: Nanos,
    /// The kind of power supply.
    pub supply: Supply,
    /// The mean on-time.
    pub mean: Nanos,
    /// The seed of the on-times and of the effects of failures.
    pub seed: u64,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} on-times of {}", self.part.name, self.supply.name(), format(self.mean))?;
        match self.part.endurance {
            Some(_) => write!(f, ", to last for {}", years(self.lifetime)),
            None => Ok(()),
        }
    }
}

/// Formats a lifetime, for example `5 years`.
#[must_use]
pub fn years(lifetime: Nanos) -> String {
    match lifetime / super::time::YEAR {
        1 => "1 year".to_owned(),
        years => format!("{years} years"),
    }
}

/// Returns the mean on-times with which a part is simulated. On-times of a minute are for the memories that an
/// application with such a supply would use.
#[must_use]
pub fn means(part: &Part) -> &'static [Nanos] {
    match part.kind {
        Kind::SpiNor | Kind::Fram => &[MINUTE, 10 * MINUTE, HOUR, DAY],
        _ => &[10 * MINUTE, HOUR, DAY],
    }
}

/// Returns all cases, in the order of the output.
#[must_use]
pub fn all(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for part in &PARTS {
        let lifetimes = if part.endurance.is_some() { &LIFETIMES[..] } else { &LIFETIMES[..1] };
        for &lifetime in lifetimes {
            for &mean in means(part) {
                cases.extend(Supply::ALL.map(|supply| Case { part, lifetime, supply, mean, seed }));
            }
        }
    }
    cases
}

/// Returns the indices of `len` cases in an order in which the first ones are of all kinds.
#[must_use]
pub fn mixed_order(len: usize) -> Vec<usize> {
    let (mut random, mut order) = (Random::new(0), (0..len).collect::<Vec<_>>());
    for end in (1..len).rev() {
        order.swap(end, random.below(end + 1));
    }
    order
}

impl Case {
    /// Returns the wear budget. `None` if the memory does not wear out.
    #[must_use]
    pub fn budget(&self) -> Option<Budget> {
        self.part.budget(self.lifetime)
    }

    /// Returns the on-times.
    #[must_use]
    pub fn trace(&self) -> Vec<Nanos> {
        let powered = match self.budget() {
            Some(budget) => POWERED.max(ERASES * budget.time_per_erase()),
            None => POWERED.min(FAILURES_WITHOUT_WEAR * self.mean),
        };
        self.supply.trace(self.mean, powered, MIN_FAILURES, self.seed)
    }
}

/// What a case has shown.
#[derive(Clone, Copy, Debug)]
pub struct CaseResult {
    /// The case.
    pub case: Case,
    /// The duration of a save and of a recovery.
    pub durations: Durations,
    /// The best fixed interval in hindsight. `None` if no fixed interval holds the bounds and makes progress.
    pub best: Option<FixedInterval>,
    /// The calculated interval.
    pub optimum: FixedInterval,
    /// The run with the adaptive policy on the real stack.
    pub policy: Measured,
    /// A run with the best fixed interval on the real stack, in some cases.
    pub fixed: Option<Measured>,
}

impl Case {
    /// Simulates the case.
    #[must_use]
    pub fn run(self, durations: Durations) -> CaseResult {
        let (budget, trace) = (self.budget(), self.trace());
        let best = best_in_hindsight(durations, budget, &trace);
        let interval = calculated_optimum(durations, budget, self.mean);
        let optimum = FixedInterval { interval, prediction: predict(durations, budget, interval, &trace) };
        let policy = simulate(self.part, budget, &Rule::Adaptive(budget), &trace, self.seed);
        let is_compared = self.supply == Supply::Exponential && self.lifetime == LIFETIMES[0];
        let fixed = best.filter(|_| is_compared);
        let fixed = fixed.map(|best| simulate(self.part, budget, &Rule::Fixed(best.interval), &trace, self.seed));
        CaseResult { case: self, durations, best, optimum, policy, fixed }
    }
}

impl CaseResult {
    /// Returns the useful share of the policy, relative to that of the best fixed interval in hindsight.
    #[must_use]
    pub fn relative_share(&self) -> Option<f64> {
        self.best.map(|best| self.policy.costs.useful_share() / best.prediction.costs.useful_share())
    }

    /// Returns the mean number of saves per start that the policy needs until its interval has grown from the duration of
    /// a save to the calculated interval, if each interval is twice as long as the last one.
    #[must_use]
    pub fn growth_saves(&self) -> f64 {
        (self.optimum.interval as f64 / self.durations.save as f64).log2().max(0.0)
    }

    /// Returns the number of failures after which the costs were measured.
    #[must_use]
    pub fn measured_failures(&self) -> u64 {
        self.policy.failures.saturating_sub(LEARNING_FAILURES as u64)
    }
}
