//! What must be true: which checkpoints were begun, which are promised, and how a ranking has to come out, written
//! as plainly as it can be.

use std::rc::Rc;
use training_monitor::checkpoint::{self, Checksum, Contents, Header, One};
use training_monitor::store::Stored;

/// What ranks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// The latest stay.
    Interval,
    /// The best by score stay.
    Score,
}

/// A checkpoint that was begun.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// As the store should list it.
    pub stored: Stored,
    /// The bytes of its stream.
    pub bytes: Rc<[u8]>,
    /// Whether its save returned Ok.
    pub done: bool,
}

/// A table of the best, by the rules of the house: an equal one does not enter, the oldest of equals goes first.
#[derive(Clone, Debug)]
pub struct Table {
    /// How it ranks.
    pub order: Order,
    /// How many it keeps.
    pub places: usize,
    /// In no order.
    pub entries: Vec<Stored>,
}

impl Table {
    /// Whether `new` would enter.
    pub fn accepts(&self, new: &Stored) -> bool {
        self.entries.len() < self.places || self.worst().is_none_or(|worst| self.key(new) > self.key(&worst))
    }

    /// Enters `new`, if it may.
    pub fn insert(&mut self, new: Stored) {
        if !self.accepts(&new) {
            return;
        }
        if self.entries.len() >= self.places {
            let worst = self.worst();
            self.entries.retain(|entry| Some(entry.step) != worst.map(|worst| worst.step));
        }
        self.entries.push(new);
    }

    /// The steps of all, ascending.
    pub fn steps(&self) -> Vec<u32> {
        let mut steps: Vec<u32> = self.entries.iter().map(|entry| entry.step).collect();
        steps.sort_unstable();
        steps
    }

    /// The best; of equals the newest.
    pub fn best(&self) -> Option<u32> {
        self.entries.iter().max_by_key(|entry| (self.key(entry), entry.step)).map(|entry| entry.step)
    }

    fn key(&self, entry: &Stored) -> i64 {
        match self.order {
            Order::Interval => i64::from(entry.step),
            Order::Score => entry.score.unwrap_or(0.0) as i64,
        }
    }

    fn worst(&self) -> Option<Stored> {
        self.entries.iter().min_by_key(|entry| (self.key(entry), entry.step)).copied()
    }
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Model {
    /// Every checkpoint that was begun, by step.
    pub attempts: Vec<Attempt>,
    /// Those that a save returned Ok for, until so many better ones have.
    pub promised: Table,
    /// The last step number used.
    pub step: u32,
}

impl Model {
    /// Nothing yet.
    pub fn new(order: Order, places: usize) -> Self {
        Model { attempts: Vec::new(), promised: Table { order, places, entries: Vec::new() }, step: 0 }
    }

    /// Begins the next checkpoint: `weights` of them, which differ from those of every other.
    pub fn begin<C: Checksum>(&mut self, sequence: u32, score: Option<f32>, weights: usize) -> (Stored, Vec<f32>) {
        self.step += 1;
        let stored = Stored { step: self.step, sequence, iteration: 10 * self.step, score };
        let mut weights: Vec<f32> = (0..weights).map(|index| (self.step * 1000) as f32 + index as f32 * 0.37).collect();
        let bytes = encode::<C>(&stored, &mut weights).into();
        self.attempts.push(Attempt { stored, bytes, done: false });
        (stored, weights)
    }

    /// The last one that was begun is promised from now on.
    pub fn done(&mut self) {
        if let Some(last) = self.attempts.last_mut() {
            last.done = true;
            self.promised.insert(last.stored);
        }
    }

    /// The attempt that is listed as `stored`.
    pub fn attempt(&self, stored: &Stored) -> Option<&Attempt> {
        self.attempts.iter().rev().find(|attempt| attempt.stored == *stored)
    }
}

/// The stream of a checkpoint, as it has to be on the medium.
pub fn encode<C: Checksum>(stored: &Stored, weights: &mut [f32]) -> Vec<u8> {
    let Stored { step, sequence, iteration, score } = *stored;
    let header = Header { step, sequence, iteration, score, score_name: None };
    let contents = Contents { header, record: None, only: None, allow_non_finite: false };
    let mut bytes = Vec::new();
    let written = checkpoint::encode::<C, _, _>(&mut bytes, &contents, &One("m", weights));
    written.expect("a Vec takes anything");
    bytes
}
