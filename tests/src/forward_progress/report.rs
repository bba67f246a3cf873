//! The tables of the benchmark.

use super::cases::{CaseResult, years};
use super::digits::Training;
use super::model::MAX_OVERHEAD;
use super::parts::BURST;
use super::run::Results;
use super::supply::{OFF_TIME, Supply};
use super::time::{Nanos, format, seconds};
use std::fmt::{self, Write};

/// Writes all tables.
///
/// # Errors
/// Returns the error of `out`.
pub fn write(out: &mut impl Write, results: &Results) -> fmt::Result {
    introduce(out)?;
    costs(out, &results.cases)?;
    comparison(out, &results.cases)?;
    digits(out, &results.trainings)?;
    if results.skipped > 0 {
        writeln!(out, "{} cases were not simulated, because the time was over\n", results.skipped)?;
    }
    Ok(())
}

fn introduce(out: &mut impl Write) -> fmt::Result {
    writeln!(
        out,
        "A device trains while its power fails. An iteration takes 100 ms, a checkpoint has 9.8 KB, and the power is off \
         for {}\nbetween two on-times. Saves may take {:.1} % of the time. {} of wear may be used in advance.\n\
         useful: the part of the time with power whose iterations were not lost\n\
         best: the best fixed interval in hindsight that holds the same bounds; calculated: √(2 · save · mean), or the bound\n\
         policy: AdaptiveInterval, which does not know how often the power fails; measured after five failures\n",
        format(OFF_TIME),
        100.0 * MAX_OVERHEAD,
        format(BURST),
    )
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn lifetime(result: &CaseResult) -> String {
    result.case.part.endurance.map_or_else(|| "-".to_owned(), |_| years(result.case.lifetime))
}

/// What the policy costs on a supply whose failures are equally likely at every moment.
fn costs(out: &mut impl Write, results: &[CaseResult]) -> fmt::Result {
    writeln!(out, "Costs of the policy with exponential on-times; saving and recovery in % of the time with power")?;
    writeln!(
        out,
        "{:<9}{:<8}{:>8}{:>8} |{:>9}{:>8}{:>8}{:>9}{:>9}{:>9}{:>8} |{:>9}{:>9} |{:>11}{:>8}",
        "memory",
        "to last",
        "on-time",
        "save",
        "policy:",
        "useful",
        "saving",
        "recovery",
        "repeated",
        "pause",
        "lasts",
        "best:",
        "useful",
        "calculated:",
        "useful",
    )?;
    for result in results.iter().filter(|result| result.case.supply == Supply::Exponential) {
        let (policy, costs) = (&result.policy, &result.policy.costs);
        let of_time = |time: Nanos| format!("{:.2} %", 100.0 * time as f64 / costs.powered as f64);
        let per_save = costs.powered.checked_div(costs.saves).map_or_else(|| "-".to_owned(), format);
        let lasts =
            policy.years_of_life(result.case.part).map_or_else(|| "-".to_owned(), |years| format!("{years:.1} y"));
        let best = result.best.map_or_else(
            || ["none".to_owned(), "-".to_owned()],
            |best| [format(best.interval), percent(best.prediction.costs.useful_share())],
        );
        let mark = if result.optimum.prediction.is_within_budget { "" } else { "*" };
        writeln!(
            out,
            "{:<9}{:<8}{:>8}{:>8} |{:>9}{:>8}{:>8}{:>9}{:>9}{:>9}{:>8} |{:>9}{:>9} |{:>11}{:>8}",
            result.case.part.name,
            lifetime(result),
            format(result.case.mean),
            format(result.durations.save),
            per_save,
            percent(costs.useful_share()),
            of_time(costs.saving),
            of_time(costs.recovery),
            percent(1.0 - costs.useful as f64 / costs.executed as f64),
            format(policy.longest_pause),
            lasts,
            best[0],
            best[1],
            format(result.optimum.interval),
            percent(result.optimum.prediction.costs.useful_share()) + mark,
        )?;
    }
    writeln!(
        out,
        "policy: mean time per committed save; repeated: of the iterations; pause: the longest between two iterations;\n\
         lasts: until the block with the most erases is worn out; *: exceeds the wear budget for some time\n"
    )
}

/// The useful share of the policy relative to the best fixed interval, for all supplies.
fn comparison(out: &mut impl Write, results: &[CaseResult]) -> fmt::Result {
    writeln!(out, "Useful share of the policy, relative to the best fixed interval in hindsight (required: 95 %)")?;
    write!(out, "{:<9}{:<8}{:>8} |", "memory", "to last", "on-time")?;
    Supply::ALL.iter().try_for_each(|supply| write!(out, "{:>12}", supply.name()))?;
    writeln!(out)?;
    let key = |result: &CaseResult| (result.case.part.kind as u8, result.case.lifetime, result.case.mean);
    for row in results.chunk_by(|a, b| key(a) == key(b)) {
        let case = row[0].case;
        write!(out, "{:<9}{:<8}{:>8} |", case.part.name, lifetime(&row[0]), format(case.mean))?;
        for supply in Supply::ALL {
            let result = row.iter().find(|result| result.case.supply == supply);
            let cell = match result.map(CaseResult::relative_share) {
                Some(Some(share)) => percent(share),
                Some(None) => "no best".to_owned(),
                None => "not run".to_owned(),
            };
            write!(out, "{cell:>12}")?;
        }
        writeln!(out)?;
    }
    writeln!(
        out,
        "fixed, regular: the on-times are equal or differ by at most 20 %, so the best interval saves shortly before most \
         failures\n(not required: a rule that does not know the on-times cannot do this where wear limits the saves);\n\
         no best: no fixed interval holds the bounds and makes progress\n"
    )
}

fn digits(out: &mut impl Write, trainings: &[Training]) -> fmt::Result {
    writeln!(
        out,
        "Digits: the network 64-32-10 until 95 % accuracy, checkpoints of 19.7 KB, iterations of 1 s with one image"
    )?;
    writeln!(
        out,
        "{:<9}{:>9} {:<11}|{:>7}{:>8}{:>10}{:>12}{:>12}{:>6}",
        "memory", "failures", "interval", "saves", "erases", "KB", "iterations", "time", "bits"
    )?;
    for training in trainings {
        writeln!(
            out,
            "{:<9}{:>9} {:<11}|{:>7}{:>8}{:>10.0}{:>12}{:>12}{:>6}",
            training.part,
            training.failures,
            if training.is_adaptive { "policy" } else { "calculated" },
            training.saves,
            training.erased_blocks,
            training.bytes as f64 / 1000.0,
            training.executed,
            format!("{:.0} s", seconds(training.powered)),
            if training.has_equal_bits { "equal" } else { "DIFFER" },
        )?;
    }
    writeln!(out, "erases: of blocks; iterations: executed, with repeated ones; time: with power\n")
}
