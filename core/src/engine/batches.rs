//! Sources of batches.
//!
//! A resumed run requests the batch at which it was interrupted once more. Therefore the engine addresses data by
//! position and remembers no batch. Slices, ranges of indices and (with the stated limits) iterators are sources.

/// The position of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Position {
    /// The epoch, starting at 1. A source that shuffles differently in each epoch uses it as a seed.
    pub epoch: u32,
    /// The index of the iteration within the epoch, starting at 0.
    pub offset: u32,
    /// The index of the batch within the data, starting at 0. The data restarts when it ends and after a terminated
    /// epoch; an epoch can be longer or shorter than the data. Less than the length of the data, if that is known.
    pub data_offset: u32,
}

/// A source of batches.
pub trait Batches {
    /// The argument of the step function: a batch, a reference to one, or an index into data that the model owns.
    type Batch;

    /// The number of batches in the data; `None` if it is known only when the data ends.
    fn len(&self) -> Option<u32>;

    /// Whether the data contains no batch.
    fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// The batch at `position`; `None` where data of unknown length ends. Must return the same batch if it is called
    /// twice with the same position.
    fn get(&mut self, position: Position) -> Option<Self::Batch>;
}

/// Each element is one batch. The slice restarts when it ends.
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

/// Each index is one batch. The range restarts when it ends.
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

/// An iterator as a source of unknown length, such as a sensor or a file. It ignores the position and returns the next
/// item. A resumed run therefore needs an iterator that continues where the interrupted run stopped.
#[derive(Clone, Debug)]
pub struct IterBatches<I>(
    /// The iterator.
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
