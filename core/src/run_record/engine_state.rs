//! The engine's part of the run record.

use crate::state::StopReason;

macro_rules! phases {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// The last event that the engine fired. Together with the other fields of [`EngineState`] it determines the
        /// engine's next transition. Part of the checkpoint format: new variants are added at the end only.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        #[non_exhaustive]
        pub enum Phase {
            $($(#[$doc])* $name,)+
        }

        impl Phase {
            /// All variants in declaration order. The macro generates the list with the enum, so no variant can be missing.
            const ALL: &'static [Phase] = &[$(Phase::$name),+];
        }
    };
}

phases! {
    /// The engine has fired no event.
    NotStarted,
    /// `Started`.
    Started,
    /// `EpochStarted` or `IterationCompleted`. After both, the next iteration or the end of the epoch follows.
    BetweenIterations,
    /// `IterationStarted`. The step function follows.
    IterationStarted,
    /// `TerminateSingleEpoch`.
    EpochTerminated,
    /// `EpochCompleted`.
    EpochCompleted,
    /// `Terminate`.
    Terminate,
    /// `Completed`. The run is over.
    Completed,
    /// `ExceptionRaised`. The run is over.
    ExceptionRaised,
    /// `GetBatchStarted`. The engine fetches a batch next.
    GetBatchStarted,
    /// `GetBatchCompleted`. The iteration follows; a resumed run fetches the batch again.
    GetBatchCompleted,
}

impl Phase {
    /// The phase with the code `code` in the checkpoint format. The code of a phase is `phase as u8`.
    pub(crate) fn from_code(code: u32) -> Option<Self> {
        Self::ALL.get(code as usize).copied()
    }

    /// Whether an epoch is running and no iteration has started.
    #[inline(always)]
    pub(crate) const fn is_between_iterations(self) -> bool {
        matches!(self, Phase::BetweenIterations | Phase::GetBatchStarted | Phase::GetBatchCompleted)
    }

    /// Whether the run is over.
    pub(crate) const fn is_final(self) -> bool {
        matches!(self, Phase::Completed | Phase::ExceptionRaised)
    }
}

/// The engine's state: Ignite's `Engine.state_dict`, extended by the fields that a resume inside an epoch needs. Part of
/// the checkpoint format, in this order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct EngineState {
    /// The last event that the engine fired.
    pub phase: Phase,
    /// The epoch, starting at 1; 0 before the first one.
    pub epoch: u32,
    /// The iteration, starting at 1 and counting over all epochs; 0 before the first one.
    pub iteration: u32,
    /// Completed iterations of the epoch.
    pub offset: u32,
    /// Batches fetched since the first batch of the data.
    pub data_offset: u32,
    /// Iterations per epoch; 0 while unknown.
    pub epoch_length: u32,
    /// The maximum number of epochs, if a handler changed it during the run.
    pub max_epochs: Option<u32>,
    /// The reason for termination, if the run is being terminated.
    pub stop: Option<StopReason>,
    /// Whether a handler requested to terminate the epoch.
    pub stop_epoch: bool,
}

impl EngineState {
    /// The state before the first event.
    pub(crate) const NEW: Self = EngineState {
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
