//! Schedules: functions that give a parameter, such as the learning rate, for a step. They have no state, so they are not
//! attached to an engine: the program passes the number of the iteration or epoch less 1. `tm_plateau` reduces a value when
//! a metric no longer improves, and has a state.

use crate::early_stopping::{mode, threshold_mode};
use crate::model::Model;
use crate::object::{get, init_handler, opaque, read, slice, view};
use crate::run::{Rule, Score, TM_STARTED, rule, score};
use crate::state::{load, save};
use crate::status::{Result, give, status, tm_status};
use training_monitor::handlers::plateau::PlateauHandler;
use training_monitor::handlers::schedules::{
    Cosine, CosineRestarts, Cyclic, Exponential, Linear, MultiStep, OneCycle, Polynomial, StepDecay,
};
use training_monitor::{ConfigError, ReduceOnPlateau, Schedule};

/// Writes the value of a step.
///
/// # Safety
/// `value` is null, or points to writable memory.
unsafe fn give_value<S: Schedule>(
    schedule: core::result::Result<S, ConfigError>,
    step: u32,
    value: *mut f32,
) -> tm_status {
    // SAFETY: the caller promises that the pointer is valid.
    unsafe { give(schedule.map(|schedule| Some(schedule.value(step))).map_err(tm_status::from), value) }
}

/// `base` × gamma^(step / step_size), rounded down (torch: StepLR).
///
/// The first step is 0. With an engine, pass tm_engine_iteration or tm_engine_epoch less 1, so that a resumed run continues with
/// the same value. This applies to all schedules.
///
/// Any thread and any interrupt can call this function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_step_decay(base: f32, step_size: u32, gamma: f32, step: u32, value: *mut f32) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { give_value(StepDecay::new(base, step_size, gamma), step, value) }
}

/// `base` × gamma^step (torch: ExponentialLR).
///
/// Any thread and any interrupt can call this function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_exponential(base: f32, gamma: f32, step: u32, value: *mut f32) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { give_value(Exponential::new(base, gamma), step, value) }
}

/// `base` × a factor that changes linearly from `start_factor` to `end_factor` in `total` steps (torch: LinearLR).
///
/// Any thread and any interrupt can call this function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_linear(
    base: f32,
    start_factor: f32,
    end_factor: f32,
    total: u32,
    step: u32,
    value: *mut f32,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { give_value(Linear::new(base, start_factor, end_factor, total), step, value) }
}

/// `base` × (1 − step / total)^power (torch: PolynomialLR).
///
/// Any thread and any interrupt can call this function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_polynomial(base: f32, power: f32, total: u32, step: u32, value: *mut f32) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { give_value(Polynomial::new(base, power, total), step, value) }
}

/// Half a cosine from `base` to `minimum` in `t_max` steps (torch: CosineAnnealingLR).
///
/// Any thread and any interrupt can call this function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_cosine(base: f32, minimum: f32, t_max: u32, step: u32, value: *mut f32) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { give_value(Cosine::new(base, t_max).and_then(|schedule| schedule.with_eta_min(minimum)), step, value) }
}

/// Half cosines from `base` to `minimum`. The first has `t_0` steps, each further one `t_mult` times as many (torch: CosineAnnealingWarmRestarts).
///
/// Any thread and any interrupt can call this function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_cosine_restarts(
    base: f32,
    minimum: f32,
    t_0: u32,
    t_mult: u32,
    step: u32,
    value: *mut f32,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe {
        give_value(
            CosineRestarts::new(base, t_0).and_then(|schedule| schedule.with_eta_min(minimum)?.with_t_mult(t_mult)),
            step,
            value,
        )
    }
}

/// One cycle of `total` steps: from maximum / 25 to `maximum`, and down to a 250000th of it (torch: OneCycleLR with its defaults).
///
/// Any thread and any interrupt can call this function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_one_cycle(maximum: f32, total: u32, step: u32, value: *mut f32) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { give_value(OneCycle::new(maximum, total), step, value) }
}

/// Triangles between `base` and `maximum` (torch: CyclicLR, triangular).
///
/// Any thread and any interrupt can call this function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_cyclic(
    base: f32,
    maximum: f32,
    steps_up: u32,
    steps_down: u32,
    step: u32,
    value: *mut f32,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { give_value(Cyclic::new(base, maximum, steps_up, steps_down), step, value) }
}

