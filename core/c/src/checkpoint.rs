//! Checkpoints in flash or in byte-addressable memory: `tm_checkpoint` decides when to save, keeps the best or the latest
//! checkpoints, and loads them.

use crate::flash::{Driver, FlashStore, tm_flash};
use crate::model::{Model, setting_text, tm_model};
use crate::object::{InUse, init_with, opaque, read, view};
use crate::policy::tm_decision;
use crate::run::{Metrics, Rule, RunState, Score, rule, score};
use crate::status::{Result, decode_status, encode_status, give, io_status, status, tm_status};
use core::ffi::c_char;
use core::ops::Range;
use tm_status::*;
use training_monitor::ModelCheckpoint;
use training_monitor::checkpoint::{EncodeError, Info};
use training_monitor::handlers::model_checkpoint::{CheckpointHandler, GetScore, OnError, SaveDecision, StepSource};
use training_monitor::store::flash::{EraseError, RunTimeGeometry, SlotsError};

/// The largest number of checkpoints that one tm_checkpoint or tm_policy keeps.
pub const TM_MAX_SAVED: usize = 7;

const _: () = assert!(TM_MAX_SAVED + 1 == crate::flash::TM_MAX_SLOTS);

/// The step is the number of the call, as in Ignite.
pub const TM_STEP_CALLS: u8 = 0;
/// The step is the engine's iteration.
pub const TM_STEP_ITERATION: u8 = 1;
/// The step is the engine's epoch.
pub const TM_STEP_EPOCH: u8 = 2;

/// After a failed save, the run ends.
pub const TM_ON_ERROR_STOP: u8 = 0;
/// After a failed save, the run continues without this checkpoint.
pub const TM_ON_ERROR_CONTINUE: u8 = 1;
/// A failed save is repeated up to `retries` times. Then the run continues without this checkpoint.
pub const TM_ON_ERROR_RETRY: u8 = 2;

/// The size of tm_checkpoint, in 64-bit words.
#[cfg(target_pointer_width = "32")]
pub const TM_CHECKPOINT_WORDS: usize = 90;
/// The size of tm_checkpoint, in 64-bit words.
#[cfg(target_pointer_width = "64")]
pub const TM_CHECKPOINT_WORDS: usize = 106;

/// Keeps the best or the latest checkpoints in a region of the flash or of byte-addressable memory. The program must not
/// access the fields.
#[repr(C)]
pub struct tm_checkpoint {
    words: [u64; TM_CHECKPOINT_WORDS],
}

pub(crate) type Handler = CheckpointHandler<TM_MAX_SAVED, Rule, FlashStore, Source>;
opaque!(tm_checkpoint, b"tmCK", Handler);

/// The settings of tm_checkpoint and tm_policy. Only `n_saved` has no default: 0 in every other field is a useful value. The
/// texts must exist as long as the object.
#[repr(C)]
pub struct tm_checkpoint_config {
    /// The number of checkpoints to keep, 1 to TM_MAX_SAVED. The flash needs one slot more.
    pub n_saved: u32,
    /// Saves at every n-th call and keeps the latest checkpoints. 0: keeps the checkpoints with the highest scores.
    pub interval: u32,
    /// The name of the score in the checkpoints, or null.
    pub score_name: *const c_char,
    /// The name of the series, or null. Two objects that save to the same flash need different names.
    pub series_name: *const c_char,
    /// A checkpoint is saved only if its score is greater than this one, if `has_initial_threshold` is 1.
    pub initial_threshold: f32,
    /// Whether `initial_threshold` is used: 0 or 1.
    pub has_initial_threshold: u8,
    /// Whether a checkpoint with the score of the worst one replaces it: 0 or 1.
    pub greater_or_equal: u8,
    /// TM_STEP_CALLS, TM_STEP_ITERATION or TM_STEP_EPOCH.
    pub step_source: u8,
    /// TM_ON_ERROR_STOP, TM_ON_ERROR_CONTINUE or TM_ON_ERROR_RETRY.
    pub on_error: u8,
    /// How often a failed save is repeated.
    pub retries: u8,
    /// Whether a model with NaN or infinite weights is saved: 0 or 1.
    pub allow_non_finite: u8,
    /// With an engine: the minimum number of iterations between two saves, to reduce the wear of the flash.
    pub min_interval: u32,
    /// With an engine: the events at which a checkpoint can be saved.
    pub events: u32,
    /// With an engine: only every n-th of these events counts; 0 and 1 mean all.
    pub every: u32,
    /// With an engine: the score; a higher one is better. For a loss, add TM_SCORE_NEGATED.
    pub score: u32,
}

