//! Decisions without a store: `tm_policy` decides which checkpoints a program saves and removes on its own medium.

use crate::checkpoint::{Source, TM_MAX_SAVED, create_policy, tm_checkpoint_config};
use crate::object::{check, get, init, opaque, read, view};
use crate::status::{give, tm_status};
use training_monitor::ModelCheckpoint;
use training_monitor::handlers::model_checkpoint::SaveDecision;
use training_monitor::handlers::model_checkpoint::ranking::RankedCheckpoint;

/// The size of tm_policy, in 64-bit words.
#[cfg(target_pointer_width = "32")]
pub const TM_POLICY_WORDS: usize = 17;
/// The size of tm_policy, in 64-bit words.
#[cfg(target_pointer_width = "64")]
pub const TM_POLICY_WORDS: usize = 21;

/// Decides when to save and what to evict, without a store. The program must not access the fields.
#[repr(C)]
pub struct tm_policy {
    words: [u64; TM_POLICY_WORDS],
}

type Policy = ModelCheckpoint<TM_MAX_SAVED, Source>;
opaque!(tm_policy, b"tmPO", Policy);

/// A checkpoint: its step, which identifies it, and its score.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct tm_decision {
    /// The step.
    pub step: u32,
    /// The score, or NaN if there is none.
    pub score: f32,
}

impl From<RankedCheckpoint> for tm_decision {
    fn from(ranked: RankedCheckpoint) -> Self {
        tm_decision { step: ranked.step, score: ranked.score().unwrap_or(f32::NAN) }
    }
}

impl From<SaveDecision> for tm_decision {
    fn from(decision: SaveDecision) -> Self {
        tm_decision { step: decision.step, score: decision.score.unwrap_or(f32::NAN) }
    }
}

impl tm_decision {
    fn decision(&self) -> SaveDecision {
        SaveDecision { step: self.step, score: Some(self.score).filter(|score| !score.is_nan()) }
    }
}

/// Initializes a policy. It uses only the fields `n_saved`, `interval`, `greater_or_equal` and the initial threshold.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_policy_init(policy: *mut tm_policy, config: *const tm_checkpoint_config) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { init(policy, read(config).and_then(|config| create_policy(config))) }
}

/// Counts a call and decides whether to save. Writes the step and the score of the save to `decision`. Returns TM_NONE if
/// there is nothing to save. With `interval`, the score is ignored. A NaN score is never saved as best.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_policy_update(policy: *mut tm_policy, score: f32, decision: *mut tm_decision) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    let decided = check(decision).and_then(|()| unsafe { get(policy) });
    // SAFETY: as above.
    unsafe { give(decided.map(|policy| policy.update(Some(score)).map(tm_decision::from)), decision) }
}

/// Ranks a checkpoint that the program has saved. Writes the checkpoint that the program must remove to `evicted`. Returns
/// TM_NONE if there is nothing to remove. Call it only after the checkpoint is stored.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_policy_commit(
    policy: *mut tm_policy,
    decision: *const tm_decision,
    evicted: *mut tm_decision,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { rank(policy, decision, evicted, Policy::record_commit) }
}

/// Changes the ranking of a policy with `change`, and gives the caller the checkpoint that is no longer ranked.
///
/// # Safety
/// The pointers are null, or valid as the interface requires.
unsafe fn rank(
    policy: *mut tm_policy,
    decision: *const tm_decision,
    evicted: *mut tm_decision,
    change: fn(&mut Policy, SaveDecision) -> Option<RankedCheckpoint>,
) -> tm_status {
    // SAFETY: the caller makes the same promise.
    let result = check(evicted).and_then(|()| unsafe {
        let decision = read(decision)?.decision();
        Ok(change(get(policy)?, decision).map(tm_decision::from))
    });
    // SAFETY: as above.
    unsafe { give(result, evicted) }
}

/// Ranks a stored checkpoint after a restart. Call it for all stored checkpoints, the oldest first. Writes a checkpoint that
/// has no rank to `evicted`. Returns TM_NONE if there is none.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_policy_restore(
    policy: *mut tm_policy,
    decision: *const tm_decision,
    evicted: *mut tm_decision,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { rank(policy, decision, evicted, Policy::restore_entry) }
}

/// Writes the best checkpoint to `best`; with `interval`, the latest one. Returns TM_NONE if there is none.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_policy_best(policy: *const tm_policy, best: *mut tm_decision) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { give(view(policy).map(|policy| policy.best().map(tm_decision::from)), best) }
}

/// Writes the newest kept checkpoint to `latest`. Returns TM_NONE if there is none.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_policy_latest(policy: *const tm_policy, latest: *mut tm_decision) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { give(view(policy).map(|policy| policy.latest().map(tm_decision::from)), latest) }
}

/// Writes a kept checkpoint to `kept`. The index 0 is the worst one. Returns TM_NONE if the index is too high.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_policy_kept(policy: *const tm_policy, index: u32, kept: *mut tm_decision) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    let found = unsafe { view(policy) };
    // SAFETY: as above.
    unsafe { give(found.map(|policy| policy.kept().get(index as usize).copied().map(tm_decision::from)), kept) }
}
