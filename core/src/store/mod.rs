//! Stores, which keep checkpoints in memory, in flash or in files.
//!
//! A [`Store`] writes, lists, reads and removes checkpoints. A new checkpoint is listed only after it is committed
//! with [`Store::commit`]. A store does not rank its checkpoints: [`ModelCheckpoint`](crate::ModelCheckpoint) decides
//! which checkpoint is removed. It removes an old checkpoint only after the commit of the new one. Therefore, a store
//! for `n_saved` checkpoints needs room for `n_saved + 1` checkpoints.
//!
//! A store can contain checkpoints of several [series](crate::checkpoint::Series), for example after the program has changed. The
//! sequence number identifies a checkpoint within its store. Step numbers are unique only within a series.
//!
//! Every store guarantees: *if [`Store::commit`] returned `Ok`, the checkpoint is listed and readable after any power
//! failure, until it is removed. If the commit did not return `Ok`, the checkpoint is either not listed, or it is
//! listed and complete.*
//!
//! This crate contains three stores: [`ram`] for tests and battery-backed RAM, `flash` for NOR flash (feature
//! `nor-flash`), and `byte_addressable` for FRAM, MRAM and EEPROM (feature `byte-addressable`). The crate
//! `training-monitor-std` contains a store for directories.

#[cfg(feature = "byte-addressable")]
#[cfg_attr(docsrs, doc(cfg(feature = "byte-addressable")))]
pub mod byte_addressable;
#[cfg(feature = "nor-flash")]
#[cfg_attr(docsrs, doc(cfg(feature = "nor-flash")))]
pub mod flash;
mod incremental;
pub mod ram;

pub use crate::checkpoint::SeriesId;
use crate::checkpoint::{Checksum, Encoded, Header};
pub use crate::handler::Wear;
use embedded_io::{Read, Write};
pub use incremental::{IncrementalStore, PIECE_UNIT};

/// The metadata of a committed checkpoint.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct CheckpointMeta {
    /// The sequence number. It identifies the checkpoint within its store. Each new checkpoint in a store gets a higher
    /// number.
    pub sequence: u32,
    /// The step number. It identifies the checkpoint within its series.
    pub step: u32,
    /// The number of the run that saved the checkpoint. A newer run has a higher number. The number is 0 if the
    /// checkpoint was saved without an engine.
    pub run: u32,
    /// The engine's iteration in which the checkpoint was saved.
    pub iteration: u32,
    /// The score, which can be negative; `None` if there is no score.
    pub score: Option<f32>,
    /// The series to which the checkpoint belongs.
    pub series: SeriesId,
}

impl CheckpointMeta {
    /// Returns whether a save of the checkpoint `newer` replaces this checkpoint. This is the case if both have the
    /// same step number in the same series.
    #[must_use]
    pub fn is_replaced_by(&self, newer: &CheckpointMeta) -> bool {
        self.step == newer.step && self.series == newer.series && self.sequence != newer.sequence
    }
}

impl From<&Header<'_>> for CheckpointMeta {
    fn from(header: &Header<'_>) -> Self {
        CheckpointMeta {
            sequence: header.sequence,
            step: header.step,
            run: header.run,
            iteration: header.iteration,
            score: header.score.filter(|score| !score.is_nan()),
            series: header.series_id(),
        }
    }
}

/// The description of a stream that will be written. A stream is a sequence of bytes that contains one or all objects
/// of a checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct StreamSpec<'a> {
    /// The header of the checkpoint, which contains for example its step number and its score.
    pub header: Header<'a>,
    /// The name of the object in the stream, if the store uses [one stream per object](Store::has_stream_per_object).
    /// `None` if all objects are in one stream.
    pub object: Option<&'a str>,
    /// The index of the stream within the checkpoint, starting at 0.
    pub stream_index: u32,
    /// The number of streams of the checkpoint.
    pub stream_count: u32,
    /// The exact length of the stream, in bytes.
    pub len: u32,
}

