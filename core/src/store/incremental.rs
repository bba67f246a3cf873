//! Saves in short operations. Between two operations, the program can continue the training or serve other tasks.
//!
//! A blocking save calls [`Store::create`], the writer and [`Store::commit`]. Each of them can take long: an erase of
//! one block of flash takes up to some hundred milliseconds. An incremental save calls the methods
//! of [`IncrementalStore`] instead. Each call performs at most one erase of a block, one write of a piece, or one step
//! of the commit. The operations and their order are those of the blocking save. Therefore, the guarantee
//! of [`Store`] is the same: until [`IncrementalStore::commit_next`] has returned `Ok(true)`, the checkpoint is not
//! committed, and all others are unchanged.
//!
//! [`BackgroundCheckpoint`](crate::handlers::model_checkpoint::BackgroundCheckpoint)
//! and [`SaveInPieces`](crate::handlers::model_checkpoint::SaveInPieces) call these methods.

use super::{Store, StreamSpec};
use crate::checkpoint::{Encoded, Header};

/// The unit of the pieces of a checkpoint, in bytes. Every supported write granule (the smallest unit that a flash can
/// write) divides it.
pub const PIECE_UNIT: usize = 32;

/// A store that can perform a save in short operations. All objects of a checkpoint are in one stream
/// ([`Store::has_stream_per_object`] is false).
///
/// ```
/// # use training_monitor::checkpoint::{Contents, Encoded, EncodeError, Header};
/// use training_monitor::store::{IncrementalStore, StreamSpec};
///
/// /// Saves a checkpoint that is encoded in `stream`, and calls `serve` between the operations.
/// fn save<S: IncrementalStore>(
///     store: &mut S,
///     header: Header<'_>,
///     stream: &[u8],
///     encoded: Encoded,
///     mut serve: impl FnMut(),
/// ) -> Result<(), S::Error> {
///     let spec = StreamSpec { header, object: None, stream_index: 0, stream_count: 1, len: encoded.len };
///     let mut progress = store.begin(&spec)?;
///     while !store.prepare(&mut progress)? {
///         serve();
///     }
///     for piece in stream.chunks(256) {
///         store.write_piece(&mut progress, piece)?;
///         serve();
///     }
///     while !store.commit_next(&mut progress, &header, &encoded)? {
///         serve();
///     }
///     Ok(())
/// }
/// ```
pub trait IncrementalStore: Store {
    /// The progress of one save.
    type Progress;

    /// Selects a place for a new checkpoint. Performs no operation of the medium. If another checkpoint was started
    /// before and not committed, the store discards that checkpoint.
    ///
    /// # Errors
    /// Returns the error that [`Store::create`] would return, for example if there is no free place.
    fn begin(&mut self, spec: &StreamSpec<'_>) -> Result<Self::Progress, Self::Error>;

    /// Erases at most one block. Returns true if the place is ready for the first piece.
    ///
    /// # Errors
    /// Returns the error of the medium. As after a failed [`Store::create`], the caller
    /// can call [`Store::abandon_place`] and begin again.
    fn prepare(&mut self, progress: &mut Self::Progress) -> Result<bool, Self::Error>;

    /// Writes the next piece of the stream. The length of each piece except the last is a multiple of [`PIECE_UNIT`]
    /// bytes.
    ///
    /// # Errors
    /// Returns the error of the medium, or an error if the pieces are longer than the announced stream, or if another
    /// save was started since [`begin`](Self::begin).
    fn write_piece(&mut self, progress: &mut Self::Progress, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Performs the next step of the commit, after the last piece. Returns true if the checkpoint is committed. Pass the
    /// same arguments as to [`Store::commit`] in each call.
    ///
    /// # Errors
    /// Returns the error of the medium. As after a failed [`Store::commit`], it is unknown whether the checkpoint is
    /// committed.
    fn commit_next(
        &mut self,
        progress: &mut Self::Progress,
        header: &Header<'_>,
        last: &Encoded,
    ) -> Result<bool, Self::Error>;
}

/// A `&mut` reference to a store is a store, too.
impl<S: IncrementalStore> IncrementalStore for &mut S {
    type Progress = S::Progress;

    fn begin(&mut self, spec: &StreamSpec<'_>) -> Result<S::Progress, S::Error> {
        (**self).begin(spec)
    }
    fn prepare(&mut self, progress: &mut S::Progress) -> Result<bool, S::Error> {
        (**self).prepare(progress)
    }
    fn write_piece(&mut self, progress: &mut S::Progress, bytes: &[u8]) -> Result<(), S::Error> {
        (**self).write_piece(progress, bytes)
    }
    fn commit_next(
        &mut self,
        progress: &mut S::Progress,
        header: &Header<'_>,
        last: &Encoded,
    ) -> Result<bool, S::Error> {
        (**self).commit_next(progress, header, last)
    }
}
