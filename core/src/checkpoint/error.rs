//! The errors of writing and reading a checkpoint.

use super::element::ElementType;
use super::format::VERSION;
use super::names::{ItemName, MAX_NAME};
use super::objects::MAX_ITEMS;
use crate::run_record::RunRecordFull;
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
    /// The name of an object, a tensor, a score or a series is not valid. A name has 1
    /// to [`MAX_NAME`](super::MAX_NAME) bytes, and contains no slash, backslash or control character. The full name of a
    /// tensor in a nested module, such as `hidden.weight`, must follow this rule.
    Name {
        /// The beginning of the name. It is empty if the full name of a tensor is too long.
        name: ItemName,
    },
    /// Two objects, or two tensors of an object, have the same name.
    Duplicate {
        /// The name.
        name: ItemName,
    },
    /// The shape of a tensor is not valid. It has more than [`MAX_RANK`](super::MAX_RANK) dimensions, or the product of
    /// the dimensions is not the number of elements.
    Shape {
        /// The name of the tensor.
        name: ItemName,
    },
    /// The checkpoint contains more than [`MAX_ITEMS`](super::MAX_ITEMS) tensors and values. A value is an object that
    /// is saved as a whole.
    TooManyItems,
    /// The names of the metadata are not in ascending order.
    MetadataOrder {
        /// The first name that is not greater than its predecessor.
        name: ItemName,
    },
    /// The objects listed other tensors or values while they were written than while they were measured.
    Changed,
    /// The checkpoint would be longer than 4 GiB.
    TooLong,
    /// A tensor contains a NaN or an infinity.
    NonFinite {
        /// The name of the tensor.
        name: ItemName,
        /// The index of the first such element, in row-major order.
        index: u32,
    },
    /// A tensor of type `bool` contains a byte other than 0 and 1. Only bytes whose type is known at run time can.
    Bool {
        /// The name of the tensor.
        name: ItemName,
    },
    /// A value could not be loaded again. The `postcard` crate cannot serialize it, or what it serializes does not
    /// deserialize to the same value. This happens if the value contains a sequence of unknown length, or serde
    /// attributes such as `untagged`, `tag` or `skip_serializing_if`.
    Value {
        /// The name of the object.
        name: ItemName,
    },
    /// The strings and byte arrays of a value have more bytes in total than the scratch buffer, which has 64 bytes
    /// unless the program provides [another one](super::ObjectVisitor::value_with). Only without the feature `alloc`.
    ValueTooLarge {
        /// The name of the object.
        name: ItemName,
    },
    /// The model could not access the elements of a tensor, and
    /// returned [`TensorUnavailable`](super::TensorUnavailable).
    Unavailable,
    /// The states of all handlers do not fit into the run record. Choose a larger capacity
    /// with [`Engine::with_record_capacity`](crate::Engine::with_record_capacity).
    RunRecordFull(RunRecordFull),
    /// The store has too few places: to keep `n_saved` checkpoints, it needs one more.
    TooFewPlaces {
        /// The number of checkpoints to keep.
        n_saved: u32,
        /// The number of places in the store.
        places: u32,
    },
    /// The series contains a better checkpoint with the same step number. A worse checkpoint never replaces it.
    BetterExists,
    /// The store contains a checkpoint with the sequence number `u32::MAX`, so a newer one would have no number. Erase
    /// the store to save again.
    NoSequenceLeft,
}

impl<E> EncodeError<E> {
    /// Returns the error of the writer or the store.
    pub(crate) const fn io(&self) -> Option<&E> {
        if let EncodeError::Io(error) = self { Some(error) } else { None }
    }

    /// Replaces the error of the writer or the store with `io`. The result is `WriteZero` if `io` is `None`: the writer
    /// accepted no bytes and returned no error.
    #[inline(never)] // One copy of the code for each type of error.
    pub(crate) fn with_io<F>(&self, io: Option<F>) -> EncodeError<F> {
        match self {
            EncodeError::Io(_) => io.map_or(EncodeError::WriteZero, EncodeError::Io),
            EncodeError::WriteZero => EncodeError::WriteZero,
            EncodeError::NoObjects => EncodeError::NoObjects,
            EncodeError::Name { name } => EncodeError::Name { name: *name },
            EncodeError::Duplicate { name } => EncodeError::Duplicate { name: *name },
            EncodeError::Shape { name } => EncodeError::Shape { name: *name },
            EncodeError::TooManyItems => EncodeError::TooManyItems,
            EncodeError::MetadataOrder { name } => EncodeError::MetadataOrder { name: *name },
            EncodeError::Changed => EncodeError::Changed,
            EncodeError::TooLong => EncodeError::TooLong,
            EncodeError::NonFinite { name, index } => EncodeError::NonFinite { name: *name, index: *index },
            EncodeError::Bool { name } => EncodeError::Bool { name: *name },
            EncodeError::Value { name } => EncodeError::Value { name: *name },
            EncodeError::ValueTooLarge { name } => EncodeError::ValueTooLarge { name: *name },
            EncodeError::Unavailable => EncodeError::Unavailable,
            EncodeError::RunRecordFull(full) => EncodeError::RunRecordFull(*full),
            EncodeError::TooFewPlaces { n_saved, places } => {
                EncodeError::TooFewPlaces { n_saved: *n_saved, places: *places }
            }
            EncodeError::BetterExists => EncodeError::BetterExists,
            EncodeError::NoSequenceLeft => EncodeError::NoSequenceLeft,
        }
    }
}

