//! A table of the checkpoints that are kept. It decides which checkpoint is evicted.
//!
//! Checkpoints are ranked by score, or by age if there is no score. The rules for scores are Ignite's. A new checkpoint
//! enters the table if a place is free or if it is better than the worst one. An equal checkpoint does not enter,
//! unless `greater_or_equal` is set. Of several equal checkpoints, the oldest is evicted first. Two rules differ from
//! Ignite: a NaN score never enters, so it cannot block the table, and a checkpoint never replaces a better one of the
//! same step.
//!
//! ```
//! use training_monitor::handlers::model_checkpoint::ranking::{Order, RankedCheckpoint, Ranking};
//!
//! let mut ranking = Ranking::<2>::new(2, Order::Score, false);
//! let mut add = |step, score| {
//!     let checkpoint = RankedCheckpoint::new(step, Some(score));
//!     if ranking.accepts(&checkpoint) { ranking.insert(checkpoint); }
//!     ranking.entries().iter().map(|kept| kept.step).collect::<Vec<_>>()
//! };
//! add(1, 1.0);
//! add(2, -2.0);
//! assert_eq!(add(3, 3.0), [1, 3]);
//! assert_eq!(add(4, f32::NAN), [1, 3]);
//! assert_eq!(add(5, 1.0), [1, 3]); // an equal score does not enter
//! ```

use heapless::Vec;

/// A checkpoint in the ranking (the table of kept checkpoints).
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RankedCheckpoint {
    /// The step number, which identifies the checkpoint.
    pub step: u32,
    /// The score, or NaN if there is no score. NaN cannot be confused with a real score, because a checkpoint with a
    /// NaN score is never ranked.
    score: f32,
}

impl RankedCheckpoint {
    /// Creates an entry of the ranking for one checkpoint. A NaN score is treated as no score.
    #[must_use]
    pub const fn new(step: u32, score: Option<f32>) -> Self {
        RankedCheckpoint {
            step,
            score: match score {
                Some(score) => score,
                None => f32::NAN,
            },
        }
    }

    /// Returns the score, or `None` if there is no score.
    #[must_use]
    pub const fn score(&self) -> Option<f32> {
        if self.score.is_nan() { None } else { Some(self.score) }
    }
}

/// The property by which checkpoints are ranked from the worst to the best.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Order {
    /// A higher score is better.
    Score,
    /// A later insertion is better.
    Latest,
}

/// A table of at most `N` checkpoints, sorted from the worst to the best.
#[derive(Clone, Debug)]
pub struct Ranking<const N: usize> {
    /// The checkpoints, from the worst to the best. Among equal checkpoints, the older one comes first.
    entries: Vec<RankedCheckpoint, N, u8>,
    places: u8,
    order: Order,
    or_equal: bool,
}

impl<const N: usize> Ranking<N> {
    /// Creates an empty table for `places` checkpoints. `places` is limited to `N` and to 255.
    #[must_use]
    pub fn new(places: usize, order: Order, greater_or_equal: bool) -> Self {
        let places = u8::try_from(places.min(N)).unwrap_or(u8::MAX);
        Ranking { entries: Vec::new(), places, order, or_equal: greater_or_equal }
    }

    /// Returns the checkpoints, from the worst to the best.
    #[must_use]
    pub fn entries(&self) -> &[RankedCheckpoint] {
        &self.entries
    }

    /// Returns the best checkpoint. With [`Order::Latest`], this is the latest checkpoint.
    #[must_use]
    pub fn best(&self) -> Option<RankedCheckpoint> {
        self.entries.last().copied()
    }

