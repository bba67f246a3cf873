//! What [`check_store`](super::check_store) reports.

use core::fmt;

/// A rule of the contract of [`Store`](training_monitor::store::Store).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum StoreRule {
    /// The store can be opened.
    Opens,
    /// A new store lists no checkpoint.
    StartsEmpty,
    /// Creating a stream, writing, flushing, committing, listing, opening, reading, removing and erasing succeed if the
    /// contract allows the call.
    Succeeds,
    /// The number of places is at least 2, and the capacity does not exceed it.
    Capacity,
    /// A writer accepts at least one of the given bytes, and not more than the given bytes. It accepts no byte of an
    /// empty buffer.
    WriterCount,
    /// A reader returns the bytes that were written, and then 0 bytes. It fills at most the given buffer.
    ReadsBack,
    /// A checkpoint is not listed before its commit.
    ListedAfterCommit,
    /// A committed checkpoint is listed with its metadata.
    ListsCommitted,
    /// The checkpoints are listed in the order of their sequence numbers.
    ListsInOrder,
    /// The listing ends after the last checkpoint, and contains no checkpoint twice.
    ListingEnds,
    /// The number of streams is the number that was written, or 0 for an unknown checkpoint.
    StreamCount,
    /// A checkpoint is durable after its commit returned Ok.
    Durable,
    /// An intact store reports no damaged checkpoint.
    NoDamage,
    /// A commit without a new stream is an error.
    CommitNeedsStream,
    /// A commit of an incomplete checkpoint is an error. See
    /// [`Medium::DETECTS_INCOMPLETE`](crate::test_support::Medium::DETECTS_INCOMPLETE).
    CommitNeedsWholeStream,
    /// An error changes no committed checkpoint.
    ErrorChangesNothing,
    /// A new checkpoint replaces the checkpoint of the same series with the same step number.
    Replaces,
    /// A save changes no other checkpoint, and no checkpoint of another series.
    SaveKeepsOthers,
    /// An abandoned stream is never listed.
    AbandonedIsDiscarded,
    /// The methods `check` and `create` accept the same stream lengths, and refuse longer ones.
    Limit,
    /// A full store refuses a new checkpoint.
    RefusesWhenFull,
    /// A removed checkpoint is not listed, and other checkpoints remain.
    Removes,
    /// An erased checkpoint is not listed after the store is opened again.
    ErasesPermanently,
    /// The removal of an unknown checkpoint returns Ok and changes nothing.
    RemovesUnknown,
    /// Opening a stream of an unknown sequence number is an error of the kind `NotFound`.
    NotFound,
    /// After the store is opened again, it lists the same checkpoints.
    SurvivesReopening,
}

impl fmt::Display for StoreRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StoreRule::Opens => "the store can be opened",
            StoreRule::StartsEmpty => "a new store lists no checkpoint",
            StoreRule::Succeeds => "a call that the contract allows succeeds",
            StoreRule::Capacity => "the number of places is at least 2, and the capacity does not exceed it",
            StoreRule::WriterCount => "a writer accepts at least one of the given bytes, and not more",
            StoreRule::ReadsBack => "a reader returns the bytes that were written, and then 0 bytes",
            StoreRule::ListedAfterCommit => "a checkpoint is not listed before its commit",
            StoreRule::ListsCommitted => "a committed checkpoint is listed with its metadata",
            StoreRule::ListsInOrder => "the checkpoints are listed in the order of their sequence numbers",
            StoreRule::ListingEnds => "the listing ends after the last checkpoint, and contains none twice",
            StoreRule::StreamCount => "the number of streams is the number that was written, or 0 if there is none",
            StoreRule::Durable => "a checkpoint is durable after its commit returned Ok",
            StoreRule::NoDamage => "an intact store reports no damaged checkpoint",
            StoreRule::CommitNeedsStream => "a commit without a new stream is an error",
            StoreRule::CommitNeedsWholeStream => "a commit of an incomplete checkpoint is an error",
            StoreRule::ErrorChangesNothing => "an error changes no committed checkpoint",
            StoreRule::Replaces => "a new checkpoint replaces the one with the same step number in the same series",
            StoreRule::SaveKeepsOthers => "a save changes no other checkpoint",
            StoreRule::AbandonedIsDiscarded => "an abandoned stream is never listed",
            StoreRule::Limit => "`check` and `create` accept the same stream lengths, and refuse longer ones",
            StoreRule::RefusesWhenFull => "a full store refuses a new checkpoint",
            StoreRule::Removes => "a removed checkpoint is not listed, and other checkpoints remain",
            StoreRule::ErasesPermanently => "an erased checkpoint is not listed after the store is opened again",
            StoreRule::RemovesUnknown => "the removal of an unknown checkpoint returns Ok and changes nothing",
            StoreRule::NotFound => "opening a stream of an unknown sequence number is an error of the kind NotFound",
            StoreRule::SurvivesReopening => "after the store is opened again, it lists the same checkpoints",
        })
    }
}

/// A violation of the contract of [`Store`](training_monitor::store::Store).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreViolation {
    /// The rule that the store violates.
    pub rule: StoreRule,
    /// The call that shows the violation, and the situation in which the check made it.
    pub operation: String,
    /// What the check expected and what it found.
    pub details: String,
}

impl fmt::Display for StoreViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store violates the rule \"{}\": {}: {}", self.rule, self.operation, self.details)
    }
}

impl core::error::Error for StoreViolation {}
