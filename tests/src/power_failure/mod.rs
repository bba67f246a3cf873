//! Checks that the flash store and the store in byte-addressable memory keep their guarantees after power failures, for
//! every interrupted operation and for several failures in a row.
//!
//! **Bounded workloads, exhaustive.** A workload is a sequence of up to three saves. Each checkpoint takes one or two
//! erase blocks and ranks by interval or by score, in every order of scores. The store has two to four slots on a flash
//! that is blank, full or filled with random bytes, on [several geometries](GEOMETRIES). Byte-addressable memory has an
//! erase size of 0, and each write of a page is an operation. The power fails in each
//! operation of the last save, with each [effect](crate::flash::Interruption) on the cells. For some workloads it also
//! fails in the next save.
//!
//! **Long sequences, random.** A sequence has hundreds of sessions. Each session saves several checkpoints and
//! sometimes erases ahead. The power fails in about half of the sessions.
//!
//! After every power failure the following must hold:
//!
//! * Each checkpoint that was saved with Ok and ranks is stored bit for bit.
//! * The interrupted checkpoint is stored completely or not at all. No other checkpoint is stored.
//! * The ranking, the best and the latest checkpoint equal those of a plain model.
//! * Opening the store writes nothing, gives the same result a second time, and takes a bounded number of reads.
//! * The store has not violated the contract of the flash driver.
//! * The next save succeeds.
//!
//! A failing case is reported as one line of text, which [`replay`] runs again.

mod byte_device;
mod case;
mod device;
mod explore;
mod in_pieces;
mod model;
mod payload;
mod simulation;
mod store_variant;

pub use case::{Case, PowerFailure, Save, Start, Workload};
pub use device::{GEOMETRIES, Geometry};
pub use model::Order;
pub use store_variant::{
    ErasesOneBlock, KeepsOldRecords, NoChecksum, NoSeal, NoSpareSlot, SavesInPieces, SkipsBlankBlocks, StoreVariant,
    UnderstatesPage, Unmodified, UnmodifiedBuiltInSum,
};

use crate::random::Random;
use explore::Explorer;
use std::time::{Duration, Instant};

/// The number of sessions in one long random sequence of saves and power failures.
const SESSIONS: usize = 200;

/// The number of passed and failed cases.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Summary {
    /// Number of cases without an error.
    pub passed: u64,
    /// Number of cases with an error.
    pub failed: u64,
    /// The first 20 failed cases: the line of the case, and the error.
    pub failed_cases: Vec<(String, String)>,
}

impl Summary {
    fn add_failed(&mut self, line: impl FnOnce() -> String, error: String) {
        self.failed += 1;
        if self.failed_cases.len() < 20 {
            self.failed_cases.push((line(), error));
        }
    }
}

/// The selection of workloads (lists of up to three saves) and of power failures that a run covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extent {
    /// For `cargo test`: workloads of one save, some workloads of two saves, and few second power failures.
    Short,
    /// On the geometry with the largest granules: every operation of every workload with every effect of a power
    /// failure, and every second failure after workloads of one save. On other geometries, which have many more
    /// operations: a part of the longer workloads and of the second failures.
    Full,
    /// Every operation of every workload with every effect of a power failure, on every geometry. On geometries with
    /// erase blocks of 256 bytes also every second failure: after all workloads for write sizes of 16 and 32 bytes,
    /// after up to two saves for 4 and 8 bytes, and after one save for 1 byte. This takes long, so `--geometry` can
    /// select one geometry.
    Thorough,
}

/// Returns all workloads (lists of up to three saves) for a flash with the given block sizes and erased value.
fn workloads(geometry: &Geometry) -> Vec<Workload> {
    let (write, erase, erased) = *geometry;
    // All possible orders of one, two and three scores, including equal scores. The digits are the scores of the saves.
    let orders: [&[u8]; 17] = [
        &[9],
        &[8, 9],
        &[9, 8],
        &[9, 9],
        &[7, 8, 9],
        &[7, 9, 8],
        &[8, 7, 9],
        &[8, 9, 7],
        &[9, 7, 8],
        &[9, 8, 7],
        &[8, 8, 9],
        &[8, 9, 8],
        &[9, 8, 8],
        &[9, 9, 8],
        &[9, 8, 9],
        &[8, 9, 9],
        &[9, 9, 9],
    ];
    let mut all = Vec::new();
    for slots in 2..=4 {
        for start in [Start::Blank, Start::Full, Start::Garbage] {
            for scores in orders {
                for lengths in 0..1usize << scores.len() {
                    let save = |(index, score): (usize, &u8)| Save { long: lengths >> index & 1 == 1, score: *score };
                    let saves: Vec<Save> = scores.iter().enumerate().map(save).collect();
                    // A ranking by interval ignores the scores, so it is combined only with the ascending orders of
                    // scores.
                    let is_ascending = scores.windows(2).all(|pair| pair[0] < pair[1]);
                    let orders = [is_ascending.then_some(Order::Interval), Some(Order::Score)];
                    for order in orders.into_iter().flatten() {
                        all.push(Workload { write, erase, erased, slots, start, order, saves: saves.clone() });
                    }
                }
            }
        }
    }
    all
}

/// Runs the test cases of all workloads (lists of up to three saves), and adds their results to `summary`.
pub fn run_bounded<V: StoreVariant>(extent: Extent, geometries: &[Geometry], summary: &mut Summary) {
    for geometry in geometries {
        for (index, workload) in workloads(geometry).iter().enumerate() {
            let (depth, max_operations) = coverage(extent, index, workload);
            if depth == 0 {
                continue;
            }
            let mut report = |case: &dyn Fn() -> Case, result: Result<(), String>| match result {
                Ok(()) => summary.passed += 1,
                Err(error) => summary.add_failed(|| case().to_string(), error),
            };
            Explorer { workload, depth, max_operations, report: &mut report }.explore::<V>();
        }
    }
}

