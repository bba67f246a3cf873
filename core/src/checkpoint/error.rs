//! The errors of writing and reading a checkpoint.

use super::format::VERSION;
use core::fmt;

/// Why a checkpoint could not be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum EncodeError<E> {
    /// The writer or the store returned this error.
    Io(E),
    /// The writer accepted no bytes and reported no error.
    WriteZero,
    /// The checkpoint has no object.
    NoObjects,
    /// The name of an object or a tensor is not valid. A name has 1 to [`MAX_NAME`](super::MAX_NAME) bytes, and
    /// contains no slash, backslash or control character. The full name of a tensor in a nested module, such as
    /// `hidden.weight`, must follow this rule.
    Name,
    /// The shape of a tensor is not valid. It has more than [`MAX_RANK`](super::MAX_RANK) dimensions, or the product of
    /// the dimensions is not the number of elements.
    Shape,
    /// The checkpoint contains more than [`MAX_ITEMS`](super::MAX_ITEMS) tensors and values. A value is an object that
    /// is saved as a whole.
    TooManyItems,
    /// The checkpoint would be longer than 4 GiB.
    TooLong,
    /// A tensor contains a NaN or an infinity.
    NonFinite,
    /// The `postcard` crate cannot serialize an object, for example because the object contains a sequence of unknown
    /// length.
    Value,
    /// The model could not access the elements of a tensor, and
    /// returned [`TensorUnavailable`](super::TensorUnavailable).
    Unavailable,
    /// The states of all handlers together do not fit into the run record, which has room for 128 bytes.
    RunRecordFull,
}

impl EncodeError<()> {
    /// Replaces `Io(())` with the actual error of the writer. If `io` is `None`, the writer accepted no bytes and
    /// returned no error. The result is `WriteZero` in this case.
    pub(super) fn with_io<E>(self, io: Option<E>) -> EncodeError<E> {
        match self {
            EncodeError::Io(()) => io.map_or(EncodeError::WriteZero, EncodeError::Io),
            EncodeError::WriteZero => EncodeError::WriteZero,
            EncodeError::NoObjects => EncodeError::NoObjects,
            EncodeError::Name => EncodeError::Name,
            EncodeError::Shape => EncodeError::Shape,
            EncodeError::TooManyItems => EncodeError::TooManyItems,
            EncodeError::TooLong => EncodeError::TooLong,
            EncodeError::NonFinite => EncodeError::NonFinite,
            EncodeError::Value => EncodeError::Value,
            EncodeError::Unavailable => EncodeError::Unavailable,
            EncodeError::RunRecordFull => EncodeError::RunRecordFull,
        }
    }
}

impl<E: fmt::Display> fmt::Display for EncodeError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EncodeError::Io(error) => return write!(f, "the checkpoint could not be written: {error}"),
            EncodeError::WriteZero => "the writer accepted no bytes of the checkpoint",
            EncodeError::NoObjects => "the checkpoint contains no object",
            EncodeError::Name => {
                "the name of an object or a tensor must have 1 to 32 bytes, without path separators and control characters"
            }
            EncodeError::Shape => "the shape of a tensor does not match its number of elements",
            EncodeError::TooManyItems => "the checkpoint contains more than 256 tensors and values",
            EncodeError::TooLong => "the checkpoint would be longer than 4 GiB",
            EncodeError::NonFinite => "a tensor contains a NaN or an infinity",
            EncodeError::Value => "postcard cannot serialise a value of the checkpoint",
            EncodeError::Unavailable => "the elements of a tensor are not available",
            EncodeError::RunRecordFull => "the states of the handlers do not fit into the run record",
        })
    }
}

impl<E: core::error::Error + 'static> core::error::Error for EncodeError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            EncodeError::Io(error) => Some(error),
            _ => None,
        }
    }
}