/// The score of a checkpoint.
pub(crate) struct Source(Score);

impl GetScore<f32, Metrics> for Source {
    fn score(&mut self, state: &RunState) -> Option<f32> {
        Some((self.0)(state))
    }
}

/// Creates the policy of the settings.
///
/// # Safety
/// The texts are valid as long as the policy is used.
pub(crate) unsafe fn create_policy(config: &tm_checkpoint_config) -> Result<ModelCheckpoint<TM_MAX_SAVED, Source>> {
    // SAFETY: the caller promises that the texts are valid.
    let (score_name, series_name) = unsafe { (setting_text(config.score_name)?, setting_text(config.series_name)?) };
    let source = Source(score(config.score)?);
    let policy = if config.interval > 0 {
        ModelCheckpoint::every(config.interval)?.with_score_source(source)
    } else {
        let mut best = ModelCheckpoint::by_score().with_greater_or_equal(config.greater_or_equal != 0);
        if !score_name.is_empty() {
            best = best.with_score_name(score_name)?;
        }
        if config.has_initial_threshold != 0 {
            best = best.with_initial_threshold(config.initial_threshold)?;
        }
        best.with_score_source(source)
    };
    let step_source = match config.step_source {
        TM_STEP_CALLS => StepSource::Calls,
        TM_STEP_ITERATION => StepSource::Iteration,
        TM_STEP_EPOCH => StepSource::Epoch,
        _ => return Err(TM_ERROR_SETTING),
    };
    let on_error = match config.on_error {
        TM_ON_ERROR_STOP => OnError::Stop,
        TM_ON_ERROR_CONTINUE => OnError::Continue,
        TM_ON_ERROR_RETRY => OnError::Retry(config.retries),
        _ => return Err(TM_ERROR_SETTING),
    };
    Ok(policy
        .with_n_saved(config.n_saved)?
        .with_series_name(series_name)?
        .with_step_source(step_source)
        .with_on_error(on_error)
        .with_allow_non_finite(config.allow_non_finite != 0))
}

/// The status for an error of the flash store.
pub(crate) fn store_status<E>(error: &SlotsError<E>) -> tm_status {
    match error {
        SlotsError::Flash(_) => TM_ERROR_DEVICE,
        SlotsError::TooLong { .. } => TM_ERROR_TOO_LONG,
        SlotsError::Full => TM_ERROR_SLOTS,
        SlotsError::NotFound => TM_NONE,
        SlotsError::VerifyFailed => TM_ERROR_VERIFY,
        _ => TM_ERROR_OTHER,
    }
}

/// The status for an error of a save whose cause is known by its kind only.
pub(crate) fn save_status(error: &EncodeError<training_monitor::embedded_io::ErrorKind>) -> tm_status {
    encode_status(error, |kind| io_status(*kind))
}

/// Opens a store, attaches a policy to it, and writes both to the memory of an object.
///
/// # Safety
/// The pointers and the texts of the settings are valid as long as the object is used, and the functions of the driver can be
/// called.
#[inline(never)] // One copy of the code for flash and memory. A result of this size would be copied by each caller.
pub(crate) unsafe fn open(
    checkpoint: *mut tm_checkpoint,
    config: *const tm_checkpoint_config,
    place: Result<(Driver, Range<u32>, RunTimeGeometry)>,
) -> tm_status {
    let create = || {
        // SAFETY: the caller makes the same promise.
        let config = unsafe { read(config) }?;
        let (driver, region, geometry) = place?;
        // SAFETY: as above.
        let policy = unsafe { create_policy(config) }?;
        if geometry.slots <= config.n_saved {
            return Err(TM_ERROR_SLOTS);
        }
        let store = FlashStore::open_with_geometry(driver, region, geometry)?;
        let rule = rule(config.events, config.every);
        let handler = policy.attach(rule, store).map_err(|error| store_status(&error))?;
        Ok((handler.min_interval(config.min_interval), config.events))
    };
    // SAFETY: as above.
    unsafe { init_with(checkpoint, create) }
}

