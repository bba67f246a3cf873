//! Where batches come from: anything that can say which batch is at a position.
//!
//! A run that was cut asks again for the batch it was at, so data is addressed by position and never remembered by
//! the engine. Slices, ranges of indices and, with the limits it states, any iterator are data.

/// Which batch is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Position {
    /// The epoch, from 1: what a shuffle that differs from epoch to epoch goes by.
    pub epoch: u32,
    /// The place in the epoch, from 0.
    pub offset: u32,
    /// Batches drawn since the data began or began again, which it does at its end and after an epoch that was cut: what
    /// data goes by, be it longer or shorter than an epoch. Less than its length, where that is known.
    pub drawn: u32,
}

/// The batches of an epoch.
pub trait Batches {
    /// What the step function is given: a batch, a reference to one, or an index into data that the model holds.
    type Batch;

    /// Batches an epoch; `None` when it is only known at the end.
    fn len(&self) -> Option<u32>;

    /// Whether there are none at all.
    fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// The batch at `at`, or `None` where data of unknown length ends. Asked twice for one position, it must give the same
    /// batch.
    fn get(&mut self, at: Position) -> Option<Self::Batch>;
}

/// One batch an element, over and over.
impl<'a, B> Batches for &'a [B] {
    type Batch = &'a B;

    fn len(&self) -> Option<u32> {
        Some(u32::try_from(<[B]>::len(self)).unwrap_or(u32::MAX))
    }
    #[inline]
    fn get(&mut self, at: Position) -> Option<&'a B> {
        <[B]>::get(self, at.drawn as usize)
    }
}

/// Indices, over and over.
impl Batches for core::ops::Range<u32> {
    type Batch = u32;

    fn len(&self) -> Option<u32> {
        Some(self.end.saturating_sub(self.start))
    }
    #[inline]
    fn get(&mut self, at: Position) -> Option<u32> {
        Some(self.start.wrapping_add(at.drawn))
    }
}

/// An iterator as data of unknown length: a sensor, a file. It is drawn from in order, whatever position is asked for;
/// a run that goes on after a restart must be given one that stands where the last one stood.
#[derive(Clone, Debug)]
pub struct Stream<I>(pub I);

impl<I: Iterator> Batches for Stream<I> {
    type Batch = I::Item;

    fn len(&self) -> Option<u32> {
        None
    }
    #[inline]
    fn get(&mut self, _: Position) -> Option<I::Item> {
        self.0.next()
    }
}

impl<D: Batches + ?Sized> Batches for &mut D {
    type Batch = D::Batch;

    fn len(&self) -> Option<u32> {
        (**self).len()
    }
    #[inline]
    fn get(&mut self, at: Position) -> Option<D::Batch> {
        (**self).get(at)
    }
}