/// `base` × gamma^n, where n is the number of milestones up to the step (torch: MultiStepLR). The milestones are in
/// ascending order.
///
/// Any thread and any interrupt can call this function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_multi_step(
    base: f32,
    milestones: *const u32,
    count: usize,
    gamma: f32,
    step: u32,
    value: *mut f32,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    match unsafe { slice(milestones, count) } {
        // SAFETY: as above.
        Ok(milestones) => unsafe { give_value(MultiStep::new(base, milestones, gamma), step, value) },
        Err(error) => error,
    }
}

/// The size of tm_plateau, in 64-bit words.
#[cfg(target_pointer_width = "32")]
pub const TM_PLATEAU_WORDS: usize = 10;
/// The size of tm_plateau, in 64-bit words.
#[cfg(target_pointer_width = "64")]
pub const TM_PLATEAU_WORDS: usize = 11;

/// Reduces a value, such as the learning rate, when a metric no longer improves (torch: ReduceLROnPlateau). The program must
/// not access the fields.
#[repr(C)]
pub struct tm_plateau {
    words: [u64; TM_PLATEAU_WORDS],
}

type Apply = fn(&mut Model, f32);
pub(crate) type Handler = PlateauHandler<Rule, Score, Apply>;
opaque!(tm_plateau, b"tmPL", Handler);

/// The settings of tm_plateau. torch's defaults are: mode TM_MODE_MIN, factor 0.1, patience 10, threshold 1e-4 with
/// TM_THRESHOLD_REL, cooldown 0, minimum 0, eps 1e-8.
#[repr(C)]
pub struct tm_plateau_config {
    /// The initial value.
    pub value: f32,
    /// A reduction multiplies the value by this factor; at least 0 and less than 1.
    pub factor: f32,
    /// The smallest value.
    pub minimum: f32,
    /// A metric must be better than the best one by this amount; 0 or more.
    pub threshold: f32,
    /// A smaller reduction is not performed; 0 or more.
    pub eps: f32,
    /// The number of metrics in a row without an improvement that change nothing.
    pub patience: u32,
    /// The number of metrics after a reduction that are not counted.
    pub cooldown: u32,
    /// TM_MODE_MAX or TM_MODE_MIN.
    pub mode: u8,
    /// TM_THRESHOLD_ABS or TM_THRESHOLD_REL.
    pub threshold_mode: u8,
    /// With an engine: the events at which the metric is checked.
    pub events: u32,
    /// With an engine: only every n-th of these events counts; 0 and 1 mean all.
    pub every: u32,
    /// With an engine: the metric, for example TM_SCORE_OUTPUT.
    pub score: u32,
}

/// The program reads the value from the object.
fn keep(_: &mut Model, _: f32) {}

fn create(config: &tm_plateau_config) -> Result<Handler> {
    let plateau = ReduceOnPlateau::new(config.value)?
        .with_mode(mode(config.mode)?)
        .with_factor(config.factor)?
        .with_patience(config.patience)
        .with_threshold(config.threshold, threshold_mode(config.threshold_mode)?)?
        .with_cooldown(config.cooldown)
        .with_min_value(config.minimum)?
        .with_eps(config.eps)?;
    Ok(plateau.attach(rule(config.events, config.every), score(config.score)?, keep as Apply))
}

/// Initializes the reduction. Errors: TM_ERROR_SETTING if a setting is not in its range.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_plateau_init(plateau: *mut tm_plateau, config: *const tm_plateau_config) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { init_handler(plateau, read(config).and_then(|config| Ok((create(config)?, config.events | TM_STARTED)))) }
}

/// Passes a metric to the object, which then may have a lower value.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_plateau_update(plateau: *mut tm_plateau, metric: f32) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    status(unsafe { get(plateau) }.map(|handler| {
        handler.plateau.update(metric);
    }))
}

/// Returns the current value, or NaN for an object that is not initialized.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_plateau_value(plateau: *const tm_plateau) -> f32 {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { view(plateau) }.map_or(f32::NAN, |handler| handler.plateau.value())
}

/// Writes the state to `bytes`, at most TM_MAX_STATE bytes, and their number to `len`. Errors: TM_ERROR_BUFFER if
/// `capacity` is too small.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_plateau_save(
    plateau: *mut tm_plateau,
    bytes: *mut u8,
    capacity: usize,
    len: *mut usize,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { save(get(plateau).map(|handler| &mut handler.plateau), bytes, capacity, len) }
}

/// Restores a state that tm_plateau_save has written. Errors: TM_ERROR_STATE if the bytes are no such state.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_plateau_load(plateau: *mut tm_plateau, bytes: *const u8, len: usize) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { load(get(plateau).map(|handler| &mut handler.plateau), bytes, len) }
}
