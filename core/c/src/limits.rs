//! Limits: `tm_score_limits` ends a run that reached its target, diverged, or has no finite score. `tm_clip_norm` and
//! `tm_clip_values` limit a gradient.

use crate::early_stopping::mode;
use crate::model::tm_object;
use crate::object::{check, init_handler, opaque, read, view};
use crate::outcome::reason_code;
use crate::run::{Rule, Score, rule, score};
use crate::status::{Result, give, status, tm_status};
use training_monitor::ScoreLimits;
use training_monitor::gradient::GradientLimit;
use training_monitor::handlers::score_limits::ScoreLimitsHandler;

/// The size of tm_score_limits, in 64-bit words.
#[cfg(target_pointer_width = "32")]
pub const TM_SCORE_LIMITS_WORDS: usize = 5;
/// The size of tm_score_limits, in 64-bit words.
#[cfg(target_pointer_width = "64")]
pub const TM_SCORE_LIMITS_WORDS: usize = 6;

/// Ends a run by its score. It has no state. The program must not access the fields.
#[repr(C)]
pub struct tm_score_limits {
    words: [u64; TM_SCORE_LIMITS_WORDS],
}

pub(crate) type LimitsHandler = ScoreLimitsHandler<Rule, Score>;
opaque!(tm_score_limits, b"tmSL", LimitsHandler);

/// The settings of tm_score_limits. 0 in every field is useful: a score that is not finite ends the run.
#[repr(C)]
pub struct tm_score_limits_config {
    /// TM_MODE_MAX or TM_MODE_MIN.
    pub mode: u8,
    /// Whether a score that is NaN or infinite is allowed: 0 or 1.
    pub allow_non_finite: u8,
    /// Whether `target` is used: 0 or 1.
    pub has_target: u8,
    /// Whether `divergence_limit` is used: 0 or 1.
    pub has_divergence_limit: u8,
    /// A better score ends the run.
    pub target: f32,
    /// A worse score ends the run.
    pub divergence_limit: f32,
    /// With an engine: the events at which the score is checked.
    pub events: u32,
    /// With an engine: only every n-th of these events counts; 0 and 1 mean all.
    pub every: u32,
    /// With an engine: the score, for example TM_SCORE_OUTPUT.
    pub score: u32,
}

fn create(config: &tm_score_limits_config) -> Result<LimitsHandler> {
    let mut limits = ScoreLimits::new().with_mode(mode(config.mode)?).with_check_finite(config.allow_non_finite == 0);
    if config.has_target != 0 {
        limits = limits.with_target(config.target)?;
    }
    if config.has_divergence_limit != 0 {
        limits = limits.with_divergence_limit(config.divergence_limit)?;
    }
    Ok(limits.attach(rule(config.events, config.every), score(config.score)?))
}

/// Initializes score limits. Errors: TM_ERROR_SETTING if a limit is not finite or the mode is unknown.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_score_limits_init(
    limits: *mut tm_score_limits,
    config: *const tm_score_limits_config,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { init_handler(limits, read(config).and_then(|config| Ok((create(config)?, config.events)))) }
}

/// Compares a score with the limits. If the run should stop, writes the reason to `reason`, for example
/// TM_REASON_DIVERGED. Returns TM_NONE if the run continues.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_score_limits_update(
    limits: *const tm_score_limits,
    score: f32,
    reason: *mut u32,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { give(view(limits).map(|handler| handler.score_limits.update(score).map(reason_code)), reason) }
}

/// Scales a gradient so that its L2 norm is at most `limit` (torch: clip_grad_norm_). The gradient consists of all float tensors
/// of an object, which need not be part of a model. Writes the norm from before to `norm`; if it is not finite, the gradient is
/// unchanged. Errors: TM_ERROR_SETTING unless the limit is finite and greater than 0.
///
/// One thread or interrupt at a time can use the gradient.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_clip_norm(gradient: *const tm_object, limit: f32, norm: *mut f32) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    let result = check(norm).and_then(|()| unsafe { read(gradient) }).and_then(|gradient| {
        let limit = GradientLimit::new(limit)?;
        // SAFETY: as above.
        Ok(Some(limit.clip_norm(|visit| unsafe { gradient.each_float(visit) })))
    });
    // SAFETY: as above.
    unsafe { give(result, norm) }
}

/// Limits each element of a gradient to the range from −`limit` to `limit` (torch: clip_grad_value_). A NaN stays a NaN. The
/// gradient and the errors are those of tm_clip_norm.
///
/// One thread or interrupt at a time can use the gradient.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_clip_values(gradient: *const tm_object, limit: f32) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    status(unsafe { read(gradient) }.and_then(|gradient| {
        let limit = GradientLimit::new(limit)?;
        // SAFETY: as above.
        limit.clip_values(|visit| unsafe { gradient.each_float(visit) });
        Ok(())
    }))
}
