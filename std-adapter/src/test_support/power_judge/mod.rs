//! The judge of a store: it interrupts each operation, and compares the checkpoints with those that were saved.

mod case;
mod model;
mod session;
mod violation;

pub use case::{JudgedFailure, JudgedSave, PowerFailureCase};
pub use violation::{PowerFailureRule, PowerFailureViolation};

use super::PowerMedium;
use std::panic::{AssertUnwindSafe, catch_unwind};
use training_monitor::checkpoint::RankingRule;
use training_monitor::store::Store;

/// How many power failures [`judge_power_failures`] simulates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JudgeOptions {
    /// The number of effects of a power failure on the medium. Each operation is interrupted with the seeds from 0 to
    /// `effects - 1`. The default is 1.
    pub effects: u64,
    /// The number of operations after the restart that a second power failure interrupts. 0 means that only one power
    /// failure occurs. The default is 4.
    pub second_failures: u64,
}

impl Default for JudgeOptions {
    fn default() -> Self {
        JudgeOptions { effects: 1, second_failures: 4 }
    }
}

/// The numbers of cases that [`judge_power_failures`] has run.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct JudgeReport {
    /// The number of cases.
    pub cases: u64,
    /// The number of power failures in all cases.
    pub power_failures: u64,
    /// The number of operations in all saves without a power failure. Each of them was interrupted.
    pub operations: u64,
}

/// The saves of each scenario: pairs of a step number and a score. The scores rise, fall and are equal. Some saves replace
/// a checkpoint with the same step number.
const SCENARIOS: [(RankingRule, &[(u32, u8)]); 5] = [
    (RankingRule::Latest, &[(1, 0), (2, 0), (3, 0), (4, 0), (5, 0)]),
    (RankingRule::Latest, &[(2, 0), (5, 0), (5, 0), (3, 0), (2, 0), (7, 0)]),
    (RankingRule::Best, &[(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]),
    (RankingRule::Best, &[(1, 5), (2, 9), (3, 7), (4, 8), (5, 9), (6, 8)]),
    (RankingRule::Best, &[(1, 3), (2, 6), (1, 8), (3, 7), (2, 9), (3, 9)]),
];

/// Interrupts each operation of a store by a power failure, and checks that the store keeps its guarantees. The closure
/// `new_medium` creates an empty medium for each case. All media must behave in the same way.
///
/// A scenario is a sequence of five or six saves with [`ModelCheckpoint`](training_monitor::ModelCheckpoint), ranked by
/// age or by score, with 1 to 3 kept checkpoints (as many as the store has places for). The judge first runs each
/// scenario without a power failure, and counts the operations. Then it repeats the scenario, and interrupts another
/// operation in each run. After the power failure, it opens the store, checks it, repeats the interrupted save and
/// performs the remaining ones. A second power failure interrupts the first operations after the restart, which include
/// those of opening the store. [`JudgeOptions`] set how many.
///
/// After the last power failure and at the end, the following must hold:
///
/// * The store can be opened, and lists its checkpoints in order.
/// * Each checkpoint whose save returned Ok can be loaded bit for bit, until the ranking evicts it.
/// * An interrupted checkpoint is complete or not listed. No other checkpoint is listed.
/// * The next saves succeed.
/// * Nothing panics. The judge catches a panic and reports it; the panic message is also printed.
///
/// The judge cannot end an endless loop. The store needs room for streams of about 150 bytes.
///
/// # Errors
/// Returns the first violation. It contains the case, which [`replay_power_failures`] runs again.
///
/// ```
/// use training_monitor::store::flash::{RegionError, Slots};
/// use training_monitor_std::test_support::flash::{Flash, Interruption};
/// use training_monitor_std::test_support::{JudgeOptions, Medium, PowerMedium, judge_power_failures};
///
/// struct Device(Flash<16, 256>);
///
/// impl Medium for Device {
///     type Store<'a> = Slots<&'a mut Flash<16, 256>, 4>; // replace this by your store
///     type OpenError = RegionError;
///     fn open(&mut self) -> Result<Self::Store<'_>, RegionError> {
///         Slots::open(&mut self.0, 0..2048)
///     }
/// }
///
/// const EFFECTS: [Interruption; 3] = [Interruption::Nothing, Interruption::Garbage, Interruption::Whole];
///
/// impl PowerMedium for Device {
///     fn operations(&self) -> u64 {
///         self.0.counts.operations
///     }
///     fn cut_power_at(&mut self, operation: u64, seed: u64) {
///         let after = operation - self.0.counts.operations;
///         self.0.cut_power_at(after, EFFECTS[seed as usize % EFFECTS.len()], seed);
///     }
///     fn restore_power(&mut self) {
///         self.0.power_on();
///     }
/// }
///
/// let options = JudgeOptions { effects: EFFECTS.len() as u64, second_failures: 1 };
/// let report = judge_power_failures(|| Device(Flash::new(2048, 0xFF)), options)?;
/// assert!(report.cases > 1000);
/// # Ok::<(), training_monitor_std::test_support::PowerFailureViolation>(())
/// ```
pub fn judge_power_failures<M: PowerMedium>(
    mut new_medium: impl FnMut() -> M,
    options: JudgeOptions,
) -> Result<JudgeReport, PowerFailureViolation> {
    let mut report = JudgeReport::default();
    for (rule, saves) in SCENARIOS {
        let places = <M::Store<'_> as Store>::PLACES;
        for n_saved in 1..=3.min(places.saturating_sub(1)) {
            let saves = saves.iter().map(|(step, score)| JudgedSave { step: *step, score: *score }).collect();
            let case = PowerFailureCase { rule, n_saved, saves, failures: Vec::new() };
            judge_scenario(&mut new_medium, options, &case, &mut report)?;
        }
    }
    Ok(report)
}

/// Runs a case again that [`judge_power_failures`] has reported.
///
/// # Errors
/// Returns the violation, if the case still shows one.
///
/// ```
/// # use core::convert::Infallible;
/// # use training_monitor::store::ram::Ram;
/// # use training_monitor_std::test_support::{Medium, PowerMedium};
/// # struct Device(Ram<3, 256>);
/// # impl Medium for Device {
/// #     type Store<'a> = &'a mut Ram<3, 256>;
/// #     type OpenError = Infallible;
/// #     fn open(&mut self) -> Result<Self::Store<'_>, Infallible> { Ok(&mut self.0) }
/// # }
/// # impl PowerMedium for Device {
/// #     fn operations(&self) -> u64 { 0 }
/// #     fn cut_power_at(&mut self, _: u64, _: u64) {}
/// #     fn restore_power(&mut self) {}
/// # }
/// use training_monitor_std::test_support::replay_power_failures;
///
/// // A case without a power failure. `Device` implements `PowerMedium`.
/// let case = "rank=latest n_saved=2 saves=1:0,2:0,2:0,3:0 failures=".parse()?;
/// replay_power_failures(|| Device(Ram::new()), &case)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn replay_power_failures<M: PowerMedium>(
    mut new_medium: impl FnMut() -> M,
    case: &PowerFailureCase,
) -> Result<(), PowerFailureViolation> {
    run_case(&mut new_medium, case).map(|_| ())
}

