//! Stores: where checkpoints are kept.
//!
//! A [`Store`] opens a place for a new checkpoint, commits it ([`Store::commit`]), lists the committed checkpoints, reads
//! them and removes them. It does not rank. [`ModelCheckpoint`](crate::ModelCheckpoint) decides which checkpoint is
//! evicted, and removes it only after the commit of the next one. Therefore a store for `n_saved` checkpoints needs
//! `n_saved + 1` places.
//!
//! Every store guarantees: *if [`Store::commit`] returned Ok, the checkpoint is listed and readable after any power
//! failure, until it is removed. A checkpoint whose commit did not return Ok is either not listed, or listed and
//! complete.*
//!
//! This crate contains [`ram`], for tests and battery-backed RAM, and `flash`, for NOR flash (feature `nor-flash`). The
//! crate `training-monitor-std` contains a store for directories.

#[cfg(feature = "nor-flash")]
#[cfg_attr(docsrs, doc(cfg(feature = "nor-flash")))]
pub mod flash;
pub mod ram;

use crate::checkpoint::{Checksum, Encoded, Header};
use embedded_io::{Read, Write};

/// The metadata of a committed checkpoint.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct CheckpointMeta {
    /// The step number, which identifies the checkpoint in its store.
    pub step: u32,
    /// The number of the commit. The highest number is the newest commit.
    pub sequence: u32,
    /// The engine's iteration.
    pub iteration: u32,
    /// The signed score.
    pub score: Option<f32>,
}

impl From<&Header<'_>> for CheckpointMeta {
    fn from(header: &Header<'_>) -> Self {
        CheckpointMeta {
            step: header.step,
            sequence: header.sequence,
            iteration: header.iteration,
            score: header.score,
        }
    }
}

/// The description of a stream that is about to be written.
#[derive(Clone, Copy, Debug)]
pub struct StreamSpec<'a> {
    /// Step, sequence and score of the checkpoint.
    pub header: Header<'a>,
    /// The name of the object in the stream, if the store uses [one stream per object](Store::STREAM_PER_OBJECT).
    pub object: Option<&'a str>,
    /// The index of the stream within the checkpoint.
    pub stream_index: u32,
    /// The number of streams of the checkpoint.
    pub stream_count: u32,
    /// The exact length of the stream, in bytes.
    pub len: u32,
}

/// A place for checkpoints.
pub trait Store {
    /// The error of the medium.
    type Error: embedded_io::Error;
    /// Writes one stream.
    type Writer<'a>: Write<Error = Self::Error>
    where
        Self: 'a;
    /// Reads one stream.
    type Reader<'a>: Read<Error = Self::Error>
    where
        Self: 'a;
    /// The implementation of the checksum: [`Crc32`](crate::checkpoint::Crc32), or a faster one with the same values.
    type Checksum: Checksum;

    /// Whether each object of a checkpoint has its own stream, as in a directory with one file per object.
    const STREAM_PER_OBJECT: bool = false;
    /// Whether a read may use 16 KiB of stack to be faster.
    const LARGE_BUFFER: bool = false;

    /// Opens a place for a stream. Discards a checkpoint that was started before and not committed.
    ///
    /// # Errors
    /// The error of the medium, such as a missing free place or permission. Committed checkpoints are unchanged.
    fn create(&mut self, spec: &StreamSpec<'_>) -> Result<Self::Writer<'_>, Self::Error>;

    /// Commits the checkpoint whose streams were written last, as one atomic operation. It replaces a checkpoint with the
    /// same step. `last` is the result of its last stream.
    ///
    /// # Errors
    /// The error of the medium. Whether the checkpoint is committed is then unknown until the store is opened again.
    fn commit(&mut self, header: &Header<'_>, last: &Encoded) -> Result<(), Self::Error>;

    /// The committed checkpoint number `index`, counted from the oldest to the newest; `None` after the last one.
    ///
    /// # Errors
    /// The error of the medium.
    fn checkpoint(&mut self, index: u32) -> Result<Option<CheckpointMeta>, Self::Error>;

    /// The number of streams of the checkpoint of `step`; 0 if it is not committed.
    ///
    /// # Errors
    /// The error of the medium.
    fn stream_count(&mut self, step: u32) -> Result<u32, Self::Error>;

    /// Whether the checkpoint of `step` keeps its place until it is removed. False if its commit was interrupted but the
    /// checkpoint is readable. The store may reuse its place for the next save, so a run that resumes from it must save
    /// it again.
    fn is_durable(&mut self, step: u32) -> bool {
        let _ = step;
        true
    }

    /// Opens a stream of the checkpoint of `step` for reading from its first byte.
    ///
    /// # Errors
    /// The error of the medium; kind `NotFound` if the checkpoint is not committed.
    fn open(&mut self, step: u32, stream_index: u32) -> Result<Self::Reader<'_>, Self::Error>;

    /// Removes the checkpoint of `step`. Returns Ok if there is no such checkpoint.
    ///
    /// # Errors
    /// The error of the medium. The caller may retry.
    fn remove(&mut self, step: u32) -> Result<(), Self::Error>;
}

/// A borrowed store is a store.
impl<S: Store> Store for &mut S {
    type Error = S::Error;
    type Writer<'a>
        = S::Writer<'a>
    where
        Self: 'a;
    type Reader<'a>
        = S::Reader<'a>
    where
        Self: 'a;
    type Checksum = S::Checksum;

    const STREAM_PER_OBJECT: bool = S::STREAM_PER_OBJECT;
    const LARGE_BUFFER: bool = S::LARGE_BUFFER;

    fn create(&mut self, spec: &StreamSpec<'_>) -> Result<Self::Writer<'_>, Self::Error> {
        (**self).create(spec)
    }
    fn commit(&mut self, header: &Header<'_>, last: &Encoded) -> Result<(), Self::Error> {
        (**self).commit(header, last)
    }
    fn checkpoint(&mut self, index: u32) -> Result<Option<CheckpointMeta>, Self::Error> {
        (**self).checkpoint(index)
    }
    fn stream_count(&mut self, step: u32) -> Result<u32, Self::Error> {
        (**self).stream_count(step)
    }
    fn is_durable(&mut self, step: u32) -> bool {
        (**self).is_durable(step)
    }
    fn open(&mut self, step: u32, stream_index: u32) -> Result<Self::Reader<'_>, Self::Error> {
        (**self).open(step, stream_index)
    }
    fn remove(&mut self, step: u32) -> Result<(), Self::Error> {
        (**self).remove(step)
    }
}