impl<E: fmt::Display> fmt::Display for EncodeError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EncodeError::Io(error) => return write!(f, "the checkpoint could not be written: {error}"),
            EncodeError::WriteZero => "the writer accepted no bytes of the checkpoint",
            EncodeError::NoObjects => "the checkpoint contains no object",
            EncodeError::Name { name } => {
                return write!(
                    f,
                    "the name `{name}` is not valid: a name must have 1 to {MAX_NAME} bytes, without path separators \
                     and control characters"
                );
            }
            EncodeError::Duplicate { name } => return write!(f, "the checkpoint contains the name `{name}` twice"),
            EncodeError::Shape { name } => {
                return write!(f, "the shape of tensor `{name}` does not match its number of elements");
            }
            EncodeError::TooManyItems => {
                return write!(f, "the checkpoint contains more than {MAX_ITEMS} tensors and values");
            }
            EncodeError::MetadataOrder { name } => {
                return write!(f, "the metadata `{name}` must come before its predecessor, in the order of the bytes");
            }
            EncodeError::Changed => "the objects listed other tensors while they were written than before",
            EncodeError::TooLong => "the checkpoint would be longer than 4 GiB",
            EncodeError::NonFinite { name, index } => {
                return write!(f, "element {index} of tensor `{name}` is a NaN or an infinity");
            }
            EncodeError::Bool { name } => {
                return write!(f, "tensor `{name}` of type bool contains a byte other than 0 and 1");
            }
            EncodeError::Value { name } => {
                return write!(
                    f,
                    "value `{name}` could not be loaded again: it contains a sequence of unknown length, or serde \
                     attributes that postcard does not support"
                );
            }
            EncodeError::ValueTooLarge { name } => {
                return write!(f, "the strings and byte arrays of value `{name}` do not fit into the scratch buffer");
            }
            EncodeError::Unavailable => "the elements of a tensor are not available",
            EncodeError::RunRecordFull(full) => return full.fmt(f),
            EncodeError::TooFewPlaces { n_saved, places } => {
                return write!(
                    f,
                    "the store has {places} places; to keep {n_saved} checkpoints, it needs one more than that number"
                );
            }
            EncodeError::BetterExists => "the series contains a better checkpoint with the same step number",
            EncodeError::NoSequenceLeft => {
                "the sequence numbers of the store are used up; erase the store to save again"
            }
        })
    }
}

impl<E: core::error::Error + 'static> core::error::Error for EncodeError<E> {
    /// The message includes that of the cause, so the source is the cause of the cause.
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            EncodeError::Io(error) => error.source(),
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
    /// A tensor has a different number of dimensions in the checkpoint than in the model.
    Rank {
        /// The name of the tensor.
        name: ItemName,
        /// The number of dimensions in the model.
        expected: u32,
        /// The number of dimensions in the checkpoint.
        found: u32,
    },
    /// A dimension of a tensor is different in the checkpoint than in the model.
    Shape {
        /// The name of the tensor.
        name: ItemName,
        /// The number of the dimension, starting at 0.
        dimension: u32,
        /// The size of the dimension in the model.
        expected: u32,
        /// The size of the dimension in the checkpoint.
        found: u32,
    },
    /// The elements of a tensor have a different type in the checkpoint than in the model.
    ElementType {
        /// The name of the tensor.
        name: ItemName,
        /// The type in the model.
        expected: ElementType,
        /// The type in the checkpoint.
        found: ElementType,
    },
    /// The checkpoint contains a tensor of an object that the object of the model does not have.
    Unexpected {
        /// The name of the tensor.
        name: ItemName,
    },
    /// A name of the checkpoint is longer than the limit of this program, which is [`MAX_NAME`](super::MAX_NAME).
    NameTooLong,
    /// The model contains more than [`MAX_ITEMS`](super::MAX_ITEMS) tensors and values.
    TooManyItems,
    /// A tensor or value of the model is missing in the checkpoint.
    Missing {
        /// The name of the tensor or value.
        name: ItemName,
    },
    /// A value cannot be loaded, because its strings and byte arrays have more bytes in total than the scratch buffer.
    ValueTooLarge {
        /// The name of the value.
        name: ItemName,
    },
    /// A tensor of the model is read-only.
    ReadOnly {
        /// The name of the tensor.
        name: ItemName,
    },
    /// The model could not access the elements of a tensor, and
    /// returned [`TensorUnavailable`](super::TensorUnavailable).
    Unavailable,
    /// The checkpoint requires a feature that this version of the crate does not have. It was written by a newer
    /// version.
    Newer,
}

