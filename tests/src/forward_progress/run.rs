//! Runs the cases on all cores of the host.

use super::cases::{Case, CaseResult, all, mixed_order};
use super::digits::{Training, Undisturbed, parts, train_with_failures};
use super::model::Durations;
use super::parts::PARTS;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The results of the benchmark.
#[derive(Clone, Debug)]
pub struct Results {
    /// The cases of the first seed that were simulated, in the order of the output.
    pub cases: Vec<CaseResult>,
    /// The cases of further seeds.
    pub further: Vec<CaseResult>,
    /// The number of cases of the first seed that were not simulated, because the time was over.
    pub skipped: usize,
    /// The trainings of the digits.
    pub trainings: Vec<Training>,
}

/// Performs `jobs` jobs on all cores. A job that returns `None` ends the work.
fn in_parallel<T: Send>(jobs: usize, job: impl Fn(usize) -> Option<T> + Sync) -> Vec<(usize, T)> {
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(result) = (index < jobs).then(|| job(index)).flatten() else { return };
            results.lock().expect("no job panics while it holds the lock").push((index, result));
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    results.into_inner().expect("no job panics while it holds the lock")
}

/// Trains the digits and simulates all cases, until `time` is over. If time remains, the cases are simulated with further
/// seeds.
#[must_use]
pub fn run_for(seed: u64, time: Duration) -> Results {
    let end = Instant::now() + time;
    let undisturbed = Undisturbed::train(seed as u32);
    let digits_parts = parts();
    let mut trainings =
        in_parallel(PARTS.len(), |index| Some(train_with_failures(&digits_parts[index], undisturbed, seed)));
    trainings.sort_by_key(|(index, _)| *index);
    let durations = PARTS.map(|part| Durations::measure(&part));
    let run = |case: Case| {
        let part = PARTS.iter().position(|part| part.kind == case.part.kind)?;
        (Instant::now() < end).then(|| case.run(durations[part]))
    };
    let cases = all(seed);
    let order = mixed_order(cases.len());
    let mut results = in_parallel(cases.len(), |index| run(cases[order[index]]));
    results.sort_by_key(|(index, _)| order[*index]);
    let skipped = cases.len() - results.len();
    let mut further = Vec::new();
    for next_seed in 1.. {
        if Instant::now() >= end {
            break;
        }
        let cases = all(seed + next_seed);
        further.extend(in_parallel(cases.len(), |index| run(cases[order[index]])));
    }
    let values = |results: Vec<(usize, CaseResult)>| results.into_iter().map(|(_, result)| result).collect();
    Results {
        cases: values(results),
        further: values(further),
        skipped,
        trainings: trainings.into_iter().flat_map(|(_, trainings)| trainings).collect(),
    }
}
