//! What the judge reports.

use super::case::PowerFailureCase;
use core::fmt;

/// A guarantee that a store must keep when power fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PowerFailureRule {
    /// The medium counts its operations, and power fails at the planned operation. A violation is a mistake of the
    /// [`PowerMedium`](crate::test_support::PowerMedium), or the store does not perform the same operations in each
    /// run.
    FailsAsPlanned,
    /// After a power failure, the store can be opened and lists its checkpoints, ordered by sequence number.
    Opens,
    /// A save succeeds unless power fails.
    Saves,
    /// A checkpoint whose save returned Ok can be loaded bit for bit, until the ranking evicts it.
    KeepsSaved,
    /// A checkpoint whose save was interrupted is complete or not listed.
    CompleteOrAbsent,
    /// A listed checkpoint is one that was saved.
    ListsOnlySaved,
    /// The store does not panic.
    NoPanic,
}

impl fmt::Display for PowerFailureRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PowerFailureRule::FailsAsPlanned => "the medium counts its operations, and power fails as planned",
            PowerFailureRule::Opens => "the store can be opened and lists its checkpoints in order",
            PowerFailureRule::Saves => "a save succeeds unless power fails",
            PowerFailureRule::KeepsSaved => "a checkpoint whose save returned Ok remains until the ranking evicts it",
            PowerFailureRule::CompleteOrAbsent => "an interrupted checkpoint is complete or not listed",
            PowerFailureRule::ListsOnlySaved => "a listed checkpoint is one that was saved",
            PowerFailureRule::NoPanic => "the store does not panic",
        })
    }
}

/// A violation of a guarantee, with the case that shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PowerFailureViolation {
    /// The guarantee that the store does not keep.
    pub rule: PowerFailureRule,
    /// The case. Pass it to [`replay_power_failures`](super::replay_power_failures) to run it again.
    pub case: PowerFailureCase,
    /// What the judge found.
    pub details: String,
}

impl fmt::Display for PowerFailureViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store violates the rule \"{}\": {} (case: {})", self.rule, self.details, self.case)
    }
}

impl core::error::Error for PowerFailureViolation {}
