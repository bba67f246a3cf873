//! Types and constants that are used both to write and to read a checkpoint, such as its header and the format version.

use crate::hash::Hash;
use crate::run_record::RunRecord;
use crate::state::StopReason;
use crate::varint;

/// The first four bytes of every checkpoint.
pub const MAGIC: [u8; 4] = *b"TMCK";

/// The version of the checkpoint format that this crate writes and reads. It is the fifth byte of every checkpoint.
pub const VERSION: u8 = 2;

/// The data that identifies and ranks a checkpoint.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Header<'a> {
    /// The step number, which identifies the checkpoint in its series.
    pub step: u32,
    /// The sequence number, which identifies the checkpoint in its store. Each new checkpoint in a store gets a higher
    /// number.
    pub sequence: u32,
    /// The engine's iteration in which the checkpoint is saved; 0 if no engine is used.
    pub iteration: u32,
    /// The score, which can be negative; `None` if there is no score. NaN is treated as no score.
    pub score: Option<f32>,
    /// The name of the score, for example "accuracy". `None` if the score has no name.
    pub score_name: Option<&'a str>,
    /// The number of the run that saves the checkpoint. A newer run has a higher number. The number is 0 if no engine
    /// is used. If there is a run record, the stream contains the number of the record instead.
    pub run: u32,
    /// The series of the checkpoint.
    pub series: Series<'a>,
    /// The identity of the save, if the checkpoint consists of several streams. All streams of a checkpoint have the
    /// same identity; streams of different saves have different ones. It is 0 if the checkpoint has one stream.
    pub save_id: u32,
}

/// How a series ranks its checkpoints.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum RankingRule {
    /// The latest checkpoints are kept. Stored as 0.
    #[default]
    Latest,
    /// The checkpoints with the highest scores are kept. Stored as 1.
    Best,
}

/// The series of a checkpoint: the checkpoints that one handler ranks together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Series<'a> {
    /// The name that the program chose; empty by default.
    pub name: &'a str,
    /// How the series ranks its checkpoints.
    pub rule: RankingRule,
    /// The [signature](super::model_signature) of the model; 0 if it is unknown.
    pub model: u32,
}

impl Header<'_> {
    /// Returns the identity of the series as a pair of numbers. A store compares these numbers instead of the names.
    #[must_use]
    pub fn series_id(&self) -> SeriesId {
        let score_name = self.score_name.unwrap_or_default();
        let rule = rule_id(self.series.name.as_bytes(), self.series.rule, score_name.as_bytes());
        SeriesId { rule, model: self.series.model }
    }
}

/// Identifies a series by numbers. Checkpoints of a series have the same rule and the same model.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SeriesId {
    /// The hash of the name of the series, its ranking rule and its score name.
    pub rule: u32,
    /// The [signature](super::model_signature) of the model.
    pub model: u32,
}

/// Returns the hash of the score name, the name of a series and its ranking rule. FORMAT.md specifies the bytes.
pub(crate) fn rule_id(name: &[u8], rule: RankingRule, score_name: &[u8]) -> u32 {
    Hash::NEW.bytes(score_name).bytes(&[0, rule as u8]).bytes(name).value()
}

/// The identifier of the extension field that contains the number of the run, the series and the identity of the save.
pub(super) const IDENTITY: u8 = 1;

/// The identifier of the extension field that contains the metadata of the user.
pub(super) const METADATA: u8 = 2;

/// The identifier of the extension field that contains the version of the writer.
pub(super) const WRITER: u8 = 3;

/// The version of this crate.
pub(super) const CRATE_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The code that is written for the stop reason [`StopReason::User`]. One more byte follows: the number that the
/// program chose for its reason.
pub(super) const STOP_REASON_USER: u32 = 5;

/// All stop reasons. The code of a reason in a checkpoint is its index in this array. The entry of [`StopReason::User`]
/// stands for all numbers.
pub(super) const STOP_REASONS: [StopReason; 11] = [
    StopReason::MaxEpochs,
    StopReason::EarlyStopping,
    StopReason::NonFinite,
    StopReason::SaveFailed,
    StopReason::StepFailed,
    StopReason::User(0),
    StopReason::TimeLimit,
    StopReason::TargetReached,
    StopReason::Diverged,
    StopReason::Interrupted,
    StopReason::Spike,
];

/// The contents of a checkpoint except its objects (such as the model), and the settings for writing it.
#[derive(Clone, Copy, Debug)]
pub struct Contents<'a> {
    /// The header, which contains for example the step number and the score.
    pub header: Header<'a>,
    /// The run record: the states of the engine and of the handlers. It allows a training run to resume from the
    /// checkpoint.
    pub record: Option<&'a RunRecord<[u8]>>,
    /// The name of the only object to write, if each object is written to its own file. `None` writes all objects.
    pub single_object: Option<&'a str>,
    /// Whether tensors may contain NaN and infinities.
    pub allow_non_finite: bool,
    /// Named strings or bytes that the program adds, for example the version of the firmware. The names are in
    /// ascending order of their bytes.
    pub metadata: &'a [(&'a str, &'a [u8])],
}

impl Contents<'_> {
    /// Describes a checkpoint with the step number `step`, all objects, no score and no run record. A NaN or an
    /// infinity in a tensor is an error. Set the public fields to change these defaults.
    #[must_use]
    pub const fn new(step: u32) -> Self {
        Contents {
            header: Header {
                step,
                sequence: 0,
                iteration: 0,
                score: None,
                score_name: None,
                run: 0,
                series: Series { name: "", rule: RankingRule::Latest, model: 0 },
                save_id: 0,
            },
            record: None,
            single_object: None,
            allow_non_finite: false,
            metadata: &[],
        }
    }
}

/// The length and the checksum of a checkpoint stream that was written. A stream is a sequence of bytes, such as a
/// file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Encoded {
    /// The length of the stream, in bytes.
    pub len: u32,
    /// The CRC-32 that is stored in the last four bytes of the stream.
    pub crc: u32,
}

/// The properties of a checkpoint stream that was read, such as its step number and its length. A stream is a sequence
/// of bytes, such as a file.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Info {
    /// The step number, which identifies the checkpoint in its store.
    pub step: u32,
    /// The sequence number of the checkpoint in its store.
    pub sequence: u32,
    /// The engine's iteration in which the checkpoint was saved; 0 if no engine is used.
    pub iteration: u32,
    /// The score, which can be negative; `None` if there is no score.
    pub score: Option<f32>,
    /// The number of the run that saved the checkpoint; 0 if no engine was used.
    pub run: u32,
    /// The series of the checkpoint.
    pub series: SeriesId,
    /// The identity of the save; 0 if the checkpoint has one stream.
    pub save_id: u32,
    /// The number of objects in the checkpoint, if each object has its own stream, such as a file. It is 0 if all
    /// objects are in one stream.
    pub object_count: u32,
    /// Whether the stream contains a run record (the states of engine and handlers). A run can only resume from a
    /// checkpoint with a run record.
    pub has_run: bool,
    /// The length of the stream, in bytes.
    pub len: u32,
    /// The CRC-32 that is stored in the last four bytes of the stream.
    pub crc: u32,
}

/// Returns how many zero bytes (0 to 7) must precede the elements of a tensor, so that the elements start at a multiple
/// of their size `align`. `bytes` is the size of all elements, and `position` is the number of bytes written so far.
pub(super) const fn padding(position: u32, bytes: u32, align: u32) -> u8 {
    (position.wrapping_add(1).wrapping_add(varint::len(bytes)).wrapping_neg() & (align - 1)) as u8
}
