//! The expected state of the store: the saves that were started, and the ranking that they result in.

use super::case::JudgedSave;
use crate::test_support::random::Random;
use training_monitor::checkpoint::{ObjectVisitor, Objects, RankingRule};

/// The objects of the checkpoints. There are two, so that a store with one stream per object has two streams.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct JudgedObjects {
    weights: [f32; 5],
    /// The lengths of the checkpoints differ, so a value has a variable length. The lengths of tensors belong to the
    /// series.
    log: Vec<u8>,
}

impl JudgedObjects {
    /// Returns objects that no other attempt has.
    pub fn of_attempt(attempt: u32) -> Self {
        let mut random = Random::new(u64::from(attempt));
        let log = (0..random.below(40)).map(|_| random.byte()).collect();
        JudgedObjects { weights: [0.0; 5].map(|_: f32| f32::from(random.byte()) - 99.5), log }
    }
}

impl Objects for JudgedObjects {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.state_dict("weights", &mut self.weights)?;
        visitor.value("log", &mut self.log)
    }
}

/// A save that was started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Attempt {
    /// The number of the attempt, from 1. The checkpoint has this number as its iteration.
    pub number: u32,
    pub step: u32,
    pub score: u8,
    /// Whether the save returned Ok.
    pub is_saved: bool,
}

/// All attempts, in order.
pub(super) struct Model {
    pub rule: RankingRule,
    pub n_saved: u32,
    pub attempts: Vec<Attempt>,
}

impl Model {
    /// Adds an attempt, and returns its number.
    pub fn start(&mut self, save: JudgedSave) -> u32 {
        let number = self.attempts.len() as u32 + 1;
        self.attempts.push(Attempt { number, step: save.step, score: save.score, is_saved: false });
        number
    }

    /// Marks the last attempt as saved.
    pub fn acknowledge(&mut self) {
        if let Some(last) = self.attempts.last_mut() {
            last.is_saved = true;
        }
    }

    /// Returns the attempt with this number.
    pub fn attempt(&self, number: u32) -> Option<Attempt> {
        self.attempts.iter().find(|attempt| attempt.number == number).copied()
    }

    /// Returns the attempts that are in the ranking if these checkpoints are in the store: those that were saved and
    /// `stored`.
    pub fn ranking(&self, stored: &[u32]) -> Vec<Attempt> {
        let mut table: Vec<Attempt> = Vec::new();
        for new in self.attempts.iter().filter(|attempt| attempt.is_saved || stored.contains(&attempt.number)) {
            let key = |entry: &Attempt| (if self.rule == RankingRule::Best { entry.score } else { 0 }, entry.number);
            let same_step = table.iter().position(|entry| entry.step == new.step);
            let is_full = table.len() >= self.n_saved as usize;
            let worst = (0..table.len()).min_by_key(|index| table.get(*index).map(key)).filter(|_| is_full);
            let rival = same_step.or(worst);
            let is_better = |entry: &Attempt| self.rule == RankingRule::Latest || new.score > entry.score;
            match rival.and_then(|index| table.get(index)) {
                Some(entry) if !is_better(entry) => continue,
                Some(_) => drop(rival.map(|index| table.remove(index))),
                None => (),
            }
            table.push(*new);
        }
        table
    }
}
