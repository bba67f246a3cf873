//! Why and where a run ended.

use training_monitor::{Outcome, StopReason};

/// The run has not ended.
pub const TM_REASON_NONE: u32 = 0;
/// The run completed all epochs.
pub const TM_REASON_MAX_EPOCHS: u32 = 1;
/// tm_early_stopping ran out of patience.
pub const TM_REASON_EARLY_STOPPING: u32 = 2;
/// A guard found a NaN or an infinity.
pub const TM_REASON_NON_FINITE: u32 = 3;
/// A checkpoint could not be saved.
pub const TM_REASON_SAVE_FAILED: u32 = 4;
/// The time of tm_time_limit is used up.
pub const TM_REASON_TIME_LIMIT: u32 = 5;
/// A score reached the target of tm_score_limits.
pub const TM_REASON_TARGET_REACHED: u32 = 6;
/// A score was worse than the limit of tm_score_limits.
pub const TM_REASON_DIVERGED: u32 = 7;
/// The program interrupted the run. It continues at the next call of tm_engine_begin_iteration.
pub const TM_REASON_INTERRUPTED: u32 = 8;
/// Another reason of a program in Rust.
pub const TM_REASON_OTHER: u32 = 9;
/// A reason of the program: TM_REASON_USER + n, with n from 0 to 255, was passed to tm_engine_terminate.
pub const TM_REASON_USER: u32 = 0x100;

/// Where and why a run ended.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct tm_outcome {
    /// For example TM_REASON_MAX_EPOCHS.
    pub reason: u32,
    /// The number of the last epoch, starting at 1.
    pub epoch: u32,
    /// The number of the last iteration, starting at 1 and continuing over all epochs.
    pub iteration: u32,
}

pub(crate) fn reason_code(reason: StopReason) -> u32 {
    match reason {
        StopReason::MaxEpochs => TM_REASON_MAX_EPOCHS,
        StopReason::EarlyStopping => TM_REASON_EARLY_STOPPING,
        StopReason::NonFinite => TM_REASON_NON_FINITE,
        StopReason::SaveFailed => TM_REASON_SAVE_FAILED,
        StopReason::TimeLimit => TM_REASON_TIME_LIMIT,
        StopReason::TargetReached => TM_REASON_TARGET_REACHED,
        StopReason::Diverged => TM_REASON_DIVERGED,
        StopReason::Interrupted => TM_REASON_INTERRUPTED,
        StopReason::User(number) => TM_REASON_USER + number as u32,
        _ => TM_REASON_OTHER,
    }
}

impl From<Outcome> for tm_outcome {
    fn from(outcome: Outcome) -> Self {
        tm_outcome { reason: reason_code(outcome.reason), epoch: outcome.epoch, iteration: outcome.iteration }
    }
}