/// Initializes an object, opens the flash, and finds the stored checkpoints. Writes nothing to the flash. Other content of
/// the region counts as free space. Errors: TM_ERROR_SETTING, TM_ERROR_GEOMETRY, TM_ERROR_SLOTS if there are not
/// `n_saved` + 1 slots, TM_ERROR_OTHER_LAYOUT, TM_ERROR_DEVICE.
///
/// Reads the whole region. One thread at a time can use an object and its flash; do not call from an interrupt.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_checkpoint_open_flash(
    checkpoint: *mut tm_checkpoint,
    config: *const tm_checkpoint_config,
    flash: *const tm_flash,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { open(checkpoint, config, tm_flash::parts(flash)) }
}

/// Erases a whole region with all its checkpoints, to divide it into other slots or to start over.
///
/// Blocks for the time of all erases. One thread at a time can use a flash; do not call from an interrupt.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_checkpoint_erase_flash(flash: *const tm_flash) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    status(unsafe { tm_flash::parts(flash) }.and_then(|(driver, region, geometry)| {
        FlashStore::erase_region_with_geometry(driver, region, geometry).map_err(|error| match error {
            EraseError::Region(error) => error.into(),
            _ => TM_ERROR_DEVICE,
        })
    }))
}

/// Saves a model now, for a program without an engine. `step` identifies the checkpoint in its series. `score` is NaN if
/// there is none; with `interval`, it is ignored. If the checkpoint ranks below all others, it is evicted at once.
///
/// Errors: TM_ERROR_MODEL, TM_ERROR_NON_FINITE, TM_ERROR_TOO_LONG, TM_ERROR_BETTER_EXISTS, TM_ERROR_SLOTS, TM_ERROR_DEVICE,
/// TM_ERROR_VERIFY. The stored checkpoints are unchanged in this case.
///
/// Blocks while the flash is erased and written. One thread at a time can use an object; do not call from an interrupt.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_checkpoint_save(
    checkpoint: *mut tm_checkpoint,
    model: *const tm_model,
    step: u32,
    score: f32,
    iteration: u32,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    status(unsafe { InUse::new(checkpoint) }.and_then(|(handler, _in_use)| {
        // SAFETY: as above.
        let mut model = unsafe { Model::new(model) }?;
        let score = Some(score).filter(|score| !score.is_nan());
        let decision = SaveDecision { step, score };
        handler.save(decision, iteration, None, &mut model).map_err(|error| encode_status(&error, store_status))
    }))
}

/// A checkpoint that was loaded.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct tm_loaded {
    /// Its step.
    pub step: u32,
    /// The iteration in which it was saved.
    pub iteration: u32,
    /// Its score, or NaN if it has none.
    pub score: f32,
}

impl From<Info> for tm_loaded {
    fn from(info: Info) -> Self {
        tm_loaded { step: info.step, iteration: info.iteration, score: info.score.unwrap_or(f32::NAN) }
    }
}

/// Loads the best checkpoint into the model; with `interval`, the latest one. If it is damaged, loads the next best one.
/// Returns TM_NONE if the flash contains no checkpoint. If no checkpoint can be loaded, returns the error of the last
/// attempt, and the model is unchanged.
///
/// Reads the checkpoints. One thread at a time can use an object; do not call from an interrupt.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_checkpoint_load_best(
    checkpoint: *mut tm_checkpoint,
    model: *const tm_model,
    loaded: *mut tm_loaded,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    let result = unsafe { InUse::new(checkpoint) }.and_then(|(handler, _in_use)| {
        crate::object::check(loaded)?;
        // SAFETY: as above.
        let mut model = unsafe { Model::new(model) }?;
        let info = handler.load_best(&mut model).map_err(|error| decode_status(&error, store_status))?;
        Ok(info.map(tm_loaded::from))
    });
    // SAFETY: as above.
    unsafe { give(result, loaded) }
}

