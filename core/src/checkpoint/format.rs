//! What both directions share: the constants of the format, the header, and the summaries of a stream.

use crate::run_record::RunRecord;
use crate::varint;

/// The first four bytes of every stream.
pub const MAGIC: [u8; 4] = *b"TMCK";

/// The format version that this crate writes and reads; the fifth byte of every stream.
pub const VERSION: u8 = 1;

/// The fields that identify and rank a checkpoint.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Header<'a> {
    /// The step number.
    pub step: u32,
    /// The number of the commit within its store. The highest number is the newest commit.
    pub sequence: u32,
    /// The engine's iteration; 0 without an engine.
    pub iteration: u32,
    /// The signed score.
    pub score: Option<f32>,
    /// The name of the score.
    pub score_name: Option<&'a str>,
}

/// What a checkpoint contains beside its objects.
#[derive(Clone, Copy, Debug)]
pub struct Contents<'a> {
    /// Step, sequence and score.
    pub header: Header<'a>,
    /// The run record, so that a run can resume from the checkpoint.
    pub record: Option<&'a RunRecord>,
    /// The name of the only object in this stream, if the checkpoint has one stream per object; `None` if this stream
    /// contains all objects.
    pub single_object: Option<&'a str>,
    /// Whether tensors may contain NaN and infinities.
    pub allow_non_finite: bool,
}

impl Contents<'_> {
    /// The contents of a checkpoint with a step number, without score and run record. All objects are in one stream, and
    /// non-finite elements are rejected. Set the fields to change this.
    #[must_use]
    pub const fn new(step: u32) -> Self {
        Contents {
            header: Header { step, sequence: 0, iteration: 0, score: None, score_name: None },
            record: None,
            single_object: None,
            allow_non_finite: false,
        }
    }
}

/// A summary of a stream that was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Encoded {
    /// The bytes of the stream.
    pub len: u32,
    /// The CRC-32 in its last four bytes.
    pub crc: u32,
}

/// A summary of a stream that was read.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Info {
    /// The step number.
    pub step: u32,
    /// The number of the commit within its store.
    pub sequence: u32,
    /// The engine's iteration; 0 without an engine.
    pub iteration: u32,
    /// The signed score.
    pub score: Option<f32>,
    /// The number of objects of the checkpoint, if it has one stream per object; 0 if the stream contains all objects.
    pub object_count: u32,
    /// Whether the stream contains a run record, from which a run can resume.
    pub has_run: bool,
    /// The bytes of the stream.
    pub len: u32,
    /// The CRC-32 in its last four bytes.
    pub crc: u32,
}

/// The number of zero bytes (0 to 3) before a payload of `bytes` bytes, so that the payload starts at a multiple of 4.
/// `position` is where the `pad` field starts. Between the two are the length byte of `pad` and the varint of `bytes`.
pub(super) const fn padding(position: u32, bytes: u32) -> u8 {
    (position.wrapping_add(1).wrapping_add(varint::len(bytes)).wrapping_neg() & 3) as u8
}
