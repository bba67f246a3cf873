//! A model of the decisions of `ModelCheckpoint`: which checkpoints are saved, kept and evicted. It sorts the whole
//! list after each change. The order of calls follows Ignite 0.2.0, repeated saves of one name follow Ignite 0.5.5, and
//! the rules for NaN and for failed saves follow the documentation of the library.

/// The number that a checkpoint uses as its step number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, arbitrary::Arbitrary)]
pub enum StepSource {
    /// The number of calls of the checkpoint policy.
    Calls,
    /// The iteration of the engine.
    Iteration,
    /// The epoch of the engine.
    Epoch,
}

/// A ranked checkpoint.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Entry {
    /// The value that ranks the checkpoint.
    pub priority: f64,
    /// The step number of the checkpoint.
    pub step: u32,
    /// The score of the checkpoint, if it has one.
    pub score: Option<f32>,
}

/// The model of the checkpoint ranking: a second, simple implementation that the tests compare with the library.
#[derive(Clone, Debug)]
pub struct ModelCheckpoint {
    /// Save at every `n`th call; `None` to save by score.
    pub interval: Option<u32>,
    /// The number of kept checkpoints; `None` to keep all.
    pub n_saved: Option<usize>,
    /// The table size of the library's handler.
    pub capacity: usize,
    /// Whether a checkpoint that equals the worst entry enters the ranking.
    pub or_equal: bool,
    /// The source of the step numbers.
    pub step_source: StepSource,
    /// The number of calls of `update`.
    pub calls: u32,
    /// The kept checkpoints from the worst to the best. Of several equal entries, the oldest is first.
    pub kept: Vec<Entry>,
    /// The step numbers of all committed checkpoints, in the order of the commits.
    pub committed: Vec<u32>,
}

impl ModelCheckpoint {
    /// Counts a call. Returns the checkpoint to save, if any.
    pub fn update(&mut self, epoch: u32, iteration: u32, score: Option<f32>) -> Option<Entry> {
        self.calls = self.calls.saturating_add(1);
        let step = match self.step_source {
            StepSource::Calls => self.calls,
            StepSource::Iteration => iteration,
            StepSource::Epoch => epoch,
        };
        match self.interval {
            Some(interval) if !self.calls.is_multiple_of(interval) => None,
            Some(_) => Some(self.entry(step, None)).filter(|new| self.n_saved.is_none() || self.accepts(new)),
            None => {
                let new = self.entry(step, Some(score?));
                (!new.priority.is_nan() && (self.n_saved.is_none() || self.accepts(&new))).then_some(new)
            }
        }
    }

    /// Builds the entry of a checkpoint with this step and score.
    pub fn entry(&self, step: u32, score: Option<f32>) -> Entry {
        let by_score = || score.map_or(f64::NAN, f64::from);
        // Without a score, all checkpoints are equal, so the oldest is evicted first.
        let priority = if self.interval.is_some() { 0.0 } else { by_score() };
        Entry { priority, step, score: score.filter(|score| !score.is_nan()) }
    }

    fn max_entries(&self) -> usize {
        self.n_saved.unwrap_or(self.capacity)
    }

    fn accepts(&self, new: &Entry) -> bool {
        let same_step = self.kept.iter().find(|entry| entry.step == new.step);
        let rival = same_step.or(self.kept.first().filter(|_| self.kept.len() >= self.max_entries()));
        let or_equal = self.or_equal || self.interval.is_some();
        !new.priority.is_nan()
            && rival.is_none_or(|rival| rival.priority < new.priority || (or_equal && rival.priority == new.priority))
    }

    /// Adds the saved checkpoint `new` to the kept checkpoints, if the ranking accepts it. Returns the step of the
    /// checkpoint to evict, which can be `new` itself.
    pub fn record_commit(&mut self, new: Entry) -> Option<u32> {
        self.committed.push(new.step);
        let same_step = self.kept.iter().position(|entry| entry.step == new.step);
        if !self.accepts(&new) {
            return Some(new.step).filter(|_| self.n_saved.is_some() && same_step.is_none());
        }
        let evicted = match same_step {
            // The new checkpoint has replaced the old one of the same step, so there is nothing to evict.
            Some(index) => {
                self.kept.remove(index);
                None
            }
            None if self.kept.len() >= self.max_entries() => Some(self.kept.remove(0).step),
            None => None,
        };
        self.kept.push(new);
        // The sort is stable, so the newest of several equal entries is last.
        self.kept.sort_by(|a, b| a.priority.partial_cmp(&b.priority).expect("the table contains no NaN"));
        evicted.filter(|_| self.n_saved.is_some())
    }

    /// Adds a checkpoint that the store listed when it was opened. Returns the step to evict.
    pub fn restore_entry(&mut self, step: u32, score: Option<f32>) -> Option<u32> {
        if self.step_source == StepSource::Calls {
            self.calls = self.calls.max(step);
        }
        let new = self.entry(step, score);
        self.record_commit(new)
    }

    /// The newest kept checkpoint.
    pub fn latest(&self) -> Option<u32> {
        let is_kept = |step: &&u32| self.n_saved.is_none() || self.kept.iter().any(|entry| entry.step == **step);
        self.committed.iter().rev().find(is_kept).copied()
    }

    /// Removes all checkpoints and resets the number of calls.
    pub fn reset(&mut self) {
        self.calls = 0;
        self.kept.clear();
        self.committed.clear();
    }
}
