//! The engine's part of the run record (the saved state of the engine and the handlers).

use crate::state::StopReason;

macro_rules! phases {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// The last event that the engine fired. Together with the other fields of [`EngineState`], it determines what
        /// the engine does next. Checkpoints store a phase as a number, so new variants are only added at the end.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        #[non_exhaustive]
        pub enum Phase {
            $($(#[$doc])* $name,)+
        }

        impl Phase {
            /// All variants in the order of their declaration. The macro generates this list, so no variant can be
            /// missing.
            const ALL: &'static [Phase] = &[$(Phase::$name),+];
        }
    };
}

phases! {
    /// The engine has fired no event.
    NotStarted,
    /// The last event was `Started`.
    Started,
    /// The last event was `EpochStarted` or `IterationCompleted`. The engine treats both in the same way: the next
    /// iteration follows, or the end of the epoch.
    BetweenIterations,
    /// The last event was `IterationStarted`. The step function follows.
    IterationStarted,
    /// The last event was `TerminateSingleEpoch`.
    EpochTerminated,
    /// The last event was `EpochCompleted`.
    EpochCompleted,
    /// The last event was `Terminate`.
    Terminate,
    /// The last event was `Completed`. The run is over.
    Completed,
    /// The last event was `ExceptionRaised`. The run is over.
    ExceptionRaised,
    /// The last event was `GetBatchStarted`. The engine fetches a batch next.
    GetBatchStarted,
    /// The last event was `GetBatchCompleted`. The iteration follows. A resumed run fetches the batch again first.
    GetBatchCompleted,
}

impl Phase {
    /// Returns the phase that checkpoints store as the number `code`. Returns `None` if there is no such phase.
    pub(crate) fn from_code(code: u32) -> Option<Self> {
        Self::ALL.get(code as usize).copied()
    }

    /// Returns whether the engine is inside an epoch, but not inside an iteration.
    #[inline(always)]
    pub(crate) const fn is_between_iterations(self) -> bool {
        matches!(self, Phase::BetweenIterations | Phase::GetBatchStarted | Phase::GetBatchCompleted)
    }

    /// Returns whether the run is over.
    pub(crate) const fn is_final(self) -> bool {
        matches!(self, Phase::Completed | Phase::ExceptionRaised)
    }
}

/// The engine's state as a checkpoint contains it. The fields beyond Ignite's `Engine.state_dict` let a run resume
/// inside an epoch. The order of the fields is part of the checkpoint format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct EngineState {
    /// The number of the run. A newer run has a higher number. It is 0 before a run starts.
    pub run: u32,
    /// The last event that the engine fired.
    pub phase: Phase,
    /// The number of the epoch, starting at 1; 0 before the first epoch.
    pub epoch: u32,
    /// The number of the iteration, starting at 1 and continuing over all epochs; 0 before the first iteration.
    pub iteration: u32,
    /// The number of completed iterations in the epoch.
    pub offset: u32,
    /// The position in the data: the number of batches that are complete since the data last started with its first
    /// batch.
    pub data_offset: u32,
    /// The number of iterations per epoch; 0 while it is unknown.
    pub epoch_length: u32,
    /// The maximum number of epochs, if a handler changed it during the run. Otherwise `None`.
    pub max_epochs: Option<u32>,
    /// The reason for termination, if the run is being terminated.
    pub stop: Option<StopReason>,
    /// Whether a handler requested to terminate the epoch.
    pub stop_epoch: bool,
}

impl EngineState {
    /// The state of an engine that has not fired any event.
    pub(crate) const NEW: Self = EngineState {
        run: 0,
        phase: Phase::NotStarted,
        epoch: 0,
        iteration: 0,
        offset: 0,
        data_offset: 0,
        epoch_length: 0,
        max_epochs: None,
        stop: None,
        stop_epoch: false,
    };
}

/// The point in training at which a checkpoint was saved. The points are ordered: a point of a newer run is greater, and
/// within a run, a point of a later iteration is greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ResumePoint {
    /// The number of the run.
    pub run: u32,
    /// The engine's iteration.
    pub iteration: u32,
    /// The sequence number of the checkpoint in its store. It orders the checkpoints of the same iteration, for example
    /// of two models.
    pub sequence: u32,
}