/// Why a checkpoint could not be loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum DecodeError<E> {
    /// The reader or the store returned this error.
    Io(E),
    /// The data ends before the checkpoint is complete.
    Truncated,
    /// The data is not a checkpoint, because it does not start with the bytes "TMCK".
    NotACheckpoint,
    /// The checkpoint has a format version that this crate cannot read.
    Version {
        /// The format version of the checkpoint.
        found: u8,
    },
    /// The checkpoint has an invalid structure.
    Malformed,
    /// The checksum of the checkpoint does not match its bytes.
    Checksum,
    /// A tensor has a different number of elements in the checkpoint than in the model.
    Length {
        /// The number of the tensor. The tensors and values of the model are numbered from 0, in the order in which the
        /// model lists them.
        item: u32,
        /// The number of elements in the model.
        expected: u32,
        /// The number of elements in the checkpoint.
        found: u32,
    },
    /// A tensor or value of the model is missing in the checkpoint.
    Missing {
        /// The number of the tensor or value. The tensors and values of the model are numbered from 0, in the order in
        /// which the model lists them.
        item: u32,
    },
    /// A value cannot be loaded, because its strings and byte arrays have more than 64 bytes in total.
    ValueTooLarge,
    /// A tensor of the model is read-only.
    ReadOnly {
        /// The number of the tensor. The tensors and values of the model are numbered from 0, in the order in which the
        /// model lists them.
        item: u32,
    },
    /// The model could not access the elements of a tensor, and
    /// returned [`TensorUnavailable`](super::TensorUnavailable).
    Unavailable,
}

impl DecodeError<()> {
    /// Replaces `Io(())` with the actual error of the reader. If `io` is `None`, the reader returned no error but had
    /// too few bytes. The result is `Truncated` in this case.
    pub(super) fn with_io<E>(self, io: Option<E>) -> DecodeError<E> {
        match self {
            DecodeError::Io(()) => io.map_or(DecodeError::Truncated, DecodeError::Io),
            DecodeError::Truncated => DecodeError::Truncated,
            DecodeError::NotACheckpoint => DecodeError::NotACheckpoint,
            DecodeError::Version { found } => DecodeError::Version { found },
            DecodeError::Malformed => DecodeError::Malformed,
            DecodeError::Checksum => DecodeError::Checksum,
            DecodeError::Length { item, expected, found } => DecodeError::Length { item, expected, found },
            DecodeError::Missing { item } => DecodeError::Missing { item },
            DecodeError::ValueTooLarge => DecodeError::ValueTooLarge,
            DecodeError::ReadOnly { item } => DecodeError::ReadOnly { item },
            DecodeError::Unavailable => DecodeError::Unavailable,
        }
    }
}

impl<E: fmt::Display> fmt::Display for DecodeError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Io(error) => write!(f, "the checkpoint could not be read: {error}"),
            DecodeError::Truncated => f.write_str("the checkpoint is truncated"),
            DecodeError::NotACheckpoint => f.write_str("the data is not a checkpoint"),
            DecodeError::Version { found } => {
                write!(f, "the checkpoint has format version {found}; this program reads version {VERSION}")
            }
            DecodeError::Malformed => f.write_str("the checkpoint is malformed"),
            DecodeError::Checksum => f.write_str("the checksum of the checkpoint does not match its bytes"),
            DecodeError::Length { item, expected, found } => write!(
                f,
                "tensor number {item} of the model has {expected} elements, but the checkpoint contains {found}"
            ),
            DecodeError::Missing { item } => {
                write!(f, "the checkpoint does not contain tensor or value number {item} of the model")
            }
            DecodeError::ValueTooLarge => {
                f.write_str("the strings and byte arrays of a value have more than 64 bytes in total")
            }
            DecodeError::ReadOnly { item } => {
                write!(f, "tensor number {item} of the model is read-only, so the checkpoint cannot be loaded into it")
            }
            DecodeError::Unavailable => f.write_str("the elements of a tensor of the model are not available"),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for DecodeError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            DecodeError::Io(error) => Some(error),
            _ => None,
        }
    }
}