    /// Returns whether the table has no free place. A new checkpoint must then replace another one.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.entries.len() >= usize::from(self.places)
    }

    pub(super) const fn places(&self) -> u8 {
        self.places
    }

    /// Sets the number of places. The table keeps its entries.
    pub(super) fn set_places(&mut self, places: u8) {
        self.places = places;
    }

    /// Removes the worst entry.
    pub(super) fn remove_worst(&mut self) {
        if let Some(step) = self.entries.first().map(|worst| worst.step) {
            self.remove(step);
        }
    }

    /// Removes the entry with the step number `step`.
    pub(super) fn remove(&mut self, step: u32) {
        // `Vec::remove` contains a panic. Moving the entry to the end and removing the last entry does not.
        let mut rest = self.entries.iter_mut().skip_while(|kept| kept.step != step);
        let Some(mut below) = rest.next() else { return };
        for above in rest {
            core::mem::swap(below, above);
            below = above;
        }
        self.entries.pop();
    }

    pub(super) fn set_greater_or_equal(&mut self, or_equal: bool) {
        self.or_equal = or_equal;
    }

    /// Returns whether `checkpoint` would enter the table: it is better than the entry with the same step, or a place is
    /// free, or it is better than the worst entry.
    #[must_use]
    pub fn accepts(&self, checkpoint: &RankedCheckpoint) -> bool {
        if self.is_nan(checkpoint) || self.places == 0 {
            return false;
        }
        self.rival(checkpoint).is_none_or(|rival| {
            let (new, old) = (key(self.order, checkpoint), key(self.order, rival));
            new > old || (new == old && (self.or_equal || self.order == Order::Latest))
        })
    }

    /// Returns the entry that `checkpoint` would replace: the one with the same step, or the worst one of a full table.
    fn rival(&self, checkpoint: &RankedCheckpoint) -> Option<&RankedCheckpoint> {
        let same_step = self.entries.iter().find(|kept| kept.step == checkpoint.step);
        same_step.or(self.entries.first().filter(|_| self.is_full()))
    }

    /// Inserts `checkpoint`. If an entry has the same step number, `checkpoint` replaces it. Otherwise a full table
    /// evicts its worst entry. Returns the replaced or evicted entry. If the table does not [accept](Self::accepts)
    /// `checkpoint`, returns `checkpoint` itself. A NaN score is never accepted.
    pub fn insert(&mut self, checkpoint: RankedCheckpoint) -> Option<RankedCheckpoint> {
        if !self.accepts(&checkpoint) {
            return Some(checkpoint);
        }
        // The new checkpoint replaces the entry with the same step number, or the worst entry of a full table.
        let evicted = self.rival(&checkpoint).copied();
        if let Some(evicted) = evicted {
            self.remove(evicted.step);
        }
        // The push succeeds, because the table has a free place. If it failed, the checkpoint would not be in the table.
        if self.entries.push(checkpoint).is_err() {
            return Some(checkpoint);
        }
        // Moves the new checkpoint down to its place in the sorted table. It comes after equal checkpoints, so that the
        // oldest of them is evicted first.
        let order = self.order;
        let mut rest = self.entries.iter_mut().rev();
        let Some(mut new) = rest.next() else { return evicted };
        for below in rest {
            if key(order, below) > key(order, new) {
                core::mem::swap(below, new);
            }
            new = below;
        }
        evicted
    }

    /// Removes all entries from the table. The stored checkpoints are unchanged.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    fn is_nan(&self, checkpoint: &RankedCheckpoint) -> bool {
        self.order == Order::Score && checkpoint.score.is_nan()
    }
}

/// Returns an integer that is higher for a better checkpoint. It is computed from the bits of the score. Without scores,
/// all checkpoints are equal, so the oldest is evicted first.
#[inline(never)] // Used in several places; inlining takes more code in total.
fn key(order: Order, checkpoint: &RankedCheckpoint) -> u32 {
    match order {
        Order::Latest => 0,
        // The scores 0.0 and -0.0 are equal, but their bits differ. Therefore, both get this integer. A NaN is never in
        // the table.
        Order::Score if checkpoint.score == 0.0 => 1 << 31,
        Order::Score => {
            let bits = checkpoint.score.to_bits();
            bits ^ if bits >> 31 == 0 { 1 << 31 } else { u32::MAX }
        }
    }
}
