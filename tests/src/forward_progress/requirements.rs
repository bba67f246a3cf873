//! The requirements of the benchmark. Each requirement is defined here and nowhere else.

use super::cases::CaseResult;
use super::digits::Training;
use super::model::MAX_OVERHEAD;
use std::fmt;

/// The policy reaches at least this part of the useful share of the best fixed interval.
pub const MIN_RELATIVE_SHARE: f64 = 0.95;
/// The largest difference of a useful share between the model and the real stack.
const MODEL_TOLERANCE: f64 = 0.001;

/// The requirements for a case. Each function returns `None` if the requirement does not apply to the case, and
/// otherwise whether the requirement holds, with the measured value.
type Check = fn(&CaseResult) -> Option<(bool, String)>;

/// The names and the checks of the requirements for a case.
const CASE_REQUIREMENTS: [(&str, Check); 7] = [
    ("the policy makes at least 95 % of the progress of the best fixed interval", useful_share),
    ("saves take at most 3.5 % of the time, where the calculation permits it", overhead),
    ("the wear budget is never exceeded", wear_budget),
    ("a failure costs at most the erases of one slot", lost_erases),
    ("the last checkpoint has the bits of an undisturbed run", equal_bits),
    ("no granule is programmed twice, all accesses are aligned", contract),
    ("the model of fixed intervals agrees with the real stack within 0.1 %", model),
];

/// After the first five failures, the useful share of the policy is at least 95 % of that of the best fixed interval in
/// hindsight: the fixed interval with the most useful iterations on the same on-times, among all that hold the same wear
/// budget at every moment and the same maximum overhead.
///
/// Predictable supplies (`fixed` and `regular`) are excluded, and reported. If all on-times are nearly equal, a fixed
/// interval can save shortly before most of the failures. Where wear limits the number of saves, a rule that does not
/// know the on-times cannot do this.
fn useful_share(result: &CaseResult) -> Option<(bool, String)> {
    let relative = result.relative_share().filter(|_| !result.case.supply.is_predictable())?;
    Some((relative >= MIN_RELATIVE_SHARE, format!("{:.1} %", 100.0 * relative)))
}

/// After the first five failures, the saves (complete or interrupted) take at most 3.5 % of the time with power.
///
/// The calculation: after each start, the interval grows from the duration of a save to the calculated interval `T`, with
/// log2(T / save) additional saves. If these saves and one save per `T` take more than 3.5 % of the mean on-time, the
/// bound is not possible, and the requirement does not apply.
fn overhead(result: &CaseResult) -> Option<(bool, String)> {
    let save = result.durations.save as f64;
    let calculated = result.growth_saves() * save / result.case.mean as f64 + save / result.optimum.interval as f64;
    let overhead = result.policy.costs.overhead();
    (calculated <= MAX_OVERHEAD).then(|| (overhead <= MAX_OVERHEAD, format!("{:.2} %", 100.0 * overhead)))
}

/// At the begin of each erase of a slot, the erases so far are at most (elapsed + burst) · erases / lifetime.
fn wear_budget(result: &CaseResult) -> Option<(bool, String)> {
    result.case.budget()?;
    let (over, erases) = (result.policy.largest_excess, result.policy.slot_erases);
    Some((over == 0, format!("at most {over} erases too many, of {erases} in total")))
}

/// In each start, the number of erased blocks is at most that of its committed saves, and of one more slot for its failure.
fn lost_erases(result: &CaseResult) -> Option<(bool, String)> {
    result.case.part.endurance?;
    let (lost, slot) = (result.policy.most_lost_blocks, result.case.part.blocks_per_slot() as u64);
    Some((lost <= slot, format!("{lost} blocks, a slot has {slot}")))
}

/// After the last failure, the model in the newest checkpoint equals a model that was trained for the same number of
/// iterations without a failure and without a store, bit for bit.
fn equal_bits(result: &CaseResult) -> Option<(bool, String)> {
    let runs = [Some(result.policy), result.fixed];
    let equal = runs.iter().flatten().all(|run| run.has_equal_bits);
    Some((equal, "the bits differ".to_owned()))
}

/// The simulated chip reports no violation of the contract of its kind of memory.
fn contract(result: &CaseResult) -> Option<(bool, String)> {
    let runs = [Some(result.policy), result.fixed];
    let is_kept = runs.iter().flatten().all(|run| !run.has_violations);
    Some((is_kept, "the chip reports violations".to_owned()))
}

/// The useful share and the overhead of the best fixed interval, measured on the real stack, differ by at most 0.1 % of the
/// time from the values of the model. The real stack is measured in some of the cases.
fn model(result: &CaseResult) -> Option<(bool, String)> {
    let (measured, predicted) = (result.fixed?.costs, result.best?.prediction.costs);
    let useful = (measured.useful_share() - predicted.useful_share()).abs();
    let overhead = (measured.overhead() - predicted.overhead()).abs();
    let difference = useful.max(overhead);
    Some((difference <= MODEL_TOLERANCE, format!("{:.3} %", 100.0 * difference)))
}

/// A requirement and the cases to which it applies.
#[derive(Clone, Debug)]
pub struct Requirement {
    /// What is required.
    pub text: &'static str,
    /// The number of cases to which it applies.
    pub cases: usize,
    /// The cases in which it does not hold, with the measured values.
    pub violations: Vec<String>,
}

impl Requirement {
    fn new(text: &'static str, results: impl Iterator<Item = Option<(bool, String)>>) -> Self {
        let results: Vec<_> = results.flatten().collect();
        let violations = results.iter().filter(|(holds, _)| !holds).map(|(_, value)| value.clone()).collect();
        Requirement { text, cases: results.len(), violations }
    }

    /// Returns whether the requirement applies to at least one case and holds in all.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.cases > 0 && self.violations.is_empty()
    }
}

/// Checks all requirements.
#[must_use]
pub fn check(results: &[CaseResult], trainings: &[Training]) -> Vec<Requirement> {
    let mut requirements: Vec<Requirement> = CASE_REQUIREMENTS
        .iter()
        .map(|(text, check)| {
            let named =
                |result: &CaseResult| check(result).map(|(holds, value)| (holds, format!("{}: {value}", result.case)));
            Requirement::new(text, results.iter().map(named))
        })
        .collect();
    let name = |training: &Training| format!("{}, {} failures", training.part, training.failures);
    // The weights and the optimizer, and the number of iterations.
    let equal_bits = trainings.iter().map(|training| Some((training.has_equal_bits, name(training))));
    requirements.push(Requirement::new("the digits end with the bits of an undisturbed training", equal_bits));
    // The erased blocks are those of one slot for each save and for each failure.
    let lost = trainings.iter().map(|training| Some((training.lost_blocks == 0, name(training))));
    requirements.push(Requirement::new("a failure of the digits costs at most the erases of one slot", lost));
    requirements
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.holds() { "holds" } else { "FAILS" };
        let held = self.cases - self.violations.len();
        writeln!(f, "{verdict}  {} ({held} of {} cases)", self.text, self.cases)?;
        self.violations.iter().try_for_each(|violation| writeln!(f, "       {violation}"))
    }
}
