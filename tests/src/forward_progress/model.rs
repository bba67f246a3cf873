//! A fast model of a run with a fixed interval: it knows only the duration of a save and of a recovery. The search for
//! the best interval in hindsight uses it. `tests/forward_progress.rs` compares it with the real stack.

use super::parts::{Budget, Part};
use super::simulation::{Costs, LEARNING_FAILURES, simulate};
use super::stack::Rule;
use super::supply::OFF_TIME;
use super::time::{HOUR, MINUTE, Nanos};
use super::workload::{Network, Workload};

/// The maximum part of the time that may be spent in saves (the bound of CheckFreq).
pub const MAX_OVERHEAD: f64 = 0.035;

/// What saves and starts of a part take, measured on the real stack.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Durations {
    /// The duration of a save.
    pub save: Nanos,
    /// The time from a start to the first iteration, if all slots contain checkpoints.
    pub recovery: Nanos,
}

impl Durations {
    /// Measures the durations on the real stack.
    #[must_use]
    pub fn measure(part: &Part) -> Self {
        // The first start fills all slots. The measurement begins after the failures in which a policy learns.
        let trace = [[HOUR].as_slice(), &[HOUR / 10; LEARNING_FAILURES]].concat();
        let measured = simulate(part, None, &Rule::Fixed(MINUTE), &trace, 0);
        let Costs { saving, saves, recovery, .. } = measured.costs;
        let starts = (trace.len() - LEARNING_FAILURES) as u64;
        Durations { save: saving / saves, recovery: recovery / starts }
    }
}

/// The result of the model for one interval.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Prediction {
    /// What the run costs.
    pub costs: Costs,
    /// Whether the erases were within the wear budget at every moment.
    pub is_within_budget: bool,
}

/// Predicts a run that saves at a fixed `interval`.
#[must_use]
pub fn predict(durations: Durations, budget: Option<Budget>, interval: Nanos, trace: &[Nanos]) -> Prediction {
    const ITERATION: Nanos = Network::ITERATION;
    let Durations { save, recovery } = durations;
    // The interval after a start does not contain a save.
    let first = interval.div_ceil(ITERATION).max(1);
    let further = interval.saturating_sub(save).div_ceil(ITERATION).max(1);
    let period = further * ITERATION + save;
    let (mut costs, mut is_within_budget) = (Costs::default(), true);
    let (mut begin, mut erases) = (0, 0_u64);
    for (index, on_time) in trace.iter().enumerate() {
        let first_save = recovery + first * ITERATION;
        // The saves that begin before the power fails, and those that end before.
        let attempts = (on_time + period).saturating_sub(first_save) / period;
        let committed = (on_time + period).saturating_sub(first_save + save) / period;
        if attempts > 0 {
            // The number of erases grows linearly, and so does what is allowed. So the first and the last erase suffice.
            let allows = |erases, moment| budget.is_none_or(|budget| erases <= budget.allowed(moment));
            is_within_budget &= allows(erases + 1, begin + first_save);
            is_within_budget &= allows(erases + attempts, begin + first_save + (attempts - 1) * period);
        }
        erases += attempts;
        begin += on_time + OFF_TIME;
        if index < LEARNING_FAILURES {
            continue;
        }
        let saving =
            committed * save + if attempts > committed { on_time - first_save - committed * period } else { 0 };
        let working = on_time.saturating_sub(recovery).saturating_sub(saving);
        costs.powered += on_time;
        costs.useful += if committed > 0 { (first + (committed - 1) * further) * ITERATION } else { 0 };
        costs.executed += working / ITERATION * ITERATION;
        costs.saving += saving;
        costs.recovery += recovery.min(*on_time);
        costs.saves += committed;
    }
    Prediction { costs, is_within_budget }
}

/// A fixed interval and its prediction.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct FixedInterval {
    /// The interval from the start of a save to the start of the next.
    pub interval: Nanos,
    /// The costs of the interval.
    pub prediction: Prediction,
}

/// Returns the predictions of all intervals that are compared, in steps of at most 1 %.
pub fn all_intervals(
    durations: Durations,
    budget: Option<Budget>,
    trace: &[Nanos],
) -> impl Iterator<Item = FixedInterval> {
    let longest = trace.iter().copied().max().unwrap_or(0);
    let mut iterations = 1_u64;
    std::iter::from_fn(move || {
        let interval = iterations * Network::ITERATION;
        iterations += (iterations / 100).max(1);
        (interval <= longest)
            .then(|| FixedInterval { interval, prediction: predict(durations, budget, interval, trace) })
    })
}

/// Returns the fixed interval with the most useful iterations, among those that hold the wear budget at every moment and
/// the maximum overhead. `None` if no interval with a useful iteration holds them.
#[must_use]
pub fn best_in_hindsight(durations: Durations, budget: Option<Budget>, trace: &[Nanos]) -> Option<FixedInterval> {
    all_intervals(durations, budget, trace)
        .filter(|fixed| {
            let Prediction { costs, is_within_budget } = fixed.prediction;
            is_within_budget && costs.overhead() <= MAX_OVERHEAD && costs.useful > 0
        })
        .max_by_key(|fixed| fixed.prediction.costs.useful)
}

/// Returns the interval with the least loss to first order: √(2 · save · mean), for a mean time between failures.
#[must_use]
pub fn unbounded_optimum(save: Nanos, mean: Nanos) -> Nanos {
    (2.0 * save as f64 * mean as f64).sqrt() as Nanos
}

/// Returns the interval that calculation finds for a mean time between failures: the
/// [unbounded optimum](unbounded_optimum), or longer if the overhead or the wear budget requires it.
///
/// If failures are equally likely at every moment, saves at the interval `T` begin every `mean · (exp(T / mean) − 1)`. The
/// wear budget requires that this time is at least the time per erase.
#[must_use]
pub fn calculated_optimum(durations: Durations, budget: Option<Budget>, mean: Nanos) -> Nanos {
    let overhead = (durations.save as f64 / MAX_OVERHEAD) as Nanos;
    let wear = |budget: Budget| mean as f64 * (budget.time_per_erase() as f64 / mean as f64).ln_1p();
    let wear = budget.map_or(0.0, wear) as Nanos;
    unbounded_optimum(durations.save, mean).max(overhead).max(wear)
}
