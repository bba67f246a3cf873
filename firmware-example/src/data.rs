//! The handwritten digits: 1 797 images of 8 × 8 pixels, and which of them are for what.
//!
//! One record of `digits.bin`, 65 bytes, row after row:
//!
//! ```text
//!     +---------------------------------------------------+-------+
//!     | 64 pixels, one byte each, 0..=16 (white to black) | label |
//!     +---------------------------------------------------+-------+
//!     0                                                   64      65
//! ```
//!
//! Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
//! Learning Repository (1998), CC BY 4.0; its test part, as scikit-learn ships it. Whoever hands
//! on a program with this module in it hands on the data, and with it this attribution.
//!
//! The images are dealt once, by a fixed permutation, into three parts that share none:
//!
//! | part | images | for |
//! | --- | --- | --- |
//! | [`Split::Train`] | 1 200 | gradients |
//! | [`Split::Validation`] | 237 | decisions: which checkpoint is best, when to stop |
//! | [`Split::Test`] | 360 | the number that is reported at the end, and nothing else |
//!
//! The data lies in flash and is never copied as a whole; it never changes, and neither does the
//! deal: it depends on no seed, so that runs with different seeds can be compared.
//!
//! ```
//! use digits_workload::data::{self, Split};
//!
//! let first = data::image(0).unwrap();
//! assert_eq!(first.label(), 0);
//! assert_eq!(first.pixels()[..4], [0, 0, 5, 13]);
//! assert_eq!(first.scaled()[3], 13.0 / 16.0 - 0.5);
//! assert!(data::image(1797).is_none());
//!
//! assert_eq!(Split::ALL.map(Split::len), [1200, 237, 360]);
//! assert_eq!(Split::Test.images().count(), 360);
//! ```

use crate::random::Permutation;

/// Number of images.
pub const IMAGES: u32 = 1797;
/// Pixels of one image, 8 rows of 8.
pub const PIXELS: usize = 64;
/// Number of classes: the digits 0 to 9.
pub const CLASSES: usize = 10;
/// The largest value of a pixel.
pub const PIXEL_MAX: u8 = 16;

/// Bytes of one record: the pixels, then the label.
const RECORD: usize = PIXELS + 1;

/// The records, straight from the file. The array's length makes a file of another size an error
/// of the compiler.
static DIGITS: [u8; IMAGES as usize * RECORD] = *include_bytes!("../data/digits.bin");

/// One image and what it shows. Two pointers' worth: the pixels stay in flash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image {
    pixels: &'static [u8; PIXELS],
    label: u8,
}

impl Image {
    /// The pixels in row order, each `0..=16`.
    pub const fn pixels(&self) -> &'static [u8; PIXELS] {
        self.pixels
    }

    /// The digit, `0..=9`.
    pub const fn label(&self) -> u8 {
        self.label
    }

    /// The pixels as the network reads them: `-0.5..=0.5`, in sixteenths, so without rounding.
    /// Centred, because a network learns better from inputs around 0 than from `0.0..=1.0`.
    pub fn scaled(&self) -> [f32; PIXELS] {
        self.pixels.map(|pixel| f32::from(pixel) * (1.0 / PIXEL_MAX as f32) - 0.5)
    }
}

/// The image with this number in the file, `None` from [`IMAGES`] on.
pub fn image(number: u32) -> Option<Image> {
    let start = usize::try_from(number).ok()?.checked_mul(RECORD)?;
    let record = DIGITS.get(start..)?.get(..RECORD)?;
    let (label, pixels) = record.split_last()?;
    Some(Image { pixels: pixels.try_into().ok()?, label: *label })
}

/// What an image is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    /// Gradients are computed from these.
    Train,
    /// Decisions are made on these: the best checkpoint, the end of the run.
    Validation,
    /// Held out: measured at the end, decides nothing.
    Test,
}

impl Split {
    /// The three parts.
    pub const ALL: [Split; 3] = [Split::Train, Split::Validation, Split::Test];

    /// The deal: where each image of the file lies in the row of test, validation and training
    /// images. Keys 0 and 0, not chosen for a result.
    const DEAL: Permutation = Permutation::new(IMAGES, 0, 0);

    /// The first place in that row, and the number of places.
    const fn places(self) -> (u32, u32) {
        match self {
            Split::Test => (0, 360),
            Split::Validation => (360, 237),
            Split::Train => (597, 1200),
        }
    }

    /// Number of images in this part; never 0, hence no `is_empty`.
    #[expect(clippy::len_without_is_empty, reason = "no part is empty")]
    pub const fn len(self) -> u32 {
        self.places().1
    }

    /// The number in the file of this part's `index`-th image, `None` from [`Split::len`] on.
    pub fn number(self, index: u32) -> Option<u32> {
        let (first, len) = self.places();
        if index >= len {
            return None;
        }
        Self::DEAL.at(first.checked_add(index)?)
    }

    /// This part's `index`-th image, `None` from [`Split::len`] on.
    pub fn image(self, index: u32) -> Option<Image> {
        image(self.number(index)?)
    }

    /// All images of this part, always in the same order.
    pub fn images(self) -> impl Iterator<Item = Image> {
        (0..self.len()).filter_map(move |index| self.image(index))
    }
}

/// The images of one batch, and the whole order of one epoch: a function of its arguments, so
/// that a run continues in the middle of an epoch without having stored anything.
///
/// Batch `offset` holds the training images at the places `offset * batch ..` of the order that
/// belongs to `seed` and `epoch`. The last batch of an epoch is shorter when `batch` does not
/// divide 1 200, and there is nothing beyond it.
///
/// ```
/// use digits_workload::data::batch;
///
/// assert_eq!(batch(1, 0, 74, 16).count(), 16);
/// assert_eq!(batch(1, 0, 75, 16).count(), 0);
/// assert!(batch(1, 0, 3, 16).eq(batch(1, 0, 3, 16)));
/// assert!(batch(1, 0, 3, 16).ne(batch(1, 1, 3, 16)));
/// ```
pub fn batch(seed: u32, epoch: u32, offset: u32, batch: u32) -> impl Iterator<Item = Image> {
    let order = Permutation::new(Split::Train.len(), seed, epoch);
    let first = offset.saturating_mul(batch);
    (first..first.saturating_add(batch)).map_while(move |position| Split::Train.image(order.at(position)?))
}
