//! Search for NaN and infinity: a function over an array, `tm_nan_guard` for outputs, `tm_weight_guard` for weights.

use crate::model::Model;
use crate::object::{get, init_handler, opaque, read, slice, view};
use crate::run::{Rule, RunState, rule};
use crate::state::{load, save};
use crate::status::{Result, give, status, tm_status};
use training_monitor::TerminateOnNan;
use training_monitor::finite::{all_finite, first_non_finite};
use training_monitor::handlers::terminate_on_nan::{EveryNthCall, NanGuard, NonFinite, SliceNanGuard};

/// Returns TM_OK if all values are finite, and TM_STOP if one is NaN or infinite. This is the fastest check.
///
/// Any thread and any interrupt can call this function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_check_finite(values: *const f32, len: usize) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    match unsafe { slice(values, len) } {
        Ok(values) if !all_finite(values) => tm_status::TM_STOP,
        result => status(result.map(|_| ())),
    }
}

/// Writes the index of the first NaN or infinity to `index`. Returns TM_NONE if all values are finite.
///
/// Any thread and any interrupt can call this function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_first_non_finite(values: *const f32, len: usize, index: *mut usize) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { give(slice(values, len).map(first_non_finite), index) }
}

/// The settings of tm_nan_guard and tm_weight_guard. 0 in every field is useful without an engine.
#[repr(C)]
pub struct tm_guard_config {
    /// tm_nan_guard checks every n-th call. tm_weight_guard checks one n-th of each tensor per call, so that n calls check
    /// all. 0 and 1 mean everything at each call.
    pub period: u32,
    /// With an engine: the events at which the guard checks.
    pub events: u32,
    /// With an engine: only every n-th of these events counts; 0 and 1 mean all.
    pub every: u32,
}

/// The size of tm_nan_guard, in 64-bit words.
pub const TM_NAN_GUARD_WORDS: usize = 4;

/// Stops a run whose output is NaN or infinite. The program must not access the fields.
#[repr(C)]
pub struct tm_nan_guard {
    words: [u64; TM_NAN_GUARD_WORDS],
}

type Output = for<'a> fn(&'a Model, &'a RunState) -> &'a Option<f32>;
pub(crate) type OutputGuard = NanGuard<Rule, Output, EveryNthCall>;
opaque!(tm_nan_guard, b"tmNG", OutputGuard);

fn output<'a>(_: &'a Model, state: &'a RunState) -> &'a Option<f32> {
    &state.output
}

/// Initializes a guard for outputs.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_nan_guard_init(guard: *mut tm_nan_guard, config: *const tm_guard_config) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    let created = unsafe { read(config) }.and_then(|config| -> Result<(OutputGuard, u32)> {
        let guard = TerminateOnNan::new().with_schedule(config.period.max(1))?;
        Ok((guard.attach(rule(config.events, config.every), output as Output), config.events))
    });
    // SAFETY: as above.
    unsafe { init_handler(guard, created) }
}

/// Counts a call, and checks the values at every n-th call. Returns TM_STOP if one is NaN or infinite, otherwise TM_OK.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_nan_guard_update(guard: *mut tm_nan_guard, values: *const f32, len: usize) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    let (guard, values) = unsafe { (get(guard), slice(values, len)) };
    match guard.and_then(|guard| values.map(|values| guard.terminate_on_nan.check(values))) {
        Ok(true) => tm_status::TM_STOP,
        result => status(result.map(|_| ())),
    }
}

/// Writes the state to `bytes`, at most TM_MAX_STATE bytes, and their number to `len`. Errors: TM_ERROR_BUFFER if
/// `capacity` is too small.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_nan_guard_save(
    guard: *mut tm_nan_guard,
    bytes: *mut u8,
    capacity: usize,
    len: *mut usize,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { save(get(guard).map(|guard| &mut guard.terminate_on_nan), bytes, capacity, len) }
}

/// Restores a state that tm_nan_guard_save has written. Errors: TM_ERROR_STATE if the bytes are no such state.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_nan_guard_load(guard: *mut tm_nan_guard, bytes: *const u8, len: usize) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { load(get(guard).map(|guard| &mut guard.terminate_on_nan), bytes, len) }
}

/// The size of tm_weight_guard, in 64-bit words.
#[cfg(target_pointer_width = "32")]
pub const TM_WEIGHT_GUARD_WORDS: usize = 5;
/// The size of tm_weight_guard, in 64-bit words.
#[cfg(target_pointer_width = "64")]
pub const TM_WEIGHT_GUARD_WORDS: usize = 6;

/// Stops a run whose weights contain a NaN or an infinity. It checks the float tensors of the objects with `is_guarded`, and
/// works only with an engine. The program must not access the fields.
#[repr(C)]
pub struct tm_weight_guard {
    words: [u64; TM_WEIGHT_GUARD_WORDS],
}

type Slices = fn(&Model, &mut dyn FnMut(&[f32]));
pub(crate) type WeightGuard = SliceNanGuard<Rule, Slices, EveryNthCall>;
opaque!(tm_weight_guard, b"tmWG", WeightGuard);

/// The position of a NaN or an infinity.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct tm_position {
    /// The number of the tensor among all guarded float tensors of the model, starting at 0.
    pub tensor: u32,
    /// The index of the element in the tensor.
    pub index: u32,
}

/// Initializes a guard for weights.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_weight_guard_init(
    guard: *mut tm_weight_guard,
    config: *const tm_guard_config,
) -> tm_status {
    // SAFETY: the caller keeps the rules of the interface.
    let created = unsafe { read(config) }.and_then(|config| -> Result<(WeightGuard, u32)> {
        let guard = TerminateOnNan::new().with_schedule(config.period.max(1))?;
        Ok((guard.attach_slices(rule(config.events, config.every), Model::scan as Slices), config.events))
    });
    // SAFETY: as above.
    unsafe { init_handler(guard, created) }
}

/// Writes the position of the NaN or infinity that ended the run to `position`. Returns TM_NONE if there was none.
///
/// One thread or interrupt at a time can use an object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tm_weight_guard_position(
    guard: *const tm_weight_guard,
    position: *mut tm_position,
) -> tm_status {
    let convert = |found: NonFinite| tm_position { tensor: found.slice, index: found.index };
    // SAFETY: the caller keeps the rules of the interface.
    unsafe { give(view(guard).map(|guard| guard.first_non_finite().map(convert)), position) }
}
