//! The checkpoints of a run, collected from its history.

use std::collections::HashMap;

/// The saves of one checkpoint handler. A chart shows them in a lane.
#[derive(Debug)]
pub(super) struct Lane {
    /// The name of the checkpoint handler.
    pub name: String,
    pub saves: Vec<Save>,
    /// The iterations at which a save failed, and the reasons.
    pub failures: Vec<(f64, String)>,
    /// The index of each kept checkpoint in `saves`, by its step number.
    kept: HashMap<u32, usize>,
}

/// A saved checkpoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct Save {
    pub step: u32,
    pub iteration: f64,
    pub score: Option<f64>,
    /// `true` if the checkpoint still exists at the end of the history.
    pub is_kept: bool,
}

impl Lane {
    pub fn new(name: &str) -> Lane {
        Lane { name: name.to_owned(), saves: Vec::new(), failures: Vec::new(), kept: HashMap::new() }
    }

    /// Adds a checkpoint. `evicted` is the step number of the checkpoint that the handler removed after the save.
    pub fn add(&mut self, step: u32, iteration: f64, score: Option<f64>, evicted: Option<u32>) {
        // A resumed run can save a checkpoint with the same step number again, which replaces the older one.
        let evicted = evicted.and_then(|evicted| self.kept.remove(&evicted));
        let replaced = self.kept.insert(step, self.saves.len());
        for index in evicted.into_iter().chain(replaced) {
            self.saves[index].is_kept = false;
        }
        self.saves.push(Save { step, iteration, score, is_kept: true });
    }

    /// The kept checkpoint with the highest score.
    pub fn best(&self) -> Option<&Save> {
        let scored = self.saves.iter().filter(|save| save.is_kept && save.score.is_some());
        // If several checkpoints have the same score, the first one is the best. The checkpoint handler uses the same
        // rule.
        scored.reduce(|best, save| if save.score > best.score { save } else { best })
    }
}