/// A medium that keeps checkpoints, such as flash or a directory.
pub trait Store {
    /// The error type of the medium, for example of the flash driver.
    type Error: embedded_io::Error;
    /// The writer for one stream, which is a sequence of bytes such as a file.
    type Writer<'a>: Write<Error = Self::Error>
    where
        Self: 'a;
    /// The reader for one stream, which is a sequence of bytes such as a file.
    type Reader<'a>: Read<Error = Self::Error>
    where
        Self: 'a;
    /// The type that computes checksums for this store, usually [`Crc32`](crate::checkpoint::Crc32). Another type must
    /// compute the same values, but may be faster.
    type Checksum: Checksum;

    /// Whether a read may use 16 KiB of stack to be faster.
    const LARGE_BUFFER: bool = false;

    /// How many checkpoints the store can contain at the same time, including one that is being written. The default is
    /// unlimited. A handler that keeps `n_saved` checkpoints needs `n_saved + 1` places.
    const PLACES: u32 = u32::MAX;
    /// Whether checkpoints can disappear while the store is open, for example because another program removes files. If
    /// true, a handler that ranks checkpoints calls [`stream_count`](Self::stream_count) before it rejects a score.
    const SHARED: bool = false;

    /// Returns whether each object of a checkpoint is written to its own stream, for example to its own file in a
    /// directory. The result never changes while the store is open. The default is `false`.
    fn has_stream_per_object(&self) -> bool {
        false
    }

    /// Returns how many of the [`PLACES`](Self::PLACES) can be used. The number is lower after a part of the medium has
    /// failed. A handler then keeps fewer checkpoints, but at least one.
    fn capacity(&mut self) -> u32 {
        Self::PLACES
    }

    /// Returns the wear of the memory. The default is 0, for a memory that does not wear out.
    fn wear(&mut self) -> Wear {
        Wear::default()
    }

    /// Checks whether the store could write the stream `spec`. Changes nothing. The engine calls this method before a
    /// run starts, so that a limit is reported at once and not at the first save.
    ///
    /// # Errors
    /// Returns the error that [`create`](Self::create) would return, for example if the stream is too long.
    fn check(&mut self, spec: &StreamSpec<'_>) -> Result<(), Self::Error> {
        let _ = spec;
        Ok(())
    }