/// Interrupts each operation of a scenario.
fn judge_scenario<M: PowerMedium>(
    new_medium: &mut impl FnMut() -> M,
    options: JudgeOptions,
    scenario: &PowerFailureCase,
    report: &mut JudgeReport,
) -> Result<(), PowerFailureViolation> {
    let operations = run_case(new_medium, scenario)?;
    report.cases += 1;
    report.operations += operations;
    if operations == 0 {
        let details = "the medium has counted no operations during the saves".to_string();
        let case = scenario.clone();
        return Err(PowerFailureViolation { rule: PowerFailureRule::FailsAsPlanned, case, details });
    }
    let effects = options.effects.max(1);
    for after in 0..operations {
        for seed in 0..effects {
            let first = JudgedFailure { after, seed };
            let case = PowerFailureCase { failures: vec![first], ..scenario.clone() };
            let remaining = run_case(new_medium, &case)?;
            report.cases += 1;
            report.power_failures += 1;
            for after in 0..remaining.min(options.second_failures) {
                // The second failure has another effect in each case.
                let second = JudgedFailure { after, seed: (first.after + seed + after + 1) % effects };
                let case = PowerFailureCase { failures: vec![first, second], ..scenario.clone() };
                run_case(new_medium, &case)?;
                report.cases += 1;
                report.power_failures += 2;
            }
        }
    }
    Ok(())
}

/// Runs a case, and converts a panic to a violation. Returns the number of operations after the last power failure.
fn run_case<M: PowerMedium>(
    new_medium: &mut impl FnMut() -> M,
    case: &PowerFailureCase,
) -> Result<u64, PowerFailureViolation> {
    // The medium is dropped after a panic, so its state cannot be seen.
    let result = catch_unwind(AssertUnwindSafe(|| session::run(&mut new_medium(), case)));
    result.unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<&str>().map(|text| (*text).to_string());
        let message = message.or_else(|| panic.downcast_ref::<String>().cloned());
        let details = format!("a panic: {}", message.unwrap_or_default());
        Err(PowerFailureViolation { rule: PowerFailureRule::NoPanic, case: case.clone(), details })
    })
}