/// Returns how much of a workload a run covers. The first number is the maximum number of power failures in a row. The
/// array contains the maximum numbers of interrupted operations: in the last save, and in each save after a failure.
fn coverage(extent: Extent, index: usize, workload: &Workload) -> (usize, [usize; 2]) {
    const ALL: usize = usize::MAX;
    let Workload { write, erase, start, .. } = *workload;
    let saves = workload.saves.len();
    // Returns 1 for each `n`th workload and 0 for the others, so that a run covers only a part of the workloads.
    let one_in = |n: usize| usize::from(index.is_multiple_of(n));
    match (extent, erase, saves) {
        // Byte-addressable memory, whose pages have `write` bytes.
        (Extent::Thorough, 0, 1) if write >= 8 => (2, [ALL; 2]),
        (Extent::Thorough, 0, 1) => (2, [ALL, 8]),
        (Extent::Thorough, 0, 2) if write >= 32 => (2, [ALL; 2]),
        (Extent::Thorough, 0, _) => (1, [ALL; 2]),
        (Extent::Full, 0, 1) if write >= 32 => (2, [ALL; 2]),
        (Extent::Full, 0, 1) => (1 + one_in(16), [ALL, 4]),
        (Extent::Full, 0, _) if write >= 64 => (1, [ALL; 2]),
        (Extent::Full, 0, _) => (one_in(if write == 1 { 100 } else { 8 }), [ALL; 2]),
        (Extent::Short, 0, 1) if write >= 32 => (1 + one_in(12), [ALL, 2]),
        (Extent::Short, 0, 1) => (one_in(9), [ALL; 2]),
        (Extent::Short, 0, 2) => (if write >= 32 { one_in(16) } else { 0 }, [ALL; 2]),
        (Extent::Thorough, 256, 1) => (2, [ALL; 2]),
        (Extent::Thorough, 256, _) if write >= 16 || write >= 4 && saves == 2 => (2, [ALL; 2]),
        (Extent::Thorough, 257..100_000, 1) => (2, [ALL, 4]),
        (Extent::Thorough, 256..100_000, _) => (1, [ALL; 2]),
        (Extent::Thorough, ..) => (1, [200; 2]),
        (Extent::Short, 256, 1) if write == 32 && start == Start::Full => (1 + one_in(3), [ALL, 2]),
        (Extent::Short, 256, 1 | 2) if write >= 16 => (one_in(7), [ALL; 2]),
        (Extent::Short, 256, 1) => (one_in(8), [ALL; 2]),
        (Extent::Short, ..) => (0, [0; 2]),
        (Extent::Full, 256, 1) if write == 32 => (2, [ALL; 2]),
        (Extent::Full, 256, 1) if write > 4 => (2, [ALL, 4]),
        (Extent::Full, 256, 1) if write == 4 => (2, [ALL, 2]),
        (Extent::Full, 256, _) if write == 32 => (1, [ALL; 2]),
        (Extent::Full, 256, 2) if write >= 4 => (1, [ALL; 2]),
        (Extent::Full, 256, 3) if write >= 4 => (one_in(8), [ALL; 2]),
        (Extent::Full, 256..100_000, 1) => (1, [ALL; 2]),
        (Extent::Full, 256..100_000, _) => (one_in(100), [ALL; 2]),
        (Extent::Full, _, saves) => (if saves == 1 { 1 } else { one_in(100) }, [8; 2]),
    }
}

/// Runs one long random sequence of sessions for each seed, and adds the results to `summary`. Stops after the first
/// sequence that ends after `deadline`.
pub fn run_long<V: StoreVariant>(
    seeds: impl IntoIterator<Item = u64>,
    deadline: Option<Instant>,
    summary: &mut Summary,
) {
    for seed in seeds {
        match run_sequence::<V>(seed) {
            Ok(power_failures) => summary.passed += power_failures,
            Err((power_failures, error)) => {
                summary.passed += power_failures;
                summary.add_failed(|| Case::Long { seed }.to_string(), error);
            }
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            break;
        }
    }
}

fn run_sequence<V: StoreVariant>(seed: u64) -> Result<u64, (u64, String)> {
    explore::run_sequence::<V>(&mut Random::new(seed), SESSIONS)
}

/// Runs the test case that `line` describes, in the text form that a report of a failed case contains.
///
/// # Errors
/// An error in the line, or the guarantee that the store does not keep.
pub fn replay<V: StoreVariant>(line: &str) -> Result<(), String> {
    match line.parse()? {
        Case::Long { seed } => run_sequence::<V>(seed)
            .map(|_| ())
            .map_err(|(power_failures, error)| format!("after {power_failures} power failures: {error}")),
        Case::Bounded { workload, failures } => explore::run_case::<V>(&workload, &failures),
    }
}

/// Runs all bounded workloads of `extent`, and then long sequences until `time` has passed since the start.
pub fn run<V: StoreVariant>(extent: Extent, geometries: &[Geometry], seed: u64, time: Duration) -> Summary {
    let deadline = Instant::now() + time;
    let mut summary = Summary::default();
    run_bounded::<V>(extent, geometries, &mut summary);
    run_long::<V>(seed.., Some(deadline), &mut summary);
    summary
}