    /// Starts a stream of a checkpoint, and returns a writer for it. If another checkpoint was started before and not
    /// committed, the store discards that checkpoint.
    ///
    /// # Errors
    /// Returns the error of the medium, for example if there is no free space. Committed checkpoints are unchanged in
    /// this case.
    fn create(&mut self, spec: &StreamSpec<'_>) -> Result<Self::Writer<'_>, Self::Error>;

    /// Handles a failed save: the caller has received an error from [`create`](Self::create), from the writer or
    /// from [`commit`](Self::commit). Returns true if the store can write the same checkpoint to another place. The
    /// caller then repeats the save.
    ///
    /// A store with several places excludes the failed place from further saves. The default returns false.
    fn abandon_place(&mut self) -> bool {
        false
    }

    /// Commits the checkpoint that was written last, as one atomic operation. The new checkpoint replaces a checkpoint
    /// of the same series with the same step number. `last` contains the length and the checksum of the last stream.
    ///
    /// # Errors
    /// Returns the error of the medium. It is then unknown whether the checkpoint is committed. Open the store again to
    /// find out.
    fn commit(&mut self, header: &Header<'_>, last: &Encoded) -> Result<(), Self::Error>;

    /// Returns the metadata of a committed checkpoint, or `None` if `index` is too high. The checkpoints are sorted by
    /// sequence number: the oldest checkpoint has the index 0.
    ///
    /// # Errors
    /// Returns the error of the medium, for example of the flash driver.
    fn checkpoint(&mut self, index: u32) -> Result<Option<CheckpointMeta>, Self::Error>;

    /// Returns the number of streams of the checkpoint with this sequence number, or 0 if it does not exist (any more).
    ///
    /// # Errors
    /// Returns the error of the medium, for example of the flash driver.
    fn stream_count(&mut self, sequence: u32) -> Result<u32, Self::Error>;

    /// Returns the number of checkpoints that opening could not list because they are damaged or unreadable. A store
    /// need not count a damaged checkpoint that is older than the newest listed one.
    fn damaged(&mut self) -> u32 {
        0
    }

    /// Returns whether the commit of the checkpoint with this sequence number is complete. The result is false if a
    /// power failure interrupted the commit but the checkpoint is readable. The next save may overwrite such
    /// a checkpoint, so a run that resumes from it must save it again.
    fn is_durable(&mut self, sequence: u32) -> bool {
        let _ = sequence;
        true
    }

    /// Opens a stream of the checkpoint with this sequence number. The returned reader starts at the first byte.
    ///
    /// # Errors
    /// Returns the error of the medium. The error has the kind `NotFound` if the checkpoint is not committed.
    fn open(&mut self, sequence: u32, stream_index: u32) -> Result<Self::Reader<'_>, Self::Error>;

    /// Removes the checkpoint with this sequence number. Returns `Ok` if there is no such checkpoint. A store may list
    /// the checkpoint again after it is opened the next time.
    ///
    /// # Errors
    /// Returns the error of the medium. The caller may try again.
    fn remove(&mut self, sequence: u32) -> Result<(), Self::Error>;

    /// Removes the checkpoint with this sequence number permanently: the store does not list it after it is opened the
    /// next time. Returns `Ok` if there is no such checkpoint. The default calls [`remove`](Self::remove).
    ///
    /// # Errors
    /// Returns the error of the medium. The caller may try again.
    fn erase(&mut self, sequence: u32) -> Result<(), Self::Error> {
        self.remove(sequence)
    }
}

/// A `&mut` reference to a store is a store, too. A handler can therefore borrow a store instead of owning it.
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

    const LARGE_BUFFER: bool = S::LARGE_BUFFER;
    const PLACES: u32 = S::PLACES;
    const SHARED: bool = S::SHARED;

    fn has_stream_per_object(&self) -> bool {
        (**self).has_stream_per_object()
    }
    fn capacity(&mut self) -> u32 {
        (**self).capacity()
    }
    fn wear(&mut self) -> Wear {
        (**self).wear()
    }
    fn check(&mut self, spec: &StreamSpec<'_>) -> Result<(), Self::Error> {
        (**self).check(spec)
    }
    fn create(&mut self, spec: &StreamSpec<'_>) -> Result<Self::Writer<'_>, Self::Error> {
        (**self).create(spec)
    }
    fn abandon_place(&mut self) -> bool {
        (**self).abandon_place()
    }
    fn commit(&mut self, header: &Header<'_>, last: &Encoded) -> Result<(), Self::Error> {
        (**self).commit(header, last)
    }
    fn checkpoint(&mut self, index: u32) -> Result<Option<CheckpointMeta>, Self::Error> {
        (**self).checkpoint(index)
    }
    fn stream_count(&mut self, sequence: u32) -> Result<u32, Self::Error> {
        (**self).stream_count(sequence)
    }
    fn damaged(&mut self) -> u32 {
        (**self).damaged()
    }
    fn is_durable(&mut self, sequence: u32) -> bool {
        (**self).is_durable(sequence)
    }
    fn open(&mut self, sequence: u32, stream_index: u32) -> Result<Self::Reader<'_>, Self::Error> {
        (**self).open(sequence, stream_index)
    }
    fn remove(&mut self, sequence: u32) -> Result<(), Self::Error> {
        (**self).remove(sequence)
    }
    fn erase(&mut self, sequence: u32) -> Result<(), Self::Error> {
        (**self).erase(sequence)
    }
}