impl DecodeError<()> {
    /// Replaces `Io(())` with the actual error of the reader. If `io` is `None`, the reader returned no error but had
    /// too few bytes. The result is `Truncated` in this case.
    #[inline(never)] // One copy of the code for each type of error.
    pub(super) fn with_io<E>(&self, io: Option<E>) -> DecodeError<E> {
        match *self {
            DecodeError::Io(()) => io.map_or(DecodeError::Truncated, DecodeError::Io),
            DecodeError::Truncated => DecodeError::Truncated,
            DecodeError::NotACheckpoint => DecodeError::NotACheckpoint,
            DecodeError::Version { found } => DecodeError::Version { found },
            DecodeError::Malformed => DecodeError::Malformed,
            DecodeError::Checksum => DecodeError::Checksum,
            DecodeError::Rank { name, expected, found } => DecodeError::Rank { name, expected, found },
            DecodeError::Shape { name, dimension, expected, found } => {
                DecodeError::Shape { name, dimension, expected, found }
            }
            DecodeError::ElementType { name, expected, found } => DecodeError::ElementType { name, expected, found },
            DecodeError::Unexpected { name } => DecodeError::Unexpected { name },
            DecodeError::NameTooLong => DecodeError::NameTooLong,
            DecodeError::TooManyItems => DecodeError::TooManyItems,
            DecodeError::Missing { name } => DecodeError::Missing { name },
            DecodeError::ValueTooLarge { name } => DecodeError::ValueTooLarge { name },
            DecodeError::ReadOnly { name } => DecodeError::ReadOnly { name },
            DecodeError::Unavailable => DecodeError::Unavailable,
            DecodeError::Newer => DecodeError::Newer,
        }
    }
}

impl<E> DecodeError<E> {
    /// Returns whether the checkpoint is damaged. The other errors depend on the model, or can pass.
    pub(crate) const fn is_damage(&self) -> bool {
        matches!(
            self,
            DecodeError::Truncated | DecodeError::NotACheckpoint | DecodeError::Malformed | DecodeError::Checksum
        )
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
            DecodeError::Rank { name, expected, found } => write!(
                f,
                "tensor `{name}` has {expected} dimensions in the model, but {found} dimensions in the checkpoint"
            ),
            DecodeError::Shape { name, dimension, expected, found } => write!(
                f,
                "dimension {dimension} of tensor `{name}` has the size {expected} in the model, but {found} in the \
                 checkpoint"
            ),
            DecodeError::ElementType { name, expected, found } => {
                write!(f, "tensor `{name}` has elements of type {expected} in the model, but {found} in the checkpoint")
            }
            DecodeError::Unexpected { name } => {
                write!(f, "the checkpoint contains tensor `{name}`, which the model does not have")
            }
            DecodeError::NameTooLong => {
                write!(f, "the checkpoint contains a name of more than {MAX_NAME} bytes, the limit of this program")
            }
            DecodeError::TooManyItems => {
                write!(f, "the model has more than {MAX_ITEMS} tensors and values, the limit of this program")
            }
            DecodeError::Missing { name } => write!(f, "the checkpoint does not contain `{name}` of the model"),
            DecodeError::ValueTooLarge { name } => {
                write!(f, "the strings and byte arrays of value `{name}` do not fit into the scratch buffer")
            }
            DecodeError::ReadOnly { name } => {
                write!(f, "tensor `{name}` of the model is read-only, so the checkpoint cannot be loaded into it")
            }
            DecodeError::Newer => f.write_str("the checkpoint was written by a newer version of training-monitor"),
            DecodeError::Unavailable => f.write_str("the elements of a tensor of the model are not available"),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for DecodeError<E> {
    /// The message includes that of the cause, so the source is the cause of the cause.
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            DecodeError::Io(error) => error.source(),
            _ => None,
        }
    }
}
