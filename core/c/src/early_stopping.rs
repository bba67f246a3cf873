//! Early stopping: `tm_early_stopping`.

use crate::object::{get, init_handler, opaque, read, view};
use crate::run::{Rule, Score, rule, score};
use crate::state::{load, save};
use crate::status::{Result, give, status, tm_status};
use tm_status::*;
use training_monitor::EarlyStopping;
use training_monitor::handlers::early_stopping::{EarlyStoppingHandler, Mode, ThresholdMode, WarmupEpochs};

/// A higher score is better.
pub const TM_MODE_MAX: u8 = 0;
/// A lower score is better.
pub const TM_MODE_MIN: u8 = 1;
/// The threshold is a difference of scores.
pub const TM_THRESHOLD_ABS: u8 = 0;
/// The threshold is a fraction of the best score.
pub const TM_THRESHOLD_REL: u8 = 1;

/// The size of tm_early_stopping, in 64-bit words.
pub const TM_EARLY_STOPPING_WORDS: usize = 8;

/// Stops a run whose score no longer improves. The program must not access the fields.
#[repr(C)]
pub struct tm_early_stopping {
    words: [u64; TM_EARLY_STOPPING_WORDS],
}

pub(crate) type Handler = EarlyStoppingHandler<Rule, Score, (), WarmupEpochs>;
opaque!(tm_early_stopping, b"tmES", Handler);

/// The settings of tm_early_stopping. Only `patience` has no default: 0 in every other field is a useful value.
#[repr(C)]
pub struct tm_early_stopping_config {
    /// The run stops after this number of scores in a row without an improvement; at least 1.
    pub patience: u32,
    /// A score must exceed the best score by this amount to be an improvement; 0 or more.
    pub threshold: f32,
    /// TM_THRESHOLD_ABS or TM_THRESHOLD_REL.
    pub threshold_mode: u8,
    /// TM_MODE_MAX or TM_MODE_MIN.
    pub mode: u8,
    /// Whether several small gains can be an improvement together: 0 or 1.
    pub cumulative: u8,
    /// Whether `baseline` is used: 0 or 1.
    pub has_baseline: u8,
    /// An improvement sets the counter to 0 only if it also beats this score.
    pub baseline: f32,
    /// With an engine: the run does not stop before the end of this epoch.
    pub warmup_epochs: u32,
    /// With an engine: the events at which the score is checked, for example TM_EPOCH_COMPLETED.
    pub events: u32,
    /// With an engine: only every n-th of these events counts; 0 and 1 mean all.
    pub every: u32,
    /// With an engine: the score, for example TM_SCORE_OUTPUT, or TM_SCORE_METRIC_0 + TM_SCORE_NEGATED.
    pub score: u32,
}

pub(crate) fn mode(mode: u8) -> Result<Mode> {
    match mode {
        TM_MODE_MAX => Ok(Mode::Max),
        TM_MODE_MIN => Ok(Mode::Min),
        _ => Err(TM_ERROR_SETTING),
    }
}

pub(crate) fn threshold_mode(mode: u8) -> Result<ThresholdMode> {
    match mode {
        TM_THRESHOLD_ABS => Ok(ThresholdMode::Abs),
        TM_THRESHOLD_REL => Ok(ThresholdMode::Rel),
        _ => Err(TM_ERROR_SETTING),
    }
}

fn create(config: &tm_early_stopping_config) -> Result<Handler> {
    let mut stopping = EarlyStopping::new(config.patience)?
        .with_threshold(config.threshold, threshold_mode(config.threshold_mode)?)?
        .with_mode(mode(config.mode)?)
        .with_cumulative(config.cumulative != 0);
    if config.has_baseline != 0 {
        stopping = stopping.with_baseline(config.baseline)?;
    }
    let handler = stopping.attach(rule(config.events, config.every), score(config.score)?);
    Ok(handler.with_warmup(config.warmup_epochs))
}

/// Initializes early stopping. Errors: TM_ERROR_SETTING if the patience is 0, the threshold is negative or not finite,
/// the baseline is not finite, or a mode is unknown.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_early_stopping_init(
    stopping: *mut tm_early_stopping,
    config: *const tm_early_stopping_config,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { init_handler(stopping, read(config).and_then(|config| Ok((create(config)?, config.events)))) }
}

/// Compares a score with the best score so far. Returns TM_STOP if the run should stop, otherwise TM_OK. A NaN is never an
/// improvement.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_early_stopping_update(stopping: *mut tm_early_stopping, score: f32) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    match unsafe { get(stopping) }.map(|handler| handler.early_stopping.update(score)) {
        Ok(true) => TM_STOP,
        result => status(result.map(|_| ())),
    }
}

/// Returns the number of scores in a row without an improvement, or 0 for an object that is not initialized.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_early_stopping_counter(stopping: *const tm_early_stopping) -> u32 {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { view(stopping) }.map_or(0, |handler| handler.early_stopping.counter())
}

/// Writes the best score so far to `best`. Returns TM_NONE if there is none.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_early_stopping_best(stopping: *const tm_early_stopping, best: *mut f32) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { give(view(stopping).map(|handler| handler.early_stopping.best_score()), best) }
}

/// Sets the counter to 0 and removes the best score, for a new run with the same settings.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_early_stopping_reset(stopping: *mut tm_early_stopping) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    status(unsafe { get(stopping) }.map(|handler| handler.early_stopping.reset()))
}

/// Writes the state to `bytes`, at most TM_MAX_STATE bytes, and their number to `len`. Errors: TM_ERROR_BUFFER if
/// `capacity` is too small.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_early_stopping_save(
    stopping: *mut tm_early_stopping,
    bytes: *mut u8,
    capacity: usize,
    len: *mut usize,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { save(get(stopping).map(|handler| &mut handler.early_stopping), bytes, capacity, len) }
}

/// Restores a state that tm_early_stopping_save has written. Errors: TM_ERROR_STATE if the bytes are no such state.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_early_stopping_load(
    stopping: *mut tm_early_stopping,
    bytes: *const u8,
    len: usize,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { load(get(stopping).map(|handler| &mut handler.early_stopping), bytes, len) }
}
