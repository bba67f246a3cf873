//! Which checkpoints stay and which one goes: a table of `n_saved` places, known at compile time.
//!
//! Ranked by score, or by step number where there is no score. The order is Ignite's: a newcomer enters while there is
//! room or when it is better than the worst kept; an equal one does not, unless `greater_or_equal`; among equals the
//! oldest goes first. Unlike there, a NaN never enters, so it can freeze nothing.
//! The table only answers; nothing is written or removed here.
//!
//! ```
//! use training_monitor::ranking::{Entry, Order, Ranking};
//!
//! let mut ranking = Ranking::<2>::new(2, Order::Score, false);
//! let mut kept = |step, score| {
//!     let entry = Entry::new(step, Some(score));
//!     if ranking.accepts(&entry) { ranking.insert(entry); }
//!     ranking.entries().iter().map(|e| e.step).collect::<Vec<_>>()
//! };
//! kept(1, 1.0);
//! kept(2, -2.0);
//! assert_eq!(kept(3, 3.0), [1, 3]);
//! assert_eq!(kept(4, f32::NAN), [1, 3]);
//! assert_eq!(kept(5, 1.0), [1, 3]); // a tie stays out
//! ```

use heapless::Vec;

/// One checkpoint of the table.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Entry {
    /// Its step number, which names it.
    pub step: u32,
    /// NaN stands for no score: a NaN score never gets here.
    score: f32,
}

impl Entry {
    /// A checkpoint with or without a score. A NaN score counts as none.
    #[must_use]
    pub const fn new(step: u32, score: Option<f32>) -> Self {
        Entry {
            step,
            score: match score {
                Some(score) => score,
                None => f32::NAN,
            },
        }
    }

    /// Its signed score.
    #[must_use]
    pub const fn score(&self) -> Option<f32> {
        if self.score.is_nan() { None } else { Some(self.score) }
    }
}

/// What is ranked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Order {
    /// The higher score is better.
    Score,
    /// The later step is better.
    Step,
}

/// The table: at most `N` entries, from the worst to the best.
#[derive(Clone, Debug)]
pub struct Ranking<const N: usize> {
    /// Ascending; among equals the older first.
    entries: Vec<Entry, N, u8>,
    places: u8,
    order: Order,
    or_equal: bool,
}

impl<const N: usize> Ranking<N> {
    /// A table of `places` places, which are at most `N` and at most 255.
    #[must_use]
    pub fn new(places: usize, order: Order, greater_or_equal: bool) -> Self {
        let places = u8::try_from(places.min(N)).unwrap_or(u8::MAX);
        Ranking { entries: Vec::new(), places, order, or_equal: greater_or_equal }
    }

    /// From the worst to the best.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The best; with [`Order::Step`] the latest.
    #[must_use]
    pub fn best(&self) -> Option<Entry> {
        self.entries.last().copied()
    }

    /// Whether all places are taken.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.entries.len() >= usize::from(self.places)
    }

    /// Whether `entry` would get a place: there is room, or the worst has to make room for it.
    #[must_use]
    pub fn accepts(&self, entry: &Entry) -> bool {
        if self.is_nan(entry) {
            return false;
        }
        match self.entries.first() {
            Some(worst) if self.is_full() => {
                let (new, worst) = (key(self.order, entry), key(self.order, worst));
                new > worst || (new == worst && self.or_equal)
            }
            _ => true,
        }
    }

    /// Gives `entry` its place and returns the one that has to go: the worst, or the one of the same step, which it
    /// replaces. An entry that is not [accepted](Self::accepts) is returned
    /// itself. A NaN never enters, not even in place of the same step.
    pub fn insert(&mut self, entry: Entry) -> Option<Entry> {
        let same = self.entries.iter().position(|kept| kept.step == entry.step);
        if self.is_nan(&entry) || (same.is_none() && !self.accepts(&entry)) {
            return Some(entry);
        }
        let order = self.order;
        let mut gone = None;
        if same.is_none() && !self.is_full() {
            // Cannot fail: there is room. If it could, the entry would be the one to go.
            if self.entries.push(entry).is_err() {
                return Some(entry);
            }
        } else if let Some(place) = self.entries.get_mut(same.unwrap_or(0)) {
            gone = Some(core::mem::replace(place, entry));
        }
        // To its place: behind its equals, so that among these the oldest goes first. The table is short and in order but
        // for one, which may have to go either way.
        for _ in 0..self.entries.len() {
            let mut rest = self.entries.iter_mut();
            let Some(mut below) = rest.next() else { break };
            for above in rest {
                let (low, high) = (key(order, below), key(order, above));
                if low > high || (low == high && below.step == entry.step) {
                    core::mem::swap(below, above);
                }
                below = above;
            }
        }
        gone
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    fn is_nan(&self, entry: &Entry) -> bool {
        self.order == Order::Score && entry.score.is_nan()
    }
}

/// What is compared, as an integer in the same order: the step, or the score.
#[inline(never)] // Asked for in four places; inlined it takes more code in all.
fn key(order: Order, entry: &Entry) -> u32 {
    match order {
        Order::Step => entry.step,
        // Both zeros are one score. A NaN is not accepted.
        Order::Score if entry.score == 0.0 => 1 << 31,
        Order::Score => {
            let bits = entry.score.to_bits();
            bits ^ if bits >> 31 == 0 { 1 << 31 } else { u32::MAX }
        }
    }
}