/// Loads the checkpoint with a step into the model. Returns TM_NONE if there is none.
///
/// Reads the checkpoint. One thread at a time can use an object; do not call from an interrupt.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_checkpoint_load_step(
    checkpoint: *mut tm_checkpoint,
    model: *const tm_model,
    step: u32,
    loaded: *mut tm_loaded,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    let result = unsafe { InUse::new(checkpoint) }.and_then(|(handler, _in_use)| {
        crate::object::check(loaded)?;
        // SAFETY: as above.
        let mut model = unsafe { Model::new(model) }?;
        let info = handler.load_step(step, &mut model).map_err(|error| decode_status(&error, store_status))?;
        Ok(Some(tm_loaded::from(info)))
    });
    // SAFETY: as above.
    unsafe { give(result, loaded) }
}

/// Writes the step and the score of the best checkpoint to `best`; with `interval`, those of the latest one. Returns TM_NONE
/// if there is none. The checkpoints are those of the model of the last save, load or run.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_checkpoint_best(checkpoint: *const tm_checkpoint, best: *mut tm_decision) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { give(view(checkpoint).map(|handler| handler.policy().best().map(tm_decision::from)), best) }
}

/// Writes the step and the score of the newest kept checkpoint to `latest`. Returns TM_NONE if there is none.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_checkpoint_latest(checkpoint: *const tm_checkpoint, latest: *mut tm_decision) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { give(view(checkpoint).map(|handler| handler.policy().latest().map(tm_decision::from)), latest) }
}

/// Writes the step and the score of a kept checkpoint to `kept`. The index 0 is the worst one. Returns TM_NONE if the index
/// is too high.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_checkpoint_kept(
    checkpoint: *const tm_checkpoint,
    index: u32,
    kept: *mut tm_decision,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    let found = unsafe { view(checkpoint) };
    let found = found.map(|handler| handler.policy().kept().get(index as usize).copied().map(tm_decision::from));
    // SAFETY: as above.
    unsafe { give(found, kept) }
}

/// Returns why the last save or the start of the run failed, or TM_OK.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_checkpoint_last_error(checkpoint: *const tm_checkpoint) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    let error = unsafe { view(checkpoint) }.map(|handler| handler.last_error());
    error.map_or_else(|error| error, |error| error.map_or(TM_OK, |error| encode_status(error, store_status)))
}

/// Returns how often a slot was erased, or 0 if there is no such slot.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_checkpoint_erases(checkpoint: *const tm_checkpoint, slot: u32) -> u32 {
    // SAFETY: the caller keeps the rules of the interface.
    let erases = unsafe { view(checkpoint) }.map(|handler| handler.store().erases().get(slot as usize).copied());
    erases.ok().flatten().unwrap_or(0)
}

/// Erases all checkpoints in the slots, to start over. Errors: TM_ERROR_DEVICE; some checkpoints may be erased already.
///
/// Blocks while the flash is erased. One thread at a time can use an object; do not call from an interrupt.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_checkpoint_erase_all(checkpoint: *mut tm_checkpoint) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    status(
        unsafe { InUse::new(checkpoint) }
            .and_then(|(handler, _in_use)| handler.erase_all().map_err(|error| store_status(&error))),
    )
}

/// Erases one block ahead of the next save of a checkpoint with at most `len` bytes, so that the save is faster. Returns
/// TM_STOP if no further call is useful, otherwise TM_OK. Do not call it at each start: erased blocks are not remembered.
///
/// Blocks for one erase. One thread at a time can use an object; do not call from an interrupt.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_checkpoint_erase_ahead(checkpoint: *mut tm_checkpoint, len: u32) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    let erased = unsafe { InUse::new(checkpoint) }.and_then(|(handler, _in_use)| {
        handler.evict_unranked();
        handler.store_mut().erase_ahead(len).map_err(|error| store_status(&error))
    });
    match erased {
        Ok(true) => TM_STOP,
        result => status(result.map(|_| ())),
    }
}
