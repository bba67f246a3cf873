//! Runs the sequences of all cells and counts them: each change of the program, each kind of failure, each store.

use super::cases::{DIRECTORY, RAM, STORES, Sequence, check};
use super::failures::Failure;
use super::generate::{CELLS, CHANGES, FAILURES, POWER, cell, pair, random_sequence};
use core::fmt;
use std::time::{Duration, Instant};

/// The results of all sequences.
#[derive(Debug)]
pub struct Summary {
    /// The number of sequences of each cell.
    pub cells: Vec<u32>,
    /// The number of sequences without an error.
    pub passed: u64,
    /// The number of sequences with an error.
    pub failed: u64,
    /// The first failed sequences: the line and the error.
    pub failures: Vec<(String, String)>,
}

/// The number of failed sequences that are printed.
const MAX_PRINTED: usize = 2000;

impl Summary {
    /// Creates a summary of no sequences.
    #[must_use]
    pub fn new() -> Self {
        Summary { cells: vec![0; CELLS], passed: 0, failed: 0, failures: Vec::new() }
    }

    /// Checks a sequence and counts it in its cell. Returns the number of operations of each start.
    fn run(&mut self, index: usize, sequence: &Sequence) -> Vec<u32> {
        self.cells[index] += 1;
        match check(sequence, false) {
            Ok(operations) => {
                self.passed += 1;
                operations
            }
            Err(error) => {
                self.failed += 1;
                if self.failures.len() < MAX_PRINTED {
                    self.failures.push((sequence.to_string(), error));
                }
                Vec::new()
            }
        }
    }

    /// Interrupts the second start of each change at each operation. `stride` 1 covers each operation, `stride` 10 each
    /// tenth.
    pub fn run_interruptions(&mut self, variant: u64, stride: u32) {
        for store in 0..STORES.len() {
            for change in 0..CHANGES.len() {
                let sequence = pair(change, store, variant);
                let operations = self.run(cell(change, 0, store), &sequence);
                let index = cell(change, POWER, store);
                let first = variant as u32 % stride;
                for after in (first..operations.last().copied().unwrap_or(0)).step_by(stride as usize) {
                    // An interrupted operation of the RAM has two effects. The other stores have many.
                    let (effects, first) = if store == RAM { (2, 0) } else { (1, after + variant as u32) };
                    for effect in first..first + effects {
                        let mut sequence = sequence.clone();
                        let effect = effect as u8;
                        if let Some(last) = sequence.starts.last_mut() {
                            last.failure = Failure::Power { after, effect };
                        }
                        self.run(index, &sequence);
                    }
                }
            }
        }
    }

    /// Runs one random sequence of each cell of a store.
    pub fn run_round(&mut self, store: usize, seed: u64) {
        for change in 0..CHANGES.len() {
            for failure in 0..FAILURES.len() {
                let sequence = random_sequence(change, failure, store, seed);
                self.run(cell(change, failure, store), &sequence);
            }
        }
    }

    /// Runs all interruptions of pairs of programs, then random sequences until the time is over. Each cell contains at
    /// least 100 sequences. The later rounds contain the directory less often, because its sequences take longer.
    pub fn run_for(&mut self, seed: u64, time: Duration) {
        let end = Instant::now() + time;
        for variant in 0..2 {
            self.run_interruptions(seed * 2 + variant, 1);
        }
        let mut round = 0;
        while round < 100 || Instant::now() < end {
            for store in 0..STORES.len() {
                if store != DIRECTORY || round < 100 || round % 5 == 0 {
                    self.run_round(store, seed << 20 | round);
                }
            }
            round += 1;
        }
    }
}

impl Default for Summary {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (store, name) in STORES.iter().enumerate() {
            write!(f, "{name:<18}")?;
            for failure in FAILURES {
                write!(f, "{failure:>12}")?;
            }
            writeln!(f)?;
            for (change, (name, _)) in CHANGES.iter().enumerate() {
                write!(f, "  {name:<16}")?;
                for failure in 0..FAILURES.len() {
                    write!(f, "{:>12}", self.cells[cell(change, failure, store)])?;
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}
