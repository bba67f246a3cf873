//! The measuring loop. It measures the run times of several variants of a function in turn.
//!
//! Other programs on the machine disturb absolute times, but they disturb variants that run within the same
//! milliseconds alike. Each round therefore runs every variant, in rotated order, and the evaluation uses the ratios
//! within a round. The medians of the ratios are stable even if the times are not. The quartiles show the spread.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// The approximate run time of one variant (implementation) in one round. It determines the number of calls per round.
const SAMPLE: Duration = Duration::from_micros(400);

/// One of several implementations whose run times the benchmark compares.
pub struct Variant<'a> {
    pub name: &'static str,
    run: Box<dyn FnMut() + 'a>,
    /// The number of calls per round.
    calls: u32,
    /// The nanoseconds per call, for each round.
    times: Vec<f64>,
}

/// Several implementations (variants) of one function, whose run times the benchmark compares.
pub struct Group<'a> {
    pub title: String,
    /// The divisor of the nanoseconds of a call. It converts them to `unit`.
    pub divisor: f64,
    /// The unit of the printed times.
    pub unit: &'static str,
    variants: Vec<Variant<'a>>,
}

/// The median and the two quartiles of the values of all rounds.
#[derive(Clone, Copy)]
pub struct Spread {
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

impl Spread {
    fn new(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let quartile = |number: usize| values[(values.len() - 1) * number / 4];
        Spread { low: quartile(1), median: quartile(2), high: quartile(3) }
    }
}

impl<'a> Group<'a> {
    pub fn new(title: impl Into<String>, divisor: usize, unit: &'static str) -> Self {
        Group { title: title.into(), divisor: divisor as f64, unit, variants: Vec::new() }
    }

    /// Adds a variant. `black_box` prevents the optimiser from removing the result.
    pub fn variant<R>(mut self, name: &'static str, mut run: impl FnMut() -> R + 'a) -> Self {
        let run = Box::new(move || {
            black_box(run());
        });
        self.variants.push(Variant { name, run, calls: 1, times: Vec::new() });
        self
    }

    /// Runs all variants in turn for the given number of rounds, and records the time per call of each variant in each
    /// round.
    pub fn measure(mut self, rounds: usize) -> Self {
        for variant in &mut self.variants {
            (variant.run)();
            let start = Instant::now();
            let mut calls = 0u32;
            while start.elapsed() < SAMPLE {
                (variant.run)();
                calls += 1;
            }
            variant.calls = calls;
        }
        let count = self.variants.len();
        for round in 0..rounds {
            for turn in 0..count {
                let variant = &mut self.variants[(round + turn) % count];
                let start = Instant::now();
                for _ in 0..variant.calls {
                    (variant.run)();
                }
                variant.times.push(start.elapsed().as_nanos() as f64 / f64::from(variant.calls));
            }
        }
        self
    }

    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.variants.iter().map(|variant| variant.name)
    }

    fn find(&self, name: &str) -> &Variant<'a> {
        self.variants.iter().find(|variant| variant.name == name).expect("a variant of this group")
    }

    /// The run time of a variant, in the unit of the group.
    pub fn time(&self, name: &str) -> Spread {
        Spread::new(self.find(name).times.iter().map(|time| time / self.divisor).collect())
    }

    /// The ratio of the run times of two variants, computed in each round.
    pub fn ratio(&self, name: &str, other: &str) -> Spread {
        let (times, other_times) = (&self.find(name).times, &self.find(other).times);
        Spread::new(times.iter().zip(other_times).map(|(time, other_time)| time / other_time).collect())
    }
}
