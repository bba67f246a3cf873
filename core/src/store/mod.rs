//! Where checkpoints go.
//!
//! A [`Store`] opens a place for a new checkpoint, makes what was written there count ([`Store::commit`]), lists what
//! counts, reads and removes it. It knows nothing of ranking: what goes is decided by
//! [`ModelCheckpoint`](crate::ModelCheckpoint), which removes only after the commit. So a store for `n_saved`
//! checkpoints needs n_saved + 1 places.
//!
//! The promise that every store makes: *a checkpoint that [`Store::commit`] returned Ok for is listed and readable after
//! any power cut, until it is removed; one that was not committed is not listed, or listed whole.*
//!
//! Here: [`ram`], for tests and for devices with battery-backed RAM; `slots`, NOR flash (feature `nor-flash`). The std
//! adapter has a directory.

pub mod ram;
#[cfg(feature = "nor-flash")]
#[cfg_attr(docsrs, doc(cfg(feature = "nor-flash")))]
pub mod slots;

use crate::checkpoint::{Checksum, Encoded, Header};
use embedded_io::{Read, Write};

/// A checkpoint that is committed.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Stored {
    /// Its step number, by which the store knows it.
    pub step: u32,
    /// Counts commits: the highest is the newest.
    pub sequence: u32,
    /// The engine's iteration when it was taken.
    pub iteration: u32,
    /// Its signed score.
    pub score: Option<f32>,
}

impl From<&Header<'_>> for Stored {
    fn from(header: &Header<'_>) -> Self {
        Stored { step: header.step, sequence: header.sequence, iteration: header.iteration, score: header.score }
    }
}

/// What a store is told of a stream before it is written.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// Step, sequence, score.
    pub header: Header<'a>,
    /// The object, where a checkpoint has [a stream for each](Store::STREAM_PER_OBJECT).
    pub object: Option<&'a str>,
    /// Which of the checkpoint's streams this is, from 0.
    pub part: u32,
    /// How many streams the checkpoint has.
    pub parts: u32,
    /// The exact length in bytes.
    pub len: u32,
}

/// A place for checkpoints.
pub trait Store {
    /// What can go wrong.
    type Error: embedded_io::Error;
    /// Takes the bytes of one stream.
    type Writer<'a>: Write<Error = Self::Error>
    where
        Self: 'a;
    /// Gives them back.
    type Reader<'a>: Read<Error = Self::Error>
    where
        Self: 'a;
    /// How its streams are summed: [`Crc32`](crate::checkpoint::Crc32), or something faster that gives the same sums.
    type Checksum: Checksum;

    /// Whether each object of a checkpoint is written to a stream of its own, as a directory has a file an object.
    const STREAM_PER_OBJECT: bool = false;
    /// Whether 16 KiB of stack may be used to read faster.
    const LARGE_BUFFER: bool = false;

    /// Opens a place for a stream. A checkpoint that was begun before and not committed is given up.
    ///
    /// # Errors
    /// The store's: no room, no permission, a device that failed. What is committed is untouched.
    fn create(&mut self, opening: &Opening<'_>) -> Result<Self::Writer<'_>, Self::Error>;

    /// Makes the checkpoint whose streams were just written count, all at once. In place of one of the same step.
    /// `last` is what was written to its last stream.
    ///
    /// # Errors
    /// The store's. Whether the checkpoint counts is then known only after the next opening.
    fn commit(&mut self, header: &Header<'_>, last: &Encoded) -> Result<(), Self::Error>;

    /// The `index`-th committed checkpoint, from the oldest to the newest, `None` beyond the last.
    ///
    /// # Errors
    /// The store's.
    fn stored(&mut self, index: u32) -> Result<Option<Stored>, Self::Error>;

    /// How many streams the checkpoint of `step` has; 0 when it is not committed.
    ///
    /// # Errors
    /// The store's.
    fn parts(&mut self, step: u32) -> Result<u32, Self::Error>;

    /// Whether the checkpoint of `step` has its place for good. False for one whose commit was cut short and that came
    /// out whole nevertheless, if the store may give it up for the next: a run that goes on from it saves it again.
    fn is_firm(&mut self, step: u32) -> bool {
        let _ = step;
        true
    }

    /// Opens a stream of the checkpoint of `step` for reading, from its beginning.
    ///
    /// # Errors
    /// The store's; `NotFound` for one that is not committed.
    fn open(&mut self, step: u32, part: u32) -> Result<Self::Reader<'_>, Self::Error>;

    /// Gives up the place of the checkpoint of `step`. One that is not there is removed already.
    ///
    /// # Errors
    /// The store's; it may be tried again.
    fn remove(&mut self, step: u32) -> Result<(), Self::Error>;
}

/// A store can be lent.
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

    fn create(&mut self, opening: &Opening<'_>) -> Result<Self::Writer<'_>, Self::Error> {
        (**self).create(opening)
    }
    fn commit(&mut self, header: &Header<'_>, last: &Encoded) -> Result<(), Self::Error> {
        (**self).commit(header, last)
    }
    fn stored(&mut self, index: u32) -> Result<Option<Stored>, Self::Error> {
        (**self).stored(index)
    }
    fn parts(&mut self, step: u32) -> Result<u32, Self::Error> {
        (**self).parts(step)
    }
    fn is_firm(&mut self, step: u32) -> bool {
        (**self).is_firm(step)
    }
    fn open(&mut self, step: u32, part: u32) -> Result<Self::Reader<'_>, Self::Error> {
        (**self).open(step, part)
    }
    fn remove(&mut self, step: u32) -> Result<(), Self::Error> {
        (**self).remove(step)
    }
}
