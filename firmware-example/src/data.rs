//! The handwritten digits: 1 797 images of 8 × 8 pixels, split into three parts.
//!
//! The file `digits.bin` contains one record of 65 bytes per image:
//!
//! ```text
//!     +---------------------------------------------------+-------+
//!     | 64 pixels, one byte each, 0..=16 (white to black) | label |
//!     +---------------------------------------------------+-------+
//!     0                                                   64      65
//! ```
//!
//! Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository
//! (1998), CC BY 4.0. The file is the test part of that data set, as scikit-learn distributes it. Every program that
//! links this module contains the data, so its distribution must include this attribution.
//!
//! A fixed permutation splits the images into three disjoint parts:
//!
//! | part | images | used for |
//! | --- | --- | --- |
//! | [`Split::Train`] | 1 200 | gradients |
//! | [`Split::Validation`] | 237 | decisions: which checkpoint is best, when to stop |
//! | [`Split::Test`] | 360 | the accuracy that is reported after the run; no decision depends on it |
//!
//! The data is stored in flash and is never copied as a whole. The split does not depend on a seed, so runs with
//! different seeds are comparable.
//!
//! ```
//! use digits_workload::data::{self, Split};
//!
//! let first = data::image(0).unwrap();
//! assert_eq!(first.label(), 0);
//! assert_eq!(first.pixels()[..4], [0, 0, 5, 13]);
//! assert_eq!(first.scaled()[3], 13.0 / 16.0 - 0.5);
//! assert_eq!(first.centered()[3], 13 - 8);
//! assert!(data::image(1797).is_none());
//!
//! assert_eq!(Split::ALL.map(Split::len), [1200, 237, 360]);
//! assert_eq!(Split::Test.images().count(), 360);
//! ```

use crate::random::Permutation;

/// Number of images in all three parts together.
pub const IMAGES: u32 = 1797;
/// Number of pixels of one image: 8 rows of 8 pixels.
pub const PIXELS: usize = 64;
/// Number of classes: the digits 0 to 9.
pub const CLASSES: usize = 10;
/// Largest pixel value. The value 0 is white, the largest value is black.
pub const PIXEL_MAX: u8 = 16;

/// Size of one record in bytes: the pixels, then the label.
const CAPACITY: usize = PIXELS + 1;

/// The content of the file. The length of the array makes a file of any other size a compile-time error.
static DIGITS: [u8; IMAGES as usize * CAPACITY] = *include_bytes!("../data/digits.bin");

/// One image and its label. The pixels stay in flash; this type only refers to them.
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

    /// The digit that the image shows, `0..=9`.
    pub const fn label(&self) -> u8 {
        self.label
    }

    /// The pixels as inputs of the network, `-0.5..=0.5`. The values are multiples of 1/16, so the conversion is exact.
    /// Inputs are centered around 0, because a network learns better from them than from inputs in `0.0..=1.0`.
    pub fn scaled(&self) -> [f32; PIXELS] {
        self.pixels.map(|pixel| f32::from(pixel) * (1.0 / PIXEL_MAX as f32) - 0.5)
    }

    /// The values of [`Image::scaled`] in units of 1/16, `-8..=8`: the inputs of a network with 8-bit weights.
    pub fn centered(&self) -> [i8; PIXELS] {
        self.pixels.map(|pixel| pixel.wrapping_sub(PIXEL_MAX / 2) as i8)
    }
}

/// The image at position `number` of the file, counted from 0. Returns `None` if `number` is [`IMAGES`] or more.
pub fn image(number: u32) -> Option<Image> {
    let start = usize::try_from(number).ok()?.checked_mul(CAPACITY)?;
    let record = DIGITS.get(start..)?.get(..CAPACITY)?;
    let (label, pixels) = record.split_last()?;
    Some(Image { pixels: pixels.try_into().ok()?, label: *label })
}

/// One of the three disjoint parts of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    /// Images from which gradients are computed.
    Train,
    /// Images whose loss decides which checkpoint is best and when the run stops.
    Validation,
    /// Held-out images, which are evaluated once after the run.
    Test,
}

impl Split {
    /// All three parts, in the order training, validation, test.
    pub const ALL: [Split; 3] = [Split::Train, Split::Validation, Split::Test];

    /// The permutation of all images. Its first 360 images are the test part, then the validation and training parts
    /// follow. The keys are 0 and 0; they were not selected by their results.
    const PERMUTATION: Permutation = Permutation::new(IMAGES, 0, 0);

    /// Start and length of this part in [`Split::PERMUTATION`].
    const fn range(self) -> (u32, u32) {
        match self {
            Split::Test => (0, 360),
            Split::Validation => (360, 237),
            Split::Train => (597, 1200),
        }
    }

    /// Number of images in this part. It is never 0, so there is no `is_empty`.
    #[expect(clippy::len_without_is_empty, reason = "no part is empty")]
    pub const fn len(self) -> u32 {
        self.range().1
    }

    /// The position in the file of image `index` of this part. Returns `None` if `index` is [`Split::len`] or more.
    pub fn number(self, index: u32) -> Option<u32> {
        let (first, len) = self.range();
        if index >= len {
            return None;
        }
        Self::PERMUTATION.at(first.checked_add(index)?)
    }

    /// Image `index` of this part. Returns `None` if `index` is [`Split::len`] or more.
    pub fn image(self, index: u32) -> Option<Image> {
        image(self.number(index)?)
    }

    /// All images of this part, in a fixed order.
    pub fn images(self) -> impl Iterator<Item = Image> {
        (0..self.len()).filter_map(move |index| self.image(index))
    }
}

/// The images of batch `offset` in `epoch`. The result depends only on the arguments, so a run can resume in the middle
/// of an epoch without a stored position.
///
/// `seed` and `epoch` select the image order. Batch `offset` contains the `batch` training images from position
/// `offset * batch` of that order. The last batch of an epoch is shorter if `batch` does not divide 1 200. A batch
/// after the last one is empty.
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
