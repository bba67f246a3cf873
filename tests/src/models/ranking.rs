//! Which checkpoints are saved and which stay: a list that is sorted anew each time. Rules: Ignite 0.2.0's call
//! order, 0.5.5's for one name saved twice, the design's for NaN and for failures.

/// What a step number counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, arbitrary::Arbitrary)]
pub enum Count {
    /// Calls.
    Calls,
    /// The engine's iterations.
    Iterations,
    /// The engine's epochs.
    Epochs,
}

/// A checkpoint.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Kept {
    /// What it ranks by.
    pub priority: f64,
    /// Its number.
    pub step: u32,
    /// Its score.
    pub score: Option<f32>,
}

/// The model.
#[derive(Clone, Debug)]
pub struct ModelCheckpoint {
    /// Save at every so manyth call; `None` by score.
    pub interval: Option<u32>,
    /// How many stay; `None` all.
    pub n_saved: Option<usize>,
    /// What the handler can list where all stay.
    pub table: usize,
    /// Whether equals enter.
    pub or_equal: bool,
    /// What numbers are.
    pub count: Count,
    /// Calls so far.
    pub calls: u32,
    /// From the worst to the best, of equals the oldest first.
    pub kept: Vec<Kept>,
    /// Steps committed, in the order of their commits.
    pub committed: Vec<u32>,
}

impl ModelCheckpoint {
    /// A call; what is to be saved.
    pub fn call(&mut self, epoch: u32, iteration: u32, score: Option<f32>) -> Option<Kept> {
        self.calls = self.calls.saturating_add(1);
        let step = match self.count {
            Count::Calls => self.calls,
            Count::Iterations => iteration,
            Count::Epochs => epoch,
        };
        match self.interval {
            Some(interval) if !self.calls.is_multiple_of(interval) => None,
            Some(_) => Some(self.entry(step, None)).filter(|new| self.n_saved.is_none() || self.enters(new)),
            None => {
                let new = self.entry(step, Some(score?));
                (!new.priority.is_nan() && (self.n_saved.is_none() || self.enters(&new))).then_some(new)
            }
        }
    }

    /// A checkpoint of these.
    pub fn entry(&self, step: u32, score: Option<f32>) -> Kept {
        let by_score = || score.map_or(f64::NAN, f64::from);
        let priority = if self.interval.is_some() { f64::from(step) } else { by_score() };
        Kept { priority, step, score: score.filter(|score| !score.is_nan()) }
    }

    fn places(&self) -> usize {
        self.n_saved.unwrap_or(self.table)
    }

    fn enters(&self, new: &Kept) -> bool {
        let worst = self.kept.first().map(|worst| worst.priority);
        self.kept.len() < self.places()
            || worst.is_some_and(|worst| worst < new.priority || (self.or_equal && worst == new.priority))
    }

    /// `new` is on the medium; the step that has to go from there, which may be its own.
    pub fn commit(&mut self, new: Kept) -> Option<u32> {
        self.committed.push(new.step);
        let again = self.kept.iter().position(|kept| kept.step == new.step);
        if new.priority.is_nan() || (again.is_none() && !self.enters(&new)) {
            return Some(new.step).filter(|_| self.n_saved.is_some());
        }
        let gone = match again {
            // Written over: not to be removed.
            Some(index) => {
                self.kept.remove(index);
                None
            }
            None if self.kept.len() >= self.places() => Some(self.kept.remove(0).step),
            None => None,
        };
        self.kept.push(new);
        // Stable, so that among equals the newest is last.
        self.kept.sort_by(|a, b| a.priority.partial_cmp(&b.priority).expect("no NaN gets here"));
        gone.filter(|_| self.n_saved.is_some())
    }

    /// A checkpoint that was found on the medium.
    pub fn found(&mut self, step: u32, score: Option<f32>) -> Option<u32> {
        if self.count == Count::Calls {
            self.calls = self.calls.max(step);
        }
        let new = self.entry(step, score);
        self.commit(new)
    }

    /// The newest that is kept; where all are, the newest.
    pub fn latest(&self) -> Option<u32> {
        let stays = |step: &&u32| self.n_saved.is_none() || self.kept.iter().any(|kept| kept.step == **step);
        self.committed.iter().rev().find(stays).copied()
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.calls = 0;
        self.kept.clear();
        self.committed.clear();
    }
}
