//! The error of a buffer for copies of checkpoints.

use core::fmt;

/// The buffer of a [`BackgroundCheckpoint`](super::BackgroundCheckpoint) is shorter than a checkpoint can be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct CopyTooSmall {
    /// The greatest length of a checkpoint, in bytes.
    pub required: u32,
    /// The length of the buffer, in bytes.
    pub capacity: usize,
}

impl fmt::Display for CopyTooSmall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CopyTooSmall { required, capacity } = self;
        write!(f, "the buffer for the copy of a checkpoint has {capacity} bytes, but a checkpoint needs {required}")
    }
}

impl core::error::Error for CopyTooSmall {}
