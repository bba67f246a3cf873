//! The power-cut judge: does the flash store keep its promise whatever is cut, and however often in a row?
//!
//! **Bounded workloads, exhaustively**: sequences of up to three saves (one or two erase blocks long, ranked by
//! interval or by every order that scores can come in), over two to four slots, on a blank, a full or a garbage-filled
//! flash, on [several geometries](GEOMETRIES). The last save is cut in every operation with every
//! [outcome](crate::flash::Outcome); then the save after it, and for some workloads both once more.
//! **Long sequences, at random**: hundreds of sessions of several saves, erasing ahead between them, half of them cut.
//!
//! After every cut: the checkpoints whose save returned Ok and that are to be kept are there bit for bit; the
//! interrupted one is there wholly or not at all, and nothing else is; the ranking, the best and the latest are what a
//! plain model says; opening writes nothing, is the same a second time, and takes a bounded number of reads; the flash's
//! contract was kept; the next save works. A case that fails is one line, from which [`replay`] plays it again.

mod case;
mod device;
mod explore;
mod layer;
mod model;
mod world;

pub use case::{Case, Cut, Save, Start, Workload};
pub use device::{GEOMETRIES, Geometry};
pub use layer::{Honest, HonestOwnSums, Layer, NoChecksum, NoSeal, NoSpare, OneBlock, TrustsBlank};
pub use model::Order;
pub use world::{list, read};

use crate::random::Random;
use explore::Explorer;
use std::time::{Duration, Instant};

/// Sessions of a long sequence.
const SESSIONS: usize = 200;

/// What came out.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Verdict {
    /// Cases without a fault.
    pub passed: u64,
    /// Cases with one.
    pub failed: u64,
    /// The first few of these: the line, and what was wrong.
    pub failures: Vec<(String, String)>,
}

impl Verdict {
    fn fail(&mut self, line: impl FnOnce() -> String, why: String) {
        self.failed += 1;
        if self.failures.len() < 20 {
            self.failures.push((line(), why));
        }
    }
}

/// How much of the bounded workloads is gone through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extent {
    /// For `cargo test`: one save, or two of some kinds, and few second cuts.
    Short,
    /// On the coarsest geometry everything: every operation and outcome of every sequence, and after one save every
    /// second cut. On the finer ones, which have many more operations, some of the longer sequences and second cuts.
    Full,
    /// Every operation and outcome of every sequence on every geometry. Where an erase block has 256 bytes every second
    /// cut, too: of every sequence with granules of 16 and 32 bytes, of up to two saves with 4 and 8, of one save with 1.
    /// Long; `--geometry` takes them one at a time.
    Thorough,
}

/// The bounded workloads on one geometry.
fn workloads(geometry: &Geometry) -> Vec<Workload> {
    let (write, erase, erased) = *geometry;
    // All weak orders of up to three scores.
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
                    // For the interval one order is as good as another.
                    let rising = scores.windows(2).all(|pair| pair[0] < pair[1]);
                    let order =
                        if rising { [Some(Order::Interval), Some(Order::Score)] } else { [None, Some(Order::Score)] };
                    for order in order.into_iter().flatten() {
                        all.push(Workload { write, erase, erased, slots, start, order, saves: saves.clone() });
                    }
                }
            }
        }
    }
    all
}

/// Goes through the bounded workloads.
pub fn bounded<L: Layer>(extent: Extent, geometries: &[Geometry], verdict: &mut Verdict) {
    for geometry in geometries {
        for (index, workload) in workloads(geometry).iter().enumerate() {
            let (depth, thin) = depth(extent, index, workload);
            if depth == 0 {
                continue;
            }
            let mut report = |case: &dyn Fn() -> Case, result: Result<(), String>| match result {
                Ok(()) => verdict.passed += 1,
                Err(why) => verdict.fail(|| case().to_string(), why),
            };
            Explorer { workload, depth, thin, report: &mut report }.explore::<L>();
        }
    }
}

/// How many cuts in a row a workload gets, and how many operations are cut in its last save and in those after it.
fn depth(extent: Extent, index: usize, workload: &Workload) -> (usize, [usize; 2]) {
    const ALL: usize = usize::MAX;
    let Workload { write, erase, start, .. } = *workload;
    let saves = workload.saves.len();
    let one_in = |times: usize| usize::from(index.is_multiple_of(times));
    match (extent, erase, saves) {
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

/// Goes through the long sequences of these seeds, at least one, until `deadline` if there is one.
pub fn long<L: Layer>(seeds: impl IntoIterator<Item = u64>, deadline: Option<Instant>, verdict: &mut Verdict) {
    for seed in seeds {
        match long_sequence::<L>(seed) {
            Ok(cuts) => verdict.passed += cuts,
            Err((cuts, why)) => {
                verdict.passed += cuts;
                verdict.fail(|| Case::Long { seed }.to_string(), why);
            }
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            break;
        }
    }
}

fn long_sequence<L: Layer>(seed: u64) -> Result<u64, (u64, String)> {
    explore::long::<L>(&mut Random::new(seed), SESSIONS)
}

/// Plays one case.
///
/// # Errors
/// What is wrong with the line, or with the store.
pub fn replay<L: Layer>(line: &str) -> Result<(), String> {
    match line.parse()? {
        Case::Long { seed } => {
            long_sequence::<L>(seed).map(|_| ()).map_err(|(cuts, why)| format!("after {cuts} cuts: {why}"))
        }
        Case::Bounded { workload, cuts } => explore::play::<L>(&workload, &cuts),
    }
}

/// All of it, for about `time`; the bounded workloads are gone through to their end.
pub fn judge<L: Layer>(extent: Extent, geometries: &[Geometry], seed: u64, time: Duration) -> Verdict {
    let deadline = Instant::now() + time;
    let mut verdict = Verdict::default();
    bounded::<L>(extent, geometries, &mut verdict);
    long::<L>(seed.., Some(deadline), &mut verdict);
    verdict
}
