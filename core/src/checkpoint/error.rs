//! What can go wrong between a checkpoint and its bytes: one enum for each direction, an I/O error with its cause.

use super::VERSION;
use core::fmt;

/// Why a checkpoint could not be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum EncodeError<E> {
    /// The writer's own error.
    Io(E),
    /// The writer took nothing without an error.
    WriteZero,
    /// No objects to checkpoint were found.
    NoObjects,
    /// The name of an object or a tensor is empty, longer than [`MAX_NAME`](super::MAX_NAME) bytes, or has a path
    /// separator or a control character.
    Name,
    /// A tensor's shape has more than [`MAX_RANK`](super::MAX_RANK) dimensions, or its product is not the tensor's length.
    Shape,
    /// More than [`MAX_ITEMS`](super::MAX_ITEMS) tensors and values.
    TooManyItems,
    /// The stream would be longer than 4 GiB.
    TooLong,
    /// A tensor holds a NaN or an infinity.
    NonFinite,
    /// A value that postcard cannot write: a sequence that does not know its length.
    Value,
    /// The states of the run's handlers do not fit into their record.
    RecordFull,
}

impl EncodeError<()> {
    /// With the writer's own error; without one it took nothing.
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
            EncodeError::RecordFull => EncodeError::RecordFull,
        }
    }
}

impl<E: fmt::Display> fmt::Display for EncodeError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EncodeError::Io(error) => write!(f, "the checkpoint could not be written: {error}"),
            EncodeError::WriteZero => f.write_str("the writer took no bytes"),
            EncodeError::NoObjects => f.write_str("no objects to checkpoint found"),
            EncodeError::Name => {
                f.write_str("the name of an object or a tensor is empty, too long, or has a path separator")
            }
            EncodeError::Shape => f.write_str("a tensor's shape does not give its length"),
            EncodeError::TooManyItems => f.write_str("too many tensors and values for one checkpoint"),
            EncodeError::TooLong => f.write_str("the checkpoint would be longer than 4 GiB"),
            EncodeError::NonFinite => f.write_str("a tensor holds a NaN or an infinity"),
            EncodeError::Value => f.write_str("an object cannot be written by postcard"),
            EncodeError::RecordFull => f.write_str("the states of the handlers do not fit into the run's record"),
        }
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

/// Why bytes are not a checkpoint that can be loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum DecodeError<E> {
    /// The reader's own error.
    Io(E),
    /// The bytes end before the checkpoint does.
    Truncated,
    /// It does not begin as a checkpoint does.
    NotACheckpoint,
    /// It is of another version of the format.
    Version {
        /// That version.
        found: u8,
    },
    /// Its structure cannot be one that was written.
    Malformed,
    /// The checksum is wrong: bytes were changed.
    Checksum,
    /// A tensor has another length than the one to load into.
    Length {
        /// Which of the tensors and values to load into, from 0 in the order of the visit.
        item: u32,
        /// Elements to load into.
        expected: u32,
        /// Elements in the checkpoint.
        found: u32,
    },
    /// A tensor or value that is to be loaded is not there.
    Missing {
        /// Which of the tensors and values to load into, from 0 in the order of the visit.
        item: u32,
    },
    /// A value's strings and byte arrays have more than 64 bytes together.
    ValueTooLarge,
}

impl DecodeError<()> {
    /// With the reader's own error.
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
        }
    }
}

impl<E: fmt::Display> fmt::Display for DecodeError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Io(error) => write!(f, "the checkpoint could not be read: {error}"),
            DecodeError::Truncated => f.write_str("the checkpoint is cut short"),
            DecodeError::NotACheckpoint => f.write_str("not a checkpoint"),
            DecodeError::Version { found } => {
                write!(f, "format version {found} is not the version {VERSION} that this program reads")
            }
            DecodeError::Malformed => f.write_str("the checkpoint is malformed"),
            DecodeError::Checksum => f.write_str("the checkpoint's checksum is wrong"),
            DecodeError::Length { item, expected, found } => {
                write!(f, "tensor {item} has {expected} elements, the checkpoint has {found}")
            }
            DecodeError::Missing { item } => write!(f, "tensor or value {item} is not in the checkpoint"),
            DecodeError::ValueTooLarge => f.write_str("a value's strings are too long to be loaded"),
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
