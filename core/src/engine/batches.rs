//! Sources of the batches that [`Engine::run`](crate::Engine::run) passes to the step function.
//!
//! The engine requests each batch by its position. A resumed run can therefore request the batch of the interrupted
//! iteration again. Slices and ranges of indices are sources. [`IterBatches`] turns an iterator into a source.

/// The position of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Position {
    /// The number of the epoch, starting at 1. A source that shuffles its batches can use this number as the seed.
    pub epoch: u32,
    /// The index of the iteration within the epoch, starting at 0.
    pub offset: u32,
    /// The index of the batch within the data, starting at 0. An epoch can be longer or shorter than the data, so the
    /// index does not start at 0 in each epoch. It returns to 0 at the end of the data and after a terminated epoch. If
    /// the length of the data is known, the index is less than this length.
    pub data_offset: u32,
}

/// A source of batches.
pub trait Batches {
    /// The type that the step function receives for each batch. It can be a reference, or an index into data that the
    /// model owns.
    type Batch;

    /// Returns the number of batches in the data. Returns `None` if the number is unknown until the data ends.
    fn len(&self) -> Option<u32>;

    /// Returns true if the data is known to contain no batch.
    fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// Returns the batch at `position`, or `None` at the end of data whose length is unknown. A resumed run calls this
    /// method again with the position of the interrupted iteration and must get the same batch.
    fn get(&mut self, position: Position) -> Option<Self::Batch>;
}

/// Each element of the slice is one batch. After the last element, the data restarts with the first one.
impl<'a, B> Batches for &'a [B] {
    type Batch = &'a B;

    fn len(&self) -> Option<u32> {
        Some(u32::try_from(<[B]>::len(self)).unwrap_or(u32::MAX))
    }
    #[inline]
    fn get(&mut self, position: Position) -> Option<&'a B> {
        <[B]>::get(self, position.data_offset as usize)
    }
}

/// Each number in the range is one batch. After the last number, the data restarts with the first one.
impl Batches for core::ops::Range<u32> {
    type Batch = u32;

    fn len(&self) -> Option<u32> {
        Some(self.end.saturating_sub(self.start))
    }
    #[inline]
    fn get(&mut self, position: Position) -> Option<u32> {
        Some(self.start.wrapping_add(position.data_offset))
    }
}

/// A source that takes its batches from an iterator, such as the samples of a sensor. The source ignores the position
/// and returns the next item. To resume a run, pass an iterator that continues where the interrupted run stopped.
#[derive(Clone, Debug)]
pub struct IterBatches<I>(
    /// The iterator that provides the batches.
    pub I,
);

impl<I: Iterator> Batches for IterBatches<I> {
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
    fn get(&mut self, position: Position) -> Option<D::Batch> {
        (**self).get(position)
    }
}
