//! The measuring loop: several ways to do one thing, timed in turns.
//!
//! A machine that other programs share gives no times worth keeping, but what runs in the same few milliseconds is
//! disturbed alike. So every round runs every way once, in rotated order, and what is kept of a round is ratios. Medians
//! of those are steady where times are not; the quartiles say how steady. This file decides nothing about budgets.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// How long one way runs in one round.
const SAMPLE: Duration = Duration::from_micros(400);

/// One way of doing a thing.
pub struct Way<'a> {
    pub name: &'static str,
    run: Box<dyn FnMut() + 'a>,
    /// Calls a round.
    calls: u32,
    /// Nanoseconds a call, a round each.
    times: Vec<f64>,
}

/// Several ways, and how much there is of the thing.
pub struct Group<'a> {
    pub title: String,
    /// What a call's nanoseconds are divided by, and what that gives.
    pub units: f64,
    pub unit: &'static str,
    ways: Vec<Way<'a>>,
}

/// A median, with the quartiles around it.
#[derive(Clone, Copy)]
pub struct Spread {
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |part: usize| values[(values.len() - 1) * part / 4];
        Spread { low: at(1), median: at(2), high: at(3) }
    }
}

impl<'a> Group<'a> {
    pub fn new(title: impl Into<String>, units: usize, unit: &'static str) -> Self {
        Group { title: title.into(), units: units as f64, unit, ways: Vec::new() }
    }

    /// Adds a way. What it returns is kept from the optimiser.
    pub fn way<R>(mut self, name: &'static str, mut run: impl FnMut() -> R + 'a) -> Self {
        let run = Box::new(move || {
            black_box(run());
        });
        self.ways.push(Way { name, run, calls: 1, times: Vec::new() });
        self
    }

    /// Runs all of them, `rounds` times.
    pub fn measure(mut self, rounds: usize) -> Self {
        for way in &mut self.ways {
            (way.run)();
            let start = Instant::now();
            let mut calls = 0u32;
            while start.elapsed() < SAMPLE {
                (way.run)();
                calls += 1;
            }
            way.calls = calls;
        }
        let count = self.ways.len();
        for round in 0..rounds {
            for turn in 0..count {
                let way = &mut self.ways[(round + turn) % count];
                let start = Instant::now();
                for _ in 0..way.calls {
                    (way.run)();
                }
                way.times.push(start.elapsed().as_nanos() as f64 / f64::from(way.calls));
            }
        }
        self
    }

    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.ways.iter().map(|way| way.name)
    }

    fn way_named(&self, name: &str) -> &Way<'a> {
        self.ways.iter().find(|way| way.name == name).expect("a way of this group")
    }

    /// Time, in the group's unit.
    pub fn time(&self, name: &str) -> Spread {
        Spread::of(self.way_named(name).times.iter().map(|time| time / self.units).collect())
    }

    /// How much of the other's time this one takes, round by round.
    pub fn ratio(&self, name: &str, other: &str) -> Spread {
        let (these, those) = (&self.way_named(name).times, &self.way_named(other).times);
        Spread::of(these.iter().zip(those).map(|(this, that)| this / that).collect())
    }
}
