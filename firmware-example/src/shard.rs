//! The part of the training images that one device of a fleet has.

use crate::data::{Image, Split};
use crate::random::Permutation;
use core::fmt;
use core::num::NonZeroU32;
use core::str::FromStr;

/// Every `count`-th training image, starting with image `index`. The shards with the indices `0..count` are disjoint and
/// contain all training images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: u32,
    count: NonZeroU32,
}

impl Shard {
    /// All training images.
    pub const WHOLE: Shard = Shard { index: 0, count: NonZeroU32::MIN };

    /// Returns `None` unless `index` is less than `count`, and `count` is at most the number of training images.
    pub const fn new(index: u32, count: u32) -> Option<Self> {
        match NonZeroU32::new(count) {
            Some(parts) if index < count && count <= Split::Train.len() => Some(Shard { index, count: parts }),
            _ => None,
        }
    }

    /// The number of images. It is never 0, so there is no `is_empty`.
    #[expect(clippy::len_without_is_empty, reason = "no shard is empty")]
    pub const fn len(self) -> u32 {
        Split::Train.len().saturating_sub(self.index).div_ceil(self.count.get())
    }

    /// The index of this shard, and the number of shards.
    pub const fn parts(self) -> (u32, u32) {
        (self.index, self.count.get())
    }

    /// The images of batch `offset` in `epoch`, as [`batch`](crate::data::batch) defines them, of this shard.
    pub fn batch(self, seed: u32, epoch: u32, offset: u32, batch: u32) -> impl Iterator<Item = Image> {
        let order = Permutation::new(self.len(), seed, epoch);
        let first = offset.saturating_mul(batch);
        let positions = first..first.saturating_add(batch);
        positions.map_while(move |position| Split::Train.image(self.index + order.at(position)? * self.count.get()))
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let (index, count) = text.split_once('/').ok_or(())?;
        Shard::new(index.parse().map_err(drop)?, count.parse().map_err(drop)?).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::batch;

    #[test]
    fn the_whole_shard_has_the_batches_of_the_boards() {
        for (seed, epoch, offset) in [(1, 1, 0), (7, 3, 74), (1, 1, 75)] {
            assert!(Shard::WHOLE.batch(seed, epoch, offset, 16).eq(batch(seed, epoch, offset, 16)));
        }
    }

    #[test]
    fn the_shards_are_disjoint_and_contain_all_images() {
        for count in [1, 7, 8, 1199, 1200] {
            // The addresses of the pixels identify the images.
            let images = (0..count).flat_map(|index| {
                let shard = Shard::new(index, count).unwrap();
                let epoch: Vec<_> = shard.batch(1, 1, 0, shard.len()).map(|image| image.pixels().as_ptr()).collect();
                assert_eq!(epoch.len(), shard.len() as usize);
                assert_eq!(shard.batch(1, 1, 1, shard.len()).count(), 0);
                epoch
            });
            let mut images: Vec<_> = images.collect();
            images.sort_unstable();
            let mut expected: Vec<_> = Split::Train.images().map(|image| image.pixels().as_ptr()).collect();
            expected.sort_unstable();
            assert_eq!(images, expected);
        }
    }

    #[test]
    fn a_text_is_parsed_and_invalid_shards_are_refused() {
        assert_eq!("2/8".parse(), Ok(Shard::new(2, 8).unwrap()));
        assert_eq!(Shard::new(2, 8).unwrap().to_string(), "2/8");
        for text in ["", "1", "8/8", "0/0", "0/1201", "-1/8", "1/8/"] {
            assert_eq!(text.parse::<Shard>(), Err(()), "{text}");
        }
    }
}
